"""The figures of a spectrum."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ntkspec.experiments.spectrum import KernelSpectrum
from ntkspec.plotting import marks
from ntkspec.plotting.densities import BINS, COLOUR, bars, counting, geometric, leading, smoothed, whole_index
from ntkspec.plotting.files import save
from ntkspec.plotting.labels import GAP, LINEAR, THETA
from ntkspec.plotting.sheets import sheet

NAMES = {"theta": THETA, "linear": LINEAR, "gap": GAP}


def save_figures(record: KernelSpectrum, folder: str | Path) -> list[Path]:
    """Draw every figure into the folder, as PNG and PDF; each file is whole or not there."""
    return [path for name, figure in figures(record).items() for path in save(figure, folder, name)]


def figures(record: KernelSpectrum) -> dict[str, Figure]:
    """Both of them by name."""
    return {"density": density(record), "eigenpairs": eigenpairs(record)}


def density(record: KernelSpectrum) -> Figure:
    """Left: shares of the eigenvalues in bins, with 95 % intervals.

    Right: a semidefinite kernel's number of eigenvalues above each value, on logarithmic axes; the smoothed density of
    a difference of kernels.
    """
    return _figure(record, ["histogram", "smoothed" if record.task.kernel == "gap" else "count"])


def bins(record: KernelSpectrum) -> int | np.ndarray:
    """Of its histogram: how many of one width of a difference of kernels, otherwise their edges."""
    return BINS if record.task.kernel == "gap" else geometric(record.density, BINS)


def eigenpairs(record: KernelSpectrum) -> Figure:
    """Left: the leading eigenvalues and the bound on all others. Right: the labels' energy in their eigenvectors."""
    return _figure(record, ["eigenvalues", "labels"])


def pictures(record: KernelSpectrum) -> dict[str, Callable[[Axes], None]]:
    """What can be drawn on one pair of axes, by name; it is computed when it is drawn."""
    density = record.density
    rest: dict[str, Callable[[Axes], None]] = {
        "histogram": lambda axis: bars(axis, density.histogram(bins(record)), n=density.n),
        "eigenvalues": partial(leading, spectrum=record.leading),
        "labels": partial(_energies, energies=record.energies),
    }
    if record.task.kernel == "gap":
        return rest | {"smoothed": lambda axis: smoothed(axis, density.smoothed(400))}
    return rest | {"count": partial(counting, density=density)}


def _energies(axis: Axes, energies: np.ndarray) -> None:
    index = np.arange(1, len(energies) + 1)
    axis.bar(index, energies, color=COLOUR, alpha=0.5, label="each")
    axis.plot(index, np.cumsum(energies), color="black", linewidth=1, label="sum")
    whole_index(axis)
    axis.set_ylabel(r"part of $\|y\|^2$ in the eigenvector")
    axis.set_ylim(bottom=0)


def _figure(record: KernelSpectrum, names: list[str]) -> Figure:
    figure = sheet(5.0 * len(names), 3.8)
    task, data, found = record.task, record.dataset, pictures(record)
    for axis, name in zip(figure.subplots(1, len(names)), names, strict=True):
        found[name](axis)
        marks.bare(axis)
        marks.legend(axis)
    where = f"{data['name']}: {task.label}, $d$ = {data['d']}, $n$ = {data['n']:,}"
    figure.suptitle(f"{NAMES[task.kernel]} ({task.trained}), {where}", fontsize=10)
    return figure
