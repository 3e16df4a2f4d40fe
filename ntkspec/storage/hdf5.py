"""ntkspec's own HDF5 files: sealed when they are made, and refused in one line where they are not what was made."""

import contextlib
import errno
import fcntl
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

from ntkspec.storage.sealed import USER_BLOCK, check_seal, seal

FORMAT_VERSION = 1
_CHUNK = 2**20


def _h5py():
    import h5py

    return h5py


@contextlib.contextmanager
def created(path, kind: str) -> Iterator:
    """A new ntkspec file of that kind, open for writing; it is sealed at the end. As :func:`begun` otherwise."""
    with begun(path, kind) as file:
        yield file
    seal(path)


@contextlib.contextmanager
def begun(path, kind: str) -> Iterator:
    """A new ntkspec file of that kind, open for writing, with room for the seal, which is left to the caller.

    HDF5 writes into memory, from where the whole is copied: on a disk that fills up it cannot close its file, and the
    process dies. What is never written to takes no room. Raises OSError where the disk is full.
    Cost: memory of what is written.
    """
    with open(os.memfd_create("ntkspec"), "w+b", buffering=0) as image:
        with _h5py().File(image, "w", userblock_size=USER_BLOCK) as file:
            file.attrs["ntkspec_format"] = FORMAT_VERSION
            file.attrs["kind"] = kind
            yield file
        _copy(image.fileno(), path)


def _copy(image: int, path) -> None:
    handle, size = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666), os.fstat(image).st_size
    try:
        os.ftruncate(handle, size)
        for start, stop in _written(image, size):
            while start < stop:
                chunk = os.pread(image, min(_CHUNK, stop - start), start)
                start += os.pwrite(handle, chunk, start)
    finally:
        os.close(handle)


def _written(image: int, size: int) -> Iterator[tuple[int, int]]:
    """(start, stop) of the parts of a file that are no holes."""
    stop = 0
    while stop < size:
        try:
            start = os.lseek(image, stop, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole is left
                return
            raise
        stop = os.lseek(image, start, os.SEEK_HOLE)
        yield start, stop


@contextlib.contextmanager
def opened(path, kind: str) -> Iterator:
    """An ntkspec file of that kind, open for reading, whose seal was checked before HDF5 saw it.

    A RuntimeWarning says where there is none, in files of older versions. Raises FileNotFoundError, or ValueError for
    a file that is damaged, of another kind, of a newer format, or being written by another process.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist, or is not a file")
    with _shared(path):
        sealed = check_seal(path)
        with blamed_on(path), _h5py().File(path, "r", locking=False) as file:
            _require_kind(file, path, kind)
            if not sealed:
                said = f"{path} carries no checksum: it was written by an older version, and damage may go unseen"
                warnings.warn(said, RuntimeWarning, stacklevel=4)
            yield file


def _require_kind(file, path: Path, kind: str) -> None:
    version, found = file.attrs.get("ntkspec_format"), file.attrs.get("kind")
    if version is None or found != kind:
        raise ValueError(f"{path} is not an ntkspec file of kind {kind!r}")
    if version > FORMAT_VERSION:
        raise ValueError(f"{path} has format {version}, but this ntkspec reads up to {FORMAT_VERSION}; upgrade it")


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
def blamed_on(path) -> Iterator[None]:
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
