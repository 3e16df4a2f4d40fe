"""Products of a spread kernel in files that its workers write: what is lost with a scheduler is read, not computed."""

import hashlib
import json
from dataclasses import replace
from io import FileIO
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ntkspec.cluster.kernel import SpreadKernel
from ntkspec.cluster.spread_array import SpreadArray
from ntkspec.engines import engine_of, moved, named
from ntkspec.engines.arrays import Array
from ntkspec.operators import Rounding
from ntkspec.storage import atomic_path
from ntkspec.storage.checkpointed import DIGEST, Log, another_kernel, digest_of


class CheckpointedKernel(SpreadKernel):
    """The products of a spread kernel, each part's rows in a file of its own, and from there where they are known.

    The first product that is read and the last one before others are computed are computed as well, to see that they
    are this kernel's. A product that was written is read again by whoever needs it: where a worker is lost, what it
    held of it comes from the file.
    """

    def __init__(self, kernel: SpreadKernel, file: FileIO):
        self.__dict__ |= kernel.__dict__
        self.known = _Index(file, kernel)
        self.error, self.compared = 0.0, False
        self.last: tuple[SpreadArray, SpreadArray] | None = None

    def multiplied(self, block: SpreadArray) -> SpreadArray:
        """Products with the vectors of a block (k, n)."""
        given = digest_of(b"".join(self.parts.workers.answers(self.parts.map(_digest, block.pieces))))
        entry = self.known.entries.get(given)
        if entry is None or not self._holds(given, entry):
            return self._computed(given, block)
        self.error, product = max(self.error, entry.error), self._read(given, entry, block)
        if not self.compared:
            self._compare(block, product)
        self.compared, self.last = True, (block, product)
        return product

    def _computed(self, given: bytes, block: SpreadArray) -> SpreadArray:
        if self.last is not None:
            self._compare(*self.last)
        self.last = None
        product = super().multiplied(block)
        self.error = max(self.error, super().rounding.matvec_error_bound)
        if not self.known.log.writable:
            return product
        found = self.parts.workers.answers(self.parts.map(_kept, product.pieces, self.known.files(given)))
        failed = next((one for one in found if isinstance(one, str)), None)
        if failed is not None:
            self.known.log.give_up(failed)
            return product
        entry = Entry(self.error, tuple(found))
        self.known.add(given, entry)
        return self._read(given, entry, block)

    def _holds(self, given: bytes, entry: "Entry") -> bool:
        return all(self.parts.workers.answers(self.parts.map(_holds, self.known.files(given), entry.parts)))

    def _read(self, given: bytes, entry: "Entry", like: SpreadArray) -> SpreadArray:
        parts = self.parts
        form = parts.same(len(like)), parts.same(like.dtype), parts.engines
        found = parts.map(_read, self.known.files(given), entry.parts, *form)
        return SpreadArray(parts, found, like.shape, like.dtype, 1)

    def _compare(self, block: SpreadArray, product: SpreadArray) -> None:
        apart = np.linalg.norm(product - super().multiplied(block), axis=1)
        if not (apart <= 4 * super().rounding.matvec_error_bound * np.linalg.norm(block, axis=1)).all():
            raise another_kernel(self.known.log.path)

    @property
    def rounding(self) -> Rounding:
        """That of the kernel, with the largest error that came with the products so far."""
        return replace(super().rounding, matvec_error_bound=self.error)


class Entry(NamedTuple):
    """A product: the bound on its error, and the digest of each part's rows."""

    error: float
    parts: tuple[bytes, ...]


class _Index:
    """Which products are whole, by the digest of their vectors. This process alone writes it, to the file of that name;
    the rows lie in the folder NAME.parts beside it.

    A record: digests of the vectors and of the rest, the bound on the error, and a digest for each part.
    """

    def __init__(self, file: FileIO, kernel: SpreadKernel):
        self.log, self.entries, self._end = Log(file, _described(kernel)), dict[bytes, Entry](), 0
        self._folder, self._count = Path(f"{file.name}.parts"), len(kernel.parts)
        while self._take_in():
            pass
        if self.log.writable:
            self._require_shared(kernel)

    def _take_in(self) -> bool:
        """Whether there was another record."""
        size = (2 + self._count) * DIGEST + 8
        record = self.log.read(self._end, size)
        given, proof, content = record[:DIGEST], record[DIGEST : 2 * DIGEST], record[2 * DIGEST :]
        if len(record) < size or digest_of(content) != proof:
            return False
        digests = [content[8 + k * DIGEST : 8 + (k + 1) * DIGEST] for k in range(self._count)]
        self.entries[given] = Entry(float(np.frombuffer(content[:8])[0]), tuple(digests))
        self._end += size
        return True

    def add(self, given: bytes, entry: Entry) -> None:
        """Note a product whose rows are all written."""
        content = np.float64(entry.error).tobytes() + b"".join(entry.parts)
        record = given + digest_of(content) + content
        self.log.replace_from(self._end, record)
        self.entries[given] = entry
        self._end += len(record)

    def files(self, given: bytes) -> list[str]:
        """That of each part."""
        return [str(self._folder / f"{given.hex()}-{k}") for k in range(self._count)]

    def _require_shared(self, kernel: SpreadKernel) -> None:
        """Raises ValueError where a worker does not see what is written here."""
        self._folder.mkdir(exist_ok=True)
        parts, path = kernel.parts, str(self.log.path)
        seen = parts.workers.answers(parts.map(_sees, parts.same(path), parts.same(self.log.header)))
        if not all(seen):
            k = seen.index(False)
            raise ValueError(
                f"part {k} on worker {parts.homes[k]} does not see {path}; a checkpoint of a kernel on a cluster lies "
                f"in a folder that all machines share"
            )


def _described(kernel: SpreadKernel) -> dict:
    """What products must agree in; rows are cut as the parts are."""
    facts = kernel.facts[0]
    cut = hashlib.blake2b(json.dumps([kernel.parts.sizes, facts.kind]).encode(), digest_size=DIGEST).hexdigest()
    return {"kind": "ntkspec products of a cluster", "format": 1, "n": kernel.shape[0], "parts": len(kernel.parts)} | {
        "dtype": str(kernel.dtype),
        "distance": kernel.storage_error,
        "operator": facts.kind[:200],
        "cut": cut,
    }


# ---------------------------------------------------------------------------------------------------------- on a worker
def _rows(piece: Array) -> np.ndarray:
    return np.ascontiguousarray(engine_of(piece).to_host(piece))


def _digest(piece: Array) -> bytes:
    return digest_of(_rows(piece))


def _kept(piece: Array, path: str) -> bytes | str:
    """The digest of what was written, or why it could not be."""
    rows = _rows(piece)
    try:
        with atomic_path(path) as temporary:
            temporary.write_bytes(rows.data)
    except OSError as error:
        return error.strerror or str(error)
    return digest_of(rows)


def _holds(path: str, digest: bytes) -> bool:
    try:
        return digest_of(Path(path).read_bytes()) == digest
    except OSError:
        return False


def _read(path: str, digest: bytes, count: int, dtype: np.dtype, engine: str) -> Array:
    try:
        rows = np.fromfile(path, dtype)
    except OSError:
        rows = np.empty(0, dtype)
    if digest_of(rows) != digest:
        raise ValueError(f"{path} was changed or removed during the run that uses it; run it again")
    return moved(rows.reshape(count, -1), named(engine))


def _sees(path: str, header: bytes) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(len(header)) == header
    except OSError:
        return False
