"""A series of checkpoints: numbers with intervals over steps, and what they say."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ntkspec.experiments.tracking.measuring import Findings, Number
from ntkspec.experiments.tracking.task import TrackTask
from ntkspec.objects.notebook import Columned, Drawn, Row, Shown, Table
from ntkspec.objects.words import counted
from ntkspec.spectra.results import Estimate

# What a row of numbers holds of an estimate.
_PARTS = ("value", "lower", "upper", "failure_probability", "products", "converged")


@dataclass(frozen=True, repr=False)
class Series(Shown, Columned, Drawn):
    """What was measured of a network along its training, checkpoint by checkpoint.

    ``series["sharpness"]`` are the values of a quantity over ``series.steps``, ``series.lower("sharpness")`` and
    ``series.upper("sharpness")`` the ends of their intervals.

    Attributes
    ----------
    task : object
        The settings: ``quantities``, ``eta``, ``law``, ``layer``, ``outputs``, ``pairs``, ``seed``, ``method``.
    points : int
        n, the number of points.
    steps : ndarray, shape (steps,), int64
        The steps of the checkpoints, ascending.
    numbers : dict of str to ndarray, shape (steps, 6), float64
        Of each quantity the value, the lower and the upper end of its interval, the probability that the interval
        fails, products, and whether it closed (1 or 0). NaN where there is nothing to measure.
    arrays : dict of str to ndarray, shape (steps, ...)
        Several numbers a checkpoint: ``eigenvalues`` and ``label_energies`` of the leading pairs, ``angles``,
        ``layer_shares`` and ``layer_movements`` in the order of ``layers``, ``ahead_losses`` at the steps ``ahead``
        later.
    layers : list of str
        Names of the layers.
    ahead : ndarray
        Steps after a checkpoint at which its prediction is kept.
    sources : list of str
        Files that the checkpoints come from; empty words where there are none.
    digests : list of str
        Of the weights.
    dataset : dict
        What is known of the points: name, d, how they were read.
    seconds : ndarray, shape (steps,), float64
        Of measuring each checkpoint.
    method : str
        How the kernels were multiplied: "dense", "factored" or "streamed".

    Examples
    --------
    >>> import numpy as np, ntkspec as ns
    >>> X = np.random.default_rng(0).standard_normal((12, 4))
    >>> net = ns.TwoLayer.symmetric(4, 16, "erf")
    >>> now = ns.train_gd(net, X, X[:, 0], eta=1.0, steps=[20]).network
    >>> series = ns.track([(0, net), (20, now)], X, X[:, 0], eta=1.0)
    >>> series.steps.tolist(), bool((series.lower("sharpness") <= series["sharpness"]).all())
    ([0, 20], True)
    >>> float(series.at("distance_from_start", 0))
    0.0
    """

    task: TrackTask
    points: int
    steps: np.ndarray
    numbers: dict[str, np.ndarray]
    arrays: dict[str, np.ndarray]
    layers: list[str]
    ahead: np.ndarray
    sources: list[str]
    digests: list[str]
    seconds: np.ndarray
    dataset: dict = field(default_factory=dict)
    method: str = ""

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, name: str) -> np.ndarray:
        """(steps,) values of a quantity."""
        return self._column(name, 0)

    def __contains__(self, name: object) -> bool:
        return name in self.numbers

    def __iter__(self) -> Iterator[str]:
        """The names of what was measured."""
        return iter(self.numbers)

    def lower(self, name: str) -> np.ndarray:
        """The lower ends of the intervals of a quantity.

        Parameters
        ----------
        name : str
            The quantity.

        Returns
        -------
        ndarray, shape (steps,)
        """
        return self._column(name, 1)

    def upper(self, name: str) -> np.ndarray:
        """The upper ends of the intervals of a quantity.

        Parameters
        ----------
        name : str
            The quantity.

        Returns
        -------
        ndarray, shape (steps,)
        """
        return self._column(name, 2)

    def at(self, name: str, step: int) -> Estimate:
        """A quantity at one step, with its interval.

        Parameters
        ----------
        name : str
            The quantity.
        step : int
            One of ``steps``.

        Returns
        -------
        Estimate

        Raises
        ------
        KeyError
            For a quantity that was not measured, or a step without a checkpoint.
        """
        place = np.flatnonzero(self.steps == step)
        if not len(place):
            raise KeyError(f"no checkpoint of step {step} is in the series; there are {_some(self.steps)}")
        self._column(name, 0)
        value, lower, upper, fails, products, converged = self.numbers[name][place[0]].tolist()
        known = 0 if math.isnan(products) else int(products)
        return Estimate(value, lower, upper, fails, known, converged == 1)

    @property
    def edge(self) -> float:
        """What the sharpness of stable training stays below, 2/eta of gradient descent; infinite where no rate is
        known."""
        return self.task.limit / self.task.eta if self.task.eta else math.inf

    @property
    def edge_name(self) -> str:
        """The edge as a formula: 2/eta, or with momentum another number over eta."""
        return f"{self.task.limit:.4g}/eta"

    @property
    def verdict(self) -> list[str]:
        """What the series says, in sentences, the most important first."""
        from ntkspec.experiments.tracking.verdict import verdict  # which reads series

        return verdict(self)

    def _column(self, name: str, part: int) -> np.ndarray:
        if name not in self.numbers:
            raise KeyError(f"{name!r} was not measured; there are {', '.join(self.numbers)}")
        return self.numbers[name][:, part]

    # --------------------------------------------------------------------------------------------------- in notebooks
    def __repr__(self) -> str:
        return "\n".join([f"Series of {counted(len(self), 'checkpoint')}, steps {_some(self.steps)}", *self.verdict])

    def _shown(self) -> Table:
        said = [Row("verdict" if k == 0 else "", line) for k, line in enumerate(self.verdict)]
        numbers = [
            Row(name.replace("_", " "), f"{values[0]:.5g} … {values[-1]:.5g}", f"from {np.nanmin(values):.5g} to "
                f"{np.nanmax(values):.5g}" if np.isfinite(values).any() else "")
            for name, values in ((name, self[name]) for name in self)
        ]  # fmt: skip
        title = f"{counted(len(self), 'checkpoint')}, steps {_some(self.steps)}, {self.points:,} points"
        return Table(title, [*said, *numbers])

    def _columns(self) -> dict[str, Any]:
        found: dict[str, Any] = {"step": self.steps}
        for name in self:
            found[name] = self[name]
            if (self.lower(name) != self.upper(name)).any() and np.isfinite(self.lower(name)).any():
                found |= {f"{name}_lower": self.lower(name), f"{name}_upper": self.upper(name)}
        return found


def _some(steps: np.ndarray) -> str:
    listed = [str(step) for step in steps.tolist()]
    return ", ".join(listed if len(listed) <= 6 else [*listed[:3], "...", listed[-1]])


# ------------------------------------------------------------------------------------------------------------- growing
@dataclass(frozen=True)
class Origin:
    """Where a checkpoint comes from."""

    step: int
    digest: str
    source: str
    seconds: float


def begun(task: TrackTask, points: int, *, ahead: np.ndarray, layers: Sequence[str], dataset: dict) -> Series:
    """A series without checkpoints."""
    return Series(
        task=task,
        points=points,
        steps=np.zeros(0, np.int64),
        numbers={},
        arrays={},
        layers=list(layers),
        ahead=ahead,
        sources=[],
        digests=[],
        seconds=np.zeros(0),
        dataset=dataset,
    )


def grown(series: Series, origin: Origin, found: Findings) -> Series:
    """The series with one more checkpoint, behind all others."""
    return replace(
        series,
        steps=np.append(series.steps, origin.step),
        numbers=_stacked(series.numbers, {name: _row(value) for name, value in found.numbers.items()}),
        arrays=_stacked(series.arrays, found.arrays),
        sources=[*series.sources, origin.source],
        digests=[*series.digests, origin.digest],
        seconds=np.append(series.seconds, origin.seconds),
    )


def _row(value: Number) -> np.ndarray:
    if isinstance(value, Estimate):
        return np.array([float(getattr(value, part)) for part in _PARTS])
    return np.array([value, value, value, 0.0, 0.0, 1.0])


def _stacked(before: Mapping[str, np.ndarray], rows: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Each array with one more row."""
    return {name: np.concatenate([before[name], row[None]]) if name in before else row[None]
            for name, row in rows.items()}  # fmt: skip
