"""Training on the CPU: no steps of its own."""

from ntkspec.engines.arrays import Array


def fused_steps(
    phi: tuple[str, tuple[float, ...]] | None, X: Array, targets: Array, *, rates: tuple[float, float], width: int
) -> None:
    """None: no passes of its own; blocks of rows that stay in a core's cache are the fastest here."""
