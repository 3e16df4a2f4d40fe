"""What results offer in a notebook: rows as a table, a picture, and columns for pandas."""

import html
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

_LEFT = 'style="text-align: left"'


class Row(NamedTuple):
    """One line of a table: what it is called, what it is, and what that means in a few words."""

    label: str
    value: str
    meaning: str = ""


@dataclass(frozen=True)
class Table:
    """A title and rows."""

    title: str
    rows: list[Row]

    def __str__(self) -> str:
        """The title and a line for each row, without meanings."""
        width = max((len(row.label) for row in self.rows), default=0)
        return "\n".join([self.title, *(f"  {row.label:<{width}}  {row.value}" for row in self.rows)])

    def html(self) -> str:
        """As one HTML table, in the colours of the page; whatever the texts hold is shown as it is."""
        lines = [
            f"<tr><th {_LEFT}>{_text(row.label)}</th>{_cell(row.value)}{_cell(row.meaning)}</tr>" for row in self.rows
        ]
        caption = f"<caption {_LEFT}>{_text(self.title)}</caption>"
        return f'<table class="ntkspec">{caption}<tbody>{"".join(lines)}</tbody></table>'


def in_bytes(count: float) -> str:
    """A number of bytes with its unit."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def _cell(text: str) -> str:
    return f"<td {_LEFT}>{_text(text)}</td>"


def _text(text: str) -> str:
    return html.escape(text).replace("\n", "<br>")


class Shown:
    """A result with a short form for notebooks."""

    def _shown(self) -> Table:
        """What the short form holds."""
        raise NotImplementedError

    def _repr_html_(self) -> str:
        return self._shown().html()


class Columned:
    """A result that is a table of numbers."""

    def _columns(self) -> dict[str, Any]:
        """Columns of equal length, by name."""
        raise NotImplementedError

    def to_dataframe(self) -> "pandas.DataFrame":
        """The numbers as a table of pandas.

        Returns
        -------
        pandas.DataFrame
            One row for each item: eigenvalue, mode, bin, step and point, cell.

        Raises
        ------
        ImportError
            Where pandas is not installed.
        """
        return installed("pandas", "a table of numbers").DataFrame(self._columns())


class Drawn:
    """A result that has a picture."""

    def plot(self, ax: "Axes | None" = None, *, what: str | None = None, **style: Any) -> "Axes":
        """Draw the result on Matplotlib's axes.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where it is drawn. Default None: on axes of a new figure.
        what : str, optional
            Which picture, where there are several; an error lists them. Default None: the first one.
        **style
            Properties of the lines, such as ``color``, ``linewidth`` or ``alpha``, in the place of our own.

        Returns
        -------
        matplotlib.axes.Axes
            The axes, labelled, for whatever comes next: titles, limits, ``ax.figure.savefig``.

        Raises
        ------
        ImportError
            Where Matplotlib is not installed.
        ValueError
            For a picture that the result does not have.
        """
        installed("matplotlib", "a picture")
        # By name: figures are drawn of results and stand above all of them.
        return import_module("ntkspec.plotting.pictures").draw_result(self, ax, what, style)


def installed(library: str, what: str) -> Any:
    """The library, or an ImportError that says what needs it."""
    try:
        return import_module(library)
    except ImportError as error:
        raise ImportError(f"{what} needs {library} ({error}); python -m pip install {library}") from None
