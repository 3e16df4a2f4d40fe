"""The small files behind the figures of the pages: `python -m benchmarks.record_figures [--folder DIR] [NAME ...]`.

They are the settings of the figures at sizes that take seconds, in `data/figures`: what is drawn from them needs no
computing. No file holds points, weights or images; a nightly test makes them again and compares the numbers.
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ntkspec import datasets, storage
from ntkspec.datasets.classes import class_columns
from ntkspec.dynamics import HeavyBall, Nesterov, Trajectory
from ntkspec.experiments.analyze import Analysis, AnalyzeTask, analyze
from ntkspec.experiments.deep_runs import DEEP_COMPARISON, DeepSetting
from ntkspec.experiments.run_cache import kept
from ntkspec.experiments.spectrum import SpectrumTask, measure_spectrum
from ntkspec.experiments.sweep_grid import Grid
from ntkspec.experiments.sweep_run import run_sweep
from ntkspec.experiments.two_layer_runs import COMPARISON, Setting, over_dimensions
from ntkspec.storage.provenance import provenance

FOLDER = Path(__file__).parents[1] / "data" / "figures"
# Points of each part whose outputs stay in the file: those that are drawn.
POINTS = 5
COMMAND = "python -m benchmarks.record_figures"
DIMENSIONS = (32, 48, 72, 108)


def two_classes(path: Path) -> None:
    """`ntkspec analyze` on synthetic data."""
    data = datasets.gaussian(1000, 30, n_test=400, seed=0, dtype=np.float32)
    _write(path, "analysis", small(analyze(AnalyzeTask(width=128, steps=1500), data)), kind="analyze")


def several_classes(path: Path) -> None:
    """`ntkspec analyze` on three classes of points, a column of labels for each."""
    data = datasets.gaussian(600, 20, n_test=300, seed=0, dtype=np.float32)
    y, y_test = (class_columns(_classes(X), 3).astype(np.float32) for X in (data.X, data.X_test))
    data = replace(data, y=y, y_test=y_test, name="three classes")
    _write(path, "analysis", small(analyze(AnalyzeTask(width=128, steps=1500), data)), kind="analyze")


def _classes(X: np.ndarray) -> np.ndarray:
    """The largest of three features, its square for the last one."""
    return np.stack([X[:, 0], X[:, 1], X[:, 2] ** 2 - 0.5], axis=1).argmax(axis=1)


def spectrum(path: Path) -> None:
    """`ntkspec spectrum` of a kernel whose density is estimated."""
    data = datasets.gaussian(2000, 30, seed=0, dtype=np.float32)
    found = measure_spectrum(SpectrumTask(activation="relu", width=256, pairs=40, probes=8, steps=60), data)
    vectors = found.leading.vectors[:0].astype(np.float32)
    _write(path, "spectrum", replace(found, leading=replace(found.leading, vectors=vectors)), kind="spectrum")


def ten_classes(path: Path) -> None:
    """`ntkspec analyze` on ten classes of MNIST, whose folder NTKSPEC_DATA has to name."""
    data = datasets.mnist("all", n=1000, n_test=500, seed=0, dtype=np.float32)
    task = AnalyzeTask("relu", width=512, steps=300, law=Nesterov(0.9), loss="cross-entropy", batch=200)
    _write(path, "analysis", small(analyze(task, data)), kind="analyze")


def figure_1(path: Path) -> None:
    """`ntkspec figure 1` with fewer points and steps."""
    _figure_1(path)


def figure_1_momentum(path: Path) -> None:
    """The same with `--law heavy-ball`."""
    _figure_1(path, law=HeavyBall(0.9))


def figure_1_batches(path: Path) -> None:
    """The same with `--batch 64`."""
    _figure_1(path, batch=64)


def _figure_1(path: Path, **recipe: Any) -> None:
    main = Setting("erf", d=50, n=2000, width=256, steps=1500, n_test=1000, **recipe)
    panels = over_dimensions(main, (25, 50, 100), 600)
    kept([main, *(one for own in panels.values() for one in own)], path, COMPARISON, report=print)


def figure_2(path: Path) -> None:
    """`ntkspec figure 2` with fewer points and a narrower network."""
    setting = Setting("relu", d=30, n=2000, width=1024, steps=600, n_test=1000, target="norm", naive=True)
    kept([setting], path, COMPARISON, report=print)


def figure_3(path: Path) -> None:
    """`ntkspec figure 3` with fewer images, which the environment variable NTKSPEC_DATA has to name."""
    sizes: dict[str, Any] = {"pool": 8, "n": 1000, "n_test": 300, "steps": 600, "batch": 64}
    settings = [DeepSetting(network, **sizes) for network in ("linear", "fc:3x256", "cnn:3x16:k3")]
    kept(settings, path, DEEP_COMPARISON, report=print)


def figure_5(path: Path) -> None:
    """`ntkspec figure 5` in fewer dimensions."""
    fixed = Grid(d=DIMENSIONS, n=("1000",), width=("1000",), activation=("erf", "relu"), seeds=3)
    for grid in (fixed, replace(fixed, n=("d^1.5",), width=("d^1.5",))):
        run_sweep(grid, path, report=print)


def figure_budget(path: Path) -> None:
    """`ntkspec figure budget` in fewer dimensions."""
    for layer in ("first", "second"):
        grid = Grid(d=DIMENSIONS, activation=("erf", "relu"), quantity=(f"budget-{layer}",), seeds=3)
        run_sweep(grid, path, report=print)


# By the name of the file in the folder.
RECORDS: dict[str, Callable[[Path], None]] = {
    "two-classes": two_classes,
    "several-classes": several_classes,
    "spectrum": spectrum,
    "ten-classes": ten_classes,
    "figure-1": figure_1,
    "figure-1-momentum": figure_1_momentum,
    "figure-1-batches": figure_1_batches,
    "figure-2": figure_2,
    "figure-3": figure_3,
    "figure-5": figure_5,
    "figure-budget": figure_budget,
}


def small(analysis: Analysis) -> Analysis:
    """What the figures and the report take of an analysis: no weights, and the outputs on a few points only.

    The labels stay: what is said about them is said of all.
    """
    cut = {name: _first_points(run) for name, run in analysis.trajectories.items()}
    return replace(analysis, trajectories=cut, weights={})


def _first_points(run: Trajectory) -> Trajectory:
    test = None if run.test is None else run.test[:, :POINTS]
    return replace(run, train=run.train[:, :POINTS], test=test, network=None)


def _write(path: Path, name: str, record: Any, *, kind: str) -> None:
    storage.write(path, {name: record, "provenance": provenance(COMMAND)}, kind=kind)


def main() -> None:
    """Make the files that are named, or all of them, again."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which (default: all): {', '.join(RECORDS)}")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where they are written to (default: data/figures)")
    options = parser.parse_args()
    if unknown := [name for name in options.names if name not in RECORDS]:
        parser.error(f"no record {', '.join(unknown)}; there are {', '.join(RECORDS)}")
    options.folder.mkdir(parents=True, exist_ok=True)
    for name in options.names or RECORDS:
        path = options.folder / f"{name}.h5"
        path.unlink(missing_ok=True)  # runs and cells that are there would not be measured again
        RECORDS[name](path)
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB", flush=True)


if __name__ == "__main__":
    main()
