"""What a function computes, read off its trace: output shape, flops, memory, rounding to narrower numbers."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

# Points of a trace: from one, a first axis that was lost could not be told from that of a scalar.
TRACED = 2


@dataclass(frozen=True)
class Trace:
    """Of a function at two points.

    outputs : K, or None where outputs have shape (n,). flops : of a point; 2 for each weight and position. bytes : of
    all intermediate results of a point. reached : which trained parameters the outputs depend on. narrows : whether
    numbers are rounded to a narrower dtype on the way. convolves : whether there are convolutions.
    """

    outputs: int | None
    flops: float
    bytes: float
    reached: list[bool]
    narrows: bool
    convolves: bool


def trace_of(call: Callable[..., Any], trained: list[Any], constants: list[Any], points: Any) -> Trace:
    """The trace of ``call(trained, constants, points)`` at TRACED points. Refuses outputs that are none."""
    try:
        closed, shape = jax.make_jaxpr(call, return_shape=True)(trained, constants, points)
    except Exception as error:
        said = str(error).strip().splitlines() or [""]
        raise ValueError(
            f"the function failed on {TRACED} points of shapes {_shapes(points)}: {type(error).__name__}: {said[0]}"
        ) from error
    jaxpr = closed.jaxpr
    outputs, half = _outputs(shape), [str(v.aval.dtype) for v in _results(jaxpr) if _is_half(v)]
    if half:
        raise TypeError(
            f"the function computes in {half[0]}, whose rounding is as large as what is to be seen; build the network "
            f"with dtype=jnp.float32"
        )
    flops, size = _totals(jaxpr)
    return Trace(
        outputs=outputs,
        flops=flops / TRACED,
        bytes=size / TRACED,
        reached=_reached(jaxpr)[: len(trained)],
        narrows=any(_narrows(eqn) for eqn in _equations(jaxpr)),
        convolves=any(eqn.primitive.name == "conv_general_dilated" for eqn in _equations(jaxpr)),
    )


def _shapes(points: Any) -> str:
    return ", ".join(str(np.shape(part)) for part in jax.tree_util.tree_leaves(points))


def _outputs(shape: Any) -> int | None:
    """K of an output shape (2, K), None for (2,)."""
    if not isinstance(shape, jax.ShapeDtypeStruct):
        raise TypeError(
            f"the function returned a {type(shape).__name__}, but one array of outputs (n,) or (n, K) is needed; "
            f"return the outputs alone"
        )
    if not jnp.issubdtype(shape.dtype, np.floating):
        raise TypeError(
            f"the function returned {shape.dtype}, but a kernel is of real outputs with derivatives; return those "
            f"before argmax, rounding or a complex transform"
        )
    if len(shape.shape) not in (1, 2) or shape.shape[0] != TRACED or 0 in shape.shape:
        raise ValueError(
            f"the function returned shape {shape.shape} for {TRACED} points, but (n,) or (n, K) with K >= 1 is needed: "
            f"one row for each point; reshape its outputs"
        )
    return None if len(shape.shape) == 1 else int(shape.shape[1])


def _inner(eqn: Any) -> Iterator[Any]:
    """The programs that an equation runs: a scan's body, a cond's branches, what was jitted."""
    for value in eqn.params.values():
        for one in value if isinstance(value, tuple | list) else [value]:
            program = getattr(one, "jaxpr", one)
            if hasattr(program, "eqns"):
                yield program


def _equations(jaxpr: Any) -> Iterator[Any]:
    for eqn in jaxpr.eqns:
        yield eqn
        for program in _inner(eqn):
            yield from _equations(program)


def _results(jaxpr: Any) -> Iterator[Any]:
    return (variable for eqn in _equations(jaxpr) for variable in eqn.outvars if hasattr(variable.aval, "dtype"))


def _is_half(variable: Any) -> bool:
    dtype = variable.aval.dtype
    return bool(jnp.issubdtype(dtype, np.floating)) and dtype not in (np.float32, np.float64)


def _narrows(eqn: Any) -> bool:
    """Whether it rounds float64 to fewer digits."""
    if eqn.primitive.name != "convert_element_type":
        return False
    before, after = eqn.invars[0].aval.dtype, eqn.outvars[0].aval.dtype
    return before == np.float64 and bool(jnp.issubdtype(after, np.floating)) and after != np.float64


def _totals(jaxpr: Any) -> tuple[float, float]:
    """(flops, bytes of all results). The body of a scan counts as often as it runs, that of a while loop once."""
    flops = size = 0.0
    for eqn in jaxpr.eqns:
        times, programs = float(eqn.params.get("length", 1)), [_totals(program) for program in _inner(eqn)]
        if programs:
            flops += times * sum(one for one, _ in programs)
            size += times * sum(two for _, two in programs)
            continue
        sizes = [math.prod(v.aval.shape) * getattr(v.aval.dtype, "itemsize", 4) for v in eqn.outvars]
        size += sum(sizes)
        flops += _flops(eqn)
    return flops, size


def _flops(eqn: Any) -> float:
    out = math.prod(eqn.outvars[0].aval.shape) if eqn.outvars else 0
    if eqn.primitive.name == "dot_general":
        (contracted, _), _ = eqn.params["dimension_numbers"]
        return 2.0 * out * math.prod(eqn.invars[0].aval.shape[axis] for axis in contracted)
    if eqn.primitive.name == "conv_general_dilated":
        kernel, features = eqn.invars[1].aval.shape, eqn.params["dimension_numbers"].rhs_spec[0]
        return 2.0 * out * math.prod(kernel) / kernel[features]
    return float(out)


def _reached(jaxpr: Any) -> list[bool]:
    """Which inputs the outputs depend on, where an equation's results depend on all of its inputs."""
    needed = {id(variable) for variable in jaxpr.outvars}
    for eqn in reversed(jaxpr.eqns):
        if any(id(variable) in needed for variable in eqn.outvars):
            needed |= {id(variable) for variable in eqn.invars}
    return [id(variable) in needed for variable in jaxpr.invars]
