// Enough of CUDA to run the kernels of ntkspec/engines/cuda on a CPU: a grid is a loop over blocks, the threads of a
// block are fibers that hand over at barriers. A barrier that only some threads of a block reach ends the program.
#include <cmath>
#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <type_traits>
#include <ucontext.h>
#include <utility>
#include <vector>
#ifdef __SSE__
#include <xmmintrin.h>
#endif

#define __global__
#define __device__
#define __forceinline__ inline
#define __constant__ static
#define __shared__ static

struct dim3 { unsigned x, y, z; };
static dim3 blockIdx, gridDim, threadIdx;

using std::copysign; using std::fabs; using std::fma; using std::isfinite; using std::rint; using std::sqrt;

static inline long long __double_as_longlong(double x) { long long bits; memcpy(&bits, &x, 8); return bits; }
static inline double __longlong_as_double(long long bits) { double x; memcpy(&x, &bits, 8); return x; }
static inline int __float_as_int(float x) { int bits; memcpy(&bits, &x, 4); return bits; }
static inline float __int_as_float(int bits) { float x; memcpy(&x, &bits, 4); return x; }
static inline int __popcll(unsigned long long word) { return __builtin_popcountll(word); }
static inline long long atomicMin(long long *place, long long value)
{
    long long before = *place;
    if (value < before) *place = value;
    return before;
}

// CuPy compiles with -ftz=true: float numbers below the smallest normal one are zero. Here, in kernels for floats, double
// ones as well.
struct Flushing {
#if defined(__SSE__) && defined(real)
    unsigned before = _mm_getcsr();
    Flushing() { if (std::is_same_v<real, float>) _mm_setcsr(before | 0x8040); }
    ~Flushing() { _mm_setcsr(before); }
#endif
};

namespace host {
struct Fiber { ucontext_t context; jmp_buf place; std::vector<char> stack; bool begun = false; };
static std::vector<Fiber *> idle;
static Fiber *running;
static jmp_buf scheduler;
static ucontext_t main_context;
static void (*body)(void *);
static void *arguments;
static bool waiting;

static void loop()
{
    for (;;) {
        body(arguments);
        waiting = false;
        if (!_setjmp(running->place)) _longjmp(scheduler, 1);
    }
}

static void resume(Fiber *fiber)
{
    running = fiber;
    if (_setjmp(scheduler)) return;
    if (fiber->begun) _longjmp(fiber->place, 1);
    fiber->begun = true;
    fiber->stack.resize(1 << 16);
    getcontext(&fiber->context);
    fiber->context.uc_stack.ss_sp = fiber->stack.data();
    fiber->context.uc_stack.ss_size = fiber->stack.size();
    fiber->context.uc_link = &main_context;
    makecontext(&fiber->context, loop, 0);
    setcontext(&fiber->context);
}

static void block(unsigned threads)
{
    std::vector<std::pair<unsigned, Fiber *>> now, later;
    for (unsigned t = 0; t < threads; t++) now.push_back({t, nullptr});
    while (!now.empty()) {
        unsigned ended = 0;
        for (auto [t, fiber] : now) {
            if (!fiber && idle.empty()) idle.push_back(new Fiber);
            if (!fiber) { fiber = idle.back(); idle.pop_back(); }
            threadIdx = {t, 0, 0};
            resume(fiber);
            if (waiting) later.push_back({t, fiber});
            else { idle.push_back(fiber); ended++; }
        }
        if (ended && !later.empty()) { fprintf(stderr, "a barrier was reached by some threads of a block only\n"); abort(); }
        // The other way round after each barrier: what forgets one reads what is not there yet.
        now.assign(later.rbegin(), later.rend());
        later.clear();
    }
}
}

static void __syncthreads()
{
    host::waiting = true;
    if (!_setjmp(host::running->place)) _longjmp(host::scheduler, 1);
}

// Exchanges within warps: all threads of the block take part, as at a barrier.
template <class T> static T exchanged(T value, unsigned from)
{
    static T values[1024];
    values[threadIdx.x] = value;
    __syncthreads();
    T found = from / 32 == threadIdx.x / 32 ? values[from] : value;
    __syncthreads();
    return found;
}

template <class T> static T __shfl_down_sync(unsigned, T value, int by) { return exchanged(value, threadIdx.x + by); }
template <class T> static T __shfl_xor_sync(unsigned, T value, int by) { return exchanged(value, threadIdx.x ^ by); }

// What an argument must be: its size, or for an array 1000 + the size of an entry (+ 100 where it is a float).
template <class P> long kind_of()
{
    using Entry = std::remove_pointer_t<P>;
    if (!std::is_pointer_v<P>) return sizeof(P);
    return 1000 + sizeof(Entry) + 100 * std::is_floating_point_v<Entry>;
}

// Launch a kernel; returns 1 where the arguments are not of the kinds of its parameters. A null pointer fits all arrays.
template <class... P> int launch(void (*kernel)(P...), unsigned across, unsigned down, unsigned threads, void **given,
                                 const long *kinds, long count)
{
    const long wanted[] = {kind_of<P>()...};
    if (count != (long)sizeof...(P)) return 1;
    for (long k = 0; k < count; k++)
        if (kinds[k] != wanted[k] && !(wanted[k] > 1000 && kinds[k] == 8 && !*(void **)given[k])) return 1;
    struct Call { void (*kernel)(P...); void **given; } call{kernel, given};
    host::arguments = &call;
    host::body = [](void *it) {
        Call &call = *(Call *)it;
        [&]<size_t... I>(std::index_sequence<I...>) { call.kernel(*(P *)call.given[I]...); }(std::index_sequence_for<P...>{});
    };
    gridDim = {across, down, 1};
    Flushing flushing;
    for (unsigned y = 0; y < down; y++)
        for (unsigned x = 0; x < across; x++) { blockIdx = {x, y, 0}; host::block(threads); }
    return 0;
}
