"""A network and its linear models, trained side by side on synthetic data: what Figures 1 and 2 are drawn from."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from ntkspec import checks, datasets
from ntkspec.activations import activation, plain_name
from ntkspec.datasets import Dataset
from ntkspec.dynamics import LawLike, LossLike, learning_modes
from ntkspec.dynamics.batches import batch_of
from ntkspec.engines import named
from ntkspec.experiments.devices import placed
from ntkspec.experiments.forecast import Expected, Length
from ntkspec.experiments.recipes import RECIPE_TYPES, Recipe
from ntkspec.experiments.run_cache import Measurement
from ntkspec.experiments.side_by_side import FixedKernel, train_beside
from ntkspec.experiments.stages import Stages
from ntkspec.experiments.training_forecast import one_after_another, training_forecast
from ntkspec.kernels import linear_kernel, naive_linear_kernel
from ntkspec.networks import TwoLayer
from ntkspec.networks.two_layer import even_width
from ntkspec.operators import KernelOperator
from ntkspec.training import train_gd

# Test points whose outputs are kept, as in Figure 1b; records; and when linear learning counts as finished.
POINTS, RECORDS, FINISHED = 5, 60, 0.99
# The learning rate takes the average linear mode through so many e-folds in so many steps: linear learning then ends
# near step 1,000, as in Figure 1a.
E_FOLDS, LINEAR_STEPS = 5.0, 1000


@dataclass(frozen=True)
class Setting:
    """One comparison: x ~ N(0, I), the network of equation (3), both layers trained.

    target : "teacher" (sign of a random erf network of width 5) or "norm" (‖x‖/sqrt d + ReLU(a·x), section 3.4).
    eta : 0 chooses it (:func:`linear_rate`). naive : also train the linear model without the norm-dependent feature.
    engine : "cpu" or "gpu", where it is computed. law, loss, batch : of network and linear models alike
    (:class:`ntkspec.experiments.recipes.Recipe`).
    """

    activation: str
    d: int
    n: int
    width: int
    steps: int
    target: str = "teacher"
    n_test: int = 2000
    eta: float = 0.0
    naive: bool = False
    seed: int = 0
    dtype: str = "float32"
    engine: str = "cpu"
    law: LawLike = "gd"
    loss: LossLike = "squared"
    batch: int | None = None

    @property
    def recipe(self) -> Recipe:
        """How the models are trained."""
        return Recipe(self.law, self.loss, self.batch, self.seed)

    def __post_init__(self) -> None:
        object.__setattr__(self, "activation", plain_name(self.activation))


@dataclass(frozen=True)
class Run:
    """What was measured: by model ("network", "linear", "naive") and by "train" and "test", over ``steps``.

    losses : means over points, (1/2n) sum (f - y)² of the squared loss. discrepancies : mean squared differences from
    the network, for each linear model. outputs : (steps, 5) on the first test points. finished : the step at which the
    residual in the span of the linear model's features has lost 99 % of its square, as its eigenvalues say of all
    points in each step; inf for other losses than the squared one.
    """

    setting: Setting
    eta: float
    steps: np.ndarray
    losses: dict
    discrepancies: dict
    outputs: dict
    finished: float
    seconds: dict


def linear_rate(name: str, d: int) -> float:
    """5 d / (2 zeta² 1000): the average linear mode, 2 zeta²/d for x ~ N(0, I), passes 5 e-folds in 1,000 steps."""
    zeta = activation(name).constants.zeta
    if zeta == 0:
        raise ValueError(
            f"activation {name!r} has zeta = 0: its linear model learns no direction; pass a learning rate"
        )
    return E_FOLDS * d / (2 * zeta**2 * LINEAR_STEPS)


def _rate(setting: Setting) -> float:
    """That of the setting, or the automatic one: less with momentum, more for a loss of smaller curvature."""
    return setting.eta or linear_rate(setting.activation, setting.d) / setting.recipe.speed


def over_dimensions(main: Setting, dimensions: Iterable[int], steps: int) -> dict[str, list[Setting]]:
    """Settings of Figure 1c by title: at the main width, and at one that grows as d^1.5 through the main setting."""
    laws = {f"η ∝ d, fixed width {main.width}": 0.0, "η ∝ d, width grows as d^1.5": 1.5}
    return {
        title: [
            replace(main, d=d, width=_grown_width(main, d, power), steps=steps, eta=main.eta * d / main.d)
            for d in dimensions
        ]
        for title, power in laws.items()
    }


def _grown_width(main: Setting, d: int, power: float) -> int:
    """Even, and at least 2."""
    return 2 * max(1, round(main.width / 2 * (d / main.d) ** power))


def figure_steps(last: int) -> np.ndarray:
    """0, some 60 steps evenly spaced up to ``last``, and as many on a logarithmic axis."""
    spread = np.concatenate([[0], np.geomspace(1, max(1, last), RECORDS), np.linspace(0, last, RECORDS + 1)])
    return np.unique(spread.round().astype(np.int64))


def check_setting(setting: Setting) -> None:
    """Refuse a setting that cannot run, before anything is computed."""
    for name, least in (("d", 2), ("n", 2), ("n_test", POINTS), ("steps", 1), ("seed", 0)):
        checks.whole_number(getattr(setting, name), name, least)
    checks.learning_rate(setting.eta, "eta")
    batch = setting.recipe.checked().batch
    points = setting.n if batch is None else batch_of(batch, setting.n)
    flops = 4.0 * points * even_width(setting.width) * setting.d
    checks.duration(
        setting.steps, flops, f"training for {setting.steps} steps", "take fewer steps or a smaller setting"
    )
    activation(setting.activation)
    checks.one_of(setting.dtype, "dtype", ("float32", "float64"))
    named(setting.engine)
    if not setting.eta:
        _rate(setting)


def compare(setting: Setting, *, report: Callable[[str], None] = lambda text: None) -> Run:
    """Train the network, predict its linear models in closed form, and compare them at each recorded step.

    Cost: 4 n m d flops a step of training; the linear models take O(n d²).
    """
    check_setting(setting)
    stages, steps = Stages(report), figure_steps(setting.steps)
    eta = _rate(setting)
    data = _drawn(setting)
    kernels = {"linear": linear_kernel} | ({"naive": naive_linear_kernel} if setting.naive else {})
    found = train_beside(
        _network(setting),
        data,
        {name: _model(kernel, setting.activation, data, name) for name, kernel in kernels.items()},
        eta=eta,
        rates={"eta1": eta, "eta2": eta},
        steps=steps,
        recipe=setting.recipe,
        stages=stages,
        stage=f"training (d = {setting.d}, width {setting.width}, {setting.steps} steps)",
    ).on_host
    return Run(
        setting=setting,
        eta=eta,
        steps=steps,
        losses=found.losses(),
        discrepancies={name: found.differences("network", name) for name in kernels},
        outputs={name: found.outputs(name, "test")[:, :POINTS] for name in found.trajectories},
        finished=_finished(setting, data, eta),
        seconds=stages.seconds,
    )


def _drawn(setting: Setting) -> Dataset:
    """The data of a setting, on its engine."""
    how: dict[str, Any] = {"seed": setting.seed, "dtype": np.dtype(setting.dtype).type}
    drawn = datasets.gaussian(setting.n, setting.d, n_test=setting.n_test, target=setting.target, **how)
    return placed(setting.recipe.labelled(drawn), named(setting.engine))


def _network(setting: Setting) -> TwoLayer:
    """Its network at the start, on its engine."""
    how: dict[str, Any] = {"seed": setting.seed, "dtype": np.dtype(setting.dtype).type}
    return TwoLayer.symmetric(setting.d, setting.width, setting.activation, **how).to(setting.engine)


def _model(linear: Callable[..., KernelOperator], activation: str, data: Dataset, stage: str) -> FixedKernel:
    """A linear model on training and test points."""
    ratio = data.trace_ratio
    kernel_test = linear(activation, data.X_test, data.X, trace_ratio=ratio)
    return FixedKernel(linear(activation, data.X, trace_ratio=ratio), kernel_test, stage)


def _finished(setting: Setting, data: Dataset, eta: float) -> float:
    law = setting.recipe.spectral
    if law is None or not setting.recipe.squared:
        return math.inf
    linear = linear_kernel(setting.activation, data.X, trace_ratio=data.trace_ratio)
    return learning_modes(linear, data.y, eta=eta, law=law).steps_to_learn(FINISHED)


def runs_forecast(settings: Sequence[Setting]) -> Expected:
    """What training takes for one setting after the other, by a trial of a few steps of each."""
    return one_after_another(_forecast(setting) for setting in settings)


def _forecast(setting: Setting) -> Expected:
    data, net = _drawn(setting), _network(setting)
    train = partial(train_gd, net, data.X, data.y, eta1=1e-6, eta2=1e-6, **setting.recipe.arguments)
    models = 3 if setting.naive else 2
    length = Length(setting.steps, len(figure_steps(setting.steps)), models=models, batch=setting.batch)
    return training_forecast(train, data, length)


COMPARISON = Measurement("runs", (Run, Setting, *RECIPE_TYPES), check_setting, compare, runs_forecast)
