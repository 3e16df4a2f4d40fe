"""What training makes small: a loss of outputs and labels, and its derivative in the outputs.

Losses are means over points: of outputs u (n,) or (n, K) and labels y of the same shape, ``values(u, y)`` are the
losses of the points, (n,), and ``derivative(u, y)`` is that of each in its outputs, of the shape of u. ``elementwise``:
the loss of a point is a sum over its outputs, each with its own label. ``curvature``: the largest second derivative in
any direction of the outputs of a point, None where nobody knows it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

import numpy as np

from ntkspec import checks
from ntkspec.engines import engine_of
from ntkspec.engines.arrays import Array, ArrayLike

# Where a user's derivative is tried: outputs of each label, and how far from a central difference it may be.
TRIED, STEP, ALLOWED = 3, 1e-5, 1e-4
_QUIET = np.errstate(all="ignore")


class LossFunction(ABC):
    """A loss, as this module's head has it."""

    elementwise = True
    curvature: ClassVar[float | None] = None

    @abstractmethod
    def values(self, u: Array, y: Array) -> Array: ...

    @abstractmethod
    def derivative(self, u: Array, y: Array) -> Array: ...

    def checked(self, y: Array) -> Array:
        """The labels, where the loss is one of such; ValueError where not."""
        return y

    def mean(self, outputs: ArrayLike, y: ArrayLike) -> np.ndarray:
        """The mean loss over the points.

        Parameters
        ----------
        outputs : array, shape (..., n) or (..., n, K)
            Outputs such as ``train`` and ``test`` of a :class:`ntkspec.Trajectory`.
        y : array, shape (n,) or (n, K)
            Labels.

        Returns
        -------
        float64 array, shape (...)
            The losses; NaN where an output is.
        """
        found, labels = checks.as_floats(outputs, "outputs"), self.checked(checks.as_floats(y, "y"))
        if labels.ndim not in (1, 2) or found.shape[-labels.ndim :] != labels.shape:
            raise ValueError(
                f"outputs have shape {found.shape}, but that of y, {labels.shape}, has to be their last axes"
            )
        if not labels.size:
            raise ValueError(f"y has shape {labels.shape}, but a mean over points needs one point or more")
        leading = found.shape[: found.ndim - labels.ndim]
        losses = [float(self.values(u, labels).mean()) for u in found.reshape(-1, *labels.shape)]
        return np.array(losses).reshape(leading)


@dataclass(frozen=True)
class Squared(LossFunction):
    """(u - y)²/2, a sum over outputs."""

    curvature = 1.0

    def values(self, u: Array, y: Array) -> Array:
        """(u - y)²/2."""
        return _over_outputs((u - y) ** 2 / 2)

    def derivative(self, u: Array, y: Array) -> Array:
        """u - y."""
        return u - y


@dataclass(frozen=True)
class Logistic(LossFunction):
    """log(1 + exp(-y u)) for labels +1 and -1, a sum over outputs."""

    curvature = 0.25

    def checked(self, y: Array) -> Array:
        """Labels +1 and -1."""
        wrong = y[abs(y) != 1]
        if wrong.size:
            raise ValueError(
                f"y holds {float(wrong.reshape(-1)[0]):.6g}, but labels of the logistic loss are 1 and -1; take 2 y - "
                f"1 for labels 0 and 1, or loss='cross-entropy' with numpy.eye(K)[y] for K classes"
            )
        return y

    @_QUIET
    def values(self, u: Array, y: Array) -> Array:
        """log(1 + exp(-y u)), without overflow."""
        return _over_outputs(engine_of(u).xp.logaddexp(0 * u, -y * u))

    @_QUIET
    def derivative(self, u: Array, y: Array) -> Array:
        """-y / (1 + exp(y u)), with all digits where it is small."""
        xp = engine_of(u).xp
        return -y * xp.exp(-xp.logaddexp(0 * u, y * u))


@dataclass(frozen=True)
class CrossEntropy(LossFunction):
    """-sum_k y_k log softmax(u)_k for labels (n, K), the probabilities of K classes."""

    elementwise = False
    curvature = 0.5

    def checked(self, y: Array) -> Array:
        """Probabilities of two classes or more, such as one-hot labels."""
        advice = "labels of the cross-entropy are (n, K), probabilities of K >= 2 classes, such as numpy.eye(K)[y]"
        if y.ndim != 2 or y.shape[1] < 2:
            raise ValueError(f"y has shape {y.shape}, but {advice} (--classes all); labels 1 and -1 are for 'logistic'")
        if bool((y < 0).any()):
            raise ValueError(f"y holds {float(y.min()):.6g}, but {advice}")
        sums = y.astype(np.float64).sum(axis=1)
        if float(abs(sums - 1).max()) > y.shape[1] * 1e-6:
            raise ValueError(f"a row of y has the sum {float(sums[abs(sums - 1).argmax()]):.6g}, but {advice}")
        return y

    @_QUIET
    def values(self, u: Array, y: Array) -> Array:
        """log sum_k exp(u_k) - sum_k y_k u_k, from the largest output."""
        low = u - u.max(axis=1, keepdims=True)
        return engine_of(u).xp.log(engine_of(u).xp.exp(low).sum(axis=1)) * y.sum(axis=1) - (y * low).sum(axis=1)

    @_QUIET
    def derivative(self, u: Array, y: Array) -> Array:
        """softmax(u) - y."""
        powers = engine_of(u).xp.exp(u - u.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True) * y.sum(axis=1, keepdims=True) - y


@dataclass(frozen=True)
class Huber(LossFunction):
    r"""Huber's loss, a ``loss`` for :func:`ntkspec.predict_gd` and :func:`ntkspec.train_gd`.

    .. math:: \ell(u, y) = \tfrac12 (u - y)^2 \text{ where } |u - y| \le \delta, \quad
              \delta |u - y| - \tfrac12 \delta^2 \text{ beyond, a sum over outputs}

    Parameters
    ----------
    delta : float
        Above 0. Default 1.

    Raises
    ------
    ValueError
        Where delta is not such a number.

    References
    ----------
    P. J. Huber, Robust estimation of a location parameter, Ann. Math. Statist. 35, 1964.

    Examples
    --------
    >>> import numpy as np
    >>> import ntkspec as ns
    >>> loss = ns.Huber(1.0)
    >>> u, y = np.array([0.5, 3.0]), np.zeros(2)
    >>> loss.values(u, y).tolist(), loss.derivative(u, y).tolist()
    ([0.125, 2.5], [0.5, 1.0])
    """

    delta: float = 1.0

    curvature = 1.0

    def __post_init__(self):
        if not checks.is_number(self.delta) or not 0 < self.delta < np.inf:
            raise ValueError(f"delta={checks.shown(self.delta)}, but a finite number above 0 is needed, such as 1.0")

    def values(self, u: Array, y: Array) -> Array:
        """The losses of the points, (n,)."""
        size, delta = abs(u - y), float(self.delta)
        inner = engine_of(u).xp.minimum(size, delta)
        return _over_outputs(inner * (size - inner / 2))

    def derivative(self, u: Array, y: Array) -> Array:
        """u - y, at most delta in size."""
        return engine_of(u).xp.clip(u - y, -float(self.delta), float(self.delta))


class Loss(LossFunction):
    r"""A loss of your own, for :func:`ntkspec.predict_gd` and :func:`ntkspec.train_gd`.

    Parameters
    ----------
    value : function
        Of outputs u and labels y, arrays (n,) or (n, K): the loss of each point, (n,), or of each output, of their
        shape.
    derivative : function
        Of the same: the derivative of the loss of each point in its outputs, of the shape of u.
    name : str
        What it is called in results. Default: the name of ``value``.
    labels : array, shape (n,) or (n, K), optional
        Labels on which the derivative is compared with central differences of the value. Default None: 1 and -1.

    Raises
    ------
    TypeError
        Where ``value`` or ``derivative`` is no function, or returns something of another shape.
    ValueError
        Where the derivative is not that of the value, or the loss of a point depends on other points.

    Notes
    -----
    The loss of a run is the mean over points, (1/n) sum_i l(u_i, y_i), so that a step of gradient descent on the
    outputs of a kernel model is u <- u - (eta/n) K l'(u, y). The functions get arrays of the engine, of NumPy or CuPy.

    Examples
    --------
    >>> import numpy as np
    >>> import ntkspec as ns
    >>> hinge = ns.Loss(lambda u, y: np.maximum(0, 1 - y * u) ** 2 / 2, lambda u, y: -y * np.maximum(0, 1 - y * u),
    ...                 name="squared hinge")
    >>> run = ns.predict_gd(np.eye(2), [1.0, -1.0], eta=0.5, steps=[0, 3], loss=hinge)
    >>> hinge.mean(run.train, [1.0, -1.0]).round(4).tolist()
    [0.5, 0.089]
    """

    elementwise = False

    def __init__(
        self,
        value: Callable[[Array, Array], Array],
        derivative: Callable[[Array, Array], Array],
        *,
        name: str | None = None,
        labels: ArrayLike | None = None,
    ):
        for function, what in ((value, "value"), (derivative, "derivative")):
            if not callable(function):
                found = type(function).__name__
                raise TypeError(f"{what} is a {found}, but a function of outputs and labels is needed")
        self.value, self.slope = value, derivative
        self.name = name or getattr(value, "__name__", type(value).__name__)
        _try(self, np.array([1.0, -1.0]) if labels is None else checks.as_floats(labels, "labels").astype(np.float64))

    def __repr__(self) -> str:
        return f"Loss({self.name})"

    @_QUIET
    def values(self, u: Array, y: Array) -> Array:
        """The losses of the points, (n,)."""
        return _over_outputs(_like(self.value(u, y), (u.shape, u.shape[:1]), f"value of {self!r}"))

    @_QUIET
    def derivative(self, u: Array, y: Array) -> Array:
        """That of the loss of each point in its outputs, in their dtype."""
        return _like(self.slope(u, y), (u.shape,), f"derivative of {self!r}").astype(u.dtype, copy=False)


LossLike: TypeAlias = str | LossFunction
SQUARED = Squared()
_NAMED: dict[str, LossFunction] = {"squared": SQUARED, "logistic": Logistic(), "cross-entropy": CrossEntropy()}


def loss(given: LossLike) -> LossFunction:
    r"""The loss of a name, with its values, derivatives and means.

    Parameters
    ----------
    given : {"squared", "logistic", "cross-entropy"}, Huber or Loss
        The name, as :func:`ntkspec.predict_gd` and :func:`ntkspec.train_gd` take it, or a loss, which comes back.

    Returns
    -------
    LossFunction
        With ``values(u, y)``, the losses of the points, (n,), of outputs u and labels y (n,) or (n, K);
        ``derivative(u, y)``, of the loss of each point in its outputs; and ``mean(outputs, y)``, the mean loss over the
        points, of all steps of a trajectory at once.

    Raises
    ------
    ValueError
        For another name.

    Examples
    --------
    >>> import numpy as np
    >>> import ntkspec as ns
    >>> run = ns.predict_gd(np.eye(2), [1.0, -1.0], eta=4.0, steps=[0, 5], loss="logistic")
    >>> ns.loss("logistic").mean(run.train, [1.0, -1.0]).round(4).tolist()
    [0.6931, 0.0901]
    """
    if isinstance(given, LossFunction):
        return given
    if not isinstance(given, str) or given not in _NAMED:
        raise ValueError(
            f"loss={checks.shown(given)}, but {', '.join(map(repr, _NAMED))}, ntkspec.Huber(delta) or "
            f"ntkspec.Loss(value, derivative) is needed"
        )
    return _NAMED[given]


def name_of(loss: LossFunction) -> str:
    """As :func:`loss` takes it."""
    return next((name for name, known in _NAMED.items() if known == loss), repr(loss))


def _over_outputs(losses: Array) -> Array:
    """(n,) from losses (n,) or (n, K)."""
    return losses if losses.ndim == 1 else losses.sum(axis=1)


def _like(found: Array, shapes: tuple[tuple[int, ...], ...], what: str) -> Array:
    kind = getattr(getattr(found, "dtype", None), "kind", "")
    if getattr(found, "shape", None) not in shapes or kind not in tuple("fiu"):
        came = f"{found.dtype} {found.shape}" if kind else type(found).__name__
        raise TypeError(
            f"{what} returned {came}, but real numbers of shape {' or '.join(map(str, dict.fromkeys(shapes)))} are "
            f"needed"
        )
    return found


def _try(loss: Loss, labels: np.ndarray) -> None:
    """Compare the derivative with central differences, of outputs of size one for each label."""
    if labels.ndim not in (1, 2) or not labels.size:
        raise ValueError(f"labels have shape {labels.shape}, but (n,) or (n, K) is needed, with some in it")
    checks.all_finite(labels, "labels")
    y = np.repeat(labels[: max(2, 60 // labels[0].size)], TRIED, axis=0)
    u = np.random.default_rng(0).standard_normal(y.shape)
    given = u.copy(), y.copy()
    slope, start = loss.derivative(u, y), loss.values(u, y)
    if not (np.array_equal(u, given[0]) and np.array_equal(y, given[1])):
        raise ValueError(f"{loss!r} writes into the outputs or labels that it is given; return new arrays")
    if not (np.isfinite(start).all() and np.isfinite(slope).all()):
        raise ValueError(f"{loss!r} is NaN or infinite at outputs of size one, in its value or its derivative")
    for place in np.ndindex(u.shape):
        ahead, back = u.copy(), u.copy()
        ahead[place] += STEP
        back[place] -= STEP
        moved = loss.values(ahead, y) - loss.values(back, y)
        others = np.arange(len(y)) != place[0]
        if not np.array_equal(loss.values(ahead, y)[others], start[others]):
            raise ValueError(f"the loss of a point in {loss!r} depends on the outputs of other points")
        found, exact = float(slope[place]), float(moved[place[0]]) / (2 * STEP)
        if not abs(found - exact) <= ALLOWED * (1 + abs(exact)):
            raise ValueError(
                f"the derivative of {loss!r} is {found:.6g} at the output {u[place]:.6g} and the label {y[place]:.6g}, "
                f"but the central difference of its value is {exact:.6g}"
            )
