// One loop, all twenty operations and their adjoints in registers.
//
// gcc merges sin(x) and cos(x) of one argument into cexpi(), which has no vector form, and the
// whole loop would stay scalar. Declared under other names they keep their forms in libmvec.
#include "module.hpp"

extern const Py_ssize_t argument_count = 1;
void prepare() {}

extern "C" {
double vector_sin(double) __asm__("sin")
    __attribute__((simd("notinbranch"), const, nothrow, leaf));
double vector_cos(double) __asm__("cos")
    __attribute__((simd("notinbranch"), const, nothrow, leaf));
}

static double fused(const double *__restrict inputs, double *__restrict gradient, npy_intp n) {
    double value = 0;
    for (npy_intp i = 0; i < n; ++i) {
        const double x = inputs[i];
        const double sine = vector_sin(x), cosine = vector_cos(x);
        const double length = std::sqrt(1 + x * x), decay = std::exp(-0.5 * length);
        const double bend = std::tanh(sine * cosine), soft = std::log1p(decay);
        const double denominator = 1 / (length + soft);
        const double ratio = (sine + bend) * denominator, mixed = ratio * decay - cosine;
        const double inverse = 1 / std::sqrt(1 + mixed * mixed);
        value += mixed * inverse + soft;

        const double by_mixed = inverse * inverse * inverse;
        const double by_numerator = by_mixed * decay * denominator;
        const double by_denominator = -by_numerator * ratio;
        const double by_decay = by_mixed * ratio + (1 + by_denominator) / (1 + decay);
        const double by_product = by_numerator * (1 - bend * bend);
        const double by_sine = by_numerator + by_product * cosine;
        const double by_cosine = by_product * sine - by_mixed;
        const double by_length = by_denominator - 0.5 * decay * by_decay;
        gradient[i] = by_sine * cosine - by_cosine * sine + by_length * x / length;
    }
    return value;
}

PyObject *run(PyObject *const *arguments) {
    const Array x = argument(arguments[0]);
    const Array gradient = empty_like(x);
    double value = 0;
    for (npy_intp at = 0; at < x.size; at += block)
        value += fused(x.data + at, gradient.data + at, std::min(block, x.size - at));
    return result(value, {gradient});
}
