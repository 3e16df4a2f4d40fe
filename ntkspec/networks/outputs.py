"""Which outputs of a network a kernel is of: the argument ``outputs``."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from ntkspec import checks
from ntkspec.engines.arrays import ArrayLike
from ntkspec.operators import KernelOperator

KINDS = ("full", "trace", "mean", "sum")
# What a user passes: one of KINDS, the number of an output, or weights (K,).
OutputsLike: TypeAlias = str | int | Sequence[float] | ArrayLike


@dataclass(frozen=True)
class OutputChoice:
    """R scalar functions g_r = sum_k weights[r, k] f_k of a network, and how their gradients make one kernel.

    weights : (R, K) float64, or None for all K outputs as they are. stacked : the kernel has a row for each point and
    function, point-major (row i R + r): ``scale`` J Jᵀ. Otherwise one for each point: ``scale`` sum_r J_r J_rᵀ.
    definition : what is printed beside a result.
    """

    weights: np.ndarray | None
    stacked: bool
    scale: float
    definition: str

    def directions(self, n_outputs: int) -> int:
        """R, for a network of K outputs."""
        return n_outputs if self.weights is None else len(self.weights)

    def of_one_output(self, kernel: KernelOperator) -> KernelOperator:
        """What is chosen, from the kernel of a network with one output."""
        factor = self.scale * (1.0 if self.weights is None else float(self.weights[0, 0]) ** 2)
        return kernel if factor == 1.0 else factor * kernel


def choice_of(outputs: OutputsLike, n_outputs: int | None) -> OutputChoice:
    """What ``outputs`` names, for a network of K outputs; None stands for outputs of shape (n,), where K = 1.

    "full" is the (n K, n K) kernel, "trace" the sum over outputs, "mean" trace / K, "sum" the kernel of the sum of all
    outputs, / K, a number that of one output, weights (K,) that of the weighted sum of outputs.
    """
    K = 1 if n_outputs is None else n_outputs
    if isinstance(outputs, str):
        return _named(checks.one_of(outputs, "outputs", KINDS), K)
    if np.ndim(outputs) == 0:
        return _of_one(outputs, K)
    weights = checks.as_vector(outputs, "outputs", K, each="output of the network").astype(np.float64)
    if not weights.any():
        raise ValueError("outputs holds weights that are all zero, whose kernel is zero; give one output a weight")
    return OutputChoice(weights[None], False, 1.0, "kernel of the weighted sum of outputs")


def _named(kind: str, K: int) -> OutputChoice:
    one = np.ones((1, 1))
    if K == 1:
        return OutputChoice(None, kind == "full", 1.0, "kernel of the output")
    return {
        "full": OutputChoice(None, True, 1.0, f"kernel of all {K} outputs, a row for each point and output"),
        "trace": OutputChoice(None, False, 1.0, f"sum of the kernels of {K} outputs"),
        "mean": OutputChoice(None, False, 1 / K, f"mean of the kernels of {K} outputs"),
        "sum": OutputChoice(np.repeat(one, K, axis=1), False, 1 / K, f"kernel of the sum of {K} outputs, / {K}"),
    }[kind]


def _of_one(outputs: Any, K: int) -> OutputChoice:
    number = checks.whole_number(outputs, "outputs", 0)
    if number >= K:
        raise ValueError(f"outputs={number}, but the network has {K}, counted from 0 to {K - 1}")
    return OutputChoice(np.eye(K)[[number]], False, 1.0, f"kernel of output {number}")
