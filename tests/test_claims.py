"""What README and docs say, the code does: commands, calls, counts, and numbers, which are those of the records."""

import contextlib
import inspect
import itertools
import json
import math
import re
import tomllib
from configparser import ConfigParser

import pytest
from cyclopts import CycloptsError, MissingArgumentError

import adversarial
import claims
import house
import ntkspec as ns
import sample_output
from ntkspec import activations
from ntkspec.cli import commands
from ntkspec.cli.data import DataOptions, dataset_of
from ntkspec.cli.networks import KernelOptions
from ntkspec.dynamics import law_of
from ntkspec.dynamics.ensemble_kernels import checked_kernels
from ntkspec.engines.rates import Rates
from ntkspec.experiments.analyze import AnalyzeTask, check_analysis
from ntkspec.experiments.statements import STATEMENTS
from ntkspec.networks.specification import TWO_LAYER

RESULTS = house.ROOT / "benchmarks" / "results"
SUBCOMMANDS = tuple(name for name in commands.app if not name.startswith("-"))
EXTRAS = tomllib.loads((house.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
SETUP = ConfigParser()
SETUP.read(house.ROOT / "setup.cfg")
MARKERS = set(re.findall(r"^(\w+)[:(]", SETUP["tool:pytest"]["markers"], re.MULTILINE))
README = claims.README.read_text(encoding="utf-8")
ROWS = claims.rows(README)
WORDS = [
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
]
IDS = [page.name for page in claims.PAGES]


def record(name: str) -> dict:
    return json.loads((RESULTS / name).read_text(encoding="utf-8"))


GAP, SPECTRA, TRAINING = (record(f"2026-11-30-{name}.json") for name in ("kernel-gap", "spectra", "training"))
LARGE = record("2026-11-30-large.json")
COVERAGE = record("2026-11-24-coverage.json")
CLUSTER = record("2026-11-30-cluster.json")
ANY = record("2026-11-30-any-network.json")


def case(found: dict, start: str) -> dict:
    (one,) = [one for one in found["cases"] if one["name"].startswith(start)]
    return one


def row(*words: str) -> list[str]:
    """The one row of the README's tables whose line has all these words."""
    (one,) = [cells for cells in ROWS if all(word in " | ".join(cells) for word in words)]
    return one


def agree(shown: str, value: float) -> bool:
    """Is a printed number the value, rounded to its own digits?"""
    digits = len(shown.partition(".")[2])
    return abs(float(shown.replace(",", "")) - value) <= 0.5000001 * 10.0**-digits


def numbers(cell: str, unit: str = "") -> list[str]:
    """The numbers before a unit."""
    return re.findall(rf"(?<![\d,.])(\d+(?:\.\d+)?){unit}(?!\w)", cell)


# ------------------------------------------------------------------------------------------------------------ commands
@pytest.mark.parametrize("page", claims.PAGES, ids=IDS)
def test_commands_are_taken_as_they_stand(page):
    """Names of commands, options and choices, by the parser itself; extras, markers and files of the others."""
    for command in claims.commands(page.read_text(encoding="utf-8"), SUBCOMMANDS):
        words = command.words
        if words[0] == "ntkspec":
            with contextlib.nullcontext() if command.whole else contextlib.suppress(MissingArgumentError):
                commands.app.parse_args(words[1:], exit_on_error=False, print_error=False)
        elif "install" in words:
            wanted = {extra for word in words for found in re.findall(r"\[(.*)\]", word) for extra in found.split(",")}
            assert wanted <= set(EXTRAS), words
            after = [after for word, after in itertools.pairwise(words) if word == "-r"]
            assert all((house.ROOT / file).is_file() for file in after), words
        elif words[:2] == ["python", "-m"] and words[2].startswith("benchmarks"):
            module = house.ROOT / words[2].replace(".", "/")
            source = (module / "__main__.py" if module.is_dir() else module.with_suffix(".py")).read_text()
            options = {word for word in words if word.startswith("--")}
            assert all(f'add_argument("{option}"' in source for option in options), words
            if "--only" in words:
                chosen = words[words.index("--only") + 1 :]
                assert all(f'"{name}"' in source for name in chosen if not name.startswith("-")), words
        elif "pytest" in words:
            after = [after for word, after in itertools.pairwise(words[3:]) if word == "-m"]
            assert {name for one in after for name in re.findall(r"\w+", one)} - {"or", "not", "and"} <= MARKERS, words
            assert all((house.ROOT / word).exists() for word in words if word.startswith("tests/")), words
        elif words[0] == "python" and words[1].endswith(".py"):
            assert (house.ROOT / words[1]).is_file() or "/" not in words[1], words


def test_what_a_command_does_not_have_is_found():
    text = "```sh\nntkspec analyze --depth 3   # no\n```\nand `check nonsense`, `ns.ntk(net, X, layers='all')`"
    wrong = [command.words for command in claims.commands(text, SUBCOMMANDS)]
    assert wrong == [["ntkspec", "analyze", "--depth", "3"], ["ntkspec", "check", "nonsense"]]
    for words in wrong:
        with pytest.raises(CycloptsError):
            commands.app.parse_args(words[1:], exit_on_error=False, print_error=False)
    assert [*claims.calls(text)] == [claims.Call("ntk", ("layers",))]


@pytest.mark.parametrize("page", claims.PAGES, ids=IDS)
def test_calls_have_the_arguments_that_they_name(page):
    for call in claims.calls(page.read_text(encoding="utf-8")):
        value = ns
        for part in call.name.split("."):
            value = getattr(value, part)
        taken = inspect.signature(value).parameters
        free = any(one.kind is one.VAR_KEYWORD for one in taken.values())
        assert free or set(call.keywords) <= set(taken), call


@pytest.mark.parametrize("page", claims.PAGES, ids=IDS)
def test_tests_that_a_page_names_exist(page):
    for name in re.findall(r"`(test_\w+\.py)`", page.read_text(encoding="utf-8")):
        assert (house.ROOT / "tests" / name).is_file(), name


# ------------------------------------------------------------------------------------------------------------ defaults
def test_the_first_command_has_the_setting_that_is_said():
    activation, width, d, n = re.search(r"\((\w+), width (\d+), d = (\d+), ([\d,]+)\s+points\)", README).groups()
    task, data = check_analysis(AnalyzeTask()), dataset_of(DataOptions(), 0)
    assert (task.activation, task.width) == (activation, int(width))
    assert data.X.shape == (int(n.replace(",", "")), int(d))


def test_another_number_or_word_in_the_sample_output_is_found():
    lines = sample_output.sample()
    assert sample_output.absent([line.replace("    ", " ") for line in lines]) == []
    for said, other in (("584.873", "585.873"), ("Frobenius", "spectral")):
        changed = [line for line in lines if said in line]
        assert changed
        assert sample_output.absent([line.replace(said, other) for line in lines]) == changed


def test_the_failure_probability_is_the_one_that_is_said():
    assert "fails with a probability of at most 10⁻⁶" in README
    assert inspect.signature(ns.spectral_norm).parameters["failure_probability"].default == 1e-6


def test_named_activations_are_counted():
    (count,) = re.findall(r"(\w+) are named", (house.ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    assert WORDS.index(count) + 1 == len(activations.functions.NAMES)
    listed = re.search(r"^    \"(identity, .*)\"$", inspect.getsource(KernelOptions), re.MULTILINE)[1]
    assert sorted(re.findall(r"\w+", listed.replace(" or ", " "))) == sorted(activations.functions.NAMES)


# ------------------------------------------------------------------------------------------------ what is missing
LACKS = {
    "Gradient flow is predicted, but not trained": lambda: not hasattr(law_of("flow"), "move"),
    "at one rate on the squared error": lambda: not {"loss", "batch"} & {*inspect.signature(ns.track).parameters},
    "JAX functions have no layer factors": lambda: (
        not (house.ROOT / "ntkspec" / "networks" / "jax" / "factors").exists()
    ),
    "take all eigenpairs of their kernel": lambda: (
        not {"method", "rtol"} & {*inspect.signature(ns.ensemble).parameters}
    ),
    "networks are trained on one machine": lambda: (
        not {"place", "scheduler", "cluster"} & {*inspect.signature(ns.train_gd).parameters}
    ),
    "Ensembles and nearest linear kernels need a kernel on one machine": lambda: all(
        "require_here" in inspect.getsource(function) for function in (checked_kernels, ns.nearest_linear_kernel)
    ),
    "how far the kernel moves is judged for two layers only": lambda: STATEMENTS["drift"].network == TWO_LAYER,
    "has not run on a GPU yet": lambda: not [*RESULTS.glob("*gpu*"), *RESULTS.glob("*h200*"), *RESULTS.glob("*h100*")],
}


@pytest.mark.parametrize("phrase", LACKS)
def test_the_list_of_what_is_missing_is_true(phrase):
    missing = " ".join(README.partition("## What it does not do yet")[2].split())
    assert phrase in missing
    assert LACKS[phrase](), f"the package has it now; README says: {phrase}"


# ---------------------------------------------------------------------------------------------------- recorded numbers
def counted(*probabilities: float) -> int:
    return sum(one["runs"] for one in COVERAGE["counts"] if one["failure_probability"] in probabilities)


def missed(*probabilities: float) -> int:
    return sum(one["misses"] for one in COVERAGE["counts"] if one["failure_probability"] in probabilities)


@pytest.mark.parametrize("page", [claims.README, house.ROOT / "docs" / "certificates.md"], ids=lambda page: page.name)
def test_runs_are_counted_with_their_probability(page):
    text = page.read_text(encoding="utf-8")
    said = re.search(r"([\d,]+)\s+runs\s+over\s+(\d+)\s+spectra", text)
    assert int(said[1].replace(",", "")) == counted(0.3, 0.05, 1e-6)
    assert int(said[2]) == len({name for name, _ in adversarial.every_spectrum(100)})
    assert f"{counted(1e-6):,} runs" in " ".join(text.split())
    assert missed(1e-6) == 0
    assert not any(one["below"] for one in COVERAGE["counts"])


def test_misses_are_those_of_the_record():
    said = re.search(r"in the ([\d,]+) at 5 %\s+and 30 %, (\d+) did", " ".join(README.split()))
    assert [int(one.replace(",", "")) for one in said.groups()] == [counted(0.3, 0.05), missed(0.3, 0.05)]
    table = claims.rows((house.ROOT / "docs" / "certificates.md").read_text(encoding="utf-8"))
    of = {(one["failure_probability"], one["what"]): one for one in COVERAGE["counts"]}
    for label, probability in {"30 %": 0.3, "5 %": 0.05, "10⁻⁶": 1e-6}.items():
        (cells,) = [cells for cells in table if cells[0] == label]
        for cell, what in zip(cells[1:], ("spectral norm", "others"), strict=True):
            one = of[probability, what]
            assert int(re.match(r"\d+", cell)[0]) == one["misses"]
            if limit := re.search(r"below ([\d.]+) %", cell):
                assert float(limit[1]) == math.ceil(1000 * one["limit"]) / 10  # upward
            if worst := re.search(r"at most (\d+) %", cell):
                assert agree(worst[1], 100 * one["worst_rate"])


# The rows of the README's first table: words in them, the cases in the record, the peer.
COMPARED = [
    (("both norms, ReLU", "NumPy + SciPy"), ["both norms, relu"], "NumPy + SciPy eigsh"),
    (("both norms, ReLU", "neural-tangents"), ["both norms, relu"], "neural-tangents"),
    (("both norms, erf",), ["both norms, erf"], "NumPy + SciPy eigsh"),
    (("matrix of the difference",), ["matrix of the difference"], "NumPy"),
    (("Gram matrix of bits",), ["Gram matrix of bits"], "BLAS ssyrk"),
    (("norm of a dense",), ["norm of a dense matrix, relu", "norm of a dense matrix, erf"], "SciPy eigsh, k=1"),
    (
        ("10 outer eigenpairs",),
        ["10 eigenpairs of a dense matrix, relu", "10 eigenpairs of a dense matrix, erf"],
        "SciPy eigsh, k=10, tol=1e-6",
    ),
    (("factored product", "its two matrix"), ["factored product, relu"], "its two sgemms alone"),
    (("factored product", "torch.func"), ["factored product, relu"], "torch.func vjp, jvp"),
    (("with a float64 vector",), ["factored product of float64 vectors, relu"], "its two dgemms alone"),
    (("the same product, erf",), ["factored product, erf"], "its two sgemms alone"),
]


@pytest.mark.parametrize(
    ("words", "cases", "peer"), COMPARED, ids=[words[0] + ", " + peer for words, _, peer in COMPARED]
)
def test_times_beside_peers_are_recorded(words, cases, peer):
    _, ours, theirs, ratio = row(*words)
    kept = [case(SPECTRA if "dense matrix" in name else GAP, name) for name in cases]
    for shown, one in zip(numbers(ours, " s"), kept, strict=False):
        assert agree(shown, one["ours"])
    assert len(numbers(theirs, " s")) == len(numbers(ratio)) == len(kept)
    for shown, times, one in zip(numbers(theirs, " s"), numbers(ratio), kept, strict=True):
        assert agree(shown, one["peers"][peer])
        assert agree(times, one["peers"][peer] / one["ours"])


# Rows of the README's table of PyTorch modules: words in them, the case in the record, the peer.
MODULES = [
    (("one product, ResNet-18", "vjp"), "product, resnet18", "torch.func vjp, jvp"),
    (("curvlinops",), "product, resnet18", "curvlinops"),
    (("whole kernel, ResNet-18 |", "contraction"), "kernel, resnet18, one output", "torch.func contraction"),
    (("loop of backward",), "kernel, resnet18, one output", "loop of backward"),
    (("mean of 10 outputs",), "kernel, resnet18, mean", "torch.func contraction, 10 times its time for one output"),
    (("whole kernel, transformer",), "kernel, transformer", "torch.func contraction"),
    (("norm of an MLP",), "norm of the gap, mlp", "torch.func contraction"),
]


@pytest.mark.parametrize(("words", "start", "peer"), MODULES, ids=[words[0] for words, *_ in MODULES])
def test_times_of_modules_are_recorded(words, start, peer):
    _, ours, theirs, ratio = row(*words)
    kept = case(ANY, start)
    for cell, who, seconds in ((ours, "ntkspec", kept["ours"]), (theirs, peer, kept["peers"][peer])):
        assert not cell or agree(numbers(cell, " s")[0], seconds)
        if memory := numbers(cell, " GB"):
            assert agree(memory[0], kept["extra_bytes"][who] / 1e9)
    assert agree(numbers(ratio)[0], kept["peers"][peer] / kept["ours"])


SIZES = ["MNIST, 60,000", "n = 200,000, ReLU", "n = 200,000, erf", "n = 1,000,000, ReLU", "n = 1,000,000, erf"]


@pytest.mark.parametrize(("label", "kept"), [*zip(SIZES, LARGE["large"], strict=False)], ids=SIZES)
def test_large_runs_are_quoted_with_their_forecast(label, kept):
    size, _, name = label.rpartition(", ")
    what, forecast, seconds, memory = row("GB", size, name) if "MNIST" not in label else row("GB", label)
    assert agree(*numbers(forecast, " s"), kept["forecast"])
    assert agree(*numbers(seconds, " s"), kept["seconds"])
    assert agree(*numbers(memory, " GB"), kept["peak_bytes"] / 1e9)
    if "products" in what:
        assert int(re.search(r"(\d+) products", what)[1]) == kept["products"]
    else:
        lower, upper = map(float, re.search(r"\[([\d.]+), ([\d.]+)\]", what).groups())
        assert lower == math.floor(1000 * kept["spectral"]) / 1000  # outward
        assert upper == math.ceil(1000 * kept["upper"]) / 1000
        assert agree(re.search(r"Frobenius ([\d.]+)", what)[1], kept["frobenius"])


def test_the_error_of_forecasts_is_said():
    words = " ".join(README.split())
    short, long = re.search(r"up to ([\d.]+) times too short and ([\d.]+) times too long", words).groups()
    assert agree(short, max(one["seconds"] / one["forecast"] for one in LARGE["large"]))
    assert agree(long, max(one["forecast"] / one["seconds"] for one in LARGE["large"]))


@pytest.mark.parametrize(
    ("name", "start"),
    [("step, erf", "erf"), ("step, ReLU", "relu, n=20000 d=50"), ("ReLU step", "relu, n=20000 d=256")],
)
def test_times_of_a_training_step_are_recorded(name, start):
    kept = case(TRAINING, f"training step, {start}")
    peers = ("torch.compile autograd", "torch.compile by hand", "jax.jit autograd", "jax.jit by hand")
    expected = [kept["ours"], *(kept["peers"][one] for one in (*peers, "PyTorch autograd", "PyTorch by hand", "NumPy"))]
    shown = numbers(" ".join(row(name)[1:]).replace("(", "").replace(")", ""))
    assert len(shown) == len(expected)
    assert all(agree(one, 1000 * value) for one, value in zip(shown, expected, strict=True))


@pytest.mark.parametrize(
    ("words", "start"), [("gradient flow in", "gradient flow"), ("descent on the NTK", "prediction, NTK")]
)
def test_times_of_predictions_are_recorded(words, start):
    _, ours, theirs = row(words)
    kept = case(TRAINING, start)
    assert agree(*numbers(ours, " s"), kept["ours"])
    assert all(agree(*pair) for pair in zip(numbers(theirs, " s"), kept["peers"].values(), strict=True))


def test_times_of_deep_kernels_are_recorded():
    table = claims.rows((house.ROOT / "docs" / "deep.md").read_text(encoding="utf-8"))
    shown = [cells for cells in table if len(cells) == 4 and all(" MB" in cell for cell in cells[1:])]
    for cells, kept in zip(shown, [LARGE["cases"][k] for k in (0, 2, 3)], strict=True):
        for cell, who in zip(cells[1:], kept["cpu"], strict=True):
            assert agree(*numbers(cell, " s"), kept["cpu"][who])
            assert agree(*numbers(cell, " MB"), kept["extra_bytes"][who] / 1e6)


TIMED = [claims.README, *(house.ROOT / "docs" / name for name in ("deep.md", "cluster.md"))]


@pytest.mark.parametrize("page", TIMED, ids=lambda page: page.name)
def test_tables_of_times_name_the_machine_of_their_record(page):
    text = " ".join(page.read_text(encoding="utf-8").split())
    names = re.findall(r"benchmarks/results/([\w.-]+\.json)", text)
    assert names
    for name in names:
        made = record(name)["made_with"]
        assert f"{WORDS[made['cores'] - 1]} cores" in text.lower()
        assert ("AMD EPYC" if made["processor"] == "AMD EPYC" else "Intel Xeon") in text


def cluster_rows(columns):
    """The rows with so many cells of the tables of docs/cluster.md, as words."""
    lines = (house.ROOT / "docs" / "cluster.md").read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    return [row for row in rows if len(row) == columns and row[0][0].isdigit()]


def test_iterations_on_workers_are_recorded():
    found, (rows, cases) = set(), (cluster_rows(8), CLUSTER["iterations"])
    for workers, links, sizes, measured, told, *parts in rows:
        link = links.replace(" ", "").replace("/s", "").lower() or None
        n, m, d = (int(size.replace(",", "")) for size in sizes.split(", "))
        (kept,) = (
            one
            for one in cases
            if [one[name] for name in ("workers", "link", "n", "m", "d")] == [int(workers), link, n, m, d]
        )
        assert agree(measured.removesuffix(" s"), kept["seconds"])
        assert agree(told.removesuffix(" s"), kept["model"]["seconds"])
        for shown, name in zip(parts, ("computing", "tasks", "moving"), strict=True):
            assert abs(float(shown) - kept["model"][name]) <= 6e-4
        found.add(workers)
    assert found == {"1", "2", "4", "8"}
    ratios = [one["seconds"] / one["model"]["seconds"] for one in cases]
    text = " ".join((house.ROOT / "docs" / "cluster.md").read_text(encoding="utf-8").split())
    count, least, most = re.search(r"All (\d+) runs took ([\d.]+) to ([\d.]+) times what the model says", text).groups()
    assert int(count) == len(cases)
    assert agree(least, min(ratios))
    assert agree(most, max(ratios))


def test_large_clusters_are_what_the_model_says():
    rates = Rates(flops=1.1e11, words=1e10, entries=1e9, bytes=2e10, cached=2e10)
    rows = cluster_rows(7)
    assert len(rows) == 6
    for sizes, workers, link, *told in rows:
        m, d = (int(size) for size in sizes.split(", "))
        links = ns.cluster.Links(task=5e-4, bytes=float(link.removesuffix(" Gbit/s")) * 1e9 / 8)
        found = ns.cluster.iteration(n=10**8, m=m, d=d, workers=int(workers), rates=rates, links=links)
        for shown, exact in zip(told, (found.seconds, found.computing, found.tasks, found.moving), strict=True):
            assert float(shown) == pytest.approx(exact, abs=0.5 * 10.0 ** -len(shown.partition(".")[2]) * 1.01)


def test_the_largest_network_is_recorded():
    (kept,) = ANY["large"]
    points, seconds, memory, forecast = re.search(
        r"kernel for ([\d,]+) images, 50 times .* took (\d+) s in ([\d.]+) GB \(forecast: (\d+) s",
        " ".join(README.split()),
    ).groups()
    assert kept["name"].endswith(f"n={points.replace(',', '')}")
    assert agree(seconds, kept["seconds"])
    assert agree(forecast, kept["forecast"])
    assert agree(memory, kept["peak_bytes"] / 1e9)
