"""The spectrum of a kernel as lines of text for a terminal."""

import math
from bisect import bisect_left
from functools import cache

import numpy as np

from ntkspec.experiments.spectrum import KernelSpectrum
from ntkspec.objects.words import counted
from ntkspec.reporting.rows import interval, own_rows, prepared, rows, terms, titled

NAMES = {"theta": "Theta", "linear": "Theta^lin", "gap": "Theta - Theta^lin"}
_SHOWN_PAIRS, _SHOWN_SHARES = 12, (0.5, 0.9, 0.99)
_ROUNDING = 1e-12


def spectrum_report(record: KernelSpectrum) -> str:
    """The whole report."""
    task, data = record.task, record.dataset
    name = NAMES[task.kernel]
    return titled(
        {
            f"{data['name']}: n = {data['n']}, d = {data['d']}": _setting(record),
            **prepared(data["meta"]),
            f"Size of {name}": size_rows(record),
            f"Leading eigenpairs of {name}": pair_lines(record),
            "Labels": label_rows(record),
            f"Density of {name}": density_rows(record),
            "What this rests on": [f"  {line}" for line in str(record.norm.evidence).splitlines()],
        }
    )


def spectrum_answer(record: KernelSpectrum) -> str:
    """The norm and how the labels lie, in one sentence."""
    return (
        f"||{NAMES[record.task.kernel]}|| = {interval(record.norm)}; {record.energies.sum():.3g} of |y|^2 lies in the "
        f"{counted(len(record.energies), 'leading eigenvector')}."
    )


def _setting(record) -> list[str]:
    task = record.task
    own = own_rows(record.own)
    if record.nearest is not None:
        own.append(("Theta^lin (the nearest linear one)", terms(record.nearest)))
    return rows([("network", str(task)), *own, ("trained", task.trained), ("products", str(record.plan))])


def size_rows(record: KernelSpectrum) -> list[str]:
    """Norms, trace and dimensions."""
    pairs = [("spectral norm", interval(record.norm))]
    exact = " (exact)" if record.frobenius.failure_probability == 0 else ""
    pairs += [("Frobenius norm", f"{record.frobenius.value:.6g}{exact}" if exact else interval(record.frobenius))]
    for label, estimate in (
        ("trace", record.trace),
        ("effective rank, trace / norm", record.effective_rank),
        ("participation ratio", record.participation_ratio),
    ):
        if estimate is not None:
            pairs.append((label, interval(estimate)))
    return rows(pairs)


def pair_lines(record: KernelSpectrum, most: int = _SHOWN_PAIRS) -> list[str]:
    """The leading eigenpairs, at most so many of them."""
    leading = record.leading
    head = f"  {'eigenvalue':>14}{'residual':>12}{'multiplicity':>14}{'label energy':>14}"
    columns = zip(leading.values, leading.residuals, leading.multiplicities, record.energies, strict=True)
    # Values below the rounding of the largest say no more than that they are zero.
    rank = int((abs(leading.values) > _ROUNDING * abs(leading.values).max()).sum())
    shown = list(columns)[: min(rank, most)]
    lines = [f"  {value:>14.6g}{residual:>12.1e}{count:>14}{energy:>14.4g}" for value, residual, count, energy in shown]
    low, high = leading.others
    rest = f"all others between {low:.6g} and {high:.6g}" if low <= high else "these are all eigenvalues"
    zeros = f"; {len(leading.values) - rank} of them vanish up to rounding" if rank < len(leading.values) else ""
    return [head, *lines, f"  ({counted(len(leading.values), 'pair')}{zeros}; {rest})"]


def label_rows(record: KernelSpectrum) -> list[str]:
    """Where the labels lie."""
    pairs = [
        ("kernel-target alignment", interval(record.alignment)),
        (f"energy in {counted(len(record.energies), 'leading vector')}", f"{record.energies.sum():.4g} of |y|^2"),
    ]
    if record.angles is not None:
        degrees, error = np.degrees(record.angles.angles), math.degrees(record.angles.error)
        found = f"{degrees.min():.3g} to {degrees.max():.3g} degrees +- {error:.2g}"
        found = found if error < 90 else "undetermined: last value too near the next"
        other = NAMES["linear" if record.task.kernel == "theta" else "theta"]
        pairs.append((f"angles to those of {other}", found))
    return rows(pairs)


def density_rows(record: KernelSpectrum) -> list[str]:
    """Up to which values parts of the eigenvalues lie."""
    density = record.density
    if density.values is not None:
        return rows(
            (f"{q:.0%} of the eigenvalues", f"up to {np.quantile(density.values, q):.5g}") for q in _SHOWN_SHARES
        )
    steps, products = counted(density.lengths.max(), "step"), counted(density.products, "product")
    how = f"{counted(density.probes, 'probe')} of {steps}, {products}"
    grid = np.geomspace(1e-9, 1, 400) * max(abs(density.lowest), abs(density.highest))
    grid = np.concatenate([-grid[::-1], grid])
    grid = grid[(grid >= density.lowest) & (grid <= density.highest)]
    bounds = cache(lambda place: [float(end[0]) for end in density.cumulative(grid[place])[1:]])
    lines = [("measured with", how)]
    for q in _SHOWN_SHARES:
        last, first = (_first(grid, q, lambda place, side=side: bounds(place)[side]) for side in (0, 1))
        lines.append((f"{q:.0%} of the eigenvalues", f"up to a value between {first:.4g} and {last:.4g}"))
    return rows(lines)


def _first(grid, q: float, share) -> float:
    """Where a share that grows along the grid reaches q; each place takes a rule for each probe, so few are asked."""
    place = bisect_left(range(len(grid)), q, key=share)
    return float(grid[place]) if place < len(grid) else math.inf
