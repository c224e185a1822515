"""Vector math: elementary functions as branch-free LLVM IR, for every width of f32 and f64.

`FUNCTIONS["exp"](lanes, x)` writes e^x for the value x into the lanes' body and returns the name of
the result. Every function is within 2 units in the last place over its whole range and gives
NumPy's values at nan, infinities, signed zeros, subnormal numbers and the edges of its domain. What
one lane yields never depends on its neighbours or on the width. The target needs fused
multiply-add; no fast-math flag may be put on what is written here.

Huge arguments of sin, cos and tan, and hard cases of fmod and remainder, call the C library from a
cold branch; the body then carries helper functions (`Body.functions`) for its module.
"""

from __future__ import annotations

from collections.abc import Callable

from gradloomc.codegen.vecmath.exp import emit_exp, emit_exp2, emit_expm1, emit_sigmoid
from gradloomc.codegen.vecmath.hyperbolic import (
    emit_acosh,
    emit_asinh,
    emit_atanh,
    emit_cosh,
    emit_sinh,
    emit_tanh,
)
from gradloomc.codegen.vecmath.inverse_trig import emit_acos, emit_asin, emit_atan, emit_atan2
from gradloomc.codegen.vecmath.log import (
    emit_log,
    emit_log1p,
    emit_log2,
    emit_log10,
    emit_logaddexp,
)
from gradloomc.codegen.vecmath.power import (
    emit_cbrt,
    emit_fmod,
    emit_hypot,
    emit_pow,
    emit_remainder,
    emit_sqrt,
)
from gradloomc.codegen.vecmath.reciprocal import (
    emit_lift,
    emit_lift_scale,
    emit_quotient,
    emit_reciprocal,
    emit_root,
    emit_rsqrt,
    emit_subnormal_scale,
)
from gradloomc.codegen.vecmath.special import emit_erf, emit_erfc
from gradloomc.codegen.vecmath.trig import emit_cos, emit_sin, emit_tan

__all__ = ["FUNCTIONS"]

FUNCTIONS: dict[str, Callable[..., str]] = {
    "acos": emit_acos,
    "acosh": emit_acosh,
    "asin": emit_asin,
    "asinh": emit_asinh,
    "atan": emit_atan,
    "atan2": emit_atan2,
    "atanh": emit_atanh,
    "cbrt": emit_cbrt,
    "cos": emit_cos,
    "cosh": emit_cosh,
    "erf": emit_erf,
    "erfc": emit_erfc,
    "exp": emit_exp,
    "exp2": emit_exp2,
    "expm1": emit_expm1,
    "fmod": emit_fmod,
    "hypot": emit_hypot,
    "lift": emit_lift,
    "lift_scale": emit_lift_scale,
    "log": emit_log,
    "log10": emit_log10,
    "log1p": emit_log1p,
    "log2": emit_log2,
    "logaddexp": emit_logaddexp,
    "logistic": emit_sigmoid,
    "pow": emit_pow,
    "quotient": emit_quotient,
    "reciprocal": emit_reciprocal,
    "remainder": emit_remainder,
    "root": emit_root,
    "rsqrt": emit_rsqrt,
    "sigmoid": emit_sigmoid,
    "sin": emit_sin,
    "sinh": emit_sinh,
    "sqrt": emit_sqrt,
    "subnormal_scale": emit_subnormal_scale,
    "tan": emit_tan,
    "tanh": emit_tanh,
}
