"""Tiles of sums of kernels, which a GPU adds up in one pass: against their definition, on both engines."""

import itertools
import math
from functools import cache

import numpy as np
import pytest

import naive
import ntkspec as ns
from ntkspec.engines.terms import HadamardTerm, LowRankTerm
from ntkspec.operators import Bits, Gram, HadamardGram, form

ROWS, COLUMNS = 35, 47
DTYPES = [np.float32, np.float64]
RNG = np.random.default_rng(0)
MATRICES = [RNG.standard_normal((ROWS, COLUMNS)) for _ in range(6)]
FEATURES = [(RNG.standard_normal((ROWS, k)), RNG.standard_normal((COLUMNS, k))) for k in (1, 2, 3, 4, 1, 2)]
# (scale, numbers of the factors), or (scale, (number of the features,)) of thin products
PRODUCTS = {
    "one matrix": [(2.0, [0])],
    "a product": [(-0.5, [0, 1])],
    "a square": [(-0.5, [0, 0])],
    "one matrix in three products": [(2.0, [0, 1]), (-1.0, [1]), (0.25, [1, 0]), (3.0, [1, 1])],
    "a matrix that cancels": [(2.0, [0]), (-2.0, [0])],
    "more matrices than one launch takes": [(1.0, [0, 1]), (-2.0, [2, 3]), (0.5, [4, 5]), (1.0, [5, 0]), (-1.0, [3])],
}
THIN = {
    "nothing thin": [],
    "one feature": [(-1.5, 0)],
    "more thin products than one launch takes": [(0.5**k, k) for k in range(6)],
}


def parts_and_sum(products, thin, on, dtype):
    """The parts for an engine, and their sum in float64 of what the dtype holds."""
    matrices = [A.astype(dtype) for A in MATRICES]
    features = [[side.astype(dtype) for side in pair] for pair in FEATURES]
    there = [on(A) for A in matrices]
    parts = [HadamardTerm(scale, *(there[k] for k in numbers)) for scale, numbers in products]
    parts += [LowRankTerm(scale, *(on(side) for side in features[k])) for scale, k in thin]
    total = np.zeros((ROWS, COLUMNS))
    for scale, numbers in products:
        total += scale * math.prod(matrices[k].astype(float) for k in numbers)
    for scale, k in thin:
        F, G = (side.astype(float) for side in features[k])
        total += scale * F @ G.T
    return parts, total


@pytest.mark.covering(2)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("thin", THIN)
@pytest.mark.parametrize("products", PRODUCTS)
def test_parts_are_written_and_added(products, thin, dtype, engine, on):
    parts, total = parts_and_sum(PRODUCTS[products], THIN[thin], on, dtype)
    out, tolerance = engine.xp.full((ROWS, COLUMNS), np.nan, dtype), 200 * np.finfo(dtype).eps
    squares = engine.terms.write(out, iter(parts), True)
    written = engine.to_host(out).astype(float)
    assert np.abs(written - total).max() <= tolerance
    assert float(squares) == pytest.approx((written**2).sum(), rel=1e-13)
    assert engine.terms.write(out, parts, False) is None
    assert np.array_equal(engine.to_host(out), written)
    engine.terms.add(out, iter(parts))
    assert np.abs(engine.to_host(out) - 2 * total).max() <= 2 * tolerance


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (3, 5), (4, 256), (5, 257), (67, 600)])
def test_tiles_of_any_shape_are_whole(shape, engine, on):
    """Rows and columns that do not fill a block of threads."""
    P, Q = np.random.default_rng(shape).standard_normal((2, *shape))
    out = engine.xp.empty(shape)
    squares = engine.terms.write(out, [HadamardTerm(-3.0, on(P), on(Q))], True)
    assert np.abs(engine.to_host(out) + 3 * P * Q).max() <= 1e-14 * np.abs(P * Q).max()
    assert float(squares) == pytest.approx((9 * P**2 * Q**2).sum(), rel=1e-13)


@pytest.mark.parametrize("dtype", DTYPES)
def test_any_memory_layout_and_dtype_is_added(dtype, engine, on):
    """Terms keep their dtype, the sum keeps its own."""
    whole = [RNG.standard_normal((70, 94)) for _ in range(3)]
    F, G = RNG.standard_normal((35, 3)), RNG.standard_normal((94, 6)).astype(np.float32)
    views = [on(whole[0])[::2, ::2], on(whole[1].astype(np.float32).T)[:47, :35].T]
    out = on(whole[2].astype(dtype))[::2, ::2]
    parts = [HadamardTerm(0.5, views[0]), HadamardTerm(-2.0, *views), LowRankTerm(1.5, on(F), on(G)[::2, 1:4])]
    engine.terms.add(out, parts)
    P, Q = whole[0][::2, ::2], whole[1].astype(np.float32).T[:47, :35].T.astype(float)
    expected = whole[2].astype(dtype)[::2, ::2] + 0.5 * P - 2 * P * Q + 1.5 * F @ G[::2, 1:4].T
    assert out.dtype == dtype
    assert np.abs(engine.to_host(out) - expected).max() <= 100 * np.finfo(dtype).eps


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("columns", [1, 64, 100, 1000])
@pytest.mark.parametrize("values", [(0.0, 1.0), (-1.0, 1.0), (0.01, 1.0), (-0.25, 0.5)])
def test_products_of_bits_are_those_of_their_values(values, columns, dtype, engine, on):
    """Exact where the values are integers; elsewhere counts are rounded once."""
    masks = [np.random.default_rng([k, columns]).random((rows, columns)) < 0.4 for k, rows in enumerate((9, 14))]
    masks[0][3] = masks[1][5] = False
    sides, Q = [], MATRICES[0][:9, 2:14].astype(dtype)
    for mask in masks:
        words = engine.bits.empty(*mask.shape)
        engine.bits.pack(words, on(mask.astype(dtype)), 1.0)
        sides.append(Bits(words, columns, values, np.dtype(dtype)))
    gram = sides[0].gram(slice(0, 9), sides[1], slice(2, 14), dtype)
    D, D2 = (np.where(mask, values[1], values[0]) for mask in masks)
    exact = D @ D2[2:].T
    out = engine.xp.empty((9, 12), dtype)
    engine.terms.write(out, [HadamardTerm(1.0, gram)], False)
    slack = 0 if all(value == int(value) for value in values) else 8 * np.finfo(dtype).eps * columns
    assert np.abs(engine.to_host(out) - exact).max() <= slack
    engine.terms.write(out, [HadamardTerm(-2.0, gram, on(Q)), HadamardTerm(0.5, gram)], False)
    expected = -2 * exact * Q + 0.5 * exact
    assert np.abs(engine.to_host(out) - expected).max() <= 20 * np.finfo(dtype).eps * columns


def test_squares_of_float32_entries_are_summed_in_float64(engine, on):
    tile, ones = np.full((1000, 700), 0.1, np.float32), np.ones((1000, 700), np.float32)
    squares = engine.terms.write(engine.xp.empty(tile.shape, np.float32), [HadamardTerm(1.0, on(tile), on(ones))], True)
    assert float(squares) == pytest.approx(7e5 * float(np.float32(0.1)) ** 2, rel=1e-11)


# -------------------------------------------------------------------------------------------------- kernels of networks
N, D, WIDTH = 37, 5, 12
PHI = {
    "relu": (lambda u: max(u, 0.0), lambda u: float(u >= 0)),
    "leaky_relu": (lambda u: max(u, 0.01 * u), lambda u: 1.0 if u >= 0 else 0.01),
    "abs": (abs, lambda u: 1.0 if u >= 0 else -1.0),
    "erf": (math.erf, lambda u: 2 / math.sqrt(math.pi) * math.exp(-u * u)),
}
X, X_TEST = (np.random.default_rng(seed).standard_normal((rows, D)) for seed, rows in ((1, N), (2, 11)))
X[4] = X_TEST[0] = 0


@cache
def slow_gaps(act, layer):
    """Theta - Theta^lin by its definition: train and train, test and train."""
    net, (phi, slope) = ns.TwoLayer.symmetric(D, WIDTH, act), PHI[act]
    constants = net.activation.constants
    thetas = constants.vartheta0, constants.vartheta1, constants.vartheta2
    psi, more = {"first": (naive.psi_first, ()), "both": (naive.psi_both, (thetas,))}[layer]
    right, gaps = np.array([psi(x, constants.zeta, constants.nu(1.0), *more) for x in X]), []
    for points in (X, X_TEST):
        theta = naive.theta_first(net.W, net.v, slope, points, X)
        if layer == "both":
            theta += naive.theta_second(net.W, phi, points, X)
        left = np.array([psi(x, constants.zeta, constants.nu(1.0), *more) for x in points])
        gaps.append(theta - left @ right.T)
    return gaps


def gap(engine, act, layer, sides, dtype=np.float64):
    sides = [None if side is None else engine.xp.asarray(side.astype(dtype)) for side in sides]
    net = ns.TwoLayer.symmetric(D, WIDTH, act, dtype=dtype).to(engine.name)
    return ns.ntk(net, *sides, layer=layer) - ns.linear_kernel(act, *sides, layer=layer, trace_ratio=1.0)


@pytest.mark.parametrize("layer", ["first", "both"])
@pytest.mark.parametrize("act", PHI)
def test_gaps_are_those_of_the_definition(act, layer, engine, monkeypatch):
    """Train and train, test and train; zero points; whole and partial tiles; sums of squares."""
    gaps = slow_gaps(act, layer)
    for side, dtype in itertools.product((16, 4096), DTYPES):
        monkeypatch.setattr(engine, "TILE", side)
        tolerance = 50 * np.finfo(dtype).eps * np.abs(gaps[0]).max()
        for sides, exact in zip(((X, None), (X_TEST, X)), gaps, strict=True):
            operator = gap(engine, act, layer, sides, dtype)
            dense = engine.to_host(operator.to_dense()).astype(float)
            assert np.abs(dense - exact).max() <= tolerance
            assert operator.sum_of_squares() == pytest.approx((dense**2).sum(), rel=1e-13)
        triangle = form(gap(engine, act, layer, (X, None), dtype))
        dense = engine.to_host(triangle.to_dense()).astype(float)
        assert np.abs(dense - gaps[0]).max() <= tolerance
        assert triangle.frobenius_squared == pytest.approx((dense**2).sum(), rel=1e-13)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
def test_sums_of_terms_are_those_of_their_matrices(count, engine):
    """Terms that share factors and terms that do not, with both signs."""
    asarray, scales = engine.xp.asarray, [1.0, -0.5, 2.0, -3.0, 0.25, -1.0, 0.5]
    P, Q = RNG.standard_normal((N, 7)), RNG.standard_normal((N, 2))
    there = [asarray(array) for array in (X, P, Q)]
    terms = [
        (HadamardGram(there[1], there[0]), (P @ P.T) * (X @ X.T)),
        (Gram(there[0]), X @ X.T),
        (Gram(there[2]), Q @ Q.T),
        (Gram(there[1]), P @ P.T),
        (HadamardGram(there[0], there[2]), (X @ X.T) * (Q @ Q.T)),
        (HadamardGram(there[0], there[0]), (X @ X.T) ** 2),
        (Gram(asarray(P[:, :5].copy())), P[:, :5] @ P[:, :5].T),
    ]
    operator = scales[0] * terms[0][0]
    expected = sum(scale * matrix for scale, (_, matrix) in zip(scales, terms[:count], strict=False))
    for scale, (term, _) in zip(scales[1:count], terms[1:count], strict=True):
        operator = operator + scale * term
    assert np.abs(engine.to_host(operator.to_dense()) - expected).max() <= 1e-12
    assert operator.sum_of_squares() == pytest.approx((expected**2).sum(), rel=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("act", ["relu", "leaky_relu", "abs"])
def test_gaps_of_bits_are_symmetric_to_the_last_bit(act, dtype, engine):
    """Also where the two values are no powers of two."""
    matrix = engine.to_host(gap(engine, act, "both", (X, None), dtype).to_dense())
    assert np.array_equal(matrix, matrix.T)


# ---------------------------------------------------------------------------------------------------------- on the GPU
@pytest.mark.parametrize(("layer", "tiles"), [("first", 1), ("both", 1), ("both", 6)])
def test_a_tile_is_one_pass_and_nobody_waits_for_it(layer, tiles, gpu, monkeypatch):
    """Tiles queue up: numbers come to the host once, after the last of them."""
    started, came, real = [], [], gpu.to_host
    launch = gpu.terms.launch
    monkeypatch.setattr(gpu.terms, "launch", lambda *given: (started.append(given), launch(*given)))
    monkeypatch.setattr(gpu, "to_host", lambda array: (came.append(len(started)), real(array))[1])
    monkeypatch.setattr(gpu, "TILE", {1: 64, 6: 16}[tiles])
    operator = gap(gpu, "relu", layer, (X, None))
    operator.sum_of_squares()
    assert (len(started), came) == (tiles, [tiles])
    assert type(gpu.tiles.sum_of_squares(gpu.xp.zeros((3, 3)))) is gpu.xp.ndarray


def test_results_are_the_same_from_run_to_run(gpu):
    operator = gap(gpu, "relu", "both", (X, None), np.float32)
    first, second = (operator.tile(slice(0, 20), slice(3, N)) for _ in range(2))
    assert (first == second).all()
    assert operator.sum_of_squares() == operator.sum_of_squares()
