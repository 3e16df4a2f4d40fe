"""Deep networks and one linear model trained side by side on images: what Figure 3 is drawn from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from ntkspec import checks, datasets
from ntkspec.activations import activation, plain_name
from ntkspec.datasets import Dataset
from ntkspec.dynamics.batches import batch_of
from ntkspec.engines import engine_of, named
from ntkspec.engines.arrays import Array, DTypeLike
from ntkspec.experiments.agreement import relative_difference
from ntkspec.experiments.devices import on_host, placed
from ntkspec.experiments.forecast import Expected, Length
from ntkspec.experiments.recipes import Recipe
from ntkspec.experiments.run_cache import Measurement
from ntkspec.experiments.side_by_side import train_beside
from ntkspec.experiments.stages import Stages
from ntkspec.experiments.training_forecast import one_after_another, training_forecast
from ntkspec.experiments.two_layer_runs import figure_steps
from ntkspec.kernels import linear_expansion, ntk
from ntkspec.networks import DeepNetwork
from ntkspec.networks.layers import Linear
from ntkspec.networks.specification import NetworkSpec
from ntkspec.operators import Gram, planning
from ntkspec.training import train_gd

# Test points whose outputs are kept, as in Figure 3b; points on which a network's kernel is fitted by the data kernel.
POINTS, FITTED = 3, 1000
# Points of a step, and pixels along a side with channels.
BATCH = 256
SIZES = {"cifar10": (32, 3), "mnist": (28, 1)}


@dataclass(frozen=True)
class DeepSetting:
    """One network of Figure 3 on two classes of images, with the linear model that goes with it.

    network : fc:LAYERSxWIDTH or cnn:LAYERSxCHANNELS:kSIZE, or "linear". eta : learning rate of the linear model
    x · delta / sqrt d; a network's is eta / kappa, its linear model being kappa X Xᵀ/d
    (:func:`ntkspec.linear_expansion`), so that all linear models coincide. batch : points of a step; all
    see the same batches. 0 is all points. engine : "cpu" or "gpu", where it is computed.
    """

    network: str
    data: str = "cifar10"
    classes: tuple[str, ...] = ("cat", "horse")
    pool: int = 4
    n: int = 10_000
    n_test: int = 2000
    activation: str = "erf"
    eta: float = 0.3
    steps: int = 3000
    batch: int = BATCH
    seed: int = 0
    dtype: str = "float32"
    engine: str = "cpu"

    def __post_init__(self) -> None:
        object.__setattr__(self, "activation", plain_name(self.activation))


@dataclass(frozen=True)
class DeepRun:
    """What was measured at ``steps``, on the test points.

    eta, kappa : the network's learning rate, and the coefficient of its linear model. fitted : that of X Xᵀ/d in its
    kernel at the start, in least squares off the diagonal of 1,000 points. inside, outside : mean squares of the parts
    of the residual in V_lin, the span of the inputs (d dimensions of n'), and in its complement; of the test points, or
    (part = "train") of the training points where d >= n' and V_lin is everything. loss :
    (1/2n) sum (f - y)² on the training points. outputs : (steps, n'). source : what the images are.
    """

    setting: DeepSetting
    eta: float
    kappa: float
    fitted: float
    steps: np.ndarray
    inside: np.ndarray
    outside: np.ndarray
    loss: np.ndarray
    outputs: np.ndarray
    source: str
    seconds: dict
    part: str = "test"


def check_deep_setting(setting: DeepSetting) -> None:
    """Refuse a setting that cannot run, before anything is computed."""
    checks.one_of(setting.data, "data", tuple(SIZES))
    if len(setting.classes) != 2:
        raise ValueError(f"classes={list(setting.classes)}, but two different classes are needed here: +1 and -1")
    checks.one_of(setting.dtype, "dtype", ("float32", "float64"))
    named(setting.engine)
    for name, least in (("pool", 1), ("n", 2), ("n_test", POINTS), ("steps", 1), ("batch", 0), ("seed", 0)):
        checks.whole_number(getattr(setting, name), name, least)
    if setting.batch:
        batch_of(setting.batch, setting.n)
    if checks.learning_rate(setting.eta, "eta") == 0:
        raise ValueError("eta=0 trains nothing; pass a rate above 0")
    act = activation(setting.activation)
    if not linear_expansion(act).proportional:
        raise ValueError(
            f"activation {act.name!r} is not odd, but Figure 3 compares with linear models that are multiples of X Xᵀ; "
            f"take erf, tanh or sin"
        )
    if setting.network != "linear":
        spec = NetworkSpec.parse(setting.network)
        spec.refuse_swapped()
        side, channels = SIZES[setting.data]
        shape = (side // setting.pool, side // setting.pool, channels)
        flops = 3 * spec.build_deep(shape, setting.activation).flops * (setting.batch or setting.n)
        checks.duration(setting.steps, flops, f"training for {setting.steps} steps", "take fewer")


def run_deep(setting: DeepSetting, *, report: Callable[[str], None] = lambda text: None) -> DeepRun:
    """Train the network (or the linear model) and decompose its test residual at each recorded step."""
    check_deep_setting(setting)
    stages, data = Stages(report), _images(setting)
    part = _decomposed_part(setting, data.X.shape[1])
    net = _network(setting, data).to(setting.engine)
    linear = setting.network == "linear"
    kappa = 1.0 if linear else linear_expansion(setting.activation, hidden_layers=net.n_weights - 1).data
    fitted = stages("kernel", data_coefficient, net, data.X[:FITTED])
    steps, eta = figure_steps(setting.steps), setting.eta / kappa
    found = train_beside(
        net,
        data,
        {},
        eta=eta,
        rates={"eta": eta},
        steps=steps,
        stages=stages,
        stage=f"training {setting.network}",
        recipe=Recipe(batch=setting.batch or None, seed=setting.seed),
    )
    inside, outside = decomposed(found.residuals("network", part), data.X_test if part == "test" else data.X)
    return DeepRun(
        setting=setting,
        eta=eta,
        kappa=kappa,
        fitted=fitted,
        steps=steps,
        inside=inside,
        outside=outside,
        loss=_mean_squares(found.residuals("network", "train")) / 2,
        outputs=on_host(found.outputs("network", "test")),
        source=data.name,
        part=part,
        seconds=stages.seconds,
    )


def _images(setting: DeepSetting) -> Dataset:
    """The images of a setting, on its engine."""
    load = {"cifar10": datasets.cifar10, "mnist": datasets.mnist}[setting.data]
    sizes: dict[str, Any] = {"n": setting.n, "n_test": setting.n_test, "pool": setting.pool}
    sizes |= {"seed": setting.seed, "dtype": np.dtype(setting.dtype).type}
    return placed(load(setting.classes, **sizes), named(setting.engine))


def _decomposed_part(setting: DeepSetting, d: int) -> str:
    """The points whose residual has parts in V_lin and outside: more of them than dimensions. Raises ValueError."""
    if setting.n_test > d:
        return "test"
    if setting.n > d:
        return "train"
    raise ValueError(
        f"n={setting.n} and n_test={setting.n_test} points of d={d} dimensions have no residual outside the span of "
        f"their inputs; take more points, or average the images with a larger pool"
    )


def _network(setting: DeepSetting, data: Dataset) -> DeepNetwork:
    dtype = np.dtype(setting.dtype).type
    if setting.network == "linear":
        return DataModel(data.X.shape[1], dtype)
    spec = NetworkSpec.parse(setting.network)
    return spec.build_deep(data.meta["shape"], setting.activation, seed=setting.seed, dtype=dtype)


class DataModel(DeepNetwork):
    """x · delta / sqrt d from delta = 0, whose kernel is X Xᵀ/d: the linear model where vartheta0 = vartheta1 = 0."""

    def __init__(self, d: int, dtype: DTypeLike):
        super().__init__([Linear(d, 1)], [np.zeros((1, d), dtype)], activation("identity"))

    @property
    def dim(self) -> int:
        """d."""
        return self.parameters[0].shape[1]

    @property
    def activations_per_point(self) -> int:
        """d."""
        return self.dim


def data_coefficient(net: DeepNetwork, X: Array) -> float:
    """kappa that makes kappa X Xᵀ/d closest to the network's kernel off the diagonal, in least squares."""
    theta, gram = ntk(net, X).to_dense(np.float64), Gram(X).to_dense(np.float64) / X.shape[1]
    off = ~engine_of(X).xp.eye(len(X), dtype=bool)
    return float(theta[off] @ gram[off] / (gram[off] @ gram[off]))


def decomposed(residuals: Array, X_test: Array) -> tuple[np.ndarray, np.ndarray]:
    """Mean squares of each residual's (steps, n') part in the span of the columns of X_test, and of the rest."""
    Q, sizes, _ = engine_of(X_test).xp.linalg.svd(X_test.astype(np.float64), full_matrices=False)
    Q = Q[:, : int((sizes > 1e-6 * sizes[0]).sum())]
    inside = on_host(((residuals @ Q) ** 2).sum(axis=1)) / len(X_test)
    return inside, _mean_squares(residuals) - inside


def _mean_squares(residuals: Array) -> np.ndarray:
    """Of each row, in float64."""
    return on_host((residuals.astype(np.float64) ** 2).mean(axis=1))


def relative_mse(run: DeepRun, linear: DeepRun) -> np.ndarray:
    """E |f - f^lin|² / E |f^lin|² on the test points, Figure 3c; step 0 says nothing, all outputs are zero."""
    return relative_difference(run.outputs, linear.outputs)


def deep_forecast(settings: Sequence[DeepSetting]) -> Expected:
    """What training takes for one network after the other, by a trial of a few steps of each."""
    data = {replace(setting, network="linear"): setting for setting in settings}
    drawn = {key: _images(setting) for key, setting in data.items()}
    return one_after_another(_forecast(setting, drawn[replace(setting, network="linear")]) for setting in settings)


def _forecast(setting: DeepSetting, data: Dataset) -> Expected:
    net, batch = _network(setting, data).to(setting.engine), setting.batch or None
    train = partial(train_gd, net, data.X, data.y, eta=1e-6, batch=batch, seed=setting.seed)
    length = Length(setting.steps, len(figure_steps(setting.steps)), batch=batch)
    found, some = training_forecast(train, data, length), data.X[:FITTED]
    kernel = ntk(net, some)
    work = len(some) ** 2 * kernel.cost.entry
    return replace(found, seconds={"kernels": planning.clock(kernel, work)(work)} | found.seconds)


DEEP_COMPARISON = Measurement("deep runs", (DeepRun, DeepSetting), check_deep_setting, run_deep, deep_forecast)
