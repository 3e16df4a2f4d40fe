"""Okabe-Ito colours, told apart by those who see few."""

# The linear model's, and those of at most seven networks.
DEEP_COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9", "#999999")
# Single points.
POINT_COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7")
