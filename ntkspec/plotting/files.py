"""Figures on disk: each file is whole or not there."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from ntkspec import storage

# What is drawn, for those that hand it on.
__all__ = ["Figure", "save"]


def save(figure: Figure, folder: str | Path, name: str, *, kinds: Sequence[str] = ("png", "pdf")) -> list[Path]:
    """One file of each kind in the folder."""
    paths = [Path(folder) / f"{name}.{kind}" for kind in kinds]
    for path in paths:
        with storage.atomic_path(path) as temporary:
            figure.savefig(temporary, dpi=200)
    return paths
