"""Products with a symmetric matrix on the CPU that read one triangle once for both halves, and for several vectors."""

from collections.abc import Sequence
from typing import Any

import numpy as xp
from llvmlite import ir
from numba.core import cgutils, types

from ntkspec.engines.arrays import Array, DTypeLike
from ntkspec.engines.cpu.compiling import compiled, in_llvm
from ntkspec.engines.cpu.tables import lines, width

# Eight numbers to a vector; LLVM splits it where the machine's are shorter.
LANES = 8
# Rows of a tile that are read together, by the number of vectors they are multiplied with: as many sums as stay in
# registers. The rows lie far apart, so that the memory's prefetchers see several streams.
_ROWS = {1: 4, 2: 8, 4: 4}
_INT, _INDEX = ir.IntType(64), ir.IntType(32)
_ROUNDED_ONCE = ("contract",)


def room(count: int, n: int, dtype: DTypeLike) -> Array:
    """Zeros (count, at least n) for vectors or sums. Each row begins with a line of the cache: loops read and write
    whole lines."""
    return lines(count, -(-n // width(dtype)), dtype=dtype).reshape(count, -1)


class _Writer:
    """Writes loops over tiles of the first array in vectors of a type that may be longer than that of its entries."""

    def __init__(
        self, context: Any, builder: ir.IRBuilder, kinds: Sequence[Any], arguments: Sequence[ir.Value], number: Any
    ):
        self.builder = builder
        self.arrays = [
            context.make_array(kind)(context, builder, argument)
            for kind, argument in zip(kinds, arguments, strict=True)
        ]
        self.entry, self.number = (context.get_data_type(kind) for kind in (kinds[0].dtype, number))
        self.bytes = [kind.dtype.bitwidth // 8 for kind in kinds]
        self.vector = ir.VectorType(self.number, LANES)

    def row(self, which: int, index: ir.Value) -> ir.Value:
        """Pointer to a row of one of the arrays."""
        array, builder = self.arrays[which], self.builder
        stride = builder.sdiv(builder.extract_value(array.strides, 0), _INT(self.bytes[which]))
        return builder.gep(array.data, [builder.mul(index, stride)])

    def place(self, start: ir.Value, offset: ir.Value, kind: ir.Type | None = None) -> ir.Value:
        """Pointer to LANES numbers of a row."""
        return self.builder.bitcast(self.builder.gep(start, [offset]), (kind or self.vector).as_pointer())

    def entries(self, start: ir.Value, offset: ir.Value) -> ir.Value:
        """LANES entries of the matrix in the type of the vectors."""
        kind = ir.VectorType(self.entry, LANES)
        loaded = self.builder.load(self.place(start, offset, kind), align=self.bytes[0])
        return loaded if self.entry == self.number else self.builder.fpext(loaded, self.vector)

    def broadcast(self, number: ir.Value) -> ir.Value:
        """LANES copies of a number."""
        empty, first = ir.Constant(self.vector, ir.Undefined), ir.Constant(ir.VectorType(_INDEX, LANES), None)
        return self.builder.shuffle_vector(self.builder.insert_element(empty, number, _INDEX(0)), empty, first)

    def plus_product(self, total: ir.Value, one: ir.Value, other: ir.Value) -> ir.Value:
        """total + one * other, rounded once where the machine can."""
        return self.builder.fadd(total, self.builder.fmul(one, other, flags=_ROUNDED_ONCE), flags=_ROUNDED_ONCE)

    def add_sum(self, place: ir.Value, vector: ir.Value) -> None:
        """Add the sum of a vector's numbers to one number in memory."""
        total = self.builder.load(place)
        for lane in range(LANES):
            total = self.builder.fadd(total, self.builder.extract_element(vector, _INDEX(lane)))
        self.builder.store(total, place)


def _both_sides_in_python(block, left, right, below, above):
    """The same two products by NumPy."""
    below += right @ block.T
    above += left @ block


def _both_sides(count: int):
    """below += block @ right and above += left @ block for ``count`` vectors, reading the block once.

    block : (r, c), rows of any stride, r a multiple of the rows read together, c of LANES.
    left, below : (count, r). right, above : (count, c).
    """
    rows, vectors = range(_ROWS[count]), range(count)

    def build(context, builder, signature, arguments):
        write = _Writer(context, builder, signature.args, arguments, signature.args[1].dtype)
        height, width = (builder.extract_value(write.arrays[0].shape, axis) for axis in (0, 1))
        step = builder.udiv(height, _INT(len(rows)))
        left, right, below, above = ([write.row(k, _INT(v)) for v in vectors] for k in (1, 2, 3, 4))
        zero = ir.Constant(write.vector, [0.0] * LANES)
        sums = {(v, r): cgutils.alloca_once(builder, write.vector) for v in vectors for r in rows}
        with cgutils.for_range(builder, step) as loop:
            lines = [builder.add(loop.index, builder.mul(step, _INT(r))) for r in rows]
            starts = [write.row(0, line) for line in lines]
            places = {(v, r): builder.gep(left[v], [lines[r]]) for v in vectors for r in rows}
            for place in sums.values():
                builder.store(zero, place)
            with cgutils.for_range_slice(builder, _INT(0), width, _INT(LANES), _INT) as (j, _):
                x = [builder.load(write.place(right[v], j), align=write.bytes[1]) for v in vectors]
                up = [builder.load(write.place(above[v], j), align=write.bytes[1]) for v in vectors]
                for r in rows:
                    entries = write.entries(starts[r], j)
                    for v in vectors:
                        builder.store(write.plus_product(builder.load(sums[v, r]), entries, x[v]), sums[v, r])
                        factor = write.broadcast(builder.load(places[v, r]))
                        up[v] = write.plus_product(up[v], factor, entries)
                for v in vectors:
                    builder.store(up[v], write.place(above[v], j), align=write.bytes[1])
            for (v, r), place in sums.items():
                write.add_sum(builder.gep(below[v], [lines[r]]), builder.load(place))
        return context.get_dummy_value()

    def both_sides(typingctx, block, left, right, below, above):
        return types.void(block, left, right, below, above), build

    both_sides.__doc__ = _both_sides.__doc__
    return in_llvm(_both_sides_in_python)(both_sides)


_one_vector, _two_vectors, _four_vectors = (_both_sides(count) for count in (1, 2, 4))


@compiled
def _edges(block, left, right, below, above, height, width):
    """What the loops over vectors of numbers leave: rows from ``height`` and columns from ``width`` on."""
    for i in range(block.shape[0]):
        for j in range(0 if i >= height else width, block.shape[1]):
            for v in range(left.shape[0]):
                below[v, i] += block[i, j] * right[v, j]
                above[v, j] += left[v, i] * block[i, j]


@compiled
def _tile_product(block, left, right, below, above):
    """below += right @ blockᵀ and above += left @ block for any number of vectors (rows of left, right).

    All arrays are passed as slices along both axes: of one type for the compiler, which then compiles it once.
    """
    height, width = block.shape[0] // 8 * 8, block.shape[1] // 8 * 8
    whole, v, count = block[:height, :width], 0, left.shape[0]
    while height * width > 0 and v < count:
        if count - v >= 4:
            _four_vectors(whole, left[v : v + 4], right[v : v + 4], below[v : v + 4], above[v : v + 4])
            v += 4
        elif count - v >= 2:
            _two_vectors(whole, left[v : v + 2], right[v : v + 2], below[v : v + 2], above[v : v + 2])
            v += 2
        else:
            _one_vector(whole, left[v : v + 1], right[v : v + 1], below[v : v + 1], above[v : v + 1])
            v += 1
    _edges(block, left, right, below, above, height, width)


@compiled
def triangle_product(blocks: Array, first: int, last: int, vectors: Array, out: Array) -> None:
    """Add to ``out`` the products of the tiles first, ..., last - 1 of a lower triangle, and of their mirrors.

    blocks : (tiles, T, T) in the order (0, 0), (1, 0), (1, 1), (2, 0), ...; tiles on the diagonal are whole.
    vectors, out : (k, count of block rows * T or more), float64, or the dtype of the blocks.
    """
    T = blocks.shape[1]
    row = 0
    while (row + 1) * (row + 2) // 2 <= first:
        row += 1
    column = first - row * (row + 1) // 2
    ignored = xp.zeros((vectors.shape[0], T), out.dtype)
    for k in range(first, last):
        rows, columns = slice(row * T, (row + 1) * T), slice(column * T, (column + 1) * T)
        mirror = out[:, columns] if row != column else ignored
        _tile_product(blocks[k, :, :], vectors[:, rows], vectors[:, columns], out[:, rows], mirror)
        column += 1
        if column > row:
            row, column = row + 1, 0


# Rows and columns of the pieces of a matrix that is stored row by row: long rows for the prefetchers, and sums above
# them that stay in the second cache.
_STRIP, _LENGTH = 64, 4096


@compiled
def product(matrix: Array, first: int, last: int, vectors: Array, out: Array) -> None:
    """Add to ``out`` the products of the rows first, ..., last - 1 of a lower triangle, and of their mirrors.

    matrix : (n, n), each row in one piece, of which the lower triangle and squares of 64 rows on the diagonal are read;
    first is a multiple of 64. vectors, out : (k, n or more), float64, or the dtype of the matrix.
    """
    for row in range(first, last, _STRIP):
        end = min(row + _STRIP, last)
        rows = slice(row, end)
        for column in range(0, row, _LENGTH):
            columns = slice(column, min(column + _LENGTH, row))
            block = matrix[rows, columns]
            _tile_product(block, vectors[:, rows], vectors[:, columns], out[:, rows], out[:, columns])
        ignored = xp.zeros((vectors.shape[0], end - row), out.dtype)
        _tile_product(matrix[rows, rows], vectors[:, rows], vectors[:, rows], out[:, rows], ignored[:, :])


def _shuffled(builder, one, other, places):
    return builder.shuffle_vector(one, other, ir.Constant(ir.VectorType(_INDEX, LANES), places))


def _transposed(builder, rows):
    """The eight columns of eight rows of eight numbers, in three rounds of shuffles."""
    for pairs, low, high in (
        (((0, 1), (2, 3), (4, 5), (6, 7)), (0, 8, 1, 9, 4, 12, 5, 13), (2, 10, 3, 11, 6, 14, 7, 15)),
        (((0, 2), (1, 3), (4, 6), (5, 7)), (0, 1, 8, 9, 4, 5, 12, 13), (2, 3, 10, 11, 6, 7, 14, 15)),
        (((0, 4), (1, 5), (2, 6), (3, 7)), (0, 1, 2, 3, 8, 9, 10, 11), (4, 5, 6, 7, 12, 13, 14, 15)),
    ):
        halves = [[_shuffled(builder, rows[i], rows[j], half) for half in (low, high)] for i, j in pairs]
        rows = [row for pair in halves for row in pair]
    return [rows[k] for k in (0, 2, 4, 6, 1, 3, 5, 7)]


def _compare_in_python(block, mirror, i, j, sums):
    """The same sums by NumPy, in the first lane."""
    own = block[i : i + 8, j : j + 8].astype(xp.float64)
    other = mirror[j : j + 8, i : i + 8].T
    sums[:, 0] += (own**2 + other**2).sum(), ((own - other) ** 2).sum()


@in_llvm(_compare_in_python)
def _compare_square(typingctx, block, mirror, i, j, sums):
    """sums[0] += squares of block[i : i + 8, j : j + 8] and its mirror, sums[1] += squares of their differences.

    sums : (2, 8) float64, a sum for each lane. From scalar loops LLVM makes eight times as many instructions.
    """

    def build(context, builder, signature, arguments):
        write = _Writer(context, builder, signature.args[:2], arguments[:2], types.float64)
        i, j, sums = arguments[2], arguments[3], context.make_array(signature.args[4])(context, builder, arguments[4])
        own = [write.entries(write.row(0, builder.add(i, _INT(k))), j) for k in range(LANES)]
        mirrored = [write.entries(write.row(1, builder.add(j, _INT(k))), i) for k in range(LANES)]
        mirrored = _transposed(builder, mirrored)
        for number in range(2):
            place = builder.bitcast(builder.gep(sums.data, [_INT(LANES * number)]), write.vector.as_pointer())
            total = builder.load(place, align=8)
            for one, other in zip(own, mirrored, strict=True):
                for part in (one, other) if number == 0 else (builder.fsub(one, other),):
                    total = write.plus_product(total, part, part)
            builder.store(total, place, align=8)
        return context.get_dummy_value()

    return types.void(block, mirror, i, j, sums), build


@compiled
def _compare(block, mirror, sums):
    """The sums of :func:`_compare_square` over a tile of any shape, by squares of whole lines of the cache."""
    height, width = block.shape[0] // 8 * 8, block.shape[1] // 8 * 8
    for column in range(0, width, 16):
        for row in range(0, height, 16):
            for j in range(column, min(column + 16, width), 8):
                for i in range(row, min(row + 16, height), 8):
                    _compare_square(block, mirror, i, j, sums)
    for i in range(block.shape[0]):
        for j in range(0 if i >= height else width, block.shape[1]):
            one, other = xp.float64(block[i, j]), xp.float64(mirror[j, i])
            sums[0, 0] += one * one + other * other
            sums[1, 0] += (one - other) ** 2


@compiled
def squares_and_defect(matrix: Array, first: int, last: int) -> tuple[float, float]:
    """(sum of a_ij², sum of (a_ij - a_ji)²) over rows first, ..., last - 1 of a lower triangle and their mirrors.

    matrix : (n, n), each row in one piece.
    """
    side, squares, defect = 64, 0.0, 0.0
    for row in range(first, last, side):
        end = min(row + side, last)
        for column in range(0, end, side):
            right, sums = min(column + side, end), xp.zeros((2, 8))
            _compare(matrix[row:end, column:right], matrix[column:right, row:end], sums)
            weight = 1.0 if column + side <= row else 0.5
            squares += weight * sums[0].sum()
            defect += 2.0 * weight * sums[1].sum()
    return squares, defect
