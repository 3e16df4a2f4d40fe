"""The cells of a sweep in series over d, as its file alone tells them: of one kind, along one law of sizes."""

from collections.abc import Callable
from dataclasses import fields, replace

import numpy as np

from ntkspec.experiments.sweep_cells import Cell
from ntkspec.networks.size_laws import INFINITE, INFINITE_LAW

Results = dict[Cell, dict[str, float]]
# Sizes, and what titles call them; and what titles say where it is not usual.
_SIZES = {"n": "n", "width": "m"}
_SAID = ("distribution", "covariance", "second", "dtype", "engine")
_USUAL = {one.name: one.default for one in fields(Cell) if one.name in _SAID}


def series(results: Results) -> dict[str, Results]:
    """{title: {cell: numbers}} of the cells of one quantity; titles say in what the series differ.

    A size that is there at every d of a kind belongs to a law that is constant; of those that are not, the smallest at
    each d belong to one law, the next ones to another.
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
            title = ", ".join([*kind_of(kind), *network, *(_said(own, size) for size in _SIZES)])
            while title in found:
                title += " (another)"
            found[title] = {cell: results[cell] for cell in own}
    return found


def _laws(cells: list[Cell], size: str) -> Callable[[Cell], tuple[str, int]]:
    """What tells the law that the size of one of the cells belongs to."""
    there: dict[int, set[int]] = {}
    for one in cells:
        there.setdefault(one.d, set()).add(getattr(one, size))
    constant = set.intersection(*there.values())
    ranks = {d: {value: k for k, value in enumerate(sorted(sizes - constant))} for d, sizes in there.items()}

    def law(cell: Cell) -> tuple[str, int]:
        own = getattr(cell, size)
        return ("constant", own) if own in constant else ("rank", ranks[cell.d][own])

    return law


def kind_of(cell: Cell) -> list[str]:
    """The activation, and whatever else is not usual, without the network and its sizes."""
    said = {name: getattr(cell, name) for name in _USUAL}
    return [cell.activation, *(value for name, value in said.items() if value != _USUAL[name])]


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
