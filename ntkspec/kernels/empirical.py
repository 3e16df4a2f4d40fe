"""The Neural Tangent Kernel of a given network."""

from ntkspec.networks.outputs import OutputsLike, choice_of
from ntkspec.networks.protocol import Layer, Network, Points, as_network
from ntkspec.operators import KernelOperator


def ntk(
    net: Network, X: Points, X2: Points | None = None, *, layer: Layer = "all", outputs: OutputsLike = "mean"
) -> KernelOperator:
    r"""The NTK of a network at its present weights, as a kernel operator.

    Of the outputs f_1, ..., f_K of a network with parameters w it is made of the inner products of their gradients:

    .. math:: \Theta_{kl}(x, x') = \langle \nabla_w f_k(x), \nabla_w f_l(x') \rangle

    Of a two-layer network it is Theta_1, Theta_2 or their sum:

    .. math:: \Theta_1 = \frac{\phi'(U) \mathrm{diag}(v^2) \phi'(U')^T}{m} \odot \frac{X X'^T}{d}, \quad
              \Theta_2 = \frac{\phi(U) \phi(U')^T}{m}, \quad U = X W^T / \sqrt d

    Parameters
    ----------
    net : TwoLayer, FullyConnected, Convolutional, or a network of your own
        The network; its weights are taken as they are now. One of your own comes from ``ntkspec.from_torch`` or
        ``ntkspec.from_jax``.
    X : (n, d) array, or n points as the network takes them
        Points, float32 or float64, NumPy or CuPy; the arrays decide where it is computed. A network of your own takes
        arrays of any rank, tuples, lists or dicts of arrays with one first axis.
    X2 : points, optional
        The n' points of the columns; None means X itself. Pass test points as X and training points as X2.
    layer : {"all", "first", "second", "both"}, int, or list of str, default "all"
        The weights that are trained. Of a two-layer network "first" is Theta_1, "second" Theta_2, and "both" is another
        word for "all". Of a deeper one "all", "first", or the number of one matrix from 0 at the input. Of a network of
        your own a glob on the names of its parameters ("blocks.3.*"), or a list of globs.
    outputs : {"mean", "trace", "full", "sum"}, int or array (K,), default "mean"
        Of a network with K outputs: "full" is the (n K, n' K) kernel of all of them, row i K + k being output k of
        point i; "trace" is the sum over outputs, "mean" that over K, "sum" the kernel of the sum of outputs, over K; a
        number is one output, from 0; weights (K,) are the kernel of that sum of outputs. Of one output all but weights
        are the same.

    Returns
    -------
    KernelOperator
        Shape (n, n) or (n, n'), of "full" (n K, n K) or (n K, n' K), in the dtype of X and the network together.
        ``points`` is n.

    Raises
    ------
    TypeError
        For something that is no network.
    ValueError
        For a ``layer`` or ``outputs`` that the network does not have, and for points that it does not take.

    Notes
    -----
    Only "full" is exact for the dynamics of several outputs under the squared error; "mean" and "trace" stand for a
    kernel of points times the identity of outputs.

    Cost, of two layers: 2 n m d flops, and n m numbers a layer; half of each after antisymmetric initialization, whose
    neurons (chains) are used once. Where phi is piecewise linear and v² constant, phi' is kept in n m bits. Deep
    fully-connected networks keep n (m_l + m_{l-1}) numbers for each layer; convolutional ones recompute gradients,
    through vjp and jvp for a product and block by block for a tile.

    References
    ----------
    Hu, Xiao, Adlam, Pennington, The Surprising Simplicity of the Early-Time Learning Dynamics of Neural Networks,
    NeurIPS 2020, section 2 and section 3.1.1.

    Examples
    --------
    >>> import numpy as np, ntkspec as ns
    >>> X, net = np.eye(4, 3), ns.FullyConnected.random(3, [8, 8], "erf")
    >>> parts = [ns.ntk(net, X, layer=layer).to_dense() for layer in range(3)]
    >>> bool(np.allclose(sum(parts), ns.ntk(net, X).to_dense()))
    True
    """
    net = as_network(net, "ntk")
    points = net.as_points(X)  # the first points tell some networks how many outputs they have
    points2 = None if X2 is None else net.as_points(X2, "X2")
    return net.kernel(points, points2, layer=layer, outputs=choice_of(outputs, net.n_outputs))
