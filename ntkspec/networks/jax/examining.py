"""What a kernel takes for granted of a function, checked on a few points when they first come."""

import re
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from ntkspec.engines.arrays import Array
from ntkspec.networks.jax.modes import computing
from ntkspec.networks.points import count, rows
from ntkspec.networks.protocol import Points

if TYPE_CHECKING:
    from ntkspec.networks.jax.network import JaxNetwork

POINTS = 4
# Relative errors that are rounding: of float64, and of a function that computes in float32 whatever it is given.
PRECISE, ROUGH = 1e-8, 1e-3
# How far weights are moved before the checks, relative to their size: away from kinks at zero inputs and from outputs
# that are zero. The step of the central difference, and what that may be off where an activation has kinks.
NUDGE, STEP, DIFFERENCE = 1e-2, 1e-5, 1e-3


def examine(net: "JaxNetwork", points: Points) -> None:
    """ValueError, with the cure, where outputs are not finite, change from pass to pass, or depend on other points,
    where J and its transpose do not belong together, or J is not the derivative.

    On at most POINTS points, four compilations for them; in float64 where the function takes that.
    """
    rng, double, sample = np.random.default_rng(0), np.dtype(np.float64), _sample(points)
    exact = net.in_dtype(double) if net.runs_in(double, sample) else net
    sample, rough = exact.as_points(sample), exact.dtype != double or exact.program.traced.narrows
    _check_finite(exact, sample)
    _check_determined(exact, sample)
    near = exact.with_weights([_moved(weights, NUDGE, rng) for weights in exact.weights])
    _check_each_point(near, sample, ROUGH if rough else PRECISE)
    direction = [_moved(weights, 1.0, rng) - weights for weights in near.weights]
    pushed = near.jvp(sample, direction)
    if np.isfinite(pushed).all():
        _check_adjoint(near, sample, direction, pushed, ROUGH if rough else PRECISE)
    if np.isfinite(pushed).all() and not rough:
        _check_derivative(near, sample, direction, pushed)


def _sample(points: Points) -> Points:
    """POINTS of the points; of a single one also another that is made of it."""
    sample = rows(points, np.arange(POINTS) % count(points))
    if count(points) > 1:
        return sample
    return jax.tree_util.tree_map(lambda part: np.concatenate([part[:2], _other(part[2:])]), sample)


def _other(part: Array) -> Array:
    return 0.5 * part + 0.1 if part.dtype.kind == "f" else np.roll(part, 1, axis=-1)


def _moved(weights: Array, by: float, rng: np.random.Generator) -> Array:
    """Each weight by a part of its own size, so that its sign stays; those that are zero by a part of the others'."""
    size = np.where(weights == 0, float(np.sqrt(np.square(weights).mean())) or 1.0, weights)
    return weights + by * rng.uniform(-1, 1, weights.shape) * size


def _check_finite(net: "JaxNetwork", sample: Points) -> None:
    found = net(sample)
    if not np.isfinite(found).all():
        raise ValueError(
            f"the function returns NaN or infinity ({int((~np.isfinite(found)).sum())} of {found.size} outputs of the "
            f"first points); check the scale of the points, and that the parameters belong to this function"
        )


def _check_determined(net: "JaxNetwork", sample: Points) -> None:
    """Two passes have equal bits, and two traces are the same program: random numbers of NumPy are constants of one."""
    same = np.array_equal(net(sample), net(sample))
    if not same or _program_text(net, sample) != _program_text(net, sample):
        raise ValueError(
            "the function gives other outputs each time; take out what is random (dropout, noise): deterministic=True "
            "in Flax, equinox.nn.inference_mode(model), or a key of JAX's that is fixed"
        )


def _program_text(net: "JaxNetwork", sample: Points) -> tuple[str, list[bytes]]:
    """A trace as text without addresses, and its constants."""
    with computing(net.dtype):
        # A function of its own, so that no earlier trace answers.
        closed = jax.make_jaxpr(lambda *arguments: net.program.call(*arguments))(net.trained, net.constants, sample)
    constants = [
        np.asarray(one).tobytes() for one in closed.consts if isinstance(getattr(one, "dtype", None), np.dtype)
    ]
    return re.sub(r"0x[0-9a-f]+", "", str(closed.jaxpr)), constants


def _check_each_point(net: "JaxNetwork", sample: Points, allowed: float) -> None:
    """A point's outputs are the same without other points."""
    one = net(sample)
    off = max(abs(net(rows(sample, slice(k, k + 1))) - one[k]).max() for k in range(POINTS))
    if off > allowed * abs(one).max():
        raise ValueError(
            f"outputs of a point change by {off / abs(one).max():.2g} (relative) with its place and the points beside "
            f"it, so that they have no kernel of points; take batch statistics and dropout out of the function: "
            f"use_running_average=True and deterministic=True in Flax, equinox.nn.inference_mode(model)"
        )


def _check_adjoint(net: "JaxNetwork", sample: Points, direction: list[Any], pushed: Array, allowed: float) -> None:
    """<J v, u> = <v, Jᵀ u>."""
    cotangent = np.random.default_rng(1).standard_normal(pushed.shape)
    pulled = net.vjp(sample, cotangent)
    one = float((pushed * cotangent).sum())
    two = float(sum((part * own).sum() for part, own in zip(pulled, direction, strict=True)))
    if abs(one - two) > allowed * float(np.linalg.norm(pushed)) * float(np.linalg.norm(cotangent)):
        raise ValueError(
            f"forward and reverse differentiation of the function disagree: <J v, u> = {one:.6g}, but <v, Jᵀ u> = "
            f"{two:.6g}; mend its own rule of differentiation (jax.custom_jvp or jax.custom_vjp)"
        )


def _check_derivative(net: "JaxNetwork", sample: Points, direction: list[Any], pushed: Array) -> None:
    """J v is the central difference of the outputs along v."""
    ahead, behind = (
        net.with_weights([own + sign * STEP * move for own, move in zip(net.weights, direction, strict=True)])(sample)
        for sign in (1, -1)
    )
    off = float(np.linalg.norm((ahead - behind) / (2 * STEP) - pushed))
    size = float(np.linalg.norm(pushed)) + 1e-3 * float(np.linalg.norm(ahead))
    if np.isfinite(off) and off > DIFFERENCE * size:
        raise ValueError(
            f"the derivative of the function is not that of its outputs: they differ by {off / size:.2g} (relative) "
            f"from a central difference; a kernel describes training only where they agree, so take out "
            f"straight-through rounding and other derivatives by hand, or mend them"
        )
