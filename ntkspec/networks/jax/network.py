"""A network that is a function of JAX's."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ntkspec.engines.arrays import Array
from ntkspec.networks.blocks import block_rows
from ntkspec.networks.jax.examining import examine
from ntkspec.networks.jax.jacobian import JaxJacobian
from ntkspec.networks.jax.modes import computing
from ntkspec.networks.jax.program import Program
from ntkspec.networks.jax.tracing import Trace
from ntkspec.networks.jax.tree import ParametersLike, taken_apart
from ntkspec.networks.naming import matching
from ntkspec.networks.outputs import OutputChoice
from ntkspec.networks.points import count
from ntkspec.networks.points import rows as part_of
from ntkspec.networks.protocol import Layer, Points, Weights
from ntkspec.networks.reading_points import as_arrays, filled
from ntkspec.networks.sharing import SharedSides
from ntkspec.objects.pickling import Foreign
from ntkspec.operators import JacobianGram, KernelOperator
from ntkspec.operators.tiles import slices


class JaxNetwork:
    """f(params, points) -> (n,) or (n, K), a function of JAX's at given parameters; made by :func:`ntkspec.from_jax`.

    Outputs, gradients and weights are NumPy arrays. Passes are compiled once for a shape, when they are first used;
    networks with other weights share them. Points are taken in blocks whose intermediate results fit into memory, the
    last one filled up. Where params are float64, JAX computes in float64 whatever its global setting is.
    """

    def __init__(self, program: Program, trained: list[Any], constants: list[Any]):
        self.program, self.trained, self.constants = program, trained, constants
        self.dtype, self._shared = program.tree.dtype, SharedSides()

    @classmethod
    def of(cls, function: Callable[[Any, Any], Any], params: Any, parameters: ParametersLike = None) -> "JaxNetwork":
        """From a function and a pytree. Errors for what is no function, and parameters that cannot be trained."""
        if not callable(function):
            raise TypeError(
                f"from_jax takes a function of (params, points), but a {type(function).__name__} came; pass for "
                f"instance lambda params, points: module.apply({{'params': params}}, points)"
            )
        tree, trained, constants = taken_apart(params, parameters)
        return cls(Program(function, tree), trained, constants)

    @property
    def n_outputs(self) -> int | None:
        """K, or None where outputs have shape (n,). ValueError before points have come."""
        return self.program.traced.outputs

    @property
    def flops(self) -> float:
        """Of one pass forward for a point, from the trace: products at 2 a weight and position, 1 for other results."""
        return self.program.traced.flops

    @property
    def weights(self) -> Weights:
        """The trained parameters, in the order of their names; not to be written to."""
        return [np.asarray(array) for array in self.trained]

    @property
    def parameters(self) -> dict[str, Array]:
        """The trained parameters by name; not to be written to."""
        return dict(zip(self.program.tree.names, self.weights, strict=True))

    @property
    def unreached(self) -> list[str]:
        """Names of trained parameters that no output depends on. ValueError before points have come."""
        reached = self.program.traced.reached
        return [name for name, there in zip(self.program.tree.names, reached, strict=True) if not there]

    @property
    def params(self) -> Any:
        """The pytree that the function takes, with the present weights."""
        return self.program.tree.whole(self.trained, self.constants)

    def as_points(self, points: Any, name: str = "X") -> Points:
        """NumPy arrays in the form that came, floats in the network's dtype. Errors for what the function refuses."""
        points = jax.tree_util.tree_map(lambda part: np.asarray(part) if isinstance(part, jax.Array) else part, points)
        found = as_arrays(points, name, self.dtype)
        self.trace(found)
        return found

    def trace(self, points: Points) -> Trace:
        """What the function computes at points of this form."""
        return self.program.trace(self.trained, self.constants, points)

    def __call__(self, points: Any) -> Array:
        """The outputs, (n,) or (n, K)."""
        points = self.as_points(points)
        passes, everything = self._passes
        found = [np.asarray(passes.outputs(*everything, block)) for _, block in self._blocks(points)]
        return self._shaped(np.concatenate(found)[: count(points)])

    def value_and_vjp(self, points: Points, cotangent: Callable[[slice, Array], Array]) -> tuple[Array, Weights]:
        """(outputs, gradient of the sum of cotangent times outputs), for a function of (rows, outputs there)."""
        self.examine(points)
        passes, everything = self._passes
        outputs, total = [], [np.zeros(array.shape, self.dtype) for array in self.trained]
        for rows, block in self._blocks(points):
            found, back = passes.forward(*everything, block)
            outputs.append(self._shaped(np.asarray(found)[: rows.stop - rows.start]))
            given = np.zeros(found.shape, self.dtype)
            given[: len(outputs[-1])] = np.reshape(cotangent(rows, outputs[-1]), (len(outputs[-1]), -1))
            for one, part in zip(total, passes.backward(back, given), strict=True):
                one += np.asarray(part)
        return np.concatenate(outputs), total

    def vjp(self, points: Any, cotangent: Array) -> Weights:
        """Jᵀ cotangent, for one of the outputs' shape."""
        jacobian = self._jacobian(points)
        given = np.reshape(cotangent, (jacobian.points, jacobian.functions, 1))
        return [pulled[0] for pulled in jacobian.pull(given, slice(0, jacobian.functions))]

    def jvp(self, points: Any, tangents: Weights) -> Array:
        """How the outputs move when the weights move by ``tangents``: J v, of their shape."""
        given, jacobian = [np.asarray(tangent, self.dtype)[None] for tangent in tangents], self._jacobian(points)
        return self._shaped(jacobian.push(given, slice(0, jacobian.functions))[:, :, 0])

    def _jacobian(self, points: Any) -> JaxJacobian:
        return JaxJacobian(self, self.as_points(points), tuple(range(len(self.trained))), None)

    def with_weights(self, weights: Weights) -> "JaxNetwork":
        """The same network with other weights, which are copied; this one stays as it is."""
        given = [np.shape(array) for array in weights]
        own = [array.shape for array in self.trained]
        if given != own:
            raise ValueError(f"weights of shapes {given} came, but the parameters have shapes {own}")
        with computing(self.dtype):
            return JaxNetwork(self.program, [jnp.array(array, self.dtype) for array in weights], self.constants)

    def in_dtype(self, dtype: np.dtype) -> "JaxNetwork":
        """The same function at the same numbers, computed in another dtype."""
        if dtype == self.dtype:
            return self
        with computing(np.dtype(np.float64)):
            trained, constants = ([_converted(one, dtype) for one in some] for some in (self.trained, self.constants))
        return JaxNetwork(self.program.twin(dtype), trained, constants)

    def runs_in(self, dtype: np.dtype, points: Points) -> bool:
        """Whether the function takes parameters and points in that dtype."""
        try:
            self.in_dtype(dtype).as_points(part_of(points, slice(0, 2)))
        except (TypeError, ValueError):
            return False
        return True

    def kernel(self, points: Points, points2: Points | None, *, layer: Layer, outputs: OutputChoice) -> KernelOperator:
        """Its NTK at its present weights, between checked points."""
        which = self._positions(layer)
        self.examine(points)
        sides = [self._side(one, which, outputs.weights) for one in (points, points2) if one is not None]
        return JacobianGram(*sides, stacked=outputs.stacked, scale=outputs.scale, definition=outputs.definition)

    def _side(self, points: Points, which: tuple[int, ...], weights: Array | None) -> JaxJacobian:
        """That of a kernel before at the same points, where there is one."""
        what, content = (which, None if weights is None else weights.tobytes()), self._shared.content(points)
        found = self._shared.find(what, content)
        return found or self._shared.keep(what, content, JaxJacobian(self, points, which, weights))

    def _positions(self, layer: Layer) -> tuple[int, ...]:
        names = self.program.tree.names
        chosen = names if layer == "all" else matching(layer, "layer", {name: [name] for name in names})
        return tuple(k for k, name in enumerate(names) if name in set(chosen))

    def examine(self, points: Points) -> None:
        """Check once, on a few points, that the function is one of each point, and that its derivatives are right."""
        if self.program.examined:
            return
        self.program.examined = True  # the checks make passes themselves
        try:
            examine(self, points)
        except BaseException:
            self.program.examined = False
            raise

    def split(self, which: tuple[int, ...]) -> tuple[list[Any], list[Any]]:
        """(moving, resting) arrays, as passes in the parameters ``which`` take them."""
        rest = self.program.rest(which)
        return [self.trained[k] for k in which], [*(self.trained[k] for k in rest), *self.constants]

    def block_rows(self, points: Points, vectors: int = 1) -> int:
        """How many points are taken together for so many vectors."""
        return block_rows(count(points), self.trace(points).bytes * (1 + vectors))

    @property
    def _passes(self) -> tuple[Any, tuple[list[Any], list[Any]]]:
        which = tuple(range(len(self.trained)))
        return self.program.passes(which), self.split(which)

    def _blocks(self, points: Points) -> Iterator[tuple[slice, Points]]:
        size = self.block_rows(points)
        for rows in slices(count(points), size):
            yield rows, filled(points, rows, size)

    def _shaped(self, outputs: Array) -> Array:
        return outputs[:, 0] if self.n_outputs is None else outputs

    def __reduce__(self) -> tuple[Any, ...]:
        params = jax.tree_util.tree_map(_on_host, self.params)
        return _restored, (Foreign((self.program.function, params), "a network of your own"), self.program.tree.names)

    def __repr__(self) -> str:
        size = sum(array.size for array in self.trained)
        return f"JaxNetwork({len(self.trained)} parameters, {size} numbers, {self.dtype})"


def _converted(array: Any, dtype: np.dtype) -> Any:
    return array.astype(dtype) if jnp.issubdtype(array.dtype, np.floating) else array


def _on_host(leaf: Any) -> Any:
    """NumPy's array of one of JAX's, which reads its own pickles in its present setting of float64."""
    return np.asarray(leaf) if isinstance(leaf, jax.Array) and isinstance(leaf.dtype, np.dtype) else leaf


def _restored(content: Foreign, names: list[str]) -> JaxNetwork:
    function, params = content.value
    return JaxNetwork.of(function, params, lambda name, _: name in names)
