"""Outputs as random variables over steps: what an ensemble of networks gives."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ntkspec.engines import engine_of
from ntkspec.engines.arrays import Array
from ntkspec.objects.notebook import Columned, Row, Shown, Table
from ntkspec.objects.words import counted
from ntkspec.spectra.showing import few


@dataclass(frozen=True, repr=False, eq=False)
class Gaussian:
    """Gaussian outputs on points at each step; it unpacks as ``mean, covariance``.

    Attributes
    ----------
    mean : array, shape (steps, n) or (steps, n, K)
        The mean, of each column of labels.
    variance : array, shape (steps, n), or None
        The variance, the same for each column of labels; None where no prior covariance of the points is known. Of a
        kernel with a row for each output (steps, n K).
    covariance : array, shape (steps, n, n), or None
        The covariance of the points, where it was asked for.
    """

    mean: Array
    variance: Array | None
    covariance: Array | None

    def __iter__(self) -> Iterator[Array | None]:
        """``mean, covariance = found.test``."""
        yield self.mean
        yield self.covariance

    def __repr__(self) -> str:
        known = [name for name in ("mean", "variance", "covariance") if getattr(self, name) is not None]
        return f"Gaussian, {self.size} outputs at {counted(len(self.mean), 'step')}: {', '.join(known)}"

    @property
    def size(self) -> str:
        """Points, and outputs where there are several."""
        return " x ".join(f"{size:,}" for size in self.mean.shape[1:])


@dataclass(frozen=True, repr=False, eq=False)
class Ensemble(Shown, Columned):
    """Infinitely wide networks over training: the distribution of their outputs.

    Attributes
    ----------
    steps : ndarray, shape (steps,), float64
        The recorded steps, in the order in which they were asked for; inf is the limit.
    train : Gaussian or None
        The outputs on the training points: ``mean``, ``variance`` and ``covariance``.
    test : Gaussian or None
        Those on the test points.
    still : int
        How many modes of the kernel have an eigenvalue of 0 up to rounding: nothing is learned in them.

    Examples
    --------
    >>> import numpy as np
    >>> import ntkspec as ns
    >>> found = ns.ensemble(None, np.eye(2), [1.0, -1.0], eta=1.0, steps=[0, np.inf])
    >>> found.train.variance.tolist(), found.train.mean[1].tolist()
    ([[1.0, 1.0], [0.0, 0.0]], [1.0, -1.0])
    """

    steps: np.ndarray
    train: Gaussian | None
    test: Gaussian | None
    still: int

    @property
    def parts(self) -> dict[str, Gaussian]:
        """What was looked at, "train" or "test" or both."""
        parts = {"train": self.train, "test": self.test}
        return {name: part for name, part in parts.items() if part is not None}

    def __repr__(self) -> str:
        looked_at = " and ".join(f"{part.size} {name}" for name, part in self.parts.items())
        return f"Ensemble of infinitely wide networks: {looked_at} outputs at steps {few(self.steps)}"

    def _shown(self) -> Table:
        rows = [Row("steps", few(self.steps))]
        for name, part in self.parts.items():
            rows.append(Row(f"{name} outputs", part.size, "Gaussian, with means of each"))
            if part.variance is not None:
                spread = np.sqrt(np.maximum(0.0, engine_of(part.variance).to_host(part.variance).mean(axis=1)))
                rows.append(Row(f"spread on {name}", few(spread), "root of the mean variance, at each step"))
        rows.append(Row("modes that stand still", f"{self.still:,}", "their eigenvalue is 0 up to rounding"))
        return Table(f"Ensemble at {counted(len(self.steps), 'step')}", rows)

    def _columns(self) -> dict[str, Any]:
        """A row for each step, part, point and output."""
        parts = [_tidy(self.steps, name, part) for name, part in self.parts.items()]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _tidy(steps: np.ndarray, name: str, part: Gaussian) -> dict[str, np.ndarray]:
    """Means and variances with their indices, each a column; NaN where there is no variance."""
    mean = engine_of(part.mean).to_host(part.mean)
    step, *where = np.indices(mean.shape).reshape(mean.ndim, -1)
    variance = np.full(mean.shape, np.nan)
    if part.variance is not None:
        given = engine_of(part.variance).to_host(part.variance)
        # One for all columns of labels, or of a kernel with a row for each output one for each.
        variance[:] = given.reshape(mean.shape) if given.size == mean.size else given[..., None]
    indices = dict(zip(("point", "output"), where, strict=False))
    columns = {"mean": mean.ravel(), "variance": variance.ravel()}
    return {"step": steps[step], "part": np.full(mean.size, name)} | indices | columns
