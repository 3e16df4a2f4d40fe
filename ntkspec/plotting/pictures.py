"""One result on one pair of axes: which pictures it has, and how they are drawn."""

from collections.abc import Callable
from functools import partial, singledispatch
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ntkspec.dynamics import Modes, Trajectory
from ntkspec.experiments.analyze import Analysis
from ntkspec.experiments.deep_runs import DeepRun
from ntkspec.experiments.spectrum import KernelSpectrum
from ntkspec.experiments.sweep_results import Sweep
from ntkspec.experiments.tracking import Series
from ntkspec.experiments.two_layer_runs import Run
from ntkspec.plotting import analysis, densities, marks, results, series, spectrum, sweeps, training
from ntkspec.plotting.sheets import sheet
from ntkspec.spectra.densities import Density, Histogram, Smoothed
from ntkspec.spectra.results import Spectrum
from ntkspec.theory.budget import Budget

Pictures = dict[str, Callable[[Axes], None]]


@singledispatch
def pictures_of(result: Any) -> Pictures:
    """The pictures of a result by name, the usual one first. TypeError for what has none."""
    raise TypeError(f"an object of {type(result).__name__} has no picture")


pictures_of.register(Analysis, analysis.pictures)
pictures_of.register(KernelSpectrum, spectrum.pictures)
pictures_of.register(Sweep, sweeps.pictures)
pictures_of.register(Series, series.pictures)


@pictures_of.register
def _(result: Spectrum) -> Pictures:
    return {"eigenvalues": partial(densities.leading, spectrum=result)}


@pictures_of.register
def _(result: Density) -> Pictures:
    drawn: Pictures = {"histogram": partial(densities.shares, density=result),
             "smoothed": lambda axis: densities.smoothed(axis, result.smoothed())}  # fmt: skip
    return drawn | ({"count": partial(densities.counting, density=result)} if result.highest > 0 else {})


@pictures_of.register
def _(result: Histogram) -> Pictures:
    return {"histogram": partial(densities.bars, histogram=result)}


@pictures_of.register
def _(result: Smoothed) -> Pictures:
    return {"smoothed": partial(densities.smoothed, found=result)}


@pictures_of.register
def _(result: Trajectory) -> Pictures:
    return {part: partial(results.outputs, run=result, part=part) for part in result.parts}


@pictures_of.register
def _(result: Modes) -> Pictures:
    return {"modes": partial(results.modes, found=result)}


@pictures_of.register
def _(result: Budget) -> Pictures:
    return {"norms": partial(results.budget, found=result)}


def draw_result(result: Any, axis: Axes | None, what: str | None, style: dict[str, Any]) -> Axes:
    """The picture ``what`` of a result on the axes, or on those of a new figure, its lines in the style."""
    found = pictures_of(result)
    if what is not None and what not in found:
        raise ValueError(f"what={what!r}, but the pictures of a {type(result).__name__} are {', '.join(found)}")
    if axis is None:
        from matplotlib import pyplot

        axis = pyplot.subplots(layout="constrained")[1]
    before = set(axis.get_children())
    found[next(iter(found)) if what is None else what](axis)
    _restyle([artist for artist in axis.get_children() if artist not in before], style)
    _finish(axis)
    return axis


def _finish(axis: Axes) -> None:
    marks.bare(axis)
    marks.legend(axis)


def _restyle(artists: list, style: dict[str, Any]) -> None:
    """All of the style for lines, and its colour for bars and bands; marks of thresholds and steps stay as they are."""
    from matplotlib.collections import Collection
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    lines = [artist for artist in artists if isinstance(artist, Line2D) and artist.get_gid() != marks.MARK]
    for line in lines:
        line.set(**style | {"label": _label(str(line.get_label()), style.get("label"), len(lines))})
    for artist in artists:
        if isinstance(artist, Collection | Patch) and "color" in style:
            artist.set(color=style["color"], alpha=0.25)


def _label(own: str, given: str | None, lines: int) -> str:
    """What a line is called: of several lines each keeps its own name, if it has one, behind the name of all."""
    if given is None or (lines > 1 and own.startswith("_")):
        return own
    return given if lines == 1 else f"{given}: {own}"


def figures_of(record: Any) -> dict[str, Figure]:
    """The figures that a command draws of its record, or each picture of a single result; by name.

    Raises TypeError for what has no picture.
    """
    for kind, room in ((Analysis, analysis), (KernelSpectrum, spectrum), (Sweep, sweeps), (Series, series)):
        if isinstance(record, kind):
            return room.figures(record)
    if isinstance(record, list) and record and isinstance(record[0], Run | DeepRun):
        return training.figures(record)
    return {name: _alone(draw) for name, draw in pictures_of(record).items()}


def _alone(draw: Callable[[Axes], None]) -> Figure:
    figure = sheet(5.0, 3.8)
    axis = figure.subplots()
    draw(axis)
    _finish(axis)
    return figure
