import contextlib
import re
import subprocess
import sys
from types import SimpleNamespace

import matplotlib.image
import numpy as np
import pytest

from commands import run, unpainted
from ntkspec import cli, datasets, storage
from ntkspec.activations.functions import NAMES
from ntkspec.experiments import analyze as analysis_module
from ntkspec.experiments.analyze import AnalyzeTask, analyze
from ntkspec.reporting.analysis import report

SMALL = {"--n": "200", "--d": "8", "--n-test": "50", "--width": "16", "--steps": "20"}
FROM_FILE = {"--width": "16", "--steps": "20"}
FIGURES = {f"{name}.{kind}" for name in ("losses", "outputs", "discrepancy", "eigenvalues") for kind in ("png", "pdf")}
KEPT = FIGURES | {"analysis.h5", "analysis.html"}


@pytest.fixture(autouse=True)
def _alone(monkeypatch, tmp_path):
    """No data folder and no settings from outside; relative paths lie in tmp_path."""
    monkeypatch.delenv("NTKSPEC_DATA", raising=False)
    monkeypatch.delenv("NTKSPEC_TRACEBACK", raising=False)
    monkeypatch.chdir(tmp_path)
    with unpainted():
        yield


def command(options, output=None):
    given = dict(options) | ({} if output is None else {"--output": str(output)})
    words = (word for name, value in given.items() for word in (name, *str(value).split()))
    return ["analyze", *words, "--verbose"]


def read(folder):
    return storage.read(folder / "analysis.h5", kind="analyze", types=analysis_module.RECORD_TYPES)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """One run of the small setting, for all tests that only look at it."""
    folder = tmp_path_factory.mktemp("small") / "made" / "here"
    return SimpleNamespace(**vars(run(command(SMALL, folder))), folder=folder, stored=read(folder))


@pytest.fixture(scope="module")
def direct():
    """The same through Python."""
    dataset = datasets.gaussian(200, 8, n_test=50, dtype="float32")
    return SimpleNamespace(dataset=dataset, analysis=analyze(AnalyzeTask(width=16, steps=20), dataset))


# --------------------------------------------------------------------------------------------------------- a good run
def test_a_good_run_exits_with_0_and_warns_of_nothing(small):
    assert small.code == 0
    assert small.warnings == []
    assert all(line.endswith(" ...") != ("forecast: " in line) for line in small.err)


@pytest.mark.parametrize(
    "title",
    [
        "gaussian: n = 200, d = 8",
        "Data against Assumption 3.1 and Claim 3.1",
        "Activation erf",
        "Kernel at initialization (layer: both)",
        "Losses (1/2n) sum (f - y)^2",
        "Network against linear model",
        "Network against its NTK at initialization",
        "Verdict",
    ],
)
def test_the_report_has_its_sections(small, title):
    assert f"{title}\n{'-' * len(title)}\n" in small.out


def test_the_last_line_says_where_the_results_are(small):
    last = small.out.splitlines()[-1]
    assert f"written to {small.folder}: " in last
    assert all(name in last for name in KEPT)


def test_the_folder_holds_the_record_four_figures_and_a_page(small):
    assert {path.name for path in small.folder.iterdir()} == KEPT
    for name in (name for name in FIGURES if name.endswith(".png")):
        image = matplotlib.image.imread(small.folder / name)
        assert min(image.shape[:2]) > 300
        assert image.std() > 0.01


def test_the_record_is_what_the_python_call_gives(small, direct):
    stored, analysis = small.stored["analysis"], direct.analysis
    assert (stored.task, stored.rates) == (analysis.task, pytest.approx(analysis.rates))
    np.testing.assert_array_equal(stored.steps, analysis.steps)
    assert list(stored.trajectories) == list(analysis.trajectories)
    for name, trajectory in analysis.trajectories.items():
        np.testing.assert_allclose(stored.trajectories[name].train, trajectory.train, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(stored.trajectories[name].test, trajectory.test, rtol=1e-4, atol=1e-6)
    for name in ("theta", "theta_lin", "gap", "gap_frobenius", "theta_lin_frobenius"):
        assert float(getattr(stored.kernel, name)) == pytest.approx(float(getattr(analysis.kernel, name)), rel=1e-5)
    np.testing.assert_allclose(stored.kernel.eigenvalues, analysis.kernel.eigenvalues, rtol=1e-4, atol=1e-4)
    assert stored.constants == analysis.constants
    assert {part: float(y.sum()) for part, y in stored.labels.items()} == {
        "train": float(direct.dataset.y.sum()),
        "test": float(direct.dataset.y_test.sum()),
    }


def test_the_record_holds_the_inputs_and_what_it_was_made_with(small, direct):
    np.testing.assert_array_equal(small.stored["inputs"]["X"], direct.dataset.X)
    np.testing.assert_array_equal(small.stored["inputs"]["X_test"], direct.dataset.X_test)
    made_with = small.stored["provenance"]
    assert made_with["versions"]["numpy"] == np.__version__
    assert made_with["seconds"] > 0


def test_the_record_names_the_command_that_was_given(small):
    assert small.stored["provenance"]["command"].startswith("ntkspec analyze --n 200 --d 8")


def test_the_report_of_the_record_is_the_printed_one(small):
    assert small.out.startswith(report(small.stored["analysis"]))


def test_the_seed_decides_the_results(small, tmp_path):
    assert run(command(SMALL | {"--seed": "0"}, tmp_path / "again")).code == 0
    assert run(command(SMALL | {"--seed": "1"}, tmp_path / "other")).code == 0
    X, again, other = (read(folder)["inputs"]["X"] for folder in (small.folder, tmp_path / "again", tmp_path / "other"))
    np.testing.assert_array_equal(X, again)
    assert (other != X).any()


def test_without_output_each_setting_has_its_own_folder(tmp_path):
    for options in (SMALL, SMALL, SMALL | {"--seed": "1"}, SMALL | {"--eta": "0.5"}):
        assert run(command(options)).code == 0
    folders = list((tmp_path / "ntkspec-analyze").iterdir())
    assert len(folders) == 3
    assert all({path.name for path in folder.iterdir()} == KEPT for folder in folders)


@pytest.mark.parametrize("ending", ["npz", "csv"])
def test_a_file_is_analyzed(tmp_path, ending):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((60, 4)), np.where(rng.random(60) < 0.5, "cat", "horse")
    path = tmp_path / f"animals.{ending}"
    if ending == "npz":
        np.savez(path, X=X, y=y)
    else:
        path.write_text("".join(f"{','.join(map(str, x))},{label}\n" for x, label in zip(X, y, strict=True)))
    result = run(command(FROM_FILE | {"--data": path}, "out"))
    assert (result.code, result.warnings) == (0, [])
    assert result.out.startswith(f"animals.{ending}: n = 54, d = 4\n")
    assert "+1 = horse, -1 = cat" in result.out


def test_without_test_points_the_report_says_so():
    result = run(command(SMALL | {"--n-test": "0"}, "out"))
    assert result.code == 0
    assert "no statement on test data" in result.out


# ---------------------------------------------------------------------------------------------------------- bad input
def write_inputs(folder):
    """Files that must be refused, and some that lie in the way."""
    rng = np.random.default_rng(1)
    X, y = rng.standard_normal((30, 4)), np.resize([1.0, -1.0], 30)
    bad = X.copy()
    bad[11, 2] = np.nan
    constant = X.copy()
    constant[:, 3] = 5
    np.savez(folder / "good.npz", X=X, y=y)
    np.savez(folder / "one_class.npz", X=X, y=np.ones(30))
    np.savez(folder / "nan.npz", X=bad, y=y)
    np.savez(folder / "constant.npz", X=constant, y=y)
    np.savez_compressed(folder / "broken.npz", X=X.round(1), y=y)
    content = (folder / "broken.npz").read_bytes()
    middle = len(content) // 5
    (folder / "broken.npz").write_bytes(content[:middle] + b"\x55" * 8 + content[middle + 8 :])
    (folder / "damaged.npz").write_bytes((folder / "good.npz").read_bytes()[:500])
    (folder / "damaged.h5").write_bytes(b"\x89HDF\r\n\x1a\n and no more")
    (folder / "short_header.csv").write_text("a,b,y\n1,2\n3,4\n")
    (folder / "a_file").write_text("in the way")


BAD = {
    "odd width": (SMALL | {"--width": "15"}, "width=15.*even width such as 16"),
    "unknown activation": (SMALL | {"--activation": "rleu"}, "'rleu' is unknown; use one of .*relu"),
    "slope of another activation": (SMALL | {"--negative-slope": "0.1"}, "'erf'.*negative_slope"),
    "unknown data": (FROM_FILE | {"--data": "gausian"}, "--data gausian is unknown; use gaussian"),
    "missing file": (FROM_FILE | {"--data": "absent.npz"}, "absent.npz does not exist"),
    "wrong ending": (FROM_FILE | {"--data": "points.txt"}, r"points\.txt"),
    "damaged npz": (FROM_FILE | {"--data": "damaged.npz"}, "damaged.npz is not a readable"),
    "broken npz": (FROM_FILE | {"--data": "broken.npz"}, r"broken\.npz"),
    "damaged h5": (FROM_FILE | {"--data": "damaged.h5"}, "damaged.h5 is not a readable"),
    "csv with a wider header": (FROM_FILE | {"--data": "short_header.csv"}, r"short_header\.csv: line"),
    "one class": (FROM_FILE | {"--data": "one_class.npz"}, "one_class.npz holds one label only"),
    "NaN in X": (FROM_FILE | {"--data": "nan.npz"}, "X of nan.npz holds 1 .*row 11, column 2"),
    "constant feature": (FROM_FILE | {"--data": "constant.npz"}, r"constant.npz.*column 3\).*--keep-constant"),
    "too many points": (FROM_FILE | {"--data": "good.npz", "--n": "31"}, "n=31"),
    "dimension of a file": (FROM_FILE | {"--data": "good.npz", "--d": "4"}, "--d does not go with --data good.npz"),
    "target of a file": (FROM_FILE | {"--data": "good.npz", "--target": "norm"}, "--target does not go with"),
    "classes of gaussian": (SMALL | {"--classes": "4 9"}, "--classes does not go with --data gaussian"),
    "pool of gaussian": (SMALL | {"--pool": "2"}, "--pool does not go with --data gaussian"),
    "eta nan": (SMALL | {"--eta": "nan"}, "eta1?=nan"),
    "eta negative": (SMALL | {"--eta": "-0.5"}, "eta1?=-0.5"),
    "eta infinite": (SMALL | {"--eta": "inf"}, "eta1?=inf"),
    "eta zero": (SMALL | {"--eta": "0"}, "learning rates are 0"),
    "eta2 without its layer": (SMALL | {"--layer": "first", "--eta2": "1"}, "eta2=1.*layer='first'"),
    "eta1 without its layer": (SMALL | {"--layer": "second", "--eta1": "1"}, "eta1=1.*layer='second'"),
    "momentum of plain descent": (SMALL | {"--momentum": "0.9"}, "momentum=0.9 is for --law heavy-ball or nesterov"),
    "momentum of one": (
        SMALL | {"--law": "nesterov", "--momentum": "1"},
        "momentum=1.0, but a number from 0 to below",
    ),
    "delta of another loss": (SMALL | {"--delta": "2"}, "delta=2 is for --loss huber, but --loss squared came"),
    "one column of classes": (SMALL | {"--loss": "cross-entropy"}, "--classes all.*labels 1 and -1 are for 'logistic'"),
    "negative batch": (SMALL | {"--batch": "-1"}, "batch=-1"),
    "batch beyond the points": (SMALL | {"--batch": "100000"}, "batch=100000, but there are .* training points"),
    "no steps": (SMALL | {"--steps": "0"}, "steps=0.*>= 1"),
    "negative steps": (SMALL | {"--steps": "-4"}, "steps=-4.*>= 1"),
    "fraction of a step": (SMALL | {"--steps": "20.5"}, "--?steps.*20.5"),
    "no points": (SMALL | {"--n": "0"}, "n=0"),
    "negative seed": (SMALL | {"--seed": "-1"}, "seed.*-1"),
    "unknown option": (SMALL | {"--widht": "3"}, "--widht.*See ntkspec analyze --help"),
    "bad integer": (SMALL | {"--n": "many"}, '--n.*"many".*See ntkspec analyze --help'),
    "unknown layer": (SMALL | {"--layer": "third"}, "layer='third', but one of 'first', 'second', 'both' is needed"),
    "mnist without a folder": (FROM_FILE | {"--data": "mnist"}, "https://.*sha256.*--data-dir.*NTKSPEC_DATA"),
    "mnist of an absent folder": (
        FROM_FILE | {"--data": "mnist", "--data-dir": "none"},
        "the folder none does not exist.*https",
    ),
    "one class of cifar10": (FROM_FILE | {"--data": "cifar10", "--classes": "cat"}, "classes=.*'cat'.*two different"),
}


@pytest.mark.parametrize(("options", "message"), BAD.values(), ids=BAD)
def test_bad_input_exits_with_2_and_one_line_and_leaves_nothing(tmp_path, options, message):
    write_inputs(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    for output in ("new/deep/folder", None):
        result = run(command(options, output))
        assert (result.code, result.out, len(result.err)) == (2, "", 1)
        assert result.err[0].startswith("ntkspec: error: ")
        assert sorted(tmp_path.rglob("*")) == before
    assert re.search(message, result.err[0])


@pytest.mark.parametrize("output", ["a_file", "a_file/below", "a_file/far/below"])
def test_an_output_that_cannot_be_a_folder_is_refused_before_any_work(tmp_path, output):
    write_inputs(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    result = run(command(SMALL, output))
    assert (result.code, result.out, len(result.err)) == (2, "", 1)
    assert result.err[0].startswith(f"ntkspec: error: cannot write to the output folder {output}: ")
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "a_file").read_text() == "in the way"


def test_a_bad_command_leaves_earlier_results_as_they_are(tmp_path):
    out = tmp_path / "out"
    assert run(command(SMALL, out)).code == 0
    before = {path: path.read_bytes() for path in out.iterdir()}
    assert run(command(FROM_FILE | {"--data": "absent.npz"}, out)).code == 2
    assert {path: path.read_bytes() for path in out.iterdir()} == before


@pytest.mark.parametrize("arguments", [["analyse"], ["constants"], ["constants", "rleu"], ["--bogus"]])
def test_other_bad_commands_are_one_line(arguments):
    result = run(arguments)
    assert (result.code, result.out, len(result.err)) == (2, "", 1)
    assert result.err[0].startswith("ntkspec: error: ")


def test_the_setting_of_the_environment_shows_the_traceback(monkeypatch):
    monkeypatch.setenv("NTKSPEC_TRACEBACK", "1")
    with pytest.raises(ValueError, match="width=15"):
        cli.main(command(SMALL | {"--width": "15"}, "out"))


# ----------------------------------------------------------------------------------------------- warnings, divergence
@pytest.fixture(scope="module")
def unstable(small, tmp_path_factory):
    """A learning rate 1.5 times the largest stable one, over few steps."""
    rate, folder = 1.5 * small.stored["analysis"].kernel.largest_stable_rate, tmp_path_factory.mktemp("unstable")
    with unpainted():
        return SimpleNamespace(**vars(run(command(SMALL | {"--eta": repr(rate)}, folder))), rate=rate)


def test_a_rate_past_the_stable_one_runs_and_names_the_threshold(unstable):
    assert unstable.code == 0
    told = [line for line in unstable.warnings if "past the largest stable one" in line]
    assert len(told) == 1
    assert float(re.search(r"lambda_max = (\S+):", told[0])[1]) == pytest.approx(unstable.rate / 1.5, rel=1e-4)


def test_a_rate_past_the_stable_one_is_all_that_is_warned_of(unstable):
    assert len(unstable.warnings) == 1


def test_the_verdict_does_not_take_a_diverging_linear_model_for_one_that_has_nothing_to_learn(unstable):
    assert "nothing to learn" not in unstable.out


def test_a_rate_past_the_stable_one_is_warned_of_for_unequal_rates(small):
    rate = 3 * small.stored["analysis"].kernel.largest_stable_rate
    result = run(command(SMALL | {"--eta1": repr(rate), "--eta2": repr(rate / 2)}, "out"))
    assert result.code == 0
    assert len([line for line in result.warnings if "past the largest stable one" in line]) == 1


def test_labels_beyond_1_are_warned_of(tmp_path):
    result = run(command(SMALL | {"--target": "norm"}, "out"))
    assert result.code == 0
    assert len(result.warnings) == 1
    largest = abs(read(tmp_path / "out")["analysis"].labels["train"]).max()
    assert f"|y| = {largest:.4g}" in result.warnings[0]


@pytest.fixture(scope="module")
def diverged(tmp_path_factory):
    folder = tmp_path_factory.mktemp("diverged")
    with unpainted():
        return SimpleNamespace(**vars(run(command(SMALL | {"--eta": "1e6"}, folder))), folder=folder)


def test_diverging_training_is_reported_as_such(diverged):
    assert (diverged.code, [line for line in diverged.err if "error" in line]) == (0, [])
    assert any("training diverged" in line for line in diverged.warnings)
    assert "Training diverged after step" in diverged.out.split("Verdict")[1]
    assert {path.name for path in diverged.folder.iterdir()} == KEPT


def test_diverging_training_gives_no_numpy_warnings(diverged):
    assert [line for line in diverged.warnings if "encountered in" in line] == []


def test_the_verdict_does_not_say_that_training_diverged_where_only_the_linear_model_does(unstable, tmp_path):
    result = run(command(SMALL | {"--eta": repr(unstable.rate), "--steps": "600"}, "out"))
    stored = read(tmp_path / "out")["analysis"]
    assert np.isfinite(stored.trajectories["network"].train).all()
    assert not np.isfinite(stored.trajectories["linear"].train).all()
    assert "Training diverged" not in result.out


# -------------------------------------------------------------------------------------------------------------- Ctrl-C
def stop(*arguments, **options):
    raise KeyboardInterrupt


def test_ctrl_c_returns_130_and_says_so(monkeypatch):
    monkeypatch.setattr(analysis_module, "train_gd", stop)
    result = run(command(SMALL, "new/folder"))
    assert (result.code, result.out, result.err[-1]) == (130, "", "ntkspec: stopped; nothing was written")


@pytest.mark.parametrize(
    ("module", "name"), [(datasets, "gaussian"), (analysis_module, "train_gd"), (storage.trees, "_write_node")]
)
def test_ctrl_c_leaves_nothing_behind(tmp_path, monkeypatch, module, name):
    monkeypatch.setattr(module, name, stop)
    with contextlib.suppress(SystemExit):  # the test above looks at how it ends
        assert run(command(SMALL, "new/folder")).code == 130
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------------------------------- other commands
def test_constants_are_printed(capsys):
    assert cli.main(["constants", "relu"]) == 0
    out = capsys.readouterr().out
    numbers = {line.split()[0]: float(line.split()[1]) for line in out.splitlines()[:4]}
    expected = {"zeta": 0.5, "vartheta0": (2 * np.pi) ** -0.5, "vartheta1": (2 * np.pi) ** -0.5, "vartheta2": 0.0}
    assert numbers == pytest.approx(expected, abs=1e-15)
    assert "piecewise linear" in out


def test_constants_within_their_error_are_zero(capsys):
    """Of an odd function, where quadrature leaves some 1e-17."""
    assert cli.main(["constants", "tanh", "--quiet"]) == 0
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()[1:]] == ["0"] * 3


def test_constants_take_the_slope(capsys):
    assert cli.main(["constants", "leaky_relu", "--negative-slope", "0.5"]) == 0
    assert capsys.readouterr().out.split()[1] == "0.75"


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["--help"], ["analyze", "constants"]),
        ([], ["analyze", "constants"]),
        (["analyze", "--help"], ["--data", "--n-test", "--width", "--eta2", "--output", "NTKSPEC_DATA", "even"]),
        (["analyze", "--help"], NAMES),
        (["constants", "--help"], ["--negative-slope"]),
        (["--version"], ["0.1.0"]),
    ],
)
def test_help_and_version(capsys, arguments, shown):
    assert cli.main(arguments) == 0
    out = capsys.readouterr().out
    assert [word for word in shown if word not in out] == []


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        (["constants"], "constants"),
        (["figure", "1", "--bogus"], "figure 1"),
        (["figure", "9"], "figure"),
        (["check", "prop-3.4", "--bogus"], "check"),
        (["analyse"], ""),
    ],
)
def test_an_error_names_the_help_of_its_command(capsys, arguments, asked):
    assert cli.main(arguments) == 2
    assert capsys.readouterr().err.endswith(f" See {' '.join(['ntkspec', *asked.split()])} --help.\n")


def python(*arguments):
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=60, check=False)


def test_the_module_runs_as_a_program():
    result = python("-m", "ntkspec.cli", "constants", "relu")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("zeta")


def test_the_installed_command_hands_on_the_exit_code():
    entry = "import sys; from importlib.metadata import entry_points as e; "
    entry += "sys.exit(e(group='console_scripts')['ntkspec'].load()(sys.argv[1:]))"
    good, bad = python("-c", entry, "--help"), python("-c", entry, "constants", "rleu")
    assert (good.returncode, good.stderr, "analyze" in good.stdout) == (0, "", True)
    assert (bad.returncode, bad.stdout, bad.stderr.count("\n")) == (2, "", 1)
    assert bad.stderr.startswith("ntkspec: error: ")


@pytest.mark.parametrize("heavy", ["numba", "h5py", "matplotlib", "scipy"])
def test_importing_the_package_loads_no_heavy_library(heavy):
    result = python("-c", f"import ntkspec, sys; print({heavy!r} in sys.modules, ntkspec.__version__)")
    assert result.stdout.split() == ["False", "0.1.0"]
