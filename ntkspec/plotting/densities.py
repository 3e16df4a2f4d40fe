"""Eigenvalues on axes: shares, counts, smoothed densities with their intervals, and the leading ones."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ntkspec.plotting.marks import MARK
from ntkspec.plotting.values import logarithmic
from ntkspec.spectra.densities import Density, Histogram, Smoothed
from ntkspec.spectra.results import Spectrum

COLOUR, _BAND = "#0072B2", "#0072B240"
BINS = 36
# Edges whose ratios are alike stand on a logarithmic axis.
_ALIKE = 1.001


def geometric(density: Density, bins: int) -> np.ndarray:
    """Edges on a logarithmic axis, from below the smallest node of the probes: nothing is resolved there."""
    top = density.highest * _ALIKE
    positive = density.nodes[density.nodes > 1e-9 * top]
    return np.geomspace(0.5 * positive[0] if len(positive) else 1e-3 * top, top, bins + 1)


def shares_of(density: Density) -> Histogram:
    """Shares in bins that are even on a logarithmic axis where no eigenvalue is negative, beyond rounding."""
    positive = density.highest > 0 and density.lowest > -1e-6 * density.highest
    return density.histogram(geometric(density, BINS) if positive else BINS)


def shares(axis: Axes, density: Density) -> None:
    """The same on axes."""
    bars(axis, shares_of(density), density.n)


def bars(axis: Axes, histogram: Histogram, n: int | None = None) -> None:
    """Steps at the estimates, and intervals at the middle of each bin that holds something.

    Axes are logarithmic where the bins are even there; one eigenvalue of ``n`` is then the least that is shown.
    """
    edges, mass = histogram.edges, histogram.mass
    seen = mass > 1e-9
    even = edges[0] > 0 and np.allclose(edges[1:] / edges[:-1], edges[1] / edges[0])
    middle = np.sqrt(edges[1:] * edges[:-1]) if even else (edges[1:] + edges[:-1]) / 2
    axis.stairs(mass, edges, color=COLOUR, fill=True, alpha=0.25)
    axis.stairs(mass, edges, color=COLOUR, linewidth=0.8)
    errors = np.array([mass - histogram.lower, histogram.upper - mass])[:, seen]
    label = f"{100 * (1 - histogram.failure_probability):g} % intervals"
    dots: dict[str, Any] = {"color": "black", "markersize": 3, "linewidth": 0.9, "capsize": 2, "label": label}
    axis.errorbar(middle[seen], mass[seen], yerr=errors, fmt=".", **dots)
    if even:
        axis.set_xscale("log")
        logarithmic(axis)
        if n is not None:
            axis.set_ylim(0.2 / n, 2)
    else:
        axis.set_ylim(bottom=0)
    axis.set_xlabel("eigenvalue")
    axis.set_ylabel("share of eigenvalues")


def counting(axis: Axes, density: Density) -> None:
    """How many eigenvalues lie above x, on logarithmic axes."""
    edges, n = geometric(density, 1), density.n
    x = np.geomspace(edges[0], edges[-1], 160)
    share, low, high = density.cumulative(x)
    axis.fill_between(
        x, np.maximum(n * (1 - high), 1e-3), n * (1 - low), color=_BAND, linewidth=0, label="95 % interval"
    )
    axis.plot(x, np.maximum(n * (1 - share), 1e-3), color=COLOUR, label="estimate")
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_ylim(0.5, 2 * n)
    axis.set_xlabel("$x$")
    axis.set_ylabel("number of eigenvalues above $x$")


def smoothed(axis: Axes, found: Smoothed) -> None:
    """The smoothed density in its band."""
    low, high = found.density - found.error, found.density + found.error
    axis.fill_between(found.x, np.maximum(low, 0), high, color=_BAND, linewidth=0, label="95 % and truncation")
    axis.plot(found.x, found.density, color=COLOUR, label="estimate")
    axis.set_xlabel("eigenvalue")
    axis.set_ylabel(f"density, smoothed by {found.width:.2g}")
    axis.set_ylim(bottom=0)


def leading(axis: Axes, spectrum: Spectrum) -> None:
    """The sizes of the leading eigenvalues, and the bound on all others."""
    values = abs(spectrum.values)
    axis.plot(np.arange(1, len(values) + 1), values, "o", color=COLOUR, fillstyle="none", markersize=5, label="found")
    low, high = spectrum.others
    if low <= high:
        most = max(abs(low), abs(high))
        axis.axhline(most, color="black", linewidth=0.8, linestyle="--", label="all others are below", gid=MARK)
    logarithmic(axis)
    whole_index(axis)
    axis.set_ylabel(r"$|\lambda|$")


def whole_index(axis: Axes) -> None:
    """Ticks at whole numbers."""
    axis.set_xlabel("index")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
