"""Two runs of one setting, number by number."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ntkspec.experiments.analyze import Analysis
from ntkspec.experiments.headline import headline
from ntkspec.experiments.spectrum import KernelSpectrum
from ntkspec.spectra.results import Estimate

# Numbers without an interval agree to this part of the larger one, by the precision of the data.
TOLERANCES = {"float32": 1e-3, "float64": 1e-6}


@dataclass(frozen=True)
class Pair:
    """A number of two runs, as intervals: those of estimates, else the number and what rounding may make of it."""

    name: str
    before: tuple[float, float, float]
    now: tuple[float, float, float]

    @property
    def agree(self) -> bool:
        """Whether the intervals have a number in common; numbers that are not finite have to be the same."""
        (value, low, high), (other, other_low, other_high) = self.before, self.now
        if not (np.isfinite(value) and np.isfinite(other)):
            return bool(np.array_equal(value, other, equal_nan=True))
        return max(low, other_low) <= min(high, other_high)


def pairs(before: Analysis | KernelSpectrum, now: Analysis | KernelSpectrum, dtype: str) -> list[Pair]:
    """The numbers of both, with their intervals."""
    found, others = (dict(_numbers(record)) for record in (before, now))
    part = TOLERANCES[dtype]
    return [
        Pair(name, _ends(number, part), _ends(others[name], part)) for name, number in found.items() if name in others
    ]


def _ends(number: Estimate | float, part: float) -> tuple[float, float, float]:
    if isinstance(number, Estimate) and number.upper > number.lower:
        return number.value, number.lower, number.upper
    value = float(number)
    return value, value - part * abs(value), value + part * abs(value)


def _numbers(record: Analysis | KernelSpectrum) -> Iterator[tuple[str, Estimate | float]]:
    return _of_analysis(record) if isinstance(record, Analysis) else _of_spectrum(record)


def _of_analysis(record: Analysis) -> Iterator[tuple[str, Estimate | float]]:
    labels = {"theta": "||Theta||", "theta_lin": "||Theta^lin||", "gap": "||Theta - Theta^lin||"}
    labels |= {"gap_frobenius": "||Theta - Theta^lin||_F", "theta_lin_frobenius": "||Theta^lin||_F"}
    for name, label in labels.items():
        yield label, getattr(record.kernel, name)
    yield "linear until step", float(headline(record).agreement.until or 0)
    for model, parts in record.losses.items():
        for part, values in parts.items():
            yield f"last loss, {model}, {part}", float(values[-1])


def _of_spectrum(record: KernelSpectrum) -> Iterator[tuple[str, Estimate | float]]:
    labels = {"norm": "spectral norm", "frobenius": "Frobenius norm", "trace": "trace"}
    labels |= {"effective_rank": "effective rank", "participation_ratio": "participation ratio"}
    for name, label in (labels | {"alignment": "kernel-target alignment"}).items():
        if getattr(record, name) is not None:
            yield label, getattr(record, name)
    yield "label energy in the leading vectors", float(record.energies.sum())
