"""Series of checkpoints: kernels whose way is known, dense formulas, runs that are killed, and the verdict."""

import math
from dataclasses import replace

import numpy as np
import pytest

import ntkspec as ns
from ntkspec import storage
from ntkspec.dynamics import law_of
from ntkspec.experiments.tracking import measuring
from ntkspec.experiments.tracking.measuring import AHEAD
from ntkspec.experiments.tracking.recorder import KIND
from ntkspec.experiments.tracking.task import QUANTITIES, USUAL
from ntkspec.experiments.tracking.verdict import above_the_edge, at_the_edge, learns_features, leaves_lazy
from ntkspec.plotting.series import title
from ntkspec.reporting.series import series_report

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((40, 5)), RNG.standard_normal(40)
NET = ns.FullyConnected.random(5, [24, 24], "relu", seed=1)


def trained(net, steps, eta=0.3, *, X=X, Y=Y):
    """(step, network) pairs of gradient descent."""
    found = [(0, net)]
    for before, step in zip([0, *steps], steps, strict=False):
        found.append((step, ns.train_gd(found[-1][1], X, Y, eta=eta, steps=[step - before]).network))
    return found


# ----------------------------------------------------------------------------------------------- kernels that are known
def test_a_frozen_network_does_not_move():
    series = ns.track([(step, NET) for step in (0, 3, 7)], X, Y, eta=0.1, quantities="all")
    for name in ("distance_from_start", "movement", "largest_angle"):
        assert (series.lower(name) <= 1e-9).all(), name
        assert series[name] == pytest.approx(0, abs=1e-6)
    for name in ("alignment_with_start", "alignment_with_previous"):
        values = series[name][np.isfinite(series[name])]
        assert values == pytest.approx(1)
    for name in ("largest_eigenvalue", "loss", "residual_position", "effective_rank", "linear_gap"):
        assert np.ptp(series[name]) == 0
    assert series.verdict[1].startswith("Lazy at all checkpoints")


def test_weights_that_double_scale_a_homogeneous_network():
    """f(2w) = 2^L f(w) of L matrices and ReLU without biases; gradients 2^(L-1), the kernel 4^(L-1)."""
    L = len(NET.weights)
    series = ns.track([(0, NET), (1, NET.with_weights([2 * W for W in NET.weights]))], X, Y, quantities="all")
    assert series["largest_eigenvalue"][1] / series["largest_eigenvalue"][0] == pytest.approx(4 ** (L - 1))
    assert series["distance_from_start"][1] == pytest.approx(0, abs=1e-12)
    assert series["alignment_with_previous"][1] == pytest.approx(1)
    assert series["effective_rank"][1] == pytest.approx(series["effective_rank"][0])
    assert series["movement"][1] == 1
    assert series.arrays["layer_movements"][1] == pytest.approx(np.ones(L))
    shares = series.arrays["layer_shares"]
    assert shares[1] == pytest.approx(shares[0])
    traces = [float(ns.trace(ns.ntk(NET, X, layer=k))) for k in range(L)]
    assert shares[0] == pytest.approx(np.array(traces) / float(ns.trace(ns.ntk(NET, X))))
    assert "size does change" in " ".join(series.verdict)
    assert "prediction" not in series.task.quantities  # no rate is known


def test_a_network_that_dies_and_comes_back_is_tracked_through():
    """The kernel of zero weights is zero: it has no direction, and all else is a number."""
    dead = NET.with_weights([0 * W for W in NET.weights])
    series = ns.track([(0, NET), (1, dead), (2, NET)], X, Y, eta=0.1, quantities="all")
    for name in ("distance_from_start", "alignment_with_start"):
        assert np.isfinite(series[name]).tolist() == [True, False, True]
    assert np.isnan(series["distance_from_previous"]).all()
    assert series["largest_eigenvalue"][1] == 0
    assert series["loss"][1] == pytest.approx((Y**2).mean() / 2)
    assert "farther than" not in " ".join(series.verdict)


def cosine(K, L):
    return (K * L).sum() / (np.linalg.norm(K) * np.linalg.norm(L))


def test_every_quantity_is_that_of_dense_formulas():
    n, eta = 120, 0.3
    X, Y = RNG.standard_normal((n, 5)), RNG.standard_normal(n)
    nets = trained(NET, [4, 9], eta, X=X, Y=Y)
    series = ns.track(nets, X, Y, eta=eta, quantities="all", pairs=3)
    kernels = [ns.ntk(net, X).to_dense() for _, net in nets]
    outputs = [net(X) for _, net in nets]
    H = np.eye(n) - 1 / n
    for k, (K, f) in enumerate(zip(kernels, outputs, strict=True)):
        values, vectors = np.linalg.eigh(K)
        values, vectors = values[::-1], vectors[:, ::-1]
        residual = Y - f
        known = {
            "largest_eigenvalue": values[0],
            "sharpness": values[0] / n,
            "target_alignment": Y @ K @ Y / (np.linalg.norm(K) * (Y @ Y)),
            "label_energy": np.square(vectors[:, :3].T @ Y).sum() / (Y @ Y),
            "distance_from_start": 1 - cosine(K, kernels[0]),
            "alignment_with_start": cosine(H @ K @ H, H @ kernels[0] @ H),
            "loss": residual @ residual / (2 * n),
            "residual_position": residual @ K @ residual / (residual @ residual * values[0]),
            "effective_rank": np.trace(K) / values[0],
            "linear_gap": float(ns.nearest_linear_kernel(K, X).relative_gap),
        }
        if k:
            before, steps = kernels[k - 1], nets[k][0] - nets[k - 1][0]
            shrink = np.linalg.matrix_power(np.eye(n) - eta / n * before, steps)
            predicted = Y + shrink @ (outputs[k - 1] - Y)
            known |= {
                "distance_from_previous": 1 - cosine(K, before),
                "alignment_with_previous": cosine(H @ K @ H, H @ before @ H),
                "prediction_error": np.square(predicted - f).sum() / np.square(f - outputs[k - 1]).sum(),
            }
        step = nets[k][0]
        for name, value in known.items():
            found = series.at(name, step)
            assert float(found) == pytest.approx(value, rel=1e-6, abs=1e-12), name
            assert found.lower - 1e-12 <= value <= found.upper * (1 + 1e-9) + 1e-12 or name in measuring.PLAIN, name
        assert series.arrays["eigenvalues"][k] == pytest.approx(values[:3])
        ahead = [np.linalg.matrix_power(np.eye(n) - eta / n * K, t) @ residual for t in AHEAD]
        assert series.arrays["ahead_losses"][k] == pytest.approx([r @ r / (2 * n) for r in ahead], rel=1e-6)


def test_the_outputs_that_are_chosen_are_those_of_the_kernel():
    """A network of one output: its full kernel is its kernel, and y may be a column."""
    one = ns.track([(0, NET)], X, Y[:, None], quantities="edge")
    other = ns.track([(0, NET)], X, Y, quantities="edge", outputs="mean")
    assert one["sharpness"] == other["sharpness"]


def test_two_layers_have_two_shares():
    net = ns.TwoLayer.random(5, 30, "tanh", seed=2)
    series = ns.track([(0, net)], X, Y, quantities=["layers"])
    traces = [float(ns.trace(ns.ntk(net, X, layer=layer))) for layer in ("first", "second")]
    assert series.layers == ["first", "second"]
    assert series.arrays["layer_shares"][0] == pytest.approx(np.array(traces) / sum(traces))


# ----------------------------------------------------------------------------------------------------- what is computed
class Counting:
    """A network that counts how often its kernel is made."""

    def __init__(self, net):
        self.net, self.kernels = net, 0

    def __getattr__(self, name):
        return getattr(self.net, name)

    def as_points(self, points, name="X"):
        return self.net.as_points(points, name)

    def __call__(self, points):
        return self.net(points)

    def value_and_vjp(self, points, cotangent):
        return self.net.value_and_vjp(points, cotangent)

    def with_weights(self, weights):
        return self

    def kernel(self, points, points2=None, *, layer, outputs):
        self.kernels += 1
        return self.net.kernel(points, points2, layer=layer, outputs=outputs)


def test_only_what_is_asked_for_is_computed_and_the_kernel_once():
    net = Counting(NET)
    series = ns.track([(0, net)], X, Y, quantities=["movement"])
    assert net.kernels == 0
    assert [*series] == ["movement"]
    everything = [name for name in QUANTITIES if name not in ("layers", "prediction")]
    ns.track([(0, net)], X, Y, quantities=everything)
    assert net.kernels == 1


def test_quantities_are_checked_before_anything_is_computed():
    for given, said in (
        (["edges"], "quantities='edges', but one of 'edge'"),
        ([], "no quantities are asked for"),
        ("prediction", "needs the learning rate"),
        (3, "quantities=3, but a list of names is needed"),
    ):
        with pytest.raises(ValueError, match=said):
            ns.track([], X, Y, quantities=given)
    with pytest.raises(ValueError, match="eta=0, but a learning rate > 0"):
        ns.track([], X, Y, eta=0)
    assert ns.track([(0, NET)], X, Y).task.quantities == USUAL


def test_bad_input_is_one_line():
    with pytest.raises(ValueError, match="no checkpoints came"):
        ns.track([], X, Y)
    with pytest.raises(TypeError, match=r"pairs \(step, network\) are needed"):
        ns.track([NET], X, Y)
    with pytest.raises(TypeError, match="from_torch"):
        ns.track([(0, object())], X, Y)
    with pytest.raises(ValueError, match="step 1 came after step 2"):
        ns.track([(2, NET), (1, NET)], X, Y, quantities="movement")
    with pytest.raises(ValueError, match=r"y has shape \(39,\)"):
        ns.track([(0, NET)], X, Y[1:])
    with pytest.raises(ValueError, match="all zero"):
        ns.track([(0, NET)], X, 0 * Y)
    wide = ns.FullyConnected.random(5, [25, 24], "relu")
    for other in (wide, ns.TwoLayer.random(5, 8, "erf")):
        with pytest.raises(ValueError, match=r"step 1: its network has other weights than that of step 0"):
            ns.track([(0, NET), (1, other)], X, Y)


# ---------------------------------------------------------------------------------------------------------------- files
def same(one, other):
    """Whether two series hold the same bits, but for the time that they took."""
    assert [*one] == [*other]
    assert one.steps.tolist() == other.steps.tolist()
    for before, now in ((one.numbers, other.numbers), (one.arrays, other.arrays)):
        for name, values in before.items():
            assert np.array_equal(values, now[name], equal_nan=True), name
    return True


def stopping(pairs, after):
    """The pairs, and a kill after some of them."""
    for number, pair in enumerate(pairs):
        if number == after:
            raise KeyboardInterrupt
        yield pair


@pytest.mark.parametrize("after", [1, 2, 3])
def test_a_killed_run_goes_on_with_the_same_bits(tmp_path, after, monkeypatch):
    nets, path = trained(NET, [2, 4, 6]), tmp_path / "run.h5"
    how = {"eta": 0.3, "quantities": "all"}
    whole = ns.track(nets, X, Y, **how)
    with pytest.raises(KeyboardInterrupt):
        ns.track(stopping(nets, after), X, Y, path=path, **how)
    assert len(ns.load_result(path)) == after
    measured = []
    monkeypatch.setattr("ntkspec.experiments.tracking.recorder.measure",
                        lambda place: measured.append(place.now.step) or measuring.measure(place))  # fmt: skip
    assert same(ns.track(nets, X, Y, path=path, **how), whole)
    assert measured == [step for step, _ in nets[after:]]
    assert same(ns.load_result(path), whole)
    assert ns.load_result(path).task == whole.task


def test_a_file_of_another_series_is_refused(tmp_path):
    nets, path = trained(NET, [2]), tmp_path / "run.h5"
    ns.track(nets, X, Y, path=path, quantities="movement")
    with pytest.raises(ValueError, match="holds another series"):
        ns.track(nets, X, 2 * Y, path=path, quantities="movement")
    with pytest.raises(ValueError, match="step 2 of other weights"):
        ns.track([nets[0], (2, NET)], X, Y, path=path, quantities="movement")
    with pytest.raises(ValueError, match=r"holds the steps 0 to 2, but the network of step 0 did not come again"):
        ns.track([(5, NET)], X, Y, path=path, quantities="movement")
    with ns.Tracker(NET, X, Y, path=tmp_path / "t.h5"), pytest.raises(ValueError, match="in use by another process"):
        ns.track(nets, X, Y, path=tmp_path / "t.h5")


def test_a_loop_that_starts_again_in_the_middle_records_on(tmp_path):
    nets, path = trained(NET, [2, 4, 6]), tmp_path / "run.h5"
    how = {"eta": 0.3, "quantities": [name for name in QUANTITIES if name != "layers"]}
    with ns.Tracker(NET, X, Y, path=path, **how) as tracker:
        for step, net in nets[:2]:
            found = tracker.record(step, net)
    assert found["loss"] == tracker.series.at("loss", 2)
    with ns.Tracker(NET, X, Y, path=path, **how) as tracker:
        for step, net in nets[2:]:
            tracker.record(step, net)
    assert same(tracker.series, ns.track(nets, X, Y, **how))


def test_a_tracker_with_a_file_is_used_in_a_block(tmp_path):
    tracker = ns.Tracker(NET, X, Y, path=tmp_path / "run.h5")
    with pytest.raises(ValueError, match=r"with ns\.Tracker"):
        tracker.record(0)
    with pytest.raises(ValueError, match="nothing was recorded yet"):
        tracker.series  # noqa: B018


# -------------------------------------------------------------------------------------------------------------- verdict
def made(sharpness, distance=None, eta=1.0, law="gd"):
    """A series with these numbers, in narrow intervals, at steps 0, 10, 20, ..."""
    series = ns.track([(0, NET)], X, Y, eta=eta, law=law, quantities="movement")
    given = {"sharpness": sharpness, "distance_from_start": distance}
    rows = {
        name: np.array([[value, 0.999 * value, 1.001 * value, 1e-6, 50, 1] for value in values])
        for name, values in given.items()
        if values is not None
    }
    count = len(next(iter(rows.values())))
    return replace(series, steps=10 * np.arange(count), numbers=rows, arrays={})


def test_the_edge_is_where_the_sharpness_stays_at_it():
    rising = made([0.5, 1.0, 1.85, 2.1, 1.9, 2.05])  # 2/eta = 2; it hovers from 1.8 to 2.5
    assert (at_the_edge(rising), above_the_edge(rising)) == (3, 3)
    assert rising.verdict == [
        "Edge of stability: from step 30 on the largest eigenvalue over n hovers at 2/eta = 2.",
        "That eigenvalue over n is 2.1 in [2.0979, 2.1021] at step 30 (1.85 at the checkpoint before), then between "
        "1.8981 and 2.1021, and 2.05 in [2.0479, 2.052] at step 50.",
    ]
    below = made([0.5, 0.7, 0.9])
    assert (at_the_edge(below), above_the_edge(below)) == (None, None)
    assert "at most 0.9, 45.0% of 2/eta = 2, at step 20" in below.verdict[0]
    assert (
        "does not stay near it; at step 30 it is 5 in [4.995, 5.005]. It is above for certain first at step 20"
        in made([0.5, 2, 3, 5]).verdict[0]
    )
    assert at_the_edge(made([0.5, 2, 2])) is None  # two checkpoints are too few
    assert at_the_edge(made([0.5, 1.85, 1.9, 1.95])) is None  # it comes near, and has not arrived
    unknown = made([0.5, 0.7, 0.9], eta=None)
    assert unknown.edge == math.inf
    assert "with the learning rate" in unknown.verdict[0]


@pytest.mark.parametrize(("law", "limit"), [(ns.HeavyBall(0.9), 3.8), (ns.Nesterov(0.5), 1.5)])
def test_the_edge_of_momentum_is_that_of_its_law(law, limit, tmp_path):
    series = made([0.5 * limit, limit, 1.01 * limit, limit], law=law)
    assert series.edge == pytest.approx(limit)
    assert at_the_edge(series) == 1
    assert f"hovers at {limit}/eta = {limit}." in series.verdict[0]
    assert str(law) in title(series)
    storage.write(tmp_path / "track.h5", {"track": series, "run": "", "provenance": []}, kind=KIND)
    assert f"{limit}/eta" in series_report(ns.load_result(tmp_path / "track.h5"))
    assert "prediction" not in ns.track([(0, NET)], X, Y, eta=0.1, law=law, quantities="all").task.quantities
    with pytest.raises(ValueError, match="'prediction' starts from weights at rest"):
        ns.track([(0, NET)], X, Y, eta=0.1, law=law, quantities="prediction")
    with pytest.raises(ValueError, match="'flow' has no edge of stability"):
        ns.track([(0, NET)], X, Y, eta=0.1, law="flow")


def test_lazy_and_feature_learning_are_told_by_the_distance():
    lazy = made(None, [0, 0.001, 0.004])
    assert (leaves_lazy(lazy), learns_features(lazy)) == (None, None)
    assert lazy.verdict[0].startswith("Lazy at all checkpoints")
    moving = made(None, [0, 0.005, 0.05, 0.2, 0.4])
    assert (leaves_lazy(moving), learns_features(moving)) == (2, 3)
    assert moving.verdict[0].startswith("Feature learning from step 30 on")
    assert "It was lazy up to step 10" in moving.verdict[0]
    assert made(None, [0, 0.005, 0.05]).verdict[0].startswith("Between lazy and feature learning: lazy up to step 10")
    sudden = made(None, [0, 0.05, 0.2]).verdict[0]
    assert "It was not lazy even at step 10, the first checkpoint after the start." in sudden


# ---------------------------------------------------------------------------------------------------------- a real edge
@pytest.mark.parametrize("law", ["gd", ns.HeavyBall(0.8), ns.Nesterov(0.8)], ids=str)
def test_training_of_a_linear_model_is_stable_up_to_the_edge_of_its_kernel(law):
    """The kernel of a linear network stays: below the edge the loss falls to its least, above it grows."""
    net = ns.TwoLayer(np.zeros((1, 5)), np.ones(1), "identity")
    largest = float(ns.spectral_norm(ns.ntk(net, X, layer="first"))) / len(X)
    for part, falls in ((0.95, True), (1.05, False)):
        eta, path = part * law_of(law).limit / largest, []
        for step in (0, 100, 200):
            run = ns.train_gd(net, X, Y, eta1=eta, eta2=0.0, steps=[step], law=law).network
            path.append((step, run))
        asked = ["edge", "residual", *(["prediction"] if law == "gd" else [])]
        series = ns.track(path, X, Y, eta=eta, law=law, layer="first", quantities=asked)
        assert (series["sharpness"] < series.edge).all() == falls
        assert (series["loss"][-1] < series["loss"][0]) == falls
        if law == "gd":
            assert series["prediction_error"][1:] == pytest.approx(0, abs=1e-8)
