"""A PyTorch module as a network of the package: outputs, derivatives and kernels at its present parameters."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import torch

from ntkspec import checks
from ntkspec.engines import Engine, engine_of
from ntkspec.engines.arrays import Array, ArrayLike
from ntkspec.networks.naming import matching
from ntkspec.networks.outputs import OutputChoice
from ntkspec.networks.points import count, rows
from ntkspec.networks.protocol import Layer, Points, Weights
from ntkspec.networks.sharing import SharedSides
from ntkspec.networks.torch.acceptance import check_parameters, forms_of, place_of, unwrapped
from ntkspec.networks.torch.blocks import points_at_once
from ntkspec.networks.torch.checking import examined
from ntkspec.networks.torch.differentiating import pulled
from ntkspec.networks.torch.facts import Facts
from ntkspec.networks.torch.failing import told_by_point
from ntkspec.networks.torch.function import ModuleFunction
from ntkspec.networks.torch.points import as_tensors, form_of, shapes
from ntkspec.networks.torch.program import Forward, Program, state_of
from ntkspec.networks.torch.selection import ParametersLike, aliases, trained
from ntkspec.networks.torch.sides import sides_at
from ntkspec.networks.torch.structure import structure_of
from ntkspec.networks.torch.tensors import array_of, engine_for, numpy_dtype, on_host, tensor_of
from ntkspec.networks.torch.ways import push_of
from ntkspec.objects.pickling import Foreign
from ntkspec.operators import JacobianGram, KernelOperator
from ntkspec.operators.tiles import slices


@dataclass
class _Seen:
    """What was made of a module and holds until it changes. facts : by the form of points, the first ones first."""

    structure: tuple[Any, ...] = ()
    program: Program | None = None
    facts: dict[Any, Facts] = field(default_factory=dict)
    fixed: ModuleFunction | None = None
    sides: SharedSides = field(default_factory=lambda: SharedSides(on_host))


class TorchNetwork:
    """A module, which stays as it is, with some of its parameters; :func:`ntkspec.from_torch` makes it.

    Parameters
    ----------
    module : torch.nn.Module
        The network, kept and never changed; what the object gives is at the module's present parameters.
    forward : callable, optional
        forward(module, points) -> outputs.
    parameters : str, list of str, callable, optional
        The trained ones; those with requires_grad where it is None.

    Attributes
    ----------
    names : list of str
        Of the trained parameters, a shared one once.
    tied : dict of str to list of str
        The other names of shared ones.
    """

    def __init__(self, module: torch.nn.Module, *, forward: Forward | None = None, parameters: ParametersLike = None):
        self.module = unwrapped(module)
        self.forward = None if forward is None else Foreign(forward, "forward of the network")
        check_parameters(self.module)
        self.names = trained(self.module, parameters)
        self._weights: dict[str, torch.Tensor] | None = None
        self._seen = _Seen()
        self.device, self._dtype = place_of(self.module, self.names)
        self._forms = forms_of(self.module)

    # ------------------------------------------------------------------------------------------------ what it is
    @property
    def tied(self) -> dict[str, list[str]]:
        """The other names of parameters that are shared."""
        return {name: own[1:] for name, own in aliases(self.module).items() if len(own) > 1 and name in self.names}

    @property
    def dtype(self) -> np.dtype:
        """Of the trained parameters, float32 or float64."""
        return numpy_dtype(self._dtype)

    @property
    def engine(self) -> Engine:
        """Where outputs and vectors lie: the CPU, or the GPU where the module lies there and CuPy is installed."""
        return engine_for(self.device)

    @property
    def parameters(self) -> dict[str, Array]:
        """The trained parameters by name, in the module's memory where they lie on the CPU."""
        state = self._state()
        return {name: array_of(state[name], self.engine) for name in self.names}

    @property
    def weights(self) -> Weights:
        """The same in the order of ``names``."""
        return list(self.parameters.values())

    @property
    def facts(self) -> Facts:
        """What the first points told. Raises ValueError before there were any."""
        for facts in self._look().facts.values():
            return facts
        raise ValueError("how many outputs a module has is known after its first points; call net(points) before")

    @property
    def n_outputs(self) -> int | None:
        """K, or None where the module returns (n,); known after the first points."""
        return self.facts.n_outputs

    @property
    def flops(self) -> float:
        """Of one pass forward for a point: matrix products, convolutions and attention, as torch counts them."""
        return self.facts.flops

    @property
    def unreached(self) -> list[str]:
        """Trained parameters that no output depends on, whose gradient is zero; known after the first points."""
        return list(self.facts.unreached)

    def __repr__(self) -> str:
        size = sum(weight.size for weight in self.weights)
        shared = f", tied={self.tied}" if self.tied else ""
        apart = self.device.type != "cpu" and self.engine is engine_of()
        place = f" on {self.device}, vectors on the host: CuPy is not installed" if apart else ""
        return (
            f"TorchNetwork({type(self.module).__name__}, {len(self.names)} parameters of {size} numbers in "
            f"{self.dtype}{shared}{place})"
        )

    # ----------------------------------------------------------------------------------------------------- points
    @torch.inference_mode(False)
    def as_points(self, points: Any, name: str = "X") -> Points:
        """Tensors on the module's device, floats in its dtype, integers as they are; the first of each form are tried.

        Parameters
        ----------
        points : array, tuple or dict of arrays
            With one first axis.
        name : str, default "X"
            For messages.

        Returns
        -------
        tensor, tuple or dict of tensors
            Shared with ``points`` where nothing had to be converted.

        Raises
        ------
        TypeError, ValueError
            For what is no points, and where the module fails a check; each message says what to do.
        """
        found = as_tensors(points, name, self._dtype, self.device)
        self._facts_at(found)
        return found

    def __call__(self, points: Any) -> Array:
        """The outputs, (n,) or (n, K) as the module gives them, as an array.

        Parameters
        ----------
        points : array, tuple or dict of arrays
            As the module takes them: module(points), module(*points) for a tuple, module(**points) for a dict.

        Returns
        -------
        array
            In the dtype of the parameters.
        """
        at = self.as_points(points)
        facts = self._facts_at(at)
        function = self._function(self._state())
        with told_by_point(function, at), function.undisturbed():  # with gradients, as a module may take some itself
            found = [function.outputs(rows(at, block)).detach() for block in self._blocks(at, facts)]
        return _shaped(array_of(torch.cat(found), self.engine), facts)

    # -------------------------------------------------------------------------------------------------- derivatives
    def vjp(self, points: Any, cotangent: ArrayLike) -> Weights:
        """Jᵀ u: the gradient of the sum of cotangent times outputs.

        Parameters
        ----------
        points : array, tuple or dict of arrays
            n points.
        cotangent : array
            Of the shape of the outputs.

        Returns
        -------
        list of arrays
            One for each of ``names``, of its shape.
        """
        at = self.as_points(points)
        given = checks.as_floats(cotangent, "cotangent")
        shape = (count(at),) if self.n_outputs is None else (count(at), self.n_outputs)
        if given.shape != shape:
            raise ValueError(f"cotangent has shape {given.shape}, but {shape} is needed, that of the outputs")
        return self.value_and_vjp(at, lambda block, _: given[block])[1]

    @torch.inference_mode(False)
    def value_and_vjp(self, points: Points, cotangent: Callable[[slice, Array], Array]) -> tuple[Array, Weights]:
        """(outputs, gradient of the sum of cotangent times outputs), for a function of (rows, outputs there)."""
        facts = self._facts_at(points)
        function, outputs, total = self._function(self._state()), [], None
        for block in self._blocks(points, facts):
            with told_by_point(function, points), function.recorded(rows(points, block), self.names) as (found, leaves):
                outputs.append(_shaped(array_of(found, self.engine), facts))
                given = tensor_of(cotangent(block, outputs[-1])).to(found).reshape(found.shape)
                more = pulled(found, leaves, given)
            total = more if total is None else {name: total[name].add_(more[name]) for name in self.names}
        assert total is not None
        return self.engine.xp.concatenate(outputs), [array_of(total[name], self.engine) for name in self.names]

    @torch.inference_mode(False)
    def jvp(self, points: Any, tangents: Sequence[ArrayLike]) -> Array:
        """J v: how the outputs move with the parameters.

        Parameters
        ----------
        points : array, tuple or dict of arrays
            n points.
        tangents : list of arrays
            v, one for each of ``names``, of its shape.

        Returns
        -------
        array
            Of the shape of the outputs.
        """
        at = self.as_points(points)
        facts = self._facts_at(at)
        function = self._function(self._state())
        vector = self._tensors(tangents, "tangents")
        with told_by_point(function, at):
            way = push_of(function, at, self.names)
            found = [way(function, rows(at, block), [vector], None)[:, :, 0] for block in self._blocks(at, facts)]
        return _shaped(array_of(torch.cat(found), self.engine), facts)

    # ---------------------------------------------------------------------------------------- other weights, kernels
    def with_weights(self, weights: Weights) -> Self:
        """The same network with other weights, which are kept; the module and this object stay as they are.

        Parameters
        ----------
        weights : list of arrays
            In the order and with the shapes of ``weights``.

        Returns
        -------
        TorchNetwork
        """
        other = self._copy()
        other._weights = self._tensors(weights, "weights")
        return other

    @torch.inference_mode(False)
    def kernel(
        self, points: Points, points2: Points | None = None, *, layer: Layer = "all", outputs: OutputChoice
    ) -> KernelOperator:
        """Its NTK at its present weights, of which it keeps copies.

        Parameters
        ----------
        points, points2 : as :meth:`as_points` returns them
            Of the rows, and of the columns where they are others.
        layer : str or list of str, default "all"
            Globs on parameter names.
        outputs : OutputChoice
            Which outputs.

        Returns
        -------
        JacobianGram
        """
        names = self.names if layer == "all" else matching(layer, "layer", self._layers())
        each = [points] if points2 is None else [points, points2]
        facts, function = [self._facts_at(one) for one in each], self._fixed()
        sides = sides_at(self._seen.sides, function, names, outputs.weights, zip(each, facts, strict=True))
        return JacobianGram(*sides, stacked=outputs.stacked, scale=outputs.scale, definition=outputs.definition)

    def _layers(self) -> dict[str, list[str]]:
        return {name: own for name, own in aliases(self.module).items() if name in self.names}

    # ------------------------------------------------------------------------------------------------------- inside
    def _look(self) -> _Seen:
        """What is known of the module; nothing where its structure, modes or settings have changed."""
        structure = structure_of(self.module)
        if structure != self._seen.structure:
            self._seen = _Seen(structure, Program.of(self.module, self.forward))
        return self._seen

    def _facts_at(self, points: Points) -> Facts:
        """What the first points of this form told, which these are where nothing is known.

        Raises TypeError and ValueError where the module does not take them, or has another number of outputs.
        """
        seen, form = self._look(), form_of(points)
        if form not in seen.facts:
            found = examined(self._fixed(), points, self.names)
            first = next(iter(seen.facts.values()), found)
            if found.n_outputs != first.n_outputs:
                now, before = ("(n,)" if K is None else f"(n, {K})" for K in (found.n_outputs, first.n_outputs))
                raise ValueError(
                    f"the outputs have shape {now} for points of shape {shapes(points)}, but {before} for earlier "
                    f"ones; call from_torch again for points of another form"
                )
            seen.facts[form] = found
        return seen.facts[form]

    def _function(self, state: Mapping[str, torch.Tensor]) -> ModuleFunction:
        program = self._seen.program
        assert program is not None
        recurrent = any(isinstance(part, torch.nn.RNNBase) for part in program.module.modules())
        return ModuleFunction(program, state, self._dtype, self.device, recurrent)

    def _state(self) -> dict[str, torch.Tensor]:
        """All numbers as they are now, shared with the module."""
        if forms_of(self.module) != self._forms:
            raise ValueError(
                "parameters of the module were added, taken away, or moved to another dtype or device since from_torch "
                "took it; call from_torch again"
            )
        return state_of(self.module) | (self._weights or {})

    def _fixed(self) -> ModuleFunction:
        """At copies of all numbers; the same copies as long as nothing has changed."""
        now, known = self._state(), self._seen.fixed
        if known is None or not _same(now, known.state):
            bad = self._not_finite(now)
            if bad:
                raise ValueError(
                    f"the module holds NaN or infinity in {', '.join(bad[:4])}; load or train other parameters"
                )
            self._seen.fixed = known = self._function({name: tensor.clone() for name, tensor in now.items()})
            self._seen.sides = _Seen().sides
        return known

    def _not_finite(self, state: Mapping[str, torch.Tensor]) -> list[str]:
        """Names of parameters with NaN or infinity, and of buffers with NaN; -inf is what masks of attention hold."""
        own = {name for name, _ in self.module.named_parameters()}
        floats = {name: t for name, t in state.items() if t.is_floating_point()}
        return [name for name, t in floats.items() if (~t.isfinite() if name in own else t.isnan()).any()]

    def _blocks(self, points: Points, facts: Facts) -> list[slice]:
        return slices(count(points), points_at_once(facts, count(points), self.device))

    def _tensors(self, given: Sequence[ArrayLike], what: str) -> dict[str, torch.Tensor]:
        """Arrays for the trained parameters, by name."""
        state = self._state()
        found = [tensor_of(one, what) for one in given]
        shapes, needed = [tuple(one.shape) for one in found], [tuple(state[name].shape) for name in self.names]
        if shapes != needed:
            raise ValueError(f"{what} of shapes {shapes} came, but {needed} are needed: {', '.join(self.names)}")
        return {name: one.to(self.device, self._dtype) for name, one in zip(self.names, found, strict=True)}

    def _copy(self) -> Self:
        import copy

        other = copy.copy(self)
        other._seen = _Seen(self._seen.structure, self._seen.program, dict(self._seen.facts))
        return other

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_seen": _Seen()}


def _shaped(outputs: Array, facts: Facts) -> Array:
    """(n, K) as the module gives them."""
    return outputs[:, 0] if facts.n_outputs is None else outputs


def _same(now: Mapping[str, torch.Tensor], before: Mapping[str, torch.Tensor]) -> bool:
    return list(now) == list(before) and all(
        own.dtype == before[name].dtype and torch.equal(own, before[name]) for name, own in now.items()
    )
