"""The eigenmodes of a kernel as they learn: how fast each is, what it carries of the labels, and when they are done."""

from dataclasses import dataclass

import numpy as np

from ntkspec import checks
from ntkspec.dynamics.features import feature_modes
from ntkspec.dynamics.laws import LawLike, SpectralLaw, law_of
from ntkspec.engines.arrays import ArrayLike
from ntkspec.objects.notebook import Columned, Drawn, Row, Shown, Table
from ntkspec.operators import as_symmetric
from ntkspec.operators.adapters import MatrixLike
from ntkspec.operators.layout import labels_of
from ntkspec.spectra.alignments import label_energy
from ntkspec.spectra.eigenpairs import eigsh
from ntkspec.spectra.showing import few

# A part of |y|² below this is rounding.
NOTHING = 1e-20


@dataclass(frozen=True, repr=False)
class Modes(Shown, Columned, Drawn):
    r"""Eigenmodes of a kernel under training, largest eigenvalue first.

    Attributes
    ----------
    values : ndarray, shape (k,), float64
        Eigenvalues, without those that are zero to rounding.
    e_folds : ndarray, shape (k,), float64
        Steps in which a mode's residual shrinks by e in the end; inf where it stands still, negative where it grows.
    energies : ndarray, shape (k,), float64
        The part of \|y\|² in each eigenvector.
    complete : bool
        No other mode has an eigenvalue. What the energies lack of 1 is then never learned.
    eta : float
        The learning rate.
    n : int
        The number of points.
    law : GradientDescent, GradientFlow, HeavyBall or Nesterov
        The dynamics.
    """

    values: np.ndarray
    e_folds: np.ndarray
    energies: np.ndarray
    complete: bool
    eta: float
    n: int
    law: SpectralLaw

    def __repr__(self) -> str:
        which = "all" if self.complete else "the leading"
        return (
            f"Modes, {which} {len(self.values)} of {self.n} points at eta = {self.eta:.5g}: {few(self.values)}\n"
            f"parts of |y|^2 {few(self.energies)}, steps to shrink by e {few(self.e_folds)}"
        )

    def _shown(self) -> Table:
        which = "all modes with an eigenvalue" if self.complete else "the leading modes; the others are not looked at"
        return Table(
            f"{len(self.values)} learning modes of {self.n:,} points",
            [
                Row("eigenvalues", few(self.values), which),
                Row("parts of |y|²", few(self.energies), f"{self.energies.sum():.3g} together"),
                Row("steps to shrink by e", few(self.e_folds), f"at learning rate {self.eta:.5g}"),
                Row("99 % learned", f"at step {self.steps_to_learn():.6g}", "of what these modes carry"),
            ],
        )

    def _columns(self) -> dict[str, np.ndarray]:
        return {"value": self.values, "energy": self.energies, "e_folds": self.e_folds}

    def carrying(self, part: float) -> np.ndarray:
        r"""Indices of the fewest modes that together carry this part of \|y\|².

        Parameters
        ----------
        part : float
            From above 0 to below 1.

        Returns
        -------
        ndarray, shape (modes,), int64
            The strongest first; all modes where they carry less.

        Raises
        ------
        ValueError
            Where ``part`` is not between 0 and 1.
        """
        order = np.argsort(-self.energies, kind="stable")
        reached = np.cumsum(self.energies[order]) >= _part(part)
        return order[: int(np.argmax(reached)) + 1] if reached.any() else order

    def steps_to_learn(self, part: float = 0.99) -> float:
        r"""Steps after which the residual in these modes has lost this part of its square, \|residual\|² <= 1 - part.

        Parameters
        ----------
        part : float, default 0.99
            From above 0 to below 1.

        Returns
        -------
        float
            A whole number of steps; inf where it is never reached, or where these modes carry nothing of the labels.

        Raises
        ------
        ValueError
            Where ``part`` is not between 0 and 1.

        Notes
        -----
        For a linear model with all its modes: when linear learning is finished. By the envelope of each mode, so that
        the heavy ball does not swing back. Found by bisection between powers of two, up to 2^60.
        """
        allowed = (1 - _part(part)) * float(self.energies.sum())
        if not self.energies.sum() > NOTHING:
            return np.inf
        high = next((2.0**k for k in range(61) if self._left(2.0**k) <= allowed), np.inf)
        low = high / 2 if high > 1 else 0.0
        while low < (middle := np.floor((low + high) / 2)) < high < np.inf:
            low, high = (low, middle) if self._left(middle) <= allowed else (middle, high)
        return float(high)

    def _left(self, step: float) -> float:
        """The part of |y|² that is left in these modes."""
        left = self.law.envelope(self.eta * self.values / self.n, [step])[0]
        with np.errstate(over="ignore", invalid="ignore"):
            return float(np.where(self.energies > 0, self.energies * np.square(left), 0.0).sum())


def _part(part) -> float:
    if not checks.is_number(part) or not 0 < part < 1:
        raise ValueError(f"part={checks.shown(part)}, but a part of |y|^2 between 0 and 1 is needed, such as 0.99")
    return float(part)


def learning_modes(kernel: MatrixLike, y: ArrayLike, *, eta: float, k: int | None = None, law: LawLike = "gd") -> Modes:
    r"""The leading modes of a kernel for labels: how fast each is learned, and what part of the labels it carries.

    Parameters
    ----------
    kernel : KernelOperator, array, sparse matrix or LinearOperator
        The kernel K on the n training points, (n, n), symmetric; or (n K, n K) with a row for each of K outputs, as
        ``outputs="full"`` of :func:`ntkspec.ntk` gives. Anything that :func:`ntkspec.operators.wrap` takes.
    y : array, shape (n,) or (n, K)
        Labels, finite and not all zero, on the kernel's device. A kernel of points takes the squares of all columns of
        (n, K) together in each mode; a kernel (n K, n K) needs (n, K) and takes it as one vector.
    eta : float
        Learning rate of the loss (1/2n) \|f - y\|², a sum over points and outputs.
    k : int or None, default None
        How many modes. None takes all of a kernel F Fᵀ of features, 20 of any other.
    law : {"gd", "flow"}, HeavyBall or Nesterov, default "gd"
        Gradient descent, its continuous limit (gradient flow, time in steps), ``ntkspec.HeavyBall(momentum)`` or
        ``ntkspec.Nesterov(momentum)``.

    Returns
    -------
    Modes
        ``values``, ``e_folds`` and ``energies`` (k,), largest eigenvalue first, and ``complete``, whether these are
        all; with ``steps_to_learn`` and ``carrying``.

    Raises
    ------
    ValueError
        Where the kernel is not symmetric, the labels are zero or do not fit, or ``k``, ``eta`` or ``law`` does not.

    Notes
    -----
    A low-rank kernel F Fᵀ (the linear models: k = d + 2 columns) takes the problem of its features, O(n k²) flops; any
    other :func:`ntkspec.eigsh`, whose pairs are certified to be the leading ones: all n of them where F has at least as
    many columns as rows. A mode with eigenvalue lambda keeps
    the part (1 - eta lambda / n)^t of its residual after t steps of gradient descent.

    References
    ----------
    W. Hu, L. Xiao, B. Adlam, J. Pennington, The Surprising Simplicity of the Early-Time Learning Dynamics of Neural
    Networks, NeurIPS 2020: the modes of the linear model are those that a network learns early.

    Examples
    --------
    >>> import numpy as np
    >>> import ntkspec as ns
    >>> modes = ns.learning_modes(np.diag([2.0, 1.0]), np.array([1.0, 1.0]), eta=0.5, k=2)
    >>> modes.energies.round(6).tolist(), modes.complete
    ([0.5, 0.5], True)
    >>> modes.steps_to_learn(0.99) > modes.steps_to_learn(0.5)
    True
    """
    kernel, law = as_symmetric(kernel), law_of(law)
    rows = kernel.shape[0]
    y, layout = labels_of(y, kernel)
    n, vectors = layout.points, layout.vectors(y.astype(np.float64))
    eta = checks.learning_rate(eta, "eta")
    if not y.any():
        raise ValueError("the labels are zero; no mode carries anything of them")
    k = None if k is None else checks.whole_number(k, "k", 1)
    factors = kernel.low_rank_factors()
    if factors is not None and factors[0].shape[1] < rows:
        values, _, targets = (part[..., ::-1] for part in feature_modes(factors[0], vectors, kernel.engine))
        size = sum(float(vector @ vector) for vector in vectors)
        energies, complete = (targets**2 / values).sum(axis=0) / size, k is None or k >= len(values)
        values, energies = values[:k], energies[:k]
    else:
        found = eigsh(kernel, min(rows, k or (20 if factors is None else rows)), which="LA")
        seen = abs(found.values) > rows * np.finfo(np.float64).eps * abs(found.values).max()
        values, energies, complete = found.values[seen], label_energy(found, y)[seen], len(found.values) == rows
    with np.errstate(divide="ignore"):
        e_folds = 1 / law.decay(eta * values / n)
    return Modes(values, e_folds, energies, complete, eta, n, law)
