"""Which modules can be computed with: one device, plain floats, nothing sharded; what wraps them is taken off."""

from collections.abc import Sequence

import torch

# Wrappers that hold the module itself under this attribute.
_WRAPPERS = {"OptimizedModule": "_orig_mod", "DataParallel": "module", "DistributedDataParallel": "module"}


def unwrapped(module: torch.nn.Module) -> torch.nn.Module:
    """The module inside torch.compile, DataParallel and DistributedDataParallel. Raises TypeError for what is sharded
    or scripted, and for what is no module."""
    while type(module).__name__ in _WRAPPERS and isinstance(module, torch.nn.Module):
        module = getattr(module, _WRAPPERS[type(module).__name__])
    if not isinstance(module, torch.nn.Module):
        advice = "; make it first: from_torch(Net())" if isinstance(module, type) else ""
        raise TypeError(f"a {type(module).__name__} came, but a torch.nn.Module is needed{advice}")
    for part in module.modules():
        names = {cls.__name__ for cls in type(part).__mro__}
        if names & {"FullyShardedDataParallel", "FSDPModule"}:
            raise TypeError("the parameters of an FSDP module are sharded over processes; pass the module before it")
        if isinstance(part, torch.jit.ScriptModule):
            raise TypeError("a TorchScript module keeps its code to itself; pass the module that was scripted")
    return module


def check_parameters(module: torch.nn.Module) -> None:
    """Refuse what no pass could be computed with."""
    for name, parameter in module.named_parameters():
        if isinstance(parameter, torch.nn.parameter.UninitializedParameter):
            raise ValueError(f"parameter {name} of a lazy layer has no shape yet; run the module once on some points")
        if "DTensor" in type(parameter).__name__ or "DTensor" in type(parameter.data).__name__:
            raise TypeError(f"parameter {name} is sharded over processes; pass the module before it was distributed")
        if parameter.is_floating_point() and parameter.dtype not in (torch.float32, torch.float64):
            raise TypeError(
                f"parameter {name} is {str(parameter.dtype).removeprefix('torch.')}, whose rounding hides the kernel; "
                f"pass module.float()"
            )


def place_of(module: torch.nn.Module, names: Sequence[str]) -> tuple[torch.device, torch.dtype]:
    """The device of all parameters and buffers, and the dtype of the trained ones."""
    own = dict(module.named_parameters())
    dtypes = {own[name].dtype for name in names}
    if len(dtypes) > 1 or not dtypes <= {torch.float32, torch.float64}:
        found = ", ".join(sorted(str(dtype).removeprefix("torch.") for dtype in dtypes))
        raise TypeError(f"the trained parameters are {found}, but one dtype is needed; pass module.double()")
    devices = {str(tensor.device) for tensor in [*own.values(), *module.buffers()]}
    if len(devices) > 1:
        raise TypeError(f"the module lies on {', '.join(sorted(devices))}, but one is needed; pass module.to(...)")
    if devices == {"meta"}:
        raise ValueError("the module lies on the meta device, without numbers; load its parameters")
    return torch.device(devices.pop()), dtypes.pop()


def forms_of(module: torch.nn.Module) -> dict[str, tuple[torch.dtype, torch.device]]:
    """The dtype and device of all parameters, by name."""
    return {name: (parameter.dtype, parameter.device) for name, parameter in module.named_parameters()}
