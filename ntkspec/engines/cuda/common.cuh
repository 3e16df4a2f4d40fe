// What the kernels of this folder share. Options of the compiler set the types: `real` of a matrix, `number` of vectors
// that may be wider than it. Nothing is contracted (--fmad=false): what is rounded once is written as fma().

#define THREADS 256

// A matrix as an argument, by the steps between its entries: rows and columns of any stride.
#define MATRIX(type, A) type *A, long long A##_down, long long A##_along
#define AT(A, i, j) A[(i) * A##_down + (j) * A##_along]

// Loops over the entries of a (rows, cols) matrix, or over `count` numbers, of which each thread takes its own.
#define EACH_ENTRY(i, j, rows, cols)                                                                                   \
    for (long long i = blockIdx.y; i < (rows); i += gridDim.y)                                                         \
        for (long long j = blockIdx.x * (long long)THREADS + threadIdx.x; j < (cols); j += gridDim.x * (long long)THREADS)
#define EACH(k, count)                                                                                                 \
    for (long long k = blockIdx.x * (long long)THREADS + threadIdx.x; k < (count); k += gridDim.x * (long long)THREADS)

// The sum of a number of each thread of a block, always in the same order. All threads of the block call it.
__device__ inline double block_sum(double own)
{
    __shared__ double numbers[THREADS];
    numbers[threadIdx.x] = own;
    __syncthreads();
    for (int half = THREADS / 2; half > 0; half /= 2) {
        if (threadIdx.x < half)
            numbers[threadIdx.x] += numbers[threadIdx.x + half];
        __syncthreads();
    }
    double total = numbers[0];
    __syncthreads();
    return total;
}
