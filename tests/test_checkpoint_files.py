"""Folders of checkpoints: of PyTorch, of arrays, and what is refused, each in one line that names the file."""

import copy

import numpy as np
import pytest

import ntkspec as ns

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

RNG = np.random.default_rng(3)
X, Y = RNG.standard_normal((30, 4)), np.eye(3)[RNG.integers(3, size=30)]


def make(width=10):
    layers = torch.nn.Linear(4, width), torch.nn.Tanh(), torch.nn.Linear(width, 3)
    return torch.nn.Sequential(*layers).double()


def module(seed):
    torch.manual_seed(seed)
    return make()


def matrices(found):
    """The full kernel of each checkpoint, by step."""
    return {step: ns.ntk(net, X, outputs="full").to_dense() for step, net in found}


SAVED = {
    "alone": lambda module: module.state_dict(),
    "in a dictionary": lambda module: {"model": module.state_dict(), "epoch": 3, "optimizer": {"lr": 0.1}},
    "wrapped": lambda module: {"module." + name: value for name, value in module.state_dict().items()},
    "compiled": lambda module: {
        "state_dict": {f"_orig_mod.{name}": value for name, value in module.state_dict().items()}
    },
}


@pytest.mark.parametrize("form", SAVED)
def test_files_of_pytorch_are_the_modules_that_were_saved(tmp_path, form):
    for step in (200, 20, 3):
        torch.save(SAVED[form](module(step)), tmp_path / f"run2-step{step}.pt")
    found = ns.checkpoints(make, tmp_path / "*.pt")
    assert found.steps == [3, 20, 200]
    assert len(found) == 3
    for step, K in matrices(found).items():
        assert np.array_equal(K, ns.ntk(ns.from_torch(module(step)), X, outputs="full").to_dense())
    assert ns.checkpoints(make, str(tmp_path)).files == found.files  # a folder
    assert ns.checkpoints(make, sorted(tmp_path.iterdir())).files == found.files  # names


def test_a_step_is_an_entry_where_the_name_has_no_number(tmp_path):
    torch.save({"model": module(0).state_dict(), "step": torch.tensor(7)}, tmp_path / "last.pt")
    torch.save({"model": module(0).state_dict(), "global_step": 5}, tmp_path / "best.pt")
    assert ns.checkpoints(make, tmp_path).steps == [5, 7]
    np.savez(tmp_path / "end.npz", step=9, **ns.from_torch(module(0)).parameters)
    assert ns.checkpoints(make, tmp_path / "*.npz").steps == [9]


def test_a_step_is_not_a_version_or_a_loss(tmp_path):
    names = {3: "run7_Step_3", 20: "epoch=1-step=20-v1", 300: "epoch=2-step=300-val_loss=0.12", 4000: "k2-4000-0.5"}
    for name in names.values():
        torch.save(module(0).state_dict(), tmp_path / f"{name}.ckpt")
    found = ns.checkpoints(make, tmp_path)
    assert {step: path.stem for step, path in found.files.items()} == names


def test_arrays_by_name_are_the_weights_of_any_network(tmp_path):
    np.savez(tmp_path / "4.npz", **ns.from_torch(module(4)).parameters)
    (found,) = matrices(ns.checkpoints(make, tmp_path)).values()
    assert np.array_equal(found, ns.ntk(ns.from_torch(module(4)), X, outputs="full").to_dense())
    net = ns.FullyConnected.paired(4, [6, 6], "erf", seed=1)
    np.savez(tmp_path / "built-in-1.npz", *net.weights)
    ((step, own),) = ns.checkpoints(lambda: ns.FullyConnected.paired(4, [6, 6], "erf"), tmp_path / "built*")
    assert step == 1
    assert np.array_equal(ns.ntk(own, X).to_dense(), ns.ntk(net, X).to_dense())


def test_a_jax_network_takes_arrays_by_the_names_of_its_tree(tmp_path):
    jnp = pytest.importorskip("jax.numpy", reason="JAX is not installed")

    def function(params, points):
        return jnp.tanh(points @ params["hidden"]) @ params["out"]

    def made():
        return function, {"hidden": np.zeros((4, 6)), "out": np.zeros((6, 3))}

    weights = {"hidden": RNG.standard_normal((4, 6)), "out": RNG.standard_normal((6, 3))}
    np.savez(tmp_path / "1.npz", **weights)
    ((_, net),) = ns.checkpoints(made, tmp_path)
    assert np.array_equal(net(X), ns.from_jax(function, weights)(X))


def test_buffers_come_with_the_parameters(tmp_path):
    def normalized():
        return (
            torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.BatchNorm1d(5), torch.nn.Linear(5, 3)).double().eval()
        )

    other = normalized()
    other[1].running_var.fill_(4.0)
    torch.save(other.state_dict(), tmp_path / "0.pt")
    ((_, net),) = ns.checkpoints(normalized, tmp_path)
    assert np.array_equal(net(X), ns.from_torch(other)(X))


@pytest.mark.parametrize("adapted", [False, True])
def test_a_module_that_make_returns_each_time_is_left_alone(tmp_path, adapted):
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 1)).double().eval()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    for step in range(3):
        state = {name: value + 0.1 * step if value.is_floating_point() else value for name, value in before.items()}
        torch.save(state, tmp_path / f"step-{step}.pt")
    X = np.random.default_rng(0).standard_normal((5, 3))
    given = ns.from_torch(module) if adapted else module
    shared = dict(ns.checkpoints(lambda: given, tmp_path))
    fresh = dict(ns.checkpoints(lambda: copy.deepcopy(module), tmp_path))
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    for step, net in fresh.items():
        np.testing.assert_array_equal(shared[step](X), net(X))
        np.testing.assert_array_equal(ns.ntk(shared[step], X).to_dense(), ns.ntk(net, X).to_dense())
    assert np.abs(shared[2](X) - shared[0](X)).max() > 1e-3


def test_a_series_of_several_outputs_is_that_of_the_full_kernel(tmp_path):
    for step in (0, 10, 20):
        torch.save(module(step).state_dict(), tmp_path / f"{step}.pt")
    found = ns.checkpoints(make, tmp_path)
    series = ns.track(found, X, Y, eta=0.1, quantities="all")
    assert series.layers == ["0", "2"]
    assert series.sources == [str(tmp_path / f"{step}.pt") for step in (0, 10, 20)]
    for k, (step, K) in enumerate(matrices(found).items()):
        residual = (Y - ns.from_torch(module(step))(X)).ravel()
        largest = np.linalg.eigvalsh(K)[-1]
        assert series["sharpness"][k] == pytest.approx(largest / len(X))
        assert series["loss"][k] == pytest.approx(residual @ residual / (2 * len(X)))
        assert series["residual_position"][k] == pytest.approx(
            residual @ K @ residual / (residual @ residual * largest)
        )
        assert series["effective_rank"][k] == pytest.approx(np.trace(K) / largest)
    mean = ns.track(found, X, Y, quantities="edge", outputs="mean")
    assert (mean["sharpness"] <= series["sharpness"]).all()


def test_a_loop_of_pytorch_is_recorded_at_the_moment(tmp_path):
    """The recorder sees the module as it is at each record, also where the loop was killed and goes on from its own
    checkpoint; the file is that of a run in one go."""
    path, state = tmp_path / "run.h5", tmp_path / "state.pt"

    def loop(tracker, net, steps):
        optimizer = torch.optim.SGD(net.module.parameters(), lr=0.1)
        for step in steps:
            if step % 2 == 0:
                tracker.record(step)
            torch.save(net.module.state_dict(), state)
            optimizer.zero_grad()
            ((net.module(torch.tensor(X)) - torch.tensor(Y)) ** 2).sum(1).mean().div(2).backward()
            optimizer.step()

    whole = ns.Tracker(net := ns.from_torch(module(1)), X, Y, eta=0.1, quantities=["from_start", "edge", "prediction"])
    loop(whole, net, range(8))
    with ns.Tracker(net := ns.from_torch(module(1)), X, Y, eta=0.1,
                    quantities=["from_start", "edge", "prediction"], path=path) as tracker:  # fmt: skip
        loop(tracker, net, range(4))
    again = make()
    again.load_state_dict(torch.load(state, weights_only=True))
    with ns.Tracker(net := ns.from_torch(again), X, Y, eta=0.1,
                    quantities=["from_start", "edge", "prediction"], path=path) as tracker:  # fmt: skip
        loop(tracker, net, range(3, 8))
    for name in whole.series:
        assert np.array_equal(whole.series[name], tracker.series[name], equal_nan=True), name
    assert tracker.series.steps.tolist() == [0, 2, 4, 6]
    assert (whole.series["prediction_error"][1:] < 1e-2).all()  # the rate is that of the package's loss


# ------------------------------------------------------------------------------------------------------ what is refused
class Evil:
    def __reduce__(self):
        return print, ("run",)


BAD = {
    "object-1.pt": (lambda path: torch.save({"model": Evil()}, path), "holds more than tensors and plain values"),
    "damaged-1.pt": (lambda path: path.write_bytes(b"nothing"), "is no file of torch.save, or damaged"),
    "empty-1.pt": (lambda path: path.write_bytes(b""), "is no file of torch.save, or damaged"),
    "tensor-1.pt": (lambda path: torch.save(torch.zeros(3), path), "holds a Tensor, but the parameters of a module"),
    "nan-1.pt": (
        lambda path: torch.save({name: np.nan * W for name, W in make().state_dict().items()}, path),
        "the module holds NaN or infinity in 0.weight",
    ),
    "numbered-1.pt": (
        lambda path: torch.save({1: torch.zeros(3)}, path),
        r"holds 1 entry \(1\), but parameters by name",
    ),
    "other-1.pt": (lambda path: torch.save({"lr": 0.1}, path), r"holds 1 entry \(lr\), but parameters by name"),
    "wide-1.pt": (lambda path: torch.save(make(7).state_dict(), path), "size mismatch for 0.weight"),
    "less-1.pt": (lambda path: torch.save({"0.weight": torch.zeros(10, 4)}, path), "it lacks 0.bias, 2.weight, 2.bias"),
    "more-1.pt": (
        lambda path: torch.save(module(0).state_dict() | {"5.bias": torch.zeros(1)}, path),
        "the network has no 5.bias",
    ),
    "diverged-1.pt": (
        lambda path: torch.save({name: np.nan * W for name, W in module(0).state_dict().items()}, path),
        "step 1 .*: the module holds NaN or infinity in 0.weight",
    ),
    "damaged-1.npz": (lambda path: path.write_bytes(b"PK\x03\x04nothing"), "is no file of arrays, or damaged"),
    "pickled-1.npz": (lambda path: np.savez(path, a=np.array([Evil()])), "is no file of arrays, or damaged"),
    "less-1.npz": (lambda path: np.savez(path, a=np.zeros(3)), "it lacks 0.weight, .*; the network has no a"),
    "words-1.npz": (lambda path: np.savez(path, a=np.array(["x"])), "dtype <U1, but numbers are needed"),
    "nan-1.npz": (
        lambda path: np.savez(path, **{name: np.nan * W for name, W in ns.from_torch(module(0)).parameters.items()}),
        "0.weight of .*nan-1.npz holds 40 entries",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_odd_files_are_one_line_that_names_them(tmp_path, name):
    write, said = BAD[name]
    write(tmp_path / name)
    with pytest.raises(ValueError, match=said) as caught:
        ns.track(ns.checkpoints(make, tmp_path), X, Y)
    assert str(tmp_path / name) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_checkpoint_is_told_before_any_is_read(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no checkpoints are found at .*\*\.pt; name a pattern"):
        ns.checkpoints(make, tmp_path / "*.pt")
    with pytest.raises(FileNotFoundError, match=r"missing-1\.pt does not exist"):
        ns.checkpoints(make, [tmp_path / "missing-1.pt"])
    with pytest.raises(TypeError, match="make is a str"):
        ns.checkpoints("make", tmp_path)
    with pytest.raises(TypeError, match="where is a int, but a pattern"):
        ns.checkpoints(make, 3)
    (tmp_path / "notes-1.txt").write_text("")
    with pytest.raises(ValueError, match=r"notes-1\.txt is no checkpoint: its ending"):
        ns.checkpoints(make, tmp_path / "*")
    torch.save(module(0).state_dict(), tmp_path / "a-1.pt")
    torch.save(module(0).state_dict(), tmp_path / "b-01.pt")
    with pytest.raises(ValueError, match=r"a-1.pt and .*b-01.pt are both of step 1"):
        ns.checkpoints(make, tmp_path)
    torch.save(module(0).state_dict(), tmp_path / "last.pt")
    with pytest.raises(ValueError, match=r"last\.pt has no step"):
        ns.checkpoints(make, tmp_path / "last.pt")
    with pytest.raises(ValueError, match="is a file of PyTorch, but what make returns is a TwoLayer"):
        list(ns.checkpoints(lambda: ns.TwoLayer.symmetric(4, 8, "erf"), tmp_path / "a-1.pt"))
    with pytest.raises(ValueError, match="what make returns is a int, but a PyTorch module"):
        list(ns.checkpoints(lambda: 3, tmp_path / "a-1.pt"))
