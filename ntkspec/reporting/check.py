"""Checks and sweeps as lines of text for a terminal."""

import numpy as np

from ntkspec.experiments.statements import Check
from ntkspec.reporting.rows import titled


def check_report(checks: list[Check]) -> str:
    """Every check: claim, assumptions, findings, the fitted exponents, and the verdict."""
    return "\n\n\n".join(_one(check) for check in checks)


def _one(check: Check) -> str:
    sections = {
        f"{check.statement}: {check.setting}": [f"  {check.claim}"],
        "Assumptions": [_line(finding) for finding in check.assumptions],
        "Findings": [_line(finding) for finding in check.findings],
        "Against d": _table(check),
        "Verdict": [f"  {check.statement} {check.verdict} for {check.setting}"],
    }
    return titled(sections)


def _line(finding) -> str:
    return f"  {finding.verdict:<12} {finding.what}: {finding.evidence}"


def _table(check: Check) -> list[str]:
    names, d = list(check.laws), next(iter(check.laws.values())).x
    head = f"  {'d':>20}" + "".join(f"{name:>18}" for name in names)
    lines = [f"  {place:>20.0f}" + "".join(f"{check.laws[name].medians[k]:>18.4g}" for name in names)
             for k, place in enumerate(d)]  # fmt: skip
    lines.append(f"  {'exponent':>20}" + "".join(f"{check.laws[name].exponent:>+18.3f}" for name in names))
    lines.append(f"  {'95 %':>20}" + "".join(f"{_interval(check.laws[name]):>18}" for name in names))
    local = [f"{name}: {np.array2string(check.laws[name].local, precision=2)}" for name in names[:1]]
    lines.append(f"  slopes between consecutive d, {local[0]}")
    norms = "; gap, hollow (without its diagonal) and both Frobenius norms times d/n" if "hollow" in names else ""
    lines.append(f"  medians over seeds{norms}")
    if check.terms:
        terms = check.terms
        lines.append(
            f"  two terms: max({terms.floor:.3g}, {terms.constant:.3g} (n/d) sqrt(1/d + {terms.kappa:.3g}/m)), "
            f"rms error {terms.error:.1%}"
        )
    return [head, *lines]


def _interval(law) -> str:
    return f"[{law.lower:+.3f},{law.upper:+.3f}]"


def sweep_report(results: dict) -> str:
    """One row for each cell, one column for each number."""
    names = list(dict.fromkeys(name for numbers in results.values() for name in numbers if "predicted" not in name))
    fields = ("quantity", "activation", "distribution", "d", "n", "width", "seed")
    lines = ["  ".join([*(f"{name:>12}" for name in fields), *(f"{name:>16}" for name in names)])]
    for cell, numbers in results.items():
        own = [f"{getattr(cell, name)!s:>12}" for name in fields]
        lines.append("  ".join([*own, *(f"{numbers[name]:>16.6g}" if name in numbers else " " * 16 for name in names)]))
    return "\n".join(lines)
