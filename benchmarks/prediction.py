"""Gradient descent in closed form, against the plain loop over steps; and gradient flow on given matrices, against
neural-tangents and the eigendecomposition by SciPy."""

import os

import numpy as np
import scipy.linalg

import ntkspec as ns
from benchmarks.common import PEER_PYTHON, Case, Timed, elsewhere

ETA = 0.3


def cases(quick: bool):
    """The NTK and the linear model on train and test points, and the matrices of an NTK."""
    n, d, m, last = (1600, 20, 64, 200) if quick else (6000, 50, 256, 1000)
    data = ns.datasets.gaussian(n, d, n_test=500)
    net = ns.TwoLayer.symmetric(d, m, "erf")
    steps = np.unique(np.geomspace(1, last, 50).astype(int))
    for name, kernels in (
        ("NTK", (ns.ntk(net, data.X), ns.ntk(net, data.X_test, data.X))),
        ("linear model", (ns.linear_kernel("erf", data.X), ns.linear_kernel("erf", data.X_test, data.X))),
    ):
        yield _prediction(f"prediction, {name}, n={n}, {last} steps, float64", kernels, data.y, steps)
    yield _flow(*((600, 20, 128) if quick else (4096, 50, 256)))


def _prediction(name, kernels, y, steps) -> Case:
    kernel, kernel_test = kernels

    def ours():
        found = ns.predict_gd(kernel, y, eta=ETA, steps=steps, kernel_test=kernel_test)
        return found.train, found.test

    def loop():
        K, K_test, n = kernel.to_dense(), kernel_test.to_dense(), len(y)
        outputs, dual, train, test = np.zeros(n), np.zeros(n), [], []
        for step in range(1, steps[-1] + 1):
            dual -= ETA / n * (outputs - y)
            outputs = K @ dual
            if step in steps:
                train.append(outputs)
                test.append(K_test @ dual)
        return np.array(train), np.array(test)

    return Case(name, ours, {"NumPy loop": loop}, 1e-8, floor=kernel.cost.product, dtype="float64")


def _flow(n, d, m) -> Case:
    """Both matrices are formed outside the timing."""
    data = ns.datasets.gaussian(n, d, n_test=500)
    net = ns.TwoLayer.symmetric(d, m, "erf")
    K, K_test = ns.ntk(net, data.X).to_dense(), ns.ntk(net, data.X_test, data.X).to_dense()
    times = np.geomspace(1, 1000, 50)

    def ours():
        kernel, kernel_test = ns.operators.Dense(K, symmetric=True), ns.operators.Dense(K_test, symmetric=False)
        found = ns.predict_gd(kernel, data.y, eta=ETA, steps=times, kernel_test=kernel_test, law="flow")
        return found.train, found.test

    peers = {"SciPy eigh": lambda: _eigh_flow(K, K_test, data.y, times)}
    if os.environ.get(PEER_PYTHON):
        peers["neural-tangents"] = lambda: _neural_tangents(K, K_test, data.y, times)
    floor = ns.operators.Dense(K, symmetric=True).cost.product
    return Case(f"gradient flow, dense NTK, n={n}, 50 times, float64", ours, peers, 1e-8, floor=floor, dtype="float64")


def _eigh_flow(K, K_test, y, times):
    n = len(y)
    values, vectors = scipy.linalg.eigh(K)
    learned = -np.expm1(-ETA / n * times[:, None] * values)
    modes = vectors.T @ y
    return (learned * modes) @ vectors.T, (learned / values * modes) @ (K_test @ vectors).T


def _neural_tangents(K, K_test, y, times) -> Timed:
    result = elsewhere("neural_tangents_prediction_peer.py", K=K, K_test=K_test, y=y, eta=ETA, times=times, repeats=2)
    return Timed((result["train"], result["test"]), float(result["seconds"]))
