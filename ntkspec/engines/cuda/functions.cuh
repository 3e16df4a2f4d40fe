// Activations: value = phi(z) and slope = phi'(z) in one pass, step by step what engines/functions.py does on the CPU,
// with its error bounds: only operations that IEEE 754 rounds correctly are used. (sin and cos: CUDA's own, in double.)
#include "common.cuh"

// The polynomials, as in engines/functions.py, which says what they approximate and how well.
__constant__ const double EXP64[] = {
    0.50000000000000010221, 0.16666666666666667453, 0.041666666666624127873, 0.0083333333333300618325,
    0.0013888888917213716901, 0.00019841269863053616878, 2.4801521295954375131e-5, 2.7557268459997064772e-6,
    2.7620088445409748161e-7, 2.5100385495510319078e-8};
__constant__ const double LOG64[] = {1.4426950408889634, 0.6931471805599453, 2.3190468138462996e-17};
__constant__ const double SMALL64[] = {
    -0.37612638903183749412, 0.11283791670954387178, -0.026866170644835376997, 0.0052239776208133418889,
    -0.00085483266514911418325, 0.00012055315509827724673, -1.4925137231361603529e-5, 1.6452392414414234915e-6,
    -1.6246587957259628749e-7, 1.3884625209147687787e-8, -8.1018695496609517916e-10};
__constant__ const double TAIL64[] = {
    0.15863563986398753847, -0.28911696489644856168, 0.21766070207102876342, -0.13303678486655430548,
    0.06351219455975876787, -0.021617289674941747792, 0.0037834235795908591392, 0.00062722395541200731605,
    -0.00052913273225895139089, 4.010595699965002827e-5, 5.6773310429155506041e-5, -1.1387036279300540872e-5,
    -7.0969241128632418698e-6, 1.7933716242303391404e-6, 1.1345389241734409485e-6};
__constant__ const double ERF64[] = {1.1283791670955126, 1.533545961316588e-17, 3.0, 26.63};
__constant__ const double ATANH64[] = {
    0.66666666666666658561, 0.40000000000014582673, 0.28571428567108757162, 0.22222222717427862989,
    0.18181789436132858169, 0.15385570064958623103, 0.1331414420965493615, 0.12001072809590712535,
    0.088007384861446738822, 0.16164045611943532221};
__constant__ const double NORMAL64[] = {
    0.37764256520787574673, 0.073694244221929664433, -0.11037962061483893636, 0.1003077713912830101,
    -0.063062641534341712503, 0.02642819296190927638, -0.005509940667789750802, -0.00092443695081883876391,
    0.0008820813984031532685, -4.8875359927167783944e-5, -0.00011650173280673307606, 1.6618578624041401463e-5,
    1.7931498354235365677e-5, -2.6035748139685066064e-6, -3.2779708631773945834e-6, 2.0201639453086422682e-7,
    6.5336559305730326631e-7, 4.5222159483214211396e-8, -1.2813158131838706713e-7, -1.9007139965963552743e-8,
    2.009017169419545618e-8};

__constant__ const float EXP32[] = {0.5f, 0.1666657699f, 0.041666554617f, 0.0083631790527f, 0.0013926183588f};
__constant__ const float LOG32[] = {1.4426950408889634f, 0.6931472f, -1.9046542e-09f};
__constant__ const float SMALL32[] = {-0.37612638376f,   0.11283753662f,   -0.026861699955f,
                                  0.0052045787788f, -0.000816198654f, 8.3797555818e-5f};
__constant__ const float TAIL32[] = {0.22633852499f,   -0.37858372631f,  0.21416400495f,   -0.069983839148f,
                                 0.0033077283486f, 0.0060362157772f, -0.00074263639665f};
__constant__ const float ERF32[] = {1.1283792f, -5.8635383e-08f, 2.0f, 9.38f};

// exp(-1400) is 0 times any number.
#define FAR 1400.0

// coefficients[0] + coefficients[1] x + ..., by Horner's rule
template <class T, int N> __device__ inline T polynomial(const T (&coefficients)[N], T x)
{
    T value = coefficients[N - 1];
#pragma unroll
    for (int k = N - 2; k >= 0; k--)
        value = fma(value, x, coefficients[k]);
    return value;
}

// 2^exponent for a whole exponent, through its bits: the sum with 1.5 2^mantissa ends in them.
__device__ inline double power_of_two(double exponent)
{
    return __longlong_as_double((__double_as_longlong(exponent + 6755399441055744.0) + 1023) << 52);
}

__device__ inline float power_of_two(float exponent)
{
    return __int_as_float((__float_as_int(exponent + 12582912.0f) + 127) << 23);
}

// k and e with exp(x + rest) = 2^k (1 + e); `rest` is what rounding took from x.
template <class T, int N> __device__ inline T exponential(T x, T rest, T *k, const T (&coefficients)[N], const T (&log)[3])
{
    *k = rint(x * log[0]);
    T r = fma(-*k, log[1], x) + fma(-*k, log[2], rest);
    return fma(r * r, polynomial(coefficients, r), r);
}

__device__ inline double exponential(double x, double rest, double *k) { return exponential(x, rest, k, EXP64, LOG64); }
__device__ inline float exponential(float x, float rest, float *k) { return exponential(x, rest, k, EXP32, LOG32); }

// 2^k x, also where 2^k itself is not a normal number
__device__ inline double scaled(double x, double k)
{
    double half = rint(k * 0.5);
    return x * power_of_two(half) * power_of_two(k - half);
}

// min that keeps a NaN x
template <class T> __device__ inline T at_most(T x, T largest) { return x > largest ? largest : x; }

// exp(-size) - 1, exactly rounded sums apart; *decay = exp(-size)
__device__ inline double decayed(double size, double *decay)
{
    double k, e = exponential(-at_most(size, FAR), 0.0, &k);
    *decay = scaled(1.0 + e, k);
    return fma(scaled(1.0, k), e, scaled(1.0, k) - 1.0);
}

// One activation at one number. `parameter` is the slope below zero, or elu's alpha; the others take none.
#define ACTIVATION(name) __device__ inline void phi_##name(real z, real *value, real *slope, double parameter)

// z and 1 for z >= 0, `below` z and `below` = parameter otherwise; 0 times -inf is 0 here
ACTIVATION(piecewise_linear)
{
    *slope = z >= 0 ? (real)1 : (real)parameter;
    *value = *slope * (*slope == 0 && z < -1 ? (real)-1 : z);
}

// erf(z) and *slope = 2/sqrt(pi) exp(-z²); constants = 2/sqrt(pi) in two parts, the centre of the tail, the largest size
template <class T, int M, int N>
__device__ inline T erf_of(T z, T *slope, const T (&small)[M], const T (&tail)[N], const T (&constants)[4])
{
    T size = at_most((T)fabs(z), constants[3]), square = size * size, k;
    T e = exponential(-square, -fma(size, size, -square), &k);
    *slope = (fma(constants[0], e, constants[1]) + constants[0]) * power_of_two(k);
    T beyond = fma(-*slope, polynomial(tail, (size - constants[2]) / (size + constants[2])), (T)1);
    T near = fma(square, polynomial(small, square), constants[1]);
    return copysign(size > 1 ? beyond : fma(size, constants[0], size * near), z);
}

__device__ inline double erf_of(double z, double *slope) { return erf_of(z, slope, SMALL64, TAIL64, ERF64); }
__device__ inline float erf_of(float z, float *slope) { return erf_of(z, slope, SMALL32, TAIL32, ERF32); }

ACTIVATION(erf)
{
    *value = erf_of(z, slope);
}

ACTIVATION(tanh)
{
    double x = z, decay, less = decayed(2.0 * fabs(x), &decay);
    *value = copysign(less / (2.0 + less), x);
    *slope = 4.0 * decay / fma(decay, 2.0 + decay, 1.0);
}

ACTIVATION(sigmoid)
{
    double x = z, decay;
    decayed(fabs(x), &decay);
    double larger = 1.0 / (1.0 + decay);
    *value = x >= 0 ? larger : decay * larger;
    *slope = decay / fma(decay, 2.0 + decay, 1.0);
}

ACTIVATION(softplus)
{
    double x = z, decay;
    decayed(fabs(x), &decay);
    double s = decay / (2.0 + decay), larger = 1.0 / (1.0 + decay);
    *value = (x < 0 ? 0.0 : x) + fma(s * s * s, polynomial(ATANH64, s * s), 2.0 * s);
    *slope = x >= 0 ? larger : decay * larger;
}

ACTIVATION(silu)
{
    double x = z, size = at_most(fabs(x), FAR), k, e = exponential(-size, 0.0, &k);
    double decay = scaled(1.0 + e, k), larger = 1.0 / (1.0 + decay);
    *value = x >= 0 ? x * larger : scaled(-size * (1.0 + e), k) * larger;
    double bump = size * decay * larger * larger;
    *slope = x >= 0 ? larger + bump : decay * larger - bump;
}

ACTIVATION(gelu)
{
    double x = z, size = at_most(fabs(x), 39.0), square = 0.5 * size * size, k;
    double e = exponential(-square, -fma(0.5 * size, size, -square), &k);
    double rest = fma(0.35355339059327373 * square, polynomial(SMALL64, square), -2.49232720227773e-17);
    double near = fma(-size, rest, fma(-size, 0.3989422804014327, 0.5));
    double far = polynomial(NORMAL64, (size - 4.0) / (size + 4.0));
    far = scaled(fma(far, e, far), k);
    double loss = size < 1.0 ? size * near : far, below = size < 1.0 ? near : far / size;
    double bump = scaled(0.3989422804014327 * size * (1.0 + e), k);
    *value = x >= 0 ? x - loss : -loss;
    *slope = x >= 0 ? 1.0 - below + bump : below - bump;
}

// z and 1 for z >= 0, alpha (exp(z) - 1) and alpha exp(z) below, for alpha = parameter
ACTIVATION(elu)
{
    double x = z, k, e = exponential(-at_most(fabs(x), FAR), 0.0, &k);
    *value = x >= 0 ? x : parameter * fma(scaled(1.0, k), e, scaled(1.0, k) - 1.0);
    *slope = x >= 0 ? 1.0 : scaled(parameter * (1.0 + e), k);
}

ACTIVATION(sin)
{
    double sine, cosine;
    sincos((double)z, &sine, &cosine);
    *value = sine;
    *slope = cosine;
}

ACTIVATION(cos)
{
    double sine, cosine;
    sincos((double)z, &sine, &cosine);
    *value = cosine;
    *slope = -sine;
}
