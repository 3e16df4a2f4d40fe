"""Built-in networks whose points lie on the workers of a Dask cluster."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ntkspec import checks
from ntkspec.cluster.connection import checked_address
from ntkspec.cluster.kernel import built
from ntkspec.cluster.parts import homes
from ntkspec.cluster.workers import Workers
from ntkspec.datasets import Dataset
from ntkspec.engines import named
from ntkspec.engines.arrays import Array
from ntkspec.experiments.devices import placed
from ntkspec.experiments.linear_models import LinearModel
from ntkspec.experiments.models import BuiltInModel, Model, model_of
from ntkspec.experiments.network_tasks import NetworkTask
from ntkspec.networks.protocol import Network
from ntkspec.objects.lazy import cached_property
from ntkspec.operators import KernelOperator

if TYPE_CHECKING:
    from ntkspec.cluster.workers import Result


@dataclass(frozen=True)
class Spread:
    """Where the points of an experiment lie: in ``parts`` parts (None: one for each worker) on the workers of a Dask
    ``scheduler``, which compute on an ``engine``, "cpu" or "gpu".

    Raises ValueError for an address or a number that cannot be.
    """

    scheduler: str
    parts: int | None = None
    engine: str = "cpu"

    def __post_init__(self) -> None:
        checked_address(self.scheduler)
        if self.parts is not None:
            checks.whole_number(self.parts, "parts", 1)

    def check(self, task: NetworkTask) -> None:
        """Raises ValueError for a task whose kernel is not spread."""
        if task.own or not isinstance(task.network, str):
            raise ValueError(
                f"scheduler={self.scheduler!r} is for built-in networks, but {task.name} came; leave it out, or pass "
                f"the kernel of each part to ntkspec.cluster.kernel in Python"
            )
        if task.method not in (None, "factored"):
            raise ValueError(
                f"method={task.method!r} stores whole kernels, but workers multiply with their factors; leave out "
                f"method or scheduler"
            )


@dataclass(frozen=True)
class Part:
    """Some points of a data set, from the first to before the last."""

    first: int
    last: int
    points: Dataset = field(repr=False)


class SpreadModel(BuiltInModel):
    """A built-in network whose training points are sent to workers, each part once with all test points, and stay
    there."""

    def __init__(self, task: NetworkTask, dataset: Dataset, spread: Spread):
        super().__init__(task, dataset)
        self.spread, self.workers = spread, Workers.of(spread.scheduler)
        n, count = len(dataset.X), spread.parts or min(len(self.workers.names), len(dataset.X))
        if count > n:
            raise ValueError(f"parts={count}, but there are {n} points; each part needs one")
        self.ends: Sequence[int] = np.linspace(0, n, count + 1).astype(int).tolist()

    @cached_property
    def parts(self) -> "list[Result]":
        """The points of each part, at its worker."""
        at = homes(self.workers, len(self.ends) - 1)
        return [
            self.workers.sent(_part(self.dataset, first, last), home)
            for first, last, home in zip(self.ends[:-1], self.ends[1:], at, strict=True)
        ]

    def ntk(self, X: Array, X2: Array | None = None) -> KernelOperator:
        """Of the points of all parts, or where ``X2`` is given of the test points and them."""
        return self._spread("ntk", X2 is not None)

    def linear_kernel(self, X: Array, X2: Array | None = None) -> KernelOperator:
        """The same of its linear model."""
        return self._spread("linear_kernel", X2 is not None)

    @cached_property
    def here(self) -> Model:
        """The model on this machine."""
        return model_of(self.task, self.dataset)

    @property
    def data_coefficient(self) -> float:
        """As on one machine."""
        return self.here.data_coefficient  # type: ignore[attr-defined]

    def _spread(self, name: str, tests: bool) -> KernelOperator:
        return built(self.workers, partial(kernel_of_part, self.task, self.spread.engine, name, tests), self.parts)


class TrainedSpreadModel(SpreadModel):
    """The same with a network that is trained on this machine (:class:`ntkspec.experiments.models.Model`). Its linear
    model has the size of the data: what is compared with the NTK lies on the workers, what is predicted is here."""

    @property
    def net(self) -> Network:
        """The network at the start."""
        return self.here.net

    @cached_property
    def theory(self) -> LinearModel:
        """By :func:`ntkspec.linear_kernel`."""
        known = self.here.theory
        assert known is not None
        return replace(known, compared=self.linear_kernel(self.dataset.X))

    def rates(self, eta: float) -> dict[str, float]:
        """As on one machine."""
        return self.here.rates(eta)

    @property
    def step_flops(self) -> float:
        """As on one machine."""
        return self.here.step_flops

    @property
    def entries(self) -> float:
        """The features of the linear model, twice while they are made."""
        return 2.0 * (self.dataset.X.size + self.dataset.X_test.size)

    def stored(self, trained: Any) -> dict[str, Any]:
        """As on one machine."""
        return self.here.stored(trained)


def _part(dataset: Dataset, first: int, last: int) -> Part:
    points = replace(dataset, X=dataset.X[first:last], y=dataset.y[first:last])
    return Part(first, last, points)


def kernel_of_part(task: NetworkTask, engine: str, name: str, tests: bool, part: Part) -> KernelOperator:
    """On a worker: the kernel that :class:`BuiltInModel` has under that name, of a part's points or of test points and
    them."""
    dataset = placed(part.points, named(engine))
    sides = (dataset.X_test, dataset.X) if tests else (dataset.X,)
    return getattr(model_of(task, dataset), name)(*sides)
