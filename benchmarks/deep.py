"""NTKs of deep fully-connected networks, at given weights and of infinite width, against neural-tangents and NumPy.

Ours and neural-tangents' ways run in processes of their own: first call, further calls, memory. Ours is
`python -m benchmarks.deep SETTING.npz RESULT.npz`.
"""

import math
import os
import sys
from functools import partial

import numpy as np
import scipy.special

import ntkspec as ns
from benchmarks.common import PEER_PYTHON, Case, Timed, elsewhere, exchange
from benchmarks.fresh import measure, summary
from ntkspec.engines import cpu
from ntkspec.operators import Work

REPEATS = 3
WAYS = {"STRUCTURED_DERIVATIVES": "structured", "JACOBIAN_CONTRACTION": "Jacobians", "NTK_VECTOR_PRODUCTS": "products"}


def cases(quick: bool):
    """Three hidden layers of one width at two sizes, the small one for the peer's slow ways; four of infinite width."""
    whole, parts = ("STRUCTURED_DERIVATIVES", 0), ("STRUCTURED_DERIVATIVES", 16 if quick else 1024)
    slow = [(name, 16 if quick else 64) for name in ("JACOBIAN_CONTRACTION", "NTK_VECTOR_PRODUCTS")]
    yield _empirical(*((64, 20, 32) if quick else (2048, 3072, 2048)), [whole, parts], 1 if quick else 4)
    yield _empirical(*((32, 20, 32) if quick else (256, 3072, 2048)), [whole, *slow], 1)
    X = _images(128 if quick else 10_000)
    for dtype in ("float32", "float64"):
        yield _infinite(X.astype(dtype), (0, 64 if quick else 1000), 1 if quick else 2)


def _empirical(n, d, m, ways, rounds) -> Case:
    """Random, not paired, so that all compute the same function. The slow ways are called once."""
    X = np.random.default_rng(0).standard_normal((n, d)).astype(np.float32)
    net = ns.FullyConnected.random(d, [m] * 3, "erf", dtype=np.float32)
    peers = {
        f"nt {WAYS[name]}{_batches(batch)}": {"implementation": name, "batch": batch}
        | ({} if name == "STRUCTURED_DERIVATIVES" else {"repeats": 0})
        for name, batch in ways
    }
    # Forward and backward products; one triangle of the Gram matrices of layers' inputs and of the gradients.
    signals, grams = 2.0 * n * (d * m + 4 * m * m), float(n * n) * (d + 6 * m)
    return _case(
        f"NTK, erf, 3 hidden layers, n={n} d={d} m={m} float32",
        {"X": X} | {f"W{k}": W for k, W in enumerate(net.parameters)},
        {"NumPy": lambda: _numpy_ntk(net.parameters, X)},
        peers,
        Work(flops=signals + grams) + Work.of_reading(4.0 * n * n, cpu.last_cache()),
        tolerance=3e-6,
        rounds=rounds,
    )


def _infinite(X, batches, rounds) -> Case:
    (n, d), size = X.shape, X.dtype.itemsize
    return _case(
        f"NTK of infinite width, erf, 4 layers, n={n} d={d} {X.dtype}",
        {"X": X, "hidden_layers": 4},
        {"NumPy": lambda: _numpy_infinite(X, 4)},
        {f"neural-tangents{_batches(batch)}": {"batch": batch} for batch in batches},
        Work(flops=float(n * n * d)) + Work.of_reading(float(size * n * n), cpu.last_cache()),
        tolerance=1e-13 if size == 8 else 1e-5,
        rounds=rounds,
    )


def _case(name, setting, here, peers, floor, *, tolerance, rounds) -> Case:
    setting |= {"repeats": REPEATS}
    apart = {peer: partial(_theirs, setting | own) for peer, own in peers.items()}
    return Case(
        name,
        ours=lambda: _timed(exchange([sys.executable, "-m", "benchmarks.deep"], **setting)),
        peers=here | (apart if os.environ.get(PEER_PYTHON) else {}),
        tolerance=tolerance,
        floor=floor,
        dtype=str(setting["X"].dtype),
        compare=lambda answer: answer if isinstance(answer, tuple) else summary(answer),
        rounds=rounds,
    )


def _numpy_ntk(weights, X):
    """As an expert would write it; NumPy knows that A @ A.T is symmetric."""
    inputs, slopes, signal = [X], [], np.ones((len(X), 1), X.dtype)
    for W in weights[:-1]:
        z = inputs[-1] @ W.T / np.float32(math.sqrt(W.shape[1]))
        inputs.append(scipy.special.erf(z))
        slopes.append(np.float32(2 / math.sqrt(math.pi)) * np.exp(-z * z))
    kernel = np.zeros((len(X), len(X)), X.dtype)
    for k, W in reversed(list(enumerate(weights))):
        kernel += (signal @ signal.T) * (inputs[k] @ inputs[k].T) / np.float32(W.shape[1])
        if k:
            signal = (signal @ W) * slopes[k - 1] / np.float32(math.sqrt(W.shape[1]))
    return kernel


def _numpy_infinite(X, hidden_layers: int):
    covariance = X @ X.T / X.dtype.type(X.shape[1])
    kernel, constant = covariance, X.dtype.type(2 / math.pi)
    for _ in range(hidden_layers):
        scale = np.sqrt(1 + 2 * covariance.diagonal())
        rho = 2 * covariance / np.outer(scale, scale)
        covariance = constant * np.arcsin(rho)
        kernel = covariance + 2 * constant / np.outer(scale, scale) / np.sqrt(1 - rho * rho) * kernel
    return kernel


def _theirs(setting) -> Timed:
    return _timed(elsewhere("neural_tangents_deep_peer.py", **setting))


def _timed(found) -> Timed:
    return Timed(
        (found["rows"], found["means"]), *(found[name].item() for name in ("seconds", "cpu", "first", "extra"))
    )


def _batches(size: int) -> str:
    return f", batch {size}" if size else ""


def _images(n: int):
    """MNIST where it is there, otherwise Gaussian vectors of that size."""
    if os.environ.get("NTKSPEC_DATA"):
        return ns.datasets.mnist(n=n, n_test=0, dtype=np.float32).X
    return np.random.default_rng(0).standard_normal((n, 784)).astype(np.float32)


def main(setting_path: str, result_path: str) -> None:
    """Our way in this process."""
    with np.load(setting_path) as file:
        setting = dict(file)
    X = setting["X"]
    if "hidden_layers" in setting:
        layers = int(setting["hidden_layers"])
        measure(
            lambda: ns.expected_ntk("erf", X, hidden_layers=layers).to_dense(), int(setting["repeats"]), result_path
        )
    else:
        weights = [setting[f"W{k}"] for k in range(sum(name.startswith("W") for name in setting))]
        net = ns.FullyConnected(weights, "erf")
        measure(lambda: ns.ntk(net, X).to_dense(), int(setting["repeats"]), result_path)


if __name__ == "__main__":
    main(*sys.argv[1:])
