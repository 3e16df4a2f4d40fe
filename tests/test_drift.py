"""How far the kernel moves in training: against a network trained by hand, and as a power of the width."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import erf

import ntkspec as ns
from ntkspec import cli
from ntkspec.experiments.kernel_drift import Start, drift_of
from ntkspec.experiments.sweep_cells import Cell, last_step, measure_cell, rate_of, start_of
from ntkspec.experiments.sweep_grid import Grid
from ntkspec.experiments.sweep_results import Sweep


def by_hand(cell):
    """Kernels and weights before and after training, and the loss, neuron by neuron.

    NTK: sum a phi / sqrt m at the rate eta; muP: the mean of a phi over neurons at the rate m eta.
    """
    d, m, n = cell.d, cell.width, cell.n
    power, rate = (1.0, m * rate_of(cell)) if cell.parameterization == "mup" else (0.5, rate_of(cell))
    both, per_step = cell.quantity == "drift", rate / rate_of(cell)
    data, net = ns.datasets.gaussian(n, d, seed=cell.seed), ns.TwoLayer.symmetric(d, m, "erf", seed=cell.seed)
    W, a = net.W.copy(), net.v.copy()

    def gradients():
        of_rows, of_a = np.zeros((n, m, d)), np.zeros((n, m))
        for i, x in enumerate(data.X):
            for r in range(m):
                u = W[r] @ x / np.sqrt(d)
                of_rows[i, r] = m**-power * a[r] * 2 / np.sqrt(np.pi) * np.exp(-(u**2)) * x / np.sqrt(d)
                of_a[i, r] = m**-power * erf(u)
        return of_rows, of_a

    def kernel():
        of_rows, of_a = gradients()
        own = np.einsum("ird,jrd->ij", of_rows, of_rows) + both * of_a @ of_a.T
        return per_step * own

    before, start = kernel(), (W.copy(), a.copy())
    for _ in range(last_step(cell)):
        (of_rows, of_a), outputs = gradients(), m**-power * erf(data.X @ W.T / np.sqrt(d)) @ a
        residual = (outputs - data.y) / n
        W -= rate * np.einsum("i,ird->rd", residual, of_rows)
        a -= rate * both * residual @ of_a
    loss = np.mean((m**-power * erf(data.X @ W.T / np.sqrt(d)) @ a - data.y) ** 2) / 2
    shrunk = m ** (1 - 2 * power)  # v = a / sqrt m under muP
    moved = ((W - start[0]) ** 2).sum() + shrunk * ((a - start[1]) ** 2).sum()
    return before, kernel(), np.sqrt(moved / ((start[0] ** 2).sum() + shrunk * m)), loss


@pytest.mark.parametrize("quantity", ["drift", "drift-first"])
@pytest.mark.parametrize("parameterization", ["ntk", "mup"])
def test_a_cell_moves_as_a_network_trained_by_hand(quantity, parameterization, monkeypatch):
    monkeypatch.setattr("ntkspec.experiments.sweep_cells.MOST_STEPS", 40)
    cell = Cell(quantity, 4, 9, 6, parameterization=parameterization, seed=2)
    before, after, movement, loss = by_hand(cell)
    start, data = start_of(cell), ns.datasets.gaussian(9, 4, seed=2)
    net = start.trained(data, eta=rate_of(cell), steps=[40]).network
    for own, exact in ((start.net, before), (net, after)):
        np.testing.assert_allclose(start.kernel(own, data.X).to_dense(), exact, rtol=0, atol=1e-10)
    found, size = measure_cell(cell), np.linalg.norm(before, 2)
    assert_moved(found, before, after)
    assert found["movement"] == pytest.approx(movement, rel=1e-10)
    assert found["loss"] == pytest.approx(loss, rel=1e-10)
    assert found["steps"] == 40
    assert np.linalg.norm(after - before, 2) > 1e-3 * size


def assert_moved(found, before, after):
    exact = np.linalg.norm(after - before, 2) / np.linalg.norm(before, 2)
    assert found["drift lower"] <= exact * (1 + 1e-9)
    assert exact <= found["drift upper"] * (1 + 1e-9)
    assert found["drift upper"] <= found["drift lower"] * 1.01
    cosine = (before * after).sum() / np.linalg.norm(before) / np.linalg.norm(after)
    assert found["distance"] == pytest.approx(1 - cosine, rel=1e-6, abs=1e-14)


def test_a_deep_cell_moves_as_its_network(monkeypatch):
    monkeypatch.setattr("ntkspec.experiments.sweep_cells.MOST_STEPS", 30)
    cell = Cell("drift", 4, 12, 8, "gelu", network="fc:2xm", seed=1)
    net, data = ns.FullyConnected.paired(4, [8, 8], "gelu", seed=1), ns.datasets.gaussian(12, 4, seed=1)
    now = ns.train_gd(net, data.X, data.y, eta=rate_of(cell), steps=[30]).network
    assert_moved(measure_cell(cell), *(ns.ntk(one, data.X).to_dense() for one in (net, now)))


@pytest.mark.parametrize("parameterization", ["ntk", "mup"])
def test_small_steps_move_the_kernel_by_their_first_order_or_after_pairs_cancel_by_their_second(parameterization):
    data = ns.datasets.gaussian(20, 5, seed=0)
    for make, order in ((ns.TwoLayer.random, 1), (ns.TwoLayer.symmetric, 2)):
        start = Start.of(make(5, 16, "erf", seed=0), layer="both", parameterization=parameterization)
        far, near, none = (drift_of(start, data, eta=eta, last=3) for eta in (2e-3, 1e-3, 0.0))
        assert far["drift"] / near["drift"] == pytest.approx(2**order, rel=0.02)
        assert none["drift"] == none["movement"] == 0


def test_both_parameterizations_start_from_one_function_and_one_kernel():
    net, X = ns.TwoLayer.symmetric(5, 16, "gelu", second="normal", seed=0), ns.datasets.gaussian(20, 5).X
    for layer in ("first", "both"):
        one, other = (Start.of(net, layer=layer, parameterization=name) for name in ("ntk", "mup"))
        np.testing.assert_allclose(one.kernel(one.net, X).to_dense(), other.kernel(other.net, X).to_dense(), rtol=1e-12)
        np.testing.assert_allclose(one.kernel(net, X).to_dense(), ns.ntk(net, X, layer=layer).to_dense(), rtol=1e-12)


# ---------------------------------------------------------------------------------------------------------- the width
WIDTHS = Grid(d=(6,), n=("20",), width=("8", "16", "32", "64"), quantity=("gap-first",), seeds=3)


def invented(grid):
    return Sweep({cell: {"gap": 3 * cell.width**-0.5 * (1 + 0.01 * cell.seed)} for cell in grid.cells()}, [grid])


def test_at_one_d_exponents_are_those_of_the_width():
    (title, panel), *others = invented(WIDTHS).panels["gap-first"].items()
    assert (title, panel.symbol, others) == ("erf", "m", [])
    law = panel.laws["gap"]
    assert (law.of, law.exponent) == ("m", pytest.approx(-0.5))
    assert law.x.tolist() == [8, 16, 32, 64]
    over_d = replace(WIDTHS, d=(6, 12, 24))
    laws = [panel.laws["gap"] for panel in invented(over_d).panels["gap-first"].values()]
    assert [law.of for law in laws] == ["d"] * 4


def test_a_file_without_grids_is_a_series_over_the_width_too():
    (panels,) = Sweep(invented(WIDTHS)).panels.values()
    assert {title: panel.laws["gap"].of for title, panel in panels.items()} == {"erf, n = 20": "m"}


def test_networks_of_one_kind_are_a_series_and_the_infinite_one_stands_apart():
    grid = replace(WIDTHS, width=("8", "16"), quantity=("gap-both",),
                   network=("two-layer", "fc:2x8", "fc:2x16", "fc:2xinf"))  # fmt: skip
    panels = invented_finite(grid).panels["gap-both"]
    sizes = {title: sorted({cell.width for cell in panel.results}) for title, panel in panels.items()}
    two, several = "erf, n = 20", "erf, n = 20, fc:2x"
    assert sizes == {two: [8, 16], f"{several}m": [8, 16], f"{several}inf": [0]}


def invented_finite(grid):
    return Sweep({cell: {"gap": 1.0} for cell in grid.cells()}, [grid])


def test_the_command_tells_and_keeps_exponents_of_the_width(tmp_path, capsys):
    path = tmp_path / "s.h5"
    words = "sweep --quantity drift --d 4 --n 10 --width 8 32 128 --parameterization ntk mup --seeds 2 --output"
    assert cli.main([*words.split(), str(path), "--json"]) == 0
    laws = json.loads(capsys.readouterr().out)["laws"]["drift"]
    assert {title: law["drift"]["of"] for title, law in laws.items()} == {"erf, ntk": "m", "erf, mup": "m"}
    assert laws["erf, ntk"]["movement"]["exponent"] == pytest.approx(-0.5, abs=0.1)
    assert laws["erf, mup"]["movement"]["exponent"] == pytest.approx(0.0, abs=0.1)
    assert laws["erf, ntk"]["drift"]["upper"] < -0.5 < -0.2 < laws["erf, mup"]["drift"]["exponent"]
    assert "falls as m" in path.with_suffix(".html").read_text().replace("<i>", "").replace("</i>", "")
    assert cli.main(["rerun", str(path)]) == 0
    assert (tmp_path / "s-drift.png").exists()
