"""Kernel regression and the Gaussian process posterior against dense formulas in high precision."""

import mpmath
import numpy as np
import pytest

import ntkspec as ns
from ntkspec.operators import Gram, wrap

rng = np.random.default_rng(0)
N = 24
F, F_TEST = rng.standard_normal((N, 8)), rng.standard_normal((5, 8))
Y = rng.standard_normal((N, 2))


def exact(K, cross, test, y, noise):
    """Mean and covariance in 40 digits."""
    with mpmath.workdps(40):
        K, cross, test, y = (mpmath.matrix(one.tolist()) for one in (K, cross, test, y.reshape(len(K), -1)))
        inverse = (K + noise * mpmath.eye(K.rows)) ** -1
        mean, covariance = cross * inverse * y, test - cross * inverse * cross.T
        return (np.array(one.tolist(), dtype=float) for one in (mean, covariance))


def kernels(name):
    if name == "low rank":
        return Gram(F), Gram(F_TEST, F), Gram(F_TEST)
    if name == "products only":
        K = Gram(F) + 0.01 * wrap(np.eye(N))
        return wrap(lambda v: K @ v, N), Gram(F_TEST, F), Gram(F_TEST) + 0.01 * wrap(np.eye(5))
    net = ns.TwoLayer.symmetric(8, 30, "erf", seed=1)
    return ns.ntk(net, F), ns.ntk(net, F_TEST, F), ns.ntk(net, F_TEST)


@pytest.mark.parametrize("noise", [0.03, 2.0])
@pytest.mark.parametrize("y", [Y, Y[:, 0]], ids=["two outputs", "one output"])
@pytest.mark.parametrize("name", ["low rank", "ntk", "products only"])
def test_mean_and_covariance_are_the_formulas_within_their_errors(name, y, noise):
    K, cross, test = kernels(name)
    dense = (K @ np.eye(N) if name == "products only" else K.to_dense()), cross.to_dense(), test.to_dense()
    of_mean, of_covariance = exact(*dense, y, noise)
    found = ns.posterior(K, cross, test, y, noise=noise)
    mean, covariance = found
    assert mean.shape == found.error.shape == (5, *y.shape[1:])
    assert (abs(mean.reshape(5, -1) - of_mean) <= found.error.reshape(5, -1)).all()
    assert (abs(covariance - of_covariance) <= found.covariance_error).all()
    assert found.converged
    assert max(found.error.max(), found.covariance_error.max()) < 1e-8
    np.testing.assert_array_equal(found.variance, covariance.diagonal())
    alone = ns.posterior(K, cross, None, y, noise=noise)
    assert alone.covariance is alone.covariance_error is None
    assert (abs(alone.mean.reshape(5, -1) - of_mean) <= alone.error.reshape(5, -1)).all()


@pytest.mark.parametrize("rtol", [1e-1, 1e-3])
def test_what_is_left_out_is_in_the_errors_and_of_second_order(rtol):
    K, cross, test = kernels("ntk")
    of_mean, of_covariance = exact(K.to_dense(), cross.to_dense(), test.to_dense(), Y, 0.5)
    found = ns.posterior(K, cross, test, Y, noise=0.5, rtol=rtol)
    assert 0 < found.residual <= rtol * (1 + 1e-9)
    assert (abs(found.mean - of_mean) <= found.error).all()
    assert (abs(found.covariance - of_covariance) <= found.covariance_error).all()
    first_order = ns.posterior(K, cross, None, Y, noise=0.5, rtol=rtol).error
    assert (found.error < 2 * rtol * first_order).all()


def test_without_noise_it_is_where_gradient_descent_ends():
    K, cross, _ = kernels("ntk")
    found = ns.posterior(K, cross, None, Y[:, 0])
    flow = ns.predict_gd(K, Y[:, 0], eta=1.0, steps=[10**12], kernel_test=cross, law="flow")
    assert found.mean == pytest.approx(flow.test[0], rel=1e-5, abs=1e-6)


def test_rows_for_each_output_are_one_problem():
    A, B = rng.standard_normal((40, 9)), rng.standard_normal((6, 9))
    y = rng.standard_normal((20, 2))
    of_mean, of_covariance = exact(A @ A.T, B @ A.T, B @ B.T, y.ravel(), 0.7)
    found = ns.posterior(wrap(A @ A.T, rows_per_point=2), B @ A.T, B @ B.T, y, noise=0.7)
    np.testing.assert_allclose(found.mean, of_mean.reshape(3, 2), atol=1e-9)
    np.testing.assert_allclose(found.covariance, of_covariance, atol=1e-9)


def test_labels_outside_a_singular_kernel_are_told():
    """Rank 8 and 24 labels: the residual that no kernel can fit stays, and the fit is the least-squares one."""
    with pytest.warns(RuntimeWarning, match="noise > 0 makes the problem better conditioned"):
        found = ns.posterior(Gram(F), Gram(F_TEST, F), None, Y[:, 0])
    assert not found.converged
    assert np.isinf(found.error).all()
    assert found.mean == pytest.approx(F_TEST @ np.linalg.lstsq(F, Y[:, 0])[0], abs=1e-6)
    inside = ns.posterior(Gram(F), Gram(F_TEST, F), None, F[:, 0])
    assert inside.converged
    assert inside.mean == pytest.approx(F_TEST[:, 0], abs=1e-6)


@pytest.mark.parametrize("K", [np.zeros((3, 3)), np.diag([1.0, 0.0, 0.0])])
def test_labels_in_the_null_space_are_told_and_nothing_else_is(K):
    with pytest.warns(RuntimeWarning) as caught:
        found = ns.posterior(K, np.ones((1, 3)), None, [0.0, 1.0, 1.0])
    assert ["noise > 0" in str(one.message) for one in caught] == [True]
    assert (found.mean.tolist(), found.residual, found.converged) == ([0.0], pytest.approx(1), False)


def test_an_array_is_certified_where_its_eigenvalues_allow_it():
    matrix = np.diag(np.linspace(1.0, 5.0, N))
    cross = rng.standard_normal((3, N))
    found = ns.posterior(matrix, cross, np.eye(3), Y[:, 0])
    assert 0 < found.smallest <= 1
    assert (abs(found.mean - cross @ (Y[:, 0] / np.linspace(1.0, 5.0, N))) <= found.error).all()
    assert found.error.max() < 1e-9


def test_edges():
    one = ns.posterior([[2.0]], [[1.0]], [[3.0]], [4.0])
    assert (float(one.mean[0]), float(one.variance[0])) == pytest.approx((2.0, 2.5))
    nothing = ns.posterior(np.eye(3), np.ones((2, 3)), None, np.zeros(3), noise=1.0)
    assert nothing.mean.tolist() == [0, 0]
    assert nothing.converged
    single = ns.posterior(
        Gram(F.astype(np.float32)), Gram(F_TEST.astype(np.float32), F.astype(np.float32)), None, Y, noise=1
    )
    assert single.mean == pytest.approx(ns.posterior(Gram(F), Gram(F_TEST, F), None, Y, noise=1).mean, abs=1e-4)
    with pytest.raises(ValueError, match="there is no covariance"):
        _ = nothing.variance


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"noise": -1.0}, "noise=-1.0, but a finite number of at least 0"),
        ({"noise": np.nan}, "noise=nan"),
        ({"rtol": 2.0}, "rtol"),
        ({"y": np.ones(4)}, r"\(3,\)"),
        ({"kernel_cross": np.ones((2, 4))}, r"kernel_cross has shape \(2, 4\), but \(n', 3\) is needed"),
        ({"kernel_cross": None}, "kernel_cross is None, but"),
        ({"kernel_test": np.eye(3)}, r"kernel_test has shape \(3, 3\), but kernel_cross has 2 rows"),
        ({"kernel": np.triu(np.ones((3, 3)))}, "symmetric"),
    ],
)
def test_bad_input_is_refused_with_the_reason(given, message):
    usual = {"kernel": np.eye(3), "kernel_cross": np.ones((2, 3)), "kernel_test": np.eye(2), "y": np.ones(3)}
    with pytest.raises(ValueError, match=message):
        ns.posterior(**usual | given)
