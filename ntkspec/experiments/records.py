"""Files of commands as the objects that they were: analyses, spectra, series, sweeps and the runs of figures."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from ntkspec import storage
from ntkspec.experiments.analyze import RECORD_TYPES
from ntkspec.experiments.deep_runs import DEEP_COMPARISON
from ntkspec.experiments.run_cache import Runs
from ntkspec.experiments.spectrum import SPECTRUM_TYPES
from ntkspec.experiments.statements import CHECK_TYPES
from ntkspec.experiments.sweep_results import Sweep
from ntkspec.experiments.tracking.recorder import KIND
from ntkspec.experiments.tracking.recorder import TYPES as TRACK_TYPES
from ntkspec.experiments.two_layer_runs import COMPARISON

# By the kind that a file names: the dataclasses in it.
TYPES: dict[str, tuple[type, ...]] = {
    "analyze": RECORD_TYPES,
    "spectrum": SPECTRUM_TYPES,
    "check": CHECK_TYPES,
    "sweep": (),
    KIND: TRACK_TYPES,
    **{how.kind: how.types for how in (COMPARISON, DEEP_COMPARISON)},
}


def _tree(path: str | Path, kind: str, name: str = "") -> Any:
    """What a file of one kind holds, or what lies there under one name."""
    found = storage.read(path, kind=kind, types=TYPES[kind])
    with storage.blamed_on(path):
        return found[name] if name else found


def _runs(path: str | Path, kind: str) -> list[Any]:
    """The runs of a figure, in the order in which they were measured."""
    tree = _tree(path, kind)
    with storage.blamed_on(path):
        return list(Runs.of(tree).runs.values())


# What reads it.
READERS: dict[str, Callable[[str | Path], Any]] = {
    "analyze": partial(_tree, kind="analyze", name="analysis"),
    "spectrum": partial(_tree, kind="spectrum", name="spectrum"),
    "check": partial(_tree, kind="check", name="checks"),
    KIND: partial(_tree, kind=KIND, name="track"),
    **{how.kind: partial(_runs, kind=how.kind) for how in (COMPARISON, DEEP_COMPARISON)},
    "sweep": Sweep.read,
}
