"""Layer factors of a pass: found once on a few points, and read off again for every block of points."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from ntkspec.networks.torch.factors.graph import Graph, Use
from ntkspec.networks.torch.factors.layouts import PROBES, Layout, Rearranged, fitting, layouts
from ntkspec.networks.torch.factors.nodes import kind
from ntkspec.networks.torch.factors.outer import Outer
from ntkspec.networks.torch.factors.readings import Factor, Reading, reading_of
from ntkspec.networks.torch.factors.views import View, view_of

# The factors of n points: for each parameter those of its uses, whose gradients add up.
Factors = dict[str, list[Factor]]


@dataclass(frozen=True, eq=False)
class Recipe:
    """How the factors of a network are read off its graph.

    structure : of the graph. fixed : for each node, whether no point changes the shapes of its outputs. places : for
    each use, its layout and view; None where it is not understood. unclear : whether some layout is not known. moves :
    whether operations take rows by numbers that may depend on the points, so that each block has to be compared with
    autograd. reasons : why parameters have no factors, which may turn out later.
    """

    structure: list[Any]
    fixed: list[bool]
    places: list[tuple[Layout, View] | None]
    unclear: bool = False
    moves: bool = False
    reasons: dict[str, str] = field(default_factory=dict)


def recipe_of(outputs: Tensor, fewer: Tensor, parameters: dict[str, Tensor]) -> Recipe:
    """From the outputs at PROBES points and at FEWER of them.

    Each parameter whose uses are all understood has factors. Where shapes leave open which rows belong to which point,
    output gradients tell, in which a point alone has a part.
    """
    graph, small = Graph(outputs, parameters), Graph(fewer, parameters)
    if graph.structure != small.structure:
        reason = "the operations depend on the number of points"
        return Recipe([], [], [], reasons=dict.fromkeys(parameters, reason))
    many, few = graph.shapes(), small.shapes()
    fixed = [one == two for one, two in zip(many, few, strict=True)]
    uses = graph.uses(fixed)
    views = [view_of(parameters[use.name], use.steps) for use in uses]
    readings = [reading_of(use.node, use.slot, view) for use, view in zip(uses, views, strict=True)]
    candidates = [
        [] if reading is None else _layouts(reading, outputs, many[use.place], few[use.place])
        for use, reading in zip(uses, readings, strict=True)
    ]
    marks = _marks(outputs, [use for use, found in zip(uses, candidates, strict=True) if len(found) > 1])
    places: list[tuple[Layout, View] | None] = []
    reasons: dict[str, str] = {}
    for use, view, reading, found in zip(uses, views, readings, candidates, strict=True):
        layout = found[0] if len(found) == 1 else None
        if reading is None:
            reasons[use.name] = f"{kind(use.node)} has no factors"
        elif len(found) > 1:
            layout = fitting(found, [reading.orient(g) != 0 for g in marks[use.node]])
        if reading is not None and layout is None:
            reasons[use.name] = f"it is not known which rows of {kind(use.node)} belong to which point"
        places.append(None if layout is None else (layout, view))
    unclear = any(place is None for place, reading in zip(places, readings, strict=True) if reading is not None)
    return Recipe(graph.structure, fixed, places, unclear, graph.moves, reasons)


def _layouts(reading: Reading, like: Tensor, many: Any, few: Any) -> list[Layout]:
    """From the shapes of a node's outputs at PROBES points and at FEWER of them."""
    shapes = (tuple(reading.orient(like.new_zeros(()).expand(own[0])).shape) for own in (many, few))
    return layouts(reading.axes, *shapes)


def _marks(outputs: Tensor, uses: list[Use]) -> dict[Any, list[Tensor]]:
    """For each node, the gradients of a random function of each point's outputs."""
    nodes = list(dict.fromkeys(use.node for use in uses))
    found: list[list[Tensor]] = []
    for i in range(PROBES if nodes else 0):
        weights = torch.zeros_like(outputs)
        weights[i] = _random(outputs[i].shape, outputs)
        found.append(gradients(outputs, nodes, weights))
    return {node: list(own) for node, own in zip(nodes, zip(*found, strict=True), strict=True)}


def gradients(outputs: Tensor, nodes: list[Any], cotangent: Tensor) -> list[Tensor]:
    """Of <cotangent, outputs> in the outputs of nodes: one pass backward, in which no parameter gets a gradient."""
    if not nodes:
        return []
    edges = [GradientEdge(node, 0) for node in nodes]
    inner = (outputs * cotangent).sum()  # grad_outputs would load seconds of symbolic algebra
    found = torch.autograd.grad(inner, edges, retain_graph=True, allow_unused=True)
    shapes = [node._input_metadata[0].shape for node in nodes]
    return [outputs.new_zeros(tuple(s)) if g is None else g.detach() for g, s in zip(found, shapes, strict=True)]


def captured(recipe: Recipe, outputs: Tensor, parameters: dict[str, Tensor], weights: Tensor | None) -> Factors:
    """The factors of the points that the outputs are of, for R functions: rows of ``weights`` (R, K), or all outputs.

    R passes backward. A pass that computed something else than the probes raises :class:`Rearranged`.
    """
    if recipe.reasons.keys() >= parameters.keys():
        return {}
    graph, n = Graph(outputs, parameters), len(outputs)
    if graph.structure != recipe.structure:
        raise Rearranged("the operations depend on the points")
    chosen = [
        (use, place)
        for use, place in zip(graph.uses(recipe.fixed), recipe.places, strict=True)
        if place is not None and use.name not in recipe.reasons
    ]
    readings: list[Any] = [reading_of(use.node, use.slot, view) for use, (_, view) in chosen]
    nodes = list(dict.fromkeys(use.node for use, _ in chosen))
    parts: list[list[Tensor]] = [[] for _ in chosen]
    for cotangent in cotangents(outputs, weights):
        own = dict(zip(nodes, gradients(outputs, nodes, cotangent), strict=True))
        for kept, (use, (layout, _)), reading in zip(parts, chosen, readings, strict=True):
            kept.append(reading.part(own[use.node], layout, n))
    first, stacked = _PointsFirst(n), _Stacked()
    found: Factors = {name: [] for name in parameters if name not in recipe.reasons}
    for (use, (layout, view)), reading, kept in zip(chosen, readings, parts, strict=True):
        G = stacked(kept)
        found[use.name] += reading.factors(*_scaled(G, view, layout), first)
    return {name: _joined(own) for name, own in found.items()}


def cotangents(outputs: Tensor, weights: Tensor | None) -> Iterable[Tensor]:
    """What each of the R functions gives the outputs."""
    rows = torch.eye(outputs.shape[1]) if weights is None else weights
    return (row.expand_as(outputs) for row in rows.to(outputs))


def _scaled(G: Tensor, view: View, layout: Layout) -> tuple[Tensor, Layout, View]:
    """A view's scale, where it is one number, becomes part of the output gradients."""
    if view.scale is None or view.scale.ndim:
        return G, layout, view
    return G * view.scale.to(G), layout, replace(view, scale=None)


def _joined(factors: list[Factor]) -> list[Factor]:
    """Outer products in one view are put side by side: a matrix that is used again and again has one factor."""
    groups: dict[Any, list[Any]] = {}
    for k, factor in enumerate(factors):
        view = factor.view
        plain = isinstance(factor, Outer) and view.index is None and view.scale is None
        groups.setdefault((view.start, view.shape, view.swapped) if plain else k, []).append(factor)
    return [own[0] if len(own) == 1 else Outer.together(own) for own in groups.values()]


class _PointsFirst:
    """Layout.points_first for n points, which makes one copy of a tensor that several layers keep."""

    def __init__(self, n: int):
        self.n = n
        self._known: dict[Any, Tensor] = {}

    def __call__(self, t: Tensor, layout: Layout) -> Tensor:
        key = t.data_ptr(), tuple(t.shape), t.stride(), layout
        if key not in self._known:
            self._known[key] = layout.points_first(t.detach(), self.n)
        return self._known[key]


class _Stacked:
    """Parts (n, ...) of R functions as (n, R, ...), one copy for layers that share them; the lists are emptied."""

    def __init__(self) -> None:
        self._known: dict[Any, Tensor] = {}

    def __call__(self, parts: list[Tensor]) -> Tensor:
        if len(parts) == 1:
            return parts.pop()[:, None]
        shape, plain = parts[0].shape, all(part.is_contiguous() for part in parts)
        key = (shape[0], shape.numel(), *(part.data_ptr() for part in parts)) if plain else None
        stacked = self._known.get(key)
        if stacked is None:
            stacked = torch.stack(parts, dim=1)
            if plain:
                self._known[key] = stacked
        parts.clear()
        return stacked.view(shape[0], stacked.shape[1], *shape[1:])


def _random(shape: Any, like: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(like)
