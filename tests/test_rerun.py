"""`ntkspec rerun` of sweeps, checks and figures: every stored setting once more, each number beside the stored one."""

import dataclasses
import json
from dataclasses import replace

import pytest

from commands import run
from ntkspec import storage
from ntkspec.experiments import repeating
from ntkspec.experiments.power_laws import PowerLaw
from ntkspec.experiments.sweep_cells import Cell
from ntkspec.experiments.two_layer_runs import COMPARISON
from ntkspec.storage.sweeps import open_sweep

GRID = "--d 4 6 8 --seeds 2 --n 20 --width 8"
pytestmark = pytest.mark.usefixtures("unpainted")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A sweep, a check and Figure 2, in batches with momentum."""
    recipe = "--law nesterov --batch 10"
    place = tmp_path_factory.mktemp("stored")
    for words in (f"sweep --quantity gap-first data {GRID} --output {place}/sweep.h5",
                  f"check prop-3.4 {GRID} --output {place}/check",
                  f"figure 2 --d 4 --n 30 --n-test 10 --width 8 --steps 9 {recipe} --output {place}"):  # fmt: skip
        assert run(words).code == 0
    return place


@pytest.mark.parametrize("name", ["sweep.h5", "check/sweep.h5", "check/check.h5", "figure-2.h5"])
def test_what_commands_stored_is_repeated_with_the_same_numbers(name, folder):
    before = sorted(path.name for path in folder.rglob("*"))
    found = run(["rerun", folder / name, "--json"])
    assert found.code == 0
    told = json.loads(found.out)
    assert "same_points" not in told
    names = {number["name"]: number for number in told["numbers"]}
    assert all(own["agree"] and own["stored"] == pytest.approx(own["now"], rel=1e-6) for own in names.values())
    expected = {
        "sweep.h5": "gap-first d=6 seed=1: hollow frobenius",
        "check/sweep.h5": "gap-first d=8 seed=0: gap",
        "check/check.h5": "erf, gaussian data, covariance identity: exponent of gap",
        "figure-2.h5": "relu d=4 width=8: last loss, naive, test",
    }
    assert expected[name] in names
    assert any("forecast" in line for line in found.err)
    assert sorted(path.name for path in folder.rglob("*")) == before


def test_a_number_that_has_changed_is_shown_and_ends_with_1(folder, tmp_path):
    """A wrong norm is seen, whose interval does not meet that of now; a change inside of it is none."""
    path = tmp_path / "sweep.h5"
    path.write_bytes((folder / "sweep.h5").read_bytes())
    with open_sweep(path, Cell) as file:
        wrong, moved = [cell for cell in file.results if cell.quantity == "gap-first"][:2]
        file.add(wrong, {name: 1.01 * value for name, value in file.results[wrong].items()})
        file.add(moved, file.results[moved] | {"gap": file.results[moved]["gap upper"]})
    found = run(["rerun", path])
    assert found.code == 1
    lines = found.out.splitlines()
    apart = {line.split(":")[0] for line in lines if line.endswith("DIFFER")}
    assert apart == {f"gap-first d={wrong.d} seed={wrong.seed}"}
    assert lines[-1].startswith("43 of 48 numbers agree")
    assert run(["rerun", path, "--quiet"]).out == f"{lines[-1]}\n"


def test_figures_whose_numbers_have_changed_end_with_1(folder, tmp_path):
    (stored,) = storage.read(folder / "figure-2.h5", kind=COMPARISON.kind, types=COMPARISON.types)["runs"]
    losses = {model: {part: 1.1 * values for part, values in parts.items()} for model, parts in stored.losses.items()}
    storage.write(tmp_path / "figure-2.h5", [replace(stored, losses=losses)], kind=COMPARISON.kind)
    found = run(["rerun", tmp_path / "figure-2.h5"])
    assert found.code == 1
    assert found.out.count("DIFFER") == 6
    assert found.out.count("  agree") == 4


def test_exponents_agree_where_their_intervals_meet():
    law = PowerLaw(-0.5, 1.0, -0.6, -0.4, None, None, None, 9)
    one = type("Check", (), {"setting": "erf", "laws": {"gap": law, "only here": law}})
    two = type("Check", (), {"setting": "erf", "laws": {"gap": dataclasses.replace(law, exponent=-0.3, lower=-0.45)}})
    (pair,) = repeating.pairs_of_checks([one], [two])
    assert pair.agree
    two.laws["gap"] = dataclasses.replace(law, lower=-0.39, upper=-0.3)
    assert not repeating.pairs_of_checks([one], [two])[0].agree
