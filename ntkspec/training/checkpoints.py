"""Training on disk: a run that was stopped goes on from its last checkpoint, bit by bit."""

import contextlib
import hashlib
import re
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import CodeType
from typing import Any

import numpy as np

from ntkspec import storage
from ntkspec.dynamics.laws import PLAIN
from ntkspec.dynamics.losses import SQUARED
from ntkspec.dynamics.rates import Rate, Schedule
from ntkspec.engines import as_array, engine_of
from ntkspec.networks import points
from ntkspec.training.records import Records
from ntkspec.training.task import Task
from ntkspec.training.trainer import DIVERGING, State, Trainer

KIND, SECONDS = "training", 60.0
# Points on which networks are told apart, and steps at which functions of the step are.
PROBED, SHOWN = 8, 64


class Checkpoint:
    """Reads the state of a run from a file where there is one, and writes it there; path None does nothing.

    The file is this run's alone until it ends. Raises ValueError, before anything is computed, for a file of another
    run, one that another process writes, and a name that cannot be written. A full disk is a warning.
    """

    def __init__(
        self, path: str | Path | None, trainer: Trainer, records: Records, *, batch: int | None = None, seed: int = 0
    ):
        self.path, self.trainer, self.records = None if path is None else Path(path), trainer, records
        self._batches = batch, seed
        self._written = time.monotonic()

    def __enter__(self) -> "Checkpoint":
        if self.path is None:
            return self
        with contextlib.ExitStack() as until_the_end:
            until_the_end.enter_context(storage.locked(self.path))
            self._run = _fingerprint(self.trainer, self.records, self._batches)
            self._behaviour = _behaviour(self.trainer.task)
            if self.path.exists():
                self._read(self.path)
            self._file, self._held = storage.Keeper(self.path, KIND), until_the_end.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        if self.path is not None:
            with self._held:
                self._write()

    def now_and_then(self) -> None:
        """Write, if the last time was a minute ago."""
        if self.path is not None and time.monotonic() - self._written > SECONDS:
            self._write()

    def _read(self, path: Path) -> None:
        tree = storage.read(path, kind=KIND)
        with storage.blamed_on(path):
            allowed = float(np.finfo(self.trainer.y.dtype).eps) ** (2 / 3)
            own = tree["run"] == self._run and _alike(tree["behaviour"], self._behaviour, allowed)
            if own:
                self._require_fitting(tree)
        if not own:
            raise ValueError(
                f"{self.path} is the checkpoint of another run (data, network, learning rates, batches or what is "
                f"watched differ); remove it or choose another"
            )
        workers = self.trainer.engine.workers()
        if tree["workers"] != workers:
            warnings.warn(
                f"{self.path} was written with {tree['workers']} threads and goes on with {workers}: sums are rounded "
                f"in another order",
                RuntimeWarning,
                stacklevel=4,
            )
        here = self.trainer.engine.xp.asarray
        weights, memory = ([here(array) for array in tree.get(name, [])] for name in ("weights", "memory"))
        self.trainer.resume(State(tree["step"], weights, memory))
        self.records.restore(tree["records"], tree["step"])

    def _require_fitting(self, tree: dict) -> None:
        """What another program sealed may have any shapes."""
        for name in ("step", "workers"):
            if type(tree[name]) is not int or tree[name] < 0:
                raise ValueError(f"{name} is {tree[name]!r}")
        state = self.trainer.state
        # Files of versions before there were laws have no memory.
        for name, now in (("weights", state.weights), ("memory", state.memory)):
            given, own = ([(W.shape, W.dtype) for W in part] for part in (tree.get(name, []), now))
            if given != own:
                raise ValueError(f"its {name} have shapes and dtypes {given}, not {own}")
        self.records.require_fitting(tree["records"])

    def _write(self) -> None:
        state = self.trainer.seen  # what follows is repeated: its outputs are not known to be finite
        tree = {"run": self._run, "behaviour": self._behaviour, "step": state.step}
        for name, arrays in (("weights", state.weights), ("memory", state.memory)):
            tree[name] = [self.trainer.engine.to_host(array) for array in arrays]
        tree |= {"workers": self.trainer.engine.workers(), "records": self.records.tree()}
        self._file.write(tree)
        self._written = time.monotonic()


def _fingerprint(trainer: Trainer, records: Records, batches: tuple[int | None, int]) -> str:
    """A digest of everything that a run depends on, but for what the network makes of its weights."""
    task, weights = trainer.task, trainer.state.weights
    tests = [] if records.X_test is None else points.parts(records.X_test)
    given = [*points.parts(task.X), task.y, *weights, *tests]
    arrays = [engine_of(array).to_host(array) for array in map(as_array, given)]
    reading = None if task.reading.weights is None else task.reading.weights.tolist()
    network = _unplaced(task.net)
    metrics = [_described(function) for function in records.metrics]
    names = list(task.X) if isinstance(task.X, dict) else None
    law = () if task.law == PLAIN else _own(task.law, type(task.law).move)
    ridge = (task.ridge,) if task.ridge else ()
    decay = ("weight_decay", task.weight_decay) if task.weight_decay else ()
    loss = () if task.loss == SQUARED else _own(task.loss, type(task.loss).derivative)
    settings = repr(
        (
            network,
            names,
            tuple(map(_rate, task.rates)),
            task.offset is None,
            reading,
            metrics,
            batches,
            *law,
            *loss,
            *ridge,
            *decay,
        )
    )
    found = hashlib.sha256(settings.encode())
    for array in arrays:
        found.update(repr((array.shape, str(array.dtype))).encode())
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def _own(given: object, method: Callable) -> tuple:
    """What tells a law or loss from others: its class and numbers, and a method and its own functions with what these
    close over."""
    held = {
        name: _with_values(value) if callable(value) else value
        for name, value in getattr(given, "__dict__", {}).items()
    }
    return _with_values(method), _unplaced((given, held))


def _with_values(function: Callable) -> tuple:
    """:func:`_described`, and the values that a function has from where it was made."""
    cells = [cell.cell_contents for cell in getattr(function, "__closure__", None) or ()]
    values = [_described(value) if callable(value) else value for value in cells]
    return _described(function), _unplaced((getattr(function, "__defaults__", None), values))


def _rate(rate: Rate) -> Any:
    """A number, an array, or what tells a function from others."""
    if not isinstance(rate, Schedule):
        return rate
    if not callable(rate.given):
        return rate.given.tolist()
    first: list[float] = []
    with contextlib.suppress(Exception):  # a function that ends before
        for step in range(SHOWN):
            first.append(rate(step))
    return _described(rate.given), first


def _unplaced(described: object) -> str:
    """Its repr, without where it lies."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(described))


@DIVERGING
def _behaviour(task: Task) -> np.ndarray:
    """The outputs of a network at its start on a few points, and the length of their gradient in each of the weights.

    The latter are not zero where a difference of two chains is.
    """
    few, engine = points.rows(task.X, slice(0, PROBED)), engine_of(task.y)
    outputs, gradient = task.net.value_and_vjp(few, lambda rows, f: engine.xp.ones(f.shape, f.dtype))
    lengths = [float(engine.xp.linalg.norm(own.astype(np.float64))) for own in gradient]
    return np.array([*engine.to_host(outputs).ravel(), *lengths], np.float64)


def _alike(one: np.ndarray, other: np.ndarray, allowed: float) -> bool:
    """Equal up to a part of the largest number: other machines round differently."""
    largest = float(np.abs(other[np.isfinite(other)]).max(initial=0.0))
    return one.shape == other.shape and np.allclose(one, other, rtol=0, atol=allowed * largest, equal_nan=True)


def _described(function: Callable) -> tuple:
    """What tells a metric from others: names, instructions, and what a partial one is given."""
    if isinstance(function, partial):
        return _described(function.func), repr(function.args), repr(sorted(function.keywords.items()))
    named = function if hasattr(function, "__qualname__") else type(function)
    code = getattr(function, "__code__", None)
    return named.__module__, named.__qualname__, () if code is None else _instructions(code)


def _instructions(code: CodeType) -> tuple:
    """Without line numbers and file names, which change nothing."""
    constants = [_instructions(value) if isinstance(value, CodeType) else repr(value) for value in code.co_consts]
    return code.co_code, code.co_names, constants
