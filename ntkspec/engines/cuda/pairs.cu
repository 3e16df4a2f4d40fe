// Pairs of inputs, and Hermite series. One thread a pair.
#include "common.cuh"

// ‖x/size - y/other‖² / (2 d), which is 1 - |rho|. Each product is rounded, so that equal directions cancel.
__device__ double half_distance(MATRIX(const real, X), long long i, MATRIX(const real, Y), long long j, double size,
                                double other, long long d)
{
    double per_x = 1 / size, per_y = 1 / other, total = 0;
    for (long long k = 0; k < d; k++) {
        double step = AT(X, i, k) * per_x - AT(Y, j, k) * per_y;
        total += step * step;
    }
    return total / (2 * d);
}

// (c, gap): <x, x'>/d and ‖x‖²‖x'‖²/d² - c², from gram = X X'ᵀ and own, other = ‖x‖²/d, ‖x'‖²/d.
extern "C" __global__ void pair_moments(MATRIX(real, c), MATRIX(real, gap), MATRIX(const real, gram),
                                        MATRIX(const real, X), const double *own, MATRIX(const real, Y),
                                        const double *other, real close, long long rows, long long cols, long long d)
{
    real per_dim = 1.0 / d;
    EACH_ENTRY (i, j, rows, cols) {
        double product = own[i] * other[j];
        real size = sqrt((real)product), value = AT(gram, i, j) * per_dim, left;
        left = (size - fabs(value)) * (size + fabs(value));
        if (left < close * product) {
            double sign = value < 0 ? -1.0 : 1.0;
            double near = half_distance(X, X_down, X_along, i, Y, Y_down, Y_along, j, sqrt(own[i]),
                                        sign * sqrt(other[j]), d);
            value = sign * sqrt(product) * (1 - near);
            left = product * near * (2 - near);
        }
        AT(c, i, j) = value;
        AT(gap, i, j) = left;
    }
}

// out = sum_k rho^k left[i, k] right_t[k, j] over k < terms, by Horner's rule
extern "C" __global__ void power_series(MATRIX(real, out), MATRIX(const real, rho), MATRIX(const real, left),
                                        MATRIX(const real, right_t), long long rows, long long cols, long long terms)
{
    EACH_ENTRY (i, j, rows, cols) {
        real total = 0, x = AT(rho, i, j);
        for (long long k = terms - 1; k >= 0; k--)
            total = fma(total, x, AT(left, i, k) * AT(right_t, k, j));
        AT(out, i, j) = total;
    }
}

// values[k, q] = He_k(points[q]) / sqrt(k!)
extern "C" __global__ void hermite_polynomials(MATRIX(double, values), const double *points, long long terms,
                                               long long count)
{
    EACH (q, count) {
        double before = 0, now = 1;
        for (long long k = 0; k < terms; k++) {
            AT(values, k, q) = now;
            double following = points[q] * now * (1 / sqrt(k + 1.0)) - before * sqrt(k / (k + 1.0));
            before = now;
            now = following;
        }
    }
}
