"""Results as one page that opens anywhere: the verdict first, figures with their numbers, and what they promise."""

from pathlib import Path
from typing import Any

from ntkspec.reporting.page.page import Page, page_of, page_path

__all__ = ["Page", "page_of_tree", "report"]


def report(source: Any, path: str | Path | None = None) -> Page:
    """One self-contained HTML page of a result: the verdict, figures with their numbers, and what the numbers promise.

    Parameters
    ----------
    source : str, Path or result
        A file of ``ntkspec analyze``, ``spectrum``, ``track``, ``sweep``, ``check`` or ``figure``, or of
        :func:`ntkspec.save_result`; or a result itself, or a dictionary of results with their names.
    path : str or Path, optional
        Where to write the page, NAME.html; a file of that name is replaced. Default None: nowhere.

    Returns
    -------
    Page
        With the text in ``html``; a notebook shows it.

    Raises
    ------
    FileNotFoundError
        Where there is no such file, or no folder to write to.
    ValueError
        For a file that is damaged or holds no results, and for a path that does not end in .html or .htm.

    Notes
    -----
    The page holds its figures (SVG), style and script, loads nothing, and is smaller than 1 MB: of long tables it has
    the first 400 rows and says so. Nothing in a file is executed, and whatever it holds is shown as text. Cost: drawing
    the figures, seconds; nothing is measured again.

    Examples
    --------
    >>> import numpy as np
    >>> import ntkspec as ns
    >>> K = np.diag([4.0, 2.0, 1.0])
    >>> ns.report({"norm": ns.spectral_norm(K), "pairs": ns.eigsh(K, 2)})  # doctest: +ELLIPSIS
    Page of ... kB; page.save('report.html') writes it
    """
    from ntkspec.plotting.settings import delivered

    file = Path(source) if isinstance(source, str | Path) else None
    place = None if path is None else page_path(path)
    if file is not None and place is not None and file.is_file() and place.resolve() == file.resolve():
        raise ValueError(f"{place} is the file of results itself; name another for the page")
    with delivered():
        from ntkspec.reporting.page.sources import content_of_file, content_of_result

        content = content_of_result(source) if file is None else content_of_file(file)
        page = page_of(content)
    if place is not None:
        page.save(place)
    return page


def page_of_tree(kind: str, tree: Any, name: str) -> Page:
    """The page of what a file of that kind and name holds; matplotlib's settings are the caller's."""
    from ntkspec.reporting.page.sources import content_of_tree

    return page_of(content_of_tree(kind, tree, name))
