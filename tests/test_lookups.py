"""Products of bits with numbers by sums that are looked up: against the definition in more precision, and everywhere
that uses them against multiplications."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ntkspec as ns
from ntkspec.engines import cpu
from ntkspec.networks import two_layer_passes
from ntkspec.operators import Bits, HadamardGram

VALUES = [(0.0, 1.0), (-1.0, 1.0), (0.01, 1.0), (0.5, -0.25)]
# (points, vectors): products of a float32 kernel with float64 vectors too.
DTYPES = [("f", "f"), ("f", "d"), ("d", "d")]


def draw(*shape, dtype="d", seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def packed(mask, values=(0.0, 1.0), dtype="d"):
    words = cpu.bits.empty(*mask.shape)
    cpu.bits.pack(words, mask.astype(dtype), 1.0)
    return Bits(words, mask.shape[1], values, np.dtype(dtype))


def exactly(D, X, V):
    """(gathered, scattered) in extended precision, and the same of absolute values, which rounding is relative to."""
    D, X, V = (np.asarray(array, np.longdouble) for array in (D, X, V))
    found = [np.einsum("im,ik,id->kmd", *parts) for parts in ((D, V, X), (abs(D), abs(V), abs(X)))]
    parts = ((D, found[0], X), (abs(D), found[1], abs(X)))
    return found, [np.einsum("im,kmd,id->ik", *own) for own in parts]


def by_look_ups(bits, X, V):
    products, rows = bits.products, slice(0, len(X))
    sums = products.gather(rows, X, V)
    gathered = np.stack([products.matrix(sums[k : k + 1], X.shape[1]) for k in range(V.shape[1])])
    return gathered, products.scatter(rows, X, sums)


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.tuples(st.integers(1, 110), st.integers(1, 140), st.integers(1, 40), st.integers(1, 3)),
    values=st.sampled_from(VALUES),
    dtypes=st.sampled_from(DTYPES),
    seed=st.integers(0, 99),
)
def test_products_are_those_of_the_definition_within_their_bound(sizes, values, dtypes, seed):
    n, m, d, k = sizes
    mask = draw(n, m, seed=seed) > draw(m, seed=seed + 1)  # some columns are nearly empty
    X, V = draw(n, d, dtype=dtypes[0], seed=seed + 2), draw(n, k, dtype=dtypes[1], seed=seed + 3)
    bits, D = packed(mask, values, dtypes[0]), np.where(mask, values[1], values[0])
    parts = np.where(mask, abs(values[0]) + abs(values[1] - values[0]), abs(values[0]))
    gathered, scattered = by_look_ups(bits, X, V)
    assert gathered.dtype == scattered.dtype == np.dtype(dtypes[1])
    (exact, _), (exact_rows, _) = exactly(D, X, V)
    (_, sizes_of_sums), (_, sizes_of_rows) = exactly(parts, X, V)
    depths = bits.products.depth(d, n)
    half_ulp = float(np.finfo(dtypes[1]).eps) / 2
    more = 8 if dtypes[1] == "f" else 0  # a line of float32 has eight numbers more to add up
    assert (abs(gathered - exact) <= (depths[0] + 1) * half_ulp * sizes_of_sums).all()
    assert (abs(scattered - exact_rows) <= (sum(depths) + more + 1) * half_ulp * sizes_of_rows).all()


@pytest.mark.parametrize("dtypes", DTYPES)
def test_blocks_empty_columns_and_columns_that_are_full(dtypes):
    """More rows than one call of a loop takes, and columns without bits, without zeros, and with few."""
    n, m, d = 16_500, 67, 19
    mask = draw(n, m) > 0
    mask[:, 5], mask[:, 66], mask[:, 64] = False, True, np.arange(n) == n - 1
    X, V = draw(n, d, dtype=dtypes[0], seed=1), draw(n, 2, dtype=dtypes[1], seed=2)
    gathered, scattered = by_look_ups(packed(mask, dtype=dtypes[0]), X, V)
    (exact, size), (rows, row_size) = exactly(mask, X, V)
    eps = float(np.finfo(dtypes[1]).eps)
    assert (abs(gathered - exact) <= 40 * eps * size).all()
    assert (abs(scattered - rows) <= 40 * eps * row_size).all()
    assert (gathered[:, 5] == 0).all()


def variants(array):
    """The same numbers, as users may hold them."""
    frozen, strided = array.copy(), np.zeros((2 * len(array), 2 * array.shape[1]), array.dtype)
    frozen.flags.writeable = False
    strided[::2, 1::2] = array
    return [np.asfortranarray(array), frozen, strided[::2, 1::2], array[::-1].copy()[::-1]]


@pytest.mark.parametrize("dtypes", DTYPES)
def test_memory_of_any_kind_gives_the_same_numbers(dtypes):
    X, V = draw(100, 21, dtype=dtypes[0]), draw(100, 2, dtype=dtypes[1], seed=1)
    bits = packed(draw(100, 70, seed=2) > 0, dtype=dtypes[0])
    expected = by_look_ups(bits, X, V)
    for other in variants(X):
        for found, wanted in zip(by_look_ups(bits, other, V), expected, strict=True):
            np.testing.assert_array_equal(found, wanted)
    for other in variants(V):
        np.testing.assert_array_equal(by_look_ups(bits, X, other)[0], expected[0])


def theta(n, m, d, values=(0.0, 1.0), dtype="f"):
    mask = draw(n, m, seed=5) > 0
    return HadamardGram(packed(mask, values, dtype), draw(n, d, dtype=dtype, seed=6)), np.where(mask, *values[::-1])


def test_look_ups_are_taken_where_they_are_sooner():
    assert theta(20, 256, 64)[0].cost.product.lookups
    assert theta(20, 1024, 256)[0].cost.product.flops == 0
    assert theta(20, 256, 2)[0].cost.product.lookups == 0
    assert theta(20, 8, 300)[0].cost.product.lookups == 0
    assert HadamardGram(draw(9, 256), draw(9, 64)).cost.product.lookups == 0


@pytest.mark.parametrize("values", VALUES)
@pytest.mark.parametrize("dtype", ["f", "d"])
def test_products_of_a_kernel_stay_within_the_bound_that_certificates_use(values, dtype):
    kernel, D = theta(300, 300, 70, values, dtype)
    assert kernel.cost.product.lookups
    u = draw(300, 2, seed=7)
    D, X, U = (np.asarray(array, np.longdouble) for array in (D, kernel.X, u))
    exact = ((D @ D.T) * (X @ X.T)) @ U
    error = np.linalg.norm((kernel._matmat(u) - exact).astype(float), axis=0) / np.linalg.norm(u, axis=0)
    assert (error <= kernel.rounding.matvec_error_bound).all()
    assert kernel.rounding.matvec_error_bound < 1e-11 * kernel.rounding.norm_of_absolute


def test_products_between_two_sets_of_points():
    masks, X, Y = (draw(90, 200) > 0, draw(130, 200, seed=1) > 0), draw(90, 40), draw(130, 40, seed=3)
    kernel = HadamardGram(packed(masks[0], (-0.5, 1.0)), X, packed(masks[1], (-0.5, 1.0)), Y)
    D, E = (np.where(mask, 1.0, -0.5) for mask in masks)
    for operator, matrix in ((kernel, (D @ E.T) * (X @ Y.T)), (kernel.T, (E @ D.T) * (Y @ X.T))):
        assert operator.cost.product.lookups
        u = draw(matrix.shape[1], 9, seed=4)
        exact = matrix @ u
        error = np.linalg.norm(operator._matmat(u) - exact, axis=0) / np.linalg.norm(u, axis=0)
        assert (error <= 2 * operator.rounding.matvec_error_bound).all()


def test_any_number_of_threads_gives_the_same_numbers(monkeypatch):
    kernel, _ = theta(20_000, 200, 64)
    u, found = draw(20_000, seed=8), []
    for count in (1, 2, 3, 7):
        with ThreadPoolExecutor(count) as pool:
            monkeypatch.setattr(cpu.threads, "workers", lambda count=count: count)
            monkeypatch.setattr(cpu.threads, "_pool", lambda pool=pool: pool)
            found.append(kernel._matmat(u[:, None]))
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


def test_parts_of_the_points_add_up():
    kernel, _ = theta(300, 256, 64, dtype="d")
    u, total = draw(300, 2, seed=9), 0
    for rows in (slice(0, 1), slice(1, 200), slice(200, 300)):
        part = HadamardGram(Bits(kernel.D.words[rows], 256, (0.0, 1.0), kernel.dtype), kernel.X[rows])
        total = total + part.local_vjp(u[rows])
    np.testing.assert_allclose(kernel.local_jvp(total), kernel.to_dense() @ u, rtol=1e-12, atol=1e-9)


# ------------------------------------------------------------------------------------------- passes of two-layer nets
@pytest.fixture
def multiplied(monkeypatch):
    """Turns look-ups off in passes of two-layer networks."""

    def off():
        monkeypatch.setattr(two_layer_passes.Bent, "sooner", classmethod(lambda cls, *arguments: None))

    return off


def network(name, dtype, d=70, m=202):
    act = ns.activation("leaky_relu", negative_slope=0.3) if name == "leaky_relu" else ns.activation(name)
    return ns.TwoLayer.random(d, m, act, dtype=dtype)


@pytest.mark.parametrize("dtype", ["f", "d"])
@pytest.mark.parametrize("name", ["relu", "leaky_relu", "abs"])
def test_passes_are_those_by_multiplications(name, dtype, multiplied):
    net, X = network(name, dtype), draw(1000, 70, dtype=dtype)
    tangents = [draw(*W.shape, dtype=dtype, seed=3) for W in net.weights]
    weights = two_layer_passes.scaled_weights(net.W, net.v, np.dtype(dtype))[0]
    assert two_layer_passes.Bent.sooner(net.activation, weights)

    def passes():
        return [net.jvp(X, tangents), *_flat(net.value_and_vjp(X, lambda rows, f: f - 0.5))]

    looked_up = passes()
    multiplied()
    for found, expected in zip(looked_up, passes(), strict=True):
        assert found.dtype == expected.dtype
        scale = abs(expected).max()
        np.testing.assert_allclose(found / scale, expected / scale, atol=200 * np.finfo(dtype).eps)


def _flat(found):
    outputs, gradients = found
    return [outputs, *gradients]


@pytest.mark.parametrize("rates", [(0.3, 0.2), (0.3, 0.0), (0.0, 0.2)])
@pytest.mark.parametrize("name", ["relu", "abs"])
def test_training_is_that_by_multiplications(name, rates, multiplied):
    net, X, y = network(name, "d"), draw(1100, 70), draw(1100, seed=1)
    settings = {"eta1": rates[0], "eta2": rates[1], "steps": [0, 1, 7]}

    def trained():
        return [ns.train_gd(net, X, y, **settings, **batches) for batches in ({}, {"batch": 100})]

    looked_up = trained()
    multiplied()
    for found, expected in zip(looked_up, trained(), strict=True):
        np.testing.assert_allclose(found.train, expected.train, atol=1e-9)
        for one, other, start, rate in zip(
            found.network.weights, expected.network.weights, net.weights, rates, strict=True
        ):
            np.testing.assert_allclose(one, other, atol=1e-9)
            assert rate or (one == start).all()


def test_training_that_diverges_stops_at_the_same_step(multiplied):
    net, X, y, found = network("relu", "f"), draw(600, 70, dtype="f"), draw(600, dtype="f"), []
    for _ in range(2):
        with pytest.warns(RuntimeWarning, match="diverge"):
            found.append(ns.train_gd(net, X, y, eta=1e5, steps=[0, 1, 2, 50]))
        multiplied()
    assert list(found[0].steps) == list(found[1].steps)


@pytest.mark.parametrize("below", [0.0, 0.3, -1.0])
@pytest.mark.parametrize("columns", [3, 64, 131])
def test_outputs_and_bits_of_an_activation(below, columns):
    """Infinite inputs, zeros of both signs and NaN are those of the function itself."""
    inputs = draw(9, columns, seed=1)
    inputs[:5, 1] = [0.0, -0.0, -np.inf, np.inf, np.nan]
    act, readout = ns.activation("leaky_relu", negative_slope=below), abs(draw(columns, seed=2))
    value, slope = act.value_and_derivative(inputs)
    bits = packed(np.zeros((9, columns)), act.slopes)
    found = bits.products.activate(slice(0, 9), inputs, readout)
    np.testing.assert_allclose(found, [(row * readout).sum() for row in value], rtol=1e-13, atol=1e-13)
    np.testing.assert_array_equal(bits[slice(0, 9)], slope)
