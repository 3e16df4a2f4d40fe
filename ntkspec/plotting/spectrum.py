"""The figures of a spectrum."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ntkspec.experiments.spectrum import KernelSpectrum
from ntkspec.plotting.files import save
from ntkspec.plotting.values import logarithmic

NAMES = {"theta": "Θ", "linear": "Θ^lin", "gap": "Θ − Θ^lin"}
_COLOUR, _BAND = "#0072B2", "#0072B240"
_BINS = 36


def save_figures(record: KernelSpectrum, folder: str | Path) -> list[Path]:
    """Draw every figure as a PNG in the folder; each file is whole or not there."""
    figures = {"density": density(record), "eigenpairs": eigenpairs(record)}
    return [path for name, figure in figures.items() for path in save(figure, folder, name, kinds=("png",))]


def density(record: KernelSpectrum) -> Figure:
    """Left: shares of the eigenvalues in bins, with 95 % intervals.

    Right: a semidefinite kernel's number of eigenvalues above each value, on logarithmic axes; the smoothed density of
    a difference of kernels.
    """
    figure, (left, right) = _panels(record, 2)
    edges = bins(record)
    _bars(left, record.density.histogram(edges))
    if isinstance(edges, int):
        _smoothed(right, record.density)
    else:
        _counting(right, record.density, edges)
        left.set_xscale("log")
        left.set_yscale("log")
        left.set_ylim(0.2 / record.density.n, 2)  # one eigenvalue is 1 / n
    left.set_xlabel("eigenvalue")
    left.set_ylabel("share of eigenvalues, 95 % intervals")
    return figure


def bins(record: KernelSpectrum) -> int | np.ndarray:
    """Of its histogram: how many of one width of a difference of kernels, otherwise their edges."""
    return _BINS if record.task.kernel == "gap" else _geometric(record.density)


def _geometric(spectrum):
    """Edges on a logarithmic axis, from below the smallest node of the probes: nothing is resolved there."""
    top = spectrum.highest * 1.001
    positive = spectrum.nodes[spectrum.nodes > 1e-9 * top]
    return np.geomspace(0.5 * positive[0] if len(positive) else 1e-3 * top, top, _BINS + 1)


def _bars(axis, histogram) -> None:
    """Steps at the estimates, and intervals at the middle of each bin that holds something."""
    edges, mass = histogram.edges, histogram.mass
    seen = mass > 1e-9
    middle = np.sqrt(edges[1:] * edges[:-1]) if edges[0] > 0 else (edges[1:] + edges[:-1]) / 2
    axis.stairs(mass, edges, color=_COLOUR, fill=True, alpha=0.25)
    axis.stairs(mass, edges, color=_COLOUR, linewidth=0.8)
    errors = np.array([mass - histogram.lower, histogram.upper - mass])[:, seen]
    axis.errorbar(middle[seen], mass[seen], yerr=errors, fmt=".", color="black", markersize=3, linewidth=0.9, capsize=2)


def _counting(axis, spectrum, edges) -> None:
    """How many eigenvalues lie above x."""
    x = np.geomspace(edges[0], edges[-1], 160)
    share, low, high = spectrum.cumulative(x)
    n = spectrum.n
    axis.fill_between(x, np.maximum(n * (1 - high), 1e-3), n * (1 - low), color=_BAND, linewidth=0, label="95 %")
    axis.plot(x, np.maximum(n * (1 - share), 1e-3), color=_COLOUR)
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_ylim(0.5, 2 * n)
    axis.set_xlabel("x")
    axis.set_ylabel("number of eigenvalues above x")
    axis.legend(frameon=False)


def _smoothed(axis, spectrum) -> None:
    smooth = spectrum.smoothed(400)
    low, high = smooth.density - smooth.error, smooth.density + smooth.error
    axis.fill_between(smooth.x, np.maximum(low, 0), high, color=_BAND, linewidth=0, label="95 % and truncation")
    axis.plot(smooth.x, smooth.density, color=_COLOUR)
    axis.set_xlabel("eigenvalue")
    axis.set_ylabel(f"density, smoothed by {smooth.width:.2g}")
    axis.set_ylim(bottom=0)
    axis.legend(frameon=False)


def eigenpairs(record: KernelSpectrum) -> Figure:
    """Left: the leading eigenvalues and the bound on all others. Right: the labels' energy in their eigenvectors."""
    figure, (left, right) = _panels(record, 2)
    values, index = record.leading.values, np.arange(1, len(record.leading.values) + 1)
    left.plot(index, abs(values), "o", color=_COLOUR, fillstyle="none", markersize=5)
    low, high = record.leading.others
    if low <= high:
        most = max(abs(low), abs(high))
        left.axhline(most, color="black", linewidth=0.8, linestyle="--", label="all others are below")
        left.legend(frameon=False)
    logarithmic(left)
    left.set_xlabel("index")
    left.set_ylabel("|eigenvalue|")
    right.bar(index, record.energies, color=_COLOUR, alpha=0.5)
    right.plot(index, np.cumsum(record.energies), color="black", linewidth=1, label="sum")
    right.set_xlabel("index")
    for axis in (left, right):
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    right.set_ylabel("part of |y|² in the eigenvector")
    right.legend(frameon=False)
    return figure


def _panels(record: KernelSpectrum, count: int):
    figure = Figure(figsize=(5.0 * count, 3.8), layout="constrained")
    axes, task, data = figure.subplots(1, count), record.task, record.dataset
    figure.suptitle(
        f"{NAMES[task.kernel]} ({task.trained}), {data['name']}: {task.label}, d = {data['d']}, n = {data['n']}",
        fontsize=10,
    )
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes
