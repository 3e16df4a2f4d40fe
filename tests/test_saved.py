"""Networks and results in files: the same bits come back, and what is none of them is refused in a line."""

import doctest

import numpy as np
import pytest

import ntkspec as ns
import objects
from ntkspec import storage
from ntkspec.experiments import results
from ntkspec.experiments.analyze import AnalyzeTask
from ntkspec.networks import saved, saving
from ntkspec.networks.saved import Parts, parts_of
from objects import NETWORKS, SWISH, same

NAMED = [name for name in NETWORKS if NETWORKS[name].activation is not SWISH]


@pytest.mark.parametrize("module", [saved, saving, results])
def test_the_examples_run(module, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = doctest.testmod(module)
    assert (found.failed, found.attempted > 0) == (0, True)


@pytest.mark.parametrize("name", NAMED)
def test_a_network_comes_back_from_its_file(tmp_path, name):
    net = NETWORKS[name]
    net.save(tmp_path / "net.h5")
    found = ns.load_network(tmp_path / "net.h5")
    assert same(found, net)
    assert same(found(objects.X), net(objects.X))
    assert [place.name for place in tmp_path.iterdir()] == ["net.h5"]


def test_a_network_of_a_card_lies_on_the_host_until_it_is_asked_for(tmp_path, engine):
    net = NETWORKS["deep, paired"]
    net.to(engine.name).save(tmp_path / "net.h5")
    assert same(ns.load_network(tmp_path / "net.h5"), net)
    placed = ns.load_network(tmp_path / "net.h5", engine=engine.name)
    assert {type(W) for W in placed.parameters} == {engine.xp.ndarray}
    assert same([engine.to_host(W) for W in placed.parameters], net.parameters)


def test_a_function_of_the_user_is_passed_again(tmp_path):
    net, path = NETWORKS["two layers of the user's function"], tmp_path / "net.h5"
    net.save(path)
    assert same(ns.load_network(path, activation=SWISH), net)
    assert same(ns.load_network(path, activation="silu")(objects.X).round(12), net(objects.X).round(12))
    with pytest.raises(ValueError, match=r"net.h5 holds a network with the activation 'swish', a function that is not"):
        ns.load_network(path)
    with pytest.raises(ValueError, match=r"the activation 'swish', but the values of 'tanh' are others; pass the one"):
        ns.load_network(path, activation="tanh")
    half = ns.Activation(objects.swish, lambda z: 0.5 * objects.slope_of_swish(z))
    with pytest.raises(ValueError, match=r"the derivative does not belong to phi"):
        ns.load_network(path, activation=half)


def test_what_could_not_be_loaded_is_not_saved(tmp_path):
    class Own(ns.FullyConnected):
        """A user's class."""

    net = Own([np.ones((3, 2)), np.ones((1, 3))], "erf")
    with pytest.raises(
        TypeError, match=r"Own objects cannot be saved; save one of TwoLayer, FullyConnected, Convolutional"
    ):
        net.save(tmp_path / "net.h5")
    broken = NETWORKS["deep"].with_parameters([np.full_like(W, np.nan) for W in NETWORKS["deep"].parameters])
    with pytest.raises(ValueError, match=r"parameter 0 holds 24 entries that are NaN or infinite"):
        broken.save(tmp_path / "net.h5")
    with pytest.raises(FileNotFoundError, match=r"the folder .*nowhere does not exist; make it first"):
        NETWORKS["deep"].save(tmp_path / "nowhere" / "net.h5")
    assert not list(tmp_path.iterdir())


WRONG = {
    "activation": ({"activation": "mish"}, r"activation 'mish' is unknown; use one of identity, relu"),
    "parameters": ({"parameters": {"beta": 2.0}}, r"activation 'elu' does not take the parameters \['beta'\]"),
    "other values": (
        {"parameters": {"alpha": 0.7}},
        r"'elu', but the values of 'elu\(0.7\)' are others",
    ),
    "class": ({"network": "Transformer"}, r"its class 'Transformer' is none of TwoLayer, FullyConnected"),
    "weights": ({"weights": [np.ones((3, 2)), np.ones((1, 4))]}, r"weights of shapes .* came, but .* are needed"),
    "no weights": ({"weights": []}, r"0 weight matrices came"),
    "numbers": ({"weights": [1.0, 2.0]}, r"holds no network of this version"),
    "empty": ({"weights": [np.ones((3, 0)), np.ones((1, 3))]}, r"holds no network of this version"),
    "options": ({"options": {"bias": True}}, r"holds no network of this version: .*bias"),
    "text": ({"values": "none"}, r"holds no network of this version"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_parts_are_one_line(tmp_path, wrong):
    changed, message = WRONG[wrong]
    parts, path = vars(parts_of(NETWORKS["deep"])) | changed, tmp_path / "net.h5"
    storage.write(path, Parts(**parts), kind="network")
    with pytest.raises(ValueError, match=message) as error:
        ns.load_network(path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("kind", "name"), [("analyze", "analysis"), ("spectrum", "spectrum")])
def test_the_record_of_a_command_is_read_as_well(tmp_path, kind, name):
    path = tmp_path / "record.h5"
    storage.write(path, {name: [1.0], "provenance": {}}, kind=kind)
    assert ns.load_result(path) == [1.0]
    storage.write(path, {"numbers": [1.0]}, kind=kind)
    with pytest.raises(ValueError, match=r"record.h5 is damaged"):
        ns.load_result(path)


def test_files_of_other_kinds_are_refused(tmp_path):
    net, path = tmp_path / "net.h5", tmp_path / "result.h5"
    NETWORKS["deep"].save(net)
    ns.save_result(ns.spectral_norm(objects.HALF), path)
    for load, other in ((ns.load_network, path), (ns.load_result, net), (ns.load_kernel, net), (ns.load_kernel, path)):
        with pytest.raises(ValueError, match=rf"{other} is not an ntkspec file of kind"):
            load(other)
    with pytest.raises(ValueError, match=r"of kind 'result': it is a network; ntkspec.load_network reads it$"):
        ns.load_result(net)
    storage.write(net, {"weights": []}, kind="network")
    with pytest.raises(ValueError, match=r"net.h5 holds no network$"):
        ns.load_network(net)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match=r"result.h5 is (damaged|not)"):
        ns.load_result(path)
    with pytest.raises(FileNotFoundError, match=r"absent.h5 does not exist"):
        ns.load_network(tmp_path / "absent.h5")


def plain(value):
    """With Python's numbers in the place of NumPy's, which files do not tell apart."""
    return results._mapped(value, lambda leaf: leaf.item() if isinstance(leaf, np.generic) else leaf)


# A fit holds its kernel; its coefficients and distance are kept. A series has a file of its own; losses are functions.
NOT_KEPT = "interval", "work", "nearest linear kernel", "series", "loss", "named losses", "Huber"


def test_results_of_every_class_come_back_from_their_files(tmp_path):
    kept = {name: given for name, given in objects.results().items() if name not in NOT_KEPT}
    assert set(results.RESULTS) <= objects.classes_in(kept)
    for name, given in kept.items():
        ns.save_result(given, tmp_path / "result.h5")
        assert same(plain(ns.load_result(tmp_path / "result.h5")), plain(given)), name


def test_results_are_kept_together(tmp_path):
    norm, run, deep = (objects.results()[name] for name in ("norm", "run", "deep run"))
    both = {"norm": norm, "runs": [run, deep], "n": 24, "note": None}
    ns.save_result(both, tmp_path / "both.h5")
    found = ns.load_result(tmp_path / "both.h5")
    assert same(plain(found), plain(both))
    assert same(found["runs"][1].network(objects.X), deep.network(objects.X))


def test_a_trajectory_of_the_users_function_takes_it_again(tmp_path):
    net, path = NETWORKS["two layers of the user's function"], tmp_path / "run.h5"
    run = ns.train_gd(net, objects.X, objects.y, eta=0.1, steps=[2])
    ns.save_result(run, path)
    assert same(ns.load_result(path, activation=SWISH), run)
    with pytest.raises(ValueError, match=r"run.h5 holds a network with the activation 'swish', a function that is not"):
        ns.load_result(path)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda: NETWORKS["deep"], r"a FullyConnected is kept by net.save or ntkspec.save_kernel, not as a result"),
        (lambda: ns.operators.identity(3), r"a Diagonal is kept by net.save or ntkspec.save_kernel"),
        (
            lambda: ns.datasets.gaussian(3, 2),
            r"^Dataset objects cannot be saved as a result or in one; known are Angles.*Stability$",
        ),
        (
            AnalyzeTask,
            r"^AnalyzeTask objects cannot be saved .*; ntkspec.storage.write keeps records of commands, as",
        ),
        (lambda: {"phi": SWISH}, r"phi is of type Activation, which cannot be stored"),
        (lambda: {"a/b": 1.0}, r"has the key 'a/b'"),
    ],
)
def test_what_is_no_result_is_refused(tmp_path, given, message):
    with pytest.raises(TypeError, match=message):
        ns.save_result(given(), tmp_path / "result.h5")
    assert not list(tmp_path.iterdir())
