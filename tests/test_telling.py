"""What a command prints: an answer on one screen, all of it, or a document for programs."""

import dataclasses
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest

from commands import run, unpainted
from ntkspec import cli, datasets, storage
from ntkspec.cli.telling import coloured
from ntkspec.experiments.analyze import RECORD_TYPES, AnalyzeTask, analyze
from ntkspec.experiments.headline import headline
from ntkspec.experiments.verdict import beside_headline, verdict
from ntkspec.reporting.rows import COLUMNS
from ntkspec.reporting.summary import summary

LINES = 40
SMALL = ["--n", "60", "--d", "6", "--n-test", "20", "--width", "16", "--steps", "20"]
INTERVAL = {"value", "lower", "upper", "failure_probability", "closed"}


@pytest.fixture(autouse=True)
def _alone(monkeypatch, tmp_path):
    monkeypatch.delenv("NTKSPEC_TRACEBACK", raising=False)
    monkeypatch.chdir(tmp_path)
    with unpainted():
        yield


@pytest.fixture(scope="module")
def usual():
    return analyze(AnalyzeTask(width=16, steps=40), datasets.gaussian(120, 6, n_test=30))


def troubled():
    """Data and rates that leave every assumption: skewed, shifted, repeated, with large labels of three values."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((90, 6)) * [30, 1, 1, 1, 1, 1] + 3
    X[45:] = X[:45]
    y = 2.0 * rng.integers(-1, 2, 90)
    return datasets.from_arrays(X, y, n_test=9, center=False)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("layer", ["first", "both"])
def test_a_summary_fits_on_one_screen_whatever_is_wrong(layer, usual):
    rates = {"eta1": 5.0} | ({"eta2": 0.4} if layer == "both" else {})
    for analysis in (usual, analyze(AnalyzeTask("relu", width=16, steps=30, layer=layer, **rates), troubled())):
        lines = summary(analysis).splitlines()
        assert len(lines) <= LINES - 2  # the line of the files and the one before it
        assert max(map(len, lines)) <= COLUMNS + 1
        text = " ".join(" ".join(lines).split())
        assert all(sentence in text for sentence in beside_headline(analysis))


def test_the_headline_is_what_the_numbers_say(usual):
    """The step by its definition, from the outputs themselves."""
    found, outputs = headline(usual), {name: one.test for name, one in usual.trajectories.items()}
    far = ((outputs["network"] - outputs["linear"]) ** 2).mean(axis=1) / (usual.labels["test"] ** 2).mean()
    beyond = [step for step, part in zip(usual.steps, far, strict=True) if step and part >= 0.1]
    last = usual.steps[-1] if not beyond else max(step for step in usual.steps if step < beyond[0])
    assert found.agreement.until == last
    assert found.time == {"eta": pytest.approx(usual.rates[0] * last)}
    assert found.distance == pytest.approx(float(usual.kernel.gap) / float(usual.kernel.theta_lin))
    assert f"step {last}" in str(found) or f"step, {last}" in str(found)


def test_models_that_stay_where_they_started_are_no_linear_ones(usual):
    """Below the threshold any two models agree: outputs that are a tenth of the ones found, and so a hundredth in mean
    square, decide nothing."""
    assert headline(usual).decided
    assert max((usual.trajectories[name].test ** 2).mean(1).max() for name in ("network", "linear")) == pytest.approx(
        headline(usual).moved * (usual.labels["test"] ** 2).mean()
    )
    short = {
        name: dataclasses.replace(one, train=one.train / 10, test=one.test / 10)
        for name, one in usual.trajectories.items()
    }
    found = headline(dataclasses.replace(usual, trajectories=short))
    assert str(found).startswith("Undecided: both models learned too little")
    assert "below 10% of the labels" in found.meaning


def test_one_answer_to_until_which_step_and_the_others_in_the_whole(usual):
    others = [sentence for sentence in verdict(usual) if sentence not in beside_headline(usual)]
    assert len(others) == 3  # the kernel, the steps by two measures, and what no linear model can fit
    assert not any(sentence[:30] in summary(usual) for sentence in others)


# ---------------------------------------------------------------------------------------------------------- commands
def printed(words, capsys, code=0):
    assert cli.main(words) == code
    return capsys.readouterr()


@pytest.fixture(scope="module")
def document(tmp_path_factory):
    folder = tmp_path_factory.mktemp("document")
    with unpainted():
        said = run(["analyze", *SMALL, "--json", "--output", folder])
    assert said.code == 0
    return json.loads(said.out), folder


def test_an_analysis_is_one_document(document):
    found, folder = document
    assert found["command"] == "analyze"
    assert found["exit_code"] == 0
    assert found["headline"].endswith(".")
    kernel = found["kernel"]
    assert all(set(kernel[name]) == INTERVAL for name in ("theta", "theta_lin", "gap"))
    assert all(kernel[name]["lower"] <= kernel[name]["value"] <= kernel[name]["upper"] for name in ("theta", "gap"))
    assert len(found["losses"]["network"]["train"]) == len(found["steps"])
    assert set(found["linear"]) >= {"last_step", "from_start", "to_end", "threshold", "points", "time"}
    assert set(found["agreement"]) == {"network-linear", "network-ntk", "ntk-linear"}
    assert found["files"][0] == str(folder / "analysis.h5")
    assert found["task"]["activation"] == "erf"


def test_little_is_the_answer_alone(document, capsys):
    found, folder = document
    (folder / "losses.png").unlink()
    out, _ = printed(["analyze", *SMALL, "--quiet", "--output", str(folder)], capsys)
    assert out == f"{found['headline']}\n"


def test_verbose_is_the_whole_report(document, capsys):
    (document[1] / "losses.png").unlink(missing_ok=True)
    out, _ = printed(["analyze", *SMALL, "--verbose", "--output", str(document[1])], capsys)
    assert "Network against its NTK at initialization\n-----" in out


@pytest.mark.parametrize(
    ("words", "fields"),
    [
        ("constants gelu", {"zeta", "vartheta0", "vartheta1", "vartheta2", "method", "error", "assumption"}),
        ("spectrum --n 40 --d 5 --n-test 0 --width 8", {"norm", "frobenius", "eigenpairs", "alignment", "files"}),
        ("sweep --quantity gap-first --d 4 6 8 --seeds 2 --n 20 --width 8", {"cells", "laws", "files"}),
        ("check prop-3.4 --d 4 6 8 --seeds 2 --n 20 --width 8", {"checks", "files"}),
        ("figure 2 --d 4 --n 30 --n-test 10 --width 8 --steps 9", {"files"}),
    ],
)
def test_every_command_has_a_document(words, fields, capsys):
    out, _ = printed([*words.split(), "--json"], capsys)
    found = json.loads(out)
    assert set(found) >= fields | {"command", "arguments", "version", "exit_code"}
    for law in found.get("laws", {}).get("gap-first", {}).get("erf", {}).values():
        assert law["lower"] <= law["exponent"] <= law["upper"]


def test_an_error_is_a_document_too(capsys):
    out, err = printed(["constants", "nothing", "--json"], capsys, code=2)
    assert json.loads(out)["exit_code"] == 2
    assert json.loads(out)["error"] in err


def test_only_one_way_of_telling_at_once(capsys):
    assert "--verbose and --quiet exclude each other" in printed(["doctor", "--quiet", "--verbose"], capsys, 2).err


def test_exponents_of_figure_5_are_printed(capsys):
    out, _ = printed(["figure", "5", "--d", "4", "6", "8", "--seeds", "2", "--n", "20", "--width", "8"], capsys)
    assert out.count("exponent  ") == 2  # two panels of four norms each
    assert "7 other exponents" in out


# ------------------------------------------------------------------------------------------------------------ colour
class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_colour_is_for_terminals_that_want_it(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert coloured("text", "answer", Terminal()) == "\x1b[1mtext\x1b[0m"
    assert coloured("text", "answer", io.StringIO()) == "text"
    monkeypatch.setenv("NO_COLOR", "1")
    assert coloured("text", "answer", Terminal()) == "text"
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert coloured("text", "answer", Terminal()) == "text"


# --------------------------------------------------------------------------------------------------- settings, reruns
def test_settings_of_a_file_are_options_and_words_come_first(tmp_path, capsys):
    (tmp_path / "own.toml").write_text('n = 50\nd = 5\nn_test = 0\nactivation = "ReLU"\nwidth = 8\npairs = 3\n')
    out, _ = printed(["spectrum", "--config", "own.toml", "--d", "6", "--json"], capsys)
    found = json.loads(out)
    assert (found["data"]["n"], found["data"]["d"], found["task"]["activation"]) == (50, 6, "relu")
    assert len(found["eigenpairs"]) == 3
    assert "--config" not in found["arguments"]


def test_a_table_is_read_by_its_command(tmp_path, capsys):
    text = "n = 50\nd = 5\nn_test = 0\n[analyze]\nsteps = 7\n[spectrum]\nd = 6\npairs = 3\n[figure.1]\nd = 7\n"
    (tmp_path / "own.toml").write_text(text)
    found = json.loads(printed(["spectrum", "--config", "own.toml", "--json", "--width", "8"], capsys).out)
    assert (found["data"]["n"], found["data"]["d"], len(found["eigenpairs"])) == (50, 6, 3)


def test_words_that_belong_to_no_option(capsys):
    err = printed(["analyze", "mnist", "relu"], capsys, code=2).err
    assert err.count("\n") == 1
    assert "no place for 'mnist relu'" in err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("n_tset = 3", "'n_tset' is no option of ntkspec analyze; did you mean 'n-test'?"),
        ("[table]\nn = 3", "'table' is no option of ntkspec analyze"),
        ("n = [[1]]", "n = [[1]], but a number, a text, true, false or a list is needed"),
        ("n = ", "is no TOML file of settings"),
        ("n = 2.5", 'own.toml: Invalid value for --n: "2.5" is not a whole number'),
        ("[analyze]\nn = 2.5", 'own.toml: Invalid value for --n: "2.5" is not a whole number'),
        ("[analyze]\nn_tset = 3", "'n_tset' is no option of ntkspec analyze; did you mean 'n-test'?"),
        ("[analyze.deeper]\nn = 3", "'deeper' is no option of ntkspec analyze"),
        ('config = "other.toml"', "'config' is no option"),
    ],
)
def test_settings_that_cannot_be_are_one_line(text, said, tmp_path, capsys):
    (tmp_path / "own.toml").write_text(text)
    err = printed(["analyze", "--config", "own.toml"], capsys, code=2).err
    assert said in err
    assert err.count("\n") == 1


def test_a_file_of_settings_has_to_be_there(capsys):
    assert "nowhere.toml" in printed(["analyze", "--config", "nowhere.toml"], capsys, code=2).err
    assert "needs a file" in printed(["analyze", "--config"], capsys, code=2).err


def test_a_run_is_repeated_with_the_same_numbers(document, capsys):
    found = json.loads(printed(["rerun", str(document[1] / "analysis.h5"), "--json"], capsys).out)
    assert found["same_points"]
    assert len(found["numbers"]) == 12
    assert all(number["agree"] for number in found["numbers"])


def test_a_run_by_another_recipe_says_so_and_is_repeated(capsys):
    told = ["--law", "heavy-ball", "--momentum", "0.5", "--loss", "logistic", "--batch", "16"]
    found = json.loads(printed(["analyze", *SMALL, *told, "--json", "-o", "out"], capsys).out)
    words = "the heavy ball (momentum 0.5) on the logistic loss in batches of 16"
    assert found["training"] == words
    assert words in found["headline"]
    assert (found["task"]["law"], found["task"]["loss"], found["task"]["batch"]) == (
        "HeavyBall(momentum=0.5)",
        "logistic",
        16,
    )
    assert found["losses"]["network"]["train"][0] == pytest.approx(np.log(2))
    assert words in Path("out/analysis.html").read_text(encoding="utf-8")
    again = json.loads(printed(["rerun", "out/analysis.h5", "--json"], capsys).out)
    assert all(number["agree"] for number in again["numbers"])


def test_numbers_that_have_changed_end_with_1(document, capsys, tmp_path):
    record = storage.read(document[1] / "analysis.h5", kind="analyze", types=RECORD_TYPES)
    gap = dataclasses.replace(record["analysis"].kernel, gap=2 * record["analysis"].kernel.gap)
    record["analysis"] = dataclasses.replace(record["analysis"], kernel=gap)
    storage.write(tmp_path / "changed.h5", record, kind="analyze")
    out, _ = printed(["rerun", "changed.h5"], capsys, code=1)
    assert [line.split("  ")[0] for line in out.splitlines() if "DIFFER" in line] == ["||Theta - Theta^lin||"]
    assert "11 of 12 numbers agree within their intervals." in out


def test_files_that_are_no_runs_are_not_repeated(tmp_path, capsys):
    storage.write(tmp_path / "other.h5", {"a": 1.0}, kind="result")
    assert (
        "rerun repeats what analyze, spectrum, track, sweep, check and figure wrote"
        in printed(["rerun", "other.h5"], capsys, code=2).err
    )
    storage.write(tmp_path / "bare.h5", {}, kind="analyze")  # as a program may write it
    assert "does not say by which command it was made" in printed(["rerun", "bare.h5"], capsys, code=2).err


# ----------------------------------------------------------------------------------------------------------- plurals
@pytest.mark.parametrize(
    "words",
    [
        "spectrum --n 40 --d 5 --n-test 0 --width 8 --pairs 1 --probes 1 --steps 1",
        "analyze --n 40 --d 1 --n-test 1 --width 2 --steps 1 --verbose",
        "sweep --quantity gap-first --d 4 --seeds 1 --n 20 --width 8",
    ],
)
def test_one_of_a_thing_is_no_plural(words, capsys):
    found = printed(words.split(), capsys)
    assert re.findall(r"(?<![-.,\d])\b1 (?!of)[a-z]+s\b", found.out + found.err) == []


def test_one_bad_number_is_one_entry():
    with pytest.raises(ValueError, match="holds 1 entry that is NaN or infinite"):
        datasets.from_arrays(np.array([[1.0, np.inf], [0.0, 2.0], [3.0, 1.0]]), [1, -1, 1])
