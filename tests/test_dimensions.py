"""Condition numbers and dimensions against all eigenvalues, in both ways of computing them."""

import numpy as np
import pytest

import ntkspec as ns
from adversarial import matrix_with, operator_with
from ntkspec.operators import Gram, wrap
from ntkspec.spectra import densities, dimensions

SEMIDEFINITE = {
    "identity": np.ones(300),
    "rank one": np.r_[5.0, np.zeros(299)],
    "two clusters": np.r_[np.full(150, 2.0), np.full(150, 1.0)],
    "kernel-like": np.r_[100.0, np.linspace(3, 4, 30), np.linspace(0.1, 0.2, 269)],
    "geometric": 0.9 ** np.arange(300),
    "uniform": np.linspace(1, 2, 300),
}


def exact(values):
    p = values[values > 0] / values.sum()
    return {
        ns.effective_rank: values.sum() / values.max(),
        ns.participation_ratio: values.sum() ** 2 / (values**2).sum(),
        ns.spectral_entropy: -(p * np.log(p)).sum(),
        ns.condition_number: values.max() / values.min() if values.min() > 0 else np.inf,
    }


@pytest.fixture(params=["all eigenvalues", "products"])
def way(request, monkeypatch):
    if request.param == "products":
        monkeypatch.setattr(densities, "DENSE_SIZE", 0)
        monkeypatch.setattr(dimensions, "DENSE_SIZE", 0)
    return request.param


@pytest.mark.covering(2)
@pytest.mark.parametrize("measure", [ns.effective_rank, ns.participation_ratio, ns.spectral_entropy])
@pytest.mark.parametrize("name", SEMIDEFINITE)
def test_dimensions_are_in_their_intervals(name, measure, way):
    values = SEMIDEFINITE[name]
    found, expected = measure(operator_with(values), seed=1), exact(values)[measure]
    assert found.lower <= expected + 1e-9
    assert expected <= found.upper + 1e-9
    assert found.lower - 1e-12 <= found.value <= found.upper + 1e-12
    assert found.converged
    if measure is ns.spectral_entropy:
        assert found.upper - found.lower <= 0.1 * found.upper + 1e-9


@pytest.mark.parametrize("name", SEMIDEFINITE)
def test_condition_numbers_are_in_their_intervals(name, way):
    values = SEMIDEFINITE[name]
    found, expected = ns.condition_number(operator_with(values), seed=1), exact(values)[ns.condition_number]
    assert found.lower <= expected * (1 + 1e-9)
    assert expected <= found.upper * (1 + 1e-9)
    small = np.linalg.eigvalsh(operator_with(values).matrix)[0] < 1e-12
    assert found.converged == (not small and (name != "geometric" or way == "all eigenvalues"))
    assert (found.upper == np.inf) == (name == "rank one" or (name == "geometric" and not found.converged))


def test_entropies_of_many_seeds_hold(way):
    values = SEMIDEFINITE["kernel-like"]
    expected = exact(values)[ns.spectral_entropy]
    for seed in range(3):
        found = ns.spectral_entropy(operator_with(values), rtol=0.3, failure_probability=1e-3, seed=seed)
        assert found.lower <= expected + 1e-9 <= found.upper + 2e-9


def test_entropy_takes_more_probes_for_a_narrower_interval(monkeypatch):
    monkeypatch.setattr(dimensions, "DENSE_SIZE", 0)
    monkeypatch.setattr(dimensions, "PAIRS", 4)
    operator = wrap(np.diag(np.linspace(0.5, 2, 700)))
    wide, narrow = (ns.spectral_entropy(operator, rtol=rtol) for rtol in (0.3, 0.08))
    assert wide.products < narrow.products
    assert narrow.upper - narrow.lower <= 0.08 * narrow.upper
    monkeypatch.setattr(dimensions, "MOST_PROBES", 4)
    assert not ns.spectral_entropy(operator, rtol=0.001).converged


def test_dimensions_of_the_identity_and_of_rank_one():
    identity, one = wrap(np.eye(50)), Gram(np.ones((50, 1)))
    for measure in (ns.effective_rank, ns.participation_ratio):
        assert float(measure(identity)) == pytest.approx(50)
        assert float(measure(one)) == pytest.approx(1)
    assert float(ns.spectral_entropy(identity)) == pytest.approx(np.log(50))
    assert float(ns.spectral_entropy(one)) == pytest.approx(0, abs=1e-12)
    assert float(ns.condition_number(identity)) == pytest.approx(1)
    assert ns.condition_number(one).upper == np.inf


def test_the_zero_kernel_has_no_dimension():
    zero = wrap(np.zeros((20, 20)))
    for measure in (ns.effective_rank, ns.participation_ratio, ns.spectral_entropy):
        assert float(measure(zero)) == 0.0


@pytest.mark.parametrize("measure", [ns.effective_rank, ns.spectral_entropy, ns.condition_number])
def test_negative_eigenvalues_are_refused(measure, way):
    with pytest.raises(ValueError, match=r"but this one has an eigenvalue of -0\.(2|19)"):
        measure(matrix_with(np.r_[-0.2, np.linspace(1, 2, 99)]))
    with pytest.raises(ValueError, match="has an eigenvalue of -3 or below"):
        ns.participation_ratio(-1 * Gram(np.ones((3, 1))))
