"""Elementwise functions: value, gradient and `grad_fn` name of each, at ordinary points, edges and kinks."""

from collections.abc import Callable
from functools import partial
from typing import Any

from .corpus import Observations, differentiated, program, register

NAN, INF = float("nan"), float("inf")

# Function: where it is differentiated.
UNARY: dict[str, list[float]] = {
    "abs": [-2.0, -0.5, 0.0, 3.0],
    "acos": [-0.5, 0.0, 0.75],
    "acosh": [1.5, 2.0, 10.0],
    "arccos": [-0.5, 0.25],
    "arcsin": [-0.5, 0.25],
    "arctan": [-0.5, 0.25],
    "asin": [-0.5, 0.0, 0.75],
    "asinh": [-3.0, 0.0, 2.0],
    "atan": [-3.0, 0.0, 2.0],
    "atanh": [-0.5, 0.0, 0.75],
    "ceil": [-1.5, 0.25, 2.0],
    "cos": [-1.0, 0.0, 2.5],
    "cosh": [-1.0, 0.0, 2.5],
    "deg2rad": [0.0, 90.0, -180.0],
    "erf": [-1.5, 0.0, 0.5],
    "erfc": [-1.5, 0.0, 0.5],
    "exp": [-1.0, 0.0, 2.0],
    "exp2": [-1.0, 0.0, 2.5],
    "expm1": [-1.0, 1e-6, 2.0],
    "floor": [-1.5, 0.25, 2.0],
    "frac": [-1.5, 0.25, 2.75],
    "log": [0.5, 1.0, 8.0],
    "log10": [0.5, 1.0, 100.0],
    "log1p": [-0.5, 1e-6, 3.0],
    "log2": [0.5, 1.0, 8.0],
    "logit": [0.1, 0.5, 0.75],
    "neg": [-1.0, 0.0, 2.0],
    "negative": [-1.0, 2.0],
    "positive": [-1.0, 2.0],
    "rad2deg": [0.0, 1.0, -3.0],
    "reciprocal": [-2.0, 0.5, 4.0],
    "relu": [-1.0, 0.0, 2.0],
    "round": [-1.5, 0.5, 1.5, 2.25],
    "rsqrt": [0.25, 1.0, 9.0],
    "sigmoid": [-30.0, -1.0, 0.0, 2.0],
    "sign": [-2.0, 0.0, 3.0],
    "sin": [-1.0, 0.0, 2.5],
    "sinh": [-1.0, 0.0, 2.5],
    "sqrt": [0.25, 1.0, 9.0],
    "square": [-2.0, 0.0, 3.0],
    "tan": [-1.0, 0.0, 1.25],
    "tanh": [-1.0, 0.0, 2.5],
    "trunc": [-1.5, 0.25, 2.75],
}

IN_PLACE = [
    "abs", "ceil", "cos", "exp", "floor", "log", "neg", "reciprocal", "relu", "round", "rsqrt", "sigmoid", "sin",
    "sqrt", "square", "tanh",
]  # fmt: skip

# Where a gradient is not finite, or is a convention.
EDGES: dict[str, list[float]] = {
    "abs": [0.0, -0.0, NAN, -INF],
    "acos": [1.0, -1.0, 2.0],
    "atanh": [1.0, -1.0],
    "exp": [1000.0, -1000.0, INF, -INF, NAN],
    "log": [0.0, -1.0, INF],
    "log1p": [-1.0, -2.0],
    "reciprocal": [0.0, INF],
    "relu": [0.0, -0.0, NAN, INF],
    "rsqrt": [0.0, -1.0],
    "sigmoid": [INF, -INF, 800.0, -800.0],
    "sqrt": [0.0, -1.0, INF],
    "tanh": [INF, -INF, 40.0],
}

# Binary functions: where they are differentiated, ties and signs included.
BINARY: dict[str, tuple[Any, Any]] = {
    "add": ([1.0, 2.0], [3.0, -4.0]),
    "atan2": ([1.0, -2.0, 0.5], [2.0, 3.0, -1.0]),
    "copysign": ([1.0, -2.0, 3.0], [-1.0, 1.0, 2.0]),
    "div": ([1.0, 2.0], [3.0, -4.0]),
    "divide": ([1.0, 2.0], [3.0, -4.0]),
    "fmax": ([1.0, 2.0, 5.0, NAN], [1.0, 3.0, 4.0, 1.0]),
    "fmin": ([1.0, 2.0, 5.0, NAN], [1.0, 3.0, 4.0, 1.0]),
    "fmod": ([5.5, -5.5, 7.0], [2.0, 2.0, -3.0]),
    "hypot": ([3.0, -5.0], [4.0, 12.0]),
    "logaddexp": ([0.0, 1.0, 800.0], [0.0, -2.0, 799.0]),
    "maximum": ([1.0, 2.0, 5.0], [1.0, 3.0, 4.0]),
    "minimum": ([1.0, 2.0, 5.0], [1.0, 3.0, 4.0]),
    "mul": ([1.0, 2.0], [3.0, -4.0]),
    "multiply": ([1.0, 2.0], [3.0, -4.0]),
    "pow": ([2.0, 3.0, 0.5], [3.0, -1.0, 0.5]),
    "remainder": ([5.5, -5.5, 7.0], [2.0, 2.0, -3.0]),
    "sub": ([1.0, 2.0], [3.0, -4.0]),
    "subtract": ([1.0, 2.0], [3.0, -4.0]),
    "true_divide": ([1.0, 2.0], [3.0, -4.0]),
    "xlogy": ([0.0, 2.0, 3.0], [0.5, 4.0, 1.0]),
}

# Functions with further arguments.
OTHER: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "clamp_min": (lambda m, x: m.clamp(x, min=0.0), ([-1.0, 0.0, 2.0],)),
    "clamp_max": (lambda m, x: m.clamp(x, max=0.0), ([-1.0, 0.0, 2.0],)),
    "clamp_both": (lambda m, x: m.clamp(x, -1.0, 1.0), ([-2.0, -1.0, 0.5, 1.0, 3.0],)),
    "clamp_method": (lambda m, x: x.clamp(min=-1, max=1), ([-2.0, -1.0, 0.5, 1.0, 3.0],)),
    "clamp_of_nan": (lambda m, x: x.clamp(0.0, 1.0), ([NAN, INF, -INF],)),
    "clamp_crossed_bounds": (lambda m, x: x.clamp(1.0, -1.0), ([-2.0, 0.0, 2.0],)),
    "clamp_by_tensors": (
        lambda m, x, low, high: m.clamp(x, low, high),
        ([-2.0, 0.5, 3.0], [-1.0, 0.0, 1.0], [1.0, 1.0, 2.0]),
    ),
    "clamp_min_method": (lambda m, x: x.clamp_min(0.5), ([-1.0, 0.5, 2.0],)),
    "clamp_max_method": (lambda m, x: x.clamp_max(0.5), ([-1.0, 0.5, 2.0],)),
    "clip": (lambda m, x: m.clip(x, 0.0, 1.0), ([-1.0, 0.5, 2.0],)),
    "div_floor": (lambda m, x, y: m.div(x, y, rounding_mode="floor"), ([5.0, -5.0], [2.0, 2.0])),
    "div_trunc": (lambda m, x, y: m.div(x, y, rounding_mode="trunc"), ([5.0, -5.0], [2.0, 2.0])),
    "add_alpha": (lambda m, x, y: m.add(x, y, alpha=3), ([1.0, 2.0], [3.0, 4.0])),
    "sub_alpha": (lambda m, x, y: x.sub(y, alpha=0.5), ([1.0, 2.0], [3.0, 4.0])),
    "addcmul": (lambda m, x, y, z: m.addcmul(x, y, z, value=0.5), ([1.0, 2.0], [3.0, 4.0], [5.0, -6.0])),
    "addcdiv": (lambda m, x, y, z: m.addcdiv(x, y, z, value=0.5), ([1.0, 2.0], [3.0, 4.0], [5.0, -6.0])),
    "lerp": (lambda m, x, y: m.lerp(x, y, 0.25), ([1.0, 2.0], [3.0, -4.0])),
    "where": (lambda m, x, y: m.where(x > y, x, y), ([1.0, 5.0, 3.0], [2.0, 4.0, 3.0])),
    "where_scalar": (lambda m, x: m.where(x > 0, x, 0.0), ([1.0, -5.0],)),
    "where_broadcast": (
        lambda m, x, y: m.where(m.tensor([[True], [False]]), x, y),
        ([1.0, 2.0], [[3.0, 4.0], [5.0, 6.0]]),
    ),
    "where_of_unsafe_branch": (lambda m, x: m.where(x > 0, x * 2, x * 3), ([1.0, 0.0, -1.0],)),
    "nan_to_num": (lambda m, x: m.nan_to_num(x, nan=0.5, posinf=9.0, neginf=-9.0), ([NAN, INF, -INF, 2.0],)),
    "softmax_of_vector": (lambda m, x: m.softmax(x, 0), ([1.0, 2.0, 3.0],)),
    "logit_with_eps": (lambda m, x: m.logit(x, 0.25), ([0.1, 0.5, 0.9],)),
    "float_power": (lambda m, x: m.float_power(x, 2), ([1.0, -3.0],)),
    "rsub": (lambda m, x, y: m.rsub(x, y), ([1.0, 2.0], [3.0, 4.0])),
    "sqrt_of_norm_at_zero": (lambda m, x: (x * x).sum().sqrt(), ([0.0, 0.0],)),
    "broadcast_rows": (lambda m, x, y: m.maximum(x, y), ([[1.0, 5.0], [3.0, 4.0]], [2.0, 4.0])),
    "broadcast_outer": (lambda m, x, y: m.atan2(x, y), ([[1.0], [2.0]], [[2.0, 4.0, -1.0]])),
    "chain": (lambda m, x: m.exp(m.sin(x) * m.log(x + 2)).tanh(), ([0.5, -0.5, 1.5],)),
    "used_twice": (lambda m, x: x.exp() * x.sin() + x, ([0.5, -0.5, 1.5],)),
}


def unary(name: str, values: list[float], dtype: str, m: Any) -> Observations:
    return differentiated(m, getattr(m, name), values, dtype=dtype)


def method(name: str, values: list[float], m: Any) -> Observations:
    return differentiated(m, lambda x: getattr(x, name)(), [values, values[::-1]])


def of_integers(name: str, m: Any) -> Observations:
    return {"result": getattr(m, name)(m.tensor([1, 2, 3]))}


def in_place(name: str, values: list[float], m: Any) -> Observations:
    x = m.tensor(values, dtype=m.float64, requires_grad=True)
    y = x * 1.0
    returned = getattr(y, name + "_")()
    y.sum().backward()
    return {"same": returned is y, "y": y, "version": y._version, "gradient": x.grad}


def binary(name: str, left: Any, right: Any, m: Any) -> Observations:
    return differentiated(m, getattr(m, name), left, right)


def other(function: Callable[..., Any], values: tuple[Any, ...], m: Any) -> Observations:
    return differentiated(m, partial(function, m), *values)


for _name, _values in UNARY.items():
    register("functions", _name, partial(unary, _name, _values, "float64"))
    register("functions", f"{_name}_float32", partial(unary, _name, _values, "float32"))
    register("functions", f"{_name}_method", partial(method, _name, _values))
for _name in ("exp", "sin", "sqrt", "sigmoid", "tanh", "abs", "neg", "sign", "floor", "square", "relu", "reciprocal"):
    register("functions", f"{_name}_of_integers", partial(of_integers, _name))
for _name in IN_PLACE:
    register("functions", f"{_name}_in_place", partial(in_place, _name, UNARY[_name]))
for _name, _values in EDGES.items():
    register("functions", f"{_name}_at_edges", partial(unary, _name, _values, "float64"))
for _name, (_left, _right) in BINARY.items():
    register("functions", _name, partial(binary, _name, _left, _right))
for _name, (_function, _arguments) in OTHER.items():
    register("functions", _name, partial(other, _function, _arguments))


@program
def kinks_that_differ(m):
    """The gradient at exactly 0: clamp 1, relu 0, maximum a half."""
    zero = [0.0]
    return {
        "clamp": differentiated(m, lambda x: x.clamp(min=0), zero),
        "relu": differentiated(m, lambda x: x.relu(), zero),
        "maximum": differentiated(m, lambda x: m.maximum(x, m.zeros(1, dtype=m.float64)), zero),
        "abs": differentiated(m, lambda x: x.abs(), zero),
    }


@program
def predicates(m):
    x = m.tensor([NAN, INF, -INF, 0.0, -1.5])
    return {name: getattr(m, name)(x) for name in ("isnan", "isinf", "isfinite", "signbit")}


@program
def predicates_have_no_history(m):
    x = m.tensor([1.0, NAN], requires_grad=True)
    return {"isnan": m.isnan(x), "signs": x > 0, "equal": x == x}


@program
def in_place_with_arguments(m):
    x = m.tensor([1.0, 2.0], dtype=m.float64)
    observed = {}
    observed["add_"] = x.clone().add_(1)
    observed["add_alpha"] = x.clone().add_(m.tensor([10.0, 20.0], dtype=m.float64), alpha=-0.1)
    observed["sub_"] = x.clone().sub_(1)
    observed["mul_"] = x.clone().mul_(3)
    observed["div_"] = x.clone().div_(4)
    observed["pow_"] = x.clone().pow_(2)
    observed["clamp_"] = x.clone().clamp_(min=1.5)
    observed["addcmul_"] = x.clone().addcmul_(x, x, value=0.5)
    observed["addcdiv_"] = x.clone().addcdiv_(x, x, value=0.5)
    observed["lerp_"] = x.clone().lerp_(x * 3, 0.5)
    observed["fill_"] = x.clone().fill_(7)
    observed["zero_"] = x.clone().zero_()
    observed["copy_"] = x.clone().copy_(m.tensor([5, 6]))
    return observed
