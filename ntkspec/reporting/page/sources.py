"""From a file of results, or a result itself, to what its page says."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ntkspec import storage
from ntkspec.experiments import results as kept_results
from ntkspec.experiments.analyze import Analysis
from ntkspec.experiments.deep_runs import DEEP_COMPARISON
from ntkspec.experiments.records import TYPES
from ntkspec.experiments.results import RESULTS, Copies
from ntkspec.experiments.run_cache import Runs
from ntkspec.experiments.spectrum import KernelSpectrum
from ntkspec.experiments.sweep_cells import Cell
from ntkspec.experiments.sweep_results import Sweep
from ntkspec.experiments.tracking import Series
from ntkspec.experiments.tracking.recorder import KIND as TRACK
from ntkspec.experiments.two_layer_runs import COMPARISON
from ntkspec.networks.saved import Parts
from ntkspec.reporting.page import analysis, check, results, runs, series, spectrum, sweep
from ntkspec.reporting.page.page import Content
from ntkspec.storage.sweeps import stored_of

_NO_REPORT = {"network": "a network", "kernel": "a kernel", "training": "a checkpoint of training"}


def content_of_file(path: Path) -> Content:
    """What the page of a file says. Raises FileNotFoundError, or ValueError for one that is damaged or no result."""
    if path.is_dir():
        raise ValueError(f"{path} is a folder; name the file of results in it, such as {path / 'analysis.h5'}")
    kind = storage.kind_of(path)
    if kind not in _OF_KIND:
        what = f"is {_NO_REPORT[kind]}" if kind in _NO_REPORT else "is no file of results of ntkspec"
        raise ValueError(
            f"{path} {what}, which has no report; pass a file of analyze, spectrum, track, sweep, check or figure, "
            f"or one of ntkspec.save_result"
        )
    tree = storage.read(path, kind=kind, types=TYPES.get(kind, _TYPES_OF_RESULTS))
    with storage.blamed_on(path):
        return content_of_tree(kind, tree, str(path))


def content_of_tree(kind: str, tree: Any, name: str) -> Content:
    """The same from what a file of that kind and name holds."""
    return _OF_KIND[kind](tree, name)


def content_of_result(result: Any) -> Content:
    """What the page of a result says."""
    if isinstance(result, Analysis):
        return analysis.content(result, None, "")
    if isinstance(result, KernelSpectrum):
        return spectrum.content(result, None, "")
    if isinstance(result, Series) and len(result):
        return series.content(result, [], "")
    if isinstance(result, Sweep) and result:
        return sweep.content(result, "")
    return results.content(result, "")


def _sweep(tree: dict, name: str) -> Content:
    return sweep.content(Sweep.stored(stored_of(name, tree, Cell), name), name)


def _check(tree: dict, name: str) -> Content:
    found = Sweep.stored(stored_of(name, {**tree, "provenance": []}, Cell), name)
    return check.content(tree["checks"], found, tree.get("provenance"), name)


_TYPES_OF_RESULTS = (*RESULTS, Parts, Copies)
# By kind: what makes the content of a file's tree and its name.
_OF_KIND: dict[str, Callable[[Any, str], Content]] = {
    "analyze": lambda tree, name: analysis.content(tree["analysis"], tree.get("provenance"), name),
    "spectrum": lambda tree, name: spectrum.content(tree["spectrum"], tree.get("provenance"), name),
    TRACK: lambda tree, name: series.content(tree["track"], tree["provenance"], name),
    "sweep": _sweep,
    "check": _check,
    COMPARISON.kind: lambda tree, name: runs.content(Runs.of(tree), name),
    DEEP_COMPARISON.kind: lambda tree, name: runs.deep_content(Runs.of(tree), name),
    kept_results.KIND: results.content,
}
