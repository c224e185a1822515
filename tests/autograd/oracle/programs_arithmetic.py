"""Operators: Python scalars on either side, promotion of dtypes, integers, powers, comparison, bits."""

from collections.abc import Callable
from functools import partial
from typing import Any

from .corpus import Observations, differentiated, graph_of, program, register

X, Y = [1.5, -2.0, 3.0], [2.0, 0.5, -4.0]

# Operators on floats, differentiated at X (and Y).
DIFFERENTIABLE: dict[str, Callable[..., Any]] = {
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: x * y,
    "div": lambda x, y: x / y,
    "mod": lambda x, y: x % y,
    "neg": lambda x: -x,
    "pos": lambda x: +x,
    "abs": lambda x: abs(x),
    "add_scalar": lambda x: x + 2,
    "radd_scalar": lambda x: 2 + x,
    "sub_scalar": lambda x: x - 2.5,
    "rsub_scalar": lambda x: 2.5 - x,
    "mul_scalar": lambda x: x * 3,
    "rmul_scalar": lambda x: 3 * x,
    "div_scalar": lambda x: x / 4,
    "rdiv_scalar": lambda x: 4 / x,
    "mod_scalar": lambda x: x % 2,
    "pow_0": lambda x: x**0,
    "pow_1": lambda x: x**1,
    "pow_2": lambda x: x**2,
    "pow_3": lambda x: x**3,
    "pow_minus_1": lambda x: x**-1,
    "pow_minus_2": lambda x: x**-2.0,
    "pow_half_of_square": lambda x: (x * x) ** 0.5,
    "rpow_scalar": lambda x: 2**x,
    "rpow_e": lambda x: 2.718281828459045**x,
    "pow_tensor": lambda x, y: (x * x) ** y,
    "pow_method": lambda x: x.pow(2),
    "same_operand_twice": lambda x: x * x + x,
    "subtract_itself": lambda x: x - x,
    "add_bool_scalar": lambda x: x + True,
    "mix": lambda x, y: (x + 2 * y) / (1 + y * y) - x**2,
}


def operator(function: Callable[..., Any], dtype: str, m: Any) -> Observations:
    operands = [X, Y][: function.__code__.co_argcount]
    return differentiated(m, function, *operands, dtype=dtype)


for _name, _function in DIFFERENTIABLE.items():
    register("arithmetic", _name, partial(operator, _function, "float64"))
for _name in ("add", "div", "pow_3", "rdiv_scalar", "rpow_scalar", "mix"):
    register("arithmetic", f"{_name}_float32", partial(operator, DIFFERENTIABLE[_name], "float32"))

# Operators on tensors of integers.
INTEGERS: dict[str, Callable[..., Any]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "floordiv": lambda a, b: a // b,
    "mod": lambda a, b: a % b,
    "pow": lambda a, b: a ** abs(b),
    "and": lambda a, b: a & b,
    "or": lambda a, b: a | b,
    "xor": lambda a, b: a ^ b,
    "not": lambda a, b: ~a,
    "neg": lambda a, b: -a,
    "shift_left": lambda a, b: a << abs(b),
    "shift_right": lambda a, b: a >> abs(b),
    "fmod": lambda a, b: a.fmod(b),
    "mul_float_scalar": lambda a, b: a * 2.5,
    "add_float_scalar": lambda a, b: a + 0.5,
    "add_int_scalar": lambda a, b: 7 + a,
    "add_bool_scalar": lambda a, b: a + True,
    "div_scalar": lambda a, b: a / 2,
    "floordiv_scalar": lambda a, b: a // 2,
    "floordiv_float_scalar": lambda a, b: a // 2.0,
    "mod_scalar": lambda a, b: a % -3,
    "rpow": lambda a, b: 2.0**a,
}


def integers(function: Callable[..., Any], m: Any) -> Observations:
    return {"result": function(m.tensor([7, -7, 5, 0]), m.tensor([2, 2, -3, 4]))}


for _name, _function in INTEGERS.items():
    register("arithmetic", f"integer_{_name}", partial(integers, _function))

DTYPES = ("bool", "uint8", "int8", "int16", "int32", "int64", "float32", "float64")


def promotion(left: str, m: Any) -> Observations:
    a = m.tensor([1, 0], dtype=getattr(m, left))
    return {
        **{right: (a + m.tensor([1, 1], dtype=getattr(m, right))).dtype for right in DTYPES},
        **{f"0-d {right}": (a + m.tensor(1, dtype=getattr(m, right))).dtype for right in DTYPES},
        "int": (a + 1).dtype,
        "float": (a * 1.5).dtype,
        "bool": (a * True).dtype,
        "division": (a / 2).dtype,
        "comparison": (a > 0).dtype,
        "sum": a.sum().dtype,
        "cumsum": a.cumsum(0).dtype,
        "prod": a.prod().dtype,
        "exp": a.exp().dtype,
    }


for _left in DTYPES:
    register("arithmetic", f"promotion_of_{_left}", partial(promotion, _left))


@program
def promotion_of_scalar_tensors(m):
    return {
        "0-d f64 and 1-d f32": m.tensor(1.0, dtype=m.float64) + m.ones(2, dtype=m.float32),
        "0-d f64 and 0-d f32": m.tensor(1.0, dtype=m.float64) + m.tensor(1.0, dtype=m.float32),
        "0-d f32 and 1-d int": m.tensor(1.5) + m.tensor([1, 2]),
        "0-d int and 1-d f32": m.tensor(1) + m.tensor([1.0, 2.0]),
        "result_type": m.result_type(m.tensor([1, 2]), 1.0),
        "promote_types": m.promote_types(m.int32, m.float32),
    }


@program
def promotion_in_the_gradient(m):
    """A gradient has the dtype of its leaf, whatever the dtype of the result."""
    single = m.tensor([1.0, 2.0], dtype=m.float32, requires_grad=True)
    double = m.tensor([3.0, 4.0], dtype=m.float64, requires_grad=True)
    y = single * double
    y.sum().backward()
    return {"y": y, "single": single.grad, "double": double.grad}


@program
def comparisons(m):
    a, b = m.tensor([1.0, 2.0, float("nan")]), m.tensor([2.0, 2.0, 1.0])
    return {
        "lt": a < b, "le": a <= b, "gt": a > b, "ge": a >= b, "eq": a == b, "ne": a != b,
        "scalar": a >= 2, "reflected": 2 <= a, "function": m.gt(a, b), "method": a.eq(2.0),
        "of_int": m.tensor([1, 2]) == 2, "mixed": m.tensor([1, 2]) < m.tensor([1.5, 1.5]),
    }  # fmt: skip


@program
def comparison_of_leaves(m):
    x = m.tensor([1.0, 2.0], requires_grad=True)
    return {"gt": x > 1.5, "requires_grad": (x > 1.5).requires_grad, "with_none": x == None}  # noqa: E711


@program
def equality_functions(m):
    a = m.tensor([1.0, 2.0])
    return {
        "equal": m.equal(a, m.tensor([1.0, 2.0])),
        "unequal": m.equal(a, m.tensor([1.0, 3.0])),
        "other_shape": m.equal(a, m.tensor([1.0])),
        "allclose": m.allclose(a, a + 1e-9),
        "not_allclose": m.allclose(a, a + 0.1),
        "isclose": m.isclose(a, m.tensor([1.0, 2.1])),
        "nan": m.allclose(m.tensor([float("nan")]), m.tensor([float("nan")]), equal_nan=True),
    }


@program
def logical(m):
    a, b = m.tensor([True, True, False]), m.tensor([True, False, False])
    return {
        "and": a & b, "or": a | b, "xor": a ^ b, "not": ~a, "logical_and": m.logical_and(a, b),
        "logical_or": m.logical_or(a, b), "logical_not": m.logical_not(a), "logical_xor": m.logical_xor(a, b),
        "of_numbers": m.logical_and(m.tensor([0, 2, 3]), m.tensor([1.0, 0.0, 2.0])),
        "not_of_numbers": m.logical_not(m.tensor([0.0, 2.0])),
    }  # fmt: skip


@program
def broadcasting(m):
    return differentiated(m, lambda x, y: x * y, [[1.0], [2.0], [3.0]], [4.0, 5.0])


@program
def broadcasting_of_scalar_tensor(m):
    return differentiated(m, lambda x, y: x / y, [[1.0, 2.0], [3.0, 4.0]], 2.0)


@program
def broadcasting_of_ranks(m):
    return differentiated(m, lambda x, y: x + y, [[[1.0, 2.0]], [[3.0, 4.0]]], [[1.0], [2.0], [3.0]])


@program
def broadcasting_of_empty(m):
    return differentiated(m, lambda x, y: x + y, [[], []], [1.0])


@program
def graph_of_an_expression(m):
    """Scalars leave no trace in the graph: one node an operator, as written."""


    x = m.tensor([1.0, 2.0], requires_grad=True)
    y = m.tensor([3.0, 4.0], requires_grad=True)
    z = m.tensor([5.0, 2.0])
    return {
        "seed": graph_of((x + 2 * y + z / 2).grad_fn),
        "mixed": graph_of((1 - (x * y).sin() ** 2 / 3).grad_fn),
        "shared": graph_of((x * x).grad_fn),
        "constant": graph_of((x * z).grad_fn),
    }


@program
def augmented_assignment_rebinds_nothing(m):
    x = m.tensor([1.0, 2.0])
    before = x
    x += 1
    x *= 2
    x -= 0.5
    x /= 4
    x **= 2
    return {"same": before is x, "x": x, "version": x._version}


@program
def numpy_on_the_other_side(m):
    import numpy as np

    x = m.tensor([1.0, 2.0], dtype=m.float64)
    return {"scalar": x * np.float64(2.0), "int": x + np.int64(1), "reflected": float(np.float64(2.0)) * x}


@program
def integer_overflow_wraps(m):
    return {
        "uint8": m.tensor([250], dtype=m.uint8) + 10,
        "int8": m.tensor([127], dtype=m.int8) + m.tensor([1], dtype=m.int8),
        "int32": m.tensor([2**31 - 1], dtype=m.int32) + 1,
    }


@program
def floor_division_of_floats(m):
    x, y = m.tensor([7.5, -7.5, 6.0]), m.tensor([2.0, 2.0, -4.0])
    return {"tensor": x // y, "scalar": x // 2, "reflected": 7 // x, "mod": 7 % y, "int": m.tensor([7, -7]) // 2.0}


@program
def division_by_zero(m):
    return {
        "float": m.tensor([1.0, -1.0, 0.0]) / 0,
        "int_true": m.tensor([1, -1, 0]) / 0,
        "mod": m.tensor([1.0]) % 0,
    }
