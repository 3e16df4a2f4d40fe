// A step of full-batch gradient descent of f(x) = v · phi(W x / sqrt d) / sqrt m on (1/2n) sum (f(x_i) - t_i)²: a pass
// over the points, with weights and gradients in registers, and an update. Every sum has one order.
//
// Compiled for an activation PHI, for D = d rounded up to LANES, for SETS = m / THREADS rounded up, and for the layers
// that move, FIRST and SECOND (0 or 1). ROWS points are in work at once. LANES neighbouring threads share as many neurons
// of each set, and each holds every LANES-th weight of all of them: so it multiplies a number that it reads from shared
// memory LANES * SETS times. With fewer the reading, and not the arithmetic, would take the time.
#include "functions.cuh"

#define LANES 8
#define SLICE (D / LANES)
#define NEURONS (SETS * THREADS)
#define WARPS (THREADS / 32)
#define FETCHED ((ROWS * D + THREADS - 1) / THREADS)

// What a block of threads shares: points, phi(u) and phi'(u) of ROWS points, v / sqrt m, and targets, then residuals.
struct Shared {
    real points[ROWS * D], values[ROWS][NEURONS], slopes[ROWS][NEURONS], readout[NEURONS], residuals[ROWS];
};
// The weights of a thread, or their gradients: of neuron k of its lanes in each set, column c * LANES + its lane.
typedef real Weights[SETS][LANES][SLICE];

#define EACH_WEIGHT(set, k, c)                                                                                         \
    _Pragma("unroll") for (int set = 0; set < SETS; set++) _Pragma("unroll") for (int k = 0; k < LANES; k++)           \
        _Pragma("unroll") for (int c = 0; c < SLICE; c++)
#define LANE ((int)threadIdx.x % LANES)
#define OWN(set) ((set) * THREADS + (int)threadIdx.x)
#define NEURON(set, k) (OWN(set) - LANE + (k))
#define COLUMN(c) ((c) * LANES + LANE)

// This thread's numbers of a chunk of ROWS points; the last point stands for those behind it. X (n, D), C-contiguous.
__device__ __forceinline__ void fetch(real (&own)[FETCHED], const real *X, long long chunk, long long n)
{
#pragma unroll
    for (int k = 0; k < FETCHED; k++)
        own[k] = X[at_most(chunk * ROWS + OWN(k) / D, n - 1) * D + OWN(k) % D];
}

__device__ __forceinline__ void store(Shared &all, const real (&own)[FETCHED])
{
#pragma unroll
    for (int k = 0; k < FETCHED; k++)
        if (OWN(k) < ROWS * D)
            all.points[OWN(k)] = own[k];
}

// parts[k] added up over the lanes, where k is the lane's own number: half of what is left goes to a lane's partner.
__device__ __forceinline__ real sum_of_lanes(real (&parts)[LANES])
{
#pragma unroll
    for (int half = LANES / 2; half > 0; half /= 2)
#pragma unroll
        for (int k = 0; k < half; k++) {
            bool upper = LANE & half;
            real given = upper ? parts[k] : parts[k + half], kept = upper ? parts[k + half] : parts[k];
            parts[k] = kept + __shfl_xor_sync(0xffffffff, given, half);
        }
    return parts[0];
}

// phi(u) and phi'(u), u = W x / sqrt d; each thread those of its own neurons.
__device__ __forceinline__ void activate(Shared &all, const Weights &w, double parameter)
{
#pragma unroll 4
    for (int row = 0; row < ROWS; row++) {
        real u[SETS][LANES] = {};
        EACH_WEIGHT (set, k, c)
            u[set][k] = fma(w[set][k][c], all.points[row * D + COLUMN(c)], u[set][k]);
#pragma unroll
        for (int set = 0; set < SETS; set++) {
            real value, slope;
            PHI(sum_of_lanes(u[set]), &value, &slope, parameter);
            all.values[row][OWN(set)] = value;
            all.slopes[row][OWN(set)] = slope;
        }
    }
}

// Outputs, a warp for each row, and residuals from targets; whether all outputs of this thread are finite.
__device__ __forceinline__ bool compare(Shared &all, real *out, long long rows)
{
    bool finite = true;
    for (int first = 0; first < ROWS; first += WARPS) {
        int row = first + threadIdx.x / 32;
        real total = 0;
        if (row < ROWS)
#pragma unroll
            for (int k = 0; k < NEURONS / 32; k++)
                total = fma(all.values[row][32 * k + threadIdx.x % 32], all.readout[32 * k + threadIdx.x % 32], total);
#pragma unroll
        for (int half = 16; half > 0; half /= 2)
            total += __shfl_xor_sync(0xffffffff, total, half);
        if (row < ROWS && threadIdx.x % 32 == 0) {
            finite = finite && isfinite(total);
            all.residuals[row] = row < rows ? total - all.residuals[row] : 0;
            if (row < rows)
                out[row] = total;
        }
    }
    return finite;
}

// Add r phi'(u) xᵀ and r phi(u) of ROWS points.
__device__ __forceinline__ void add_gradients(const Shared &all, Weights &gradient_W, real (&gradient_v)[SETS])
{
#pragma unroll 4
    for (int row = 0; row < ROWS; row++) {
        real residual = all.residuals[row];
        if (FIRST)
            EACH_WEIGHT (set, k, c)
                gradient_W[set][k][c] = fma(all.slopes[row][NEURON(set, k)], residual * all.points[row * D + COLUMN(c)],
                                            gradient_W[set][k][c]);
        if (SECOND)
#pragma unroll
            for (int set = 0; set < SETS; set++)
                gradient_v[set] = fma(residual, all.values[row][OWN(set)], gradient_v[set]);
    }
}

// out (n) = f(X), and of the rows of each block sums[block] = sum r_i phi'(u_i) x_iᵀ (m, d), then sum r_i phi(u_i) (m),
// r_i = f(x_i) - targets[i]. weights : W (m, d), then v (m). marks : the step, and the first one with an output that is
// not finite.
extern "C" __global__ void descent_pass(real *out, real *sums, long long *marks, const real *X, const real *targets,
                                        const real *weights, double parameter, real root_d, real root_m, long long m,
                                        long long d, long long n)
{
    __shared__ Shared all;
    Weights w, gradient_W = {};
    real gradient_v[SETS] = {}, ahead[FETCHED];
    bool finite = true;
    // All are read before the first is used. Neurons beyond the last repeat it, with a readout of 0.
    EACH_WEIGHT (set, k, c)
        w[set][k][c] = weights[at_most<long long>(NEURON(set, k), m - 1) * d + at_most<long long>(COLUMN(c), d - 1)];
    EACH_WEIGHT (set, k, c)
        w[set][k][c] = COLUMN(c) < d ? w[set][k][c] / root_d : 0;
    for (int set = 0; set < SETS; set++)
        all.readout[OWN(set)] = OWN(set) < m ? weights[m * d + OWN(set)] / root_m : 0;
    fetch(ahead, X, blockIdx.x, n);
    for (long long chunk = blockIdx.x; chunk * ROWS < n; chunk += gridDim.x) {
        store(all, ahead);
        if (threadIdx.x < ROWS)
            all.residuals[threadIdx.x] = chunk * ROWS + threadIdx.x < n ? targets[chunk * ROWS + threadIdx.x] : 0;
        __syncthreads();
        fetch(ahead, X, chunk + gridDim.x, n);
        activate(all, w, parameter);
        __syncthreads();
        finite = compare(all, out + chunk * ROWS, n - chunk * ROWS) && finite;
        __syncthreads();
        add_gradients(all, gradient_W, gradient_v);
        __syncthreads();
    }
    if (!finite)
        atomicMin(marks + 1, marks[0]);
    real *own = sums + blockIdx.x * m * (d + 1);
    EACH_WEIGHT (set, k, c)
        if (FIRST && NEURON(set, k) < m && COLUMN(c) < d)
            own[NEURON(set, k) * d + COLUMN(c)] = gradient_W[set][k][c];
#pragma unroll
    for (int set = 0; set < SETS; set++)
        if (SECOND && OWN(set) < m)
            own[m * d + OWN(set)] = gradient_v[set];
}

// later = now less the rates times the gradients, for the weights first, ..., last - 1 of W and v in one line, and the
// next step in marks. A block of threads takes 32 weights; its warps share out what the blocks of the pass found.
extern "C" __global__ void descent_update(real *later, const real *now, const real *sums, long long *marks, real rate_W,
                                          real rate_v, long long blocks, long long first, long long last, long long m,
                                          long long d, long long n)
{
    __shared__ double found[WARPS][32];
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    long long weight = first + blockIdx.x * 32 + lane;
    double total = 0;
    if (weight < last)
        for (long long block = warp; block < blocks; block += WARPS)
            total += sums[block * m * (d + 1) + weight];
    found[warp][lane] = total;
    __syncthreads();
    if (warp == 0 && weight < last) {
        for (int other = 1; other < WARPS; other++)
            total += found[other][lane];
        real rate = weight < m * d ? rate_W * now[m * d + weight / d] : rate_v, gradient = (real)total / n;
        later[weight] = now[weight] - rate * gradient;
    }
    if (blockIdx.x == 0 && threadIdx.x == 0)
        marks[0]++;
}
