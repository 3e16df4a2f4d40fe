"""Figures as SVG inside a page: one picture for each panel, in the page's own colours and letters.

Text stays text, black is the colour of the page's text and white that of its background, and the other colours are
variables of its style: so a panel is read in light and dark, and by programs that read pages aloud.
"""

import io
import re
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import Formatter, LogFormatter
from matplotlib.transforms import Bbox

from ntkspec.plotting import marks
from ntkspec.plotting.labels import spoken
from ntkspec.plotting.values import LARGEST

# Names of the colours in the page's style (:file:`reporting/page/style.css`).
COLOURS = {
    "#0072b2": "var(--blue)",
    "#d55e00": "var(--vermilion)",
    "#009e73": "var(--green)",
    "#cc79a7": "var(--purple)",
    "#e69f00": "var(--orange)",
    "#56b4e9": "var(--sky)",
    "#000000": "currentColor",
    "#ffffff": "var(--page)",
}
_POINTS = 72  # of SVG in an inch
# Room around a panel, in inches; how much larger than on paper it may be shown.
_ROOM, _LARGEST = 0.04, 1.65
# The lower and upper end of the axes in a figure.
_BOTTOM, _TOP = 0.12, 0.98
_FIRST = re.compile(r"<svg\b[^>]*>")
_GREY = re.compile(r"#([0-9a-f]{2})\1\1\b")
_FONT = re.compile(r"font: ([\d.]+)px [^;\"]*|(font-size: [\d.]+px); font-family: [^;\"]*")
_LONG = re.compile(r"(\.\d\d)\d+")
_REFERENCE = re.compile(r'(?:url\(#|href="#)([^)"]+)')
_ID = re.compile(r' id="([^"]+)"')
_UNUSED = re.compile(
    r"<metadata>.*?</metadata>|<!--.*?-->|<style.*?</style>| transform=\"rotate\(-0 [^\"]*\"", re.DOTALL
)
_SMALL = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_MATHTEXT = (
    (re.compile(r"\^\{(-?\d+)\}"), lambda match: match[1].translate(_SMALL)),
    (re.compile(r"\\times|\\mathdefault|[${}]"), lambda match: "×" if "times" in match[0] else ""),
)
_RAISED = r'<tspan dy="-.35em" font-size="75%">\1</tspan><tspan dy=".26em">&#8203;</tspan>'


@dataclass(frozen=True)
class Panel:
    """One pair of axes.

    inner : what stands inside of the <svg>. box : its viewBox. width : at which it is shown at most, in CSS pixels.
    name, says : what it shows, and its lines in words.
    """

    inner: str
    box: str
    width: int
    name: str
    says: str


def panels(figure: Figure, prefix: str) -> list[Panel]:
    """A panel for each pair of axes; ``prefix`` makes the names inside of them unique in a page.

    The same figure gives the same text.
    """
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "ntkspec"}):
        for before, axis in zip([*figure.axes[:1], *figure.axes], figure.axes, strict=False):
            _own_label(axis, before)
            _own_legend(axis, figure.axes[0])
            for one in (axis.xaxis, axis.yaxis):
                _in_letters(one)
            axis.patch.set_visible(False)
        figure.patch.set_visible(False)
        figure.suptitle("")
        figure.set_layout_engine(None)  # each panel has a picture of its own; "none" would keep the axes where they are
        _spread(figure)
        return [_panel(figure, axis, f"{prefix}-{k}") for k, axis in enumerate(figure.axes, 1)]


def _spread(figure: Figure) -> None:
    """Axes over the whole figure, which grows below them as far as they reach: lines beyond it would not be drawn."""
    width, height = figure.get_size_inches()
    figure.subplots_adjust(left=0.1, right=0.99, bottom=_BOTTOM, top=_TOP, wspace=0.15)
    boxes = [box for axis in figure.axes if (box := axis.get_tightbbox()) is not None]
    more = max(0.0, *(-box.y0 / figure.dpi for box in boxes), 0.0)
    figure.set_size_inches(width, height + more)
    figure.subplots_adjust(
        bottom=(_BOTTOM * height + more) / (height + more), top=(_TOP * height + more) / (height + more)
    )


def _own_label(axis: Axes, before: Axes) -> None:
    """That of the axes before, where those say it for both: a panel stands alone on a phone."""
    if not axis.get_ylabel():
        axis.set_ylabel(before.get_ylabel())


def _own_legend(axis: Axes, first: Axes) -> None:
    """That of the first panel, where it names lines that this one has too."""
    labels = axis.get_legend_handles_labels()[1]
    if axis.get_legend() is None and first.get_legend() is not None and len(labels) > 1:
        marks.legend(axis)


def _in_letters(axis: Axis) -> None:
    """Powers of ten on the axis as letters, 10², which a page reads aloud, in place of mathematical text."""
    if isinstance(axis.get_major_formatter(), LogFormatter):
        axis.set_major_formatter(_Letters(axis.get_major_formatter()))
    if isinstance(axis.get_minor_formatter(), LogFormatter):
        axis.set_minor_formatter(_Letters(axis.get_minor_formatter()))


class _Letters(Formatter):
    """What another formatter writes, in letters."""

    def __init__(self, before: Formatter):
        self.before = before

    def set_locs(self, locs: list) -> None:
        self.before.set_locs(locs)

    def __call__(self, value: float, position: int | None = None) -> str:
        text = self.before(value, position)
        for pattern, letters in _MATHTEXT:
            text = pattern.sub(letters, text)
        return text


def _panel(figure: Figure, axis: Axes, prefix: str) -> Panel:
    for other in figure.axes:
        other.set_visible(other is axis)
    box = axis.get_tightbbox()
    inches = box.transformed(figure.dpi_scale_trans.inverted()) if box is not None else Bbox([[0, 0], [1, 1]])
    x, y, width, height = (_POINTS * size for size in inches.padded(_ROOM).bounds)
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    name = f"{axis.get_ylabel()} over {axis.get_xlabel()}"
    title = axis.get_title(loc="left") or axis.get_title()
    return Panel(
        _cleaned(file.getvalue(), prefix),
        f"{x:.1f} {_POINTS * figure.get_figheight() - y - height:.1f} {width:.1f} {height:.1f}",  # from the top
        round(width * _LARGEST),
        spoken(f"{title}: {name}" if title else name),
        _in_words(axis),
    )


def _cleaned(text: str, prefix: str) -> str:
    """What stands inside of the <svg>, without what a page does not need, in its colours."""
    text = text[_FIRST.search(text).end() : text.rindex("</svg>")]  # type: ignore[union-attr]
    text = _UNUSED.sub("", text)
    used = set(_REFERENCE.findall(text))
    text = _ID.sub(lambda match: f' id="{prefix}-{match[1]}"' if match[1] in used else "", text)
    text = re.sub(r'(url\(#|href="#)', rf"\1{prefix}-", text).replace("xlink:href", "href")
    text = re.sub("|".join(COLOURS), lambda match: COLOURS[match[0]], text)
    text = _GREY.sub(lambda match: _shade(int(match[1], 16)), text)
    text = _LONG.sub(r"\1", _FONT.sub(lambda match: match[2] or f"font-size: {match[1]}px", text))
    text = re.sub(r"\^(lin|[\d.]*\d)\b", _RAISED, text)
    return re.sub(r">\s+<", "><", re.sub(r"\s*\n\s*", " ", text)).strip()


def _shade(value: int) -> str:
    """Between the colours of text and background."""
    return f"color-mix(in srgb, currentColor {100 - value * 100 // 255}%, var(--page))"


def _in_words(axis: Axes) -> str:
    """First and last value of each line that has a name, and the names of marks."""
    said = []
    for line in axis.get_lines():
        x, y = (np.asarray(values, dtype=np.float64) for values in line.get_data(orig=False))
        seen = np.flatnonzero(np.isfinite(x) & (abs(y) <= LARGEST))
        label = spoken(str(line.get_label()))
        if line.get_gid() == marks.MARK and not label.startswith("_"):
            said.append(label)
        elif len(seen) and not label.startswith("_"):
            first, last = seen[0], seen[-1]
            ends = f"{y[first]:.3g} at {x[first]:.4g}"
            said.append(f"{label}: {ends}" if first == last else f"{label}: {ends}, {y[last]:.3g} at {x[last]:.4g}")
    return "; ".join(said)
