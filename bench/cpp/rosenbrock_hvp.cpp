// One pass: each entry of the product reads its point, its direction and their two neighbours.
#include "module.hpp"

extern const Py_ssize_t argument_count = 2;
void prepare() {}

static void fused(const Scalar *__restrict x, const Scalar *__restrict v,
                  Scalar *__restrict product, npy_intp n) {
    product[0] = -400 * (v[0] * (x[1] - x[0] * x[0]) + x[0] * (v[1] - 2 * x[0] * v[0])) + 2 * v[0];
    for (npy_intp i = 1; i < n - 1; ++i) {
        // 200 (vᵢ - 2 xᵢ₋₁ vᵢ₋₁) - 400 (vᵢ (xᵢ₊₁ - xᵢ²) + xᵢ (vᵢ₊₁ - 2 xᵢ vᵢ)) + 2 vᵢ, collected
        const Scalar diagonal = 202 - 400 * x[i + 1] + 1200 * x[i] * x[i];
        product[i] = diagonal * v[i] - 400 * (x[i - 1] * v[i - 1] + x[i] * v[i + 1]);
    }
    product[n - 1] = 200 * (v[n - 1] - 2 * x[n - 2] * v[n - 2]);
}

PyObject *run(PyObject *const *arguments) {
    const Array x = argument(arguments[0]), v = argument(arguments[1]);
    const Array product = empty_like(x);
    fused(x.data, v.data, product.data, x.size);
    return result({product});
}
