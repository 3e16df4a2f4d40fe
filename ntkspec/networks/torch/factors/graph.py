"""Where a network uses its parameters, read off the autograd graph of a pass forward."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.autograd.function import BackwardCFunction

from ntkspec.networks.torch.factors.nodes import kind, shapes
from ntkspec.networks.torch.factors.views import STEPS, WHERE_FIXED

# How operations are called that take, put or sort entries by numbers.
MOVING = ("Index", "Gather", "Scatter", "MaskedS", "Sort", "Topk", "Take", "Put", "PackPadded")


@dataclass(frozen=True, eq=False)
class Use:
    """A node that computes with a parameter, or with a view of it, as its input number ``slot``.

    steps : the (node, number of its output) between the parameter and that input, from the parameter on. place : the
    number of the node in the graph.
    """

    name: str
    node: Any
    slot: int
    steps: tuple[tuple[Any, int], ...]
    place: int


class Graph:
    """The autograd graph of outputs, its nodes in an order that passes over other points share.

    nodes : in that order. structure : equal for two graphs of the same operations.
    """

    def __init__(self, outputs: Tensor, parameters: dict[str, Tensor]):
        self.nodes: list[Any] = []
        self._leaves: dict[str, Any] = {}
        names = {id(tensor): name for name, tensor in parameters.items()}
        places: dict[Any, int] = {None: -1}
        waiting: list[Any] = [outputs.grad_fn]
        while waiting:
            node = waiting.pop()
            if node is None or node in places:
                continue
            places[node] = len(self.nodes)
            self.nodes.append(node)
            name = names.get(id(getattr(node, "variable", None)))
            if name is not None:
                self._leaves[name] = node
            waiting.extend(child for child, _ in node.next_functions)
        self._places = places
        self.structure = [
            (node.name(), *((places[child], number) for child, number in node.next_functions)) for node in self.nodes
        ]
        self._users: dict[Any, list[tuple[Any, int, int]]] = {}
        for node in self.nodes:
            for slot, (child, number) in enumerate(node.next_functions):
                self._users.setdefault(child, []).append((node, slot, number))

    @property
    def reached(self) -> Iterable[str]:
        """The parameters that the outputs depend on."""
        return self._leaves

    @property
    def moves(self) -> bool:
        """Whether some operation may put rows in another order, which the numbers in the points decide."""
        return any(kind(node).startswith(MOVING) or isinstance(node, BackwardCFunction) for node in self.nodes)

    def shapes(self) -> list[tuple[tuple[int, ...], ...]]:
        """The shapes of each node's outputs."""
        return [shapes(node) for node in self.nodes]

    def uses(self, fixed: list[bool]) -> list[Use]:
        """Every use of every parameter that is reached; ``fixed`` nodes have outputs whose shapes no points change."""
        found: list[Use] = []
        for name, leaf in self._leaves.items():
            waiting: list[tuple[Any, int, tuple]] = [(leaf, 0, ())]
            while waiting:
                source, given, steps = waiting.pop()
                for node, slot, number in self._users.get(source, ()):
                    if number != given:
                        continue
                    if self._passes_on(node, slot, fixed):
                        outputs = range(len(shapes(node)))
                        waiting.extend((node, k, (*steps, (node, k))) for k in outputs)
                    else:
                        found.append(Use(name, node, slot, steps, self._places[node]))
        return found

    def _passes_on(self, node: Any, slot: int, fixed: list[bool]) -> bool:
        """Whether a node hands a parameter on, entry by entry: as a view, or a selection or multiple of its entries."""
        what = kind(node)
        if what in STEPS:
            return True
        others = [child for k, (child, _) in enumerate(node.next_functions) if k != slot]
        return what in WHERE_FIXED and fixed[self._places[node]] and not any(others)
