"""A user's script in strict typing: it runs, and mypy and pyright in strict mode accept it (test_typed.py)."""

import sys
from pathlib import Path
from typing import Any, assert_type

import numpy as np
import numpy.typing as npt

import ntkspec as ns

Array = npt.NDArray[Any]


def arctan_slope(z: Array) -> Array:
    """The derivative of arctan."""
    return 1.0 / (1.0 + z * z)


def data_set() -> ns.datasets.Dataset:
    """Points on a sphere, with the labels of a teacher."""
    data = ns.datasets.sphere(40, 10, n_test=8, seed=1)
    assert_type(data.trace_ratio, float)
    assert_type(data.name, str)
    own = ns.datasets.from_arrays(data.X, data.y, n_test=4, name=data.name)
    assert_type(own.meta, dict[str, Any])
    return data


def activations() -> float:
    """A named activation beside a user's own."""
    relu = ns.activation("leaky_relu", negative_slope=0.1)
    own = ns.Activation(np.arctan, arctan_slope, name="arctan")
    values, slopes = own(np.linspace(-1.0, 1.0, 5)), own.derivative(np.zeros(3))
    constants = relu.constants
    assert_type(constants.zeta, float)
    assert_type(own.assumption, str)
    return constants.nu(1.0) + float(values.sum() + slopes.sum())


def kernels(data: ns.datasets.Dataset) -> ns.KernelOperator:
    """The NTK less its linear model, and what every operator can do."""
    net = ns.TwoLayer.symmetric(10, 64, "erf", seed=0)
    theta = ns.ntk(net, data.X, layer="first")
    linear = ns.linear_kernel("erf", data.X, layer="first", trace_ratio=data.trace_ratio)
    assert_type(theta, ns.KernelOperator)
    expected: ns.KernelOperator = ns.expected_ntk("erf", data.X, layer="first") - ns.expected_nngp("erf", data.X) * 0.0
    gap = 2.0 * (theta - linear) / 2.0 + 0.0 * expected
    assert_type(gap.shape, tuple[int, int])
    assert_type(gap.T, ns.KernelOperator)
    product = gap @ np.ones(40)
    dense: Array = gap.to_dense()
    diagonal: Array = gap.diagonal()
    print(ns.plan(gap), product.shape, float(dense.trace() - diagonal.sum()), np.dtype(gap.dtype).itemsize)
    return gap


def spectra(gap: ns.KernelOperator, labels: Array) -> ns.Estimate:
    """Norms with their intervals, eigenpairs, a density."""
    norm = ns.spectral_norm(gap, rtol=1e-3, failure_probability=1e-6, seed=0)
    assert_type(norm, ns.Estimate)
    assert_type(norm.converged, bool)
    assert_type(norm.products, int)
    frobenius = ns.frobenius_norm(gap)
    pairs = ns.eigsh(gap, 3, which="LM")
    vectors: Array = pairs.vectors
    energy: Array = ns.label_energy(pairs, labels)
    density = ns.spectral_density(gap, probes=2, steps=10)
    assert_type(density, ns.Density)
    others = [
        ns.trace(gap),
        ns.kernel_target_alignment(gap, labels),
        ns.kernel_distance(gap, gap),
        ns.condition_number(ns.operators.identity(40)),
    ]
    print(
        f"{float(norm):.3f}",
        frobenius,
        vectors.shape,
        energy.shape,
        density,
        *(f"{other.upper:.3f}" for other in others),
    )
    return norm / frobenius


def training(data: ns.datasets.Dataset) -> float:
    """A prediction beside the training that it is about."""
    net = ns.TwoLayer.symmetric(10, 64, "erf", seed=0)
    theta, cross = ns.ntk(net, data.X), ns.ntk(net, data.X_test, data.X)
    rate = ns.largest_stable_rate(theta)
    predicted = ns.predict_gd(theta, data.y, eta=0.1 * rate.value, steps=[0, 1, 5], kernel_test=cross)
    ball = ns.predict_gd(theta, data.y, eta=0.1, steps=[0, 5], law=ns.HeavyBall(0.9))
    trained = ns.train_gd(net, data.X, data.y, eta=0.1 * rate.value, steps=[0, 1, 5], X_test=data.X_test)
    assert_type(predicted, ns.Trajectory)
    if predicted.test is None or trained.test is None or trained.network is None:
        raise ValueError("both have test points")
    moved = ns.weight_movement(net, trained.network, data.X)
    assert_type(moved, dict[str, float])
    return float(np.abs(predicted.test - trained.test).max() + np.abs(ball.train).max())


def deep(data: ns.datasets.Dataset) -> tuple[Array, Array]:
    """Outputs of deep networks, dense and convolutional."""
    dense = ns.FullyConnected.paired(10, [16, 16], "relu", seed=0)
    convolutional = ns.Convolutional.paired((10, 1), [8], "relu", filter_size=3, seed=0)
    return dense(data.X), convolutional(data.X)


def files(folder: Path, gap: ns.KernelOperator, net: ns.TwoLayer) -> None:
    """A kernel and a network, written and read again."""
    ns.save_kernel(gap, folder / "gap.h5")
    again = ns.load_kernel(folder / "gap.h5")
    print(ns.spectral_norm(again).value)
    net.save(folder / "net.h5")
    print(ns.load_network(folder / "net.h5", activation="erf")(np.zeros((2, 10))))


def theory() -> float:
    """Yardsticks of the paper."""
    assert_type(ns.bounds.concentration(100, 20), float)
    return ns.bounds.gap_bound(100, 20, 0.2)


def main(folder: Path) -> None:
    """Everything, in a second."""
    data = data_set()
    gap = kernels(data)
    print(activations(), spectra(gap, data.y), training(data), [outputs.shape for outputs in deep(data)], theory())
    files(folder, gap, ns.TwoLayer.symmetric(10, 64, "erf", seed=0))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
