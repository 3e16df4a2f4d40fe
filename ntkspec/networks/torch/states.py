"""Parameters of PyTorch modules in files of checkpoints: read without running anything in them, and put in place."""

import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ntkspec.networks.naming import some
from ntkspec.networks.torch.network import TorchNetwork
from ntkspec.objects.words import counted

# Under which words training loops keep the parameters of a module, and how many steps were taken.
STATES = ("model", "state_dict", "model_state_dict", "model_state", "module", "net", "network")
STEPS = ("step", "global_step", "steps", "iteration")
# What wrappers of modules put before the names of their parameters.
_WRAPPERS = ("_orig_mod.", "module.")
# How PyTorch says which object it does not read.
_OBJECT = re.compile(r"GLOBAL ([\w.]+)")


def read(path: Path) -> dict[str, Any]:
    """What torch.save wrote, tensors and plain values; ValueError in one line for anything else."""
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if not zipfile.is_zipfile(path):
            raise ValueError(f"{path} is no file of torch.save, or damaged") from None
        what = _OBJECT.search(str(error))
        which = f" ({what[1]})" if what else ""
        raise ValueError(
            f"{path} holds more than tensors and plain values{which}, which is not read since it could run anything; "
            f"save the parameters alone: torch.save(module.state_dict(), path)"
        ) from None
    except Exception as error:  # a damaged file fails in all ways
        raise ValueError(f"{path} is no file of torch.save, or damaged: {_first_line(error)}") from None
    if not isinstance(found, Mapping):
        raise ValueError(
            f"{path} holds a {type(found).__name__}, but the parameters of a module are needed: "
            f"torch.save(module.state_dict(), path)"
        )
    return dict(found)


def step_in(found: Mapping[str, Any]) -> Any:
    """The entry that says how many steps were taken; None where there is none."""
    own = next((found[name] for name in STEPS if name in found), None)
    return own.item() if isinstance(own, torch.Tensor) and own.ndim == 0 else own


def load(net: TorchNetwork, path: Path) -> None:
    """Put the parameters and buffers of a file into the module of a network; ValueError where they do not fit."""
    state = _unwrapped(_state(read(path), path))
    try:
        missing, unexpected = net.module.load_state_dict(state, strict=False)
    except RuntimeError as error:
        shapes = [line.strip() for line in str(error).splitlines() if "size mismatch" in line]
        raise ValueError(f"{path} does not fit the network: {shapes[0] if shapes else _first_line(error)}") from None
    if missing or unexpected:
        lacks = f"it lacks {some(missing)}" if missing else ""
        more = f"the network has no {some(unexpected)}" if unexpected else ""
        raise ValueError(f"{path} does not fit the network: {'; '.join(part for part in (lacks, more) if part)}")


def _state(found: Mapping[str, Any], path: Path) -> Mapping[str, torch.Tensor]:
    """The parameters by name, wherever the file has them."""
    inner = next((found[name] for name in STATES if isinstance(found.get(name), Mapping)), found)
    tensors = {name: value for name, value in inner.items() if isinstance(value, torch.Tensor)}
    named = all(isinstance(name, str) for name in tensors)
    if not tensors or not named or (inner is found and len(tensors) < len(found) and step_in(found) is None):
        keys = some([str(key) for key in found])
        raise ValueError(
            f"{path} holds {counted(len(found), 'entry', 'entries')} ({keys}), but parameters by name are needed, "
            f"alone or under one of {', '.join(STATES)}"
        )
    return {name: value for name, value in tensors.items() if inner is not found or name not in STEPS}


def _unwrapped(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Without what DistributedDataParallel and torch.compile put before the names."""
    found = dict(state)
    for wrapper in (*_WRAPPERS, *_WRAPPERS):
        if found and all(name.startswith(wrapper) for name in found):
            found = {name.removeprefix(wrapper): value for name, value in found.items()}
    return found


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].strip().rstrip(".") if lines else type(error).__name__
