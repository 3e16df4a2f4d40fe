"""The modes of a thin kernel K = F Fᵀ, through the k x k problem of its features."""

import numpy as np

from ntkspec.engines import Engine
from ntkspec.engines.arrays import Array
from ntkspec.kernels.moments import second_moments


def feature_modes(F: Array, Y: Array, engine: Engine) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(values, V, targets): eigenvalues of F Fᵀ, ascending, F V their eigenvectors times sqrt(values), and for each row
    y of a block (b, n) Vᵀ Fᵀ y, as rows.

    All three are NumPy's. Those of the size of rounding, k eps of the largest, are left out: they stand for directions
    that are not there.
    In float64: many steps amplify what rounding leaves in the directions of small eigenvalues. Cost: 2 n k² flops.
    """

    def normal_equations(share):
        return [second_moments(engine, F, other, share) for other in (F, *Y)]

    parts = zip(*engine.run(normal_equations, engine.shares(len(F))), strict=True)
    gram, *targets = (sum(part) for part in parts)
    values, V = map(engine.to_host, engine.linalg.eigh(gram))
    seen = values > len(values) * np.finfo(np.float64).eps * values[-1]
    return values[seen], V[:, seen], np.array([V[:, seen].T @ engine.to_host(target) for target in targets])
