// Blocks of points in the lanes of vectors: whiten them for every component, weigh them, and add
// up the outer products of the factors' gradient, in tiles that stay in registers.
//
// Compiled for the dimensions that the benchmark has, so that a point's coordinates are registers.
#include "module.hpp"

#include <limits>

extern const Py_ssize_t argument_count = 4;
void prepare() {}

static constexpr npy_intp lanes = 8, vectors = 16, points_per_block = lanes * vectors;
static constexpr double gamma_squared = 1, prior_m = 0;  // the Wishart prior's γ² and m
using Vector = double __attribute__((vector_size(lanes * sizeof(double))));

static double horizontal(Vector v) {
    double sum = 0;
    for (npy_intp lane = 0; lane < lanes; ++lane) sum += v[lane];
    return sum;
}

// A component: its factor Q, -Q μ, and the sums over points of w, w y and w y xᵀ.
template <int d> struct Component {
    double factor[d][d], shift[d], mean[d], offset;
    Vector mass, weighted[d], outer[d][d];
};

// A block of points: vector by vector, the coordinates of eight points.
template <int d> struct Block {
    Vector at[vectors][d];
};

// y = Q (x - μ), the exponents α + log|Q| - |y|²/2, and the largest exponents so far.
template <int d>
static void whiten(const Component<d> &component, const Block<d> &x, Block<d> &whitened,
                   Vector *__restrict exponent, Vector *__restrict largest) {
    for (npy_intp v = 0; v < vectors; ++v) {
        Vector centred[d], y[d], square = {};
#pragma GCC unroll 16
        for (int j = 0; j < d; ++j) centred[j] = x.at[v][j] - component.mean[j];
#pragma GCC unroll 16
        for (int i = 0; i < d; ++i) {
            y[i] = component.factor[i][0] * centred[0];
#pragma GCC unroll 16
            for (int j = 1; j <= i; ++j) y[i] += component.factor[i][j] * centred[j];
            whitened.at[v][i] = y[i];
            square += y[i] * y[i];
        }
        exponent[v] = component.offset - 0.5 * square;
        largest[v] = largest[v] > exponent[v] ? largest[v] : exponent[v];
    }
}

// outer += w y (x - μ)ᵀ for a tile of at most rows × columns entries on or below the diagonal.
template <int d, int from_row, int from_column, int rows, int columns>
static void add_tile(Component<d> &component, const Block<d> &x, const Block<d> &y) {
    Vector sums[rows][columns];
#pragma GCC unroll 16
    for (int i = 0; i < rows; ++i)
#pragma GCC unroll 16
        for (int j = 0; j < columns; ++j) sums[i][j] = component.outer[from_row + i][from_column + j];
    for (npy_intp v = 0; v < vectors; ++v) {
        Vector row[rows];
#pragma GCC unroll 16
        for (int i = 0; i < rows; ++i) row[i] = y.at[v][from_row + i];
#pragma GCC unroll 16
        for (int j = 0; j < columns; ++j) {
            const Vector column = x.at[v][from_column + j] - component.mean[from_column + j];
#pragma GCC unroll 16
            for (int i = 0; i < rows; ++i)
                if (from_column + j <= from_row + i) sums[i][j] += row[i] * column;
        }
    }
#pragma GCC unroll 16
    for (int i = 0; i < rows; ++i)
#pragma GCC unroll 16
        for (int j = 0; j < columns; ++j) component.outer[from_row + i][from_column + j] = sums[i][j];
}

// Adds w, w y and w y (x - μ)ᵀ of a block, with w the exponential times the normalizer's inverse.
template <int d>
static void accumulate(Component<d> &component, const Block<d> &x, Block<d> &y,
                       const Vector *__restrict exponential, const Vector *__restrict inverse) {
    Vector mass = component.mass, weighted[d];
#pragma GCC unroll 16
    for (int i = 0; i < d; ++i) weighted[i] = component.weighted[i];
    for (npy_intp v = 0; v < vectors; ++v) {
        const Vector weight = exponential[v] * inverse[v];
        mass += weight;
#pragma GCC unroll 16
        for (int i = 0; i < d; ++i) weighted[i] += y.at[v][i] *= weight;
    }
    component.mass = mass;
#pragma GCC unroll 16
    for (int i = 0; i < d; ++i) component.weighted[i] = weighted[i];
    constexpr int half = d / 2, rest = d - half;
    add_tile<d, 0, 0, half, half>(component, x, y);
    add_tile<d, half, 0, rest, half>(component, x, y);
    add_tile<d, half, half, rest, rest>(component, x, y);
}

// Turns exponents into exponentials and `largest` into 1 / Σ exp, with 0 for lanes behind the last
// point; returns the sum of log Σ exp.
static double normalize(npy_intp components, npy_intp count, double *__restrict exponents,
                        double *__restrict largest) {
    double normalizer[points_per_block] = {}, value = 0;
    for (npy_intp k = 0; k < components; ++k, exponents += points_per_block)
        for (npy_intp s = 0; s < points_per_block; ++s) {
            exponents[s] = std::exp(exponents[s] - largest[s]);
            normalizer[s] += exponents[s];
        }
    for (npy_intp s = 0; s < points_per_block; ++s) {
        value += s < count ? largest[s] + std::log(normalizer[s]) : 0.0;
        largest[s] = s < count ? 1 / normalizer[s] : 0.0;
    }
    return value;
}

template <int d>
static Component<d> unpack(double alpha, const double *mean, const double *icf) {
    Component<d> component = {};
    component.offset = alpha;
    const double *below = icf + d;
    for (int j = 0; j < d; ++j) {
        component.mean[j] = mean[j];
        component.offset += icf[j];
        component.factor[j][j] = std::exp(icf[j]);
        for (int i = j + 1; i < d; ++i) component.factor[i][j] = *below++;
    }
    return component;
}

// Writes the gradients of one component, but for α's normalizer; returns its part of the prior.
template <int d>
static double finish(const Component<d> &component, const double *icf, double *by_alpha,
                     double *by_mean, double *by_icf) {
    const double mass = horizontal(component.mass);
    *by_alpha = mass;
    double prior = 0;
    std::fill_n(by_mean, d, 0.0);
    npy_intp at = d;
    for (int j = 0; j < d; ++j) {
        const double weighted = horizontal(component.weighted[j]);
        for (int i = 0; i <= j; ++i) by_mean[i] += component.factor[j][i] * weighted;
        const double q = component.factor[j][j];
        by_icf[j] = q * (gamma_squared * q - horizontal(component.outer[j][j])) + mass - prior_m;
        prior += 0.5 * gamma_squared * q * q - prior_m * icf[j];
        for (int i = j + 1; i < d; ++i, ++at) {
            by_icf[at] = gamma_squared * icf[at] - horizontal(component.outer[i][j]);
            prior += 0.5 * gamma_squared * icf[at] * icf[at];
        }
    }
    return prior;
}

// The part of the objective that depends on no parameter.
static double constant(npy_intp n, npy_intp d, npy_intp k) {
    const double pi = 3.14159265358979323846, freedom = d + prior_m + 1;
    double log_gamma = 0.25 * d * (d - 1) * std::log(pi);
    for (npy_intp j = 0; j < d; ++j) log_gamma += std::lgamma(0.5 * (freedom - j));
    const double scale = 0.5 * freedom * d * std::log(gamma_squared / 2);
    return -0.5 * n * d * std::log(2 * pi) - k * (scale - log_gamma);
}

template <int d>
static PyObject *fused(const Array &alphas, const Array &means, const Array &icf,
                       const Array &points) {
    const Array by_alphas = empty_like(alphas), by_means = empty_like(means),
                by_icf = empty_like(icf);
    const npy_intp k = alphas.size, n = points.extent(0), per_factor = icf.extent(1);
    // Kept from call to call: first touches of fresh pages would cost as much as the arithmetic.
    static std::vector<Component<d>> components;
    static std::vector<Block<d>> whitened;
    static std::vector<Vector> exponents;
    components.clear();
    for (npy_intp c = 0; c < k; ++c)
        components.push_back(
            unpack<d>(alphas.data[c], means.data + c * d, icf.data + c * per_factor));
    whitened.resize(k);
    exponents.resize(k * vectors);

    double value = constant(n, d, k);
    for (npy_intp at = 0; at < n; at += points_per_block) {
        const npy_intp count = std::min(points_per_block, n - at);
        Block<d> x = {};
        Vector largest[vectors];
        for (npy_intp s = 0; s < count; ++s)
            for (int j = 0; j < d; ++j) x.at[s / lanes][j][s % lanes] = points.data[(at + s) * d + j];
        std::fill_n(&largest[0][0], points_per_block, std::numeric_limits<double>::lowest());
        for (npy_intp c = 0; c < k; ++c)
            whiten<d>(components[c], x, whitened[c], exponents.data() + c * vectors, largest);
        value += normalize(k, count, &exponents[0][0], &largest[0][0]);
        for (npy_intp c = 0; c < k; ++c)
            accumulate<d>(components[c], x, whitened[c], exponents.data() + c * vectors, largest);
    }

    const double largest = *std::max_element(alphas.data, alphas.data + k);
    double normalizer = 0;
    for (npy_intp c = 0; c < k; ++c) normalizer += std::exp(alphas.data[c] - largest);
    value -= n * (largest + std::log(normalizer));
    for (npy_intp c = 0; c < k; ++c) {
        value += finish<d>(components[c], icf.data + c * per_factor, by_alphas.data + c,
                           by_means.data + c * d, by_icf.data + c * per_factor);
        by_alphas.data[c] -= n * std::exp(alphas.data[c] - largest) / normalizer;
    }
    return result(value, {by_alphas, by_means, by_icf});
}

PyObject *run(PyObject *const *arguments) {
    const Array alphas = argument(arguments[0]), means = argument(arguments[1]),
                icf = argument(arguments[2]), points = argument(arguments[3]);
    switch (points.extent(1)) {
    case 3: return fused<3>(alphas, means, icf, points);
    case 10: return fused<10>(alphas, means, icf, points);
    default: throw std::invalid_argument("compiled for points of 3 and of 10 coordinates");
    }
}
