"""Spectra, sweeps and checks on one screen: an answer first, nothing wider or longer than a terminal."""

import json

import numpy as np
import pytest

import ntkspec as ns
from commands import run
from ntkspec.experiments.spectrum import SpectrumTask, measure_spectrum
from ntkspec.experiments.statements import check_statement
from ntkspec.experiments.sweep_grid import Grid
from ntkspec.experiments.sweep_results import Sweep
from ntkspec.reporting.screen import check_summary, check_verdicts, spectrum_summary, sweep_answer, sweep_summary

LINES, COLUMNS = 40, 80


def fits(text):
    """Whether a text and the two lines of the files fit on a terminal."""
    lines = text.splitlines()
    return len(lines) <= LINES - 2 and max(map(len, lines)) <= COLUMNS


def invented(grid):
    """A sweep in which norms are 2 n d^-1.5 times up to 1 % of noise, and every other number is d^0.25."""
    rng, names = np.random.default_rng(0), ("gap", "hollow", "frobenius", "hollow frobenius", "linear")
    found = {}
    for cell in grid.cells():
        of_norms = 2.0 * cell.n * cell.d**-1.5 * (1 + 0.01 * rng.random())
        others = ("norms", "overlaps", "gram", "train", "test", "fluctuation", "diagonal", "remainder")
        found[cell] = dict.fromkeys(names, of_norms) | dict.fromkeys(others, cell.d**0.25)
    return Sweep(found, [grid])


# ------------------------------------------------------------------------------------------------------------ spectra
@pytest.mark.parametrize("kernel", ["theta", "gap"])
def test_a_spectrum_fits_and_begins_with_its_answer(kernel):
    data = ns.datasets.gaussian(200, 8)
    record = measure_spectrum(SpectrumTask(kernel=kernel, width=16, probes=2, steps=20), data)
    text = spectrum_summary(record)
    assert fits(text)
    name = "Theta" if kernel == "theta" else "Theta - Theta^lin"
    assert text.startswith(f"||{name}|| = {record.norm.value:.6g} in [")
    assert all(f"{value:.6g}" in text for value in record.leading.values[:8])


# ------------------------------------------------------------------------------------------------------------- sweeps
def test_a_sweep_answers_with_an_exponent_and_shows_medians():
    sweep = invented(Grid((8, 16, 32), n=("d^2",), width=("8",), seeds=2))
    law = sweep.laws["gap-first"]["erf"]["gap"]
    assert f"gap times d/n (gap-first, erf) goes as d^{law.exponent:.3g}," in sweep_answer(sweep)
    assert sweep_answer(sweep).endswith("; 3 other exponents.")
    text = sweep_summary(sweep)
    assert fits(text)
    row = next(line.split() for line in text.splitlines() if line.startswith("  16 "))
    medians = [np.median([own["gap"] for cell, own in sweep.items() if cell.d == 16]) * 16 / 256]
    assert float(row[1]) == pytest.approx(medians[0], rel=1e-3)


@pytest.mark.parametrize(
    "grid",
    [
        Grid((8, 16, 32), n=("d", "d^1.5"), width=("d^1.5", "4096"), activation=("erf", "relu"), seeds=2),
        Grid(tuple(range(2, 90)), n=("d",), width=("8",), seeds=2),
        Grid((8, 16, 32), quantity=tuple(name for name in ("data", "gap-both", "budget-first", "training-second"))),
        Grid((8, 16), n=("d",), width=("8",), distribution=("gaussian", "cube"), covariance=("identity", "graded")),
    ],
)
def test_sweeps_of_any_size_fit_and_say_what_is_left_out(grid):
    sweep = invented(grid)
    text = sweep_summary(sweep)
    assert fits(text)
    panels = [panel for own in sweep.panels.values() for panel in own.values()]
    shown = sum(line.startswith("  d ") for line in text.splitlines())
    left = len(panels) - shown
    assert (f"{left} more table" in text) == bool(left)


def test_without_exponents_it_says_what_they_need():
    assert "needs three values of d, or widths at one d, two seeds" in sweep_answer(
        invented(Grid((8, 16), n=("d",), width=("8",)))
    )


# ------------------------------------------------------------------------------------------------------------- checks
def checked(activations, exponent=-0.5):
    """Checks of Proposition 3.4 on invented norms that fall as this power of d."""
    grid = Grid((16, 32, 64, 128), n=("d^2",), width=("d^2",), activation=activations, seeds=3)
    rng = np.random.default_rng(0)
    results = {}
    for cell in grid.cells():
        norm = cell.n / cell.d * cell.d**exponent * np.exp(0.02 * rng.standard_normal())
        numbers = {
            "gap": norm,
            "hollow": norm,
            "frobenius": norm * cell.d**0.4,
            "hollow frobenius": norm,
            "linear": 1.0,
        }
        results[cell] = numbers
    return check_statement("prop-3.4", grid, results)


def test_a_check_answers_with_its_verdict_and_shows_findings_and_medians():
    (check,) = checked(("erf",))
    text = check_summary([check])
    assert fits(text)
    assert text.startswith("prop-3.4, erf, gaussian data, covariance identity: holds.")
    assert check_verdicts([check]) == "prop-3.4, erf, gaussian data, covariance identity: holds."
    flat = " ".join(text.split())
    assert all(" ".join(f"{one.verdict} {one.what}: {one.evidence}".split()) in flat for one in check.findings)
    assert f"{check.laws['gap'].exponent:+.3f}" in text


def test_many_checks_are_a_line_each():
    names = ("erf", "relu", "tanh", "gelu", "silu", "sin", "cos", "abs", "softplus", "sigmoid", "elu")
    checks = checked(names, exponent=-0.25)
    text = check_summary(checks)
    assert fits(text)
    assert all(f"prop-3.4, {check.setting}: {check.verdict}" in " ".join(text.split()) for check in checks)
    many = check_summary(checks * 9)
    assert fits(many)
    assert "more" in many


@pytest.mark.parametrize(
    ("words", "whole"),
    [
        pytest.param(
            "sweep --quantity gap-first --d 4 6 8 --seeds 2 --n 20 --width 8 --output s.h5",
            "hollow lower",
            marks=pytest.mark.slow,
        ),
        ("check prop-3.4 --d 4 6 8 --seeds 2 --n 20 --width 8 --output c", "Assumptions\n-----"),
    ],
)
def test_commands_print_a_screen_all_or_the_answer(words, whole, tmp_path, monkeypatch, unpainted):
    monkeypatch.chdir(tmp_path)
    short, long, answer = (run(f"{words} {how}").out for how in ("", "--verbose", "--quiet"))
    assert len(short.splitlines()) <= LINES
    assert whole in long
    assert whole not in short
    assert " ".join(short.split()).startswith(" ".join(answer.split()))


# --------------------------------------------------------------------------------------------------- report, completion
def test_report_and_completion_have_a_document_each(tmp_path):
    ns.save_result(ns.spectral_norm(np.diag([3.0, 4.0])), tmp_path / "norm.h5")
    found = json.loads(run(["report", tmp_path / "norm.h5", "--json"]).out)
    page = tmp_path / "norm.html"
    assert (found["kind"], found["files"], found["bytes"]) == ("result", [str(page)], page.stat().st_size)
    assert run(["report", tmp_path / "norm.h5", "--quiet"]).out == f"{page}\n"
    script = run("completion bash").out
    found = json.loads(run("completion bash --json").out)
    assert (found["shell"], found["script"]) == ("bash", script.removesuffix("\n"))
