"""The main job at full size: what the paper says about Figure 1a, on the default setting of `ntkspec analyze`."""

import numpy as np
import pytest

import ntkspec as ns
from ntkspec.experiments.analyze import AnalyzeTask, analyze


@pytest.fixture(scope="module")
def figure1():
    return analyze(AnalyzeTask(), ns.datasets.gaussian(20000, 50, n_test=2000, dtype=np.float32))


@pytest.mark.slow
def test_network_and_linear_model_are_indistinguishable_in_the_first_thousand_steps(figure1):
    """Losses within 3 % of the initial loss, on training and test points."""
    early = figure1.steps <= 1000
    for part in ("train", "test"):
        gap = figure1.losses["network"][part] - figure1.losses["linear"][part]
        assert np.abs(gap[early]).max() < 0.03 * 0.5


@pytest.mark.slow
def test_linear_learning_finishes_and_the_network_continues_to_make_progress(figure1):
    losses, final = figure1.losses, figure1.final_linear_loss["train"]
    at = {step: int(np.searchsorted(figure1.steps, step)) for step in (1000, 3000)}
    assert losses["linear"]["train"][at[1000]] < 1.01 * final
    assert losses["network"]["train"][at[3000]] < 0.99 * final
    assert losses["network"]["train"][at[3000]] < losses["network"]["train"][at[1000]]


@pytest.mark.slow
def test_the_spectrum_of_the_ntk_has_the_d_eigenvalues_of_the_linear_model(figure1):
    """A gap of a factor 10 after d = 50 eigenvalues, and their sum is that of the linear kernel to 10 %."""
    values, linear = figure1.kernel.eigenvalues, figure1.kernel.eigenvalues_lin
    assert values[49] > 10 * values[50]
    assert values[:50].sum() == pytest.approx(linear[:50].sum(), rel=0.1)
