// Inner products of rows, a warp for each.
#include "common.cuh"

#define WARPS (THREADS / 32)

// products[p] = <left[p], right[p / each]>, computed in `number`; `real` and OTHER are what left and right hold.
extern "C" __global__ void row_products(number *products, MATRIX(const real, left), MATRIX(const OTHER, right),
                                        long long each, long long count, long long columns)
{
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    for (long long first = blockIdx.x * (long long)WARPS; first < count; first += gridDim.x * (long long)WARPS) {
        long long p = first + warp;
        number total = 0;
        if (p < count)
            for (long long k = lane; k < columns; k += 32)
                total = fma((number)AT(left, p, k), (number)AT(right, p / each, k), total);
        for (int half = 16; half > 0; half /= 2)
            total += __shfl_down_sync(0xffffffff, total, half);
        if (p < count && lane == 0)
            products[p] = total;
    }
}
