"""What is measured at one checkpoint: its kernel is formed once, and each quantity takes it from there."""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from ntkspec.dynamics import UnstableRateWarning, predict_gd
from ntkspec.engines import engine_of
from ntkspec.engines.arrays import Array
from ntkspec.experiments.tracking import layers
from ntkspec.experiments.tracking.task import OF_KERNEL, TrackTask
from ntkspec.kernels import nearest_linear_kernel
from ntkspec.networks.outputs import OutputChoice, choice_of
from ntkspec.networks.protocol import Network, Points
from ntkspec.objects.lazy import cached_property
from ntkspec.operators import KernelOperator, planning
from ntkspec.operators.base import points_of
from ntkspec.spectra.alignments import (
    PROBED,
    Angles,
    kernel_target_alignment,
    label_energy,
    spectral_position_of,
    subspace_angles,
)
from ntkspec.spectra.dimensions import effective_rank_of
from ntkspec.spectra.eigenpairs import eigsh
from ntkspec.spectra.norms import spectral_norm
from ntkspec.spectra.results import Estimate, Spectrum
from ntkspec.spectra.traces import trace
from ntkspec.spectra.two_kernels import NoDirection, kernel_alignment, kernel_distance

Number: TypeAlias = Estimate | float
# Rows up to which a kernel is stored: forming it takes no time beside what asks for its entries.
SMALL = 1500
# Steps from a checkpoint on at which its prediction is kept.
AHEAD = np.array([0, 1, 2, *(part for k in range(1, 14) for part in (3 * 2 ** (k - 1), 2 ** (k + 1)))])


@dataclass(frozen=True)
class Data:
    """The points of a series as the networks take them, their labels, and the points as vectors where they are some."""

    points: Points
    y: Array
    vectors: Array | None


class Checkpoint:
    """A network at a step, and what is known of it, each thing computed when it is first asked for.

    net : with weights that nobody changes.
    """

    def __init__(self, step: int, net: Network, data: Data, task: TrackTask):
        self.step, self.net, self.data, self.task = step, net, data, task
        self.choice = choice_of(task.outputs, net.n_outputs)

    @cached_property
    def weights(self) -> list[np.ndarray]:
        """On the host."""
        return layers.on_host(self.net)

    @cached_property
    def layers(self) -> list[layers.NamedLayer]:
        """Those that are trained."""
        return layers.layers_of(self.net, self.task.layer)

    @cached_property
    def prepared(self) -> tuple[KernelOperator, planning.Plan]:
        """The kernel as products with it are soonest, and the plan of that."""
        kernel, method = self._kernel(self.choice), self.task.method
        if method is None and kernel.shape[0] <= SMALL:
            method = "dense"
        return planning.prepare(kernel, self.task.products, method=method)

    @property
    def kernel(self) -> KernelOperator:
        """Its NTK on the points."""
        return self.prepared[0]

    @cached_property
    def kernel_of_points(self) -> KernelOperator:
        """The same with one row for each point: of all outputs their mean."""
        if self.kernel.rows_per_point == 1:
            return self.kernel
        return self._kernel(choice_of("mean", self.net.n_outputs))

    def _kernel(self, choice: OutputChoice) -> KernelOperator:
        return self.net.kernel(self.data.points, None, layer=self.task.layer, outputs=choice)

    @cached_property
    def norm(self) -> Estimate:
        """Its largest eigenvalue."""
        return spectral_norm(self.kernel, seed=self.task.seed)

    @cached_property
    def leading(self) -> Spectrum:
        """Its leading eigenpairs."""
        return eigsh(self.kernel, min(self.task.pairs, self.kernel.shape[0]), seed=self.task.seed)

    @cached_property
    def outputs(self) -> Array:
        """Those that are trained, float64, in the shape of the labels."""
        found = self.net(self.data.points).astype(np.float64)
        xp, flat = engine_of(found).xp, found.reshape(len(found), -1)
        if self.choice.weights is not None:  # "sum" is the kernel of the sum of outputs over the root of their number
            flat = flat @ xp.asarray(self.choice.weights[0] * math.sqrt(self.choice.scale))[:, None]
        return flat[:, 0] if self.data.y.ndim == 1 else flat

    @property
    def loss(self) -> float:
        """(1/2n) sum (f - y)²."""
        return loss_of(self.outputs, self.data.y)

    @property
    def frobenius_rtol(self) -> float:
        """Norms of a matrix that is there are exact; otherwise from products, where that is sooner."""
        return 0.0 if self.kernel.stored else PROBED


def loss_of(outputs: Array, y: Array) -> float:
    """(1/2n) sum (f - y)² over points and outputs; infinite where that overflows."""
    with np.errstate(over="ignore", invalid="ignore"):
        return float(np.square(outputs - y).sum()) / (2 * len(y))


@dataclass(frozen=True)
class Place:
    """A checkpoint in its series: the first one, and the one before it, which the first one does not have."""

    now: Checkpoint
    start: Checkpoint
    previous: Checkpoint | None


@dataclass(frozen=True)
class Findings:
    """What was measured at one checkpoint: numbers, and arrays of the same shape at all checkpoints."""

    numbers: dict[str, Number]
    arrays: dict[str, np.ndarray]


def measure(place: Place) -> Findings:
    """All quantities of the task."""
    found = Findings({}, {})
    for name in place.now.task.quantities:
        own = _MEASURES[name](place)
        found.numbers.update({key: value for key, value in own.items() if isinstance(value, Estimate | float)})
        found.arrays.update({key: value for key, value in own.items() if isinstance(value, np.ndarray)})
    return found


def needs_kernel(task: TrackTask) -> bool:
    """Whether a quantity of the task is of the kernel."""
    return task.asks(*OF_KERNEL)


# ---------------------------------------------------------------------------------------------------------- quantities
def _edge(place: Place) -> dict[str, Any]:
    norm = place.now.norm
    return {"largest_eigenvalue": norm, "sharpness": norm / points_of(place.now.kernel)}


def _target_alignment(place: Place) -> dict[str, Any]:
    now = place.now
    how: dict[str, Any] = {"rtol": now.frobenius_rtol, "seed": now.task.seed}
    return {"target_alignment": kernel_target_alignment(now.kernel, now.data.y, **how)}


def _label_energy(place: Place) -> dict[str, Any]:
    parts = label_energy(place.now.leading, place.now.data.y)
    return {"label_energy": float(parts.sum()), "label_energies": parts, "eigenvalues": place.now.leading.values}


def _from_start(place: Place) -> dict[str, Any]:
    found = _apart(place.now, place.start)
    return {"distance_from_start": found[0], "alignment_with_start": found[1]}


def _from_previous(place: Place) -> dict[str, Any]:
    found = (math.nan, math.nan) if place.previous is None else _apart(place.now, place.previous)
    return {"distance_from_previous": found[0], "alignment_with_previous": found[1]}


def _apart(now: Checkpoint, before: Checkpoint) -> tuple[Number, Number]:
    """Distance and alignment of two kernels; NaN where one is zero, of the alignment where one is constant."""
    if now is before:
        return _exact(0.0), _exact(1.0)
    how: dict[str, Any] = {"rtol": max(now.frobenius_rtol, before.frobenius_rtol), "seed": now.task.seed}
    found: list[Number] = []
    for measured in (kernel_distance, kernel_alignment):
        try:
            found.append(measured(now.kernel, before.kernel, **how))
        except NoDirection:
            found.append(math.nan)
    return found[0], found[1]


def _exact(value: float) -> Estimate:
    return Estimate(value, value, value, 0.0, 0, True)


def _residual(place: Place) -> dict[str, Any]:
    now = place.now
    residual = now.data.y - now.outputs
    position = spectral_position_of(now.kernel, residual, now.norm) if residual.any() else math.nan
    return {"loss": now.loss, "residual_position": position}


def _effective_rank(place: Place) -> dict[str, Any]:
    now = place.now
    return {"effective_rank": effective_rank_of(trace(now.kernel), now.norm)}


def _layers(place: Place) -> dict[str, Any]:
    now = place.now
    return {"layer_shares": layers.shares(now.net, now.data.points, now.layers, now.choice)}


def _movement(place: Place) -> dict[str, Any]:
    whole, each = layers.movements(place.start.weights, place.now.weights, place.now.layers)
    return {"movement": whole, "layer_movements": each}


def _angles(place: Place) -> dict[str, Any]:
    now, start = place.now, place.start
    found = subspace_angles(now.leading, start.leading) if now is not start else _no_angles(now)
    largest = float(found.angles[-1])
    ends = max(0.0, largest - found.error), min(math.pi / 2, largest + found.error)
    fails = now.leading.failure_probability + start.leading.failure_probability
    known = Estimate(largest, *ends, fails, now.leading.products, found.error < math.pi / 2)
    return {"largest_angle": known, "angles": found.angles}


def _no_angles(now: Checkpoint) -> Angles:
    return Angles(np.zeros(len(now.leading.values)), 0.0)


def _linear(place: Place) -> dict[str, Any]:
    return {"linear_gap": nearest_linear_kernel(place.now.kernel_of_points, place.now.data.vectors).relative_gap}


def _prediction(place: Place) -> dict[str, Any]:
    """Losses that the kernel predicts from here on; how far that before was wrong, over how far outputs have moved."""
    now, before, y = place.now, place.previous, place.now.data.y
    ahead = _predicted(now, AHEAD)
    error = math.nan
    if before is not None:
        wrong, moved = (
            float(np.square(found - now.outputs).sum())
            for found in (_predicted(before, np.array([now.step - before.step]))[0], before.outputs)
        )
        error = wrong / moved if moved else math.nan
    return {"prediction_error": error, "ahead_losses": np.array([loss_of(outputs, y) for outputs in ahead])}


def _predicted(at: Checkpoint, steps: np.ndarray) -> Array:
    """Outputs so many steps later where the kernel stays; a rate beyond the edge is told by the edge itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnstableRateWarning)
        with np.errstate(over="ignore", invalid="ignore"):
            run = predict_gd(at.kernel, at.data.y, eta=float(at.task.eta or 0), steps=steps, start=at.outputs)
    return run.train


_MEASURES: dict[str, Callable[[Place], dict[str, Any]]] = {
    "edge": _edge,
    "target_alignment": _target_alignment,
    "label_energy": _label_energy,
    "from_start": _from_start,
    "from_previous": _from_previous,
    "residual": _residual,
    "effective_rank": _effective_rank,
    "layers": _layers,
    "movement": _movement,
    "angles": _angles,
    "linear": _linear,
    "prediction": _prediction,
}
# What of the numbers has no interval.
PLAIN = ("label_energy", "loss", "movement", "prediction_error")
