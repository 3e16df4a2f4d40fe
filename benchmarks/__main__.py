"""Run the benchmarks, print the table, and record it where asked."""

import argparse
import json
import platform
import subprocess
from dataclasses import asdict
from pathlib import Path

from benchmarks import kernel_gap, prediction, training
from benchmarks.common import Result, gemm_rate, run
from ntkspec.provenance import provenance


def main() -> None:
    """`python -m benchmarks [--quick] [--record FILE]`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, one repeat: are the answers right?")
    parser.add_argument("--record", type=Path, help="write the results to this JSON file")
    options = parser.parse_args()
    results = []
    print(f"{'case':<52}{'ntkspec':>10}  {'peer':<20}{'time':>10}{'ratio':>8}{'of floor':>10}")
    for module in (kernel_gap, training, prediction):
        for case in module.cases(options.quick):
            results.append(run(case, repeats=1 if options.quick else 3))
            print("\n".join(_lines(results[-1])), flush=True)
    if options.record:
        _record(options.record, results)


def _lines(result: Result):
    for name, seconds in result.peers.items():
        yield (
            f"{result.name:<52}{result.ours:>9.4f}s  {name:<20}{seconds:>9.4f}s{seconds / result.ours:>7.1f}x"
            f"{result.floor / result.ours:>10.0%}"
        )


def _record(path: Path, results: list[Result]) -> None:
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    made_with = provenance("python -m benchmarks") | {"commit": commit, "processor": _processor()}
    rates = {f"gemm {dtype}, flops/s": gemm_rate(dtype) for dtype in ("float32", "float64")}
    content = {"made_with": made_with, "rates": rates, "results": [asdict(result) for result in results]}
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())


if __name__ == "__main__":
    main()
