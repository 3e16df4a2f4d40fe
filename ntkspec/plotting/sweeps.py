"""The figures of sweeps: a panel beside the other, as their grids asked for them."""

from collections.abc import Callable
from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ntkspec.experiments.sweep_cells import is_drift
from ntkspec.experiments.sweep_panels import Panel, Panels
from ntkspec.experiments.sweep_results import Sweep
from ntkspec.plotting import scaling
from ntkspec.plotting.labels import GAP_NORM


def figures(sweep: Sweep) -> dict[str, Figure]:
    """A figure for each quantity of a sweep.

    Where several grids asked, as for Figure 5, their panels stand side by side, and those of a fixed n show the norms
    themselves; budgets of several layers are one figure.
    """
    found = sweep.panels
    if len(sweep.grids) > 1 and all(name.startswith("budget") for name in found):
        budgets = {f"{title}, {name.removeprefix('budget-')} layer": own for name, panels in found.items()
                   for title, own in panels.items()}  # fmt: skip
        return {"budget": scaling.budget(budgets)}
    return {name: figure_of(name, panels) for name, panels in found.items()}


def figure_of(quantity: str, panels: Panels) -> Figure:
    """The figure of a quantity."""
    if quantity.startswith("budget"):
        return scaling.budget(panels)
    return scaling.scaling(panels, ylabel=_ylabel(quantity))


def pictures(sweep: Sweep) -> dict[str, Callable[[Axes], None]]:
    """Each panel of each quantity, "gap-first: erf"."""
    return {
        f"{name}: {title}": partial(_panel, panel=panel, quantity=name)
        for name, panels in sweep.panels.items()
        for title, panel in panels.items()
    }


def _panel(axis: Axes, panel: Panel, quantity: str) -> None:
    scaling.panel(axis, panel, ylabel=_ylabel(quantity))


def _ylabel(quantity: str) -> str:
    """What the numbers of a quantity are."""
    if quantity.startswith("budget"):
        return scaling.PART_NORM
    if quantity.startswith("training"):
        return "largest discrepancy up to $T$"
    if is_drift(quantity):
        return "relative movement up to $T$"
    return "ratio of Claim 3.1" if quantity == "data" else GAP_NORM
