"""The options that say which data: what they hand to the data sets, and where they are refused."""

import numpy as np
import pytest

from ntkspec import cli, datasets
from ntkspec.cli import commands
from ntkspec.cli.data import dataset_of

X = np.random.default_rng(5).standard_normal((40, 3)) + 4
TEN = np.arange(40) % 10


@pytest.fixture
def dataset(tmp_path, monkeypatch):
    """The data of a command line, without the experiment."""
    monkeypatch.chdir(tmp_path)
    made: list = []
    asked = lambda *given, data, seed, engine, own, spread: made.append(dataset_of(data, seed))  # noqa: E731
    monkeypatch.setattr(commands, "measure", asked)

    def of(line: str):
        made.clear()
        code = cli.main(["analyze", *line.split()])
        return made[0] if made else code

    return of


def same(data, expected):
    for name in ("X", "y", "X_test", "y_test"):
        np.testing.assert_array_equal(getattr(data, name), getattr(expected, name))
    assert data.meta == expected.meta


@pytest.mark.parametrize(
    ("line", "options"),
    [
        ("", {"label": None}),
        ("--classes 7 3", {"classes": (7, 3)}),
        ("--no-center", {"center": False}),
        ("--center --standardize", {"standardize": True}),
        ("--n 20 --n-test 5 --dtype float64", {"n": 20, "n_test": 5, "dtype": "float64"}),
        ("--points other --label energy", {"points": "other", "label": "energy"}),
        ("--label energy --test-points other --test-label y", {"test_points": "other", "test_label": "y"}),
        ("--points whole --label 3", {"points": "whole", "label": 3}),
        ("--points whole --label -1", {"points": "whole", "label": -1}),
        ("--label=-1 --points whole", {"points": "whole", "label": -1}),
        ("--points pictures --label energy --channels last", {"points": "pictures", "channels": "last"}),
    ],
)
@pytest.mark.filterwarnings("ignore:labels of things.npz are whole numbers")
def test_options_of_a_file_are_those_of_load(dataset, line, options):
    rng = np.random.default_rng(6)
    whole = np.column_stack([X, TEN + 0.5])
    images = rng.standard_normal((40, 3, 3, 3))
    np.savez("things.npz", X=X, y=TEN, other=X + 1, energy=TEN / 3, whole=whole, pictures=images)
    if "--label energy" in line:
        options = options | {"label": "energy"}
    same(dataset(f"--data things.npz {line}"), datasets.load("things.npz", **({"dtype": "float32"} | options)))


@pytest.mark.parametrize("option", ["--label y", "--points X", "--test-points X", "--test-label y", "--keep-ids"])
def test_options_of_files_do_not_go_with_other_data(dataset, option, capsys):
    for data in ("gaussian", "mnist", "cifar10"):
        assert dataset(f"--data {data} {option}") == 2
        assert f"error: {option.split()[0]} does not go with --data {data}" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--channels first", "--keep-constant", "--no-center", "--standardize"])
def test_options_of_real_data_do_not_go_with_synthetic_data(dataset, option, capsys):
    for data in ("gaussian", "rademacher", "sphere", "subgaussian"):
        assert dataset(f"--data {data} {option}") == 2
        assert f"error: {option.split()[0]} does not go with --data {data}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--channels middle", '"middle"'),
        ("--label kind", "things.npz holds no array 'kind'; it holds ['X', 'y']"),
        ("--classes 7", "two different classes"),
        ("--classes 7 11", "class '11' is not among the labels of things.npz: 0, 1, 2"),
        ("--no-standardize", "--no-standardize"),
        ("--keep-ids", "keep_ids is for tables, but things.npz holds arrays"),
        ("--channels first", "for an array of four axes"),
        ("--pool 2", "--pool does not go with --data things.npz"),
    ],
)
def test_options_that_do_not_fit_the_file_are_refused_in_one_line(dataset, line, message, capsys):
    np.savez("things.npz", X=X, y=TEN)
    assert dataset(f"--data things.npz {line}") == 2
    error = capsys.readouterr().err.splitlines()
    assert len([one for one in error if "warning" not in one]) == 1
    assert message in error[-1]
