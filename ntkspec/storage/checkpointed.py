"""Products on disk: a run that was stopped goes on, because what it had multiplied is read and not computed."""

import contextlib
import hashlib
import json
import os
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from io import FileIO
from pathlib import Path

import numpy as np

from ntkspec.engines.arrays import Array, DTypeLike
from ntkspec.operators import Cost, KernelOperator, Rounding, Tile
from ntkspec.storage.places import lock, target

_HEADER, DIGEST = 4096, 16
# Seconds after which what was written is forced to the disk.
_SYNC_SECONDS = 10.0


@contextlib.contextmanager
def checkpointed(operator: KernelOperator, path: str | os.PathLike | None) -> Iterator[KernelOperator]:
    """The operator; with a path, one that keeps each product with float64 vectors in a file, and reads it from there.

    A run is a function of its seed and its products: the same call after an interruption repeats its small
    computations, reads the products that are there, and goes on, bit by bit as if it had never stopped. The file grows
    by 8 n bytes a product and survives a kill at any moment; each product has a digest, and where one is damaged it and
    those after it are computed again. The first and the last block of its products are computed again, to see that they
    belong to this kernel: they may differ by what rounding can do. Where the file cannot be written to, as on a disk
    that is full, the run goes on without it, and a RuntimeWarning says so.
    Raises ValueError where the products are another kernel's, or where another process writes to the file; as
    :func:`ntkspec.storage.target` for its name.
    """
    if path is None:
        yield operator
        return
    with _open(target(path)) as file:
        own = getattr(operator, "checkpointed", None)
        yield _Checkpointed(operator, _Records(file, operator)) if own is None else own(file)


@contextlib.contextmanager
def _open(path: Path) -> Iterator[FileIO]:
    """The file, for this process alone. It is not buffered: what could not be written is known at once."""
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(path, "a+b", buffering=0, opener=lambda name, _: os.open(name, flags, 0o666)) as file:
        if not lock(file.fileno(), path):
            raise ValueError(f"{path} is in use by another process; wait for it, or choose another name")
        yield file


def _described(operator) -> dict:
    """What a file must agree in: a stored matrix and its factors differ by rounding, which a proof must not mix."""
    form = "stored" if operator.stored else "factored"
    return {"kind": "ntkspec products", "format": 2, "n": operator.shape[0], "matrix": form} | {
        "dtype": str(operator.dtype),
        "distance": operator.storage_error,
    }


class Log:
    """A file that grows behind a header, what it belongs to. Places are counted from there.

    What cannot be written is left away, with all that would follow it, and a RuntimeWarning says so. Raises ValueError
    where the file belongs to something else.
    """

    def __init__(self, file: FileIO, described: dict):
        self.file, self.path = file, file.name
        self.writable, self.synced = True, time.monotonic()
        self.header = json.dumps(described).encode().ljust(_HEADER)
        found = _read(self.file, 0, _HEADER)
        if len(found) < _HEADER and self.header.startswith(found):
            self.replace_from(-_HEADER, self.header)
            self._sync()
        elif found != self.header:
            raise ValueError(
                f"{self.path} holds {_readable(found)[:200]}, but this run multiplies with {_readable(self.header)}; "
                f"remove it, choose another, or pass the method= that it was made with"
            )

    def read(self, place: int, size: int) -> bytes:
        """So many bytes, fewer at the end."""
        return _read(self.file, _HEADER + place, size)

    def replace_from(self, place: int, content: bytes) -> None:
        """Replace everything from there on."""
        if not self.writable:
            return
        start = _HEADER + place
        try:
            self.file.truncate(start)
            rest = memoryview(content)
            while rest:
                rest = rest[self.file.write(rest) :]
        except OSError as error:
            with contextlib.suppress(OSError):
                self.file.truncate(start)  # what was written of a record is none
            self.give_up(str(error.strerror))
        if self.writable and time.monotonic() - self.synced > _SYNC_SECONDS:
            self._sync()

    def _sync(self) -> None:
        self.synced = time.monotonic()
        try:
            os.fsync(self.file.fileno())
        except OSError as error:
            self.give_up(str(error.strerror))

    def give_up(self, reason: str) -> None:
        """Nothing is written from here on."""
        self.writable = False
        said = f"{self.path} cannot be written to ({reason}): the products from here on are not kept"
        warnings.warn(said, RuntimeWarning, stacklevel=2)


class _Records:
    """The products in a file, one after the other.

    A record: digests of the vector and of the rest, the bound on the product's error, and the product.
    """

    def __init__(self, file: FileIO, operator: KernelOperator):
        self.log, self.path = Log(file, _described(operator)), file.name
        self.size = 2 * DIGEST + 8 * (1 + operator.shape[0])

    def read(self, position: int, given: list[bytes]) -> tuple[float, np.ndarray] | None:
        """(error, products) with the vectors of these digests, or None where the file does not hold them there."""
        columns = []
        for number, digest in enumerate(given):
            record = self.log.read((position + number) * self.size, self.size)
            content = record[2 * DIGEST :]
            if len(record) < self.size or record[: 2 * DIGEST] != digest + digest_of(content):
                return None
            columns.append(np.frombuffer(content, np.float64))
        return float(columns[-1][0]), np.stack([column[1:] for column in columns], axis=1)

    def write(self, position: int, given: list[bytes], error: float, products: np.ndarray) -> None:
        """Replace everything from that product on."""
        records = []
        for digest, column in zip(given, products.T, strict=True):
            content = np.concatenate([[error], column]).tobytes()
            records += [digest, digest_of(content), content]
        self.log.replace_from(position * self.size, b"".join(records))


def _read(file: FileIO, start: int, size: int) -> bytes:
    """So many bytes, fewer at the end of the file."""
    parts = []
    while size and (part := os.pread(file.fileno(), size, start)):
        parts.append(part)
        start, size = start + len(part), size - len(part)
    return b"".join(parts)


def _readable(content: bytes) -> str:
    """On one line."""
    return "".join(letter if letter.isprintable() else "?" for letter in content.decode(errors="replace").rstrip())


class _Checkpointed(KernelOperator):
    """The products of an operator, from the file as far as they are there."""

    def __init__(self, operator: KernelOperator, records: _Records):
        self.operator, self.records = operator, records
        self.shape, self.dtype, self.engine = operator.shape, operator.dtype, operator.engine
        self.symmetric, self.semidefinite, self.stored = operator.symmetric, operator.semidefinite, operator.stored
        self.storage_error, self.rows_per_point = operator.storage_error, operator.rows_per_point
        self.position, self.error = 0, 0.0
        self.last: tuple[Array, Array] | None = None

    def _matmat(self, V: Array) -> Array:
        given = [digest_of(column) for column in self.engine.to_host(V).T]
        found = self.records.read(self.position, given)
        if found is None:
            product = self._computed(V)
            self.records.write(self.position, given, self.error, self.engine.to_host(product))
        else:
            self.error, product = found[0], self.engine.xp.asarray(found[1])
            if self.position == 0:
                self._compare(V, product)
            self.last = V, product
        self.position += V.shape[1]
        return product

    def _computed(self, V: Array) -> Array:
        if self.last is not None:
            self._compare(*self.last)
            self.last = None
        product = self.operator @ V
        self.error = max(self.error, self.operator.rounding.matvec_error_bound)
        return product

    def _compare(self, V: Array, product: Array) -> None:
        size = self.engine.xp.linalg.norm
        apart = size(product - self.operator @ V, axis=0)
        if not (apart <= 4 * self.operator.rounding.matvec_error_bound * size(V, axis=0)).all():
            raise another_kernel(self.records.path)

    @property
    def cost(self) -> Cost:
        return self.operator.cost

    @property
    def rounding(self) -> Rounding:
        """That of the operator, with the largest error that came with the products so far."""
        return replace(self.operator.rounding, matvec_error_bound=self.error)

    def diagonal(self, dtype: DTypeLike | None = None) -> Array:
        return self.operator.diagonal(dtype)

    def accumulate(self, out: Array, tile: Tile, scale: float = 1.0) -> None:
        self.operator.accumulate(out, tile, scale)


def another_kernel(path: str | os.PathLike) -> ValueError:
    """What is raised where products turn out not to be the kernel's."""
    return ValueError(f"{path} holds products with another kernel; remove it or choose another")


def digest_of(content: Array | bytes) -> bytes:
    """Of an array or of bytes."""
    return hashlib.blake2b(np.ascontiguousarray(content).data, digest_size=DIGEST).digest()
