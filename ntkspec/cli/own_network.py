"""A network from a Python file of the user's own: --network FILE.py:FUNCTION."""

import contextlib
import hashlib
import importlib.util
import inspect
import random
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ntkspec.cli.streams import one_line

if TYPE_CHECKING:
    from ntkspec.datasets import Dataset
    from ntkspec.experiments.own_networks import OwnNetwork
    from ntkspec.networks.protocol import Network

_OWN = re.compile(r"(?P<path>.+\.py)(?::(?P<function>.*))?", re.DOTALL)
# What the function may ask for by the names of its arguments.
ARGUMENTS = {
    "d": "numbers of a point",
    "shape": "(height, width, channels) of images, else (d,)",
    "n_outputs": "columns of labels, 1 for one number a point",
    "seed": "that of the command",
}


def is_own(network: str) -> bool:
    """Whether --network names a file."""
    return _OWN.fullmatch(network) is not None


@dataclass(frozen=True)
class NetworkFile:
    """A function of a file, which was run.

    digest : of the file, and of the modules that it imported from its own folder. layer : a glob on the names of the
    parameters that are trained; "all" is every one.
    """

    name: str
    path: Path
    make: Callable[..., Any]
    digest: str
    layer: str = "all"

    def network(self, dataset: "Dataset", seed: int) -> "OwnNetwork":
        """What the function makes for a data set. Raises ValueError in one line."""
        from ntkspec.experiments.own_networks import OwnNetwork

        values = {
            "d": dataset.X.shape[1],
            "shape": tuple(map(int, dataset.meta.get("shape", dataset.X.shape[1:]))),
            "n_outputs": 1 if dataset.y.ndim == 1 else dataset.y.shape[1],
            "seed": seed,
        }
        given = _asked(self.make, values, self.path)
        with _beside(self.path), _seeded(seed), _told(f"{self.make.__name__} of {self.path}", self.path):
            made = self.make(**given)
        return OwnNetwork(self._adapted(made), self.name, str(self.path), self.digest)

    @contextlib.contextmanager
    def computing(self) -> Iterator[None]:
        """Whatever the network raises at some of the points is told as the file's; refusals stay what they are."""
        try:
            yield
        except (ValueError, TypeError, OSError, MemoryError) as error:
            if _line(error, self.path) is None:
                raise
            with _told(f"the network of {self.path}", self.path):
                raise
        except (Exception, SystemExit):
            with _told(f"the network of {self.path}", self.path):
                raise

    def _adapted(self, made: Any) -> "Network":
        """A module or a JAX function with its parameters, through its framework's adapter; a network as it is."""
        from ntkspec.networks.adapting import adapted
        from ntkspec.networks.protocol import is_network

        parameters = None if self.layer == "all" else self.layer
        chosen = "" if parameters is None else f", with --layer {self.layer}"
        what = f"what {self.make.__name__} of {self.path} returns"
        if parameters is not None and is_network(made):
            raise ValueError(
                f"--layer {self.layer} chooses parameters of a module or of JAX, but {what} is a network already; "
                f"choose them there: ntkspec.from_torch(module, parameters={self.layer!r})"
            )
        return adapted(made, what, parameters=parameters, told=lambda: _refused(what + chosen))


def network_file(network: str, layer: str) -> NetworkFile:
    """The file and function that --network names, with the file run. Raises FileNotFoundError or ValueError in one
    line."""
    match = _OWN.fullmatch(network)
    assert match is not None
    path, function = Path(match["path"]).expanduser(), match["function"]
    if not path.is_file():
        raise FileNotFoundError(f"--network {network}: {path} does not exist, or is not a file")
    with _beside(path) as imported, _told(f"{path}", path):
        module = _run(path)
    make = _function(module, function, path)
    digest = hashlib.sha256()
    for part in [path, *imported()]:
        digest.update(part.read_bytes())
    return NetworkFile(f"{path.name}:{function}", path, make, digest.hexdigest(), "all" if layer == "both" else layer)


def _run(path: Path) -> ModuleType:
    """The file as a module, under a name that no other one has: dataclasses and pickles look for it there."""
    name = f"{path.stem} of {path.resolve().parent}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _function(module: ModuleType, name: str | None, path: Path) -> Callable[..., Any]:
    functions = {key: value for key, value in vars(module).items() if inspect.isfunction(value)}
    own = [key for key, value in functions.items() if value.__module__ == module.__name__]
    there = f"it has {', '.join(own[:8])}" if own else "it has none"
    if not name:
        raise ValueError(f"--network {path} names no function of that file; take {path}:FUNCTION; {there}")
    found = getattr(module, name, None)
    if found is None:
        raise ValueError(f"{path} has no function {name!r}; {there}")
    if not callable(found) or not hasattr(found, "__name__"):
        raise ValueError(f"{name} of {path} is a {type(found).__name__}, but a function that makes a network is needed")
    return found


def _asked(make: Callable[..., Any], values: dict[str, Any], path: Path) -> dict[str, Any]:
    """The arguments that the function names. Raises ValueError for one that nothing is known of."""
    given = {}
    for name, parameter in inspect.signature(make).parameters.items():
        if name in values and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            given[name] = values[name]
        elif parameter.default is parameter.empty and parameter.kind not in (
            parameter.VAR_POSITIONAL,
            parameter.VAR_KEYWORD,
        ):
            known = ", ".join(f"{one} ({meaning})" for one, meaning in ARGUMENTS.items())
            raise ValueError(f"{make.__name__} of {path} asks for {name}, but what it may ask for is {known}")
    return given


# -------------------------------------------------------------------------------------------------------- around it
@contextlib.contextmanager
def _beside(path: Path) -> Iterator[Callable[[], list[Path]]]:
    """Imports find what lies beside the file; what is given says which of these files were imported since."""
    folder, before = str(path.resolve().parent), set(sys.modules)

    def imported() -> list[Path]:
        new = (sys.modules[name] for name in sys.modules.keys() - before)
        files = {Path(file).resolve() for module in new if (file := getattr(module, "__file__", None))}
        own = (file for file in files if file.is_relative_to(folder) and "site-packages" not in file.parts)
        return sorted(file for file in own if file != path.resolve() and file.suffix == ".py" and file.is_file())

    sys.path.insert(0, folder)
    try:
        yield imported
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(folder)


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """The random numbers that users' code draws without a generator, of Python, NumPy and PyTorch, start from the seed,
    and go on afterwards as before."""
    import numpy as np

    torch: Any = sys.modules.get("torch")  # the file has loaded it, or does not draw from it
    states = random.getstate(), np.random.get_state(), None if torch is None else torch.get_rng_state()  # noqa: NPY002
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    if torch is not None:
        torch.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        if torch is not None:
            torch.set_rng_state(states[2])


@contextlib.contextmanager
def _told(what: str, path: Path) -> Iterator[None]:
    """Whatever the user's code raises becomes a ValueError of one line, with the line of the file."""
    try:
        yield
    except ModuleNotFoundError as error:
        needed = str(error.name).split(".")[0]
        raise ValueError(f"{what} imports {needed}, which is not installed; python -m pip install {needed}") from error
    except (Exception, SystemExit) as error:
        line = error.lineno if isinstance(error, SyntaxError) else _line(error, path)
        place = "" if line is None else f" (line {line})"
        raise ValueError(f"{what} raised {type(error).__name__}: {one_line(error)}{place}") from error


def _line(error: BaseException, path: Path) -> int | None:
    """The line of a file in which something was raised, or that called what raised it."""
    own, frames = path.resolve(), traceback.extract_tb(error.__traceback__)
    return next((frame.lineno for frame in reversed(frames) if Path(frame.filename).resolve() == own), None)


@contextlib.contextmanager
def _refused(what: str) -> Iterator[None]:
    """What an adapter says of the user's network, with where that comes from."""
    try:
        yield
    except (TypeError, ValueError, ImportError) as error:
        raise ValueError(f"{what}: {error}") from error
