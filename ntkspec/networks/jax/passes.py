"""Passes through a function, each compiled once for a shape: forward, backward, along tangents, gradients of points."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ntkspec.networks.jax.modes import computing
from ntkspec.objects.lazy import cached_property


class Passes:
    """Of f(moving, resting, points) -> (b, K), in the parameters ``moving``, a list of arrays.

    Vectors come last: cotangents are (b, K, k), and lists of k tangents have them first: (k, shape of the parameter).
    one_by_one : gradients of points are taken in a loop. Together, those of a convolution are one with b groups, whose
    time and memory in float64 on CPUs grow as b².
    """

    def __init__(self, function: Callable[[list[Any], list[Any], Any], Any], dtype: np.dtype, *, one_by_one: bool):
        self.function, self.dtype, self.one_by_one = function, dtype, one_by_one

    def _compiled(self, task: Callable[..., Any]) -> Callable[..., Any]:
        jitted = jax.jit(task)

        def call(*arguments: Any) -> Any:
            with computing(self.dtype):
                return jitted(*arguments)

        return call

    @cached_property
    def outputs(self) -> Callable[..., Any]:
        """(moving, resting, points) -> (b, K)."""
        return self._compiled(self.function)

    @cached_property
    def forward(self) -> Callable[..., Any]:
        """(moving, resting, points) -> (outputs, what :attr:`backward` needs)."""
        return self._compiled(self._vjp)

    @cached_property
    def backward(self) -> Callable[..., Any]:
        """(what :attr:`forward` left, cotangent (b, K)) -> gradients."""
        return self._compiled(lambda back, cotangent: back(cotangent)[0])

    @cached_property
    def pull(self) -> Callable[..., Any]:
        """(moving, resting, points, cotangents (b, K, k)) -> Jᵀ cotangents."""

        def pulled(moving: Any, resting: Any, points: Any, cotangents: Any) -> Any:
            _, back = self._vjp(moving, resting, points)
            return jax.vmap(lambda cotangent: back(cotangent)[0], in_axes=2)(cotangents)

        return self._compiled(pulled)

    @cached_property
    def push(self) -> Callable[..., Any]:
        """(moving, resting, points, tangents) -> J tangents, (b, K, k)."""

        def pushed(moving: Any, resting: Any, points: Any, tangents: Any) -> Any:
            def along(tangent: Any) -> Any:
                return jax.jvp(lambda weights: self.function(weights, resting, points), (moving,), (tangent,))[1]

            return jax.vmap(along, out_axes=2)(tangents)

        def transposed(moving: Any, resting: Any, points: Any, tangents: Any) -> Any:
            out, back = self._vjp(moving, resting, points)
            _, again = jax.vjp(lambda cotangent: back(cotangent)[0], jnp.zeros_like(out))
            return jax.vmap(lambda tangent: again(tangent)[0], out_axes=2)(tangents)

        return _first_that_works(self._compiled(pushed), self._compiled(transposed))

    @cached_property
    def gradients(self) -> Callable[..., Any]:
        """(moving, resting, points, directions (R, K)) -> the gradients of R sums of outputs, (b, R, p) each."""

        def of_points(moving: Any, resting: Any, points: Any, directions: Any) -> Any:
            def of_point(point: Any) -> Any:
                single = jax.tree_util.tree_map(lambda part: part[None], point)
                _, back = self._vjp(moving, resting, single)
                return jax.vmap(lambda direction: back(direction[None])[0])(directions)

            found = jax.lax.map(of_point, points) if self.one_by_one else jax.vmap(of_point)(points)
            return [one.reshape(*one.shape[:2], -1) for one in found]

        return self._compiled(of_points)

    @cached_property
    def summed(self) -> Callable[..., Any]:
        """(A, B) -> (a, 1, b, 1), inner products of gradients (a, R, p) and (b, R, p) summed over R."""
        return self._compiled(lambda A, B: _contracted("irp,jrp->ij", A, B)[:, None, :, None])

    @cached_property
    def stacked(self) -> Callable[..., Any]:
        """(A, B) -> (a, R, b, R), all inner products."""
        return self._compiled(lambda A, B: _contracted("irp,jsp->irjs", A, B))

    @cached_property
    def joined(self) -> Callable[..., Any]:
        """Lists of gradients (points, r, p), one after the other."""
        return self._compiled(lambda parts: [jnp.concatenate(some) for some in zip(*parts, strict=True)])

    def _vjp(self, moving: Any, resting: Any, points: Any) -> Any:
        return jax.vjp(lambda weights: self.function(weights, resting, points), moving)


def _contracted(equation: str, A: list[Any], B: list[Any]) -> Any:
    return sum(jnp.einsum(equation, one, two, precision="highest") for one, two in zip(A, B, strict=True))


def _first_that_works(first: Callable[..., Any], second: Callable[..., Any]) -> Callable[..., Any]:
    """The first, until it raises TypeError: a function with a derivative of its own (jax.custom_vjp) has no jvp."""
    chosen = [first]

    def call(*arguments: Any) -> Any:
        try:
            return chosen[0](*arguments)
        except TypeError as error:
            if "custom_vjp" not in str(error) or chosen[0] is second:
                raise
            chosen[0] = second
            return second(*arguments)

    return call
