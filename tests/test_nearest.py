"""The nearest linear kernel: exact where the kernel is one, optimal elsewhere, and certified."""

import numpy as np
import pytest
import scipy.optimize

import ntkspec as ns
from ntkspec.operators import wrap

N, D = 40, 7
rng = np.random.default_rng(0)
# What looking for symmetry and measuring a product takes.
LOOKING = 6
POINTS = rng.standard_normal((N, D)) * np.linspace(0.5, 1.5, N)[:, None]


def design(X):
    """The matrices that span the set, and the polynomials of the norms."""
    n, d = X.shape
    excess = np.linalg.norm(X, axis=1) / d**0.5 - 1
    return X @ X.T / d, np.stack([np.ones(n), excess, excess**2], axis=1), np.eye(n)


def kernel_of(X, data, S, identity):
    inputs, F, unit = design(X)
    return data * inputs + F @ S @ F.T + identity * unit


def residual_conditions(theta, fit, X):
    """<R, L> and the largest overlap of R = Theta - L with kernels of the set of norm one, relative to |Theta|."""
    inputs, F, unit = design(X)
    L = fit.operator.to_dense(np.float64)
    R = theta - L
    Q = np.linalg.svd(F, full_matrices=False)[0][:, : np.linalg.matrix_rank(F, 1e-10)]
    size = np.linalg.norm(theta)
    rays = [(R * M).sum() / np.linalg.norm(M) for M in (inputs, unit) if M.any()]
    rays.append(np.linalg.eigvalsh(Q.T @ R @ Q).max())
    return abs((R * L).sum()) / size**2, max(rays) / size


def random_symmetric(n, seed):
    A = np.random.default_rng(seed).standard_normal((n, n))
    return (A + A.T) / 2


# What makes each of the constraints bind, and none of them.
KERNELS = {
    "semidefinite": lambda X: random_symmetric(len(X), 0) @ random_symmetric(len(X), 0).T,
    "indefinite": lambda X: random_symmetric(len(X), 1) + 3.0,
    "negative definite": lambda X: -np.eye(len(X)) - X @ X.T,
    "less data": lambda X: kernel_of(X, -2.0, np.diag([1.0, 2.0, 3.0]), 0.5),
    "less identity": lambda X: kernel_of(X, 2.0, np.diag([1.0, 2.0, 3.0]), -0.5),
    "indefinite features": lambda X: kernel_of(X, 1.0, random_symmetric(3, 5), 0.1),
    "negative constant": lambda X: kernel_of(X, 1.0, np.diag([-0.5, 0.0, 0.0]), 0.1),
    "zero": lambda X: np.zeros((len(X), len(X))),
}
SETS = {
    "as they come": POINTS,
    "one point": POINTS[:1],
    "two points": POINTS[:2],
    "fewer points than columns": POINTS[:5],
    "twice": np.repeat(POINTS[:20], 2, axis=0),
    "zero rows": np.where(np.arange(N)[:, None] % 3, POINTS, 0.0),
    "zero": np.zeros((6, 3)),
    "rank one": np.outer(rng.standard_normal(N), np.ones(3)),
    "equal norms": POINTS / np.linalg.norm(POINTS, axis=1, keepdims=True),
    "two norms": np.where(np.arange(N)[:, None] % 2, 1.0, 2.0) * POINTS / np.linalg.norm(POINTS, axis=1, keepdims=True),
    "orthogonal": np.eye(5, 9),
    "hundreds": 255 * POINTS,
}


@pytest.mark.parametrize("seed", range(3))
def test_a_kernel_of_the_set_is_found_again(seed):
    A = np.random.default_rng(seed).standard_normal((3, 3))
    S, data, identity = A @ A.T, 0.7 + seed, 0.2 * seed
    fit = ns.nearest_linear_kernel(kernel_of(POINTS, data, S, identity), POINTS)
    found = fit.coefficients
    assert found.data == pytest.approx(data, rel=1e-9)
    assert found.norms.T @ found.norms == pytest.approx(S, rel=1e-7)
    assert found.constant == pytest.approx(S[0, 0], rel=1e-9)
    assert found.identity == pytest.approx(identity, abs=1e-9)
    assert fit.relative_gap.upper < 1e-10
    assert fit.relative_gap_spectral.value < 1e-9


@pytest.mark.parametrize("layer", ["first", "second", "both"])
@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
def test_the_linear_kernel_of_theory_is_in_the_set(activation, layer):
    linear = ns.linear_kernel(activation, POINTS, layer=layer, trace_ratio=1.2)
    fit = ns.nearest_linear_kernel(linear, POINTS, trace_ratio=1.2)
    expected = ns.linear_expansion(activation, layer=layer)
    assert fit.relative_gap.value < 1e-10
    assert fit.coefficients.data == pytest.approx(expected.data, rel=1e-9)
    if layer == "first":
        assert fit.coefficients.square == pytest.approx(expected.square, abs=1e-9)


def test_that_of_a_deep_network_too():
    linear = ns.linear_kernel("relu", POINTS, hidden_layers=3)
    assert ns.nearest_linear_kernel(linear, POINTS).relative_gap.value < 1e-10


@pytest.mark.parametrize("points", SETS)
@pytest.mark.parametrize("kernel", KERNELS)
def test_no_kernel_of_the_set_is_nearer(kernel, points):
    """<R, L> = 0 and <R, M> <= 0 for every M of the cone: the conditions of a projection."""
    X = SETS[points]
    theta = KERNELS[kernel](X)
    fit = ns.nearest_linear_kernel(theta, X)
    if theta.any():
        orthogonal, outside = residual_conditions(theta, fit, X)
        assert orthogonal < 1e-12
        assert outside < 1e-12
    values = np.linalg.eigvalsh(fit.operator.to_dense())
    assert values[0] >= -1e-13 * max(1e-300, np.linalg.norm(theta))
    assert fit.relative_gap.lower <= 1 + 1e-12
    assert min(fit.coefficients.data, fit.coefficients.identity) >= 0


def test_a_general_solver_finds_no_better_one():
    inputs, F, unit = design(POINTS)
    theta = KERNELS["indefinite"](POINTS)

    def squares(z):
        root = np.zeros((3, 3))
        root[np.tril_indices(3)] = z[2:]
        return ((theta - z[0] ** 2 * inputs - z[1] ** 2 * unit - F @ root @ root.T @ F.T) ** 2).sum()

    starts = np.random.default_rng(3).standard_normal((4, 8))
    best = min(scipy.optimize.minimize(squares, start, method="BFGS").fun for start in starts)
    own = np.linalg.norm(theta - ns.nearest_linear_kernel(theta, POINTS).operator.to_dense()) ** 2
    assert own == pytest.approx(best, rel=1e-6)
    assert own <= best * (1 + 1e-10)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_it_is_nearer_than_theory_and_splits_its_gap(dtype):
    X = POINTS.astype(dtype)
    theta = ns.ntk(ns.TwoLayer.symmetric(D, 30, "relu", dtype=dtype), X)
    linear, fit = ns.linear_kernel("relu", X), ns.nearest_linear_kernel(theta, X)
    assert fit.operator.dtype == dtype
    of_theory, constants, own = (
        ns.frobenius_norm(one) for one in (theta - linear, fit.operator - linear, theta - fit.operator)
    )
    assert float(own) ** 2 + float(constants) ** 2 <= float(of_theory) ** 2 * (1 + 1e-6)
    exact = theta.to_dense(np.float64)
    gap = np.linalg.norm(exact - fit.operator.to_dense(np.float64)) / np.linalg.norm(exact)
    assert fit.relative_gap.lower <= gap * (1 + 1e-6)
    assert gap * (1 - 1e-6) <= fit.relative_gap.upper
    spectral = np.linalg.norm(exact - fit.operator.to_dense(np.float64), 2) / np.linalg.norm(exact, 2)
    assert fit.relative_gap_spectral.lower <= spectral * (1 + 1e-6)
    assert spectral * (1 - 1e-6) <= fit.relative_gap_spectral.upper
    assert fit.relative_gap_spectral.failure_probability <= 2.1e-6


def test_products_give_what_the_matrix_gives():
    theta = KERNELS["semidefinite"](POINTS)
    own, other = (ns.nearest_linear_kernel(one, POINTS) for one in (theta, wrap(lambda v: theta @ v, N)))
    assert other.coefficients.data == pytest.approx(own.coefficients.data, rel=1e-9)
    assert other.coefficients.identity == pytest.approx(own.coefficients.identity, rel=1e-9)
    assert other.operator.to_dense() == pytest.approx(own.operator.to_dense(), abs=1e-9 * np.linalg.norm(theta))


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_few_products_of_a_function_are_made(noise):
    n, products = 800, []
    X = np.random.default_rng(4).standard_normal((n, 3))
    rest = noise * random_symmetric(n, 6)

    def multiply(v):
        products.append(1)
        return 2 * X @ (X.T @ v) / 3 + 3 * v + v.mean() + rest @ v

    fit = ns.nearest_linear_kernel(wrap(multiply, n), X)
    assert len(products) <= 3 + 3 + 16 + LOOKING
    assert fit.coefficients.data == pytest.approx(2, rel=0.02 if noise else 1e-9)
    assert fit.coefficients.identity == pytest.approx(3, rel=0.03 if noise else 1e-9)
    exact = np.linalg.norm(rest) / np.linalg.norm(2 * X @ X.T / 3 + 3 * np.eye(n) + 1 / n + rest)
    assert fit.relative_gap.lower <= exact * 1.001 + 1e-9
    assert exact <= fit.relative_gap.upper


def test_test_points_see_no_identity():
    X, X_test = POINTS[:30], POINTS[30:]
    fit = ns.nearest_linear_kernel(kernel_of(POINTS, 2.0, np.eye(3), 0.4)[:30, :30], X)
    whole = kernel_of(POINTS, 2.0, np.eye(3), 0.0)
    assert fit.between(X_test, X).to_dense() == pytest.approx(whole[30:, :30], rel=1e-8)
    assert fit.between(X_test).to_dense() == pytest.approx(whole[30:, 30:], rel=1e-8)
    assert fit.linear.to_dense() == pytest.approx(whole[:30, :30], rel=1e-8)
    assert fit.linear.low_rank_factors()[0].shape[1] <= D + 3
    run = ns.predict_gd(fit.operator, POINTS[:30, 0], eta=0.1, steps=[5], kernel_test=fit.between(X_test, X))
    assert run.test.shape == (1, 10)


def test_images_are_flattened_and_tokens_have_no_data_kernel():
    images = POINTS[:, :6].reshape(N, 2, 3)
    theta = kernel_of(POINTS[:, :6], 1.0, np.eye(3), 0.3)
    fit = ns.nearest_linear_kernel(theta, images)
    assert fit.relative_gap.upper < 1e-10
    assert fit.between(images[:2], images).shape == (2, N)
    tokens = np.arange(2 * N).reshape(N, 2)
    with pytest.raises(TypeError, match=r"whole numbers \(int64\).*X=None"):
        ns.nearest_linear_kernel(theta, tokens)
    bare = ns.nearest_linear_kernel(2.0 + 0.5 * np.eye(N), None)
    assert (bare.coefficients.data, bare.coefficients.constant) == (0.0, pytest.approx(2.0))
    assert bare.coefficients.identity == pytest.approx(0.5)
    assert bare.between(tokens[:3], tokens).to_dense() == pytest.approx(np.full((3, N), 2.0))
    assert bare.between((tokens[:3], tokens[:3])).shape == (3, 3)


def test_what_has_no_nearest_linear_kernel_is_refused():
    theta = np.eye(N)
    with pytest.raises(ValueError, match="X holds 39 points, but the kernel has shape"):
        ns.nearest_linear_kernel(theta, POINTS[:-1])
    with pytest.raises(ValueError, match="a symmetric kernel is needed"):
        ns.nearest_linear_kernel(theta[:, :5], POINTS)
    with pytest.raises(ValueError, match="whose powers float64 does not hold"):
        ns.nearest_linear_kernel(theta, 1e160 * POINTS)
    with pytest.raises(ValueError, match="trace_ratio=-1"):
        ns.nearest_linear_kernel(theta, POINTS, trace_ratio=-1.0)
    with pytest.raises(ValueError, match=r"40 rows for 20 points.*outputs='mean'"):
        ns.nearest_linear_kernel(wrap(theta, rows_per_point=2), POINTS[: N // 2])


def test_it_shows_what_it_found():
    fit = ns.nearest_linear_kernel(kernel_of(POINTS, 2.0, np.diag([1.0, 0, 0]), 0.5), POINTS)
    assert repr(fit).startswith("LinearFit of 40 points: 2 X Xᵀ/d + 1 1 1ᵀ (1 norm feature) + 0.5 I")
