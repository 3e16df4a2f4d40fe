"""Where public data sets lie, and what to say when they do not."""

import hashlib
import json
import os
import re
from importlib import resources
from pathlib import Path


def registry(name: str) -> dict:
    """The entry of a public data set: citation, and for each file its address and sha256."""
    return json.loads(resources.files("ntkspec.data").joinpath("registry.json").read_text(encoding="utf-8"))[name]


def data_directory(data_dir: str | Path | None, name: str) -> Path:
    """``data_dir``, else the folder that NTKSPEC_DATA names; raises FileNotFoundError with what to download."""
    given = data_dir or os.environ.get("NTKSPEC_DATA")
    if not given:
        raise FileNotFoundError(f"no folder with {name} is known: {how_to_get(name)}")
    folder = Path(given).expanduser()
    if not folder.is_dir():
        raise FileNotFoundError(f"the folder {folder} does not exist, or is a file: {how_to_get(name)}")
    return folder


def matching_folders(folder: Path, inner: re.Pattern, depth: int = 3) -> list[Path]:
    """The folder, then those in it whose name fits ``inner``, and those in these, ``depth`` levels deep."""
    found = level = [folder]
    for _ in range(depth):
        level = [
            one for parent in level for one in sorted(parent.iterdir()) if inner.fullmatch(one.name) and one.is_dir()
        ]
        found = [*found, *level]
    return found


def files_in(folders: list[Path], name: re.Pattern) -> list[Path]:
    """The files in these folders whose name fits, in the order of the folders and then of the names."""
    return [one for folder in folders for one in sorted(folder.iterdir()) if name.fullmatch(one.name) and one.is_file()]


def how_to_get(name: str) -> str:
    """The files of a data set with their addresses and sha256, and how to name the folder."""
    files = registry(name)["files"].values()
    listed = "; ".join(f"{file['address']} (sha256 {file['sha256']})" for file in files)
    return f"download {listed}, then name their folder with --data-dir (data_dir=) or NTKSPEC_DATA"


def sha256(path: Path) -> str:
    """The sha256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
