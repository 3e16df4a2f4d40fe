"""The command track: from files of checkpoints to one screen, a file that goes on, a figure, a page, and a rerun."""

import json
import re

import numpy as np
import pytest
from matplotlib.figure import Figure

import ntkspec as ns
from commands import run, unpainted
from ntkspec.cli.data import DataOptions, dataset_of
from ntkspec.experiments.tracking import measuring
from ntkspec.plotting.pictures import figures_of

MODEL = """
import ntkspec as ns


def make(d, seed):
    return ns.FullyConnected.random(d, [12, 12], "tanh", seed=seed)


def broken():
    raise RuntimeError("no weights here")
"""
ARGUMENTS = "track --network model.py:make --checkpoints runs/*.npz --data my.npz --eta 0.5"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with points, a file that makes the network, and five checkpoints of its training."""
    folder, rng = tmp_path_factory.mktemp("track"), np.random.default_rng(0)
    X = 3 + rng.standard_normal((30, 4))
    y = np.sign(X[:, 0] - 3)
    np.savez(folder / "my.npz", X=X, y=y)
    (folder / "model.py").write_text(MODEL)
    (folder / "runs").mkdir()
    net = ns.FullyConnected.random(4, [12, 12], "tanh", seed=0)
    for step in range(0, 50, 10):
        np.savez(folder / "runs" / f"step-{step:03d}.npz", *net.weights)
        net = ns.train_gd(net, X, y, eta=0.5, steps=[10]).network
    return folder, X, y


@pytest.fixture(scope="module")
def done(place):
    """What the command printed and left."""
    folder, *_ = place
    with pytest.MonkeyPatch.context() as patch, unpainted(pages=True):
        patch.chdir(folder)
        return run(f"{ARGUMENTS} --quantities all -o out"), folder / "out"


def test_the_command_is_the_call_on_the_points_as_they_stand(place, done):
    (folder, X, y), (told, out) = place, done
    assert told.code == 0
    series = ns.load_result(out / "track.h5")
    again = ns.track(ns.checkpoints(lambda: ns.FullyConnected.random(4, [12, 12], "tanh"), folder / "runs"),
                     X.astype(np.float32), y, eta=0.5, quantities="all")  # fmt: skip
    assert series.steps.tolist() == [0, 10, 20, 30, 40]
    for name in series:
        assert series[name] == pytest.approx(again[name], nan_ok=True, rel=1e-5), name
    assert series.verdict == again.verdict
    assert series["loss"][0] == pytest.approx(
        float(np.square(y - ns.FullyConnected.random(4, [12, 12], "tanh", seed=0)(X)).sum()) / (2 * len(y)), rel=1e-5
    )


def test_the_screen_holds_the_verdict_and_the_checkpoints(done):
    told, out = done
    lines = told.out.splitlines()
    assert len(lines) <= 40
    assert all(len(line) <= 80 for line in lines if not line.startswith("written"))
    words = " ".join(" ".join(lines).split())
    assert all(sentence in words for sentence in ns.load_result(out / "track.h5").verdict)
    assert [line.split()[0] for line in lines if re.match(r" +\d+ ", line)] == ["0", "10", "20", "30", "40"]
    assert sorted(path.name for path in out.iterdir()) == ["track.h5", "track.html", "track.pdf", "track.png"]


def test_the_page_has_every_panel_and_its_numbers(done):
    _, out = done
    page = (out / "track.html").read_text()
    series = ns.load_result(out / "track.h5")
    assert page.count("<svg") == len(figures_of(series)["track"].axes) == 12
    for name in series:
        assert name.replace("_", " ") in page


def test_pictures_are_drawn_alone_and_name_what_is_asked_for(done):
    _, out = done
    series = ns.load_result(out / "track.h5")
    axes = series.plot(what="edge")
    assert "eigenvalue" in axes.get_ylabel()
    with pytest.raises(ValueError, match="the pictures of a Series are edge, loss, distance"):
        series.plot(what="edges")
    assert isinstance(ns.plotting.draw(out / "track.h5")["track"], Figure)
    assert "Series" not in series._repr_html_()
    assert "checkpoints" in series._repr_html_()
    pandas = pytest.importorskip("pandas")
    table = series.to_dataframe()
    assert isinstance(table, pandas.DataFrame)
    assert table["step"].tolist() == series.steps.tolist()
    assert (table["sharpness_lower"] <= table["sharpness_upper"]).all()


def test_json_holds_intervals_and_first_steps(place, done, monkeypatch):
    monkeypatch.chdir(place[0])
    with unpainted():
        told = run(f"{ARGUMENTS} --quantities all -o out --json")
    found = json.loads(told.out)
    assert found["exit_code"] == 0
    assert set(found["first_steps"]) == {"at_the_edge", "above_the_edge", "leaves_lazy", "learns_features"}
    assert found["checkpoints"][2]["step"] == 20
    assert found["checkpoints"][0]["distance_from_previous"]["value"] is None
    assert found["edge"] == 4


def test_a_killed_command_goes_on(place, done, monkeypatch):
    monkeypatch.chdir(place[0])
    whole, calls = ns.load_result(done[1] / "track.h5"), []

    def stopping(found):
        calls.append(found.now.step)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return measuring.measure(found)

    with unpainted(), monkeypatch.context() as patch:
        patch.setattr("ntkspec.experiments.tracking.recorder.measure", stopping)
        told = run(f"{ARGUMENTS} --quantities all -o killed")
        assert told.code == 130
        assert told.err[-1].endswith("track.h5 is kept, and the same command goes on")
        told = run(f"{ARGUMENTS} --quantities all -o killed")
    assert told.code == 0
    assert calls == [0, 10, 20, 20, 30, 40]
    found = ns.load_result(place[0] / "killed" / "track.h5")
    for name in whole:
        assert np.array_equal(found[name], whole[name], equal_nan=True), name


def test_a_series_is_measured_again(place, done, monkeypatch):
    monkeypatch.chdir(place[0])
    with unpainted():
        told = run("rerun out/track.h5")
    assert told.code == 0
    count = sum(np.isfinite(ns.load_result("out/track.h5")[name]).sum() for name in ns.load_result("out/track.h5"))
    assert told.out.splitlines()[-1] == f"{count} of {count} numbers agree within their intervals."


def test_columns_that_never_change_stay_as_the_network_takes_them(tmp_path):
    """The margins of digits are zero in all of them."""
    X = np.random.default_rng(0).uniform(size=(12, 4))
    X[:, 1], X[:, 3] = 0, 0.5
    np.savez(tmp_path / "my.npz", X=X, y=np.arange(12) % 2 * 2 - 1)
    found = dataset_of(DataOptions(data=str(tmp_path / "my.npz"), n_test=0, dtype="float64"), 0, as_they_are=True)
    assert np.array_equal(found.X, X)


def test_prepared_points_are_those_of_load(place, monkeypatch):
    monkeypatch.chdir(place[0])
    with unpainted():
        told = run(f"{ARGUMENTS} --quantities residual --prepare --dtype float64 -o prepared")
    assert told.code == 0
    data = ns.datasets.load("my.npz", n_test=0)
    loss = ns.load_result("prepared/track.h5")["loss"][0]
    net = ns.FullyConnected.random(4, [12, 12], "tanh", seed=0)
    assert loss == pytest.approx(float(np.square(data.y - net(data.X)).sum()) / (2 * len(data.y)))


REFUSED = {
    "track --network model.py:make --data my.npz": "parameter --checkpoints requires an argument",
    f"{ARGUMENTS} --checkpoints none/*.pt": "no checkpoints are found at none/*.pt",
    f"{ARGUMENTS} --quantities edges": "quantities='edges', but one of 'edge'",
    "track --network model.py:make --checkpoints runs --data my.npz --quantities prediction": "pass eta= (--eta)",
    "track --network model.py:broken --checkpoints runs --data my.npz": "raised RuntimeError: no weights here",
    "track --network fc:2x12 --checkpoints runs --data my.npz": "step-000.npz does not fit the network: it lacks 0",
    "track --network model.py:make --checkpoints runs --data my.npz --momentum 0.5": "is for --law heavy-ball",
    "track --network model.py:make --checkpoints runs --data my.npz --eta 0": "but a learning rate > 0 is needed",
}


@pytest.mark.parametrize("words", REFUSED)
def test_bad_input_is_one_line(place, monkeypatch, words):
    monkeypatch.chdir(place[0])
    told = run(words)
    assert told.code == 2
    (line,) = told.err
    assert REFUSED[words] in line
