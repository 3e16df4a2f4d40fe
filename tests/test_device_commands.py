"""`--engine gpu`: every command computes on the GPU and keeps what the CPU keeps, or ends with one line."""

import os
from dataclasses import is_dataclass, replace

import numpy as np
import pytest

from ntkspec import cli, storage
from ntkspec.checks import LAYERS
from ntkspec.cli.measuring import KINDS
from ntkspec.cluster.execution import Place, least_memory
from ntkspec.experiments.analyze import RECORD_TYPES
from ntkspec.experiments.deep_runs import DEEP_COMPARISON
from ntkspec.experiments.spectrum import SPECTRUM_TYPES
from ntkspec.experiments.sweep_cells import Cell
from ntkspec.experiments.sweep_grid import Grid
from ntkspec.experiments.sweep_run import run_sweep
from ntkspec.experiments.two_layer_runs import COMPARISON
from ntkspec.storage.sweeps import read_sweep


# -------------------------------------------------------------------------------- the engines and the numbers in a file
def of_record(name, types, *parts):
    """Of an analysis or a spectrum."""

    def read(path):
        content = storage.read(path, kind=KINDS[name], types=types)
        return {content["provenance"]["engine"]}, numbers([getattr(content[name], part) for part in parts])

    return read


def of_runs(how, *parts):
    """Of the runs of a figure."""

    def read(path):
        runs = storage.read(path, kind=how.kind, types=how.types)["runs"]
        return {run.setting.engine for run in runs}, numbers([getattr(run, part) for run in runs for part in parts])

    return read


def of_cells(path):
    """Of a sweep."""
    results = read_sweep(path, Cell)
    ordered = sorted(results, key=lambda cell: replace(cell, engine=""))
    return {cell.engine for cell in results}, numbers([dict(sorted(results[cell].items())) for cell in ordered])


def numbers(tree):
    """The numbers in a record, one after the other."""
    if is_dataclass(tree):
        tree = {key: value for key, value in vars(tree).items() if key in ("value", "values", "theta", "gap")}
    if isinstance(tree, dict):
        tree = list(tree.values())
    if isinstance(tree, list):
        return np.concatenate([numbers(part) for part in tree])
    return np.ravel([] if tree is None else tree)


NET = "--n 60 --d 6 --n-test 20 --width 16"
RECIPE = "--law heavy-ball --loss logistic --batch 20"
CELLS, GRID = "--d 6 --n 40 --seeds 1", "--d 6 8 12 --n 40 --seeds 2"
IMAGES = "--n 90 --n-test 60 --pool 8 --steps 6 --batch 20 --network fc:1x8 cnn:1x4:k2"
LAYER_WISE = " ".join(f"{kind}-{layer}" for kind in ("gap", "budget", "training") for layer in LAYERS)
EVERY = f"--quantity data gap-cnn {LAYER_WISE} --width 4"
SINGLE, DOUBLE = {"rel": 1e-3, "abs": 1e-5}, {"rel": 1e-6, "abs": 1e-9}
ANALYSIS = of_record("analysis", RECORD_TYPES, "losses", "final_linear_loss", "kernel")
SPECTRUM = of_record("spectrum", SPECTRUM_TYPES, "energies", "leading")
RUNS = of_runs(COMPARISON, "losses", "discrepancies", "outputs")
IMAGE_RUNS = of_runs(DEEP_COMPARISON, "fitted", "inside", "outside", "loss", "outputs")
# Command, options, how its file is read, and what rounding may change. The sweep measures all that checks do.
COMMANDS = [
    ("analyze", f"{NET} --steps 30", ANALYSIS, SINGLE),
    ("analyze", f"{NET} --steps 30 {RECIPE}", of_record("analysis", RECORD_TYPES, "losses", "kernel"), SINGLE),
    ("spectrum", f"{NET} --pairs 4", SPECTRUM, SINGLE),
    ("sweep", f"{EVERY} {CELLS}", of_cells, DOUBLE),
    ("sweep", f"{EVERY} {CELLS} --activation relu --dtype float32", of_cells, SINGLE),
    ("sweep", f"--quantity data gap-both {CELLS} --network fc:2x8 cnn:1x4:k3 fc:2xinf cnn:1xinf:k3", of_cells, DOUBLE),
    ("sweep", f"--quantity training-both {CELLS} --network fc:2x8 cnn:1x4:k3", of_cells, DOUBLE),
    *((f"check {name}", GRID, of_cells, DOUBLE) for name in ("claim-3.1", "prop-3.4-deep", "prop-4.1", "theorem-3.2")),
    ("figure 1", f"{NET} --steps 20 --dimensions 4 6 --panel-steps 9", RUNS, SINGLE),
    ("figure 2", f"{NET} --steps 20 --law nesterov --batch 20", RUNS, SINGLE),
    ("figure 3", IMAGES, IMAGE_RUNS, SINGLE),
    ("figure 5", f"{CELLS} --width 10", of_cells, DOUBLE),
    ("figure budget", f"{CELLS} --width 10", of_cells, DOUBLE),
]
OF_IMAGES = [
    pytest.mark.data,
    pytest.mark.skipif(not os.environ.get("NTKSPEC_DATA"), reason="real images: set NTKSPEC_DATA to their folder"),
]


# Which commands run on the stand-in nightly only: each of their computations has a test of its own on both engines.
NIGHTLY = [k for k, (name, options, *_) in enumerate(COMMANDS)
           if name not in ("analyze", "spectrum") or RECIPE in options]  # fmt: skip


def each(commands, nightly=()):
    return [
        pytest.param(
            *one,
            id=f"{one[0]}-{k}",
            marks=[*(OF_IMAGES if one[0] == "figure 3" else ()), *([pytest.mark.slow] if k in nightly else ())],
        )
        for k, one in enumerate(commands)
    ]


@pytest.fixture(autouse=True)
def _here(monkeypatch, tmp_path):
    """Relative paths lie in tmp_path."""
    monkeypatch.chdir(tmp_path)


def run(command, options, engine):
    return cli.main([*command.split(), *options.split(), "--engine", engine])


@pytest.fixture
def no_gpu(gpu, monkeypatch):
    """A function that takes the GPU away."""

    def absent():
        raise RuntimeError("cudaErrorNoDevice: no CUDA-capable device is detected")

    return lambda: monkeypatch.setattr(gpu, "free_memory", absent)


@pytest.fixture
def brought(gpu, monkeypatch, unpainted):
    """What comes back from the GPU, of commands whose figures are left out: they take longer than their numbers."""
    arrays, to_host = [], gpu.to_host
    monkeypatch.setattr(gpu, "to_host", lambda array: arrays.append(array) or to_host(array))
    return arrays


@pytest.mark.parametrize(("command", "options", "read", "rounding"), each(COMMANDS, NIGHTLY))
def test_a_command_keeps_of_the_gpu_what_it_keeps_of_the_cpu(command, options, read, rounding, brought, tmp_path):
    assert run(command, options, "cpu") == 0
    assert brought == []
    assert run(command, options, "gpu") == 0
    assert len(brought) > 2
    paths = sorted(map(str, tmp_path.rglob("*.h5")), key=lambda path: "-gpu" in path)
    (engine, here), (other, there) = (read(path) for path in paths)
    assert ["-gpu" in path for path in paths] == [False, True]
    assert (engine, other) == ({"cpu"}, {"gpu"})
    assert len(here) > 4
    assert there == pytest.approx(here, **rounding)


@pytest.mark.parametrize(("command", "options"), each(dict.fromkeys(one[:2] for one in COMMANDS)))
def test_without_a_gpu_a_command_ends_with_one_line(command, options, no_gpu, tmp_path, capsys):
    no_gpu()
    assert run(command, options, "gpu") == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.strip() == (
        "ntkspec: error: the GPU engine needs a CUDA GPU: cudaErrorNoDevice: no CUDA-capable device is detected"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("sweep", f"--quantity gap-first {CELLS} --output s.h5"),
        pytest.param("figure 2", f"{NET} --steps 5 --output .", marks=pytest.mark.slow),
    ],
)
def test_what_is_measured_is_drawn_again_without_a_gpu(command, options, no_gpu, capsys):
    assert run(command, options, "gpu") == 0
    first = capsys.readouterr().out
    no_gpu()
    assert run(command, options, "gpu") == 0
    assert capsys.readouterr().out == first


def test_a_file_of_one_engine_is_measured_again_on_the_other_and_keeps_both(gpu, capsys):
    options = f"--quantity gap-first {CELLS} --output s.h5"
    assert run("sweep", options, "cpu") == run("sweep", options, "gpu") == 0
    assert capsys.readouterr().err.count("0 of 1 cell are there, 1 to measure") == 2
    assert [cell.engine for cell in read_sweep("s.h5", Cell)] == ["cpu", "gpu"]


# -------------------------------------------------------------------------------------------------- several processes
SWEEP = Grid(d=(4, 6), n=("20",), width=("10",), quantity=("gap-first",), seeds=2, engine="gpu")


def same(one, other):
    assert one.keys() == other.keys()
    for cell, found in one.items():
        assert other[cell] == pytest.approx(found, rel=1e-9)


@pytest.mark.slow
def test_processes_share_the_gpu(gpu, monkeypatch, tmp_path):
    same(run_sweep(SWEEP, tmp_path / "a.h5"), run_sweep(SWEEP, tmp_path / "b.h5", place=Place(2)))
    monkeypatch.setattr(gpu, "free_memory", lambda: 8000)
    assert least_memory(Place(4), "gpu") == 2000
    assert least_memory(Place(4)) > 2000
    with pytest.raises(ValueError, match="are there for it"):
        run_sweep(replace(SWEEP, seeds=3), tmp_path / "a.h5", place=Place(8))


def take_away():
    """The GPU of a worker."""
    from ntkspec.engines import gpu

    def absent():
        raise RuntimeError("no CUDA-capable device is detected")

    gpu.free_memory = absent


@pytest.mark.slow
def test_workers_have_cards_of_their_own(mortal_cluster, gpu, no_gpu, tmp_path):
    """The process that asks has none; a worker without one is named before anything is computed."""
    from distributed import Client

    address = mortal_cluster.address
    here = run_sweep(SWEEP, tmp_path / "a.h5")
    no_gpu()
    same(here, run_sweep(SWEEP, tmp_path / "b.h5", place=Place(scheduler=address)))
    with Client(address) as client:
        worker = next(iter(client.scheduler_info(n_workers=-1)["workers"]))
        client.run(take_away, workers=[worker])
    with pytest.raises(ValueError, match=f"worker {worker}: the GPU engine needs a CUDA GPU"):
        run_sweep(SWEEP, tmp_path / "c.h5", place=Place(scheduler=address))
    assert not (tmp_path / "c.h5").exists()
