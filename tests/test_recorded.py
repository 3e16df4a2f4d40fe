"""The small files behind the figures of the pages: whole, drawn without computing, and with the numbers of today."""

import dataclasses
import os

import h5py
import numpy as np
import pytest

import ntkspec as ns
from benchmarks.record_figures import FOLDER, RECORDS
from ntkspec.experiments.sweep_results import Sweep
from ntkspec.spectra.results import Estimate

# Of single precision after some hundred steps, relative to the largest number of an array.
TRAINED = 1e-3
# What depends on the machine or the random probes, or says how and not what.
SKIPPED = {"timings", "seconds", "forecast", "plan", "evidence", "products", "method", "task", "setting", "vectors"}
SKIPPED |= {"residuals", "others", "alpha", "beta", "lengths", "sizes", "nearest", "angles", "stability", "error"}
SKIPPED |= {"error_test", "note", "agreement", "agreement_to_labels", "dataset"}


def test_all_of_them_are_there_and_small():
    files = {path.stem: path.stat().st_size for path in FOLDER.glob("*.h5")}
    assert set(files) == set(RECORDS)
    assert sum(files.values()) < 5e6


@pytest.mark.parametrize("name", RECORDS)
def test_each_is_drawn_and_holds_no_points(name):
    figures = ns.plotting.draw(FOLDER / f"{name}.h5")
    assert all(axis.has_data() for figure in figures.values() for axis in figure.axes)
    with h5py.File(FOLDER / f"{name}.h5") as file:
        names = []
        file.visit(names.append)
    assert not {"X", "X_test"} & {part for path in names for part in path.split("/")}


@pytest.mark.slow
@pytest.mark.parametrize("name", RECORDS)
def test_measured_again_they_are_the_same_within_their_intervals(name, tmp_path):
    if name in ("figure-3", "ten-classes") and "NTKSPEC_DATA" not in os.environ:
        pytest.skip("NTKSPEC_DATA does not name the folder of the images")
    RECORDS[name](tmp_path / "again.h5")
    kept, found = ns.load_result(FOLDER / f"{name}.h5"), ns.load_result(tmp_path / "again.h5")
    assert same(kept, found, name) > 3


def same(kept, found, where):
    """Compare two records, and count the numbers and arrays that were compared."""
    if isinstance(kept, Estimate):
        room = 1e-6 * abs(kept.value)
        assert found.lower - room <= kept.upper, where
        assert kept.lower - room <= found.upper, where
        return 1
    if isinstance(kept, Sweep):
        assert kept.keys() == found.keys()
        return sum(same_cell(kept[cell], found[cell], f"{where} {cell}") for cell in kept)
    if dataclasses.is_dataclass(kept):
        kept, found = (
            {field.name: getattr(one, field.name) for field in dataclasses.fields(one)} for one in (kept, found)
        )
    if isinstance(kept, list | tuple):
        assert len(kept) == len(found), where
        kept, found = (dict(enumerate(one)) for one in (kept, found))
    if isinstance(kept, dict):
        assert kept.keys() == found.keys(), where
        return sum(same(kept[key], found[key], f"{where}/{key}") for key in kept if key not in SKIPPED)
    if isinstance(kept, np.ndarray) or type(kept) is float:
        size = np.nanmax(np.abs(kept), initial=0.0)
        np.testing.assert_allclose(found, kept, rtol=TRAINED, atol=TRAINED * size, err_msg=where)
        return 1
    return 0


def same_cell(kept, found, where):
    """Norms lie in the intervals that were stated, all else is that of double precision."""
    for name, value in kept.items():
        if f"{name} lower" in kept:
            assert kept[f"{name} lower"] * (1 - 1e-9) <= found[name] <= kept[f"{name} upper"] * (1 + 1e-9), where
        elif not name.endswith((" lower", " upper")):
            assert found[name] == pytest.approx(value, rel=2e-3), f"{where} {name}"
    return 1
