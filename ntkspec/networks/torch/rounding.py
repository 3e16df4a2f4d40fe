"""The rounding of kernels of a module: an estimate, since nothing is known of what its code does."""

from typing import Any

import numpy as np
import torch

from ntkspec.operators import JacobianGram
from ntkspec.operators.rounding import Rounding

# Points and vectors that are tried, sums of functions from which a trace is estimated, and the factor on what was seen.
SAMPLE, PROBES, TRACED, SAFETY = 8, 2, 4, 2.0
# Rounding of float64 over that of float32; and of float64 where the module does not run in float32, relative.
RATIO, UNSEEN = 2.0**-29, 2.0**-44


def estimated(left: Any, right: Any, kernel: JacobianGram) -> Rounding:
    """Of the kernel of two sides, relative to its trace: that of products at SAMPLE points with PROBES vectors, in
    float32 against float64, and of the sum over all points.

    Passes in float64 are taken to round by as much less as its eps is smaller.
    """
    sides = [left] if right is left else [left, right]
    known = kernel.known_diagonal
    if known is None:
        size = kernel.scale * float(np.prod([_trace(side) for side in sides])) ** (1 / len(sides))
    else:
        size = float(known.sum(dtype=np.float64))
    single = max(_relative(side) for side in sides)
    summing = float(np.finfo(left.dtype).eps) * sum(kernel.shape) ** 0.5
    own = single if left.dtype == np.float32 else RATIO * single
    entries = single if left.facts.rough else RATIO * single
    return Rounding(size, SAFETY * (own + summing) * size, SAFETY * (entries + 2.0**-52) * size)


def _trace(side: Any) -> float:
    """The sum of the squared gradients; of many functions from TRACED sums with random signs."""
    if side.functions > TRACED:
        signs = np.random.default_rng(0).choice([-1.0, 1.0], (TRACED, side.functions))
        side = side.along(signs / TRACED**0.5)
    return float(side.squares(side.dtype).sum(dtype=np.float64))


def _relative(side: Any) -> float:
    """The largest error of a product J Jᵀ u in float32 at a few points, for |u| = 1, over their trace."""
    rng = np.random.default_rng(0)
    some = np.sort(rng.choice(side.points, min(side.points, SAMPLE), replace=False))
    ours = side.part(some)
    try:
        single, double = (ours, ours.precise) if side.dtype == np.float32 else (ours.in_dtype(torch.float32), ours)
        U = rng.standard_normal((ours.points, ours.functions, PROBES))
        U[:, :, 0] = 1.0  # what all points have in common adds up
        U /= np.sqrt((U**2).sum(axis=(0, 1)))
        products = [one.multiplied(side.engine.xp.asarray(U)) for one in (single, double)]
    except RuntimeError:
        if side.dtype == np.float32:
            raise
        return UNSEEN / RATIO
    errors = ((products[0] - products[1]) ** 2).sum(axis=(0, 1)) ** 0.5
    found = float(errors.max()) / max(_trace(single), np.finfo(float).tiny)
    return found if np.isfinite(found) else UNSEEN / RATIO  # numbers that float32 does not hold
