"""Grids, the file that grows cell by cell, kills at any moment, and processes."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, fields, make_dataclass, replace

import h5py
import numpy as np
import pytest

import house
import naive
import ntkspec as ns
from conftest import full_disk
from ntkspec import storage
from ntkspec.cluster import execution
from ntkspec.cluster.connection import Patience
from ntkspec.cluster.execution import Place
from ntkspec.experiments.sweep_cells import Cell, measure_cell
from ntkspec.experiments.sweep_grid import Grid, dimensions
from ntkspec.experiments.sweep_limits import check_cell
from ntkspec.experiments.sweep_results import Sweep
from ntkspec.experiments.sweep_run import run_sweep
from ntkspec.networks.size_laws import points_of, width_of
from ntkspec.storage.sweeps import open_sweep, read_sweep

SMALL = Grid(d=(4, 6, 8), n=("20",), width=("10",), quantity=("gap-first", "data"), seeds=2)


# ------------------------------------------------------------------------------------------------------------- grids
def test_sizes_are_read_as_written():
    assert dimensions("32:512:x1.5") == (32, 48, 72, 108, 162, 243, 364, 512)
    assert dimensions(["64", "16:20:x1.1", "64"]) == (16, 18, 19, 20, 64)
    assert [points_of(text, 100) for text in ("4000", "d", "d^1.5", "2*d^1.25")] == [4000, 100, 1000, 632]
    assert [width_of(text, 32) for text in ("4000", "d", "d^1.25")] == [4000, 32, 76]


@pytest.mark.parametrize("bad", ["32:16:x2", "32:64:x1", "a", "32:64", "-3", "1.5", "1", "0"])
def test_dimensions_that_cannot_be_are_refused(bad):
    with pytest.raises(ValueError, match="d="):
        dimensions(bad)


@pytest.mark.parametrize("bad", ["d^", "d^-1", "2d", "x", "1.5", "-4"])
def test_sizes_that_cannot_be_are_refused(bad):
    for size in (points_of, width_of):
        with pytest.raises(ValueError, match="is not a size"):
            size(bad, 10)


def test_numbers_are_taken_as_they_are_or_refused():
    for bad in ("0", "1", "99999999999999999999"):
        with pytest.raises(ValueError, match=f"n={bad}"):
            points_of(bad, 10)
    for bad in ("0", "7"):
        with pytest.raises(ValueError, match=f"width={bad}"):
            width_of(bad, 10)


def test_a_grid_holds_every_combination_once():
    grid = replace(SMALL, activation=("erf", "relu"), width=("10", "d"))
    cells = grid.cells()
    assert len(cells) == len(set(cells)) == 3 * 2 * 2 * 2 * 2
    assert len({cell.key for cell in cells}) == len(cells)
    assert len(replace(grid, width=("10", "10")).cells()) == len(cells) / 2


def test_deep_networks_have_the_law_of_their_width_in_their_names():
    grid = replace(SMALL, width=("10", "d"), network=("two-layer", "fc:3xd^1.5", "cnn:2x2*d:k3", "fc:4xinf"))
    models = [("two-layer", "10"), ("two-layer", "d"), ("fc:3xm", "d^1.5"), ("cnn:2xm:k3", "2*d"), ("fc:4xm", "inf")]
    assert [(spec.of_any_width.name, spec.width) for spec in grid.networks()] == models
    assert [spec.label for spec in grid.networks()] == ["m = 10", "m = d", "fc:3xd^1.5", "cnn:2x2*d:k3", "fc:4xinf"]
    widths = {cell.network: cell.width for cell in grid.cells() if cell.d == 8}
    assert widths == {"two-layer": widths["two-layer"], "fc:3xm": 22, "cnn:2xm:k3": 16, "fc:4xm": 0}
    assert len({cell.key for cell in grid.cells()}) == len(grid.cells()) == 3 * 2 * 2 * 5
    for bad in ("fc:3", "fc:3x8:k3", "cnn:3x8", "fc:x8", "mlp", "fc:3x8 "):
        with pytest.raises(ValueError, match=r"is unknown|is not a size"):
            replace(grid, network=(bad,)).cells()


def test_cells_that_cannot_run_are_refused_before_any_runs(tmp_path):
    cell = SMALL.cells()[0]
    for change, message in (
        ({"quantity": "gap"}, "quantity='gap'"),
        ({"activation": "cosin"}, "'cosin' is unknown"),
        ({"distribution": "ball"}, "distribution='ball'"),
        ({"width": 7}, "width=7"),
        ({"n": 10**9}, "needs .* GB, but 10 GB are there"),
        ({"parameterization": "sp"}, "parameterization='sp'"),
        ({"parameterization": "mup"}, "data is measured with --parameterization ntk only; drift"),
        ({"parameterization": "mup", "quantity": "drift", "network": "fc:2xm"}, "two-layer networks here; of fc:2x10"),
        ({"width": 0, "quantity": "drift"}, "drift is measured at finite widths only"),
        ({"network": "fc:2xm", "quantity": "drift-first"}, "take data, gap-both, training-both, drift"),
        ({"network": "fc:2xm", "quantity": "gap-first"}, "of fc:2x10 take data, gap-both, training-both"),
        ({"network": "fc:2xm", "quantity": "gap-both", "second": "normal"}, "all weights of fc:2x10 are N"),
        ({"network": "fc:2xm", "quantity": "gap-both", "width": 7}, "width=7"),
        ({"network": "fc:2xm", "quantity": "gap-both", "width": 10**6}, "needs .* GB, but 10 GB are there"),
        ({"network": "cnn:2xm:k3", "quantity": "gap-both", "width": 10**4}, "needs .* GB, but 10 GB are there"),
        ({"width": 0, "quantity": "budget-first"}, "at width inf take gap-LAYER"),
        ({"network": "fc:0xm", "quantity": "gap-both"}, "has 0 hidden layers"),
        ({"network": "cnn:2xm:k5", "quantity": "gap-both"}, "filter_size=5 is larger"),
    ):
        with pytest.raises(ValueError, match=message):
            check_cell(replace(cell, **change), 1e10)
    with pytest.raises(ValueError, match="GB are there for it"):
        run_sweep(replace(SMALL, n=("20", "2000000000")), tmp_path / "sweep.h5")
    assert not (tmp_path / "sweep.h5").exists()


# -------------------------------------------------------------------------------------------------------------- cells
@pytest.mark.parametrize("layer", ["first", "second", "both"])
def test_a_gap_cell_measures_the_gap(layer):
    cell = Cell(f"gap-{layer}", 8, 60, 20, "relu", "cube", "graded", seed=3)
    found = measure_cell(cell)
    data = ns.datasets.rademacher(60, 8, covariance=np.linspace(0.2, 1.8, 8), seed=3)
    net = ns.TwoLayer.symmetric(8, 20, "relu", seed=3)
    linear = ns.linear_kernel("relu", data.X, layer=layer, trace_ratio=data.trace_ratio).to_dense()
    gap = ns.ntk(net, data.X, layer=layer).to_dense() - linear
    assert_norms_of(found, gap, linear)


@pytest.mark.parametrize(
    ("network", "width", "act"),
    [("fc:3xm", 20, "gelu"), ("cnn:2xm:k3", 6, "erf"), ("cnn:1xm:k5", 6, "relu"), ("cnn:2xm:k3", 6, "gelu")],
)
def test_a_gap_cell_of_a_deep_network_measures_all_its_layers(network, width, act):
    found = measure_cell(Cell("gap-both", 8, 60, width, act, "cube", "graded", seed=3, network=network))
    data = ns.datasets.rademacher(60, 8, covariance=np.linspace(0.2, 1.8, 8), seed=3)
    if network.startswith("fc"):
        net = ns.FullyConnected.paired(8, [width] * 3, act, seed=3)
        linear = ns.linear_kernel(act, data.X, trace_ratio=data.trace_ratio, hidden_layers=3).to_dense()
    else:
        layers, size = int(network[4]), int(network[-1])
        net = ns.Convolutional.paired((8, 1), [width] * layers, act, filter_size=size, seed=3)
        linear = ns.cnn_linear_kernel(act, data.X, filter_size=size, hidden_layers=layers).to_dense()
    assert_norms_of(found, ns.ntk(net, data.X).to_dense() - linear, linear)


@pytest.mark.parametrize(
    ("network", "quantity", "act"),
    [("two-layer", "gap-second", "relu"), ("fc:3xm", "gap-both", "gelu"), ("cnn:1xm:k5", "gap-both", "relu")],
)
def test_a_gap_cell_of_infinite_width_has_the_expected_kernel(network, quantity, act):
    cell = Cell(quantity, 8, 60, 0, act, seed=3, network=network)
    check_cell(cell, 1e10)
    data = ns.datasets.gaussian(60, 8, seed=3)
    if network.startswith("cnn"):
        kernels = ns.expected_cnn_ntk, ns.cnn_linear_kernel
        how = {"filter_size": 5}, {"filter_size": 5}
    else:
        kernels = ns.expected_ntk, ns.linear_kernel
        own = {"layer": quantity.split("-")[1].replace("both", "all"), "hidden_layers": 3 if network == "fc:3xm" else 1}
        how = own, own | {"trace_ratio": 1.0}
    theta, linear = (kernel(act, data.X, **known).to_dense() for kernel, known in zip(kernels, how, strict=True))
    assert_norms_of(measure_cell(cell), theta - linear, linear)


def assert_norms_of(found, gap, linear):
    hollow = gap - np.diag(np.diag(gap))
    for name, matrix in (("gap", gap), ("hollow", hollow)):
        assert found[f"{name} lower"] <= np.linalg.norm(matrix, 2) * (1 + 1e-9)
        assert np.linalg.norm(matrix, 2) <= found[f"{name} upper"] * (1 + 1e-9)
    assert found["frobenius"] == pytest.approx(np.linalg.norm(gap))
    assert found["hollow frobenius"] == pytest.approx(np.linalg.norm(hollow))
    assert found["linear"] == pytest.approx(np.linalg.norm(linear, 2), rel=1e-3)


def test_a_data_cell_measures_claim_31():
    found = measure_cell(Cell("data", 8, 60, 2, seed=1))
    X = ns.datasets.gaussian(60, 8, seed=1).X
    yardstick = np.sqrt(np.log(60) / 8)
    overlaps = np.abs(X @ X.T - np.diag(np.square(X).sum(axis=1))) / 8
    assert found["norms"] == pytest.approx(np.abs(np.square(X).sum(axis=1) / 8 - 1).max() / yardstick)
    assert found["overlaps"] == pytest.approx(overlaps.max() / yardstick)
    assert found["gram"] == pytest.approx(np.linalg.norm(X, 2) ** 2 / 60, rel=1e-5)


@pytest.mark.parametrize("quantity", ["data", "gap-first", "budget-second", "training-second", "drift"])
def test_the_page_of_fields_names_the_numbers_of_a_quantity(quantity):
    text = (house.ROOT / "docs" / "fields.md").read_text(encoding="utf-8")
    _, _, section = text.partition(f"\n| `{quantity.split('-')[0]}")
    rows = re.match(r".*(\n\| \|.*)*", section)[0]
    named = {word for name in re.findall(r"(?<!LAYER)`([a-z ]+)`", rows) for word in name.split()}
    assert named == {word for name in measure_cell(Cell(quantity, 6, 20, 10)) for word in name.split()}


@pytest.mark.parametrize(("layer", "act"), [("first", "erf"), ("second", "relu"), ("both", "erf")])
def test_a_training_cell_follows_network_and_linear_model(layer, act):
    """Against real training step by step, also of the second layer, and the normal equations of the linear model."""
    cell = Cell(f"training-{layer}", 6, 90, 40, act, seed=1)
    found, data = measure_cell(cell), ns.datasets.gaussian(90, 6, n_test=2000, seed=1)
    eta = 0.05 * ns.bounds.largest_rate(90, 6, layer=layer, centred=act == "erf")
    last = int(found["steps"])
    assert last == round(2 * 6 * np.log(6) / eta)
    assert found["c"] == pytest.approx(2, rel=0.02)
    steps = np.unique(np.geomspace(1, last, 40).round().astype(int))
    net = ns.TwoLayer.symmetric(6, 40, act, seed=1)
    rates = {"first": (eta, 0), "second": (0, eta), "both": (eta, eta)}[layer]
    real = ns.train_gd(net, data.X, data.y, eta1=rates[0], eta2=rates[1], steps=steps, X_test=data.X_test)
    psi, psi_test = (linear_features(act, points, layer) for points in (data.X, data.X_test))
    beta, differences, tests, spreads = np.zeros(psi.shape[1]), [], [], []
    for t in range(1, last + 1):
        beta -= eta / 90 * psi.T @ (psi @ beta - data.y)
        if t in steps:
            k = list(steps).index(t)
            differences.append(np.mean((real.train[k] - psi @ beta) ** 2))
            clipped = np.minimum((real.test[k] - psi_test @ beta) ** 2, 1)
            tests.append(clipped.mean())
            spreads.append(2 * clipped.std() / 2000**0.5)
    assert found["train"] == pytest.approx(max(differences), rel=1e-6)
    assert found["test"] == pytest.approx(max(tests), rel=1e-6)
    assert found["test error"] == pytest.approx(spreads[int(np.argmax(tests))], rel=1e-4)
    optimum = psi @ np.linalg.lstsq(psi, data.y)[0]
    assert found["optimum train"] == pytest.approx(np.mean((real.train[-1] - optimum) ** 2), rel=1e-6)


@pytest.mark.parametrize(("network", "act"), [("fc:2xm", "erf"), ("fc:2xm", "gelu"), ("cnn:2xm:k3", "erf")])
def test_a_training_cell_follows_a_deep_network(network, act):
    """Real training of all layers, and the linear model step by step on its own kernel matrix."""
    found = measure_cell(Cell("training-both", 6, 50, 8, act, seed=1, network=network))
    data = ns.datasets.gaussian(50, 6, n_test=2000, seed=1)
    eta = 0.05 * (6 / np.log(50) if act == "erf" else 1.0)
    steps = np.unique(np.geomspace(1, found["steps"], 40).round().astype(int))
    assert steps[-1] == round(2 * 6 * np.log(6) / eta)
    if network.startswith("fc"):
        net = ns.FullyConnected.paired(6, [8, 8], act, seed=1)
        kernels = (
            ns.linear_kernel(act, *sides, trace_ratio=data.trace_ratio, hidden_layers=2).to_dense()
            for sides in ((data.X,), (data.X_test, data.X))
        )
    else:
        net = ns.Convolutional.paired((6, 1), [8, 8], act, filter_size=3, seed=1)
        scale = ns.linear_expansion(act, hidden_layers=2).data / 6
        kernels = scale * data.X @ data.X.T, scale * data.X_test @ data.X.T
    real = ns.train_gd(net, data.X, data.y, eta=eta, steps=steps, X_test=data.X_test)
    (train, test), alpha, differences, tests = kernels, np.zeros(50), [], []
    for t in range(1, steps[-1] + 1):
        alpha -= eta / 50 * (train @ alpha - data.y)
        if t in steps:
            k = len(differences)
            differences.append(np.mean((real.train[k] - train @ alpha) ** 2))
            tests.append(np.minimum((real.test[k] - test @ alpha) ** 2, 1).mean())
    assert found["train"] == pytest.approx(max(differences), rel=1e-6)
    assert found["test"] == pytest.approx(max(tests), rel=1e-6)


def linear_features(act, X, layer):
    constants = ns.activation(act).constants
    thetas = constants.vartheta0, constants.vartheta1, constants.vartheta2
    nu = constants.nu(1.0)
    rows = {
        "first": lambda x: naive.psi_first(x, constants.zeta, nu),
        "second": lambda x: naive.psi_second(x, constants.zeta, nu, thetas),
        "both": lambda x: naive.psi_both(x, constants.zeta, nu, thetas),
    }[layer]
    return np.array([rows(x) for x in X])


# --------------------------------------------------------------------------------------------------------------- file
def test_a_sweep_is_measured_once(tmp_path, monkeypatch):
    path = tmp_path / "sweep.h5"
    whole = run_sweep(SMALL, path)
    assert set(whole) == set(SMALL.cells())
    assert read_sweep(path, Cell) == whole

    def never(task):
        raise AssertionError("measured again")

    monkeypatch.setattr("ntkspec.experiments.sweep_run.measure_cell", never)
    assert run_sweep(SMALL, path) == whole


def test_exponents_and_commands_are_kept_with_the_cells(tmp_path, monkeypatch):
    path, grid = tmp_path / "sweep.h5", replace(SMALL, d=(4, 6, 9), n=("20", "d^1.5"), quantity=("gap-first",))
    laws = run_sweep(grid, path, command="first").laws
    with h5py.File(path) as file:
        kept = {name: column[()].tolist() for name, column in file["record/laws"].items()}
    columns = [kept[name] for name in ("quantity", "panel", "number", "exponent", "lower", "upper")]
    assert list(zip(*columns, strict=True)) == [
        (quantity.encode(), title.encode(), name.encode(), law.exponent, law.lower, law.upper)
        for quantity, panels in laws.items()
        for title, own in panels.items()
        for name, law in own.items()
    ]
    assert len(columns[0]) == 2 * 4
    monkeypatch.setattr("ntkspec.experiments.sweep_run.measure_cell", lambda cell: {}[cell])
    with pytest.raises(KeyError):
        run_sweep(replace(grid, seeds=3), path, command="second")
    monkeypatch.undo()
    more = replace(grid, d=(4, 6, 9, 13))
    assert run_sweep(more, path, command="second").made_with == Sweep.read(path).made_with
    counts = {one["command"]: one["measured"] for one in Sweep.read(path).made_with}
    assert counts == {"first": len(grid.cells()), "second": len(more.cells()) - len(grid.cells())}


def test_panels_hold_every_cell_once_whoever_asked_for_it():
    usual = replace(SMALL, n=("d^1.5",), width=("8",), quantity=("gap-first",))
    near, far = replace(usual, d=(4, 6)), replace(usual, d=(9, 13))
    double = replace(near, dtype="float32")
    asked = {cell: {"gap": 1.0} for grid in (near, far, double) for cell in grid.cells()}
    alone = {Cell("gap-first", d, 50, 8): {"gap": 1.0} for d in (4, 6)}
    (panels,) = Sweep(asked | alone, [near, far, double]).panels.values()
    law = "n = d^1.5, m = 8"
    assert list(panels) == [f"erf, {law}", f"erf, float32, {law}", "erf, n = 50, m = 8"]
    assert sorted(cell.d for cell in panels[f"erf, {law}"].results) == [4, 4, 6, 6, 9, 9, 13, 13]
    assert sum(len(panel.results) for panel in panels.values()) == len(asked | alone)


def test_a_larger_grid_measures_what_is_missing(tmp_path, monkeypatch):
    path, measured = tmp_path / "sweep.h5", []
    run_sweep(SMALL, path)

    def counting(cell):
        measured.append(cell)
        return measure_cell(cell)

    monkeypatch.setattr("ntkspec.experiments.sweep_run.measure_cell", counting)
    larger = replace(SMALL, seeds=3)
    run_sweep(larger, path)
    assert set(measured) == set(larger.cells()) - set(SMALL.cells())


def test_the_same_cell_gives_the_same_bits(tmp_path):
    one, other = (run_sweep(SMALL, tmp_path / name) for name in ("a.h5", "b.h5"))
    assert one == other


def test_a_failure_keeps_what_was_measured(tmp_path, monkeypatch):
    path, done = tmp_path / "sweep.h5", []

    def failing(cell):
        if len(done) == 4:
            raise OSError("No space left on device")
        done.append(cell)
        return measure_cell(cell)

    monkeypatch.setattr("ntkspec.experiments.sweep_run.measure_cell", failing)
    with pytest.raises(OSError, match="No space"):
        run_sweep(SMALL, path)
    assert list(read_sweep(path, Cell)) == done


def test_a_full_disk_leaves_the_file_as_it_was_and_loses_no_number(tmp_path):
    path, cells = tmp_path / "sweep.h5", SMALL.cells()
    with open_sweep(path, Cell) as file:
        file.add(cells[0], {"gap": 1.0})
        before = path.read_bytes()
        with full_disk():
            with pytest.warns(RuntimeWarning, match=r"sweep.h5 could not be written \(No space left on device\)"):
                file.add(cells[1], {"gap": 2.0})
            file.add(cells[2], {"gap": 3.0})  # a second warning would be an error
            assert path.read_bytes() == before
        file.add(cells[3], {"gap": 4.0})
    assert read_sweep(path, Cell) == {cell: {"gap": k + 1.0} for k, cell in enumerate(cells[:4])}
    assert [entry.name for entry in tmp_path.iterdir()] == ["sweep.h5"]


def test_a_sweep_on_a_full_disk_is_returned(tmp_path):
    with full_disk(), pytest.warns(RuntimeWarning, match="the work goes on and is not kept"):
        found = run_sweep(SMALL, tmp_path / "sweep.h5")
    assert found == run_sweep(SMALL, tmp_path / "again.h5")
    assert [entry.name for entry in tmp_path.iterdir()] == ["again.h5"]


@pytest.mark.parametrize(
    "tree",
    [
        {"cells": {"d": np.arange(3), "name": np.array([b"a", b"b"])}, "numbers": {}},
        {"cells": {"d": np.arange(2), "name": np.array([b"a", b"b"])}, "numbers": {"gap": np.zeros(3)}},
        {"cells": {"d": np.arange(2), "name": np.array([b"a", b"b"])}, "numbers": {"gap": np.array([b"a", b"b"])}},
        {"cells": {"d": np.arange(2), "name": np.array([b"a", b"b"])}, "numbers": {"gap": np.arange(2)}},
        {"cells": {"d": np.ones(2), "name": np.array([b"a", b"b"])}, "numbers": {}},
        {"cells": {"d": np.ones((2, 2), int), "name": np.array([b"a", b"b"])}, "numbers": {}},
        {"cells": {"d": np.arange(2), "name": np.arange(2)}, "numbers": {}},
        {"cells": {"d": np.arange(2), "name": np.array([b"a", b"\xff"])}, "numbers": {}},
        {"cells": {"d": 3, "name": "a"}, "numbers": {}},
        {"cells": [1], "numbers": {}},
        {"cells": {"d": np.arange(2), "name": np.array([b"a", b"b"])}},
        {"cells": {"d": np.arange(1), "name": np.array([b"a"])}, "numbers": None},
        [],
        None,
    ],
)
def test_columns_that_make_no_sweep_are_one_line(tmp_path, tree):
    @dataclass(frozen=True)
    class Own:
        d: int
        name: str

    storage.write(tmp_path / "sweep.h5", tree, kind="sweep")
    with pytest.raises(ValueError, match=r"sweep.h5 is damaged: [^\n]+$"):
        read_sweep(tmp_path / "sweep.h5", Own)


def test_two_processes_on_one_file_are_refused(tmp_path):
    path = tmp_path / "sweep.h5"
    imports = "from ntkspec.storage.sweeps import open_sweep\nfrom ntkspec.experiments.sweep_cells import Cell\n"
    code = f"{imports}with open_sweep({str(path)!r}, Cell): pass"
    with open_sweep(path, Cell):
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "is in use by another process" in other.stderr
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_files_of_another_kind_or_version_are_refused(tmp_path):
    path = tmp_path / "sweep.h5"
    path.write_bytes(b"not a file of ours")
    with pytest.raises(ValueError, match="is damaged"), open_sweep(path, Cell):
        pass

    @dataclass(frozen=True)
    class Older:
        d: int

    older = tmp_path / "older.h5"
    with open_sweep(older, Older) as file:
        file.add(Older(3), {"gap": 1.0})
    with (
        pytest.raises(ValueError, match="holds cells with the fields d, but this version has quantity"),
        open_sweep(older, Cell),
    ):
        pass
    with pytest.raises(FileNotFoundError, match="make it first"), open_sweep(tmp_path / "no" / "sweep.h5", Cell):
        pass


def test_a_file_from_before_there_were_other_networks_goes_on(tmp_path, monkeypatch):
    """What a cell of it does not name is at its default."""
    names = [field.name for field in fields(Cell) if field.name not in ("network", "engine", "parameterization")]
    Older = make_dataclass("Older", names, frozen=True)
    path, cells = tmp_path / "sweep.h5", SMALL.cells()
    asked = {name: value for name, value in asdict(SMALL).items() if name not in ("network", "parameterization")}
    with open_sweep(path, Older) as file:
        file.note(asked)
        for k, cell in enumerate(cells):
            file.add(Older(*(getattr(cell, name) for name in names)), {"gap": float(k)})
    assert list(read_sweep(path, Cell)) == cells
    assert run_sweep(SMALL, path).grids == Sweep.read(path).grids == (SMALL,)
    deep = replace(SMALL, network=("two-layer", "fc:2x4"), quantity=("data",))
    results = run_sweep(deep, path)
    assert len(results) == 12
    assert [numbers for cell, numbers in results.items() if cell.network == "two-layer"] == [
        {"gap": float(k)} for k, cell in enumerate(cells) if cell.quantity == "data"
    ]
    monkeypatch.setattr("ntkspec.experiments.sweep_run.measure_cell", None)
    assert run_sweep(deep, path) == results


KILLED = """
import sys
from ntkspec.experiments.sweep_run import run_sweep
from ntkspec.experiments.sweep_grid import Grid
seeds = int(sys.argv[2])
run_sweep(Grid(d=(4, 6, 8, 10, 12), n=("40",), width=("10",), quantity=("gap-first",), seeds=seeds), sys.argv[1])
"""


@pytest.mark.slow
@pytest.mark.parametrize(("seeds", "kills"), [(6, 1), (8, 3), (40, 10)])
def test_a_sweep_survives_kills(seeds, kills, tmp_path):
    """kill -9 at random moments; what comes out is what an undisturbed run gives, bit by bit."""
    undisturbed, path, rng = tmp_path / "whole.h5", tmp_path / "killed.h5", np.random.default_rng(0)
    subprocess.run([sys.executable, "-c", KILLED, str(undisturbed), str(seeds)], check=True)
    for _ in range(kills):
        process = subprocess.Popen([sys.executable, "-c", KILLED, str(path), str(seeds)])
        before = len(read_sweep(path, Cell)) if path.exists() else 0
        deadline = time.monotonic() + 60
        while not (path.exists() and len(read_sweep(path, Cell)) > before):
            assert process.poll() is None, "it ended before it could be killed; make the grid larger"
            assert time.monotonic() < deadline
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.03))
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert len(read_sweep(path, Cell)) < 5 * seeds
    subprocess.run([sys.executable, "-c", KILLED, str(path), str(seeds)], check=True)
    assert read_sweep(path, Cell) == read_sweep(undisturbed, Cell)


# ---------------------------------------------------------------------------------------------------------- processes
def slow_square(task):
    """A task that kills its own process the first time it is tried, where it is told to."""
    number, marker = task
    if marker and not os.path.exists(marker):
        with open(marker, "w") as file:
            json.dump(number, file)
        os.kill(os.getpid(), signal.SIGKILL)
    return number**2


def dying(task):
    os.kill(os.getpid(), signal.SIGKILL)


def failing(task):
    raise ValueError(f"cell {task} failed")


def test_processes_give_the_same_results(tmp_path):
    tasks = [(k, "") for k in range(6)]
    assert dict(execution.results(slow_square, tasks, Place(2))) == {task: task[0] ** 2 for task in tasks}


def test_a_process_that_dies_loses_nothing(tmp_path):
    tasks = [(k, str(tmp_path / "died") if k == 3 else "") for k in range(8)]
    found = list(execution.results(slow_square, tasks, Place(2)))
    assert sorted(found) == [(task, task[0] ** 2) for task in tasks]
    assert (tmp_path / "died").exists()


def test_processes_that_keep_dying_end_the_run(monkeypatch):
    monkeypatch.setattr(execution, "MOST_DEATHS", 1)
    with pytest.raises(ValueError, match="worker processes died"):
        list(execution.results(dying, [1], Place(2)))


def test_an_exception_in_a_process_is_raised_here():
    with pytest.raises(ValueError, match="cell 1 failed"):
        list(execution.results(failing, [1], Place(2)))


@pytest.mark.slow
def test_a_sweep_on_processes_agrees_with_one_here(tmp_path):
    one = run_sweep(SMALL, tmp_path / "a.h5")
    other = run_sweep(SMALL, tmp_path / "b.h5", place=Place(2))
    assert one.keys() == other.keys()
    for cell, numbers in one.items():
        assert other[cell] == pytest.approx(numbers, rel=1e-9)


# ------------------------------------------------------------------------------------------------------------ cluster
@pytest.mark.parametrize("seeds", [3, *(pytest.param(seeds, marks=pytest.mark.slow) for seeds in (6, 67))])
def test_a_cluster_gives_the_same_results_though_a_worker_is_killed(seeds, mortal_cluster, tmp_path):
    address, workers = mortal_cluster.address, mortal_cluster.workers
    grid = Grid(d=(8, 12, 16), n=("60",), width=("20",), quantity=("gap-first",), seeds=seeds)
    undisturbed = run_sweep(grid, tmp_path / "whole.h5", place=Place(scheduler=address))
    path, cells = tmp_path / "killed.h5", grid.cells()
    with open_sweep(path, Cell) as file:
        for k, (cell, numbers) in enumerate(execution.results(measure_cell, cells, Place(scheduler=address))):
            file.add(cell, numbers)
            if k == 2:
                workers[0].kill()
    assert read_sweep(path, Cell) == undisturbed


def test_a_cell_too_large_for_a_worker_is_refused_before_any_starts(cluster, tmp_path):
    large = Grid(d=(50,), n=("100000",), width=("4000",), quantity=("gap-first",), seeds=1)
    with pytest.raises(ValueError, match="but 2 GB are there for it"):
        run_sweep(large, tmp_path / "sweep.h5", place=Place(scheduler=cluster))


def test_a_scheduler_that_is_not_there_is_said_so(tmp_path):
    pytest.importorskip("distributed", reason="Dask's distributed is not installed")
    with pytest.raises(ValueError, match="no Dask scheduler answers"):
        run_sweep(SMALL, tmp_path / "sweep.h5", place=Place(scheduler="tcp://127.0.0.1:9", patience=Patience(0.5)))
    with pytest.raises(ValueError, match="pass one of processes and scheduler"):
        Place(2, "tcp://127.0.0.1:9")
