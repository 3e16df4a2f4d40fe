"""Experiments on a GPU: data go there once, records come back as NumPy arrays."""

from dataclasses import fields, is_dataclass, replace
from typing import Any

from ntkspec.datasets import Dataset
from ntkspec.engines import Engine, engine_of, moved
from ntkspec.engines.arrays import ArrayElsewhere


def placed(dataset: Dataset, engine: Engine) -> Dataset:
    """The data set with its arrays on the device of an engine."""
    arrays: dict[str, Any] = {name: moved(getattr(dataset, name), engine) for name in ("X", "y", "X_test", "y_test")}
    return replace(dataset, **arrays)


def on_host(found: Any, *, workers: bool = False) -> Any:
    """A record, or what one is made of, with every device array in it copied to the host; rows on workers stay there,
    unless ``workers`` says that they are to come too."""

    def brought(one: Any) -> Any:
        return on_host(one, workers=workers)

    if is_dataclass(found) and not isinstance(found, type):
        values = {part.name: brought(getattr(found, part.name)) for part in fields(found) if part.init}
        return replace(found, **{name: value for name, value in values.items() if value is not getattr(found, name)})
    if isinstance(found, dict):
        return {key: brought(value) for key, value in found.items()}
    if isinstance(found, list):
        return [brought(value) for value in found]
    if isinstance(found, ArrayElsewhere) and not workers:
        return found
    return engine_of(found).to_host(found)
