"""Forecasts of sweeps, spectra and figures: told before the work, with the bytes that are planned, more for more."""

import itertools
import re
from dataclasses import replace

import pytest

import ntkspec as ns
from commands import run
from ntkspec.cluster.execution import HERE, Place
from ntkspec.engines import cpu
from ntkspec.experiments import spectrum_forecast as spectra
from ntkspec.experiments import sweep_forecast as sweeps
from ntkspec.experiments import training_forecast as training
from ntkspec.experiments.forecast import Expected, Length, Step
from ntkspec.experiments.spectrum_forecast import Sizes, spectrum_forecast
from ntkspec.experiments.sweep_cells import Cell
from ntkspec.experiments.sweep_grid import Grid
from ntkspec.experiments.sweep_limits import bytes_of
from ntkspec.experiments.training_forecast import one_after_another, training_forecast
from ntkspec.operators import JacobianGram, planning
from ntkspec.operators.work import PassWork
from several_outputs import WrittenJacobian, random_jacobian


@pytest.fixture(autouse=True)
def _a_machine_of_nominal_rates_and_no_memory_used(monkeypatch):
    """Nothing is timed, and bytes are those of the run alone."""
    monkeypatch.setattr(sweeps, "WORTH_MEASURING", 1e9)
    monkeypatch.setattr(sweeps, "step_of", lambda train: Step(1e-5 * train.args[0].n))
    for name in ("used_memory", "most_memory"):
        monkeypatch.setattr(cpu, name, lambda: 0)


def line_of(err, word):
    """Where a line of standard error with this word stands, counted from 0."""
    return next(place for place, line in enumerate(err) if word in line)


# ------------------------------------------------------------------------------------------------------------ sweeps
def test_a_cell_takes_the_bytes_of_its_kernel_as_it_is_planned():
    cell = Cell("gap-first", 20, 1500, 400)
    X = ns.datasets.gaussian(cell.n, cell.d).X
    theta = ns.ntk(ns.TwoLayer.symmetric(cell.d, cell.width, "erf"), X, layer="first")
    plan = planning.plan(theta - ns.linear_kernel("erf", X, layer="first"), 150)
    assert plan.bytes > 0
    found = sweeps.sweep_forecast([cell], HERE)
    assert found.bytes == plan.bytes + bytes_of(cell) + 8 * cell.n * sweeps.BASIS
    several = sweeps.sweep_forecast([cell], Place(processes=2))
    assert several.bytes == 2 * found.bytes


@pytest.mark.parametrize("quantity", ["data", "gap-both", "budget-first", "training-first", "training-second", "drift"])
def test_more_points_take_longer_and_more_memory(quantity):
    cells = [Cell(quantity, 12, n, 30) for n in (200, 800, 2400)]
    found = [sweeps.sweep_forecast([cell], HERE) for cell in cells]
    assert list(found[0].seconds) == [quantity]
    assert all(one.total < other.total for one, other in itertools.pairwise(found))
    assert all(one.bytes < other.bytes for one, other in itertools.pairwise(found))


def test_seeds_take_as_long_each_and_sizes_between_are_estimated():
    cell = Cell("gap-first", 12, 300, 30)
    one, three = (sweeps.sweep_forecast([replace(cell, seed=k) for k in range(seeds)], HERE) for seeds in (1, 3))
    assert three.total == pytest.approx(3 * one.total)
    assert three.bytes == one.bytes
    cells = Grid(tuple(range(8, 48)), n=("20*d",), width=("d",), seeds=1).cells()
    each = sum(sweeps.sweep_forecast([cell], HERE).total for cell in cells)
    assert 0.5 < sweeps.sweep_forecast(cells, HERE).total / each <= 1.01


def test_a_sweep_tells_time_and_memory_before_the_first_cell(tmp_path, monkeypatch):
    seen = []

    def results(measure, missing, place):
        seen.append(len(missing))
        raise ValueError("enough")

    monkeypatch.setattr("ntkspec.experiments.sweep_run.execution.results", results)
    words = ["sweep", "--quantity", "gap-first", "--d", "4", "6", "--n", "20", "--width", "8", "--output"]
    err = run([*words, tmp_path / "own.h5"]).err
    assert seen == [10]
    assert err[line_of(err, "forecast")].startswith("ntkspec: forecast: about 1 s (gap-first 1 s) and ")
    assert err[line_of(err, "forecast")].endswith(" GB")
    assert line_of(err, "forecast") < line_of(err, "enough")


# ----------------------------------------------------------------------------------------------------------- spectra
def kernels(n):
    """Theta and Theta^lin on so many points."""
    X = ns.datasets.gaussian(n, 12).X
    return ns.ntk(ns.TwoLayer.symmetric(12, 64, "erf"), X), ns.linear_kernel("erf", X)


def test_a_spectrum_takes_the_bytes_of_the_kernels_as_they_are_planned():
    (theta, linear), sizes = kernels(2000), Sizes(pairs=20, probes=8, steps=100)
    found = spectrum_forecast(theta, linear, sizes)
    plans = planning.plan(theta, sizes.products), planning.plan(linear, sizes.of_pairs)
    assert found.plan.method == plans[0].method
    assert found.bytes == sum(plan.bytes for plan in plans) + 8 * 2000 * 256
    formed = [spectrum_forecast(theta, None, sizes, method=method).bytes for method in ("factored", "dense")]
    assert formed[1] - formed[0] == planning.plan(theta, 1, method="dense").bytes > 0


@pytest.mark.parametrize("method", ["factored", "dense"])
def test_spectra_of_more_points_take_longer_and_more_memory(method):
    sizes = Sizes(pairs=20, probes=8, steps=100)
    found = [spectrum_forecast(*kernels(n), sizes, method=method) for n in (1600, 3000, 6000)]
    assert all(one.total < other.total for one, other in itertools.pairwise(found))
    assert all(one.bytes < other.bytes for one, other in itertools.pairwise(found))
    more = spectrum_forecast(*kernels(1600), replace(sizes, probes=80), method=method)
    assert set(more.seconds) == {"kernel", "spectral norm", "Frobenius norm", "eigenpairs", "density"} | {
        "eigenpairs of the other kernel"
    }


def test_the_passes_of_a_framework_are_timed_on_few_points(monkeypatch):
    """A product with 50 points takes 5 s the second time, and 2 s more to compile the first time."""
    clock = iter([0.0, 7.0, 10.0, 15.0])
    monkeypatch.setattr(spectra.time, "perf_counter", lambda: next(clock))
    few, whole = (JacobianGram(WrittenJacobian(random_jacobian(n, 1))) for n in (50, 400))
    whole.left.passes_of_points = lambda n: PassWork(forward=3.0 * n, programs=2.0)
    whole.left.passes_of_checks = lambda stacked: PassWork()
    found = spectrum_forecast(whole, None, Sizes(5, 2, 10), few=few, method="factored")
    assert found.seconds["spectral norm"] == pytest.approx(60 * 40.0)
    assert found.seconds["kernel"] == pytest.approx(3 / 5 * 40.0 + 2 * 1.0)


def test_a_spectrum_tells_its_forecast_before_the_kernel_and_once(tmp_path):
    words = ["spectrum", "--n", "60", "--d", "5", "--n-test", "0", "--width", "8", "--pairs", "2", "--output", tmp_path]
    err = run(words).err
    assert sum("forecast" in line for line in err) == 1
    assert line_of(err, "forecast: about 1 s and ") < line_of(err, "kernel ...")


# ----------------------------------------------------------------------------------------------------------- figures
def test_training_takes_its_steps_its_records_and_its_outputs(monkeypatch):
    """A step is said to take 0.3 s, so that a pass of one of 100 points takes 1 ms."""
    monkeypatch.setattr(training, "step_of", lambda train: Step(0.3))
    data = ns.datasets.gaussian(100, 5, n_test=20)
    found = training_forecast(None, data, Length(steps=50, records=10, models=3))
    assert found.seconds == {"training": pytest.approx(50 * 0.3 + 10 * 20 * 0.001)}
    assert found.bytes == 3 * 10 * 120 * 8
    batches = training_forecast(None, data, Length(steps=50, records=10, batch=25))
    assert batches.total == pytest.approx(50 * 0.3 + 10 * 120 * 0.004)
    both = one_after_another([found, batches, Expected({"kernels": 2.0}, 1.0)])
    assert both.total == pytest.approx(found.total + batches.total + 2)
    assert both.bytes == found.bytes


@pytest.mark.parametrize("which", [pytest.param("1", marks=pytest.mark.slow), "2"])
def test_a_figure_tells_the_forecast_of_what_is_missing_first(which, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "step_of", lambda train: Step(2.0))
    words = ["figure", which, "--d", "4", "--n", "30", "--n-test", "10", "--width", "8", "--steps", "9", "--output"]
    panel = ["--dimensions", "4", "--panel-steps", "6"] if which == "1" else []
    err = run([*words, tmp_path, *panel]).err
    lengths = (9, 6, 6) if which == "1" else (9,)  # every step is recorded, and the start
    seconds = round(sum(2.0 * steps + (steps + 1) * 10 * 2.0 / (3 * 30) for steps in lengths))
    assert re.match(rf"ntkspec: forecast: about {seconds} s \(training {seconds} s\) and .* GB", err[0])
    assert not any("forecast" in line for line in run([*words, tmp_path, *panel]).err)
