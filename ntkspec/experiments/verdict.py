"""The verdict on an analysis in plain words, with what was not reached."""

import math

import numpy as np

from ntkspec.activations import Constants
from ntkspec.datasets.labels import FEW
from ntkspec.experiments.agreement import Agreement
from ntkspec.experiments.analyze import Analysis
from ntkspec.experiments.own_networks import compared_with
from ntkspec.theory.assumptions import DataSummary

# The share of the training loss below which the linear model is said to learn little.
LITTLE = 0.02


def verdict(analysis: Analysis) -> list[str]:
    """Sentences, most important first."""
    return [_kernel(analysis), *_nearest(analysis), *_training(analysis), *_besides(analysis)]


def beside_headline(analysis: Analysis) -> list[str]:
    """The sentences that say something else than the headline (:mod:`ntkspec.experiments.headline`) and no other answer
    to its question."""
    return [*_nearest(analysis), *_besides(analysis)]


def _besides(analysis: Analysis) -> list[str]:
    return [
        _frozen_kernel(analysis),
        *_accuracy(analysis),
        _linear_part(analysis),
        *_assumptions(analysis),
        *_intervals(analysis),
    ]


def describe(agreement: Agreement) -> str:
    """An agreement as words for a table or a sentence."""
    if agreement.since is None:
        return "at no recorded step"
    if agreement.from_start and agreement.to_end:
        return "at the only step" if agreement.until == 1 else f"at all {agreement.until} steps"
    start = "from the start" if agreement.from_start else f"from step {agreement.since}"
    return f"{start} to step {agreement.until}" + (" (the end)" if agreement.to_end else "")


def _kernel(analysis: Analysis) -> str:
    kernel = analysis.kernel
    size = float(kernel.theta_lin)
    own = analysis.own is not None
    if size == 0:
        where = "network" if own else "activation and layer"
        return f"The linear model is zero for this {where}: there is no linear kernel to be close to."
    spectral = float(kernel.gap) / size
    frobenius = float(kernel.gap_frobenius) / float(kernel.theta_lin_frobenius)
    if spectral < 100 * float(np.finfo(analysis.labels["train"].dtype).eps):
        return f"At initialization the NTK is {'a' if own else 'the'} linear kernel, up to rounding."
    word = "close to linear" if spectral < 0.1 else "roughly linear" if spectral < 0.5 else "not close to linear"
    return (
        f"At initialization the NTK is {word}: its distance from {compared_with(analysis.own)} is {spectral:.1%} of "
        f"that kernel in spectral norm and {frobenius:.1%} in Frobenius norm."
    )


def _nearest(analysis: Analysis) -> list[str]:
    """What the nearest linear kernel leaves of the distance from that of theory, where it is nearer."""
    nearest, whole = analysis.nearest, float(analysis.kernel.gap_frobenius)
    size = float(analysis.kernel.theta_lin_frobenius)
    if nearest is None or analysis.own is not None or not size or whole < 1e-4 * size:
        return []
    rest = float(nearest.gap_frobenius)
    if rest > whole:
        return []
    constants = 1 - (rest / whole) ** 2
    return [
        f"The nearest linear kernel is {rest / size:.1%} of it away in Frobenius norm: {constants:.1%} of the squared "
        f"distance are the constants of theory and the identity, and the rest no linear kernel explains."
    ]


def _training(analysis: Analysis) -> list[str]:
    """The agreement of network and linear model, on the test points where there are any."""
    part = analysis.judged_part
    comparison = analysis.comparisons["network-linear"][part]
    lines, reached = [], analysis.diverged_after
    if reached is not None:
        lines = [f"Training diverged after step {reached}: what follows holds up to there only."]
    loosest = comparison.agreement_to_labels[-1]
    by = f" by {analysis.recipe.told}" if analysis.recipe.told else ""
    lines += [
        f"In training{by}, network and linear model ({part} outputs) differ by less than {loosest.threshold:.0%} of "
        f"the labels' mean square {describe(loosest)}, and by less than {loosest.threshold:.0%} of the linear model's "
        f"own mean square {describe(comparison.agreement[-1])}."
    ]
    return [*lines, *_parting(analysis, loosest, comparison.agreement[-1])]


def _parting(analysis: Analysis, *loosest: Agreement) -> list[str]:
    """Where the network leaves the linear model: what it does on the training loss that no linear model can, where it
    is known what that can do."""
    losses, final = analysis.losses["network"]["train"], analysis.final_linear_loss.get("train", -np.inf)
    short = np.flatnonzero(~(losses < 0.99 * final))
    if not len(short):  # a network that was trained before; any other is no better than the linear model at step 0
        return [
            f"The network's training loss is more than 1 % below {final:.4g} from the start, the least that the linear "
            f"model can reach from there."
        ]
    if short[-1] + 1 < len(losses):
        return [
            f"From step {analysis.steps[short[-1] + 1]} on the network's training loss is more than 1 % below "
            f"{final:.4g}, the least that the linear model can reach: from there on it fits what that model cannot."
        ]
    if all(agreement.to_end for agreement in loosest):
        return [
            f"They had not parted by step {analysis.steps[-1]}, the last one: where the agreement ends was not "
            f"reached; ask for more --steps to see it."
        ]
    if not analysis.final_linear_loss:
        return []
    return ["The network's training loss did not fall 1 % below what the linear model can reach within these steps."]


def _diverges(analysis: Analysis, norm) -> bool:
    """Whether the rate is past the largest stable one of a kernel with that norm, where the squared loss tells."""
    law = analysis.recipe.spectral if analysis.recipe.squared else None
    return law is not None and max(analysis.rates) * float(norm) > law.limit * analysis.data.n


def _frozen_kernel(analysis: Analysis) -> str:
    if _diverges(analysis, analysis.kernel.predicting):
        return "The NTK at initialization, kept fixed, diverges at this learning rate."
    part = analysis.judged_part
    comparison = analysis.comparisons["network-ntk"][part]
    finite = comparison.relative_to_labels[np.isfinite(comparison.relative_to_labels)]  # step 0 always is
    return (
        f"The NTK at initialization, kept fixed, predicts the network up to {finite.max():.2g} of the labels' mean "
        f"square over the recorded steps."
    )


def _accuracy(analysis: Analysis) -> list[str]:
    """What is classified rightly at the last step, where labels are columns of classes."""
    if not analysis.accuracies:
        return []
    part = analysis.judged_part
    last = {name: parts[part][-1] for name, parts in analysis.accuracies.items()}
    chance = 1 / analysis.labels["train"].shape[1]
    return [
        f"Of the {part} points the network classifies {last['network']:.1%} rightly at the last step, its NTK at "
        f"initialization {last['ntk']:.1%} and the linear model {last['linear']:.1%} (chance: {chance:.1%})."
    ]


def _linear_part(analysis: Analysis) -> str:
    losses = analysis.losses["linear"]["train"]
    if _diverges(analysis, analysis.kernel.theta_lin):
        return "The linear model diverges at this learning rate."
    if not analysis.final_linear_loss:
        return f"The linear model's training loss goes from {losses[0]:.4g} to {losses[-1]:.4g} by the last step."
    final = analysis.final_linear_loss["train"]
    gain = losses[0] - final
    if not gain > 1e-12 * losses[0]:
        return "The linear model has nothing to learn from these labels."
    done = (losses[0] - losses[-1]) / gain
    rest = "" if done > 0.99 else "; the linear phase is not over, more --steps or a larger --eta would show its end"
    return (
        f"By the last step the linear model has made {done:.1%} of the progress it can make on the training loss{rest}."
        + (_little_to_learn(gain / losses[0], analysis.labels["train"]) if gain < LITTLE * losses[0] else "")
    )


def _little_to_learn(share: float, y) -> str:
    """What agreement is worth where the linear model can take away a small share of the loss only."""
    y = y.astype(np.float64)
    constant = np.mean(y.mean(axis=0) ** 2) / np.mean(y * y)
    why = f"; {constant:.0%} of the labels' mean square is their mean, so centre the labels" if constant > 0.5 else ""
    return f" That is {share:.1%} of the loss: models that learn so little agree whatever they are{why}."


def _theorem(analysis: Analysis) -> list[str]:
    """Where the setting leaves what the theorem about its layer assumes."""
    data, task, constants = analysis.data, analysis.task, analysis.constants
    if constants is None:
        return ["The paper's theorems are about networks of its own form; what is said of this one is measured."]
    if not analysis.recipe.usual:
        return [
            f"The paper's theorems are about full-batch gradient descent on the squared loss; what is said of "
            f"{analysis.recipe.words} is measured."
        ]
    if task.deep:
        return [
            f"The paper's theorems about training are for two layers; it has experiments with networks such as "
            f"{task.network}, and what is said here is measured."
        ]
    n_power, m_power = (
        math.log(size) / math.log(data.d) if data.d > 1 else math.inf for size in (data.n, task.spec.fixed_width())
    )
    wide = 2.0 if task.layer != "first" and abs(constants.vartheta0) > 1e-12 else 1.0
    name = {"first": "Theorem 3.2", "second": "Theorem 3.5", "both": "the both-layers theorem (a reconstruction)"}[
        task.layer
    ]
    outside = (
        f"Outside {name}: n = d^{n_power:.2f} and width = d^{m_power:.2f}, but it assumes n >~ d^(1+alpha) and "
        f"width >~ d^({wide:.0f}+alpha) for an alpha > 0."
    )
    return ([outside] if n_power <= 1 or m_power <= wide else []) + _rates(analysis, name, constants)


def _assumptions(analysis: Analysis) -> list[str]:
    """Where the setting leaves what the theorems assume."""
    data, lines, own = analysis.data, _theorem(analysis), analysis.own is not None
    if analysis.assumption.startswith("none"):
        lines.append(f"Outside Assumption 3.2: {analysis.assumption.removeprefix('none: ')}.")
    off = departures(data, analysis.dataset["meta"], fitted=own)
    if off and own:
        lines.append(f"About the data: {'; '.join(off)}.")
    elif off:
        lines.append(
            f"The data leave Assumption 3.1: {'; '.join(off)}. The theorems do not speak about them as they are."
        )
    largest = float(abs(analysis.labels["train"]).max())
    if largest > 1 and not own:
        lines.append(f"Labels reach |y| = {largest:.3g}, but the theorems assume |y| <= 1.")
    values = len(np.unique(analysis.labels["train"]))
    if 2 < values <= FEW and 2 * values <= data.n and not analysis.accuracies:
        lines.append(
            f"Labels take {values} values only and are regressed as numbers; if they are classes, choose two of them "
            f"or more (--classes)."
        )
    return lines


def departures(data: DataSummary, meta: dict, *, fitted: bool = False) -> list[str]:
    """Where points leave Assumption 3.1 and Claim 3.1, as clauses; ``meta`` of their data set names the features.

    fitted : the linear model has constants that were fitted, so that mean and scale of the points do not matter.
    """
    off = []
    if abs(data.trace_over_d - 1) > 0.05 and not fitted:
        off.append(f"Tr[Sigma]/d = {data.trace_over_d:.3g} instead of 1")
    if not data.mean_is_zero and not fitted:
        off.append(f"the mean has size {data.mean_size:.3g} instead of 0, which the linear model assumes too")
    if data.d > 1 and data.covariance_norm > _largest_norm(data):
        off.append(f"||Sigma|| = {data.covariance_norm:.3g} is not O(1), {_leading(data, meta)}")
    if data.n > 1 and data.norm_spread > 3 * math.sqrt(2 * data.trace_ratio / data.d) + 0.01:
        off.append(f"||x||^2/d spreads by {data.norm_spread:.3g}")
    if data.duplicates:
        equal = "equals" if data.duplicates == 1 else "equal"
        off.append(f"{data.duplicates} of {data.n} points {equal} an earlier one")
    return off


def _largest_norm(data: DataSummary) -> float:
    """Of Sigma, where it is still called O(1): ten times that of n samples of covariance I, but not more than half of
    Tr[Sigma] = d in one direction where those samples have less, and never above 0.9 d."""
    isotropic = (1 + math.sqrt(data.d / data.n)) ** 2
    return min(10 * isotropic, max(0.5 * data.d, min(2 * isotropic, 0.9 * data.d)))


def _leading(data: DataSummary, meta: dict) -> str:
    """What carries most of Tr[Sigma], and what to do where that is one feature."""
    if data.largest_share > 0.5:
        remedy = "standardize the features (--standardize)"
        came = None if meta.get("standardized") else meta.get("as_they_came")
        feature = came["largest_feature"] if came else f"feature {data.largest_feature}"
        return f"{feature} alone carries {data.largest_share:.4g} of Tr[Sigma]: {remedy}"
    return f"one direction carries {data.leading_share:.3g} of Tr[Sigma]"


def _rates(analysis: Analysis, name: str, constants: Constants) -> list[str]:
    """Learning rates that the theorems exclude; "much smaller" is taken as a tenth."""
    (eta1, eta2), data, off = analysis.rates, analysis.data, []
    if eta1 > 0.1 * data.d:
        off.append(f"eta1 = {eta1:.3g} is not << d")
    if abs(constants.vartheta0) > 1e-12 and eta2 > 0.1:
        off.append(f"eta2 = {eta2:.3g} is not << 1, as E[phi(g)] != 0 asks for")
    elif eta2 > 0.1 * data.d / max(1.0, math.log(data.n)):
        off.append(f"eta2 = {eta2:.3g} is not << d / log n")
    return [f"Outside {name}: {'; '.join(off)}."] if off else []


def _intervals(analysis: Analysis) -> list[str]:
    norms = {
        "Theta": analysis.kernel.theta,
        "Theta^lin": analysis.kernel.theta_lin,
        "the difference": analysis.kernel.gap,
    }
    open_ones = [name for name, estimate in norms.items() if not estimate.converged]
    if not open_ones:
        return []
    return [f"The interval of the spectral norm of {', '.join(open_ones)} did not close to 0.1 %: read the interval."]
