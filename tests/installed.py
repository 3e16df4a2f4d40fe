"""A wheel in a fresh environment, without the repository: everything is in it, and it runs.

``python tests/installed.py WHEEL`` installs it beside the libraries of the environment that runs this.
"""

import os
import subprocess
import sys
import sysconfig
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SMOKE = """
import importlib.metadata, sys
from pathlib import Path

import ntkspec as ns
from ntkspec.__main__ import main

home = Path(ns.__file__).parent
assert home.is_relative_to(sys.prefix), home
assert importlib.metadata.version("ntkspec") == ns.__version__
sys.argv[1:] = ["analyze", "--n", "200", "--d", "8", "--n-test", "50", "--width", "32", "--steps", "20"]
sys.exit(main())
"""


def source_files() -> set[str]:
    """Every file of the package, as a wheel names it; recorded results stay in the repository."""
    package = ROOT / "ntkspec"
    folders = [package, *(path for path in package.iterdir() if path.is_symlink())]
    files = {path for folder in folders for path in folder.rglob("*") if path.is_file()}
    return {path.relative_to(ROOT).as_posix() for path in files if not {"__pycache__", "figures"} & set(path.parts)}


def run(*words: str | Path, folder: Path) -> str:
    """What a command prints in a folder, with nothing of this environment but its PATH."""
    clean = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run([*map(str, words)], cwd=folder, env=clean, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, words))[:80]} ended with {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def main(wheel: Path) -> None:
    """Compare, install, run."""
    with zipfile.ZipFile(wheel) as archive:
        missing = source_files() - set(archive.namelist())
    if missing:
        raise SystemExit(f"{wheel.name} lacks {', '.join(sorted(missing))}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        venv.create(folder / "venv")
        python = folder / "venv/bin/python"
        install = ("install", "--quiet", "--no-deps", "--no-index", wheel.resolve())
        run(sys.executable, "-m", "pip", "--python", python, *install, folder=folder)
        home = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", folder=folder).strip())
        (home / "libraries.pth").write_text("\n".join({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}))
        version = run(folder / "venv/bin/ntkspec", "--version", folder=folder).strip()
        printed = run(python, "-I", "-c", SMOKE, folder=folder)
        assert "at initialization the kernel is" in " ".join(printed.split()), printed
        assert len([*folder.glob("ntkspec-analyze/*/*.png")]) == 4
    print(f"{wheel.name}: {len(source_files())} files, version {version}, installed and used")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
