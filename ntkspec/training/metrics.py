"""How far training has moved the weights and the kernel, and how many points it classifies."""

import math
from functools import singledispatch
from typing import Any

import numpy as np

from ntkspec import checks
from ntkspec.engines import engine_of
from ntkspec.engines.arrays import Array, ArrayLike
from ntkspec.kernels import ntk
from ntkspec.networks import TwoLayer
from ntkspec.networks.outputs import OutputsLike
from ntkspec.networks.protocol import Layer, Network, Points, as_network, names_of
from ntkspec.spectra.norms import spectral_norm


def weight_movement(initial: Network, now: Network, X: Points | None = None) -> dict[str, float]:
    r"""How far the weights are from where they started, \|W(t) - W(0)\|.

    The proof of Theorem 3.2 needs this to be small against \|W(0)\|, which is about sqrt(m) + sqrt(d).

    Parameters
    ----------
    initial : TwoLayer, FullyConnected, Convolutional, or a network of your own
        The network at the start.
    now : network
        The same network after some training.
    X : points, optional
        Not used: all metrics of :func:`ntkspec.train_gd` are functions of (initial, now, X). Default None.

    Returns
    -------
    dict of str to float
        Of two layers "weight movement", the spectral norm of W(t) - W(0); "largest row movement", the largest
        Euclidean norm of one of its rows; "second layer movement", the Euclidean norm of v(t) - v(0). Of any other
        network "weight movement NAME" for each of its weights, the spectral norm of a matrix (of an array of more axes
        as a matrix with its first), the Euclidean norm of a vector. Built-in networks number their matrices from 0 at
        the input; of a paired network those of the second chain follow those of the first.

    Raises
    ------
    TypeError
        Where the two are networks of different classes, or something is no network.
    ValueError
        Where their weights have different shapes.

    Notes
    -----
    Cost: 2 m d min(m, d) flops and 3 m d numbers for each matrix (m, d). Rounding: in float64 for weights of any dtype,
    so that the numbers are off by about 1e-14 of themselves.

    References
    ----------
    Hu, Xiao, Adlam, Pennington, The Surprising Simplicity of the Early-Time Learning Dynamics of Neural Networks,
    NeurIPS 2020, Theorem 3.2.

    Examples
    --------
    >>> import ntkspec as ns
    >>> net = ns.TwoLayer.symmetric(4, 16, "erf")
    >>> moved = net.with_parameters([net.W + 1.0, net.v])
    >>> found = ns.weight_movement(net, moved)
    >>> round(found["weight movement"], 6), found["largest row movement"], found["second layer movement"]
    (8.0, 2.0, 0.0)
    """
    as_network(initial, "weight movement")
    if type(now) is not type(initial):
        raise TypeError(
            f"a {type(initial).__name__} and a {type(now).__name__} came, but one network, twice, is needed"
        )
    shapes = [[W.shape for W in net.weights] for net in (initial, now)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"weights of shapes {shapes[0]} and {shapes[1]} came, but one network, twice, is needed")
    return _movement(initial, now)


@singledispatch
def _movement(initial: Any, now: Network) -> dict[str, float]:
    pairs = zip(names_of(initial), initial.weights, now.weights, strict=True)
    return {f"weight movement {name}": _spectral(_moved(before, after)) for name, before, after in pairs}


@_movement.register
def _(initial: TwoLayer, now: Any) -> dict[str, float]:
    moved, xp = _moved(initial.W, now.W), engine_of(now.W).xp
    return {
        "weight movement": _spectral(moved),
        "largest row movement": float(xp.linalg.norm(moved, axis=1).max()),
        "second layer movement": float(xp.linalg.norm(_moved(initial.v, now.v))),
    }


def _moved(before: Array, after: Array) -> Array:
    return after.astype(np.float64) - before.astype(np.float64)


def _spectral(weights: Array) -> float:
    """Of an array as a matrix with its first axis; a vector's norm."""
    matrix = weights.reshape(len(weights), -1) if weights.ndim > 1 else weights.reshape(-1, 1)
    gram = matrix.T @ matrix if matrix.shape[1] <= matrix.shape[0] else matrix @ matrix.T
    return math.sqrt(max(0.0, float(np.linalg.eigvalsh(engine_of(gram).to_host(gram))[-1])))


def accuracy(outputs: ArrayLike, y: ArrayLike) -> np.ndarray:
    r"""Which part of the points is classified as its label says.

    Parameters
    ----------
    outputs : array, shape (..., n) or (..., n, K)
        Outputs such as ``train`` and ``test`` of a :class:`ntkspec.Trajectory`: the class is their sign, or the largest
        of K.
    y : array, shape (n,) or (n, K)
        Labels: a sign for each point, or K numbers of which the largest, such as the 1 of one-hot labels, is the class.

    Returns
    -------
    float64 array, shape (...)
        Parts from 0 to 1. An output of exactly zero counts half and a tie of c classes 1/c, so that a network that
        starts at zero starts at chance. NaN where an output is.

    Raises
    ------
    ValueError
        Where the shapes do not fit, and for labels without a sign or with several largest numbers.

    Notes
    -----
    Cost: two passes over the outputs.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkspec.training import accuracy
    >>> accuracy([[0.0, 0.0], [0.2, -0.1], [0.2, 0.3]], [1.0, -1.0]).tolist()
    [0.5, 1.0, 0.5]
    >>> float(accuracy([[0.1, 0.7, 0.2], [0.4, 0.3, 0.2]], np.eye(3)[[1, 2]]))
    0.5
    """
    found, labels = checks.as_floats(outputs, "outputs"), checks.as_floats(y, "y")
    if labels.ndim not in (1, 2) or found.shape[-labels.ndim :] != labels.shape:
        raise ValueError(f"outputs have shape {found.shape}, but that of y, {labels.shape}, has to be their last axes")
    if labels.ndim == 1:
        found, labels = (engine_of(part).xp.stack([part, -part], axis=-1) for part in (found, labels))
    largest = labels == labels.max(axis=-1, keepdims=True)
    if not bool((largest.sum(axis=-1) == 1).all()):
        raise ValueError("some labels name no class: a number that is not 0, or K numbers with one largest, are needed")
    first = found == found.max(axis=-1, keepdims=True)
    ties = first.sum(axis=-1)  # 0 where there is a NaN
    with np.errstate(invalid="ignore"):
        right = (first & largest).sum(axis=-1) / ties
    return engine_of(right).to_host(right.mean(axis=-1))


def kernel_drift(
    initial: Network,
    now: Network,
    X: Points,
    *,
    layer: Layer = "all",
    outputs: OutputsLike = "mean",
    seed: int = 0,
) -> dict[str, float]:
    r"""How far the NTK is from where it started, \|Theta(t) - Theta(0)\| in spectral norm on the points X.

    Parameters
    ----------
    initial : TwoLayer, FullyConnected, Convolutional, or a network of your own
        The network at the start.
    now : network
        The same network after some training.
    X : (n, d) array, or n points as the network takes them
        The points of both kernels.
    layer : str, int or list of str
        Whose weights the kernels are about, as :func:`ntkspec.ntk` takes it. Default "all".
    outputs : str, int or array (K,)
        Of several outputs: what :func:`ntkspec.ntk` makes of their kernels. Default "mean".
    seed : int
        A whole number >= 0 that the start vector of the Lanczos iteration is drawn from. Default 0.

    Returns
    -------
    dict of str to float
        "kernel drift", the norm, in the unit of the kernels' entries; "kernel drift lower" and "kernel drift upper",
        the interval that holds it except with a probability below 1e-6 over the start vector.

    Raises
    ------
    ValueError
        Where the points do not fit the networks, or ``layer``, ``outputs`` or ``seed`` is none of those above.

    Notes
    -----
    Cost: some 50 products with each kernel, and no (n, n) array. The prediction of the frozen kernel is off by at most
    eta t / n times the drift and the root mean square of the labels (:func:`ntkspec.bounds.trajectory_bound`).
    Rounding: the drift is the difference of two kernels, each rounded in the dtype of X and the network.

    References
    ----------
    Hu, Xiao, Adlam, Pennington, The Surprising Simplicity of the Early-Time Learning Dynamics of Neural Networks,
    NeurIPS 2020, eq. (7): the NTK.

    Examples
    --------
    >>> import numpy as np, ntkspec as ns
    >>> X = np.random.default_rng(0).standard_normal((12, 4))
    >>> net = ns.TwoLayer.symmetric(4, 16, "erf")
    >>> now = ns.train_gd(net, X, np.ones(12), eta=0.5, steps=[5]).network
    >>> found = ns.kernel_drift(net, now, X)
    >>> exact = np.linalg.norm((ns.ntk(now, X) - ns.ntk(net, X)).to_dense(), 2)
    >>> bool(found["kernel drift lower"] <= exact * (1 + 1e-9) and exact <= found["kernel drift upper"] * (1 + 1e-9))
    True
    """
    drift = ntk(now, X, layer=layer, outputs=outputs) - ntk(initial, X, layer=layer, outputs=outputs)
    norm = spectral_norm(drift, seed=seed)
    return {"kernel drift": norm.value, "kernel drift lower": norm.lower, "kernel drift upper": norm.upper}
