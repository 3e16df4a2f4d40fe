// Products with a symmetric matrix that read one triangle once for both halves, in tiles of `side` rows and columns.
// A block of threads takes STRIP rows of a tile. Its warps share out the rows, its lanes the columns, LANE_COLUMNS each:
// a lane adds up its rows' products, and with the mirrored entries those of its columns. Every sum has one order.
#include "common.cuh"

#define STRIP 64
#define WARPS (THREADS / 32)
#define OWN_ROWS (STRIP / WARPS)
// With more vectors a thread has registers for fewer columns.
#define LANE_COLUMNS (VECTORS > 2 ? 2 : 4)
#define CHUNK (32 * LANE_COLUMNS)

// A lane's entries of a row, of which `left` columns are left from its first one on; zero beyond.
__device__ __forceinline__ void fetch(real (&ahead)[LANE_COLUMNS], const real *from, long long left)
{
#pragma unroll
    for (int k = 0; k < LANE_COLUMNS; k++)
        ahead[k] = 32 * k < left ? from[32 * k] : 0;
}

// below[tile, v, row] = tile @ right and above[tile, strip, v, column] = strip of left @ tile, for the tiles
// (row, column) in units of `side` that `places` lists with the entry that each starts at: (tiles, 3).
// matrix : rows `step` entries apart, of which those before `n` count. vectors (VECTORS, n).
extern "C" __global__ void both_sides(number *below, number *above, const real *matrix, long long step,
                                      const long long *places, MATRIX(const number, vectors), long long side, long long n)
{
    __shared__ number of_columns[WARPS][VECTORS][CHUNK];
    long long strips = (side + STRIP - 1) / STRIP, tile = blockIdx.x / strips, strip = blockIdx.x % strips;
    long long row = places[3 * tile], column = places[3 * tile + 1];
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    long long height = n - row * side < side ? n - row * side : side;
    long long width = n - column * side < side ? n - column * side : side;
    const real *entries = matrix + places[3 * tile + 2] + lane;
    // The last row stands for those behind it, with vectors that are zero there.
    const real *of_row[OWN_ROWS];
    number rows[OWN_ROWS][VECTORS] = {}, left[OWN_ROWS][VECTORS];
    // Entries are read one chunk ahead, into the registers of those that are being used: memory never waits for sums.
    real ahead[OWN_ROWS][LANE_COLUMNS];
#pragma unroll
    for (int r = 0; r < OWN_ROWS; r++) {
        long long i = strip * STRIP + r * WARPS + warp;
        of_row[r] = entries + (i < height ? i : height - 1) * step;
        fetch(ahead[r], of_row[r], width - lane);
        for (int v = 0; v < VECTORS; v++)
            left[r][v] = i < height ? AT(vectors, v, row * side + i) : 0;
    }
    for (long long first = 0; first < side; first += CHUNK) {
        number columns[LANE_COLUMNS][VECTORS] = {}, right[LANE_COLUMNS][VECTORS];
        for (int k = 0; k < LANE_COLUMNS; k++) {
            long long j = first + 32 * k + lane;
            for (int v = 0; v < VECTORS; v++)
                right[k][v] = j < width ? AT(vectors, v, column * side + j) : 0;
        }
#pragma unroll
        for (int r = 0; r < OWN_ROWS; r++) {
            real now[LANE_COLUMNS];
            for (int k = 0; k < LANE_COLUMNS; k++)
                now[k] = ahead[r][k];
            fetch(ahead[r], of_row[r] + first + CHUNK, width - lane - first - CHUNK);
            for (int k = 0; k < LANE_COLUMNS; k++)
                for (int v = 0; v < VECTORS; v++) {
                    rows[r][v] = fma((number)now[k], right[k][v], rows[r][v]);
                    columns[k][v] = fma((number)now[k], left[r][v], columns[k][v]);
                }
        }
        for (int k = 0; k < LANE_COLUMNS; k++)
            for (int v = 0; v < VECTORS; v++)
                of_columns[warp][v][32 * k + lane] = columns[k][v];
        __syncthreads();
        for (int own = threadIdx.x; own < VECTORS * CHUNK; own += THREADS) {
            int v = own / CHUNK, k = own % CHUNK;
            number total = 0;
            for (int w = 0; w < WARPS; w++)
                total += of_columns[w][v][k];
            if (first + k < side)
                above[((tile * strips + strip) * VECTORS + v) * side + first + k] = total;
        }
        __syncthreads();
    }
    for (int r = 0; r < OWN_ROWS; r++)
        for (int v = 0; v < VECTORS; v++) {
            number total = rows[r][v];
            for (int half = 16; half > 0; half /= 2)
                total += __shfl_down_sync(0xffffffff, total, half);
            long long i = strip * STRIP + r * WARPS + warp;
            if (lane == 0 && i < side)
                below[(tile * VECTORS + v) * side + i] = total;
        }
}

// Add to out (VECTORS, n) what both_sides found for these tiles; a tile on the diagonal is whole and has no mirror.
extern "C" __global__ void collect(MATRIX(number, out), const number *below, const number *above,
                                   const long long *places, long long tiles, long long side, long long n)
{
    long long strips = (side + STRIP - 1) / STRIP;
    EACH_ENTRY (v, place, VECTORS, n) {
        long long own = place / side, here = place % side;
        number total = 0;
        for (long long tile = 0; tile < tiles; tile++) {
            if (places[3 * tile] == own)
                total += below[(tile * VECTORS + v) * side + here];
            else if (places[3 * tile + 1] == own)
                for (long long strip = 0; strip < strips; strip++)
                    total += above[((tile * strips + strip) * VECTORS + v) * side + here];
        }
        AT(out, v, place) += total;
    }
}

// sums[block] = (sum of a_ij², sum of (a_ij - a_ji)²) over squares of 32 rows and columns of the whole matrix (n, n).
// The mirrored square goes through shared memory, so that both are read along their rows.
extern "C" __global__ void squares_and_defect(double *sums, MATRIX(const real, matrix), long long n)
{
    __shared__ real mirrored[32][33];
    double squares = 0, defect = 0;
    long long count = (n + 31) / 32;
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    for (long long square = blockIdx.x; square < count * count; square += gridDim.x) {
        long long row = square / count * 32, column = square % count * 32;
        for (int r = warp; r < 32; r += WARPS)
            mirrored[r][lane] = column + r < n && row + lane < n ? AT(matrix, column + r, row + lane) : 0;
        __syncthreads();
        for (int r = warp; r < 32; r += WARPS)
            if (row + r < n && column + lane < n) {
                double entry = AT(matrix, row + r, column + lane), other = mirrored[lane][r];
                squares = fma(entry, entry, squares);
                defect = fma(entry - other, entry - other, defect);
            }
        __syncthreads();
    }
    squares = block_sum(squares);
    defect = block_sum(defect);
    if (threadIdx.x == 0) {
        sums[2 * blockIdx.x] = squares;
        sums[2 * blockIdx.x + 1] = defect;
    }
}
