"""Rows that lie on workers go into one file part by part, and come back from it."""

import copy
import errno
import os
import pickle
import tracemalloc
import weakref

import h5py
import numpy as np
import pytest

import ntkspec as ns
from ntkspec import storage
from ntkspec.cluster.parts import Parts
from ntkspec.cluster.spread_array import SpreadArray
from ntkspec.cluster.workers import Workers
from ntkspec.experiments.spectrum import SpectrumTask, measure_spectrum
from ntkspec.experiments.spread_models import Spread
from ntkspec.storage.sealed import check_seal
from test_cluster import PARTS, X_TEST, N, Y, host, spread, two_layers
from workers_here import Here


def spread_array(workers, shape, axis=0, sizes=(1, 90, 5, 144), dtype=np.float64, seed=0):
    """Random numbers, here and on workers."""
    whole = np.random.default_rng(seed).standard_normal(shape).astype(dtype)
    return whole, Parts.of(workers, sizes, ["cpu"] * len(sizes)).placed(whole, axis)


@pytest.mark.parametrize(
    ("shape", "axis"),
    [((N, 3), 0), ((N,), 0), ((4, N), 1), ((4, N, 2), 1), ((2, 3, 2 * N), 2), ((N, 0), 0), ((1, N), 1)],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, bool])
def test_an_array_is_read_back_bit_by_bit(tmp_path, shape, axis, dtype):
    workers = Here()
    whole, there = spread_array(workers, shape, axis, dtype=dtype)
    tree = {"first": 1, "rows": there, "pair": [there, np.arange(3.0), there], "last": np.arange(9999)}
    storage.write(tmp_path / "a.h5", tree, kind="test")
    assert check_seal(tmp_path / "a.h5")
    found = storage.read(tmp_path / "a.h5", kind="test")
    assert list(found) == list(tree)
    for one in (found["rows"], found["pair"][0], found["pair"][2]):
        assert one.dtype == dtype
        assert np.array_equal(one, whole)
    assert np.array_equal(found["pair"][1], np.arange(3.0))
    assert np.array_equal(found["last"], tree["last"])


def test_results_are_saved_as_on_one_machine(tmp_path):
    workers = Here()
    K = spread(two_layers, PARTS[2], workers)
    K_test = spread(lambda rows: two_layers(rows, X_test=X_TEST), PARTS[2], workers)
    found = {
        "spectrum": ns.eigsh(K, 3),
        "run": ns.predict_gd(K, Y, eta=0.05, steps=[1, 10], kernel_test=K_test, ridge=0.1),
        "density": ns.spectral_density(K, probes=2, steps=10),
    }
    ns.save_result(found, tmp_path / "all.h5")
    back = ns.load_result(tmp_path / "all.h5")
    assert isinstance(found["spectrum"].vectors, SpreadArray)
    assert np.array_equal(back["spectrum"].vectors, found["spectrum"].vectors.gather())
    assert back["run"].train.shape == (2, N, 2)
    assert np.array_equal(back["run"].train, found["run"].train.gather())
    assert np.array_equal(back["run"].test, found["run"].test)
    assert back["density"].lowest == found["density"].lowest
    ns.save_result(found["spectrum"].vectors, tmp_path / "vectors.h5")
    with h5py.File(tmp_path / "vectors.h5") as file:
        assert np.array_equal(file["record"], found["spectrum"].vectors.gather())


class Sending(Here):
    """Workers whose arrays come here as copies; ``most`` is the largest number of bytes of these that lived at once."""

    def __init__(self):
        super().__init__()
        self.living, self.most = [], 0

    def answers(self, futures):
        found = [one.value.copy() if isinstance(one.value, np.ndarray) else one.value for one in futures]
        self.living = [one for one in self.living if one() is not None]
        self.living += [weakref.ref(one) for one in found if isinstance(one, np.ndarray)]
        self.most = max(self.most, sum(one().nbytes for one in self.living))
        return found


def test_no_more_than_one_part_is_here_at_a_time(tmp_path):
    sizes, columns, workers = [100_000] * 8, 4, Sending()
    part = 8 * sizes[0] * columns
    _, there = spread_array(workers, (sum(sizes), columns), sizes=sizes)
    run = ns.Trajectory(np.arange(columns), there.T, None, "by hand", np.zeros(columns))
    tracemalloc.start()
    ns.save_result({"run": run, "rows": [there]}, tmp_path / "a.h5")
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert workers.most == part
    assert most < 2 * part
    assert os.path.getsize(tmp_path / "a.h5") > 2 * len(sizes) * part


def test_the_record_of_a_command_is_written_part_by_part(tmp_path, monkeypatch):
    workers = Sending()
    monkeypatch.setattr(Workers, "of", lambda address: workers)
    task = SpectrumTask(width=16, pairs=4, probes=2, steps=10)
    data = ns.datasets.gaussian(800, 12, seed=3)
    found = measure_spectrum(task, data, spread=Spread("tcp://10.0.0.1:8786", 8))
    workers.most = 0
    storage.write(tmp_path / "spectrum.h5", {"spectrum": found}, kind="spectrum")
    assert workers.most == 8 * 100 * 4
    with h5py.File(tmp_path / "spectrum.h5") as file:
        assert np.array_equal(file["record/spectrum/leading/vectors"], host(found.leading.vectors))


def test_what_is_shown_of_a_run_does_not_bring_it_here(tmp_path):
    """In notebooks, on pages and in pictures."""
    workers = Sending()
    whole, there = spread_array(workers, (3, N), 1)
    run = ns.Trajectory(np.array([4, 0, 2]), there, None, "by hand", np.zeros(3))
    assert f"{N}" in run._repr_html_()
    assert workers.most == 0
    lines = run.plot().get_lines()
    assert any(np.array_equal(line.get_ydata(), whole[[1, 2, 0], 4]) for line in lines)
    ns.report(run).save(tmp_path / "run.html")
    assert workers.most <= 8 * 3 * 5
    assert np.array_equal(run.outputs["train"], whole)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError("the scheduler was lost")])
def test_what_stops_between_two_parts_leaves_the_old_file_and_no_other(tmp_path, monkeypatch, error):
    workers = Here()
    whole, there = spread_array(workers, (N, 3))
    ns.save_result(there, tmp_path / "a.h5")
    before = (tmp_path / "a.h5").read_bytes()
    answers, asked = workers.answers, []

    def stopping(futures):
        asked.append(futures)
        if len(asked) == 3:
            raise error
        return answers(futures)

    workers.answers = stopping
    with pytest.raises(type(error) if isinstance(error, Exception) else error):
        ns.save_result(2 * there, tmp_path / "a.h5")
    assert os.listdir(tmp_path) == ["a.h5"]
    assert (tmp_path / "a.h5").read_bytes() == before
    assert np.array_equal(ns.load_result(tmp_path / "a.h5"), whole)


def test_a_full_disk_and_a_closed_folder_are_told_before_a_part_comes(tmp_path, monkeypatch):
    workers = Sending()
    _, there = spread_array(workers, (N, 3))

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr("os.posix_fallocate", full)
        with pytest.raises(OSError, match=r"No space left on device.*a\.h5"):
            ns.save_result(there, tmp_path / "a.h5")
    with pytest.raises(FileNotFoundError, match="make it first"):
        ns.save_result(there, tmp_path / "missing" / "a.h5")
    assert workers.most == 0
    assert not os.listdir(tmp_path)


def test_rows_on_workers_are_not_pickled_and_copies_share_them():
    workers = Here()
    whole, there = spread_array(workers, (N, 3))
    with pytest.raises(TypeError, match=r"save_result .* gather\(\)"):
        pickle.dumps({"rows": there})
    copied = copy.deepcopy({"rows": there})["rows"]
    copied *= 2
    assert np.array_equal(copied.gather(), 2 * whole)
    assert np.array_equal(there.gather(), whole)


@pytest.mark.slow
def test_a_cluster_writes_what_its_workers_hold(cluster, tmp_path):
    parts = PARTS[2]
    K = ns.cluster.kernel(two_layers, parts, scheduler=cluster)
    K_test = ns.cluster.kernel(two_layers_against, parts, scheduler=cluster)
    found = {
        "spectrum": ns.eigsh(K, 3),
        "run": ns.predict_gd(K, Y[:, 0], eta=0.05, steps=[1, 10], kernel_test=K_test, batch=50),
        "posterior": ns.posterior(K, K_test, None, Y[:, 0], noise=0.1),
    }
    ns.save_result(found, tmp_path / "all.h5")
    back = ns.load_result(tmp_path / "all.h5")
    here = ns.predict_gd(two_layers(), Y[:, 0], eta=0.05, steps=[1, 10], batch=50)
    assert np.array_equal(back["spectrum"].vectors, found["spectrum"].vectors.gather())
    assert back["run"].train == pytest.approx(here.train, abs=1e-10)
    exact = ns.posterior(two_layers(), two_layers(X_test=X_TEST), None, Y[:, 0], noise=0.1)
    assert back["posterior"].mean == pytest.approx(exact.mean, abs=1e-6)


def two_layers_against(rows):
    return two_layers(rows, X_test=X_TEST)
