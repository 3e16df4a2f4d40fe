"""From a data set to a record: how close a two-layer network is to a linear model, in kernel and in training."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from scipy.linalg import eigvalsh, lstsq

from ntkspec import checks, planning
from ntkspec.activations import Activation, Constants, activation
from ntkspec.assumptions import DataSummary, summarize
from ntkspec.datasets import Dataset
from ntkspec.dynamics import (
    GradientDescent,
    Modes,
    Stability,
    Trajectory,
    UnstableRateWarning,
    learning_modes,
    predict_gd,
    stable_rate,
    warn_if_unstable,
)
from ntkspec.engines import engine_of
from ntkspec.evidence import Estimate, Evidence
from ntkspec.experiments.agreement import Agreement, agreement, loss, mean_squared_difference, relative_difference
from ntkspec.experiments.devices import on_host
from ntkspec.experiments.forecast import Forecast, forecast
from ntkspec.experiments.stages import Stages
from ntkspec.kernels import ntk, weighted_linear_kernel
from ntkspec.kernels.linear import LAYER_WEIGHTS
from ntkspec.networks import TwoLayer
from ntkspec.networks.two_layer import SECOND_LAYERS, even_width
from ntkspec.norms import frobenius_norm, spectral_norm
from ntkspec.operators import KernelOperator
from ntkspec.planning import Plan
from ntkspec.spectra import eigsh
from ntkspec.training import train_gd

THRESHOLDS = (0.01, 0.05, 0.10)
RECORDS = 80
MOST_STEPS, LEAST_STEPS, FLOPS_FOR_STEPS = 3000, 100, 1e14 / 3
# The automatic learning rate: the average linear mode passes this many e-folds in this part of the steps, ...
E_FOLDS, PART_OF_STEPS = 5.0, 1 / 3
# ... at most this part of the largest stable rate.
PART_OF_STABLE = 0.1


@dataclass(frozen=True)
class AnalyzeTask:
    """The settings of one analysis.

    eta1 = eta2 = None chooses the learning rate (equation (4)) from the kernel; steps = 0 takes 3000 steps, or as
    many (at least 100) as 3.3e13 flops train, some minutes on two cores. method : "dense", "factored" or None, how the
    kernels are multiplied (:func:`ntkspec.plan`).
    """

    activation: str | Activation = "erf"
    negative_slope: float | None = None
    width: int = 256
    layer: str = "both"
    second: str = "rademacher"
    eta1: float | None = None
    eta2: float | None = None
    steps: int = 0
    seed: int = 0
    method: str | None = None


@dataclass(frozen=True)
class KernelGap:
    """Norms of Theta, Theta^lin and their difference at initialization, and the leading eigenvalues of both.

    Unequal learning rates weight the layers: Theta = (eta1 Theta_1 + eta2 Theta_2) / max(eta1, eta2), and Theta^lin
    likewise.
    """

    theta: Estimate
    theta_lin: Estimate
    gap: Estimate
    gap_frobenius: Estimate
    theta_lin_frobenius: Estimate
    largest_stable_rate: float
    eigenvalues: np.ndarray
    eigenvalues_lin: np.ndarray


@dataclass(frozen=True)
class Comparison:
    """Two trajectories on one set of points: mean squared difference, relative to the second's outputs and to y."""

    mean_squared: np.ndarray
    relative: np.ndarray
    relative_to_labels: np.ndarray
    agreement: list[Agreement]
    agreement_to_labels: list[Agreement]


@dataclass(frozen=True)
class Analysis:
    """Everything that one analysis measured. Dictionaries are keyed by model ("network", "linear", "ntk"), by pair
    ("network-linear", ...) and by "train" and "test" ("test" is missing where there are no test points). modes : of the
    linear model; None where it or the labels are zero.
    """

    task: AnalyzeTask
    dataset: dict
    data: DataSummary
    constants: Constants
    assumption: str
    nu: float
    kernel: KernelGap
    rates: tuple[float, float]
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


# What storage.read needs to know to read an analysis back.
RECORD_TYPES = (
    *(Analysis, AnalyzeTask, KernelGap, Comparison, Agreement, Forecast),
    *(Estimate, Evidence, Plan, Trajectory, Stability, Modes, GradientDescent, Constants, DataSummary),
)


def record_steps(last: int) -> np.ndarray:
    """0 and about 80 steps up to ``last``, evenly spaced on a logarithmic axis."""
    return np.unique(np.concatenate([[0], np.geomspace(1, max(1, last), RECORDS).round(), [last]]).astype(np.int64))


def task_activation(task: AnalyzeTask) -> Activation:
    """The activation that a task names."""
    return activation(
        task.activation, **({} if task.negative_slope is None else {"negative_slope": task.negative_slope})
    )


def check_task(task: AnalyzeTask) -> None:
    """Refuse a task that cannot run, before anything is computed."""
    task_activation(task).constants  # noqa: B018
    checks.one_of(task.layer, "layer", checks.LAYERS)
    checks.whole_number(task.steps, "steps", 0)
    checks.whole_number(task.seed, "seed", 0)
    even_width(task.width)
    checks.one_of(task.second, "second", SECOND_LAYERS)
    if task.method is not None:
        checks.one_of(task.method, "method", planning.METHODS)
    for name, rate, weight in zip(("eta1", "eta2"), (task.eta1, task.eta2), LAYER_WEIGHTS[task.layer], strict=True):
        if rate is None:
            continue
        if checks.learning_rate(rate, name) > 0 and weight == 0:
            raise ValueError(f"{name}={rate:g} trains a layer that layer={task.layer!r} leaves alone; use layer='both'")
    if task.layer == "both" and (task.eta1 is None) != (task.eta2 is None):
        raise ValueError(f"eta1={task.eta1}, eta2={task.eta2}, but layer='both' needs both of them or neither")
    if (task.eta1, task.eta2) != (None, None) and not any((task.eta1, task.eta2)):
        raise ValueError("the learning rates are 0; at least one layer must be trained")


def analyze(task: AnalyzeTask, dataset: Dataset, *, report: Callable[[str], None] = lambda text: None) -> Analysis:
    """Compare network, NTK and linear model on a data set, on its device; ``report`` is told what comes next.

    Network: equation (3) with the width, activation and seed of the task, in the dtype of the data.
    Cost: mainly training, 4 n m d flops a step, and the norms, n² (m + d) flops. Raises ValueError / TypeError.
    """
    check_task(task)
    task = _with_steps(task, dataset)
    _check_dataset(dataset)
    needed = _check_memory(task, dataset)
    act, stages = task_activation(task), Stages(report)
    data = stages("data", summarize, dataset.X)
    net = TwoLayer.symmetric(
        dataset.X.shape[1], task.width, act, seed=task.seed, second=task.second, dtype=dataset.X.dtype.type
    ).to(engine_of(dataset.X).name)
    weights = _weights(task)
    theta = stages("features", _weighted_ntk, net, dataset.X, None, weights)
    linear = weighted_linear_kernel(act, dataset.X, weights=weights, trace_ratio=dataset.trace_ratio)
    trial = partial(train_gd, net, dataset.X, dataset.y, eta1=1e-6 * weights[0], eta2=1e-6 * weights[1])
    expected = stages("forecast", forecast, (theta, linear), trial, task.steps, needed)
    report(f"forecast: {expected}")
    theta, _ = stages("kernel", planning.prepare, theta, expected.plan.products, method=task.method)
    gap = stages("norms", _gap, theta, linear, task)
    rate = max(task.eta1 or 0.0, task.eta2 or 0.0) or _automatic_rate(task.steps, sum(weights), act, gap, data)
    rates = (rate * weights[0], rate * weights[1])
    warn_if_unstable(rate, float(gap.theta), len(dataset.y))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnstableRateWarning)
        trajectories, linear_test, trained = _trajectories(
            task, (act, net, theta, linear), dataset, (rate, weights), stages
        )
    labels = on_host({"train": dataset.y} | ({"test": dataset.y_test} if len(dataset.y_test) else {}))
    return Analysis(
        task=task if isinstance(task.activation, str) else replace(task, activation=act.name),
        dataset={"name": dataset.name, "trace_ratio": dataset.trace_ratio, "meta": dataset.meta},
        data=data,
        constants=act.constants,
        assumption=act.assumption,
        nu=act.constants.nu(dataset.trace_ratio),
        kernel=gap,
        rates=rates,
        steps=trajectories["network"].steps,
        labels=labels,
        trajectories=trajectories,
        losses=_losses(trajectories, labels),
        final_linear_loss=_least_linear_loss(linear, linear_test, labels),
        comparisons=_compare(trajectories, labels),
        weights=on_host({"W_initial": net.W, "v_initial": net.v, "W": trained.W, "v": trained.v}),
        timings=stages.seconds,
        forecast=expected,
        modes=learning_modes(linear, dataset.y, eta=rate) if labels["train"].any() and float(gap.theta_lin) else None,
    )


def _check_dataset(dataset: Dataset) -> None:
    X = checks.as_matrix(dataset.X)
    y = checks.as_vector(dataset.y, "y", len(X))
    if len(dataset.X_test):
        checks.as_matrix(dataset.X_test, "X_test", columns=X.shape[1])
        checks.as_vector(dataset.y_test, "y_test", len(dataset.X_test))
    largest = float(abs(y).max())
    if largest > 1:
        warnings.warn(f"labels reach |y| = {largest:.4g}, but the paper's theorems assume |y| <= 1", stacklevel=3)


def _with_steps(task: AnalyzeTask, dataset: Dataset) -> AnalyzeTask:
    """The task itself, or with the number of steps that the flops allow where it leaves that open."""
    allowed = int(FLOPS_FOR_STEPS / (4 * dataset.X.size * task.width))
    return task if task.steps else replace(task, steps=min(MOST_STEPS, max(LEAST_STEPS, allowed)))


def _check_memory(task: AnalyzeTask, dataset: Dataset) -> float:
    """Bytes, refused where they are not there: phi and phi' on half the neurons (of the training points once more for
    the kernel of the test points), three trajectories and as much again to form them, about 500 Krylov vectors in
    float64, and copies of the inputs in it."""
    layers, n, tests = sum(LAYER_WEIGHTS[task.layer]), len(dataset.X), len(dataset.X_test)
    features = layers * task.width / 2 * (n + (n + tests if tests else 0))
    entries = features + 6 * len(record_steps(task.steps)) * (n + tests)
    needed = entries * dataset.X.dtype.itemsize + 8 * 500 * n + 16 * dataset.X.size
    checks.memory(needed, engine_of(dataset.X), "the analysis", "take fewer points, a smaller width or float32")
    return needed


# --------------------------------------------------------------------------------------------------- kernels and rates
def _gap(theta: KernelOperator, linear: KernelOperator, task: AnalyzeTask) -> KernelGap:
    seed = task.seed
    n, psi = theta.shape[0], linear.thin_factors()[0].astype(np.float64, copy=False)
    norm, gap, d = spectral_norm(theta, seed=seed), theta - linear, psi.shape[1]
    eigenvalues_lin = eigvalsh(on_host(psi.T @ psi if psi.shape[1] < n else psi @ psi.T))[::-1]
    return KernelGap(
        theta=norm,
        theta_lin=spectral_norm(linear, seed=seed),
        gap=spectral_norm(gap, seed=seed, method=task.method),
        gap_frobenius=frobenius_norm(gap),
        theta_lin_frobenius=frobenius_norm(linear),
        largest_stable_rate=stable_rate(float(norm), n),
        eigenvalues=eigsh(theta, min(n, max(20, min(d + 10, 80))), which="LA", rtol=1e-3, seed=seed).values,
        eigenvalues_lin=eigenvalues_lin,
    )


def _weights(task: AnalyzeTask) -> tuple[float, float]:
    """The learning rates over the larger of them: Theta is the kernel of that combination of the layers."""
    if task.eta1 is None and task.eta2 is None:
        return LAYER_WEIGHTS[task.layer]
    eta1, eta2 = task.eta1 or 0.0, task.eta2 or 0.0
    return eta1 / max(eta1, eta2), eta2 / max(eta1, eta2)


def _automatic_rate(steps, layers, act, gap, data) -> float:
    mode = layers * act.constants.zeta**2 * data.trace_over_d / data.d
    stable = PART_OF_STABLE * min(gap.largest_stable_rate, stable_rate(float(gap.theta_lin), data.n))
    return min(stable, E_FOLDS / (PART_OF_STEPS * steps * mode)) if mode > 0 else stable


# ------------------------------------------------------------------------------------------------------- trajectories
def _trajectories(task, models, dataset, training, stages):
    """The three trajectories, the linear kernel of the test points, and the trained network."""
    (act, net, theta, linear), (rate, weights) = models, training
    X, y = dataset.X, dataset.y
    X_test = dataset.X_test if len(dataset.X_test) else None
    steps = record_steps(task.steps)
    linear_test = None
    if X_test is not None:
        linear_test = weighted_linear_kernel(act, X_test, X, weights=weights, trace_ratio=dataset.trace_ratio)
    theta_test = None if X_test is None else _weighted_ntk(net, X_test, X, weights)
    trajectories = {
        "linear": stages("linear prediction", predict_gd, linear, y, eta=rate, steps=steps, kernel_test=linear_test),
        "ntk": stages("NTK prediction", predict_gd, theta, y, eta=rate, steps=steps, kernel_test=theta_test),
    }
    rates = {"eta1": rate * weights[0], "eta2": rate * weights[1]}
    network = stages(f"training ({task.steps} steps)", train_gd, net, X, y, steps=steps, X_test=X_test, **rates)
    trajectories["network"] = replace(network, network=None)
    return on_host(trajectories), linear_test, network.network


def _least_linear_loss(linear: KernelOperator, linear_test: KernelOperator | None, labels) -> dict:
    """Losses where gradient descent on the linear model ends: the least-squares solution of least norm, in float64.

    Singular values below 10 eps of the data's dtype, relative to the largest, count as zero.
    """
    cutoff = 10 * float(np.finfo(linear.dtype).eps)
    features = {"train": linear.thin_factors()[0]}
    if linear_test is not None:
        features["test"] = linear_test.thin_factors()[0]
    features, labels = (
        {part: array.astype(np.float64, copy=False) for part, array in on_host(arrays).items()}
        for arrays in (features, labels)
    )
    coefficients = lstsq(features["train"], labels["train"], cutoff, lapack_driver="gelsy")[0]
    return {part: float(loss([F @ coefficients], labels[part])[0]) for part, F in features.items()}


def _weighted_ntk(net, X, X2, rates) -> KernelOperator:
    """eta1 Theta_1 + eta2 Theta_2, without a layer whose rate is 0."""
    first, *rest = (
        rate * ntk(net, X, X2, layer=layer) for rate, layer in zip(rates, ("first", "second"), strict=True) if rate > 0
    )
    return first + rest[0] if rest else first


def _part(trajectory: Trajectory, part: str):
    return trajectory.train if part == "train" else trajectory.test


def _losses(trajectories, labels) -> dict:
    return {
        name: {part: loss(_part(trajectory, part), y) for part, y in labels.items()}
        for name, trajectory in trajectories.items()
    }


def _compare(trajectories, labels) -> dict:
    pairs = (("network", "linear"), ("network", "ntk"), ("ntk", "linear"))
    return {
        f"{one}-{other}": {
            part: _comparison(
                _part(trajectories[one], part), _part(trajectories[other], part), y, trajectories[one].steps
            )
            for part, y in labels.items()
        }
        for one, other in pairs
    }


def _comparison(outputs, reference, y, steps) -> Comparison:
    difference = mean_squared_difference(outputs, reference)
    relative = relative_difference(outputs, reference)
    size = float(np.mean(np.square(y, dtype=np.float64)))
    to_labels = difference / size if size else difference
    return Comparison(
        difference,
        relative,
        to_labels,
        [agreement(steps, relative, threshold) for threshold in THRESHOLDS],
        [agreement(steps, to_labels, threshold) for threshold in THRESHOLDS],
    )
