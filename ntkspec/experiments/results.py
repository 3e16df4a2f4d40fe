"""Results in files: trajectories, estimates, spectra and their like, and back."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ntkspec.activations import Activation, Constants
from ntkspec.dynamics import (
    Ensemble,
    Gaussian,
    GradientDescent,
    GradientFlow,
    HeavyBall,
    Modes,
    Nesterov,
    Posterior,
    Stability,
    Trajectory,
)
from ntkspec.engines import engine_of
from ntkspec.engines.containers import library
from ntkspec.kernels import LinearCoefficients
from ntkspec.kernels.expansion import Expansion
from ntkspec.networks import IndependentOutputs
from ntkspec.networks.protocol import is_network
from ntkspec.networks.saved import Parts, Unfitting, network_of, parts_of
from ntkspec.networks.saving import Savable
from ntkspec.operators import KernelOperator
from ntkspec.operators.planning import Plan
from ntkspec.spectra.alignments import Angles
from ntkspec.spectra.densities import Density, Histogram, Smoothed
from ntkspec.spectra.results import Diagnostics, Estimate, Spectrum
from ntkspec.storage import OtherKind, read, write
from ntkspec.theory.budget import Budget, Part

KIND = "result"
RESULTS: tuple[type, ...] = (
    *(
        Angles,
        Budget,
        Constants,
        Density,
        Ensemble,
        Estimate,
        Expansion,
        Histogram,
        Modes,
        Plan,
        Posterior,
        Smoothed,
        Spectrum,
        Trajectory,
    ),
    *(Diagnostics, Gaussian, GradientDescent, GradientFlow, HeavyBall, LinearCoefficients, Nesterov, Part, Stability),
)
# What files of other kinds are, and what reads them.
_OTHERS = {
    "network": "it is a network; ntkspec.load_network reads it",
    "kernel": "it is a kernel; ntkspec.load_kernel reads it",
}


@dataclasses.dataclass(frozen=True)
class Copies:
    """The parts of networks that are trained side by side, as files hold them."""

    networks: list


def save_result(result: Any, path: str | Path) -> None:
    """Write a result to a file, which :func:`ntkspec.load_result` reads.

    Parameters
    ----------
    result : Trajectory, Estimate, Spectrum, Density or any other result
        What a function of this package returned, or a dictionary or list of such results, with names, numbers, strings
        and arrays beside them. A trained network in a trajectory is kept with it. Networks alone are kept by
        ``net.save``, kernels by :func:`ntkspec.save_kernel`.
    path : str or Path
        The file, which is replaced where there is one. Its folder has to exist.

    Raises
    ------
    FileNotFoundError, PermissionError
        Where the folder does not exist or cannot be written to.
    TypeError
        For what is no result, or holds something of the user's own, such as a law.

    Notes
    -----
    Arrays keep every bit and their dtype; those on a GPU are copied to the host. Rows that lie on the workers of a
    cluster are written part by part, with no more than one of them in this process. The file is whole or not there,
    also after a kill. Cost: arrays are compressed, some 20 MB a second, but for those of a cluster.

    Examples
    --------
    >>> import numpy as np, ntkspec as ns
    >>> K = np.diag([4.0, 2.0, 1.0])
    >>> run = ns.predict_gd(K, np.ones(3), eta=0.5, steps=[0, 9])
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     file = Path(folder) / "K.h5"
    ...     ns.save_result({"norm": ns.spectral_norm(K), "run": run}, file)
    ...     found = ns.load_result(file)
    >>> round(found["norm"], 3), found["run"].train.shape
    (4.0, (2, 3))
    """
    if isinstance(result, Savable | KernelOperator):
        raise TypeError(f"a {type(result).__name__} is kept by net.save or ntkspec.save_kernel, not as a result")
    write(path, _mapped(result, _stored), kind=KIND)


def load_result(path: str | Path, *, activation: str | Activation | None = None) -> Any:
    """The result that :func:`ntkspec.save_result` or a command wrote.

    Parameters
    ----------
    path : str or Path
        The file.
    activation : str or Activation, optional
        The activation of the network in it. Default None: the one that the file names. Needed where the network was
        built with an activation of the user's own, whose functions are in no file.

    Returns
    -------
    Trajectory, Estimate, Spectrum, Density, ...
        What was written: the same class, numbers bit by bit, arrays of NumPy. Of the files of commands an Analysis
        (``ntkspec analyze``), a KernelSpectrum (``spectrum``), a Series (``track``), a Sweep (``sweep``, ``check``,
        ``figure 5`` and ``budget``), a list of checks (``check.h5``), a list of runs (``figure 1``, ``2`` and ``3``).

    Raises
    ------
    FileNotFoundError
        Where there is no such file.
    ValueError
        For a file that is damaged, of another kind or of a newer version, and for an activation that has to be passed
        or is another one.

    Notes
    -----
    A file can be taken from strangers: nothing in it is executed. Pickles take any object, but can run anything while
    they are read, and belong to the version of the package that wrote them. Cost: one pass over the arrays.

    Examples
    --------
    >>> import numpy as np, ntkspec as ns
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     ns.save_result(ns.eigsh(np.diag([4.0, 2.0, 1.0]), 2), Path(folder) / "pairs.h5")
    ...     ns.load_result(Path(folder) / "pairs.h5").vectors.shape
    (3, 2)
    """
    try:
        found = read(path, kind=KIND, types=[*RESULTS, Parts, Copies])
    except OtherKind as error:
        from ntkspec.experiments.records import READERS  # all experiments, which single results do not need

        if error.found in READERS:
            return READERS[error.found](path)
        raise ValueError(f"{error}{f': {_OTHERS[error.found]}' if error.found in _OTHERS else ''}") from None
    try:
        return _mapped(found, lambda leaf: _restored(leaf, activation))
    except Unfitting as error:
        raise ValueError(f"{path} {error}") from None


def _mapped(value, turn: Callable):
    """A tree of results, dictionaries and lists, each leaf turned into another."""
    if type(value) in RESULTS:
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return dataclasses.replace(value, **_mapped(fields, turn))
    if isinstance(value, dict):
        return {key: _mapped(item, turn) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_mapped(item, turn) for item in value)
    return turn(value)


def _stored(leaf):
    """A leaf as files hold it."""
    if isinstance(leaf, IndependentOutputs):
        return Copies([_stored(net) for net in leaf.networks])
    if isinstance(leaf, Savable):
        return parts_of(leaf)
    if is_network(leaf):
        raise TypeError(
            f"a {type(leaf).__name__} is code, which no file keeps; save dataclasses.replace(result, network=None) and "
            f"its numbers, save_result(network.parameters, path)"
        )
    if dataclasses.is_dataclass(leaf):
        known = ", ".join(cls.__name__ for cls in RESULTS)
        record = type(leaf).__module__.startswith("ntkspec.experiments.")
        advice = "; ntkspec.storage.write keeps records of commands, as the commands do" if record else ""
        what = f"{type(leaf).__name__} objects cannot be saved as a result or in one"
        raise TypeError(f"{what}; known are {known}{advice}")
    return engine_of(leaf).to_host(leaf) if library(leaf) == "cupy" else leaf


def _restored(leaf, activation: str | Activation | None):
    """What :func:`_stored` was given."""
    if isinstance(leaf, Copies):
        if not isinstance(leaf.networks, list) or not leaf.networks:
            raise Unfitting("holds no network")
        return IndependentOutputs([network_of(parts, activation) for parts in leaf.networks])
    return network_of(leaf, activation) if isinstance(leaf, Parts) else leaf
