"""Elementwise operations of the eager face: values against NumPy, gradients against differences and torch's numbers.

Literal numbers at kinks, names of nodes and texts of errors were observed under torch 2.13.0 on a CPU.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradloom
from gradloom.autograd import activations as F
from gradloom.autograd.tensor import Tensor, from_array

NAN, INF = math.nan, math.inf


def tensor(data: Any, dtype: Any = np.float64, grad: bool = False) -> Any:
    x = from_array(np.array(data, dtype))
    x.requires_grad = grad
    return x


def leaf(*values: float) -> Any:
    return tensor(list(values), grad=True)


def f(name: str) -> Callable[..., Any]:
    return getattr(gradloom, name)


def gradients(function: Callable[..., Tensor], *points: Any) -> tuple[Any, list[Any]]:
    leaves = [leaf(*each) for each in points]
    result = function(*leaves)
    result.backward(tensor(np.ones(result.shape)))
    return result.tolist(), [None if x.grad is None else x.grad.tolist() for x in leaves]


def same(actual: Any, expected: Any) -> None:
    np.testing.assert_allclose(np.array(actual, float), np.array(expected, float), rtol=1e-12, atol=1e-14)


# --- values and gradients ---------------------------------------------------------------------------------------------

EVERYWHERE, POSITIVE, UNIT = [-2.3, -0.7, 0.4, 1.9], [0.2, 0.9, 1.7, 6.5], [-0.8, -0.3, 0.35, 0.9]
erf = np.vectorize(math.erf)

UNARY: dict[str, tuple[Any, list[float]]] = {
    "abs": (np.abs, EVERYWHERE),
    "neg": (np.negative, EVERYWHERE),
    "reciprocal": (np.reciprocal, EVERYWHERE),
    "square": (np.square, EVERYWHERE),
    "sqrt": (np.sqrt, POSITIVE),
    "rsqrt": (lambda x: 1 / np.sqrt(x), POSITIVE),
    "exp": (np.exp, EVERYWHERE),
    "exp2": (np.exp2, EVERYWHERE),
    "expm1": (np.expm1, EVERYWHERE),
    "log": (np.log, POSITIVE),
    "log2": (np.log2, POSITIVE),
    "log10": (np.log10, POSITIVE),
    "log1p": (np.log1p, POSITIVE),
    "sin": (np.sin, EVERYWHERE),
    "cos": (np.cos, EVERYWHERE),
    "tan": (np.tan, UNIT),
    "asin": (np.arcsin, UNIT),
    "acos": (np.arccos, UNIT),
    "atan": (np.arctan, EVERYWHERE),
    "sinh": (np.sinh, EVERYWHERE),
    "cosh": (np.cosh, EVERYWHERE),
    "tanh": (np.tanh, EVERYWHERE),
    "asinh": (np.arcsinh, EVERYWHERE),
    "acosh": (np.arccosh, [1.2, 2.0, 9.0]),
    "atanh": (np.arctanh, UNIT),
    "sinc": (np.sinc, EVERYWHERE),
    "sigmoid": (lambda x: 1 / (1 + np.exp(-x)), EVERYWHERE),
    "logit": (lambda x: np.log(x / (1 - x)), [0.1, 0.45, 0.9]),
    "erf": (erf, EVERYWHERE),
    "erfc": (lambda x: 1 - erf(x), EVERYWHERE),
    "deg2rad": (np.deg2rad, EVERYWHERE),
    "rad2deg": (np.rad2deg, EVERYWHERE),
    "frac": (lambda x: x - np.trunc(x), EVERYWHERE),
    "floor": (np.floor, EVERYWHERE),
    "ceil": (np.ceil, EVERYWHERE),
    "trunc": (np.trunc, EVERYWHERE),
    "round": (np.rint, EVERYWHERE),
    "sign": (np.sign, EVERYWHERE),
    "relu": (lambda x: np.maximum(x, 0), EVERYWHERE),
}
BINARY: dict[str, Any] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "remainder": np.remainder,
    "fmod": np.fmod, "maximum": np.maximum, "minimum": np.minimum, "fmax": np.fmax, "fmin": np.fmin,
    "atan2": np.arctan2, "hypot": np.hypot, "logaddexp": np.logaddexp, "logaddexp2": np.logaddexp2,
    "copysign": np.copysign, "ldexp": lambda x, y: x * 2.0**y,
}  # fmt: skip
ACTIVATIONS: dict[str, tuple[Any, Any]] = {
    "leaky_relu": (F.leaky_relu, lambda x: np.where(x > 0, x, 0.01 * x)),
    "elu": (lambda x: F.elu(x, 1.5), lambda x: np.where(x > 0, x, 1.5 * np.expm1(x))),
    "celu": (lambda x: F.celu(x, 2.0), lambda x: np.where(x > 0, x, 2 * np.expm1(x / 2))),
    "gelu": (F.gelu, lambda x: x * (1 + erf(x / math.sqrt(2))) / 2),
    "gelu_tanh": (
        lambda x: F.gelu(x, approximate="tanh"),
        lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    ),
    "silu": (F.silu, lambda x: x / (1 + np.exp(-x))),
    "mish": (F.mish, lambda x: x * np.tanh(np.log1p(np.exp(x)))),
    "softplus": (lambda x: F.softplus(x, 2.0, 3.0), lambda x: np.where(2 * x > 3, x, np.log1p(np.exp(2 * x)) / 2)),
    "logsigmoid": (F.logsigmoid, lambda x: -np.log1p(np.exp(-x))),
    "softsign": (F.softsign, lambda x: x / (1 + np.abs(x))),
    "tanhshrink": (F.tanhshrink, lambda x: x - np.tanh(x)),
    "hardtanh": (F.hardtanh, lambda x: np.clip(x, -1, 1)),
    "relu6": (F.relu6, lambda x: np.clip(x, 0, 6)),
    "hardsigmoid": (F.hardsigmoid, lambda x: np.clip(x + 3, 0, 6) / 6),
    "hardswish": (F.hardswish, lambda x: x * np.clip(x + 3, 0, 6) / 6),
    "softshrink": (F.softshrink, lambda x: np.sign(x) * np.maximum(np.abs(x) - 0.5, 0)),
    "hardshrink": (F.hardshrink, lambda x: np.where(np.abs(x) > 0.5, x, 0)),
    "threshold": (lambda x: F.threshold(x, 0.1, 20), lambda x: np.where(x > 0.1, x, 20)),
}


def check(function: Any, reference: Any, *points: Any) -> None:
    """Compare values with the reference and gradients with its central differences."""
    arrays = [np.array(each) for each in points]
    value, found = gradients(function, *points)
    np.testing.assert_allclose(value, reference(*arrays), rtol=1e-9)
    step = 1e-6
    for k, array in enumerate(arrays):
        high = reference(*arrays[:k], array + step, *arrays[k + 1 :])
        low = reference(*arrays[:k], array - step, *arrays[k + 1 :])
        np.testing.assert_allclose(found[k], (high - low) / (2 * step), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", UNARY)
def test_unary(name: str):
    reference, points = UNARY[name]
    check(f(name), reference, points)
    single = tensor(points, np.float32)
    for result in (f(name)(single), getattr(single, name)(), getattr(tensor(points, np.float32), f"{name}_")()):
        assert result.dtype is gradloom.float32
        np.testing.assert_allclose(result.numpy(), reference(np.array(points)), rtol=2e-5)


@pytest.mark.parametrize("name", BINARY)
def test_binary(name: str):
    check(f(name), BINARY[name], [1.5, -2.0, 0.3], [0.7, 1.5, -2.5])


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation(name: str):
    function, reference = ACTIVATIONS[name]
    check(function, reference, [-4.0, -2.5, -0.7, -0.2, 0.3, 1.2, 2.5, 4.5])


def test_three_operands():
    points = [1.0, 2.0], [3.0, -0.5], [0.25, 0.75]
    check(lambda x, a, b: gradloom.addcmul(x, a, b, value=0.5), lambda x, a, b: x + 0.5 * a * b, *points)
    check(lambda x, a, b: gradloom.addcdiv(x, a, b, value=0.5), lambda x, a, b: x + 0.5 * a / b, *points)
    check(gradloom.lerp, lambda a, b, w: a + w * (b - a), *points)
    check(lambda x, y: gradloom.add(x, y, alpha=3), lambda x, y: x + 3 * y, *points[:2])
    check(lambda x, y: gradloom.sub(x, y, alpha=0.5), lambda x, y: x - 0.5 * y, *points[:2])
    check(lambda x, y: gradloom.rsub(x, y, alpha=2), lambda x, y: y - 2 * x, *points[:2])
    check(lambda x, y: (x * x) ** y, lambda x, y: (x * x) ** y, *points[:2])
    check(lambda x, y: gradloom.xlogy(x, y * y), lambda x, y: x * np.log(y * y), *points[:2])
    check(lambda x: 2**x, lambda x: 2**x, [1.0, -0.5])
    for exponent in (0, 1, 2, 3, 4, -1, -2.0, 0.5, 1.7):
        check(lambda x, e=exponent: x**e, lambda x, e=exponent: x**e, POSITIVE)


# --- kinks and edges, as torch has them -------------------------------------------------------------------------------

KINKS: list[tuple[str, Any, Any, Any, Any]] = [
    ("abs", gradloom.abs, ([0.0, NAN, -INF],), [0, NAN, INF], [[0, 0, -1]]),
    ("relu", gradloom.relu, ([NAN, 0.0, 1, -1],), [NAN, 0, 1, 0], [[1, 0, 1, 0]]),
    ("clamp", lambda x: x.clamp(-1, 1), ([NAN, -1, 1, 0, INF],), [NAN, -1, 1, 0, 1], [[0, 1, 1, 1, 0]]),
    ("clamp_min", lambda x: x.clamp_min(-1), ([NAN, -1, -2],), [NAN, -1, -1], [[0, 1, 0]]),
    ("clamp_max", lambda x: x.clamp(max=-1), ([NAN, -1, 1],), [NAN, -1, -1], [[0, 1, 0]]),
    ("clamp_crossed", lambda x: x.clamp(1, -1), ([-2, 0, 2],), [-1, -1, -1], [[0, 0, 0]]),
    (
        "clamp_tensors",
        gradloom.clamp,
        ([0, 5, 2, 2, 0, 5], [1, 1, 2, 3, 2, 2], [3, 3, 2, 1, 2, 2]),
        [1, 3, 2, 1, 2, 2],
        [[0, 0, 1, 0, 0, 0], [1, 0, 0, 0, 0, 0], [0, 1, 0, 1, 0, 1]],
    ),
    ("maximum", gradloom.maximum, ([1, 2], [1, 1]), [1, 2], [[0.5, 1], [0.5, 0]]),
    ("fmax", gradloom.fmax, ([1, 2, NAN, 1, NAN], [1, 1, 1, NAN, NAN]), [1, 2, 1, 1, NAN],
     [[1, 1, 0, 1, 1], [0, 0, 1, 0, 0]]),
    ("fmin", gradloom.fmin, ([1, 2, NAN, 1], [1, 1, 1, NAN]), [1, 1, 1, 1], [[1, 0, 0, 1], [0, 1, 1, 0]]),
    ("pow", gradloom.pow, ([0, 0, 0, 2], [0, 1, 2, 0]), [1, 0, 0, 1], [[0, 1, 0, 0], [0, 0, 0, math.log(2)]]),
    ("pow_half", lambda x: x**0.5, ([0, -2, 4],), [0, NAN, 2], [[INF, NAN, 0.25]]),
    ("xlogy", gradloom.xlogy, ([0, 0], [-1, 2]), [0, 0], [[0, math.log(2)], [0, 0]]),
    ("leaky_relu", F.leaky_relu, ([0, NAN],), [0, NAN], [[0.01, 0.01]]),
    ("hardtanh", F.hardtanh, ([-1, 0.5, 1, NAN],), [-1, 0.5, 1, NAN], [[0, 1, 0, 0]]),
    ("hardswish", F.hardswish, ([-3, 3, -6],), [0, 3, 0], [[0, 1, 0]]),
    ("elu", F.elu, ([-200, 0, 200],), [-1, 0, 200], [[math.exp(-200), 1, 1]]),
    ("elu_alpha", lambda x: F.elu(x, 2.0), ([0, 1000],), [0, 1000], [[2, 1]]),
    ("softplus", F.softplus, ([-1000, 0, 1000],), [0, math.log(2), 1000], [[0, 0.5, 1]]),
    ("logsigmoid", F.logsigmoid, ([-1000, 1000],), [-1000, 0], [[1, 0]]),
    ("softshrink", F.softshrink, ([-0.5, 0.5, NAN],), [0, 0, NAN], [[0, 0, 0]]),
    ("sinc", gradloom.sinc, ([0, 1],), [1, 0], [[0, -1]]),
    ("nan_to_num", gradloom.nan_to_num, ([NAN, INF, 2],), [0, np.finfo(np.float64).max, 2], [[0, 0, 1]]),
    ("logit_eps", lambda x: gradloom.logit(x, 0.25), ([0.1, 0.25, 0.5],), [-math.log(3), -math.log(3), 0],
     [[0, 16 / 3, 4]]),
    ("prelu", F.prelu, ([-1, 0, 2], [0.25]), [-0.25, 0, 2], [[0.25, 0.25, 1], [-1]]),
    ("remainder", gradloom.remainder, ([5, -5], [2, 2]), [1, 1], [[1, 1], [-2, 3]]),
    ("div_floor", lambda x, y: gradloom.div(x, y, rounding_mode="floor"), ([5], [2]), [2], [[0], [0]]),
    ("where", lambda x: gradloom.where(x > 0, gradloom.log(x), x), ([0, 1],), [0, 0], [[1, 1]]),
]  # fmt: skip


@pytest.mark.parametrize("case", KINKS, ids=[case[0] for case in KINKS])
def test_kink(case: Any):
    _, function, points, value, expected = case
    for _ in range(2):  # interpreted, then compiled
        found, grads = gradients(function, *points)
        same(found, value)
        for actual, want in zip(grads, expected, strict=True):
            same(actual, want)


# --- the graph --------------------------------------------------------------------------------------------------------


def graph(y: Tensor) -> tuple[str, list[str | None]]:
    node = y.grad_fn
    assert node is not None
    return node.name(), [None if edge is None else edge.name() for edge, _ in node.next_functions]


A = "AccumulateGrad"
NODES: list[tuple[Any, str, list[str | None]]] = [
    (lambda x, y: x + 2, "AddBackward0", [A, None]),
    (lambda x, y: 2 + x, "AddBackward0", [A, None]),
    (lambda x, y: gradloom.add(2, x), "AddBackward0", [None, A]),
    (lambda x, y: gradloom.add(x, y, alpha=2), "AddBackward0", [A, A]),
    (lambda x, y: 1 - x, "RsubBackward1", [A]),
    (lambda x, y: 4 / x, "MulBackward0", ["ReciprocalBackward0", None]),
    (lambda x, y: x**2, "PowBackward0", [A]),
    (lambda x, y: x**y, "PowBackward1", [A, A]),
    (lambda x, y: 2**x, "PowBackward2", [A]),
    (lambda x, y: x.square(), "PowBackward0", [A]),
    (lambda x, y: x % 2, "RemainderBackward0", [A]),
    (lambda x, y: x % y, "RemainderBackward1", [A, A]),
    (lambda x, y: x.fmod(2), "FmodBackward0", [A]),
    (lambda x, y: x // 2, "NotImplemented", [A]),
    (lambda x, y: x.div(y, rounding_mode="trunc"), "DivBackward2", [A, A]),
    (lambda x, y: x.clamp(0, 1), "ClampBackward1", [A]),
    (lambda x, y: x.clamp(y, y), "ClampBackward0", [A, A, A]),
    (lambda x, y: x.clamp(min=y), "ClampBackward0", [A, A, None]),
    (lambda x, y: x.clamp_min(0), "ClampMinBackward0", [A]),
    (lambda x, y: x.clamp_max(y), "ClampMaxBackward1", [A, A]),
    (lambda x, y: gradloom.where(x > y, x, 0.0), "WhereBackward0", [A, None]),
    (lambda x, y: x.masked_fill(x > 0, 1.0), "MaskedFillBackward0", [A]),
    (lambda x, y: x.lerp(y, 0.5), "LerpBackward0", [A, A]),
    (lambda x, y: x.lerp(y, x), "LerpBackward1", [A, A, A]),
    (lambda x, y: x.addcmul(y, y), "AddcmulBackward0", [A, A, A]),
    (lambda x, y: gradloom.xlogy(2, x), "XlogyBackward1", [A]),
    (lambda x, y: x.xlogy(2), "XlogyBackward2", [A]),
    (lambda x, y: x.copysign(-1), "CopysignBackward1", [A]),
    (lambda x, y: x.round(decimals=1), "RoundBackward1", [A]),
    (lambda x, y: F.selu(x), "EluBackward0", [A]),
    (lambda x, y: F.relu6(x), "HardtanhBackward0", [A]),
    (lambda x, y: (x * 1).fill_(3), "FillBackward2", ["MulBackward0"]),
    (lambda x, y: (x * 1).zero_(), "ZeroBackward0", ["MulBackward0"]),
    (lambda x, y: (x * 1).copy_(y), "CopyBackwards", ["MulBackward0", A]),
    (lambda x, y: (x * 1).gt_(0.5), "GtBackward0", ["MulBackward0"]),
    (lambda x, y: (x * 1).eq_(y), "EqBackward1", ["MulBackward0", A]),
    (lambda x, y: tensor([0, 0]).copy_(y), "CopyBackwards", [None, A]),
]


@pytest.mark.parametrize("case", NODES, ids=[f"{k}-{case[1]}" for k, case in enumerate(NODES)])
def test_node(case: Any):
    function, name, edges = case
    assert graph(function(leaf(0.3, 0.5), leaf(0.4, 0.6))) == (name, edges)


def test_what_is_not_saved_may_be_overwritten():
    x, y = leaf(1.0, 4.0), leaf(2.0, 8.0)
    quotient = x / y
    quotient += 1
    root = x * 2
    squares = root.exp()
    root.zero_()
    (quotient + squares).sum().backward()
    same(x.grad.tolist(), [0.5 + 2 * math.exp(2), 0.125 + 2 * math.exp(8)])
    same(y.grad.tolist(), [-0.25, -4 / 64])


@pytest.mark.parametrize("name", ["exp", "sqrt", "tanh", "sigmoid", "reciprocal", "rsqrt", "relu", "tan", "expm1"])
def test_saved_results_must_not_be_overwritten(name: str):
    y = f(name)(leaf(0.5, 0.7))
    y.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


@pytest.mark.parametrize("name", ["sin", "log", "asinh", "square", "abs"])
def test_saved_operands_must_not_be_overwritten(name: str):
    x = leaf(0.5, 0.7) * 1
    y = f(name)(x)
    x.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


@pytest.mark.parametrize(
    "name, function",
    [
        ("floor_divide", lambda x: x // 2),
        ("remainder", lambda x: 2 % x),
        ("heaviside", lambda x: x.heaviside(x.detach())),
    ],
)
def test_without_derivative(name: str, function: Any):
    y = function(leaf(1.5, -0.5))
    with pytest.raises(RuntimeError, match=f"derivative for aten::{name} is not implemented"):
        y.sum().backward()


# --- dtypes -----------------------------------------------------------------------------------------------------------


def whole(*values: int, dtype: Any = np.int64) -> Any:
    return tensor(list(values), dtype)


def test_whole_numbers():
    i = whole(7, -7, 5)
    assert (i // 2).tolist() == [3, -4, 2] and (i % -3).tolist() == [-2, -1, -1]
    assert i.div(2, rounding_mode="trunc").tolist() == [3, -3, 2] and i.fmod(2).tolist() == [1, -1, 1]
    assert (i / 2).dtype is gradloom.float32 and (i * 2.5).dtype is gradloom.float32
    assert (i**2).dtype is gradloom.int64 and (i**2.0).dtype is gradloom.float32
    assert (whole(2, 1, -1) ** whole(-1, -2, -3)).tolist() == [0, 1, -1]
    assert (whole(1, 2) << 70).tolist() == [0, 0] and (whole(-8, 8) >> 99).tolist() == [-1, 0]
    assert (whole(1, 2) << -1).tolist() == [0, 0]


def test_numbers_beyond_the_dtype_wrap():
    u = whole(250, 1, dtype=np.uint8)
    assert (u + 300).tolist() == [38, 45] and (u * 1000).tolist() == [144, 232]
    assert (u == 506).tolist() == [True, False] and (u < 300).tolist() == [False, True]
    with pytest.raises(RuntimeError, match="value cannot be converted to type uint8_t without overflow"):
        u.clamp(0, 300)


def test_in_place_keeps_the_dtype():
    x = tensor([1, 2], np.float32)
    assert x.mul_(tensor([1.5, 2.0])) is x
    assert x.dtype is gradloom.float32 and x.tolist() == [1.5, 4.0]
    y = tensor([1, 2], np.float32, grad=True) * 1
    y.mul_(tensor([3, 4]))
    assert y.grad_fn.name() == "MulBackward0" and y.dtype is gradloom.float32
    assert whole(1, 5).gt_(2).tolist() == [0, 1]
    assert whole(1, 2, dtype=np.int8).add_(whole(1, 1)).dtype is gradloom.int8


@pytest.mark.parametrize("scalar", [np.float64(2), np.float32(2), np.int64(2), np.array(2.0)])
def test_numpy_operands(scalar: Any):
    x = tensor([1, 2], np.float32)
    for result in (x * scalar, scalar * x, x + scalar - scalar, scalar / x, x**scalar):
        assert isinstance(result, Tensor)
    np.testing.assert_array_equal((scalar - x).numpy(), [1, 0])
    assert (np.float64(2) * x).dtype is gradloom.float32


def test_foreign_operands():
    x = leaf(1.0, 2.0)
    assert (x == None) is False and (x != None) is True and (x == "a") is False  # noqa: E711
    for function in (lambda: x + "a", lambda: x < None, lambda: None - x, lambda: x**"a", lambda: x // None):
        with pytest.raises(TypeError):
            function()


# --- comparison and selection -----------------------------------------------------------------------------------------


def test_comparison_and_logic():
    a, b = tensor([1, 2, NAN]), tensor([2, 2, 1])
    assert (a < b).tolist() == [True, False, False] and (2 <= a).tolist() == [False, True, False]
    assert a.ne(b).tolist() == [True, False, True] and gradloom.greater_equal(a, 2).tolist() == [False, True, False]
    assert gradloom.logical_and(whole(0, 2, 3), tensor([1, 0, 2])).tolist() == [False, False, True]
    assert (whole(6, 5) & 3).tolist() == [2, 1] and (~whole(0, 1)).tolist() == [-1, -2]
    assert (whole(0, 1, dtype=bool) ^ True).tolist() == [True, False]
    assert gradloom.isnan(a).tolist() == [False, False, True] and gradloom.isnan(whole(1)).tolist() == [False]
    assert gradloom.isclose(a, a, equal_nan=True).tolist() == [True, True, True]
    assert gradloom.equal(whole(1, 2), tensor([1.0, 2.0])) and not gradloom.equal(a, a)
    assert not gradloom.allclose(tensor([INF]), tensor([-INF])) and gradloom.allclose(b, b + 1e-9)


def test_selection():
    x = tensor([1, -2, 3])
    assert [each.tolist() for each in gradloom.where(x > 0)] == [[0, 2]]
    assert gradloom.where(x > 0, 1, 2).dtype is gradloom.int64
    assert x.where(x > 0, 9).tolist() == [1, 9, 3]
    assert whole(1, 2).masked_fill(whole(1, 0, dtype=bool), 1.5).tolist() == [1, 2]
    value = leaf(5.0).sum()
    y = (leaf(1.0, 2.0) * 2).masked_fill_(whole(1, 1, dtype=bool), value)
    assert y.tolist() == [5, 5] and y.requires_grad
    assert whole(1, 2).copy_(tensor([1.7, -2.9])).tolist() == [1, -2]
    assert whole(1, 2).fill_(3).tolist() == [3, 3]
    x = leaf(1.0, 2.0)
    (x * 2).fill_(7.0).sum().backward()
    assert x.grad.tolist() == [0, 0]


# --- errors -----------------------------------------------------------------------------------------------------------

BOOLS = whole(1, 0, dtype=bool)
ERRORS: list[tuple[Any, type[Exception], str]] = [
    (lambda: BOOLS - BOOLS, RuntimeError, "Subtraction, the `-` operator, with two bool tensors is not supported."),
    (lambda: BOOLS - 1, RuntimeError, "Subtraction, the `-` operator, with a bool tensor is not supported."),
    (lambda: -BOOLS, RuntimeError, "Negation, the `-` operator, on a bool tensor is not supported."),
    (lambda: whole(1) ** -1, RuntimeError, "Integers to negative integer powers are not allowed."),
    (lambda: whole(1) // 0, RuntimeError, "ZeroDivisionError"),
    (lambda: whole(1) % whole(0), RuntimeError, "ZeroDivisionError"),
    (lambda: whole(1).div_(2), RuntimeError, "result type Float can't be cast to the desired output type Long"),
    (lambda: whole(1, dtype=bool).add_(1), RuntimeError, "result type Long can't be cast to the desired output"),
    (lambda: leaf(1).add_(1), RuntimeError, "a leaf Variable that requires grad is being used in"),
    (lambda: leaf(1, 2) + leaf(1, 2, 3), RuntimeError, "The size of tensor a (2) must match the size of tensor b (3)"),
    (lambda: leaf(1).clamp(), RuntimeError, "gradloom.clamp: At least one of 'min' or 'max' must not be None"),
    (lambda: gradloom.add(whole(1), whole(1), alpha=0.5), RuntimeError, "For integral input tensors, argument alpha"),
    (lambda: gradloom.div(leaf(1), 2, rounding_mode="up"), RuntimeError, "div expected rounding_mode to be one of"),
    (lambda: gradloom.where(whole(1), 1, 2), RuntimeError, "where expected condition to be a boolean tensor, but got"),
    (lambda: leaf(1).masked_fill(whole(1), 0), RuntimeError, "masked_fill_ only supports boolean masks, but got"),
    (lambda: gradloom.frac(whole(1)), NotImplementedError, "\"frac_cpu\" not implemented for 'Long'"),
    (lambda: leaf(1) & 1, NotImplementedError, "\"bitwise_and_cpu\" not implemented for 'Double'"),
    (lambda: ~leaf(1), TypeError, "~ (operator.invert) is only implemented on integer and Boolean-type tensors"),
    (lambda: gradloom.exp(2.0), TypeError, "exp(): argument 'input' (position 1) must be Tensor, not float"),
    (lambda: gradloom.maximum(leaf(1), 1.0), TypeError, "maximum(): argument 'other' (position 2) must be Tensor, not"),
    (lambda: gradloom.isclose(leaf(1), whole(1)), RuntimeError, "Double did not match Long"),
    (lambda: F.gelu(whole(1)), NotImplementedError, "\"GeluKernelImpl\" not implemented for 'Long'"),
]


@pytest.mark.parametrize("case", ERRORS, ids=[case[2][:40] for case in ERRORS])
def test_error(case: Any):
    function, kind, text = case
    with pytest.raises(kind) as caught:
        function()
    assert str(caught.value).startswith(text)


# --- speed ------------------------------------------------------------------------------------------------------------


def test_numbers_that_change_do_not_compile_again():
    from gradloom.autograd.programs import counters

    x = tensor([1.0, 2.0])
    for rate in (0.1, 0.2, 0.3, 0.4):
        (x - rate * x).clamp(0, rate).lerp(x, rate).tolist()
    before = counters.compiled
    for rate in (0.5, 0.6):
        same((x - rate * x).clamp(0, rate).lerp(x, rate).tolist()[0], min(1 - rate, rate) * (1 - rate) + rate)
    assert counters.compiled == before
