"""What training or a prediction of it gives: outputs over steps."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ntkspec.engines import engine_of
from ntkspec.engines.arrays import Array
from ntkspec.networks.protocol import Network
from ntkspec.objects.notebook import Columned, Drawn, Row, Shown, Table
from ntkspec.spectra.showing import few


@dataclass(frozen=True)
class Stability:
    r"""Modes that do not shrink, and the part of the start residual's square \|y - u_0\|² that they carry.

    Attributes
    ----------
    largest_rate : float
        The largest stable learning rate, from the largest eigenvalue that was seen; inf where every rate is stable.
    unstable : int
        Number of modes past it at the rate of this run.
    unstable_mass : float
        The part of \|y - u_0\|² that they carry, from 0 to 1.
    negative : int
        Number of eigenvalues below zero by more than rounding.
    negative_mass : float
        The part of \|y - u_0\|² in their eigenvectors, from 0 to 1.
    smallest : float
        The smallest eigenvalue; 0 where none is below.
    complete : bool
        From all eigenvalues; otherwise from the Ritz values of a Krylov basis, whose masses are those of a Gauss
        quadrature and which sees the modes that y - u_0 touches.
    """

    largest_rate: float
    unstable: int
    unstable_mass: float
    negative: int
    negative_mass: float
    smallest: float
    complete: bool


@dataclass(frozen=True, repr=False)
class Trajectory(Shown, Columned, Drawn):
    r"""Outputs over training, predicted or real.

    Attributes
    ----------
    steps : ndarray, shape (steps,)
        The recorded steps, in the order in which they were asked for: int64, for gradient flow float64.
    train : array, shape (steps, n) or (steps, n, K)
        Outputs on the training points, in the dtype and on the device of the kernel or network; of labels (n, K) K at
        each point.
    test : array, shape (steps, n') or (steps, n', K), or None
        Outputs on the test points.
    method : str
        How it was computed.
    error : ndarray, shape (steps,)
        A bound on \|u - train\| / sqrt(n), the root mean square truncation error of the training outputs at each step
        (of K outputs the root of the mean over points of the sum over outputs); 0 where nothing was truncated. Rounding
        comes on top.
    network : network or None
        The trained network of real training; of K copies, each trained on a column of labels, one network of K outputs,
        which has them as ``networks``.
    error_test : ndarray, shape (steps,), or None
        A bound on the largest truncation error of a test output at each step. :func:`ntkspec.predict_gd` says what the
        bounds assume.
    stability : Stability or None
        Of a prediction: which modes do not shrink.
    watched : dict of str to ndarray
        Metrics of the network at the recorded steps, by name.
    spread, spread_test : ndarray, shape (steps,), or None
        Of a mean over batches: the mean over points of E \|u - E u\|², a sum over outputs. Half of it is what the noise
        of batches adds to the expected loss (1/2n) \|u - y\|² beside that of the mean outputs.

    Examples
    --------
    >>> import numpy as np
    >>> import ntkspec as ns
    >>> run = ns.predict_gd(np.eye(3), np.ones(3), eta=0.3, steps=[0, 1])
    >>> run.train.shape, run.test is None, run.error.tolist()
    ((2, 3), True, [0.0, 0.0])
    """

    steps: np.ndarray
    train: Array
    test: Array | None
    method: str
    error: np.ndarray
    network: Network | None = None
    error_test: np.ndarray | None = None
    stability: Stability | None = None
    watched: dict[str, np.ndarray] = field(default_factory=dict)
    spread: np.ndarray | None = None
    spread_test: np.ndarray | None = None

    def __repr__(self) -> str:
        train, test = (
            None if part is None else " x ".join(map(str, part.shape[1:])) for part in (self.train, self.test)
        )
        test = "" if test is None else f" and {test} test"
        watched = f"; watched: {', '.join(self.watched)}" if self.watched else ""
        largest = max(self.error, default=0.0)
        truncated = f", truncation error up to {largest:.2g}" if largest else ""
        return (
            f"Trajectory of {train} training{test} outputs at steps {few(self.steps)}\n"
            f"by {self.method}{truncated}{watched}"
        )

    @property
    def parts(self) -> dict[str, Array]:
        """The outputs where they lie, "train" and where there are any "test"."""
        parts = {"train": self.train, "test": self.test}
        return {name: part for name, part in parts.items() if part is not None}

    @property
    def outputs(self) -> dict[str, np.ndarray]:
        """The same as arrays of NumPy."""
        return {name: engine_of(part).to_host(part) for name, part in self.parts.items()}

    def _shown(self) -> Table:
        sizes = {name: " x ".join(f"{size:,}" for size in part.shape[1:]) for name, part in self.parts.items()}
        stability = self.stability
        unstable = "" if stability is None else f"{stability.unstable} modes grow, {stability.negative} are below zero"
        return Table(
            f"Trajectory at {len(self.steps)} steps",
            [
                Row("steps", few(self.steps)),
                *(Row(f"{name} outputs", size) for name, size in sizes.items()),
                Row("method", self.method),
                Row("truncation", f"up to {max(self.error, default=0.0):.2g}", "root mean square of a training output"),
                *([Row("stability", unstable)] if unstable else []),
                *([Row("watched", ", ".join(self.watched))] if self.watched else []),
            ],
        )

    def _columns(self) -> dict[str, Any]:
        """A row for each step, part, point and output."""
        parts = [_tidy(self.steps, name, values) for name, values in self.outputs.items()]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _tidy(steps: np.ndarray, part: str, values: np.ndarray) -> dict[str, np.ndarray]:
    """Outputs (steps, n) or (steps, n, K) with their indices, each a column."""
    step, *where = np.indices(values.shape).reshape(values.ndim, -1)
    indices = dict(zip(("point", "output"), where, strict=False))
    return {"step": steps[step], "part": np.full(values.size, part)} | indices | {"value": values.ravel()}
