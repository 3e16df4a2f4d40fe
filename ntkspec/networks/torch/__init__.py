"""Networks of PyTorch's modules. PyTorch itself is loaded when the first one is made."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from ntkspec.networks.torch.network import TorchNetwork

__all__ = ["from_torch"]


def from_torch(
    module: "torch.nn.Module",
    *,
    forward: Callable[[Any, Any], Any] | None = None,
    parameters: "str | Sequence[str] | Callable[[str, torch.Tensor], bool] | None" = None,
) -> "TorchNetwork":
    """A PyTorch module as a network: kernels, predictions and training of it as of the built-in ones.

    Parameters
    ----------
    module : torch.nn.Module
        The network. What wraps it (torch.compile, DataParallel, DistributedDataParallel) is taken off. It is kept and
        never changed: parameters, buffers, modes, hooks and gradients stay as they are.
    forward : callable, optional
        forward(module, points) -> outputs, for modules that return anything else than a tensor (n,) or (n, K). None
        stands for ``module(points)``, ``module(*points)`` where the points are a tuple, ``module(**points)`` where they
        are a dict.
    parameters : str, list of str, or callable, optional
        Which parameters are trained: a glob on their names such as "head.*", several of them, or a function of (name,
        parameter) that says so. All others are constants. None stands for those with requires_grad.

    Returns
    -------
    TorchNetwork
        With the attributes ``parameters`` (arrays by name), ``n_outputs``, ``flops``, ``unreached`` and ``tied``, and
        the methods ``vjp`` and ``jvp``.

    Raises
    ------
    ModuleNotFoundError
        Where PyTorch is not installed.
    TypeError
        For what is no module, one that is scripted or sharded, and parameters in half precision.
    ValueError
        Where no parameter is chosen.

    Notes
    -----
    Points are arrays of any rank, of floats or integers, or tuples, lists or dicts of them with one first axis; floats
    are taken in the dtype of the parameters. The first points are tried: the module has to give the same outputs twice,
    each point's own whatever else is in the batch, and derivatives that agree with a difference quotient; else a
    ValueError says what to do. Kernels keep the parameters and buffers as they were when they were made: all kernels of
    one state share one copy, and one in float64. Derivatives are those of autograd: what is detached altogether is a
    constant.

    Passes are computed without TF32, autocast and compiled graphs, one at a time, by the threads of PyTorch. The
    rounding of kernels is an estimate, from products in float32 and in float64 at a few points.

    Examples
    --------
    >>> import numpy as np, torch
    >>> import ntkspec as ns
    >>> module = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2)).double()
    >>> net = ns.from_torch(module)
    >>> net(np.ones((4, 3))).shape
    (4, 2)
    >>> list(net.parameters)
    ['0.weight', '0.bias', '2.weight', '2.bias']
    """
    try:
        from ntkspec.networks.torch.network import TorchNetwork
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise ModuleNotFoundError(
            "ntkspec.from_torch needs PyTorch, which is not installed; python -m pip install 'ntkspec[torch]'",
            name="torch",
        ) from None
    return TorchNetwork(module, forward=forward, parameters=parameters)
