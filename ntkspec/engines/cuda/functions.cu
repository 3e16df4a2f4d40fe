// Activations entry by entry: value = phi(z) and slope = phi'(z) in one pass.
#include "functions.cuh"

#define FILL(name)                                                                                                     \
    extern "C" __global__ void fill_##name(const real *z, real *value, real *slope, long long count, double parameter) \
    {                                                                                                                  \
        EACH (i, count)                                                                                                \
            phi_##name(z[i], &value[i], &slope[i], parameter);                                                         \
    }

FILL(piecewise_linear)
FILL(erf)
FILL(tanh)
FILL(sigmoid)
FILL(softplus)
FILL(silu)
FILL(gelu)
FILL(elu)
FILL(sin)
FILL(cos)
