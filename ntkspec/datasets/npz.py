"""Arrays from an .npz file that may be damaged."""

import zipfile
import zlib
from pathlib import Path

import numpy as np

_DAMAGE = (OSError, ValueError, EOFError, TypeError, NotImplementedError, zipfile.BadZipFile, zlib.error)


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """Every array of the file; no pickles. Raises ValueError where it is damaged or something else."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
            return {name: content[name] for name in content.files}
    except _DAMAGE as error:
        raise ValueError(f"{path} is not a readable .npz file: {error}") from None
