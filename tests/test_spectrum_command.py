"""`ntkspec spectrum`: record, report and figures against the public functions."""

import dataclasses
from types import SimpleNamespace

import matplotlib.image
import numpy as np
import pytest

import ntkspec as ns
from commands import run
from ntkspec import storage
from ntkspec.cluster.workers import Workers
from ntkspec.experiments.spectrum import SPECTRUM_TYPES, SpectrumTask, measure_spectrum
from ntkspec.experiments.spread_models import Spread
from ntkspec.plotting import spectrum as plotting
from ntkspec.reporting.screen import spectrum_summary
from ntkspec.reporting.spectrum import density_rows, spectrum_report
from ntkspec.spectra import densities
from workers_here import Here

TASK = SpectrumTask(width=40, pairs=6, probes=4, steps=30)


def data(n=160):
    return ns.datasets.gaussian(n, 8, seed=1)


@pytest.fixture(params=["all eigenvalues", "probes"])
def way(request, monkeypatch):
    if request.param == "probes":
        monkeypatch.setattr(densities, "DENSE_SIZE", 0)
    return request.param


def kernel_of(task, dataset):
    net = ns.TwoLayer.symmetric(8, task.width, task.activation, seed=task.seed)
    theta = ns.ntk(net, dataset.X, layer=task.layer)
    linear = ns.linear_kernel(task.activation, dataset.X, layer=task.layer, trace_ratio=dataset.trace_ratio)
    return {"theta": theta, "linear": linear, "gap": theta - linear}


@pytest.mark.parametrize("kernel", ["theta", "linear", "gap"])
@pytest.mark.parametrize("layer", ["first", "both"])
def test_the_record_holds_what_dense_linear_algebra_gives(kernel, layer, way):
    dataset, task = data(), dataclasses.replace(TASK, kernel=kernel, layer=layer, activation="relu")
    found = measure_spectrum(task, dataset)
    kernels = {name: operator.to_dense() for name, operator in kernel_of(task, dataset).items()}
    matrix, y = kernels[kernel], dataset.y
    values, vectors = np.linalg.eigh(matrix)
    order = np.argsort(-abs(values))[:6]
    assert found.norm.lower <= abs(values).max() <= found.norm.upper
    assert float(found.frobenius) == pytest.approx(np.linalg.norm(matrix), rel=1e-10)
    assert found.leading.values == pytest.approx(values[order], rel=1e-6)
    assert found.energies == pytest.approx((vectors[:, order].T @ y) ** 2 / (y @ y), abs=1e-5)
    assert float(found.alignment) == pytest.approx(y @ matrix @ y / (np.linalg.norm(matrix) * (y @ y)), rel=1e-9)
    histogram = found.density.histogram(8, failure_probability=1e-4)
    exact = np.diff(np.searchsorted(values, histogram.edges, side="right")) / 160
    assert (histogram.lower - 1e-9 <= exact).all()
    assert (exact <= histogram.upper + 1e-9).all()
    if kernel == "gap":
        assert found.trace is found.effective_rank is found.participation_ratio is found.angles is None
    else:
        assert float(found.trace) == pytest.approx(values.sum(), rel=1e-10)
        assert found.effective_rank.lower <= values.sum() / values[-1] <= found.effective_rank.upper
        assert float(found.participation_ratio) == pytest.approx(values.sum() ** 2 / (values**2).sum(), rel=1e-9)
        other = kernels["linear" if kernel == "theta" else "theta"]
        spaces = (np.linalg.eigh(one)[1][:, -6:] for one in (matrix, other))
        cosines = np.linalg.svd(next(spaces).T @ next(spaces), compute_uv=False)
        assert np.cos(found.angles.angles) == pytest.approx(cosines, abs=1e-6)


def test_the_command_writes_record_figures_and_report(tmp_path):
    folder = tmp_path / "made" / "here"
    options = [
        "--n",
        "200",
        "--d",
        "8",
        "--n-test",
        "0",
        "--width",
        "16",
        "--pairs",
        "5",
        "--kernel",
        "gap",
        "--activation",
        "relu",
        "--seed",
        "2",
    ]
    found = run(["spectrum", *options, "--output", folder])
    assert (found.code, found.warnings) == (0, [])
    assert all(line.endswith(" ...") != ("forecast: " in line) for line in found.err)
    drawn = {f"{name}.{kind}" for name in ("density", "eigenpairs") for kind in ("png", "pdf")}
    assert {path.name for path in folder.iterdir()} == drawn | {"spectrum.h5", "spectrum.html"}
    assert all(matplotlib.image.imread(path).shape[2] == 4 for path in folder.glob("*.png"))
    stored = storage.read(folder / "spectrum.h5", kind="spectrum", types=SPECTRUM_TYPES)
    assert stored["inputs"]["X"].shape == (200, 8)
    assert stored["provenance"]["command"].startswith("ntkspec spectrum --n 200")
    record = stored["spectrum"]
    assert spectrum_summary(record) in found.out
    dataset = ns.datasets.gaussian(200, 8, n_test=0, seed=2, dtype="float32")
    direct = measure_spectrum(SpectrumTask(kernel="gap", activation="relu", width=16, pairs=5, seed=2), dataset)
    assert np.array_equal(direct.leading.values, record.leading.values)
    assert direct.norm.evidence == record.norm.evidence


def test_the_report_says_what_was_measured(way):
    theta = spectrum_report(measure_spectrum(TASK, data()))
    for part in (
        "Size of Theta",
        "effective rank",
        "participation ratio",
        "multiplicity",
        "label energy",
        "all others",
    ):
        assert part in theta
    for part in ("kernel-target alignment", "angles to those of Theta^lin", "degrees", "50% of the eigenvalues"):
        assert part in theta
    assert "blocks of 2" in theta
    assert "semidefinite: yes, by construction" in theta
    gap = spectrum_report(measure_spectrum(dataclasses.replace(TASK, kernel="gap"), data()))
    assert "Size of Theta - Theta^lin" in gap
    assert "effective rank" not in gap
    assert "semidefinite: no" in gap


@pytest.mark.covering(1)
@pytest.mark.parametrize("kernel", ["theta", "linear", "gap"])
def test_the_density_is_drawn_with_its_intervals(kernel, way):
    record = measure_spectrum(dataclasses.replace(TASK, kernel=kernel), data())
    left, right = plotting.density(record).axes
    (container,) = left.containers
    points, _, (bars,) = container.lines
    edges = plotting.geometric(record.density, 36) if kernel != "gap" else 36
    histogram = record.density.histogram(edges)
    shown = histogram.mass > 1e-9
    assert points.get_ydata() == pytest.approx(histogram.mass[shown])
    spans = np.array([segment[:, 1] for segment in bars.get_segments()])
    assert spans[:, 0] == pytest.approx(histogram.lower[shown], abs=1e-12)
    assert spans[:, 1] == pytest.approx(histogram.upper[shown], abs=1e-12)
    assert (left.get_xscale() == "log") == (kernel != "gap")
    line = right.lines[0]
    if kernel == "gap":
        smoothed = record.density.smoothed(line.get_xdata(), width=record.density.smoothed(2).width)
        assert line.get_ydata() == pytest.approx(smoothed.density)
    else:
        share, _, _ = record.density.cumulative(line.get_xdata())
        assert line.get_ydata() == pytest.approx(np.maximum(160 * (1 - share), 1e-3))
    left, right = plotting.eigenpairs(record).axes
    assert left.lines[0].get_ydata() == pytest.approx(abs(record.leading.values))
    assert right.lines[0].get_ydata() == pytest.approx(np.cumsum(record.energies))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("--kernel nkt", "kernel"),
        ("--pairs 0", "pairs=0, but a whole number >= 1"),
        ("--width 7", "use an even width"),
        ("--activation rleu", "rleu"),
        ("--probes 0", "probes=0"),
        ("--eta 1", "eta"),
    ],
)
def test_bad_input_ends_with_one_line_and_exit_code_2(options, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = run(f"spectrum {options}")
    assert (found.code, found.out, len(found.err)) == (2, "", 1)
    assert told in found.err[0]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("seed", range(2))
def test_shares_are_found_on_the_grid_as_by_looking_at_all_of_it(seed, monkeypatch):
    monkeypatch.setattr(densities, "DENSE_SIZE", 0)
    spectrum = np.concatenate([np.geomspace(1e-6, 1, 700), -np.geomspace(1e-3, 0.1, 60)])
    density = ns.spectral_density(ns.operators.Dense(np.diag(spectrum)), probes=3, steps=12, seed=seed)
    lines = density_rows(SimpleNamespace(density=density))
    grid = np.geomspace(1e-9, 1, 400) * max(abs(density.lowest), abs(density.highest))
    grid = np.concatenate([-grid[::-1], grid])
    grid = grid[(grid >= density.lowest) & (grid <= density.highest)]
    _, lower, upper = density.cumulative(grid)
    for q, line in zip((0.5, 0.9, 0.99), lines[1:], strict=True):
        ends = [grid[reached].min(initial=np.inf) for reached in (upper >= q, lower >= q)]
        assert line.endswith("up to a value between {:.4g} and {:.4g}".format(*ends))


# ----------------------------------------------------------------------------------------------------------- on workers
ADDRESS = "tcp://10.0.0.1:8786"


@pytest.fixture
def workers(monkeypatch):
    here = Here()
    monkeypatch.setattr(Workers, "of", lambda address: here)
    return here


@pytest.mark.parametrize("parts", [None, 3])
@pytest.mark.parametrize(
    "options", [{"kernel": "theta"}, {"kernel": "gap", "activation": "relu"}, {"network": "fc:2x12", "width": None}]
)
def test_workers_find_what_one_machine_finds(options, parts, workers):
    task, dataset = dataclasses.replace(TASK, **options), data()
    here, there = measure_spectrum(task, dataset), measure_spectrum(task, dataset, spread=Spread(ADDRESS, parts))
    for name in ("norm", "frobenius", "trace", "effective_rank", "participation_ratio", "alignment"):
        one, other = getattr(here, name), getattr(there, name)
        assert (one is None) == (other is None)
        if one is not None:
            assert max(one.lower, other.lower) <= min(one.upper, other.upper)
    assert there.leading.values == pytest.approx(here.leading.values, rel=1e-6)
    assert there.energies == pytest.approx(here.energies, abs=1e-5)
    assert there.leading.vectors.shape == here.leading.vectors.shape
    assert there.plan.method == "cluster"
    assert f"{parts or 2} parts on 2 workers" in spectrum_report(there)


def test_each_part_of_the_points_is_sent_once(workers):
    measure_spectrum(dataclasses.replace(TASK, kernel="gap"), data(), spread=Spread(ADDRESS, 3))
    sent = [one for one in workers.crossed if hasattr(one, "points")]
    assert [(part.first, part.last) for part in sent] == [(0, 53), (53, 106), (106, 160)]
    assert np.array_equal(np.vstack([part.points.X for part in sent]), data().X)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("--parts 3", "--parts 3 is for workers"),
        ("--scheduler 10.0.0.1", "an address such as tcp://10.0.0.1:8786"),
        (f"--scheduler {ADDRESS} --parts 0", "parts=0"),
        (f"--scheduler {ADDRESS} --parts 31 --n 30", "parts=31, but there are 30 points"),
        (f"--scheduler {ADDRESS} --method dense", "method='dense' stores whole kernels"),
    ],
)
def test_what_workers_cannot_do_is_refused_in_one_line(options, told, workers, tmp_path):
    found = run(f"spectrum {options} --output {tmp_path / 'made'}")
    assert (found.code, found.out, len(found.err)) == (2, "", 1)
    assert told in found.err[0]
