// Two products by BLAS into one array, one fused loop over the gates that leaves their derivatives
// in place of their arguments, and two products for the weights.
#include "blas.hpp"

extern const Py_ssize_t argument_count = 6;
void prepare() { find_sgemm(); }

// One row of the batch; `in`, `keep`, `bend` and `out` are the four gates' arguments on entry
// (without bias) and the derivatives by them on return.
static float row(npy_intp size, float scale, const float *__restrict bias,
                 const float *__restrict cell, float *__restrict in, float *__restrict keep,
                 float *__restrict bend, float *__restrict out, float *__restrict by_bias) {
    float squares = 0;
    for (npy_intp j = 0; j < size; ++j) {
        const float enter = 1 / (1 + std::exp(-(in[j] + bias[j])));
        const float forget = 1 / (1 + std::exp(-(keep[j] + bias[size + j])));
        const float candidate = std::tanh(bend[j] + bias[2 * size + j]);
        const float leave = 1 / (1 + std::exp(-(out[j] + bias[3 * size + j])));
        const float new_cell = forget * cell[j] + enter * candidate, bent = std::tanh(new_cell);
        const float new_state = leave * bent;
        squares += new_state * new_state + new_cell * new_cell;

        const float by_new_state = scale * new_state;
        const float by_new_cell = scale * new_cell + by_new_state * leave * (1 - bent * bent);
        in[j] = by_new_cell * candidate * enter * (1 - enter);
        keep[j] = by_new_cell * cell[j] * forget * (1 - forget);
        bend[j] = by_new_cell * enter * (1 - candidate * candidate);
        out[j] = by_new_state * bent * leave * (1 - leave);
        by_bias[j] += in[j];
        by_bias[size + j] += keep[j];
        by_bias[2 * size + j] += bend[j];
        by_bias[3 * size + j] += out[j];
    }
    return squares;
}

PyObject *run(PyObject *const *arguments) {
    const Array by_input = argument(arguments[0]), by_state = argument(arguments[1]),
                bias = argument(arguments[2]), x = argument(arguments[3]),
                state = argument(arguments[4]), cell = argument(arguments[5]);
    const int batch = x.extent(0), inputs = x.extent(1), size = state.extent(1), all = 4 * size;
    const Array by_by_input = empty_like(by_input), by_by_state = empty_like(by_state),
                by_bias = empty_like(bias);
    static std::vector<float> gates;  // kept from call to call, as fresh pages would cost time
    gates.resize(batch * all);

    multiply(false, false, batch, all, inputs, x.data, by_input.data, gates.data());
    multiply(false, false, batch, all, size, state.data, by_state.data, gates.data(), 1);
    std::fill_n(by_bias.data, all, 0.0f);
    double value = 0;
    for (int i = 0; i < batch; ++i) {
        float *g = gates.data() + i * all;
        value += row(size, 2.0f / (batch * size), bias.data, cell.data + i * size, g, g + size,
                     g + 2 * size, g + 3 * size, by_bias.data);
    }
    multiply(true, false, inputs, all, batch, x.data, gates.data(), by_by_input.data);
    multiply(true, false, size, all, batch, state.data, gates.data(), by_by_state.data);
    return result(value / (batch * size), {by_by_input, by_by_state, by_bias});
}
