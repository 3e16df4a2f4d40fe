"""A folder of checkpoints as the networks that they are, in the order of their steps."""

import copy
import glob
import os
import re
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from ntkspec import checks
from ntkspec.engines import engine_of
from ntkspec.networks.adapting import adapted
from ntkspec.networks.naming import some
from ntkspec.networks.protocol import Network, names_of

Where: TypeAlias = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
TORCH = (".pt", ".pth", ".ckpt", ".bin")
ARRAYS = (".npz",)
# Numbers of a name, but for fractions such as a loss, and the one that is called the step.
_FRACTION, _NUMBER, _STEP = re.compile(r"\d+\.\d+"), re.compile(r"\d+"), re.compile(r"step\D?(\d+)", re.IGNORECASE)
_MADE = "what make returns"


class Checkpoints:
    """Files of checkpoints, and the network that each becomes; :func:`ntkspec.checkpoints` finds them.

    files : by step, ascending.
    """

    def __init__(self, make: Callable[[], Any], files: dict[int, Path]):
        self.make, self.files = make, files

    @property
    def steps(self) -> list[int]:
        """The steps, ascending."""
        return list(self.files)

    def source(self, step: int) -> str:
        """The file of a step."""
        return str(self.files[step])

    def __len__(self) -> int:
        return len(self.files)

    def __iter__(self) -> Iterator[tuple[int, Network]]:
        """(step, network), one after the other; only one of the files is in memory."""
        base = adapted(self.make(), _MADE)  # no file is read into it
        for step, path in self.files.items():
            if path.suffix.lower() in ARRAYS:
                yield step, _with_arrays(base, path)
            else:
                yield step, _with_state(_apart(adapted(self.make(), _MADE), base), path)

    def __repr__(self) -> str:
        steps = some([str(step) for step in self.files])
        return f"Checkpoints of steps {steps}: {next(iter(self.files.values()))}, ..."


def checkpoints(make: Callable[[], Any], where: Where) -> Checkpoints:
    """The networks that files of checkpoints hold, in the order of their steps, for :func:`ntkspec.track`.

    Parameters
    ----------
    make : function without arguments
        Makes the network, with any weights: a PyTorch module, a pair (function, parameters) of JAX, or a network of
        this package or its adapters. It is called once, and once more for each file of PyTorch. Where it returns one
        module each time, files are read into copies of it.
    where : str or Path, or list of them
        Files: a pattern as ``"runs/*.pt"``, a folder, or their names. ``.pt``, ``.pth``, ``.ckpt`` and ``.bin`` are
        read as ``torch.save`` writes the ``state_dict`` of a module, alone or under "model", "state_dict" or the like.
        ``.npz`` hold arrays by the names of ``net.parameters``, of built-in networks the arrays of ``net.weights`` in
        their order (``numpy.savez(path, *net.weights)``).

    Returns
    -------
    Checkpoints
        Iterates over (step, network). A step is the number after "step" in the file's name ("step-0300-v1.pt"), else
        the last one that is no fraction; where the name has none, the entry "step" of the file.

    Raises
    ------
    FileNotFoundError
        Where there are no such files.
    ValueError
        For files of other kinds, without a step, or of one step; and, when its turn comes, for a file that is damaged
        or does not fit the network. Each message names the file.

    Notes
    -----
    Nothing in a file is executed: files of PyTorch are read with ``weights_only=True``. Cost: nothing is loaded before
    its turn, but files without a number in their name.

    Examples
    --------
    >>> import numpy as np, ntkspec as ns
    >>> from pathlib import Path
    >>> Path("runs").mkdir()
    >>> net = ns.TwoLayer.symmetric(4, 16, "erf")
    >>> for step in (0, 5, 10):
    ...     np.savez(f"runs/step-{step}.npz", *net.weights)
    >>> found = ns.checkpoints(lambda: ns.TwoLayer.symmetric(4, 16, "erf"), "runs/*.npz")
    >>> found.steps
    [0, 5, 10]
    """
    if not callable(make):
        raise TypeError(f"make is a {type(make).__name__}, but a function that makes the network is needed")
    paths = found(where)
    for path in paths:
        if path.suffix.lower() not in TORCH + ARRAYS:
            raise ValueError(f"{path} is no checkpoint: its ending has to be one of {', '.join(TORCH + ARRAYS)}")
    by_step: dict[int, Path] = {}
    for path in paths:
        step = _step_of(path)
        if step in by_step:
            raise ValueError(
                f"{by_step[step]} and {path} are both of step {step}; a step is the number after 'step' in a "
                f"name, or the last one"
            )
        by_step[step] = path
    return Checkpoints(make, dict(sorted(by_step.items())))


def found(where: Where) -> list[Path]:
    """The files of a pattern, a folder or a list. Raises FileNotFoundError where there are none."""
    if not isinstance(where, str | os.PathLike | Sequence):
        raise TypeError(f"where is a {type(where).__name__}, but a pattern such as 'runs/*.pt' or a list is needed")
    if not isinstance(where, str | os.PathLike):
        paths = [Path(one).expanduser() for one in where]
    elif Path(where).expanduser().is_dir():
        folder = Path(where).expanduser()
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in TORCH + ARRAYS)
    else:
        paths = [Path(name) for name in sorted(glob.glob(os.path.expanduser(os.fspath(where)), recursive=True))]
    if not paths:
        raise FileNotFoundError(f"no checkpoints are found at {where}; name a pattern such as 'runs/*.pt', or a folder")
    for path in paths:
        if not path.is_file():
            raise FileNotFoundError(f"{path} does not exist, or is not a file")
    return paths


def _step_of(path: Path) -> int:
    """The number after "step" in its name, or the last one, or its entry "step"."""
    name = _FRACTION.sub("", path.stem)
    numbers = _STEP.findall(name) or _NUMBER.findall(name)
    if numbers:
        return checks.whole_number(int(numbers[-1]), f"the step of {path}", 0)
    step = _step_in(path)
    if isinstance(step, int | np.integer) and not isinstance(step, bool):
        return checks.whole_number(step, f"the step of {path}", 0)
    raise ValueError(f"{path} has no step: no number in its name, and no entry 'step'; rename it, such as step-100.pt")


def _step_in(path: Path) -> Any:
    if path.suffix.lower() in ARRAYS:
        found = _arrays(path).get("step")
        return None if found is None or found.ndim else found.item()
    states = _states(path)
    return states.step_in(states.read(path))


# ------------------------------------------------------------------------------------------------------------- weights
def _states(path: Path) -> Any:
    """What reads files of PyTorch."""
    try:
        from ntkspec.networks.torch import states
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise ModuleNotFoundError(
            f"{path} needs PyTorch, which is not installed; python -m pip install 'ntkspec[torch]'", name="torch"
        ) from None
    return states


def _apart(net: Network, base: Network) -> Network:
    """A network that shares no parameters with another one: a copy where it does."""
    own, other = (getattr(one, "module", None) for one in (net, base))
    if own is None or other is None or {*map(id, own.parameters())}.isdisjoint(map(id, other.parameters())):
        return net
    try:
        return copy.deepcopy(net)
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f"make returns one module each time, which cannot be copied ({' '.join(str(error).split())}); let it make "
            f"a new one"
        ) from None


def _with_state(net: Network, path: Path) -> Network:
    """A network of a module with the parameters and buffers of a file of PyTorch."""
    states = _states(path)
    if not hasattr(net, "module"):
        raise ValueError(
            f"{path} is a file of PyTorch, but {_MADE} is a {type(net).__name__}; keep its weights with "
            f"numpy.savez('step-100.npz', **net.parameters), of built-in networks *net.weights"
        )
    states.load(net, path)
    return net


def _with_arrays(net: Network, path: Path) -> Network:
    """A network with the arrays of a .npz file as its weights."""
    arrays, names = _arrays(path), names_of(net)
    arrays.pop("step", None)
    if set(arrays) == {f"arr_{k}" for k in range(len(names))}:  # what numpy.savez calls arrays without names
        arrays = {name: arrays[f"arr_{k}"] for k, name in enumerate(names)}
    missing, more = [name for name in names if name not in arrays], [name for name in arrays if name not in names]
    if missing or more:
        lacks = f"it lacks {some(missing)}" if missing else ""
        has = f"the network has no {some(more)}" if more else ""
        raise ValueError(f"{path} does not fit the network: {'; '.join(part for part in (lacks, has) if part)}")
    for name, own in zip(names, net.weights, strict=True):
        if arrays[name].shape != own.shape:
            raise ValueError(
                f"{path} does not fit the network: {name} has shape {arrays[name].shape}, but {own.shape} is needed"
            )
        checks.all_finite(arrays[name], f"{name} of {path}")
    xp = engine_of(net.weights[0]).xp
    return net.with_weights(
        [xp.asarray(arrays[name].astype(own.dtype)) for name, own in zip(names, net.weights, strict=True)]
    )


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """All arrays of a .npz file of numbers. Raises ValueError in one line."""
    try:
        with path.open("rb") as given, np.load(given, allow_pickle=False) as file:
            found = {name: file[name] for name in file.files}
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile, AttributeError) as error:
        raise ValueError(f"{path} is no file of arrays, or damaged: {' '.join(str(error).split())}") from None
    for name, array in found.items():
        if array.dtype.kind not in "fiub":
            raise ValueError(f"{name} of {path} has dtype {array.dtype}, but numbers are needed")
    return found
