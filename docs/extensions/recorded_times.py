"""The directive `recorded-times`: the tables of one record of the benchmarks, with the machine and the versions."""

import json
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx
from tables import table

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


class RecordedTimes(Directive):
    """Seconds of each case: ours, the floor that the machine's own rates set, and those of the peers."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Read the record."""
        record = json.loads((RESULTS / self.arguments[0]).read_text(encoding="utf-8"))
        rows = []
        for case in record["cases"]:
            floor = f"{in_seconds(case['floor'])}" if case.get("floor") else ""
            peers = sorted(case["peers"].items(), key=lambda peer: peer[1])
            rows.append([case["name"], in_seconds(case["ours"]), floor, "; ".join(_peer(*peer) for peer in peers)])
        found: list[nodes.Node] = [
            nodes.paragraph("", made_on(record["made_with"])),
            table(["case", "ntkspec", "floor", "others"], rows),
        ]
        if large := record.get("large"):
            head = ["large kernel", "spectral norm", "products", "ntkspec", "forecast", "floor", "peak memory"]
            found.append(table(head, [_large(case) for case in large]))
        return found


def made_on(made: dict) -> str:
    """Machine, date and versions of a record."""
    versions = ", ".join(f"{name} {version}" for name, version in made["versions"].items())
    source = f"{made['processor']}, {made['cores']} cores, {made['time'][:10]}, Python {made['python']}, {versions}."
    return source + (f" The load of the machine was {made['load']:.0f}." if "load" in made else "")


def _large(case: dict) -> list[str]:
    norm = f"{case['spectral']:.6g} to {case['upper']:.6g}"
    seconds = [in_seconds(case[name]) for name in ("seconds", "forecast", "floor")]
    return [case["name"], norm, str(case["products"]), *seconds, f"{case['peak_bytes'] / 1e9:.1f} GB"]


def _peer(name: str, seconds: float) -> str:
    return f"{name} {in_seconds(seconds)}"


def in_seconds(value: float) -> str:
    """In milliseconds where it is less than one."""
    return f"{1000 * value:.3g}\N{NO-BREAK SPACE}ms" if value < 1 else f"{value:.3g}\N{NO-BREAK SPACE}s"


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("recorded-times", RecordedTimes)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
