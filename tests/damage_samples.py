"""Small valid files of every kind that is read, and how each is read."""

import bz2
import gzip
import io
import lzma
import pickle
import tarfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from scipy.io import savemat

import ntkspec as ns
from image_files import batch, idx
from ntkspec import storage
from ntkspec.engines import cpu
from ntkspec.storage.sweeps import open_sweep, read_sweep

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": partial(gzip.compress, mtime=0),
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}
RNG = np.random.default_rng(17)
X, SIGNS = RNG.standard_normal((40, 4)).round(6), np.where(np.arange(40) % 2, 1, -1)
FRAME = pd.DataFrame(X, columns=["height", "width", "ümlaut", "depth"]).assign(label=np.where(SIGNS > 0, "cat", "dog"))
DIGITS = RNG.integers(0, 256, (18, 6, 5)).astype(np.uint8)
COLOURS, CLASSES = RNG.integers(0, 256, (4, 32, 32, 3)).astype(np.uint8), np.array([3, 7, 3, 7])


@dataclass(frozen=True)
class Sample:
    """A valid file, or a folder of them. write : into a folder; main : what is read in it, and by which reader."""

    kind: str
    reader: str
    main: str
    write: Callable[[Path], None]

    @property
    def own(self) -> bool:
        """Whether ntkspec wrote it; such files prove themselves."""
        return self.kind.startswith("own")


@dataclass(frozen=True)
class Cell:
    """A cell of a sweep."""

    n: int
    activation: str


# ------------------------------------------------------------------------------------------------------------- readers
def _parts(data) -> list:
    return [data.X, data.y, data.X_test, data.y_test]


def _net():
    return ns.TwoLayer.symmetric(4, 12, "erf")


def _gap():
    cpu.TILE = 16  # several tiles of a small kernel
    return ns.ntk(_net(), X, layer="first") - ns.linear_kernel("erf", X, layer="first", trace_ratio=1.0)


def _trained(path: Path, steps: int = 8) -> list:
    trained = ns.train_gd(_net(), X, SIGNS.astype(float), steps=[0, 3, steps], eta=0.1, checkpoint=path)
    return [trained.train, trained.network(X)]


def _norm(path: Path) -> list:
    found = ns.spectral_norm(_gap(), checkpoint=path)
    return [found.lower, found.value, found.upper]


READERS: dict[str, Callable[[Path], list]] = {
    "load": lambda path: _parts(ns.datasets.load(path)),
    "mnist": lambda path: _parts(ns.datasets.mnist(data_dir=path)),
    "cifar10": lambda path: _parts(ns.datasets.cifar10(data_dir=path)),
    "record": lambda path: [storage.read(path, kind="analysis")],
    "sweep": lambda path: [read_sweep(path, Cell)],
    "training": _trained,
    "kernel": lambda path: [ns.load_kernel(path).to_dense()],
    "rest of a kernel": lambda path: [ns.save_kernel(_gap(), path.with_suffix("")).to_dense()],
    "products": _norm,
}


# ------------------------------------------------------------------------------------------------------------- writers
def _text(path: Path, pack: str, *, encoding: str = "utf-8", **options) -> None:
    text = FRAME.to_csv(index=False, **options)
    path.write_bytes(PACKERS[pack](text.encode(encoding)))


def _parquet(path: Path, pack: str, **options) -> None:
    file = io.BytesIO()
    FRAME.to_parquet(file, index=False, **options)
    path.write_bytes(PACKERS[pack](file.getvalue()))


def write_digits(folder: Path, pack: str) -> None:
    for part, rows in (("train", slice(0, 12)), ("t10k", slice(12, 18))):
        for kind, array in (("images-idx3", DIGITS[rows]), ("labels-idx1", np.arange(18)[rows] % 2)):
            (folder / f"{part}-{kind}-ubyte{pack}").write_bytes(PACKERS[pack](idx(array)))


def _images_npz(path: Path, images, labels) -> None:
    train, test = slice(0, len(images) // 2), slice(len(images) // 2, None)
    np.savez_compressed(path, x_train=images[train], y_train=labels[train], x_test=images[test], y_test=labels[test])


def _batches(protocol: int) -> dict[str, bytes]:
    if protocol < 0:  # the binary form
        rows = np.hstack([CLASSES[:, None], COLOURS.transpose(0, 3, 1, 2).reshape(4, -1)]).astype(np.uint8)
        content = rows.tobytes()
    elif protocol < 3:
        content = batch(COLOURS, CLASSES, protocol)
    else:
        data = COLOURS.transpose(0, 3, 1, 2).reshape(4, -1)
        content = pickle.dumps({"data": data, "labels": CLASSES.tolist(), "filenames": ["é", b"b", "c", "d"]}, protocol)
    ending = ".bin" if protocol < 0 else ""
    return {name + ending: content for name in (*(f"data_batch_{k}" for k in range(1, 6)), "test_batch")}


def _cifar_folder(folder: Path, protocol: int) -> None:
    for name, content in _batches(protocol).items():
        (folder / name).write_bytes(content)


def _cifar_archive(folder: Path, protocol: int) -> None:
    with tarfile.open(folder / "cifar-10-python.tar.gz", "w:gz") as tar:
        for name, content in _batches(protocol).items():
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def _two_npy(folder: Path) -> None:
    np.save(folder / "X.npy", X)
    np.save(folder / "y.npy", SIGNS)


def _hdf5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("X", data=X, chunks=(20, 4), compression="gzip")
        file["y"] = FRAME["label"].to_list()


def _record(path: Path) -> None:
    tree = {"norm": 2.5, "trace": X, "name": "a record", "steps": [0, 1, 10], "empty": None, "inner": {"y": SIGNS}}
    storage.write(path, tree, kind="analysis")


def _sweep(path: Path) -> None:
    with open_sweep(path, Cell) as file:
        for n, name in ((10, "relu"), (20, "erf")):
            file.add(Cell(n, name), {"norm": n / 7, "trace": 1 / n})


def _half_a_kernel(path: Path) -> None:
    """What is left where the formation of a kernel stops after some tiles."""
    gap, count = _gap(), iter(range(4))
    write = type(gap).write

    def stopping(*arguments, **options):
        next(count)  # StopIteration, which only this raises
        return write(*arguments, **options)

    type(gap).write = stopping
    try:
        with suppress(StopIteration, RuntimeError):
            ns.save_kernel(gap, path.with_suffix(""))
    finally:
        type(gap).write = write


_TEXTS: dict[str, dict] = {
    "csv": {},
    "tsv": {"sep": "\t"},
    "txt": {"sep": " ", "header": False},
    "data": {"sep": ";", "decimal": ",", "encoding": "latin-1"},
    "tab": {"sep": "|", "encoding": "utf-16"},
    "dat": {"quoting": 1, "lineterminator": "\r\n"},
}


def _named(kind: str, name: str, write: Callable, reader: str = "load", **options) -> Sample:
    """A sample of one file of that name."""
    return Sample(kind, reader, name, lambda folder: write(folder / name, **options))


def _in_folder(kind: str, reader: str, write: Callable, *arguments) -> Sample:
    return Sample(kind, reader, "", lambda folder: write(folder, *arguments))


SAMPLES = [
    *(
        _named("table", f"points.{ending}{pack}", _text, pack=pack, **how)
        for ending, how in _TEXTS.items()
        for pack in PACKERS
    ),
    *(_named("parquet", f"points.parquet{pack}", _parquet, pack=pack) for pack in PACKERS),
    *(_named("parquet", f"{name}.parquet", _parquet, pack="", compression=name) for name in ("gzip", "zstd", "brotli")),
    *(_in_folder("mnist", "mnist", write_digits, pack) for pack in ("", ".gz")),
    Sample("mnist", "mnist", "", lambda folder: _images_npz(folder / "mnist.npz", DIGITS, np.arange(18) % 2)),
    *(_in_folder("cifar", "cifar10", _cifar_folder, protocol) for protocol in range(-1, 6)),
    *(_in_folder("cifar", "cifar10", _cifar_archive, protocol) for protocol in (0, 2, 5)),
    Sample("cifar", "cifar10", "", lambda folder: _images_npz(folder / "cifar10.npz", COLOURS, CLASSES)),
    _named("arrays", "points.npz", lambda path: np.savez(path, X=X, y=SIGNS)),
    _named("arrays", "packed.npz", lambda path: np.savez_compressed(path, X=X, y=FRAME["label"].to_numpy(object))),
    Sample("arrays", "load", "X.npy", _two_npy),
    _named("arrays", "points.h5", _hdf5),
    _named("arrays", "points.mat", lambda path: savemat(path, {"X": X, "y": SIGNS}, do_compression=True)),
    _named("own record", "analysis.h5", _record, "record"),
    _named("own sweep", "sweep.h5", _sweep, "sweep"),
    _named("own training", "run.h5", partial(_trained, steps=3), "training"),
    _named("own kernel", "gap.h5", lambda path: ns.save_kernel(_gap(), path), "kernel"),
    _named("own partial", "gap.h5.partial", _half_a_kernel, "rest of a kernel"),
    _named("own products", "norm.products", _norm, "products"),
]
