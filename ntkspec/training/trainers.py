"""Which rates a network takes, and what trains it: the general way, or a faster one, registered for its class."""

from functools import singledispatch
from numbers import Real
from typing import Any

from ntkspec import checks
from ntkspec.dynamics.rates import RateLike, at, rate_of
from ntkspec.engines import engine_of
from ntkspec.networks import DeepNetwork, IndependentOutputs, TwoLayer
from ntkspec.training.descent import Descent
from ntkspec.training.descent_fused import FusedDescent
from ntkspec.training.descent_independent import IndependentDescent
from ntkspec.training.descent_network import DeepDescent, NetworkDescent
from ntkspec.training.targets import ALL
from ntkspec.training.task import Rates, Task
from ntkspec.training.trainer import Trainer


def trainer_of(task: Task) -> Trainer:
    """What trains the network of a task."""
    return _by_class(task.net, task)


@singledispatch
def _by_class(net: Any, task: Task) -> Trainer:
    return NetworkDescent(task)


@_by_class.register
def _(net: DeepNetwork, task: Task) -> Trainer:
    return DeepDescent(task)


@_by_class.register
def _(net: IndependentOutputs, task: Task) -> Trainer:
    """Each for itself, where the loss does not hold the outputs of a point together."""
    apart = task.reading is ALL and task.loss.elementwise
    return IndependentDescent(task, trainer_of) if apart else NetworkDescent(task)


@_by_class.register
def _(net: TwoLayer, task: Task) -> Trainer:
    """By the engine's own steps where it has them, for training on all points."""
    if task.reading is not ALL:
        return NetworkDescent(task)
    if not task.plain:
        return Descent(task)
    fused = engine_of(task.X, task.y).training.fused_steps
    rates = at(task.rates[0], 0), at(task.rates[1], 0)
    steps = fused(net.activation.compiled, task.X, task.y, rates=rates, width=net.width)
    return Descent(task) if steps is None else FusedDescent(task, steps)


@singledispatch
def rates_of(net: Any, eta1: RateLike | None, eta2: RateLike | None, *, eta: RateLike | None, steps: int) -> Rates:
    """The checked rates of the first and of all other weights, for so many steps."""
    if eta is None and (eta1 is None or not _same(eta1, eta2)):
        given = f"eta1={checks.shown(eta1)}, eta2={checks.shown(eta2)}"
        raise ValueError(f"{given}, but a {type(net).__name__} trains with one rate for all its weights; pass eta")
    return _of_layers(eta1, eta2, eta, steps)


@rates_of.register
def _(net: TwoLayer, eta1: RateLike | None, eta2: RateLike | None, *, eta: RateLike | None, steps: int) -> Rates:
    if eta is None and (eta1 is None or eta2 is None):
        raise ValueError("a learning rate is missing: pass eta1 (first layer) and eta2 (second), or eta for all layers")
    return _of_layers(eta1, eta2, eta, steps)


@rates_of.register
def _(
    net: IndependentOutputs, eta1: RateLike | None, eta2: RateLike | None, *, eta: RateLike | None, steps: int
) -> Rates:
    return rates_of(net.networks[0], eta1, eta2, eta=eta, steps=steps)


def _same(one: RateLike, other: RateLike | None) -> bool:
    return one is other or (isinstance(one, Real) and isinstance(other, Real) and one == other)


def _of_layers(eta1: RateLike | None, eta2: RateLike | None, eta: RateLike | None, steps: int) -> Rates:
    if eta is None:
        return rate_of(eta1, "eta1", steps), rate_of(eta2, "eta2", steps)
    if not (eta1 is None and eta2 is None):
        raise ValueError("eta is the rate of all layers; pass it alone, or eta1 and eta2 without it")
    return (rate_of(eta, "eta", steps),) * 2
