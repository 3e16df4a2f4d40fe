"""Checkpoints one after the other into a series, and into a file that a killed run goes on from."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ntkspec import checks, storage
from ntkspec.dynamics import HeavyBall, Nesterov
from ntkspec.engines import as_array, engine_of, moved
from ntkspec.engines.arrays import Array, ArrayLike
from ntkspec.experiments.forecast import Expected
from ntkspec.experiments.tracking import layers
from ntkspec.experiments.tracking.measuring import AHEAD, Checkpoint, Data, Place, measure, needs_kernel
from ntkspec.experiments.tracking.series import Origin, Series, begun, grown
from ntkspec.experiments.tracking.task import TrackTask, checked_task
from ntkspec.networks import points as points_
from ntkspec.networks.outputs import choice_of
from ntkspec.networks.protocol import Network, Points, as_network
from ntkspec.objects.lazy import cached_property
from ntkspec.storage.provenance import count, fingerprint, provenance

KIND = "track"
TYPES: tuple[type, ...] = (Series, TrackTask, HeavyBall, Nesterov)


class Recorder:
    """Measures networks at ascending steps, each once.

    points, y : on which. path : the file, or None. command : the line that was called, for the file. keeps : whether
    the file keeps the weights of the first and the last checkpoint, for runs whose networks do not come again.
    dataset : what the series says of the points. report : is told what comes next.
    """

    def __init__(
        self,
        points: Points,
        y: ArrayLike,
        task: TrackTask,
        *,
        path: str | Path | None = None,
        command: str = "",
        keeps: bool = False,
        dataset: dict[str, Any] | None = None,
        report: Callable[[str], None] = lambda text: None,
    ):
        self.task, self._points, self._y = checked_task(task), points, y
        self.path, self.command, self.keeps, self.report = path, command, keeps, report
        self.dataset = dataset or {}
        self._data: Data | None = None
        self._start: Checkpoint | None = None
        self._last: Checkpoint | None = None
        self._tree: dict[str, Any] = {}
        self._file: storage.Keeper | None = None

    # ----------------------------------------------------------------------------------------------------------- file
    @contextlib.contextmanager
    def open(self) -> Iterator["Recorder"]:
        """The file is this recorder's alone meanwhile. Raises ValueError for a file of something else."""
        if self.path is None:
            yield self
            return
        with storage.locked(self.path):
            path = Path(self.path)
            if path.exists():
                self._tree = _read(path)
            self._file = storage.Keeper(path, KIND)
            yield self

    @property
    def opened(self) -> bool:
        """Whether what is recorded can be kept: the file is open, or there is none."""
        return self.path is None or self._file is not None

    @property
    def series(self) -> Series | None:
        """What was measured; None before the first checkpoint."""
        return self._tree.get("track")

    def _write(self) -> None:
        if self._file is not None:
            self._file.write(self._tree)

    @cached_property
    def _made_with(self) -> dict[str, Any]:
        """What this process is."""
        return provenance(self.command)

    # -------------------------------------------------------------------------------------------------------- recording
    def record(self, step: int, network: Network, source: str = "") -> float:
        """Measure a network, and the seconds of that; 0 where the file has it already.

        Raises ValueError for a step that is not after all others, and one that the file has with other weights.
        """
        step, net = checks.whole_number(step, "step", 0), as_network(network, "tracking")
        with _at(step, source):
            net.as_points(self._points)  # the first points tell some networks how many outputs they have
        if self._data is None:
            self._data = self._begin(net)
        now = Checkpoint(step, net.with_weights(self._on_device(net)), self._data, self._own_task())
        digest = fingerprint(step, now.weights)
        series = self._tree["track"]
        place = np.flatnonzero(series.steps == step)
        if len(place):
            self._require_same(int(place[0]), digest)
            self._keep(now)
            return 0.0
        if len(series) and step < series.steps[-1]:
            kept = f", or remove {self.path}, which holds later ones" if self.path else ""
            raise ValueError(f"step {step} came after step {series.steps[-1]}; record steps in ascending order{kept}")
        return self._measured(now, digest, source)

    def expect(self, seconds: float) -> None:
        """Say how long the other checkpoints take, where each takes as long as this one, and how much memory."""
        engine, size = engine_of(self._tree["track"].steps), 0
        if self._last is not None and needs_kernel(self.task):
            engine, size = self._last.kernel.engine, self._last.prepared[1].bytes
        memory = max(engine.used_memory() + 2 * size, engine.most_memory())
        self.report(f"forecast: {Expected({'checkpoints': seconds}, memory)}")

    def _on_device(self, net: Network) -> list[Array]:
        """Copies of its weights: what trains goes on, and kernels are of this moment."""
        return [W.copy() for W in net.weights]

    def _own_task(self) -> TrackTask:
        return replace(self.task, method=self._tree["track"].method or self.task.method)

    def _measured(self, now: Checkpoint, digest: str, source: str) -> float:
        start = time.perf_counter()
        first, previous = self._before(now)
        with _at(now.step, source):
            _require_alike(first, now)
            found = measure(Place(now, first, previous))
        origin = Origin(now.step, digest, source, time.perf_counter() - start)
        series = grown(self._tree["track"], origin, found)
        method = series.method or (now.prepared[1].method if needs_kernel(self.task) else "")
        count(self._tree["provenance"], self._made_with)
        self._tree["track"] = replace(series, method=method)
        self._keep(now)
        if self.keeps:
            self._tree["networks"] = {"start": _stored(first), "last": _stored(now)}
        self._write()
        return origin.seconds

    def _keep(self, now: Checkpoint) -> None:
        self._start = self._start or now
        self._last = now

    def _before(self, now: Checkpoint) -> tuple[Checkpoint, Checkpoint | None]:
        """The first checkpoint and the one before, those of another run from the weights that the file keeps."""
        series = self._tree["track"]
        if not len(series):
            return now, None
        first, last = int(series.steps[0]), int(series.steps[-1])
        start, previous = (
            known if known is not None and known.step == step else self._again(name, step, now)
            for name, step, known in (("start", first, self._start), ("last", last, self._last))
        )
        self._start = start
        return start, start if start.step == last else previous

    def _again(self, name: str, step: int, now: Checkpoint) -> Checkpoint:
        """A checkpoint of a run before this one."""
        kept = self._tree.get("networks", {}).get(name)
        if kept is None:
            raise ValueError(
                f"{self.path} holds the steps {_ends(self._tree['track'])}, but the network of step {step} did not "
                f"come again; pass all networks from the first one on, those that are measured cost nothing"
            )
        xp = engine_of(now.net.weights[0]).xp
        net = now.net.with_weights([xp.asarray(W) for W in kept["weights"]])
        found = Checkpoint(step, net, now.data, now.task)
        outputs = engine_of(found.outputs).to_host(found.outputs)
        if not np.allclose(outputs, kept["outputs"], rtol=1e-4, atol=1e-5 * float(abs(kept["outputs"]).max())):
            raise ValueError(
                f"the network of step {step} cannot be made again from its trained parameters, which {self.path} "
                f"keeps: buffers or frozen ones have changed since; record its checkpoint first, or remove the file"
            )
        return found

    # ------------------------------------------------------------------------------------------------------- beginning
    def _begin(self, net: Network) -> Data:
        """Checked points and labels, and the series of the file, or one without checkpoints."""
        points = net.as_points(self._points)
        engine = engine_of(net(points_.rows(points, slice(0, 1))))
        y = moved(_labels(net, points, self._y, self.task), engine)
        arrays = [engine_of(one).to_host(one) for one in (as_array(part) for part in [*points_.parts(points), y])]
        task = replace(self.task, method=None, network="")
        run = fingerprint((task, repr(task.outputs), task.inputs), arrays)
        found = self._tree.get("track")
        if found is None:
            named = [one.name for one in layers.layers_of(net, self.task.layer)]
            series = begun(self.task, points_.count(points), ahead=AHEAD, layers=named, dataset=self.dataset)
            self._tree = {"track": series, "run": run, "provenance": []}
        elif self._tree["run"] != run:
            raise ValueError(
                f"{self.path} holds another series: points, labels, quantities, learning rate or kernel differ; remove "
                f"it, or choose another"
            )
        return Data(points, y, _vectors(self._points, y))

    def _require_same(self, place: int, digest: str) -> None:
        series = self._tree["track"]
        if series.digests[place] != digest:
            where = f"{self.path} holds" if self.path else "the series has"
            raise ValueError(
                f"{where} step {series.steps[place]} of other weights than those that came; remove it, or choose "
                f"another, where they are of another run"
            )


def _read(path: Path) -> dict[str, Any]:
    tree = storage.read(path, kind=KIND, types=TYPES)
    with storage.blamed_on(path):
        if not isinstance(tree["track"], Series) or not isinstance(tree["provenance"], list):
            raise ValueError("it holds no series")
        tree["run"]
    return tree


def _require_alike(first: Checkpoint, now: Checkpoint) -> None:
    """Raises ValueError for networks of two architectures."""
    if type(first.net) is not type(now.net) or [W.shape for W in first.weights] != [W.shape for W in now.weights]:
        raise ValueError(f"its network has other weights than that of step {first.step}; both need one architecture")


def _ends(series: Series) -> str:
    return f"{series.steps[0]} to {series.steps[-1]}"


def _stored(at: Checkpoint) -> dict[str, Any]:
    return {"step": at.step, "weights": at.weights, "outputs": engine_of(at.outputs).to_host(at.outputs)}


@contextlib.contextmanager
def _at(step: int, source: str) -> Iterator[None]:
    """What is refused at a checkpoint is told with its step."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"step {step}{f' ({source})' if source else ''}: {error}") from error


def _labels(net: Network, points: Points, y: ArrayLike, task: TrackTask) -> Array:
    """Labels (n,) of one function, (n, K) of K outputs, float64."""
    n, K = points_.count(points), net.n_outputs or 1
    found = checks.as_floats(y, "y").astype(np.float64)
    one = K == 1 or choice_of(task.outputs, net.n_outputs).weights is not None
    found = checks.as_vector(found.ravel() if found.shape == (n, 1) else found, "y", n) if one else found
    if not one and found.shape != (n, K):
        raise ValueError(
            f"y has shape {found.shape}, but ({n}, {K}) is needed, a number for each point and output, such as "
            f"numpy.eye({K})[classes]; outputs=, a number or weights, tracks one function of them with y ({n},)"
        )
    if not one:
        checks.as_matrix(found, "y")
    if not found.any():
        raise ValueError("the labels y are all zero; there is nothing to learn")
    return found


def _vectors(points: Points, y: Array) -> Array | None:
    """Points as rows of numbers, for the nearest linear kernel; None of tokens, tuples and the like."""
    if isinstance(points, dict | tuple | list):
        return None
    array = as_array(points)
    return array.reshape(len(array), -1) if array.dtype.kind == "f" else None
