"""Verdicts on laws that are known, the real statements on small settings, and the commands."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

import ntkspec as ns
from ntkspec import cli
from ntkspec.experiments.statements import FAILS, HOLDS, OPEN, _falls, check_statement
from ntkspec.experiments.sweep_cells import Cell, measure_cell
from ntkspec.experiments.sweep_grid import Grid
from ntkspec.experiments.sweep_panels import Panel
from ntkspec.experiments.sweep_run import run_sweep
from ntkspec.plotting import scaling as plots
from ntkspec.reporting.check import check_report

D = (32, 48, 72, 108, 162)


def grid(**changes):
    return Grid(**({"d": D, "n": ("d^1.5",), "width": ("d^1.5",), "quantity": ("gap-first",)} | changes))


def invented(settings, exponent, *, noise=0.02, frobenius=0.0):
    """Gaps (n/d) d^exponent, with a factor of each seed."""
    rng, results = np.random.default_rng(0), {}
    for cell in settings.cells():
        size = cell.n / cell.d * np.exp(noise * rng.standard_normal())
        gap, whole = size * cell.d**exponent, 3 * size * cell.d**frobenius
        numbers = {"gap": gap, "hollow": gap / 2, "frobenius": whole, "hollow frobenius": whole / 2}
        results[cell] = numbers | {"linear": cell.n / cell.d}
    return results


def verdict(name, settings, results):
    (check,) = check_statement(name, settings, results)
    return check


@pytest.mark.parametrize(
    ("exponent", "noise", "expected"),
    [(-0.5, 0.02, HOLDS), (-0.3, 0.02, HOLDS), (-0.1, 0.02, FAILS), (0.2, 0.02, FAILS), (-0.26, 0.4, OPEN)],
)
def test_proposition_34_is_judged_by_the_exponent(exponent, noise, expected):
    settings = grid()
    check = verdict("prop-3.4", settings, invented(settings, exponent, noise=noise))
    assert check.verdict == expected
    assert [finding.verdict for finding in check.assumptions] == [HOLDS] * 3
    assert check.laws["gap"].lower <= exponent <= check.laws["gap"].upper


def test_a_constant_that_rises_leaves_it_open():
    settings = grid()
    law = verdict("prop-3.4", settings, invented(settings, -0.5)).laws["gap"]
    d = np.array(D, dtype=float)
    assert _falls(law, 0.25, d, d**-0.5).verdict == HOLDS
    assert _falls(law, 0.25, d, d**-0.2).verdict == OPEN


def test_the_second_layer_is_held_to_half_of_alpha():
    first, second = grid(), grid(quantity=("gap-second",))
    assert verdict("prop-3.4", first, invented(first, -0.2)).verdict == FAILS
    assert verdict("prop-3.4-second", second, invented(second, -0.2)).verdict == HOLDS


def test_the_frobenius_norm_is_contrasted():
    settings = grid()
    falls, same = (
        verdict("prop-3.4", settings, invented(settings, -0.5, frobenius=f)).findings[1].verdict for f in (0.1, -0.5)
    )
    assert (falls, same) == (HOLDS, OPEN)


@pytest.mark.parametrize(
    ("act", "n", "width", "unmet"),
    [
        ("erf", "d^1.5", "d^1.5", []),
        ("erf", "18", "d^1.5", ["n >= d^(1 + alpha)"]),
        ("erf", "d^1.5", "d", ["m >= d^(1 + alpha)"]),
        ("relu", "d^1.5", "d^1.25", ["m >= d^(2 + alpha)"]),
        ("relu", "d^1.5", "d^2.2", []),
    ],
)
def test_assumptions_of_the_second_layer_depend_on_the_mean_of_phi(act, n, width, unmet):
    settings = grid(d=(8, 12, 18), n=(n,), width=(width,), activation=(act,), quantity=("gap-second",))
    check = verdict("prop-3.4-second", settings, invented(settings, -0.5))
    assert [finding.what for finding in check.assumptions if finding.verdict == FAILS] == unmet


@pytest.mark.parametrize(
    ("act", "network", "unmet"),
    [
        ("erf", "fc:3xd^1.5", []),
        ("tanh", "fc:3xd", ["m >= d^(1 + alpha)"]),
        ("relu", "fc:3xd^1.5", ["m >= d^(2 + alpha)"]),
        ("gelu", "fc:2xd^2.25", []),
        ("relu", "fc:2xinf", []),
    ],
)
def test_deep_networks_are_held_to_half_of_alpha_and_need_the_width_of_their_activation(act, network, unmet):
    settings = grid(d=(8, 12, 18), activation=(act,), quantity=("gap-both",), network=(network,))
    for exponent, expected in ((-0.2, HOLDS), (-0.05, FAILS)):
        check = verdict("prop-3.4-deep", settings, invented(settings, exponent))
        assert check.verdict == expected
        assert [finding.what for finding in check.assumptions if finding.verdict == FAILS] == unmet
    assert check.setting == f"{act}, {network.split('x')[0]}xm, gaussian data, covariance identity"


@pytest.mark.slow
def test_deep_networks_on_small_settings(tmp_path):
    """erf at m = d^1.75 and GELU at infinite width meet the statement; ReLU at m = d, the control, does not."""
    holds = Grid(d=(12, 18, 27, 40), network=("fc:2xd^1.75",), quantity=("gap-both",), seeds=6)
    fails = Grid(d=(16, 32, 64), network=("fc:2xd",), activation=("relu",), quantity=("gap-both",), seeds=12)
    limit = replace(holds, network=("fc:3xinf",), activation=("gelu",))
    for settings, expected in ((holds, HOLDS), (fails, FAILS), (limit, HOLDS)):
        check = verdict("prop-3.4-deep", settings, run_sweep(settings, tmp_path / "sweep.h5"))
        assert check.verdict == expected


WIDTHS = {"d": (8,), "n": ("40",), "width": ("16", "64", "256", "1024"), "quantity": ("drift-first",)}


@pytest.mark.parametrize(
    ("exponents", "expected"),
    [((-1.0, -0.5), HOLDS), ((-0.45, -0.5), HOLDS), ((-1.0, -0.2), FAILS), ((0.0, 0.0), FAILS)],
)
def test_the_drift_is_judged_against_the_width(exponents, expected):
    settings, rng = grid(**WIDTHS), np.random.default_rng(0)
    results = {
        cell: {"c": 2.0}
        | {name: cell.width**power * np.exp(0.02 * rng.standard_normal())
           for name, power in zip(("drift", "movement"), exponents, strict=True)}
        for cell in settings.cells()
    }  # fmt: skip
    check = verdict("drift", settings, results)
    assert check.verdict == expected
    assert check.of == "m"
    assert [check.laws[name].exponent for name in ("drift", "movement")] == pytest.approx(exponents, abs=0.03)
    assert [finding.verdict for finding in check.assumptions] == [HOLDS] * 3


def test_the_drift_of_each_parameterization_is_judged_on_its_own(tmp_path):
    """The weights of muP move as far at any width: a control."""
    settings = Grid(**(WIDTHS | {"width": ("16", "64", "256")}), parameterization=("ntk", "mup"), seeds=2)
    found = check_statement("drift", settings, run_sweep(settings, tmp_path / "sweep.h5"))
    by_setting = {"mup" in check.setting: check.findings[1].verdict for check in found}
    assert by_setting[True] == FAILS
    assert by_setting[False] != FAILS


def test_claim_31_is_judged_by_ratios_that_must_be_bounded():
    settings = grid(quantity=("data",))
    for growth, expected in ((0.0, HOLDS), (0.3, FAILS)):
        results = {
            cell: {"norms": 1.5 * cell.d**growth, "overlaps": 2.0 + 0.01 * cell.seed, "gram": 1.7}
            for cell in settings.cells()
        }
        assert verdict("claim-3.1", settings, results).verdict == expected


def test_several_activations_are_judged_apart():
    settings = grid(activation=("erf", "relu"))
    results = invented(settings, -0.5)
    for cell in results:
        if cell.activation == "relu":
            results[cell]["gap"] *= cell.d**0.6
    assert [check.verdict for check in check_statement("prop-3.4", settings, results)] == [HOLDS, FAILS]


def test_the_statements_on_small_settings(tmp_path):
    """Data of Assumption 3.1 and erf meet them; the control, ReLU's second layer at m = d^1.25, does not."""
    settings = Grid(d=(16, 24, 36, 54), quantity=("data", "gap-first"), seeds=4)
    results = run_sweep(settings, tmp_path / "sweep.h5")
    assert verdict("prop-3.4", settings, results).verdict == HOLDS
    assert verdict("claim-3.1", settings, results).verdict != FAILS
    control = Grid(d=(16, 24, 36, 54), width=("d^1.25",), activation=("relu",), quantity=("gap-second",), seeds=4)
    check = verdict("prop-3.4-second", control, run_sweep(control, tmp_path / "control.h5"))
    assert check.verdict == FAILS


def test_what_is_zero_holds_and_is_not_fitted(tmp_path):
    """Equal norms (the sphere) and an identity: rounding has no exponent."""
    sphere = Grid(d=(8, 12, 18), distribution=("sphere",), quantity=("data",), seeds=2)
    check = verdict("claim-3.1", sphere, run_sweep(sphere, tmp_path / "data.h5"))
    assert check.findings[0].verdict == HOLDS
    assert "norms" not in check.laws
    linear = Grid(d=(8, 12, 18), activation=("identity",), quantity=("gap-first",), seeds=2)
    check = verdict("prop-3.4", linear, run_sweep(linear, tmp_path / "gap.h5"))
    assert (check.verdict, check.laws) == (HOLDS, {})


def test_a_statement_that_says_nothing_is_not_refuted():
    settings = grid(n=("32",))
    check = verdict("prop-3.4", settings, invented(settings, 0.2))
    assert check.verdict == OPEN
    assert "n is too small" in check.findings[0].evidence
    (line,) = (line for line in check_report([check]).splitlines() if line.startswith("  prop-3.4, "))
    assert "cannot tell, since " in line
    assert "n is too small" in line


# ---------------------------------------------------------------------------------------------------------- commands
def test_laws_of_the_sizes_are_drawn_apart(tmp_path):
    settings = Grid(d=(8, 12), n=("30", "d^1.5"), width=("d", "40"), seeds=1)
    panels = run_sweep(settings, tmp_path / "sweep.h5").panels["gap-first"]
    assert list(panels) == [f"erf, n = {n}, m = {m}" for n in ("30", "d^1.5") for m in ("d", "40")]
    own = [panel.results for panel in panels.values()]
    assert all(len({(cell.d, cell.seed) for cell in cells}) == len(cells) == 2 for cells in own)


def test_networks_are_drawn_apart_and_named(tmp_path):
    settings = Grid(d=(8, 12), n=("30",), network=("fc:2xd", "cnn:1x4:k3"), quantity=("gap-both",), seeds=1)
    panels = run_sweep(settings, tmp_path / "sweep.h5").panels["gap-both"]
    assert list(panels) == ["erf, n = 30, fc:2xd", "erf, n = 30, cnn:1x4:k3"]
    alone = Grid(d=(8, 12), n=("30",), network=("fc:2xd",), quantity=("gap-both",), seeds=1)
    assert list(run_sweep(alone, tmp_path / "sweep.h5").panels["gap-both"]) == ["erf, fc:2xd"]


@pytest.mark.parametrize("exponent", [-0.1, -8.0])
def test_the_vertical_axis_has_numbers_on_any_range(exponent):
    settings = grid(d=(20, 40))
    numbers = {cell: {"train": 0.07 * cell.d**exponent} for cell in settings.cells()}
    figure = plots.scaling({"erf": Panel(numbers, ("train",))})
    figure.draw_without_rendering()
    (axis,) = figure.axes
    low, high = axis.get_ylim()
    texts = [label.get_text() for label in axis.yaxis.get_ticklabels(which="both")]
    assert sum(bool(text) and low <= float(text) <= high for text in texts) >= 2


@pytest.mark.usefixtures("unpainted")
def test_single_precision_and_theorems_run(tmp_path, capsys):
    given = ["sweep", "--quantity", "gap-both", "budget-first", "training-first", "training-second", "--d", "8", "12"]
    given += ["--n", "40", "--width", "20", "--seeds", "1", "--dtype", "float32", "--output", str(tmp_path / "s.h5")]
    assert cli.main(given) == 0
    for name in ("corollary-3.3", "theorem-both"):
        given = ["check", name, "--d", "6", "8", "12", "--n", "40", "--width", "20", "--seeds", "2"]
        assert cli.main([*given, "--output", str(tmp_path / name)]) == 0
        assert f"{name}, erf, gaussian data" in capsys.readouterr().out


def test_ctrl_c_says_that_results_are_kept(monkeypatch, capsys, tmp_path):
    """Where there are some: :mod:`test_signals` stops one before the first."""

    def stopped(task, tasks, place):
        yield tasks[0], {"gram": 1.0}
        raise KeyboardInterrupt

    monkeypatch.setattr("ntkspec.cluster.execution.results", stopped)
    given = ["sweep", "--quantity", "data", "--d", "8", "--seeds", "2", "--output", str(tmp_path / "s.h5")]
    assert cli.main(given) == 130
    assert "is kept, and the same command goes on" in capsys.readouterr().err


@pytest.mark.usefixtures("unpainted")
def test_check_prints_a_verdict_and_draws(tmp_path, capsys):
    given = [
        "check",
        "prop-3.4",
        "--d",
        "8",
        "12",
        "18",
        "--seeds",
        "2",
        "--verbose",
        "--output",
        str(tmp_path / "out"),
    ]
    assert cli.main(given) == 0
    printed = capsys.readouterr().out
    assert "prop-3.4: erf, gaussian data, covariance identity" in printed
    assert "exponent" in printed
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"sweep.h5", "prop-3.4.png", "prop-3.4.pdf"}


@pytest.mark.usefixtures("unpainted")
def test_sweep_goes_on_and_draws_each_quantity(tmp_path, capsys):
    given = ["sweep", "--quantity", "gap-first", "budget-second", "data", "--d", "8", "12", "--n", "30", "--width", "d"]
    output = tmp_path / "my.h5"
    assert cli.main([*given, "--seeds", "1", "--output", str(output)]) == 0
    assert cli.main([*given, "--seeds", "2", "--activation", "erf", "relu", "--output", str(output)]) == 0
    captured = capsys.readouterr()
    assert "6 of 24 cells are there, 18 to measure" in captured.err
    names = {path.name for path in tmp_path.iterdir()}
    kinds = itertools.product(("gap-first", "budget-second", "data"), ("png", "pdf"))
    assert names >= {"my.h5", *(f"my-{quantity}.{kind}" for quantity, kind in kinds)}


@pytest.mark.usefixtures("unpainted")
def test_deep_networks_from_the_command_line(tmp_path, capsys):
    given = ["sweep", "--quantity", "gap-both", "training-both", "--network", "fc:2xd", "cnn:2x4:k3", "--d", "6", "9"]
    given += ["--n", "30", "--seeds", "1", "--verbose", "--output", str(tmp_path / "s.h5")]
    assert cli.main(given) == 0
    assert "cnn:2xm:k3" in capsys.readouterr().out
    assert {path.name for path in tmp_path.iterdir()} >= {"s-gap-both.png", "s-training-both.png"}
    given = ["check", "prop-3.4-deep", "--network", "fc:2xd", "--d", "6", "9", "12", "--seeds", "2", "--verbose"]
    assert cli.main([*given, "--activation", "erf", "gelu", "--output", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "prop-3.4-deep: gelu, fc:2xm, gaussian data" in printed
    assert "section 4.1 argues so in words" in printed
    assert "assumed, but not met here: m >= d^(2 + alpha)" in printed


@pytest.mark.usefixtures("unpainted")
@pytest.mark.parametrize("which", ["budget", pytest.param("5", marks=pytest.mark.slow)])
def test_figures_are_drawn_and_redrawn(which, tmp_path, capsys, monkeypatch):
    given = ["figure", which, "--d", "8", "12", "18", "--seeds", "2", "--output", str(tmp_path)]
    given += ["--n", "40", "--width", "20"]
    assert cli.main(given) == 0
    assert {path.name for path in tmp_path.iterdir()} >= {f"figure-{which}.{kind}" for kind in ("png", "pdf", "h5")}
    monkeypatch.setattr("ntkspec.experiments.sweep_run.measure_cell", None)
    assert cli.main(given) == 0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["check", "prop-3.4", "--d", "8", "12"], "2 values of d and 5 seeds"),
        (["check", "prop-3.4", "--n", "d", "d^2"], "one law for n"),
        (["check", "prop-9"], "prop-9"),
        (["check", "drift", "--d", "8", "12", "18"], "exponents of the width, at one d and one n"),
        (["check", "drift", "--width", "8", "12"], "over three widths and two seeds or more"),
        (["check", "drift", "--network", "fc:2x8", "fc:2x16", "fc:2x32"], "speaks of two-layer networks"),
        (["sweep", "--quantity", "gap"], "quantity='gap'"),
        (["sweep", "--quantity", "data", "--d", "a"], "d='a'"),
        (["figure", "7"], "7"),
        (["sweep", "--quantity", "gap-both", "--network", "fc:3x8", "--width", "8"], "leave --width out"),
        (["sweep", "--quantity", "budget-both", "--network", "fc:3x8"], "take data, gap-both, training-both"),
        (["sweep", "--quantity", "gap-both", "--network", "mlp"], "network 'mlp' is unknown"),
        (["sweep", "--quantity", "training-both", "--network", "fc:3xinf"], "at width inf take gap-LAYER"),
        (["check", "prop-3.4-deep", "--width", "8"], "leave --width out"),
        (["check", "prop-3.4-deep", "--network", "cnn:1x8:k3"], "speaks of fc networks, but cnn:1x8:k3 came"),
        (["check", "prop-3.4-deep", "--network", "fc:2xd", "fc:3xd"], "one law for n and one for the width"),
        (["check", "prop-3.4-both", "--network", "fc:3x8"], "speaks of two-layer networks, but fc:3x8 came"),
    ],
)
def test_bad_input_ends_with_one_line(given, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(given) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
    assert len(captured.err.strip().splitlines()) == 1


def test_a_cell_knows_everything_that_its_numbers_depend_on():
    cells = [Cell("gap-first", 8, 20, 10), Cell("gap-first", 8, 20, 10, seed=1), Cell("gap-first", 8, 20, 10, "relu")]
    assert len({cell.key for cell in cells}) == 3


@pytest.mark.usefixtures("unpainted")
def test_proposition_4_1_on_the_cube(tmp_path, capsys):
    """Measured against the kernel's own definition at one cell; holds at q = d^0.9, and n = d says nothing."""
    check, given = ["check", "prop-4.1", "--verbose", "--d"], ["24", "36", "54", "--seeds", "2", "--output"]
    assert cli.main([*check, "24", "36", "54", "81", "--seeds", "3", "--output", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "prop-4.1, erf, cube data, covariance identity: holds" in out
    assert "q = d^0.9" in out
    cell = Cell("gap-cnn", 24, 53, 18, distribution="cube", seed=1)
    X = ns.datasets.rademacher(53, 24, seed=1).X
    patches = np.stack([np.roll(X, -i, axis=1)[:, :18] for i in range(24)])
    c = np.einsum("iaj,ibj->iab", patches, patches) / 18
    kernel = (2 / np.pi * np.arcsin(2 * c / 3) + 4 / np.pi * c / np.sqrt(9 - 4 * c**2)).mean(axis=0)
    gap = kernel - 8 / (3 * np.pi) * X @ X.T / 24
    found = measure_cell(cell)
    assert found["gap lower"] <= np.linalg.norm(gap, 2) * (1 + 1e-9)
    assert np.linalg.norm(gap, 2) <= found["gap upper"] * (1 + 1e-9)
    assert found["frobenius"] == pytest.approx(np.linalg.norm(gap), rel=1e-9)
    assert cli.main([*check, *given, str(tmp_path / "few"), "--n", "d"]) == 0
    assert "cannot tell" in capsys.readouterr().out
    assert cli.main([*check, *given, str(tmp_path / "long"), "--width", "d^1.5"]) == 2
    assert "do not fit into d = 24" in capsys.readouterr().err
    assert cli.main([*check, *given, str(tmp_path / "relu"), "--activation", "relu"]) == 0
    assert "assumed, but not met here: phi = erf" in capsys.readouterr().out
