"""Two runs of one setting, number by number."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TypeAlias

import numpy as np

from ntkspec.experiments.analyze import Analysis
from ntkspec.experiments.deep_runs import DeepRun
from ntkspec.experiments.headline import headline
from ntkspec.experiments.power_laws import PowerLaw
from ntkspec.experiments.spectrum import KernelSpectrum
from ntkspec.experiments.statements import Check
from ntkspec.experiments.sweep_cells import Cell
from ntkspec.experiments.sweep_series import Results
from ntkspec.experiments.tracking import Series
from ntkspec.experiments.two_layer_runs import Run
from ntkspec.spectra.results import Estimate

Ends: TypeAlias = tuple[float, float, float]  # a value, and the interval around it
Number: TypeAlias = Estimate | Ends | float
Record: TypeAlias = Analysis | KernelSpectrum | Series | Run | DeepRun
# Numbers without an interval agree to this part of the larger one, by the precision of the data.
TOLERANCES = {"float32": 1e-3, "float64": 1e-6}


@dataclass(frozen=True)
class Pair:
    """A number of two runs, as intervals: those of estimates, else the number and what rounding may make of it."""

    name: str
    before: Ends
    now: Ends

    @property
    def agree(self) -> bool:
        """Whether the intervals have a number in common; numbers that are not finite have to be the same."""
        (value, low, high), (other, other_low, other_high) = self.before, self.now
        if not (np.isfinite(value) and np.isfinite(other)):
            return bool(np.array_equal(value, other, equal_nan=True))
        return max(low, other_low) <= min(high, other_high)


def pairs(before: Record, now: Record, dtype: str) -> list[Pair]:
    """The numbers of two records, with their intervals."""
    return _paired(dict(_numbers(before)), dict(_numbers(now)), TOLERANCES[dtype])


def pairs_of_cells(before: Results, now: Results) -> list[Pair]:
    """The numbers of each cell, named by what differs between cells, with their intervals where they have some."""
    named = _names_of(list(before))
    return [
        replace(pair, name=f"{named[cell]}: {pair.name}")
        for cell, numbers in before.items()
        for pair in _paired(_of_cell(numbers), _of_cell(now[cell]), TOLERANCES[cell.dtype])
    ]


def pairs_of_checks(before: Sequence[Check], now: Sequence[Check]) -> list[Pair]:
    """The exponents of each check, with their intervals."""
    return [
        Pair(f"{check.setting}: exponent of {name}", _of_law(law), _of_law(again.laws[name]))
        for check, again in zip(before, now, strict=True)
        for name, law in check.laws.items()
        if name in again.laws
    ]


def _of_law(law: PowerLaw) -> Ends:
    return law.exponent, law.lower, law.upper


def _names_of(cells: Sequence[Cell]) -> dict[Cell, str]:
    """{cell: its quantity, and the fields that are not the same in all cells}."""
    names = [field.name for field in fields(Cell) if len({getattr(cell, field.name) for cell in cells}) > 1]
    own = [name for name in names if name != "quantity"]
    return {cell: " ".join([cell.quantity, *(f"{name}={getattr(cell, name)}" for name in own)]) for cell in cells}


def _of_cell(numbers: Mapping[str, float]) -> dict[str, Number]:
    """Numbers of a cell, those with two ends as intervals."""
    found: dict[str, Number] = {}
    for name, value in numbers.items():
        if not name.endswith((" lower", " upper")):
            ends = value, numbers.get(f"{name} lower", value), numbers.get(f"{name} upper", value)
            found[name] = ends if ends[2] > ends[1] else value
    return found


def _paired(before: Mapping[str, Number], now: Mapping[str, Number], part: float) -> list[Pair]:
    return [Pair(name, _ends(number, part), _ends(now[name], part)) for name, number in before.items() if name in now]


def _ends(number: Number, part: float) -> Ends:
    if isinstance(number, tuple):
        return number
    if isinstance(number, Estimate) and number.upper > number.lower:
        return number.value, number.lower, number.upper
    value = float(number)
    return value, value - part * abs(value), value + part * abs(value)


def _numbers(record: Record) -> Iterator[tuple[str, Number]]:
    if isinstance(record, Analysis):
        return _of_analysis(record)
    if isinstance(record, KernelSpectrum):
        return _of_spectrum(record)
    if isinstance(record, Series):
        return _of_series(record)
    return _of_deep_run(record) if isinstance(record, DeepRun) else _of_run(record)


def _of_run(run: Run) -> Iterator[tuple[str, Number]]:
    named = f"{run.setting.activation} d={run.setting.d} width={run.setting.width}"
    for what, found in (("loss", run.losses), ("difference from the network", run.discrepancies)):
        for model, parts in found.items():
            for part, values in parts.items():
                yield f"{named}: last {what}, {model}, {part}", float(values[-1])


def _of_deep_run(run: DeepRun) -> Iterator[tuple[str, Number]]:
    yield f"{run.setting.network}: coefficient of the kernel", run.fitted
    for what in ("loss", "inside", "outside"):
        yield f"{run.setting.network}: last {what}", float(getattr(run, what)[-1])


def _of_analysis(record: Analysis) -> Iterator[tuple[str, Number]]:
    labels = {"theta": "||Theta||", "theta_lin": "||Theta^lin||", "gap": "||Theta - Theta^lin||"}
    labels |= {"gap_frobenius": "||Theta - Theta^lin||_F", "theta_lin_frobenius": "||Theta^lin||_F"}
    for name, label in labels.items():
        yield label, getattr(record.kernel, name)
    yield "linear until step", float(headline(record).agreement.until or 0)
    for model, parts in record.losses.items():
        for part, values in parts.items():
            yield f"last loss, {model}, {part}", float(values[-1])


def _of_spectrum(record: KernelSpectrum) -> Iterator[tuple[str, Number]]:
    labels = {"norm": "spectral norm", "frobenius": "Frobenius norm", "trace": "trace"}
    labels |= {"effective_rank": "effective rank", "participation_ratio": "participation ratio"}
    for name, label in (labels | {"alignment": "kernel-target alignment"}).items():
        if getattr(record, name) is not None:
            yield label, getattr(record, name)
    yield "label energy in the leading vectors", float(record.energies.sum())


def _of_series(record: Series) -> Iterator[tuple[str, Number]]:
    """Each number of each checkpoint, but for those that there are none of, such as the distance before the first."""
    for step in record.steps.tolist():
        for name in record:
            found = record.at(name, step)
            if not np.isnan(found.value):
                yield f"step {step}: {name.replace('_', ' ')}", found
