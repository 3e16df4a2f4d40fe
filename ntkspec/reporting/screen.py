"""Spectra, sweeps and checks on one screen: the answer, then as much of the numbers as fits."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from ntkspec.engines.arrays import Array
from ntkspec.experiments.power_laws import PowerLaw, at_distinct
from ntkspec.experiments.spectrum import KernelSpectrum
from ntkspec.experiments.statements import OPEN, Check, Finding
from ntkspec.experiments.sweep_panels import Panel
from ntkspec.experiments.sweep_results import Sweep
from ntkspec.objects.words import counted
from ntkspec.reporting.check import interval_of, reservation
from ntkspec.reporting.rows import wrapped
from ntkspec.reporting.spectrum import density_rows, label_rows, pair_lines, size_rows, spectrum_answer

# Of a terminal's 40 lines, without those that say where the files are; rows of a table, and its columns.
LINES, ROWS, COLUMNS = 36, 8, 4


def spectrum_summary(record: KernelSpectrum) -> str:
    """What ``ntkspec spectrum`` prints by default."""
    data, blocks = record.dataset, [size_rows(record), pair_lines(record, 8), label_rows(record), density_rows(record)]
    setting = f"{data['name']}: n = {data['n']}, d = {data['d']}; {record.task}; {record.task.trained}"
    lines = [*wrapped(spectrum_answer(record)), "", *wrapped(setting)]
    return "\n".join([*lines, *itertools.chain.from_iterable(["", *block] for block in blocks)])


# -------------------------------------------------------------------------------------------------------------- sweeps
def sweep_answer(sweep: Sweep) -> str:
    """The first exponent, and how many there are, in one sentence."""
    cells = counted(len(sweep), "cell")
    laws = [
        f"{name}{' times d/n' if panel.scaled else ''} ({quantity}, {title}) goes as {law.of}^{law.exponent:.3g}, 95 % "
        f"interval {interval_of(law)}"
        for quantity, panels in sweep.panels.items()
        for title, panel in panels.items()
        for name, law in panel.laws.items()
    ]
    if not laws:
        return (
            f"{cells}; no exponent, which needs three values of d, or widths at one d, two seeds and numbers above 0."
        )
    others = "" if len(laws) == 1 else f"; {counted(len(laws) - 1, 'other exponent')}"
    return f"{cells}: {laws[0]}{others}."


def sweep_summary(sweep: Sweep) -> str:
    """What ``ntkspec sweep`` prints by default: medians over seeds against d or the width, and exponents."""
    lines, blocks = wrapped(sweep_answer(sweep)), []
    for quantity, panels in sweep.panels.items():
        for title, panel in panels.items():
            what = f"{quantity}, {title}: medians over seeds{', times d/n' if panel.scaled else ''}"
            blocks.append([*wrapped(what), *_against(panel.symbol, _medians(panel), panel.laws)])
    for k, block in enumerate(blocks):
        if len(lines) + len(block) + 3 > LINES and k:
            left = counted(len(blocks) - k, "more table")
            return "\n".join([*lines, "", f"{left}, and every cell: --verbose"])
        lines += ["", *block]
    return "\n".join([*lines, "", "Every cell: --verbose"])


def _medians(panel: Panel) -> dict[str, tuple[Array, Array]]:
    """{name: (sizes, medians)} of the numbers that are there."""
    found = {}
    for name in panel.names:
        x, y = panel.sizes(name)
        if np.isfinite(y).any():
            found[name] = np.unique(x), at_distinct(np.median, x, y)
    return found


def _against(size: str, series: Mapping[str, tuple[Array, Array]], laws: Mapping[str, PowerLaw]) -> list[str]:
    """A table with a row for each size, for some of many, and the exponents below."""
    names = list(series)[:COLUMNS]
    if not names:
        return ["  nothing to show: all numbers vanish up to rounding"]
    x = series[names[0]][0]
    some = np.unique(np.linspace(0, len(x) - 1, min(ROWS, len(x))).round().astype(int))
    rows = [[size, *names]] + [[f"{x[k]:.0f}", *(f"{series[name][1][k]:.4g}" for name in names)] for k in some]
    if laws:
        fits = [laws.get(name) for name in names]
        rows.append(["exponent", *("" if law is None else f"{law.exponent:+.3f}" for law in fits)])
        rows.append(["95 %", *("" if law is None else interval_of(law) for law in fits)])
    return [f"  {first:<9}" + "".join(f"{cell:>17}" for cell in others) for first, *others in rows]


# -------------------------------------------------------------------------------------------------------------- checks
def check_verdicts(checks: Sequence[Check]) -> str:
    """The verdicts, a sentence for each, with what was not met or stayed open."""
    return "\n".join(_verdict(check) for check in checks)


def _verdict(check: Check) -> str:
    waiting = [finding.what for finding in check.findings if finding.verdict == OPEN]
    still = f", since it is open whether {' and whether '.join(waiting)}" if check.verdict == OPEN and waiting else ""
    return f"{check.statement}, {check.setting}: {check.verdict}{still}{reservation(check)}."


def check_summary(checks: Sequence[Check]) -> str:
    """What ``ntkspec check`` prints by default: the verdicts, and of one check its findings and its table."""
    lines = [line for check in checks for line in wrapped(_verdict(check))]
    if len(lines) > LINES - 2:
        shown = checks[: LINES - 4]
        lines = [f"{check.statement}, {check.setting}: {check.verdict}" for check in shown]
        lines += [f"and {len(checks) - len(shown)} more"] if len(shown) < len(checks) else []
    if len(checks) == 1:
        check = checks[0]
        series = {name: (law.x, law.medians) for name, law in check.laws.items()}
        lines += ["", *wrapped(check.claim), ""]
        lines += [line for finding in check.findings for line in _finding(finding)]
        norms = ", norms times d/n" if "hollow" in series else ""
        lines += ["", f"Medians over seeds{norms}", *_against(check.of, series, check.laws)]
    return "\n".join([*lines, "", "Assumptions, findings and all exponents: --verbose"])


def _finding(finding: Finding) -> list[str]:
    return wrapped(f"{finding.what}: {finding.evidence}", f"  {finding.verdict:<12} ")
