"""The two-layer fully-connected network of equation (1)."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ntkspec import checks
from ntkspec.activations import Activation
from ntkspec.activations import activation as activation_of
from ntkspec.engines import engine_of, moved, named
from ntkspec.engines.arrays import Array, ArrayLike, DTypeLike
from ntkspec.networks.architecture import Architecture
from ntkspec.networks.built_in import BuiltIn
from ntkspec.networks.outputs import OutputChoice
from ntkspec.networks.protocol import Layer
from ntkspec.networks.two_layer_kernel import two_layer_ntk
from ntkspec.networks.two_layer_passes import Forward, jvp, scaled_weights, value_and_vjp
from ntkspec.operators import KernelOperator

SECOND_LAYERS = ("rademacher", "normal")
_NEEDED = "(m, d) is needed: one row for each neuron; TwoLayer.symmetric(d, width, activation) draws random weights"


class TwoLayer(BuiltIn):
    r"""The two-layer network f(x) = v · phi(W x / sqrt d) / sqrt m.

    Parameters
    ----------
    W : (m, d) array
        Weights of the first layer, a row for each neuron; float32 or float64. It is kept, not copied.
    v : (m,) array
        Weights of the second layer, in the dtype of W. It is kept, not copied.
    activation : str or Activation
        phi, by its name or as an :class:`ntkspec.Activation`.

    Attributes
    ----------
    W, v : arrays
        The weights, as they were passed.
    activation : Activation
        phi.

    Raises
    ------
    TypeError
        Where W and v have two dtypes, or the activation is neither a name nor an :class:`ntkspec.Activation`.
    ValueError
        Where the shapes do not fit or an entry is NaN or infinite, and for an unknown activation.

    References
    ----------
    Hu, Xiao, Adlam, Pennington, The Surprising Simplicity of the Early-Time Learning Dynamics of Neural Networks,
    NeurIPS 2020, eq. (1).

    Examples
    --------
    >>> import numpy as np, ntkspec as ns
    >>> net = ns.TwoLayer(np.eye(2), np.ones(2), "relu")
    >>> bool(np.isclose(net(np.array([[2.0, -1.0]])), 2 / np.sqrt(2) / np.sqrt(2))[0])
    True
    """

    def __init__(self, W: ArrayLike, v: ArrayLike, activation: str | Activation):
        self.W: Array = checks.as_matrix(W, "W", needed=_NEEDED)
        self.v: Array = checks.as_vector(v, "v", self.W.shape[0], each="neuron")
        if self.W.dtype != self.v.dtype:
            raise TypeError(f"W is {self.W.dtype} and v is {self.v.dtype}; convert one of them")
        self.activation = activation_of(activation)

    @classmethod
    def random(
        cls,
        d: int,
        width: int,
        activation: str | Activation,
        *,
        seed: int | Sequence[int] = 0,
        second: str = "rademacher",
        dtype: DTypeLike = np.float64,
    ) -> "TwoLayer":
        """A network with independent weights.

        Parameters
        ----------
        d : int
            Entries of an input.
        width : int
            m, the number of neurons.
        activation : str or Activation
            phi, by its name or as an :class:`ntkspec.Activation`.
        seed : int or sequence of int, default 0
            Seed of NumPy's generator: the same one gives the same weights.
        second : {"rademacher", "normal"}, default "rademacher"
            Entries of v: signs, +1 or -1 with equal probability, or N(0, 1). Rows of W are N(0, I).
        dtype : float32 or float64, default float64
            Of the weights. They are drawn in float64 and rounded.

        Returns
        -------
        TwoLayer
            On the CPU; :meth:`to` moves it.

        Raises
        ------
        TypeError
            For another dtype.
        ValueError
            For sizes that are not whole numbers >= 1, another ``second``, and where the weights do not fit into
            memory.

        References
        ----------
        Hu, Xiao, Adlam, Pennington, The Surprising Simplicity of the Early-Time Learning Dynamics of Neural Networks,
        NeurIPS 2020, eq. (1) and footnote 6.

        Examples
        --------
        >>> import ntkspec as ns
        >>> ns.TwoLayer.random(3, 8, "relu", seed=1)
        TwoLayer(d=3, width=8, activation='relu', dtype=float64)
        """
        W, v = _draw(d, checks.whole_number(width, "width", 1), seed, second, dtype)
        return cls(W, v, activation)

    @classmethod
    def symmetric(
        cls,
        d: int,
        width: int,
        activation: str | Activation,
        *,
        seed: int | Sequence[int] = 0,
        second: str = "rademacher",
        dtype: DTypeLike = np.float64,
    ) -> "TwoLayer":
        """Antisymmetric initialization (ASI), equation (3): the output is zero at initialization.

        Neuron r + m/2 has the row w_r of neuron r and the opposite -v_r. The paper calls it symmetric.

        Parameters
        ----------
        d : int
            Entries of an input.
        width : int
            m, the number of neurons: an even number.
        activation : str or Activation
            phi, by its name or as an :class:`ntkspec.Activation`.
        seed : int or sequence of int, default 0
            Seed of NumPy's generator: the same one gives the same weights.
        second : {"rademacher", "normal"}, default "rademacher"
            Entries of v: signs, +1 or -1 with equal probability, or N(0, 1). Rows of W are N(0, I).
        dtype : float32 or float64, default float64
            Of the weights. They are drawn in float64 and rounded.

        Returns
        -------
        TwoLayer
            On the CPU; :meth:`to` moves it.

        Raises
        ------
        TypeError
            For another dtype.
        ValueError
            For sizes that are not whole numbers >= 1, an odd width, another ``second``, and where the weights do not
            fit into memory.

        Notes
        -----
        The mean of the NTK over the weights is that of :meth:`random`, its fluctuation that of half the width.

        References
        ----------
        Hu, Xiao, Adlam, Pennington, The Surprising Simplicity of the Early-Time Learning Dynamics of Neural Networks,
        NeurIPS 2020, eq. (3).

        Examples
        --------
        >>> import numpy as np, ntkspec as ns
        >>> net = ns.TwoLayer.symmetric(3, 8, "relu")
        >>> bool(abs(net(np.ones((5, 3)))).max() < 1e-15)
        True
        """
        W, v = _draw(d, even_width(width) // 2, seed, second, dtype)
        return cls(np.concatenate([W, W]), np.concatenate([v, -v]), activation)

    @classmethod
    def made_of(cls, weights: Sequence[Array], activation: Activation, **options: Any) -> "TwoLayer":
        """The network of these weights, checked."""
        W, v = list(weights)
        return cls(W, v, activation, **options)

    def to(self, engine: str) -> "TwoLayer":
        """The same network on another engine.

        Parameters
        ----------
        engine : {"cpu", "gpu"}
            Where the weights shall lie.

        Returns
        -------
        TwoLayer
            Its weights are copies where they lie elsewhere now.

        Raises
        ------
        ValueError
            Where there is no such engine.
        """
        return self.with_parameters([moved(weights, named(engine)) for weights in (self.W, self.v)])

    def with_parameters(self, parameters: Sequence[ArrayLike]) -> "TwoLayer":
        """The same network with other weights.

        Parameters
        ----------
        parameters : (W, v)
            The weights of the first layer (m, d) and of the second (m,), of one dtype. They are kept, not copied.

        Returns
        -------
        TwoLayer
            With the activation of this one.

        Raises
        ------
        TypeError, ValueError
            Where the weights make no network.
        """
        W, v = list(parameters)
        return TwoLayer(W, v, self.activation)

    @property
    def width(self) -> int:
        """m, the number of neurons."""
        return self.W.shape[0]

    @property
    def dim(self) -> int:
        """d, the number of entries of an input."""
        return self.W.shape[1]

    @property
    def dtype(self) -> np.dtype:
        """dtype of the parameters, float32 or float64."""
        return self.W.dtype

    @property
    def weights(self) -> list[Array]:
        """[W, v]."""
        return [self.W, self.v]

    def with_weights(self, weights: Sequence[Array]) -> "TwoLayer":
        """:meth:`with_parameters`."""
        return self.with_parameters(weights)

    @property
    def flops(self) -> float:
        """Floating-point operations of an output: two for each weight."""
        return 2.0 * (self.W.size + self.v.size)

    @property
    def architecture(self) -> Architecture:
        """What its kernels of infinite width and its linear model depend on."""
        return Architecture(self.activation, 1)

    def kernel_neurons(self) -> tuple[Array, Array]:
        """W and the absolute values of v, of neurons that give the same NTK as all of them.

        After antisymmetric initialization, equation (3) (equal w and v²), the first half does, averaged over m/2
        neurons instead of m.
        """
        half = self.width // 2
        antisymmetric = self.width % 2 == 0 and bool(
            (abs(self.v[:half]) == abs(self.v[half:])).all() and (self.W[:half] == self.W[half:]).all()
        )
        count = half if antisymmetric else self.width
        return self.W[:count], abs(self.v[:count])

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
        Cost: 2 n m d flops; a block of rows of m numbers is kept at a time.
        """
        X = checks.as_inputs(X, self.dim)
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

    def value_and_vjp(self, points: Array, cotangent: Callable[[slice, Array], Array]) -> tuple[Array, list[Array]]:
        """(outputs, vjp) in one pass, for a cotangent that depends on the outputs: a function of (rows, outputs there).

        The gradient of a loss: ``cotangent`` gives its derivatives in the outputs.
        """
        return value_and_vjp(self.activation, self.W, self.v, self.as_points(points), cotangent)

    def jvp(self, points: ArrayLike, tangents: Sequence[ArrayLike]) -> Array:
        """How the outputs move when the weights move: J v, for the Jacobian J of the outputs.

        Parameters
        ----------
        points : (n, d) array
            Points, float32 or float64.
        tangents : (dW, dv)
            The vector v, of the shapes of W and v.

        Returns
        -------
        (n,) array
            The inner product of the gradient of each output with the tangents.

        Raises
        ------
        ValueError
            Where the tangents do not have the shapes of the weights, or the points not d columns.

        Notes
        -----
        Cost: 4 n m d flops; a block of rows of m numbers is kept at a time.

        Examples
        --------
        >>> import numpy as np, ntkspec as ns
        >>> net, X = ns.TwoLayer.random(3, 8, "erf"), np.ones((4, 3))
        >>> bool(np.allclose(net.jvp(X, [0 * net.W, net.v]), net(X)))
        True
        """
        W_tangent = checks.as_matrix(tangents[0], "the tangent of W")
        v_tangent = checks.as_vector(tangents[1], "the tangent of v", self.width, each="neuron")
        if W_tangent.shape != self.W.shape:
            raise ValueError(f"the tangent of W has shape {W_tangent.shape}, but {self.W.shape} is needed")
        return jvp(self.activation, self.W, self.v, self.as_points(points), W_tangent, v_tangent)

    def kernel(
        self, points: Array, points2: Array | None = None, *, layer: Layer, outputs: OutputChoice
    ) -> KernelOperator:
        """The NTK at the present weights, between checked points (:func:`ntkspec.ntk`)."""
        W, v = self.kernel_neurons()
        return outputs.of_one_output(two_layer_ntk(self.activation, W, v, points, points2, layer=layer))

    def __repr__(self) -> str:
        return f"TwoLayer(d={self.dim}, width={self.width}, activation={self.activation.name!r}, dtype={self.dtype})"


def even_width(width: Any) -> int:
    """The width, where equation (3) can pair that many neurons."""
    if checks.whole_number(width, "width", 2) % 2:
        raise ValueError(f"width={width}, but equation (3) pairs the neurons: use an even width such as {width + 1}")
    return int(width)


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
