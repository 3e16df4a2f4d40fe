"""Gradient descent in closed form, against the plain loop over steps."""

import numpy as np

import ntkspec as ns
from benchmarks.common import Case


def cases(quick: bool):
    """The NTK and the linear model on train and test points."""
    n, d, m, last = (1600, 20, 64, 200) if quick else (6000, 50, 256, 1000)
    data = ns.datasets.gaussian(n, d, n_test=500)
    net = ns.TwoLayer.symmetric(d, m, "erf")
    steps = np.unique(np.geomspace(1, last, 50).astype(int))
    for name, kernels in (
        ("NTK", (ns.ntk(net, data.X), ns.ntk(net, data.X_test, data.X))),
        ("linear model", (ns.linear_kernel("erf", data.X), ns.linear_kernel("erf", data.X_test, data.X))),
    ):
        yield _prediction(f"prediction, {name}, n={n}, {last} steps, float64", kernels, data.y, steps)


def _prediction(name, kernels, y, steps) -> Case:
    kernel, kernel_test = kernels

    def ours():
        found = ns.predict_gd(kernel, y, eta=0.3, steps=steps, kernel_test=kernel_test)
        return found.train, found.test

    def loop():
        K, K_test, n = kernel.to_dense(), kernel_test.to_dense(), len(y)
        outputs, dual, train, test = np.zeros(n), np.zeros(n), [], []
        for step in range(1, steps[-1] + 1):
            dual -= 0.3 / n * (outputs - y)
            outputs = K @ dual
            if step in steps:
                train.append(outputs)
                test.append(K_test @ dual)
        return np.array(train), np.array(test)

    return Case(name, ours, {"NumPy loop": loop}, 1e-8, floor=kernel.product_work, dtype="float64")
