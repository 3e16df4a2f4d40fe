"""The sheet that the panels of a figure are drawn on."""

from matplotlib.figure import Figure


def sheet(width: float, height: float) -> Figure:
    """Of a size in inches, with room for labels between panels."""
    figure = Figure(figsize=(width, height))
    figure.set_layout_engine("constrained", wspace=0.06)
    return figure
