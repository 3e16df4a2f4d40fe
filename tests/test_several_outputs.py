"""Training and labels of several outputs: together through a kernel with a row for each, or column by column."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import naive
import ntkspec as ns
from ntkspec.dynamics import UnstableRateWarning, krylov, prediction, stable_rate
from ntkspec.operators import Gram, wrap
from several_outputs import Perceptron, full_kernel, random_jacobian

N, K, TESTS = 9, 3, 4
STEPS = [0, 1, 2, 7, 40]
LAWS = {"gd": "gd", "flow": "flow", "heavy ball": ns.HeavyBall(0.8), "nesterov": ns.Nesterov(0.8)}


def labels(n=N, K=K, seed=0):
    return np.random.default_rng(seed).standard_normal((n, K))


def points_kernel(n=N, seed=0, tests=TESTS):
    """A kernel of n points, and of test points against them."""
    F = np.random.default_rng(seed).standard_normal((n + tests, n + tests + 2)) / math.sqrt(n)
    everything = F @ F.T
    return everything[:n, :n], everything[n:, :n]


def stacked(matrix, K=K):
    """K ⊗ I with a row for each point and output."""
    return wrap(np.kron(matrix, np.eye(K)), symmetric=len(matrix) == matrix.shape[1], rows_per_point=K)


@pytest.fixture(params=["dense", "krylov"])
def method(request, monkeypatch):
    """Both general methods on one problem."""
    if request.param == "krylov":
        monkeypatch.setattr(prediction, "DENSE_SIZE", 0)
    return request.param


# ------------------------------------------------------------------------------------------------------ all together
@pytest.mark.parametrize("shape", [(1, 2, 1), (5, 3, 4), (6, 2, 40)], ids=str)
def test_a_full_kernel_trains_as_descent_on_the_parameters_does(shape, method):
    n, K, P = shape
    J, y = random_jacobian(n + TESTS, K, P), labels(n, K)
    kernel, kernel_test = full_kernel(J[:n]), full_kernel(J[n:], J[:n])
    eta = 0.6 * stable_rate(np.linalg.norm(kernel.to_dense(), 2), n)
    train, test = naive.linearized_descent(J[:n], J[n:], y, eta, STEPS)
    found = ns.predict_gd(kernel, y, eta=eta, steps=STEPS, kernel_test=kernel_test)
    assert found.train.shape == (len(STEPS), n, K)
    assert found.test.shape == (len(STEPS), TESTS, K)
    assert found.train == pytest.approx(train, abs=1e-10)
    assert found.test == pytest.approx(test, abs=1e-10)


def test_features_of_all_outputs_train_as_descent_on_the_parameters_does():
    J, y = random_jacobian(N + TESTS, K, 7), labels()
    F, F_test = J[:N].reshape(-1, 7), J[N:].reshape(-1, 7)
    kernel, kernel_test = wrap(Gram(F), rows_per_point=K), wrap(Gram(F_test, F), rows_per_point=K)
    train, test = naive.linearized_descent(J[:N], J[N:], y, 1.3, STEPS)
    found = ns.predict_gd(kernel, y, eta=1.3, steps=STEPS, kernel_test=kernel_test)
    assert found.method == "features (7)"
    assert found.train == pytest.approx(train, abs=1e-10)
    assert found.test == pytest.approx(test, abs=1e-10)


def test_the_first_step_is_that_of_a_network(method):
    """To second order in the rate: the outputs move by -(eta/n) times the full kernel times the residual."""
    net, X, y = Perceptron.random(4, 6, K), np.random.default_rng(2).standard_normal((N, 4)), labels()
    theta, apart = ns.ntk(net, X, outputs="full"), []
    for eta in (1e-2, 5e-3):
        _, gradients = net.value_and_vjp(X, lambda rows, outputs: (outputs - y[rows]) / N)
        moved = net.with_weights([W - eta * own for W, own in zip(net.weights, gradients, strict=True)])
        predicted = ns.predict_gd(theta, y, eta=eta, steps=[1], start=net(X)).train[0]
        apart.append(abs(moved(X) - predicted).max())
    assert apart[0] < 1e-3
    assert 3 < apart[0] / apart[1] < 5


# ---------------------------------------------------------------------------------------------------- column by column
@pytest.mark.parametrize("law", LAWS)
def test_a_kernel_of_points_trains_each_column_on_its_own(law, method):
    (kernel, kernel_test), y, law = points_kernel(), labels(), LAWS[law]
    start = labels(seed=1), labels(TESTS, seed=2)
    how = {"eta": 0.7, "steps": STEPS, "kernel_test": kernel_test, "law": law}
    found = ns.predict_gd(kernel, y, start=start, **how)
    assert found.train.shape == (len(STEPS), N, K)
    assert found.test.shape == (len(STEPS), TESTS, K)
    for k in range(K):
        alone = ns.predict_gd(kernel, y[:, k], start=(start[0][:, k], start[1][:, k]), **how)
        assert found.train[..., k] == pytest.approx(alone.train, abs=1e-9)
        assert found.test[..., k] == pytest.approx(alone.test, abs=1e-9)
    assert found.train[0] == pytest.approx(start[0], abs=1e-14)


def test_features_train_each_column_on_its_own():
    F, y = np.random.default_rng(3).standard_normal((30, 4)), labels(30)
    found = ns.predict_gd(Gram(F), y, eta=0.5, steps=STEPS, kernel_test=Gram(F[:5], F))
    assert found.method == "features (4)"
    for k in range(K):
        alone = ns.predict_gd(Gram(F), y[:, k], eta=0.5, steps=STEPS, kernel_test=Gram(F[:5], F))
        assert found.train[..., k] == pytest.approx(alone.train, abs=1e-13)
        assert found.test[..., k] == pytest.approx(alone.test, abs=1e-13)


@pytest.mark.parametrize("law", LAWS)
def test_columns_are_the_kernel_times_the_identity_of_outputs(law, method):
    (kernel, kernel_test), y, law = points_kernel(), labels(), LAWS[law]
    start = labels(seed=1), labels(TESTS, seed=2)
    columns = ns.predict_gd(kernel, y, eta=0.9, steps=STEPS, kernel_test=kernel_test, law=law, start=start)
    together = ns.predict_gd(
        stacked(kernel), y, eta=0.9, steps=STEPS, kernel_test=stacked(kernel_test), law=law, start=start
    )
    assert together.train == pytest.approx(columns.train, abs=1e-9)
    assert together.test == pytest.approx(columns.test, abs=1e-9)
    for one, other in ((columns, together), (together, columns)):
        assert one.stability.unstable_mass == pytest.approx(other.stability.unstable_mass, abs=1e-12)
    assert together.stability.largest_rate == pytest.approx(columns.stability.largest_rate, rel=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 6), st.integers(1, 4), st.integers(0, 5), st.floats(0.01, 1.0), st.integers(0, 99))
@example(n=1, K=4, steps=0, part=1.0, seed=1)  # the largest stable rate itself, which is no unstable one
def test_a_full_kernel_follows_its_recursion(n, K, steps, part, seed):
    J, y = random_jacobian(n, K, seed=seed), labels(n, K, seed)
    kernel = full_kernel(J)
    matrix = kernel.to_dense()
    eta, u = part * stable_rate(np.linalg.norm(matrix, 2), n), np.zeros(n * K)
    for _ in range(steps):
        u = u - eta / n * matrix @ (u - y.ravel())
    found = ns.predict_gd(kernel, y, eta=eta, steps=steps)
    assert found.train[0] == pytest.approx(u.reshape(n, K), abs=1e-10)


def test_one_column_is_a_trajectory_of_one_output(method):
    kernel, _ = points_kernel()
    y = labels(K=1)
    found, flat = (ns.predict_gd(kernel, given, eta=0.5, steps=STEPS) for given in (y, y[:, 0]))
    assert found.train.shape == (len(STEPS), N, 1)
    assert np.array_equal(found.train[..., 0], flat.train)
    assert (found.method, found.stability) == (flat.method, flat.stability)
    assert np.array_equal(found.error, flat.error)


def test_a_column_without_labels_stays_zero(method):
    kernel, kernel_test = points_kernel()
    y = labels()
    y[:, 1] = 0
    found = ns.predict_gd(kernel, y, eta=0.5, steps=STEPS, kernel_test=kernel_test)
    assert not found.train[..., 1].any()
    assert not found.test[..., 1].any()
    assert found.train[1:, :, [0, 2]].any()
    nothing = ns.predict_gd(kernel, 0 * y, eta=0.5, steps=STEPS, kernel_test=kernel_test)
    assert not nothing.train.any()
    assert nothing.test.shape == (len(STEPS), TESTS, K)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_is_kept(dtype, method):
    (kernel, kernel_test), y = points_kernel(), labels()
    exact = ns.predict_gd(kernel, y, eta=0.5, steps=STEPS, kernel_test=kernel_test)
    given = kernel.astype(dtype), kernel_test.astype(dtype)
    found = ns.predict_gd(given[0], y, eta=0.5, steps=STEPS, kernel_test=given[1])
    assert found.train.dtype == found.test.dtype == dtype
    assert found.train == pytest.approx(exact.train, abs=1e-12 if dtype == np.float64 else 1e-4)


@pytest.mark.parametrize("together", [False, True], ids=["columns", "together"])
def test_krylov_errors_are_bounded_for_several_outputs(together, monkeypatch):
    """Stopped early on purpose: bounds on the root mean square over points and on test outputs hold."""
    monkeypatch.setattr(prediction, "DENSE_SIZE", 0)
    monkeypatch.setitem(krylov.TOLERANCE, "d", 1e-3)
    rng, n = np.random.default_rng(3), 100
    points = rng.standard_normal((n + 10, n)) * np.linspace(0.05, 1, n) ** 2
    matrix = points @ points.T / n
    kernels, y = (matrix[:n, :n], matrix[n:, :n]), rng.choice([-1.0, 1.0], (n, 2))
    if together:
        kernels = [stacked(kernel, 2) for kernel in kernels]
    how = {"eta": 0.9 * 2 * n / np.linalg.norm(matrix[:n, :n], 2), "steps": [1, 10, 100, 3000]}
    found = ns.predict_gd(kernels[0], y, kernel_test=kernels[1], **how)
    monkeypatch.setattr(prediction, "DENSE_SIZE", 1500)
    exact = ns.predict_gd(kernels[0], y, kernel_test=kernels[1], **how)
    error = np.sqrt(np.square(found.train - exact.train).sum(axis=(1, 2)) / n)
    assert (error <= found.error + 1e-12).all()
    assert (abs(found.test - exact.test).max(axis=(1, 2)) <= found.error_test + 1e-10).all()
    assert error.max() > 1e-9
    assert exact.method == "dense eigenproblem"


def test_products_of_all_columns_are_computed_together(monkeypatch):
    monkeypatch.setattr(prediction, "DENSE_SIZE", 0)
    kernel, _ = points_kernel(40)
    blocks = []
    operator = wrap(lambda v: kernel @ v, 40)
    multiply = operator._matmat
    monkeypatch.setattr(operator, "_matmat", lambda V: blocks.append(V.shape[1]) or multiply(V))
    monkeypatch.setattr(krylov.planning, "prepare", lambda kernel, *_, **__: (kernel, None))
    ns.predict_gd(operator, labels(40), eta=0.5, steps=[5])
    assert max(blocks) == K


# ------------------------------------------------------------------------------------------- rates divide by the points
def test_stable_rates_are_those_of_points():
    kernel, _ = points_kernel()
    exact = 2 * N / np.linalg.norm(kernel, 2)
    for form in (kernel, stacked(kernel)):
        rate = ns.largest_stable_rate(form)
        assert rate.lower <= exact <= rate.upper
    y = labels()
    calm = ns.predict_gd(stacked(kernel), y, eta=0.99 * exact, steps=[5])
    assert (calm.stability.unstable, calm.stability.largest_rate) == (0, pytest.approx(exact))
    for form, count in ((kernel, 1), (stacked(kernel), K)):
        with pytest.warns(UnstableRateWarning, match=f"largest stable one, 2 n / lambda_max = {exact:.6g}"):
            wild = ns.predict_gd(form, y, eta=1.01 * exact, steps=[1])
        assert wild.stability.unstable == count


def test_a_mode_that_several_columns_see_is_one(method):
    kernel, _ = points_kernel()
    exact = 2 * N / np.linalg.norm(kernel, 2)
    with pytest.warns(UnstableRateWarning):
        wild = ns.predict_gd(kernel, labels(), eta=1.01 * exact, steps=[1])
    assert wild.stability.unstable == 1
    assert 0 < wild.stability.unstable_mass < 1


def test_modes_of_columns_and_of_the_kernel_times_the_identity_are_the_same():
    kernel, _ = points_kernel()
    y = labels()
    columns = ns.learning_modes(kernel, y, eta=0.4, k=N)
    together = ns.learning_modes(stacked(kernel), y, eta=0.4, k=N * K)
    assert columns.n == together.n == N
    assert together.values == pytest.approx(np.repeat(columns.values, K), rel=1e-9)
    assert together.e_folds == pytest.approx(np.repeat(columns.e_folds, K), rel=1e-9)
    assert together.energies.reshape(N, K).sum(axis=1) == pytest.approx(columns.energies, abs=1e-12)
    assert columns.energies.sum() == pytest.approx(1)
    assert together.complete
    assert together.steps_to_learn(0.9) == columns.steps_to_learn(0.9)
    assert f"of {N} points" in repr(together)
    left = ns.predict_gd(kernel, y, eta=0.4, steps=[columns.steps_to_learn(0.9)]).train[0] - y
    assert np.square(left).sum() <= 0.1 * np.square(y).sum() * (1 + 1e-9)


def test_modes_of_features_take_all_columns_together():
    F, y = np.random.default_rng(3).standard_normal((30, 4)), labels(30)
    found = ns.learning_modes(Gram(F), y, eta=0.5)
    dense = ns.learning_modes(F @ F.T, y, eta=0.5, k=30)
    assert found.energies == pytest.approx(dense.energies, abs=1e-12)
    J = random_jacobian(N, K, 5)
    thin = ns.learning_modes(wrap(Gram(J.reshape(-1, 5)), rows_per_point=K), labels(), eta=0.5)
    whole = ns.learning_modes(full_kernel(J), labels(), eta=0.5, k=5)
    assert thin.energies == pytest.approx(whole.energies, abs=1e-10)
    assert thin.e_folds == pytest.approx(whole.e_folds, rel=1e-8)


# -------------------------------------------------------------------------------------------------------------- labels
def test_energies_are_squares_of_all_columns():
    matrix, _ = points_kernel()
    y = labels()
    spectrum, full = ns.eigsh(matrix, N), ns.eigsh(full_kernel(random_jacobian(N, K)), 5)
    assert ns.label_energy(spectrum, y) == pytest.approx(np.square(spectrum.vectors.T @ y).sum(axis=1) / (y**2).sum())
    assert ns.label_energy(full, y) == pytest.approx(np.square(full.vectors.T @ y.ravel()) / (y**2).sum())
    assert (full.rows_per_point, spectrum.rows_per_point) == (K, 1)
    assert f"of {N} points" in repr(full)


@pytest.mark.parametrize("centered", [False, True])
def test_alignment_is_the_cosine_with_the_kernel_of_the_labels(centered):
    matrix, _ = points_kernel()
    y, full = labels() + 1.0, full_kernel(random_jacobian(N, K)).to_dense()
    H = np.eye(N) - centered * np.ones((N, N)) / N
    of_points, target = H @ matrix @ H, H @ y @ y.T @ H
    exact = (of_points * target).sum() / np.linalg.norm(of_points) / np.linalg.norm(target)
    H = np.kron(H, np.eye(K))
    of_outputs, vector = H @ full @ H, H @ y.ravel()
    exact_full = vector @ of_outputs @ vector / np.linalg.norm(of_outputs) / (vector @ vector)
    for kernel, value in ((matrix, exact), (wrap(full, rows_per_point=K), exact_full)):
        found = ns.kernel_target_alignment(kernel, y, centered=centered)
        assert found.lower <= value <= found.upper
        assert found.value == pytest.approx(value, rel=1e-10)
        assert found.upper - found.lower < 1e-10
    assert float(ns.kernel_target_alignment(y @ y.T, y, centered=centered)) == pytest.approx(1)


def test_alignment_in_float32_keeps_the_true_value_inside():
    J, y = random_jacobian(40, K, dtype=np.float32), labels(40) + 2.0
    kernel = full_kernel(J)
    exact = ns.kernel_target_alignment(full_kernel(J.astype(np.float64)), y, centered=True)
    found = ns.kernel_target_alignment(kernel, y, centered=True)
    assert found.lower <= exact.value <= found.upper
    assert found.upper - found.lower < 1e-3


def test_constant_labels_of_every_output_have_no_centred_alignment():
    y = np.ones((N, 1)) * np.array([1.0, 2.0, 3.0])
    for kernel in (points_kernel()[0], full_kernel(random_jacobian(N, K))):
        with pytest.raises(ValueError, match="the labels are constant"):
            ns.kernel_target_alignment(kernel, y, centered=True)


# --------------------------------------------------------------------------------------------------- built-in kernels
def test_built_in_kernels_train_several_outputs():
    """The columns of labels of three classes, with the kernel of infinite width."""
    data = ns.datasets.gaussian(40, 5, n_test=8, seed=1)
    y = np.eye(3)[np.random.default_rng(0).integers(0, 3, 40)]
    kernel, kernel_test = ns.expected_ntk("relu", data.X), ns.expected_ntk("relu", data.X_test, data.X)
    found = ns.predict_gd(kernel, y, eta=0.3, steps=STEPS, kernel_test=kernel_test)
    train, test = (np.stack(part, axis=-1) for part in zip(*(
        naive.kernel_descent(kernel.to_dense(), kernel_test.to_dense(), y[:, k], 0.3, STEPS) for k in range(3)
    ), strict=True))  # fmt: skip
    assert found.train == pytest.approx(train, abs=1e-10)
    assert found.test == pytest.approx(test, abs=1e-10)
    assert "Trajectory of 40 x 3 training and 8 x 3 test outputs" in repr(found)


# ------------------------------------------------------------------------------------------------------------ refusals
def test_shapes_that_do_not_fit_are_told_which_do():
    kernel, _ = points_kernel()
    full, y = stacked(kernel), labels()
    refused = [
        (kernel, y[:5], r"y has shape \(5, 3\), but \(9,\) is needed, or \(9, K\) for K outputs"),
        (
            full,
            y[:, 0],
            r"y has shape \(9,\), but \(9, 3\) is needed: a row for each data point, and a column for each",
        ),
        (full, y.ravel(), r"y has shape \(27,\), but \(9, 3\) is needed"),
        (full, y.T, r"y has shape \(3, 9\), but \(9, 3\) is needed"),
        (full.to_dense(), y, r"but \(27,\) is needed.*wrap\(kernel, rows_per_point=3\)"),
        (kernel, y[None], r"y has shape \(1, 9, 3\), but \(9,\) is needed"),
        (kernel, y[:, :1].T, r"y has shape \(1, 9\), but \(9,\) is needed: .*; pass numpy.ravel\(y\)"),
        (kernel, np.where(y > 1, np.nan, y), "y holds . entries that are NaN"),
    ]
    uses = [
        lambda form, target: ns.predict_gd(form, target, eta=0.1, steps=[1]),
        lambda form, target: ns.learning_modes(form, target, eta=0.1),
        ns.kernel_target_alignment,
    ]
    for form, target, said in refused:
        for use in uses:
            with pytest.raises(ValueError, match=said):
                use(form, target)
    with pytest.raises(ValueError, match=r"y has shape \(9,\), but \(9, 3\) is needed"):
        ns.label_energy(ns.eigsh(full, 2), y[:, 0])


def test_test_kernels_and_starts_that_do_not_fit_are_refused():
    kernel, kernel_test = points_kernel()
    full, y, how = stacked(kernel), labels(), {"eta": 0.1, "steps": [1]}
    refused = [
        (
            full,
            {"kernel_test": kernel_test},
            r"kernel_test has shape \(4, 9\), but \(3 n', 27\), 3 rows for each point,",
        ),
        (full, {"kernel_test": np.ones((4, 27))}, r"kernel_test has shape \(4, 27\), but \(3 n', 27\)"),
        (full, {"start": np.zeros(9)}, r"start has shape \(9,\), but \(9, 3\) is needed, as y has 3 columns"),
        (kernel, {"start": np.zeros(9)}, r"start has shape \(9,\), but \(9, 3\) is needed, as y has 3 columns"),
        (kernel, {"start": (np.zeros((9, 3)), np.zeros((5, 3))), "kernel_test": kernel_test}, r"test points has shape"),
        (full, {"start": y, "kernel_test": stacked(kernel_test)}, "start needs outputs on the training points"),
    ]
    for form, more, said in refused:
        with pytest.raises(ValueError, match=said):
            ns.predict_gd(form, y, **how, **more)
    told = wrap(np.ones((6, 9)), rows_per_point=3, symmetric=False)
    with pytest.raises(ValueError, match=r"kernel_test has shape \(6, 9\) with 3 rows for each point, but \(n', 9\)"):
        ns.predict_gd(kernel, y, **how, kernel_test=told)


def test_a_list_of_two_starts_is_a_pair():
    kernel, kernel_test = points_kernel()
    y, start = labels(), [labels(seed=1), labels(TESTS, seed=2)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one, other = (
            ns.predict_gd(kernel, y, eta=0.1, steps=[3], kernel_test=kernel_test, start=given)
            for given in (start, tuple(start))
        )
    assert np.array_equal(one.test, other.test)
