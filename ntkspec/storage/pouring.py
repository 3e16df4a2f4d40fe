"""Arrays that do not lie in this process, written into a file part by part."""

import errno
import math
import os
from pathlib import Path

import numpy as np

from ntkspec import progress
from ntkspec.engines.arrays import ArrayElsewhere

# What a file system says that cannot set a range of a file aside.
_UNABLE = {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS}


def pour(array: ArrayElsewhere, path: Path, offset: int, name: str) -> None:
    """Write an array from this byte of a file on, in the order of its axes; no more than one part is here at a time.

    name : of the array, for the progress bar. Raises OSError, before the first part comes, where the disk has no room.
    """
    sides, size = array.shape, array.dtype.itemsize
    repeats, row = math.prod(sides[: array.axis]), size * math.prod(sides[array.axis + 1 :])
    set_aside(path, offset, math.prod(sides) * size)
    with path.open("r+b") as file:
        for part in progress.bar(array.parts_here(), total=len(array.sizes), text=f"{name} (parts)"):
            lines = np.ascontiguousarray(part, array.dtype).reshape(repeats, -1)
            for number, line in enumerate(lines):
                file.seek(offset + number * sides[array.axis] * row)
                file.write(line.data)
            offset += part.shape[array.axis] * row
            del part, lines, line  # before the next one comes


def set_aside(path: Path, offset: int, length: int) -> bool:
    """Take a range of a file on the disk, where it may be a hole: a map of one dies when the disk fills up later.

    What is there stays. False where the file system cannot; raises OSError where it has no room.
    """
    with path.open("r+b") as file:
        try:
            os.posix_fallocate(file.fileno(), offset, length)
        except OSError as error:
            if error.errno not in _UNABLE:
                raise
            return False
    return True
