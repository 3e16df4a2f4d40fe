"""Pictures of single results: trajectories, learning modes, budgets, runs of a figure."""

import numpy as np
from matplotlib.axes import Axes

from ntkspec.dynamics import Modes, Trajectory
from ntkspec.engines import engine_of
from ntkspec.plotting.colours import POINT_COLOURS
from ntkspec.plotting.values import logarithmic, shown
from ntkspec.theory.budget import PARTS, Budget

_MEASURED, _PREDICTED = "#0072B2", "#D55E00"


def first_outputs(run: Trajectory, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps in order, and (steps, k) outputs on the first points, k at most five; of several outputs the first one."""
    order = np.argsort(run.steps, kind="stable")
    some = run.parts[part][:, : len(POINT_COLOURS)]
    values = engine_of(some).to_host(some)[order]
    return run.steps[order], shown(values.reshape(len(order), values.shape[1], -1)[:, :, 0])


def outputs(axis: Axes, run: Trajectory, part: str) -> None:
    """Outputs on the first points over steps, of several outputs the first one."""
    steps, values = first_outputs(run, part)
    for k, colour in zip(range(values.shape[1]), POINT_COLOURS, strict=False):
        axis.plot(steps, values[:, k], color=colour, label=f"{part} point {k}")
    axis.set_xscale("symlog", linthresh=1, linscale=0.3)
    if steps[-1] > 0:
        axis.set_xlim(0, steps[-1])
    axis.set_xlabel("step")
    axis.set_ylabel("output" if run.parts[part].ndim == 2 else "output 0")


def modes(axis: Axes, found: Modes) -> None:
    """How much of the labels each mode carries, over the steps that it takes."""
    seen = np.isfinite(found.e_folds) & (found.e_folds > 0) & (found.energies > 0)
    axis.plot(found.e_folds[seen], found.energies[seen], "o", color=_MEASURED, fillstyle="none", label="modes")
    if seen.any():
        axis.set_xscale("log")
    logarithmic(axis)
    axis.set_xlabel("steps in which the residual shrinks by $e$")
    axis.set_ylabel(r"part of $\|y\|^2$ in the mode")


def budget(axis: Axes, found: Budget) -> None:
    """The spectral norms of the gap and of its parts, measured and predicted."""
    names = ("gap", *PARTS)
    parts = [getattr(found, name) for name in names]
    place = np.arange(len(names))
    axis.bar(place, [float(part.spectral) for part in parts], color=_MEASURED, alpha=0.5, width=0.6, label="measured")
    predicted = [part.predicted_spectral for part in parts]
    axis.plot(place, predicted, "_", color=_PREDICTED, markersize=22, markeredgewidth=2, label="predicted")
    axis.set_xticks(place, names)
    axis.set_xlabel("part of the gap")
    axis.set_ylabel("spectral norm")
    axis.set_ylim(bottom=0)
