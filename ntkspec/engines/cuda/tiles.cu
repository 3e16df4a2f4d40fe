// Passes over tiles: sums, the Hadamard product, norms. One thread an entry; sums of a block are added up by the caller.
#include "common.cuh"

// out += scale * P
extern "C" __global__ void add_scaled(MATRIX(real, out), MATRIX(const real, P), real scale, long long rows, long long cols)
{
    EACH_ENTRY (i, j, rows, cols)
        AT(out, i, j) += scale * AT(P, i, j);
}

// out += scale * P * Q entry by entry
extern "C" __global__ void add_hadamard(MATRIX(real, out), MATRIX(const real, P), MATRIX(const real, Q), real scale,
                                        long long rows, long long cols)
{
    EACH_ENTRY (i, j, rows, cols)
        AT(out, i, j) += scale * AT(P, i, j) * AT(Q, i, j);
}

// out += scale * F @ GT for F (rows, k), GT (k, cols) and a few k
extern "C" __global__ void add_thin(MATRIX(real, out), MATRIX(const real, F), MATRIX(const real, GT), real scale,
                                    long long rows, long long cols, long long k)
{
    EACH_ENTRY (i, j, rows, cols) {
        real sum = 0;
        for (long long l = 0; l < k; l++)
            sum += AT(F, i, l) * AT(GT, l, j);
        AT(out, i, j) += scale * sum;
    }
}

// sums[block] = squares of the block's entries, in double
extern "C" __global__ void sum_of_squares(double *sums, MATRIX(const real, tile), long long rows, long long cols)
{
    double own = 0;
    EACH_ENTRY (i, j, rows, cols) {
        double entry = AT(tile, i, j);
        own = fma(entry, entry, own);
    }
    own = block_sum(own);
    if (threadIdx.x == 0)
        sums[blockIdx.y * gridDim.x + blockIdx.x] = own;
}

// largest[thread] = the largest |tile[i, j]| of the thread with i != j + skip; NaN where one is NaN
extern "C" __global__ void largest_entry(double *largest, MATRIX(const real, tile), long long skip, long long rows,
                                         long long cols)
{
    double own = 0;
    EACH_ENTRY (i, j, rows, cols) {
        double size = fabs((double)AT(tile, i, j));
        if (i != j + skip && (size > own || size != size))
            own = size;
    }
    largest[(blockIdx.y * (long long)gridDim.x + blockIdx.x) * THREADS + threadIdx.x] = own;
}
