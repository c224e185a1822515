// One pass over the design matrix: a block of rows is multiplied with the weights, turned into
// residuals, and added to the gradient while it is still in the first-level cache.
#include "module.hpp"

extern const Py_ssize_t argument_count = 3;
void prepare() {}

static constexpr npy_intp rows_per_block = 16;

// z = X w, four rows at a time so that each weight is loaded once for four products.
static void products(const double *__restrict x, const double *__restrict w,
                     double *__restrict z, npy_intp rows, npy_intp features) {
    npy_intp i = 0;
    for (; i + 4 <= rows; i += 4) {
        const double *x0 = x + i * features, *x1 = x0 + features, *x2 = x1 + features,
                     *x3 = x2 + features;
        double z0 = 0, z1 = 0, z2 = 0, z3 = 0;
        for (npy_intp j = 0; j < features; ++j) {
            z0 += x0[j] * w[j];
            z1 += x1[j] * w[j];
            z2 += x2[j] * w[j];
            z3 += x3[j] * w[j];
        }
        z[i] = z0, z[i + 1] = z1, z[i + 2] = z2, z[i + 3] = z3;
    }
    for (; i < rows; ++i) {
        z[i] = 0;
        for (npy_intp j = 0; j < features; ++j) z[i] += x[i * features + j] * w[j];
    }
}

// gradient += Xᵀ r, four rows at a time so that the gradient is loaded and stored once for four.
static void accumulate(const double *__restrict x, const double *__restrict r,
                       double *__restrict gradient, npy_intp rows, npy_intp features) {
    npy_intp i = 0;
    for (; i + 4 <= rows; i += 4) {
        const double *x0 = x + i * features, *x1 = x0 + features, *x2 = x1 + features,
                     *x3 = x2 + features;
        const double r0 = r[i], r1 = r[i + 1], r2 = r[i + 2], r3 = r[i + 3];
        for (npy_intp j = 0; j < features; ++j)
            gradient[j] += r0 * x0[j] + r1 * x1[j] + r2 * x2[j] + r3 * x3[j];
        // The next block is on its way while this one is worked on.
        for (const double *next = x0 + rows * features; next < x0 + (rows + 4) * features; next += 8)
            __builtin_prefetch(next);
    }
    for (; i < rows; ++i)
        for (npy_intp j = 0; j < features; ++j) gradient[j] += r[i] * x[i * features + j];
}

static double residuals(const double *__restrict y, double *__restrict z, npy_intp rows) {
    double value = 0;
    for (npy_intp i = 0; i < rows; ++i) {
        const double small = std::exp(-std::abs(z[i]));
        value += std::max(z[i], 0.0) + std::log1p(small) - y[i] * z[i];
        z[i] = (z[i] >= 0 ? 1.0 : small) / (1 + small) - y[i];
    }
    return value;
}

PyObject *run(PyObject *const *arguments) {
    const Array w = argument(arguments[0]), x = argument(arguments[1]), y = argument(arguments[2]);
    const Array gradient = empty_like(w);
    const npy_intp samples = y.size, features = w.size;
    double value = 0, z[rows_per_block];
    std::fill_n(gradient.data, features, 0.0);
    for (npy_intp at = 0; at < samples; at += rows_per_block) {
        const npy_intp rows = std::min(rows_per_block, samples - at);
        const double *rows_of_x = x.data + at * features;
        products(rows_of_x, w.data, z, rows, features);
        value += residuals(y.data + at, z, rows);
        accumulate(rows_of_x, z, gradient.data, rows, features);
    }
    for (npy_intp j = 0; j < features; ++j) gradient.data[j] /= static_cast<double>(samples);
    return result(value / static_cast<double>(samples), {gradient});
}
