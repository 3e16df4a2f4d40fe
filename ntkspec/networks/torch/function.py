"""A module as a function of its parameters and of points, at numbers that stay."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch

from ntkspec.networks.points import count
from ntkspec.networks.torch.blocks import SMALL_BYTES, give_back
from ntkspec.networks.torch.points import copied, in_dtype
from ntkspec.networks.torch.program import Program
from ntkspec.networks.torch.surroundings import Widened, undisturbed
from ntkspec.networks.torch.tensors import converted
from ntkspec.objects.lazy import cached_property


@dataclass(frozen=True, eq=False)
class ModuleFunction:
    """f(weights, points) -> outputs (n, K), with the numbers in ``state`` wherever no others are given.

    program : the code. state : all parameters and buffers by name, tensors without gradients that nobody changes.
    dtype : of the parameters that can be trained. recurrent : whether there are recurrent layers.
    widened : casts to fewer bits in the module's code are left out.
    """

    program: Program
    state: Mapping[str, torch.Tensor]
    dtype: torch.dtype
    device: torch.device
    recurrent: bool
    widened: bool = False

    def undisturbed(self) -> contextlib.AbstractContextManager[None]:
        """Where passes happen, which leaves every setting as it was; one thread at a time."""
        return undisturbed(self.device, self.dtype, recurrent=self.recurrent)

    @contextlib.contextmanager
    def running(self, weights: Mapping[str, torch.Tensor] | None = None) -> Iterator[Program]:
        """The program with the numbers of this function; ``weights`` are others. It gets copies of its buffers."""
        buffers = {name: self.state[name].clone() for name in self.buffers}
        mode = Widened() if self.widened else contextlib.nullcontext()
        with mode, self.program.holding({**self.state, **buffers, **(weights or {})}):
            yield self.program

    def raw(self, points: Any, weights: Mapping[str, torch.Tensor] | None = None) -> Any:
        """What the module returns for points, of which it gets copies, since it may change them."""
        with self.running(weights) as program:
            return program(copied(points, slice(None)))

    @cached_property
    def buffers(self) -> list[str]:
        """Names of what is no parameter."""
        return [name for name, _ in self.program.module.named_buffers()]

    def outputs(self, points: Any, weights: Mapping[str, torch.Tensor] | None = None) -> torch.Tensor:
        """The outputs (b, K) of points in the dtype of the network; K = 1 where the module returns (b,)."""
        with self.running(weights) as program:
            return self._shaped(program, points)

    def _shaped(self, program: Program, points: Any) -> torch.Tensor:
        return program(copied(points, slice(None))).reshape(count(points), -1).to(self.dtype)

    @contextlib.contextmanager
    def recorded(self, points: Any, names: Sequence[str]) -> Iterator[tuple[torch.Tensor, dict[str, torch.Tensor]]]:
        """(outputs (b, K) of a block of points with their graph, its leaves by name).

        The parameters of these names require gradients, and nothing else does.
        """
        with self.undisturbed():
            leaves = {name: _leaf(self.state[name]) for name in names}
            with self.running(leaves) as program:
                yield self._shaped(program, points), leaves

    def in_dtype(self, dtype: torch.dtype) -> "ModuleFunction":
        """The same function with all floats in float32 or float64, which is kept."""
        if dtype == self.dtype:
            return self
        if dtype not in self._others:
            state = {name: converted(t, dtype) for name, t in self.state.items()}
            widened, program = dtype == torch.float64, self.program.in_dtype(dtype)
            self._others[dtype] = replace(self, program=program, state=state, dtype=dtype, widened=widened)
        return self._others[dtype]

    @cached_property
    def _others(self) -> dict[torch.dtype, "ModuleFunction"]:
        return {}

    @property
    def large(self) -> bool:
        """Whether its numbers in float64 are worth to be dropped after use: they take less than a pass to make."""
        return 2 * sum(tensor.nbytes for tensor in self.state.values()) > SMALL_BYTES

    def release(self) -> None:
        """Drop the numbers in other dtypes, where they are large."""
        if self.large:
            self._others.clear()
            give_back(self.device)

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def points(self, points: Any) -> Any:
        """Points in the dtype of this function."""
        return in_dtype(points, self.dtype)


def _leaf(tensor: torch.Tensor) -> torch.Tensor:
    """Tensors that were made in inference mode take no gradient."""
    return (tensor.clone() if tensor.is_inference() else tensor.detach()).requires_grad_()
