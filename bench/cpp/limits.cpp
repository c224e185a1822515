// What the machine can do at most: plain loops over memory, multiply-adds in registers, vector math.
//
// Compiled and called by bench/limits.py, which owns the clock. Every function takes the number of
// repetitions, so that a call is long enough to time from Python. No Python in here: C linkage.
#include <cmath>
#include <cstddef>
#include <cstring>
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace {
// Keeps a value alive, and makes the compiler believe that memory has changed.
template <typename T> inline void keep(T &value) { asm volatile("" : : "g"(&value) : "memory"); }
}  // namespace

extern "C" {

// `n` is a multiple of 64. Eight sums, so that none waits for the additions of another.
double read_bytes(const double *data, std::ptrdiff_t n, std::ptrdiff_t repeat) {
    typedef double vector __attribute__((vector_size(64), aligned(8)));
    vector sums[8] = {};
    for (; repeat > 0; --repeat) {
        for (std::ptrdiff_t i = 0; i < n; i += 64)
            for (int j = 0; j < 8; ++j) sums[j] += *reinterpret_cast<const vector *>(data + i + 8 * j);
        keep(data);
    }
    double total = 0;
    for (int j = 0; j < 8; ++j) total += sums[j][0];
    return total;
}

void write_bytes(double *__restrict data, std::ptrdiff_t n, std::ptrdiff_t repeat) {
    for (; repeat > 0; --repeat) {
        const double value = static_cast<double>(repeat);
        for (std::ptrdiff_t i = 0; i < n; ++i) data[i] = value;
        keep(data);
    }
}

void copy_bytes(const double *__restrict from, double *__restrict to, std::ptrdiff_t n,
                std::ptrdiff_t repeat) {
    for (; repeat > 0; --repeat) {
        // A sum, so that no compiler turns this into a library's memcpy.
        for (std::ptrdiff_t i = 0; i < n; ++i) to[i] = from[i] + 1.0;
        keep(to);
    }
}

// Twelve chains of multiply-adds hide the latency of one (four cycles, two a cycle) and fit the
// registers of every vector extension.
#define MULTIPLY_ADDS(name, type)                                                     \
    double name(std::ptrdiff_t repeat) {                                              \
        typedef type vector __attribute__((vector_size(64)));                        \
        vector sums[12], factor, term;                                                \
        for (std::size_t i = 0; i < sizeof(vector) / sizeof(type); ++i) {             \
            factor[i] = static_cast<type>(0.999);                                     \
            term[i] = static_cast<type>(0.001);                                       \
            for (int j = 0; j < 12; ++j) sums[j][i] = static_cast<type>(j);           \
        }                                                                             \
        asm volatile("" : "+m"(factor), "+m"(term));                                  \
        const vector f = factor, t = term;                                            \
        for (; repeat > 0; --repeat)                                                  \
            for (int j = 0; j < 12; ++j) sums[j] = sums[j] * f + t;                   \
        double total = 0;                                                             \
        for (int j = 0; j < 12; ++j) total += static_cast<double>(sums[j][0]);        \
        return total;                                                                 \
    }
MULTIPLY_ADDS(multiply_adds_float64, double)
MULTIPLY_ADDS(multiply_adds_float32, float)

#define UNARY(name, type, expression)                                                   \
    void name(const type *__restrict in, type *__restrict out, std::ptrdiff_t n,        \
              std::ptrdiff_t repeat) {                                                  \
        for (; repeat > 0; --repeat) {                                                  \
            for (std::ptrdiff_t i = 0; i < n; ++i) {                                    \
                const type x = in[i];                                                   \
                out[i] = expression;                                                    \
            }                                                                           \
            keep(out);                                                                  \
        }                                                                               \
    }
#define BOTH(name, expression)                    \
    UNARY(name##_float64, double, expression)     \
    UNARY(name##_float32, float, expression)

BOTH(exp, std::exp(x))
BOTH(expm1, std::expm1(x))
BOTH(log, std::log(x))
BOTH(log1p, std::log1p(x))
BOTH(sin, std::sin(x))
BOTH(cos, std::cos(x))
BOTH(tanh, std::tanh(x))
BOTH(erf, std::erf(x))
BOTH(sqrt, std::sqrt(x))
BOTH(div, 1 / x)

#if defined(__AVX512F__)
// The 14-bit estimates, made exact by Newton steps: two for doubles, one for floats.
#define ESTIMATED(name, type, vector, load, store, estimate, steps, step, last)                   \
    void name(const type *__restrict in, type *__restrict out, std::ptrdiff_t n, std::ptrdiff_t repeat) { \
        constexpr std::ptrdiff_t width = sizeof(vector) / sizeof(type);                                 \
        for (; repeat > 0; --repeat) {                                                                  \
            for (std::ptrdiff_t i = 0; i + width <= n; i += width) {                                    \
                const vector x = load(in + i);                                                          \
                vector y = estimate(x);                                                                 \
                for (int k = 0; k < steps; ++k) y = step;                                               \
                store(out + i, last);                                                                   \
            }                                                                                           \
            keep(out);                                                                                  \
        }                                                                                               \
    }
#define ROOT_STEP y * (1.5f - 0.5f * x * y * y)
#define QUOTIENT_STEP y * (2.0f - x * y)
ESTIMATED(estimated_sqrt_float64, double, __m512d, _mm512_loadu_pd, _mm512_storeu_pd,
          _mm512_rsqrt14_pd, 2, ROOT_STEP, x * y)
ESTIMATED(estimated_sqrt_float32, float, __m512, _mm512_loadu_ps, _mm512_storeu_ps,
          _mm512_rsqrt14_ps, 1, ROOT_STEP, x * y)
ESTIMATED(estimated_div_float64, double, __m512d, _mm512_loadu_pd, _mm512_storeu_pd,
          _mm512_rcp14_pd, 2, QUOTIENT_STEP, y)
ESTIMATED(estimated_div_float32, float, __m512, _mm512_loadu_ps, _mm512_storeu_ps,
          _mm512_rcp14_ps, 1, QUOTIENT_STEP, y)
#endif
}
