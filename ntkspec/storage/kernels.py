"""A kernel matrix on disk: the tiles of its lower triangle in an HDF5 file, read through a memory map."""

import math
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from ntkspec.engines import engine_of, named
from ntkspec.operators import KernelOperator, Triangle, as_symmetric, form
from ntkspec.operators.adapters import require_here
from ntkspec.operators.comparing import agree
from ntkspec.storage import tiles
from ntkspec.storage.hdf5 import opened
from ntkspec.storage.on_disk import OnDisk
from ntkspec.storage.places import locked, target
from ntkspec.storage.pouring import set_aside
from ntkspec.storage.proofs import Proof
from ntkspec.storage.sealed import check_seal, seal


def save_kernel(operator: Any, path: str | os.PathLike[str]) -> Triangle:
    """Form the matrix of a symmetric kernel in a file, and return it as an operator that reads the file.

    Parameters
    ----------
    operator : KernelOperator, shape (n, n), or whatever :func:`ntkspec.operators.wrap` takes
        A symmetric one; where it computes, products with the result are computed.
    path : str or path
        The file's name; it appears there when all of it is written.

    Returns
    -------
    Triangle
        What :func:`load_kernel` gives.

    Raises
    ------
    ValueError
        Where the disk is too small, the kernel holds NaN or infinity, PATH.partial belongs to another kernel or is
        damaged, or another process saves to PATH.

    Notes
    -----
    The file is HDF5: ``blocks`` (tiles, T, T), the tiles (0, 0), (1, 0), (1, 1), (2, 0), ... of the lower triangle
    padded with zeros, ``squares``, the weighted sum of squares of each, ``digests``, 16 bytes that prove each, and how
    far the rounded entries are from the kernel; a checksum proves all but the tiles. While it grows it is called
    PATH.partial, all its room is taken from the disk at once, and no other process writes it; after an interruption the
    same call goes on where it stopped. Tiles that a power cut damaged are formed again, with a warning; one point of
    each row of tiles is computed again with all others, to see that the tiles are this kernel's. Cost: n² / 2 entries
    on disk and n² / 2 times ``cost.entry``; memory of a few tiles.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> import ntkspec as ns
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     stored = ns.save_kernel(ns.operators.Gram(np.eye(3)), f"{folder}/kernel.h5")
    ...     bool((ns.load_kernel(f"{folder}/kernel.h5").to_dense() == np.eye(3)).all())
    True
    """
    path, operator = target(path), require_here(as_symmetric(operator), "a file of a kernel holds all of its entries")
    with locked(path):
        partial = path.with_name(f"{path.name}.partial")
        left = os.path.lexists(partial)
        if not left:
            tiles.make(partial, operator)
        head = _head(partial, operator)
        proof = head.proof(partial, "r+")
        if left:
            _take_up(operator, proof, head)
        form(operator, proof.blocks, proof.squares, proof.keep)
        _finish(partial, head)
        partial.replace(path)
        return load_kernel(path, engine=operator.engine.name)


def load_kernel(path: str | os.PathLike[str], *, engine: str = "cpu") -> OnDisk:
    """The kernel that :func:`save_kernel` wrote; its tiles stay on disk until a product reads them.

    Parameters
    ----------
    path : str or path
        The file.
    engine : "cpu" or "gpu", default "cpu"
        What multiplies; "gpu" does so with CuPy's arrays and copies tiles to the GPU meanwhile.

    Returns
    -------
    OnDisk
        A stored operator (n, n). Pickles and copies of it hold the path and load the file again.

    Raises
    ------
    FileNotFoundError
        Where there is none.
    ValueError
        For a file that is damaged or of another kind, or where there is no GPU; what first uses a damaged tile raises
        it too.

    Notes
    -----
    All but the tiles is proved here, and each tile by its digest before it is first used; a file of an older version
    has no digests, and a RuntimeWarning says so. Cost: the first product reads the tiles once more, at 0.4 to 1 GB/s
    for each core; later ones do not.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> import ntkspec as ns
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     ns.save_kernel(np.eye(3), f"{folder}/kernel.h5").shape
    (3, 3)
    """
    device, path = named(engine), Path(path)
    with opened(path, tiles.KIND) as file:
        head = tiles.head_of(file)
    arrays = head.mapped(path, "r")
    missing = int(np.isnan(arrays["squares"]).sum())
    if missing:
        raise ValueError(f"{path} is not finished: {missing} tiles are missing; save_kernel goes on")
    return OnDisk(
        path,
        arrays["blocks"],
        head.n,
        math.fsum(arrays["squares"]),
        storage_error=head.storage_error,
        semidefinite=head.semidefinite,
        engine=device,
        proof=Proof(**arrays, name=path) if "digests" in arrays else None,
        rows_per_point=head.rows_per_point,
    )


def _head(partial: Path, operator: KernelOperator) -> tiles.Head:
    """What the file that grows says, where it is one of as many points as the operator."""
    if partial.is_symlink() or not partial.is_file():
        raise ValueError(
            f"{partial} is a link, a folder or a device, but the kernel grows in a file of its own; remove it"
        )
    try:
        if not check_seal(partial):
            raise ValueError(f"{partial} was begun by an older version, and carries no checksums")
        with opened(partial, tiles.KIND) as file:
            head = tiles.head_of(file)
    except ValueError as error:
        raise ValueError(f"{error}; remove it") from None
    n, each = operator.shape[0], operator.rows_per_point
    if head.n != n:
        raise ValueError(f"{partial} holds a kernel of {head.n} points, not of {n}; remove it or choose another")
    if head.rows_per_point != each:
        raise ValueError(
            f"{partial} holds a kernel with {head.rows_per_point} rows for each point, not {each}; remove it or choose "
            f"another"
        )
    return head


def _take_up(operator: KernelOperator, proof: Proof, head: tiles.Head) -> None:
    """See that the tiles of an interrupted call are those of the operator; damaged ones count as missing."""
    with tiles.room_for(operator, proof.name.parent, taken=512 * proof.name.stat().st_blocks):
        set_aside(proof.name, *head.spots["blocks"].range)
    _forget_damaged(proof)
    there = ~np.isnan(proof.squares)
    if proof.blocks.dtype != operator.dtype or not agree(operator, proof.blocks, there):
        raise ValueError(f"{proof.name} was begun for another kernel; remove it, or choose another name")


def _forget_damaged(proof: Proof) -> None:
    there = np.flatnonzero(~np.isnan(proof.squares))
    right = np.array(engine_of(proof.blocks).run(proof.holds, there, progress="checksums (tiles)"), bool)
    if not right.all():
        proof.squares[there[~right]] = np.nan
        said = (
            f"{proof.name}: {(~right).sum()} of {len(there)} tiles do not match their checksums, and are formed again"
        )
        warnings.warn(said, RuntimeWarning, stacklevel=4)


def _finish(partial: Path, head: tiles.Head) -> None:
    """All is on the disk before the seal says so, and the seal before the file has its name."""
    with partial.open("rb") as file:
        os.fsync(file.fileno())
        seal(partial, head.ranges("blocks"))
        os.fsync(file.fileno())
