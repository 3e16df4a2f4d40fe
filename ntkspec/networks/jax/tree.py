"""The parameters of a function: the leaves of a pytree, by name."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from ntkspec.networks.jax.modes import computing
from ntkspec.networks.naming import matching, some

# What a user passes: a glob on names, several of them, or a function of (name, array) that says whether it is trained.
ParametersLike: TypeAlias = str | Sequence[str] | Callable[[str, Any], bool] | None
CONVERT = "jax.tree.map(lambda a: a.astype('float32'), params)"


@dataclass(frozen=True)
class Tree:
    """Where the leaves of a pytree belong: trained ones, constant arrays, and the rest, which is kept as it is.

    names : of the trained ones, such as "layers.0.kernel". trained, constant : their positions among all leaves.
    others : leaves that are no arrays, or None in the places of those that are.
    """

    structure: Any
    names: list[str]
    trained: list[int]
    constant: list[int]
    others: list[Any]
    dtype: np.dtype

    def whole(self, trained: list[Any], constants: list[Any]) -> Any:
        """The pytree with these arrays."""
        leaves = list(self.others)
        for positions, arrays in ((self.trained, trained), (self.constant, constants)):
            for position, array in zip(positions, arrays, strict=True):
                leaves[position] = array
        return jax.tree_util.tree_unflatten(self.structure, leaves)


def taken_apart(params: Any, parameters: ParametersLike) -> tuple[Tree, list[Any], list[Any]]:
    """(tree, trained arrays, constant arrays) of a pytree, in arrays of JAX's that nobody else holds.

    Trained are the float leaves that ``parameters`` names, constant all other arrays. Errors where there is no number
    to train, for float16, bfloat16 and complex ones, several dtypes, NaN and infinity.
    """
    found, structure = jax.tree_util.tree_flatten_with_path(params)
    names, leaves = _names([path for path, _ in found]), [leaf for _, leaf in found]
    arrays = [k for k, leaf in enumerate(leaves) if _is_array(leaf, names[k])]
    floats = [k for k in arrays if _is_float(leaves[k], names[k])]
    if not floats:
        raise ValueError(
            "params holds no arrays of floating-point numbers, which would be trained; pass the network's parameters, "
            "such as variables['params']"
        )
    dtype = _dtype_of({names[k]: leaves[k] for k in floats})
    chosen = _chosen({names[k]: leaves[k] for k in floats}, parameters)
    trained = [k for k in floats if names[k] in chosen]
    constant = [k for k in arrays if k not in set(trained)]
    with computing(dtype):
        own = {k: _copied(leaves[k], dtype if k in floats else None) for k in arrays}
    tree = Tree(
        structure=structure,
        names=[names[k] for k in trained],
        trained=trained,
        constant=constant,
        others=[None if k in own else leaf for k, leaf in enumerate(leaves)],
        dtype=dtype,
    )
    return tree, [own[k] for k in trained], [own[k] for k in constant]


def _chosen(floats: dict[str, Any], parameters: ParametersLike) -> set[str]:
    if parameters is None:
        return set(floats)
    if not callable(parameters):
        return set(matching(parameters, "parameters", {name: [name] for name in floats}))
    found = {name for name, array in floats.items() if parameters(name, array)}
    if not found:
        raise ValueError(f"parameters chose none of {some(list(floats))}")
    return found


def _names(paths: list[tuple[Any, ...]]) -> list[str]:
    """Keys joined by dots. Flax's nnx wraps each array as an attribute ``value``, which is left out."""
    keys = [[_key(part) for part in path] for path in paths]
    short = [
        key[:-1] if len(key) > 1 and path[-1:] == (_VALUE,) else key for key, path in zip(keys, paths, strict=True)
    ]
    joined = [".".join(key) for key in short]
    return joined if len(set(joined)) == len(joined) else [".".join(key) for key in keys]


_VALUE = jax.tree_util.GetAttrKey("value")


def _key(part: Any) -> str:
    for attribute in ("key", "idx", "name"):
        if hasattr(part, attribute):
            return str(getattr(part, attribute))
    return str(part)


def _is_array(leaf: Any, name: str) -> bool:
    """Whether a leaf is an array; a Python float is one too, other objects stay what they are."""
    if isinstance(leaf, jax.core.Tracer):
        raise TypeError(f"parameter {name} is being traced; call from_jax outside of jax.jit, grad and vmap")
    if isinstance(leaf, jax.ShapeDtypeStruct):
        raise TypeError(f"parameter {name} is a shape without numbers; initialize the parameters first")
    if isinstance(leaf, jax.Array) and not isinstance(leaf, np.ndarray) and leaf.is_deleted():
        raise ValueError(f"the buffer of parameter {name} was given away (donate_argnums); pass the present parameters")
    return isinstance(leaf, jax.Array | np.ndarray | np.floating | np.integer | float)


def _copied(leaf: Any, dtype: np.dtype | None) -> Any:
    """By way of the host, where there is nothing to compile; keys of random numbers are no numbers there."""
    if dtype is None and not isinstance(_dtype(leaf), np.dtype):
        return jnp.array(leaf, copy=True)
    return jnp.asarray(np.array(leaf, dtype))


def _is_float(leaf: Any, name: str) -> bool:
    """Whether it can be trained; TypeError for numbers of a kind that no kernel is made of."""
    dtype = _dtype(leaf)
    if jnp.issubdtype(dtype, np.complexfloating):
        raise TypeError(
            f"parameter {name} is {dtype}, but kernels are of real parameters; keep two real arrays instead"
        )
    if jnp.issubdtype(dtype, np.floating) and dtype not in (np.float32, np.float64):
        raise TypeError(f"parameter {name} is {dtype}, but float32 or float64 is needed; pass {CONVERT}")
    return bool(jnp.issubdtype(dtype, np.floating))


def _dtype(leaf: Any) -> Any:
    return getattr(leaf, "dtype", np.dtype(float))


def _dtype_of(floats: dict[str, Any]) -> np.dtype:
    """The one dtype of all; a Python float takes that of the arrays. Refuses what is not finite."""
    kinds: dict[np.dtype, str] = {}
    for name, leaf in floats.items():
        if hasattr(leaf, "dtype"):
            kinds.setdefault(np.dtype(leaf.dtype), name)
        if not np.isfinite(np.asarray(leaf)).all():
            raise ValueError(f"parameter {name} holds NaN or infinity; pass parameters from before training diverged")
    if len(kinds) > 1:
        came = " and ".join(f"{dtype} ({name})" for dtype, name in kinds.items())
        raise TypeError(f"parameters came in {came}, but one dtype is needed; convert them, such as {CONVERT}")
    return next(iter(kinds), np.dtype(np.float32))
