"""Checks and sweeps as lines of text for a terminal."""

import math
from collections.abc import Mapping

import numpy as np

from ntkspec.experiments.power_laws import PowerLaw
from ntkspec.experiments.statements import HOLDS, OPEN, Check
from ntkspec.experiments.sweep_cells import is_drift
from ntkspec.networks.size_laws import INFINITE, INFINITE_LAW
from ntkspec.reporting.rows import titled


def check_report(checks: list[Check]) -> str:
    """Every check: claim, assumptions, findings, the fitted exponents, and the verdict."""
    return "\n\n\n".join(_one(check) for check in checks)


def _verdict(check: Check) -> str:
    return f"{check.statement}, {check.setting}: {check.verdict}{reason(check)}{reservation(check)}"


def _one(check: Check) -> str:
    sections = {
        f"{check.statement}: {check.setting}": [f"  {check.claim}"],
        "Assumptions": [_line(finding) for finding in check.assumptions],
        "Findings": [_line(finding) for finding in check.findings],
        f"Against {check.of}": _table(check),
        "Verdict": [f"  {_verdict(check)}"],
    }
    return titled(sections)


def reason(check: Check) -> str:
    """What a verdict that is open waits for."""
    if check.verdict != OPEN:
        return ""
    waiting = [f"{finding.what}: {finding.evidence}" for finding in check.findings if finding.verdict == OPEN]
    return f", since {'; '.join(waiting)}"


def reservation(check: Check) -> str:
    """Assumptions that are not met, after a verdict that is given all the same."""
    unmet = [finding.what for finding in check.assumptions if finding.verdict != HOLDS]
    return f" (assumed, but not met here: {'; '.join(unmet)})" if unmet else ""


def _line(finding) -> str:
    return f"  {finding.verdict:<12} {finding.what}: {finding.evidence}"


def _table(check: Check) -> list[str]:
    if not check.laws:
        return ["  nothing to fit: all series vanish up to rounding"]
    names, x = list(check.laws), next(iter(check.laws.values())).x
    head = f"  {check.of:>20}" + "".join(f"{name:>18}" for name in names)
    lines = [f"  {place:>20.0f}" + "".join(f"{check.laws[name].medians[k]:>18.4g}" for name in names)
             for k, place in enumerate(x)]  # fmt: skip
    lines.append(f"  {'exponent':>20}" + "".join(f"{check.laws[name].exponent:>+18.3f}" for name in names))
    lines.append(f"  {'95 %':>20}" + "".join(f"{interval_of(check.laws[name]):>18}" for name in names))
    local = [f"{name}: {np.array2string(check.laws[name].local, precision=2)}" for name in names[:1]]
    lines.append(f"  slopes between consecutive {check.of}, {local[0]}")
    norms = "; gap, hollow (without its diagonal) and both Frobenius norms times d/n" if "hollow" in names else ""
    lines.append(f"  medians over seeds{norms}")
    if check.terms:
        terms = check.terms
        law = f"max({terms.floor:.3g}, {terms.constant:.3g} (n/d) sqrt(1/d + {terms.kappa:.3g}/m))"
        lines.append(
            f"  two terms: {law}, rms error {terms.error:.1%}"
            if terms.identified
            else "  two terms: 1/d and kappa/m cannot be told apart along this law; sweep over the width as well"
        )
    return [head, *lines]


def interval_of(law: PowerLaw) -> str:
    """The interval of an exponent."""
    return f"[{law.lower:+.3f},{law.upper:+.3f}]"


def sweep_report(results: dict) -> str:
    """A table for each quantity: one row for each cell, one column for each number."""
    quantities = list(dict.fromkeys(cell.quantity for cell in results))
    return "\n\n".join(_of_quantity(quantity, results) for quantity in quantities)


def laws_report(laws: Mapping[str, Mapping[str, Mapping[str, PowerLaw]]]) -> str:
    """The exponents that figures have in their legends, a row for each; empty where none could be fitted."""
    rows = [
        f"  {quantity:<16}{title:<40}{name:<18}{law.of} {law.exponent:>+8.3f}  {interval_of(law)}"
        for quantity, panels in laws.items()
        for title, own in panels.items()
        for name, law in own.items()
    ]
    return (
        "\n".join(["Exponents of d or of the width m, with 95 % intervals (of norms times d/n where n grows)", *rows])
        if rows
        else ""
    )


def _of_quantity(quantity: str, results: dict) -> str:
    own = {cell: numbers for cell, numbers in results.items() if cell.quantity == quantity}
    names = sorted({name for numbers in own.values() for name in numbers if "predicted" not in name})
    said = ("parameterization",) if is_drift(quantity) else ()
    fields = ("network", "activation", "distribution", *said, "d", "n", "width", "seed")
    lines = [quantity, "  ".join([*(f"{name:>12}" for name in fields), *(f"{name:>17}" for name in names)])]
    for cell, numbers in own.items():
        setting = [f"{_shown(name, getattr(cell, name)):>{max(12, len(name))}}" for name in fields]
        lines.append("  ".join([*setting, *(f"{numbers.get(name, math.nan):>17.6g}" for name in names)]))
    return "\n".join(lines)


def _shown(name: str, value) -> str:
    return INFINITE_LAW if (name, value) == ("width", INFINITE) else str(value)
