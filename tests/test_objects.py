"""Everything that the package gives pickles and is copied, in this process and in another, bit by bit."""

import copy
import inspect
import pickle
import sys
import threading
import types
import typing
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest

import ntkspec as ns
import objects
from ntkspec.engines import cpu
from objects import SWISH, answers, classes_in, same, sent_back

# What exists while a file is open, or a tile is formed.
PASSING = {"_Checkpointed", "CheckpointedKernel", "HadamardTerm", "LowRankTerm", "Tracker"}
WAYS = {"pickle": lambda given: pickle.loads(pickle.dumps(given)), "copy": copy.copy, "deepcopy": copy.deepcopy}
SOME = {"data": ns.datasets.gaussian(9, 3, n_test=2, dtype=np.float32, seed=1)}
GROUPS = "activations", "kernels", "networks", "results", "data"


def some(group: str) -> dict:
    """Objects of a kind, by name."""
    made = {"networks": lambda: objects.NETWORKS, "data": lambda: SOME}
    return made.get(group, getattr(objects, group, None))()


def public_functions():
    """Functions of the package's face and of its public modules, and public methods of its classes."""
    for name in ns.__all__:
        given = getattr(ns, name)
        members = vars(given).items() if isinstance(given, types.ModuleType | type) else [(name, given)]
        for own, member in members:
            place = given.__name__ if isinstance(given, types.ModuleType) else "ntkspec"
            if inspect.isfunction(member) and member.__module__.startswith(place) and not own.startswith("_"):
                yield member


def named_in(hint) -> set[type]:
    """The classes of the package that a type names."""
    if isinstance(hint, type) and not typing.get_args(hint):
        return {hint} if hint.__module__.startswith("ntkspec") else set()
    return set().union(*map(named_in, typing.get_args(hint)))


def hints(member) -> dict:
    """Types of arguments and result; none where they are classes of a framework that is not loaded with the package."""
    try:
        return typing.get_type_hints(member)
    except NameError:
        return {}


def below(cls: type) -> set[type]:
    """Subclasses at any depth, but for those of experiments."""
    own = {one for one in cls.__subclasses__() if one.__module__.startswith("ntkspec.")}
    own = {one for one in own if not one.__module__.startswith("ntkspec.experiments")}
    return own.union(*map(below, own))


def public_classes() -> set[str]:
    """Every class that the package offers, that a public function says it returns, or that such a one holds."""
    waiting = {value for name in ns.__all__ if isinstance(value := getattr(ns, name), type)}
    for member in public_functions():
        waiting |= named_in(hints(member).get("return"))
    found: set[type] = set()
    while waiting:
        cls = waiting.pop()
        found.add(cls)
        waiting |= set().union(*map(named_in, typing.get_type_hints(cls).values()), below(cls)) - found
    found = {cls for cls in found if not getattr(cls, "_is_protocol", False)}
    return {cls.__name__ for cls in found} - PASSING


def test_an_object_of_every_public_class_is_here():
    here = {cls.__name__ for cls in classes_in([some(group) for group in GROUPS])}
    tested_elsewhere = {"Checkpoints", "InParts", "Iteration", "OnDisk", "Page", "SpreadColumns", "SpreadKernel"}
    assert public_classes() - here == tested_elsewhere


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("way", WAYS)
def test_pickles_and_copies_have_the_same_fields(group, way):
    for name, given in some(group).items():
        assert same(WAYS[way](given), given), name


def test_another_process_computes_the_same_bits(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", str(cpu.workers()))  # the number of threads decides the bits
    things = {f"{group}: {name}": given for group in GROUPS for name, given in some(group).items()}
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as others:
        back, found = others.submit(sent_back, things).result()
    assert same(pickle.loads(back), things)
    expected = answers(things)
    assert [name for name in things if not same(found[name], expected[name])] == []


def test_what_was_shared_stays_shared():
    gap = WAYS["pickle"](some("kernels")["gap"])
    (_, theta), *_, (_, linear), _ = gap.terms
    assert theta.X2 is theta.X is linear.F is linear.G
    assert theta.D2 is theta.D
    assert gap.cost.entry == some("kernels")["gap"].cost.entry


def test_copies_of_activations_are_activations_of_their_own():
    for act in (ns.activation("relu"), SWISH):
        for turn in WAYS.values():
            other = turn(act)
            assert (other == act, hash(other) == hash(act)) == (False, False)  # as two calls of activation() give
        assert {act: 1}[act] == 1
    assert ns.activation(SWISH) is SWISH


@pytest.mark.parametrize(
    "array",
    [
        np.array([[np.nan, -np.inf], [-0.0, 5e-324]]),
        np.zeros((0, 3), np.float32),
        np.arange(24, dtype=np.float32).reshape(4, 6)[::2, ::-3],
        np.broadcast_to(np.float64(1 / 3), (2, 2)),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    ],
    ids=["not finite", "empty", "strided", "read-only", "along columns"],
)
def test_numbers_of_every_kind_keep_their_bits(array, tmp_path):
    run = ns.dynamics.Trajectory(np.arange(2), array, None, "by hand", array.ravel(), watched={"at all": array})
    ns.save_result(run, tmp_path / "run.h5")
    for turn in (*WAYS.values(), lambda _: ns.load_result(tmp_path / "run.h5")):
        assert same(turn(run), run)


def lambdas():
    """An activation whose functions have no name."""
    return ns.Activation(lambda z: np.sin(z) + z, lambda z: np.cos(z) + 1, "wave")


def test_functions_without_a_name_go_by_value():
    cloudpickle = pytest.importorskip("cloudpickle")
    net = ns.TwoLayer.random(4, 6, lambdas())
    expected = net(objects.X)
    for turn in (*WAYS.values(), lambda given: pickle.loads(cloudpickle.dumps(given))):
        assert np.array_equal(turn(net)(objects.X), expected)
        assert "<lambda>" not in repr(turn(ns.operators.wrap(lambda v: 3 * v, 4)) @ np.ones(4))


class Steep:
    """An object whose methods are an activation, which it holds."""

    def __init__(self, factor):
        self.factor, self.activation = factor, ns.Activation(self.value, self.slope, "steep")

    def value(self, z):
        return np.sin(self.factor * z)

    def slope(self, z):
        return self.factor * np.cos(self.factor * z)


def test_methods_go_with_their_objects():
    steep = Steep(3.0)
    for turn in WAYS.values():
        assert np.array_equal(turn(steep).activation(objects.X), np.sin(3.0 * objects.X))
        assert np.array_equal(turn(steep.activation).derivative(objects.X), 3.0 * np.cos(3.0 * objects.X))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_protocol_serves(protocol):
    for name in ("deep, paired", "two layers of the user's function", "images"):
        given = [objects.NETWORKS[name], ns.ntk(objects.NETWORKS[name], objects.X)]
        assert same(pickle.loads(pickle.dumps(given, protocol)), given)


@pytest.mark.parametrize("installed", [True, False])
def test_functions_that_cannot_be_pickled_are_refused_by_name(monkeypatch, installed):
    if not installed:
        monkeypatch.setitem(sys.modules, "cloudpickle", None)
    lock = threading.Lock()
    act = ns.Activation(lambda z: (lock, np.sin(z))[1], lambda z: np.cos(z), "mine")
    for given, what in (
        (act, "phi of activation 'mine'"),
        (ns.TwoLayer.random(4, 6, act), "phi of activation 'mine'"),
        (ns.operators.wrap(lambda v: (lock, v)[1], 4), "the operator that was wrapped"),
    ):
        with pytest.raises(TypeError, match=rf"{what} cannot be pickled \(.*\); define it with def at the top of"):
            pickle.dumps(given)
        assert copy.copy(given) is not given


def stored(tmp_path, scale=1.0):
    """A kernel in a file."""
    return ns.save_kernel(scale * ns.operators.Gram(objects.X), tmp_path / "kernel.h5")


def test_a_stored_kernel_pickles_as_the_name_of_its_file(tmp_path, monkeypatch, engine):
    stored(tmp_path)
    monkeypatch.chdir(tmp_path)
    kernel = ns.load_kernel("kernel.h5", engine=engine.name)
    content = pickle.dumps(kernel)
    assert len(content) < 500
    monkeypatch.chdir("/")
    for found in (pickle.loads(content), copy.deepcopy(kernel)):
        assert same(engine.to_host(found.to_dense()), engine.to_host(kernel.to_dense()))
        assert (found.engine, found.storage_error, found.semidefinite) == (
            engine,
            kernel.storage_error,
            kernel.semidefinite,
        )
    (tmp_path / "kernel.h5").unlink()
    with pytest.raises(FileNotFoundError, match=r"kernel.h5 does not exist"):
        pickle.loads(content)
    for scale in (2.0, -1.0):
        stored(tmp_path, scale)
        with pytest.raises(ValueError, match=r"kernel.h5 holds another kernel now than the one that was pickled"):
            pickle.loads(content)


def test_pickles_keep_the_device(engine, on):
    net = objects.NETWORKS["two layers in float32"].to(engine.name)
    theta = ns.ntk(net, on(objects.X))
    for found in (WAYS["pickle"](theta), copy.deepcopy(theta)):
        assert found.engine is engine
        assert same(engine.to_host(found @ on(objects.y)), engine.to_host(theta @ on(objects.y)))
