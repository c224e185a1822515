// Row by row: maximum, exponentials with their sum, gradient; a row stays in the first-level cache.
#include "module.hpp"

extern const Py_ssize_t argument_count = 2;
void prepare() {}

static Scalar row(const Scalar *__restrict logits, const Scalar *__restrict targets,
                  Scalar *__restrict gradient, npy_intp classes, Scalar scale) {
    Scalar largest = logits[0];
    for (npy_intp j = 1; j < classes; ++j) largest = std::max(largest, logits[j]);
    Scalar normalizer = 0, picked = 0;
    for (npy_intp j = 0; j < classes; ++j) {
        const Scalar shifted = logits[j] - largest;
        const Scalar power = std::exp(shifted);
        gradient[j] = power;
        normalizer += power;
        picked += targets[j] * shifted;
    }
    const Scalar factor = scale / normalizer;
    for (npy_intp j = 0; j < classes; ++j)
        gradient[j] = factor * gradient[j] - scale * targets[j];
    return std::log(normalizer) - picked;
}

PyObject *run(PyObject *const *arguments) {
    const Array logits = argument(arguments[0]), targets = argument(arguments[1]);
    const Array gradient = empty_like(logits);
    const npy_intp rows = logits.extent(0), classes = logits.extent(1);
    double value = 0;
    for (npy_intp i = 0; i < rows; ++i)
        value += row(logits.data + i * classes, targets.data + i * classes,
                     gradient.data + i * classes, classes, Scalar(1) / static_cast<Scalar>(rows));
    return result(value / static_cast<double>(rows), {gradient});
}
