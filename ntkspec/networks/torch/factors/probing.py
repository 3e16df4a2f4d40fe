"""What a few points tell of a module's layer factors."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ntkspec.networks.points import count, rows
from ntkspec.networks.torch.factors.capture import Factors, Recipe, captured, recipe_of
from ntkspec.networks.torch.factors.layouts import FEWER, Rearranged
from ntkspec.networks.torch.factors.verifying import disagreements
from ntkspec.networks.torch.facts import Facts
from ntkspec.networks.torch.function import ModuleFunction

# Other parameters that are tried where it is not clear which rows belong to which point.
ATTEMPTS = 4
# Points, in no order, at which factors are compared with autograd once more.
MORE = 8


class Probed:
    """The recipes of a module for its parameters ``names``, one for each dtype that it is computed in.

    sample : factors of PROBES points and one function, in the dtype that came first.
    """

    def __init__(self, at: Any, names: Sequence[str], facts: Facts):
        n = count(at)
        self._at, self._names, self._facts = rows(at, torch.tensor([0, n // 2, n - 1])), list(names), facts
        spread, order = torch.linspace(0, n - 1, min(n, MORE)).long(), torch.Generator().manual_seed(0)
        self._more = rows(at, spread.flip(0)[torch.randperm(len(spread), generator=order)] if n > 3 else spread.flip(0))
        self._recipes: dict[torch.dtype, Recipe] = {}
        self.sample: Factors = {}

    def recipe(self, function: ModuleFunction) -> Recipe:
        """For a function of the module, found when it is first asked for."""
        if function.dtype not in self._recipes:
            self._recipes[function.dtype] = self._found(function)
            function.release()
        return self._recipes[function.dtype]

    def give_up(self, function: ModuleFunction, reason: str) -> None:
        """No factors from now on, in the dtype of a function."""
        self.recipe(function).reasons.update(dict.fromkeys(self._names, reason))

    def _found(self, function: ModuleFunction) -> Recipe:
        recipe = self._read(function, function.state)
        for seed in range(ATTEMPTS):  # gradients may be zero, as behind layers that start at zero
            if recipe.unclear:
                recipe = self._read(function, self._shaken(function, seed))
        if not self.sample:
            with function.recorded(function.points(self._at), self._names) as (outputs, leaves):
                self.sample = captured(recipe, outputs, leaves, _random_weights(outputs, 1))
        precise = function if self._facts.float64 else function.in_dtype(torch.float64)
        try:
            recipe.reasons.update(self._wrong(recipe, precise, self._at))
            self._recipes[precise.dtype] = recipe
        except Rearranged:  # in float64 it computes something else
            recipe.reasons.update(self._wrong(recipe, function, self._at))
        try:  # the three points may be sorted already, where a module sorts its points
            recipe.reasons.update(self._wrong(recipe, function, self._more))
        except Rearranged as error:
            recipe.reasons.update(dict.fromkeys(self._names, str(error)))
        return recipe

    def _read(self, function: ModuleFunction, state: Mapping[str, Tensor]) -> Recipe:
        points = function.points(self._at)
        leaves = {name: state[name].detach().requires_grad_() for name in self._names}
        with function.undisturbed(), function.running(leaves):  # checkpoints run again while the graph is read
            few = rows(points, slice(0, FEWER))
            return recipe_of(function.outputs(points, leaves), function.outputs(few, leaves), leaves)

    def _shaken(self, function: ModuleFunction, seed: int) -> dict[str, Tensor]:
        """Other parameters of about the same size, none of them zero."""
        generator, found = torch.Generator().manual_seed(seed), {}
        for name in self._names:
            own = function.state[name]
            noise = torch.randn(own.shape, generator=generator).to(own)
            found[name] = own + noise * own.square().mean().sqrt().clamp_min(0.05)
        return found

    def _wrong(self, recipe: Recipe, function: ModuleFunction, at: Any) -> dict[str, str]:
        """Parameters whose factors disagree with autograd at some points."""
        with function.recorded(function.points(at), self._names) as (outputs, leaves):
            weights = _random_weights(outputs, 2)
            return disagreements(captured(recipe, outputs, leaves, weights), outputs, leaves, weights)


def _random_weights(outputs: Tensor, R: int) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(R, outputs.shape[1], generator=generator, dtype=torch.float64).to(outputs)
