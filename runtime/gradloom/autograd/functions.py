"""Functions of one or two tensors, element by element: exponentials, logarithms, trigonometry, rounding, extrema.

Owns neither arithmetic (arithmetic.py) nor what neural networks call activations (activations.py). At kinks and edges
the derivative is PyTorch's; where the record's is another one, the rule is written with other records.
"""

import math
from typing import Any

import numpy as np

from gradloom.autograd.elementwise import (
    FIRST,
    NOTHING,
    RESULT,
    as_value,
    binary,
    bring_to,
    check_broadcast,
    common_element,
    constant,
    documented,
    fitted,
    is_number,
    not_implemented,
    number_argument,
    on_value,
    operand,
    promoting,
    tensor_operand,
    unary,
    write_into,
)
from gradloom.autograd.errors import error
from gradloom.autograd.graph import EagerOp
from gradloom.autograd.recording import Variable, record, wrap
from gradloom.autograd.tensor import Tensor, method, operation, public
from gradloom.trace.tracer import Tracer
from gradloomc.dialects import nd
from gradloomc.ir.types import ScalarType

# --- exponentials, logarithms, roots ----------------------------------------------------------------------------------


def _function(name: str, node: str, rule: Any, *aliases: str, saves: Any = None, doc: str = "") -> Any:
    """Define a function on floats; integers and bools are brought to the default dtype."""
    op = EagerOp(f"{node}Backward0", promoting(rule, floats=True), saves=saves)
    return unary(name, op, *aliases, doc=doc)


exp = _function("exp", "Exp", np.exp, saves=RESULT, doc="Return e to the power of each element.")
exp2 = _function("exp2", "Exp2", np.exp2, saves=RESULT, doc="Return 2 to the power of each element.")
expm1 = _function("expm1", "Expm1", np.expm1, saves=RESULT, doc="Return exp(x) - 1, accurate near 0.")
log = _function("log", "Log", np.log, doc="Return the natural logarithm of each element.")
log2 = _function("log2", "Log2", np.log2, doc="Return the logarithm to base 2 of each element.")
log10 = _function("log10", "Log10", np.log10, doc="Return the logarithm to base 10 of each element.")
log1p = _function("log1p", "Log1P", np.log1p, doc="Return log(1 + x), accurate near 0.")
sqrt = _function("sqrt", "Sqrt", np.sqrt, saves=RESULT, doc="Return the square root of each element.")
rsqrt = _function(
    "rsqrt",
    "Rsqrt",
    lambda x: Tracer(nd.reciprocal(nd.sqrt(x.value))),
    saves=RESULT,
    doc="Return 1 / sqrt(x) of each element.",
)


def _squared(x: Any, into: ScalarType | None = None) -> Tracer:
    element = common_element((x, 2))
    return fitted(np.square(bring_to(x, element)), into)


square = unary("square", EagerOp("PowBackward0", _squared, saves=FIRST), doc="Return the square of each element.")

# --- trigonometry and its kin -----------------------------------------------------------------------------------------

sin = _function("sin", "Sin", np.sin, doc="Return the sine of each element.")
cos = _function("cos", "Cos", np.cos, doc="Return the cosine of each element.")
tan = _function("tan", "Tan", np.tan, saves=RESULT, doc="Return the tangent of each element.")
asin = _function("asin", "Asin", np.arcsin, "arcsin", doc="Return the inverse sine of each element.")
acos = _function("acos", "Acos", np.arccos, "arccos", doc="Return the inverse cosine of each element.")
atan = _function("atan", "Atan", np.arctan, "arctan", doc="Return the inverse tangent of each element.")
sinh = _function("sinh", "Sinh", np.sinh, doc="Return the hyperbolic sine of each element.")
cosh = _function("cosh", "Cosh", np.cosh, doc="Return the hyperbolic cosine of each element.")
tanh = _function("tanh", "Tanh", np.tanh, saves=RESULT, doc="Return the hyperbolic tangent of each element.")
asinh = _function("asinh", "Asinh", np.arcsinh, "arcsinh", saves=FIRST, doc="Return the inverse hyperbolic sine.")
acosh = _function("acosh", "Acosh", np.arccosh, "arccosh", doc="Return the inverse hyperbolic cosine.")
atanh = _function("atanh", "Atanh", np.arctanh, "arctanh", doc="Return the inverse hyperbolic tangent.")
deg2rad = _function("deg2rad", "Deg2Rad", np.deg2rad, doc="Return degrees in radians.")
rad2deg = _function("rad2deg", "Rad2Deg", np.rad2deg, doc="Return radians in degrees.")


def _sinc(x: Any) -> Any:
    at_zero = x == 0
    angle = np.where(at_zero, x.dtype.type(1), x * x.dtype.type(math.pi))
    return np.where(at_zero, x.dtype.type(1), np.sin(angle) / angle)


sinc = _function("sinc", "Sinc", _sinc, saves=FIRST, doc="Return sin(pi x) / (pi x) of each element, 1 at 0.")

# --- special functions ------------------------------------------------------------------------------------------------

sigmoid = _function(
    "sigmoid", "Sigmoid", on_value(nd.sigmoid), saves=RESULT, doc="Return 1 / (1 + exp(-x)) of each element."
)
erf = _function("erf", "Erf", on_value(nd.erf), doc="Return the error function of each element.")
erfc = _function("erfc", "Erfc", on_value(nd.erfc), doc="Return 1 - erf(x) of each element, accurate for large x.")


def _logit(x: Any, eps: Any = None) -> Tracer:
    if eps is not None:
        low, high = bring_to(float(eps), x.value.type.element), bring_to(1 - float(eps), x.value.type.element)
        inside = (x >= low) & (x <= high)
        x = np.where(inside, x, constant(np.clip(x, low, high)))
    return Tracer(nd.logit(as_value(x).value))


LOGIT = EagerOp("LogitBackward0", promoting(_logit, floats=True), saves=FIRST)


def _eps(eps: Any) -> tuple[tuple[str, Any], ...]:
    return () if eps is None else (("eps", number_argument(eps, "logit", "eps")),)


@method("logit")
@public("logit")
def logit(input: Tensor, eps: Any = None) -> Tensor:
    """Return log(x / (1 - x)) of each element, first brought into [eps, 1 - eps] if eps is given."""
    return operation(LOGIT, (tensor_operand(input, "logit"),), _eps(eps))


@method("logit_")
def logit_(self: Tensor, eps: Any = None) -> Tensor:
    """Apply `logit` in place."""
    return write_into(self, LOGIT, (self,), _eps(eps))


# --- signs and rounding -----------------------------------------------------------------------------------------------


def _absolute(x: Any) -> Any:
    if x.dtype.kind != "f":
        return np.abs(x)
    # PyTorch's derivative is 0 at 0 and at nan.
    return np.where(x > 0, x, np.where(x < 0, -x, constant(np.abs(x))))


def _sign(x: Any) -> Any:
    if x.dtype.kind == "b":
        return x
    zero = x.dtype.type(0)
    return (x > zero).astype(x.dtype) - (x < zero).astype(x.dtype)  # 0 at nan


def _frac(x: Any) -> Any:
    return x - np.trunc(x)


def _rounding(name: str, node: str, function: Any, *aliases: str, doc: str) -> Any:
    rule = promoting(lambda x: x if x.dtype.kind in "iu" else function(x), refused="b", kernel=f"{name}_vml_cpu")
    return unary(name, EagerOp(f"{node}Backward0", rule, saves=NOTHING), *aliases, doc=doc)


abs = unary(
    "abs",
    EagerOp("AbsBackward0", promoting(_absolute, refused="b", kernel="abs_cpu")),
    "absolute",
    doc="Return the absolute value of each element; its derivative at 0 is 0.",
)
method("__abs__")(abs)
sign = unary("sign", EagerOp("SignBackward0", promoting(_sign), saves=NOTHING), doc="Return -1, 0 or 1; 0 for nan.")
sgn = unary("sgn", EagerOp("SgnBackward0", promoting(_sign), saves=NOTHING), doc="Return -1, 0 or 1; 0 for nan.")
floor = _rounding("floor", "Floor", np.floor, doc="Return the largest whole number not above each element.")
ceil = _rounding("ceil", "Ceil", np.ceil, doc="Return the smallest whole number not below each element.")
trunc = _rounding("trunc", "Trunc", np.trunc, "fix", doc="Return each element without its fraction.")
frac = unary(
    "frac",
    EagerOp("FracBackward0", promoting(_frac, refused="biu", kernel="frac_cpu"), saves=NOTHING),
    doc="Return the fraction of each element, with its sign.",
)


def _rounded_to(x: Any, decimals: int) -> Any:
    scale = x.dtype.type(10.0 ** (decimals if decimals >= 0 else -decimals))
    return np.rint(x * scale) / scale if decimals >= 0 else np.rint(x / scale) * scale


_ROUND_RULE = promoting(lambda x: x if x.dtype.kind in "iu" else np.rint(x), refused="b", kernel="round_vml_cpu")
ROUND = EagerOp("RoundBackward0", _ROUND_RULE, saves=NOTHING)
ROUND_TO = EagerOp("RoundBackward1", promoting(_rounded_to, refused="biu", kernel="round_cpu"), saves=NOTHING)


@method("round")
@public("round")
def round(input: Tensor, *, decimals: int = 0) -> Tensor:
    """Return the nearest whole number, ties to even; or the nearest multiple of ten to the power -decimals."""
    x = tensor_operand(input, "round")
    return operation(ROUND_TO, (x,), (("decimals", decimals),)) if decimals else operation(ROUND, (x,))


@method("round_")
def round_(self: Tensor, *, decimals: int = 0) -> Tensor:
    """Apply `round` in place."""
    if not decimals:
        return write_into(self, ROUND, (self,))
    return write_into(self, ROUND_TO, (self,), (("decimals", decimals),))


# --- two tensors ------------------------------------------------------------------------------------------------------


def _not_a_nan(chooses: Any) -> Any:
    """fmax, fmin: at a tie PyTorch gives the whole gradient to the first operand."""

    def rule(x: Any, y: Any) -> Any:
        first = chooses(x, y)
        return np.where(first if x.dtype.kind != "f" else first | np.isnan(y), x, y)

    return rule


maximum = binary(
    "maximum",
    EagerOp("MaximumBackward0", promoting(np.maximum)),
    writes=False,
    doc="Return the larger of two elements, nan if one is; at a tie each gets half of the gradient.",
)
minimum = binary(
    "minimum",
    EagerOp("MinimumBackward0", promoting(np.minimum)),
    writes=False,
    doc="Return the smaller of two elements, nan if one is; at a tie each gets half of the gradient.",
)
fmax = binary(
    "fmax",
    EagerOp("FmaxBackward0", promoting(_not_a_nan(lambda x, y: x >= y))),
    writes=False,
    doc="Return the larger of two elements; a nan loses; at a tie the first gets the gradient.",
)
fmin = binary(
    "fmin",
    EagerOp("FminBackward0", promoting(_not_a_nan(lambda x, y: x <= y))),
    writes=False,
    doc="Return the smaller of two elements; a nan loses; at a tie the first gets the gradient.",
)
atan2 = binary(
    "atan2",
    EagerOp("Atan2Backward0", promoting(np.arctan2, floats=True)),
    "arctan2",
    doc="Return the angle of the point (other, input).",
)
hypot = binary(
    "hypot",
    EagerOp("HypotBackward0", promoting(np.hypot, refused="biu", kernel="hypot_cpu")),
    doc="Return sqrt(input² + other²) without overflow; its derivative at the origin is 0.",
)
logaddexp = binary(
    "logaddexp",
    EagerOp("LogaddexpBackward0", promoting(np.logaddexp, refused="biu", kernel="logaddexp_cpu")),
    writes=False,
    doc="Return log(exp(input) + exp(other)) without overflow.",
)
logaddexp2 = binary(
    "logaddexp2",
    EagerOp("Logaddexp2Backward0", promoting(np.logaddexp2, refused="biu", kernel="logaddexp2_cpu")),
    writes=False,
    doc="Return log2(2**input + 2**other) without overflow.",
)
nextafter = binary(
    "nextafter",
    EagerOp("NextafterBackward0", promoting(np.nextafter, refused="biu", kernel="nextafter_cpu")),
    doc="Return the next number after input towards other.",
)


def _xlogy(x: Any, y: Any) -> Tracer:
    nothing = (x == 0) & (y < 0)  # PyTorch: neither value nor gradient where 0 meets a logarithm that does not exist
    y = as_value(np.where(nothing, y.dtype.type(0), y))
    shape = np.broadcast_shapes(x.shape, y.shape)
    return Tracer(nd.xlogy(nd.broadcast_to(x.value, shape), nd.broadcast_to(y.value, shape)))


_XLOGY = promoting(_xlogy, floats=True)
XLOGY = EagerOp("XlogyBackward0", _XLOGY)
XLOGY_OF_NUMBER = EagerOp("XlogyBackward1", _XLOGY, lists=(1,))
XLOGY_NUMBER = EagerOp("XlogyBackward2", _XLOGY, lists=(0,))


@method("xlogy")
@public("xlogy")
def xlogy(input: Any, other: Any) -> Tensor:
    """Return `input * log(other)`, and 0 where input is 0."""
    x, y = operand(input, "xlogy", "input", 1), operand(other, "xlogy")
    op = XLOGY_OF_NUMBER if not isinstance(x, Variable) else XLOGY if isinstance(y, Variable) else XLOGY_NUMBER
    return operation(op, (x, y))


@method("xlogy_")
def xlogy_(self: Tensor, other: Any) -> Tensor:
    """Apply `xlogy` in place."""
    y = operand(other, "xlogy_", "other", 1)
    return write_into(self, XLOGY if isinstance(y, Variable) else XLOGY_NUMBER, (self, y))


_COPYSIGN = promoting(np.copysign, floats=True)
COPYSIGN = EagerOp("CopysignBackward0", _COPYSIGN)
COPYSIGN_NUMBER = EagerOp("CopysignBackward1", _COPYSIGN, lists=(0,))


@method("copysign")
@public("copysign")
def copysign(input: Tensor, other: Any) -> Tensor:
    """Return the magnitude of input with the sign of other."""
    y = operand(other, "copysign")
    return operation(COPYSIGN if isinstance(y, Variable) else COPYSIGN_NUMBER, (tensor_operand(input, "copysign"), y))


@method("copysign_")
def copysign_(self: Tensor, other: Any) -> Tensor:
    """Apply `copysign` in place."""
    y = operand(other, "copysign_", "other", 1)
    return write_into(self, COPYSIGN if isinstance(y, Variable) else COPYSIGN_NUMBER, (self, y))


# --- clamp ------------------------------------------------------------------------------------------------------------


def _clamped(x: Any, low: Any, high: Any, has: tuple[bool, bool], into: ScalarType | None = None) -> Tracer:
    """Limit x. Within the limits, and at them, the gradient goes to x, outside to the limit; at nan nowhere."""
    given = [each for each, there in zip((low, high), has, strict=True) if there]
    check_broadcast((x, *given))
    element = common_element((x, *given))
    if element.kind == "b":
        raise not_implemented("clamp_min_scalar_cpu" if has[0] else "clamp_max_scalar_cpu", element)
    x = bring_to(x, element)
    if has == (True, False):
        low = bring_to(low, element)
        return fitted(np.where(x >= low, x, np.where(x < low, low, constant(np.maximum(x, low)))), into)
    if has == (False, True):
        high = bring_to(high, element)
        return fitted(np.where(x <= high, x, np.where(x > high, high, constant(np.minimum(x, high)))), into)
    low, high = bring_to(low, element), bring_to(high, element)
    above, below = (x > high) | (high < low), (x < low) & (low < high)
    outside = np.where(above, high, np.where(below, low, constant(np.minimum(np.maximum(x, low), high))))
    return fitted(np.where((x >= low) & (x <= high), x, outside), into)


CLAMP = EagerOp("ClampBackward0", _clamped)
CLAMP_NUMBERS = EagerOp("ClampBackward1", _clamped, lists=(0,))
_LIMITS = {
    (True, True): (("has", (True, True)),),
    (True, False): (("has", (True, False)),),
    (False, True): (("has", (False, True)),),
}


def _clamp_arguments(name: str, x: Tensor, min: Any, max: Any) -> tuple[EagerOp, tuple[Any, ...], Any]:
    if min is None and max is None:
        raise error(RuntimeError, "gradloom.clamp: At least one of 'min' or 'max' must not be None")
    low = 0 if min is None else operand(min, name, "min", 2)
    high = 0 if max is None else operand(max, name, "max", 3)
    has = _LIMITS[min is not None, max is not None]
    if isinstance(low, Variable) or isinstance(high, Variable):
        if is_number(min) or is_number(max):
            raise TypeError(
                f"{name}() received an invalid combination of arguments: min and max should both be tensors or both "
                "numbers"
            )
        return CLAMP, (x, low, high), has
    element = x._value.type.element
    if element.kind in "iu" and low.__class__ is not float and high.__class__ is not float:
        check_fits(low, element)
        check_fits(high, element)
    return CLAMP_NUMBERS, (x, low, high), has


_C_NAMES = {"i": "int", "u": "uint"}


def check_fits(number: Any, element: ScalarType) -> None:
    """Raise PyTorch's error if a number is beyond the range of an integer type."""
    if element.kind in "iu" and not np.iinfo(element.dtype).min <= number <= np.iinfo(element.dtype).max:
        name = f"{_C_NAMES[element.kind]}{element.itemsize * 8}_t"
        raise error(RuntimeError, f"value cannot be converted to type {name} without overflow")


@method("clamp", "clip")
@public("clamp", "clip")
def clamp(input: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """Return the elements limited to [min, max], numbers or tensors; a limit may be left out.

    The derivative is 1 at the limits themselves. Where min > max the result is max.

    Raises:
        RuntimeError: both limits are left out.
    """
    op, operands, attributes = _clamp_arguments("clamp", tensor_operand(input, "clamp"), min, max)
    return wrap(Tensor, record(op, operands, attributes))


@method("clamp_", "clip_")
def clamp_(self: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """Apply `clamp` in place."""
    op, operands, attributes = _clamp_arguments("clamp_", self, min, max)
    return write_into(self, op, operands, attributes)


def _one_limit(name: str, node: str, argument: str, at: bool, doc: str) -> None:
    """Define clamp_min or clamp_max."""

    def rule(x: Any, limit: Any, into: ScalarType | None = None) -> Tracer:
        low, high = (limit, 0) if at else (0, limit)
        return _clamped(x, low, high, (at, not at), into)

    number, tensor = EagerOp(f"{node}Backward0", rule, lists=(0,)), EagerOp(f"{node}Backward1", rule)

    def function(input: Tensor, limit: Any) -> Tensor:
        limit = operand(limit, name, argument, 2)
        return operation(tensor if isinstance(limit, Variable) else number, (tensor_operand(input, name), limit))

    def write(self: Tensor, limit: Any) -> Tensor:
        limit = operand(limit, f"{name}_", argument, 1)
        return write_into(self, tensor if isinstance(limit, Variable) else number, (self, limit))

    if at:
        named = lambda input, min: function(input, min)  # noqa: E731  (the argument's name is public)
        write_named = lambda self, min: write(self, min)  # noqa: E731
    else:
        named = lambda input, max: function(input, max)  # noqa: E731
        write_named = lambda self, max: write(self, max)  # noqa: E731
    method(name)(public(name)(documented(named, name, doc)))
    method(f"{name}_")(documented(write_named, f"{name}_", f"Apply `{name}` in place."))


_one_limit("clamp_min", "ClampMin", "min", True, "Return the elements, those below min replaced by it.")
_one_limit("clamp_max", "ClampMax", "max", False, "Return the elements, those above max replaced by it.")

# --- nan and infinity -------------------------------------------------------------------------------------------------


def _nan_to_num(x: Any, nan: Any, posinf: Any, neginf: Any, into: ScalarType | None = None) -> Tracer:
    element = x.value.type.element
    if element.kind != "f":
        return fitted(Tracer(x.value), into)
    nan, posinf, neginf = (bring_to(each, element) for each in (nan, posinf, neginf))
    infinite = x.dtype.type(np.inf)
    finite = np.where(x == infinite, posinf, np.where(x == -infinite, neginf, x))
    return fitted(np.where(np.isnan(x), nan, finite), into)


NAN_TO_NUM = EagerOp("NanToNumBackward0", _nan_to_num, saves=FIRST, lists=(0,))


def _replacements(x: Tensor, nan: Any, posinf: Any, neginf: Any) -> tuple[Any, ...]:
    largest = 0.0
    if x._value.type.element.kind == "f":
        largest = float(np.finfo(x._value.type.element.dtype).max)
    return (
        x,
        0.0 if nan is None else float(nan),
        largest if posinf is None else float(posinf),
        -largest if neginf is None else float(neginf),
    )


@method("nan_to_num")
@public("nan_to_num")
def nan_to_num(input: Tensor, nan: Any = None, posinf: Any = None, neginf: Any = None) -> Tensor:
    """Return the elements with nan replaced by 0 (or `nan`), and infinities by the largest numbers or those given."""
    return operation(NAN_TO_NUM, _replacements(tensor_operand(input, "nan_to_num"), nan, posinf, neginf))


@method("nan_to_num_")
def nan_to_num_(self: Tensor, nan: Any = None, posinf: Any = None, neginf: Any = None) -> Tensor:
    """Apply `nan_to_num` in place."""
    return write_into(self, NAN_TO_NUM, _replacements(self, nan, posinf, neginf))
