"""Points and labels from files of arrays: .npz, .npy, HDF5 and MATLAB's .mat."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ntkspec import checks, engines, storage
from ntkspec.datasets.names import Choice, choose, choose_points, entry, listed, present
from ntkspec.datasets.npz import npz_array, npz_names, read_npy
from ntkspec.datasets.reading import Source


def read_arrays(path, *, points=None, label=None, test_points=None, test_label=None) -> Source:
    """Points and labels of a file of arrays, with test points where it has them.

    points, label, test_points, test_label : names of arrays ("X", in HDF5 also "train/X"), or other files of one array;
    label may also be the number of a column of the points, or a field of a structured array. What is not named is found
    by the usual names, in any case: X and y, x_train and y_train, images and labels, data and target, ...; beside an
    .npy file by the names of the other files. Arrays that are not taken are not read.
    Raises ValueError where a name is absent or more than one fits, or where the file is damaged; no pickle is executed.
    """
    given = {"points": points, "label": label, "test_points": test_points, "test_label": test_label}
    shelf = _Shelf.of(Path(path), given)
    if {"format", "shape", "data"} <= set(shelf.names):
        raise ValueError(f"{path} holds a sparse matrix of SciPy; save it with numpy.savez(..., X=matrix.toarray())")
    table = _with_labels_inside(shelf, points, label)
    if table:
        return _from_table(table, label, shelf, test_points)
    given = given if shelf.own is None else given | {"points": points or shelf.own}
    choice = choose(shelf.names, shelf.place, **given)
    _refuse_twice(choice, shelf.place)
    X, y, reading = shelf.pair(choice.points, choice.label)
    X_test = y_test = None
    if choice.test_points is not None and choice.test_label is not None:
        X_test, y_test, of_test = shelf.pair(choice.test_points, choice.test_label)
        reading += ["test " + sentence for sentence in of_test]
    spare = sorted(set(shelf.names) - set(vars(choice).values()))
    if spare and shelf.own is None:
        reading.append(f"arrays that are not used: {', '.join(spare[:8])}" + (", ..." if len(spare) > 8 else ""))
    return Source(X, y, X_test, y_test, reading)


def _refuse_twice(choice: Choice, place: str) -> None:
    """No array is both points and labels, as where the file of the labels is given for that of the points."""
    for points, label in ((choice.points, choice.label), (choice.test_points, choice.test_label)):
        if points is not None and points == label:
            raise ValueError(f"{points} of {place} would be both the points and the labels; give the points")


# ------------------------------------------------------------------------------------------------------------ formats
@dataclass(frozen=True)
class _Format:
    """How a kind of file is read: the names of its arrays, and one of them."""

    names: Callable[[Path], list[str]]
    array: Callable[[Path, str], np.ndarray]


def _neighbours(path: Path) -> list[str]:
    """An .npy file holds one array; the others lie beside it."""
    return sorted(other.stem for other in path.parent.iterdir() if other.suffix == path.suffix)


def _mat_names(path: Path) -> list[str]:
    from scipy.io import whosmat

    return [name for name, *_ in _of_matlab(path, whosmat)]


def _mat_array(path: Path, name: str) -> np.ndarray:
    from scipy.io import loadmat

    array = _of_matlab(path, loadmat, variable_names=[name])[name]
    if hasattr(array, "toarray"):
        checks.memory(
            8 * np.prod(array.shape), engines.engine_of(), f"{name} of {path} as a full matrix", "take a part"
        )
        array = array.toarray()
    return np.asarray(array)


def _of_matlab(path: Path, read: Callable, **options):
    try:
        return read(path, **options)
    except NotImplementedError:
        raise ValueError(f"{path} is a MATLAB 7.3 file; save it with save('{path.name}', ..., '-v7')") from None
    except Exception as error:  # a damaged file can raise nearly anything
        raise ValueError(f"{path} is not a readable .mat file: {error}") from None


_HDF5 = _Format(storage.array_names, storage.read_array)
_FORMATS = {
    ".npz": _Format(npz_names, npz_array),
    ".npy": _Format(_neighbours, lambda path, name: read_npy(path.with_name(name + path.suffix))),
    ".h5": _HDF5,
    ".hdf5": _HDF5,
    ".mat": _Format(_mat_names, _mat_array),
}
ARRAY_ENDINGS = tuple(_FORMATS)


# ------------------------------------------------------------------------------------------------------------- arrays
@dataclass(frozen=True)
class _Shelf:
    """The arrays that may be taken, by name: those of a file, and other files that were named as options.

    own : the name of the array of an .npy file, None for other files.
    """

    path: Path
    names: list[str]
    own: str | None = None
    files: dict[str, Path] = field(default_factory=dict)
    taken: dict[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def of(cls, path: Path, given: dict) -> "_Shelf":
        names = _FORMATS[path.suffix.lower()].names(path)
        own = path.stem if path.suffix.lower() == ".npy" else None
        found = {value: _file(value, path) for value in given.values() if value is not None and value not in names}
        files = {name: file for name, file in found.items() if file}
        return cls(path, [*names, *files], own, files)

    @property
    def place(self) -> str:
        """For errors."""
        return f"the folder of {self.path}" if self.own else f"{self.path}"

    def holds(self, name) -> bool:
        return str(name).strip("/").lower() in (one.lower() for one in self.names)

    def read(self, name: str) -> np.ndarray:
        """The array of that name, from the file once."""
        name = present(name, self.names, self.place)
        if name not in self.taken:
            self.taken[name] = self._from_file(name)
        return self.taken[name]

    def _from_file(self, name: str) -> np.ndarray:
        file = self.files.get(name, self.path)
        if file is not self.path:
            own = [file.stem] if file.suffix.lower() == ".npy" else _FORMATS[file.suffix.lower()].names(file)
            if len(own) != 1:
                raise ValueError(f"{file} holds {listed(own)}, but a file of one array is needed here")
            name = own[0]
        return _FORMATS[file.suffix.lower()].array(file, name)

    def pair(self, points: str, label: str) -> tuple[np.ndarray, np.ndarray, list[str]]:
        """(points, labels, sentences on them)."""
        X, y = self.read(points), self.read(label)
        reading = [f"points: {points} {_shown(X)}; labels: {label} {_shown(y)}"]
        if self.path.suffix.lower() == ".mat":
            X, y, turned = _points_first(X, y, f"{points} of {self.path}")
            reading += turned
        return X, y, reading


def _file(name, path: Path) -> Path | None:
    """The file of arrays of that name, here or beside the path."""
    if Path(str(name)).suffix.lower() not in ARRAY_ENDINGS:
        return None
    places = (Path(name).expanduser(), path.parent / name)
    return next((place for place in places if place.is_file()), None)


def _shown(array) -> str:
    sizes = " x ".join(map(str, array.shape))
    return f"({sizes}, {'fields ' + ', '.join(array.dtype.names) if array.dtype.names else array.dtype})"


def _points_first(X, y, name: str) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """MATLAB often keeps one point a column, and images as height x width x channels x points."""
    if X.ndim < 2 or y.ndim < 1:
        return X, y, []
    vector = y.ndim == 1 or y.size == max(y.shape)
    counts = (y.size,) if vector else (y.shape[0], y.shape[-1])
    first, last = X.shape[0] in counts, X.shape[-1] in counts
    if first and last and X.ndim > 2:
        raise ValueError(f"{name} has shape {X.shape}, and its points may lie along the first axis or the last")
    if first or not last:
        return X, y, [f"points are the rows of {X.shape}, not its columns"] if first and last else []
    turned = y if vector or y.shape[0] == X.shape[-1] else y.T
    return np.moveaxis(X, -1, 0), turned, [f"points lie along the last axis of {X.shape}"]


# --------------------------------------------------------------------------------------------- labels inside the points
def _is_column(label) -> bool:
    return isinstance(label, int | np.integer) or (isinstance(label, str) and label.strip().lstrip("-").isdigit())


def _with_labels_inside(shelf: _Shelf, points, label) -> str | None:
    """The name of the array that holds the labels too: a structured one, or a matrix where label is a column."""
    if label is not None and shelf.holds(label):
        return None
    name = points or shelf.own or (shelf.names[0] if len(shelf.names) == 1 else None)
    if _is_column(label):
        return name or choose_points(shelf.names, shelf.place)
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
