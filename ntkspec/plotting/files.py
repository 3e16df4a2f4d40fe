"""Figures on disk: each file is whole or not there."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from ntkspec import storage

# What is drawn, for those that hand it on.
__all__ = ["Figure", "save"]


_DPI = 200


def save(figure: Figure, folder: str | Path, name: str, *, kinds: Sequence[str] = ("png", "pdf")) -> list[Path]:
    """One file of each kind in the folder."""
    paths = [Path(folder) / f"{name}.{kind}" for kind in kinds]
    with _placed(figure):
        for path in paths:
            with storage.atomic_path(path) as temporary:
                figure.savefig(temporary, dpi=_DPI)
    return paths


@contextlib.contextmanager
def _placed(figure: Figure) -> Iterator[None]:
    """The axes stay where one layout puts them; matplotlib would find it twice for each file."""
    engine, dpi = figure.get_layout_engine(), figure.get_dpi()
    figure.set_dpi(_DPI)
    figure.draw_without_rendering()
    figure.set_layout_engine(None)
    try:
        yield
    finally:
        figure.set_dpi(dpi)
        figure.set_layout_engine(engine)
