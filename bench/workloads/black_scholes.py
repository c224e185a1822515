"""Black-Scholes prices of a million European calls, and all five of their Greeks."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from scipy import special

from bench.workload import Workload, library

SQRT_HALF = 0.7071067811865476
INVERSE_SQRT_TWO_PI = 0.3989422804014327


def make_inputs(rng: np.random.Generator, n: int) -> tuple[np.ndarray, ...]:
    """Return spot, strike, expiry, volatility and rate of `n` options."""
    return (
        rng.uniform(50.0, 150.0, n),
        rng.uniform(50.0, 150.0, n),
        rng.uniform(0.1, 2.0, n),
        rng.uniform(0.1, 0.5, n),
        rng.uniform(0.0, 0.1, n),
    )


def normal_cdf(x):
    return 0.5 * (1.0 + special.erf(x * SQRT_HALF))


def black_scholes(spot, strike, expiry, volatility, rate):
    deviation = volatility * np.sqrt(expiry)
    d1 = (np.log(spot / strike) + (rate + 0.5 * volatility**2) * expiry) / deviation
    d2 = d1 - deviation
    discounted = strike * np.exp(-rate * expiry)
    return np.sum(spot * normal_cdf(d1) - discounted * normal_cdf(d2))


def by_hand(spot, strike, expiry, volatility, rate) -> tuple[Any, tuple[np.ndarray, ...]]:
    """The Greeks in closed form, from S φ(d₁) = K exp(-rT) φ(d₂) (Hull, Options, ch. 19)."""
    root = np.sqrt(expiry)
    deviation = volatility * root
    d1 = (np.log(spot / strike) + (rate + 0.5 * volatility * volatility) * expiry) / deviation
    discount = np.exp(-rate * expiry)
    cdf1 = 0.5 + 0.5 * special.erf(d1 * SQRT_HALF)
    cdf2 = discount * (0.5 + 0.5 * special.erf((d1 - deviation) * SQRT_HALF))
    density = spot * INVERSE_SQRT_TWO_PI * np.exp(-0.5 * d1 * d1)
    exercise = strike * cdf2
    value = np.sum(spot * cdf1 - exercise)
    by_expiry = 0.5 * density * volatility / root + rate * exercise
    return value, (cdf1, -cdf2, by_expiry, density * root, expiry * exercise)


def torch_function():
    torch = library("torch")

    def normal_cdf(x):
        return 0.5 * (1.0 + torch.erf(x * SQRT_HALF))

    def black_scholes(spot, strike, expiry, volatility, rate):
        deviation = volatility * torch.sqrt(expiry)
        d1 = (torch.log(spot / strike) + (rate + 0.5 * volatility**2) * expiry) / deviation
        d2 = d1 - deviation
        discounted = strike * torch.exp(-rate * expiry)
        return (spot * normal_cdf(d1) - discounted * normal_cdf(d2)).sum()

    return black_scholes


def numba_by_hand():
    import math

    numba = library("numba")

    @numba.njit(fastmath=True)
    def value_and_grad(spot, strike, expiry, volatility, rate):
        # Constants of the arrays' own type keep a float32 loop in float32.
        kind = spot.dtype.type
        half, one = kind(0.5), kind(1.0)
        sqrt_half, density_scale = kind(SQRT_HALF), kind(INVERSE_SQRT_TWO_PI)
        value = kind(0.0)
        by_spot, by_strike = np.empty_like(spot), np.empty_like(spot)
        by_expiry, by_volatility = np.empty_like(spot), np.empty_like(spot)
        by_rate = np.empty_like(spot)
        for i in range(spot.size):
            s, k, t, v, r = spot[i], strike[i], expiry[i], volatility[i], rate[i]
            root = math.sqrt(t)
            deviation = v * root
            d1 = (math.log(s / k) + (r + half * v * v) * t) / deviation
            cdf1 = half * (one + math.erf(d1 * sqrt_half))
            discount = math.exp(-r * t)
            cdf2 = discount * half * (one + math.erf((d1 - deviation) * sqrt_half))
            density = s * density_scale * math.exp(-half * d1 * d1)
            exercise = k * cdf2
            value += s * cdf1 - exercise
            by_spot[i] = cdf1
            by_strike[i] = -cdf2
            by_expiry[i] = half * density * v / root + r * exercise
            by_volatility[i] = density * root
            by_rate[i] = t * exercise
        return value, (by_spot, by_strike, by_expiry, by_volatility, by_rate)

    return value_and_grad


def _row(name: str, title: str, dtype: Literal["float64", "float32"]) -> Workload:
    return Workload(
        name=name,
        title=title,
        dtype=dtype,
        argnums=(0, 1, 2, 3, 4),
        sizes={"full": (1_000_000,), "quick": (50_000,), "test": (5,)},
        make_inputs=make_inputs,
        function=black_scholes,
        by_hand=by_hand,
        torch_function=torch_function,
        numba_by_hand=numba_by_hand,
        cpp_source="black_scholes.cpp",
    )


WORKLOADS = (
    _row("black_scholes_f64", "Black-Scholes, {:,}, f64", "float64"),
    _row("black_scholes_f32", "Black-Scholes, {:,}, f32", "float32"),
)
