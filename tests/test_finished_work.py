"""What was computed is kept: the record before the figures, a second call that draws, a folder for one process."""

import os
import shutil
import warnings
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest

from commands import run, unpainted
from ntkspec import cli, storage
from ntkspec.cli.streams import Exit
from ntkspec.cluster import execution
from ntkspec.experiments import analyze as analysis_module
from ntkspec.experiments import two_layer_runs as runs
from ntkspec.experiments.analyze import RECORD_TYPES
from ntkspec.plotting import analysis as figures_of_analysis
from ntkspec.plotting import scaling, settings, training
from ntkspec.reporting.analysis import report
from ntkspec.storage import trees
from ntkspec.storage.provenance import fingerprint

SMALL = ["analyze", "--n", "60", "--d", "6", "--n-test", "10", "--width", "8", "--steps", "8", "--verbose"]
FIGURES = {f"{name}.{kind}" for name in ("losses", "outputs", "discrepancy", "eigenvalues") for kind in ("png", "pdf")}
FIGURES |= {"analysis.html"}
RECORD = "analysis.h5"
# Small commands, the files of their figures and records, and the module and function that draws.
OTHERS = {
    "sweep": (
        "sweep --quantity data --d 4 6 --n 20 --seeds 1 --output {}/sweep.h5",
        ["sweep-data.png", "sweep-data.pdf", "sweep.html", "sweep.h5"],
        (scaling, "scaling"),
    ),
    "check": (
        "check claim-3.1 --d 4 6 8 --n 20 --seeds 2 --output {}",
        ["claim-3.1.png", "claim-3.1.pdf", "check.html", "check.h5", "sweep.h5"],
        (scaling, "scaling"),
    ),
    "figure": (
        "figure 2 --d 4 --n 40 --width 4 --steps 5 --n-test 10 --output {}",
        ["figure-2.png", "figure-2.pdf", "figure-2.html", "figure-2.h5"],
        (training, "figure_2"),
    ),
}


@pytest.fixture(autouse=True)
def _here(monkeypatch, tmp_path):
    """Relative paths lie in tmp_path."""
    monkeypatch.delenv("NTKSPEC_TRACEBACK", raising=False)
    monkeypatch.chdir(tmp_path)
    with unpainted():
        yield


def analyze(folder="out", *options):
    return run([*SMALL, *options, "--output", folder])


def names(folder):
    return {path.name for path in Path(folder).iterdir()}


def fail(reason):
    """What stands for a function that fails."""

    def failing(*arguments, **options):
        raise reason

    return failing


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """The folder of one run, and its record."""
    folder = tmp_path_factory.mktemp("first")
    with unpainted():
        found = run([*SMALL, "--output", folder])
    assert found.code == Exit.DONE
    record = storage.read(folder / RECORD, kind="analyze", types=RECORD_TYPES)["analysis"]
    return SimpleNamespace(folder=folder, out=found.out, record=record)


@pytest.fixture
def measured(first, monkeypatch):
    """The measurement is not made again: its record is there at once. The list of how often it was asked for."""
    asked: list = []

    def at_once(task, dataset, *, report):
        asked.append(task)
        return first.record

    monkeypatch.setattr(analysis_module, "analyze", at_once)
    return asked


# ------------------------------------------------------------------------------------------------------- a second call
def test_a_second_call_draws_from_the_record(first, measured, tmp_path):
    folder = shutil.copytree(first.folder, tmp_path / "out")
    before = (folder / RECORD).read_bytes()
    (folder / "losses.png").unlink()
    again = analyze()
    assert (again.code, measured) == (Exit.DONE, [])
    assert again.err == ["ntkspec: out/analysis.h5 holds this setting; only its figures are drawn"]
    assert again.out.startswith(report(first.record))
    assert names(folder) == FIGURES | {RECORD}
    assert (folder / RECORD).read_bytes() == before


@pytest.mark.parametrize(
    "options",
    [
        ["--seed", "1"],
        pytest.param(["--eta", "0.5"], marks=pytest.mark.slow),
        pytest.param(["--dtype", "float64"], marks=pytest.mark.slow),
        pytest.param(["--target", "random"], marks=pytest.mark.slow),
    ],
)
def test_a_record_of_another_setting_is_measured_anew(options, first, measured, tmp_path):
    folder = shutil.copytree(first.folder, tmp_path / "out")
    (folder / "losses.png").unlink()
    assert analyze("out", *options).code == Exit.DONE
    assert len(measured) == 1


def test_a_record_of_other_data_in_the_same_file_is_measured_anew(measured, monkeypatch):
    rng = np.random.default_rng(0)
    options = ["analyze", "--data", "points.npz", "--width", "8", "--steps", "8", "--output", "out"]
    monkeypatch.setattr(figures_of_analysis, "save_figures", fail(RuntimeError("no fonts")))
    for asked, scale in ((1, 1.0), (1, 1.0), (2, 2.0)):
        X, y = np.random.default_rng(1).standard_normal((30, 4)), np.resize([1.0, -1.0], 30)
        np.savez("points.npz", X=X + (scale - 1) * rng.standard_normal(4) * X, y=y)
        assert run(options).code == Exit.NOT_DRAWN
        assert len(measured) == asked


def test_a_file_of_the_user_is_not_replaced_by_a_record(measured):
    Path("out").mkdir()
    with h5py.File("out/analysis.h5", "w") as file:
        file["X"], file["y"] = np.random.default_rng(0).standard_normal((30, 4)), np.resize([1.0, -1.0], 30)
    before = Path("out/analysis.h5").read_bytes()
    found = run("analyze --data out/analysis.h5 --width 8 --steps 8 --output out")
    assert (found.code, measured, Path("out/analysis.h5").read_bytes()) == (Exit.REFUSED, [], before)
    assert "is not an ntkspec file of kind 'analyze'" in found.err[-1]


def test_names_of_files_that_are_not_utf_8_cost_no_record(measured):
    name = os.fsdecode(b"points\xff.csv")
    Path(name).write_text("a,b,label\n" + "".join(f"{k},{k * k % 7},{k % 2}\n" for k in range(30)))
    assert run(["analyze", "--data", name, "--width", 8, "--steps", 8, "--output", "out"]).code == Exit.DONE
    kept = storage.read("out/analysis.h5", kind="analyze", types=RECORD_TYPES)["provenance"]["command"]
    assert "points\\udcff.csv" in kept


def test_with_all_figures_there_it_is_measured_anew(first, measured, tmp_path):
    shutil.copytree(first.folder, tmp_path / "out")
    assert analyze().code == Exit.DONE
    assert len(measured) == 1


def test_a_damaged_record_is_measured_anew(first, measured, tmp_path):
    folder = shutil.copytree(first.folder, tmp_path / "out")
    (folder / "losses.png").unlink()
    (folder / RECORD).write_bytes((folder / RECORD).read_bytes()[:700])
    again = analyze()
    assert (again.code, len(measured)) == (Exit.DONE, 1)
    assert "out/analysis.h5" in again.err[0]
    assert again.err[0].endswith("; it is measured anew")
    assert names(folder) == FIGURES | {RECORD}


@pytest.mark.parametrize(
    "other", [np.zeros((2, 3)), np.zeros((3, 2), np.float32), np.zeros((3, 2), ">f8"), np.full((3, 2), -0.0)]
)
def test_a_fingerprint_tells_arrays_apart(other):
    own = np.zeros((3, 2))
    assert fingerprint("setting", [own]) == fingerprint("setting", [own.copy(order="F")])
    assert fingerprint("setting", [own]) != fingerprint("setting", [other])


def test_a_fingerprint_tells_settings_and_orders_apart():
    own = np.zeros((3, 2))
    assert fingerprint("setting", [own]) != fingerprint("other", [own])
    assert fingerprint("setting", [own[:0], own]) != fingerprint("setting", [own, own[:0]])


# ------------------------------------------------------------------------------------------------------------ failures
@pytest.mark.parametrize(
    "reason", [RuntimeError("latex was not found"), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no"), KeyError("font")]
)
def test_a_figure_that_fails_costs_the_figure_alone(reason, first, measured, monkeypatch):
    monkeypatch.setattr(figures_of_analysis, "outputs", fail(reason))
    found = analyze("new/folder")
    assert found.code == Exit.NOT_DRAWN
    assert found.out.startswith(report(first.record))
    assert found.err == [
        f"ntkspec: the figures were not drawn: {reason}; the record new/folder/analysis.h5 is kept, and the same "
        f"command draws them"
    ]


def test_an_installation_of_matplotlib_that_is_broken_costs_the_figures_alone(first, measured, monkeypatch):
    monkeypatch.setattr(settings, "_imported", fail(ImportError("libfreetype.so is damaged")))
    found = analyze()
    assert (found.code, names("out")) == (Exit.NOT_DRAWN, {RECORD})
    assert "libfreetype.so is damaged" in found.err[-1]


def test_the_error_of_the_disk_is_told_where_a_library_stumbles_over_it(first, measured, monkeypatch):
    def stumbles(*given):
        try:
            raise OSError(28, "No space left on device")
        finally:
            raise AttributeError("'Stream' object has no attribute 'pos'")

    monkeypatch.setattr(figures_of_analysis, "outputs", stumbles)
    found = analyze()
    assert found.code == Exit.NOT_DRAWN
    assert "no attribute 'pos' (after: No space left on device); the record" in found.err[-1]


def test_ctrl_c_while_it_draws_leaves_the_record(measured, monkeypatch):
    monkeypatch.setattr(figures_of_analysis, "save_figures", fail(KeyboardInterrupt()))
    assert analyze().code == 130
    assert names("out") == {RECORD}


def test_a_record_that_cannot_be_written_leaves_the_report(first, measured, monkeypatch):
    monkeypatch.setattr(storage, "write", fail(OSError(28, "No space left on device")))
    found = analyze("new/folder")
    assert found.code == Exit.NOT_STORED
    assert found.out == report(first.record) + "\n"
    told = "new/folder/analysis.h5 could not be written: No space left on device; the report is all that is left"
    assert found.err == [f"ntkspec: {told}"]
    assert not Path("new").exists()


def test_a_folder_that_is_removed_meanwhile_leaves_the_report(first, monkeypatch):
    def removing(task, dataset, *, report):
        shutil.rmtree("out")
        return first.record

    monkeypatch.setattr(analysis_module, "analyze", removing)
    found = analyze()
    assert (found.code, found.out) == (Exit.NOT_STORED, report(first.record) + "\n")
    assert "out does not exist" in found.err[-1]


def test_figures_of_an_older_record_go_before_the_new_one_comes(first, measured, tmp_path, monkeypatch):
    folder = shutil.copytree(first.folder, tmp_path / "out")
    (folder / "notes.txt").write_text("mine")
    monkeypatch.setattr(figures_of_analysis, "losses", fail(RuntimeError("no fonts")))
    assert analyze("out", "--seed", "1").code == Exit.NOT_DRAWN
    assert names(folder) == {RECORD, "notes.txt"}


@pytest.mark.parametrize("which", OTHERS)
def test_other_commands_keep_their_numbers_where_a_figure_fails(which, monkeypatch):
    line, files, drawing = OTHERS[which]
    record = f"out/{files[-1]}"
    monkeypatch.setattr(*drawing, fail(RuntimeError("latex was not found")))
    failed = run(line.format("out"))
    assert (failed.code, names("out")) == (Exit.NOT_DRAWN, {name for name in files if name.endswith(".h5")})
    assert failed.err[-1] == (
        f"ntkspec: the figures were not drawn: latex was not found; the record {record} is kept, and the same "
        f"command draws them"
    )


@pytest.mark.parametrize("which", OTHERS)
def test_a_folder_is_one_process_s_alone(which, monkeypatch):
    line, files, _ = OTHERS[which]
    Path("out").mkdir()
    with storage.locked(Path("out") / files[0]):
        second = run(line.format("out"))
    assert (second.code, second.out, len(second.err)) == (Exit.REFUSED, "", 1)
    assert f"{files[0]} is in use by another process" in second.err[0]


def test_two_analyses_do_not_share_a_folder(measured):
    Path("out").mkdir()
    with storage.locked(Path("out") / RECORD):
        second = analyze()
    assert (second.code, second.out, measured) == (Exit.REFUSED, "", [])
    assert f"{RECORD} is in use by another process" in second.err[0]


# -------------------------------------------------------------------------------------------------------------- places
@pytest.mark.parametrize("which", [None, *OTHERS])
@pytest.mark.parametrize("name", ["bad\udcff", "a_file/below"])
def test_places_that_cannot_be_are_refused_before_any_work(which, name, measured, monkeypatch):
    Path("a_file").write_text("in the way")
    for module in (execution, runs):
        monkeypatch.setattr(module, "results" if module is execution else "compare", fail(AssertionError("measured")))
    line = " ".join([*SMALL, "--output {}"]) if which is None else OTHERS[which][0]
    found = run(line.format(name))
    assert (found.code, found.out, len(found.err), measured) == (Exit.REFUSED, "", 1, [])


def test_links_are_written_through(measured):
    for place in ("far", "out"):
        Path(place).mkdir()
    Path("out", RECORD).symlink_to("../far/record.h5")
    Path("out", "losses.png").symlink_to("../far/losses.png")
    assert analyze().code == Exit.DONE
    assert names("far") == {"record.h5", "losses.png"}
    assert Path("out", RECORD).is_symlink()
    assert Path("out", "losses.png").is_symlink()


# ------------------------------------------------------------------------------------------------------------ warnings
def test_warnings_are_lines_also_where_python_raises_them(first, monkeypatch, capsys):
    def warning(task, dataset, *, report):
        warnings.warn("training diverged", RuntimeWarning, stacklevel=1)
        return first.record

    monkeypatch.setattr(analysis_module, "analyze", warning)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        code = cli.main([*SMALL, "--output", "out"])
    assert (code, capsys.readouterr().err) == (Exit.DONE, "ntkspec: warning: training diverged\n")


def test_a_sweep_on_a_full_disk_prints_its_table_and_says_by_its_code_that_the_file_lacks_cells(
    tmp_path, monkeypatch, capsys
):
    command = f"sweep --quantity gap-first --d 8 12 --n 20 --width 4 --seeds 1 --output {tmp_path}/s.h5".split()
    real, calls = trees.write, []

    def full(path, tree, *, kind):
        calls.append(path)
        if len(calls) > 1:
            raise OSError(28, "No space left on device")
        real(path, tree, kind=kind)

    monkeypatch.setattr(trees, "write", full)
    assert cli.main(command) == Exit.NOT_STORED
    shown = capsys.readouterr()
    assert "No space left" in shown.err
    monkeypatch.undo()
    assert cli.main(command) == Exit.DONE
    table = [line for line in shown.out.splitlines() if not line.startswith("drawn")]
    assert table == [line for line in capsys.readouterr().out.splitlines() if not line.startswith("drawn")]
