"""A function of parameters and points: what networks share that differ in their weights alone."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from ntkspec.networks.jax.modes import computing
from ntkspec.networks.jax.passes import Passes
from ntkspec.networks.jax.tracing import TRACED, Trace, trace_of
from ntkspec.networks.jax.tree import Tree
from ntkspec.networks.points import count
from ntkspec.networks.reading_points import filled


class Program:
    """The function, the pytree of its parameters, its traces, and its passes, which are compiled once for a shape."""

    def __init__(self, function: Callable[[Any, Any], Any], tree: Tree):
        self.function, self.tree = function, tree
        self.examined = False
        self._traces: dict[Any, Trace] = {}
        self._passes: dict[tuple[int, ...], Passes] = {}
        self._twins: dict[np.dtype, Program] = {}

    def call(self, trained: list[Any], constants: list[Any], points: Any) -> Any:
        """The function's own outputs, matrix products in the full precision of their numbers."""
        with jax.default_matmul_precision("highest"):
            return self.function(self.tree.whole(trained, constants), points)

    def trace(self, trained: list[Any], constants: list[Any], points: Any) -> Trace:
        """At points of this form; the first one's K is that of all."""
        parts, structure = jax.tree_util.tree_flatten(points)
        key = structure, tuple((part.shape[1:], part.dtype) for part in parts)
        if key not in self._traces:
            sample = filled(points, slice(0, min(TRACED, count(points))), TRACED)
            with computing(self.tree.dtype):
                found = trace_of(self.call, trained, constants, sample)
            first = next(iter(self._traces.values()), found)
            if found.outputs != first.outputs:
                raise ValueError(
                    f"the function has {found.outputs} outputs for these points, but had {first.outputs} for others; "
                    f"pass points of one form"
                )
            self._traces[key] = found
        return self._traces[key]

    @property
    def traced(self) -> Trace:
        """The first trace. ValueError before points have come."""
        for trace in self._traces.values():
            return trace
        raise ValueError("the number of outputs is known once points have come; call the network on some of them first")

    def passes(self, which: tuple[int, ...]) -> Passes:
        """In the trained parameters at these positions; the others are constants."""
        if which not in self._passes:
            one_by_one = self.tree.dtype == np.float64 and self.traced.convolves
            self._passes[which] = Passes(self._function_of(which), self.tree.dtype, one_by_one=one_by_one)
        return self._passes[which]

    def _function_of(self, which: tuple[int, ...]) -> Callable[[list[Any], list[Any], Any], Any]:
        rest = self.rest(which)

        def function(moving: list[Any], resting: list[Any], points: Any) -> Any:
            weights = dict(zip(which + rest, [*moving, *resting[: len(rest)]], strict=True))
            found = self.call([weights[k] for k in range(len(weights))], resting[len(rest) :], points)
            return found.reshape(jax.tree_util.tree_leaves(points)[0].shape[0], -1).astype(self.tree.dtype)

        return function

    def rest(self, which: tuple[int, ...]) -> tuple[int, ...]:
        """The positions of the other trained parameters."""
        return tuple(k for k in range(len(self.tree.names)) if k not in set(which))

    def twin(self, dtype: np.dtype) -> "Program":
        """The same function, of parameters in another dtype."""
        if dtype not in self._twins:
            twin = self._twins[dtype] = Program(self.function, replace(self.tree, dtype=dtype))
            twin.examined = True
        return self._twins[dtype]
