"""Damaged and crafted files of arrays (.h5, .npz, .npy, .mat), drawn at random: names and contents."""

import io
import struct
import zlib
from collections.abc import Iterator

import h5py
import numpy as np
import scipy.io
import scipy.sparse

N = 24
RNG = np.random.default_rng(3)
X, Y = RNG.standard_normal((N, 3)), RNG.standard_normal(N)
WORDS = np.where(Y > 0, "horse", "cat")
KINDS = ("flip", "zero", "ones", "cut", "insert", "swap", "size")


def damaged(count: int, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """So many files, each a sound one with one to four kinds of damage in it; all of them from the seed."""
    sound = list(whole().items())
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        name, content = sound[number % len(sound)]
        for _ in range(int(rng.integers(1, 5))):
            kind = str(rng.choice(KINDS))
            content = _DAMAGE[kind](bytearray(content), rng)
            name = f"{kind}-{name}"
        yield f"{number}-{name}", bytes(content)


def whole() -> dict[str, bytes]:
    """Sound files of each kind, that are read as points and labels."""
    return {
        **{f"{name}.h5": content for name, content in _hdf5().items()},
        **_numpy(),
        **{f"{name}.mat": content for name, content in _matlab().items()},
    }


def save_hdf5(target, version: str = "earliest", write=None, **arrays) -> None:
    """An HDF5 file of those arrays, or of what ``write`` writes into it."""
    with h5py.File(target, "w", libver=version) as file:
        for name, array in arrays.items():
            file[name] = array
        if write:
            write(file)


# ------------------------------------------------------------------------------------------------------- sound files
def _hdf5() -> dict[str, bytes]:
    files = {}
    for version in ("earliest", "latest"):
        for kind, write in _WRITERS.items():
            kept = io.BytesIO()
            save_hdf5(kept, version, write)
            files[f"{kind}-{version}"] = kept.getvalue()
    return files


def _plain(file) -> None:
    file["X"], file["y"] = X, Y


def _fixed_words(file) -> None:
    file["X"], file["y"] = X.astype("f4"), WORDS.astype("S")


def _words(file) -> None:
    file["X"] = X
    file.create_dataset("y", data=WORDS.astype(object), dtype=h5py.string_dtype())


def _chunks(file, **filters) -> None:
    file.create_dataset("X", data=X, chunks=(5, 3), **filters)
    file.create_dataset("y", data=Y, chunks=(N,), **filters)


def _rows(file) -> None:
    rows = np.zeros(N, dtype=[("a", "f8"), ("b", "f4"), ("label", "S5")])
    rows["a"], rows["b"], rows["label"] = X[:, 0], X[:, 1], WORDS
    file["rows"] = rows


def _virtual(file) -> None:
    file["a"], file["b"] = X[:10], X[10:]
    layout = h5py.VirtualLayout((N, 3), "f8")
    layout[:10], layout[10:] = h5py.VirtualSource(file["a"]), h5py.VirtualSource(file["b"])
    file.create_virtual_dataset("X", layout)
    file["y"] = Y


def _groups(file) -> None:
    for part in ("train", "test"):
        file[f"{part}/X"], file[f"{part}/y"] = X, Y
    file["again"], file["train/circle"] = h5py.SoftLink("/train/X"), h5py.SoftLink("/")
    file.attrs["note"] = ["a", "b"]
    for number in range(20):
        file[f"deep/a group of many/{number}"] = number
    file["references"] = np.array([file["train/X"].ref, file["train"].ref], dtype=h5py.ref_dtype)


def _growing(file) -> None:
    file.create_dataset("X", data=X, chunks=(5, 3), maxshape=(None, 3), compression="gzip")
    file.create_dataset("y", data=Y, chunks=(4,), maxshape=(None,))


_WRITERS = {
    "plain": _plain,
    "fixed": _fixed_words,
    "words": _words,
    "chunks": _chunks,
    "gzip": lambda file: _chunks(file, compression="gzip", shuffle=True),
    "lzf": lambda file: _chunks(file, compression="lzf"),
    "checked": lambda file: _chunks(file, fletcher32=True),
    "growing": _growing,
    "rows": _rows,
    "virtual": _virtual,
    "groups": _groups,
}


def _numpy() -> dict[str, bytes]:
    files = {}
    labels = {"numbers": Y, "words": WORDS, "objects": WORDS.astype(object)}
    for kind, y in labels.items():
        for packed, save in (("stored", np.savez), ("deflated", np.savez_compressed)):
            kept = io.BytesIO()
            save(kept, X=X, y=y, other=np.ones(7))
            files[f"{kind}-{packed}.npz"] = kept.getvalue()
    rows = np.zeros(N, dtype=[("a", "f8"), ("label", "S5")])
    rows["a"], rows["label"] = X[:, 0], WORDS
    for kind, array in {"rows": rows, "matrix": X.astype(">f4"), "objects": X.astype(object)}.items():
        kept = io.BytesIO()
        np.save(kept, array, allow_pickle=True)
        files[f"{kind}.npy"] = kept.getvalue()
    return files


def _matlab() -> dict[str, bytes]:
    kinds = {
        "v4": {"X": X, "y": Y[:, None]},
        "v5": {"X": X, "y": Y[:, None]},
        "cells": {"X": X, "y": WORDS.astype(object)[:, None]},
        "sparse": {"X": scipy.sparse.csc_matrix(np.where(X > 0, X, 0)), "y": Y[:, None]},
        "struct": {"X": X, "y": Y[:, None], "s": {"a": X, "b": {"c": "text"}}},
    }
    files = {}
    for kind, arrays in kinds.items():
        for packed in (False, True)[: 1 if kind == "v4" else 2]:
            kept = io.BytesIO()
            scipy.io.savemat(kept, arrays, do_compression=packed, format="4" if kind == "v4" else "5")
            files[f"{kind}-{'packed' if packed else 'plain'}"] = kept.getvalue()
    return files


# ------------------------------------------------------------------------------------------------------------- damage
def _flip(content, rng):
    for place in rng.integers(len(content), size=int(rng.choice([1, 2, 8, 40]))):
        content[place] ^= 1 << int(rng.integers(8))
    return content


def _fill(value):
    def fill(content, rng):
        start = int(rng.integers(len(content)))
        length = min(int(rng.choice([1, 4, 8, 64, 512])), len(content) - start)
        content[start : start + length] = bytes([value]) * length
        return content

    return fill


def _cut(content, rng):
    return content[: int(rng.integers(1, len(content)))]


def _insert(content, rng):
    place = int(rng.integers(len(content)))
    return content[:place] + rng.bytes(int(rng.choice([1, 3, 8, 100]))) + content[place:]


def _swap(content, rng):
    """One block twice, so that something lies where another kind is expected."""
    length = int(rng.choice([4, 8, 32]))
    source, target = (int(place) & ~7 for place in rng.integers(max(1, len(content) - length), size=2))
    content[target : target + length] = content[source : source + length]
    return content


def _size(content, rng):
    """A small number that may be a size becomes another one, in a place where it stands."""
    form = str(rng.choice(["<Q", "<I", "<H", ">I", "B"]))
    width = struct.calcsize(form)
    given = int(rng.choice([N, 3, 8, 5, 4, 3 * N, 8 * N, 24 * N, 1, 2]))
    if given >= 256**width:
        return content
    wanted, places, place = struct.pack(form, given), [], -1
    while (place := content.find(wanted, place + 1)) >= 0:
        places.append(place)
    if not places:
        return content
    place = int(rng.choice(places))
    top = 256**width - 1
    value = int(rng.choice([0, 1, given + 1, 2 * given, 1000 * given, 10**9, 2**31, 2**40, 2**62, 2**63 - 1])) & top
    value = top if rng.integers(8) == 0 else value
    content[place : place + width] = struct.pack(form, value)
    return content


_DAMAGE = {
    "flip": _flip,
    "zero": _fill(0),
    "ones": _fill(255),
    "cut": _cut,
    "insert": _insert,
    "swap": _swap,
    "size": _size,
}


# ------------------------------------------------------------------------------------------------------ crafted files
def crafted_hdf5() -> dict[str, bytes]:
    """Files on which the HDF5 library has been seen to loop, to crash, or to take memory without end."""
    words = bytearray(whole()["words-earliest.h5"])
    heap = words.find(b"GCOL")
    first = words.find(struct.pack("<IQI", len(WORDS[0]), heap, 1))  # the length, place and number of the first word
    files = {
        "a word of 4 GB": (first, struct.pack("<I", 2**32 - 2)),
        "a word elsewhere": (first + 4, struct.pack("<Q", 2**50)),
        "a word that is not there": (first + 12, struct.pack("<I", 60_000)),
        "a heap of 1 TB": (heap + 8, struct.pack("<Q", 2**40)),
        "words without a size": (heap + 16, bytes(600)),
    }
    crafted = {}
    for name, (place, change) in files.items():
        content = bytearray(words)
        content[place : place + len(change)] = change
        crafted[name] = bytes(content)
    return crafted | {"a chunk that unpacks to 4 GB": _bomb()}


def _bomb() -> bytes:
    """The numbers of one chunk, packed, and 4 GB of zeros packed after them."""
    pack = zlib.compressobj(9)
    start = pack.compress(X.tobytes()) + pack.flush(zlib.Z_FULL_FLUSH)
    zeros = pack.compress(bytes(2**24)) + pack.flush(zlib.Z_FULL_FLUSH)  # says the same wherever it stands
    kept = io.BytesIO()
    with h5py.File(kept, "w") as file:
        file["y"] = Y
        array = file.create_dataset("X", X.shape, "f8", chunks=X.shape, compression="gzip")
        array.id.write_direct_chunk((0, 0), start + 256 * zeros + pack.flush())
    return kept.getvalue()
