"""The NTK of infinitely many channels: plain loops, mpmath, finite networks, and the cases that are dense networks."""

import itertools
import math

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import naive
import ntkspec as ns
from ntkspec.activations import hermite
from ntkspec.kernels import cnn_linear_kernel

CLOSED = ["identity", "relu", "leaky_relu", "abs", "erf", "gelu", "sin", "cos"]
SHAPES = [((6, 1), (1,)), ((7, 1), (3,)), ((5, 2), (5,)), ((3, 4, 2), (2, 3)), ((4, 3, 1), (1, 2)), ((1, 1, 5), (1, 1))]


def patches_at(x, shape, size):
    """The numbers of the patch from each position on, (positions, q c)."""
    image, space = np.reshape(x, shape), shape[:-1]
    patches = []
    for start in np.ndindex(*space):
        places = [
            tuple((p + o) % s for p, o, s in zip(start, offset, space, strict=True)) for offset in np.ndindex(*size)
        ]
        patches.append(np.concatenate([image[place] for place in places]))
    return np.array(patches)


def reference(name, X, shape, size):
    """Equation (12) with infinitely many channels: the mean over positions of the fully-connected kernel of patches."""
    stacked = np.stack([patches_at(x, shape, size) for x in X])
    kernels = []
    for patches in stacked.swapaxes(0, 1):
        if name in ("relu", "leaky_relu", "abs"):
            slope = {"relu": 0.0, "leaky_relu": 0.01, "abs": -1.0}[name]
            kernels.append(naive.expected_piecewise_linear(slope, patches, "both"))
        else:
            act = ns.activation(name)
            kernels.append(naive.expected_kernel(act, act.derivative, patches, "both"))
    return np.mean(kernels, axis=0)


def hard_inputs(d, dtype=np.float64):
    """A duplicate, an opposite, a multiple, a near duplicate, a zero row, and rows that share half of their numbers."""
    X = np.random.default_rng(0).standard_normal((8, d))
    X[1], X[2], X[3], X[4] = X[0], -X[0], 2 * X[0], 0
    X[5] = X[0] + 1e-6 * X[6]
    X[6, : d // 2] = X[0, : d // 2]
    X[7] = np.roll(X[0], 1)
    return X.astype(dtype)


def relative(found, expected):
    """Error against sqrt(K_ii K_jj)."""
    roots = np.sqrt(np.diag(expected))
    return float((np.abs(found - expected) / np.maximum(np.outer(roots, roots), 1e-300))[expected != 0].max())


@pytest.mark.parametrize(
    ("name", "shape", "size"),
    [(name, *pair) for name in ("relu", "leaky_relu", "abs") for pair in SHAPES]
    + [(name, *SHAPES[2]) for name in ("identity", "erf")]
    + [pytest.param(name, *SHAPES[2], marks=pytest.mark.slow) for name in ("gelu", "sin", "cos")]
    + [(name, *SHAPES[5]) for name in ("identity", "erf", "gelu", "sin", "cos")],
)
def test_entries_are_means_over_patches_of_dense_kernels(name, shape, size):
    X = hard_inputs(math.prod(shape))
    found, expected = ns.expected_cnn_ntk(name, X, filter_size=size, shape=shape), reference(name, X, shape, size)
    matrix = found.to_dense()
    assert relative(matrix, expected) < 1e-13
    assert np.array_equal(matrix, matrix.T)
    assert found.diagonal() == pytest.approx(np.diag(expected), rel=1e-13, abs=1e-300)
    assert np.diag(matrix) == pytest.approx(found.diagonal(), rel=1e-15, abs=1e-300)
    assert matrix[0, 1] == pytest.approx(matrix[0, 0], rel=1e-15)


@pytest.mark.parametrize(
    ("name", "size"), [pytest.param("tanh", 3, marks=pytest.mark.slow), ("softplus", 4), ("silu", 1)]
)
def test_activations_without_closed_form_are_series(name, size):
    X = hard_inputs(6)[[0, 1, 2, 4, 5, 6]]
    if size == 1:
        X = np.sign(X)  # patches of one number are all parallel, and a series serves norms about 1
    expected = reference(name, X, (6, 1), (size,))
    found = ns.expected_cnn_ntk(name, X, filter_size=size)
    assert relative(found.to_dense(), expected) < 1e-13
    assert found.diagonal() == pytest.approx(np.diag(expected), rel=1e-13)
    rectangle = ns.expected_cnn_ntk(name, X[:2], X, filter_size=size)
    assert relative(np.vstack([rectangle.to_dense(), expected[2:]]), expected) < 1e-13


def test_kinks_without_closed_form_are_integrated():
    X = np.array([[1.0, 0.2, -0.4], [0.9, 0.25, 0.3]])
    patches = [patches_at(x, (3, 1), (2,)) for x in X]
    expected = np.mean([sum(naive.expected_elu(*pair)) for pair in zip(*patches, strict=True)])
    assert ns.expected_cnn_ntk("elu", X, filter_size=2).to_dense()[0, 1] == pytest.approx(expected, rel=1e-11)


def test_erf_on_the_cube_is_the_printed_sum():
    X = np.random.default_rng(0).choice([-1.0, 1.0], (30, 24))
    found = ns.expected_cnn_ntk("erf", X, filter_size=5)
    for i, j in itertools.product(range(0, 30, 7), range(0, 30, 5)):
        total = mp.mpf(0)
        for c in (mp.fdot(x, z) / 5 for x, z in zip(*(patches_at(X[k], (24, 1), (5,)) for k in (i, j)), strict=True)):
            total += 2 / mp.pi * mp.asin(2 * c / 3) + 4 / mp.pi * c / mp.sqrt(9 - 4 * c * c)
        assert found.to_dense()[i, j] == pytest.approx(float(total / 24), abs=1e-15)
    assert found.diagonal() == pytest.approx(np.full(30, 1.03396908913128), abs=1e-13)


@pytest.mark.parametrize("name", ["relu", "erf", "gelu"])
def test_filters_as_long_as_the_input_are_a_dense_network(name):
    """Every patch is a rotation, and <x, x'> does not see it."""
    X = hard_inputs(12)
    expected = ns.expected_ntk(name, X).to_dense()
    assert relative(ns.expected_cnn_ntk(name, X, filter_size=12).to_dense(), expected) < 1e-14
    image = ns.expected_cnn_ntk(name, X, filter_size=(2, 3), shape=(2, 3, 2))
    assert relative(image.to_dense(), expected) < 1e-14


@pytest.mark.covering(1)
@pytest.mark.parametrize("name", ["relu", "erf", "tanh"])
@pytest.mark.parametrize(("shape", "size"), [((6, 1), 3), ((2, 3, 2), (2, 1))])
def test_networks_converge_at_the_root_of_their_channels(name, shape, size):
    X, deviations = np.random.default_rng(1).standard_normal((5, math.prod(shape))), []
    expected = ns.expected_cnn_ntk(name, X, filter_size=size, shape=shape).to_dense()
    for channels in (32, 512):
        nets = [ns.Convolutional.random(shape, channels, name, filter_size=size, seed=seed) for seed in range(30)]
        distances = [np.linalg.norm(ns.ntk(net, X).to_dense() - expected) for net in nets]
        deviations.append(math.sqrt(np.mean(np.square(distances))))
    assert math.log(deviations[0] / deviations[1], 16) == pytest.approx(0.5, abs=0.15)


def deep_reference(name, X, shape, size, layers):
    """The recursion over layers position by position in 60 digits, for two points."""
    digits = [[[mp.mpf(float(v)) for v in row] for row in patches_at(x, shape, size)] for x in X]
    neighbours = patches_at(np.arange(math.prod(shape[:-1])), (*shape[:-1], 1), size).astype(int)
    total = {}
    pairs = ((0, 0), (1, 1), (0, 1))
    for i, j in pairs:
        total[i, j] = [mp.fdot(u, v) / len(u) for u, v in zip(digits[i], digits[j], strict=True)]
    tangent = dict(total)
    for layer in range(layers):
        value, both = {}, {}
        for i, j in pairs:
            moments = [
                digits_of_moments(name, *triple) for triple in zip(total[i, i], total[j, j], total[i, j], strict=True)
            ]
            value[i, j] = [k for k, _ in moments]
            both[i, j] = [k + t * slope for (k, slope), t in zip(moments, tangent[i, j], strict=True)]
        if layer == layers - 1:
            return [float(mp.fsum(both[pair]) / len(neighbours)) for pair in pairs]
        total, tangent = (
            {pair: [mp.fsum(part[pair][p] for p in near) / len(near) for near in neighbours] for pair in pairs}
            for part in (value, both)
        )


def digits_of_moments(name, a, b, c):
    if name == "erf":
        product = (1 + 2 * a) * (1 + 2 * b)
        return 2 / mp.pi * mp.asin(2 * c / mp.sqrt(product)), 4 / mp.pi / mp.sqrt(product - 4 * c * c)
    slope = {"relu": 0, "leaky_relu": mp.mpf(0.01), "abs": -1}[name]
    p, q, rho = mp.mpf(1 + slope) / 2, mp.mpf(1 - slope) / 2, min(1, max(-1, c / mp.sqrt(a * b)))
    arc = mp.asin(rho)
    value = p**2 * c + q**2 * 2 / mp.pi * mp.sqrt(a * b) * (mp.sqrt(1 - rho**2) + rho * arc)
    return value, p**2 + q**2 * 2 / mp.pi * arc


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "abs", "erf"])
@pytest.mark.parametrize("step", [1.0, 1e-3, 1e-6, 1e-9])
def test_deep_networks_in_sixty_digits_also_for_near_duplicates(name, step):
    rng = np.random.default_rng(5)
    for shape, size in (((5, 1), (2,)), ((2, 3, 2), (2, 2))):
        x, z = rng.standard_normal((2, math.prod(shape)))
        X = np.array([x, 1.1 * x + step * z])
        for layers in (1, 2, 3):
            with mp.workdps(60):
                expected = deep_reference(name, X, shape, size, layers)
            operator = ns.expected_cnn_ntk(name, X, filter_size=size, shape=shape, hidden_layers=layers)
            assert operator.diagonal() == pytest.approx(expected[:2], rel=1e-13)
            assert operator.to_dense()[0, 1] == pytest.approx(expected[2], rel=1e-12)


@pytest.mark.parametrize("step", [1e-3, 1e-6, 1e-9])
def test_inputs_that_are_nearly_opposite_are_nearly_equal_to_abs(step):
    x, z = np.random.default_rng(5).standard_normal((2, 5))
    X = np.array([x, -1.1 * x + step * z])
    with mp.workdps(60):
        expected = deep_reference("abs", X, (5, 1), (2,), 3)[2]
    found = ns.expected_cnn_ntk("abs", X, filter_size=2, hidden_layers=3).to_dense()[0, 1]
    assert found == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("name", ["relu", "tanh", "gelu"])
@pytest.mark.parametrize("count", [12, pytest.param(40, marks=pytest.mark.slow)])
def test_deep_networks_approach_it(name, count):
    """Means over networks of 256 channels, against their spread and the bias of a finite width."""
    X = np.random.default_rng(1).standard_normal((4, 8))
    for shape, size, layers in (((4, 2), 2, 2), ((2, 2, 2), (2, 1), 3)):
        expected = ns.expected_cnn_ntk(name, X, filter_size=size, shape=shape, hidden_layers=layers).to_dense()
        nets = [ns.Convolutional.random(shape, [256] * layers, name, filter_size=size, seed=s) for s in range(count)]
        kernels = np.array([ns.ntk(net, X).to_dense() for net in nets])
        error = abs(kernels.mean(axis=0) - expected)
        assert (error <= 5 * kernels.std(axis=0) / math.sqrt(count) + 0.02 * np.trace(expected) / 4).all()


@pytest.mark.parametrize("name", ["relu", "erf", "tanh", "elu"])
def test_one_position_is_a_deep_dense_network_on_the_channels(name):
    """T = K + T K' with K of the layer before in the place of the inner product, written out for one pair at a time."""
    X, act = np.random.default_rng(2).standard_normal((3, 7)), ns.activation(name)
    operator = ns.expected_cnn_ntk(name, X, filter_size=1, shape=(1, 7), hidden_layers=3)
    for i, j in itertools.product(range(3), range(3)):
        a, b, c = X[i] @ X[i] / 7, X[j] @ X[j] / 7, X[i] @ X[j] / 7
        tangent = c
        for _ in range(3):
            (value, slope), (own, _), (other, _) = (moments_of(act, *t) for t in ((a, b, c), (a, a, a), (b, b, b)))
            a, b, c, tangent = own, other, value, value + tangent * slope
        assert operator.to_dense()[i, j] == pytest.approx(tangent, rel=1e-10)


def moments_of(act, a, b, c):
    gap = max(a * b - c * c, 0.0) if a != c else 0.0
    if act.dual is not None:
        return [float(part) for part in act.dual(np, *map(np.array, (a, b, c, gap)))]
    order = (max(a, b), min(a, b))
    return hermite.pair_integrals(act, *order, c, gap)[:2]


def test_deep_symmetry_duplicates_and_test_points():
    X = hard_inputs(12)
    for name in ("relu", "leaky_relu", "erf", "silu"):
        arguments = {"filter_size": (2, 2), "shape": (2, 3, 2), "hidden_layers": 3}
        operator = ns.expected_cnn_ntk(name, X, **arguments)
        matrix = operator.to_dense()
        assert np.array_equal(matrix, matrix.T)
        assert np.diag(matrix) == pytest.approx(operator.diagonal(), rel=1e-14, abs=1e-300)
        assert matrix[0, 1] == pytest.approx(matrix[0, 0], rel=1e-14)
        assert np.linalg.eigvalsh(matrix)[0] >= -1e-12 * np.trace(matrix)
        part = ns.expected_cnn_ntk(name, X[:3], X, **arguments)
        assert part.to_dense() == pytest.approx(matrix[:3], rel=1e-12, abs=1e-13)
    assert ns.expected_cnn_ntk("elu", X[[0, 1, 4]], filter_size=6, hidden_layers=2).function.error > 1e-8


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 5), st.integers(1, 5), st.sampled_from(CLOSED), st.integers(0, 99))
def test_shifted_images_have_the_same_kernel_and_all_are_semidefinite(height, width, name, seed):
    rng = np.random.default_rng(seed)
    shape, size = (height, width, 2), tuple(int(rng.integers(1, room + 1)) for room in (height, width))
    X = rng.standard_normal((4, math.prod(shape)))
    shifted = np.roll(X.reshape(4, *shape), rng.integers(0, 5, 2), (1, 2)).reshape(4, -1)
    operator, moved = (ns.expected_cnn_ntk(name, points, filter_size=size, shape=shape) for points in (X, shifted))
    matrix = operator.to_dense()
    assert moved.to_dense() == pytest.approx(matrix, rel=1e-12, abs=1e-13)
    assert operator.semidefinite
    assert np.linalg.eigvalsh(matrix)[0] >= -1e-12 * np.trace(matrix)
    assert operator.rounding.norm_of_absolute >= np.linalg.norm(matrix, 2) * (1 - 1e-12)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 3), st.integers(1, 40), st.integers(1, 3), st.data())
def test_running_sums_are_sums(count, positions, width, data):
    """Bit for bit where all numbers are whole, and equal patches give equal sums whatever lies around them."""
    from ntkspec.engines import cpu

    size = data.draw(st.integers(1, positions))
    values = np.random.default_rng(0).integers(-99, 99, (count, positions, width)).astype(float)
    expected = sum(np.roll(values, -k, axis=1) for k in range(size))
    assert np.array_equal(cpu.patches.circular_sums(values, size), expected)
    noise = np.random.default_rng(1).standard_normal((1, positions, 2))
    noise[0, :size, 1] = noise[0, :size, 0]
    noise[0, size:, 1] *= 1e9
    sums = cpu.patches.circular_sums(noise, size)
    assert sums[0, 0, 0] == sums[0, 0, 1]


@pytest.mark.parametrize("name", ["relu", "erf", pytest.param("tanh", marks=pytest.mark.slow)])
def test_test_points_products_and_transposes(name):
    X = np.random.default_rng(3).standard_normal((90, 8))
    whole, part = ns.expected_cnn_ntk(name, X, filter_size=3), ns.expected_cnn_ntk(name, X[:5], X, filter_size=3)
    matrix = whole.to_dense()
    assert part.shape == (5, 90)
    assert not part.symmetric
    assert part.to_dense() == pytest.approx(matrix[:5], rel=1e-13, abs=1e-14)
    assert part.T.to_dense() == pytest.approx(matrix[:5].T, rel=1e-13, abs=1e-14)
    assert part.rounding.norm_of_absolute >= np.linalg.norm(matrix[:5], 2)
    V = np.random.default_rng(1).standard_normal((90, 3))
    assert part @ V == pytest.approx(matrix[:5] @ V, rel=1e-12, abs=1e-11)
    assert whole @ V[:, 0] == pytest.approx(matrix @ V[:, 0], rel=1e-12, abs=1e-11)
    rows = np.array([70, 3])
    assert np.array_equal(whole.tile(rows, slice(2, 9)), matrix[rows, 2:9])
    square = ns.expected_cnn_ntk(name, X[:4], X[4:8], filter_size=3)
    assert square.diagonal() == pytest.approx(np.diag(matrix[:4, 4:8]), rel=1e-13, abs=1e-14)
    assert whole.storage_error < 1e-11 * whole.rounding.norm_of_absolute


def test_the_operator_goes_where_every_kernel_goes():
    X = np.random.default_rng(3).choice([-1.0, 1.0], (80, 16))
    operator = ns.expected_cnn_ntk("erf", X, filter_size=4)
    gap = operator - cnn_linear_kernel("erf", X, filter_size=4)
    exact = np.linalg.norm(gap.to_dense(), 2)
    norm = ns.spectral_norm(gap)
    assert norm.lower <= exact * (1 + 1e-12)
    assert exact <= norm.upper * (1 + 1e-12)
    assert ns.plan(operator).seconds > 0


@pytest.mark.parametrize("name", ["relu", "erf"])
def test_float32_data_are_computed_in_float64(name):
    X = hard_inputs(8, np.float32)
    found, expected = (ns.expected_cnn_ntk(name, Y, filter_size=3) for Y in (X, X.astype(np.float64)))
    assert found.to_dense().dtype == found.diagonal().dtype == (found @ X[:, 0]).dtype == np.float32
    assert np.array_equal(found.to_dense(), expected.to_dense().astype(np.float32))
    assert np.array_equal(found.tile(slice(0, 8), slice(0, 8), np.float64), expected.to_dense())


def test_one_point_and_zero():
    assert ns.expected_cnn_ntk("relu", np.ones((1, 4)), filter_size=2).to_dense() == pytest.approx(1.0, abs=1e-15)
    assert ns.expected_cnn_ntk("relu", np.zeros((1, 4)), filter_size=2).to_dense() == 0
    assert ns.expected_cnn_ntk("cos", np.zeros((2, 4)), filter_size=2).to_dense() == pytest.approx(1.0)


def test_the_linear_part_is_the_slope_at_small_inner_products():
    """h_c(1, 1, 0) of every position, on the cube."""
    X = np.random.default_rng(0).choice([-1.0, 1.0], (60, 64))
    for name in ("erf", "sin", "tanh"):
        found = ns.expected_cnn_ntk(name, X, filter_size=64).to_dense()
        linear = cnn_linear_kernel(name, X, filter_size=64).to_dense()
        assert linear == pytest.approx(2 * ns.activation(name).constants.zeta ** 2 * X @ X.T / 64, rel=1e-13)
        c, small = X @ X.T / 64, abs(X @ X.T / 64) < 0.13
        assert (abs(found - linear)[small] <= 0.5 * abs(c[small]) ** 3 + 1e-14).all()


def test_bad_input_is_refused():
    X = np.ones((3, 6))
    with pytest.raises(ValueError, match="filter_size=7 is larger"):
        ns.expected_cnn_ntk("erf", X, filter_size=7)
    with pytest.raises(ValueError, match=r"shape=\(5, 1\) holds 5 numbers, but X has 6 columns"):
        ns.expected_cnn_ntk("erf", X, filter_size=2, shape=(5, 1))
    with pytest.raises(ValueError, match="is needed"):
        ns.expected_cnn_ntk("erf", X, filter_size=2, shape=(6,))
    with pytest.raises(ValueError, match="need 2 sizes"):
        ns.expected_cnn_ntk("erf", X, filter_size=(2,), shape=(2, 3, 1))
    with pytest.raises(ValueError, match="hidden_layers=0"):
        ns.expected_cnn_ntk("erf", X, filter_size=2, hidden_layers=0)
    with pytest.raises(ValueError, match="6 are needed"):
        ns.expected_cnn_ntk("erf", X, X[:, :3], filter_size=2)
    with pytest.raises(TypeError, match="convert one"):
        ns.expected_cnn_ntk("erf", X, X.astype(np.float32), filter_size=2)
