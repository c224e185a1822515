// Matrix products for kernels that need them. The expert calls the same OpenBLAS as everybody else:
// SciPy hands out its address.
#pragma once
#include "module.hpp"

using Gemm = void (*)(const char *, const char *, const int *, const int *, const int *,
                      const float *, const float *, const int *, const float *, const int *,
                      const float *, float *, const int *);
inline Gemm sgemm;

inline void find_sgemm() {
    PyObject *blas = PyImport_ImportModule("scipy.linalg.cython_blas");
    PyObject *table = blas ? PyObject_GetAttrString(blas, "__pyx_capi__") : nullptr;
    PyObject *capsule = table ? PyDict_GetItemString(table, "sgemm") : nullptr;
    if (capsule)
        sgemm = reinterpret_cast<Gemm>(PyCapsule_GetPointer(capsule, PyCapsule_GetName(capsule)));
    else if (!PyErr_Occurred())
        PyErr_SetString(PyExc_ImportError, "scipy.linalg.cython_blas has no sgemm");
}

// C (m×n) = op(A) op(B) + keep·C in row-major order, which is Cᵀ = op(B)ᵀ op(A)ᵀ in Fortran's order.
inline void multiply(bool transpose_a, bool transpose_b, int m, int n, int k, const float *a,
                     const float *b, float *c, float keep = 0) {
    const float one = 1;
    const int row_of_a = transpose_a ? m : k, row_of_b = transpose_b ? k : n;
    sgemm(transpose_b ? "T" : "N", transpose_a ? "T" : "N", &n, &m, &k, &one, b, &row_of_b, a,
          &row_of_a, &keep, c, &n);
}
