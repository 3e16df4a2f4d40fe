"""Networks that are a chain of layers, or the difference of two: outputs, and both directions of their derivative."""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from ntkspec import checks
from ntkspec.activations import Activation
from ntkspec.engines import engine_of, moved, named
from ntkspec.networks.layers import Layer
from ntkspec.networks.saving import Savable

# Numbers of a block of points on its way through the layers.
BLOCK = 2**22


class DeepNetwork(Savable):
    r"""f(x) = g(x; theta), or (g(x; theta) - g(x; theta')) / sqrt 2 for the paired initialization.

    parameters : the weights of g from the input to the output, of the second chain behind those of the first. At
    theta = theta' the output is zero and the NTK is that of g: for one hidden layer this is equation (3), neurons r and
    r + m/2 being those of the two chains. Arrays are kept, not copied; one dtype, float32 or float64.
    Raises ValueError / TypeError where the weights do not fit the layers.
    """

    def __init__(self, layers: Sequence[Layer], parameters, activation: Activation):
        self.layers, self.activation = list(layers), activation
        shapes = [layer.weights for layer in self.layers if layer.weights]
        self.depth = len(shapes)
        self.parameters = [checks.as_matrix(W, f"parameter {k}") for k, W in enumerate(parameters)]
        found = [W.shape for W in self.parameters]
        if found not in (shapes, 2 * shapes):
            raise ValueError(f"weights of shapes {found} came, but {shapes} are needed, once or (paired) twice")
        if len({W.dtype for W in self.parameters}) != 1:
            raise TypeError(f"weights of dtypes {sorted({str(W.dtype) for W in self.parameters})} came; convert some")

    @property
    def doubled(self) -> bool:
        """Whether this is a difference of two chains."""
        return len(self.parameters) == 2 * self.depth

    @property
    def dtype(self):
        """dtype of the parameters."""
        return self.parameters[0].dtype

    @property
    def dim(self) -> int:
        """Numbers of an input."""
        raise NotImplementedError

    def chains(self) -> list[tuple[float, list]]:
        """(factor, weights) of each chain: f is the sum of factor times g."""
        if not self.doubled:
            return [(1.0, self.parameters)]
        half = 0.5**0.5
        return [(half, self.parameters[: self.depth]), (-half, self.parameters[self.depth :])]

    def with_parameters(self, parameters) -> "DeepNetwork":
        """The same network with other weights."""
        other = object.__new__(type(self))
        other.__dict__ |= self.__dict__ | {"parameters": list(parameters)}
        return other

    def to(self, engine: str) -> "DeepNetwork":
        """The same network on the engine "cpu" or "gpu"; a copy where its weights lie elsewhere."""
        return self.with_parameters([moved(W, named(engine)) for W in self.parameters])

    def __call__(self, X):
        """Outputs (n,), for X (n, d)."""
        X = self._checked(X)
        engine = engine_of(X)
        return engine.xp.concatenate(engine.run(lambda share: self.outputs(X[share]), engine.shares(len(X))))

    def outputs(self, X):
        """The same for tasks of an engine, which have shared out the points already; X in the dtype of the outputs."""

        def of_block(rows):
            return sum(factor * self._forward(weights, X[rows])[0] for factor, weights in self.chains())

        return self._by_rows(X, of_block)

    def jvp(self, X, tangents):
        """How the outputs (n,) move when the parameters move by ``tangents``, arrays of their shapes or None (zero).

        Cost: that of three forward passes.
        """
        X, tangents = self._checked(X), self._checked_tangents(tangents)

        def moved(rows):
            total = engine_of(X).xp.zeros(len(X[rows]), X.dtype)
            for k, (factor, weights) in enumerate(self.chains()):
                own, tangent = iter(tangents[k * self.depth : (k + 1) * self.depth]), None
                for layer, W, saved in self._steps(weights, self._forward(weights, X[rows])[1]):
                    tangent = layer.push(W, saved, tangent, next(own) if layer.weights else None)
                total += 0 if tangent is None else factor * tangent[:, 0]
            return total

        return self._by_rows(X, moved)

    def vjp(self, X, cotangent):
        """sum_i cotangent_i of the gradients of f(x_i): a list of arrays of the parameters' shapes. Cost: as jvp."""
        X = self._checked(X)
        cotangent = checks.as_vector(cotangent, "cotangent", len(X)).astype(X.dtype, copy=False)
        return self.value_and_vjp(X, lambda rows, outputs: cotangent[rows])[1]

    def value_and_vjp(self, X, cotangent):
        """(outputs, vjp) in one pass, for a cotangent that depends on the outputs: a function of (rows, outputs there).

        The gradient of a loss: ``cotangent`` gives its derivatives in the outputs.
        """
        X, outputs, total = self._checked(X), [], None
        for rows in self._blocks(X):
            kept = [self._forward(weights, X[rows]) for _, weights in self.chains()]
            outputs.append(sum(factor * f for (factor, _), (f, _) in zip(self.chains(), kept, strict=True)))
            signals = self._signals(kept, cotangent(rows, outputs[-1]))
            own = [layer.gradient(saved, signal) for layer, saved, signal in signals]
            total = own if total is None else [one + other for one, other in zip(total, own, strict=True)]
        return engine_of(X).xp.concatenate(outputs), total

    def signals(self, X) -> list[tuple]:
        """(layer, its input, the gradient of f in its output) for each parameter, those of the second chain behind.

        Both have a row for each point: the gradient of f(x_i) in the weights is the sum over positions of their outer
        products. Memory: all activations of the network, twice.
        """
        X = self._checked(X)
        kept = [self._forward(weights, X) for _, weights in self.chains()]
        return list(self._signals(kept, engine_of(X).xp.ones(len(X), X.dtype)))

    def _signals(self, kept, cotangent) -> Iterator[tuple]:
        """(layer, saved input, signal) of the parameters, from what forward passes of the chains have kept."""
        for (factor, weights), (_, saved) in zip(self.chains(), kept, strict=True):
            signal, found = (cotangent.dtype.type(factor) * cotangent)[:, None], []
            for layer, W, own in reversed(list(self._steps(weights, saved))):
                if layer.weights:
                    found.append((layer, own, signal))
                    if len(found) == self.depth:
                        break
                signal = layer.pull(W, own, signal)
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
        return engine_of(X).blocks(slice(0, len(X)), self.numbers, BLOCK, least=1)

    def _by_rows(self, X, function):
        return engine_of(X).xp.concatenate([function(rows) for rows in self._blocks(X)])

    @property
    def numbers(self) -> int:
        """Numbers that the layers keep for a point."""
        raise NotImplementedError

    @property
    def flops(self) -> float:
        """Of an output: two for each weight."""
        return 2.0 * sum(W.size for W in self.parameters)

    def _checked(self, X):
        X = checks.as_matrix(X, "X", columns=self.dim)
        return X.astype(np.result_type(X.dtype, self.dtype), copy=False)

    def _checked_tangents(self, tangents):
        tangents = [None if t is None else checks.as_floats(t, "a tangent") for t in tangents]
        found = [None if t is None else t.shape for t in tangents]
        shapes = [W.shape for W in self.parameters]
        if len(found) != len(shapes) or any(f not in (None, s) for f, s in zip(found, shapes, strict=True)):
            raise ValueError(f"tangents of shapes {found} came, but those of the parameters, {shapes}, are needed")
        return tangents


def draw(layers: Sequence[Layer], *, paired: bool, seed, dtype) -> list:
    """Independent N(0, 1) weights of the layers; for ``paired`` the same ones twice."""
    if np.dtype(dtype) not in (np.float32, np.float64):
        raise TypeError(f"dtype={np.dtype(dtype)}, but the weights of a network are float32 or float64")
    numbers = sum(math.prod(layer.weights) for layer in layers if layer.weights)
    checks.memory(8 * numbers, engine_of(np.empty(0)), "a network of these widths", "take smaller ones")
    rng = np.random.default_rng(seed)
    weights = [rng.standard_normal(layer.weights).astype(dtype, copy=False) for layer in layers if layer.weights]
    return [*weights, *weights] if paired else weights


def halved(widths, chains: int, name: str) -> list[int]:
    """The widths of one of so many chains, for one width or a list of them."""
    given = list(widths) if np.ndim(widths) else [widths]
    if not given:
        raise ValueError(f"{name} is empty, but a network has one hidden layer at least")
    whole = [checks.whole_number(width, name, chains) for width in given]
    odd = [width for width in whole if width % chains]
    if odd:
        raise ValueError(f"{name}={odd[0]}, but a paired network halves it: use an even number such as {odd[0] + 1}")
    return [width // chains for width in whole]


def split(shapes: list) -> list:
    """The shapes of one chain, of the weights of one or of two: a chain ends where its only single row is."""
    half = len(shapes) // 2
    return shapes[:half] if len(shapes) % 2 == 0 and half >= 2 and shapes[:half] == shapes[half:] else shapes
