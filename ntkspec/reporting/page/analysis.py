"""The page of an analysis."""

import math
from typing import Any

import numpy as np

from ntkspec.experiments.agreement import Agreement
from ntkspec.experiments.analyze import Analysis
from ntkspec.experiments.headline import headline
from ntkspec.experiments.own_networks import compared_with
from ntkspec.experiments.verdict import describe, verdict
from ntkspec.plotting import analysis as figures
from ntkspec.plotting.svg import panels
from ntkspec.reporting.page.elements import Chart, Element, Facts, Section, Table, Tile, Words, columns
from ntkspec.reporting.page.footing import promises, provenance, symbols, times
from ntkspec.reporting.page.page import Content
from ntkspec.reporting.page.typeset import Given
from ntkspec.reporting.rows import loss_title, own_rows, terms

_MODELS = {name: figures.LABELS[name] for name in ("network", "ntk", "linear")}
_PAIRS = {pair: figures.PAIRS[pair][1] for pair in ("network-linear", "network-ntk", "ntk-linear")}
_MOST_POINTS = 5


def content(analysis: Analysis, made_with: dict[str, Any] | None, name: str) -> Content:
    """What the page of an analysis says. made_with, name : the provenance, and the file that it comes from."""
    answer = headline(analysis)
    return Content(
        kind="analysis",
        headline=str(answer),
        setting=Given(
            f"{analysis.dataset['name']}: n = {analysis.data.n}, d = {analysis.data.d}; {analysis.task.label}"
        ),
        tiles=_tiles(analysis),
        verdict=[Words([answer.meaning, *verdict(analysis)])],
        sections=[
            _training(analysis),
            _kernel(analysis),
            _data(analysis),
            _setting(analysis),
            promises(_estimates(analysis), _measured(analysis)),
            symbols(*_symbols(analysis)),
            provenance(
                made_with, name, "This analysis was not read from a file: nothing is known of what it was made with."
            ),
        ],
    )


# ------------------------------------------------------------------------------------------------------------- verdict
def _tiles(analysis: Analysis) -> list[Tile]:
    kernel, part, tiles = analysis.kernel, analysis.judged_part, []
    if float(kernel.theta_lin):
        ratio = float(kernel.gap) / float(kernel.theta_lin)
        far = f"distance of the NTK from {compared_with(analysis.own)} in spectral norm"
        tiles.append(Tile(f"{ratio:.1%}", far))
    loosest = analysis.comparisons["network-linear"][part].agreement_to_labels[-1]
    tiles.append(
        Tile(
            _reached(loosest, int(analysis.steps[-1])),
            f"network and linear model differ by less than {loosest.threshold:.0%} of the labels' mean square ({part})",
        )
    )
    if analysis.accuracies:
        last = {model: parts[part][-1] for model, parts in analysis.accuracies.items()}
        values, what = (f"{last['network']:.1%} | {last['linear']:.1%}", f"{part} accuracy at the end")
    else:
        last = {model: parts[part][-1] for model, parts in analysis.losses.items()}
        values, what = (f"{last['network']:.3g} | {last['linear']:.3g}", f"{part} loss at the end")
    return [*tiles, Tile(values, f"{what}: network | linear model")]


def _reached(agreement: Agreement, last: int) -> str:
    if agreement.until is None:
        return "at no step"
    if agreement.to_end:
        return f"all {last} steps" if agreement.from_start else f"from step {agreement.since} on"
    start = "until step" if agreement.from_start else f"steps {agreement.since} to"
    return f"{start} {agreement.until}"


# ------------------------------------------------------------------------------------------------------------ training
def _training(analysis: Analysis) -> Section:
    part, parts = analysis.judged_part, list(analysis.labels)
    step = {"step": analysis.steps}
    named = [(f"{model}, {where}", name, where) for where in parts for name, model in _MODELS.items()]
    losses = [columns(step | {title: analysis.losses[name][where] for title, name, where in named}, "losses")]
    if analysis.accuracies:
        found = {title: analysis.accuracies[name][where] for title, name, where in named}
        losses.append(columns(step | found, "part of the points that is classified rightly"))
    comparisons = {title: analysis.comparisons[pair][part] for pair, title in _PAIRS.items()}
    differences = {f"{title}, to the labels": own.relative_to_labels for title, own in comparisons.items()}
    relative = {f"{title}, relative": own.relative for title, own in comparisons.items()}
    limit = ", ".join(f"{where} {value:.6g}" for where, value in analysis.final_linear_loss.items())
    parts_of_it: list[Element] = [
        Chart(
            "losses",
            f"Loss {loss_title(analysis.recipe)} of the network, its NTK at initialization and the linear model."
            + (f" Where training of the linear model ends (least squares): {limit}." if limit else ""),
            panels(figures.losses(analysis), "losses"),
            losses,
        ),
        Chart(
            "discrepancy",
            f"Mean squared difference of two models f and g on the {part} points, on the left over the mean square of "
            f"the labels, on the right over that of g.",
            panels(figures.discrepancy(analysis), "discrepancy"),
            [columns(step | differences | relative, "mean squared differences")],
        ),
        _agreement(analysis),
        Chart(
            "outputs",
            f"Outputs on the first {part} points, a colour each: network and linear model.",
            panels(figures.outputs(analysis), "outputs"),
            [columns(step | _outputs(analysis, part), "outputs")],
        ),
    ]
    return Section("Training", parts_of_it)


def _outputs(analysis: Analysis, part: str) -> dict[str, np.ndarray]:
    """Those on the first points, of several outputs that of a point's own class."""
    own, found = figures.own_outputs(analysis.labels[part]), {}
    for k in range(min(_MOST_POINTS, len(analysis.labels[part]))):
        for name in ("network", "linear"):
            values = getattr(analysis.trajectories[name], part)
            found[f"{_MODELS[name]}, point {k + 1}"] = values[:, k] if own is None else values[:, k, own[k]]
    return found


def _agreement(analysis: Analysis) -> Table:
    rows = [
        [_PAIRS[pair], part, f"< {to_labels.threshold:.0%}", describe(to_labels), describe(own)]
        for pair in ("network-linear", "network-ntk")
        for part, one in analysis.comparisons[pair].items()
        for own, to_labels in zip(one.agreement, one.agreement_to_labels, strict=True)
    ]
    head = ["difference f − g", "points", "below", "‖f − g‖² / ‖y‖²", "‖f − g‖² / ‖g‖²"]
    return Table(head, rows, "The first unbroken run of recorded steps at which two models agree")


# -------------------------------------------------------------------------------------------------------------- kernel
def _estimates(analysis: Analysis) -> dict:
    kernel, nearest = analysis.kernel, analysis.nearest
    found = {
        "‖Theta‖": kernel.theta,
        "‖kernel of all outputs‖": kernel.full,
        "‖Theta^lin‖": kernel.theta_lin,
        "‖Theta - Theta^lin‖": kernel.gap,
        "‖Theta^lin‖_F": kernel.theta_lin_frobenius,
        "‖Theta - Theta^lin‖_F": kernel.gap_frobenius,
    }
    if nearest is not None and analysis.own is None:
        found["‖Theta - L‖_F, L the nearest linear kernel"] = nearest.gap_frobenius
    return found


def _kernel(analysis: Analysis) -> Section:
    kernel, nearest = analysis.kernel, analysis.nearest
    sizes = float(kernel.theta_lin), float(kernel.theta_lin_frobenius)
    rows = []
    for title, estimate in _estimates(analysis).items():
        if estimate is not None:
            size = sizes[title.endswith("_F") or "_F," in title]
            rows.append([title, float(estimate), float(estimate) / size if size else math.nan])
    linear = kernel.eigenvalues_lin[: len(kernel.eigenvalues)]
    missing = np.full(len(kernel.eigenvalues) - len(linear), math.nan)
    values = {"index": np.arange(1, len(kernel.eigenvalues) + 1), "Theta": kernel.eigenvalues}
    facts, limit = [], analysis.recipe.limit
    if limit is not None:
        stable = f"{analysis.largest_stable_rate:.5g}, {limit:.4g} n over the norm of the kernel that predicts training"
        facts.append(("largest stable learning rate", stable))
    if nearest is not None:
        facts.append(("L, the nearest linear kernel", terms(nearest)))
    return Section(
        f"Kernel at initialization ({analysis.task.trained})",
        [
            Table(["norm", "value", "over that of Theta^lin"], rows, "Norms; their intervals are below"),
            Facts(facts),
            Chart(
                "eigenvalues",
                "Leading eigenvalues of the NTK and of the linear kernel.",
                panels(figures.eigenvalues(analysis), "eigenvalues"),
                [columns(values | {"Theta^lin": np.concatenate([linear, missing])}, "eigenvalues")],
            ),
        ],
    )


# ---------------------------------------------------------------------------------------------------- data and setting
def _data(analysis: Analysis) -> Section:
    data, meta = analysis.data, analysis.dataset["meta"]
    rows: list = [
        ["‖mean x‖ / sqrt d", data.mean_size, "0"],
        ["Tr[Sigma] / d", data.trace_over_d, "1"],
        ["‖Sigma‖", data.covariance_norm, "O(1)"],
        ["largest share of one feature in Tr[Sigma]", data.largest_share, "small"],
        ["Tr[Sigma^2] / d, unbiased", data.trace_ratio, f"used: {analysis.dataset['trace_ratio']:.4g}"],
        ["smallest ‖x‖² / d", data.norm_min, "near 1"],
        ["largest ‖x‖² / d", data.norm_max, "near 1"],
        ["largest |<x_i, x_j>| / d", data.largest_overlap, f"sqrt(log n / d) = {data.concentration:.3g}"],
        ["‖X X^T‖ / n", data.gram_norm, "of order 1"],
        ["points that equal an earlier one", data.duplicates, "0"],
    ]
    parts: list[Element] = [
        Table(["of the points", "measured", "assumed or claimed"], rows, "Assumption 3.1 and Claim 3.1")
    ]
    if len(meta.get("reading", ())):
        parts.append(Words([Given(line) for line in meta["reading"]]))
    return Section("Data", parts)


def _setting(analysis: Analysis) -> Section:
    task, constants = analysis.task, analysis.constants
    names = ("eta1", "eta2") if len(analysis.rates) == 2 else ("eta",)
    rates = ", ".join(f"{name} = {rate:.4g}" for name, rate in zip(names, analysis.rates, strict=True))
    chosen = "" if task.eta1 is not None or task.eta2 is not None else ", chosen automatically"
    facts: list[tuple[str, str]] = [("network", Given(str(task)))]
    facts += [*((name, Given(value)) for name, value in own_rows(analysis.own))]
    facts += [("trained", task.trained), ("training", f"{analysis.steps[-1]} steps of {analysis.recipe.words}")]
    facts += [("learning rate", f"{rates}{chosen}")]
    tests = len(analysis.labels.get("test", ()))
    facts += [("points", f"{analysis.data.n} training, {tests} test, {analysis.labels['train'].dtype.name}")]
    if constants is not None:
        thetas = f"{constants.vartheta0:.8g}, {constants.vartheta1:.8g}, {constants.vartheta2:.8g}"
        facts += [
            (f"Assumption 3.2 on {task.activation}", analysis.assumption),
            ("zeta, nu", f"{constants.zeta:.8g}, {analysis.nu:.8g}"),
            ("vartheta0, vartheta1, vartheta2", thetas),
        ]
    if not task.deep and analysis.recipe.usual:
        horizon = analysis.data.d * math.log(analysis.data.d) / max(analysis.rates)
        facts.append(("the theorems cover", f"t <= c * {horizon:.0f}, that is c d log d / eta for a constant c"))
    return Section("Setting", [Facts(facts), times(analysis.timings)])


# ------------------------------------------------------------------------------------------------------------ promises
def _measured(analysis: Analysis) -> list[str]:
    error = float(analysis.trajectories["ntk"].error.max())
    exact = "" if analysis.recipe.closed else "They follow training step by step. "
    truncated = (
        f"The prediction by the NTK has a truncation error of at most {error:.1e} (root mean square over the training "
        f"points), beside rounding; that of the linear model is exact up to rounding."
    )
    lines = [
        f"Losses, differences and agreements are measured on these points, for this seed and at "
        f"{len(analysis.steps)} recorded steps of {analysis.steps[-1]}: between two of them nothing is known, and "
        f"other data and seeds may differ.",
        truncated if error else f"{exact}The predictions by the NTK and by the linear model are exact up to rounding.",
        "The leading eigenvalues are computed to 0.1 %; the learning rate and the forecast are choices and estimates.",
    ]
    if analysis.own is None:
        lines.append(
            "The theorems speak of large d and leave constants open: a setting that meets their assumptions is no "
            "proof for these sizes, and one outside of them no refutation."
        )
    return lines


def _symbols(analysis: Analysis) -> list[str]:
    names = ["Theta", "Theta^lin", "‖·‖, ‖·‖_F", "n, d, m", "eta, t", "f, y"]
    return [*names, *(["zeta, nu, vartheta0, vartheta1, vartheta2"] if analysis.constants else []), "Sigma"]
