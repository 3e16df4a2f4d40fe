"""Files of commands as the objects that they were: analyses, spectra, sweeps and the runs of figures."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from ntkspec import storage
from ntkspec.experiments.analyze import RECORD_TYPES
from ntkspec.experiments.deep_runs import DEEP_COMPARISON
from ntkspec.experiments.spectrum import SPECTRUM_TYPES
from ntkspec.experiments.sweep_results import Sweep
from ntkspec.experiments.two_layer_runs import COMPARISON


def _tree(path: str | Path, kind: str, types: tuple[type, ...], name: str = "") -> Any:
    """What a file of one kind holds, or what lies there under one name."""
    found = storage.read(path, kind=kind, types=types)
    with storage.blamed_on(path):
        return found[name] if name else found


# By the kind that a file names: what reads it.
READERS: dict[str, Callable[[str | Path], Any]] = {
    "analyze": partial(_tree, kind="analyze", types=RECORD_TYPES, name="analysis"),
    "spectrum": partial(_tree, kind="spectrum", types=SPECTRUM_TYPES, name="spectrum"),
    **{how.kind: partial(_tree, kind=how.kind, types=how.types) for how in (COMPARISON, DEEP_COMPARISON)},
    "sweep": Sweep.read,
}
