"""Runs on workers that were stopped go on from the products in files, and end as if they had not been stopped."""

import gc
import os
import threading
import time
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

import ntkspec as ns
from ntkspec.cluster import pieces
from ntkspec.operators import wrap
from test_cluster import DIM, PARTS, WIDTH, N, infinite_width, kernel, linear, points, spread
from workers_here import Here


class Counting(Here):
    """``products`` counts blocks of products; the one with number ``stop`` is interrupted."""

    def __init__(self, stop=None, count=2):
        super().__init__(count)
        self.stop, self.products = stop, 0

    def submit(self, function, *arguments, home=None):
        of_own_points = function is pieces.multiplied and arguments[1] is None
        if function is pieces.gathered or of_own_points:
            self.products += 1 / len(PARTS[2])
            if self.products == self.stop:
                raise KeyboardInterrupt
        return super().submit(function, *arguments, home=home)


def norm(workers, build=kernel, **options):
    return ns.spectral_norm(spread(build, PARTS[2], workers), rtol=0.2, seed=3, **options)


def pairs(workers, build=kernel, **options):
    return ns.eigsh(spread(build, PARTS[2], workers), 4, seed=3, **options)


def density(workers, build=kernel, **options):
    return ns.spectral_density(spread(build, PARTS[2], workers), probes=3, steps=12, seed=3, **options)


def same(one, other):
    if isinstance(one, ns.Estimate):  # the plan holds measured times
        return replace(one, plan=None) == replace(other, plan=None)
    if isinstance(one, ns.Density):
        return np.array_equal(one.nodes, other.nodes) and (one.lowest, one.highest) == (other.lowest, other.highest)
    return np.array_equal(one.values, other.values) and np.array_equal(one.vectors.gather(), other.vectors.gather())


@pytest.mark.parametrize(
    ("compute", "build", "stop"),
    [(norm, infinite_width, 1), (norm, kernel, 6), (pairs, kernel, 9), (density, kernel, 5)],
)
def test_an_interrupted_run_goes_on_and_ends_with_the_same_bits(compute, build, stop, tmp_path):
    compute = partial(compute, build=build)
    whole = Counting()
    wanted = compute(whole)
    with pytest.raises(KeyboardInterrupt):
        compute(Counting(stop), checkpoint=tmp_path / "products")
    rest = Counting(count=3)
    assert same(compute(rest, checkpoint=tmp_path / "products"), wanted)
    assert rest.products <= whole.products - (stop - 1) + 2, "the first and the last that is read are compared"
    again = Counting()
    assert same(compute(again, checkpoint=tmp_path / "products"), wanted)
    assert again.products == 1


def test_rows_of_a_gpu_come_back_to_it(tmp_path, gpu):
    build = partial(kernel, engine=gpu.name)
    wanted, counted = norm(Here(), build), Counting()
    assert same(norm(Here(), build, checkpoint=tmp_path / "products"), wanted)
    assert same(norm(counted, build, checkpoint=tmp_path / "products"), wanted)
    assert counted.products == 1


def test_calls_with_one_kernel_share_a_file_and_its_products(tmp_path):
    """Products are found by their vectors: the density of the first call is there when a norm was computed since."""
    path, counted = tmp_path / "products", Counting()
    found = density(Here(), checkpoint=path)
    norm(Here(), checkpoint=path)
    assert same(density(counted, checkpoint=path), found)
    assert counted.products == 1


def test_a_file_of_another_kernel_is_refused(tmp_path):
    path = tmp_path / "products"
    norm(Here(), checkpoint=path)

    def other(rows):  # of the same terms
        return ns.ntk(ns.TwoLayer.symmetric(DIM, WIDTH, "relu", seed=7), points(rows)) - linear(rows)

    with pytest.raises(ValueError, match="holds products with another kernel; remove it"):
        norm(Here(), other, checkpoint=path)
    with pytest.raises(ValueError, match=r"holds [^\n]*, but this run multiplies with [^\n]*\"parts\": 2"):
        ns.spectral_norm(spread(kernel, PARTS[1]), checkpoint=path)
    with pytest.raises(ValueError, match=r"holds [^\n]*, but this run multiplies with"):
        norm(Here(), infinite_width, checkpoint=path)
    with pytest.raises(ValueError, match=r"of a cluster.*, but this run multiplies with .*\"matrix\": \"stored\""):
        ns.spectral_norm(np.diag(np.arange(700.0)), checkpoint=path)
    ns.spectral_norm(wrap(np.diag(np.arange(700.0))), checkpoint=tmp_path / "here")
    with pytest.raises(ValueError, match=r"\"matrix\": \"stored\".*, but this run multiplies with .*of a cluster"):
        norm(Here(), checkpoint=tmp_path / "here")


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("cut", "index", "no rows")]


@pytest.mark.parametrize("damage", ["rows", "missing", "torn index", *SLOW])
def test_what_is_damaged_is_computed_again(damage, tmp_path):
    path, folder = tmp_path / "products", tmp_path / "products.parts"
    whole = norm(Here(), checkpoint=path)
    rows, index = sorted(folder.iterdir()), bytearray(path.read_bytes())
    some, count = rows[len(rows) // 2], len(rows) // len(PARTS[2])
    content = bytearray(some.read_bytes())
    content[len(content) // 2] ^= 1
    if damage in ("rows", "cut"):
        some.write_bytes(content if damage == "rows" else content[:-8])
    elif damage in ("missing", "no rows"):
        for one in [some] if damage == "missing" else rows:
            one.unlink()
    else:
        index[-9] ^= 1
        path.write_bytes(index if damage == "index" else index[:-9])
    counted = Counting()
    assert same(norm(counted, checkpoint=path), whole)
    assert counted.products <= (count + 1 if damage == "no rows" else 4)
    again = Counting()
    assert same(norm(again, checkpoint=path), whole)
    assert again.products == 1


def test_a_full_disk_costs_the_checkpoint_and_not_the_result(tmp_path, monkeypatch):
    """Of a worker, in one of the parts."""
    path, whole, written = tmp_path / "products", norm(Here()), []
    beside = os.replace

    def replaced(source, to):
        written.append(to)
        if len(written) == 10:
            raise OSError(28, "No space left on device")
        beside(source, to)

    monkeypatch.setattr(os, "replace", replaced)
    with pytest.warns(RuntimeWarning, match=r"products cannot be written to \(No space left on device\)") as said:
        found = norm(Here(), checkpoint=path)
    assert same(found, whole)
    assert len(said) == 1
    monkeypatch.undo()
    assert len(list((tmp_path / "products.parts").iterdir())) == 11
    counted, plain = Counting(), Counting()
    norm(plain)
    assert same(norm(counted, checkpoint=path), whole)
    assert counted.products == plain.products - 2 + 2


def test_a_folder_that_a_worker_does_not_see_is_refused_with_the_part(tmp_path, monkeypatch):
    monkeypatch.setattr("ntkspec.cluster.checkpoints._sees", lambda path, header: os.path.exists(f"{path}.seen"))
    counted = Counting()
    with pytest.raises(ValueError, match=r"part 0 on worker worker 0 does not see .*products; .* all machines share"):
        norm(counted, checkpoint=tmp_path / "products")
    assert counted.products == 0
    with pytest.raises(FileNotFoundError, match="make it first"):
        norm(counted, checkpoint=tmp_path / "missing" / "products")


def test_rows_that_are_lost_during_a_run_are_named(tmp_path):
    from ntkspec.cluster.checkpoints import _read

    (tmp_path / "rows").write_bytes(bytes(80))
    for name in ("rows", "none"):
        with pytest.raises(
            ValueError, match=f"{name} was changed or removed during the run that uses it; run it again"
        ):
            _read(str(tmp_path / name), bytes(16), 2, np.dtype(float), "cpu")


# --------------------------------------------------------------------------------------------------------- real workers
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Dask's, of a client without scheduler
def test_a_run_whose_scheduler_is_killed_goes_on_with_another_one(mortal_cluster, cluster, tmp_path):
    parts = [(0, 70), (70, 200), (200, N)]
    wanted = ns.spectral_norm(ns.cluster.kernel(kernel, parts, scheduler=cluster), rtol=1e-9)
    patience, path = ns.cluster.Patience(connect=1, reconnect=1), tmp_path / "products"
    K = ns.cluster.kernel(kernel, parts, scheduler=mortal_cluster.address, patience=patience)

    def kill():
        while len(list(tmp_path.glob("products.parts/*-2"))) < 6:
            time.sleep(0.001)
        mortal_cluster.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(ValueError, match=f"^the scheduler {mortal_cluster.address} was lost"):
        ns.spectral_norm(K, rtol=1e-9, checkpoint=path)
    killer.join()
    before = (path.stat().st_size - 4096) // (16 * 5 + 8)
    assert before >= 5
    again = ns.spectral_norm(ns.cluster.kernel(kernel, parts, scheduler=cluster), rtol=1e-9, checkpoint=path)
    assert same(again, wanted)
    after = (path.stat().st_size - 4096) // (16 * 5 + 8)
    assert before < after
    del K
    gc.collect()


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_no_bit_of_a_run_with_a_checkpoint(mortal_cluster, tmp_path):
    parts = [(0, 60), (60, 120), (120, 180), (180, N)]
    K = ns.cluster.kernel(kernel, parts, scheduler=mortal_cluster.address)
    wanted = ns.eigsh(K, 3)

    def kill():
        while len(list(tmp_path.glob("products.parts/*-2"))) < 6:
            time.sleep(0.001)
        mortal_cluster.workers[0].kill()

    killer = threading.Thread(target=kill)
    killer.start()
    found = ns.eigsh(K, 3, checkpoint=tmp_path / "products")
    killer.join()
    assert same(found, wanted)
