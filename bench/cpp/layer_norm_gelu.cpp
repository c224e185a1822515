// Row by row, every pass over a row in the first-level cache: mean, variance, GELU with its
// derivative, and the gradient once the row's two sums are known.
#include "module.hpp"

#include <memory>

extern const Py_ssize_t argument_count = 3;
void prepare() {}

static constexpr float epsilon = 1e-5f, sqrt_half = 0.70710678f, inverse_sqrt_two_pi = 0.39894228f;

// The gradients by γ and β: sums over 64 rows in float, over all of them in double.
static constexpr npy_intp rows_per_block = 64;

// Four sums over a quarter of the row each, so that additions do not wait for one another.
template <class Term> static float sum(npy_intp n, Term term) {
    const npy_intp quarter = n / 4;
    float s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    for (npy_intp j = 0; j < quarter; ++j) {
        s0 += term(j);
        s1 += term(j + quarter);
        s2 += term(j + 2 * quarter);
        s3 += term(j + 3 * quarter);
    }
    for (npy_intp j = 4 * quarter; j < n; ++j) s0 += term(j);
    return s0 + s1 + (s2 + s3);
}

struct RowSums {
    float squares, total, along;
};

// Part of a row: the activation's squares, the derivative by the normalized row into `flow`, and
// its two sums that the gradient needs.
static RowSums activate(npy_intp n, float scale, float mean, float inverse,
                        const float *__restrict x, const float *__restrict gamma,
                        const float *__restrict beta, float *__restrict flow,
                        float *__restrict by_gamma, float *__restrict by_beta) {
    float squares = 0, total = 0, along = 0;
    for (npy_intp j = 0; j < n; ++j) {
        const float normal = (x[j] - mean) * inverse, y = normal * gamma[j] + beta[j];
        const float cdf = 0.5f + 0.5f * std::erf(y * sqrt_half);
        const float density = inverse_sqrt_two_pi * std::exp(-0.5f * y * y);
        const float activation = y * cdf, by_y = scale * activation * (cdf + y * density);
        const float by_normal = by_y * gamma[j];
        squares += activation * activation;
        by_gamma[j] += by_y * normal;
        by_beta[j] += by_y;
        total += by_normal;
        along += by_normal * normal;
        flow[j] = by_normal;
    }
    return {squares, total, along};
}

static float row(npy_intp features, float scale, const float *__restrict x,
                 const float *__restrict gamma, const float *__restrict beta,
                 float *__restrict flow, float *__restrict by_x, float *__restrict by_gamma,
                 float *__restrict by_beta) {
    const float per_row = 1.0f / static_cast<float>(features);
    const float mean = per_row * sum(features, [=](npy_intp j) { return x[j]; });
    const float variance =
        per_row * sum(features, [=](npy_intp j) { return (x[j] - mean) * (x[j] - mean); });
    const float inverse = 1 / std::sqrt(variance + epsilon);

    RowSums sums = {0, 0, 0};
    constexpr npy_intp part = 128, line = 64 / sizeof(float);
    for (npy_intp from = 0; from < features; from += part) {
        const npy_intp n = std::min(part, features - from);
        // Memory has nothing to do while the functions are computed: the next row and the lines
        // that this row will be written to are on their way meanwhile.
        for (npy_intp j = from; j < from + n; j += line) {
            __builtin_prefetch(x + features + j);
            __builtin_prefetch(by_x + j, 1);
        }
        const RowSums some = activate(n, scale, mean, inverse, x + from, gamma + from, beta + from,
                                      flow + from, by_gamma + from, by_beta + from);
        sums.squares += some.squares;
        sums.total += some.total;
        sums.along += some.along;
    }
    const float level = sums.total * per_row, tilt = sums.along * per_row * inverse;
    for (npy_intp j = 0; j < features; ++j)
        by_x[j] = inverse * (flow[j] - level - (x[j] - mean) * tilt);
    return sums.squares;
}

PyObject *run(PyObject *const *arguments) {
    const Array x = argument(arguments[0]), gamma = argument(arguments[1]),
                beta = argument(arguments[2]);
    const Array by_x = empty_like(x), by_gamma = empty_like(gamma), by_beta = empty_like(beta);
    const npy_intp rows = x.extent(0), features = x.extent(1);
    std::unique_ptr<float[]> scratch(new float[3 * features]);
    float *flow = scratch.get(), *sums = flow + features;
    std::vector<double> totals(2 * features, 0.0);
    const double size = static_cast<double>(x.size);

    double value = 0;
    for (npy_intp at = 0; at < rows; at += rows_per_block) {
        std::fill_n(sums, 2 * features, 0.0f);
        for (npy_intp i = at; i < std::min(rows, at + rows_per_block); ++i)
            value += row(features, static_cast<float>(2 / size), x.data + i * features, gamma.data,
                         beta.data, flow, by_x.data + i * features, sums, sums + features);
        for (npy_intp j = 0; j < 2 * features; ++j) totals[j] += sums[j];
    }
    std::copy_n(totals.data(), features, by_gamma.data);
    std::copy_n(totals.data() + features, features, by_beta.data);
    return result(value / size, {by_x, by_gamma, by_beta});
}
