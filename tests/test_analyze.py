"""The experiment: what it reports follows from the public functions, and the paper's statements show."""

import dataclasses
import warnings

import numpy as np
import pytest

import ntkspec as ns
from ntkspec import storage
from ntkspec.datasets.classes import class_columns
from ntkspec.dynamics import stable_rate
from ntkspec.experiments.analyze import RECORD_TYPES, AnalyzeTask, analyze, logarithmic_steps
from ntkspec.experiments.headline import headline
from ntkspec.experiments.verdict import verdict
from ntkspec.kernels import weighted_linear_kernel
from ntkspec.operators import Gram
from ntkspec.plotting.analysis import figures
from ntkspec.reporting.analysis import report
from ntkspec.reporting.summary import summary

SMALL = AnalyzeTask(width=32, steps=40)


def data(n=150, d=8, **options):
    return ns.datasets.gaussian(n, d, n_test=30, **options)


@pytest.mark.parametrize("layer", ["first", "second", "both"])
@pytest.mark.parametrize("name", ["erf", "relu"])
def test_the_record_holds_what_the_public_functions_give(layer, name):
    dataset = data(seed=1)
    found = analyze(dataclasses.replace(SMALL, layer=layer, activation=name, seed=1), dataset)
    net = ns.TwoLayer.symmetric(8, 32, name, seed=1)
    theta = ns.ntk(net, dataset.X, layer=layer)
    linear = ns.linear_kernel(name, dataset.X, layer=layer, trace_ratio=dataset.trace_ratio)
    gap = (theta - linear).to_dense()
    assert float(found.kernel.gap) == pytest.approx(np.linalg.norm(gap, 2), rel=1e-3)
    assert float(found.kernel.gap_frobenius) == pytest.approx(np.linalg.norm(gap), rel=1e-10)
    assert found.kernel.eigenvalues == pytest.approx(np.linalg.eigvalsh(theta.to_dense())[::-1][:20], rel=1e-6)
    top = np.linalg.eigvalsh(linear.to_dense())[::-1][:8]
    assert found.kernel.eigenvalues_lin[:8] == pytest.approx(top, rel=1e-6)
    assert found.kernel.largest_stable_rate == pytest.approx(300 / np.linalg.norm(theta.to_dense(), 2), rel=1e-3)
    eta = max(found.rates)
    assert found.rates == {"first": (eta, 0), "second": (0, eta), "both": (eta, eta)}[layer]
    steps = logarithmic_steps(40)
    for model, kernel, kernel_test in (
        ("ntk", theta, ns.ntk(net, dataset.X_test, dataset.X, layer=layer)),
        ("linear", linear, ns.linear_kernel(name, dataset.X_test, dataset.X, layer=layer, trace_ratio=1.0)),
    ):
        predicted = ns.predict_gd(kernel, dataset.y, eta=eta, steps=steps, kernel_test=kernel_test)
        assert found.trajectories[model].train == pytest.approx(predicted.train, abs=1e-9)
        assert found.trajectories[model].test == pytest.approx(predicted.test, abs=1e-9)
    trained = ns.train_gd(net, dataset.X, dataset.y, eta1=found.rates[0], eta2=found.rates[1], steps=steps)
    assert np.array_equal(found.trajectories["network"].train, trained.train)
    assert found.losses["network"]["train"][-1] == pytest.approx(((trained.train[-1] - dataset.y) ** 2).mean() / 2)
    assert report(found).count("\n") > 40


POWER = ns.Loss(lambda u, y: (u - y) ** 4, lambda u, y: 4 * (u - y) ** 3, name="fourth power")


@pytest.mark.parametrize(
    ("recipe", "mean"),
    [
        ({"law": ns.HeavyBall(0.9)}, lambda u, y: ((u - y) ** 2).mean(axis=1) / 2),
        ({"law": ns.Nesterov(0.5), "batch": 64}, lambda u, y: ((u - y) ** 2).mean(axis=1) / 2),
        ({"loss": "logistic", "batch": 64}, lambda u, y: np.log1p(np.exp(-u * y)).mean(axis=1)),
        ({"loss": POWER, "eta1": 0.1, "eta2": 0.1}, lambda u, y: ((u - y) ** 4).mean(axis=1)),
    ],
    ids=["heavy ball", "Nesterov in batches", "logistic in batches", "own loss"],
)
def test_network_kernel_and_linear_model_follow_one_recipe(recipe, mean):
    dataset = data(seed=1)
    found = analyze(dataclasses.replace(SMALL, seed=1, **recipe), dataset)
    how = {name: value for name, value in recipe.items() if not name.startswith("eta")}
    how |= {"steps": found.steps, "seed": 1}
    net, eta = ns.TwoLayer.symmetric(8, 32, "erf", seed=1), found.rates[0]
    theta, linear = ns.ntk(net, dataset.X), ns.linear_kernel("erf", dataset.X, trace_ratio=dataset.trace_ratio)
    expected = {
        "network": ns.train_gd(net, dataset.X, dataset.y, eta1=eta, eta2=eta, **how).train,
        "ntk": ns.predict_gd(theta, dataset.y, eta=eta, **how).train,
        "linear": ns.predict_gd(linear, dataset.y, eta=eta, **how).train,
    }
    for name, outputs in expected.items():
        assert found.trajectories[name].train == pytest.approx(outputs, abs=1e-9)
        assert found.losses[name]["train"] == pytest.approx(mean(outputs, dataset.y), rel=1e-9)
    law = ns.largest_stable_rate(theta, law=recipe.get("law", "gd"))
    curvature = {"logistic": 0.25}.get(recipe.get("loss"), 1.0)
    if recipe.get("loss") is POWER:
        assert found.largest_stable_rate is None
    else:
        assert found.largest_stable_rate == pytest.approx(float(law) / curvature, rel=1e-3)
    assert bool(found.final_linear_loss) == ("loss" not in recipe)
    assert (found.modes is None) == ("loss" in recipe)
    words = found.recipe.words
    assert f"steps of {words}" in " ".join(summary(found).split())
    assert any(words in line for line in verdict(found))
    assert words in report(found)
    assert words in str(headline(found))
    assert pictures_say(found, words)


def pictures_say(found, words):
    """Whether each figure's title has the words."""
    return all(words in " ".join(figure._suptitle.get_text().split()) for figure in figures(found).values())


def test_classes_are_trained_on_the_labels_of_the_loss():
    dataset, numbers = data(n=60), np.arange(60) % 3
    columns = dataclasses.replace(dataset, y=class_columns(numbers, 3), y_test=class_columns(numbers[:30], 3))
    one_hot = np.eye(3)[numbers]
    found = analyze(dataclasses.replace(SMALL, loss="cross-entropy", steps=9), columns)
    np.testing.assert_array_equal(found.labels["train"], one_hot)
    assert found.losses["network"]["train"][0] == pytest.approx(np.log(3))
    assert found.accuracies["network"]["train"].shape == found.steps.shape
    how = {"steps": found.steps, "eta": found.rates[0], "loss": "cross-entropy"}
    trained = ns.train_gd(ns.TwoLayer.symmetric(8, 32, "erf"), dataset.X, one_hot, **how)
    assert found.trajectories["network"].train == pytest.approx(trained.train, abs=1e-9)
    assert "labels of the cross-entropy: 1 in the column" in report(found)
    signs = analyze(dataclasses.replace(SMALL, loss="logistic", steps=2), columns)
    np.testing.assert_array_equal(signs.labels["test"], 2 * one_hot[:30] - 1)


def test_recipes_that_cannot_run_are_refused_before_anything_is_computed():
    class Own:
        slots = 0

        def move(self, descent, memory, step):
            return -descent, []

    refused = [
        ({"law": "flow"}, "has no steps"),
        ({"batch": 0}, "batch=0"),
        ({"loss": "hinge"}, "'logistic'"),
        ({"law": Own()}, "pass eta"),
        ({"loss": POWER}, "fourth power"),
    ]
    for options, message in refused:
        with pytest.raises(ValueError, match=message):
            analyze(dataclasses.replace(SMALL, **options), None)
    with pytest.raises(ValueError, match="labels 1 and -1 are for 'logistic'"):
        analyze(dataclasses.replace(SMALL, loss="cross-entropy"), data())


def test_laws_and_losses_of_ones_own_are_kept_by_their_names(tmp_path):
    class Own:
        slots = 0

        def move(self, descent, memory, step):
            return -descent, []

    own = analyze(dataclasses.replace(SMALL, law=Own(), loss=POWER, eta1=0.1, eta2=0.1, steps=3), data())
    known = analyze(dataclasses.replace(SMALL, law=ns.Nesterov(0.5), loss=ns.Huber(0.5), steps=3), data())
    for found, words in ((own, "Own on the Loss(fourth power) loss"), (known, "of Huber's loss of delta 0.5")):
        storage.write(tmp_path / "a.h5", {"analysis": found}, kind="analyze")
        again = storage.read(tmp_path / "a.h5", kind="analyze", types=RECORD_TYPES)["analysis"]
        assert again.task == found.task
        assert report(again) == report(found)
        assert words.removeprefix("of ") in report(again)


def test_the_nearest_linear_kernel_splits_the_gap_of_theory():
    dataset = data()
    found = analyze(dataclasses.replace(SMALL, activation="relu"), dataset)
    theta = ns.ntk(ns.TwoLayer.symmetric(8, 32, "relu", seed=SMALL.seed), dataset.X)
    linear = ns.linear_kernel("relu", dataset.X, trace_ratio=dataset.trace_ratio)
    fit = ns.nearest_linear_kernel(theta, dataset.X)
    assert found.nearest.data == pytest.approx(fit.coefficients.data, rel=1e-6)
    rest, moved, whole = (
        np.linalg.norm(one.to_dense()) for one in (theta - fit.operator, fit.operator - linear, theta - linear)
    )
    assert float(found.nearest.gap_frobenius) == pytest.approx(rest, rel=0.02)
    assert rest**2 + moved**2 <= whole**2 * (1 + 1e-9)
    assert f"{1 - (rest / whole) ** 2:.1%} of the squared distance are the constants of theory" in report(found)


def test_unequal_rates_weight_the_layers():
    dataset = data()
    found = analyze(dataclasses.replace(SMALL, eta1=0.9, eta2=0.2, activation="relu"), dataset)
    linear = weighted_linear_kernel(
        ns.activation("relu"), dataset.X, weights=(0.9, 0.2), trace_ratio=dataset.trace_ratio
    )
    psi = linear.low_rank_factors()[0]
    predicted = ns.predict_gd(Gram(psi), dataset.y, eta=1.0, steps=found.steps)
    assert found.trajectories["linear"].train == pytest.approx(predicted.train, abs=1e-10)
    assert found.rates == (0.9, 0.2)
    network_ntk = found.comparisons["network-ntk"]["train"].relative
    assert network_ntk[1] < 1e-3  # a wrong weight of either layer would show as 1e-1


@pytest.mark.parametrize(("rates", "layer"), [((0.7, 0.0), "first"), ((0.0, 0.7), "second")])
def test_a_rate_of_zero_leaves_that_layer_out_of_the_prediction(rates, layer):
    dataset, task = data(), dataclasses.replace(SMALL, activation="relu")
    found = analyze(dataclasses.replace(task, eta1=rates[0], eta2=rates[1]), dataset)
    alone = analyze(dataclasses.replace(task, layer=layer, **{f"eta{1 + (layer == 'second')}": 0.7}), dataset)
    for model in ("network", "ntk", "linear"):
        for part in ("train", "test"):
            one, other = (getattr(analysis.trajectories[model], part) for analysis in (found, alone))
            assert one == pytest.approx(other, abs=1e-10)


def test_a_rate_past_the_stable_one_warns_with_the_threshold():
    dataset = data(400)
    threshold = analyze(SMALL, dataset).kernel.largest_stable_rate
    task = dataclasses.replace(SMALL, eta1=1.05 * threshold, eta2=1.05 * threshold, steps=3)
    with pytest.warns(RuntimeWarning, match=f"largest stable one, 2 n / lambda_max = {threshold:.6g}"):
        analyze(task, dataset)
    weighted = ns.TwoLayer.symmetric(8, 32, "erf")
    first, second = (ns.ntk(weighted, dataset.X, layer=layer) for layer in ("first", "second"))
    unequal = stable_rate(np.linalg.norm((first + second * 0.25).to_dense(), 2), 400)
    with pytest.warns(RuntimeWarning, match="past the largest stable one"):
        analyze(dataclasses.replace(task, eta1=1.05 * unequal, eta2=1.05 * unequal / 4), dataset)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        analyze(dataclasses.replace(task, eta1=0.95 * unequal, eta2=0.95 * unequal / 4), dataset)


def test_the_least_linear_loss_is_that_of_least_squares_in_both_dtypes():
    """n < d with centred data: the Gram matrix is singular, and 1e9 steps must not raise its rounding."""
    for dtype in (np.float32, np.float64):
        X = np.random.default_rng(0).standard_normal((21, 40))
        X = (X - X.mean(axis=0)).astype(dtype)
        y = np.sign(np.random.default_rng(1).standard_normal(21)).astype(dtype)
        dataset = ns.datasets.Dataset(X, y, X[:0], y[:0], 1.0, "few points")
        found = analyze(SMALL, dataset)
        residual = y - X @ np.linalg.lstsq(X, y, rcond=1e-5)[0]
        assert found.final_linear_loss["train"] == pytest.approx(float((residual**2).mean()) / 2, rel=1e-3)


def test_wider_networks_and_larger_dimensions_are_closer_to_linear():
    """n = 8 d, both layers, erf: the relative gap falls as width and d grow together."""
    gaps = []
    for d, width in ((8, 64), (16, 256), (32, 1024)):
        kernel = analyze(AnalyzeTask(width=width, steps=1), data(8 * d, d)).kernel
        gaps.append(float(kernel.gap) / float(kernel.theta_lin))
    assert gaps == sorted(gaps, reverse=True)


def test_the_norm_feature_is_needed_for_norm_dependent_labels():
    """Section 3.4: with vartheta1 = vartheta2 = 0 in (11) the model is further from the network."""
    dataset = data(600, 20, target="norm")
    relu = ns.activation("relu")
    steps, eta = [50, 200], 0.5
    net = ns.TwoLayer.symmetric(20, 1024, "relu")
    network = ns.train_gd(net, dataset.X, dataset.y, eta1=eta, eta2=eta, steps=steps)
    psi = weighted_linear_kernel(relu, dataset.X, weights=(1.0, 1.0), trace_ratio=1.0).low_rank_factors()[0]
    naive = psi.copy()
    naive[:, -1] = relu.constants.vartheta0
    distances = [
        np.mean((ns.predict_gd(Gram(F), dataset.y, eta=eta, steps=steps).train - network.train) ** 2)
        for F in (psi, naive)
    ]
    assert distances[0] < 0.7 * distances[1]


def test_labels_past_one_warn():
    with pytest.warns(UserWarning, match=r"labels reach \|y\| = .*, but the paper's theorems assume \|y\| <= 1"):
        analyze(SMALL, data(target="norm"))


def test_no_test_points_and_a_single_point_are_analyzed():
    dataset = ns.datasets.gaussian(1, 5, target="random")
    found = analyze(SMALL, dataset)
    assert list(found.labels) == ["train"]
    assert "none: no statement on test data" in report(found)
    assert verdict(found)


def test_own_activations_are_taken_and_named_in_the_record():
    act = ns.Activation(np.arctan, lambda z: 1 / (1 + z * z), name="arctan")
    found = analyze(dataclasses.replace(SMALL, activation=act), data())
    assert found.task.activation == "arctan"
    assert found.constants.method == "quadrature"


def test_an_activation_without_linear_part_is_analyzed():
    """cos has zeta = 0: the first-layer linear kernel is the constant nu² 1 1ᵀ / d alone."""
    found = analyze(dataclasses.replace(SMALL, activation="cos", layer="first"), data())
    assert np.isfinite(found.kernel.largest_stable_rate)
    assert verdict(found)


def test_tasks_that_cannot_run_are_refused_before_anything_is_computed():
    bad = {
        "width=7": {"width": 7},
        "layer='third'": {"layer": "third"},
        "eta2=1 trains a layer that layer='first' leaves alone": {"layer": "first", "eta2": 1.0},
        "learning rates are 0": {"eta1": 0.0, "eta2": 0.0},
        "layer='both' needs both of them": {"eta1": 1.0},
        "eta1=nan": {"eta1": float("nan")},
        "activation 'rellu' is unknown": {"activation": "rellu"},
        "steps=-1": {"steps": -1},
        "second='other'": {"second": "other"},
    }
    for reason, change in bad.items():
        with pytest.raises(ValueError, match=reason):
            analyze(dataclasses.replace(SMALL, **change), data())
    broken = dataclasses.replace(data(), y=np.full(150, np.nan))
    with pytest.raises(ValueError, match="y holds 150 entries that are NaN or infinite"):
        analyze(SMALL, broken)


def test_recorded_steps_reach_from_zero_to_the_last():
    for last in (1, 2, 50, 3000):
        steps = logarithmic_steps(last)
        assert (steps[0], steps[-1]) == (0, last)
        assert (np.diff(steps) > 0).all()
        assert len(steps) <= 82
