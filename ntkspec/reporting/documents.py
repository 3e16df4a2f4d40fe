"""Records as the fields of a JSON document: numbers as numbers, intervals as objects."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields, is_dataclass
from typing import Any

import numpy as np

from ntkspec.activations import Activation
from ntkspec.dynamics import LossFunction, SpectralLaw
from ntkspec.experiments.agreement import Agreement
from ntkspec.experiments.analyze import Analysis
from ntkspec.experiments.headline import headline
from ntkspec.experiments.power_laws import PowerLaw
from ntkspec.experiments.spectrum import KernelSpectrum
from ntkspec.experiments.statements import Check
from ntkspec.experiments.sweep_cells import Cell
from ntkspec.experiments.tracking import Series
from ntkspec.experiments.tracking.verdict import above_the_edge, at_the_edge, learns_features, leaves_lazy
from ntkspec.experiments.verdict import verdict
from ntkspec.spectra.results import Estimate


def plain(value: Any) -> Any:
    """A value as JSON has it: what is not finite is null, an estimate an object with its interval."""
    if isinstance(value, Estimate):
        ends = {name: plain(getattr(value, name)) for name in ("value", "lower", "upper", "failure_probability")}
        return ends | {"closed": bool(value.converged)}
    if isinstance(value, PowerLaw):
        return {name: plain(getattr(value, name)) for name in ("exponent", "lower", "upper", "of")}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | list | tuple):
        return [plain(item) for item in (value.tolist() if isinstance(value, np.ndarray) else value)]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, Activation):
        return value.name
    if isinstance(value, SpectralLaw | LossFunction):
        return repr(value)
    if is_dataclass(value):
        return {one.name: plain(getattr(value, one.name)) for one in fields(value)}
    return str(value)


def analysis_document(analysis: Analysis) -> dict[str, Any]:
    """The fields of ``ntkspec analyze``."""
    found, kernel = headline(analysis), analysis.kernel
    return {
        "headline": str(found),
        "linear": {
            "first_step": found.agreement.since,
            "last_step": found.agreement.until,
            "next_recorded_step": found.next,
            "from_start": found.agreement.from_start,
            "to_end": found.agreement.to_end,
            "threshold": found.agreement.threshold,
            "points": found.part,
            "time": plain(found.time),
            "decided": found.decided,
            "largest_output": plain(found.moved),
        },
        "diverged_after_step": found.diverged,
        "distance": plain(found.distance),
        "verdict": verdict(analysis),
        "task": plain(analysis.task),
        "data": {"name": analysis.dataset["name"], **plain(analysis.data)},
        "kernel": {
            name: plain(getattr(kernel, name))
            for name in ("theta", "theta_lin", "gap", "gap_frobenius", "theta_lin_frobenius", "largest_stable_rate")
        },
        "nearest_linear": plain(analysis.nearest),
        "training": analysis.recipe.words,
        "rates": plain(analysis.rates),
        "steps": plain(analysis.steps),
        "losses": plain(analysis.losses),
        "least_linear_loss": plain(analysis.final_linear_loss),
        "accuracies": plain(analysis.accuracies),
        "agreement": {
            pair: {part: _agreements(one.agreement_to_labels, one.agreement) for part, one in parts.items()}
            for pair, parts in analysis.comparisons.items()
        },
        "seconds": plain(analysis.timings),
    }


def _agreements(to_labels: list[Agreement], own: list[Agreement]) -> dict[str, Any]:
    return {"relative_to_labels": plain(to_labels), "relative_to_second": plain(own)}


def spectrum_document(record: KernelSpectrum) -> dict[str, Any]:
    """The fields of ``ntkspec spectrum``."""
    leading = record.leading
    low, high = leading.others
    names = ("norm", "frobenius", "trace", "effective_rank", "participation_ratio", "alignment")
    return {
        "task": plain(record.task),
        "data": {"name": record.dataset["name"], "n": int(record.dataset["n"]), "d": int(record.dataset["d"])},
        **{name: plain(getattr(record, name)) for name in names},
        "eigenpairs": [
            {
                "value": plain(value),
                "residual": plain(residual),
                "multiplicity": int(count),
                "label_energy": plain(part),
            }
            for value, residual, count, part in zip(
                leading.values, leading.residuals, leading.multiplicities, record.energies, strict=True
            )
        ],
        "other_eigenvalues": {"lower": plain(low), "upper": plain(high)} if low <= high else None,
        "seconds": plain(record.timings),
    }


def series_document(series: Series) -> dict[str, Any]:
    """The fields of ``ntkspec track``."""
    found = {"at_the_edge": at_the_edge(series), "above_the_edge": above_the_edge(series)}
    if "distance_from_start" in series:
        found |= {"leaves_lazy": leaves_lazy(series), "learns_features": learns_features(series)}
    return {
        "verdict": series.verdict,
        "first_steps": {name: None if place is None else int(series.steps[place]) for name, place in found.items()},
        "edge": plain(series.edge),
        "task": plain(series.task),
        "data": {"name": series.dataset.get("name", ""), "n": series.points},
        "checkpoints": [
            {"step": step, "file": file, **{name: plain(series.at(name, step)) for name in series}}
            for step, file in zip(series.steps.tolist(), series.sources, strict=True)
        ],
        "layers": series.layers,
        "arrays": plain(series.arrays),
        "ahead": plain(series.ahead),
        "seconds": plain(series.seconds),
    }


def checks_document(checks: Iterable[Check]) -> dict[str, Any]:
    """The fields of ``ntkspec check``."""
    return {
        "checks": [
            {
                **{name: getattr(check, name) for name in ("statement", "claim", "setting", "verdict")},
                "assumptions": [asdict(finding) for finding in check.assumptions],
                "findings": [asdict(finding) for finding in check.findings],
                "laws": plain(check.laws),
            }
            for check in checks
        ]
    }


def sweep_document(results: Mapping[Cell, Mapping[str, float]], laws: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of ``ntkspec sweep``, ``figure 5`` and ``figure budget``; laws : of its figures."""
    return {
        "laws": plain(laws),
        "cells": [{**plain(asdict(cell)), "numbers": plain(numbers)} for cell, numbers in results.items()],
    }
