"""Kernel matrices on disk: the same as in memory, resumable, and refused where they do not fit."""

import h5py
import numpy as np
import pytest

import ntkspec as ns
from ntkspec.engines import cpu
from ntkspec.operators import Gram, Triangle, form
from ntkspec.storage import kernels


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch):
    monkeypatch.setattr(cpu, "TILE", 16)


def kernel(n=75, dtype=np.float64, seed=0):
    X = np.random.default_rng(seed).standard_normal((n, 6)).astype(dtype)
    net = ns.TwoLayer.symmetric(6, 20, "relu", dtype=dtype)
    return ns.ntk(net, X, layer="first") - ns.linear_kernel("relu", X, layer="first", trace_ratio=1.0)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("n", [1, 7, 16, 75])
def test_a_kernel_on_disk_is_the_kernel(tmp_path, n, dtype):
    gap, path = kernel(n, dtype), tmp_path / "gap.h5"
    exact = gap.to_dense()
    for stored in (ns.save_kernel(gap, path), ns.load_kernel(path)):
        assert isinstance(stored, Triangle)
        assert stored.dtype == dtype
        assert np.array_equal(np.tril(stored.to_dense()), np.tril(exact))
        assert np.array_equal(stored.to_dense(), stored.to_dense().T)
        v = np.random.default_rng(1).standard_normal(n).astype(dtype)
        assert np.abs(stored @ v - exact @ v).max() <= 100 * np.finfo(dtype).eps * max(
            1, np.abs(exact).sum(axis=1).max()
        )
        assert float(ns.frobenius_norm(stored)) == pytest.approx(np.linalg.norm(exact.astype(float)), rel=1e-12)
    assert [file.name for file in tmp_path.iterdir()] == ["gap.h5"]
    with h5py.File(path) as file:
        assert file["blocks"].shape == Triangle.layout(n, cpu.TILE)


def test_what_is_known_of_a_kernel_stays_known_on_disk(tmp_path):
    gap = kernel(dtype=np.float32)
    theta = ns.ntk(ns.TwoLayer.symmetric(6, 20, "erf"), np.ones((20, 6)))
    for operator, semidefinite in ((gap, False), (theta, True)):
        stored = ns.save_kernel(operator, tmp_path / "kernel.h5")
        assert stored.distance == form(operator).distance > 0
        assert stored.semidefinite == semidefinite
    with h5py.File(tmp_path / "kernel.h5", "r+") as file:
        del file.attrs["distance"], file.attrs["semidefinite"]
    old = ns.load_kernel(tmp_path / "kernel.h5")
    assert (old.distance, old.semidefinite) == (0.0, False)


def test_an_interrupted_file_is_finished_and_nothing_is_formed_twice(tmp_path, monkeypatch):
    gap, path, formed = kernel(), tmp_path / "gap.h5", []
    real = type(gap).write

    def stop(self, out, tile, squares=False):
        formed.append((tile.rows.start, tile.cols.start))
        if len(formed) == 9:
            raise KeyboardInterrupt
        return real(self, out, tile, squares)

    monkeypatch.setattr(type(gap), "write", stop)
    with pytest.raises(KeyboardInterrupt):
        ns.save_kernel(gap, path)
    assert [file.name for file in tmp_path.iterdir()] == ["gap.h5.partial"]
    with pytest.raises(ValueError, match=r"is not finished: [0-9]+ tiles are missing"):
        ns.load_kernel(tmp_path / "gap.h5.partial")
    with h5py.File(tmp_path / "gap.h5.partial") as file:
        there = int(np.isfinite(file["squares"][:]).sum())
    assert there >= 7
    formed.clear()
    formed.extend([None] * 9)
    stored = ns.save_kernel(gap, path)
    monkeypatch.setattr(type(gap), "write", real)
    tiles = len(stored.blocks)
    assert len(formed) - 9 == tiles - there + 1  # the first tile once more, for comparison
    assert np.array_equal(np.tril(stored.to_dense()), np.tril(kernel().to_dense()))


def test_the_rest_of_another_kernel_is_not_taken_for_ones_own(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(kernels, "form", lambda *arguments: form(*arguments) and 1 / 0)
        with pytest.raises(ZeroDivisionError):
            ns.save_kernel(kernel(), tmp_path / "gap.h5")
    for other in (kernel(seed=5), kernel(dtype=np.float32)):
        with pytest.raises(ValueError, match="was begun for another kernel; remove it"):
            ns.save_kernel(other, tmp_path / "gap.h5")
    with pytest.raises(ValueError, match="holds a kernel of 75 points, not of 30"):
        ns.save_kernel(kernel(30), tmp_path / "gap.h5")
    assert ns.save_kernel(kernel(), tmp_path / "gap.h5").shape == (75, 75)


def test_bad_places_and_files_are_refused(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="does not exist; make it first"):
        ns.save_kernel(kernel(), tmp_path / "missing" / "gap.h5")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        ns.load_kernel(tmp_path / "gap.h5")
    (tmp_path / "text.h5").write_text("no")
    with pytest.raises(ValueError, match="is damaged"):
        ns.load_kernel(tmp_path / "text.h5")
    with pytest.raises(ValueError, match="symmetric kernel is needed"):
        ns.save_kernel(Gram(np.ones((3, 1)), np.ones((4, 1))), tmp_path / "gap.h5")
    monkeypatch.setattr(cpu, "TILE", 512)
    huge = Gram(np.broadcast_to(np.float32(1), (10_000_000, 1)))
    with pytest.raises(ValueError, match=r"n = 10,000,000 in float32 needs 2e\+05 GB as one triangle, but"):
        ns.save_kernel(huge, tmp_path / "gap.h5")
