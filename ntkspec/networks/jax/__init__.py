"""Networks that are functions of JAX's. JAX itself is loaded when the first one is made."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ntkspec.networks.jax.network import JaxNetwork
    from ntkspec.networks.jax.tree import ParametersLike

__all__ = ["from_jax"]


def from_jax(function: Callable[[Any, Any], Any], params: Any, *, parameters: "ParametersLike" = None) -> "JaxNetwork":
    r"""A network of your own, written in JAX: Flax, Equinox, Haiku, or plain functions.

    Parameters
    ----------
    function : function of (params, points)
        Returns the outputs of n points, (n,) or (n, K). Each point's outputs depend on that point alone.
    params : pytree
        Parameters, in whatever form ``function`` takes: dicts, lists, Flax's variables or state, an Equinox module.
        They are copied. Arrays are all float32 or all float64; integers and objects that are no arrays are constants.
    parameters : str, sequence of str or function, optional
        Which ones are trained: globs on their names, the keys of the pytree joined by dots ("Dense_0.kernel",
        "layers.0.weight"), or a function of (name, array) that says so. All float arrays where it is None; the
        others are constants.

    Returns
    -------
    JaxNetwork
        What :func:`ntkspec.ntk` and :func:`ntkspec.train_gd` take: ``net(points)`` are the outputs,
        ``net.parameters`` the trained parameters by name, ``net.params`` the pytree. Arrays are NumPy's.

    Raises
    ------
    ModuleNotFoundError
        Where JAX is not installed.
    TypeError
        For parameters in half precision, complex, or in two dtypes, and what is no function.
    ValueError
        For parameters with NaN, and names that match none.

    Notes
    -----
    Points are arrays of any rank, or tuples, lists or dicts of arrays with one first axis; floats take the dtype of the
    parameters, integers (tokens) stay. What is differentiated is compiled when it is first used, once for a shape:
    points are taken in blocks of one size, vectors filled up to a power of two. A product is a pass backward and one
    along tangents, three passes forward each; an entry of the matrix an inner product of two gradients.

    When points first come, the function is checked on four of them in float64: outputs are the same each time and
    depend on no other point (batch statistics, dropout), J and Jᵀ belong together, and J is the derivative. Products
    of matrices are computed in the full precision of their numbers. float64 needs no setting of JAX: it is on while
    such a network computes. A float32 kernel's rounding is estimated from a float64 copy.

    Examples
    --------
    >>> import numpy as np, ntkspec as ns
    >>> import jax.numpy as jnp
    >>> def network(params, points):
    ...     return jnp.tanh(points @ params["hidden"]) @ params["out"]
    >>> rng = np.random.default_rng(0)
    >>> params = {"hidden": rng.standard_normal((3, 8)), "out": rng.standard_normal((8, 2))}
    >>> net = ns.from_jax(network, params)
    >>> [*net.parameters], net(np.eye(3)).shape
    (['hidden', 'out'], (3, 2))

    With Flax's linen: ``ns.from_jax(lambda params, x: module.apply({"params": params}, x), variables["params"])``. With
    nnx: ``graph, params, rest = nnx.split(model, nnx.Param, ...)`` and ``lambda params, x: nnx.merge(graph, params,
    rest)(x)``. With Equinox: ``ns.from_jax(lambda model, x: jax.vmap(model)(x), model)``, or the two parts of
    ``eqx.partition`` with ``eqx.combine``.
    """
    try:
        from ntkspec.networks.jax.network import JaxNetwork
    except ModuleNotFoundError as error:
        if error.name not in ("jax", "jaxlib"):
            raise
        raise ModuleNotFoundError(
            "ntkspec.from_jax needs JAX, which is not installed; python -m pip install 'ntkspec[jax]'", name="jax"
        ) from None
    return JaxNetwork.of(function, params, parameters)
