// The Python face of the hand-written kernels: contiguous NumPy arrays in, (value, derivatives) out.
//
// It owns argument checks, allocation and the module object, so that each kernel file holds nothing
// but its loops. It calls NumPy's C API because ctypes would cost more than the small workloads.
//
// Scalar is the element type: double unless compiled with -DSCALAR=float.
#pragma once
#define PY_SSIZE_T_CLEAN
#define NPY_NO_DEPRECATED_API NPY_2_0_API_VERSION
#include <Python.h>
#include <numpy/arrayobject.h>

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <stdexcept>
#include <type_traits>
#include <vector>

#ifndef SCALAR
#define SCALAR double
#endif
using Scalar = SCALAR;

// An argument or a result; `data` never aliases another array of the same call.
struct Array {
    PyObject *object;
    Scalar *data;
    npy_intp size;

    npy_intp extent(int axis) const {
        return PyArray_DIM(reinterpret_cast<PyArrayObject *>(object), axis);
    }
};

inline constexpr int type_number = std::is_same_v<Scalar, double> ? NPY_DOUBLE : NPY_FLOAT;

inline Array wrap(PyObject *object) {
    auto *array = reinterpret_cast<PyArrayObject *>(object);
    return {object, static_cast<Scalar *>(PyArray_DATA(array)), PyArray_SIZE(array)};
}

inline Array argument(PyObject *object) {
    if (!PyArray_Check(object) ||
        PyArray_TYPE(reinterpret_cast<PyArrayObject *>(object)) != type_number ||
        !PyArray_IS_C_CONTIGUOUS(reinterpret_cast<PyArrayObject *>(object)))
        throw std::invalid_argument("expected a C-contiguous array of the kernel's type");
    return wrap(object);
}

// Results of earlier calls. One that nobody else owns any more is handed out again: first touches
// of fresh pages would otherwise cost as much as the arithmetic.
static std::vector<PyObject *> pool;  // of this module: an inline one would be shared by all that are loaded

inline Array empty_like(const Array &other) {
    auto *like = reinterpret_cast<PyArrayObject *>(other.object);
    for (PyObject *object : pool) {
        auto *array = reinterpret_cast<PyArrayObject *>(object);
        if (Py_REFCNT(object) == 1 && PyArray_SAMESHAPE(array, like)) {
            Py_INCREF(object);
            return wrap(object);
        }
    }
    PyObject *object = PyArray_SimpleNew(PyArray_NDIM(like), PyArray_DIMS(like), type_number);
    if (!object) throw std::bad_alloc();
    if (pool.size() < 16) {
        Py_INCREF(object);
        pool.push_back(object);
    }
    return wrap(object);
}

// The pair that a call returns; takes over the reference to `number`.
inline PyObject *result(PyObject *number, std::initializer_list<Array> derivatives) {
    PyObject *tuple = PyTuple_New(static_cast<Py_ssize_t>(derivatives.size()));
    Py_ssize_t position = 0;
    for (const Array &derivative : derivatives)
        PyTuple_SET_ITEM(tuple, position++, derivative.object);
    PyObject *pair = PyTuple_Pack(2, number, tuple);
    Py_DECREF(number);
    Py_DECREF(tuple);
    return pair;
}

inline PyObject *result(double value, std::initializer_list<Array> gradients) {
    return result(PyFloat_FromDouble(value), gradients);
}

// For a quantity without a value, such as a Hessian-vector product.
inline PyObject *result(std::initializer_list<Array> derivatives) {
    return result(Py_NewRef(Py_None), derivatives);
}

// Long sums are added up block by block, so that float32 keeps its accuracy.
inline constexpr npy_intp block = 4096;

// Every kernel file defines these two; `prepare` runs once, on import.
PyObject *run(PyObject *const *arguments);
extern const Py_ssize_t argument_count;
void prepare();

static PyObject *entry(PyObject *, PyObject *const *arguments, Py_ssize_t count) {
    if (count != argument_count) {
        PyErr_SetString(PyExc_TypeError, "wrong number of arguments");
        return nullptr;
    }
    try {
        return run(arguments);
    } catch (const std::exception &error) {
        PyErr_SetString(PyExc_TypeError, error.what());
        return nullptr;
    }
}

static PyMethodDef methods[] = {
    {"run", reinterpret_cast<PyCFunction>(reinterpret_cast<void *>(entry)),
     METH_FASTCALL, nullptr},
    {nullptr, nullptr, 0, nullptr}};

static PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "bench_kernel", nullptr, -1, methods, nullptr, nullptr, nullptr, nullptr};

PyMODINIT_FUNC PyInit_bench_kernel() {
    import_array();
    prepare();
    return PyErr_Occurred() ? nullptr : PyModule_Create(&definition);
}
