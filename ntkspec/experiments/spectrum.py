"""The spectrum of one kernel of a setting: its ends, its density, its dimensions, and where the labels lie in it."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ntkspec import checks
from ntkspec.datasets import Dataset
from ntkspec.engines.arrays import Array
from ntkspec.experiments.devices import on_host
from ntkspec.experiments.linear_models import LinearModel, NearestLinear
from ntkspec.experiments.models import KernelModel, labelled, model_of
from ntkspec.experiments.network_tasks import NetworkTask, completed_task, storable_task
from ntkspec.experiments.own_networks import NetworkRecord, compared_with
from ntkspec.experiments.spectrum_forecast import FEW, Sizes, spectrum_forecast
from ntkspec.experiments.spread_models import Spread, SpreadModel
from ntkspec.experiments.stages import Stages
from ntkspec.objects.lazy import cached_property
from ntkspec.objects.notebook import Columned, Drawn, Row, Shown, Table
from ntkspec.operators import KernelOperator, planning
from ntkspec.operators.planning import Plan
from ntkspec.spectra.alignments import Angles, kernel_target_alignment, label_energy, subspace_angles
from ntkspec.spectra.densities import Density, spectral_density
from ntkspec.spectra.dimensions import effective_rank_of, participation_ratio_of
from ntkspec.spectra.eigenpairs import eigsh
from ntkspec.spectra.norms import frobenius_norm, spectral_norm
from ntkspec.spectra.results import Diagnostics, Estimate, Spectrum
from ntkspec.spectra.traces import trace

KERNELS = ("theta", "linear", "gap")
# Eigenpairs, where a task does not say how many.
PAIRS = 20
# The relative width of the Frobenius norm's interval, where all entries would take longer than that.
FROBENIUS_RTOL = 0.1


@dataclass(frozen=True)
class SpectrumTask(NetworkTask):
    """The settings of one spectrum.

    kernel : "theta" (the NTK at initialization), "linear" (Theta^lin) or "gap" (their difference). pairs : leading
    eigenpairs, at most the number of points; None is 20, or all where there are fewer. probes, steps : of the density
    (:func:`ntkspec.spectral_density`). outputs, of a network of the user's own: None is "mean"; its linear kernel is
    the nearest one.
    """

    kernel: str = "theta"
    pairs: int | None = None
    probes: int = 8
    steps: int = 100


@dataclass(frozen=True, repr=False)
class KernelSpectrum(Shown, Columned, Drawn):
    """What was measured. trace, effective_rank and participation_ratio are None for the difference of kernels, which is
    not semidefinite; angles (to the leading eigenspace of the other of Theta and Theta^lin of the same dimension) too,
    and for the kernel of all outputs. own : a network of the user's own. nearest : the linear kernel that is nearest to
    its own, where it has a row for each point.

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
    own: NetworkRecord | None = None
    nearest: NearestLinear | None = None

    def __repr__(self) -> str:
        return (
            f"KernelSpectrum ({self.task.kernel}) of {self.task} on {self.dataset['name']!r}, "
            f"{self.dataset['n']} points\n"
            f"norm {self.norm}; alignment with the labels {self.alignment.value:.4g}\n"
            f"{self.leading!r}"
        )

    def _shown(self) -> Table:
        named = {
            "spectral norm": self.norm,
            "Frobenius norm": self.frobenius,
            "trace": self.trace,
            "effective rank": self.effective_rank,
            "participation ratio": self.participation_ratio,
            "alignment with the labels": self.alignment,
        }
        linear = f"Θˡⁱⁿ, {compared_with(self.own)},"
        kernel = {"theta": "Θ", "linear": linear, "gap": f"Θ − {linear}"}[self.task.kernel]
        sizes = f"d = {self.dataset['d']}, n = {self.dataset['n']:,}"
        return Table(
            f"{self.dataset['name']}: {kernel} of {self.task.label}, {sizes}",
            [
                *(
                    Row(name, f"{found.value:.6g}", f"in [{found.lower:.6g}, {found.upper:.6g}]")
                    for name, found in named.items()
                    if found is not None
                ),
                *self.leading._shown().rows[:3],
                Row("labels", f"{self.energies.sum():.3g} of |y|²", "in the leading eigenvectors together"),
            ],
        )

    def _columns(self) -> dict[str, Any]:
        return self.leading._columns() | {"energy": self.energies}


# What storage.read needs to know to read one back.
SPECTRUM_TYPES = (
    KernelSpectrum,
    SpectrumTask,
    NetworkRecord,
    NearestLinear,
    Estimate,
    Diagnostics,
    Plan,
    Spectrum,
    Angles,
    Density,
)


def check_spectrum(task: SpectrumTask) -> SpectrumTask:
    """The task as it will run; refuses one that cannot, before anything is computed."""
    task = completed_task(task)
    checks.one_of(task.kernel, "kernel", KERNELS)
    for name in ("probes", "steps") if task.pairs is None else ("pairs", "probes", "steps"):
        checks.whole_number(getattr(task, name), name, 1)
    checks.duration(task.probes * task.steps, 1, f"{task.probes} probes of {task.steps} steps", "take fewer")
    if not task.own:
        return task
    outputs = "mean" if task.outputs is None else task.outputs
    if isinstance(outputs, str) and outputs == "full" and task.kernel != "theta":
        raise ValueError(
            f"kernel={task.kernel!r} of all outputs at once is not measured: its linear kernel is that of "
            f"outputs='mean' for each output; take outputs='mean' (--outputs mean)"
        )
    return replace(task, outputs=outputs)


def measure_spectrum(
    task: SpectrumTask,
    dataset: Dataset,
    *,
    spread: Spread | None = None,
    report: Callable[[str], None] = lambda text: None,
) -> KernelSpectrum:
    """Measure the spectrum of a kernel on the training points, on their device; ``report`` is told what comes next.

    Network: that of the task and its seed. The kernel is stored or multiplied through
    its factors once for all (:func:`ntkspec.plan`). Cost: some (probes steps + 30 pairs + 100) products.
    spread : the workers that multiply the kernel of a built-in network, each with its part of the points; the record
    is that of one machine, up to rounding, but for the eigenvectors, whose rows stay on the workers.
    """
    task, stages = check_spectrum(task), Stages(report)
    X, y, seed = checks.as_matrix(dataset.X), _checked_labels(dataset), task.seed
    if spread is not None:
        spread.check(task)
    model: KernelModel = (
        model_of(task, dataset) if spread is None else SpreadModel(task, _without_tests(dataset), spread)
    )
    if model.predicts_all:
        dataset = labelled(task, dataset)
        y = dataset.y
    theta = stages("features", model.full_ntk if model.predicts_all else model.ntk, X)
    rows = theta.shape[0]
    pairs = min(PAIRS, rows) if task.pairs is None else checks.whole_number(task.pairs, "pairs", 1, rows)
    sizes, method, plan = Sizes(pairs, task.probes, task.steps), task.method, None
    if model.theory is None:  # the nearest linear kernel takes products with Theta as well
        few = (model.full_ntk if model.predicts_all else model.ntk)(X[:FEW])
        stages.expect(spectrum_forecast(theta, None, sizes, few=few, again=task.kernel == "gap", method=method))
        theta, plan = stages("kernel", planning.prepare, theta, sizes.products, method=method)
    kernels = _Kernels(model, theta, stages)
    operator = kernels.named(task.kernel)
    other = None
    if task.kernel != "gap" and not model.predicts_all:
        other = kernels.named("linear" if task.kernel == "theta" else "theta")
    if plan is None:
        stages.expect(spectrum_forecast(operator, other, sizes, method=method))
    if plan is None or task.kernel != "theta":
        operator, plan = stages("kernel", planning.prepare, operator, sizes.products, method=method)
    norm = stages("spectral norm", spectral_norm, operator, seed=seed)
    frobenius = stages("Frobenius norm", frobenius_norm, operator, rtol=FROBENIUS_RTOL, seed=seed)
    leading = stages("eigenpairs", eigsh, operator, pairs, seed=seed)
    total = None if task.kernel == "gap" else stages("trace", trace, operator)
    angles = None
    if other is not None:
        opposite = stages("eigenpairs of the other kernel", eigsh, other, pairs, seed=seed)
        angles = subspace_angles(leading, opposite)
    fit = None if model.predicts_all else kernels.linear.fit
    found = KernelSpectrum(
        task=storable_task(task),
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
        own=model.record,
        nearest=NearestLinear.of(fit) if fit is not None else None,
    )
    return on_host(found) if spread is None else found


def _without_tests(dataset: Dataset) -> Dataset:
    return replace(dataset, X_test=dataset.X_test[:0], y_test=dataset.y_test[:0])


def _checked_labels(dataset: Dataset) -> Array:
    """(n,), or a column for each output."""
    if dataset.y.ndim == 2:
        return checks.as_matrix(dataset.y, "y")
    return checks.as_vector(dataset.y, "y", len(dataset.X))


class _Kernels:
    """Theta, Theta^lin and their difference; the nearest linear kernel is looked for when it is first asked for."""

    def __init__(self, model: KernelModel, theta: KernelOperator, stages: Stages):
        self.model, self.theta, self.stages = model, theta, stages

    @cached_property
    def linear(self) -> LinearModel:
        """The linear model, of theory where there is one."""
        known = self.model.theory
        return self.stages("nearest linear kernel", self.model.nearest, self.theta) if known is None else known

    def named(self, kernel: str) -> KernelOperator:
        """One of KERNELS."""
        if kernel == "theta":
            return self.theta
        return self.linear.compared if kernel == "linear" else self.theta - self.linear.compared
