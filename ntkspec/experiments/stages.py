"""The stages of an experiment: announced, run, and timed."""

import time
from collections.abc import Callable
from typing import Any, TypeVar

Result = TypeVar("Result")


class Stages:
    """Runs the stages of an experiment, announces each and keeps its seconds."""

    def __init__(self, report: Callable[[str], None]):
        self.report = report
        self.seconds: dict[str, float] = {}

    def __call__(self, name: str, function: Callable[..., Result], *arguments: Any, **options: Any) -> Result:
        """function(*arguments, **options), announced and timed; the timing's name ends before a bracket."""
        self.report(name)
        start = time.perf_counter()
        try:
            return function(*arguments, **options)
        finally:
            self.seconds[name.split(" (")[0]] = time.perf_counter() - start
