"""A kernel whose points lie on workers: every public function, with the answers of the same kernel on one machine."""

import gc
import os
import signal
import threading
import time
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest

import ntkspec as ns
from ntkspec.cluster import pieces
from ntkspec.cluster.kernel import built
from ntkspec.cluster.over_points import local_jvp, local_vjp
from ntkspec.cluster.parts import Parts
from ntkspec.cluster.spread_array import SpreadArray
from ntkspec.engines import moved, named
from ntkspec.operators import wrap
from ntkspec.randomness import stream
from ntkspec.spectra.certificates import spectrum_bounds
from ntkspec.spectra.lanczos import Lanczos
from workers_here import Here

N, DIM, WIDTH = 240, 12, 40
PARTS = [[(0, N)], [(0, 100), (100, N)], [(0, 1), (1, 90), (90, 95), (95, N)]]


def points(rows=(0, N), engine="cpu", dtype=np.float64):
    return moved(ns.datasets.gaussian(N, DIM, seed=5).X[slice(*rows)].astype(dtype), named(engine))


def kernel(rows=(0, N), act="relu", layer="both", engine="cpu"):
    """Theta - Theta^lin on some rows of one data set, with one network and one trace_ratio."""
    X = points(rows, engine)
    net = ns.TwoLayer.symmetric(DIM, WIDTH, act, seed=2).to(engine)
    return ns.ntk(net, X, layer=layer) - ns.linear_kernel(act, X, layer=layer, trace_ratio=1.0)


def two_layers(rows=(0, N), dtype=np.float64, X_test=None):
    """A semidefinite kernel, or that of some other points against these rows."""
    net = ns.TwoLayer.symmetric(DIM, WIDTH, "erf", seed=2, dtype=dtype)
    X = points(rows, dtype=dtype)
    return ns.ntk(net, X) if X_test is None else ns.ntk(net, X_test, X)


def linear(rows=(0, N), dtype=np.float64):
    return ns.linear_kernel("relu", points(rows, dtype=dtype), trace_ratio=1.0)


def deep(rows=(0, N)):
    return ns.ntk(ns.FullyConnected.random(DIM, [16, 12], "erf", seed=3), points(rows))


def convolutional(rows=(0, N)):
    return ns.ntk(ns.Convolutional.random((DIM, 1), [3, 2], "erf", filter_size=3, seed=1), points(rows))


def several_outputs(rows=(0, N)):
    """Two rows for each point, of features that the two outputs share."""
    features = np.stack([np.tanh(points(rows)), points(rows) ** 2], axis=1) / 4
    return wrap(ns.operators.Gram(features.reshape(-1, DIM)), rows_per_point=2)


def infinite_width(rows=(0, N)):
    return ns.expected_ntk("erf", points(rows))


def several_terms(rows=(0, N)):
    return two_layers(rows) + 2.0 * infinite_width(rows) + 0.5 * ns.operators.identity(rows[1] - rows[0])


KERNELS = [kernel, two_layers, linear, deep, convolutional, infinite_width, several_terms]


def spread(build=kernel, parts=PARTS[1], workers=None):
    return built(workers or Here(), build, parts)


def host(found):
    return found.gather() if isinstance(found, SpreadArray) else np.asarray(found)


# ------------------------------------------------------------------------------------------------------------ products
@pytest.mark.parametrize("layer", ["first", "second", "both"])
@pytest.mark.parametrize("act", ["relu", "erf"])
def test_what_parts_gather_makes_products(act, layer):
    operator = kernel((0, N), act, layer)
    V = np.random.default_rng(0).standard_normal((N, 3))
    parts = [kernel(rows, act, layer) for rows in PARTS[2]]
    gathered = [local_vjp(part, V[slice(*rows)]) for part, rows in zip(parts, PARTS[2], strict=True)]
    total = [sum(terms) for terms in zip(*gathered, strict=True)]
    product = np.vstack([local_jvp(part, total, V[slice(*rows)]) for part, rows in zip(parts, PARTS[2], strict=True)])
    assert np.abs(product - operator.to_dense() @ V).max() <= 1e-12 * np.abs(product).max()


@pytest.mark.parametrize("parts", PARTS)
@pytest.mark.parametrize("build", KERNELS)
def test_a_spread_kernel_has_the_products_and_the_entries_of_the_whole_one(build, parts):
    K, whole = spread(build, parts), build().to_dense()
    V = np.random.default_rng(0).standard_normal((N, 3))
    assert np.abs((K @ V).gather() - whole @ V).max() <= K.rounding.matvec_error_bound * np.linalg.norm(V)
    assert np.abs((K @ V[:, 0]).gather() - whole @ V[:, 0]).max() <= K.rounding.matvec_error_bound * np.linalg.norm(V)
    assert K.diagonal().gather() == pytest.approx(whole.diagonal(), rel=1e-12)
    norm, total = ns.frobenius_norm(K), ns.trace(K)
    assert norm.lower <= np.linalg.norm(whole) * (1 + 1e-15)
    assert norm.upper >= np.linalg.norm(whole) * (1 - 1e-15)
    assert norm.value == pytest.approx(np.linalg.norm(whole), rel=1e-12)
    assert total.lower <= np.trace(whole) <= total.upper


def own_network(rows=(0, N), outputs="mean"):
    """A module of PyTorch of two outputs, the same on each worker."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = torch.nn.Linear(DIM, 9), torch.nn.Tanh(), torch.nn.Linear(9, 2)
        return ns.ntk(ns.from_torch(torch.nn.Sequential(*layers).double()), points(rows), outputs=outputs)


@pytest.mark.parametrize("outputs", ["mean", "full"])
def test_kernels_of_networks_of_ones_own_are_spread(outputs):
    K, whole = spread(partial(own_network, outputs=outputs), PARTS[2]), own_network(outputs=outputs).to_dense()
    V = np.random.default_rng(0).standard_normal((len(whole), 3))
    assert np.abs((K @ V).gather() - whole @ V).max() <= 1e-12 * np.abs(whole @ V).max()
    norm = ns.spectral_norm(K)
    assert norm.lower <= np.linalg.norm(whole, 2) <= norm.upper
    assert ns.frobenius_norm(K).value == pytest.approx(np.linalg.norm(whole), rel=1e-12)


def test_a_kernel_of_several_outputs_keeps_the_rows_of_a_point_together():
    K, whole = spread(several_outputs), several_outputs().to_dense()
    y = np.random.default_rng(1).standard_normal((N, 2))
    assert (K @ y.reshape(-1)).gather() == pytest.approx(whole @ y.reshape(-1), rel=1e-10)
    one, other = (ns.predict_gd(k, y, eta=0.1, steps=[1, 20]) for k in (K, several_outputs()))
    assert one.train.shape == (2, N, 2)
    assert one.train.gather() == pytest.approx(other.train, abs=1e-8)


@pytest.mark.parametrize("parts", PARTS)
@pytest.mark.parametrize("build", [two_layers, linear])
def test_errors_of_products_are_within_the_bound_in_float32_too(build, parts):
    K, whole = spread(partial(build, dtype=np.float32), parts), build(dtype=np.float32)
    v = np.random.default_rng(0).standard_normal(N)
    v /= np.linalg.norm(v)
    assert np.linalg.norm((K @ v).gather() - whole.to_dense(np.float64) @ v) <= K.rounding.matvec_error_bound
    assert K.rounding.matvec_error_bound <= 5 * whole.rounding.matvec_error_bound


# --------------------------------------------------------------------------------------------------------------- bases
@pytest.mark.covering(2)
@pytest.mark.parametrize("parts", PARTS)
@pytest.mark.parametrize("block", [1, 2, 4])
@pytest.mark.parametrize("build", [kernel, infinite_width])
def test_the_relation_holds_on_the_workers(build, parts, block):
    lanczos, matrix = Lanczos(spread(build, parts)), build().to_dense()
    lanczos.begin_random(stream(0, "proof", 1), block)
    for _ in range(3):
        lanczos.extend(4)
        holds(lanczos, matrix)
    here = Lanczos(build())
    here.begin_random(stream(0, "proof", 1), block)
    here.extend(12)
    assert lanczos.error <= 5 * here.error
    theta, S = lanczos.ritz()
    lanczos.restart(theta[-6:], S[:, -6:])
    holds(lanczos, matrix)
    lanczos.extend(3)
    holds(lanczos, matrix)
    theta, S = lanczos.ritz()
    lanczos.lock(theta[-2:], S[:, -2:])
    lanczos.begin(np.random.default_rng(2).standard_normal((N, 2)))
    lanczos.extend(5)
    holds(lanczos, matrix)


def holds(lanczos, matrix):
    """|K Q - Q T - Q' C| beside the locked vectors is at most ``error``, and all vectors are orthonormal."""
    used = lanczos.locked + lanczos.size + lanczos.residual_width
    Q = lanczos.basis.columns(slice(0, used)).gather()
    assert np.linalg.norm(Q.T @ Q - np.eye(used)) < 1e-13
    assert lanczos.orthogonality_loss() < 1e-13
    locked, known, ahead = np.split(Q, [lanczos.locked, lanczos.locked + lanczos.size], axis=1)
    residual = matrix @ known - known @ lanczos.T - ahead @ lanczos.off_diagonal
    residual -= locked @ (locked.T @ residual)
    assert np.linalg.norm(residual) <= lanczos.error
    assert lanczos.vectors.gather() == pytest.approx(known, abs=1e-15)


def arrays(crossed):
    """All arrays among arguments and answers."""
    for one in crossed:
        if isinstance(one, list | tuple):
            yield from arrays(one)
        elif hasattr(one, "shape") and not isinstance(one, pieces.Facts):
            yield one


def test_vectors_stay_where_the_parts_compute(engine):
    """What crosses is NumPy's, and no side of it is a number of points."""
    workers = Here()
    lanczos = Lanczos(spread(partial(kernel, engine=engine.name), PARTS[1], workers))
    lanczos.begin_random(stream(0, "proof", 1), 2)
    lanczos.extend(7)
    lanczos.orthogonality_loss()
    for block in lanczos.basis.blocks:
        for piece, held in zip(block.pieces, (100, N - 100), strict=True):
            assert type(piece.value) is engine.xp.ndarray
            assert piece.value.shape[1] == held
    crossed = [array for array in arrays(workers.crossed) if array.size]
    assert len(crossed) > 50
    assert all(type(array) is np.ndarray and not {100, N - 100, N} & {*array.shape} for array in crossed)


def test_parts_on_a_gpu_and_on_the_processor_are_one_kernel(gpu):
    def either(rows):
        return kernel(rows, engine="gpu" if rows[0] else "cpu")

    here, both = Lanczos(spread(parts=PARTS[2])), Lanczos(spread(either, PARTS[2]))
    for lanczos in (here, both):
        lanczos.begin_random(stream(0, "proof", 1), 2)
        lanczos.extend(20)
    assert set(both.operator.parts.engines) == {"cpu", "gpu"}
    assert spectrum_bounds(both, 1e-6) == pytest.approx(spectrum_bounds(here, 1e-6), rel=1e-8)
    assert both.error == pytest.approx(here.error, rel=0.01)


@pytest.mark.parametrize("parts", PARTS)
def test_bounds_are_those_of_the_whole_kernel(parts):
    lanczos, values = Lanczos(spread(parts=parts)), np.linalg.eigvalsh(kernel().to_dense())
    lanczos.begin_random(stream(3, "proof", 1), 2)
    lanczos.extend(25)
    low, high = spectrum_bounds(lanczos, 1e-6)
    assert low <= values[0]
    assert values[-1] <= high <= values[-1] + 0.01 * abs(values).max()


def test_an_invariant_space_ends_the_run():
    """Rank DIM + 2: the space is exhausted before the basis is full."""
    lanczos = Lanczos(spread(linear))
    lanczos.begin_random(stream(0, "proof", 1), 2)
    lanczos.extend(40)
    assert lanczos.exhausted
    assert lanczos.size <= DIM + 8
    expected = np.linalg.norm(linear().to_dense(), 2)
    assert np.abs(np.linalg.eigvalsh(lanczos.T)).max() == pytest.approx(expected, rel=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("probability", [0.3, 0.05])
def test_intervals_on_the_workers_fail_as_often_as_they_say(probability):
    """600 runs on a spectrum whose upper end is one eigenvalue among many."""

    def thin(rows):
        return ns.operators.Gram(np.diag(np.sqrt(np.r_[1.0, np.linspace(0.5, 0.97, 59)]))[slice(*rows)])

    K, missed = spread(thin, [(0, 20), (20, 60)]), 0
    for seed in range(600):
        lanczos = Lanczos(K)
        lanczos.begin_random(stream(seed, "proof", 1), 2)
        lanczos.extend(4)
        missed += spectrum_bounds(lanczos, probability)[1] < 1 - 1e-12
    assert missed <= 600 * probability + 3 * (600 * probability) ** 0.5


# ---------------------------------------------------------------------------------------------------- public functions
X_TEST = ns.datasets.gaussian(9, DIM, seed=7).X
Y = np.stack([np.sign(points()[:, 0]), points()[:, 1]], axis=1)
CLASSES = np.eye(2)[(Y[:, 0] > 0).astype(int)]


def trajectory(run):
    """Outputs on all points, as rows of numbers."""
    parts = [run.train] + ([] if run.test is None else [run.test])
    return np.concatenate([host(part).reshape(len(run.steps), -1) for part in parts], axis=1)


@dataclass(frozen=True)
class Case:
    """A public function of a kernel, and a kernel of test points; what it gives as an estimate, or as numbers."""

    call: object
    kernels: tuple = (two_layers,)
    rtol: float = 1e-8


def predicted(labels=0, **options):
    """A prediction of the labels with that number, or of those given."""
    y = Y[:, labels] if isinstance(labels, int) else labels
    return Case(lambda K, K_test: trajectory(ns.predict_gd(K, y, eta=0.05, kernel_test=K_test, **options)), rtol=1e-6)


def first_angles(K, _):
    return ns.subspace_angles(ns.eigsh(K, 3, rtol=1e-9), ns.eigsh(K + ns.operators.identity(N), 4, rtol=1e-9)).angles


ORIGIN = 0.1 * Y[:, 0], np.linspace(-1.0, 1.0, 9)


def posterior(K, K_test):
    return ns.posterior(K, K_test, two_layers_of_test(), Y, noise=0.1)


def two_layers_of_test():
    return ns.ntk(ns.TwoLayer.symmetric(DIM, WIDTH, "erf", seed=2), X_TEST)


CASES = {
    "spectral_norm": Case(lambda K, _: ns.spectral_norm(K), (*KERNELS,)),
    "frobenius_norm": Case(lambda K, _: ns.frobenius_norm(K), (kernel, deep, infinite_width)),
    "frobenius_norm, probes": Case(lambda K, _: ns.frobenius_norm(K, rtol=0.2, method="stochastic"), (kernel, deep)),
    "trace": Case(lambda K, _: ns.trace(K), (kernel, convolutional)),
    "condition_number": Case(lambda K, _: ns.condition_number(K + ns.operators.identity(N))),
    "effective_rank": Case(lambda K, _: ns.effective_rank(K), (two_layers, infinite_width)),
    "participation_ratio": Case(lambda K, _: ns.participation_ratio(K)),
    "spectral_entropy": Case(lambda K, _: ns.spectral_entropy(K)),
    "kernel_target_alignment": Case(lambda K, _: ns.kernel_target_alignment(K, Y[:, 0]), (two_layers, kernel)),
    "kernel_target_alignment, outputs": Case(lambda K, _: ns.kernel_target_alignment(K, Y)),
    "kernel_target_alignment, centered": Case(lambda K, _: ns.kernel_target_alignment(K, Y[:, 0], centered=True)),
    "spectral_position": Case(lambda K, _: ns.spectral_position(K, Y[:, 1])),
    "largest_stable_rate": Case(lambda K, _: ns.largest_stable_rate(K), (two_layers, kernel)),
    "largest_stable_rate, heavy ball": Case(
        lambda K, _: ns.largest_stable_rate(-1.0 * K, law=ns.HeavyBall(0.5)), (kernel,)
    ),
    "eigsh, values": Case(lambda K, _: ns.eigsh(K, 5, which="BE").values, (kernel, deep, infinite_width), 1e-9),
    "eigsh, start": Case(lambda K, _: ns.eigsh(K, 2, v0=Y).values, (kernel,), 1e-9),
    "label_energy": Case(lambda K, _: ns.label_energy(ns.eigsh(K, 3, rtol=1e-9), Y[:, 0]), rtol=1e-6),
    "subspace_angles": Case(first_angles, rtol=1e-3),
    "learning_modes": Case(lambda K, _: ns.learning_modes(K, Y[:, 0], eta=0.1, k=4).energies, rtol=1e-4),
    "predict_gd": predicted(steps=[1, 10, 100]),
    "predict_gd, outputs": predicted(Y, steps=[1, 30], start=(0.1 * Y, np.zeros((9, 2)))),
    "predict_gd, nothing to learn": predicted(0 * Y, steps=[1]),
    "predict_gd, heavy ball": predicted(steps=[1, 10, 100], law=ns.HeavyBall(0.5)),
    "predict_gd, Nesterov": predicted(steps=[1, 10, 100], law=ns.Nesterov(0.5)),
    "predict_gd, flow": predicted(steps=[1, 10.5], law="flow"),
    "predict_gd, weight decay": predicted(steps=[1, 4], ridge=0.1),
    "predict_gd, logistic": predicted(steps=[1, 5], loss="logistic"),
    "predict_gd, cross-entropy": predicted(CLASSES, steps=[1, 5], loss="cross-entropy"),
    "predict_gd, Huber": predicted(steps=[1, 5], loss=ns.Huber(0.5)),
    "predict_gd, batches": predicted(steps=[1, 9], batch=50, seed=3),
    "predict_gd, batches of classes": predicted(CLASSES, steps=[1, 9], batch=50, loss="cross-entropy", ridge=0.1),
    "predict_gd, batches with momentum": predicted(Y, steps=[1, 9], batch=100, law=ns.HeavyBall(0.5)),
    "predict_gd, mean over batches": predicted(steps=[1, 9], batch=50, seed=None),
    "predict_gd, decay to an origin": predicted(
        steps=[1, 9], weight_decay=0.1, origin=ORIGIN, start=(0.2 * Y[:, 1], np.ones(9))
    ),
    "predict_gd, flow of Huber": predicted(steps=[0.5], law="flow", loss=ns.Huber(0.5)),
    "posterior": Case(lambda K, K_test: posterior(K, K_test).mean, (two_layers, infinite_width), 1e-6),
    "posterior, covariance": Case(lambda K, K_test: posterior(K, K_test).covariance, rtol=1e-6),
    "frobenius_norm, test points": Case(lambda K, K_test: ns.frobenius_norm(K_test)),
    "sums, test points": Case(lambda K, K_test: (2 * K_test - K_test / 4) @ Y),
    "sums": Case(lambda K, _: ns.spectral_norm((2 * K - K / 4) + 3 * ns.operators.identity(N))),
    "differences": Case(lambda K, _: ns.spectral_norm(ns.operators.identity(N) - K)),
}


@pytest.mark.parametrize(("name", "build"), [(name, build) for name, case in CASES.items() for build in case.kernels])
def test_a_public_function_answers_alike_on_one_machine_and_on_workers(name, build):
    case = CASES[name]
    K_test, workers = two_layers(X_test=X_TEST), Here()
    K_test_spread = spread(partial(two_layers, X_test=X_TEST), PARTS[2], workers)
    here, there = case.call(build(), K_test), case.call(spread(build, PARTS[2], workers), K_test_spread)
    if isinstance(here, ns.Estimate):
        assert max(here.lower, there.lower) <= min(here.upper, there.upper)
        assert there.lower <= there.value <= there.upper
        assert there.converged or not here.converged
    else:
        assert host(there) == pytest.approx(host(here), rel=case.rtol, abs=case.rtol)


def test_a_density_on_the_workers_holds_the_shares():
    values = np.linalg.eigvalsh(kernel().to_dense())
    density = ns.spectral_density(spread(), probes=6, steps=40)
    assert density.lowest <= values[0]
    assert density.highest >= values[-1]
    at = np.quantile(values, [0.1, 0.5, 0.9]) + 1e-9
    _, lower, upper = density.cumulative(at, failure_probability=1e-6)
    truth = np.searchsorted(values, at) / N
    assert (lower <= truth).all()
    assert (truth <= upper).all()


@pytest.mark.parametrize("parts", PARTS)
def test_a_kernel_of_test_points_has_its_entries_on_the_workers(parts):
    K, whole = spread(partial(two_layers, X_test=X_TEST), parts), two_layers(X_test=X_TEST).to_dense()
    assert isinstance(K.to_dense(), SpreadArray)
    assert np.asarray(K) == pytest.approx(whole, rel=1e-12)
    assert K.to_dense(np.float32).gather().dtype == np.float32
    V = np.random.default_rng(0).standard_normal((N, 2))
    error = np.linalg.norm(K @ V - whole @ V, axis=0)
    assert (error <= K.rounding.matvec_error_bound * np.linalg.norm(V, axis=0)).all()
    norm = ns.frobenius_norm(K)
    assert norm.lower <= np.linalg.norm(whole) <= norm.upper


def test_two_kernels_of_the_same_parts_are_one_kernel():
    workers = Here()
    one, other = spread(two_layers, PARTS[2], workers), spread(linear, PARTS[2], workers)
    gap, whole = one - other / 3, (two_layers() - linear() / 3).to_dense()
    v = np.random.default_rng(0).standard_normal(N)
    assert (gap @ v).gather() == pytest.approx(whole @ v, abs=1e-10)
    with pytest.raises(ValueError, match="build both from the same parts"):
        one + spread(linear, PARTS[1], workers)
    for here in (linear(), linear().to_dense(), points() @ points().T, wrap(np.eye(N))):
        with pytest.raises(ValueError, match=r"one .* here cannot be added"):
            one + here
        with pytest.raises(ValueError, match=r"one .* here cannot be added"):
            here - one
    with pytest.raises(ValueError, match="build both from the same parts"):
        one + spread(partial(two_layers, X_test=X_TEST), PARTS[2], workers)


def test_rows_are_taken_out_and_gathered():
    vectors = ns.eigsh(spread(parts=PARTS[2]), 3).vectors
    assert isinstance(vectors, SpreadArray)
    whole = vectors.gather()
    assert whole.shape == vectors.shape == (N, 3)
    for key in (
        np.s_[5],
        np.s_[:, 1],
        np.s_[60:99:3],
        np.s_[::-1, 0],
        np.s_[[5, 200, 3]],
        np.s_[..., 0],
        np.s_[None, 5],
    ):
        assert np.array_equal(host(vectors[key]), whole[key])
    assert np.array_equal(np.asarray(vectors.T), whole.T)
    assert (vectors.T @ vectors) == pytest.approx(np.eye(3), abs=1e-12)
    assert np.linalg.norm(vectors, axis=0) == pytest.approx(np.ones(3), abs=1e-12)
    assert vectors.mean(axis=1).gather() == pytest.approx(whole.mean(axis=1))


def test_posteriors_and_batches_with_parts_on_a_gpu(engine):
    def there(rows, X_test=None):
        net = ns.TwoLayer.symmetric(DIM, WIDTH, "erf", seed=2).to(engine.name)
        X = points(rows, engine.name)
        return ns.ntk(net, X) if X_test is None else ns.ntk(net, moved(X_test, engine), X)

    workers = Here()
    K, K_test = spread(there, PARTS[2], workers), spread(partial(there, X_test=X_TEST), PARTS[2], workers)
    exact = posterior(two_layers(), two_layers(X_test=X_TEST))
    found = posterior(K, K_test)
    assert found.mean == pytest.approx(exact.mean, abs=1e-6)
    assert found.covariance == pytest.approx(exact.covariance, abs=1e-6)
    how = {"eta": 0.05, "steps": [1, 9], "batch": 50, "weight_decay": 0.1}
    one = ns.predict_gd(K, Y[:, 0], kernel_test=K_test, origin=ORIGIN, **how)
    other = ns.predict_gd(two_layers(), Y[:, 0], kernel_test=two_layers(X_test=X_TEST), origin=ORIGIN, **how)
    assert trajectory(one) == pytest.approx(trajectory(other), abs=1e-10)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("key", [np.s_[1], np.s_[:, 1], np.s_[:], np.s_[[2, 0]], np.s_[..., 1], np.s_[:, [2, 0]]])
def test_rows_and_columns_are_replaced(key, axis):
    here = np.random.default_rng(0).standard_normal((N, 3))
    here = here if axis == 0 else here.T.copy()
    there = Parts.of(Here(), (1, 90, 5, 144), ["cpu"] * 4).placed(here.copy(), axis)
    before, first = there.copy(), here.copy()
    for value in (np.random.default_rng(1).standard_normal(here[key].shape), 3.0, 2 * there[key]):
        there[key] = value
        here[key] = host(value)
        assert np.array_equal(there.gather(), here)
    assert np.array_equal(before.gather(), first)


# ------------------------------------------------------------------------------------------------------------- refusals
def test_parts_that_do_not_fit_are_refused_with_their_number():
    def failing(rows):
        if rows[0]:
            raise OSError("no such file")
        return kernel(rows)

    def mixed(rows):
        return ns.linear_kernel("erf", np.ones((2, 3), np.float32 if rows[0] else np.float64), trace_ratio=1.0)

    def scaled(rows):
        return (1.0 + rows[0]) * two_layers(rows)

    for build, said in {
        failing: r"build failed on part 1, \(100, 240\): OSError: no such file",
        mixed: "part 1 has the dtype float32, but part 0 has float64",
        scaled: "part 1 has the kind .* but part 0 has",
        lambda rows: np.eye(3): "build gave .* for part 0",
        lambda rows: wrap(np.eye(rows[1] - rows[0])): "part 0 is Dense, which cannot be spread",
        lambda rows: wrap(np.triu(np.ones((rows[1] - rows[0],) * 2))): "part 1 has shape .* a symmetric kernel",
        lambda rows: two_layers((rows[0], rows[0])): "build failed on part 0",
    }.items():
        with pytest.raises(ValueError, match=said):
            spread(build)


def test_a_part_that_is_an_array_is_told_by_its_number_on_one_line():
    def failing(X):
        raise ValueError(f"what came is\n{X!r}" + 3000 * "x")

    parts = [np.zeros((300, DIM)), np.ones((300, DIM))]
    for build, said in {
        failing: r"build failed on part 0, array\(\[\[0\., .*\.\.\. \(\d+ characters\): ValueError: what came is",
        lambda X: X @ X.T: r"build gave array\(.* for part 0, array\(.*, but a kernel operator is needed",
    }.items():
        with pytest.raises(ValueError, match=said) as told:
            spread(build, parts)
        assert "\n" not in str(told.value)
        assert len(str(told.value)) < 800


def test_what_would_form_everything_is_refused(tmp_path):
    K = spread()
    for call in (K.to_dense, lambda: ns.spectral_norm(K, method="dense")):
        with pytest.raises(ValueError, match="the points of this kernel lie on workers"):
            call()
    with pytest.raises(ValueError, match=r"cannot multiply an array of shape \(7,\)"):
        K @ np.ones(7)
    for call in (
        lambda: ns.save_kernel(K, tmp_path / "kernel.h5"),
        lambda: ns.nearest_linear_kernel(K, points()),
        lambda: ns.ensemble(None, K, Y[:, 0], eta=0.1, steps=[1]),
    ):
        with pytest.raises(ValueError, match="but the points of this kernel lie on workers; take a kernel of fewer"):
            call()


def test_a_kernel_of_test_points_elsewhere_is_refused_before_work():
    workers, here = Here(), two_layers()
    K, other = spread(two_layers, workers=workers), spread(partial(two_layers, X_test=X_TEST), PARTS[2], workers)
    for kernel_, test, said in (
        (K, two_layers(X_test=X_TEST), r"kernel_test \(9, 240\) lies here, but the training points lie on workers"),
        (here, other, r"kernel_test \(9, 240\) lies on workers, but the training points lie here"),
        (K, other, r"kernel_test \(9, 240\) has other parts than the kernel"),
    ):
        with pytest.raises(ValueError, match=said):
            ns.predict_gd(kernel_, Y[:, 0], eta=0.1, steps=[1], kernel_test=test)


@pytest.mark.parametrize("address", ["10.0.0.1", "tcp://10.0.0.1:0", 7])
def test_a_wrong_address_is_refused(address):
    with pytest.raises((ValueError, TypeError)):
        ns.cluster.kernel(kernel, PARTS[1], scheduler=address)
    with pytest.raises(ValueError, match="parts is empty"):
        ns.cluster.kernel(kernel, [], scheduler="tcp://10.0.0.1:8786")


# --------------------------------------------------------------------------------------------------------- real workers
def test_a_cluster_certifies_the_norm_and_keeps_the_rows(cluster):
    matrix = kernel().to_dense()
    values = np.linalg.eigvalsh(matrix)
    K = ns.cluster.kernel(kernel, [(0, 70), (70, 200), (200, N)], scheduler=cluster)
    norm = ns.spectral_norm(K)
    assert norm.converged
    assert norm.lower <= abs(values).max() <= norm.upper
    v = np.random.default_rng(0).standard_normal(N)
    assert (K @ v).gather() == pytest.approx(matrix @ v, abs=1e-10)
    del K
    gc.collect()


@pytest.mark.slow
def test_a_cluster_of_cards_certifies_the_same_interval(cluster, gpu):
    """Two workers that each have a GPU, or share one."""
    parts = [(0, 130), (130, N)]
    kernels = [ns.cluster.kernel(partial(kernel, engine=name), parts, scheduler=cluster) for name in ("cpu", "gpu")]
    norms = [ns.spectral_norm(one) for one in kernels]
    one, other = ((norm.value, norm.lower, norm.upper) for norm in norms)
    assert other == pytest.approx(one, rel=1e-8)
    assert norms[0].products == norms[1].products


def dying(rows):
    """The second part takes its worker down while it is built."""
    if rows[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    return kernel(rows)


@pytest.mark.slow
def test_a_part_that_kills_every_worker_ends_the_run_with_the_reason(mortal_cluster):
    patience = ns.cluster.Patience(without_workers=3)
    with pytest.raises(ValueError, match=r"has had no worker for 3 s|killed several workers"):
        ns.cluster.kernel(dying, [(0, 70), (70, N)], scheduler=mortal_cluster.address, patience=patience)


@pytest.mark.slow
@pytest.mark.parametrize("build", [two_layers, infinite_width])
def test_workers_that_are_killed_cost_time_and_no_bit(mortal_cluster, build):
    """Five times each, at moments of the whole run: Lanczos, tiles that are formed, and a prediction. What a worker
    held is computed again on the one that is left."""
    parts = [(0, 60), (60, 120), (120, 180), (180, N)]

    def answers():
        K = ns.cluster.kernel(build, parts, scheduler=mortal_cluster.address)
        norm = ns.spectral_norm(K, rtol=1e-6)
        vectors = ns.eigsh(K, 3).vectors
        run = ns.predict_gd(K, Y[:, 0], eta=0.05, steps=[1, 10], loss="logistic")
        size = ns.frobenius_norm(K)
        return norm.lower, norm.upper, size.value, vectors.gather().tobytes(), run.train.gather().tobytes()

    start = time.monotonic()
    undisturbed = answers()
    seconds = time.monotonic() - start
    for moment in np.random.default_rng(0).uniform(0, seconds, 5):
        killer = threading.Timer(moment, mortal_cluster.workers[0].kill)
        killer.start()
        assert answers() == undisturbed
        killer.join()
        mortal_cluster.workers[0] = mortal_cluster.start_worker()
        mortal_cluster.wait(2)
