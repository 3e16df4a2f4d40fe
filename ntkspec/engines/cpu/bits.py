"""Matrices of bits on the CPU: packing, unpacking, and their Gram matrix by AND and popcount."""

import numpy as xp
from llvmlite import ir
from numba.core import cgutils, types

from ntkspec.engines.arrays import Array, DTypeLike
from ntkspec.engines.cpu.compiling import compiled, in_llvm
from ntkspec.engines.cpu.words import pack_loop
from ntkspec.engines.terms import Levels

# A block of the Gram matrix of 4 rows and 16 columns: its 8 vectors of counts stay in registers over all words, so that
# each step takes 24 vector operations and 6 loads, and the arithmetic units alone limit it.
_ROWS, _COLUMNS, _LANES = 4, 16, 8
_WORD, _INDEX = ir.IntType(64), ir.IntType(32)
_VECTOR = ir.VectorType(_WORD, _LANES)
_ZERO = ir.Constant(_VECTOR, [0] * _LANES)


def _popcount(builder, vector):
    """The number of ones of each word; LLVM picks vpopcntq or its replacement for the machine."""
    kind = ir.FunctionType(_VECTOR, [_VECTOR])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.ctpop.v{_LANES}i64"), [vector])


def _broadcast(builder, word):
    undefined = ir.Constant(_VECTOR, ir.Undefined)
    return builder.shuffle_vector(
        builder.insert_element(undefined, word, _INDEX(0)), undefined, ir.Constant(ir.VectorType(_INDEX, _LANES), None)
    )


def _vector_at(builder, start, offset: int, kind):
    return builder.bitcast(builder.gep(start, [_WORD(offset)]), kind.as_pointer())


def _count_in_python(A, i, panel, out, j):
    """The same block by NumPy."""
    common = A[i : i + _ROWS, :, None] & panel
    out[i : i + _ROWS, j : j + _COLUMNS] = xp.bitwise_count(common).sum(axis=1)


@in_llvm(_count_in_python)
def _count_block(typingctx, A, i, panel, out, j):
    """out[i : i + 4, j : j + 16] = ones that four rows of A share with each column of the panel (words, 16).

    Written in vectors of LLVM's language: from a scalar loop LLVM keeps the counts in memory, at half the speed.
    """

    def build(context, builder, signature, arguments):
        A, panel, out = (
            context.make_array(signature.args[k])(context, builder, arguments[k]) for k in (0, 2, 3)
        )  # fmt: skip
        i, j = arguments[1], arguments[4]
        words, columns = builder.extract_value(A.shape, 1), builder.extract_value(out.shape, 1)
        rows = [builder.add(i, _WORD(r)) for r in range(_ROWS)]
        starts = [builder.gep(A.data, [builder.mul(row, words)]) for row in rows]
        offsets = range(0, _COLUMNS, _LANES)
        counts = {(r, c): cgutils.alloca_once_value(builder, _ZERO) for r in range(_ROWS) for c in offsets}
        for count in counts.values():
            builder.store(_ZERO, count)
        with cgutils.for_range(builder, words) as loop:
            line = builder.gep(panel.data, [builder.mul(loop.index, _WORD(_COLUMNS))])
            right = {c: builder.load(_vector_at(builder, line, c, _VECTOR), align=8) for c in offsets}
            for r, start in enumerate(starts):
                left = _broadcast(builder, builder.load(builder.gep(start, [loop.index])))
                for c in offsets:
                    ones = _popcount(builder, builder.and_(left, right[c]))
                    builder.store(builder.add(builder.load(counts[r, c]), ones), counts[r, c])
        floats = ir.VectorType(context.get_data_type(signature.args[3].dtype), _LANES)
        for (r, c), count in counts.items():
            start = builder.gep(out.data, [builder.add(builder.mul(rows[r], columns), j)])
            builder.store(builder.uitofp(builder.load(count), floats), _vector_at(builder, start, c, floats), align=4)
        return context.get_dummy_value()

    return types.void(A, i, panel, out, j), build


@compiled
def _count_loop(out, A, panels):
    for p in range(panels.shape[0]):
        for i in range(0, A.shape[0], _ROWS):
            _count_block(A, i, panels[p], out, p * _COLUMNS)


def count_common(A: Array, B: Array, dtype: DTypeLike) -> Array:
    """How many ones each row of A (n, k) shares with each row of B (n', k), both words of bits: (n, n'), exact.

    Cost: n n' k steps of AND, popcount and add, eight to an instruction with AVX-512.
    """
    rows, columns = _padded(A, _ROWS), _padded(B, _COLUMNS)
    panels = xp.ascontiguousarray(columns.reshape(-1, _COLUMNS, B.shape[1]).transpose(0, 2, 1))
    out = xp.empty((rows.shape[0], columns.shape[0]), dtype)
    _count_loop(out, rows, panels)
    return out[: A.shape[0], : B.shape[0]]


def gram(A: Array, B: Array, levels: Levels | None, dtype: DTypeLike) -> Array:
    """The Gram matrix (n, n') of rows of bits A (n, k) and B (n', k), words, that stand for two values."""
    product = count_common(A, B, dtype)
    if levels is not None:
        weights = levels.square, levels.cross, levels.constant
        _levels_loop(product, *weights, levels.ones, levels.others)
    return product


@compiled
def _levels_loop(product, square, cross, constant, ones, others):
    """Numbers of ones are added as integers, so that i and j may be exchanged, and an entry is rounded once."""
    for i in range(product.shape[0]):
        for j in range(product.shape[1]):
            product[i, j] = square * product[i, j] + (cross * (ones[i] + others[j]) + constant)


def _padded(words, multiple: int):
    """C-contiguous words with zero rows up to a multiple."""
    missing = -words.shape[0] % multiple
    return xp.ascontiguousarray(xp.pad(words, ((0, missing), (0, 0))) if missing else words)


def empty(n: int, columns: int) -> Array:
    """Room for the words of an (n, columns) matrix of bits."""
    return xp.zeros((n, -(-columns // 64)), xp.uint64)


def pack(words: Array, matrix: Array, high: float) -> None:
    """Set bit j of row i of ``words`` where ``matrix[i, j] == high``; the last word of a row is padded with zeros."""
    pack_loop(words, matrix, matrix.dtype.type(high))


@compiled
def _unpack_loop(out, words, low, high):
    for i in range(out.shape[0]):
        for k in range(words.shape[1]):
            word = words[i, k]
            for b in range(min(64, out.shape[1] - 64 * k)):
                out[i, 64 * k + b] = high if (word >> xp.uint64(b)) & xp.uint64(1) else low


def unpack(words: Array, columns: int, values: tuple[float, float], dtype: DTypeLike) -> Array:
    """The first ``columns`` bits of each row as numbers (low, high) of the dtype."""
    out = xp.empty((words.shape[0], columns), dtype)
    _unpack_loop(out, words, out.dtype.type(values[0]), out.dtype.type(values[1]))
    return out


@compiled
def _row_sums_loop(sums, words):
    for i in range(words.shape[0]):
        for k in range(words.shape[1]):
            word = words[i, k]
            while word:
                word &= word - xp.uint64(1)
                sums[i] += 1


def count_ones(words: Array) -> Array:
    """The number of ones of each row, int64."""
    sums = xp.zeros(words.shape[0], xp.int64)
    _row_sums_loop(sums, words)
    return sums
