// Matrix products by BLAS, everything between them fused by hand.
#include "blas.hpp"

#include <memory>

extern const Py_ssize_t argument_count = 4;

void prepare() { find_sgemm(); }

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
