"""From a data set to a record: how close a network is to a linear model, in kernel and in training."""

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from scipy.linalg import lstsq

from ntkspec import checks
from ntkspec.activations import Constants
from ntkspec.datasets import Dataset
from ntkspec.dynamics import (
    LawLike,
    LossLike,
    Modes,
    SpectralLaw,
    Stability,
    Trajectory,
    UnstableRateWarning,
    learning_modes,
    stable_rate,
    warn_if_unstable,
)
from ntkspec.dynamics.batches import batch_of
from ntkspec.engines import engine_of
from ntkspec.engines.arrays import Array
from ntkspec.experiments.agreement import (
    Agreement,
    agreement,
    loss,
    mean_squared_difference,
    relative_difference,
    why_not_finite,
)
from ntkspec.experiments.devices import on_host
from ntkspec.experiments.forecast import PREDICTION, Forecast, Length, forecast
from ntkspec.experiments.kernel_gap import KernelGap, MeasuredKernels, measured_kernels
from ntkspec.experiments.linear_models import NearestLinear
from ntkspec.experiments.models import Model, labelled, model_of
from ntkspec.experiments.network_tasks import NetworkTask, completed_task, storable_task
from ntkspec.experiments.own_networks import NetworkRecord, compared_with, own_network
from ntkspec.experiments.recipes import RECIPE_TYPES, Recipe, storable
from ntkspec.experiments.side_by_side import FixedKernel, SideBySide, train_beside
from ntkspec.experiments.spread_models import Spread, TrainedSpreadModel
from ntkspec.experiments.stages import Stages
from ntkspec.kernels.linear import LAYER_WEIGHTS
from ntkspec.networks.naming import matching
from ntkspec.networks.protocol import names_of
from ntkspec.objects.notebook import Columned, Drawn, Row, Shown, Table
from ntkspec.objects.words import counted
from ntkspec.operators import KernelOperator, planning
from ntkspec.operators.planning import Plan
from ntkspec.spectra.results import Diagnostics, Estimate
from ntkspec.theory.assumptions import DataSummary, summarize
from ntkspec.training import train_gd

THRESHOLDS = (0.01, 0.05, 0.10)
RECORDS = 80
MOST_STEPS, LEAST_STEPS, FLOPS_FOR_STEPS = 3000, 100, 1e14 / 3
# The automatic learning rate: the average linear mode passes this many e-folds in this part of the steps, ...
E_FOLDS, PART_OF_STEPS = 5.0, 1 / 3
# ... at most this part of the largest stable rate.
PART_OF_STABLE = 0.1
# About how many Krylov vectors the norms keep.
KRYLOV = 500


@dataclass(frozen=True)
class AnalyzeTask(NetworkTask):
    """The settings of one analysis.

    eta1 = eta2 = None chooses the learning rate (equation (4)) from the kernel; deep networks have one rate, eta1 =
    eta2. steps = 0 takes 3000 steps, or as many (at least 100) as 3.3e13 flops train, some minutes on two cores.
    outputs, of a network of the user's own: "full" (None) trains all of K outputs and predicts them by the kernel of
    all; "mean" predicts each output by the mean of their kernels; a number, weights (K,) or "sum" train one function.
    law, loss, batch : of network, kernel and linear model alike, as :func:`ntkspec.train_gd` and
    :func:`ntkspec.predict_gd` take them; the seed draws the batches too. Columns of classes become the labels that the
    loss takes.
    """

    eta1: float | None = None
    eta2: float | None = None
    steps: int = 0
    law: LawLike = "gd"
    loss: LossLike = "squared"
    batch: int | None = None

    @property
    def recipe(self) -> Recipe:
        """How network, kernel and linear model are trained."""
        return Recipe(self.law, self.loss, self.batch, self.seed)

    @property
    def layer_weights(self) -> Sequence[float]:
        """The learning rates over the larger of them: Theta is the kernel of that combination of the layers."""
        if self.eta1 is None and self.eta2 is None:
            return super().layer_weights
        eta1, eta2 = self.eta1 or 0.0, self.eta2 or 0.0
        return eta1 / max(eta1, eta2), eta2 / max(eta1, eta2)


@dataclass(frozen=True, repr=False)
class Comparison:
    """Two trajectories on one set of points: mean squared difference, relative to the second's outputs and to y.

    note : why some of them are not finite, and from which step on; empty where all are.
    """

    mean_squared: np.ndarray
    relative: np.ndarray
    relative_to_labels: np.ndarray
    agreement: list[Agreement]
    agreement_to_labels: list[Agreement]
    note: str = ""

    def __repr__(self) -> str:
        largest, last = (self.mean_squared[place] for place in (self.mean_squared.argmax(), -1))
        moved = f"mean squared difference up to {largest:.4g}, {last:.4g} at the end"
        return f"Comparison at {len(self.relative)} steps: {moved}"


@dataclass(frozen=True, repr=False)
class Analysis(Shown, Columned, Drawn):
    """Everything that one analysis measured. Dictionaries are keyed by model ("network", "linear", "ntk"), by pair
    ("network-linear", ...) and by "train" and "test" ("test" is missing where there are no test points). rates : (eta1,
    eta2), of a deep network (eta,). losses : means over points of the loss of the task. final_linear_loss : where the
    linear model ends; empty where the loss is not the squared one. weights : W and v at the start and after training,
    of a deep network lists. modes : of the linear model; None where it or the labels are zero, and where the loss or
    the law has none. accuracies : as ``losses``, where labels are columns of
    classes; otherwise empty. own : a network of the user's own, which has no activation, constants and nu. nearest :
    the linear kernel that is nearest to Theta, whatever theory says; None in older result files.
    """

    task: AnalyzeTask
    dataset: dict
    data: DataSummary
    constants: Constants | None
    assumption: str
    nu: float
    kernel: KernelGap
    rates: tuple[float, ...]
    steps: np.ndarray
    labels: dict
    trajectories: dict[str, Trajectory]
    losses: dict
    final_linear_loss: dict
    comparisons: dict
    weights: dict
    timings: dict = field(default_factory=dict)
    forecast: Forecast | None = None
    modes: Modes | None = None
    accuracies: dict = field(default_factory=dict)
    own: NetworkRecord | None = None
    nearest: NearestLinear | None = None

    @property
    def judged_part(self) -> str:
        """The points that models are compared on: "test" where there are any, otherwise "train"."""
        return "test" if "test" in self.labels else "train"

    @property
    def recipe(self) -> Recipe:
        """How it was trained."""
        return self.task.recipe

    @property
    def largest_stable_rate(self) -> float | None:
        """The learning rate up to which the kernel's training is stable, whatever the outputs are; None where the law
        or the loss was the user's own."""
        limit = self.recipe.limit
        return None if limit is None else limit / 2 * self.kernel.largest_stable_rate

    @property
    def diverged_after(self) -> int | None:
        """The last recorded step before training diverged; None where it did not."""
        finite = np.isfinite(self.losses["network"]["train"])
        return None if finite.all() else int(self.steps[finite][-1])

    def __repr__(self) -> str:
        losses = ", ".join(f"{name} {parts['train'][-1]:.4g}" for name, parts in self.losses.items())
        return (
            f"Analysis of {self.task} on {self.dataset['name']!r}, {self.data.n} training points, "
            f"{self.steps[-1]} steps\n"
            f"{self.kernel!r}\n"
            f"training losses at the last step: {losses}"
        )

    def _shown(self) -> Table:
        from ntkspec.experiments.verdict import verdict  # which is built on this module

        kernel, last, stable = self.kernel, self.steps[-1], self.largest_stable_rate
        last_losses = {
            name: {part: values[-1] for part, values in parts.items()} for name, parts in self.losses.items()
        }
        return Table(
            f"{self.dataset['name']}: {self.task.label}, d = {self.data.d}, n = {self.data.n:,}",
            [
                *(Row("verdict", line) for line in verdict(self)[:3]),
                Row("‖Θ‖", f"{float(kernel.theta):.5g}", "spectral norm of the NTK at initialization"),
                Row("‖Θˡⁱⁿ‖", f"{float(kernel.theta_lin):.5g}", f"of {compared_with(self.own)}"),
                Row("‖Θ − Θˡⁱⁿ‖", f"{float(kernel.gap):.5g}", "of their difference"),
                Row("training", self.recipe.words),
                Row("learning rate", f"{max(self.rates):.4g}", f"below {stable:.4g} it is stable" if stable else ""),
                *(
                    Row(
                        f"loss, {name}",
                        ", ".join(f"{part} {value:.4g}" for part, value in parts.items()),
                        f"at step {last}",
                    )
                    for name, parts in last_losses.items()
                ),
            ],
        )

    def _columns(self) -> dict[str, Any]:
        """A row for each model, part and step."""
        rows = [(name, part) for name, parts in self.losses.items() for part in parts]
        columns = {
            "model": np.repeat([name for name, _ in rows], len(self.steps)),
            "part": np.repeat([part for _, part in rows], len(self.steps)),
            "step": np.tile(self.steps, len(rows)),
        }
        over_steps = {"loss": self.losses} | ({"accuracy": self.accuracies} if self.accuracies else {})
        values = {what: [found[name][part] for name, part in rows] for what, found in over_steps.items()}
        return columns | {what: np.concatenate(found) for what, found in values.items()}


# What storage.read needs to know to read an analysis back.
RECORD_TYPES = (
    *(Analysis, AnalyzeTask, KernelGap, Comparison, Agreement, Forecast, NetworkRecord, NearestLinear),
    *(Estimate, Diagnostics, Plan, Trajectory, Stability, Modes, Constants, DataSummary, *RECIPE_TYPES),
)


def logarithmic_steps(last: int) -> np.ndarray:
    """0 and about 80 steps up to ``last``, evenly spaced on a logarithmic axis."""
    return np.unique(np.concatenate([[0], np.geomspace(1, max(1, last), RECORDS).round(), [last]]).astype(np.int64))


def check_analysis(task: AnalyzeTask) -> AnalyzeTask:
    """The task as it will run; refuses one that cannot, before anything is computed."""
    task = completed_task(task)
    checks.whole_number(task.steps, "steps", 0)
    task.recipe.checked()
    if task.eta1 is None and task.eta2 is None:
        task.recipe.speed  # noqa: B018
    if task.deep and task.eta1 != task.eta2:
        raise ValueError(
            f"eta1={task.eta1}, eta2={task.eta2}, but {task.name} trains all layers at one rate; use eta alone"
        )
    if task.own:
        return _checked_own(task)
    for name, rate, weight in zip(("eta1", "eta2"), (task.eta1, task.eta2), LAYER_WEIGHTS[task.layer], strict=True):
        if rate is None:
            continue
        if checks.learning_rate(rate, name) > 0 and weight == 0:
            raise ValueError(f"{name}={rate:g} trains a layer that layer={task.layer!r} leaves alone; use layer='both'")
    if task.layer == "both" and (task.eta1 is None) != (task.eta2 is None):
        raise ValueError(f"eta1={task.eta1}, eta2={task.eta2}, but layer='both' needs both of them or neither")
    if (task.eta1, task.eta2) != (None, None) and not any((task.eta1, task.eta2)):
        raise ValueError("the learning rates are 0; at least one layer must be trained")
    return task


def _checked_own(task: AnalyzeTask) -> AnalyzeTask:
    """The same for a network of the user's own."""
    if task.layer != "all" and not isinstance(task.network, str):
        net = own_network(task.network).net
        shared = getattr(net, "tied", {})
        names = {name: [name, *shared.get(name, [])] for name in names_of(net)}
        if len(matching(task.layer, "layer", names)) < len(names):
            raise ValueError(
                f"layer={task.layer!r}, but training trains all parameters of a network; freeze the others: "
                f"ntkspec.from_torch(module, parameters={task.layer!r})"
            )
    outputs = "full" if task.outputs is None else task.outputs
    if isinstance(outputs, str) and outputs == "trace":
        raise ValueError(
            "outputs='trace' is the sum of K kernels, which predicts training K times too fast; take 'full' (exact) or "
            "'mean' (each output by the mean of the kernels)"
        )
    if task.eta1 == 0:
        raise ValueError("the learning rate is 0; pass one above 0, or none")
    return replace(task, outputs=outputs)


def analyze(
    task: AnalyzeTask,
    dataset: Dataset,
    *,
    spread: Spread | None = None,
    report: Callable[[str], None] = lambda text: None,
) -> Analysis:
    """Compare network, NTK and linear model on a data set, on its device; ``report`` is told what comes next.

    Network: that of the task and its seed, in the dtype of the data. spread : the workers that multiply Theta and its
    difference from Theta^lin, each with its part of the points; this machine trains the network and predicts the linear
    model, and no nearest linear kernel is looked for.
    Cost: mainly training (of two layers 4 n m d flops a step), and the norms, n² (m + d) flops. Raises ValueError /
    TypeError.
    """
    task = check_analysis(task)
    _check_dataset(dataset)
    dataset = task.recipe.labelled(labelled(task, dataset))
    if task.batch is not None:
        batch_of(task.batch, len(dataset.X))
    model, stages = _model(task, dataset, spread), Stages(report)
    task = _with_steps(task, model)
    held = engine_of(dataset.X).used_memory() + _check_memory(task, model, krylov=0 if spread else KRYLOV)
    points = _points_of_a_step(task, dataset)
    checks.duration(task.steps, points * model.step_flops, f"training for {task.steps} steps", "take fewer")
    compared = None if model.theory is None else model.theory.compared
    data = stages("data", summarize, dataset.X)
    theta = stages("features", model.ntk, dataset.X)
    full = stages("features of all outputs", model.full_ntk, dataset.X) if model.predicts_all else None
    tested = _test_kernel(model) if task.own else None  # nothing is made yet, and what theta makes stays for it
    trial = partial(train_gd, model.net, model.inputs.train, dataset.y, **model.training(1e-6), **task.recipe.arguments)
    length = Length(task.steps, len(logarithmic_steps(task.steps)), batch=task.batch)
    products = 0 if task.recipe.closed else task.steps * _columns(model)
    work = partial(forecast, length=length, full=full, tests=len(dataset.X_test), products=products)
    expected = stages("forecast", work, theta, compared, trial, held=held, method=task.method)
    stages.expect(expected)
    theta, _ = stages("kernel", planning.prepare, theta, expected.plan.products, method=task.method)
    kernels = measured_kernels(model, theta, full, stages, predicting=products or PREDICTION)
    linear, gap, models = kernels.linear, kernels.gap, _fixed_kernels(model, kernels, tested)
    rate = max(task.eta1 or 0.0, task.eta2 or 0.0) or _automatic_rate(task, linear.data_coefficient, gap, data)
    if task.recipe.spectral is not None:
        warn_if_unstable(rate, float(gap.predicting), len(dataset.y), task.recipe.spectral, loss=task.recipe.loss)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnstableRateWarning)
        found = train_beside(
            model.net,
            dataset,
            models,
            eta=rate,
            rates=model.training(rate),
            steps=logarithmic_steps(task.steps),
            recipe=task.recipe,
            stages=stages,
            stage=f"training ({counted(task.steps, 'step')})",
            start=model.start,
            inputs=model.inputs,
        ).on_host
    return Analysis(
        task=_as_stored(task),
        dataset={"name": dataset.name, "trace_ratio": dataset.trace_ratio, "meta": dataset.meta},
        data=data,
        **_theory(task, dataset),
        kernel=gap,
        rates=tuple(model.rates(rate).values()),
        steps=found.trajectories["network"].steps,
        labels=found.labels,
        trajectories=found.trajectories,
        losses=found.losses(),
        final_linear_loss=_least_linear_loss(models["linear"], found) if task.recipe.squared else {},
        comparisons=_compare(found),
        weights=on_host(model.stored(found.network)),
        timings=stages.seconds,
        forecast=expected,
        modes=_modes(model, linear.kernel, rate, task.recipe.spectral if task.recipe.squared else None),
        accuracies=found.accuracies(),
        own=model.record,
        nearest=kernels.nearest,
    )


def _model(task: AnalyzeTask, dataset: Dataset, spread: Spread | None) -> Model:
    if spread is None:
        return model_of(task, dataset)
    spread.check(task)
    return TrainedSpreadModel(task, dataset, spread)


def _as_stored(task: AnalyzeTask) -> AnalyzeTask:
    recipe = storable(task.recipe)
    return replace(storable_task(task), law=recipe.law, loss=recipe.loss)


def _theory(task: AnalyzeTask, dataset: Dataset) -> dict[str, Any]:
    """What the activation enters the linear model with; a network of the user's own has no one activation."""
    if task.own:
        return {"constants": None, "assumption": "", "nu": 0.0}
    constants = task.act.constants
    return {"constants": constants, "assumption": task.act.assumption, "nu": constants.nu(dataset.trace_ratio)}


def _modes(model: Model, linear: KernelOperator, rate: float, law: SpectralLaw | None) -> Modes | None:
    """Of the linear model under a law with modes; None where there is nothing to learn."""
    y, start = model.dataset.y, model.start
    residual = y if start is None else y - start.train
    something = law is not None and residual.any() and linear.low_rank_factors()[0].any()
    return learning_modes(linear, residual, eta=rate, law=law) if law is not None and something else None


def _check_dataset(dataset: Dataset) -> None:
    X = checks.as_matrix(dataset.X)
    y = _checked_labels(dataset.y, "y", len(X))
    if len(dataset.X_test):
        checks.as_matrix(dataset.X_test, "X_test", columns=X.shape[1])
        _checked_labels(dataset.y_test, "y_test", len(dataset.X_test))
    largest = float(abs(y).max())
    if largest > 1:
        warnings.warn(f"labels reach |y| = {largest:.4g}, but the paper's theorems assume |y| <= 1", stacklevel=3)


def _checked_labels(y: Array, name: str, n: int) -> Array:
    """(n,), or a column for each output."""
    if y.ndim != 2 or len(y) != n:
        return checks.as_vector(y, name, n)
    return checks.as_matrix(y, name, needed="(n, K) is needed: a row for each data point")


def _with_steps(task: AnalyzeTask, model: Model) -> AnalyzeTask:
    """The task itself, or with the number of steps that the flops allow where it leaves that open."""
    allowed = int(FLOPS_FOR_STEPS / (_points_of_a_step(task, model.dataset) * model.step_flops))
    return task if task.steps else replace(task, steps=min(MOST_STEPS, max(LEAST_STEPS, allowed)))


def _points_of_a_step(task: AnalyzeTask, dataset: Dataset) -> int:
    return min(len(dataset.X), task.batch or len(dataset.X))


def _columns(model: Model) -> int:
    """Products with the predicting kernel in each step of a prediction that has no closed form."""
    y = model.dataset.y
    return 1 if y.ndim == 1 or model.predicts_all else y.shape[1]


def _check_memory(task: AnalyzeTask, model: Model, *, krylov: int) -> float:
    """Bytes, refused where they are not there: what the kernels hold, three trajectories and as much again to form
    them, so many Krylov vectors in float64, and copies of the inputs in it."""
    X, points = model.dataset.X, len(model.dataset.X) + len(model.dataset.X_test)
    outputs = model.dataset.y[0].size  # one number for a point, or K
    entries = model.entries + 6 * len(logarithmic_steps(task.steps)) * points * outputs
    needed = entries * X.dtype.itemsize + 8 * krylov * len(X) * outputs + 16 * X.size
    checks.memory(needed, engine_of(X), "the analysis", "take fewer points, a smaller network or float32")
    return needed


# --------------------------------------------------------------------------------------------------- kernels and rates
def _automatic_rate(task: AnalyzeTask, coefficient: float, gap: KernelGap, data: DataSummary) -> float:
    mode = coefficient * data.trace_over_d / data.d * task.recipe.speed
    slowest = min(gap.largest_stable_rate, stable_rate(float(gap.theta_lin), data.n))
    stable = PART_OF_STABLE * (task.recipe.limit or 2.0) / 2 * slowest
    rate = min(stable, E_FOLDS / (PART_OF_STEPS * task.steps * mode)) if mode > 0 else stable
    if math.isfinite(rate):
        return rate
    raise ValueError(
        "the kernel of the network is zero at the training points, so that training does not move its outputs and no "
        "learning rate follows from it; look for units that are dead at the start, and for outputs too small for "
        "the dtype"
    )


# ------------------------------------------------------------------------------------------------------- trajectories
def _test_kernel(model: Model) -> KernelOperator | None:
    """The kernel between test points and training points that predicts the training."""
    X, X_test = model.dataset.X, model.dataset.X_test
    if not len(X_test):
        return None
    return model.full_ntk(X_test, X) if model.predicts_all else model.ntk(X_test, X)


def _fixed_kernels(model: Model, kernels: MeasuredKernels, tested: KernelOperator | None) -> dict[str, FixedKernel]:
    """The linear model and the NTK at initialization, with their kernels of the test points."""
    theta_test = _test_kernel(model) if tested is None else tested
    return {
        "linear": FixedKernel(kernels.linear.kernel, kernels.linear.kernel_test, "linear prediction"),
        "ntk": FixedKernel(kernels.predicting, theta_test, "NTK prediction"),
    }


def _least_linear_loss(linear: FixedKernel, found: SideBySide) -> dict[str, float]:
    """Losses where gradient descent on the linear model ends: at the start, plus the least-squares solution of least
    norm of what is left there, in float64.

    Singular values below 10 eps of the data's dtype, relative to the largest, count as zero.
    """
    cutoff = 10 * float(np.finfo(linear.kernel.dtype).eps)
    features = {"train": linear.kernel.low_rank_factors()[0]}
    if linear.kernel_test is not None:
        features["test"] = linear.kernel_test.low_rank_factors()[0]
    features = {part: array.astype(np.float64, copy=False) for part, array in on_host(features).items()}
    begins = {part: found.outputs("linear", part)[0] for part in features}  # the first recorded step is 0
    labels = {part: y.astype(np.float64, copy=False) for part, y in found.labels.items()}
    left = labels["train"] - begins["train"]
    coefficients = lstsq(features["train"], left, cutoff, lapack_driver="gelsy")[0]
    return {part: float(loss([begins[part] + F @ coefficients], labels[part])[0]) for part, F in features.items()}


def _compare(found: SideBySide) -> dict[str, dict[str, Comparison]]:
    pairs = (("network", "linear"), ("network", "ntk"), ("ntk", "linear"))
    return {
        f"{one}-{other}": {
            part: _comparison(found.outputs(one, part), found.outputs(other, part), y, found.trajectories[one].steps)
            for part, y in found.labels.items()
        }
        for one, other in pairs
    }


def _comparison(outputs, reference, y, steps) -> Comparison:
    difference = mean_squared_difference(outputs, reference)
    relative = relative_difference(outputs, reference)
    size = float(mean_squared_difference([y], np.zeros_like(y))[0])
    to_labels = difference / size if size else difference
    return Comparison(
        difference,
        relative,
        to_labels,
        [agreement(steps, relative, threshold) for threshold in THRESHOLDS],
        [agreement(steps, to_labels, threshold) for threshold in THRESHOLDS],
        why_not_finite(steps, outputs, reference, relative),
    )
