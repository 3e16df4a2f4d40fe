"""How far training has moved the weights and the kernel."""

import math

import numpy as np

from ntkspec.engines import engine_of
from ntkspec.kernels import ntk
from ntkspec.networks import DeepNetwork
from ntkspec.spectra.norms import spectral_norm


def weight_movement(initial, now, X=None) -> dict[str, float]:
    r"""\|W(t) - W(0)\| as a spectral norm and as the largest norm of a row, and \|v(t) - v(0)\|.

    The proof of Theorem 3.2 rests on their being small against \|W(0)\|, about sqrt m + sqrt d. Of a deep network the
    spectral norm for each weight matrix, numbered from 0 (of a paired one the second chain's behind). X is not used.
    Cost: 2 m d min(m, d) flops, in float64.
    """
    if isinstance(initial, DeepNetwork):
        pairs = zip(initial.parameters, now.parameters, strict=True)
        return {f"weight movement {k}": _spectral(_moved(*pair)) for k, pair in enumerate(pairs)}
    moved, xp = _moved(initial.W, now.W), engine_of(now.W).xp
    return {
        "weight movement": _spectral(moved),
        "largest row movement": float(xp.linalg.norm(moved, axis=1).max()),
        "second layer movement": float(xp.linalg.norm(_moved(initial.v, now.v))),
    }


def _moved(before, after):
    return after.astype(np.float64) - before.astype(np.float64)


def _spectral(matrix) -> float:
    gram = matrix.T @ matrix if matrix.shape[1] <= matrix.shape[0] else matrix @ matrix.T
    return math.sqrt(max(0.0, float(np.linalg.eigvalsh(engine_of(gram).to_host(gram))[-1])))


def kernel_drift(initial, now, X, *, layer: str | int = "all", seed=0) -> dict[str, float]:
    r"""\|Theta(t) - Theta(0)\| on the points X in spectral norm, with the interval of :func:`ntkspec.spectral_norm`.

    layer : of the kernels. The frozen kernel's prediction is off by at most eta t / n times the drift and rms(y)
    (:func:`ntkspec.theory.bounds.trajectory_bound`). Cost: some 50 products with each kernel.
    """
    drift = ntk(now, X, layer=layer) - ntk(initial, X, layer=layer)
    norm = spectral_norm(drift, seed=seed)
    return {"kernel drift": norm.value, "kernel drift lower": norm.lower, "kernel drift upper": norm.upper}
