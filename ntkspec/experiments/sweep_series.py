"""The cells of a sweep in series, as its file alone tells them: of one kind, along one law of sizes."""

from collections.abc import Callable, Iterable
from dataclasses import fields, replace

import numpy as np

from ntkspec.experiments.sweep_cells import Cell, is_drift
from ntkspec.networks.size_laws import INFINITE, INFINITE_LAW

Results = dict[Cell, dict[str, float]]
# What the sizes that series go along are called.
SYMBOLS = {"d": "d", "width": "m"}
# Sizes, and what titles call them; and what titles say where it is not usual.
_SIZES = {"n": "n", "width": "m"}
_SAID = ("distribution", "covariance", "second", "dtype", "engine", "parameterization")
_USUAL = {one.name: one.default for one in fields(Cell) if one.name in _SAID}


def size_of(cells: Iterable[Cell]) -> str:
    """Along which size cells go: "d", or "width" where they have one d and several widths."""
    d, widths = ({getattr(cell, size) for cell in cells} for size in ("d", "width"))
    return "width" if len(d) == 1 and len(widths) > 1 else "d"


def series(results: Results) -> dict[str, Results]:
    """{title: {cell: numbers}} of the cells of one quantity; titles say in what the series differ.

    A size that is there at every d of a kind belongs to a law that is constant; of those that are not, the smallest at
    each d belong to one law, the next ones to another. At one d all finite widths of a kind are a series.
    """
    kinds: dict[Cell, list[Cell]] = {}
    for cell in results:
        kinds.setdefault(replace(cell, d=0, n=0, width=0, seed=0), []).append(cell)
    found: dict[str, Results] = {}
    for kind, cells in kinds.items():
        of_sizes = [_laws(cells, size) for size in _SIZES]
        laws: dict[tuple, list[Cell]] = {}
        for cell in cells:
            laws.setdefault(tuple(law(cell) for law in of_sizes), []).append(cell)
        for own in laws.values():
            network = [kind.network] if kind.spec.deep else []
            sizes = [size for size in _SIZES if size != size_of(own)]
            title = ", ".join([*kind_of(kind), *network, *(_said(own, size) for size in sizes)])
            while title in found:
                title += " (another)"
            found[title] = {cell: results[cell] for cell in own}
    return found


def _laws(cells: list[Cell], size: str) -> Callable[[Cell], tuple[str, int]]:
    """What tells the law that the size of one of the cells belongs to."""
    there: dict[int, set[int]] = {}
    for one in cells:
        there.setdefault(one.d, set()).add(getattr(one, size))
    if size == "width" and len(there) == 1:
        return lambda cell: ("infinite" if cell.width == INFINITE else "every", 0)
    constant = set.intersection(*there.values())
    ranks = {d: {value: k for k, value in enumerate(sorted(sizes - constant))} for d, sizes in there.items()}

    def law(cell: Cell) -> tuple[str, int]:
        own = getattr(cell, size)
        return ("constant", own) if own in constant else ("rank", ranks[cell.d][own])

    return law


def kind_of(cell: Cell) -> list[str]:
    """The activation, and whatever else is not usual, without the network and its sizes; of a drift always how the
    network is parameterized."""
    said = {name: getattr(cell, name) for name in _USUAL}
    always = {"parameterization"} if is_drift(cell.quantity) else set()
    return [cell.activation, *(value for name, value in said.items() if value != _USUAL[name] or name in always)]


def _said(cells: list[Cell], size: str) -> str:
    """A law in words: the size, or the power of d that fits best."""
    d, sizes = (np.array([getattr(cell, name) for cell in cells]) for name in ("d", size))
    if len(set(sizes.tolist())) == 1:
        return f"{_SIZES[size]} = {INFINITE_LAW if sizes[0] == INFINITE and size == 'width' else sizes[0]}"
    if INFINITE in sizes:
        return f"{_SIZES[size]} in part infinite"
    power, logarithm = np.polyfit(np.log(d), np.log(sizes), 1)
    factor = "" if abs(logarithm) < 0.1 else f"{np.exp(logarithm):.2g} "
    return f"{_SIZES[size]} ~ {factor}d^{power:.2f}"
