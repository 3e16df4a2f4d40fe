"""From what a function of the user's makes to a network of the package."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from ntkspec.networks.jax import from_jax
from ntkspec.networks.protocol import Network, is_network
from ntkspec.networks.torch import from_torch


def adapted(
    made: Any,
    what: str,
    *,
    parameters: str | Sequence[str] | None = None,
    told: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Network:
    """A module or a JAX function with its parameters, through its framework's adapter; a network as it is.

    what : it is, for messages. parameters : those that are trained. told : in which context the adapters are called.
    """
    if _is_module(made):
        with told():
            return from_torch(made, parameters=parameters)
    if isinstance(made, tuple) and len(made) == 2 and callable(made[0]):
        with told():
            return from_jax(*made, parameters=parameters)
    if not is_network(made):
        raise ValueError(
            f"{what} is a {type(made).__name__}, but a PyTorch module, a pair (function, parameters) of JAX, or a "
            f"network of ntkspec.from_torch or ntkspec.from_jax is needed; a Flax or Equinox module comes in such "
            f"a pair (docs/any_network_jax.md)"
        )
    return made


def _is_module(made: Any) -> bool:
    """Whether it is a PyTorch module, which is not imported for that."""
    return any(f"{cls.__module__}.{cls.__name__}" == "torch.nn.modules.module.Module" for cls in type(made).__mro__)
