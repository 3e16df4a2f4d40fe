"""One self-contained page: a head with the verdict, sections, and a style and a script inside of it."""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from string import Template

import ntkspec
from ntkspec import storage
from ntkspec.reporting.page.elements import Element, Section, Tile
from ntkspec.reporting.page.typeset import escape, typeset


@dataclass(frozen=True)
class Content:
    """What a page says, whatever it looks like.

    kind : of the result in a word. headline : the answer in a sentence. setting : of what, in a line, Given where users
    name it. tiles, verdict : what stands below the headline. sections : the rest.
    """

    kind: str
    headline: str
    setting: str
    verdict: Sequence[Element]
    sections: Sequence[Section]
    tiles: Sequence[Tile] = field(default_factory=tuple)


@dataclass(frozen=True, repr=False)
class Page:
    """A report as one HTML page, which needs no other file and no network.

    Attributes
    ----------
    html : str
        The whole page. A notebook shows it in a frame.

    Examples
    --------
    >>> import numpy as np
    >>> import ntkspec as ns
    >>> page = ns.report({"norm of K": ns.spectral_norm(np.diag([3.0, 4.0]))})
    >>> page.html[:15], len(page.html) < 1e6
    ('<!DOCTYPE html>', True)
    """

    html: str

    def save(self, path: str | Path) -> Path:
        """Write the page to a file, which is whole or not there.

        Parameters
        ----------
        path : str or Path
            NAME.html; a file of that name is replaced. Its folder has to exist.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        FileNotFoundError, PermissionError
            Where the folder does not exist or cannot be written to.
        ValueError
            Where the name does not end in .html or .htm.
        """
        path = page_path(path)
        with storage.atomic_path(path) as temporary:
            temporary.write_text(self.html, encoding="utf-8", newline="\n")
        return path

    def __repr__(self) -> str:
        return f"Page of {len(self.html.encode()) / 1e3:.0f} kB; page.save('report.html') writes it"

    def _repr_html_(self) -> str:
        """In a notebook: a frame, so that the style of the page stays its own."""
        style = "width: 100%; height: 40rem; border: 1px solid #8888"
        return f'<iframe title="report" style="{style}" srcdoc="{_quoted(self.html)}"></iframe>'


def page_path(path: str | Path) -> Path:
    """The path of a page. Raises ValueError for a name that is not one of a page: it may be that of the results."""
    path = Path(path)
    if path.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"{path} is no name of a page; take one that ends in .html")
    return path


def page_of(content: Content) -> Page:
    """The page that says it."""
    script, tiles = _part("script.js"), "".join(tile.html() for tile in content.tiles)
    sections = {f"part-{k}": section for k, section in enumerate(content.sections, 1)}
    links = {"verdict": "Verdict"} | {anchor: section.title for anchor, section in sections.items()}
    return Page(
        Template(_part("template.html")).substitute(
            version=ntkspec.__version__,
            kind=content.kind,
            title=escape(f"{content.kind}: {content.setting}"),
            headline=typeset(content.headline),
            setting=typeset(content.setting),
            tiles=f'<div class="tiles">{tiles}</div>' if tiles else "",
            verdict="".join(part.html() for part in content.verdict),
            links="".join(f'<a href="#{anchor}">{typeset(title)}</a>' for anchor, title in links.items()),
            sections="\n".join(section.html(anchor) for anchor, section in sections.items()),
            style=_part("style.css"),
            script=script,
            digest="sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        )
    )


@cache
def _part(name: str) -> str:
    """A file beside this one, without the line break at its end."""
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8").rstrip("\n")


def _quoted(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;")
