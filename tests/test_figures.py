"""Figures 1 and 2: what they are drawn from, what is kept, and what the command says."""

from dataclasses import replace

import numpy as np
import pytest

import ntkspec as ns
from conftest import full_disk
from ntkspec import storage
from ntkspec.cli import main
from ntkspec.experiments import two_layer_runs as runs
from ntkspec.experiments.run_cache import kept
from ntkspec.experiments.two_layer_runs import COMPARISON, Run, Setting, compare, linear_rate
from ntkspec.kernels import naive_linear_kernel
from ntkspec.plotting import training

SMALL = Setting("erf", d=6, n=150, width=8, steps=40, n_test=30, dtype="float64")
GIVEN = ["--d", "6", "--n", "150", "--width", "8", "--steps", "40", "--n-test", "30"]


def test_a_run_holds_what_the_public_functions_give():
    found = compare(SMALL)
    data = ns.datasets.gaussian(150, 6, n_test=30)
    net = ns.TwoLayer.symmetric(6, 8, "erf")
    trained = ns.train_gd(net, data.X, data.y, eta1=found.eta, eta2=found.eta, steps=found.steps, X_test=data.X_test)
    kernels = ns.linear_kernel("erf", data.X), ns.linear_kernel("erf", data.X_test, data.X)
    linear = ns.predict_gd(kernels[0], data.y, eta=found.eta, steps=found.steps, kernel_test=kernels[1])
    assert found.losses["network"]["train"] == pytest.approx(((trained.train - data.y) ** 2).mean(axis=1) / 2)
    assert found.losses["linear"]["test"] == pytest.approx(((linear.test - data.y_test) ** 2).mean(axis=1) / 2)
    assert found.discrepancies["linear"]["test"] == pytest.approx(((trained.test - linear.test) ** 2).mean(axis=1))
    assert np.array_equal(found.outputs["network"], trained.test[:, :5])
    assert found.steps[0] == 0
    assert found.steps[-1] == 40


def test_network_and_linear_model_are_trained_by_one_recipe():
    setting = replace(SMALL, law=ns.HeavyBall(0.8), loss="logistic", batch=40)
    found = compare(setting)
    data = ns.datasets.gaussian(150, 6, n_test=30)
    how = {"steps": found.steps, "law": ns.HeavyBall(0.8), "loss": "logistic", "batch": 40}
    trained = ns.train_gd(ns.TwoLayer.symmetric(6, 8, "erf"), data.X, data.y, eta1=found.eta, eta2=found.eta, **how)
    linear = ns.predict_gd(ns.linear_kernel("erf", data.X), data.y, eta=found.eta, **how)
    for name, run in {"network": trained, "linear": linear}.items():
        assert found.losses[name]["train"] == pytest.approx(np.log1p(np.exp(-data.y * run.train)).mean(axis=1))
    assert found.eta == pytest.approx(linear_rate("erf", 6) * (1 - 0.8) * 4)
    assert found.finished == np.inf
    squared = compare(replace(SMALL, law=ns.HeavyBall(0.8)))
    modes = ns.learning_modes(ns.linear_kernel("erf", data.X), data.y, eta=squared.eta, law=ns.HeavyBall(0.8))
    assert squared.finished == modes.steps_to_learn(0.99)


def test_the_rate_takes_the_average_mode_through_five_e_folds():
    zeta = ns.activation("erf").constants.zeta
    assert linear_rate("erf", 50) * 2 * zeta**2 / 50 * 1000 == pytest.approx(5)
    with pytest.raises(ValueError, match="zeta = 0"):
        linear_rate("cos", 50)


def test_the_naive_model_lacks_the_norm_and_nothing_else():
    X = np.random.default_rng(0).standard_normal((9, 4))
    X_test = np.random.default_rng(1).standard_normal((3, 4))
    constants, ratio = ns.activation("relu").constants, 1.3
    for one, other in ((X, None), (X_test, X)):
        right = one if other is None else other
        expected = 2 / 4 * constants.zeta**2 * one @ right.T + 1.5 / 4 * constants.nu(ratio) ** 2
        expected += constants.vartheta0**2
        found = naive_linear_kernel("relu", one, other, trace_ratio=ratio)
        assert found.to_dense() == pytest.approx(expected, abs=1e-14)
    on_the_sphere = X / np.linalg.norm(X, axis=1, keepdims=True) * 2
    naive, whole = naive_linear_kernel("relu", on_the_sphere), ns.linear_kernel("relu", on_the_sphere)
    assert naive.to_dense() == pytest.approx(whole.to_dense(), abs=1e-14)


def computed_again(setting, **options):
    """What must not happen."""
    pytest.fail("computed again")


def test_runs_that_are_kept_are_not_repeated(tmp_path):
    settings = [SMALL, Setting("relu", d=4, n=60, width=4, steps=10, n_test=10, target="norm", naive=True)]
    first = kept(settings[:1], tmp_path / "runs.h5", COMPARISON)
    both = kept(settings, tmp_path / "runs.h5", COMPARISON)
    assert np.array_equal(first[0].losses["network"]["train"], both[0].losses["network"]["train"])
    again = kept(settings[::-1], tmp_path / "runs.h5", replace(COMPARISON, measure=computed_again))
    assert [run.setting for run in again] == settings[::-1]
    assert set(again[0].losses) == {"network", "linear", "naive"}


def test_an_interrupted_figure_keeps_what_is_done(tmp_path):
    other = Setting("erf", d=4, n=60, width=4, steps=10, n_test=10)
    calls: list = []

    def stopping(setting, **options):
        calls.append(setting)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return compare(setting, **options)

    how = replace(COMPARISON, measure=stopping)
    with pytest.raises(KeyboardInterrupt):
        kept([SMALL, other], tmp_path / "runs.h5", how)
    kept([SMALL, other], tmp_path / "runs.h5", how)
    assert calls == [SMALL, other, other]
    assert [run.setting for run in ns.load_result(tmp_path / "runs.h5")] == [SMALL, other]


def test_runs_say_which_commands_made_them_and_older_files_are_read(tmp_path):
    other = Setting("erf", d=4, n=60, width=4, steps=10, n_test=10)
    first = kept([SMALL], tmp_path / "runs.h5", COMPARISON, command="one")
    storage.write(tmp_path / "older.h5", first, kind=COMPARISON.kind)
    for name, counts in (("runs.h5", {"one": 1, "two": 1}), ("older.h5", {"two": 1})):
        kept([SMALL, other], tmp_path / name, COMPARISON, command="two")
        found = storage.read(tmp_path / name, kind=COMPARISON.kind, types=(Run, Setting))
        assert [run.setting for run in found["runs"]] == [SMALL, other]
        assert {one["command"]: one["measured"] for one in found["provenance"]} == counts


def test_runs_on_a_full_disk_are_returned(tmp_path):
    path = tmp_path / "runs.h5"
    with full_disk(), pytest.warns(RuntimeWarning, match=r"runs.h5 could not be written \(No space left on device\)"):
        found = kept([SMALL], path, COMPARISON)
    again = kept([SMALL], path, COMPARISON)
    assert np.array_equal(found[0].losses["network"]["train"], again[0].losses["network"]["train"])
    assert list(tmp_path.iterdir()) == [path]


def test_a_second_writer_and_foreign_content_are_refused_before_the_work(tmp_path):
    path, how = tmp_path / "runs.h5", replace(COMPARISON, measure=computed_again)
    with storage.locked(path), pytest.raises(ValueError, match=r"runs.h5 is in use by another process"):
        kept([SMALL], path, how)
    for content in ([SMALL, 3], {"a": 1}, 3):
        storage.write(path, content, kind=COMPARISON.kind)
        with pytest.raises(ValueError, match=r"runs.h5 is damaged"):
            kept([SMALL], path, how)


@pytest.mark.parametrize("which", [pytest.param("1", marks=pytest.mark.slow), "2"])
def test_a_figure_by_command(which, tmp_path, capsys, monkeypatch):
    panels = ["--dimensions", "4", "9", "--panel-steps", "12"] if which == "1" else []
    command = ["figure", which, *GIVEN, *panels, "--output", str(tmp_path)]
    assert main(command) == 0
    out, err = capsys.readouterr()
    assert f"figure-{which}.h5, figure-{which}.png, figure-{which}.pdf" in out
    assert which == "2" or "training (d = 9, width 14, 12 steps)" in err
    for kind in ("png", "pdf", "h5"):
        assert (tmp_path / f"figure-{which}.{kind}").stat().st_size > 1000
    monkeypatch.setattr(runs, "COMPARISON", replace(COMPARISON, measure=computed_again))
    (tmp_path / f"figure-{which}.png").unlink()
    assert main(command) == 0
    assert (tmp_path / f"figure-{which}.png").exists()
    if which == "1":
        kept = ns.load_result(tmp_path / "figure-1.h5")
        assert [(run.setting.d, run.setting.width, run.setting.steps) for run in kept] == [
            *((6, 8, 40), (4, 8, 12), (9, 8, 12)),
            *((4, 4, 12), (9, 14, 12)),
        ]
        rates = {run.setting.d: run.eta for run in kept}
        assert rates[9] / rates[4] == pytest.approx(9 / 4)


def test_what_is_drawn():
    erf = compare(SMALL)
    figure = training.figure_1(erf, {"width 8": [erf], "width grows": [erf, erf]})
    losses, outputs, fixed, growing = figure.axes
    drawn = {tuple(line.get_ydata()) for line in losses.lines}
    assert tuple(erf.losses["linear"]["train"]) in drawn
    assert tuple(erf.losses["network"]["test"]) in drawn
    assert tuple(erf.outputs["linear"][:, 3]) in {tuple(line.get_ydata()) for line in outputs.lines}
    assert (len(fixed.lines), len(growing.lines)) == (1, 2)
    assert fixed.get_ylim() == growing.get_ylim()
    relu = compare(Setting("relu", d=4, n=60, width=4, steps=10, n_test=10, target="norm", naive=True))
    losses, distances = training.figure_2(relu).axes
    assert tuple(relu.losses["naive"]["test"]) in {tuple(line.get_ydata()) for line in losses.lines}
    assert len(distances.lines) == 2


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (["figure", "1", "--width", "7"], "even width"),
        (["figure", "1", "--d", "2.5"], "not a whole number"),
        (["figure", "2", "--activation", "cos"], "zeta = 0"),
        (["figure", "2", "--activation", "gelo"], "gelo"),
        (["figure", "1", "--n-test", "3"], "n_test"),
        (["figure", "1", "--dimensions", "x"], "whole numbers"),
    ],
)
def test_bad_input_ends_with_one_line(given, reason, tmp_path, capsys):
    assert main([*given, "--output", str(tmp_path / "out")]) == 2
    out, err = capsys.readouterr()
    assert not out
    assert err.count("\n") == 1
    assert reason in err
    assert not (tmp_path / "out").exists()
