"""The page of a spectrum."""

import math
from typing import Any

import numpy as np

from ntkspec.experiments.own_networks import compared_with
from ntkspec.experiments.spectrum import KernelSpectrum
from ntkspec.plotting import spectrum as figures
from ntkspec.plotting.svg import panels
from ntkspec.reporting.page.elements import Chart, Element, Facts, Section, Tile, Words, columns
from ntkspec.reporting.page.footing import promises, provenance, symbols, times
from ntkspec.reporting.page.page import Content
from ntkspec.reporting.page.typeset import Given
from ntkspec.reporting.rows import own_rows, terms

_NAMES = {"theta": "Theta", "linear": "Theta^lin", "gap": "Theta - Theta^lin"}
_DEFINITE = {
    "yes, by construction": "It is positive semidefinite by construction.",
    "yes, to rounding": "It is positive semidefinite up to rounding.",
    "no": "It has negative eigenvalues.",
    "cannot tell": "Whether it has negative eigenvalues could not be told.",
}


def content(record: KernelSpectrum, made_with: dict[str, Any] | None, name: str) -> Content:
    """What the page of a spectrum says. made_with, name : the provenance, and the file that it comes from."""
    first, *rest = _verdict(record)
    data = record.dataset
    return Content(
        kind="spectrum",
        headline=first,
        setting=Given(f"{data['name']}: n = {data['n']}, d = {data['d']}; {record.task.label}; {record.task.trained}"),
        tiles=_tiles(record),
        verdict=[Words(rest)],
        sections=[
            _eigenpairs(record),
            _density(record),
            _setting(record),
            promises(_estimates(record), _measured(record)),
            symbols("Theta", "Theta^lin", "‖·‖, ‖·‖_F", "n, d, m", "f, y"),
            provenance(made_with, name, "This spectrum was not read from a file: nothing is known of what made it."),
        ],
    )


# ------------------------------------------------------------------------------------------------------------- verdict
def _called(record: KernelSpectrum) -> str:
    """The kernel in words, with which a sentence begins."""
    linear = compared_with(record.own)
    names = {"theta": "the NTK at initialization", "linear": linear, "gap": f"the difference of the NTK from {linear}"}
    return names[record.task.kernel].replace("the", "The", 1)


def _verdict(record: KernelSpectrum) -> list[str]:
    """Sentences, the answer first."""
    leading, n = record.leading, record.density.n
    called, k = _called(record), len(leading.values)
    if record.effective_rank is not None:
        first = (
            f"{called} has an effective rank of {float(record.effective_rank):.3g} among {n} eigenvalues, the largest "
            f"of which is {float(record.norm):.4g}."
        )
    else:
        first = f"{called} has spectral norm {float(record.norm):.4g} and Frobenius norm {float(record.frobenius):.4g}."
    low, high = leading.others
    others = (
        f"No eigenvalue is missing among the {k} that are listed: all others lie between {low:.4g} and {high:.4g}."
        if low <= high
        else f"All {k} eigenvalues were computed."
    )
    vectors = f"the {k} leading eigenvectors hold {record.energies.sum():.1%} of the labels' square"
    labels = f"Of the labels, {vectors}; the kernel-target alignment is {float(record.alignment):.3g}."
    return [first, others, labels, *_angles(record), _DEFINITE[record.norm.evidence.semidefinite]]  # type: ignore[union-attr]


def _angles(record: KernelSpectrum) -> list[str]:
    if record.angles is None:
        return []
    degrees, error = np.degrees(record.angles.angles), math.degrees(record.angles.error)
    other = "linear model's" if record.task.kernel == "theta" else "NTK's"
    if error >= 90:
        return [f"The angles to the {other} leading eigenspace cannot be told: its last value is too near to the next."]
    found = f"{degrees.min():.3g} to {degrees.max():.3g} degrees +- {error:.2g}"
    return [f"The angles to the {other} leading eigenspace of the same dimension are {found}."]


def _tiles(record: KernelSpectrum) -> list[Tile]:
    name = _NAMES[record.task.kernel]
    tiles = [Tile(f"{float(record.norm):.4g}", f"spectral norm of {name}")]
    if record.effective_rank is not None:
        tiles.append(Tile(f"{float(record.effective_rank):.3g}", "effective rank: trace over norm"))
    else:
        tiles.append(Tile(f"{float(record.frobenius):.4g}", f"Frobenius norm of {name}"))
    label = f"of the labels' square in the {len(record.energies)} leading eigenvectors"
    return [*tiles, Tile(f"{record.energies.sum():.1%}", label)]


# -------------------------------------------------------------------------------------------------------------- charts
def _eigenpairs(record: KernelSpectrum) -> Section:
    leading = record.leading
    numbers = {
        "index": np.arange(1, len(leading.values) + 1),
        "eigenvalue": leading.values,
        "residual": leading.residuals,
        "multiplicity": leading.multiplicities,
        "part of |y|²": record.energies,
        "sum of parts": np.cumsum(record.energies),
    }
    caption = (
        "Left: the leading eigenvalues by size, and the bound on all others. Right: the part of the labels' square in "
        "each eigenvector, and the sum of these parts."
    )
    chart = Chart(
        "eigenpairs", caption, panels(figures.eigenpairs(record), "eigenpairs"), [columns(numbers, "eigenpairs")]
    )
    return Section("Leading eigenpairs", [chart])


def _density(record: KernelSpectrum) -> Section:
    density, edges = record.density, figures.bins(record)
    found = density.histogram(edges)
    shares = {
        "from": found.edges[:-1],
        "to": found.edges[1:],
        "share": found.mass,
        "at least": found.lower,
        "at most": found.upper,
    }
    if isinstance(edges, int):
        smooth = density.smoothed(60)
        second = {"eigenvalue": smooth.x, "density": smooth.density, "error": smooth.error}
        what, right = "smoothed density", "the density, smoothed"
    else:
        x = np.geomspace(edges[0], edges[-1], 40)
        share, low, high = (density.n * (1 - part) for part in density.cumulative(x))
        second = {"x": x, "eigenvalues above x": share, "at least": high, "at most": low}
        what, right = "eigenvalues above x", "the number of eigenvalues above each value"
    how = (
        "All eigenvalues were computed."
        if density.values is not None
        else f"Estimated with {density.probes} probes of {density.lengths.max()} steps, with intervals of 95 %."
    )
    caption = f"Left: the share of the eigenvalues in bins. Right: {right}. {how}"
    tables = [columns(shares, "shares of the eigenvalues"), columns(second, what)]
    return Section("Density", [Chart("density", caption, panels(figures.density(record), "density"), tables)])


# ---------------------------------------------------------------------------------------------------------------- rest
def _estimates(record: KernelSpectrum) -> dict:
    name = _NAMES[record.task.kernel]
    return {
        f"spectral norm of {name}": record.norm,
        f"Frobenius norm of {name}": record.frobenius,
        "trace": record.trace,
        "effective rank, trace / norm": record.effective_rank,
        "participation ratio": record.participation_ratio,
        "kernel-target alignment": record.alignment,
    }


def _setting(record: KernelSpectrum) -> Section:
    task, reading = record.task, record.dataset["meta"].get("reading", ())
    facts: list[tuple[str, str]] = [("network", Given(str(task)))]
    facts += [*((name, Given(value)) for name, value in own_rows(record.own))]
    facts += [("trained", task.trained), ("kernel", _NAMES[task.kernel]), ("products", str(record.plan))]
    if record.nearest is not None:
        facts.append(("Theta^lin, the nearest linear kernel", terms(record.nearest)))
    rows: list[Element] = [Facts(facts)]
    if len(reading):
        rows.append(Words([Given(line) for line in reading]))
    return Section("Setting", [*rows, times(record.timings)])


def _measured(record: KernelSpectrum) -> list[str]:
    leading = record.leading
    lines = [
        "An eigenvalue of the kernel lies within its residual of each eigenvalue that is listed, rounding included. "
        + (
            f"Each end of the bound on all others may fail with probability {leading.failure_probability:.0e}."
            if leading.failure_probability
            else ""
        )
    ]
    if record.density.values is None:
        lines.append(
            "The density is an estimate with intervals: each single one of them holds with 95 %, over the random "
            "probes, so that among many some will miss."
        )
    return [*lines, "The labels' parts and the alignment are those of these points and this seed."]
