"""Thresholds that both engines share."""

# 1 - rho² below which a pair of patches is taken again from the difference of the two directions.
CLOSE = 0.01
