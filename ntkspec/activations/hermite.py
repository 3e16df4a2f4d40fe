r"""K = E[phi(u) phi(v)] and K' = E[phi'(u) phi'(v)] for every activation: Hermite series with a checked remainder.

With c_k(s) = E[phi(s g) He_k(g)] / sqrt(k!), Mehler's formula gives :math:`K = \sum_k c_k(\sqrt a) c_k(\sqrt b) \rho^k`
and the same for K' with the coefficients of phi'. What follows the first T terms is at most |rho|^T times the root of
the two tails sum_{k >= T} c_k², which are known from E[phi(s g)²] (Parseval). Where that is not small enough, the pair
is integrated in two dimensions.
"""

import itertools
import math
from collections.abc import Callable
from functools import partial

import numpy as np

from ntkspec.activations import duals
from ntkspec.activations.functions import Activation
from ntkspec.activations.gaussian_quadrature import NODES, REACH, conditional_nodes, panel_marks, scaled_nodes
from ntkspec.engines import Engine, engine_of
from ntkspec.engines.arrays import Array

# Numbers of terms to choose from, and the remainder, relative to sqrt(K(x, x) K(x', x')), that a series may leave.
TERMS = (32, 64, 128, 256)
REMAINDER = {"f": 1e-8, "d": 1e-14}
# A difference of two rules above this, relative to the second moment, is refused; the panels of the second rule are
# shifted, so that a kink that was not named cannot hide between two panels. Largest ‖x‖²/d.
WORST, SHIFT, LARGEST = 1e-11, 0.37, 1e12
# Norms for which the number of terms is chosen; each point has its own tails later. Norms that are computed together.
SOME, TOGETHER = 9, 32


class Series:
    """The moments of one activation for inputs of given ‖x‖²/d.

    ``error`` bounds what the series leaves out and what quadrature is wrong by at any of these norms, relative to
    sqrt(K(x, x) K(x', x')), and how far the angle of near inputs is not known
    (:func:`ntkspec.activations.duals.error_of`). ``points`` of a point: ‖x‖²/d, E phi², E phi'², the roots of both
    relative tails, and the T coefficients of phi and of phi'. Cost of the points: about 2000 T flops and 4000 values of
    phi for each distinct norm.
    """

    def __init__(self, act: Activation, squares: Array):
        self.act = act
        if not squares.max() <= LARGEST:
            raise ValueError(
                f"‖x‖²/d is up to {squares.max():.3g}, but expectations of {act.name!r} are computed up to "
                f"{LARGEST:.0e}; scale the inputs"
            )
        distinct = np.unique(squares)
        errors = engine_of().run(self._quadrature_error, self._blocks(distinct), progress="quadrature at each norm")
        angle = duals.ANGLE * math.sqrt(float(distinct[-1]))
        self.error = REMAINDER["d"] + max(errors) + angle
        some = np.unique(np.quantile(distinct, np.linspace(0, 1, SOME), method="nearest"))
        for terms in TERMS:
            numbers = np.concatenate([self._numbers(block, terms) for block in self._blocks(some)])
            if numbers[:, 3:5].max() ** 2 < REMAINDER["d"]:
                break
        self.terms = terms
        self.conditions = _mean_degrees(numbers)

    def points(self, squares: Array) -> Array:
        """(n, 5 + 2 T) numbers, computed once for each distinct norm, on the host."""
        engine, host = engine_of(squares), engine_of()
        distinct, where = np.unique(engine.to_host(squares), return_inverse=True)
        task = partial(self._numbers, terms=self.terms)
        table = np.concatenate(host.run(task, self._blocks(distinct), progress="Hermite coefficients (norms)"))
        return engine.xp.asarray(table[where])

    @property
    def width(self) -> int:
        """Numbers of a point."""
        return 5 + 2 * self.terms

    def __call__(self, engine: Engine, left: Array, right: Array, c: Array, gap: Array) -> list[Array]:
        """K and K' (r, s)."""
        moments, pairs = self._sums(engine, left, right, c)
        self._integrate(engine, moments, pairs, left=left, right=right, c=c, gap=gap)
        return moments

    def with_next_gap(self, engine: Engine, left: Array, right: Array, c: Array, gap: Array) -> list[Array]:
        """K, K' and K(a, a, a) K(b, b, b) - K² (r, s).

        K' of the next layer can be steep in the angle only where pairs are integrated; there the gap is an integral.
        """
        moments, pairs = self._sums(engine, left, right, c)
        moments.append(duals.next_gap(engine.xp, moments[0], left[:, None, 1], right[None, :, 1]))
        self._integrate(engine, moments, pairs, left=left, right=right, c=c, gap=gap)
        return moments

    def _sums(self, engine, left, right, c):
        """K and K' by the series, and the pairs (p, 2) where the remainder is too large."""
        xp, (a, b) = engine.xp, (left[:, None, 0], right[None, :, 0])
        rho = c / xp.maximum(xp.sqrt(a) * xp.sqrt(b), xp.finfo(c.dtype).tiny)
        largest, tails = float(abs(rho).max()), left[:, 3:5].max(axis=0) * right[:, 3:5].max(axis=0)
        terms = next((t for t in range(8, self.terms, 8) if largest**t < REMAINDER[c.dtype.char]), self.terms)
        coefficients = slice(5, 5 + terms), slice(5 + self.terms, 5 + self.terms + terms)
        moments = [
            engine.pairs.power_series(rho, left[:, part], xp.ascontiguousarray(right[:, part].T), terms)
            for part in coefficients
        ]
        if largest**terms * tails.max() <= REMAINDER[c.dtype.char]:
            return moments, np.zeros((0, 2), np.int64)
        bound = abs(rho) ** terms * (left[:, None, 3:5] * right[None, :, 3:5]).max(axis=2)
        return moments, engine.to_host(xp.argwhere(bound > REMAINDER[c.dtype.char]))

    def diagonal(self, engine: Engine, points: Array) -> tuple[Array, Array]:
        """K and K' of each point with itself."""
        return points[:, 1], points[:, 2]

    def carried(self, error: float) -> tuple[float, float]:
        """Relative errors of K and K' at an error of rho: a K'/K and a K''/K' times that, and the moments' own."""
        return self.conditions[0] * error + self.error, self.conditions[1] * error + self.error

    def _integrate(self, engine, moments, pairs, *, left, right, c, gap):
        """Replace the moments of some pairs: known where the inputs are the same, else integrals, on the host."""
        if not len(pairs):
            return
        rows, cols = (engine.xp.asarray(part) for part in pairs.T)
        needed = left[rows, :3], right[cols, 0], c[rows, cols], gap[rows, cols]
        known: dict = {}
        found = [self._pair(known, *pair) for pair in zip(*map(engine.to_host, needed), strict=True)]
        for moment, replaced in zip(moments, engine.xp.asarray(np.array(found).T), strict=False):
            moment[rows, cols] = replaced.astype(moment.dtype, copy=False)

    def _pair(self, known: dict, own, b, c, gap):
        """The three moments of one pair, kept in ``known``; own = ‖x‖²/d, E phi², E phi'²."""
        if own[0] == b and gap == 0 and c > 0:
            return *own[1:], 0.0
        key = (max(own[0], b), min(own[0], b), c, gap)
        if key not in known:
            known[key] = pair_integrals(self.act, *(float(part) for part in key))
        return known[key]

    def _blocks(self, distinct) -> list[np.ndarray]:
        """Norms in ascending order, in blocks that share their nodes."""
        alike = itertools.groupby(distinct, key=lambda square: panel_marks(math.sqrt(square), self.act.kinks))
        groups = [np.array(list(members)) for _, members in alike]
        return [group[k : k + TOGETHER] for group in groups for k in range(0, len(group), TOGETHER)]

    def _numbers(self, block, terms: int, nodes: int = NODES, shift: float = 0.0) -> np.ndarray:
        """(b, 5 + 2 terms) for the norms of a block."""
        scales = np.sqrt(block)
        g, weights = scaled_nodes(float(scales[0]), self.act.kinks, nodes, shift)
        both = np.array(self.act.value_and_derivative(scales[:, None] * g))
        second = np.einsum("fbq,fbq,q->fb", both, both, weights)  # BLAS would round a norm by its place in a block
        weighted = (both * weights).reshape(-1, len(g))
        coefficients = engine_of(g).pairs.hermite_moments(g, weighted, terms).reshape(2, len(block), terms)
        rest = np.maximum(second - (coefficients**2).sum(axis=2), 4 * np.finfo(float).eps * second)
        tails = np.sqrt(rest / np.where(second > 0, second, 1))
        return np.concatenate([block[:, None], second.T, tails.T, *coefficients], axis=1)

    def _quadrature_error(self, block) -> float:
        """The largest difference of two rules at the norms of a block."""
        with np.errstate(all="ignore"):
            one, other = self._numbers(block, 8), self._numbers(block, 8, NODES + 6, SHIFT)
            ends = np.square(self.act.value_and_derivative(np.sqrt(block)[:, None] * np.array([-REACH, REACH])))
            largest = ends.max(axis=2).T * np.exp(-REACH * REACH / 2)
            scales = np.sqrt(np.maximum(one[:, 1:3], np.finfo(float).tiny))
            second = np.abs(one[:, 1:3] - other[:, 1:3]) / scales**2
            first = np.abs(one[:, 5:] - other[:, 5:]).reshape(-1, 2, 8).max(axis=2) / scales
            errors = np.maximum(second, first).max(axis=1)
        grows = ~(largest <= 1e-20 * one[:, 1:3] + 1e-300).all(axis=1)
        if grows.any():
            raise ValueError(
                f"activation {self.act.name!r} grows too fast for expectations at ‖x‖²/d = {block[grows][0]:.3g}; "
                f"scale the inputs"
            )
        wrong = ~(errors < WORST)
        if wrong.any():
            raise ValueError(
                f"activation {self.act.name!r} has no reliable expectations at ‖x‖²/d = {block[wrong][0]:.3g}: two "
                f"quadrature rules differ by {errors[wrong][0]:.1e} of its second moment; name the points where phi' "
                f"jumps in kinks=, or scale the inputs of a function that oscillates fast"
            )
        return float(errors.max()) + 1e-15


def _mean_degrees(points) -> np.ndarray:
    """The largest sum_k k c_k² / sum_k c_k² of phi and of phi': how K and K' of equal inputs answer to rho."""
    squares = points[:, 5:].reshape(len(points), 2, -1) ** 2
    degrees = squares @ np.arange(squares.shape[2])
    return (degrees / np.maximum(squares.sum(axis=2), np.finfo(float).tiny)).max(axis=0)


def pair_integrals(act: Activation, a: float, b: float, c: float, gap: float) -> tuple[float, float, float]:
    """K = E phi(u) phi(v), E phi'(u) phi'(v) and E phi(u)² E phi(v)² - K² for one pair, variances a >= b.

    u is outside, v given u inside. The last one is E phi(v)² E(phi(u) - t phi(v))² for t = K / E phi(v)², where neither
    the difference nor the rounding of t costs relative accuracy. Cost: 1e5 to 5e6 values of phi, milliseconds.
    """
    scale, sigma, slope = np.sqrt(a), np.sqrt(gap / a), c / a
    bends = [kink / slope + sigma / abs(slope) * step for kink in act.kinks for step in _GRADED]
    g, weights = scaled_nodes(scale, (*act.kinks, *bends), NODES)
    outside = act.value_and_derivative(scale * g)
    h, inner_weights = conditional_nodes(slope * scale * g, sigma, act.kinks)
    inside = act.value_and_derivative((slope * scale * g)[:, None] + sigma * h)
    value, derivative = (
        float(weights @ (out * (part * inner_weights).sum(axis=1))) for out, part in zip(outside, inside, strict=True)
    )
    second = float(weights @ (inside[0] ** 2 * inner_weights).sum(axis=1))
    if second == 0:
        return value, derivative, 0.0
    apart = (outside[0][:, None] - value / second * inside[0]) ** 2
    return value, derivative, second * float(weights @ (apart * inner_weights).sum(axis=1))


_GRADED = (0.0, *(sign * 2.0**k for sign in (-1, 1) for k in range(-1, 60)))


def expectation(act: Activation, function: Callable[[Array, Array, Array], Array]) -> float:
    """E f(g, phi(g), phi'(g)) for g ~ N(0, 1), by panels that end at the kinks."""
    g, weights = scaled_nodes(1.0, act.kinks, NODES)
    return float(weights @ function(g, *act.value_and_derivative(g)))
