"""Products on disk: a run that was stopped goes on, because what it had multiplied is read and not computed."""

import contextlib
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ntkspec.operators import KernelOperator

_HEADER, _DIGEST = 4096, 16
# Seconds after which what was written is forced to the disk.
_SYNC_SECONDS = 10.0


@contextlib.contextmanager
def recorded(operator: KernelOperator, path) -> Iterator[KernelOperator]:
    """The operator; with a path, one that keeps each product with float64 vectors in a file, and reads it from there.

    A run is a function of its seed and its products: the same call after an interruption repeats its small
    computations, reads the products that are there, and goes on, bit by bit as if it had never stopped. The file grows
    by 8 n bytes a product and survives a kill at any moment. The first and the last block of its products are computed
    again, to see that they belong to this kernel: they may differ by what rounding can do.
    Raises ValueError where it does not, or where another process writes to it.
    """
    if path is None:
        yield operator
        return
    with _open(Path(path), operator) as file:
        yield _Recorded(operator, file, path)


@contextlib.contextmanager
def _open(path: Path, operator):
    if not path.parent.is_dir():
        raise FileNotFoundError(f"the folder {path.parent} does not exist; make it first")
    if path.is_dir():
        raise ValueError(f"{path} is a folder, but a checkpoint is a file; name one in it")
    header = json.dumps(_described(operator)).encode().ljust(_HEADER)
    with open(path, "a+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ValueError(f"{path} is being written by another process; wait for it, or choose another") from None
        file.seek(0)
        found = file.read(_HEADER)
        if len(found) < _HEADER and header.startswith(found):
            file.truncate(0)
            file.write(header)
        elif found != header:
            raise ValueError(
                f"{path} holds {found.rstrip().decode(errors='replace')[:200]}, but this run multiplies with "
                f"{header.rstrip().decode()}; remove it, choose another, or pass the method= that it was made with"
            )
        yield file


def _described(operator) -> dict:
    """What a file must agree in: a stored matrix and its factors differ by rounding, which a proof must not mix."""
    form = "stored" if operator.stored else "factored"
    return {"kind": "ntkspec products", "format": 2, "n": operator.shape[0], "matrix": form} | {
        "dtype": str(operator.dtype),
        "distance": operator.distance,
    }


class _Recorded(KernelOperator):
    """The products of an operator, from the file as far as they are there.

    A record: digests of the vector and of the rest, the bound on the product's error, and the product.
    """

    grams = ()

    def __init__(self, operator: KernelOperator, file, path):
        self.operator, self.file, self.path = operator, file, path
        self.shape, self.dtype, self.engine = operator.shape, operator.dtype, operator.engine
        self.symmetric, self.semidefinite, self.distance = operator.symmetric, operator.semidefinite, operator.distance
        self.stored, self.product_work, self.stored_work = operator.stored, operator.product_work, operator.stored_work
        self.record = 2 * _DIGEST + 8 * (1 + self.shape[0])
        self.position, self.synced, self.error = _HEADER, time.monotonic(), 0.0
        self.last: tuple | None = None

    def factored_product(self, V):
        given = [_digest(column) for column in self.engine.to_host(V).T]
        product = self._read(given)
        if product is None:
            if self.last is not None:
                self._compare(*self.last)
                self.last = None
            product = self.operator @ V
            self.error = max(self.error, self.operator.product_error())
            self._write(given, product)
        else:
            if self.position == _HEADER:
                self._compare(V, product)
            self.last = V, product
        self.position += V.shape[1] * self.record
        return product

    def _product(self, V):
        return self.factored_product(V)

    def _compare(self, V, product) -> None:
        size = self.engine.xp.linalg.norm
        apart = size(product - self.operator @ V, axis=0)
        if not (apart <= 4 * self.operator.product_error() * size(V, axis=0)).all():
            raise ValueError(f"{self.path} holds products with another kernel; remove it or choose another")

    def _read(self, given):
        """The products with these vectors, or None where the file does not hold them next."""
        self.file.seek(self.position)
        columns = []
        for digest in given:
            record = self.file.read(self.record)
            content = np.frombuffer(record[2 * _DIGEST :], np.uint8)
            if record[: 2 * _DIGEST] != digest + _digest(content):
                return None
            columns.append(content.view(np.float64))
        self.error = float(columns[-1][0])
        return self.engine.xp.asarray(np.stack([column[1:] for column in columns], axis=1))

    def _write(self, given, product) -> None:
        """Replace everything from here on."""
        self.file.truncate(self.position)
        for digest, column in zip(given, self.engine.to_host(product).T, strict=True):
            content = np.concatenate([[self.error], column])
            self.file.write(digest + _digest(content) + content.tobytes())
        self.file.flush()
        if time.monotonic() - self.synced > _SYNC_SECONDS:
            os.fsync(self.file.fileno())
            self.synced = time.monotonic()

    def product_error(self):
        return self.error

    @property
    def absolute_norm(self):
        """That of the operator."""
        return self.operator.absolute_norm

    def diagonal(self, dtype=None):
        return self.operator.diagonal(dtype)

    def accumulate(self, out, tile, scale=1.0):
        self.operator.accumulate(out, tile, scale)

    @property
    def T(self):
        return self


def _digest(content) -> bytes:
    """Of an array or of bytes."""
    return hashlib.blake2b(np.ascontiguousarray(content).data, digest_size=_DIGEST).digest()
