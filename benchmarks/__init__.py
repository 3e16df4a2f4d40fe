"""Benchmarks that time and check at once: `python -m benchmarks`, or `python -m benchmarks --quick`."""
