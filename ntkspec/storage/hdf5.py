"""ntkspec's own HDF5 files: sealed when they are made, and refused in one line where they are not what was made."""

import contextlib
import fcntl
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ntkspec.storage.arrays import visit
from ntkspec.storage.sealed import USER_BLOCK, check_seal
from ntkspec.storage.sparse import Sparse

if TYPE_CHECKING:
    import h5py

FORMAT_VERSION = 1


def _h5py():
    import h5py

    return h5py


class OtherKind(ValueError):
    """The file is whole, but something else than what was asked for; ``found`` is its kind, empty where it has none."""

    def __init__(self, message: str, found: str = ""):
        super().__init__(message)
        self.found = found


@contextlib.contextmanager
def begun(path: str | Path, kind: str) -> Iterator["h5py.File"]:
    """A new ntkspec file of that kind, open for writing, with room for the seal, which is left to the caller.

    HDF5 writes into memory, from where the whole is copied: on a disk that fills up it cannot close its file, and the
    process dies. A data set that is :func:`unwritten` takes neither memory nor, where the file system has holes, room.
    Raises OSError where the disk is full.
    Cost: memory of what is written.
    """
    image = Sparse()
    with _h5py().File(image, "w", userblock_size=USER_BLOCK) as file:
        file.attrs["ntkspec_format"] = FORMAT_VERSION
        file.attrs["kind"] = kind
        yield file
        file.flush()
        size = file.id.get_filesize()
    with open(path, "wb") as copy:
        image.copy_to(copy, size)


def unwritten(parent: "h5py.Group", name: str, shape: Sequence[int], dtype: np.dtype) -> "h5py.Dataset":
    """A data set of at least one entry that has its place, one piece of the file, and no numbers yet."""
    from h5py import h5d, h5p

    placed = h5p.create(h5p.DATASET_CREATE)
    placed.set_layout(h5d.CONTIGUOUS)
    placed.set_alloc_time(h5d.ALLOC_TIME_EARLY)
    placed.set_fill_time(h5d.FILL_TIME_NEVER)
    return parent.create_dataset(name, tuple(shape), dtype, dcpl=placed)


@contextlib.contextmanager
def opened(path: str | Path, kind: str | None) -> Iterator["h5py.File"]:
    """An ntkspec file of that kind, open for reading, whose seal was checked before HDF5 saw it; None takes any file.

    Where there is none, in files of older versions, a RuntimeWarning says so, and a process of its own reads all of it
    first, for HDF5 may loop or crash on it. Raises FileNotFoundError, or ValueError for a file that is damaged, of
    another kind, of a newer format, or being written by another process.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist, or is not a file")
    with _shared(path):
        sealed = check_seal(path)
        if not sealed:
            visit(path)
        with blamed_on(path), _h5py().File(path, "r", locking=False) as file:
            if kind is not None:
                _require_kind(file, path, kind)
            if not sealed and kind is not None:
                said = f"{path} carries no checksum: it was written by an older version, and damage may go unseen"
                warnings.warn(said, RuntimeWarning, stacklevel=4)
            yield file


def kind_of(path: str | Path) -> str:
    """What an ntkspec file is, in a word; empty for other HDF5 files. Raises as :func:`opened` does."""
    with opened(path, None) as file:
        return _kind(file)


def _kind(file: "h5py.File") -> str:
    return word_of(file, "kind") if {"ntkspec_format", "kind"} <= file.attrs.keys() else ""


def _require_kind(file: "h5py.File", path: Path, kind: str) -> None:
    found = _kind(file)
    if found != kind:
        raise OtherKind(f"{path} is not an ntkspec file of kind {kind!r}", found)
    version = int(file.attrs["ntkspec_format"])
    if version > FORMAT_VERSION:
        raise ValueError(f"{path} has format {version}, but this ntkspec reads up to {FORMAT_VERSION}; upgrade it")


def word_of(node: "h5py.Group | h5py.Dataset", attribute: str) -> str:
    """An attribute that is one word."""
    found = node.attrs.get_id(attribute)
    require_words(found)
    if found.shape != ():
        raise ValueError(f"{attribute} of {node.name} is not one word")
    return node.attrs[attribute]


def require_words(identifier: "h5py.h5a.AttrID | h5py.h5d.DatasetID") -> None:
    """A data set or attribute must hold words as h5py writes them: others of variable length end in crashes."""
    h5t = _h5py().h5t
    if not identifier.get_type().equal(h5t.py_create(_h5py().string_dtype(), logical=True)):
        raise ValueError("what should be a word has another type")


@contextlib.contextmanager
def _shared(path: Path) -> Iterator[None]:
    """Nobody who asks for a lock, as HDF5 does, writes to the file meanwhile."""
    with path.open("rb") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"{path} is in use by another process, which writes to it; wait for it") from None
        except OSError:  # its disk has no locks
            pass
        yield


@contextlib.contextmanager
def blamed_on(path: str | Path) -> Iterator[None]:
    """Whatever the libraries raise over the content of a file becomes a ValueError that calls it damaged.

    An error whose text begins with the file's name says what is wrong already.
    """
    try:
        yield
    except Exception as error:
        if str(error).startswith(str(path)):
            raise
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{path} is damaged: {reason}") from None
