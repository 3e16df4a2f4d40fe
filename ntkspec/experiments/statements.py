"""Statements of the paper, judged on a sweep: holds, fails, or cannot tell, with the evidence."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ntkspec.activations import Activation, activation
from ntkspec.experiments.kernel_drift import NTK
from ntkspec.experiments.power_laws import PowerLaw, TwoTerms, at_distinct, fit_power_law, fit_two_terms, never_rises
from ntkspec.experiments.sweep_cells import COVARIANCES, PART_OF_RATE, Cell, centred
from ntkspec.experiments.sweep_grid import Grid
from ntkspec.networks.size_laws import INFINITE, points_of, width_of
from ntkspec.networks.specification import TWO_LAYER
from ntkspec.theory.budget import slope_variance

HOLDS, FAILS, OPEN = "holds", "fails", "cannot tell"
# The paper's alpha is a constant below this.
LARGEST_ALPHA = 0.25
# A ratio that is bounded may still move by this power of d over a finite range.
FLAT = 0.1
# A series below NOTHING vanishes up to rounding. A power that sizes exceed by less than ROUNDED is theirs, rounded.
NOTHING, ROUNDED = 1e-10, 0.02


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: what, the verdict, and the numbers behind it."""

    what: str
    verdict: str
    evidence: str


@dataclass(frozen=True)
class Check:
    """A statement on one setting. laws : fitted power laws by name. terms : the two-term fit, where it applies."""

    statement: str
    claim: str
    setting: str
    assumptions: tuple[Finding, ...]
    findings: tuple[Finding, ...]
    verdict: str
    laws: dict[str, PowerLaw]
    terms: TwoTerms | None = None

    @property
    def of(self) -> str:
        """What its laws are powers of, d or m."""
        return next((law.of for law in self.laws.values()), "d")


# What storage.read needs to know to read checks back.
CHECK_TYPES = (Check, Finding, PowerLaw, TwoTerms)


@dataclass(frozen=True)
class Statement:
    """What a check measures and how it judges; ``reconstruction`` says what the paper's main text leaves open.

    network : the kind of network that it speaks of (:class:`ntkspec.networks.specification.NetworkSpec`). along : what
    its exponents are of, d or, at one d, the width m.
    """

    quantity: str
    claim: str
    judge: Callable
    reconstruction: str = ""
    network: str = TWO_LAYER
    along: str = "d"


def check_grid(name: str, grid: Grid) -> None:
    """Refuse a grid that the statement does not speak of, or along which exponents cannot be fitted."""
    networks, about = grid.networks(), STATEMENTS[name].network
    if STATEMENTS[name].along == "m":
        _check_widths(name, grid)
    elif len(grid.n) > 1 or len(networks) > 1:
        raise ValueError("a check fits exponents along one law for n and one for the width; pass one of each")
    elif len(grid.d) < 3 or grid.seeds < 2:
        raise ValueError(
            f"{len(grid.d)} values of d and {grid.seeds} seeds, but a fit needs three of the one and two of "
            f"the other; pass --d 32:256:x1.5 --seeds 5"
        )
    if networks[0].kind != about:
        raise ValueError(
            f"{name} speaks of {about} networks, but {', '.join(grid.network)} came; "
            + ("leave --network out, prop-3.4-deep takes it" if about == TWO_LAYER else "pass --network fc:3xd^1.75")
        )


def _check_widths(name: str, grid: Grid) -> None:
    """Refuse a grid along which no exponents of the width can be fitted."""
    widths = {network.width_at(d) for network in grid.networks() for d in grid.d}
    if len(grid.d) > 1 or len(grid.n) > 1 or len(widths) < 3 or grid.seeds < 2:
        raise ValueError(
            f"{name} fits exponents of the width, at one d and one n, over three widths and two seeds or more; pass "
            f"--d 32 --n 200 --width 64 128 256 512 1024 --seeds 5"
        )


def check_statement(name: str, grid: Grid, results: dict) -> list[Check]:
    """One check for each activation, distribution, covariance and parameterization of the grid. results : {cell:
    numbers}."""
    statement, checks = STATEMENTS[name], []
    for kind in sorted({_kind(cell) for cell in results}):
        own = {
            cell: numbers
            for cell, numbers in results.items()
            if _kind(cell) == kind and cell.quantity == statement.quantity
        }
        checks.append(statement.judge(name, statement, grid, own))
    return checks


def _kind(cell: Cell) -> tuple[str, str, str, str]:
    return cell.activation, cell.distribution, cell.covariance, cell.parameterization


# ----------------------------------------------------------------------------------------------------------- Claim 3.1
def _claim(name: str, statement: Statement, grid: Grid, results: dict) -> Check:
    d, seeds = _arrays(results, "d", "seed")
    laws = _fitted(d, seeds, {what: _numbers(results, what) for what in ("norms", "overlaps", "gram")})
    texts = {
        "norms": "max | ‖x‖²/d - 1 | / sqrt(log n / d) is bounded",
        "overlaps": "max |<x, x'>|/d / sqrt(log n / d) is bounded",
        "gram": "‖X Xᵀ‖/n is bounded from both sides",
    }
    findings = tuple(_bounded(text, laws.get(what), both=what == "gram") for what, text in texts.items())
    return _check(name, statement, results, (_more_points_than_dimensions(grid),), findings, laws)


def _fitted(d, seeds, series: dict) -> dict[str, PowerLaw]:
    """The power laws of the series that do not vanish up to rounding."""
    return {what: fit_power_law(d, y, seeds) for what, y in series.items() if np.max(y) > NOTHING}


def _bounded(what: str, law: PowerLaw | None, *, both: bool) -> Finding:
    """A ratio that does not grow with d (nor fall, if both)."""
    if law is None:
        return Finding(what, FAILS if both else HOLDS, "it vanishes up to rounding at every d")
    evidence = (
        f"exponent of d {law.exponent:+.3f} in [{law.lower:+.3f}, {law.upper:+.3f}], up to {law.medians.max():.3g}"
    )
    inside = law.upper <= FLAT and (not both or law.lower >= -FLAT)
    outside = law.lower > FLAT or (both and law.upper < -FLAT)
    return Finding(what, HOLDS if inside else FAILS if outside else OPEN, evidence)


# ----------------------------------------------------------------------------------------------- Proposition 3.4, ...
def _gap(name: str, statement: Statement, grid: Grid, results: dict) -> Check:
    act, layer = activation(next(iter(results)).activation), statement.quantity.split("-")[1]
    d, n, width, seeds = _arrays(results, "d", "n", "width", "seed")
    per = d / n
    series = {what: per * _numbers(results, what) for what in ("gap", "hollow", "frobenius", "hollow frobenius")}
    laws = _fitted(d, seeds, series | {"relative": _numbers(results, "gap") / _numbers(results, "linear")})
    assumptions, alpha = (_of_filters if layer == "cnn" else _assumptions)(grid, act, layer)
    if "gap" not in laws:
        nothing = Finding("Theta - Theta^lin is small", HOLDS, "it vanishes up to rounding at every d")
        return _check(name, statement, results, assumptions, (nothing,), {})
    tested = alpha if layer in ("first", "cnn") else alpha / 2
    falls = _falls(laws["gap"], tested, d, per * _numbers(results, "gap"))
    if alpha == 0:
        falls = Finding(falls.what, OPEN, f"n is too small for the statement to say anything; {falls.evidence}")
    findings = (falls, _contrast(laws["gap"], laws["frobenius"]))
    terms = (
        fit_two_terms(
            _numbers(results, "gap"),
            n=n,
            d=d,
            width=np.where(width == INFINITE, np.inf, width),
            floor=slope_variance(act),
        )
        if layer == "first"
        else None
    )
    return _check(name, statement, results, assumptions, findings, laws, terms)


def _falls(law: PowerLaw, alpha: float, d, ratio) -> Finding:
    """(d/n) ‖gap‖ falls at least as d^-alpha: exponent, and the constant max (d/n) ‖gap‖ d^alpha does not rise."""
    steady = never_rises(np.unique(d), at_distinct(np.max, d, ratio * d**alpha))
    evidence = (
        f"alpha = {-law.exponent:.3f} in [{-law.upper:.3f}, {-law.lower:.3f}] against {alpha:.3f}; "
        f"constant at that alpha {(ratio * d**alpha).max():.3g}, which {'does not rise' if steady else 'rises'} with d"
    )
    verdict = HOLDS if -law.upper >= alpha and steady else FAILS if -law.lower < alpha else OPEN
    return Finding(f"(d/n) ‖Theta - Theta^lin‖ falls as d^-{alpha:.3g} or faster", verdict, evidence)


def _contrast(gap: PowerLaw, frobenius: PowerLaw) -> Finding:
    evidence = (
        f"(d/n) ‖.‖_F has the exponent {frobenius.exponent:+.3f} in [{frobenius.lower:+.3f}, {frobenius.upper:+.3f}], "
        f"(d/n) ‖.‖ {gap.exponent:+.3f}"
    )
    verdict = HOLDS if frobenius.lower > gap.upper else FAILS if frobenius.upper < gap.lower else OPEN
    return Finding("the spectral norm falls faster than the Frobenius norm", verdict, evidence)


def _assumptions(grid: Grid, act: Activation, layer: str) -> tuple[tuple[Finding, ...], float]:
    """What the statement assumes of n, m and phi, and the largest alpha that it then speaks of."""
    beta = min(math.log(points_of(grid.n[0], d)) / math.log(d) for d in grid.d)
    (network,) = grid.networks()
    widths = [(d, network.width_at(d)) for d in grid.d]
    gamma = min(math.inf if m == INFINITE else math.log(m) / math.log(d) for d, m in widths)
    extra = 1.0 if centred(act, layer, network) else 2.0
    by_points, by_width = (room if room > ROUNDED else 0.0 for room in (min(LARGEST_ALPHA, beta - 1), gamma - extra))
    case = act.assumption
    findings = (
        Finding("n >= d^(1 + alpha)", HOLDS if by_points else FAILS, _at_least("n", grid.n[0], beta)),
        Finding(f"m >= d^({extra:.0f} + alpha)", HOLDS if by_width else FAILS, _at_least("m", network.width, gamma)),
        Finding("Assumption 3.2 on phi", FAILS if case.startswith("none") else HOLDS, case),
    )
    # Where the width is too small the statement is tested at the alpha of n alone: a control that should fail.
    return findings, min(by_points, by_width) if by_width else by_points


def _of_filters(grid: Grid, act: Activation, layer: str) -> tuple[tuple[Finding, ...], float]:
    """What Proposition 4.1 assumes of n, the filter size q (in the place of the width), phi and the data."""
    beta = min(math.log(points_of(grid.n[0], d)) / math.log(d) for d in grid.d)
    gamma = min(math.log(width_of(grid.width[0], d)) / math.log(d) for d in grid.d)
    by_points, by_filter = (
        room if room > ROUNDED else 0.0 for room in (min(LARGEST_ALPHA, beta - 1), (gamma - 0.5) / 2)
    )
    cube = set(grid.distribution) == {"cube"}
    findings = (
        Finding("n >= d^(1 + alpha)", HOLDS if by_points else FAILS, _at_least("n", grid.n[0], beta)),
        Finding("q >= d^(1/2 + 2 alpha)", HOLDS if by_filter else FAILS, _at_least("q", grid.width[0], gamma)),
        Finding("phi = erf", HOLDS if act.name == "erf" else FAILS, act.name),
        Finding("x uniform on {-1, 1}^d", HOLDS if cube else FAILS, ", ".join(grid.distribution)),
    )
    return findings, min(by_points, by_filter) if by_filter else by_points


def _at_least(name: str, given: str, power: float) -> str:
    return f"{name} = {given} is at least d^{power:.3g} at every d that was run"


def _more_points_than_dimensions(grid: Grid) -> Finding:
    least = min(points_of(grid.n[0], d) / d for d in grid.d)
    return Finding("n >> d", HOLDS if least >= 4 else FAILS, f"n = {grid.n[0]} is at least {least:.3g} d")


# ------------------------------------------------------------------------------------------------------------- theorems
def _theorem(name: str, statement: Statement, grid: Grid, results: dict) -> Check:
    act, layer = activation(next(iter(results)).activation), statement.quantity.split("-")[1]
    d, seeds = _arrays(results, "d", "seed")
    kinds = ("optimum train", "optimum test") if name.startswith("corollary") else ("train", "test")
    laws = _fitted(d, seeds, {what: _numbers(results, what) for what in kinds})
    assumptions, _ = _assumptions(grid, act, layer)
    if name.startswith("corollary"):
        assumptions = (*assumptions, _well_conditioned(next(iter(results))))
    other = (
        "the limit of the linear model, at T" if name.startswith("corollary") else "the linear model, worst t up to T"
    )
    texts = {kinds[0]: f"mean squared difference from {other}, training points",
             kinds[1]: f"E min{{difference², 1}} from {other}, test points"}  # fmt: skip
    findings = tuple(_small(text, laws.get(what)) for what, text in texts.items())
    return _check(name, statement, results, (*assumptions, _chosen(results)), findings, laws)


def _chosen(results: dict) -> Finding:
    """The learning rate and the horizon of what is trained."""
    c, part = _numbers(results, "c"), PART_OF_RATE
    what = f"eta = {part:g} of what it must be far below, t up to T = c d log d / eta"
    return Finding(what, HOLDS, f"c from {c.min():.2g}")


def _moves(name: str, statement: Statement, grid: Grid, results: dict) -> Check:
    """How far kernel and weights move, against the width."""
    act, (m, seeds) = activation(next(iter(results)).activation), _arrays(results, "width", "seed")
    series = {what: _numbers(results, what) for what in ("drift", "movement")}
    laws = {what: fit_power_law(m, y, seeds, of="m") for what, y in series.items() if np.max(y) > NOTHING}
    beta = math.log(points_of(grid.n[0], grid.d[0])) / math.log(grid.d[0])
    assumptions = (
        Finding("n >= d^(1 + alpha)", HOLDS if beta - 1 > ROUNDED else FAILS, _at_least("n", grid.n[0], beta)),
        Finding("Assumption 3.2 on phi", FAILS if act.assumption.startswith("none") else HOLDS, act.assumption),
        _chosen(results),
    )
    texts = {
        "drift": "‖Theta_1(T) - Theta_1(0)‖ / ‖Theta_1(0)‖",
        "movement": "the movement of all weights",
    }
    findings = tuple(_falls_with_width(text, laws.get(what)) for what, text in texts.items())
    return _check(name, statement, results, assumptions, findings, laws)


def _falls_with_width(what: str, law: PowerLaw | None) -> Finding:
    """As m^-1/2 or faster, up to FLAT in the exponent."""
    what = f"{what} falls as m^-0.5 or faster"
    if law is None:
        return Finding(what, HOLDS, "it vanishes up to rounding at every width")
    evidence = (
        f"exponent of m {law.exponent:+.3f} in [{law.lower:+.3f}, {law.upper:+.3f}], "
        f"{law.medians[0]:.3g} at m = {law.x[0]:.0f}, {law.medians[-1]:.3g} at m = {law.x[-1]:.0f}"
    )
    most = FLAT - 0.5
    return Finding(what, HOLDS if law.upper <= most else FAILS if law.lower > most else OPEN, evidence)


def _well_conditioned(cell: Cell) -> Finding:
    variances = COVARIANCES[cell.covariance](cell.d)
    least = 1.0 if variances is None else float(variances.min())
    return Finding("lambda_min(Sigma) = Omega(1)", HOLDS, f"{least:.3g} at every d")


def _small(what: str, law: PowerLaw | None) -> Finding:
    """A discrepancy that falls as some power of d."""
    if law is None:
        return Finding(what, HOLDS, "it vanishes up to rounding at every d")
    evidence = (
        f"exponent of d {law.exponent:+.3f} in [{law.lower:+.3f}, {law.upper:+.3f}], "
        f"{law.medians[0]:.3g} at d = {law.x[0]:.0f}, {law.medians[-1]:.3g} at d = {law.x[-1]:.0f}"
    )
    return Finding(what, HOLDS if law.upper < 0 else FAILS if law.lower >= 0 else OPEN, evidence)


# --------------------------------------------------------------------------------------------------------------- shared
def _check(name, statement, results, assumptions, findings, laws, terms=None) -> Check:
    cell = next(iter(results))
    of_data = f"{cell.distribution} data, covariance {cell.covariance}"
    of_network = cell.activation if not cell.spec.deep else f"{cell.activation}, {cell.network}"
    setting = of_data if cell.quantity == "data" else f"{of_network}, {of_data}"
    setting += "" if cell.parameterization == NTK else f", {cell.parameterization}"
    claim = statement.claim + (f" ({statement.reconstruction})" if statement.reconstruction else "")
    main = findings[:1] if name.startswith("prop") else findings
    verdicts = [finding.verdict for finding in main]
    verdict = FAILS if FAILS in verdicts else HOLDS if set(verdicts) == {HOLDS} else OPEN
    return Check(name, claim, setting, assumptions, findings, verdict, laws, terms)


def _arrays(results: dict, *names: str):
    return (np.array([getattr(cell, name) for cell in results], dtype=np.float64) for name in names)


def _numbers(results: dict, name: str):
    return np.array([numbers[name] for numbers in results.values()])


_AGREE = "(1/n) sum (f_t - f_t^lin)² and E min{(f_t - f_t^lin)², 1} <~ d^-Omega(alpha)"
STATEMENTS = {
    "claim-3.1": Statement(
        "data", "‖x‖²/d = 1 ± O(sqrt(log n / d)), |<x, x'>|/d = O(sqrt(log n / d)), ‖X Xᵀ‖ = Theta(n)", _claim
    ),
    "prop-3.4": Statement("gap-first", "‖Theta_1 - Theta^lin1‖ <~ n / d^(1 + alpha), alpha in (0, 1/4)", _gap),
    "prop-3.4-second": Statement(
        "gap-second",
        "‖Theta_2 - Theta^lin2‖ <~ n / d^(1 + Omega(alpha))",
        _gap,
        "stated in an appendix that we did not have: Omega(alpha) is read as alpha/2",
    ),
    "prop-3.4-both": Statement(
        "gap-both",
        "‖Theta - Theta^lin‖ <~ n / d^(1 + Omega(alpha)) for both layers",
        _gap,
        "by the triangle inequality from the two layers; Omega(alpha) is read as alpha/2",
    ),
    "prop-3.4-deep": Statement(
        "gap-both",
        "‖Theta - Theta^lin‖ <~ n / d^(1 + Omega(alpha)) for all layers of a deep fully-connected network",
        _gap,
        "section 4.1 argues so in words, for infinite width: assumptions as for both of two layers, Omega(alpha) is "
        "read as alpha/2",
        network="fc",
    ),
    "prop-4.1": Statement(
        "gap-cnn", "‖Theta_CNN - Theta^lin‖ <~ n / d^(1 + alpha), alpha in (0, 1/4), q >~ d^(1/2 + 2 alpha)", _gap
    ),
    "theorem-3.2": Statement("training-first", f"{_AGREE} for 0 <= t <= T, first layer", _theorem),
    "corollary-3.3": Statement(
        "training-first", "after T steps the network is d^-Omega(alpha) from the limit of the linear model", _theorem
    ),
    "theorem-3.5": Statement("training-second", f"{_AGREE} for 0 <= t <= T, second layer", _theorem),
    "drift": Statement(
        "drift-first",
        "‖Theta_1(T) - Theta_1(0)‖ / ‖Theta_1(0)‖ and the movement of the weights are <~ m^(-1/2), first layer",
        _moves,
        "from the proof of Theorem 3.2",
        along="m",
    ),
    "theorem-both": Statement(
        "training-both",
        f"{_AGREE} for 0 <= t <= T, both layers",
        _theorem,
        "Theorem D.1, reconstructed from 3.2 and 3.5",
    ),
}
