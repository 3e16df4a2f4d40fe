"""What a worker does with one part of a kernel's points: the tasks of spread kernels and of their Krylov bases.

Rows lie on the part's device; small matrices that come and go are NumPy's.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ntkspec import checks
from ntkspec.cluster.over_points import goes_through_sums, local_jvp, local_vjp
from ntkspec.cluster.spread_array import contiguous
from ntkspec.cluster.workers import each
from ntkspec.engines import engine_of, moved, named
from ntkspec.engines.arrays import Array
from ntkspec.operators import Diagonal, KernelOperator, LinearCombination, Rounding, Work, wrap


@dataclass(frozen=True)
class Facts:
    """What is told of one part: ``kind`` is that of its terms, which all parts have alike; ``sums`` says whether
    products go through sums over points, ``pairs`` whether there are kernels between two parts; ``product`` and
    ``entry`` are what they cost."""

    shape: tuple[int, int]
    rows_per_point: int
    dtype: np.dtype
    engine: str
    kind: str
    symmetric: bool
    semidefinite: bool
    sums: bool
    pairs: bool
    rounding: Rounding
    storage_error: float
    widens: bool
    product: Work
    entry: Work


@dataclass(frozen=True)
class Look:
    """Of each vector of a block the square of its norm and whether it holds NaN or infinity; the largest entry; and its
    overlaps with some known vectors."""

    squares: np.ndarray
    bad: np.ndarray
    largest: float
    overlaps: np.ndarray | None


def built(build: Callable[[Any], Any], part: Any, index: int) -> KernelOperator:
    """The kernel of one part. What its function raises is told with the number of the part."""
    try:
        operator = build(part)
    except Exception as error:
        reason = checks.shortened(f"{type(error).__name__}: {error}", 1000)
        raise ValueError(f"build failed on part {index}, {checks.shown(part)}: {reason}") from error
    if not isinstance(operator, KernelOperator):
        given = checks.shown(operator)
        raise ValueError(f"build gave {given} for part {index}, {checks.shown(part)}, but a kernel operator is needed")
    operator.check_contract()
    return operator


def facts(operator: KernelOperator) -> Facts:
    """Of a part's kernel, once it stands."""
    return Facts(
        *(operator.shape, operator.rows_per_point, operator.dtype, operator.engine.name, _kind(operator)),
        *(operator.symmetric, operator.semidefinite, goes_through_sums(operator), _has_pairs(operator)),
        *(operator.rounding, float(operator.storage_error), _widens(operator)),
        *(operator.product_in_float64, operator.cost.entry),
    )


def _kind(operator: KernelOperator) -> str:
    """The terms, and what scales them: what a sum of products over parts has to have in common."""
    if isinstance(operator, LinearCombination):
        return " + ".join(f"{c:.12g} {_kind(term)}" for c, term in operator.terms)
    return type(operator).__name__


def _widens(operator: KernelOperator) -> bool:
    terms = operator.terms if isinstance(operator, LinearCombination) else []
    return operator.widens and all(_widens(term) for _, term in terms)


def _has_pairs(operator: KernelOperator) -> bool:
    if isinstance(operator, LinearCombination):
        return all(_has_pairs(term) for _, term in operator.terms)
    return hasattr(operator, "against")


def combined(factors: Sequence[float], operators: Sequence[KernelOperator]) -> KernelOperator:
    """The sum of one part's kernels, times their factors."""
    parts = [c * operator if c != 1 else operator for c, operator in zip(factors, operators, strict=True)]
    return sum(parts[1:], start=parts[0])


# ----------------------------------------------------------------------------------------------------------- products
def gathered(operator: KernelOperator, block: Array) -> Any:
    """What these points contribute to the products of all with the vectors of a block (k, n')."""
    return each(operator.engine.to_host, local_vjp(operator, contiguous(block.T)))


def scattered(operator: KernelOperator, total: Any, block: Array) -> Array:
    """Their columns of the products, (k, n')."""
    found = local_jvp(operator, each(lambda one: moved(one, operator.engine), total), contiguous(block.T))
    return contiguous(found.T).astype(np.result_type(found.dtype, block.dtype), copy=False)


def multiplied(one: KernelOperator, other: KernelOperator | None, block: Array) -> Array:
    """Columns of one part of the products with those of another, or None for its own."""
    K = one if other is None else one.against(other)  # type: ignore[attr-defined]
    return contiguous(K._multiplied(contiguous(block.T)).T)


def multiplied_on_host(operator: KernelOperator, V: Array) -> np.ndarray:
    """What a part of the columns adds to a product."""
    return operator.engine.to_host(operator @ contiguous(V))


def added_pair(one: Array, other: Array) -> Array:
    """The sum."""
    return one + other


def diagonal_of(entries: Array, rows_per_point: int) -> KernelOperator:
    """The part of a diagonal matrix."""
    return wrap(Diagonal(entries), rows_per_point=rows_per_point)


def squares(one: KernelOperator, other: KernelOperator | None) -> tuple[float, float]:
    """The sum of squared entries between two parts, and the square of the error of these entries."""
    K = one if other is None else one.against(other)  # type: ignore[attr-defined]
    return K.sum_of_squares(), K.formed_error**2


def diagonal(operator: KernelOperator, dtype: np.dtype) -> Array:
    """Of the part."""
    return contiguous(operator.diagonal(dtype))


def dense(operator: KernelOperator, dtype: np.dtype) -> Array:
    """The entries of the part."""
    return contiguous(operator.to_dense(dtype))


def weights(operator: KernelOperator) -> Array:
    """Of the part's rows."""
    return contiguous(operator.row_weights())


# ------------------------------------------------------------------------------------- blocks (b, n') of a Krylov basis
def drawn(entropy: list[int], index: int, count: int, rows: int, engine: str) -> Array:
    """A Gaussian block, from a stream of this part's own."""
    rng = np.random.default_rng(np.random.SeedSequence([*entropy, index]))
    return moved(rng.standard_normal((count, rows)), named(engine))


def looked_at(block: Array, known: Sequence[Array]) -> "Look":
    """What is asked of a block before it is freed of known vectors."""
    engine = engine_of(block)
    squares, bad = engine.xp.square(block).sum(axis=1), ~engine.xp.isfinite(block).all(axis=1)
    largest = float(abs(block).max()) if block.size else 0.0
    return Look(engine.to_host(squares), engine.to_host(bad), largest, overlaps(block, known) if known else None)


def overlaps(block: Array, known: Sequence[Array]) -> np.ndarray:
    """Of the known vectors with the block, (count, b)."""
    engine = engine_of(block)
    return np.vstack([engine.to_host(chunk @ block.T) for chunk in known])


def without(block: Array, total: np.ndarray, known: Sequence[Array]) -> Array:
    """The block less the parts along the known vectors, whose overlaps with all of it are ``total``."""
    first = 0
    for chunk in known:
        block = block - moved(total[first : first + len(chunk)], engine_of(block)).T @ chunk
        first += len(chunk)
    return block


def triangle(block: Array) -> np.ndarray:
    """R of the block's transpose."""
    return engine_of(block).to_host(_factors(block)[1])


def turned(block: Array, matrix: np.ndarray) -> Array:
    """A small matrix times the transpose of Q: it is computed again, which takes less than to keep it."""
    Q = contiguous(_factors(block)[0])
    return moved(matrix, engine_of(Q)) @ Q.T


def _factors(block: Array) -> tuple[Array, Array]:
    return engine_of(block).xp.linalg.qr(contiguous(block.T))


def joined(chunks: Sequence[Array]) -> Array:
    """One behind the other."""
    return engine_of(*chunks).xp.concatenate(chunks)


def mixed(chunks: Sequence[Array], matrix: np.ndarray, rows: int, engine: str) -> Array:
    """A small matrix (k, m) times the m vectors of the chunks."""
    there = named(engine)
    found, first = there.xp.zeros((len(matrix), rows)), 0
    for chunk in chunks:
        found += moved(np.ascontiguousarray(matrix[:, first : first + len(chunk)]), there) @ chunk
        first += len(chunk)
    return found


def gram(known: Sequence[Array]) -> np.ndarray:
    """Overlaps of the known vectors with one another."""
    engine, rows = engine_of(*known), joined(known)
    return engine.to_host(rows @ rows.T)
