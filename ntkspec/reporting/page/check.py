"""The page of a check: statements of the paper, judged on a sweep."""

from collections.abc import Sequence
from typing import Any

from ntkspec.experiments.power_laws import PowerLaw
from ntkspec.experiments.statements import FAILS, HOLDS, OPEN, STATEMENTS, Check
from ntkspec.experiments.sweep_results import Sweep
from ntkspec.reporting.check import reason, reservation
from ntkspec.reporting.page.elements import Element, Facts, Judged, Section, Table, Tile, Words
from ntkspec.reporting.page.footing import promises, provenance, symbols
from ntkspec.reporting.page.page import Content
from ntkspec.reporting.page.sweep import FITS, MEASURED, MOST_DRAWN, over_sizes, symbols_of

_NAMES = {
    "claim-3.1": "Claim 3.1",
    "prop-3.4": "Proposition 3.4",
    "prop-3.4-second": "Proposition 3.4 for the second layer",
    "prop-3.4-both": "Proposition 3.4 for both layers",
    "prop-3.4-deep": "Proposition 3.4 for deep networks",
    "prop-4.1": "Proposition 4.1",
    "theorem-3.2": "Theorem 3.2",
    "corollary-3.3": "Corollary 3.3",
    "theorem-3.5": "Theorem 3.5",
    "theorem-both": "The theorem for both layers",
    "drift": "The movement of the kernel, in the proof of Theorem 3.2",
}
_JUDGED = {HOLDS: "holds", FAILS: "fails", OPEN: "can be neither confirmed nor refuted"}
_RULE = (
    "A verdict is about the exponents over the sizes that were measured: a statement holds where the whole 95 % "
    "interval agrees with it, fails where none of it does, and otherwise the check cannot tell. It is no proof for "
    "larger d, and the constants of the statements are unknown."
)


def content(checks: Sequence[Check], sweep: Sweep, made_with: dict[str, Any] | None, name: str) -> Content:
    """What the page of checks says. sweep : what was judged. made_with, name : the provenance, and the file that they
    come from."""
    statement = checks[0].statement
    quantity = STATEMENTS[statement].quantity
    sizes = sorted({cell.d for cell in sweep})
    return Content(
        kind="check",
        headline=_headline(checks),
        setting=f"{len(sweep)} cells, d = {sizes[0]} to {sizes[-1]}",
        tiles=[Tile(value, label) for value, label in _exponents(checks)],
        verdict=[Judged([(one.verdict, one.setting, _because(one)) for one in checks])],
        sections=[
            *(Section(f"{_NAMES[one.statement]}: {one.setting}", _evidence(one)) for one in checks),
            Section(f"Against {checks[0].of}", over_sizes(quantity, sweep.panels[quantity], MOST_DRAWN)),
            promises({}, [_RULE, FITS, MEASURED]),
            symbols(*symbols_of([quantity])),
            provenance(made_with, name, "These checks were not read from a file: nothing is known of what made them."),
        ],
    )


def _headline(checks: Sequence[Check]) -> str:
    what = _NAMES[checks[0].statement]
    if len(checks) == 1:
        return f"{what} {_JUDGED[checks[0].verdict]} here: {checks[0].setting}."
    counts = {verdict: sum(one.verdict == verdict for one in checks) for verdict in (HOLDS, FAILS, OPEN)}
    said = ", ".join(f"{_JUDGED[verdict]} in {count}" for verdict, count in counts.items() if count)
    return f"Of {len(checks)} settings, {what} {said}."


def _because(check: Check) -> str:
    """What an open verdict waits for, and which assumptions are not met."""
    return f"{reason(check).removeprefix(', ')}{reservation(check)}".strip()


def _exponents(checks: Sequence[Check]) -> list[tuple[str, str]]:
    """The first exponent of each of the first checks."""
    firsts = [(one.setting, name, law) for one in checks[:3] for name, law in list(one.laws.items())[:1]]
    return [
        (f"{law.of}^{law.exponent:.2f}", f"{name}, 95 %: {law.lower:.2f} to {law.upper:.2f}; {setting}")
        for setting, name, law in firsts
    ]


def _evidence(check: Check) -> list[Element]:
    parts: list[Element] = [Words([check.claim], "claim")]
    parts += [Judged([(one.verdict, one.what, one.evidence) for one in (*check.findings, *check.assumptions)])]
    if check.laws:
        parts.append(_against(check.of, check.laws))
    if check.terms is not None:
        parts.append(Facts([("two terms", _terms(check))]))
    return parts


def _against(size: str, laws: dict[str, PowerLaw]) -> Table:
    """Medians over seeds, and the exponents below them."""
    first = next(iter(laws.values()))
    rows: list = [[str(int(x)), *(float(law.medians[k]) for law in laws.values())] for k, x in enumerate(first.x)]
    for what in ("exponent", "lower", "upper"):
        rows.append([what, *(round(getattr(law, what), 4) for law in laws.values())])
    return Table([size, *laws], rows, f"Medians over seeds at each {size}, and the exponents with their 95 % intervals")


def _terms(check: Check) -> str:
    terms = check.terms
    assert terms is not None
    if not terms.identified:
        return "1/d and kappa/m cannot be told apart along this law of sizes"
    law = f"max({terms.floor:.3g}, {terms.constant:.3g} (n/d) sqrt(1/d + {terms.kappa:.3g}/m))"
    return f"{law}, root mean square error {terms.error:.1%}"
