"""The rounding of products whose arithmetic is not ours: an estimate, from the same function in another precision."""

import math

import numpy as np

from ntkspec.engines.arrays import Array
from ntkspec.operators import KernelOperator
from ntkspec.operators.rounding import ASSUMED_EPS, Rounding

# Points of each side on which products are compared, and vectors of each kind.
COMPARED, VECTORS = 256, 2
# The largest error that was seen is taken for half of the largest there is.
SAFETY = 2.0
# eps of float64 over that of float32.
RATIO = 2.0**-29


def compared_points(n: int) -> np.ndarray:
    """The numbers of at most COMPARED of n points, evenly spread."""
    return np.unique(np.linspace(0, n - 1, min(n, COMPARED)).astype(np.int64))


def estimated_rounding(
    kernel: KernelOperator, *, single: KernelOperator, double: KernelOperator, norm_of_absolute: float, rough: bool
) -> Rounding:
    """Of ``kernel``, from products between some of its points in float32 and in float64.

    Compared are random unit vectors, and the directions in which they leave, near the largest singular vectors, where
    errors are largest. A sum over n / m times as many points has errors sqrt(n / m) times as large, relative to it. In
    float64 errors are 2^-29 times those in float32, except where the function is ``rough`` and rounds to float32 on
    its own, the same in both: there they are ASSUMED_EPS eps at least.

    norm_of_absolute : of the kernel, an estimate too.
    """
    least = ASSUMED_EPS * float(np.finfo(np.float32).eps) if rough else 0.0
    try:
        relative = max(least, _relative_error(single, double))
    except ValueError:  # numbers that float32 does not hold
        return assumed_rounding(kernel, norm_of_absolute)
    if not math.isfinite(relative):
        return assumed_rounding(kernel, norm_of_absolute)
    in_single = relative * math.sqrt(kernel.shape[1] / double.shape[1])
    in_double = in_single if rough else RATIO * in_single
    product = in_double if kernel.dtype == np.float64 else in_single
    return Rounding(norm_of_absolute, product * norm_of_absolute, in_double * norm_of_absolute)


def assumed_rounding(kernel: KernelOperator, norm_of_absolute: float) -> Rounding:
    """Where there is nothing to compare with: a hundred roundings in a row, of ASSUMED_EPS eps each."""
    error = 100 * ASSUMED_EPS * float(np.finfo(kernel.dtype).eps) * norm_of_absolute
    return Rounding(norm_of_absolute, error, error)


def _relative_error(single: KernelOperator, double: KernelOperator) -> float:
    """SAFETY times the largest |single v - double v| over unit vectors v, over the largest |double v|."""
    rng = np.random.default_rng(0)
    drawn = _unit(rng.standard_normal((double.shape[1], VECTORS)))
    leaving = double @ drawn
    aligned = _unit(double.T @ leaving)
    pairs = [(leaving, single @ drawn), (double @ aligned, single @ aligned)]
    sizes = [np.linalg.norm(precise, axis=0).max() for precise, _ in pairs]
    errors = [np.linalg.norm(rounded - precise, axis=0).max() for precise, rounded in pairs]
    return SAFETY * float(max(errors)) / float(max(sizes)) if max(sizes) > 0 else 0.0


def _unit(vectors: Array) -> Array:
    norms = np.linalg.norm(vectors, axis=0)
    return vectors / np.where(norms > 0, norms, 1.0)
