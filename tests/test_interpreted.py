"""NUMBA_DISABLE_JIT=1: the loops run in Python, as they do compiled."""

import os
import subprocess
import sys

import numpy as np
import pytest

# Everything that loops of the CPU engine compute, on a few points.
SCRIPT = """
import numpy as np
import ntkspec as ns
from ntkspec.activations.functions import NAMES, activation
from ntkspec.engines import cpu

rng, found = np.random.default_rng(0), {}
X, y = rng.standard_normal((17, 3)), np.ones(17)
z = np.concatenate([[-np.inf, np.inf, np.nan, 0.0], rng.standard_normal(8), [-1e30, 800.0, -40.0, -8.0, 3e-30, 30.0]])
for name in NAMES:
    for dtype in (np.float32, np.float64):
        numbers = z.astype(dtype)
        value, slope = np.empty_like(numbers), np.empty_like(numbers)
        with np.errstate(all="ignore"):
            activation(name).fill(numbers, value, slope)
        found[f"function {name} {np.dtype(dtype)}"] = np.stack([value, slope])
    net = ns.TwoLayer.symmetric(3, 8, name)
    kernel = ns.ntk(net, X)
    found[f"ntk {name}"] = kernel.to_dense()
    found[f"norm {name}"] = np.array([float(ns.spectral_norm(kernel, method=how)) for how in ("dense", "factored")])
    found[f"training {name}"] = ns.train_gd(net, X, y, eta=0.1, steps=[3]).train
for name in ("relu", "erf", "sin"):
    found[f"expected {name}"] = ns.expected_ntk(name, X[:4]).to_dense()
for name in ("relu", "erf"):
    images = ns.expected_cnn_ntk(name, X[:4, :].repeat(4, axis=1), filter_size=3, shape=(12, 1))
    found[f"images {name}"] = images.to_dense()
words = rng.integers(0, 2**63, (7, 3), dtype=np.uint64)
found["common"] = cpu.bits.count_common(words, words[:5], np.float64)
for low in (0.0, -1.0):
    looked_up = cpu.lookups.products(words, 150, (low, 1.0))
    found[f"gathered {low}"] = looked_up.gather(slice(0, 7), rng.standard_normal((7, 11)), rng.standard_normal((7, 2)))
    found[f"scattered {low}"] = looked_up.scatter(slice(0, 7), rng.standard_normal((7, 11)), found[f"gathered {low}"])
matrix = rng.standard_normal((41, 41))
found["squares"] = np.array(cpu.symmetric.squares_and_defect(matrix, 0, 41))
found["largest"] = np.array([cpu.tiles.largest_entry(matrix, 0), cpu.tiles.sum_of_squares(matrix)])
"""


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """(in Python, compiled)."""
    file, compiled = tmp_path_factory.mktemp("interpreted") / "found.npz", {}
    command = [sys.executable, "-c", SCRIPT + f"np.savez({str(file)!r}, **found)"]
    subprocess.run(command, check=True, timeout=120, env=os.environ | {"NUMBA_DISABLE_JIT": "1"})
    exec(SCRIPT, compiled)
    return dict(np.load(file)), compiled["found"]


def test_loops_in_python_compute_what_they_do_compiled(both):
    python, compiled = both
    assert python.keys() == compiled.keys()
    for name, expected in compiled.items():
        ulps = 4 * np.finfo(np.float32 if name.endswith("float32") else np.float64).eps
        error = ulps if name.startswith("function") else 1e-9
        np.testing.assert_allclose(python[name], expected, rtol=error, atol=error, err_msg=name)


def test_bits_are_counted(both):
    words = np.random.default_rng(0)
    words.standard_normal((17, 3)), words.standard_normal(8)
    drawn = words.integers(0, 2**63, (7, 3), dtype=np.uint64)
    ones = [[sum(bin(int(a) & int(b)).count("1") for a, b in zip(A, B, strict=True)) for B in drawn[:5]] for A in drawn]
    assert np.array_equal(both[0]["common"], ones)
