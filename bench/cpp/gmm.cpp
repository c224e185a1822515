// Blocks of points in the lanes of vectors: whiten them for every component, weigh them, and add
// up the outer products of the factors' gradient, in tiles that stay in registers.
//
// Compiled for the dimensions that the benchmark has, so that a point's coordinates are registers.
#include "module.hpp"

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

// A block of points, coordinate by coordinate.
template <int d> using Points = Vector[d][vectors];

template <int d> struct Block {
    Points<d> points;
};

// y = Q (x - μ), and the exponent α + log|Q| - |y|²/2.
template <int d>
static void whiten(const Component<d> &component, const Points<d> &x, Points<d> &y,
                   Vector *__restrict exponent) {
    for (npy_intp v = 0; v < vectors; ++v) {
        Vector centred[d], square = {};
#pragma GCC unroll 16
        for (int j = 0; j < d; ++j) centred[j] = x[j][v] - component.mean[j];
#pragma GCC unroll 16
        for (int i = 0; i < d; ++i) {
            Vector entry = component.factor[i][0] * centred[0];
#pragma GCC unroll 16
            for (int j = 1; j <= i; ++j) entry += component.factor[i][j] * centred[j];
            y[i][v] = entry;
            square += entry * entry;
        }
        exponent[v] = component.offset - 0.5 * square;
    }
}

// outer += w y (x - μ)ᵀ for a tile of at most rows × columns entries on or below the diagonal.
template <int d, int from_row, int from_column, int rows, int columns>
static void add_tile(Component<d> &component, const Points<d> &x, const Points<d> &y) {
    Vector sums[rows][columns];
#pragma GCC unroll 16
    for (int i = 0; i < rows; ++i)
#pragma GCC unroll 16
        for (int j = 0; j < columns; ++j) sums[i][j] = component.outer[from_row + i][from_column + j];
    for (npy_intp v = 0; v < vectors; ++v) {
        Vector row[rows];
#pragma GCC unroll 16
        for (int i = 0; i < rows; ++i) row[i] = y[from_row + i][v];
#pragma GCC unroll 16
        for (int j = 0; j < columns; ++j) {
            const Vector column = x[from_column + j][v] - component.mean[from_column + j];
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

template <int d>
static void accumulate(Component<d> &component, const Points<d> &x, Points<d> &y,
                       const Vector *__restrict weight) {
    Vector mass = component.mass;
    for (npy_intp v = 0; v < vectors; ++v) mass += weight[v];
    component.mass = mass;
    for (int i = 0; i < d; ++i) {
        Vector sum = component.weighted[i];
        for (npy_intp v = 0; v < vectors; ++v) {
            y[i][v] *= weight[v];
            sum += y[i][v];
        }
        component.weighted[i] = sum;
    }
    constexpr int half = d / 2, rest = d - half;
    add_tile<d, 0, 0, half, half>(component, x, y);
    add_tile<d, half, 0, rest, half>(component, x, y);
    add_tile<d, half, half, rest, rest>(component, x, y);
}

// Softmax over components, point by point, in place; returns the sum of log Σ exp over `count`.
static double softmax(npy_intp components, npy_intp count, double *__restrict exponents) {
    double largest[points_per_block], normalizer[points_per_block];
    std::copy_n(exponents, points_per_block, largest);
    std::fill_n(normalizer, points_per_block, 0.0);
    for (npy_intp k = 1; k < components; ++k)
        for (npy_intp s = 0; s < points_per_block; ++s)
            largest[s] = std::max(largest[s], exponents[k * points_per_block + s]);
    for (npy_intp k = 0; k < components; ++k)
        for (npy_intp s = 0; s < points_per_block; ++s) {
            double &entry = exponents[k * points_per_block + s];
            entry = std::exp(entry - largest[s]);
            normalizer[s] += entry;
        }
    for (npy_intp s = 0; s < points_per_block; ++s) {
        const bool real = s < count;
        largest[s] = real ? largest[s] + std::log(normalizer[s]) : 0.0;
        normalizer[s] = real ? 1 / normalizer[s] : 0.0;
    }
    for (npy_intp k = 0; k < components; ++k)
        for (npy_intp s = 0; s < points_per_block; ++s)
            exponents[k * points_per_block + s] *= normalizer[s];
    double value = 0;
    for (npy_intp s = 0; s < points_per_block; ++s) value += largest[s];
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
        alignas(64) Points<d> x = {};
        for (npy_intp s = 0; s < count; ++s)
            for (int j = 0; j < d; ++j)
                reinterpret_cast<double *>(x[j])[s] = points.data[(at + s) * d + j];
        for (npy_intp c = 0; c < k; ++c)
            whiten<d>(components[c], x, whitened[c].points, exponents.data() + c * vectors);
        value += softmax(k, count, reinterpret_cast<double *>(exponents.data()));
        for (npy_intp c = 0; c < k; ++c)
            accumulate<d>(components[c], x, whitened[c].points, exponents.data() + c * vectors);
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
