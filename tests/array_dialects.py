"""Files of arrays as people and their programs write them, drawn at random, each with what was meant by it."""

import warnings
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
import scipy.io

from ntkspec import datasets

TRAIN_NAMES = [("X", "y"), ("x", "y"), ("data", "labels"), ("data", "target"), ("images", "labels"), ("arr_0", "arr_1")]
TRAIN_NAMES += [("features", "targets"), ("inputs", "targets"), ("Features", "Label"), ("train_set_x", "train_set_y")]
SPLIT_NAMES = [("x_{}", "y_{}"), ("X_{}", "y_{}"), ("{}_images", "{}_labels"), ("{}X", "{}Y"), ("{}_data", "{}_target")]
GROUPED = [("{}/X", "{}/y"), ("{}/images", "{}/labels"), ("x/{}", "y/{}"), ("set/{}_x", "set/{}_y")]
DTYPES = ["<f8", ">f8", "<f4", ">f4", "f2", "u1", ">i4", "i2", "?"]
FORMATS = ["npz", "npy", "h5", "mat"]
LABELS = ["signs", "zero one", "one two", "three seven", "booleans", "words", "bytes", "objects", "one-hot", "column"]
LABELS += ["numbers", "chosen digits", "chosen words", "chosen one-hot"]
LAYOUTS = ["flat", "grey", "last", "first", "asked first"]
SPARE = {"ids": np.arange(5), "weights": np.ones(7), "target_names": np.array(["a", "b"]), "DESCR": np.array("text")}


@dataclass(frozen=True)
class Meant:
    """A file, the options that it needs, and the points and labels that it stands for; reason: why it is refused."""

    path: Path
    points: np.ndarray
    labels: np.ndarray
    test: tuple | None = None
    shape: tuple | None = None
    options: dict = field(default_factory=dict)
    reason: str = ""


def drawn(folder: Path, seed: int) -> Meant:
    """The file of that seed, right in itself."""
    rng = np.random.default_rng(seed)
    ending, kind, layout = (str(rng.choice(some)) for some in (FORMATS, LABELS, LAYOUTS))
    if ending == "mat" and kind == "bytes":
        kind = "words"
    n, n_test = int(rng.integers(24, 60)), int(rng.integers(5, 12))
    split = bool(rng.integers(2))
    raw, meaning, options = _labels(kind, n + n_test, rng)
    flat, as_saved, shape, asked = _points(layout, n + n_test, str(rng.choice(DTYPES)), rng)
    own = slice(0, n if split else n + n_test)
    names = _names(ending, split, rng)
    arrays = dict(zip(names["train"], (as_saved[own], raw[own]), strict=True))
    arrays |= dict(zip(names["test"], (as_saved[n:], raw[n:]), strict=True)) if split else {}
    spare = {name: SPARE[name] for name in SPARE if rng.integers(2)} if ending != "npy" else {}
    path = _written(folder, ending, arrays | spare, names["train"][0], rng)
    kept = meaning[own] != 0 if "chosen" in kind else np.ones(len(meaning[own]), dtype=bool)
    test = None
    if split:
        kept_test = meaning[n:] != 0 if "chosen" in kind else np.ones(n_test, dtype=bool)
        test = flat[n:][kept_test], meaning[n:][kept_test]
    options = options | asked | {"keep_constant": True} | ({} if split else {"n_test": 0})
    return Meant(path, flat[own][kept], meaning[own][kept], test, shape, options)


def _names(ending: str, split: bool, rng) -> dict:
    if not split:
        return {"train": TRAIN_NAMES[rng.integers(len(TRAIN_NAMES))], "test": ()}
    patterns = SPLIT_NAMES + (GROUPED if ending in ("h5", "npz") else [])
    points, labels = patterns[rng.integers(len(patterns))]
    return {part: (points.format(part), labels.format(part)) for part in ("train", "test")}


def _points(layout: str, count: int, dtype: str, rng):
    """(what is meant (n, d), the array as it is saved, (h, w, c) or None, options)."""
    height, width, channels = int(rng.integers(5, 8)), int(rng.integers(5, 8)), int(rng.choice([1, 3, 4]))
    shape = {"flat": (5,), "grey": (height, width)}.get(layout, (height, width, channels))
    if layout == "asked first":
        shape = (height, width, 6)  # no usual number of channels
    wide = rng.integers(0, 2 if dtype == "?" else 100, (count, *shape))
    array = (wide / 8 if "f" in dtype else wide).astype(dtype)
    meant = array.astype(np.float64).reshape(count, -1)
    if layout in ("first", "asked first"):
        array = np.moveaxis(array, -1, 1)
    three = None if layout == "flat" else (*shape, 1) if layout == "grey" else shape
    return meant, array, three, {"channels": "first"} if layout == "asked first" else {}


def _labels(kind: str, count: int, rng):
    """(labels as they are saved, the numbers that they mean with 0 for points that are left out, options)."""
    two = np.resize([0, 1], count)
    rng.shuffle(two)
    signs, ten = 2.0 * two - 1, np.resize(np.arange(10), count)
    rng.shuffle(ten)
    animals = np.array(["cat", "dog", "eel"])
    three = np.resize([0, 1, 2], count)
    numbers = rng.standard_normal(count)
    chosen = np.select([ten == 7, ten == 3], [1.0, -1.0], 0.0)
    chosen_of_three = np.select([three == 2, three == 0], [1.0, -1.0], 0.0)
    words = np.where(two == 1, "horse", "cat")
    return {
        "signs": (signs, signs, {}),
        "zero one": (two.astype("u1"), signs, {}),
        "one two": ((two + 1).astype(">i2"), signs, {}),
        "three seven": (np.where(two == 1, 7.0, 3.0), signs, {}),
        "booleans": (two == 1, signs, {}),
        "words": (words, signs, {}),
        "bytes": (words.astype("S"), signs, {}),
        "objects": (words.astype(object), signs, {}),
        "one-hot": (np.eye(2)[two], signs, {}),
        "column": (two[:, None], signs, {}),
        "numbers": (numbers, numbers, {}),
        "chosen digits": (ten, chosen, {"classes": ("7", 3)}),
        "chosen words": (animals[three], chosen_of_three, {"classes": ("EEL", "cat")}),
        "chosen one-hot": (np.eye(3, dtype="u1")[three], chosen_of_three, {"classes": (2, 0)}),
    }[kind]


# -------------------------------------------------------------------------------------------------------------- files
def _written(folder: Path, ending: str, arrays: dict, points: str, rng) -> Path:
    """The path to load."""
    folder.mkdir(parents=True)
    path = folder / f"things.{ending}"
    if ending == "npz":
        (np.savez, np.savez_compressed)[rng.integers(2)](path, **arrays)
    elif ending == "npy":
        for name, array in arrays.items():
            np.save(folder / f"{name}.npy", array, allow_pickle=True)
        return folder / f"{points}.npy"
    elif ending == "mat":
        scipy.io.savemat(path, {name: _of_matlab(array) for name, array in arrays.items()}, do_compression=True)
    else:
        with h5py.File(path, "w") as file:
            for name, array in arrays.items():
                file[name] = array.astype(h5py.string_dtype()) if array.dtype.kind in "UO" else array
    return path


def _of_matlab(array):
    """Images as MATLAB keeps them, with the points along the last axis; native numbers."""
    array = np.moveaxis(array, 0, -1) if array.ndim > 2 else array
    return array.astype(np.float64) if array.dtype in (np.float16, np.dtype(">f4"), np.dtype(">f8")) else array


# ------------------------------------------------------------------------------------------------------- spoiled files
def _spoils(X, y) -> dict[str, tuple[dict, dict]]:
    """{what is wrong: (arrays that replace others, options)}; None takes an array away."""
    hole, words = X.copy(), np.where(y > 0, "horse", "cat")
    hole[3, 1] = np.nan
    three, few = np.resize(["a", "b", "c"], len(y)), words.copy()
    few[5] = ""
    images = np.resize(X, (len(X), 3, 8, 3))
    return {
        "no points": ({"X": None}, {}),
        "no labels": ({"y": None}, {}),
        "no test labels": ({"y_test": None}, {}),
        "two arrays of labels": ({"label": 1 - y}, {}),
        "two arrays of points": ({"images": X + 1}, {}),
        "a hole in X": ({"X": hole}, {}),
        "a hole in the labels": ({"y": hole[:, 1]}, {}),
        "an empty word": ({"y": few}, {}),
        "complex X": ({"X": X + 1j}, {}),
        "words in X": ({"X": X.astype("S8")}, {}),
        "a label short": ({"y": y[:-1]}, {}),
        "several outputs": ({"y": X[:, :2], "y_test": X[:6, :2]}, {}),
        "words without a choice": ({"y": three}, {}),
        "one-hot without a choice": ({"y": np.eye(3)[np.resize([0, 1, 2], len(y))]}, {}),
        "a constant feature": ({"X": np.where([True, False, False], 4.0, X)}, {}),
        "one label only": ({"y": np.ones(len(y))}, {}),
        "a third class in the test": ({"y_test": np.full(6, 7.0)}, {}),
        "words for the test": ({"y_test": np.resize(["a", "b"], 6)}, {}),
        "channels at both ends": ({"X": images, "X_test": images[:6]}, {}),
        "a column more in the test": ({"X_test": np.ones((6, 4))}, {}),
        "no points at all": ({"X": X[:0], "y": y[:0]}, {}),
        "an absent name": ({}, {"label": "kind"}),
        "an absent class": ({}, {"classes": ("7", "1")}),
        "one class twice": ({}, {"classes": (1, "1.0")}),
        "channels without images": ({}, {"channels": "last"}),
        "more points than there are": ({}, {"n": 1000}),
        "ids of a table": ({}, {"keep_ids": True}),
    }


def spoiled(folder: Path, seed: int) -> Meant:
    """The file of that seed with one thing wrong, in turn."""
    rng = np.random.default_rng([seed, 1])
    X, y = rng.standard_normal((30, 3)), np.where(rng.permutation(30) < 15, 1.0, -1.0)
    spoils = _spoils(X, y)
    reason = list(spoils)[seed % len(spoils)]
    replaced, options = spoils[reason]
    arrays = {"X": X, "y": y, "X_test": X[:6] + 1, "y_test": y[:6]} | replaced
    arrays = {name: array for name, array in arrays.items() if array is not None}
    path = _written(folder, ("npz", "h5")[seed // len(spoils) % 2], arrays, "X", rng)
    return Meant(path, X, y, options=options, reason=reason)


# ------------------------------------------------------------------------------------------------------------ verdicts
def verdict(meant: Meant) -> str:
    """ "right", "refused: ..." in one line, or "WRONG: ..."."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            data = datasets.load(meant.path, **meant.options)
    except (ValueError, FileNotFoundError) as error:
        return f"refused: {error}" if "\n" not in str(error) else f"WRONG: {error}"
    mean = meant.points.mean(axis=0)
    scale = np.sqrt(mean.size / np.mean(((meant.points - mean) ** 2).sum(axis=1)))
    pairs = [(data.X, (meant.points - mean) * scale), (data.y, meant.labels)]
    if meant.test:
        pairs += [(data.X_test, (meant.test[0] - mean) * scale), (data.y_test, meant.test[1])]
    same = all(a.shape == b.shape and np.allclose(a, b, atol=1e-9) for a, b in pairs)
    return "right" if same and data.meta.get("shape") == meant.shape else f"WRONG: {data.meta}"
