"""What a reader of files hands on."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Source:
    """Points and labels as they stand in a file, with sentences on how they were found.

    X (n, ...) numbers, y (n,), (n, 1) or (n, K) labels of any kind; X_test and y_test likewise, or None. features : the
    names of the columns of X, or None.
    """

    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray | None = None
    y_test: np.ndarray | None = None
    reading: list[str] = field(default_factory=list)
    features: list[str] | None = None


@contextlib.contextmanager
def file_errors(path: Path) -> Iterator[None]:
    """Whatever is raised within as an error of that file, in one line.

    A damaged file leads the libraries below to nearly anything: KeyError, OverflowError, RecursionError, RuntimeError.
    """
    try:
        yield
    except MemoryError as error:
        raise MemoryError(f"{path}: memory ran out while it was read ({_line(error)})") from None
    except OSError as error:
        if error.filename is not None:  # it names the file already
            raise
        raise ValueError(f"{path}: it cannot be read ({_line(error)})") from None
    except ValueError as error:
        raise ValueError(f"{path}: {_line(error)}") from None
    except Exception as error:
        raise ValueError(f"{path}: it cannot be read ({type(error).__name__}: {_line(error)})") from None


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
