"""The `arith` and `math` dialects: arithmetic on scalars, spelled as upstream MLIR where an op exists there.

These ops fill the regions of kernels and loops. They are written for one element; the code generator emits them for a
vector of elements. `emit` names the code generator's function (a method of its lane arithmetic, or a function of its
vector math). A record's `reference` works on whole arrays, so the interpreter runs a loop body on all its indices at
once.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from gradloomc.ir import types as ir_types
from gradloomc.ir.core import Value
from gradloomc.ir.errors import DTypeError
from gradloomc.ir.opdef import OpDef
from gradloomc.ir.types import ScalarType, Type


def _same(*types: Type, **_: Any) -> Type:
    first = types[0]
    for other in types[1:]:
        if other is not first:
            raise DTypeError(f"expected operands of one type, got {' and '.join(map(str, types))}")
    return first


def _compare(*types: Type, **attributes: Any) -> Type:
    _same(*types)
    return ir_types.i1


def _op(
    name: str,
    reference: Callable[..., Any],
    emit: str,
    cost: float = 1.0,
    commutative: bool = False,
    type_rule: Callable[..., Any] = _same,
    attributes: tuple[str, ...] = (),
) -> OpDef:
    return OpDef(
        name,
        f"As numpy.{reference.__name__}." if isinstance(reference, np.ufunc) else str(reference.__doc__).strip(),
        type_rule=type_rule,
        reference=reference,
        emit=emit,
        cost=cost,
        commutative=commutative,
        attributes=attributes,
        tags=frozenset({"scalar"}),
    )


def _constant_type(value: Any, type: ScalarType) -> Type:
    return type


constant = OpDef(
    "arith.constant",
    "A number.",
    type_rule=_constant_type,
    reference=lambda value, type: np.asarray(value, dtype=type.dtype)[()],
    attributes=("value", "type"),
    tags=frozenset({"scalar"}),
    cost=0.0,
)

addf = _op("arith.addf", np.add, "add", commutative=True)
subf = _op("arith.subf", np.subtract, "sub")
mulf = _op("arith.mulf", np.multiply, "mul", commutative=True)
divf = _op("arith.divf", np.divide, "div", cost=8)
negf = _op("arith.negf", np.negative, "neg")
maximumf = _op("arith.maximumf", np.maximum, "maximum", commutative=True)
minimumf = _op("arith.minimumf", np.minimum, "minimum", commutative=True)
maxnumf = _op("arith.maxnumf", np.fmax, "maxnum", commutative=True)
minnumf = _op("arith.minnumf", np.fmin, "minnum", commutative=True)
addi = _op("arith.addi", np.add, "iadd", commutative=True)
subi = _op("arith.subi", np.subtract, "isub")
muli = _op("arith.muli", np.multiply, "imul", cost=2, commutative=True)
andi = _op("arith.andi", np.bitwise_and, "and_", commutative=True)
ori = _op("arith.ori", np.bitwise_or, "or_", commutative=True)
xori = _op("arith.xori", np.bitwise_xor, "xor", commutative=True)
maxsi = _op("arith.maxsi", np.maximum, "smax", commutative=True)
minsi = _op("arith.minsi", np.minimum, "smin", commutative=True)
maxui = _op("arith.maxui", np.maximum, "umax", commutative=True)
minui = _op("arith.minui", np.minimum, "umin", commutative=True)
floordivsi = _op("arith.floordivsi", np.floor_divide, "floordivsi", cost=30)
floormodsi = _op("arith.floormodsi", np.remainder, "floormodsi", cost=30)
remsi = _op("arith.remsi", np.fmod, "remsi", cost=30)
divui = _op("arith.divui", np.floor_divide, "divui", cost=30)
remui = _op("arith.remui", np.remainder, "remui", cost=30)
shli = _op("arith.shli", np.left_shift, "checked_shl", cost=3)
shrsi = _op("arith.shrsi", np.right_shift, "checked_ashr", cost=3)
shrui = _op("arith.shrui", np.right_shift, "checked_lshr", cost=3)
powi = _op("math.ipowi", np.power, "ipowi", cost=60)
absi = _op("math.absi", np.abs, "absi")

_PREDICATES_F = {
    "oeq": np.equal,
    "une": np.not_equal,
    "olt": np.less,
    "ole": np.less_equal,
    "ogt": np.greater,
    "oge": np.greater_equal,
}
_PREDICATES_I = {
    "eq": np.equal,
    "ne": np.not_equal,
    "slt": np.less,
    "sle": np.less_equal,
    "sgt": np.greater,
    "sge": np.greater_equal,
    "ult": np.less,
    "ule": np.less_equal,
    "ugt": np.greater,
    "uge": np.greater_equal,
}


def _cmpf(x: Any, y: Any, predicate: str) -> Any:
    """Compare two floats."""
    return _PREDICATES_F[predicate](x, y)


def _cmpi(x: Any, y: Any, predicate: str) -> Any:
    """Compare two integers."""
    return _PREDICATES_I[predicate](x, y)


cmpf = _op("arith.cmpf", _cmpf, "cmpf", type_rule=_compare, attributes=("predicate",))
cmpi = _op("arith.cmpi", _cmpi, "cmpi", type_rule=_compare, attributes=("predicate",))


def _select_type(condition: Type, x: Type, y: Type) -> Type:
    if condition is not ir_types.i1:
        raise DTypeError(f"expected a condition of type i1, got {condition}")
    return _same(x, y)


def _fold_select(condition: Value, x: Value, y: Value) -> Value | None:
    if condition.op is not None and condition.op.kind is constant:
        return x if condition.op.attributes["value"] else y
    return x if x is y else None


select = OpDef(
    "arith.select",
    "The second operand where the first is true, else the third.",
    type_rule=_select_type,
    reference=np.where,
    fold=_fold_select,
    emit="select",
    tags=frozenset({"scalar"}),
)


def _convert_reference(x: Any, type: ScalarType) -> Any:
    return np.asarray(x).astype(type.dtype)


convert = OpDef(
    "arith.convert",
    "Convert to another number type, as NumPy's astype.",
    type_rule=lambda x, type: type,
    reference=_convert_reference,
    emit="convert",
    attributes=("type",),
    tags=frozenset({"scalar"}),
)

# One record per function of the vector math; the name after the dot is the function's name there.
_MATH: dict[str, tuple[Callable[..., Any], float]] = {
    "sqrt": (np.sqrt, 10),
    "cbrt": (np.cbrt, 30),
    "exp": (np.exp, 20),
    "exp2": (np.exp2, 20),
    "expm1": (np.expm1, 22),
    "log": (np.log, 25),
    "log2": (np.log2, 27),
    "log10": (np.log10, 27),
    "log1p": (np.log1p, 30),
    "sin": (np.sin, 25),
    "cos": (np.cos, 25),
    "tan": (np.tan, 35),
    "asin": (np.arcsin, 35),
    "acos": (np.arccos, 35),
    "atan": (np.arctan, 30),
    "atan2": (np.arctan2, 45),
    "sinh": (np.sinh, 30),
    "cosh": (np.cosh, 30),
    "tanh": (np.tanh, 30),
    "asinh": (np.arcsinh, 45),
    "acosh": (np.arccosh, 45),
    "atanh": (np.arctanh, 40),
    "powf": (np.power, 80),
    "hypot": (np.hypot, 25),
    "logaddexp": (np.logaddexp, 60),
    "fmod": (np.fmod, 60),
    "remainder": (np.remainder, 60),
    "floor": (np.floor, 1),
    "ceil": (np.ceil, 1),
    "trunc": (np.trunc, 1),
    "roundeven": (np.rint, 1),
    "absf": (np.abs, 1),
    "copysign": (np.copysign, 1),
    "nextafter": (np.nextafter, 20),
}
_EMIT_NAMES = {"absf": "abs", "powf": "pow", "roundeven": "rint"}
math: dict[str, OpDef] = {
    name: _op(f"math.{name}", reference, _EMIT_NAMES.get(name, name), cost=cost)
    for name, (reference, cost) in _MATH.items()
}


def _erf_reference(x: Any) -> Any:
    """The error function."""
    from math import erf

    x = np.asarray(x)
    return np.vectorize(erf, otypes=[x.dtype])(x) if x.size else x.copy()


def _erfc_reference(x: Any) -> Any:
    """The complementary error function."""
    from math import erfc

    x = np.asarray(x)
    return np.vectorize(erfc, otypes=[x.dtype])(x) if x.size else x.copy()


def _sigmoid_reference(x: Any) -> Any:
    """The logistic function 1 / (1 + exp(-x))."""
    x = np.asarray(x)
    with np.errstate(all="ignore"):
        e = np.exp(-np.abs(x))
        return np.where(x >= 0, 1 / (1 + e), e / (1 + e)).astype(x.dtype)


_WIDER = {np.dtype(np.float32): np.float64, np.dtype(np.float64): np.longdouble}


def _fma_reference(x: Any, y: Any, z: Any) -> Any:
    """x * y + z with one rounding; here in the next wider format, which hardly ever shows a second one."""
    x = np.asarray(x)
    wide = _WIDER[x.dtype]
    return (x.astype(wide) * np.asarray(y).astype(wide) + np.asarray(z).astype(wide)).astype(x.dtype)


math["fma"] = _op("math.fma", _fma_reference, "fma")
math["erf"] = _op("math.erf", _erf_reference, "erf", cost=40)
math["erfc"] = _op("math.erfc", _erfc_reference, "erfc", cost=70)
math["sigmoid"] = _op("math.sigmoid", _sigmoid_reference, "sigmoid", cost=30)


def _rsqrt_reference(x: Any) -> Any:
    """1/sqrt(x) within 1.5 units in the last place: infinite at zeros with their sign, nan below."""
    return np.reciprocal(np.sqrt(x))


def _quotient_reference(x: Any, y: Any, reciprocal: Any) -> Any:
    """x / y given 1/y, for any y that is not subnormal: correctly rounded, next to subnormal results within a unit."""
    return np.divide(x, y)


def _root_reference(x: Any, rsqrt: Any) -> Any:
    """sqrt(x) given 1/sqrt(x): correctly rounded, for subnormal x within a unit in the last place."""
    return np.sqrt(x)


def _subnormal_scale_reference(x: Any) -> Any:
    """A power of two that makes a subnormal x normal; 1 for other numbers, either for zeros."""
    x = np.asarray(x)
    limits = np.finfo(x.dtype)
    scale = np.ldexp(x.dtype.type(1), limits.nmant + 2)
    return np.where(np.abs(x) < limits.smallest_normal, scale, x.dtype.type(1))


# What `codegen/divider.py` writes in place of divisions and square roots.
math["rsqrt"] = _op("math.rsqrt", _rsqrt_reference, "rsqrt", cost=10)
math["reciprocal"] = _op("math.reciprocal", np.reciprocal, "reciprocal", cost=10)
math["quotient"] = _op("math.quotient", _quotient_reference, "quotient", cost=5)
math["root"] = _op("math.root", _root_reference, "root", cost=6)
math["subnormal_scale"] = _op("math.subnormal_scale", _subnormal_scale_reference, "subnormal_scale", cost=2)


# Below the first power of two a number is lifted, by the second, so that what it is multiplied by stays normal.
SMALL_WEIGHT = {"f32": (2.0**-64, 2.0**64), "f64": (2.0**-512, 2.0**512)}


def _lift_reference(x: Any) -> Any:
    """x, but 2^512 x where |x| < 2^-512 (2^64 and 2^-64 in f32)."""
    return x / _lift_scale_reference(x)


def _lift_scale_reference(x: Any) -> Any:
    """What `math.lift` has to be multiplied by to be x again: 1, but 2^-512 where |x| < 2^-512 (2^-64 in f32)."""
    x = np.asarray(x)
    below, by = map(x.dtype.type, SMALL_WEIGHT["f64" if x.dtype == np.float64 else "f32"])
    return np.where(np.abs(x) < below, 1 / by, x.dtype.type(1))


# What `lowering/lift.py` writes. The first is slow where its operand is subnormal.
math["lift"] = _op("math.lift", _lift_reference, "lift", cost=10)
math["lift_scale"] = _op("math.lift_scale", _lift_scale_reference, "lift_scale", cost=2)


def number(value: float | int | bool, type: ScalarType) -> Value:
    """Build a scalar constant of the given type."""
    return constant(value=type.dtype.type(value).item(), type=type)


def compare(predicate: str, x: Value, y: Value) -> Value:
    """Build `x <predicate> y` for eq, ne, lt, le, gt, ge on any scalar type."""
    kind = x.type.kind
    if kind == "f":
        return cmpf(x, y, predicate=("une" if predicate == "ne" else "o" + predicate))
    if predicate not in ("eq", "ne"):
        predicate = ("s" if kind in "ix" else "u") + predicate
    return cmpi(x, y, predicate=predicate)
