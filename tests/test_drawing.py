"""Figures look alike on every machine, and whatever was measured can be drawn."""

import dataclasses
import os
import subprocess
import sys

import matplotlib
import matplotlib.image
import numpy as np
import pytest

from ntkspec import datasets
from ntkspec.dynamics import Trajectory
from ntkspec.experiments.analyze import Analysis, AnalyzeTask, Comparison, analyze
from ntkspec.experiments.sweep_cells import Cell
from ntkspec.experiments.sweep_panels import Panel
from ntkspec.experiments.two_layer_runs import Run, Setting, compare
from ntkspec.plotting import analysis, scaling, training
from ntkspec.plotting.files import save
from ntkspec.plotting.settings import delivered
from ntkspec.plotting.values import shown

# What diverges, or is nothing.
PARTS = {
    Analysis: ("losses", "trajectories", "comparisons"),
    Comparison: ("mean_squared", "relative", "relative_to_labels"),
    Trajectory: ("train", "test"),
    Run: ("losses", "outputs", "discrepancies"),
}
EXTREME = [0.0, -1.0, 5e-324, 1e99, 1e101, 1e308, np.inf, -np.inf, np.nan]


def filled(tree, value):
    """The same with that value everywhere."""
    if type(tree) in PARTS:
        return dataclasses.replace(tree, **{name: filled(getattr(tree, name), value) for name in PARTS[type(tree)]})
    if isinstance(tree, dict):
        return {key: filled(child, value) for key, child in tree.items()}
    return np.full(tree.shape, value)


@pytest.fixture(scope="module")
def measured():
    """An analysis, and a run."""
    run = compare(Setting("relu", d=4, n=40, width=4, steps=5, n_test=10, target="norm", naive=True))
    return analyze(AnalyzeTask(width=8, steps=5), datasets.gaussian(40, 5, n_test=10)), run


# Figures of an analysis, a run, and the numbers of cells.
DRAWN = {
    "discrepancy": lambda found, run, numbers: analysis.discrepancy(found),
    "losses": lambda found, run, numbers: analysis.losses(found),
    "outputs": lambda found, run, numbers: analysis.outputs(found),
    "1": lambda found, run, numbers: training.figure_1(run, {"one": [run], "other": [run]}),
    "2": lambda found, run, numbers: training.figure_2(run),
    "sizes": lambda found, run, numbers: scaling.scaling(
        {"title": Panel(cells(numbers), ("gap", "frobenius"), scaled=True)}
    ),
}


def cells(numbers):
    """Of a sweep, all with these numbers."""
    return {Cell("gap-first", d, 20, width=8, seed=seed): numbers for d in (4, 8, 16) for seed in (0, 1)}


@pytest.mark.covering(1)
@pytest.mark.parametrize("name", DRAWN)
@pytest.mark.parametrize("value", EXTREME)
def test_whatever_was_measured_is_drawn(value, name, measured, tmp_path):
    found, run = (filled(one, value) for one in measured)
    with delivered():
        figure = DRAWN[name](found, run, {"gap": value, "frobenius": value})
        (path,) = save(figure, tmp_path, name, kinds=("png",))
        assert matplotlib.image.imread(path).std() > 0.01


def test_values_beyond_the_axis_are_gaps():
    values = np.array([0.0, -2.0, 1e100, -1e100, 1.1e100, np.inf, -np.inf, np.nan, 1e308])
    np.testing.assert_array_equal(shown(values), [0, -2, 1e100, -1e100, *[np.nan] * 5])


def test_settings_are_matplotlib_s_own_while_it_draws_and_as_before_afterwards():
    with matplotlib.rc_context({"text.usetex": True, "font.family": "Nothing", "axes.facecolor": "red"}):
        before, backend = dict(matplotlib.rcParams.copy()), dict.get(matplotlib.rcParams, "backend")
        with delivered():
            assert not matplotlib.rcParams["text.usetex"]
            assert matplotlib.rcParams["axes.facecolor"] == "white"
        assert dict(matplotlib.rcParams.copy()) == before
        assert dict.get(matplotlib.rcParams, "backend") == backend


def test_a_first_import_needs_nothing_of_the_user_s(tmp_path):
    (tmp_path / "settings").write_bytes(b"\xff\xfe: True")
    (tmp_path / "file").write_text("in the way")
    given = {"MPLBACKEND": "module://matplotlib_inline.absent", "MATPLOTLIBRC": str(tmp_path / "settings")}
    given |= {"MPLCONFIGDIR": str(tmp_path / "file"), "HOME": str(tmp_path / "file")}
    code = (
        "import os; from ntkspec.plotting.settings import delivered\n"
        "with delivered():\n"
        "    import ntkspec.plotting.files; from matplotlib.figure import Figure\n"
        "    figure = Figure(); figure.subplots().set_title('Θ'); ntkspec.plotting.files.save(figure, '.', 'drawn')\n"
        "print(os.environ['MPLBACKEND'], os.environ['MATPLOTLIBRC'])"
    )
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ | given, capture_output=True, text=True, timeout=100, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == [given["MPLBACKEND"], given["MATPLOTLIBRC"]]
    assert {path.name for path in tmp_path.glob("drawn*")} == {"drawn.png", "drawn.pdf"}
