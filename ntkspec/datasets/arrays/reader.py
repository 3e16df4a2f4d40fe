"""Points and labels from files of arrays: .npz, .npy, HDF5 and MATLAB's .mat."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ntkspec import storage
from ntkspec.datasets.arrays.names import Choice, choose, choose_points, entry, listed, present
from ntkspec.datasets.npz import npz_array, npz_names, read_npy
from ntkspec.datasets.reading import Source
from ntkspec.storage import Arrays


def read_arrays(
    path: str | Path,
    *,
    points: str | None = None,
    label: str | int | None = None,
    test_points: str | None = None,
    test_label: str | None = None,
) -> Source:
    """Points and labels of a file of arrays, with test points where it has them.

    points, label, test_points, test_label : names of arrays ("X", in HDF5 also "train/X"), or other files of one array;
    label may also be the number of a column of the points, or a field of a structured array. What is not named is found
    by the usual names, in any case: X and y, x_train and y_train, images and labels, data and target, ...; beside an
    .npy file by the names of the other files. Arrays that are not taken are not read.
    Raises ValueError where a name is absent or more than one fits, or where the file is damaged; no pickle is executed.
    """
    given = {"points": points, "label": label, "test_points": test_points, "test_label": test_label}
    with _opened(Path(path)) as arrays:
        return _taken(_Shelf.of(Path(path), arrays, given), given)


def _taken(shelf: "_Shelf", given: dict) -> Source:
    path, points, label = shelf.path, given["points"], given["label"]
    if {"format", "shape", "data"} <= set(shelf.names):
        raise ValueError(f"{path} holds a sparse matrix of SciPy; save it with numpy.savez(..., X=matrix.toarray())")
    table = _with_labels_inside(shelf, points, label)
    if table:
        return _from_table(table, label, shelf, given["test_points"])
    given = given if shelf.own is None else given | {"points": points or shelf.own}
    choice = choose(shelf.names, shelf.origin, **given)
    _refuse_twice(choice, shelf.origin)
    pairs = [shelf.pair(choice.points, choice.label)]
    if choice.test_points is not None and choice.test_label is not None:
        pairs.append(shelf.pair(choice.test_points, choice.test_label))
    pairs = _points_first(pairs, f"{choice.points} of {path}") if shelf.path.suffix.lower() == ".mat" else pairs
    source = _joined(*pairs)
    spare = sorted(set(shelf.names) - set(vars(choice).values()))
    if spare and shelf.own is None:
        source.reading.append(f"arrays that are not used: {', '.join(spare[:8])}" + (", ..." if len(spare) > 8 else ""))
    return source


def _joined(train: Source, test: Source | None = None) -> Source:
    """Training and test points as one source."""
    if test is None:
        return train
    return Source(train.X, train.y, test.X, test.y, [*train.reading, *(f"test {said}" for said in test.reading)])


def _refuse_twice(choice: Choice, origin: str) -> None:
    """No array is both points and labels, as where the file of the labels is given for that of the points."""
    for points, label in ((choice.points, choice.label), (choice.test_points, choice.test_label)):
        if points is not None and points == label:
            raise ValueError(f"{points} of {origin} would be both the points and the labels; give the points")


# ------------------------------------------------------------------------------------------------------------ formats
@contextlib.contextmanager
def _npz(path: Path) -> Iterator[Arrays]:
    yield Arrays(npz_names(path), lambda name: npz_array(path, name))


@contextlib.contextmanager
def _npy(path: Path) -> Iterator[Arrays]:
    """An .npy file holds one array; the others lie beside it."""
    names = sorted(other.stem for other in path.parent.iterdir() if other.suffix == path.suffix)
    yield Arrays(names, lambda name: read_npy(path.with_name(name + path.suffix)))


_OPENED = {".npz": _npz, ".npy": _npy} | dict.fromkeys((".h5", ".hdf5", ".mat"), storage.open_arrays)
ARRAY_ENDINGS = tuple(_OPENED)


def _opened(path: Path) -> contextlib.AbstractContextManager[Arrays]:
    """The arrays of a file, as its ending says."""
    return _OPENED[path.suffix.lower()](path)


# ------------------------------------------------------------------------------------------------------------- arrays
@dataclass(frozen=True)
class _Shelf:
    """The arrays that may be taken, by name: those of a file, and other files that were named as options.

    own : the name of the array of an .npy file, None for other files.
    """

    path: Path
    arrays: Arrays
    names: list[str]
    own: str | None = None
    files: dict[str, Path] = field(default_factory=dict)
    taken: dict[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def of(cls, path: Path, arrays: Arrays, given: dict) -> "_Shelf":
        names = arrays.names
        own = path.stem if path.suffix.lower() == ".npy" else None
        found = {value: _file(value, path) for value in given.values() if value is not None and value not in names}
        files = {name: file for name, file in found.items() if file}
        return cls(path, arrays, [*names, *files], own, files)

    @property
    def origin(self) -> str:
        """For errors."""
        return f"the folder of {self.path}" if self.own else f"{self.path}"

    def holds(self, name: str | int) -> bool:
        return str(name).strip("/").lower() in (one.lower() for one in self.names)

    def read(self, name: str) -> np.ndarray:
        """The array of that name, from the file once."""
        name = present(name, self.names, self.origin)
        if name not in self.taken:
            self.taken[name] = self._from_file(name)
        return self.taken[name]

    def _from_file(self, name: str) -> np.ndarray:
        file = self.files.get(name)
        if file is None:
            return self.arrays.read(name)
        with _opened(file) as arrays:
            own = [file.stem] if file.suffix.lower() == ".npy" else arrays.names
            if len(own) != 1:
                raise ValueError(f"{file} holds {listed(own)}, but a file of one array is needed here")
            return arrays.read(own[0])

    def pair(self, points: str, label: str) -> Source:
        """Points and labels as they stand, with a sentence on them."""
        X, y = self.read(points), self.read(label)
        return Source(X, y, reading=[f"points: {points} {_shown(X)}; labels: {label} {_shown(y)}"])


def _file(name, path: Path) -> Path | None:
    """The file of arrays of that name, here or beside the path."""
    if Path(str(name)).suffix.lower() not in ARRAY_ENDINGS:
        return None
    places = (Path(name).expanduser(), path.parent / name)
    return next((place for place in places if place.is_file()), None)


def _shown(array) -> str:
    sizes = " x ".join(map(str, array.shape))
    return f"({sizes}, {'fields ' + ', '.join(array.dtype.names) if array.dtype.names else array.dtype})"


def _points_first(pairs: Sequence[Source], name: str) -> list[Source]:
    """MATLAB often keeps one point a column, and images as height x width x channels x points.

    Training and test points lie alike: where the labels fit both axes of one, the other decides, and where they fit
    both axes of all, matrices have one point a row. Raises ValueError for images that fit both, and where they differ.
    """
    axes = [_axes_of_points(pair) for pair in pairs]
    common = set.intersection(*axes)
    shapes = " and ".join(str(pair.X.shape) for pair in pairs)
    if not common:
        raise ValueError(f"{name} and the test points have shapes {shapes}; let points lie along the same axis")
    both = len(common) == 2 and len(pairs[0].X) == pairs[0].X.shape[-1]
    if both and any(pair.X.ndim > 2 for pair in pairs):
        raise ValueError(f"{name} has shape {shapes}, and its points may lie along the first axis or the last")
    if common == {-1}:
        return [_turned(pair) for pair in pairs]
    said = [f"points are the rows of {pairs[0].X.shape}, not its columns"] if both else []
    return [replace(pairs[0], reading=[*pairs[0].reading, *said]), *pairs[1:]]


def _axes_of_points(pair: Source) -> set[int]:
    """Which of the axes 0 and -1 of the points are as long as there are labels; both where none is, an error later."""
    X, y = pair.X, pair.y
    if X.ndim < 2 or y.ndim < 1:
        return {0}
    counts = (y.size,) if _is_vector(y) else (y.shape[0], y.shape[-1])
    return {axis for axis in (0, -1) if X.shape[axis] in counts} or {0, -1}


def _is_vector(y: np.ndarray) -> bool:
    return y.ndim == 1 or y.size == max(y.shape)


def _turned(pair: Source) -> Source:
    """The last axis of the points first, and that of one-hot labels with it."""
    X, y = pair.X, pair.y
    y = y if _is_vector(y) or y.shape[0] == X.shape[-1] else y.T
    return Source(np.moveaxis(X, -1, 0), y, reading=[*pair.reading, f"points lie along the last axis of {X.shape}"])


# --------------------------------------------------------------------------------------------- labels inside the points
def _is_column(label) -> bool:
    return isinstance(label, int | np.integer) or (isinstance(label, str) and label.strip().lstrip("-").isdigit())


def _with_labels_inside(shelf: _Shelf, points, label) -> str | None:
    """The name of the array that holds the labels too: a structured one, or a matrix where label is a column."""
    if label is not None and shelf.holds(label):
        return None
    name = points or shelf.own or (shelf.names[0] if len(shelf.names) == 1 else None)
    if _is_column(label):
        return name or choose_points(shelf.names, shelf.origin)
    return name if name and shelf.read(name).dtype.names else None


def _from_table(name: str, label, shelf: _Shelf, test_points) -> Source:
    """Points and labels of one array."""
    X, y, said = _split(shelf.read(name), label, f"{name} of {shelf.path}")
    if test_points is None:
        return Source(X, y, reading=[said])
    X_test, y_test, _ = _split(shelf.read(test_points), label, f"{test_points} of {shelf.path}")
    return Source(X, y, X_test, y_test, [said, f"test points: {test_points}"])


def _split(table, label, name: str) -> tuple[np.ndarray, np.ndarray, str]:
    if not table.dtype.names:
        return _split_column(table, int(label), name)
    fields = list(table.dtype.names)
    named = [one for one in fields if (found := entry(one)) and found.role == "labels"] if label is None else [label]
    if len(named) != 1 or named[0] not in fields:
        raise ValueError(f"{name} has the fields {', '.join(fields)}; name the one of the labels with --label (label=)")
    features = [one for one in fields if one != named[0]]
    columns = [table[one].reshape(len(table), -1) for one in features]
    X = table[features[0]] if len(features) == 1 else np.concatenate(columns, axis=1)
    return X, table[named[0]], f"points: fields {', '.join(features)}; labels: field {named[0]}"


def _split_column(table, label: int, name: str) -> tuple[np.ndarray, np.ndarray, str]:
    if table.ndim != 2 or not -table.shape[1] <= label < table.shape[1] or table.shape[1] < 2:
        raise ValueError(f"{name} has shape {table.shape}, but label={label} needs a matrix with that column")
    column = label % table.shape[1]
    return np.delete(table, column, axis=1), table[:, column], f"points: {name}; labels: its column {column}"
