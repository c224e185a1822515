// One loop over the options: value and five Greeks in closed form, every transcendental function
// in its vector form from libmvec.
#include "module.hpp"

extern const Py_ssize_t argument_count = 5;
void prepare() {}

static constexpr Scalar sqrt_half = 0.7071067811865476;
static constexpr Scalar inverse_sqrt_two_pi = 0.3989422804014327;

static Scalar fused(npy_intp n, const Scalar *__restrict spot, const Scalar *__restrict strike,
                    const Scalar *__restrict expiry, const Scalar *__restrict volatility,
                    const Scalar *__restrict rate, Scalar *__restrict by_spot,
                    Scalar *__restrict by_strike, Scalar *__restrict by_expiry,
                    Scalar *__restrict by_volatility, Scalar *__restrict by_rate) {
    const Scalar half = 0.5;
    Scalar value = 0;
    for (npy_intp i = 0; i < n; ++i) {
        const Scalar s = spot[i], k = strike[i], t = expiry[i], v = volatility[i], r = rate[i];
        const Scalar root = std::sqrt(t), deviation = v * root;
        const Scalar d1 = (std::log(s / k) + (r + half * v * v) * t) / deviation;
        const Scalar cdf1 = half + half * std::erf(d1 * sqrt_half);
        const Scalar cdf2 =
            std::exp(-r * t) * (half + half * std::erf((d1 - deviation) * sqrt_half));
        const Scalar density = s * inverse_sqrt_two_pi * std::exp(-half * d1 * d1);
        const Scalar exercise = k * cdf2;
        value += s * cdf1 - exercise;
        by_spot[i] = cdf1;
        by_strike[i] = -cdf2;
        by_expiry[i] = half * density * v / root + r * exercise;
        by_volatility[i] = density * root;
        by_rate[i] = t * exercise;
    }
    return value;
}

PyObject *run(PyObject *const *arguments) {
    const Array spot = argument(arguments[0]), strike = argument(arguments[1]),
                expiry = argument(arguments[2]), volatility = argument(arguments[3]),
                rate = argument(arguments[4]);
    const Array by_spot = empty_like(spot), by_strike = empty_like(spot),
                by_expiry = empty_like(spot), by_volatility = empty_like(spot),
                by_rate = empty_like(spot);
    // Few options fit between two calls of the library, so memory is told early what comes next.
    constexpr npy_intp part = 64, line = 64 / sizeof(Scalar);
    double value = 0;
    for (npy_intp at = 0; at < spot.size; at += part) {
        for (const Array &in : {spot, strike, expiry, volatility, rate})
            for (npy_intp j = part; j < 2 * part; j += line) __builtin_prefetch(in.data + at + j);
        for (const Array &out : {by_spot, by_strike, by_expiry, by_volatility, by_rate})
            for (npy_intp j = part; j < 2 * part; j += line)
                __builtin_prefetch(out.data + at + j, 1);
        value += fused(std::min(part, spot.size - at), spot.data + at, strike.data + at,
                       expiry.data + at, volatility.data + at, rate.data + at, by_spot.data + at,
                       by_strike.data + at, by_expiry.data + at, by_volatility.data + at,
                       by_rate.data + at);
    }
    return result(value, {by_spot, by_strike, by_expiry, by_volatility, by_rate});
}
