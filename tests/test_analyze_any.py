"""`analyze` and `spectrum` of users' networks and of several classes report what public functions give."""

import dataclasses

import numpy as np
import pytest

import ntkspec as ns
from ntkspec import storage
from ntkspec.datasets.classes import class_columns
from ntkspec.experiments.analyze import RECORD_TYPES, AnalyzeTask, analyze, logarithmic_steps
from ntkspec.experiments.own_networks import OwnNetwork, in_form
from ntkspec.experiments.spectrum import SPECTRUM_TYPES, SpectrumTask, measure_spectrum
from ntkspec.experiments.verdict import verdict
from ntkspec.plotting.analysis import save_figures
from ntkspec.reporting.analysis import report
from ntkspec.reporting.spectrum import spectrum_report
from ntkspec.training import accuracy
from several_outputs import Perceptron

N, D, K, STEPS = 40, 5, 3, 12
RNG = np.random.default_rng(0)
X, X_TEST = RNG.standard_normal((N, D)), RNG.standard_normal((9, D))


def data(classes=K, **meta):
    """Points in classes by their first number, or with ``classes`` 1 numbers of one column."""
    if classes == 1:
        y, y_test = np.sign(X[:, 0]), np.sign(X_TEST[:, 0])
    else:
        edges = np.quantile(X[:, 0], np.arange(1, classes) / classes)
        y, y_test = (class_columns(np.searchsorted(edges, part[:, 0]), classes) for part in (X, X_TEST))
    return ns.datasets.Dataset(X, y, X_TEST, y_test, 1.0, "made", meta)


def network(outputs=K, **options):
    small = Perceptron.random(D, 20, outputs, seed=1, **options)
    return small.with_weights([small.A / D**0.5, small.B / 20**0.5])


def kernels(net, outputs, *points):
    return ns.ntk(net, *points, outputs=outputs)


# By whether the network is the user's own.
TASKS_OF_ONE_OUTPUT = {
    False: AnalyzeTask(width=8, steps=2),
    True: AnalyzeTask(network=network(1, flat=True), steps=2),
}


# ----------------------------------------------------------------------------------------------------- what is measured
@pytest.mark.parametrize("outputs", ["full", "mean", 1, "sum", (0.5, -1.0, 2.0)])
def test_the_analysis_holds_what_the_public_functions_give(outputs):
    scalar = outputs not in ("full", "mean")
    net, dataset = network(), data(1 if scalar else K)
    found = analyze(AnalyzeTask(network=net, outputs=outputs, steps=STEPS), dataset)
    (eta,), steps = found.rates, logarithmic_steps(STEPS)
    weights = {"sum": np.ones(K) / K**0.5, 1: np.eye(K)[1]}.get(outputs, outputs)
    start = [net(points) if not scalar else net(points) @ np.asarray(weights) for points in (X, X_TEST)]
    theta = kernels(net, outputs, X)
    predicted = ns.predict_gd(
        theta, dataset.y, eta=eta, steps=steps, kernel_test=kernels(net, outputs, X_TEST, X), start=tuple(start)
    )
    assert found.trajectories["ntk"].train == pytest.approx(predicted.train, abs=1e-9)
    assert found.trajectories["ntk"].test == pytest.approx(predicted.test, abs=1e-9)
    fit = ns.nearest_linear_kernel(kernels(net, "mean" if outputs == "full" else outputs, X), X)
    linear = ns.predict_gd(
        fit.linear, dataset.y, eta=eta, steps=steps, kernel_test=fit.between(X_TEST, X), start=tuple(start)
    )
    assert found.trajectories["linear"].train == pytest.approx(linear.train, abs=1e-9)
    assert found.trajectories["linear"].test == pytest.approx(linear.test, abs=1e-9)
    options = {"outputs": weights} if scalar else {}
    trained = ns.train_gd(net, X, dataset.y, eta=eta, steps=steps, X_test=X_TEST, **options)
    assert found.trajectories["network"].train == pytest.approx(trained.train, abs=1e-12)
    assert found.losses["network"]["train"] == pytest.approx(
        ((trained.train - dataset.y) ** 2).reshape(len(steps), -1).sum(axis=1) / (2 * N)
    )
    for part, own in (("initial", net.weights), ("trained", trained.network.weights)):
        assert all(map(np.allclose, found.weights[part], own))


def test_the_kernel_is_compared_with_the_nearest_linear_one():
    net = network()
    found = analyze(AnalyzeTask(network=net, steps=1), data())
    theta, full = kernels(net, "mean", X).to_dense(), kernels(net, "full", X).to_dense()
    fit = ns.nearest_linear_kernel(theta, X)
    gap = theta - fit.operator.to_dense()
    assert float(found.kernel.gap) == pytest.approx(np.linalg.norm(gap, 2), rel=1e-3)
    assert float(found.kernel.gap_frobenius) == pytest.approx(np.linalg.norm(gap), rel=1e-9)
    assert float(found.kernel.theta_lin) == pytest.approx(np.linalg.norm(fit.operator.to_dense(), 2), rel=1e-3)
    assert found.kernel.largest_stable_rate == pytest.approx(2 * N / np.linalg.norm(full, 2), rel=1e-3)
    values = np.linalg.eigvalsh(fit.operator.to_dense())[::-1]
    assert found.kernel.eigenvalues_lin[:D] == pytest.approx(values[:D], rel=1e-6)
    assert found.nearest.data == pytest.approx(fit.coefficients.data, rel=1e-6)
    assert found.nearest.gap_frobenius == found.kernel.gap_frobenius


@pytest.mark.parametrize("name", ["fc:2x8", "two-layer"])
def test_the_nearest_linear_kernel_stands_beside_that_of_theory(name):
    found = analyze(AnalyzeTask(network=name, width=None if ":" in name else 8, steps=1), data(1))
    net = ns.FullyConnected.paired(D, [8, 8], "erf") if ":" in name else ns.TwoLayer.symmetric(D, 8, "erf")
    theta = ns.ntk(net, X).to_dense()
    fit = ns.nearest_linear_kernel(theta, X)
    assert found.nearest.identity == pytest.approx(fit.coefficients.identity, rel=1e-6)
    gap = np.linalg.norm(theta - fit.operator.to_dense())
    assert found.nearest.gap_frobenius.lower <= gap * (1 + 1e-9)
    assert gap <= found.nearest.gap_frobenius.upper * (1 + 1e-9)
    assert gap <= float(found.kernel.gap_frobenius)
    assert "||Theta - L||_F, L the nearest" in report(found)
    assert "nearest" not in report(dataclasses.replace(found, nearest=None))


def test_the_kernel_predicts_the_first_step_and_all_outputs_better_than_their_mean():
    """To second order in the rate; the mean of the kernels leaves out what outputs share."""
    misses = {}
    for outputs in ("full", "mean"):
        task = AnalyzeTask(network=network(), outputs=outputs, steps=1, eta1=1e-3, eta2=1e-3)
        found = analyze(task, data())
        first = found.trajectories["network"].train[1] - found.trajectories["network"].train[0]
        misses[outputs] = np.linalg.norm(
            first + found.trajectories["network"].train[0] - found.trajectories["ntk"].train[1]
        )
        misses[outputs] /= np.linalg.norm(first)
    assert misses["full"] < 1e-3 < 0.1 * misses["mean"]


def test_the_mean_of_the_points_is_no_matter_to_a_linear_kernel_with_a_constant():
    shifted = dataclasses.replace(data(1), X=X + 3, X_test=X_TEST + 3)
    said = {own: verdict(analyze(task, shifted)) for own, task in TASKS_OF_ONE_OUTPUT.items()}
    assert any("the mean has size 3" in line for line in said[False])
    assert not any(word in line for line in said[True] for word in ("the mean has", "do not speak", "Assumption"))


def test_the_least_linear_loss_is_that_of_least_squares_from_the_start():
    net, dataset = network(), data()
    found = analyze(AnalyzeTask(network=net, steps=2), dataset)
    fit = ns.nearest_linear_kernel(kernels(net, "mean", X), X)
    F = fit.linear.low_rank_factors()[0]
    left = dataset.y - net(X)
    left = left - F @ np.linalg.lstsq(F, left, rcond=1e-10)[0]
    assert found.final_linear_loss["train"] == pytest.approx((left**2).sum() / (2 * N), rel=1e-6)


def test_one_output_takes_each_column_of_classes_by_itself():
    """One class against the rest: a built-in network and one of one's own."""
    dataset = data()
    for task, net, own in (
        (AnalyzeTask(network="fc:2x8", steps=STEPS), ns.FullyConnected.paired(D, [8, 8], "erf"), False),
        (AnalyzeTask(width=8, steps=STEPS), ns.TwoLayer.symmetric(D, 8, "erf"), False),
        (AnalyzeTask(network=network(1, flat=True), steps=STEPS), network(1, flat=True), True),
    ):
        found = analyze(task, dataset)
        eta = max(found.rates)
        assert found.trajectories["network"].train.shape == (len(found.steps), N, K)
        for k in range(K):
            alone = ns.train_gd(net, X, dataset.y[:, k], eta=eta, steps=found.steps)
            assert found.trajectories["network"].train[..., k] == pytest.approx(alone.train, abs=1e-10)
            start = (net(X), net(X_TEST)) if own else None
            predicted = ns.predict_gd(
                *(ns.ntk(net, X), dataset.y[:, k]),
                **{"eta": eta, "steps": found.steps, "kernel_test": ns.ntk(net, X_TEST, X), "start": start},
            )
            assert found.trajectories["ntk"].test[..., k] == pytest.approx(predicted.test, abs=1e-9)
        assert (found.own is not None) == own
        assert "3 copies of the network, each trained on a column of labels" in report(found)


def test_two_outputs_take_two_classes_as_a_column_each():
    net, dataset = network(2), data(1)
    found = analyze(AnalyzeTask(network=net, steps=2), dataset)
    assert np.array_equal(found.labels["train"], np.stack([dataset.y, -dataset.y], axis=1))
    assert any("two columns" in line for line in found.dataset["meta"]["reading"])
    assert set(found.accuracies["network"]) == {"train", "test"}
    assert "copies of the network" not in report(found)


# ------------------------------------------------------------------------------------------------------------- accuracy
def test_accuracy_stands_beside_the_loss_for_columns_of_classes_alone():
    dataset = data()
    found = analyze(AnalyzeTask(network="fc:2x8", steps=STEPS), dataset)
    for model, trajectory in found.trajectories.items():
        assert found.accuracies[model]["test"] == pytest.approx(accuracy(trajectory.test, dataset.y_test))
    assert "Accuracy (part of the points" in report(found)
    (said,) = (line for line in verdict(found) if "rightly" in line)
    assert f"{found.accuracies['network']['test'][-1]:.1%}" in said
    assert "chance: 33.3%" in said
    assert not any("regressed as numbers" in line for line in verdict(found))
    plain = analyze(AnalyzeTask(network="fc:2x8", steps=2), data(1))
    assert plain.accuracies == {}
    assert "ccuracy" not in report(plain)


# --------------------------------------------------------------------------------------------------------------- record
def test_records_read_back_and_draw_without_the_network(tmp_path):
    own = OwnNetwork(network(), "model.py:make", "model.py", "abc")
    found = analyze(AnalyzeTask(network=own, steps=4), data())
    storage.write(tmp_path / "a.h5", {"analysis": found}, kind="analyze")
    again = storage.read(tmp_path / "a.h5", kind="analyze", types=RECORD_TYPES)["analysis"]
    assert report(again) == report(found)
    assert (again.own.path, again.own.digest, again.task.network) == ("model.py", "abc", "model.py:make")
    assert again.own.parameters == {"0": [20, D], "1": [K, 20]}
    assert again.own.size == 20 * (D + K)
    assert len(save_figures(again, tmp_path)) == 8
    for part in ("model.py:make", "kernel of all 3 outputs", "mean of the kernels of 3 outputs", "nearest linear"):
        assert part in report(found)
    for part in ("Activation", "erf", "paired", "Theorem"):
        assert part not in report(found)


@pytest.mark.parametrize("kernel", ["theta", "linear", "gap"])
@pytest.mark.parametrize("outputs", ["mean", "trace", 0])
def test_the_spectrum_holds_what_dense_linear_algebra_gives(kernel, outputs, tmp_path):
    task = SpectrumTask(network=network(), outputs=outputs, kernel=kernel, pairs=3, probes=2, steps=8)
    found = measure_spectrum(task, data(1))
    theta = kernels(network(), outputs, X).to_dense()
    linear = ns.nearest_linear_kernel(theta, X).operator.to_dense()
    values = np.linalg.eigvalsh({"theta": theta, "linear": linear, "gap": theta - linear}[kernel])
    assert found.leading.values == pytest.approx(values[np.argsort(-abs(values))[:3]], rel=1e-6)
    storage.write(tmp_path / "s.h5", {"spectrum": found}, kind="spectrum")
    again = storage.read(tmp_path / "s.h5", kind="spectrum", types=SPECTRUM_TYPES)["spectrum"]
    assert spectrum_report(again) == spectrum_report(found)
    assert "nearest linear" in spectrum_report(found)


def test_the_spectrum_of_all_outputs_has_a_row_for_each_point_and_output():
    found = measure_spectrum(SpectrumTask(network=network(), outputs="full", pairs=4, probes=2, steps=8), data())
    values, vectors = np.linalg.eigh(kernels(network(), "full", X).to_dense())
    assert found.leading.values == pytest.approx(values[::-1][:4], rel=1e-6)
    y = data().y.ravel()
    assert found.energies.sum() == pytest.approx(np.square(vectors[:, -4:].T @ y).sum() / (y @ y), rel=1e-5)
    assert found.angles is None


# --------------------------------------------------------------------------------------------------------------- points
def test_images_come_in_the_form_that_is_asked_for():
    images = np.arange(2 * 2 * 3 * 2, dtype=float).reshape(2, 12)
    assert in_form(images, "flat", (2, 3, 2)) is images
    last, first = in_form(images, "nhwc", (2, 3, 2)), in_form(images, "nchw", (2, 3, 2))
    assert (last.shape, first.shape) == ((2, 2, 3, 2), (2, 2, 2, 3))
    assert np.array_equal(first.transpose(0, 2, 3, 1), last)
    assert np.array_equal(last.reshape(2, -1), images)
    with pytest.raises(ValueError, match="are no images; take inputs='flat'"):
        in_form(images, "nchw", None)


def test_a_network_that_refuses_rows_of_images_is_told_of_the_other_forms():
    task = AnalyzeTask(network=Perceptron.random(7, 4, 1), steps=1)
    with pytest.raises(ValueError, match=r"X has 5 columns, but 7 .*'nchw' \(--inputs nchw\) gives as \(n, 1, 1, 5\)"):
        analyze(task, data(1, shape=(1, 5, 1)))


# -------------------------------------------------------------------------------------------------------------- refused
REFUSED = {
    "activation='relu' is for built-in networks": {"activation": "relu"},
    "width=8 is for built-in networks": {"width": 8},
    "inputs='nwhc', but one of 'flat'": {"inputs": "nwhc"},
    "outputs='all', but one of 'full'": {"outputs": "all"},
    "outputs=3, but the network has 3": {"outputs": 3},
    "predicts training K times too fast; take 'full'": {"outputs": "trace"},
    "training trains all parameters of a network; freeze the others": {"layer": "0"},
    "trains all layers at one rate": {"eta1": 1.0, "eta2": 0.5},
    "the learning rate is 0": {"eta1": 0.0, "eta2": 0.0},
}


@pytest.mark.parametrize(("reason", "change"), REFUSED.items())
def test_what_does_not_go_with_a_network_of_ones_own_is_refused(reason, change):
    with pytest.raises(ValueError, match=reason):
        analyze(AnalyzeTask(network=network(), **change), data(1 if isinstance(change.get("outputs"), int) else K))


def test_labels_that_do_not_fit_the_outputs_are_refused():
    for outputs, classes, reason in (
        ("full", 1, "has 3 outputs, but the labels are one number a point; take 3 classes"),
        ("full", 4, "has 3 outputs, but the labels are 4 columns"),
        (0, 3, "the labels have 3 columns, but outputs=0 trains one function"),
    ):
        with pytest.raises(ValueError, match=reason):
            analyze(AnalyzeTask(network=network(), outputs=outputs), data(classes))
    with pytest.raises(ValueError, match="kernel='gap' of all outputs at once is not measured"):
        measure_spectrum(SpectrumTask(network=network(), outputs="full", kernel="gap"), data())


def test_what_is_no_network_is_refused_with_what_makes_one():
    with pytest.raises(TypeError, match=r"network is a object, but .*ntkspec.from_torch\(module\)"):
        analyze(AnalyzeTask(network=object()), data())


@pytest.mark.parametrize("change", [{"outputs": "mean"}, {"inputs": "nchw"}])
def test_options_of_users_networks_do_not_go_with_built_in_ones(change):
    with pytest.raises(ValueError, match="is for a network of your own, but network='two-layer' came"):
        analyze(AnalyzeTask(**change), data(1))


def test_built_in_tasks_read_as_before_there_were_others():
    """The names of folders and the fingerprints of records are made of this."""
    assert "own" not in repr(AnalyzeTask())
    assert "outputs" not in repr(SpectrumTask())
    assert dataclasses.replace(AnalyzeTask(), own=True) != AnalyzeTask()
