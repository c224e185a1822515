// One pass down the rows: the residual of the next row, then the gradient of this one from three
// rows of -2 r k that are still in the first-level cache. Each array is read or written once.
#include "module.hpp"

extern const Py_ssize_t argument_count = 2;
void prepare() {}

// One row's residual: writes ∂k, flow = -2 r k and direct = 6 r u²; the ends stay zero.
static double residuals(npy_intp width, const double *__restrict above,
                        const double *__restrict centre, const double *__restrict below,
                        const double *__restrict k, double *__restrict by_k,
                        double *__restrict flow, double *__restrict direct) {
    double total = 0;
    for (npy_intp j = 1; j < width - 1; ++j) {
        const double u = centre[j];
        const double laplacian = above[j] + below[j] + centre[j - 1] + centre[j + 1] - 4 * u;
        const double residual = u * u * u - k[j] * laplacian, twice = -2 * residual;
        total += residual * residual;
        by_k[j] = twice * laplacian;
        flow[j] = twice * k[j];
        direct[j] = -3 * twice * u * u;
    }
    by_k[0] = by_k[width - 1] = 0;
    return total;
}

static void gather(npy_intp width, const double *__restrict above, const double *__restrict centre,
                   const double *__restrict below, const double *__restrict direct,
                   double *__restrict by_u) {
    by_u[0] = centre[1];
    for (npy_intp j = 1; j < width - 1; ++j)
        by_u[j] = above[j] + below[j] + centre[j - 1] + centre[j + 1] - 4 * centre[j] + direct[j];
    by_u[width - 1] = centre[width - 2];
}

PyObject *run(PyObject *const *arguments) {
    const Array u = argument(arguments[0]), k = argument(arguments[1]);
    const Array by_u = empty_like(u), by_k = empty_like(k);
    const npy_intp height = u.extent(0), width = u.extent(1);
    // Three rows of flow and two of the direct part, which take turns.
    std::vector<double> scratch(5 * width, 0.0);
    double *above = scratch.data(), *centre = above + width, *below = centre + width;
    double *direct = below + width, *next = direct + width;

    std::fill_n(by_k.data, width, 0.0);
    double value = 0;
    for (npy_intp i = 0; i < height; ++i) {
        if (i + 2 < height) {
            const double *row = u.data + (i + 1) * width;
            value += residuals(width, row - width, row, row + width, k.data + (i + 1) * width,
                               by_k.data + (i + 1) * width, below, next);
        } else {
            std::fill_n(below, width, 0.0);
            std::fill_n(next, width, 0.0);
        }
        gather(width, above, centre, below, direct, by_u.data + i * width);
        std::swap(above, centre);
        std::swap(centre, below);
        std::swap(direct, next);
    }
    std::fill_n(by_k.data + (height - 1) * width, width, 0.0);
    return result(value, {by_u, by_k});
}
