"""Real gradient descent against the plain loop, PyTorch, and the kernel it starts from."""

import os
import subprocess
import sys
import time
from functools import partial

import numpy as np
import pytest

import naive
import ntkspec as ns
from conftest import Interrupt, full_disk
from ntkspec import storage
from ntkspec.dynamics.batches import Batches
from ntkspec.engines import cpu
from ntkspec.training import checkpoints

STEPS = [0, 1, 2, 5, 12]


def setting(n, d, m, name="erf", symmetric=False, dtype=np.float64):
    rng = np.random.default_rng([n, d, m])
    X, y = rng.standard_normal((n, d)).astype(dtype), rng.uniform(-1, 1, n).astype(dtype)
    make = ns.TwoLayer.symmetric if symmetric else ns.TwoLayer.random
    return make(d, m, name, second="normal", dtype=dtype), X, y


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 4, 3), (9, 1, 2), (11, 3, 6)])
@pytest.mark.parametrize("name", ["erf", "relu", "silu"])
@pytest.mark.parametrize("rates", [(0.4, 0.0), (0.0, 0.3), (0.4, 0.1)])
def test_training_agrees_with_the_plain_loop(shape, name, rates):
    net, X, y = setting(*shape, name=name)
    before = net.W.copy(), net.v.copy()
    act = (net.activation, net.activation.derivative)
    outputs, W, v = naive.network_descent(net.W, net.v, act, (X, y), rates, STEPS)
    found = ns.train_gd(net, X, y, eta1=rates[0], eta2=rates[1], steps=STEPS, X_test=X[::-1])
    assert found.train == pytest.approx(outputs, abs=1e-10)
    assert found.test == pytest.approx(outputs[:, ::-1], abs=1e-10)
    assert np.abs(found.network.W - W).max() <= 1e-10
    assert np.abs(found.network.v - v).max() <= 1e-10
    assert np.array_equal(net.W, before[0])
    assert np.array_equal(net.v, before[1])


def test_layers_that_are_not_trained_do_not_move():
    net, X, y = setting(10, 3, 4)
    assert np.array_equal(ns.train_gd(net, X, y, eta1=0, eta2=1, steps=[5]).network.W, net.W)
    assert np.array_equal(ns.train_gd(net, X, y, eta1=1, eta2=0, steps=[5]).network.v, net.v)


def test_many_blocks_of_rows_agree_with_pytorch():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed; the plain loop above needs no PyTorch")
    net, X, y = setting(5000, 4, 200, "gelu")
    W, v = (torch.tensor(array, requires_grad=True) for array in (net.W, net.v))
    for _ in range(3):
        outputs = torch.nn.functional.gelu(torch.tensor(X) @ W.T / 2) @ v / 200**0.5
        (((outputs - torch.tensor(y)) ** 2).sum() / 10000).backward()
        with torch.no_grad():
            for parameter, rate in ((W, 0.7), (v, 0.2)):
                parameter -= rate * parameter.grad
                parameter.grad = None
    found = ns.train_gd(net, X, y, eta1=0.7, eta2=0.2, steps=[3])
    assert np.abs(found.network.W - W.detach().numpy()).max() <= 1e-10
    assert np.abs(found.network.v - v.detach().numpy()).max() <= 1e-10


@pytest.mark.parametrize("rates", [(1.0, 0.0), (0.0, 1.0), (1.0, 1.0), (1.0, 0.3)])
def test_one_step_from_equation_3_is_the_kernel_step_up_to_eta_cubed(rates):
    """The second-order terms of paired neurons cancel; without pairs the error is of second order."""
    net, X, y = setting(30, 4, 10, "tanh", symmetric=True)
    theta1, theta2 = (ns.ntk(net, X, layer=layer) for layer in ("first", "second"))

    def error(net, eta):
        eta1, eta2 = eta * rates[0], eta * rates[1]
        step = (eta1 * theta1 + eta2 * theta2) @ y / 30
        found = ns.train_gd(net, X, y, eta1=eta1, eta2=eta2, steps=[1]).train[0]
        return np.abs(found - step).max()

    etas = np.array([0.4, 0.2, 0.1, 0.05])
    errors = np.array([error(net, eta) for eta in etas])
    if rates[0] == 0:
        assert errors.max() < 1e-14
        return
    slopes = np.diff(np.log(errors)) / np.diff(np.log(etas))
    assert (slopes > 2.8).all()
    assert (slopes < 3.3).all()


def test_a_wide_network_follows_its_kernel():
    """The distance from the frozen kernel's prediction falls like 1/sqrt m or faster."""
    distances = []
    for m in (64, 1024, 16384):
        net = ns.TwoLayer.symmetric(5, m, "erf", seed=3)
        _, X, y = setting(40, 5, 2)
        found = ns.train_gd(net, X, y, eta1=1.0, eta2=1.0, steps=[100])
        predicted = ns.predict_gd(ns.ntk(net, X), y, eta=1.0, steps=[100])
        distances.append(float(np.linalg.norm(found.train - predicted.train)))
    assert distances[1] < distances[0] / 2.5
    assert distances[2] < distances[1] / 2.5


def test_steps_may_come_in_any_order_and_repeat():
    net, X, y = setting(20, 3, 4)
    found = ns.train_gd(net, X, y, eta1=1, eta2=1, steps=[7, 0, 7, 3], X_test=X[:2])
    sorted_ = ns.train_gd(net, X, y, eta1=1, eta2=1, steps=[0, 3, 7], X_test=X[:2])
    assert np.array_equal(found.train, sorted_.train[[2, 0, 2, 1]])
    assert np.array_equal(found.test, sorted_.test[[2, 0, 2, 1]])


def test_float32_is_kept_and_agrees_with_float64():
    net, X, y = setting(3000, 5, 32, symmetric=True, dtype=np.float32)
    found = ns.train_gd(net, X, y, eta1=1, eta2=1, steps=STEPS)
    double = ns.TwoLayer(net.W.astype(float), net.v.astype(float), "erf")
    exact = ns.train_gd(double, X.astype(float), y.astype(float), eta1=1, eta2=1, steps=STEPS)
    assert found.train.dtype == found.network.W.dtype == np.float32
    assert np.abs(found.train - exact.train).max() < 1e-5


def test_divergence_stops_with_a_warning_and_nan_records():
    net, X, y = setting(20, 3, 4, "relu")
    with pytest.warns(RuntimeWarning, match="training diverged: outputs are no longer finite at step"):
        found = ns.train_gd(net, X, y, eta1=1e6, eta2=1e6, steps=[0, 1, 500], X_test=X[:3])
    assert np.isfinite(found.train[:2]).all()
    assert np.isnan(found.train[2]).all()
    assert np.isnan(found.test[2]).all()


def test_bad_input_is_refused():
    net, X, y = setting(10, 3, 4)
    with pytest.raises(TypeError, match="training of a str is not available; pass TwoLayer"):
        ns.train_gd("net", X, y, eta1=1, eta2=1, steps=[1])
    with pytest.raises(ValueError, match="X_test has 2 columns, but 3 are needed to fit the network"):
        ns.train_gd(net, X, y, eta1=1, eta2=1, steps=[1], X_test=X[:, :2])
    with pytest.raises(ValueError, match="eta2=-1"):
        ns.train_gd(net, X, y, eta1=1, eta2=-1, steps=[1])
    with pytest.raises(ValueError, match=r"y has shape \(9,\)"):
        ns.train_gd(net, X, y[:9], eta1=1, eta2=1, steps=[1])


# ------------------------------------------------------------------------------------------- output at initialization
@pytest.mark.parametrize("rates", [(0.4, 0.0), (0.0, 0.3), (0.4, 0.1)])
def test_subtracting_the_start_is_training_on_shifted_labels(rates):
    net, X, y = setting(11, 3, 6)
    start = net(X)
    found = ns.train_gd(net, X, y, eta1=rates[0], eta2=rates[1], steps=STEPS, X_test=X[:4], subtract_start=True)
    act = (net.activation, net.activation.derivative)
    outputs, W, _ = naive.network_descent(net.W, net.v, act, (X, y + start), rates, STEPS)
    assert found.train == pytest.approx(outputs - start, abs=1e-10)
    assert found.test == pytest.approx((outputs - start)[:, :4], abs=1e-10)
    assert not found.train[0].any()
    assert np.abs(found.network.W - W).max() <= 1e-10


def test_a_wide_network_without_pairs_follows_its_kernel_from_its_start():
    """Outputs start at f_0, or at zero where f_0 is subtracted: the kernel's prediction from the same start holds."""
    net = ns.TwoLayer.random(5, 16384, "erf", seed=3)
    _, X, y = setting(40, 5, 2)
    kernel, kernel_test = ns.ntk(net, X), ns.ntk(net, X[:3] + 0.5, X)
    how = {"eta1": 1.0, "eta2": 1.0, "steps": [0, 3, 30], "X_test": X[:3] + 0.5}
    start = net(X), net(X[:3] + 0.5)
    trained = ns.train_gd(net, X, y, **how)
    predicted = ns.predict_gd(kernel, y, eta=1.0, steps=[0, 3, 30], kernel_test=kernel_test, start=start)
    assert np.abs(start[0]).max() > 0.3
    assert trained.train == pytest.approx(predicted.train, abs=0.02)
    assert trained.test == pytest.approx(predicted.test, abs=0.02)
    trained = ns.train_gd(net, X, y, subtract_start=True, **how)
    predicted = ns.predict_gd(kernel, y, eta=1.0, steps=[0, 3, 30], kernel_test=kernel_test)
    assert trained.train == pytest.approx(predicted.train, abs=0.02)
    assert trained.test == pytest.approx(predicted.test, abs=0.02)


# ---------------------------------------------------------------------------------------------------- what is watched
def test_movement_and_drift_agree_with_their_definitions():
    net, X, y = setting(30, 4, 10, symmetric=True)
    found = ns.train_gd(
        net, X, y, eta1=1.0, eta2=0.5, steps=[20, 0, 5], watch=[ns.weight_movement, ns.kernel_drift], X_test=X[:2]
    )
    now, watched = found.network, found.watched
    last = ns.train_gd(net, X, y, eta1=1.0, eta2=0.5, steps=[20]).network
    assert np.array_equal(now.W, last.W)
    moved = last.W - net.W
    assert watched["weight movement"][0] == pytest.approx(np.linalg.norm(moved, 2), rel=1e-9)
    assert watched["largest row movement"][0] == pytest.approx(np.sqrt((moved**2).sum(axis=1)).max(), rel=1e-9)
    assert watched["second layer movement"][0] == pytest.approx(np.linalg.norm(last.v - net.v), rel=1e-9)
    drift = np.linalg.norm(ns.ntk(last, X).to_dense() - ns.ntk(net, X).to_dense(), 2)
    assert watched["kernel drift lower"][0] <= drift * (1 + 1e-9)
    assert drift <= watched["kernel drift upper"][0] * (1 + 1e-9)
    for values in watched.values():
        assert values.shape == (3,)
        assert values[1] <= 1e-11  # the interval of a difference of equal kernels is their rounding
        assert values[2] > 0 or np.isclose(values[2], 0)


def test_wide_rectangles_move_too():
    net, X, y = setting(12, 30, 4)
    found = ns.train_gd(net, X, y, eta1=1.0, eta2=0.0, steps=[9], watch=[ns.weight_movement])
    assert found.watched["weight movement"][0] == pytest.approx(np.linalg.norm(found.network.W - net.W, 2), rel=1e-9)
    assert found.watched["second layer movement"][0] == 0


def test_a_drifting_kernel_stays_within_the_trajectory_bound():
    """What the frozen kernel's prediction misses, against the bound that the largest drift on the way gives."""
    net, X, y = setting(40, 5, 64, symmetric=True)
    steps = list(range(0, 60))
    found = ns.train_gd(
        net, X, y, eta1=0.5, eta2=0.0, steps=steps, watch=[lambda *a: ns.kernel_drift(*a, layer="first")]
    )
    frozen = ns.predict_gd(ns.ntk(net, X, layer="first"), y, eta=0.5, steps=steps)
    distance = np.sqrt(np.mean((found.train[-1] - frozen.train[-1]) ** 2))
    rms = float(np.sqrt(np.mean(y**2)))
    bound = ns.bounds.trajectory_bound(found.watched["kernel drift upper"].max(), rms, 0.5, 59, 40)
    assert 0 < distance <= bound


# --------------------------------------------------------------------------------------------------------- checkpoints
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("subtract", [False, True])
def test_an_interrupted_run_ends_with_the_same_bits(dtype, subtract, tmp_path):
    net, X, y = setting(700, 5, 32, dtype=dtype)
    how = {"eta1": 1.0, "eta2": 0.5, "steps": [0, 1, 4, 9, 12], "X_test": X[:9], "subtract_start": subtract}
    whole = ns.train_gd(net, X, y, watch=[Interrupt(0)], **how)
    for call in (3, 2, 0):
        if call:
            with pytest.raises(KeyboardInterrupt):
                ns.train_gd(net, X, y, watch=[Interrupt(call)], checkpoint=tmp_path / "run.h5", **how)
        else:
            last = Interrupt(0)
            found = ns.train_gd(net, X, y, watch=[last], checkpoint=tmp_path / "run.h5", **how)
    assert last.calls <= 3
    for one, other in (
        (found, whole),
        (ns.train_gd(net, X, y, watch=[Interrupt(0)], checkpoint=tmp_path / "run.h5", **how), whole),
    ):
        assert np.array_equal(one.train, other.train)
        assert np.array_equal(one.test, other.test)
        assert np.array_equal(one.network.W, other.network.W)
        assert np.array_equal(one.network.v, other.network.v)
        assert np.array_equal(one.watched["output"], other.watched["output"])


KILLED = """
import numpy as np, ntkspec as ns
from ntkspec.training import checkpoints
from ntkspec.dynamics.batches import Batches
checkpoints.SECONDS = 0
X = np.random.default_rng(0).standard_normal((500, 4))
net = ns.TwoLayer.symmetric(4, 16, "erf")
ns.train_gd(net, X, np.sign(X[:, 0]), eta1=1.0, eta2=1.0, steps=[0, 5, 4000], checkpoint={path!r})
"""


def test_a_killed_run_goes_on_from_its_last_checkpoint(tmp_path):
    """kill -9 in the middle, with a checkpoint after each step: the same bits, and not from the start."""
    path = tmp_path / "run.h5"
    # The same number of threads here and there, since that decides the bits.
    environment = os.environ | {"OMP_NUM_THREADS": str(cpu.workers())}
    process = subprocess.Popen([sys.executable, "-c", KILLED.format(path=str(path))], env=environment)
    deadline = time.monotonic() + 60
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.3)
    process.kill()
    process.wait()
    assert 0 < storage.read(path, kind=checkpoints.KIND)["step"] < 4000
    X = np.random.default_rng(0).standard_normal((500, 4))
    how = {"eta1": 1.0, "eta2": 1.0, "steps": [0, 5, 4000]}
    found, whole = (
        ns.train_gd(ns.TwoLayer.symmetric(4, 16, "erf"), X, np.sign(X[:, 0]), checkpoint=where, **how)
        for where in (path, None)
    )
    assert np.array_equal(found.train, whole.train)
    assert np.array_equal(found.network.W, whole.network.W)


def test_checkpoints_of_other_runs_are_refused(tmp_path):
    net, X, y = setting(20, 3, 4)
    path = tmp_path / "run.h5"
    ns.train_gd(net, X, y, eta1=1, eta2=1, steps=[0, 3], checkpoint=path)
    others = ({"eta1": 2}, {"X_test": X[:2]}, {"subtract_start": True}, {"batch": 7})
    for other in (*others, {"watch": [ns.weight_movement]}):
        with pytest.raises(ValueError, match="checkpoint of another run"):
            ns.train_gd(net, X, y, **({"eta1": 1, "eta2": 1, "steps": [0, 3], "checkpoint": path} | other))
    with pytest.raises(ValueError, match="checkpoint of another run"):
        ns.train_gd(net, X, -y, eta1=1, eta2=1, steps=[0, 3], checkpoint=path)
    with pytest.raises(ValueError, match="checkpoint of another run"):
        ns.train_gd(net, X + 1, y, eta1=1, eta2=1, steps=[0, 3], checkpoint=path)
    with pytest.raises(ValueError, match="checkpoint of another run"):
        ns.train_gd(ns.TwoLayer(net.W, -net.v, "erf"), X, y, eta1=1, eta2=1, steps=[0, 3], checkpoint=path)
    with pytest.raises(ValueError, match="checkpoint of another run"):
        ns.train_gd(ns.TwoLayer(net.W, net.v, "tanh"), X, y, eta1=1, eta2=1, steps=[0, 3], checkpoint=path)
    with pytest.raises(FileNotFoundError, match="make it first"):
        ns.train_gd(net, X, y, eta1=1, eta2=1, steps=[0, 3], checkpoint=tmp_path / "nowhere" / "run.h5")


def test_other_threads_are_told(tmp_path, monkeypatch):
    net, X, y = setting(20, 3, 4)
    path = tmp_path / "run.h5"
    ns.train_gd(net, X, y, eta1=1, eta2=1, steps=[0, 3], checkpoint=path)
    monkeypatch.setattr(cpu, "workers", lambda: 17)
    with pytest.warns(RuntimeWarning, match="goes on with 17"):
        ns.train_gd(net, X, y, eta1=1, eta2=1, steps=[0, 3], checkpoint=path)


def test_a_checkpoint_goes_on_to_further_steps(tmp_path):
    net, X, y = setting(20, 3, 4)
    how = {"eta": 0.5, "X_test": X[:3], "watch": [ns.weight_movement]}
    path = tmp_path / "run.h5"
    ns.train_gd(net, X, y, steps=[0, 3, 8], checkpoint=path, **how)
    found = ns.train_gd(net, X, y, steps=[3, 8, 12, 20], checkpoint=path, **how)
    whole = ns.train_gd(net, X, y, steps=[3, 8, 12, 20], **how)
    assert np.array_equal(found.train, whole.train)
    assert np.array_equal(found.test, whole.test)
    assert np.array_equal(found.network.W, whole.network.W)
    assert np.array_equal(found.watched["weight movement"], whole.watched["weight movement"])
    with pytest.raises(ValueError, match=r"come to step 20 and did not record the steps \[5\]"):
        ns.train_gd(net, X, y, steps=[5, 30], checkpoint=path, **how)


def test_checkpoints_of_other_functions_folders_and_damaged_ones_are_refused(tmp_path):
    _, X, y = setting(20, 3, 4)
    phis = [(np.tanh, lambda z: 1 - np.tanh(z) ** 2), (np.arctan, lambda z: 1 / (1 + z * z))]
    nets = [ns.TwoLayer.random(3, 4, ns.Activation(*phi, name="mine"), seed=1) for phi in phis]
    path = tmp_path / "run.h5"
    ns.train_gd(nets[0], X, y, eta=1, steps=[0, 3], checkpoint=path)
    with pytest.raises(ValueError, match="another run"):
        ns.train_gd(nets[1], X, y, eta=1, steps=[0, 3], checkpoint=path)
    with pytest.raises(ValueError, match="is a folder"):
        ns.train_gd(nets[0], X, y, eta=1, steps=[0, 3], checkpoint=tmp_path)
    trained = ns.train_gd(nets[0], X, y, eta=1, steps=[0, 3]).train[1]
    content = bytearray(path.read_bytes())
    content[content.index(trained.tobytes()[:8]) + 3] ^= 255
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"run.h5 is damaged: its content does not match its checksum"):
        ns.train_gd(nets[0], X, y, eta=1, steps=[0, 3], checkpoint=path)


def _same(one, other) -> bool:
    return np.array_equal(one.train, other.train) and np.array_equal(one.network.W, other.network.W)


def test_a_checkpoint_on_a_full_disk_costs_no_trajectory(tmp_path, monkeypatch):
    """Neither the writes on the way nor the last one; Ctrl-C stays Ctrl-C."""
    net, X, y = setting(20, 3, 4)
    monkeypatch.setattr(checkpoints, "SECONDS", 0)
    how = {"eta": 1, "steps": [0, 3, 9], "checkpoint": tmp_path / "run.h5"}
    said = r"run.h5 could not be written \(No space left on device\): the work goes on"
    with full_disk(), pytest.warns(RuntimeWarning, match=said) as warned:
        found = ns.train_gd(net, X, y, **how)
    assert len(warned) == 1
    with full_disk(), pytest.warns(RuntimeWarning, match=said), pytest.raises(KeyboardInterrupt):
        ns.train_gd(net, X, y, watch=Interrupt(2), **how)
    assert list(tmp_path.iterdir()) == []
    assert _same(found, ns.train_gd(net, X, y, **how))


def test_two_runs_into_one_checkpoint_are_refused(tmp_path):
    net, X, y = setting(20, 3, 4)
    how = {"eta": 1, "steps": [0, 3], "checkpoint": tmp_path / "run.h5"}

    def second(*now):
        with pytest.raises(ValueError, match=r"run.h5 is in use by another process"):
            ns.train_gd(net, X, y, **how)
        return {}

    whole = ns.train_gd(net, X, y, watch=second, **how)
    assert list(tmp_path.iterdir()) == [tmp_path / "run.h5"]
    assert _same(whole, ns.train_gd(net, X, y, watch=second, **how))


@pytest.mark.parametrize(
    "change",
    [
        lambda tree: tree.update(step=-1),
        lambda tree: tree.update(step=1.0),
        lambda tree: tree.update(weights=[W[:-1] for W in tree["weights"]]),
        lambda tree: tree.update(weights=[W.astype(np.float32) for W in tree["weights"]]),
        lambda tree: tree.update(weights=[3.0]),
        lambda tree: tree.update(weights=None),
        lambda tree: tree.pop("workers"),
        lambda tree: tree["records"].pop("steps"),
        lambda tree: tree["records"].update(train=tree["records"]["train"][:, :-1]),
        lambda tree: tree["records"].update(steps=tree["records"]["steps"] + 0.5),
        lambda tree: tree["records"].update(watched={"output": np.zeros(7)}),
        lambda tree: tree.update(records=[]),
    ],
)
def test_checkpoints_with_other_content_are_one_line(tmp_path, change):
    """A seal is no signature: another program may have written it."""
    net, X, y = setting(20, 3, 4)
    how = {"eta": 1, "steps": [0, 3], "checkpoint": tmp_path / "run.h5"}
    ns.train_gd(net, X, y, **how)
    tree = storage.read(tmp_path / "run.h5", kind=checkpoints.KIND)
    change(tree)
    storage.write(tmp_path / "run.h5", tree, kind=checkpoints.KIND)
    with pytest.raises(ValueError, match=r"run.h5 is damaged: [^\n]+$"):
        ns.train_gd(net, X, y, **how)


def test_functions_that_overwrite_their_argument_train_right():
    net, X, y = setting(20, 3, 4)
    inside = ns.Activation(lambda z: np.tanh(z, out=z), lambda z: 1 - np.tanh(z) ** 2)
    mine = ns.train_gd(ns.TwoLayer(net.W, net.v, inside), X, y, eta=0.5, steps=[20])
    named = ns.train_gd(ns.TwoLayer(net.W, net.v, "tanh"), X, y, eta=0.5, steps=[20])
    assert mine.train == pytest.approx(named.train, abs=1e-12)


def test_watch_functions_are_checked_and_cannot_change_training():
    net, X, y = setting(20, 3, 4)

    def meddling(initial, now, points):
        now.W[...] = 0
        return {"nothing": 0.0}

    plain = ns.train_gd(net, X, y, eta=0.5, steps=[0, 5])
    watched = ns.train_gd(net, X, y, eta=0.5, steps=[0, 5], watch=meddling)
    assert np.array_equal(watched.train, plain.train)
    with pytest.raises(TypeError, match="watch holds a str"):
        ns.train_gd(net, X, y, eta=0.5, steps=[5], watch=["drift"])
    for wrong in (lambda *a: 3.0, lambda *a: {"W": a[1].W}):
        with pytest.raises(TypeError, match="number} is needed"):
            ns.train_gd(net, X, y, eta=0.5, steps=[0], watch=[wrong])
    with pytest.raises(ValueError, match="two watch functions"):
        ns.train_gd(net, X, y, eta=0.5, steps=[0], watch=[meddling, meddling])


def test_checkpoints_are_written_once_a_minute(tmp_path, monkeypatch):
    net, X, y = setting(20, 3, 4)
    clock, written = iter(range(0, 100_000, 25)), []
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(checkpoints.storage.Keeper, "write", lambda self, tree: written.append(tree["step"]))
    ns.train_gd(net, X, y, eta=1, steps=[0, 12], checkpoint=tmp_path / "run.h5")
    assert written[-1] == 12
    assert 3 <= len(written) <= 6
    assert written == sorted(written)


def test_a_checkpoint_before_a_divergence_keeps_the_last_finite_network(tmp_path):
    """Killed after a step whose outputs were not looked at yet: going on ends like the undisturbed run."""
    net, X, y = setting(20, 3, 4, "relu")
    how = {"eta": 40.0, "steps": [0, 400]}
    with pytest.warns(RuntimeWarning, match="training diverged"):
        whole = ns.train_gd(net, X, y, **how)
    with pytest.warns(RuntimeWarning, match="training diverged"):
        ns.train_gd(net, X, y, checkpoint=tmp_path / "run.h5", **how)
    with pytest.warns(RuntimeWarning, match="training diverged"):
        again = ns.train_gd(net, X, y, checkpoint=tmp_path / "run.h5", **how)
    assert np.array_equal(again.network.W, whole.network.W)
    assert not np.array_equal(again.network.W, net.W)


def test_a_diverged_run_says_so_again(tmp_path):
    net, X, y = setting(20, 3, 4, "relu")
    for _ in range(2):
        with pytest.warns(RuntimeWarning, match="training diverged"):
            found = ns.train_gd(net, X, y, eta1=1e6, eta2=1e6, steps=[0, 1, 500], checkpoint=tmp_path / "run.h5")
        assert np.isfinite(found.train[:2]).all()
        assert np.isnan(found.train[2]).all()
        assert np.isfinite(found.network(X)).all()


# ---------------------------------------------------------------------------------------------------- rates and batches
def test_eta_is_the_rate_of_both_layers():
    net, X, y = setting(11, 3, 6)
    one, two = (ns.train_gd(net, X, y, steps=[4], **rates) for rates in ({"eta": 0.3}, {"eta1": 0.3, "eta2": 0.3}))
    assert np.array_equal(one.network.W, two.network.W)
    for wrong in ({}, {"eta1": 1}, {"eta": 1, "eta1": 1}):
        with pytest.raises(ValueError, match="pass"):
            ns.train_gd(net, X, y, steps=[4], **wrong)


@pytest.mark.parametrize("size", [1, 4, 7, 11])
def test_batches_are_steps_on_the_points_they_hold(size):
    """Each epoch holds every point once; a step is the full-batch step on its points."""
    net, X, y = setting(11, 3, 6)
    order = Batches(11, size, 5)
    per_epoch = -(-11 // size)
    first = np.concatenate([order.rows(k) for k in range(per_epoch)])
    assert sorted(first) == list(range(11))
    if size < 11:
        assert not np.array_equal(first, np.concatenate([order.rows(per_epoch + k) for k in range(per_epoch)]))
    now, steps = net, 2 * per_epoch + 1
    for k in range(steps):
        rows = Batches(11, size, 5).rows(k)
        now = ns.train_gd(now, X[rows], y[rows], eta1=0.4, eta2=0.2, steps=[1]).network
    found = ns.train_gd(net, X, y, eta1=0.4, eta2=0.2, steps=[0, steps], batch=size, seed=5, X_test=X[:2])
    assert np.abs(found.network.W - now.W).max() < 1e-12
    assert found.train[1] == pytest.approx(now(X), abs=1e-12)
    assert found.test[1] == pytest.approx(now(X[:2]), abs=1e-12)


def test_interrupted_batches_go_on_with_the_same_ones(tmp_path):
    net, X, y = setting(30, 3, 6)
    how = {"eta": 0.5, "steps": [0, 3, 9], "batch": 7, "seed": 2}
    whole = ns.train_gd(net, X, y, **how)
    with pytest.raises(KeyboardInterrupt):
        ns.train_gd(net, X, y, watch=[Interrupt(2)], checkpoint=tmp_path / "run.h5", **how)
    found = ns.train_gd(net, X, y, watch=[Interrupt(0)], checkpoint=tmp_path / "run.h5", **how)
    assert np.array_equal(found.network.W, whole.network.W)
    assert np.array_equal(found.train, whole.train)
    with pytest.raises(ValueError, match="another run"):
        ns.train_gd(net, X, y, watch=[Interrupt(0)], checkpoint=tmp_path / "run.h5", **(how | {"seed": 3}))


# ------------------------------------------------------------------------------------------------------- deep networks
DEEP = {
    "dense": lambda **how: ns.FullyConnected.paired(6, [8, 6], "erf", **how),
    "single": lambda **how: ns.FullyConnected.random(6, [5, 4], "tanh", **how),
    "convolutional": lambda **how: ns.Convolutional.paired((3, 2), [4, 6], "erf", filter_size=2, **how),
}


@pytest.mark.parametrize("make", DEEP.values(), ids=DEEP)
@pytest.mark.parametrize("subtract", [False, True])
def test_deep_training_agrees_with_descent_on_the_vjp(make, subtract):
    """Step after step with the gradients of net.vjp, which are compared with autograd elsewhere."""
    rng, net = np.random.default_rng(0), make(seed=1)
    X, y = rng.standard_normal((15, 6)), rng.uniform(-1, 1, 15)
    start = net(X) if subtract else 0.0
    now, outputs = net, []
    for step in range(13):
        outputs.append(now(X) - start)
        if step < 12:
            gradients = now.vjp(X, (outputs[-1] - y) / 15)
            now = now.with_parameters([W - 0.5 * g for W, g in zip(now.parameters, gradients, strict=True)])
    found = ns.train_gd(net, X, y, eta=0.5, steps=[0, 1, 12], X_test=X[:3], subtract_start=subtract)
    assert found.train == pytest.approx(np.array(outputs)[[0, 1, 12]], abs=1e-11)
    assert found.test == pytest.approx(np.array(outputs)[[0, 1, 12], :3], abs=1e-11)
    for mine, other in zip(found.network.parameters, now.parameters, strict=True):
        assert mine == pytest.approx(other, abs=1e-11)


@pytest.mark.parametrize("make", [DEEP["dense"], DEEP["convolutional"]], ids=["dense", "convolutional"])
def test_one_deep_step_is_the_kernel_step_up_to_third_order(make):
    rng, net = np.random.default_rng(0), make(seed=1)
    X, y = rng.standard_normal((15, 6)), rng.uniform(-1, 1, 15)
    theta, etas = ns.ntk(net, X), np.array([0.4, 0.2, 0.1, 0.05])
    errors = [
        np.abs(ns.train_gd(net, X, y, eta=eta, steps=[1]).train[0] - eta / 15 * (theta @ y)).max() for eta in etas
    ]
    slopes = np.diff(np.log(errors)) / np.diff(np.log(etas))
    assert ((slopes > 2.8) & (slopes < 3.3)).all()


@pytest.mark.parametrize("make", DEEP.values(), ids=DEEP)
def test_deep_runs_are_watched_resumed_and_stopped(make, tmp_path):
    rng, net = np.random.default_rng(0), make(seed=1)
    X, y = rng.standard_normal((15, 6)), rng.uniform(-1, 1, 15)
    how = {"eta": 0.5, "steps": [0, 2, 6], "watch": [ns.weight_movement, ns.kernel_drift]}
    found = ns.train_gd(net, X, y, **how)
    moved = found.network.parameters[0] - net.parameters[0]
    assert found.watched["weight movement 0"][2] == pytest.approx(np.linalg.norm(moved, 2), rel=1e-9)
    drift = np.linalg.norm(ns.ntk(found.network, X).to_dense() - ns.ntk(net, X).to_dense(), 2)
    assert found.watched["kernel drift"][2] == pytest.approx(drift, rel=1e-3)
    how["watch"] = []
    with pytest.raises(KeyboardInterrupt):
        ns.train_gd(net, X, y, **(how | {"watch": [Interrupt(2)]}), checkpoint=tmp_path / "run.h5")
    again = ns.train_gd(net, X, y, **(how | {"watch": [Interrupt(0)]}), checkpoint=tmp_path / "run.h5")
    assert all(np.array_equal(*pair) for pair in zip(again.network.parameters, found.network.parameters, strict=True))
    with pytest.warns(RuntimeWarning, match="training diverged"):
        ns.train_gd(net, 1e3 * X, y, eta=1e300, steps=[50])
    with pytest.raises(ValueError, match="trains with one rate"):
        ns.train_gd(net, X, y, eta1=1, eta2=2, steps=[1])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda net, now, X: {"x": 1.0}, lambda net, now, X: {"x": 2.0}),
        (partial(ns.kernel_drift, layer="first"), partial(ns.kernel_drift, layer="second")),
    ],
)
def test_a_checkpoint_of_another_watched_function_is_refused(tmp_path, one, other):
    net, X = ns.TwoLayer.symmetric(4, 6, "erf", seed=0), np.eye(5, 4)
    setting = {"eta": 0.1, "steps": [0, 3], "checkpoint": tmp_path / "a.h5"}
    first = ns.train_gd(net, X, np.ones(5), watch=one, **setting)
    again = ns.train_gd(net, X, np.ones(5), watch=one, **setting)
    assert all((again.watched[name] == first.watched[name]).all() for name in first.watched)
    with pytest.raises(ValueError, match="the checkpoint of another run"):
        ns.train_gd(net, X, np.ones(5), watch=other, **setting)


def test_a_checkpoint_of_other_filters_with_the_same_weights_is_refused(tmp_path):
    X, setting = np.eye(5, 36), {"eta": 0.1, "steps": [0, 2], "checkpoint": tmp_path / "a.h5"}
    net = ns.Convolutional.random((6, 6, 1), 2, "erf", filter_size=(2, 3))
    ns.train_gd(net, X, np.ones(5), **setting)
    turned = ns.Convolutional(net.parameters, (6, 6, 1), "erf", filter_size=(3, 2))
    with pytest.raises(ValueError, match="the checkpoint of another run"):
        ns.train_gd(turned, X, np.ones(5), **setting)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (ns.TwoLayer.symmetric(4, 8, "erf"), ns.TwoLayer.symmetric(4, 10, "erf")),
        (ns.FullyConnected.random(4, [8], "erf"), ns.FullyConnected.random(4, [8, 8], "erf")),
        (ns.FullyConnected.random(4, [8], "erf"), ns.FullyConnected.random(4, [9], "erf")),
    ],
)
def test_the_movement_of_one_network_to_another_is_refused(one, other):
    with pytest.raises(ValueError, match="came, but one network, twice, is needed"):
        ns.weight_movement(one, other)
