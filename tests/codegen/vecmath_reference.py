"""Exact references and sample points for the tests of the vector math.

References are mpmath functions at 160 bits; points cover the whole exponent range of a format and
crowd where a function is hard: zeros, branch points of the algorithms, overflow, underflow.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np

mp: Any = mpmath.mp.clone()
mp.prec = 160

TYPES: dict[str, Any] = {"f64": np.float64, "f32": np.float32}


def _bounded(function: Callable[[Any], Any], bound: float) -> Callable[[Any], Any]:
    """Spare mpmath arguments beyond which the result overflows, vanishes or is constant anyway."""
    return lambda x: function(max(-bound, min(bound, x)))


REFERENCES: dict[str, Callable[..., Any]] = {
    "acos": mp.acos,
    "acosh": mp.acosh,
    "asin": mp.asin,
    "asinh": mp.asinh,
    "atan": mp.atan,
    "atan2": mp.atan2,
    "atanh": mp.atanh,
    "cbrt": lambda x: mp.sign(x) * mp.cbrt(abs(x)),
    "cos": mp.cos,
    "cosh": _bounded(mp.cosh, 20000),
    "erf": _bounded(mp.erf, 100),
    "erfc": _bounded(mp.erfc, 100),
    "exp": _bounded(mp.exp, 20000),
    "exp2": _bounded(lambda x: mp.mpf(2) ** x, 20000),
    "expm1": _bounded(mp.expm1, 20000),
    "hypot": mp.hypot,
    "log": mp.log,
    "log10": mp.log10,
    "log1p": mp.log1p,
    "log2": lambda x: mp.log(x) / mp.log(2),
    "logaddexp": lambda a, b: max(a, b) + mp.log1p(mp.exp(-abs(a - b))),
    "logistic": _bounded(lambda x: 1 / (1 + mp.exp(-x)), 20000),
    "pow": lambda x, y: mp.re(mp.power(x, y)),
    "reciprocal": lambda x: 1 / x,
    "rsqrt": lambda x: 1 / mp.sqrt(x),
    "sigmoid": _bounded(lambda x: 1 / (1 + mp.exp(-x)), 20000),
    "sin": mp.sin,
    "sinh": _bounded(mp.sinh, 20000),
    "sqrt": mp.sqrt,
    "tan": mp.tan,
    "tanh": _bounded(mp.tanh, 200),
}

_EXP = [0.0, 0.3466, 1.04, 88.72, 87.34, 103.97, 708.4, 709.78, 745.13]
_CIRCLE = [k * math.pi / 4 for k in range(1, 21)] + [k * math.pi for k in (100, 113, 1e4, 1e6)]
_HUGE_CIRCLE = [2.0**17, 2.0**30, 1e22, 6381956970095103 * 2.0**797]
# Where the points crowd (with both signs): zeros, branch points, edges of overflow and underflow.
CROWDS: dict[str, list[float]] = {
    "acos": [0.5, 1.0],
    "acosh": [1.0, 1.5, 2.0**28, 2.0**14],
    "asin": [0.5, 1.0],
    "asinh": [0.35, 1.0, 2.0**28, 2.0**14],
    "atan": [1.0],
    "atanh": [0.2, 0.333, 0.5, 1.0],
    "cbrt": [1.0, 8.0, 27.0],
    "cos": _CIRCLE + _HUGE_CIRCLE,
    "cosh": [*_EXP, 710.47, 89.415],
    "erf": [0.5, 1.0, 4.0, 6.0],
    "erfc": [0.5, 1.0, 4.0, 9.2, 10.05, 26.54, 27.2],
    "exp": _EXP,
    "exp2": [0.5, 126.0, 128.0, 149.0, 1022.0, 1024.0, 1074.0],
    "expm1": [*_EXP, 17.33, 37.43],
    "log": [1.0, 0.70711, 1.41421],
    "log10": [1.0, 0.70711, 1.41421],
    "log1p": [1.0, 0.29289, 0.41421],
    "log2": [1.0, 0.70711, 1.41421],
    "sigmoid": [*_EXP, 17.3, 36.7],
    "sin": _CIRCLE + _HUGE_CIRCLE,
    "sinh": [*_EXP, 710.47, 89.415],
    "tan": _CIRCLE + _HUGE_CIRCLE,
    "tanh": [0.124, 0.184, 0.3466, 0.518, 1.04, 9.01, 19.06],
}
CROWDS["logistic"] = CROWDS["sigmoid"]
DOMAINS: dict[str, tuple[float, float]] = {
    "acos": (-1, 1),
    "acosh": (1, math.inf),
    "asin": (-1, 1),
    "atanh": (-1, 1),
    "log": (0, math.inf),
    "log10": (0, math.inf),
    "log1p": (-1, math.inf),
    "log2": (0, math.inf),
    "rsqrt": (0, math.inf),
    "sqrt": (0, math.inf),
}


def points(name: str, dtype: str, count: int, seed: int) -> np.ndarray:
    """Return finite arguments inside the open domain of `name`, about three times `count`."""
    rng = np.random.default_rng(seed)
    kind = TYPES[dtype]
    limits = np.finfo(kind)
    low, high = float(limits.minexp - limits.nmant), float(limits.maxexp)
    signs = rng.choice([-1.0, 1.0], size=(3, count))
    spread = np.exp2(rng.uniform(low, high, count).astype(np.longdouble))
    usual = np.exp2(rng.uniform(-6, 6, count)), rng.uniform(0, 4, count)
    parts = [*(s * p for s, p in zip(signs, (spread, *usual), strict=True))]
    for centre in CROWDS.get(name, []):
        offsets = np.exp2(rng.uniform(-limits.nmant, -3, 24)) * rng.choice([-1.0, 1.0], 24)
        near = kind(min(centre, float(limits.max))) * (1 + offsets).astype(np.longdouble)
        exact = kind(min(centre, float(limits.max)))
        with np.errstate(over="ignore"):
            steps = [exact, np.nextafter(exact, kind(0)), np.nextafter(exact, kind(math.inf))]
        parts += [near, -near, np.array(steps), -np.array(steps)]
    if name in DOMAINS:
        first, last = DOMAINS[name]
        edges = [e for e in (first, last) if math.isfinite(e)]
        for edge in edges:
            inward = 1 if edge == first else -1
            parts.append(edge + inward * np.exp2(rng.uniform(-limits.nmant, 0, count // 2)))
    with np.errstate(over="ignore"):
        values = np.concatenate([np.asarray(p, np.longdouble) for p in parts]).astype(kind)
    values = values[np.isfinite(values)]
    if name in DOMAINS:
        first, last = DOMAINS[name]
        values = values[(values > first) & (values < last)]
    return values


def pairs(name: str, dtype: str, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return arguments of a function of two: ordinary, far apart, close together, extreme."""
    rng = np.random.default_rng(seed)
    kind = TYPES[dtype]
    limits = np.finfo(kind)
    edge = float(limits.maxexp)
    if name == "pow":
        reach = edge * math.log(2)
        base = np.concatenate(
            [
                np.exp(rng.uniform(-5, 5, count)),
                np.exp2(rng.uniform(-edge + 2, edge - 2, count)),
                1 + rng.uniform(-1e-2, 1e-2, count),
                rng.uniform(0.69, 0.72, count),
                rng.uniform(1.39, 1.43, count),
                rng.uniform(0.1, 1.0, count) * limits.smallest_normal,
            ]
        ).astype(kind)
        logarithm = np.abs(np.log(base.astype(np.float64)))
        exponent = rng.uniform(-1.05, 1.05, base.size) * reach / logarithm
        negative = rng.uniform(-60, 60, count).astype(kind), np.round(rng.uniform(-9, 9, count))
        return (
            np.concatenate([base, negative[0]]),
            np.concatenate([exponent, negative[1]]).astype(kind),
        )
    if name == "logaddexp":
        # Away from max = 0, where the result cancels.
        high = np.concatenate([rng.uniform(2, 80, 2 * count), rng.uniform(-500, -2, 2 * count)])
        low = high - np.exp2(rng.uniform(-20, 7, high.size))
        return high.astype(kind), low.astype(kind)
    scale = np.exp2(rng.uniform(-edge + 30, edge - 30, count))
    x = np.concatenate(
        [
            rng.normal(size=2 * count),
            scale * rng.choice([-1.0, 1.0], count),
            scale,
            rng.uniform(0, 8, count) * limits.smallest_normal,
        ]
    )
    y = np.concatenate(
        [
            rng.normal(size=2 * count),
            scale * np.exp2(rng.uniform(-28, 28, count)),
            scale * (1 + rng.uniform(-1e-3, 1e-3, count)),
            rng.uniform(0, 8, count) * limits.smallest_normal,
        ]
    )
    return x.astype(kind), y.astype(kind)


def units(computed: Any, exact: Any, dtype: str) -> float:
    """Return |computed - exact| in units in the last place of the exact value.

    The unit is the spacing of the format in the binade of the exact value, the subnormal spacing
    below the normal range. A computed infinity is right where the exact value rounds to it.
    """
    limits = np.finfo(TYPES[dtype])
    if exact == 0:
        return 0.0 if computed == 0 else math.inf
    if math.isnan(computed):
        return math.inf
    _, exponent = mp.frexp(exact)
    exponent = max(min(int(exponent), limits.maxexp), limits.minexp + 1)
    unit = mp.mpf(2) ** (exponent - limits.nmant - 1)
    if math.isinf(computed):
        largest = mp.mpf(float(limits.max))
        reached = abs(exact) >= largest + unit / 2 and (exact > 0) == (computed > 0)
        return 0.0 if reached else math.inf
    return float(abs(mp.mpf(float(computed)) - exact) / unit)


def worst_units(
    name: str, dtype: str, results: np.ndarray, *operands: np.ndarray
) -> tuple[float, tuple[float, ...]]:
    """Return the largest error over all points, and the operands where it is."""
    reference = REFERENCES[name]
    worst: tuple[float, tuple[float, ...]] = (0.0, ())
    for values in zip(results, *operands, strict=True):
        arguments = tuple(float(v) for v in values[1:])
        error = units(values[0], reference(*map(mp.mpf, arguments)), dtype)
        if not error <= worst[0]:
            worst = error, arguments
    return worst
