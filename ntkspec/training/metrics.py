"""How far training has moved the weights and the kernel."""

import math

import numpy as np

from ntkspec.engines import engine_of
from ntkspec.engines.arrays import Array, ArrayLike
from ntkspec.kernels import ntk
from ntkspec.networks import DeepNetwork, TwoLayer
from ntkspec.spectra.norms import spectral_norm


def weight_movement(
    initial: TwoLayer | DeepNetwork, now: TwoLayer | DeepNetwork, X: ArrayLike | None = None
) -> dict[str, float]:
    r"""How far the weights are from where they started, \|W(t) - W(0)\|.

    The proof of Theorem 3.2 needs this to be small against \|W(0)\|, which is about sqrt(m) + sqrt(d).

    Parameters
    ----------
    initial : TwoLayer, FullyConnected or Convolutional
        The network at the start.
    now : TwoLayer, FullyConnected or Convolutional
        The same network after some training.
    X : array, optional
        Not used: all metrics of :func:`ntkspec.train_gd` are functions of (initial, now, X). Default None.

    Returns
    -------
    dict of str to float
        Of two layers "weight movement", the spectral norm of W(t) - W(0); "largest row movement", the largest
        Euclidean norm of one of its rows; "second layer movement", the Euclidean norm of v(t) - v(0). Of deep networks
        "weight movement K", the spectral norm for each weight matrix, numbered from 0 at the input; of a paired network
        the matrices of the second chain follow those of the first.

    Raises
    ------
    TypeError
        Where one of the two has two layers and the other is deep.
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
    if isinstance(initial, TwoLayer) and isinstance(now, TwoLayer):
        return _of_two_layers(initial, now)
    if isinstance(initial, DeepNetwork) and isinstance(now, DeepNetwork):
        counts = len(initial.parameters), len(now.parameters)
        if counts[0] != counts[1]:
            raise ValueError(
                f"networks of {counts[0]} and {counts[1]} matrices came, but one network, twice, is needed"
            )
        pairs = zip(initial.parameters, now.parameters, strict=True)
        return {f"weight movement {k}": _spectral(_moved(*pair)) for k, pair in enumerate(pairs)}
    raise TypeError(f"a {type(initial).__name__} and a {type(now).__name__} came, but one network, twice, is needed")


def _of_two_layers(initial: TwoLayer, now: TwoLayer) -> dict[str, float]:
    moved, xp = _moved(initial.W, now.W), engine_of(now.W).xp
    return {
        "weight movement": _spectral(moved),
        "largest row movement": float(xp.linalg.norm(moved, axis=1).max()),
        "second layer movement": float(xp.linalg.norm(_moved(initial.v, now.v))),
    }


def _moved(before: Array, after: Array) -> Array:
    if before.shape != after.shape:
        raise ValueError(f"weights of shapes {before.shape} and {after.shape} came, but one network, twice, is needed")
    return after.astype(np.float64) - before.astype(np.float64)


def _spectral(matrix: Array) -> float:
    gram = matrix.T @ matrix if matrix.shape[1] <= matrix.shape[0] else matrix @ matrix.T
    return math.sqrt(max(0.0, float(np.linalg.eigvalsh(engine_of(gram).to_host(gram))[-1])))


def kernel_drift(
    initial: TwoLayer | DeepNetwork,
    now: TwoLayer | DeepNetwork,
    X: ArrayLike,
    *,
    layer: str | int = "all",
    seed: int = 0,
) -> dict[str, float]:
    r"""How far the NTK is from where it started, \|Theta(t) - Theta(0)\| in spectral norm on the points X.

    Parameters
    ----------
    initial : TwoLayer, FullyConnected or Convolutional
        The network at the start.
    now : TwoLayer, FullyConnected or Convolutional
        The same network after some training.
    X : array, shape (n, d)
        The points of both kernels.
    layer : str or int
        Whose weights the kernels are about: "all", of two layers also "first", "second" or "both" (which is "all"), of
        deep networks also a number. Default "all".
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
        Where the points do not fit the networks, or ``layer`` or ``seed`` is none of those above.

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
    drift = ntk(now, X, layer=layer) - ntk(initial, X, layer=layer)
    norm = spectral_norm(drift, seed=seed)
    return {"kernel drift": norm.value, "kernel drift lower": norm.lower, "kernel drift upper": norm.upper}
