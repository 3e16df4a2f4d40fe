"""The command line."""

from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code. What the commands import is loaded here."""
    from ntkspec.cli.program import main as run

    return run(arguments)
