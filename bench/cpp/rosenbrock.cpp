// One pass: each point reads itself and its two neighbours, and writes its own derivative.
#include "module.hpp"

extern const Py_ssize_t argument_count = 1;
void prepare() {}

static Scalar fused(const Scalar *__restrict x, Scalar *__restrict gradient, npy_intp n) {
    Scalar residual = x[1] - x[0] * x[0], remainder = 1 - x[0];
    // Two sums, so that neither waits for the other's additions.
    Scalar residuals = residual * residual, remainders = remainder * remainder;
    gradient[0] = -400 * x[0] * residual - 2 * remainder;
    for (npy_intp i = 1; i < n - 1; ++i) {
        const Scalar before = x[i] - x[i - 1] * x[i - 1];
        const Scalar after = x[i + 1] - x[i] * x[i];
        const Scalar rest = 1 - x[i];
        residuals += after * after;
        remainders += rest * rest;
        gradient[i] = 200 * before - 400 * x[i] * after - 2 * rest;
    }
    gradient[n - 1] = 200 * (x[n - 1] - x[n - 2] * x[n - 2]);
    return 100 * residuals + remainders;
}

PyObject *run(PyObject *const *arguments) {
    const Array x = argument(arguments[0]);
    const Array gradient = empty_like(x);
    return result(fused(x.data, gradient.data, x.size), {gradient});
}
