"""Kernels of a GPU in the host's memory or in a file: the same numbers, whatever is copied when."""

import gc

import numpy as np
import pytest

import ntkspec as ns
from conftest import STAND_IN
from ntkspec.operators import Gram, Triangle, form, planning

N, D = 150, 6
X = np.random.default_rng(0).standard_normal((N, D))
SIDE = 32


@pytest.fixture
def device(gpu, monkeypatch):
    """The GPU engine with small tiles: five rows of them, the last one not full."""
    monkeypatch.setattr(gpu, "TILE", SIDE)
    return gpu


@pytest.fixture(params=[1, 3, pytest.param(100, marks=pytest.mark.slow)])
def at_once(request, device, monkeypatch):
    """So many tiles of float64 are copied at once: every one alone, groups with a rest, all of them."""
    from ntkspec.engines.gpu import streaming

    monkeypatch.setattr(streaming, "_TOGETHER", request.param * SIDE**2 * 8)
    return request.param


def gap(engine, act="relu", dtype=np.float64):
    points, net = engine.xp.asarray(X.astype(dtype)), ns.TwoLayer.symmetric(D, 20, act, dtype=dtype)
    return ns.ntk(net.to(engine.name), points) - ns.linear_kernel(act, points, trace_ratio=1.0)


def pinned(operator):
    """Room for its triangle in the host's memory, filled with nonsense."""
    engine = operator.engine
    blocks = engine.spare_tiles(Triangle.layout(operator.shape[0], engine.TILE), operator.dtype)
    blocks[...] = np.nan
    return blocks


@pytest.mark.parametrize(("act", "dtype"), [("relu", np.float32), ("erf", np.float64)])
def test_a_kernel_in_the_hosts_memory_is_the_kernel(act, dtype, device, at_once):
    here, there = form(gap(device, act, dtype)), form(gap(device, act, dtype), pinned(gap(device, act, dtype)))
    assert isinstance(there.blocks, np.ndarray)
    assert there.engine is device
    assert np.array_equal(device.to_host(here.blocks), there.blocks)
    assert (there.frobenius_squared, there.storage_error) == (here.frobenius_squared, here.storage_error)
    assert (there.to_dense() == here.to_dense()).all()
    assert (there.diagonal() == here.diagonal()).all()
    rows = device.xp.asarray(np.array([149, 3, 40]))
    assert (there.tile(rows, slice(20, 90)) == here.tile(rows, slice(20, 90))).all()
    for k in (1, 2, 7):
        V = device.xp.asarray(np.random.default_rng(k).standard_normal((N, k)))
        product = there @ V
        assert type(product) is device.xp.ndarray
        assert float(abs(product - here @ V).max()) <= 1e-14 * float(abs(product).max())


def test_norms_of_streamed_kernels_are_those_of_stored_ones(device, at_once):
    one, other = (ns.spectral_norm(gap(device), method=method) for method in ("dense", "streamed"))
    assert other.plan.method == "streamed"
    assert [other.value, other.lower] == pytest.approx([one.value, one.lower], rel=1e-12)
    assert other.upper == pytest.approx(one.upper, rel=1e-8)  # where a steep function crosses a level
    values = ns.eigsh(gap(device), 4, method="streamed").values
    assert values == pytest.approx(ns.eigsh(gap(device), 4, method="dense").values, rel=1e-12)


def test_a_kernel_file_is_multiplied_on_the_gpu(device, at_once, tmp_path):
    exact = gap(device)
    stored = ns.save_kernel(exact, tmp_path / "kernel.h5")
    assert stored.engine is device
    v = device.xp.asarray(X[:, 0])
    for kernel in (stored, ns.load_kernel(tmp_path / "kernel.h5", engine="gpu")):
        assert float(abs(kernel @ v - exact @ v).max()) < 1e-13
        assert ns.plan(kernel).method == "streamed"
    host = ns.load_kernel(tmp_path / "kernel.h5")
    assert np.abs(host @ X[:, 0] - device.to_host(stored @ v)).max() < 1e-13


def test_files_of_the_cpu_are_multiplied_on_the_gpu(device, tmp_path, at_once):
    from ntkspec.engines import cpu

    saved = ns.save_kernel(gap(cpu), tmp_path / "kernel.h5")
    there = ns.load_kernel(tmp_path / "kernel.h5", engine="gpu")
    product = there @ device.xp.asarray(X[:, 0])
    assert np.abs(device.to_host(product) - saved @ X[:, 0]).max() < 1e-13


def test_a_damaged_tile_does_not_reach_the_gpu(device, tmp_path):
    path = tmp_path / "kernel.h5"
    ns.save_kernel(gap(device), path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1  # in the last tile, (4, 4)
    path.write_bytes(content)
    kernel = ns.load_kernel(path, engine="gpu")
    assert kernel.tile(slice(0, 40), slice(0, 40)).shape == (40, 40)
    for use in (
        lambda: kernel @ device.xp.ones(N),
        kernel.diagonal,
        lambda: kernel.tile(slice(140, 150), slice(130, 140)),
    ):
        with pytest.raises(ValueError, match=r"kernel.h5 is damaged: tile \(4, 4\) does not match its checksum"):
            use()


@pytest.mark.parametrize("fails_at", [0, 1, 2, 7])
def test_a_tile_counts_as_formed_when_it_is_there(fails_at, device):
    """After an interruption, what has a sum of squares is the tile; the same call does the others."""
    operator, whole, done = gap(device), form(gap(device)), []
    blocks, squares = pinned(operator), np.full(15, np.nan)
    real = type(operator).write

    class Interrupted(type(operator)):
        def write(self, *arguments, **how):
            if len(done) == fails_at:
                raise KeyboardInterrupt
            done.append(None)
            return real(self, *arguments, **how)

    with pytest.raises(KeyboardInterrupt):
        form(Interrupted(operator.terms), blocks, squares)
    there = np.flatnonzero(~np.isnan(squares))
    assert fails_at - 2 <= len(there) <= fails_at
    assert np.array_equal(blocks[there], device.to_host(whole.blocks)[there])
    form(operator, blocks, squares)
    assert np.array_equal(blocks, device.to_host(whole.blocks))


def test_pinned_memory_is_given_back(device):
    if not STAND_IN:
        pytest.skip("the driver does not say what is pinned")
    from cupy import _modules

    gc.collect()
    before = dict(_modules._PINNED)
    ns.spectral_norm(gap(device), method="streamed")
    gc.collect()
    assert before == _modules._PINNED


def wide(gpu, n=1000):
    D, X = (gpu.xp.asarray(np.random.default_rng(k).standard_normal((n, k)).astype("f")) for k in (500, 300))
    return ns.operators.HadamardGram(D, X)


def test_the_planner_streams_what_does_not_fit_the_gpu(gpu, monkeypatch):
    """One triangle of 1000 points takes 4.06 MB here: one tile of 1000 rows."""
    monkeypatch.setattr(gpu, "free_memory", lambda: 4_000_000)
    plan = planning.plan(wide(gpu), 100)
    assert (plan.method, plan.bytes) == ("streamed", 4_000_000)
    assert plan.reason == "one triangle would take 0.004 of 0.004 GB that are free"
    assert plan.each > planning.plan(wide(gpu), 100, method="factored").each / 1e3
    monkeypatch.setattr(gpu, "spare_memory", lambda: 4_000_000)
    assert planning.plan(wide(gpu), 100).method == "factored"
    monkeypatch.setattr(gpu, "spare_memory", lambda: 3_000_000)
    with pytest.raises(ValueError, match=r"streamed kernel of n = 1,000 in float32 needs 0\.004 GB .* 0\.003 GB are"):
        planning.plan(wide(gpu), method="streamed")


def test_a_kernel_of_the_host_is_not_streamed():
    with pytest.raises(ValueError, match=r"method='streamed' keeps a kernel of a GPU .* use method='dense'"):
        ns.spectral_norm(Gram(X), method="streamed")


def test_the_link_has_a_rate(gpu):
    from ntkspec.engines.gpu.streaming import link_rate

    assert 0 < link_rate() < np.inf
