"""Figures from the files of commands, in one's own style."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ntkspec.objects.notebook import installed

if TYPE_CHECKING:  # matplotlib is imported by whoever draws
    from matplotlib.figure import Figure

Style = str | Path | dict[str, Any]


def draw(
    path: str | Path,
    *,
    style: Style | Sequence[Style] = (),
    folder: str | Path | None = None,
    kinds: Sequence[str] = ("png", "pdf"),
) -> "dict[str, Figure]":
    """Draw the figures of a file again: those that the command drew, without computing anything.

    Parameters
    ----------
    path : str or Path
        The HDF5 file of ``ntkspec analyze``, ``spectrum``, ``track``, ``sweep``, ``check`` or ``figure``, or of
        :func:`ntkspec.save_result`.
    style : str, Path, dict or a list of them, default ()
        Styles of Matplotlib, as ``matplotlib.style.use`` takes them: a name, a file of settings, or settings such as
        ``{"font.family": "serif", "figure.dpi": 150}``. They are laid over your own settings.
    folder : str or Path, optional
        Where the figures are written to, NAME.KIND for each. Default None: nowhere.
    kinds : sequence of str, default ("png", "pdf")
        The kinds of files, whatever Matplotlib writes.

    Returns
    -------
    dict of str to matplotlib.figure.Figure
        The figures by name, for titles, limits and sizes of your own.

    Raises
    ------
    ImportError
        Where Matplotlib is not installed.
    FileNotFoundError
        Where there is no such file, or no such folder.
    ValueError
        For a file that is damaged, and for one from which nothing is drawn.

    Notes
    -----
    ``ntkspec.load_result(path).plot(ax, what=...)`` draws one picture on axes of your own.

    Examples
    --------
    >>> import numpy as np, ntkspec as ns
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     ns.save_result(ns.eigsh(np.diag([4.0, 2.0, 1.0]), 2), Path(folder) / "pairs.h5")
    ...     figures = ns.plotting.draw(Path(folder) / "pairs.h5", style={"font.family": "serif"}, folder=folder)
    ...     sorted(path.name for path in Path(folder).iterdir())
    ['eigenvalues.pdf', 'eigenvalues.png', 'pairs.h5']
    >>> figures["eigenvalues"].axes[0].get_xlabel()
    'index'
    """
    from ntkspec.experiments.results import load_result

    record = load_result(path)
    installed("matplotlib", "a figure")
    import matplotlib.style

    from ntkspec.plotting.files import save
    from ntkspec.plotting.pictures import figures_of

    with matplotlib.style.context(style):
        try:
            found = figures_of(record)
        except (TypeError, ValueError) as error:
            raise ValueError(f"nothing is drawn from {path}: {error}") from None
        if folder is not None:
            for name, figure in found.items():
                save(figure, folder, name, kinds=kinds)
    return found
