"""What a verdict says of data that leave the assumptions, and that it is silent where they do not."""

import dataclasses
import math

import numpy as np
import pytest

from ntkspec.datasets.dataset import standardized
from ntkspec.experiments.analyze import AnalyzeTask, analyze
from ntkspec.experiments.verdict import departures, verdict
from ntkspec.reporting.analysis import report
from ntkspec.theory.assumptions import DataSummary, summarize

N = 400


def points(d, seed=0):
    return np.random.default_rng(seed).standard_normal((N, d))


def prepared(X, y=None, **how):
    y = np.sign(X[:, 0]) if y is None else y
    return standardized(X=X, y=y, X_test=X[:0], y_test=y[:0], name="made", meta={}, dtype=np.float64, **how)


def analysis(X, y=None, *, network="two-layer", **how):
    width = 64 if network == "two-layer" else None
    task = AnalyzeTask(activation="erf", network=network, width=width, steps=2)
    return analyze(task, prepared(X, y, **how))


def said(X, **how) -> str:
    """How prepared points leave Assumption 3.1."""
    dataset = prepared(X, **how)
    return "; ".join(departures(summarize(dataset.X), dataset.meta))


def one_column(d, power=6):
    X = points(d)
    X[:, 1] *= 10**power
    return X


@pytest.mark.parametrize("d", [2, 3, 5, 13, 40])
@pytest.mark.parametrize(
    "make", [points, lambda d: np.random.default_rng(1).uniform(-1, 1, (N, d)), lambda d: points(d) + 7]
)
def test_data_of_the_assumption_are_not_complained_of(d, make):
    assert said(make(d)) == ""


@pytest.mark.parametrize("d", [2, 4, 13, 20])
@pytest.mark.parametrize("power", [1, 6])
def test_a_column_that_carries_everything_is_named_at_any_d(d, power):
    assert "feature 1 alone carries" in said(one_column(d, power))
    assert said(one_column(d, power), standardize=True) == ""


def test_a_direction_that_carries_everything_is_not_called_a_feature():
    X = points(1) * np.ones(6) + 0.01 * points(6, seed=1)
    assert "one direction carries 1 of Tr[Sigma]" in said(X)


def test_duplicated_points_and_labels_beyond_one_are_said():
    X = points(5)
    X[:30] = X[30:60]
    assert f"30 of {N} points equal an earlier one" in said(X)
    with pytest.warns(UserWarning, match="labels reach"):
        found = analysis(points(5), 3 * points(1)[:, 0])
    assert any(sentence.startswith("Labels reach |y| = ") for sentence in verdict(found))


@pytest.mark.parametrize("network", ["two-layer", "fc:2x8"])
def test_points_whose_mean_is_left_in_are_told_for_every_network(network):
    X = points(5) + 2
    found = analysis(X, network=network, center=False)
    size = np.linalg.norm(X.mean(axis=0)) / np.linalg.norm(X) * math.sqrt(N)
    sentence = f"the mean has size {size:.3g} instead of 0, which the linear model assumes too"
    assert any(sentence in line for line in verdict(found))
    covariance = np.cov(X.T) / (X**2).mean()
    assert found.dataset["trace_ratio"] == pytest.approx(float((covariance**2).sum()) / 5, rel=0.05)


def test_the_report_shows_the_data_as_they_came_and_as_they_are_used():
    X = 10 * points(4) + 50
    X[:, 2] *= 5
    lines = report(analysis(X)).splitlines()
    row = {line[2:36].strip(): line[36:].strip() for line in lines if line.startswith("  ")}
    assert row["||mean x|| / sqrt d"].endswith(f"as the data came {np.linalg.norm(X.mean(axis=0)) / 2:.4g})")
    assert row["Tr[Sigma] / d"].endswith(f"as the data came {X.var(axis=0).mean():.4g})")
    assert row["largest share of a feature"].count("feature 2") == 2
    assert any("centred by the training mean; scaled by" in line for line in lines)


@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1e-9, 1e9, 1e155, 1e307])
@pytest.mark.parametrize("standardize", [False, True])
def test_the_unit_of_the_data_does_not_matter(scale, standardize):
    X, y = points(3) + 1, np.ones(N)
    plain, scaled = (
        standardized(
            X=Z, y=y, X_test=Z[:9], y_test=y[:9], name="made", meta={}, dtype=np.float64, standardize=standardize
        )
        for Z in (X, scale * X)
    )
    np.testing.assert_allclose(scaled.X, plain.X, atol=1e-12)
    np.testing.assert_allclose(scaled.X_test, plain.X_test, atol=1e-12)
    assert float((scaled.X**2).mean()) == pytest.approx(1, rel=1e-12)
    assert scaled.meta["as_they_came"]["mean_size"] == pytest.approx(scale * plain.meta["as_they_came"]["mean_size"])
    if not standardize:
        assert scaled.meta["scale"] * scale == pytest.approx(plain.meta["scale"])


@pytest.mark.parametrize(("labels", "said"), [((0, 1, 2), True), (range(10), True), ((-1, 1), False)])
def test_class_numbers_that_are_regressed_are_told(labels, said):
    y = np.resize(np.array(labels, dtype=float), N) / max(labels)
    assert any(f"{len(labels)} values only" in line for line in verdict(analysis(points(5), y))) == said


@pytest.mark.parametrize(("mean", "said"), [(0.0, False), (0.98, True)])
def test_agreement_on_labels_that_are_mostly_their_mean_is_called_empty(mean, said):
    X = points(5)
    y = np.where(np.sign(X[:, 0]) > 0, 1.0, 2 * mean - 1)
    sentences = " ".join(verdict(analysis(X, y)))
    assert ("is their mean, so centre the labels" in sentences) == said


@pytest.mark.parametrize("value", [0.0, 0.1, -1e9, 1 / 3])
@pytest.mark.parametrize("standardize", [False, True])
def test_a_constant_column_stays_zero_however_its_mean_is_rounded(value, standardize):
    X = points(3)
    X[:, 1] = value
    assert (prepared(X, standardize=standardize).X[:, 1] == 0).all()


def test_standardized_features_have_one_spread_whatever_their_units():
    X = points(4) * [1e-200, 1.0, 1e90, 1e-3]
    np.testing.assert_allclose(prepared(X, standardize=True).X.std(axis=0), 1, rtol=1e-12)


def test_a_record_from_before_the_new_rows_says_that_they_were_not_measured():
    found = analysis(points(3))
    older = {field.name: getattr(found.data, field.name) for field in dataclasses.fields(found.data)}
    for name in ("largest_share", "largest_feature", "duplicates"):
        del older[name]
    text = report(dataclasses.replace(found, data=DataSummary(**older), dataset=found.dataset | {"meta": {}}))
    assert text.count("not measured: the record is older than this row") == 2
