"""Networks that are a chain of layers, or the difference of two: outputs, and both directions of their derivative."""

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self

import numpy as np

from ntkspec import checks
from ntkspec.activations import Activation
from ntkspec.engines import engine_of, moved, named
from ntkspec.engines.arrays import Array, ArrayLike, DTypeLike
from ntkspec.networks.architecture import Architecture
from ntkspec.networks.built_in import BuiltIn
from ntkspec.networks.deep_kernel import jacobian_kernel
from ntkspec.networks.layers import Layer
from ntkspec.networks.outputs import OutputChoice
from ntkspec.networks.protocol import Layer as Trained
from ntkspec.networks.trained_layers import trained_layers
from ntkspec.operators import KernelOperator

# Numbers of a block of points on its way through the layers.
BLOCK = 2**22


class DeepNetwork(BuiltIn):
    r"""f(x) = g(x; theta), or (g(x; theta) - g(x; theta')) / sqrt 2 for antisymmetric initialization (ASI).

    At theta = theta' the output is zero and the NTK is that of g: for one hidden layer this is equation (3), neurons r
    and r + m/2 being those of the two chains.

    Parameters
    ----------
    layers : sequence of Layer
        The layers of g from the input to the output.
    parameters : sequence of arrays
        The weights of g from the input to the output, those of the second chain behind those of the first. They are
        kept, not copied; one dtype, float32 or float64.
    activation : Activation
        Of all hidden layers.

    Raises
    ------
    TypeError
        Where the weights have two dtypes.
    ValueError
        Where the weights do not fit the layers.
    """

    def __init__(self, layers: Sequence[Layer], parameters: Sequence[ArrayLike], activation: Activation):
        self.layers, self.activation = list(layers), activation
        shapes = [layer.weights for layer in self.layers if layer.weights]
        self.n_weights = len(shapes)
        needed = "(neurons, inputs of each) is needed: one row for each neuron"
        self.parameters: list[Array] = [
            checks.as_matrix(W, f"parameter {k}", needed=needed) for k, W in enumerate(parameters)
        ]
        found = [W.shape for W in self.parameters]
        if found not in (shapes, 2 * shapes):
            raise ValueError(f"weights of shapes {found} came, but {shapes} are needed, once or (antisymmetric) twice")
        if len({W.dtype for W in self.parameters}) != 1:
            raise TypeError(f"weights of dtypes {sorted({str(W.dtype) for W in self.parameters})} came; convert some")

    @property
    def antisymmetric(self) -> bool:
        """Whether this is a difference of two chains, as antisymmetric initialization (ASI) makes it."""
        return len(self.parameters) == 2 * self.n_weights

    @property
    def dtype(self) -> np.dtype:
        """dtype of the parameters, float32 or float64."""
        return self.parameters[0].dtype

    @property
    def architecture(self) -> Architecture:
        """What its kernels of infinite width and its linear model depend on."""
        raise NotImplementedError

    @property
    def weights(self) -> list[Array]:
        """``parameters``."""
        return self.parameters

    def with_weights(self, weights: Sequence[Array]) -> Self:
        """:meth:`with_parameters`."""
        return self.with_parameters(weights)

    def chains(self) -> list[tuple[float, list[Array]]]:
        """(factor, weights) of each chain: f is the sum of factor times g."""
        if not self.antisymmetric:
            return [(1.0, self.parameters)]
        half = 0.5**0.5
        return [(half, self.parameters[: self.n_weights]), (-half, self.parameters[self.n_weights :])]

    def with_parameters(self, parameters: Sequence[Array]) -> Self:
        """The same network with other weights.

        Parameters
        ----------
        parameters : sequence of arrays
            In the order and with the shapes of ``parameters``. They are kept, not copied, and not checked; those of
            one chain alone make the network g without the difference.

        Returns
        -------
        DeepNetwork
            Of the same class.
        """
        other = copy.copy(self)
        other.parameters = list(parameters)
        return other

    def to(self, engine: str) -> Self:
        """The same network on another engine.

        Parameters
        ----------
        engine : {"cpu", "gpu"}
            Where the weights shall lie.

        Returns
        -------
        DeepNetwork
            Of the same class; its weights are copies where they lie elsewhere now.

        Raises
        ------
        ValueError
            Where there is no such engine.
        """
        return self.with_parameters([moved(W, named(engine)) for W in self.parameters])

    def kernel(
        self, points: Array, points2: Array | None = None, *, layer: Trained, outputs: OutputChoice
    ) -> KernelOperator:
        """The NTK at the present weights, between checked points (:func:`ntkspec.ntk`).

        Two chains with the same weights are used once.
        """
        chosen, net = trained_layers(layer, self.n_weights), self
        dtype = points.dtype if points2 is None else np.result_type(points.dtype, points2.dtype)
        sides = [side.astype(dtype, copy=False) for side in (points, points2) if side is not None]
        same = engine_of(*self.parameters).xp.array_equal
        if self.antisymmetric and all(map(same, self.parameters[: self.n_weights], self.parameters[self.n_weights :])):
            net = self.with_parameters(self.parameters[: self.n_weights])
        return outputs.of_one_output(net.kernel_between(sides, chosen))

    def kernel_between(self, sides: list[Array], chosen: range) -> KernelOperator:
        """The sum over the weight matrices with these numbers, for one or two sets of points."""
        return jacobian_kernel(self, chosen, sides)

    @property
    def recomputes(self) -> bool:
        """Whether products with its kernel compute activations again, and none are kept."""
        return True

    def __call__(self, X: ArrayLike) -> Array:
        """The outputs of the network.

        Parameters
        ----------
        X : (n, d) array
            Points, float32 or float64, on the device of the weights.

        Returns
        -------
        (n,) array
            f(x_i), in the dtype of X and the weights together.

        Raises
        ------
        ValueError
            Where X does not have d columns, or entries are not finite.

        Notes
        -----
        Cost: ``flops`` for each point; ``activations_per_point`` numbers are kept for each point of a block.
        """
        X = self.as_points(X)
        engine = engine_of(X)
        return engine.xp.concatenate(engine.run(lambda share: self.outputs(X[share]), engine.shares(len(X))))

    def outputs(self, X: Array) -> Array:
        """The same for tasks of an engine, which have shared out the points already; X in the dtype of the outputs."""

        def of_block(rows):
            return sum(factor * self._forward(weights, X[rows])[0] for factor, weights in self.chains())

        return self._by_rows(X, of_block)

    def jvp(self, X: ArrayLike, tangents: Sequence[ArrayLike | None]) -> Array:
        """How the outputs move when the parameters move: J v, for the Jacobian J (n, p) of the outputs.

        Parameters
        ----------
        X : (n, d) array
            Points, float32 or float64.
        tangents : sequence of arrays or None
            The vector v: one array for each of ``parameters``, of its shape; None stands for zero.

        Returns
        -------
        (n,) array
            The inner product of the gradient of each output with ``tangents``.

        Raises
        ------
        ValueError
            Where the tangents do not have the shapes of the parameters, or X does not have d columns.

        Notes
        -----
        Cost: that of three forward passes.

        Examples
        --------
        >>> import numpy as np, ntkspec as ns
        >>> net = ns.FullyConnected.random(3, [8, 8], "erf")
        >>> X, u = np.ones((4, 3)), np.ones(4)
        >>> v = [np.ones_like(W) for W in net.parameters]
        >>> gradients = net.vjp(X, u)
        >>> bool(np.isclose(net.jvp(X, v) @ u, sum((g * t).sum() for g, t in zip(gradients, v))))
        True
        """
        X, tangents = self.as_points(X), self._checked_tangents(tangents)

        def moved(rows):
            total = engine_of(X).xp.zeros(len(X[rows]), X.dtype)
            for k, (factor, weights) in enumerate(self.chains()):
                own, tangent = iter(tangents[k * self.n_weights : (k + 1) * self.n_weights]), None
                for layer, W, saved in self._steps(weights, self._forward(weights, X[rows])[1]):
                    tangent = layer.jvp(W, saved, tangent, next(own) if layer.weights else None)
                total += 0 if tangent is None else factor * tangent[:, 0]
            return total

        return self._by_rows(X, moved)

    def vjp(self, X: ArrayLike, cotangent: ArrayLike) -> list[Array]:
        """The gradient of sum_i u_i f(x_i) in the parameters: Jᵀ u, for the Jacobian J (n, p) of the outputs.

        Parameters
        ----------
        X : (n, d) array
            Points, float32 or float64.
        cotangent : (n,) array
            The vector u, one number for each point.

        Returns
        -------
        list of arrays
            One for each of ``parameters``, of its shape.

        Raises
        ------
        ValueError
            Where the cotangent does not have n entries, or X does not have d columns.

        Notes
        -----
        Cost: that of three forward passes. Memory: the activations of a block of points.

        Examples
        --------
        >>> import numpy as np, ntkspec as ns
        >>> net = ns.FullyConnected.random(3, [8, 8], "erf")
        >>> [gradient.shape for gradient in net.vjp(np.ones((4, 3)), np.ones(4))]
        [(8, 3), (8, 8), (1, 8)]
        """
        X = self.as_points(X)
        cotangent = checks.as_vector(cotangent, "cotangent", len(X)).astype(X.dtype, copy=False)
        return self.value_and_vjp(X, lambda rows, outputs: cotangent[rows])[1]

    def value_and_vjp(self, X: ArrayLike, cotangent: Callable[[slice, Array], Array]) -> tuple[Array, list[Array]]:
        """(outputs, vjp) in one pass, for a cotangent that depends on the outputs: a function of (rows, outputs there).

        The gradient of a loss: ``cotangent`` gives its derivatives in the outputs.
        """
        X, outputs, total = self.as_points(X), [], None
        for rows in self._blocks(X):
            kept = [self._forward(weights, X[rows]) for _, weights in self.chains()]
            outputs.append(sum(factor * f for (factor, _), (f, _) in zip(self.chains(), kept, strict=True)))
            signals = self._signals(kept, cotangent(rows, outputs[-1]))
            own = [layer.gradient(saved, signal) for layer, saved, signal in signals]
            total = own if total is None else [one + other for one, other in zip(total, own, strict=True)]
        return engine_of(X).xp.concatenate(outputs), total or []

    def signals(self, X: ArrayLike) -> list[tuple[Any, Array, Array]]:
        """(layer, its input, the gradient of f in its output) for each parameter, those of the second chain behind.

        Both have a row for each point: the gradient of f(x_i) in the weights is the sum over positions of their outer
        products. Memory: all activations of the network, twice.
        """
        X = self.as_points(X)
        kept = [self._forward(weights, X) for _, weights in self.chains()]
        return list(self._signals(kept, engine_of(X).xp.ones(len(X), X.dtype)))

    def _signals(self, kept, cotangent) -> Iterator[tuple]:
        """(layer, saved input, signal) of the parameters, from what forward passes of the chains have kept."""
        for (factor, weights), (_, saved) in zip(self.chains(), kept, strict=True):
            signal, found = (cotangent.dtype.type(factor) * cotangent)[:, None], []
            for layer, W, own in reversed(list(self._steps(weights, saved))):
                if layer.weights:
                    found.append((layer, own, signal))
                    if len(found) == self.n_weights:
                        break
                signal = layer.vjp(W, own, signal)
            yield from reversed(found)

    def _forward(self, weights, x):
        """(outputs (n,), what each layer saved)."""
        kept, own = [], iter(weights)
        for layer in self.layers:
            x, saved = layer.forward(next(own) if layer.weights else None, x)
            kept.append(saved)
        return x[:, 0], kept

    def _steps(self, weights, kept) -> Iterator[tuple]:
        own = iter(weights)
        for layer, saved in zip(self.layers, kept, strict=True):
            yield layer, next(own) if layer.weights else None, saved

    def _blocks(self, X) -> list[slice]:
        return engine_of(X).blocks(slice(0, len(X)), self.activations_per_point, BLOCK, least=1)

    def _by_rows(self, X, function):
        return engine_of(X).xp.concatenate([function(rows) for rows in self._blocks(X)])

    @property
    def activations_per_point(self) -> int:
        """How many numbers the layers keep for a point in a forward pass."""
        raise NotImplementedError

    @property
    def flops(self) -> float:
        """Floating-point operations of an output: two for each weight."""
        return 2.0 * sum(W.size for W in self.parameters)

    def _checked_tangents(self, tangents):
        tangents = [None if t is None else checks.as_floats(t, "a tangent") for t in tangents]
        found = [None if t is None else t.shape for t in tangents]
        shapes = [W.shape for W in self.parameters]
        if len(found) != len(shapes) or any(f not in (None, s) for f, s in zip(found, shapes, strict=True)):
            raise ValueError(f"tangents of shapes {found} came, but those of the parameters, {shapes}, are needed")
        return tangents


def draw(layers: Sequence[Layer], *, antisymmetric: bool, seed: int | Sequence[int], dtype: DTypeLike) -> list[Array]:
    """Independent N(0, 1) weights of the layers; for antisymmetric initialization (ASI) the same ones twice."""
    if np.dtype(dtype) not in (np.float32, np.float64):
        raise TypeError(f"dtype={np.dtype(dtype)}, but the weights of a network are float32 or float64")
    numbers = sum(math.prod(layer.weights) for layer in layers if layer.weights)
    checks.memory(8 * numbers, engine_of(np.empty(0)), "a network of these widths", "take smaller ones")
    rng = np.random.default_rng(seed)
    weights = [rng.standard_normal(layer.weights).astype(dtype, copy=False) for layer in layers if layer.weights]
    return [*weights, *weights] if antisymmetric else weights


def halved(widths: Any, chains: int, name: str) -> list[int]:
    """The widths of one of 1 or 2 chains, for one width or a list of them."""
    given = list(widths) if np.ndim(widths) else [widths]
    if not given:
        raise ValueError(f"{name} is empty, but a network has one hidden layer at least")
    whole = [checks.whole_number(width, name, chains) for width in given]
    odd = [width for width in whole if width % chains]
    if odd:
        raise ValueError(
            f"{name}={odd[0]}, but antisymmetric initialization halves it: use an even number such as {odd[0] + 1}"
        )
    return [width // chains for width in whole]


def split(shapes: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """The shapes of one chain, of the weights of one or of two: a chain ends where its only single row is."""
    half = len(shapes) // 2
    return shapes[:half] if len(shapes) % 2 == 0 and half >= 2 and shapes[:half] == shapes[half:] else shapes
