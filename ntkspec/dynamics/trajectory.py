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
    """Outputs over training: ``train`` (steps, n) and ``test`` (steps, n') or None, at the recorded ``steps``.

    method : how it was computed. error : for each step a bound on |u - train| / sqrt(n), the root mean square
    truncation error of the training outputs; error_test : the same for the largest error of a test output, or None.
    What the bounds assume is said by :func:`ntkspec.predict_gd`; rounding comes on top. stability : of a prediction.
    network : the trained network of real training. watched : what was measured on it at the recorded steps, by name.
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
