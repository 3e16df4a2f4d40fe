"""Training by the GPU's own steps: against the CPU's, and against themselves however they are cut into pieces."""

import warnings

import numpy as np
import pytest

import ntkspec as ns
from conftest import Interrupt
from ntkspec.engines import cpu
from ntkspec.training.descent_fused import FusedDescent

STEPS = [0, 1, 2, 21]
# (n, d, m): one chunk of points and many, columns that are no multiple of 4, neurons for some threads and for several
# times all of them, and the largest sizes: in float64, and in float32.
SHAPES = [(1, 1, 1), (9, 1, 2), (200, 13, 6), (40, 5, 300), (21, 8, 1024), (35, 40, 256)]
CASES = [(*kind, shape) for kind in (("relu", "f"), ("gelu", "d")) for shape in SHAPES]
CASES += [("relu", "f", (131, 50, 256)), ("erf", "f", (35, 80, 256))]
LARGEST = {"f": 80, "d": 40}


def setting(n, d, m, name="erf", dtype="d", **how):
    """(net, X, y) as NumPy arrays."""
    rng = np.random.default_rng([n, d, m])
    X, y = rng.standard_normal((n, d)).astype(dtype), rng.uniform(-1, 1, n).astype(dtype)
    return ns.TwoLayer.random(d, m, name, second="normal", dtype=np.dtype(dtype), **how), X, y


def on(gpu, net, *arrays):
    """The same on the device."""
    return net.to("gpu"), *map(gpu.xp.asarray, arrays)


def own_steps(engine, net, X, y, rates=(1.0, 1.0)):
    """What the engine offers for this setting."""
    return engine.training.fused_steps(net.activation.compiled, X, y, rates=rates, width=net.width)


def same_bits(one, other):
    return all(bool((a == b).all()) for a, b in zip(contents(one), contents(other), strict=True))


def contents(found):
    return found.train, found.network.W, found.network.v


def agree(one, other, gpu, tolerance):
    for here, there in zip(contents(one), contents(other), strict=True):
        assert there.dtype == here.dtype
        assert np.abs(here - gpu.to_host(there)).max() <= tolerance * max(1.0, np.abs(here).max())


# ------------------------------------------------------------------------------------------------ against the CPU
@pytest.mark.covering(1)
@pytest.mark.parametrize(("name", "dtype", "shape"), CASES)
def test_every_shape_trains_as_on_the_cpu(name, dtype, shape, gpu):
    given = setting(*shape, name, dtype)
    there = on(gpu, *given)
    assert own_steps(gpu, *there) is not None
    how = {"eta1": 0.4, "eta2": 0.2, "steps": STEPS}
    agree(ns.train_gd(*given, **how), ns.train_gd(*there, **how), gpu, 5000 * np.finfo(dtype).eps)


@pytest.mark.covering(1)
@pytest.mark.parametrize("rates", [(0.4, 0.0), (0.0, 0.3), (0.4, 0.1)])
@pytest.mark.parametrize("name", ["erf", "tanh", "leaky_relu", "cos"])
def test_every_layer_trains_as_on_the_cpu(rates, name, gpu):
    net, X, y = setting(37, 13, 6, name, "f")
    there = on(gpu, net, X, y)
    assert own_steps(gpu, *there, rates) is not None
    how = {"eta1": rates[0], "eta2": rates[1], "steps": STEPS}
    one, other = ns.train_gd(net, X, y, **how), ns.train_gd(*there, **how)
    agree(one, other, gpu, 1e-4)
    if not rates[0]:
        assert np.array_equal(gpu.to_host(other.network.W), net.W)
    if not rates[1]:
        assert np.array_equal(gpu.to_host(other.network.v), net.v)


def test_the_start_is_subtracted_exactly(gpu):
    given = setting(37, 13, 6, "tanh")
    there = on(gpu, *given)
    how = {"eta": 0.5, "steps": STEPS, "subtract_start": True}
    found = ns.train_gd(*there, **how, X_test=there[1][:3])
    agree(ns.train_gd(*given, **how), found, gpu, 1e-12)
    assert not found.train[0].any()
    assert not found.test[0].any()


def test_a_network_of_another_dtype_is_converted(gpu):
    net, X, y = setting(37, 13, 6)
    _, *there = on(gpu, net, X.astype("f"), y.astype("f"))
    found = ns.train_gd(net.to("gpu"), *there, eta=0.5, steps=STEPS)
    agree(ns.train_gd(net, X.astype("f"), y.astype("f"), eta=0.5, steps=STEPS), found, gpu, 1e-12)


@pytest.mark.parametrize("dtype", ["f", "d"])
def test_what_the_steps_are_not_written_for_trains_without_them(dtype, gpu):
    mine = ns.Activation(lambda z: z**2 / 4, lambda z: z / 2)
    large, wide = setting(20, LARGEST[dtype] + 1, 256, dtype=dtype), setting(20, 2, 1025, dtype=dtype)
    for given in (large, wide, setting(20, 3, 4, mine, dtype=dtype)):
        there = on(gpu, *given)
        assert own_steps(gpu, *there) is None
        assert own_steps(cpu, *given) is None
        found, here = (ns.train_gd(*one, eta=0.3, steps=[0, 9]) for one in (there, given))
        agree(here, found, gpu, 2000 * np.finfo(dtype).eps)
    there = on(gpu, *setting(20, 3, 4, dtype=dtype))
    assert own_steps(gpu, *there, (0.0, 0.0)) is None
    assert same_bits(*(ns.train_gd(*there, eta=0.0, steps=[k, k]) for k in (0, 9)))


# ------------------------------------------------------------------------------------------------ cut into pieces
@pytest.mark.parametrize(("name", "dtype"), [("relu", "f"), pytest.param("erf", "d", marks=pytest.mark.slow)])
def test_bits_do_not_depend_on_the_run_or_on_what_is_recorded(name, dtype, gpu):
    given = on(gpu, *setting(37, 13, 6, name, dtype))
    whole = ns.train_gd(*given, eta=0.5, steps=range(41))
    for steps in ([40], [1, 2, 25, 40], [17, 34, 40]):
        found = ns.train_gd(*given, eta=0.5, steps=steps)
        assert (found.train == whole.train[gpu.xp.asarray(steps)]).all()
        assert (found.network.W == whole.network.W).all()
        assert (found.network.v == whole.network.v).all()


def test_many_goes_are_one_run(gpu, monkeypatch):
    """More steps than are taken in one go."""
    given = setting(9, 2, 4, "tanh")
    there, how = on(gpu, *given), {"eta": 0.3, "steps": [3, 90]}
    whole = ns.train_gd(*there, **how)
    agree(ns.train_gd(*given, **how), whole, gpu, 1e-11)
    for together in (1, 7):
        monkeypatch.setattr(FusedDescent, "together", together)
        assert same_bits(ns.train_gd(*there, **how), whole)


def stopped(steps):
    """Ctrl-C, while the host waits for the GPU."""
    raise KeyboardInterrupt


def test_an_interrupted_run_ends_with_the_same_bits(gpu, tmp_path, monkeypatch):
    """At a recorded step, and between two of them, after the device has gone on further than is known to be finite."""
    given, how = on(gpu, *setting(37, 13, 6)), {"eta": 0.5, "steps": [0, 3, 41, 60]}
    whole = ns.train_gd(*given, watch=Interrupt(), **how)
    steps = type(own_steps(gpu, *given))
    with pytest.raises(KeyboardInterrupt):
        ns.train_gd(*given, watch=Interrupt(2), checkpoint=tmp_path / "run", **how)
    with monkeypatch.context() as patch:
        patch.setattr(steps, "wrong", stopped)
        with pytest.raises(KeyboardInterrupt):
            ns.train_gd(*given, watch=Interrupt(), checkpoint=tmp_path / "run", **how)
    last = Interrupt()
    found = ns.train_gd(*given, watch=last, checkpoint=tmp_path / "run", **how)
    assert last.calls == 3
    assert same_bits(found, whole)
    assert np.array_equal(found.watched["output"], whole.watched["output"])
    assert same_bits(ns.train_gd(*given, watch=Interrupt(), checkpoint=tmp_path / "run", **how), whole)


def test_a_run_of_the_cpu_goes_on_here(gpu, tmp_path):
    given, how = setting(37, 13, 6), {"eta": 0.5, "checkpoint": tmp_path / "run"}
    ns.train_gd(*given, **how, steps=[0, 7])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*goes on with")
        found = ns.train_gd(*on(gpu, *given), **how, steps=[0, 7, 30])
    agree(ns.train_gd(*given, eta=0.5, steps=[0, 7, 30]), found, gpu, 1e-11)


# ------------------------------------------------------------------------------------------------------- divergence
def diverged(given, how):
    """(what was said, the trajectory)."""
    with pytest.warns(RuntimeWarning, match="training diverged") as said:
        found = ns.train_gd(*given, **how)
    return str(said[0].message), found


@pytest.mark.covering(1)
@pytest.mark.parametrize("rates", [(0.0, 100.0), (20.0, 20.0)])
@pytest.mark.parametrize(
    "steps", [[60], range(61), *(pytest.param(k, marks=pytest.mark.slow) for k in ([0, 60], [3, 5, 60]))]
)
def test_divergence_is_found_at_the_same_step(rates, steps, gpu):
    """In the middle of what is taken in one go: the last finite network comes back."""
    given = setting(37, 5, 16, "relu", "f")
    how = {"eta1": rates[0], "eta2": rates[1], "steps": steps}
    (said, one), (there, other) = (diverged(arrays, how) for arrays in (given, on(gpu, *given)))
    assert there == said
    assert "at step 0" not in said
    for here, found in zip(contents(one), map(gpu.to_host, contents(other)), strict=True):
        assert np.array_equal(np.isfinite(here), np.isfinite(found))
        scale = np.nanmax(np.abs(here), initial=1.0)
        assert np.nanmax(np.abs(here / scale - found / scale), initial=0.0) < 1e-2
    assert np.isfinite(gpu.to_host(other.network(on(gpu, *given)[1]))).all()


@pytest.mark.parametrize("steps", [[9], [0, 9], [1, 9]])
def test_divergence_at_the_start_keeps_the_network(steps, gpu):
    net, X, y = setting(20, 3, 4, "relu", "f")
    given = ns.TwoLayer(net.W * np.float32(1e30), net.v * np.float32(1e30), "relu"), X, y
    said, found = diverged(on(gpu, *given), {"eta": 0.5, "steps": steps})
    assert said.endswith("at step 0; look at the activation and the weights")
    assert np.array_equal(gpu.to_host(found.network.W), given[0].W)
    assert np.isnan(gpu.to_host(found.train)).all()


def test_a_diverged_run_goes_on_to_the_same_end(gpu, tmp_path):
    given = on(gpu, *setting(37, 5, 16, "relu", "f"))
    how = {"eta1": 0.0, "eta2": 100.0, "steps": [0, 60]}
    whole = diverged(given, how)
    for _ in range(2):
        said, found = diverged(given, how | {"checkpoint": tmp_path / "run"})
        assert said == whole[0]
        assert (found.network.v == whole[1].network.v).all()


# ------------------------------------------------------------------------------------------ one network for each class
@pytest.mark.parametrize("rates", [(0.5, 0.2), (0.0, 1e10)])
def test_copies_of_a_network_take_their_steps_in_goes(rates, gpu, monkeypatch):
    """Each as it would alone; where one diverges, all stop at the step where it does on the CPU."""
    net, X, y = setting(11, 5, 16, "relu", "d")
    labels = np.stack([0.01 * y, y, np.zeros_like(y)], axis=1)
    how, there = {"eta1": rates[0], "eta2": rates[1], "steps": [0, 9, 45]}, on(gpu, net, X, labels)
    assert own_steps(gpu, there[0], there[1], there[2][:, 0].copy()) is not None
    monkeypatch.setattr(FusedDescent, "together", 7)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        here, found = (ns.train_gd(*given, **how) for given in ((net, X, labels), there))
    told = [str(one.message) for one in said if "diverged" in str(one.message)]
    assert told == 2 * told[:1]
    assert bool(told) == (rates[1] > 1)
    fused = gpu.to_host(found.train)
    assert np.array_equal(np.isfinite(here.train), np.isfinite(fused))
    assert np.nanmax(np.abs(here.train - fused)) <= 1e-10 * np.nanmax(np.abs(here.train))
    for mine, other in zip(here.network.weights, found.network.weights, strict=True):
        assert np.abs(mine - gpu.to_host(other)).max() <= 1e-9 * np.abs(mine).max()
