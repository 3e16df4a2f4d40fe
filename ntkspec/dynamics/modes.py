"""The eigenmodes of a kernel as they learn: how fast each is, what it carries of the labels, and when they are done."""

from dataclasses import dataclass

import numpy as np

from ntkspec import checks
from ntkspec.dynamics.features import feature_modes
from ntkspec.dynamics.laws import Law, law_of
from ntkspec.operators import KernelOperator, as_symmetric
from ntkspec.spectra.alignments import label_energy
from ntkspec.spectra.eigenpairs import eigsh
from ntkspec.spectra.showing import few

# A part of |y|² below this is rounding.
NOTHING = 1e-20


@dataclass(frozen=True, repr=False)
class Modes:
    """Eigenmodes under training, largest eigenvalue first.

    values : (k,), without those that are zero to rounding. e_folds : (k,), steps in which a mode's residual shrinks by
    e in the end, inf where it stands still, negative where it grows. energies : (k,), the part of |y|² in each
    eigenvector. complete : no other mode has an eigenvalue; what the energies lack of 1 is then never learned.
    """

    values: np.ndarray
    e_folds: np.ndarray
    energies: np.ndarray
    complete: bool
    eta: float
    n: int
    law: Law

    def __repr__(self) -> str:
        which = "all" if self.complete else "the leading"
        return (
            f"Modes, {which} {len(self.values)} of {self.n} points at eta = {self.eta:.5g}: {few(self.values)}\n"
            f"parts of |y|^2 {few(self.energies)}, steps to shrink by e {few(self.e_folds)}"
        )

    def carrying(self, part: float) -> np.ndarray:
        """Indices of the fewest modes that together carry this part of |y|², the strongest first; all if none do."""
        order = np.argsort(-self.energies, kind="stable")
        reached = np.cumsum(self.energies[order]) >= _part(part)
        return order[: int(np.argmax(reached)) + 1] if reached.any() else order

    def steps_to_learn(self, part: float = 0.99) -> float:
        """Steps after which the residual in these modes has lost this part of its square, |residual|² <= 1 - part.

        For a linear model with all its modes: when linear learning is finished. By the envelope of each mode, so that
        the heavy ball does not swing back. Found by bisection between powers of two, up to 2^60; inf where it is never
        reached, or where these modes carry nothing of the labels.
        """
        aim = (1 - _part(part)) * float(self.energies.sum())
        if not self.energies.sum() > NOTHING:
            return np.inf
        high = next((2.0**k for k in range(61) if self._left(2.0**k) <= aim), np.inf)
        low = high / 2 if high > 1 else 0.0
        while low < (middle := np.floor((low + high) / 2)) < high < np.inf:
            low, high = (low, middle) if self._left(middle) <= aim else (middle, high)
        return float(high)

    def _left(self, step: float) -> float:
        """The part of |y|² that is left in these modes."""
        left = self.law.envelope(self.eta * self.values / self.n, [step])[0]
        with np.errstate(over="ignore", invalid="ignore"):
            return float(np.where(self.energies > 0, self.energies * np.square(left), 0.0).sum())


def _part(part) -> float:
    if not isinstance(part, int | float | np.number) or not 0 < part < 1:
        raise ValueError(f"part={part!r}, but a part of |y|^2 between 0 and 1 is needed, such as 0.99")
    return float(part)


def learning_modes(kernel: KernelOperator, y, *, eta: float, k: int | None = None, law: str | Law = "gd") -> Modes:
    """The leading k modes of a kernel for labels y (n,), not zero; k = None is all modes of a thin kernel, 20 others.

    A thin kernel F Fᵀ (the linear models: d + 2 columns) takes the problem of its features, O(n k²); any other
    :func:`ntkspec.eigsh`, whose pairs are certified to be the leading ones. Raises ValueError for zero labels.
    """
    kernel, law = as_symmetric(kernel), law_of(law)
    n = kernel.shape[0]
    y = checks.on_engine(checks.as_vector(y, "y", n), kernel.engine, "y").astype(np.float64)
    eta = checks.learning_rate(eta, "eta")
    if not y.any():
        raise ValueError("the labels are zero; no mode carries anything of them")
    k = None if k is None else checks.whole_number(k, "k", 1)
    factors = kernel.low_rank_factors()
    if factors is not None and factors[0].shape[1] < n:
        values, _, target = (part[..., ::-1] for part in feature_modes(factors[0], y, kernel.engine))
        energies, complete = target**2 / values / float(y @ y), k is None or k >= len(values)
        values, energies = values[:k], energies[:k]
    else:
        found = eigsh(kernel, min(n, k or 20), which="LA")
        seen = abs(found.values) > n * np.finfo(np.float64).eps * abs(found.values).max()
        values, energies, complete = found.values[seen], label_energy(found, y)[seen], len(found.values) == n
    with np.errstate(divide="ignore"):
        e_folds = 1 / law.decay(eta * values / n)
    return Modes(values, e_folds, energies, complete, eta, n, law)
