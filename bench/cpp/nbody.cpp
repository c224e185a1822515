// Each pair once: a body pulls all later ones, a vector of them at a time, and they pull it back.
#include "module.hpp"

extern const Py_ssize_t argument_count = 2;
void prepare() {}

static constexpr double softening = 0.1 * 0.1;
static constexpr npy_intp lanes = 8;

// Coordinates in arrays of their own, padded to whole vectors with bodies of no mass.
struct Bodies {
    std::vector<double> storage;
    double *x, *y, *z, *mass, *by_x, *by_y, *by_z;

    explicit Bodies(npy_intp padded) : storage(7 * padded, 0.0) {
        double **const parts[] = {&x, &y, &z, &mass, &by_x, &by_y, &by_z};
        for (int part = 0; part < 7; ++part) *parts[part] = storage.data() + part * padded;
    }
};

// Body i against `vectors` whole vectors of bodies from `first`, whose masses count `mass` says.
static double pull(npy_intp vectors, double xi, double yi, double zi, double mi,
                   const double *__restrict x, const double *__restrict y,
                   const double *__restrict z, const double *__restrict mass,
                   double *__restrict by_x, double *__restrict by_y, double *__restrict by_z,
                   double *__restrict by_i) {
    double potential = 0, sum_x = 0, sum_y = 0, sum_z = 0;
    for (npy_intp j = 0; j < vectors * lanes; ++j) {
        const double dx = xi - x[j], dy = yi - y[j], dz = zi - z[j];
        const double inverse = 1 / std::sqrt(dx * dx + dy * dy + dz * dz + softening);
        const double field = mi * mass[j] * inverse, force = field * inverse * inverse;
        potential += field;
        sum_x += force * dx;
        sum_y += force * dy;
        sum_z += force * dz;
        by_x[j] -= force * dx;
        by_y[j] -= force * dy;
        by_z[j] -= force * dz;
    }
    by_i[0] += sum_x;
    by_i[1] += sum_y;
    by_i[2] += sum_z;
    return potential;
}

PyObject *run(PyObject *const *arguments) {
    const Array positions = argument(arguments[0]), masses = argument(arguments[1]);
    const Array gradient = empty_like(positions);
    const npy_intp n = masses.size, padded = (n + lanes - 1) / lanes * lanes;
    Bodies b(padded);
    for (npy_intp i = 0; i < n; ++i) {
        b.x[i] = positions.data[3 * i];
        b.y[i] = positions.data[3 * i + 1];
        b.z[i] = positions.data[3 * i + 2];
        b.mass[i] = masses.data[i];
    }
    double value = 0;
    for (npy_intp i = 0; i < n; ++i) {
        // The vector that holds body i comes first, with only the bodies behind i in it.
        const npy_intp own = i / lanes * lanes, later = own + lanes;
        double behind[lanes], by_i[3] = {0, 0, 0};
        for (npy_intp j = 0; j < lanes; ++j) behind[j] = own + j > i ? b.mass[own + j] : 0.0;
        const double xi = b.x[i], yi = b.y[i], zi = b.z[i], mi = b.mass[i];
        value -= pull(1, xi, yi, zi, mi, b.x + own, b.y + own, b.z + own, behind, b.by_x + own,
                      b.by_y + own, b.by_z + own, by_i);
        value -= pull((padded - later) / lanes, xi, yi, zi, mi, b.x + later, b.y + later,
                      b.z + later, b.mass + later, b.by_x + later, b.by_y + later,
                      b.by_z + later, by_i);
        value -= 0.5 * mi * mi / std::sqrt(softening);
        gradient.data[3 * i] = b.by_x[i] + by_i[0];
        gradient.data[3 * i + 1] = b.by_y[i] + by_i[1];
        gradient.data[3 * i + 2] = b.by_z[i] + by_i[2];
    }
    return result(value, {gradient});
}
