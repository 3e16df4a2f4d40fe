"""`analyze --scheduler`: Theta lies on workers, the network is trained here; the numbers are those of one machine."""

import dataclasses

import numpy as np
import pytest

import ntkspec as ns
from commands import run
from ntkspec.cluster.workers import Workers
from ntkspec.experiments.analyze import AnalyzeTask, analyze
from ntkspec.experiments.spread_models import Spread
from ntkspec.reporting.analysis import report
from ntkspec.reporting.summary import summary
from workers_here import Here

ADDRESS = "tcp://10.0.0.1:8786"
TASK = AnalyzeTask(activation="erf", width=24, steps=12)


@pytest.fixture
def workers(monkeypatch):
    here = Here()
    monkeypatch.setattr(Workers, "of", lambda address, patience=None: here)
    return here


def data():
    return ns.datasets.gaussian(60, 5, n_test=20, seed=1)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"activation": "relu", "eta1": 0.2, "eta2": 0.1},
        {"network": "fc:2x12", "width": None},
        {"law": ns.HeavyBall(0.5)},
        {"loss": "logistic"},
        {"batch": 20},
    ],
)
def test_workers_find_what_one_machine_finds(options, workers):
    task, dataset = dataclasses.replace(TASK, **options), data()
    here, there = analyze(task, dataset), analyze(task, dataset, spread=Spread(ADDRESS, 3))
    for name in ("theta", "theta_lin", "gap", "gap_frobenius", "theta_lin_frobenius"):
        one, other = getattr(here.kernel, name), getattr(there.kernel, name)
        assert max(one.lower, other.lower) <= min(one.upper, other.upper)
    assert there.kernel.eigenvalues == pytest.approx(here.kernel.eigenvalues, rel=1e-3, abs=1e-3)
    assert there.kernel.eigenvalues_lin == pytest.approx(here.kernel.eigenvalues_lin, rel=1e-12)
    assert there.rates == pytest.approx(here.rates, rel=2e-2)
    if "eta1" in options:
        for model, run_here in here.trajectories.items():
            assert there.trajectories[model].train == pytest.approx(run_here.train, abs=1e-6)
            assert there.trajectories[model].test == pytest.approx(run_here.test, abs=1e-6)
    assert isinstance(there.trajectories["ntk"].train, np.ndarray)
    assert there.nearest is None
    assert there.forecast.plan.method == "cluster"
    assert report(there)
    assert summary(there)


def test_each_part_of_the_points_is_sent_once_with_the_test_points(workers):
    analyze(TASK, data(), spread=Spread(ADDRESS, 3))
    sent = [one for one in workers.crossed if hasattr(one, "points")]
    assert [(part.first, part.last) for part in sent] == [(0, 20), (20, 40), (40, 60)]
    assert np.array_equal(np.vstack([part.points.X for part in sent]), data().X)
    assert all(np.array_equal(part.points.X_test, data().X_test) for part in sent)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("--parts 3", "--parts 3 is for workers"),
        (f"--scheduler {ADDRESS} --parts 31 --n 30", "parts=31, but there are 30 points"),
        (f"--scheduler {ADDRESS} --method dense", "method='dense' stores whole kernels"),
    ],
)
def test_what_workers_cannot_do_is_refused_in_one_line(options, told, workers, tmp_path):
    found = run(f"analyze {options} --output {tmp_path / 'made'}")
    assert (found.code, found.out, len(found.err)) == (2, "", 1)
    assert told in found.err[0]


@pytest.mark.slow
def test_the_command_runs_on_real_workers(cluster, tmp_path):
    small = "--n 60 --d 5 --n-test 20 --width 24 --steps 12"
    found = run(f"analyze {small} --scheduler {cluster} --parts 3 --output {tmp_path / 'made'}")
    assert found.code == 0
    stored = ns.load_result(tmp_path / "made" / "analysis.h5")
    assert stored.kernel.gap.lower <= stored.kernel.gap.upper
    assert stored.trajectories["ntk"].train.shape[1] == 60
