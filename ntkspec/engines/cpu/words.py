"""Words of bits out of numbers on the CPU: a comparison of 64 numbers is a word."""

import numpy as xp
from llvmlite import ir
from numba.core import types

from ntkspec.engines.arrays import Array
from ntkspec.engines.cpu.compiling import compiled, in_llvm

_WORD, _INDEX = ir.IntType(64), ir.IntType(32)


def _loaded(context, builder, kind, argument, i, k):
    """Word k of row i of a matrix of numbers, whose rows lie in one piece: the vector of 64, and its type."""
    array, entry = context.make_array(kind)(context, builder, argument), context.get_data_type(kind.dtype)
    stride = builder.sdiv(builder.extract_value(array.strides, 0), _WORD(kind.dtype.bitwidth // 8))
    place = builder.add(builder.mul(i, stride), builder.mul(k, _WORD(64)))
    vector = ir.VectorType(entry, 64)
    return _vector_at(builder, array.data, place, vector), vector


def _vector_at(builder, start, offset, vector):
    """64 numbers, loaded."""
    place = builder.bitcast(builder.gep(start, [offset]), vector.as_pointer())
    return builder.load(place, align=4)


def _repeated(builder, number, kind):
    """A vector of equal numbers."""
    first = builder.insert_element(ir.Constant(kind, ir.Undefined), number, _INDEX(0))
    return builder.shuffle_vector(first, first, ir.Constant(ir.VectorType(_INDEX, kind.count), None))


def _pack_in_python(matrix, i, k, high):
    """The same word by NumPy."""
    return _word_of(matrix[i, 64 * k : 64 * (k + 1)] == high)


def _word_of(bits):
    return (bits.astype(xp.uint64) << xp.arange(64, dtype=xp.uint64)).sum(dtype=xp.uint64)


@in_llvm(_pack_in_python)
def _packed_word(typingctx, matrix, i, k, high):
    """The word of the numbers 64 k, ..., 64 k + 63 of row i that are ``high``: comparisons of vectors are words."""

    def build(context, builder, signature, arguments):
        numbers, kind = _loaded(context, builder, signature.args[0], *arguments[:3])
        equal = builder.fcmp_ordered("==", numbers, _repeated(builder, arguments[3], kind))
        return builder.bitcast(equal, _WORD)

    return types.uint64(matrix, i, k, high), build


@compiled
def pack_loop(words: Array, matrix: Array, high: float) -> None:
    """``engine.bits.pack``."""
    whole = matrix.shape[1] // 64
    for i in range(matrix.shape[0]):
        for k in range(whole):
            words[i, k] = _packed_word(matrix, i, k, high)
        for k in range(whole, words.shape[1]):
            word = xp.uint64(0)
            for b in range(matrix.shape[1] - 64 * k):
                word |= xp.uint64(matrix[i, 64 * k + b] == high) << xp.uint64(b)
            words[i, k] = word


def _bend_in_python(inputs, i, k, readout, low, lowest, words):
    """The same by NumPy."""
    z, own = inputs[i, 64 * k : 64 * (k + 1)], readout[64 * k : 64 * (k + 1)]
    words[i, k] = _word_of(z >= 0)
    return (own * xp.where(z < 0, low * xp.where(z < lowest, lowest, z), z)).sum()


@in_llvm(_bend_in_python)
def _bent_word(typingctx, inputs, i, k, readout, low, lowest, words):
    """The part of :func:`bend` of word k of row i."""

    def build(context, builder, signature, arguments):
        z, kind = _loaded(context, builder, signature.args[0], *arguments[:3])
        row = context.make_array(signature.args[3])(context, builder, arguments[3]).data
        own = _vector_at(builder, row, builder.mul(arguments[2], _WORD(64)), kind)
        zero = ir.Constant(kind, [0.0] * 64)
        low, lowest = (_repeated(builder, number, kind) for number in arguments[4:6])
        bounded = builder.select(builder.fcmp_ordered("<", z, lowest), lowest, z)
        value = builder.select(builder.fcmp_ordered("<", z, zero), builder.fmul(low, bounded), z)
        words = context.make_array(signature.args[6])(context, builder, arguments[6])
        place = builder.add(builder.mul(arguments[1], builder.extract_value(words.shape, 1)), arguments[2])
        builder.store(builder.bitcast(builder.fcmp_ordered(">=", z, zero), _WORD), builder.gep(words.data, [place]))
        total, half = builder.fmul(value, own), 32
        while half:
            parts = [ir.Constant(ir.VectorType(_INDEX, half), [first + j for j in range(half)]) for first in (0, half)]
            total = builder.fadd(*(builder.shuffle_vector(total, total, part) for part in parts))
            half //= 2
        return builder.extract_element(total, _INDEX(0))

    return inputs.dtype(inputs, i, k, readout, low, lowest, words), build


@compiled
def bend(words: Array, out: Array, inputs: Array, readout: Array, low: float, lowest: float) -> None:
    """out = phi(inputs) @ readout for phi(z) = z or, below 0, low * max(z, lowest); ``words`` has the bits z >= 0."""
    whole = inputs.shape[1] // 64
    for i in range(inputs.shape[0]):
        total = inputs.dtype.type(0)
        for k in range(whole):
            total += _bent_word(inputs, i, k, readout, low, lowest, words)
        for k in range(whole, words.shape[1]):
            word = xp.uint64(0)
            for j in range(64 * k, inputs.shape[1]):
                z = inputs[i, j]
                word |= xp.uint64(z >= 0) << xp.uint64(j - 64 * k)
                total += readout[j] * (low * (lowest if z < lowest else z) if z < 0 else z)
            words[i, k] = word
        out[i] = total
