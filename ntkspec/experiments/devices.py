"""Experiments on a GPU: data go there once, records come back as NumPy arrays."""

from dataclasses import fields, is_dataclass, replace
from typing import Any

from ntkspec.datasets import Dataset
from ntkspec.engines import Engine, engine_of, moved


def placed(dataset: Dataset, engine: Engine) -> Dataset:
    """The data set with its arrays on the device of an engine."""
    arrays: dict[str, Any] = {name: moved(getattr(dataset, name), engine) for name in ("X", "y", "X_test", "y_test")}
    return replace(dataset, **arrays)


def on_host(found: Any) -> Any:
    """A record, or what one is made of, with every array in it that lies elsewhere copied to the host."""
    if is_dataclass(found) and not isinstance(found, type):
        values = {part.name: on_host(getattr(found, part.name)) for part in fields(found) if part.init}
        return replace(found, **{name: value for name, value in values.items() if value is not getattr(found, name)})
    if isinstance(found, dict):
        return {key: on_host(value) for key, value in found.items()}
    if isinstance(found, list):
        return [on_host(value) for value in found]
    return engine_of(found).to_host(found)
