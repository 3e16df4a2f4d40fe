"""Two-layer networks: outputs, initializations, refusals."""

import numpy as np
import pytest

import naive
import ntkspec as ns


@pytest.mark.parametrize("shape", [(1, 1, 1), (6, 3, 5), (2, 7, 4)])
def test_outputs_agree_with_equation_1(shape):
    n, d, m = shape
    net = ns.TwoLayer.random(d, m, "tanh", seed=3, second="normal")
    X = np.random.default_rng(0).standard_normal((n, d))
    exact = [naive.network(net.W, net.v, np.tanh, x) for x in X]
    assert net(X) == pytest.approx(exact, abs=1e-13)


@pytest.mark.parametrize("second", ["rademacher", "normal"])
def test_equation_3_pairs_the_neurons_and_gives_zero_output(second):
    net = ns.TwoLayer.symmetric(5, 12, "softplus", seed=4, second=second)
    assert np.array_equal(net.W[:6], net.W[6:])
    assert np.array_equal(net.v[:6], -net.v[6:])
    X = 10 * np.random.default_rng(0).standard_normal((3000, 5))
    assert np.abs(net(X)).max() < 1e-13
    if second == "rademacher":
        assert set(net.v) == {-1.0, 1.0}


def test_weights_are_standard_normal_and_seeds_are_explicit():
    net = ns.TwoLayer.random(100, 1000, "erf", seed=1, second="normal")
    assert abs(net.W.mean()) < 0.02
    assert abs(net.W.std() - 1) < 0.01
    assert abs(net.v.std() - 1) < 0.1
    assert np.array_equal(net.W, ns.TwoLayer.random(100, 1000, "erf", seed=1).W)
    assert not np.array_equal(net.W, ns.TwoLayer.random(100, 1000, "erf", seed=2).W)


def test_dtype_is_kept():
    net = ns.TwoLayer.symmetric(3, 4, "relu", dtype=np.float32)
    assert net.W.dtype == net.v.dtype == np.float32
    assert net(np.ones((2, 3), dtype=np.float32)).dtype == np.float32
    assert net(np.ones((2, 3))).dtype == np.float64


def test_odd_widths_and_misfits_are_refused():
    with pytest.raises(
        ValueError, match="width=7, but equation \\(3\\) pairs the neurons: use an even width such as 8"
    ):
        ns.TwoLayer.symmetric(3, 7, "erf")
    with pytest.raises(TypeError, match="dtype=int64, but the weights of a network are float32 or float64"):
        ns.TwoLayer.symmetric(3, 8, "erf", dtype=np.int64)
    with pytest.raises(ValueError, match="width=0"):
        ns.TwoLayer.random(3, 0, "erf")
    with pytest.raises(ValueError, match="second='uniform'"):
        ns.TwoLayer.random(3, 4, "erf", second="uniform")
    needed = (
        r"\(m, d\) is needed: one row for each neuron; TwoLayer.symmetric\(d, width, activation\) draws random weights"
    )
    with pytest.raises(ValueError, match=rf"W has shape \(\), but a matrix {needed}$"):
        ns.TwoLayer(20, 200, "relu")
    with pytest.raises(ValueError, match=r"v has shape \(3,\), but \(4,\) is needed: one number for each neuron"):
        ns.TwoLayer(np.ones((4, 2)), np.ones(3), "erf")
    with pytest.raises(TypeError, match="W is float64 and v is float32"):
        ns.TwoLayer(np.ones((4, 2)), np.ones(4, np.float32), "erf")
    with pytest.raises(TypeError, match="activation=3"):
        ns.TwoLayer(np.ones((4, 2)), np.ones(4), 3)
