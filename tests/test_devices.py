"""The same public functions on both engines: results agree to rounding, and stay on the device of their input."""

import os
import subprocess
import sys

import numpy as np
import pytest

import ntkspec as ns
from ntkspec.dynamics import prediction
from ntkspec.engines import cpu, named
from ntkspec.operators import Dense, Diagonal, wrap
from ntkspec.spectra import densities
from ntkspec.theory.assumptions import summarize

N, D, WIDTH = 160, 12, 32
LARGE = 640
RNG = np.random.default_rng(0)
X, X_TEST = RNG.standard_normal((LARGE, D)), RNG.standard_normal((30, D))
Y = np.sign(X[:, 0])
STEPS = [0, 1, 7, 40]
KINDS = [("relu", "f"), ("erf", "f"), ("relu", "d"), ("tanh", "d")]


class Device:
    """What an engine makes of the settings of this file, in one dtype."""

    def __init__(self, engine, act, dtype):
        self.engine, self.act, self.dtype = engine, act, np.dtype(dtype)

    def on(self, array):
        """The array on the device, in the dtype."""
        return self.engine.xp.asarray(array.astype(self.dtype))

    def net(self):
        """Equation (3) with the weights that the CPU draws."""
        return ns.TwoLayer.symmetric(D, WIDTH, self.act, dtype=self.dtype).to(self.engine.name)

    def gap(self, n=N, layer="both"):
        """Theta - Theta^lin."""
        points = self.on(X[:n])
        linear = ns.linear_kernel(self.act, points, layer=layer, trace_ratio=1.0)
        return ns.ntk(self.net(), points, layer=layer) - linear

    def deep(self, kind):
        """A deep network with the weights that the CPU draws."""
        if kind == "dense":
            net = ns.FullyConnected.paired(D, [16, 8], self.act, dtype=self.dtype)
        else:
            net = ns.Convolutional.paired((3, 2, 2), [6, 4], self.act, filter_size=2, dtype=self.dtype)
        return net.to(self.engine.name)


def numbers(estimate):
    return estimate.value, estimate.lower, estimate.upper


def trajectory(found):
    return found.train, found.test, *([] if found.network is None else [found.network.W, found.network.v])


def predicted(device, n=N):
    """Through whichever method serves n."""
    net, points, test = device.net(), device.on(X[:n]), device.on(X_TEST)
    kernels = ns.ntk(net, points), ns.ntk(net, test, points)
    start = device.on(Y[:n] / 2), device.on(X_TEST[:, 0])
    how = {"eta": 0.5, "steps": STEPS, "kernel_test": kernels[1], "start": start}
    return trajectory(ns.predict_gd(kernels[0], device.on(Y[:n]), **how))


def predicted_thin(device):
    points, test = device.on(X[:N]), device.on(X_TEST)
    kernel = ns.linear_kernel(device.act, points, trace_ratio=1.0)
    kernel_test = ns.linear_kernel(device.act, test, points, trace_ratio=1.0)
    how = {"eta": 1.0, "steps": STEPS, "kernel_test": kernel_test, "law": "flow"}
    return trajectory(ns.predict_gd(kernel, device.on(Y[:N]), **how))


def predicted_outputs(device):
    """Of two outputs, column by column and through a kernel of both."""
    X_of, test, y = device.on(X[:N]), device.on(X_TEST), device.on(np.stack([Y[:N], X[:N, 1]], axis=1))
    how = {"eta": 0.5, "steps": STEPS}
    kernels = ns.ntk(device.net(), X_of), ns.ntk(device.net(), test, X_of)
    columns = ns.predict_gd(kernels[0], y, kernel_test=kernels[1], start=(y / 2, device.on(X_TEST[:, :2])), **how)
    rows = wrap(device.on(np.kron(X[:40] @ X[:40].T / D, [[2.0, 1.0], [1.0, 2.0]])), rows_per_point=2)
    together = ns.predict_gd(rows, y[:40], **how)
    aligned = (
        float(ns.kernel_target_alignment(kernel, y[: kernel.points], centered=True)) for kernel in (kernels[0], rows)
    )
    energies = ns.learning_modes(kernels[0], y, eta=0.5, k=3).energies
    return [*trajectory(columns), together.train, energies, *aligned]


def averaged(device):
    """Means over batches with their spread, by features and by a kernel of points, with decay towards an origin."""
    points, test, y = device.on(X[:40]), device.on(X_TEST), device.on(Y[:40])
    thin = ns.linear_kernel(device.act, points, trace_ratio=1.0)
    dense = ns.ntk(device.net(), points), ns.ntk(device.net(), test, points)
    how = {"eta": 0.5, "steps": STEPS[:3], "batch": 8, "seed": None, "law": ns.HeavyBall(0.5), "weight_decay": 0.1}
    one = ns.predict_gd(thin, y, start=y / 2, **how)
    start = y / 2, device.on(X_TEST[:, 0])
    two = ns.predict_gd(dense[0], y, kernel_test=dense[1], start=start, **how)
    return [one.train, one.spread, two.train, two.test, two.spread, two.spread_test]


def trained(device, **how):
    found = ns.train_gd(
        *(device.net(), device.on(X[:N]), device.on(Y[:N])),
        **{"eta1": 1.0, "eta2": 1.0, "steps": STEPS, "X_test": device.on(X_TEST)} | how,
    )
    return *trajectory(found), *found.watched.values()


def trained_in_batches(device):
    return trained(device, batch=50, subtract_start=True, watch=[ns.weight_movement])


def drift(device):
    """Of the kernel in training, with the ends of its interval."""
    return trained(device, watch=ns.kernel_drift)[-3:]


def trained_deep(device, kind):
    net = device.deep(kind)
    how = {"eta": 0.5, "steps": STEPS, "watch": ns.weight_movement, "X_test": device.on(X_TEST)}
    found = ns.train_gd(net, device.on(X[:N]), device.on(Y[:N]), **how)
    return found.train, found.test, *found.network.parameters, *found.watched.values()


def deep_kernel(device, kind):
    net, points = device.deep(kind), device.on(X[:N])
    kernel, between = ns.ntk(net, points), ns.ntk(net, device.on(X_TEST), points, layer=1)
    v = device.engine.xp.asarray(Y[:N])
    return net(points), kernel.to_dense(), kernel.diagonal(), kernel._matmat(v[:, None]), between @ v


def expected(device):
    points, test = device.on(X[:50]), device.on(X_TEST)
    return (
        ns.expected_ntk(device.act, points).to_dense(),
        ns.expected_ntk(device.act, points, test, hidden_layers=3).to_dense(),
        ns.expected_nngp(device.act, points).diagonal(),
    )


def expected_cnn(device):
    points, test = device.on(X[:20]), device.on(X_TEST[:9])
    how = {"shape": (3, 2, 2), "filter_size": 2}
    one = ns.expected_cnn_ntk(device.act, points, **how)
    return one.to_dense(), ns.expected_cnn_ntk(device.act, points, test, hidden_layers=2, **how).to_dense()


def linear_deep(device):
    points, test = device.on(X[:20]), device.on(X_TEST[:9])
    how = {"shape": (3, 2, 2), "filter_size": 2, "hidden_layers": 2}
    kernels = [
        ns.linear_kernel(device.act, test, points, hidden_layers=3),
        ns.cnn_linear_kernel(device.act, points, **how),
    ]
    return [kernel.to_dense() for kernel in kernels]


def spectrum(device):
    found = ns.eigsh(device.gap(LARGE), 3)
    again = ns.eigsh(device.gap(N), 3)
    angles = ns.subspace_angles(again, ns.eigsh(ns.ntk(device.net(), device.on(X[:N])), 3)).angles
    energy = ns.label_energy(found, device.on(Y))
    return found.values, abs(found.vectors), again.values, abs(again.vectors), angles, energy


def density(device):
    return list(ns.spectral_density(device.gap(N)).values)


def modes(device):
    found = ns.learning_modes(device.gap(N), device.on(Y[:N]), eta=1.0, k=3)
    thin = ns.learning_modes(ns.linear_kernel(device.act, device.on(X[:N]), trace_ratio=1.0), device.on(Y[:N]), eta=1.0)
    return found.values, found.energies, thin.values, thin.energies


def dimensions(device):
    theta, y = ns.ntk(device.net(), device.on(X[:N]), layer="first"), device.on(Y[:N])
    measures = ns.trace, ns.effective_rank, ns.participation_ratio, ns.spectral_entropy
    aligned = (ns.kernel_target_alignment(theta, y, centered=centered) for centered in (False, True))
    between = ns.kernel_alignment(theta, ns.linear_kernel(device.act, device.on(X[:N]), layer="first", trace_ratio=1.0))
    return [float(measure(theta)) for measure in measures] + [float(one) for one in (*aligned, between)]


def budget(device):
    found = ns.gap_budget(device.net(), device.on(X[:N]))
    return [part.spectral.value for part in (found.gap, found.fluctuation, found.diagonal, found.remainder)]


def stored(device):
    matrix = device.gap(N).to_dense()
    diagonal = Diagonal(device.on(Y[:N]))
    operator = Dense(matrix) - diagonal
    plain, v = Dense(matrix[:40]), device.engine.xp.asarray(Y[:N])
    return operator @ v, operator.to_dense(), plain @ v, plain.T @ v[:40], *numbers(ns.spectral_norm(operator))


EVERYTHING = {
    "spectral norm, dense": lambda device: numbers(ns.spectral_norm(device.gap(LARGE), method="dense")),
    "spectral norm, factored": lambda device: numbers(ns.spectral_norm(device.gap(LARGE), method="factored")),
    "Frobenius norm": lambda device: numbers(ns.frobenius_norm(device.gap(LARGE))),
    "Frobenius norm, probes": lambda device: numbers(
        ns.frobenius_norm(device.gap(LARGE), rtol=0.1, method="stochastic")
    ),
    "spectrum": spectrum,
    "density": density,
    "dimensions": dimensions,
    "modes": modes,
    "budget": budget,
    "stored matrices": stored,
    "expected": expected,
    "expected, convolutional": expected_cnn,
    "linear, deep": linear_deep,
    "prediction, thin": predicted_thin,
    "prediction, dense": predicted,
    "prediction, several outputs": predicted_outputs,
    "prediction, mean over batches": averaged,
    "training": trained,
    "training, second layer": lambda device: trained(device, eta1=0.0),
    "training in batches": trained_in_batches,
    "kernel drift": drift,
    "deep kernel, dense": lambda device: deep_kernel(device, "dense"),
    "deep kernel, convolutional": lambda device: deep_kernel(device, "convolutional"),
    "deep training, dense": lambda device: trained_deep(device, "dense"),
    "deep training, convolutional": lambda device: trained_deep(device, "convolutional"),
    "data": lambda device: list(vars(summarize(device.on(X))).values()),
}


# What a default run compares; the rest is nightly, as its engine functions have tests of their own on both engines.
CONTRACT = [
    *("spectral norm, factored", "Frobenius norm", "stored matrices", "expected, convolutional", "prediction, dense"),
    "prediction, mean over batches",
    *("training", "training in batches", "deep kernel, convolutional", "data"),
]

# The outer end of a norm is where a steep function crosses a level: rounding moves it further than the values.
LOOSER = dict.fromkeys(["spectral norm, dense", "spectral norm, factored", "stored matrices", "kernel drift"], 1e-8)


def compared(one, other, gpu, tolerance):
    """Entry by entry: results with an entry for each point stay on the device."""
    assert len(one) == len(other)
    for here, there in zip(one, other, strict=True):
        if isinstance(here, np.ndarray) and max(here.shape, default=0) >= 20:
            assert type(there) is gpu.xp.ndarray
        there = gpu.to_host(there) if isinstance(there, gpu.xp.ndarray) else there
        scale = max(1.0, float(np.abs(here).max()))
        assert np.shape(there) == np.shape(here)
        assert np.abs(np.asarray(here) - there).max() <= tolerance * scale


@pytest.mark.covering(1)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "what", [what if what in CONTRACT else pytest.param(what, marks=pytest.mark.slow) for what in EVERYTHING]
)
def test_both_engines_agree(what, kind, gpu):
    here, there = (Device(engine, *kind) for engine in (cpu, gpu))
    tolerance = max(2000 * float(np.finfo(kind[1]).eps), LOOSER.get(what, 0.0))
    compared(EVERYTHING[what](here), EVERYTHING[what](there), gpu, tolerance)


def test_the_other_methods_agree_too(gpu, monkeypatch):
    """A Krylov basis, where n is too large for the dense eigenproblem, and all eigenvalues, where it is not."""
    here, there = (Device(engine, "erf", "d") for engine in (cpu, gpu))
    monkeypatch.setattr(prediction, "DENSE_SIZE", 100)
    compared(predicted(here), predicted(there), gpu, 1e-12)
    monkeypatch.setattr(densities, "DENSE_SIZE", 100)
    one, other = (ns.spectral_density(device.gap(LARGE), steps=20, probes=2) for device in (here, there))
    assert np.abs(one.alpha[:, :5] - other.alpha[:, :5]).max() < 1e-10
    assert other.cumulative([0.0, 5.0])[0] == pytest.approx(one.cumulative([0.0, 5.0])[0], abs=1e-6)


@pytest.mark.parametrize("side", [24, *(pytest.param(side, marks=pytest.mark.slow) for side in (64, 5000))])
def test_results_do_not_depend_on_tiles(side, gpu, monkeypatch):
    device = Device(gpu, "relu", "d")
    whole = numbers(ns.spectral_norm(device.gap(N), method="dense")), float(ns.frobenius_norm(device.gap(N)))
    monkeypatch.setattr(gpu, "TILE", side)
    again = numbers(ns.spectral_norm(device.gap(N), method="dense")), float(ns.frobenius_norm(device.gap(N)))
    assert again[0] == pytest.approx(whole[0], rel=1e-9)
    assert again[1] == pytest.approx(whole[1], rel=1e-13)


def test_a_run_goes_on_from_its_files(gpu, monkeypatch, tmp_path):
    """Checkpoints of training and of products, written by one device and read by the other."""
    monkeypatch.setattr(cpu, "workers", lambda: 2)  # a GPU has one
    here, there = (Device(engine, "erf", "d") for engine in (cpu, gpu))
    trained(there, checkpoint=tmp_path / "train", steps=STEPS[:3])
    with pytest.warns(RuntimeWarning, match="goes on with"):
        further = trained(here, checkpoint=tmp_path / "train")
    compared(trained(here), further, cpu, 1e-12)
    how = {"method": "factored", "checkpoint": tmp_path / "norm"}
    norms = [numbers(ns.spectral_norm(there.gap(LARGE), **how)) for _ in range(2)]
    assert norms[0] == norms[1]
    kernel = ns.save_kernel(there.gap(N), tmp_path / "kernel.h5")
    assert kernel.engine is gpu
    product = gpu.to_host(kernel @ gpu.xp.asarray(Y[:N]))
    assert np.abs(product - here.gap(N) @ Y[:N]).max() < 1e-11


@pytest.mark.parametrize("switch", ["CUPY_TF32", "NVIDIA_TF32_OVERRIDE", "CUBLAS_EMULATE_DOUBLE_PRECISION"])
def test_switches_that_take_digits_are_refused(switch):
    code = f"import sys; sys.path[:] = {sys.path}; from ntkspec import engines; engines.named('gpu')"
    environment = os.environ | {switch: "1"}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert run.returncode == 1
    said = run.stderr.strip().splitlines()[-1]
    assert said.startswith(f"ValueError: the GPU engine does not load: {switch} is set, but products would lose digits")


def test_networks_move_and_come_back(gpu):
    net = ns.TwoLayer.random(D, WIDTH, "gelu")
    there = net.to("gpu")
    assert type(there(gpu.xp.asarray(X))) is gpu.xp.ndarray
    assert np.array_equal(there.to("cpu").W, net.W)
    assert named("gpu") is gpu


def test_what_speaks_dlpack_is_taken_where_it_lies(gpu):
    class Tensor:
        """An array of another library."""

        def __init__(self, array):
            self.array = array

        def __dlpack__(self, **options):
            return self.array.__dlpack__(**options)

        def __dlpack_device__(self):
            return self.array.__dlpack_device__()

    trace = ns.trace_ratio(X)
    assert ns.trace_ratio(Tensor(gpu.xp.asarray(X))) == pytest.approx(trace, rel=1e-13)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_refused_with_its_place(bad, gpu):
    wrong = X[:N].copy()
    wrong[3, 1] = bad
    with pytest.raises(ValueError, match="row 3, column 1"):
        ns.ntk(ns.TwoLayer.random(D, 8, "erf").to("gpu"), gpu.xp.asarray(wrong))


# ------------------------------------------------------------------------------------------------------- on a GPU only
@pytest.mark.gpu
def test_bits_are_counted_exactly_by_the_tensor_cores(gpu):
    """All ones, where float16 sums would end at 2048, and random ones against the CPU's popcount."""
    words = gpu.xp.full((4096, 1024), 2**64 - 1, gpu.xp.uint64)
    assert (gpu.bits.count_common(words, words, np.float32) == 65536).all()
    words = RNG.integers(0, 2**63, (3000, 64), dtype=np.uint64)
    found = gpu.bits.count_common(gpu.xp.asarray(words), gpu.xp.asarray(words[:2001]), np.float64)
    assert np.array_equal(gpu.to_host(found), cpu.bits.count_common(words, words[:2001], np.float64))


@pytest.mark.gpu
def test_products_in_float32_keep_its_digits(gpu):
    """TF32 would be off by 1e-3."""
    A, B = (RNG.standard_normal((2048, 2048)).astype("f") for _ in range(2))
    found = gpu.to_host(gpu.xp.asarray(A) @ gpu.xp.asarray(B))
    exact = A.astype(float) @ B
    assert np.abs(found - exact).max() <= 1e-5 * np.abs(exact).max()


@pytest.mark.gpu
def test_large_tiles_and_many_blocks_agree_with_the_cpu(gpu):
    n = 10_000
    points = RNG.standard_normal((n, 20)).astype("f")
    net = ns.TwoLayer.symmetric(20, 128, "relu", dtype=np.float32)
    norms = []
    for engine in (cpu, gpu):
        there = engine.xp.asarray(points)
        gap = ns.ntk(net.to(engine.name), there) - ns.linear_kernel("relu", there, trace_ratio=1.0)
        norms.append((*numbers(ns.spectral_norm(gap, method="dense")), float(ns.frobenius_norm(gap))))
    assert norms[0] == pytest.approx(norms[1], rel=1e-5)


@pytest.mark.gpu
def test_results_are_the_same_from_run_to_run(gpu):
    device = Device(gpu, "erf", "f")
    first, second = (trained(device) for _ in range(2))
    assert all((one == other).all() for one, other in zip(first, second, strict=True))
    assert numbers(ns.spectral_norm(device.gap(LARGE))) == numbers(ns.spectral_norm(device.gap(LARGE)))
