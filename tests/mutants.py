"""Do the tests kill mutants? ``python tests/mutants.py [--before FOLDER] [--only WORD] [--out FILE]``

Each mutant is one change of a short text in the package. It is made in a copy of the tree, and the tests of its room
run there until the first one fails. With ``--before``, another checkout, the tests of that one run as well on each
mutant that the own ones let live: what those would have killed is a loss of power.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
# The tests of each room, the quicker ones first.
TESTS = {
    "spectra": "intervals certificates lanczos traces norms dimensions alignments densities honesty products_only "
    "randomness spectra checkpoints",
    "kernels": "deep_networks kernels assumptions expected expected_cnn deep_expected expansion statements adapters",
    "networks": "protocol deep_networks kernels networks",
    "operators": "rows_per_point several_outputs operators",
    "dynamics": "several_outputs laws batch_noise losses modes dynamics laws_trained training products_only honesty",
    "storage": "rows_per_point places sealed storage files kernel_files checkpoints finished_work faults damage "
    "open_arrays sweeps",
    "engines": "host engines functions parts streaming stand_in forks operators expected_cnn fused_training "
    "devices spectra cuda",
}
# Tests that are the first of their room for files of these names.
FIRST = {
    "certificates": "certificates overlaps norms",
    "overlaps": "overlaps certificates",
    "deflation": "spectra",
    "dimensions": "dimensions",
    "eigenpairs": "spectra",
    "lanczos": "lanczos",
    "norms": "norms",
    "traces": "traces",
    "two_layer_kernel": "kernels",
    "deep_kernel": "deep_networks",
    "linear": "kernels expansion",
    "expected": "expected deep_expected",
    "expected_cnn": "expected_cnn",
    "layer_moments": "deep_expected",
    "linear_cnn": "expansion",
    "recursion": "deep_expected expected",
    "moments": "kernels",
    "ranges": "expected",
    "expansion": "expansion",
    "features": "dynamics modes",
    "krylov": "dynamics",
    "prediction": "dynamics",
    "stability": "dynamics",
    "modes": "modes",
    "hdf5": "storage sealed",
    "kernels": "kernel_files",
    "on_disk": "kernel_files",
    "checkpointed": "checkpoints",
    "proofs": "kernel_files",
    "tiles": "kernel_files",
    "trees": "storage",
    "bits": "engines",
    "functions": "functions",
    "pairs": "devices expected_cnn",
    "parts": "parts",
    "streaming": "streaming",
    "symmetric": "engines",
    "training": "fused_training",
    "patches": "expected_cnn engines",
    "terms": "parts",
}
# Seconds after which tests that do not end count as failed.
PATIENCE = 1800


@dataclass(frozen=True)
class Mutant:
    """``old`` becomes ``new`` at all its places in the file ``path`` of the package."""

    path: str
    old: str
    new: str

    @property
    def room(self) -> str:
        """The first folder of the path."""
        return self.path.partition("/")[0]

    def __str__(self) -> str:
        return f"{self.path}: {' '.join(self.old.split())!r} -> {' '.join(self.new.split())!r}"


def _of(path: str, *changes: tuple[str, str]) -> list[Mutant]:
    return [Mutant(path, old, new) for old, new in changes]


MUTANTS = [
    *_of(
        "spectra/overlaps.py",
        ("(n - block - vectors + 1) / 2", "n / 4"),
        ("failure_probability / excess", "failure_probability"),
        ("return LOSS * exact,", "return exact,"),
        ("LOSS * WEIGHT * self.error", "0.0 * self.error"),
        ("(level / LOSS) ** 2 - rounding**2", "4 * level**2"),
        ("- tail) / GROWTH - tail", "- tail) * 4"),
    ),
    *_of(
        "spectra/certificates.py",
        ("float(relation.theta[0]) - lanczos.error, float", "float(relation.theta[0]), float"),
        ("failure_probability * 2.0 ** (1 - m) / found", "failure_probability * 1e3"),
        ("/ np.sqrt(self.counts + 1), levels[0] - own", ", levels[0]"),
        ("self.apart = 2 * (", "self.apart = 0 * ("),
        ("self.high + self.radii < end", "self.high < end + np.inf"),
        ("if not levels[self.counts - 1].all():", "if False:"),
        ("self.probability * 6 / (math.pi * self.attempts) ** 2", "self.probability"),
        ('if outcome.reason != "hidden":', "if True:"),
        ("lowest >= ends[0] and highest <= ends[1]", "lowest >= ends[0] or highest <= ends[1]"),
        ("return 0.0\n    exact, rounding", "return 1.0\n    exact, rounding"),
    ),
    *_of(
        "spectra/norms.py",
        ("(value - slack) / (1 + evidence.orthogonality_loss) - evidence.stored", "value"),
        ("upper = max(abs(evidence.lowest), abs(evidence.highest))", "upper = abs(evidence.highest)"),
        ("(room - 2 * distance if 2 * distance < 0.9 * room else room)", "room"),
        ("failure_probability / 2, as_symmetric(operator)", "failure_probability, as_symmetric(operator)"),
        ("operator.formed_error + SUMMING * norm", "SUMMING * norm"),
        ("math.sqrt(known + float(np.square(residuals).sum()) + high)", "math.sqrt(known + low)"),
    ),
    *_of(
        "spectra/traces.py",
        ("math.log(failure_probability / 2), largest / mean", "math.log(0.5), largest / mean"),
        ("probes * S / (2 * min(largest, S))", "probes * S / min(largest, S)"),
        ("self.lanczos.project(G)", "G"),
        ("2 * (squares * x / rest.count) ** 0.5", "0.02 * (squares * x / rest.count) ** 0.5"),
        ("(operator.rounding.forming_error_bound + operator.storage_error) * n**0.5", "0.0 * n"),
    ),
    *_of(
        "spectra/dimensions.py",
        ("(max(0.0, total.lower), size.upper), (total.upper, size.lower)", "*2 * [(total.value, size.value)]"),
        ("theta[0] * (1 - rtol / 2)", "theta[0] * (1 - 4 * rtol)"),
        ("-n * each * math.log(each)", "0.0 * each"),
        ("radau_rule(alpha[:k], beta[:k], -self.negative)", "rule(alpha[:k], beta[: k - 1])"),
    ),
    *_of(
        "spectra/eigenpairs.py",
        ("errors[order][1:] + errors[order][:-1]", "0.0"),
        ("if len(self._beyond(theta)):", "if False:"),
        ("lanczos.residuals(S[:, chosen]) + lanczos.error", "lanczos.residuals(S[:, chosen])"),
        ('"LM": -abs(values)', '"LM": -values'),
        ('np.argsort(-values, kind="stable"), k // 2', 'np.argsort(-values, kind="stable"), (k + 1) // 2'),
    ),
    *_of("spectra/deflation.py", ("further = residuals + self.residual_norm", "further = residuals")),
    *_of(
        "spectra/lanczos.py",
        ("again, P = self.basis.without(P, 0, known)", "again = 0 * overlaps"),
        ("further, W = self.basis.without(W, 0, known)", "further = 0 * overlaps"),
        ("self.error = math.hypot(self.error, defect)", "pass"),
        ("self.error = math.hypot(self.error, math.sqrt(width) * rounding)", "pass"),
        ("max(ASYMMETRY * self.scale, 1e3 * rounding)", "1e3 * self.scale"),
        ("self.restarts = S.T @ self.start, kept,", "self.restarts = self.start[:kept], kept,"),
    ),
    *_of(
        "kernels/expected.py",
        ("return float(max(rho, slopes))", "return 0.0"),
    ),
    *_of(
        "kernels/recursion.py",
        ("tangent = slope * tangent  #", "tangent = tangent  #"),
        ("covariance if weights[0] == 1 else weights[0] * covariance", "covariance"),
        ("number < len(weights) - 1", "True"),
    ),
    *_of(
        "kernels/expected_cnn.py",
        ("between = partial(self.patches.means, engine)", "between = None"),
        ("xp.maximum(size - abs(c), 0) * (size + abs(c))", "xp.maximum(size - abs(c), 0) * (size + c)"),
        ("(hidden_layers - 1) * cancelled", "0.0 * cancelled"),
    ),
    *_of(
        "kernels/expansion.py",
        ("mixed -= jet.linear[0] ** 2 / jet.value", "pass"),
        ("self.equal - self.data - self.square * trace_ratio / d", "self.equal - self.data"),
        ("square=(first + second / 2) *", "square=(first + second) *"),
        ("2 ** (i + j)", "2 ** (i - j)"),
    ),
    *_of(
        "kernels/moments.py",
        ("(n * (n - 1) * d)", "(n * n * d)"),
        ("size <= spread * (math.sqrt(room / (n - 1)) + 0.01)", "size <= spread"),
        ("square * square - n * (n - 1) * quartic", "square * square - n * n * quartic"),
    ),
    *_of(
        "kernels/linear.py",
        ("bend * excess**2", "bend * excess"),
        ("1.5 / d * constants.nu(trace_ratio) ** 2", "1.0 / d * constants.nu(trace_ratio) ** 2"),
    ),
    *_of(
        "networks/two_layer_kernel.py",
        ("float(v[0]) ** 2 if constant", "float(v[0]) if constant"),
        ("slope if weights is None else slope * weights", "slope"),
    ),
    *_of(
        "networks/two_layer_passes.py",
        ("of_v * scaled(m**-0.5)", "of_v"),
        ("of_W *= readout[:, None] * scaled(d**-0.5)", "of_W *= readout[:, None]"),
    ),
    *_of("networks/outputs.py", ("float(self.weights[0, 0]) ** 2", "float(self.weights[0, 0])")),
    *_of(
        "operators/layout.py",
        ("if self.stacked or self.outputs is None:", "if self.outputs is None:"),
        ("y.shape != (n, rows_per_point)", "y.size != rows"),
    ),
    *_of("operators/combination.py", ("return counts[0] if counts else 1", "return 1")),
    *_of("networks/deep_kernel.py", ("if k % net.n_weights not in chosen:", "if False:")),
    *_of(
        "kernels/linear_cnn.py",
        ("weights.flat[0] -= self.norm**2 / self.constant", "pass"),
        ("(n * (n - 1) * channels**2)", "(n * n * channels**2)"),
    ),
    *_of("kernels/ranges.py", ("(diagonal[counted] >= info.tiny)", "(diagonal[counted] >= 0)")),
    *_of("kernels/layer_moments.py", ("return value, slope, lost * other", "return value, slope, lost * lost")),
    *_of("dynamics/features.py", ("len(values) * np.finfo(np.float64).eps * values[-1]", "0.0")),
    *_of(
        "dynamics/krylov.py",
        ("law.amplification * np.where(np.isnan(total)", "np.where(np.isnan(total)"),
        ("if problem.law.keeps_signs(", "if True or problem.law.keeps_signs("),
        ("_LOOKED_AT = np.arange(8)", "_LOOKED_AT = np.arange(1)"),
        ("sums.append((sums[-1] + (b - a) * term)", "sums.append((sums[-1] + term)"),
    ),
    *_of(
        "dynamics/modes.py",
        ("k is None or k >= len(values)", "True"),
        ("(1 - _part(part)) * float(self.energies.sum())", "1 - _part(part)"),
    ),
    *_of(
        "dynamics/laws.py",
        ("np.where(x < 0.5, slow, 1 - self.residual(x[0], t[:, 0]))", "1 - self.residual(x[0], t[:, 0])"),
        ("return largest <= 1", "return True"),
    ),
    *_of(
        "dynamics/momentum.py",
        ("np.where((t + 1) * farther <= 1, self._early(x, t), late)", "late"),
        ("return 2.0 * (1 + self.momentum)\n", "return 2.0\n"),
        ("1.0 / (1 - self.momentum)", "1.0"),
        ("sign_of(side, t) * np.exp(t * size)", "np.exp(t * size)"),
        ("np.sqrt(np.maximum(amplitude, now**2))", "abs(now)"),
        ("(times - m * sums) / (1 - m) + self._lead * sums", "times"),
        ("(all_before + self._lead * last)", "all_before"),
        ("2.0 * (1 + self.momentum) / (1 + 2 * self.momentum)", "2.0"),
    ),
    *_of(
        "dynamics/prediction.py",
        ("y if starts[0] is None else y - starts[0]", "y"),
        ("rate / layout.points", "rate / kernel.shape[0]"),
        ("and not ridge", ""),
        ("decay / ridge", "1.0"),
        ("part * (start if origin is None else start - origin)", "part * start"),
    ),
    *_of(
        "dynamics/batch_noise.py",
        ("(self._batch - 1) / max(1, n - 1)", "self._batch / n"),
        ("self._two - self._one**2", "self._two"),
        ("rate / self._n * self._GA + rate * task.ridge * eye", "rate / self._n * self._GA"),
    ),
    *_of(
        "dynamics/methods.py",
        ("np.sqrt(2 * problem.rate * steps", "np.sqrt(0.002 * problem.rate * steps"),
        ("(targets**2 / values)", "(targets**2)"),
        ("reduce(np.hypot,", "reduce(np.minimum,"),
    ),
    *_of(
        "dynamics/losses.py",
        ("ALLOWED * (1 + abs(exact))", "1.0"),
        ("np.array_equal(loss.values(ahead, y)[others], start[others])", "True"),
        ("inner * (size - inner / 2)", "inner * size / 2"),
        (" * y.sum(axis=1, keepdims=True) - y", " - y"),
    ),
    *_of("dynamics/recursion.py", ("if step < last:", "if True:"), ("COARSER * tolerance", "tolerance")),
    *_of("dynamics/coordinates.py", (".transpose(1, 0, 2)", "")),
    *_of("dynamics/arguments.py", ("// layout.rows_per_point", "")),
    *_of(
        "dynamics/stability.py",
        ("values < -rounding", "values < 0"),
        ("n = points_of(operator)", "n = operator.shape[0]"),
        ("largest, problem.points,", "largest, problem.kernel.shape[0],"),
        ("unstable=max(part.unstable", "unstable=sum(part.unstable"),
        ("(top.upper, top.lower)", "(top.lower, top.upper)"),
    ),
    *_of("storage/tiles.py", ('each = int(attributes.get("rows_per_point", 1))', "each = 1")),
    *_of("storage/sealed.py", ("if not _holds(file, found, _ranges(match)):", "if False:")),
    *_of(
        "storage/tiles.py",
        ("if offset < stop:", "if False:"),
        ("if needed - taken > free:", "if False:"),
        ("0 <= distance < math.inf", "True"),
    ),
    *_of(
        "storage/checkpointed.py",
        ("record[: 2 * DIGEST] != digest + digest_of(content)", "record[:DIGEST] != digest"),
        ("if self.position == 0:", "if False:"),
        ("if self.last is not None:", "if False:"),
        ("elif found != self.header:", "elif False:"),
    ),
    *_of(
        "storage/kernels.py",
        ("if not right.all():", "if False:"),
        ("operator.dtype or not agree", "operator.dtype and not agree"),
    ),
    *_of(
        "storage/proofs.py",
        ("if not self.holds(k):", "if False:"),
        ("checks.finite_sum([float(square)])", "float(square)"),
    ),
    *_of("storage/on_disk.py", ("if found.mark != mark:", "if False:")),
    *_of(
        "storage/places.py",
        ("os.fchmod(handle, path.stat().st_mode & 0o777)", "pass"),
        ("place.unlink()  # before", "pass  # before"),
        ("temporary.unlink(missing_ok=True)", "pass"),
        ("_remove_left(path)\n    handle", "handle"),
    ),
    *_of(
        "storage/trees.py",
        ("if address in self._seen:", "if False:"),
        ("if stored > self.size or size > stored * (_DEFLATED if filters else 1):", "if False:"),
        ("if not self._warned:", "if True:"),
    ),
    *_of(
        "storage/hdf5.py",
        ("if version > FORMAT_VERSION:", "if False:"),
        ("if not sealed:\n            visit(path)", "if False:\n            visit(path)"),
    ),
    *_of(
        "engines/cpu/symmetric.py",
        ("out[:, columns] if row != column else ignored", "out[:, columns]"),
        ("weight = 1.0 if column + side <= row else 0.5", "weight = 1.0"),
        ("range(0 if i >= height else width, block.shape[1])", "range(width, block.shape[1])"),
        ("below[v, i] += block[i, j] * right[v, j]", "below[v, i] += block[i, j] * left[v, j]"),
    ),
    *_of(
        "engines/cpu/bits.py",
        ("(cross * (ones[i] + others[j]) + constant)", "(cross * (ones[i] + ones[i]) + constant)"),
    ),
    *_of(
        "engines/cpu/patches.py",
        ("(lost is None or sign > 0)", "True"),
        ("(k + size - 1) % positions", "(k + size) % positions"),
    ),
    *_of(
        "engines/cpu/functions.py",
        ("near = _fma(square, _polynomial(small, square), scale_rest)", "near = square * _polynomial(small, square)"),
        ("_FAR = 1400.0", "_FAR = 300.0"),
        ("min(abs(x), 39.0)", "min(abs(x), 30.0)"),
        ("-xp.inf if below else -1.0", "-xp.inf"),
    ),
    *_of(
        "engines/cpu/pairs.py",
        ("if gap[i, j] < close * product:", "if False:"),
        ("sign = -1.0 if c[i, j] < 0 else 1.0", "sign = 1.0"),
    ),
    *_of(
        "engines/cpu/threads.py",
        ("_pool.cache_clear()", "pass"),
        ("future.cancel()", "pass"),
    ),
    *_of("engines/__init__.py", ("if not all(on_gpu):", "if False:")),
    *_of(
        "engines/host.py",
        ("min(psutil.virtual_memory().available, allowed_memory(threads))", "psutil.virtual_memory().available"),
    ),
    *_of(
        "engines/cuda/symmetric.cu",
        (
            "left[r][v] = i < height ? AT(vectors, v, row * side + i) : 0;",
            "left[r][v] = AT(vectors, v, row * side + (i < height ? i : height - 1));",
        ),
    ),
    *_of("engines/cuda/terms.cu", ("for (int b = 0; b <= a; b++)", "for (int b = 0; b < a; b++)")),
    *_of("engines/cuda/pairs.cu", ("double sign = value < 0 ? -1.0 : 1.0;", "double sign = 1.0;")),
    *_of("engines/cuda/bits.cu", ("b < 64 && 64 * k + b < columns", "b < 63 && 64 * k + b < columns")),
    *_of("engines/cuda/rows.cu", ("AT(right, p / each, k)", "AT(right, p % each, k)")),
    *_of("engines/cuda/patches.cu", ("(k + size - 1) % P", "(k + size) % P")),
    *_of("engines/cuda/training.cu", ("now[m * d + weight / d]", "now[m * d + weight % m]")),
    *_of(
        "engines/cuda/functions.cuh",
        ("*slope == 0 && z < -1 ? (real)-1 : z", "z"),
        ("at_most(fabs(x), 39.0)", "at_most(fabs(x), 30.0)"),
    ),
    *_of("engines/gpu/terms.py", ("coefficients[larger] += term.scale", "coefficients[larger] = term.scale")),
    *_of("engines/gpu/symmetric.py", ("places[max(first, start) :", "places[start :")),
    *_of("engines/gpu/streaming.py", ("room = rooms[place % 2]", "room = rooms[0]")),
]


def place_of(mutant: Mutant, package: Path) -> Path | None:
    """The file that holds the text; where it has moved, the only one of its room that does."""
    there = package / mutant.path
    if there.is_file() and mutant.old in there.read_text(encoding="utf-8"):
        return there
    others = (path for path in (package / mutant.room).rglob("*") if path.suffix in {".py", ".cu", ".cuh"})
    found = [path for path in others if mutant.old in path.read_text(encoding="utf-8")]
    return found[0] if len(found) == 1 else None


def tests_of(mutant: Mutant) -> list[str]:
    """The names of the tests of its room, in their order."""
    first = FIRST.get(Path(mutant.path).stem, "").split()
    return [*first, *(name for name in TESTS[mutant.room].split() if name not in first)]


class Copy:
    """A copy of the package, with the tests of a checkout; compiled loops in it stay valid, as times are kept."""

    def __init__(self, folder: Path, tests: Path):
        self.folder = folder
        for name in ("ntkspec", "docs", "benchmarks"):
            shutil.copytree(ROOT / name, folder / name)
        for name in ("README.md", "pyproject.toml", "CHANGELOG.md"):
            shutil.copy2(ROOT / name, folder / name)
        shutil.copytree(tests / "tests", folder / "tests")
        shutil.copy2(tests / "setup.cfg", folder / "setup.cfg")

    def kills(self, mutant: Mutant) -> tuple[str, float]:
        """The first test that fails, or nothing; and the seconds that it took."""
        start = time.monotonic()
        place = place_of(mutant, self.folder / "ntkspec")
        text, status = place.read_text(encoding="utf-8"), place.stat()
        place.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
        try:
            return self._failure(tests_of(mutant)), time.monotonic() - start
        finally:
            place.write_text(text, encoding="utf-8")
            os.utime(place, ns=(status.st_atime_ns, status.st_mtime_ns))

    def _failure(self, names: list[str]) -> str:
        files = [f"tests/test_{name}.py" for name in names if (self.folder / f"tests/test_{name}.py").is_file()]
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *_ONE_PROCESS, *files]
        environment = os.environ | {"PYTHONPATH": str(self.folder)}
        try:
            run = subprocess.run(
                command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
            )
        except subprocess.TimeoutExpired:
            return f"no end within {PATIENCE} s"
        if run.returncode == 0:
            return ""
        told = [line for line in run.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
        return told[0] if told else f"exit code {run.returncode}"


_ONE_PROCESS = ("-o", "addopts=-m 'not slow' --strict-markers")


def main() -> None:
    """Print a line for each mutant, and the sum."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, help="a checkout whose tests are tried on what lives")
    parser.add_argument("--only", default="", help="mutants whose path and texts hold this word")
    parser.add_argument("--out", type=Path, help="a file to which the lines are added; its mutants are not run again")
    parser.add_argument("--list", action="store_true", help="say which texts are not found, and run nothing")
    how = parser.parse_args()
    wanted = [mutant for mutant in MUTANTS if how.only in str(mutant)]
    lost = [mutant for mutant in wanted if place_of(mutant, ROOT / "ntkspec") is None]
    for mutant in lost:
        print(f"not found | {mutant}", flush=True)
    print(f"{len(wanted)} mutants, {len(lost)} whose text is not found", flush=True)
    if how.list:
        return
    done = how.out.read_text(encoding="utf-8") if how.out and how.out.exists() else ""
    with tempfile.TemporaryDirectory() as folder:
        own = Copy(Path(folder) / "own", ROOT)
        before = Copy(Path(folder) / "before", how.before) if how.before else None
        for mutant in wanted:
            if mutant in lost or str(mutant) in done:
                continue
            killer, seconds = own.kills(mutant)
            line = f"killed | {killer[:120]}" if killer else "LIVES"
            if not killer and before is not None:
                killer, more = before.kills(mutant)
                line, seconds = line + f" | before: {killer[:120] or 'lives too'}", seconds + more
            line = f"{line} | {seconds:.0f} s | {mutant}"
            print(line, flush=True)
            if how.out:
                with how.out.open("a", encoding="utf-8") as out:
                    out.write(f"{line}\n")


if __name__ == "__main__":
    main()
