"""An analysis as lines of text for a terminal."""

import math

import numpy as np

from ntkspec.dynamics import stable_rate
from ntkspec.experiments.analyze import Analysis, Comparison
from ntkspec.experiments.verdict import describe, verdict
from ntkspec.objects.words import counted
from ntkspec.reporting.rows import WIDTH, interval, loss_title, own_rows, prepared, rows, terms, titled
from ntkspec.spectra.results import Estimate

_SHOWN_STEPS = 12
_SHORT = {"linear": "lin", "ntk": "ntk"}
_OLDER = "not measured: the record is older than this row"


def report(analysis: Analysis) -> str:
    """The whole report."""
    sections = {
        _title(analysis): _setting(analysis),
        **prepared(analysis.dataset["meta"]),
        "Data against Assumption 3.1 and Claim 3.1": _data(analysis),
        **_activation(analysis),
        f"Kernel at initialization ({_combination(analysis)})": _kernel(analysis),
        "Linear model, mode by mode": _modes(analysis),
        f"Losses {loss_title(analysis.recipe)}": _losses(analysis),
        **_accuracies(analysis),
        "Network against linear model": _agreement(analysis, "network-linear"),
        "Network against its NTK at initialization": _agreement(analysis, "network-ntk"),
        "Verdict": [f"- {sentence}" for sentence in verdict(analysis)],
    }
    return titled(sections)


def _title(analysis) -> str:
    return f"{analysis.dataset['name']}: n = {analysis.data.n}, d = {analysis.data.d}"


def _combination(analysis) -> str:
    if len(set(analysis.rates)) == 1:
        return analysis.task.trained
    eta1, eta2 = analysis.rates
    if not (eta1 and eta2):
        return f"layer: {'first' if eta1 else 'second'}"
    return f"{eta1 / max(eta1, eta2):.4g} Theta_1 + {eta2 / max(eta1, eta2):.4g} Theta_2, as the learning rates"


def _setting(analysis) -> list[str]:
    task, names = analysis.task, ("eta1", "eta2") if len(analysis.rates) == 2 else ("eta",)
    chosen = "" if task.eta1 is not None or task.eta2 is not None else " (automatic)"
    rates = ", ".join(f"{name} = {rate:.4g}" for name, rate in zip(names, analysis.rates, strict=True))
    by = f" of {analysis.recipe.told}" if analysis.recipe.told else ""
    tests = len(analysis.labels.get("test", ()))
    pairs = [
        ("network", str(task)),
        *own_rows(analysis.own),
        *_copies(analysis),
        ("training", f"{counted(analysis.steps[-1], 'step')}{by}, {rates}{chosen}"),
    ]
    if not task.deep and analysis.recipe.usual:
        horizon = analysis.data.d * math.log(analysis.data.d) / max(analysis.rates)
        pairs += [("the theorems cover", f"t <= c * {horizon:.0f}, that is c d log d / eta for a constant c")]
    pairs += [("test points", f"{tests}" if tests else "none: no statement on test data")]
    prediction = analysis.trajectories["ntk"]
    pairs += [("NTK prediction", f"{prediction.method}, truncation error {prediction.error.max():.1e}")]
    pairs += [("time", f"{sum(analysis.timings.values()):.0f} s; forecast: {analysis.forecast}")]
    return rows(pairs)


def _copies(analysis) -> list[tuple[str, str]]:
    """What a network of one output makes of several columns of labels."""
    y, weights = analysis.labels["train"], analysis.weights
    trained = weights.get("trained", weights.get("W"))
    if y.ndim == 1 or len(trained) != y.shape[1] * len(weights.get("initial", [None])):
        return []
    how = "trained together" if analysis.task.loss == "cross-entropy" else "each trained on a column of labels"
    return [("outputs", f"{y.shape[1]} copies of the network, {how}")]


def _data(analysis) -> list[str]:
    data, came = analysis.data, analysis.dataset["meta"].get("as_they_came")

    def before(name: str) -> str:
        return f"; as the data came {came[name]:.4g}" if came else ""

    return rows(
        [
            ("||mean x|| / sqrt d", f"{data.mean_size:.4g}   (assumed 0{before('mean_size')})"),
            ("Tr[Sigma] / d", f"{data.trace_over_d:.4g}   (assumed 1{before('trace_over_d')})"),
            ("||Sigma||", f"{data.covariance_norm:.4g}   (assumed O(1))"),
            ("largest share of a feature", _largest_share(data, came)),
            ("Tr[Sigma^2] / d, unbiased", f"{data.trace_ratio:.4g}   (used: {analysis.dataset['trace_ratio']:.4g})"),
            ("||x||^2 / d", f"{data.norm_min:.4g} to {data.norm_max:.4g}, std {data.norm_spread:.3g}"),
            (
                "largest |<x_i, x_j>| / d",
                f"{data.largest_overlap:.4g}   (yardstick sqrt(log n / d) = {data.concentration:.3g})",
            ),
            ("||X X^T|| / n", f"{data.gram_norm:.4g}   (claimed Theta(1))"),
            ("points that equal an earlier one", _OLDER if data.duplicates is None else f"{data.duplicates}"),
        ]
    )


def _largest_share(data, came) -> str:
    """Of Tr[Sigma], as the data are used and as they came."""
    if math.isnan(data.largest_share):
        return _OLDER
    before = f"; as the data came {came['largest_share']:.4g}, {came['largest_feature']}" if came else ""
    return f"{data.largest_share:.4g} of Tr[Sigma]   (feature {data.largest_feature} from 0{before})"


def _activation(analysis) -> dict[str, list[str]]:
    """The section on the activation; none for a network of the user's own."""
    constants = analysis.constants
    if constants is None:
        return {}
    case = {"smooth": "case (i), smooth", "piecewise linear": "case (ii), piecewise linear"}
    lines = rows(
        [
            ("Assumption 3.2", case.get(analysis.assumption, analysis.assumption)),
            ("zeta, nu", f"{constants.zeta:.12g}, {analysis.nu:.12g}"),
            (
                "vartheta0, vartheta1, vartheta2",
                f"{constants.vartheta0:.12g}, {constants.vartheta1:.12g}, {constants.vartheta2:.12g}",
            ),
            ("computed by", f"{constants.method}, absolute error below {constants.error:.0e}"),
        ]
    )
    return {f"Activation {analysis.task.activation}": lines}


def _kernel(analysis) -> list[str]:
    kernel = analysis.kernel
    size, frobenius = float(kernel.theta_lin), float(kernel.theta_lin_frobenius)

    def relative(value, whole):
        return f"   = {value / whole:.4g} of Theta^lin" if whole else ""

    of_all = [] if kernel.full is None else [("|| kernel of all outputs ||", interval(kernel.full))]
    return rows(
        [
            *_definition(analysis),
            ("||Theta||", interval(kernel.theta)),
            *of_all,
            ("||Theta^lin||", interval(kernel.theta_lin)),
            ("||Theta - Theta^lin||", interval(kernel.gap) + relative(float(kernel.gap), size)),
            (
                "||Theta - Theta^lin||_F",
                f"{float(kernel.gap_frobenius):.6g} (exact)" + relative(float(kernel.gap_frobenius), frobenius),
            ),
            *_nearest(analysis),
            ("products with the difference", _products(kernel.gap)),
            *_stable_rate(analysis),
        ]
    )


def _definition(analysis) -> list[tuple[str, str]]:
    """What Theta^lin is, where no theory says it."""
    known = analysis.own is None or analysis.nearest is None
    return [] if known else [("Theta^lin (the nearest linear one)", terms(analysis.nearest))]


def _nearest(analysis) -> list[tuple[str, str]]:
    """The linear kernel L that is nearest to Theta beside that of theory; no rows where they are one, or in a record
    that is older than them."""
    nearest = analysis.nearest
    if analysis.own is not None or nearest is None:
        return []
    gap, whole = nearest.gap_frobenius, float(analysis.kernel.gap_frobenius)
    part = f"   = {float(gap) / whole:.4g} of the row above" if whole else ""
    return [
        ("||Theta - L||_F, L the nearest", f"{interval(gap)}{part}"),
        ("L, the nearest linear kernel", terms(nearest)),
    ]


def _stable_rate(analysis) -> list[tuple[str, str]]:
    """No row where the law or the loss was the user's own."""
    norm, n, limit = analysis.kernel.predicting, analysis.data.n, analysis.recipe.limit
    if limit is None:
        return []
    low, high = (limit / 2 * stable_rate(end, n) for end in (norm.upper, norm.lower))
    what = "||Theta||" if analysis.kernel.full is None else "|| kernel of all outputs ||"
    stable = f"{analysis.largest_stable_rate:.5g} in [{low:.5g}, {high:.5g}]   ({limit:.4g} n / {what})"
    return [("largest stable learning rate", stable)]


def _modes(analysis) -> list[str]:
    """How the linear model learns, as its eigenvalues say."""
    modes = analysis.modes
    if modes is None:
        nothing = "The linear model or the labels are zero: nothing is learned."
        return [nothing if analysis.recipe.squared else f"There are none on {analysis.recipe.loss_words}."]
    half, last = len(modes.carrying(max(0.5 * float(modes.energies.sum()), 1e-99))), modes.steps_to_learn(0.99)
    grow = int((modes.e_folds < 0).sum())
    times = f"e-fold times {modes.e_folds.min():.4g} to {modes.e_folds.max():.4g} steps"
    if grow:
        times = f"{grow} of them grow: the learning rate is past the largest stable one"
    return rows(
        [
            ("modes", f"{len(modes.values)}; {times}"),
            (
                "part of |y|^2 that it can learn" if analysis.own is None else "part of |y - f_0|^2 it can learn",
                f"{modes.energies.sum():.4g}; half of that in {counted(half, 'mode')}",
            ),
            ("99 % of it is learned after", f"{last:.0f} steps" if math.isfinite(last) else "never"),
        ]
    )


def _products(estimate: Estimate) -> str:
    plan = estimate.plan
    return f"{estimate.products}" + (f", {plan.method} ({plan.reason})" if plan else "")


def _over_steps(analysis, values: dict, shown: str) -> list[str]:
    """A table of numbers of each model, by part; ``shown`` is their format."""
    parts, names = list(analysis.labels), ("network", "ntk", "linear")
    head = "  " + f"{'step':>8}" + "".join(f"{f'{name} {part}':>16}" for part in parts for name in names)
    count = len(analysis.steps)
    places = sorted({round(k * (count - 1) / (_SHOWN_STEPS - 1)) for k in range(_SHOWN_STEPS)})
    lines = [
        f"  {analysis.steps[k]:>8}" + "".join(f"{values[name][part][k]:>16{shown}}" for part in parts for name in names)
        for k in places
    ]
    return [head, *lines]


def _accuracies(analysis) -> dict[str, list[str]]:
    """The section on what is classified rightly; none where labels are no columns of classes."""
    title = "Accuracy (part of the points whose class has the largest output)"
    return {title: _over_steps(analysis, analysis.accuracies, ".4f")} if analysis.accuracies else {}


def _losses(analysis) -> list[str]:
    limit = ", ".join(f"{part} {value:.6g}" for part, value in analysis.final_linear_loss.items())
    least = [f"  least loss of the linear model (least squares): {limit}"] if limit else []
    return [*_over_steps(analysis, analysis.losses, ".6g"), *least]


def _agreement(analysis, pair: str) -> list[str]:
    """The largest differences, then a row for each threshold: steps of agreement by either measure."""
    comparisons, lines = analysis.comparisons[pair], []
    largest = [(f"{part}: largest mean sq. difference", _largest(analysis, one)) for part, one in comparisons.items()]
    for part, comparison in comparisons.items():
        for own, to_labels in zip(comparison.agreement, comparison.agreement_to_labels, strict=True):
            ranges = f"{describe(to_labels):<32} {describe(own)}"
            lines += rows([(f"{part}: squared difference < {own.threshold:.0%}", ranges)])
    other = f"f_{_SHORT[pair.split('-')[1]]}"
    head = f"  {'':<{WIDTH}} {f'||f - {other}||^2 / ||y||^2':<32} ||f - {other}||^2 / ||{other}||^2"
    return [*rows(largest), head, *lines]


def _largest(analysis, comparison: Comparison) -> str:
    finite = np.where(np.isfinite(comparison.mean_squared), comparison.mean_squared, -1.0)
    place = int(finite.argmax())
    note = f"; relative ones are {comparison.note}" if comparison.note else ""
    return f"{finite[place]:.4g} at step {analysis.steps[place]}{note}"
