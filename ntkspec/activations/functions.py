"""Activation functions and their Gaussian constants zeta and vartheta0, vartheta1, vartheta2."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ntkspec import checks
from ntkspec.activations import derivatives, duals
from ntkspec.activations.gaussian_quadrature import REACH
from ntkspec.activations.names import name_of, plain_name
from ntkspec.engines import as_array, engine_of
from ntkspec.engines.arrays import Array, ArrayLike
from ntkspec.objects.lazy import cached_property
from ntkspec.objects.pickling import Foreign

SQRT_PI, SQRT_2PI = math.sqrt(math.pi), math.sqrt(2 * math.pi)
# What float64 makes of a closed form, and of a sum over a rule of quadrature, relative to the sizes of their terms.
ROUNDING, SUMMED = 4e-16, 1e-15
# The largest parameter of an activation: its square times a norm of a kernel is a float32.
LARGEST_PARAMETER = 1e12


@dataclass(frozen=True)
class Constants:
    r"""The constants of equations (5) and (9) for one activation, expectations over g ~ N(0, 1).

    Attributes
    ----------
    zeta, vartheta0, vartheta1, vartheta2 : float
        E phi'(g), E phi(g), E g phi'(g), and E (g³/2 - g) phi'(g).
    method : str
        "closed form" or "quadrature".
    error : float
        A bound on the absolute error of each, which grows with the size of phi.
    """

    zeta: float
    vartheta0: float
    vartheta1: float
    vartheta2: float
    method: str = "closed form"
    error: float = ROUNDING

    def nu(self, trace_ratio: float) -> float:
        """nu = vartheta1 sqrt(Tr[Sigma²] / d), equation (5), for ``trace_ratio`` = Tr[Sigma²] / d."""
        return self.vartheta1 * math.sqrt(trace_ratio)


class Activation:
    """A function phi : R -> R that acts entry by entry on arrays, with its derivative: one of your own.

    Parameters
    ----------
    fn, derivative : callable
        phi and phi': functions of an array z that return an array of the same shape and dtype. They may also return a
        number, another real dtype, or their argument changed in place (it is a copy).
    name : str, default "custom"
        What it is called in texts and files.
    kinks : iterable of float, default ()
        Points where phi' jumps; quadrature splits there. Only expectations need them.

    Attributes
    ----------
    name, kinks
        As they were passed, the kinks in ascending order.
    slopes : (float, float) or None
        The two values of phi', below 0 and from 0 on, of a named piecewise-linear activation.
    dual : callable or None
        The closed form of its expected products (``ntkspec.activations.duals``) where there is one.
    compiled : (str, tuple) or None
        The engines' function of a named activation, and its parameters.

    Raises
    ------
    ValueError
        For kinks that are not finite. Where networks or kernels first take it: where the derivative does not belong to
        phi, phi jumps, or one of them is not finite. Where ``constants`` are first asked for: where the Gaussian
        moments do not exist.

    Notes
    -----
    Both functions are looked at once, in some milliseconds. It pickles where both functions do, by their names, or by
    value where cloudpickle is installed (else TypeError); a named activation always does, by its name and parameters.

    References
    ----------
    Hu, Xiao, Adlam, Pennington, The Surprising Simplicity of the Early-Time Learning Dynamics of Neural Networks,
    NeurIPS 2020, Assumption 3.2.

    Examples
    --------
    >>> import numpy as np, ntkspec as ns
    >>> wave = ns.Activation(lambda z: z + np.sin(z), lambda z: 1 + np.cos(z), name="wave")
    >>> bool(np.isclose(wave.constants.zeta, 1 + np.exp(-0.5)))
    True
    """

    def __init__(
        self,
        fn: Callable[[Array], Any],
        derivative: Callable[[Array], Any],
        name: str = "custom",
        kinks: Iterable[float] = (),
    ):
        self.name = name
        self.slopes: tuple[float, float] | None = None
        self.dual: Callable[..., Any] | None = None
        self.compiled: tuple[str, tuple] | None = None
        self.kinks = tuple(sorted(float(kink) for kink in kinks))
        if not all(math.isfinite(kink) for kink in self.kinks):
            raise ValueError(f"kinks={self.kinks}, but finite numbers are needed: the points where phi' jumps")
        self._fn = Foreign(fn, f"phi of activation {name!r}")
        self._derivative = Foreign(derivative, f"the derivative of activation {name!r}")
        self._looked = False

    def look(self) -> None:
        """Raises ValueError where the functions are not phi and phi', the first time."""
        if not self._looked:
            derivatives.refuse_wrong(self.name, self, self.derivative)
            self._looked = True

    def __call__(self, z: ArrayLike) -> Array:
        """phi, entry by entry.

        Parameters
        ----------
        z : array
            Of any shape, float32 or float64, NumPy or CuPy.

        Returns
        -------
        array
            phi(z), in the shape and dtype of z.

        Raises
        ------
        ValueError
            Where a function of one's own fails, or returns no real numbers of the shape of z.
        """
        return self._applied(self._fn, z)

    def derivative(self, z: ArrayLike) -> Array:
        """phi', entry by entry.

        Parameters
        ----------
        z : array
            Of any shape, float32 or float64, NumPy or CuPy.

        Returns
        -------
        array
            phi'(z), in the shape and dtype of z; 1 at z = 0 where phi is piecewise linear.

        Raises
        ------
        ValueError
            Where a function of one's own fails, or returns no real numbers of the shape of z.
        """
        return self._applied(self._derivative, z)

    def value_and_derivative(self, z: ArrayLike) -> tuple[Array, Array]:
        """(phi(z), phi'(z)); activations that share work between the two do so."""
        return self(z), self.derivative(z)

    def fill(self, z: Array, value: Array, slope: Array) -> None:
        """Writes phi(z) and phi'(z) into ``value`` and ``slope``; a named activation needs no other memory.

        All three are arrays of one shape and one dtype, float32 or float64, C-contiguous (else ValueError), and do not
        overlap.
        """
        _refuse_unlike(z, value, slope)
        value[...] = self(z)
        slope[...] = self.derivative(z)

    def _applied(self, function: Callable, z):
        """A user's function may return a number, another dtype or a list, and write into its argument, a copy, or into
        memory of its own, which it returns again."""
        z = checks.as_floats(z, "the argument of an activation")
        xp = engine_of(z).xp
        try:
            given = function(z.copy())
        except _MISTAKES as error:
            kind = "NumPy" if xp is np else "CuPy"
            which = "phi" if function is self._fn else "its derivative"
            reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
            raise ValueError(f"activation {self.name!r}: {which} does not take a {kind} array: {reason}") from error
        found = as_array(given, f"what activation {self.name!r} returns")
        if found.dtype.kind not in "fiub":
            raise ValueError(f"activation {self.name!r} returns {found.dtype}, but real numbers are needed")
        try:
            return xp.array(xp.broadcast_to(xp.asarray(found, dtype=z.dtype), z.shape))
        except ValueError:
            raise ValueError(f"activation {self.name!r} does not return arrays of the shape of its argument") from None

    @cached_property
    def constants(self) -> Constants:
        """zeta, vartheta0, vartheta1 and vartheta2, with ``nu(trace_ratio)``, equations (5) and (9).

        In closed form where the activation has one, otherwise by quadrature, once; ``error`` bounds the error of each.
        ValueError where the Gaussian moments do not exist or quadrature does not reach 1e-13 of the size of phi.
        """
        return _quadrature(self)

    @cached_property
    def assumption(self) -> str:
        """Which case of Assumption 3.2 this is: "smooth", "piecewise linear" or "none: reason".

        Judged on a sample of [-50, 50]; a bounded second derivative is seen through bounded steps of phi'.
        """
        z = np.linspace(-50.0, 50.0, 200_001)
        value, slope = self.value_and_derivative(z)
        slopes = np.where(z >= 0, 1.0, slope[0])
        if np.allclose(value, slopes * z, rtol=1e-12, atol=1e-12):
            return "smooth" if slope[0] == 1.0 else "piecewise linear"
        for kink in self.kinks:
            below, above = self.derivative(np.array([kink - 1e-9, kink + 1e-9]))
            if abs(above - below) > 1e-6:
                return f"none: phi' jumps at z = {kink:g}, and phi is not piecewise linear as in case (ii)"
        bend = np.abs(np.diff(slope)) / np.diff(z)
        if bend.max() > 1e3:
            return f"none: phi' jumps near z = {z[bend.argmax()]:.4g}, and phi is not piecewise linear as in case (ii)"
        outside = np.abs(z) >= 25
        if np.abs(slope[outside]).max() > 4 * np.abs(slope[~outside]).max() / 3:
            return "none: phi' grows without bound"
        return "smooth"

    def __repr__(self) -> str:
        return f"Activation({self.name!r})"


_FLOATS = np.dtype(np.float32), np.dtype(np.float64)
# What a function raises that was not written for arrays.
_MISTAKES = ArithmeticError, AttributeError, LookupError, NameError, RuntimeError, TypeError, ValueError


def _refuse_unlike(z, value, slope) -> None:
    """ValueError for arrays that a loop over their memory cannot take; only an overlap is not noticed."""
    alike = z.shape == value.shape == slope.shape and z.dtype == value.dtype == slope.dtype
    whole = z.flags.c_contiguous and value.flags.c_contiguous and slope.flags.c_contiguous
    if not alike or not whole or z.dtype not in _FLOATS:
        kinds = [(array.shape, array.dtype, array.flags.c_contiguous) for array in (z, value, slope)]
        found = "; ".join(f"{shape} {dtype}{'' if whole else ' not contiguous'}" for shape, dtype, whole in kinds)
        raise ValueError(
            f"z, value and slope are {found}, but C-contiguous arrays of one shape and of dtype float32 or float64 "
            f"are needed"
        )


class Named(Activation):
    """A built-in: an engine's function of (z, value, slope, *parameters); constants in closed form where they exist.

    recipe : the name and the parameters from which :func:`activation` makes it.
    """

    recipe: tuple[str, dict[str, float]]

    def __init__(
        self,
        name: str,
        function: str,
        parameters: tuple[float, ...] = (),
        *,
        kinks: tuple[float, ...] = (),
        constants: Constants | None = None,
        dual: Callable[..., Any] | None = None,
    ):
        self.name, self.kinks, self.dual = name, kinks, dual
        self.slopes: tuple[float, float] | None = None
        self.compiled: tuple[str, tuple] = (function, parameters)
        if constants is not None:
            self.constants = constants

    def look(self) -> None:
        """Nothing: the engines' functions are tested."""

    def __reduce__(self):
        return _named, self.recipe

    def __call__(self, z: ArrayLike) -> Array:
        return self.value_and_derivative(z)[0]

    def derivative(self, z: ArrayLike) -> Array:
        return self.value_and_derivative(z)[1]

    def value_and_derivative(self, z: ArrayLike) -> tuple[Array, Array]:
        z = checks.as_floats(z, "the argument of an activation")
        xp = engine_of(z).xp
        z = xp.asarray(z, order="C")
        value, slope = xp.empty_like(z), xp.empty_like(z)
        self.fill(z, value, slope)
        return value, slope

    def fill(self, z: Array, value: Array, slope: Array) -> None:
        _refuse_unlike(z, value, slope)
        function, parameters = self.compiled
        getattr(engine_of(z, value, slope).functions, function)(z, value, slope, *parameters)


# ------------------------------------------------------------------------------------------------ the thirteen named
def _leaky(name: str, a: float) -> Named:
    kink = (1 - a) / SQRT_2PI
    kinks = () if a == 1 else (0.0,)
    constants = Constants((1 + a) / 2, kink, kink, 0.0, error=ROUNDING * max(1.0, abs(a)))
    dual = duals.PiecewiseLinear(a)
    act = Named(name, "piecewise_linear", (a,), kinks=kinks, constants=constants, dual=dual)
    act.slopes = None if a == 1 else (a, 1.0)
    return act


def _make_elu(alpha: float = 1.0) -> Named:
    alpha = checks.parameter(alpha, "alpha", LARGEST_PARAMETER)
    r = math.exp(0.5) * math.erfc(math.sqrt(0.5)) / 2
    constants = Constants(
        zeta=0.5 + alpha * r,
        vartheta0=1 / SQRT_2PI + alpha * (r - 0.5),
        vartheta1=(1 - alpha) / SQRT_2PI + alpha * r,
        vartheta2=alpha * (r - 1 / (2 * SQRT_2PI)),
        error=ROUNDING * max(1.0, abs(alpha)),
    )
    name = "elu" if alpha == 1 else f"elu({alpha:g})"
    return Named(name, "elu", (alpha,), kinks=(0.0,), constants=constants)


def _make_leaky_relu(negative_slope: float = 0.01) -> Named:
    slope = checks.parameter(negative_slope, "negative_slope", LARGEST_PARAMETER)
    return _leaky(f"leaky_relu({slope:g})", slope)


_NAMED: dict[str, Callable[..., Named]] = {
    "identity": lambda: _leaky("identity", 1.0),
    "relu": lambda: _leaky("relu", 0.0),
    "leaky_relu": _make_leaky_relu,
    "abs": lambda: _leaky("abs", -1.0),
    "erf": lambda: Named("erf", "erf", constants=Constants(2 / math.sqrt(3 * math.pi), 0.0, 0.0, 0.0), dual=duals.erf),
    "tanh": lambda: Named("tanh", "tanh"),
    "sigmoid": lambda: Named("sigmoid", "sigmoid"),
    "softplus": lambda: Named("softplus", "softplus"),
    "gelu": lambda: Named(
        "gelu",
        "gelu",
        constants=Constants(0.5, 0.5 / SQRT_PI, 0.75 / SQRT_PI, 0.0625 / SQRT_PI),
        dual=duals.gelu,
    ),
    "silu": lambda: Named("silu", "silu"),
    "elu": _make_elu,
    "sin": lambda: Named("sin", "sin", constants=Constants(math.exp(-0.5), 0.0, 0.0, 0.0), dual=duals.sin),
    "cos": lambda: Named("cos", "cos", constants=Constants(0.0, math.exp(-0.5), -math.exp(-0.5), 0.0), dual=duals.cos),
}
NAMES = tuple(_NAMED)


def activation(name: str | Activation, **params: float) -> Activation:
    """The activation of that name.

    Parameters
    ----------
    name : str or Activation
        identity, relu, leaky_relu, abs, erf, tanh, sigmoid, softplus, gelu (the exact one), silu, elu, sin or cos, also
        as people write them: "ReLU", "swish", "np.tanh", "torch.nn.GELU". An :class:`Activation` is returned as it is,
        once it has been looked at.
    **params : float
        negative_slope of leaky_relu (default 0.01), alpha of elu (default 1).

    Returns
    -------
    Activation
        With its Gaussian constants, in closed form where they exist.

    Raises
    ------
    TypeError
        For a parameter that the activation does not have, and a function such as ``np.tanh`` itself, whose name is
        needed, or its derivative too (:class:`Activation`).
    ValueError
        For an unknown name, a parameter beyond 1e12 (or not finite), and an Activation whose derivative does not belong
        to it.

    Notes
    -----
    The piecewise-linear ones have derivative(0) = 1.

    References
    ----------
    Hu, Xiao, Adlam, Pennington, The Surprising Simplicity of the Early-Time Learning Dynamics of Neural Networks,
    NeurIPS 2020, Assumption 3.2 and its footnote 8.

    Examples
    --------
    >>> import numpy as np, ntkspec as ns
    >>> size = ns.activation("abs")
    >>> size(np.array([-1.0, 2.0])).tolist(), size.constants.zeta
    ([1.0, 2.0], 0.0)
    """
    if isinstance(name, Activation):
        name.look()
        return name
    if not isinstance(name, str):
        cure = f"; take its name, {short!r}" if (short := name_of(name)) in _NAMED else ""
        raise TypeError(
            f"activation={checks.shown(name)}, but a name such as 'erf' or an ntkspec.Activation(phi, derivative) is "
            f"needed{cure}"
        )
    known = plain_name(name)
    if known not in _NAMED:
        raise ValueError(f"activation {name!r} is unknown; use one of {', '.join(NAMES)}, or ntkspec.Activation")
    try:
        return _named(known, params)
    except TypeError:
        raise TypeError(f"activation {name!r} does not take the parameters {sorted(params)}") from None


def _named(name: str, params: dict[str, float]) -> Named:
    made = _NAMED[name](**params)
    made.recipe = name, {parameter: float(value) for parameter, value in params.items()}
    return made


# ------------------------------------------------------------------------------------------------------- quadrature
def _integrand(act: Activation, g):
    """density(g) times phi', phi, g phi', (g³/2 - g) phi' (the constants), and g phi, (g² - 1) phi (checks)."""
    value, slope = (np.asarray(part, dtype=np.float64) for part in act.value_and_derivative(np.atleast_1d(g)))
    return (
        np.exp(-g * g / 2)
        / SQRT_2PI
        * np.array([slope, value, g * slope, (g**3 / 2 - g) * slope, g * value, (g * g - 1) * value])
    )


def _gauss_legendre(act: Activation, intervals: Array, nodes: int = 30) -> tuple[Array, Array]:
    """The integrals over given intervals by another rule, and those of the absolute values."""
    points, weights = np.polynomial.legendre.leggauss(nodes)
    half = np.diff(intervals, axis=1) / 2
    g = (intervals.mean(axis=1, keepdims=True) + half * points).ravel()
    values, weights = _integrand(act, g), (half * weights).ravel()
    return values @ weights, abs(values) @ weights


def _integrals(act: Activation):
    """(integrals, what Gauss-Legendre on the final intervals differs by, integrals of absolute values, intervals).

    Adaptive Gauss-Kronrod on [-16, 16], split at the kinks, in the unit of the largest E |integrand| or 1.
    """
    from scipy.integrate import quad_vec

    inner = {-8.0, -4.0, -2.0, 0.0, 2.0, 4.0, 8.0, *(kink for kink in act.kinks if abs(kink) < REACH)}
    ends = np.array(sorted({-REACH, *inner, REACH}))
    unit = max(1.0, float(_gauss_legendre(act, np.stack([ends[:-1], ends[1:]], axis=1))[1].max()))
    values, _, info = quad_vec(
        lambda g: _integrand(act, g)[:, 0] / unit,
        -REACH,
        REACH,
        epsabs=1e-15,
        epsrel=1e-15,
        norm="max",
        limit=1000,
        points=sorted(inner),
        full_output=True,
    )
    others, sizes = _gauss_legendre(act, info.intervals)
    return unit * values, float(np.abs(unit * values - others).max()), float(sizes.max()), len(info.intervals)


def _quadrature(act: Activation) -> Constants:
    """Constants by quadrature, with an error that grows with the size of phi; refused where it cannot reach 1e-13 of it
    (where that is above 1)."""
    wrong = f"activation {act.name!r} has no reliable constants:"
    with np.errstate(all="ignore"):
        ends = np.abs(_integrand(act, np.array([-REACH, REACH])))
        values, error, size, count = _integrals(act)
    if not np.isfinite([*values, *ends.ravel(), size]).all():
        raise ValueError(f"{wrong} phi or phi' is not finite somewhere in [-{REACH:g}, {REACH:g}]")
    scale = max(1.0, size)
    if ends.max() > 1e-20 * scale:
        raise ValueError(f"{wrong} phi grows too fast for expectations under N(0, 1)")
    if error > 1e-13 * scale:
        raise ValueError(
            f"{wrong} quadrature stops at an error of {error:.1e} after {count} intervals; "
            f"name the points where phi' jumps in kinks=, or smooth the function"
        )
    zeta, theta0, theta1, theta2, *by_parts = (float(value) for value in values)
    for name, expected, found in (("phi'", by_parts[0], zeta), ("g phi'", by_parts[1], theta1)):
        if abs(found - expected) > 1e-10 * scale:
            raise ValueError(
                f"{wrong} E[{name}] = {found:.12g}, but integration by parts gives {expected:.12g}; "
                f"the derivative does not belong to phi, or phi jumps"
            )
    return Constants(zeta, theta0, theta1, theta2, "quadrature", error + SUMMED * size)
