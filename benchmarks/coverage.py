"""How often certified intervals miss, over spectra that break eigenvalue methods: `python -m benchmarks.coverage`.

Every run is one spectral norm, or three eigenpairs with the bound on all others, of a matrix of size 100 whose dense
eigenvalues are known. Misses are counted for each stated failure probability; more of them than chance explains, or
one lower end above the truth, fails the run. The table gives the upper 95 % confidence limit of the rate (Clopper,
Pearson).
"""

import argparse
import json
import time
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from scipy.stats import beta, binom

import ntkspec as ns
from benchmarks.common import made_with
from ntkspec.operators import Dense, wrap
from ntkspec.spectra import eigenpairs
from tests.adversarial import every_spectrum, matrix_with

SIZE = 100
# (failure probability, relative width): loose intervals use the probability up, tight ones are what users ask for.
SETTINGS = ((0.3, 0.5), (0.05, 0.2), (1e-6, 1e-3))


@dataclass
class Count:
    """Runs, and intervals that did not hold the truth, at one stated failure probability."""

    what: str
    failure_probability: float
    runs: int = 0
    misses: int = 0
    below: int = 0
    worst: str = ""
    worst_rate: float = 0.0

    @property
    def limit(self) -> float:
        """Upper 95 % confidence limit of the rate of misses."""
        return float(beta.ppf(0.95, self.misses + 1, self.runs - self.misses)) if self.runs > self.misses else 1.0

    @property
    def allowed(self) -> float:
        """Misses that as many runs exceed with probability 1e-6 only, if each fails as often as stated."""
        return float(binom.ppf(1 - 1e-6, self.runs, self.failure_probability))


def run(seeds: int) -> list[Count]:
    """All spectra, both dtypes, arrays and functions, every setting, with that many seeds."""
    eigenpairs.DENSE_SIZE = 0
    counts = {}
    for dtype in (np.float64, np.float32):
        for name, values in every_spectrum(SIZE, dtype):
            matrix = matrix_with(values, 1, dtype)
            exact = np.linalg.eigvalsh(matrix.astype(np.float64))
            operators = {"array": Dense(matrix), "function": wrap(lambda v, A=matrix: A @ v, len(matrix), dtype=dtype)}
            for form, operator in operators.items():
                for probability, rtol in SETTINGS:
                    _count(counts, (name, form, np.dtype(dtype).name), (operator, exact), (probability, rtol, seeds))
    return list(counts.values())


def _count(counts, names, problem, setting) -> None:
    (operator, exact), (probability, rtol, seeds) = problem, setting
    tolerance = 4 * np.finfo(np.float64).eps * abs(exact).max()
    misses = defaultdict(int)
    for seed in range(seeds):
        norm = ns.spectral_norm(operator, rtol=rtol, failure_probability=probability, seed=seed, method="factored")
        misses["spectral norm"] += int(norm.upper < abs(exact).max() - tolerance)
        misses["lower end"] += int(norm.lower > abs(exact).max() + tolerance)
        if seed % 4 == 0:
            k = min(3, len(exact))
            pairs = ns.eigsh(operator, k, which="LA", failure_probability=probability, seed=seed, method="factored")
            misses["others"] += int((exact > pairs.others[1] + tolerance).sum()) > k
    for what, runs in (("spectral norm", seeds), ("others", -(-seeds // 4))):
        count = counts.setdefault((what, probability), Count(what, probability))
        count.runs += runs
        count.misses += misses[what]
        count.below += misses["lower end"] if what == "spectral norm" else 0
        if misses[what] / runs > count.worst_rate:
            count.worst, count.worst_rate = ", ".join(names), misses[what] / runs


def main() -> None:
    """Run, print the table, fail where more is missed than stated, and record where asked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.coverage", description=__doc__)
    parser.add_argument("--seeds", type=int, default=60, help="runs of each spectrum in each setting")
    parser.add_argument("--record", type=Path, help="write the counts to this JSON file")
    options = parser.parse_args()
    start = time.perf_counter()
    counts = run(options.seeds)
    seconds = time.perf_counter() - start
    head = f"{'what':<16}{'stated':>10}{'runs':>8}{'misses':>8}{'rate':>10}{'95 % limit':>12}"
    print(f"{head}  largest rate of one spectrum")
    for count in counts:
        rate = count.misses / count.runs
        print(
            f"{count.what:<16}{count.failure_probability:>10.0e}{count.runs:>8}{count.misses:>8}{rate:>10.4f}"
            f"{count.limit:>12.4f}  {count.worst_rate:.2f} {count.worst}"
        )
        if count.below or count.misses > count.allowed:
            raise SystemExit(f"{count.what} misses more often than stated: {count}")
    print(f"{sum(count.runs for count in counts)} runs in {seconds:.0f} s")
    if options.record:
        rows = [asdict(count) | {"limit": count.limit} for count in counts]
        content = {"made_with": made_with("python -m benchmarks.coverage"), "seconds": seconds, "counts": rows}
        options.record.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
