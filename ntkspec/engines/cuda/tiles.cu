// What is asked of the entries of a tile. One thread an entry; sums of a block are added up by the caller.
#include "common.cuh"

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
