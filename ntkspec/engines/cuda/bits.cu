// Matrices of bits, 64 to a word: packing, unpacking, and what surrounds their Gram matrix on the tensor cores.
#include "common.cuh"

typedef unsigned long long word;

// Bit b of words[i, k] says whether matrix[i, 64 k + b] == high.
extern "C" __global__ void pack_bits(MATRIX(word, words), MATRIX(const real, matrix), real high, long long rows,
                                     long long count, long long columns)
{
    EACH_ENTRY (i, k, rows, count) {
        word packed = 0;
        for (long long b = 0; b < 64 && 64 * k + b < columns; b++)
            packed |= (word)(AT(matrix, i, 64 * k + b) == high) << b;
        AT(words, i, k) = packed;
    }
}

extern "C" __global__ void unpack_bits(MATRIX(real, out), MATRIX(const word, words), real low, real high, long long rows,
                                       long long columns)
{
    EACH_ENTRY (i, j, rows, columns)
        AT(out, i, j) = AT(words, i, j / 64) >> (j % 64) & 1 ? high : low;
}

// 0 and 1 as bytes (rows, columns), for integer matrix products; what lies outside the words (n, count) is zero.
extern "C" __global__ void unpack_bytes(MATRIX(signed char, out), MATRIX(const word, words), long long rows,
                                        long long columns, long long n, long long count)
{
    EACH_ENTRY (i, j, rows, columns)
        AT(out, i, j) = i < n && j / 64 < count ? AT(words, i, j / 64) >> (j % 64) & 1 : 0;
}

extern "C" __global__ void count_ones(long long *ones, MATRIX(const word, words), long long rows, long long count)
{
    EACH (i, rows) {
        long long sum = 0;
        for (long long k = 0; k < count; k++)
            sum += __popcll(AT(words, i, k));
        ones[i] = sum;
    }
}
