"""What training or a prediction of it gives: outputs over steps."""

from dataclasses import dataclass, field

import numpy as np

from ntkspec.networks import DeepNetwork, TwoLayer
from ntkspec.spectra.showing import few


@dataclass(frozen=True)
class Stability:
    """Modes that do not shrink, and the part of the start residual's square |y - u_0|² that they carry.

    largest_rate : the largest stable learning rate (inf where every rate is), from the largest eigenvalue that was
    seen. unstable, unstable_mass : modes past it at the rate of this run. negative, negative_mass, smallest :
    eigenvalues below zero by more than rounding, and the smallest of all (0 where none is below). complete : from all
    eigenvalues; otherwise from the Ritz values of a Krylov basis, whose masses are those of a Gauss quadrature and
    which sees the modes that y - u_0 touches.
    """

    largest_rate: float
    unstable: int
    unstable_mass: float
    negative: int
    negative_mass: float
    smallest: float
    complete: bool


@dataclass(frozen=True, repr=False)
class Trajectory:
    """Outputs over training, or over a prediction of it, at the recorded steps.

    Attributes
    ----------
    steps : array of int or float, shape (steps,)
        The recorded steps, in the order that was asked for; fractions where a gradient flow was predicted.
    train : array, shape (steps, n)
        Outputs on the training points, in the unit of the labels.
    test : array, shape (steps, n'), or None
        Outputs on the test points; None where there were none.
    method : str
        How the outputs were computed.
    error : array, shape (steps,)
        A bound on the root mean square truncation error ‖u - train‖ / sqrt(n) of each step; zeros for real training.
        What it assumes is said by :func:`ntkspec.predict_gd`; rounding comes on top.
    network : TwoLayer, FullyConnected, Convolutional or None
        The trained network; None for predictions.
    error_test : array, shape (steps,), or None
        A bound on the truncation error of every test output.
    stability : Stability or None
        Which modes grow at this learning rate; None for real training.
    watched : dict of str to array, shape (steps,)
        Metrics of the network at the recorded steps, by name (``watch`` of :func:`ntkspec.train_gd`).

    Examples
    --------
    >>> import numpy as np, ntkspec as ns
    >>> found = ns.predict_gd(np.diag([4.0, 2.0, 1.0]), np.ones(3), eta=0.5, steps=[0, 9])
    >>> found.train.shape, found.test is None, found.network is None
    ((2, 3), True, True)
    """

    steps: np.ndarray
    train: np.ndarray
    test: np.ndarray | None
    method: str
    error: np.ndarray
    network: TwoLayer | DeepNetwork | None = None
    error_test: np.ndarray | None = None
    stability: Stability | None = None
    watched: dict[str, np.ndarray] = field(default_factory=dict)

    def __repr__(self) -> str:
        test = "" if self.test is None else f" and {self.test.shape[1]} test"
        watched = f"; watched: {', '.join(self.watched)}" if self.watched else ""
        return (
            f"Trajectory of {self.train.shape[1]} training{test} outputs at steps {few(self.steps)}\n"
            f"by {self.method}, truncation error up to {max(self.error, default=0.0):.2g}{watched}"
        )
