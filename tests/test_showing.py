"""What print shows of a result: a few lines that say what it is."""

import numpy as np
import pytest

import ntkspec as ns
from ntkspec.experiments.analyze import AnalyzeTask, analyze
from ntkspec.experiments.spectrum import SpectrumTask, measure_spectrum
from ntkspec.spectra.showing import few

X = np.random.default_rng(0).standard_normal((60, 4))
y = np.sign(X[:, 0])
NET = ns.TwoLayer.symmetric(4, 16, "erf")
K = ns.ntk(NET, X)
DATA = ns.datasets.gaussian(50, 4, n_test=10)


def test_few_numbers_stand_for_many():
    assert few([1, 2.5]) == "[1, 2.5]"
    assert few(np.arange(7)) == "[0, 1, 2, 3, 4, 5, 6]"
    assert few(np.arange(100)) == "[0, 1, 2, ..., 97, 98, 99]"
    assert few([]) == "[]"


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (
            lambda: ns.eigsh(K, 3),
            ["Spectrum of 3 eigenpairs of 60 points", f"{np.linalg.eigvalsh(K)[-1]:.5g}", "dense"],
        ),
        (lambda: ns.spectral_density(K), ["Density of 60 eigenvalues, all computed", "none outside"]),
        (lambda: ns.spectral_density(K).histogram(30), ["Histogram of 30 bins", "shares [", ", ..., "]),
        (lambda: ns.spectral_density(K).smoothed(), ["Smoothed density at 200 points", "width"]),
        (lambda: ns.spectral_norm(K), [" in [", "products)"]),
        (lambda: ns.predict_gd(K, y, eta=0.1, steps=[0, 5]), ["60 training outputs at steps [0, 5]", "dense"]),
        (lambda: ns.train_gd(NET, X, y, eta=0.1, steps=[1], X_test=X[:7]), ["60 training and 7 test", "descent"]),
        (lambda: ns.learning_modes(K, y, eta=0.1), ["Modes, the leading 20 of 60 points", "steps to shrink by e"]),
        (lambda: ns.activation("tanh").constants, ["zeta=0.605"]),
        (lambda: ns.subspace_angles(ns.eigsh(K, 3), ns.eigsh(K, 2)), ["Angles"]),
        (lambda: ns.spectral_norm(K).evidence, ["positive semidefinite"]),
        (lambda: ns.gap_budget(NET, X), ["Budget, layer: both", "fluctuation", "predicted", "dominant: "]),
        (lambda: analyze(AnalyzeTask(width=16, steps=5), DATA), ["erf, width 16", "50 training points", "||Theta||"]),
        (lambda: analyze(AnalyzeTask(width=16, steps=5), DATA).kernel, ["||Theta^lin||"]),
        (lambda: analyze(AnalyzeTask(width=16, steps=5), DATA).comparisons["network-ntk"]["train"], ["up to"]),
        (lambda: measure_spectrum(SpectrumTask(width=16, steps=5), DATA), ["norm", "20 eigenpairs", "labels"]),
    ],
)
def test_a_result_is_printed_in_a_few_lines(result, said):
    text = str(result())
    assert len(text) < 600
    assert text.count("\n") <= 6
    for part in said:
        assert part in text
    assert len(repr(result())) < 700


def test_a_spectrum_unpacks_as_scipys_does():
    values, vectors = ns.eigsh(K, 3)
    assert np.asarray(K) @ vectors == pytest.approx(vectors * values, abs=1e-10)
