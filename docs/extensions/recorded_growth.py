"""The directive `recorded-growth`: the tables of a record of `python -m benchmarks.growth`."""

import json

from docutils import nodes
from docutils.parsers.rst import Directive
from recorded_times import RESULTS, in_seconds, made_on
from sphinx.application import Sphinx
from tables import table

HEAD = ["kernel", "n", "m", "d", "a product", "of the floor", "norm", "forecast", "products", "memory"]
SLOPES = {"product": "a product", "norm": "norm", "peak_bytes": "memory"}


class RecordedGrowth(Directive):
    """Costs of all settings, and the slopes of their logarithms."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Read the record."""
        record = json.loads((RESULTS / self.arguments[0]).read_text(encoding="utf-8"))
        slopes, series = record["slopes"], list(record["slopes"]["norm"])
        found = [[name, *(f"{slopes[what][name]:.2f}" for what in SLOPES)] for name in series]
        return [
            nodes.paragraph("", made_on(record["made_with"])),
            table(["over, kernel", *SLOPES.values()], found),
            table(HEAD, [_row(case) for case in sorted(record["growth"], key=_place)]),
        ]


def _place(case: dict) -> tuple:
    return case["varied"], case["method"], case["activation"], case["dtype"], case[case["varied"]]


def _row(case: dict) -> list[str]:
    kernel = f"{case['method']}, {case['activation']}, {case['dtype']}"
    times = in_seconds(case["product"]), f"{case['product_floor'] / case['product']:.0%}", in_seconds(case["norm"])
    memory = f"{case['peak_bytes'] / 1e6:.0f} MB"
    sizes = (f"{case[name]:,}" for name in ("n", "m", "d"))
    return [kernel, *sizes, *times, in_seconds(case["norm_forecast"]), str(case["products"]), memory]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("recorded-growth", RecordedGrowth)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
