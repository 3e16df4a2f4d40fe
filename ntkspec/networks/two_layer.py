"""The two-layer fully-connected network of equation (1)."""

import numpy as np

from ntkspec import checks
from ntkspec.activations import Activation
from ntkspec.activations import activation as activation_of
from ntkspec.engines import engine_of, moved, named
from ntkspec.networks.saving import Savable

SECOND_LAYERS = ("rademacher", "normal")


class TwoLayer(Savable):
    r"""f(x) = v · phi(W x / sqrt d) / sqrt m, equation (1).

    W : (m, d), v : (m,), one dtype (float32 or float64). The arrays are kept, not copied.
    Raises ValueError where the shapes do not fit or an entry is NaN or infinite.
    """

    def __init__(self, W, v, activation: str | Activation):
        self.W = checks.as_matrix(W, "W")
        self.v = checks.as_vector(v, "v", self.W.shape[0])
        if self.W.dtype != self.v.dtype:
            raise TypeError(f"W is {self.W.dtype} and v is {self.v.dtype}; convert one of them")
        self.activation = _as_activation(activation)

    @classmethod
    def random(cls, d, width, activation, *, seed=0, second="rademacher", dtype=np.float64) -> "TwoLayer":
        """Independent weights: rows of W from N(0, I), v from {±1} ("rademacher") or N(0, 1) ("normal")."""
        W, v = _draw(d, checks.whole_number(width, "width", 1), seed, second, dtype)
        return cls(W, v, activation)

    @classmethod
    def symmetric(cls, d, width, activation, *, seed=0, second="rademacher", dtype=np.float64) -> "TwoLayer":
        """Equation (3): neuron r + m/2 copies w_r and has -v_r, so that the output is zero at initialization.

        The mean of the NTK is that of :meth:`random`, its fluctuation that of half the width.
        Raises ValueError for an odd width.
        """
        W, v = _draw(d, even_width(width) // 2, seed, second, dtype)
        return cls(np.concatenate([W, W]), np.concatenate([v, -v]), activation)

    def to(self, engine: str) -> "TwoLayer":
        """The same network on the engine "cpu" or "gpu"; a copy where its weights lie elsewhere."""
        return self.with_parameters([moved(weights, named(engine)) for weights in (self.W, self.v)])

    def with_parameters(self, parameters) -> "TwoLayer":
        """The same network with other weights W and v."""
        W, v = parameters
        return TwoLayer(W, v, self.activation)

    @property
    def width(self) -> int:
        """m, the number of neurons."""
        return self.W.shape[0]

    @property
    def dim(self) -> int:
        """d, the number of inputs."""
        return self.W.shape[1]

    @property
    def dtype(self):
        """dtype of the parameters."""
        return self.W.dtype

    def kernel_neurons(self):
        """(W, |v|) of neurons that give the same NTK as all of them.

        Paired as in equation (3) (equal w and v²), the first half does, averaged over m/2 neurons instead of m.
        """
        half = self.width // 2
        paired = self.width % 2 == 0 and bool(
            (abs(self.v[:half]) == abs(self.v[half:])).all() and (self.W[:half] == self.W[half:]).all()
        )
        count = half if paired else self.width
        return self.W[:count], abs(self.v[:count])

    def __call__(self, X):
        """Outputs f(x_i), shape (n,), for X (n, d). Cost: 2 n m d flops, row blocks of m numbers each."""
        X = checks.as_matrix(X, "X", columns=self.dim)
        engine = engine_of(X, self.W)
        dtype = np.result_type(X.dtype, self.dtype)
        weights, readout = scaled_weights(self.W, self.v, dtype)
        out = engine.xp.empty(X.shape[0], dtype=dtype)

        def fill(share):
            forward = Forward(self.activation, weights)
            for rows in engine.blocks(share, self.width):
                value, _ = forward(X[rows].astype(dtype, copy=False))
                out[rows] = value @ readout

        engine.run(fill, engine.shares(X.shape[0]))
        return out

    def __repr__(self) -> str:
        return f"TwoLayer(d={self.dim}, width={self.width}, activation={self.activation.name!r}, dtype={self.dtype})"


def even_width(width) -> int:
    """The width, where equation (3) can pair that many neurons."""
    if checks.whole_number(width, "width", 2) % 2:
        raise ValueError(f"width={width}, but equation (3) pairs the neurons: use an even width such as {width + 1}")
    return int(width)


def scaled_weights(W, v, dtype):
    """(Wᵀ / sqrt d, v / sqrt m) in the dtype: what a forward pass multiplies with."""
    m, d = W.shape
    weights = engine_of(W).xp.empty((d, m), dtype)
    weights[...] = W.T
    weights /= dtype.type(d**0.5)
    return weights, v.astype(dtype, copy=False) / dtype.type(m**0.5)


class Forward:
    """phi(u) and phi'(u), u = x Wᵀ / sqrt d, of one block of rows after another, for ``weights`` = Wᵀ / sqrt d.

    They lie in memory that the next block overwrites: new pages would cost more than the arithmetic.
    """

    def __init__(self, activation: Activation, weights):
        self.activation, self.weights = activation, weights
        self._xp = engine_of(weights).xp
        self._room = self._xp.empty((3, 0, weights.shape[1]), weights.dtype)

    def __call__(self, x):
        """(phi(u), phi'(u)), each of shape (rows of x, m)."""
        if self._room.shape[1] < len(x):
            self._room = self._xp.empty((3, len(x), self._room.shape[2]), self._room.dtype)
        inputs, value, slope = (part[: len(x)] for part in self._room)
        self.activation.fill(self._xp.matmul(x, self.weights, out=inputs), value, slope)
        return value, slope


def _as_activation(given) -> Activation:
    if not isinstance(given, str | Activation):
        raise TypeError(f"activation={given!r}, but a name such as 'erf' or an ntkspec.Activation is needed")
    return activation_of(given)


def _draw(d, count: int, seed, second, dtype):
    checks.whole_number(d, "d", 1)
    checks.one_of(second, "second", SECOND_LAYERS)
    if np.dtype(dtype) not in (np.float32, np.float64):
        raise TypeError(f"dtype={np.dtype(dtype)}, but the weights of a network are float32 or float64")
    checks.memory(3 * 8 * count * (d + 1.0), engine_of(), "a network of this width", "take a smaller one")
    rng = np.random.default_rng(seed)
    W = rng.standard_normal((count, d))
    v = rng.standard_normal(count) if second == "normal" else rng.choice([-1.0, 1.0], size=count)
    return W.astype(dtype, copy=False), v.astype(dtype, copy=False)
