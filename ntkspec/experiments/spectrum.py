"""The spectrum of one kernel of a setting: its ends, its density, its dimensions, and where the labels lie in it."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from ntkspec import checks, planning
from ntkspec.activations import Activation, activation
from ntkspec.alignments import Angles, kernel_target_alignment, label_energy, subspace_angles
from ntkspec.datasets import Dataset
from ntkspec.densities import Density, spectral_density
from ntkspec.dimensions import effective_rank_of, participation_ratio_of
from ntkspec.engines import engine_of
from ntkspec.evidence import Estimate, Evidence
from ntkspec.experiments.devices import on_host
from ntkspec.experiments.stages import Stages
from ntkspec.kernels import linear_kernel, ntk
from ntkspec.networks import TwoLayer
from ntkspec.networks.two_layer import SECOND_LAYERS, even_width
from ntkspec.norms import frobenius_norm, spectral_norm
from ntkspec.operators import KernelOperator
from ntkspec.planning import Plan
from ntkspec.spectra import Spectrum, eigsh
from ntkspec.traces import trace

KERNELS = ("theta", "linear", "gap")
# The relative width of the Frobenius norm's interval, where all entries would take longer than that.
FROBENIUS_RTOL = 0.1


@dataclass(frozen=True)
class SpectrumTask:
    """The settings of one spectrum.

    kernel : "theta" (the NTK at initialization), "linear" (Theta^lin) or "gap" (their difference). pairs : leading
    eigenpairs. probes, steps : of the density (:func:`ntkspec.spectral_density`).
    """

    kernel: str = "theta"
    activation: str | Activation = "erf"
    negative_slope: float | None = None
    width: int = 256
    layer: str = "both"
    second: str = "rademacher"
    pairs: int = 20
    probes: int = 8
    steps: int = 100
    seed: int = 0
    method: str | None = None


@dataclass(frozen=True)
class KernelSpectrum:
    """What was measured. trace, effective_rank and participation_ratio are None for the difference of kernels, which is
    not semidefinite; angles (to the leading eigenspace of the other of Theta and Theta^lin of the same dimension) too.

    energies : (pairs,), the part of the labels' square in each eigenvector. plan : how products are done.
    """

    task: SpectrumTask
    dataset: dict
    plan: Plan
    norm: Estimate
    frobenius: Estimate
    trace: Estimate | None
    effective_rank: Estimate | None
    participation_ratio: Estimate | None
    leading: Spectrum
    energies: np.ndarray
    alignment: Estimate
    angles: Angles | None
    density: Density
    timings: dict = field(default_factory=dict)


# What storage.read needs to know to read one back.
SPECTRUM_TYPES = (KernelSpectrum, SpectrumTask, Estimate, Evidence, Plan, Spectrum, Angles, Density)


def check_task(task: SpectrumTask) -> Activation:
    """Refuse a task that cannot run, before anything is computed; returns its activation."""
    act = activation(
        task.activation, **({} if task.negative_slope is None else {"negative_slope": task.negative_slope})
    )
    checks.one_of(task.kernel, "kernel", KERNELS)
    checks.one_of(task.layer, "layer", checks.LAYERS)
    checks.one_of(task.second, "second", SECOND_LAYERS)
    even_width(task.width)
    for name, least in (("pairs", 1), ("probes", 1), ("steps", 1), ("seed", 0)):
        checks.whole_number(getattr(task, name), name, least)
    if task.method is not None:
        checks.one_of(task.method, "method", planning.METHODS)
    return act


def measure(
    task: SpectrumTask, dataset: Dataset, *, report: Callable[[str], None] = lambda text: None
) -> KernelSpectrum:
    """Measure the spectrum of a kernel on the training points, on their device; ``report`` is told what comes next.

    Network: equation (3) with the width, activation and seed of the task. The kernel is stored or multiplied through
    its factors once for all (:func:`ntkspec.plan`). Cost: some (probes steps + 30 pairs + 100) products.
    """
    act, stages = check_task(task), Stages(report)
    X, y, seed = checks.as_matrix(dataset.X), checks.as_vector(dataset.y, "y", len(dataset.X)), task.seed
    pairs = min(task.pairs, len(X))
    kernels = _kernels(task, act, dataset)
    expected = task.probes * task.steps + 30 * pairs + 100
    operator, plan = stages("kernel", planning.prepare, kernels[task.kernel], expected, method=task.method)
    norm = stages("spectral norm", spectral_norm, operator, seed=seed)
    frobenius = stages("Frobenius norm", frobenius_norm, operator, rtol=FROBENIUS_RTOL, seed=seed)
    leading = stages("eigenpairs", eigsh, operator, pairs, seed=seed)
    total = None if task.kernel == "gap" else stages("trace", trace, operator)
    angles = None
    if task.kernel != "gap":
        other = kernels["linear" if task.kernel == "theta" else "theta"]
        opposite = stages("eigenpairs of the other kernel", eigsh, other, pairs, seed=seed)
        angles = subspace_angles(leading, opposite)
    found = KernelSpectrum(
        task=task if isinstance(task.activation, str) else replace(task, activation=act.name),
        dataset={"name": dataset.name, "n": X.shape[0], "d": X.shape[1], "trace_ratio": dataset.trace_ratio}
        | {"meta": dataset.meta},
        plan=plan,
        norm=norm,
        frobenius=frobenius,
        trace=total,
        effective_rank=total and effective_rank_of(total, norm),
        participation_ratio=total and participation_ratio_of(total, frobenius),
        leading=leading,
        energies=label_energy(leading, y),
        alignment=kernel_target_alignment(operator, y, rtol=FROBENIUS_RTOL, seed=seed),
        angles=angles,
        density=stages("density", spectral_density, operator, probes=task.probes, steps=task.steps, seed=seed),
        timings=stages.seconds,
    )
    return on_host(found)


def _kernels(task: SpectrumTask, act: Activation, dataset: Dataset) -> dict[str, KernelOperator]:
    X = dataset.X
    net = TwoLayer.symmetric(X.shape[1], task.width, act, seed=task.seed, second=task.second, dtype=X.dtype.type)
    theta = ntk(net.to(engine_of(X).name), X, layer=task.layer)
    linear = linear_kernel(act, X, layer=task.layer, trace_ratio=dataset.trace_ratio)
    return {"theta": theta, "linear": linear, "gap": theta - linear}
