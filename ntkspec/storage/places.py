"""Where results are written: names that can be, one writer at a time, and files that are whole or not there."""

import contextlib
import errno
import fcntl
import os
import re
import secrets
import warnings
from collections.abc import Iterator
from pathlib import Path

from ntkspec.progress import written

_SPARE = len("..01234567.partial")  # bytes that the name of a temporary file has more than its target's


def target(path: str | os.PathLike[str]) -> Path:
    """The file that a result of that name is written to; links are followed.

    Raises FileNotFoundError where its folder does not exist, PermissionError where that cannot be written to, and
    ValueError for a folder, a device, links in a circle, and a name that is too long or not UTF-8: all before any work.
    """
    path = Path(os.path.realpath(path))
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise ValueError(f"the name {os.fsencode(path)!r} is not UTF-8; choose another") from None
    if not path.parent.is_dir():
        raise FileNotFoundError(f"the folder {path.parent} does not exist; make it first")
    most = os.pathconf(path.parent, "PC_NAME_MAX") - _SPARE
    if len(os.fsencode(path.name)) > most:
        raise ValueError(f"the name {path.name[:40]}... is longer than {most} bytes; choose a shorter one")
    if path.is_symlink():
        raise ValueError(f"{path} is a link that leads in a circle; remove it")
    if path.is_dir():
        raise ValueError(f"{path} is a folder, but a file is written; name one in it")
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is not a regular file, and would be replaced by one; choose another name")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise PermissionError(f"the folder {path.parent} cannot be written to; choose another")
    return path


@contextlib.contextmanager
def locked(path: str | Path) -> Iterator[None]:
    """Keep other processes (and other calls in this one) from writing the file of that name meanwhile.

    The lock is an empty file beside it, .NAME.lock, which is removed at the end; that of a killed process holds nobody.
    Raises ValueError where another has it, or where something else has the lock's name, a link or a file with content;
    for the name itself see :func:`target`.
    """
    path = target(path)
    place = path.with_name(f".{path.name}.lock")
    handle = _held(place, path)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # a folder that is gone or closed by now holds nobody, and costs no result
            place.unlink()  # before it is given up: who opens it from now on makes a new one
        os.close(handle)


def _held(place: Path, path: Path) -> int:
    while True:
        try:
            handle = os.open(place, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise ValueError(f"{place} is a link, but a lock is a file of its own; remove it") from None
            raise
        if os.fstat(handle).st_size:
            os.close(handle)
            raise ValueError(f"{place} holds something, but a lock is an empty file; move it away")
        if not lock(handle, path):
            os.close(handle)
            raise ValueError(f"{path} is in use by another process; wait for it, or choose another name")
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), os.stat(place, follow_symlinks=False)):
                return handle
        os.close(handle)  # its last holder has just removed it


def lock(handle: int, path: Path) -> bool:
    """Whether the open file is now this holder's alone; a warning, and True, where its disk has no locks."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        reason = f"{path} cannot be locked ({error.strerror}): let no other process write it meanwhile"
        warnings.warn(reason, RuntimeWarning, stacklevel=5)
    return True


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its name at the end; after an error nothing is left behind.

    A file that it replaces hands its permissions on. Those that a killed process left are removed. Raises as
    :func:`target` does; an OSError of the disk, such as that it is full, names ``path``.
    """
    path = target(path)
    _remove_left(path)
    handle, temporary = _temporary(path)
    try:
        if path.exists():  # who may not read the old file may not read the new one
            os.fchmod(handle, path.stat().st_mode & 0o777)
        yield temporary
        os.fsync(handle)
        _let_read(handle)
        written.note(path)
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno and error.filename in (None, str(temporary)):
            raise OSError(error.errno, os.strerror(error.errno), str(path)) from None
        raise
    finally:
        os.close(handle)


def _temporary(path: Path) -> tuple[int, Path]:
    """A new file, locked so that other processes see that it is not left over; HDF5 must not lock it once more."""
    while True:
        place = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.partial{path.suffix}")
        handle = os.open(place, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        if lock(handle, path) and place.exists():
            return handle, place
        os.close(handle)  # removed before it was locked


def _let_read(handle: int) -> None:
    """Others may read the file from the moment it has its name, but not take it for one left over."""
    with contextlib.suppress(OSError):  # the disk has no locks
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)


def _remove_left(path: Path) -> None:
    own = re.compile(rf"\.{re.escape(path.stem)}\.[a-z0-9_]{{8}}\.partial{re.escape(path.suffix)}")
    with contextlib.suppress(OSError):  # a folder that cannot be listed
        for place in path.parent.iterdir():
            if own.fullmatch(place.name):
                with contextlib.suppress(OSError):  # another process was first, or still writes it, or nobody can know
                    _remove_unlocked(place)


def _remove_unlocked(place: Path) -> None:
    handle = os.open(place, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        place.unlink()
    finally:
        os.close(handle)
