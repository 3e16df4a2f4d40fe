"""How far training has moved the weights and the kernel."""

import math

import numpy as np

from ntkspec.kernels import ntk
from ntkspec.networks import TwoLayer
from ntkspec.norms import spectral_norm


def weight_movement(initial: TwoLayer, now: TwoLayer, X=None) -> dict[str, float]:
    r"""\|W(t) - W(0)\| as a spectral norm and as the largest norm of a row, and \|v(t) - v(0)\|.

    The proof of Theorem 3.2 rests on their being small against \|W(0)\|, about sqrt m + sqrt d. X is not used.
    Cost: 2 m d min(m, d) flops, in float64.
    """
    moved = np.subtract(now.W, initial.W, dtype=np.float64)
    gram = moved.T @ moved if moved.shape[1] <= moved.shape[0] else moved @ moved.T
    largest = max(0.0, float(np.linalg.eigvalsh(gram)[-1]))
    return {
        "weight movement": math.sqrt(largest),
        "largest row movement": float(np.linalg.norm(moved, axis=1).max()),
        "second layer movement": float(np.linalg.norm(np.subtract(now.v, initial.v, dtype=np.float64))),
    }


def kernel_drift(initial: TwoLayer, now: TwoLayer, X, *, layer: str = "both", seed=0) -> dict[str, float]:
    r"""\|Theta(t) - Theta(0)\| on the points X in spectral norm, with the interval of :func:`ntkspec.spectral_norm`.

    layer : of the kernels. The frozen kernel's prediction is off by at most eta t / n times the drift and rms(y)
    (:func:`ntkspec.bounds.trajectory_bound`). Cost: some 50 products with each kernel.
    """
    drift = ntk(now, X, layer=layer) - ntk(initial, X, layer=layer)
    norm = spectral_norm(drift, seed=seed)
    return {"kernel drift": norm.value, "kernel drift lower": norm.lower, "kernel drift upper": norm.upper}
