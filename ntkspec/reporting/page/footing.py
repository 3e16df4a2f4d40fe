"""What every page ends with: what its numbers promise, what its symbols mean, and what it was made with."""

from collections.abc import Mapping, Sequence
from typing import Any

from ntkspec.reporting.page.elements import Cell, Element, Facts, Section, Table, Words
from ntkspec.reporting.page.typeset import Given
from ntkspec.spectra.results import Estimate

_PROVED = (
    "An interval is proved: the true value, that of the kernel of the given weights and points in exact arithmetic, "
    "lies inside, rounding included. What uses random start vectors may fail with at most the probability in the "
    "table, whatever the kernel is; 0 stands where no random numbers enter."
)
_STORED = (
    "One part of the intervals is an estimate: the matrix was stored in float32, and its distance from the exact "
    "kernel was estimated from a sample of rows, and doubled."
)
_OPEN = "An interval that did not close is wider than was asked for; it holds all the same."

SYMBOLS = {
    "Theta": "the neural tangent kernel (NTK) of the network at initialization, a matrix over pairs of points",
    "Theta(t)": "the same at the weights after t steps, and Theta(0) is Theta",
    "T": "the last step, c d log(d)/eta, at most 2,000",
    "ntk, mup": "equation (1), and the maximal update parameterization (muP), in which v is 1/sqrt m times as large "
    "and the first layer learns m times as fast: the kernel is m Theta_1 + Theta_2",
    "Theta^lin": "the linear kernel that Theta is compared with: that of theory, or the nearest one",
    "‖·‖, ‖·‖_F": "spectral norm (the largest eigenvalue in size) and Frobenius norm (the root of the sum of squares)",
    "n, d, m": "training points, input dimensions, hidden neurons (the width)",
    "eta, t": "learning rate and step of training; the loss is a mean over points, the squared one (1/2n) Σ (f − y)²",
    "f, y": "outputs of a model, and labels",
    "zeta, nu, vartheta0, vartheta1, vartheta2": "coefficients of the linear model, Gaussian means of the activation",
    "Sigma": "covariance of the points, scaled so that Tr[Sigma] = d",
    "F, D, R": "fluctuation over the weights, diagonal and remainder, which add up to the difference Theta - Theta^lin",
}


def promises(estimates: Mapping[Any, Estimate | None], others: Sequence[str]) -> Section:
    """Which numbers hold with which certainty. others : what is measured or estimated, in sentences."""
    known = {name: estimate for name, estimate in estimates.items() if estimate is not None}
    parts: list = []
    if known:
        lines = [_PROVED]
        if any(one.evidence is not None and one.evidence.stored > 0 for one in known.values()):
            lines.append(_STORED)
        if not all(one.converged for one in known.values()):
            lines.append(_OPEN)
        parts = [*(Words([line]) for line in lines), _intervals(known)]
    return Section("What the numbers promise", [*parts, Words(others)] if others else parts)


def _intervals(estimates: dict[str, Estimate]) -> Table:
    head = ["quantity", "value", "lower end", "upper end", "may fail with probability", "products", "interval"]
    rows: list[list[Cell]] = [
        [
            *(name, one.value, one.lower, one.upper, one.failure_probability, one.products),
            "closed" if one.converged else "not closed",
        ]
        for name, one in estimates.items()
    ]
    return Table(head, rows, "Proved intervals")


def times(seconds: dict[str, float]) -> Table:
    """How long each stage took."""
    rows: list[list[Cell]] = [[stage, round(taken, 2)] for stage, taken in seconds.items()]
    return Table(["stage", "seconds"], rows, "Where the time went")


def symbols(*names: str) -> Section:
    """What the symbols of a page mean."""
    return Section("Symbols", [Facts([(name, SYMBOLS[name]) for name in names])])


def provenance(found: dict[str, Any] | None, name: str, why_not: str = "") -> Section:
    """What the result was made with, as its file says; ``why_not`` where it says nothing. name : of the file."""
    return provenances([found] if found else [], name, why_not)


def provenances(found: Sequence[dict[str, Any]], name: str, why_not: str = "") -> Section:
    """The same of a result that several commands made, one after the other."""
    parts: list[Element] = [Facts([("file", Given(name))])] if name else []
    return Section("Provenance", [*parts, *(map(_made_with, found) if found else [Words([why_not])])])


def _made_with(found: dict[str, Any]) -> Facts:
    versions = ", ".join(f"{library} {version}" for library, version in found.get("versions", {}).items())
    known = {
        "command": found.get("command"),
        "measured with it": found.get("measured"),
        "made at (UTC)": found.get("time"),
        "seconds": f"{found['seconds']:.0f}" if "seconds" in found else None,
        "versions": f"Python {found.get('python')}, {versions}",
        "machine": f"{found.get('machine')}, {found.get('cores')} cores",
        "engine": found.get("engine"),
        "fingerprint of setting and data": found.get("fingerprint"),
    }
    return Facts([(title, Given(value)) for title, value in known.items() if value])
