// Circular patches: running sums, and angles of patches.
#include "common.cuh"

// out[a, p, b] = values[a, p, b] + ... + values[a, p + size - 1, b], positions modulo P, all C-contiguous (A, P, B).
// Blocks of `size` positions, each a thread's: a patch is the end of one block and the start of the next.
extern "C" __global__ void circular_sums(double *out, const double *values, long long size, long long A, long long P,
                                         long long B)
{
    long long starts = (P + size - 1) / size;
    EACH (number, A * starts * B) {
        long long b = number % B, start = number / B % starts * size, a = number / B / starts;
        const double *from = values + a * P * B + b;
        double *to = out + a * P * B + b, total = 0;
        for (long long k = start + size - 1; k >= start; k--) {
            total += from[k % P * B];
            if (k < P)
                to[k * B] = total;
        }
        total = 0;
        for (long long k = start + 1; k < start + size && k < P; k++) {
            total += from[(k + size - 1) % P * B];
            to[k * B] += total;
        }
    }
}

// ‖x/size - y/other‖² / (2 q channels) over a patch; each product is rounded, so that equal directions cancel.
__device__ double half_distance(const double *x, const double *y, long long y_step, double size, double other,
                                const long long *places, long long q, long long channels)
{
    double per_x = 1 / size, per_y = 1 / other, total = 0;
    for (long long w = 0; w < q; w++)
        for (long long k = places[w] * channels; k < (places[w] + 1) * channels; k++) {
            double step = x[k] * per_x - y[k * y_step] * per_y;
            total += step * step;
        }
    return total / (2 * q * channels);
}

// gap = a b - c² (P, r, s) of patches with squares own (P, r), other (P, s) and inner products c, which is written where
// gap < close a b: there both come from the directions of X (r, d) and XT (d, s). lost : null or (P, r, s). C-contiguous.
extern "C" __global__ void patch_gaps(double *gap, double *c, const double *X, const double *own, const double *XT,
                                       const double *other, const long long *places, const double *lost, double close,
                                       long long P, long long r, long long s, long long q, long long channels)
{
    EACH (number, P * r * s) {
        long long j = number % s, i = number / s % r, p = number / s / r;
        double product = own[p * r + i] * other[p * s + j], size = sqrt(product), value = c[number];
        double left = (size - fabs(value)) * (size + fabs(value)), sign = copysign(1.0, value);
        if (left < close * product && (!lost || sign > 0)) {
            double near = half_distance(X + i * P * channels, XT + j, s, sqrt(own[p * r + i]),
                                        sign * sqrt(other[p * s + j]), places + p * q, q, channels);
            if (lost)
                near += lost[number] / size;
            c[number] = sign * size * (1 - near);
            left = product * near * (2 - near);
        }
        gap[number] = left;
    }
}
