"""The figures of single results, as functions of the package return them."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ntkspec.dynamics import Trajectory
from ntkspec.plotting.colours import POINT_COLOURS
from ntkspec.plotting.values import logarithmic, shown
from ntkspec.spectra.densities import Density
from ntkspec.spectra.results import Spectrum

BINS = 36


def first_outputs(run: Trajectory) -> np.ndarray:
    """(steps, k) outputs on the first training points, k at most five; of several outputs those of the first point."""
    values = np.asarray(run.train)
    return shown(values.reshape(len(values), -1)[:, : len(POINT_COLOURS)])


def trajectory(run: Trajectory) -> Figure:
    """Outputs on the first training points over the steps."""
    figure, axis = _panel("step", "output")
    for k, (values, colour) in enumerate(zip(first_outputs(run).T, POINT_COLOURS, strict=False), 1):
        axis.plot(run.steps, values, color=colour, label=f"output {k}")
    axis.set_xscale("symlog", linthresh=1, linscale=0.3)
    axis.legend(frameon=False)
    return figure


def eigenvalues(pairs: Spectrum) -> Figure:
    """Eigenvalues by index, and the interval that holds all others."""
    figure, axis = _panel("index", "eigenvalue")
    axis.plot(np.arange(1, len(pairs.values) + 1), pairs.values, "o", color="#0072B2", fillstyle="none", markersize=5)
    low, high = pairs.others
    if np.isfinite([low, high]).all():
        axis.axhspan(low, high, color="#0072B2", alpha=0.15, linewidth=0, label="all others")
        axis.legend(frameon=False)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def density(found: Density) -> Figure:
    """Shares of the eigenvalues in bins of one width, with 95 % intervals."""
    figure, axis = _panel("eigenvalue", "share of eigenvalues, 95 % intervals")
    shares = found.histogram(BINS)
    middle, seen = (shares.edges[1:] + shares.edges[:-1]) / 2, shares.mass > 1e-9
    errors = np.array([shares.mass - shares.lower, shares.upper - shares.mass])[:, seen]
    axis.stairs(shares.mass, shares.edges, color="#0072B2", fill=True, alpha=0.25)
    axis.errorbar(middle[seen], shares.mass[seen], yerr=errors, fmt=".", color="black", markersize=3, linewidth=0.9)
    logarithmic(axis)
    return figure


def _panel(x: str, y: str):
    figure = Figure(figsize=(5.0, 3.8), layout="constrained")
    axis = figure.subplots()
    axis.spines[["top", "right"]].set_visible(False)
    axis.set_xlabel(x)
    axis.set_ylabel(y)
    return figure, axis
