"""Sums that are looked up: the steps of products of bits with numbers by the method of four Russians, on the CPU.

Six rows of numbers have 64 sums. Where these lie in a table, a row of bits adds one of them instead of six rows. Eight
tables are read together: 48 rows, 32 KiB, which stay in a core's first cache. They are a line of 64 bytes wide, and
what bits select is written as one word for eight lookups, a byte each.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as xp
from llvmlite import ir
from numba.core import cgutils, types

from ntkspec.engines.arrays import Array, DTypeLike
from ntkspec.engines.cpu.compiling import compiled, in_llvm

# Rows to a table and its sums; tables that are read together, and their rows; bytes of a line and bits of a word.
BITS, TABLES = 6, 8
SUMS, ROWS = 2**BITS, BITS * TABLES
LINE, WORD = 64, 64
_INT, _BYTE, _BIT, _INDEX = (ir.IntType(bits) for bits in (64, 8, 1, 32))
_ROUNDED_ONCE = ("contract",)


def width(dtype: DTypeLike) -> int:
    """Numbers of a line."""
    return LINE // xp.dtype(dtype).itemsize


def lines(*shape: int, dtype: DTypeLike) -> Array:
    """Zeros (..., width), where each line lies in one line of the cache."""
    size = math.prod(shape) * LINE
    memory = xp.zeros(size + LINE, xp.uint8)
    start = -memory.ctypes.data % LINE
    return memory[start : start + size].view(dtype).reshape(*shape, width(dtype))


class _Arrays:
    """The arrays of an intrinsic: pointers to their lines and rows."""

    def __init__(self, context: Any, builder: ir.IRBuilder, kinds: Sequence[Any], arguments: Sequence[ir.Value]):
        self.builder, self._made, self._entries = builder, {}, {}
        for which, (kind, argument) in enumerate(zip(kinds, arguments, strict=True)):
            if isinstance(kind, types.Array):
                self._made[which] = context.make_array(kind)(context, builder, argument)
                self._entries[which] = context.get_data_type(kind.dtype)
        self.vector = ir.VectorType(self._entries[0], width(str(kinds[0].dtype)))

    def start(self, which: int, kind: ir.Type) -> ir.Value:
        """Pointer to the first entry of an array, as entries of a type."""
        return self.builder.bitcast(self._made[which].data, kind.as_pointer())

    def count(self, which: int) -> ir.Value:
        """The number of rows."""
        return self.builder.extract_value(self._made[which].shape, 0)

    def row(self, which: int, index: ir.Value) -> ir.Value:
        """Pointer to a row, whose entries lie one after the other."""
        stride = self.builder.extract_value(self._made[which].strides, 0)
        place = self.builder.gep(self.start(which, _BYTE), [self.builder.mul(index, stride)])
        return self.builder.bitcast(place, self._entries[which].as_pointer())

    def line(self, which: int, index: ir.Value) -> ir.Value:
        """Pointer to a line of an array of whole lines."""
        return self.builder.gep(self.start(which, self.vector), [index])

    def numbers(self, which: int, index: ir.Value) -> ir.Value:
        """A row of numbers, which may be shorter ones, as a line."""
        own = ir.VectorType(self._entries[which], self.vector.count)
        place = self.builder.bitcast(self.row(which, index), own.as_pointer())
        loaded = self.builder.load(place, align=4)
        return loaded if own == self.vector else self.builder.fpext(loaded, self.vector)


def _fill_in_python(tables, numbers, weights):
    """The same tables by NumPy."""
    scaled = weights[:, None] * numbers.astype(tables.dtype)
    chosen = (xp.arange(SUMS)[:, None] >> xp.arange(BITS)) & 1
    for table in range(TABLES):
        tables[SUMS * table : SUMS * (table + 1)] = chosen @ scaled[BITS * table : BITS * (table + 1)]


@in_llvm(_fill_in_python)
def _fill_tables(typingctx, tables, numbers, weights):
    """Line SUMS t + s of ``tables``: the sum over the bits b of s of row BITS t + b of weights[:, None] * numbers.

    tables : (TABLES SUMS, width). numbers : (ROWS, width), of its dtype or of a shorter one. weights : (ROWS,).
    """

    def build(context, builder, signature, arguments):
        arrays = _Arrays(context, builder, signature.args, arguments)
        zero = ir.Constant(arrays.vector, [0.0] * arrays.vector.count)
        with cgutils.for_range(builder, _INT(TABLES)) as loop:
            first = builder.mul(loop.index, _INT(BITS))
            sums = [zero]
            for bit in range(BITS):
                row = builder.add(first, _INT(bit))
                weight = _broadcast(builder, builder.load(arrays.row(2, row)), arrays.vector)
                scaled = builder.fmul(weight, arrays.numbers(1, row))
                sums += [builder.fadd(own, scaled) if k else scaled for k, own in enumerate(sums)]
            start = builder.mul(loop.index, _INT(SUMS))
            for k, own in enumerate(sums):
                builder.store(own, arrays.line(0, builder.add(start, _INT(k))), align=LINE)
        return context.get_dummy_value()

    return types.void(tables, numbers, weights), build


def _broadcast(builder, number, kind):
    empty, first = ir.Constant(kind, ir.Undefined), ir.Constant(ir.VectorType(_INDEX, kind.count), None)
    return builder.shuffle_vector(builder.insert_element(empty, number, _INDEX(0)), empty, first)


def _look_up_in_python(sums, tables, index):
    """The same sums by NumPy, in the same order."""
    bytes_of = (index[:, None] >> (8 * xp.arange(TABLES, dtype=xp.uint64))).astype(xp.uint8).astype(int)
    found = [tables[SUMS * table + bytes_of[:, table]] for table in range(TABLES)]
    sums[: len(index)] += _in_pairs(found, lambda one, other: one + other)


def _in_pairs(values: list, add):
    """The sum of eight in three rounds of pairs."""
    while len(values) > 1:
        values = [add(one, other) for one, other in zip(values[::2], values[1::2], strict=True)]
    return values[0]


@in_llvm(_look_up_in_python)
def _look_up(typingctx, sums, tables, index):
    """Add to each line of ``sums`` (n, width) the lines of the tables that the bytes of ``index`` (n,) uint64 name."""

    def build(context, builder, signature, arguments):
        arrays = _Arrays(context, builder, signature.args, arguments)
        numbers = arrays.start(2, _BYTE)
        with cgutils.for_range(builder, arrays.count(2)) as loop:
            found, first = [], builder.mul(loop.index, _INT(TABLES))
            for table in range(TABLES):
                number = builder.load(builder.gep(numbers, [builder.add(first, _INT(table))]))
                place = builder.add(builder.zext(number, _INT), _INT(SUMS * table))
                found.append(builder.load(arrays.line(1, place), align=LINE))
            place = arrays.line(0, loop.index)
            total = builder.fadd(builder.load(place, align=LINE), _in_pairs(found, builder.fadd))
            builder.store(total, place, align=LINE)
        return context.get_dummy_value()

    return types.void(sums, tables, index), build


def _meet_in_python(total, sums, numbers):
    """The same by NumPy."""
    here = len(numbers)
    total[:here] += sums[:here] * numbers.astype(sums.dtype)
    sums[:here] = 0


@in_llvm(_meet_in_python)
def _meet(typingctx, total, sums, numbers):
    """``total += sums * numbers`` line by line, and ``sums`` zero again; ``numbers`` as in :func:`_fill_tables`."""

    def build(context, builder, signature, arguments):
        arrays = _Arrays(context, builder, signature.args, arguments)
        with cgutils.for_range(builder, arrays.count(2)) as loop:
            places = [arrays.line(which, loop.index) for which in (0, 1)]
            before, own = (builder.load(place, align=LINE) for place in places)
            product = builder.fmul(own, arrays.numbers(2, loop.index), flags=_ROUNDED_ONCE)
            builder.store(builder.fadd(before, product, flags=_ROUNDED_ONCE), places[0], align=LINE)
            builder.store(ir.Constant(arrays.vector, [0.0] * arrays.vector.count), places[1], align=LINE)
        return context.get_dummy_value()

    return types.void(total, sums, numbers), build


def _index_in_python(index, words, first, k):
    """The same by NumPy."""
    chosen = (words[first : first + ROWS, k, None] >> xp.arange(WORD, dtype=xp.uint64)) & xp.uint64(1)
    places = xp.arange(ROWS, dtype=xp.uint64)
    shifted = chosen << (8 * (places // BITS) + places % BITS)[:, None]
    index[WORD * k : WORD * (k + 1)] = xp.bitwise_or.reduce(shifted, axis=0)


@in_llvm(_index_in_python)
def _index_columns(typingctx, index, words, first, k):
    """What the columns of word k select among the rows first, ..., first + ROWS - 1: ``index[64 k : 64 (k + 1)]``.

    A word of bits is a mask over 64 bytes, one for each column.
    """

    def build(context, builder, signature, arguments):
        arrays = _Arrays(context, builder, signature.args, arguments)
        first, k = arguments[2], arguments[3]
        column = ir.VectorType(_BYTE, WORD)
        none, vectors = ir.Constant(column, [0] * WORD), []
        for table in range(TABLES):
            own = none
            for bit in range(BITS):
                row = arrays.row(1, builder.add(first, _INT(BITS * table + bit)))
                mask = builder.bitcast(builder.load(builder.gep(row, [k])), ir.VectorType(_BIT, WORD))
                own = builder.or_(own, builder.select(mask, ir.Constant(column, [2**bit] * WORD), none))
            vectors.append(own)
        half = TABLES // 2
        for _ in range(3):  # bytes of one column next to each other: three perfect shuffles
            vectors = [
                _zipped(builder, vectors[q], vectors[q + half], upper) for q in range(half) for upper in (False, True)
            ]
        place = builder.gep(arrays.start(0, column), [builder.mul(k, _INT(TABLES))])
        for number, own in enumerate(vectors):
            builder.store(own, builder.gep(place, [_INT(number)]), align=8)
        return context.get_dummy_value()

    return types.void(index, words, first, k), build


def _zipped(builder, one, other, upper: bool):
    """Bytes of two vectors in turns, of their lower or upper halves."""
    start = WORD // 2 if upper else 0
    places = [which * WORD + start + place for place in range(WORD // 2) for which in (0, 1)]
    return builder.shuffle_vector(one, other, ir.Constant(ir.VectorType(_INDEX, WORD), places))


@compiled
def gather_loop(sums: Array, words: Array, X: Array, tail: Array, weights: Array, tables: Array, index: Array) -> None:
    """sums[v, l] += Dᵀ diag(weights[v]) (columns of X in line l), for a multiple of ROWS rows."""
    wide, groups = sums.shape[3], index.shape[0]
    for start in range(0, words.shape[0], groups * ROWS):
        here = min(groups, (words.shape[0] - start) // ROWS)
        for g in range(here):
            for k in range(words.shape[1]):
                _index_columns(index[g], words, start + g * ROWS, k)
        for v in range(sums.shape[0]):
            for line in range(sums.shape[1]):
                for g in range(here):
                    first = start + g * ROWS
                    rows = slice(first, first + ROWS)
                    if (line + 1) * wide <= X.shape[1]:
                        _fill_tables(tables, X[rows, line * wide : (line + 1) * wide], weights[v, rows])
                    else:
                        _fill_tables(tables, tail[rows, 0:wide], weights[v, rows])
                    _look_up(sums[v, line], tables, index[g])


@compiled
def _spread(index, words):
    """index[c, i]: bits 48 c, ..., 48 c + 47 of row i, six to a byte."""
    for c in range(index.shape[0]):
        k, shift = (c * ROWS) // WORD, xp.uint64((c * ROWS) % WORD)
        for i in range(words.shape[0]):
            x = words[i, k] >> shift
            if shift > xp.uint64(WORD - ROWS) and k + 1 < words.shape[1]:
                x |= words[i, k + 1] << (xp.uint64(WORD) - shift)
            x = (x & xp.uint64(0xFFFFFF)) | ((x & xp.uint64(0xFFFFFF000000)) << xp.uint64(8))
            x = (x & xp.uint64(0x00000FFF00000FFF)) | ((x & xp.uint64(0x00FFF00000FFF000)) << xp.uint64(4))
            index[c, i] = (x & xp.uint64(0x003F003F003F003F)) | ((x & xp.uint64(0x0FC00FC00FC00FC0)) << xp.uint64(2))


@compiled
def scatter_loop(
    out: Array,
    words: Array,
    X: Array,
    tail: Array,
    G: Array,
    ones: Array,
    tables: Array,
    index: Array,
    sums: Array,
    total: Array,
) -> None:
    """out[i, v] = (row i of D) · (G[v] x_i), for G[v] in lines of the columns of X, G[v, l] (m, width)."""
    wide, step = G.shape[3], index.shape[1]
    for start in range(0, words.shape[0], step):
        stop = min(start + step, words.shape[0])
        here = stop - start
        _spread(index, words[start:stop])
        for v in range(G.shape[0]):
            total[:] = 0
            for line in range(G.shape[1]):
                for c in range(index.shape[0]):
                    _fill_tables(tables, G[v, line, c * ROWS : (c + 1) * ROWS, 0:wide], ones)
                    _look_up(sums, tables, index[c, :here])
                if (line + 1) * wide <= X.shape[1]:
                    _meet(total, sums, X[start:stop, line * wide : (line + 1) * wide])
                else:
                    _meet(total, sums, tail[start:stop, 0:wide])
            for i in range(here):
                found = total[i, 0]
                for j in range(1, wide):
                    found += total[i, j]
                out[start + i, v] = found
