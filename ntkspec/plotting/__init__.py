"""Records in, figures out: nothing is computed here, and matplotlib is loaded when the first figure is drawn."""

from ntkspec.plotting.redrawing import draw

__all__ = ["draw"]
