"""What runs of training will take, in seconds and bytes, before the first one begins."""

from collections.abc import Callable, Iterable

from ntkspec.datasets import Dataset
from ntkspec.engines import engine_of
from ntkspec.experiments.forecast import Expected, Length, step_of
from ntkspec.operators.work import PassWork


def training_forecast(train: Callable[..., object], data: Dataset, length: Length) -> Expected:
    """The forecast for ``train(steps=...)`` on the data, by a trial of a few steps; which may be the peak of memory.

    Outputs of test points are computed at every record, those of training points too where a step takes some of them.
    """
    n, tests, engine = len(data.X), len(data.X_test), engine_of(data.X)
    step = step_of(train)
    records = step.of(PassWork(float(length.records * length.passed(n, tests))), length.points(n))
    outputs = float(length.models * length.records * (n + tests) * data.X.dtype.itemsize)
    kept = engine.used_memory() + outputs
    return Expected({"training": length.steps * step.seconds + records}, max(kept, engine.most_memory()))


def one_after_another(parts: Iterable[Expected]) -> Expected:
    """All of them: their seconds together, by stage, and the bytes of the largest."""
    seconds: dict[str, float] = {}
    most = 0.0
    for part in parts:
        seconds = {name: seconds.get(name, 0.0) + part.seconds.get(name, 0.0) for name in {**seconds, **part.seconds}}
        most = max(most, part.bytes)
    return Expected(seconds, most)
