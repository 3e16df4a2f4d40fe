// A tile of a sum of kernels in one pass: each Gram matrix is read once, the tile is written once, and the squares of its
// entries are summed on the way. With at most two factors a product is a term of a polynomial in the Gram matrices A,
//     out_ij = sum_a A_ij (alone_a + sum_{b <= a} pairs_ab B_ij) + sum_t scale_t <F_i, G_j>,
// so that Theta_1 - Theta^lin1 is (X Xᵀ)_ij (c (D Dᵀ)_ij - c') - c''. Definitions: GRAMS, how many A there are; COUNTS,
// whose bit a says that A holds counts of bits, and LEVELS, that these stand for two values; LOW_RANK, how many <F_i, G_j>.
#include "common.cuh"

#define MOST 4
// Rows of a column that a thread takes at once, so that many reads are under way while it waits for the first.
#define TOGETHER 4

struct Numbers {
    const real *first;
    long long down, along;
};

// Entries of a Gram matrix, `real`, or int where they are counts; those of two values are
// square count_ij + cross (ones_i + others_j) + constant.
struct Gram {
    const void *first;
    long long down, along;
    const long long *ones, *others;
    double square, cross, constant;
};

struct LowRank {
    Numbers F, G;
    long long features;
};

struct Sum {
    Gram grams[MOST];
    LowRank low_rank[MOST];
    real alone[MOST], pairs[MOST][MOST], scales[MOST];
};

__device__ inline real entry(const Gram &A, bool counts, bool levels, long long i, long long j)
{
    long long place = i * A.down + j * A.along;
    if (!counts)
        return ((const real *)A.first)[place];
    int count = ((const int *)A.first)[place];
    if (!levels)
        return count;
    return fma(A.square, (double)count, fma(A.cross, (double)(A.ones[i] + A.others[j]), A.constant));
}

// Row r of those that a thread takes from `top` on: at the lower edge the last one again, which is not written twice.
__device__ inline long long row(long long top, int r, long long rows) { return top + r < rows ? top + r : rows - 1; }

// out = terms where it is `fresh`, else out += terms; squares : null, or the sum of each block's squared entries
extern "C" __global__ void add_terms(MATRIX(real, out), double *squares, Sum sum, long long fresh, long long rows,
                                     long long cols)
{
    double own = 0;
    for (long long top = blockIdx.y * (long long)TOGETHER; top < rows; top += gridDim.y * (long long)TOGETHER)
        for (long long j = blockIdx.x * (long long)THREADS + threadIdx.x; j < cols; j += gridDim.x * (long long)THREADS) {
            real values[MOST][TOGETHER], totals[TOGETHER];
            for (int r = 0; r < TOGETHER; r++)
                totals[r] = fresh ? 0 : AT(out, row(top, r, rows), j);
            for (int a = 0; a < GRAMS; a++)
                for (int r = 0; r < TOGETHER; r++)
                    values[a][r] = entry(sum.grams[a], COUNTS >> a & 1, LEVELS >> a & 1, row(top, r, rows), j);
            for (int r = 0; r < TOGETHER; r++)
                for (int a = 0; a < GRAMS; a++) {
                    real factor = sum.alone[a];
                    for (int b = 0; b <= a; b++)
                        factor = fma(sum.pairs[a][b], values[b][r], factor);
                    totals[r] = fma(values[a][r], factor, totals[r]);
                }
            for (int t = 0; t < LOW_RANK; t++) {
                const Numbers &F = sum.low_rank[t].F, &G = sum.low_rank[t].G;
                real inner[TOGETHER] = {};
#pragma unroll 1  // a few features, and registers for more blocks of threads
                for (long long k = 0; k < sum.low_rank[t].features; k++)
                    for (int r = 0; r < TOGETHER; r++)
                        inner[r] = fma(F.first[row(top, r, rows) * F.down + k * F.along],
                                       G.first[j * G.down + k * G.along], inner[r]);
                for (int r = 0; r < TOGETHER; r++)
                    totals[r] = fma(sum.scales[t], inner[r], totals[r]);
            }
            for (int r = 0; r < TOGETHER && top + r < rows; r++) {
                AT(out, top + r, j) = totals[r];
                own = fma((double)totals[r], (double)totals[r], own);
            }
        }
    if (squares) {
        own = block_sum(own);
        if (threadIdx.x == 0)
            squares[blockIdx.y * gridDim.x + blockIdx.x] = own;
    }
}
