"""Training on disk: a run that was stopped goes on from its last checkpoint, bit by bit."""

import hashlib
import time
import warnings
from pathlib import Path

import numpy as np

from ntkspec import storage
from ntkspec.training.descent import Descent
from ntkspec.training.records import Records

KIND, SECONDS = "training", 60.0


class Checkpoint:
    """Reads the state of a run from a file where there is one, and writes it there; path None does nothing.

    Raises ValueError, before anything is computed, for a file of another run.
    """

    def __init__(self, path, descent: Descent, records: Records):
        self.path, self.descent, self.records = None if path is None else Path(path), descent, records
        self._written = time.monotonic()

    def __enter__(self) -> "Checkpoint":
        if self.path is None:
            return self
        if not self.path.parent.is_dir():
            raise FileNotFoundError(f"the folder {self.path.parent} does not exist; make it first")
        self._run = _fingerprint(self.descent, self.records)
        if self.path.exists():
            self._read()
        return self

    def __exit__(self, *error) -> None:
        if self.path is not None:
            self._write()

    def now_and_then(self) -> None:
        """Write, if the last time was a minute ago."""
        if self.path is not None and time.monotonic() - self._written > SECONDS:
            self._write()

    def _read(self) -> None:
        tree = storage.read(self.path, kind=KIND)
        if tree["run"] != self._run:
            raise ValueError(
                f"{self.path} is the checkpoint of another run (data, network, learning rates or steps differ); "
                f"remove it or choose another"
            )
        workers = self.descent.engine.workers()
        if tree["workers"] != workers:
            warnings.warn(
                f"{self.path} was written with {tree['workers']} threads and goes on with {workers}: sums are rounded "
                f"in another order",
                RuntimeWarning,
                stacklevel=4,
            )
        self.descent.state = tree["step"], tree["W"], tree["v"]
        self.records.restore(tree["records"])

    def _write(self) -> None:
        step, W, v = self.descent.state
        workers = self.descent.engine.workers()
        tree = {"run": self._run, "workers": workers, "step": step, "W": W, "v": v, "records": self.records.tree()}
        storage.write(self.path, tree, kind=KIND)
        self._written = time.monotonic()


def _fingerprint(descent: Descent, records: Records) -> str:
    """A digest of everything that a run depends on."""
    _, W, v = descent.state
    probe = np.linspace(-3, 3, 50)
    arrays = (descent.X, descent.y, W, v, records.steps, descent.activation(probe))
    found = hashlib.sha256(repr((descent.rates, descent.offset is None, len(records.watch))).encode())
    for array in (*arrays, *(part for part in (records.X_test,) if part is not None)):
        found.update(repr((array.shape, str(array.dtype))).encode())
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()
