"""The first-order expansion of a network in its weights, as a network of its own."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ntkspec.engines.arrays import Array
from ntkspec.networks.outputs import OutputChoice
from ntkspec.networks.protocol import Layer, Network, Points, Weights, as_network
from ntkspec.operators import KernelOperator


def linearize(net: Network) -> Network:
    r"""A network's first-order expansion at its present weights, which is a network itself.

    .. math:: f_{lin}(x; w) = f(x; w_0) + J(x; w_0) (w - w_0)

    Parameters
    ----------
    net : TwoLayer, FullyConnected, Convolutional, or a network of your own
        The network, with any number of outputs; w_0 are its weights now. It is not changed.

    Returns
    -------
    network
        With the weights w_0 at the start, where it equals ``net`` in outputs, gradients and kernel. Its kernel is that
        of ``net`` at w_0 whatever its weights are. :func:`ntkspec.train_gd` trains it, as any network.

    Raises
    ------
    TypeError
        For something that is no network.

    Notes
    -----
    Training it by :func:`ntkspec.train_gd` and predicting it by :func:`ntkspec.predict_gd` from ``start=net(X)`` are
    the same up to rounding, since its kernel does not move; trained beside ``net`` it shows what training does beyond
    the kernel. The prediction is quicker; the linearized network has weights and takes batches.

    Cost: outputs take one pass forward and one jvp of ``net``, a gradient one vjp more; nothing of the size of the
    Jacobian is kept.

    References
    ----------
    Lee, Xiao, Schoenholz, Bahri, Novak, Sohl-Dickstein, Pennington, Wide Neural Networks of Any Depth Evolve as Linear
    Models Under Gradient Descent, NeurIPS 2019, eq. (5).

    Examples
    --------
    >>> import numpy as np, ntkspec as ns
    >>> X, y = np.eye(4, 3), np.array([1.0, -1.0, 1.0, -1.0])
    >>> net = ns.FullyConnected.random(3, [16, 16], "erf")
    >>> real, linear = (ns.train_gd(one, X, y, eta=0.5, steps=[1, 9]) for one in (net, ns.linearize(net)))
    >>> predicted = ns.predict_gd(ns.ntk(net, X), y, eta=0.5, steps=[1, 9], start=net(X))
    >>> bool(np.allclose(linear.train, predicted.train)), bool(np.allclose(real.train, predicted.train))
    (True, False)
    """
    net = as_network(net, "linearize")
    # Copies: a module of the user's own may be trained further in place.
    return Linearized(net.with_weights([W.copy() for W in net.weights]))


class Linearized:
    """f(x; w_0) + J(x; w_0) (w - w_0) of a network ``base`` with weights w_0, at the weights w (default: w_0)."""

    def __init__(self, base: Network, weights: Weights | None = None):
        self.base, self.weights = base, list(base.weights if weights is None else weights)

    @property
    def dtype(self) -> np.dtype:
        """dtype of the parameters, float32 or float64."""
        return self.base.dtype

    @property
    def n_outputs(self) -> int | None:
        """K, or None where outputs have shape (n,)."""
        return self.base.n_outputs

    @property
    def parameters(self) -> Any:
        """The weights, by name where the network has names."""
        names = getattr(self.base, "parameters", None)
        return dict(zip(names, self.weights, strict=True)) if isinstance(names, dict) else self.weights

    @property
    def flops(self) -> float:
        """Of the outputs of a point: a pass forward, and a jvp."""
        return 3.0 * self.base.flops

    def as_points(self, points: Any, name: str = "X") -> Points:
        """As the network takes them."""
        return self.base.as_points(points, name)

    def __call__(self, points: Any) -> Array:
        """The outputs, (n,) or (n, K)."""
        points = self.as_points(points)
        return self.base(points) + self.base.jvp(points, self._moved())

    def value_and_vjp(self, points: Points, cotangent: Callable[[slice, Array], Array]) -> tuple[Array, Weights]:
        """(outputs, gradient at w_0 of the sum of cotangent times outputs)."""
        moved = self.base.jvp(points, self._moved())
        start, gradient = self.base.value_and_vjp(points, lambda rows, f: cotangent(rows, f + moved[rows]))
        return start + moved, gradient

    def jvp(self, points: Points, tangents: Weights) -> Array:
        """That of the network at w_0."""
        return self.base.jvp(points, tangents)

    def with_weights(self, weights: Weights) -> "Linearized":
        """The same expansion, about the same w_0, at other weights, which are kept."""
        return Linearized(self.base, weights)

    def kernel(self, points: Points, points2: Points | None, *, layer: Layer, outputs: OutputChoice) -> KernelOperator:
        """That of the network at w_0."""
        return self.base.kernel(points, points2, layer=layer, outputs=outputs)

    def _moved(self) -> Weights:
        """w - w_0."""
        return [now - start for now, start in zip(self.weights, self.base.weights, strict=True)]

    def __repr__(self) -> str:
        return f"Linearized({self.base!r})"
