"""What results offer in a notebook: tables that are well-formed, columns that are the numbers, errors that help."""

import io
import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

import ntkspec as ns
from ntkspec import progress
from ntkspec.experiments.analyze import AnalyzeTask, analyze
from ntkspec.experiments.spectrum import SpectrumTask, measure_spectrum
from ntkspec.experiments.sweep_cells import Cell
from ntkspec.experiments.sweep_grid import Grid
from ntkspec.experiments.sweep_results import Sweep
from ntkspec.experiments.sweep_run import run_sweep
from ntkspec.objects.notebook import Columned, Row, Shown, Table

DATA = ns.datasets.gaussian(40, 5, n_test=10)
NET = ns.TwoLayer.symmetric(5, 8, "erf")
THETA = ns.ntk(NET, DATA.X)
GRID = Grid(d=(4, 6), n=("20",), width=("8",), seeds=2)


def made():
    """One of each result, by name."""
    density = ns.spectral_density(THETA)
    return {
        "data": DATA,
        "operator": THETA,
        "plan": ns.plan(THETA),
        "estimate": ns.spectral_norm(THETA),
        "spectrum": ns.eigsh(THETA, 3),
        "angles": ns.subspace_angles(ns.eigsh(THETA, 3), ns.eigsh(THETA, 2)),
        "density": density,
        "histogram": density.histogram(4),
        "smoothed": density.smoothed(7),
        "trajectory": ns.predict_gd(THETA, np.stack([DATA.y, DATA.y], axis=1), eta=0.1, steps=[0, 2]),
        "ensemble": ns.ensemble(THETA, np.eye(len(DATA.y)), DATA.y, eta=0.1, steps=[0, 2]),
        "modes": ns.learning_modes(THETA, DATA.y, eta=0.1, k=4),
        "budget": ns.gap_budget(NET, DATA.X),
        "nearest": ns.nearest_linear_kernel(THETA, DATA.X),
        "sweep": Sweep({cell: {"gap": 1.0 + cell.d} for cell in GRID.cells()}, [GRID]),
        "analysis": analyze(AnalyzeTask(width=8, steps=5), DATA),
        "kernel spectrum": measure_spectrum(SpectrumTask(width=8, pairs=3), DATA),
    }


@pytest.fixture(scope="module")
def results():
    """They are only looked at."""
    return made()


def test_each_result_has_a_short_table(results):
    for name, result in results.items():
        assert isinstance(result, Shown)
        tree = ElementTree.fromstring(result._repr_html_().replace("<br>", "<br/>"))
        rows = tree.findall(".//tr")
        assert 3 <= len(rows) <= 12, name
        assert all(len(row) == 3 and "".join(row[0].itertext()) for row in rows), name
        assert "^" not in "".join(tree.itertext()), name


@pytest.mark.parametrize("name", ["sweep", "kernel spectrum", "spectrum", "trajectory", "operator", "estimate"])
def test_each_prints_in_a_few_lines(name, results):
    lines = repr(results[name]).splitlines()
    assert len(lines) <= 12
    assert max(map(len, lines)) < 200


class FromKernel(io.StringIO):
    """What a Jupyter kernel has for standard error."""

    def isatty(self):
        return False


FromKernel.__module__ = "ipykernel.iostream"


def test_progress_is_seen_in_a_notebook_and_leaves_nothing(monkeypatch):
    stream = FromKernel()
    monkeypatch.setattr(sys, "stderr", stream)
    with progress.bar(total=3, text="work") as bar:
        bar.start_t -= 2.0  # it is silent for a second
        bar.last_print_t -= 2.0
        bar.update(2)
    written = stream.getvalue()
    assert "work:  67%" in written
    assert written.rsplit("\r", 1)[1] == ""
    assert not written.rsplit("\r", 2)[1].strip()


def test_what_a_table_holds_is_text_and_no_markup():
    text = "<script>alert('&')</script>\n\"next\""
    tree = ElementTree.fromstring(Table(text, [Row(text, text, text)]).html().replace("<br>", "<br/>"))
    assert not tree.findall(".//script")
    assert "".join(tree.find("caption").itertext()) == text.replace("\n", "")


def test_columns_are_the_numbers(results):
    tables = {name: found.to_dataframe() for name, found in results.items() if isinstance(found, Columned)}
    assert len(tables) == 13
    spectrum, trajectory, analysis = results["spectrum"], results["trajectory"], results["analysis"]
    assert np.array_equal(tables["spectrum"]["value"], spectrum.values)
    outputs = tables["trajectory"].set_index(["step", "part", "point", "output"])["value"]
    assert outputs[2, "train", 7, 1] == trajectory.train[1, 7, 1]
    assert len(outputs) == trajectory.train.size
    losses = tables["analysis"].set_index(["model", "part", "step"])["loss"]
    assert losses["linear", "test", 5] == analysis.losses["linear"]["test"][-1]
    assert tables["histogram"]["mass"].sum() == pytest.approx(1)
    assert tables["budget"]["spectral"][0] == float(results["budget"].gap.spectral)
    sweep = tables["sweep"].set_index(["d", "seed"])
    assert sweep.loc[(6, 1), "gap"] == 7.0


@pytest.mark.parametrize(("library", "call"), [("pandas", "to_dataframe"), ("matplotlib", "plot")])
def test_a_library_that_is_missing_is_named(library, call, results, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)  # so that it cannot be imported
    with pytest.raises(ImportError, match=f"needs {library} .*python -m pip install {library}"):
        getattr(results["spectrum"], call)()


def test_a_sweep_knows_from_its_file_what_was_asked_for(tmp_path):
    path = tmp_path / "sweep.h5"
    found = run_sweep(GRID, path)
    other = Grid(d=(4,), n=("d^1.5",), width=("8",), seeds=1, quantity=("data",))
    run_sweep(other, path)
    run_sweep(other, path)
    read = Sweep.read(path)
    assert read.grids == (GRID, other)
    assert read.of("gap-first") == found
    assert set(read) == {*GRID.cells(), *other.cells()}
    assert all(isinstance(cell, Cell) for cell in read)
