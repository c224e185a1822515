// Matrix products by BLAS, everything between them fused by hand. The expert calls the same
// OpenBLAS as everybody else: SciPy hands out its address.
#include "module.hpp"

#include <memory>

extern const Py_ssize_t argument_count = 4;

using Gemm = void (*)(const char *, const char *, const int *, const int *, const int *,
                      const float *, const float *, const int *, const float *, const int *,
                      const float *, float *, const int *);
static Gemm sgemm;

void prepare() {
    PyObject *blas = PyImport_ImportModule("scipy.linalg.cython_blas");
    PyObject *table = blas ? PyObject_GetAttrString(blas, "__pyx_capi__") : nullptr;
    PyObject *capsule = table ? PyDict_GetItemString(table, "sgemm") : nullptr;
    if (capsule)
        sgemm = reinterpret_cast<Gemm>(PyCapsule_GetPointer(capsule, PyCapsule_GetName(capsule)));
    else if (!PyErr_Occurred())
        PyErr_SetString(PyExc_ImportError, "scipy.linalg.cython_blas has no sgemm");
}

// C (m×n) = op(A) op(B) in row-major order, which is Cᵀ = op(B)ᵀ op(A)ᵀ in Fortran's order.
static void multiply(bool transpose_a, bool transpose_b, int m, int n, int k, const float *a,
                     const float *b, float *c) {
    const float one = 1, zero = 0;
    const int row_of_a = transpose_a ? m : k, row_of_b = transpose_b ? k : n;
    sgemm(transpose_b ? "T" : "N", transpose_a ? "T" : "N", &n, &m, &k, &one, b, &row_of_b, a,
          &row_of_a, &zero, c, &n);
}

PyObject *run(PyObject *const *arguments) {
    const Array x = argument(arguments[0]), y = argument(arguments[1]), w1 = argument(arguments[2]),
                w2 = argument(arguments[3]);
    const int batch = x.extent(0), inputs = x.extent(1), hidden = w1.extent(1),
              outputs = w2.extent(1);
    const Array by_w1 = empty_like(w1), by_w2 = empty_like(w2);
    std::unique_ptr<float[]> activation(new float[batch * hidden]),
        by_activation(new float[batch * hidden]), by_output(new float[batch * outputs]);

    multiply(false, false, batch, hidden, inputs, x.data, w1.data, activation.get());
    for (int i = 0; i < batch * hidden; ++i) activation[i] = std::max(activation[i], 0.0f);
    multiply(false, false, batch, outputs, hidden, activation.get(), w2.data, by_output.get());
    float value = 0;
    for (int i = 0; i < batch * outputs; ++i) {
        const float residual = by_output[i] - y.data[i];
        value += residual * residual;
        by_output[i] = 2 * residual;
    }
    multiply(false, true, batch, hidden, outputs, by_output.get(), w2.data, by_activation.get());
    for (int i = 0; i < batch * hidden; ++i)
        by_activation[i] = activation[i] > 0 ? by_activation[i] : 0.0f;
    multiply(true, false, inputs, hidden, batch, x.data, by_activation.get(), by_w1.data);
    multiply(true, false, hidden, outputs, batch, activation.get(), by_output.get(), by_w2.data);
    return result(value, {by_w1, by_w2});
}
