"""The stages of an experiment: announced, run, and timed."""

import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ntkspec.experiments.forecast import Expected

Result = TypeVar("Result")


class Stages:
    """Runs the stages of an experiment, announces each and keeps its seconds."""

    def __init__(self, report: Callable[[str], None]):
        self.report = report
        self.seconds: dict[str, float] = {}
        self._expected: Mapping[str, float] = {}

    def expect(self, forecast: Expected) -> None:
        """Say how long all takes and how much memory, and from now on each stage with its seconds."""
        self.report(f"forecast: {forecast}")
        self._expected = forecast.seconds

    def __call__(self, name: str, function: Callable[..., Result], *arguments: Any, **options: Any) -> Result:
        """function(*arguments, **options), announced and timed; the timing's name ends before a bracket."""
        key = name.split(" (")[0]
        expected = self._expected.get(key, 0.0)
        self.report(f"{name}, about {expected:.0f} s" if expected >= 1 else name)
        start = time.perf_counter()
        try:
            return function(*arguments, **options)
        finally:
            self.seconds[key] = time.perf_counter() - start
