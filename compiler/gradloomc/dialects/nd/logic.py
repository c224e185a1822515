"""Comparisons, logical ops, classification of floats, selection and conversion, element by element."""

from collections.abc import Callable
from typing import Any

import numpy as np

from gradloomc.dialects import scalar as s
from gradloomc.dialects.nd.families import (
    ANY,
    BOOL,
    ElementwiseDef,
    elementwise,
    reals,
    same_shape,
    splat_of,
    zeros_like,
)
from gradloomc.ir import types as ir_types
from gradloomc.ir.core import Value
from gradloomc.ir.errors import DTypeError
from gradloomc.ir.opdef import Constant, Linear, Sample
from gradloomc.ir.types import ScalarType, TensorType, tensor

WIDE = (-3.0, 3.0)


def _comparison(name: str, reference: Callable[..., Any], doc: str, commutative: bool = False) -> ElementwiseDef:
    return elementwise(
        name,
        doc,
        reference,
        Constant(),
        lambda x, y: s.compare(name, x, y),
        reals(WIDE),
        kinds=ANY,
        result=BOOL,
        commutative=commutative,
        cost=1.0,
    )


eq = _comparison("eq", np.equal, "x == y.", commutative=True)
ne = _comparison("ne", np.not_equal, "x != y.", commutative=True)
lt = _comparison("lt", np.less, "x < y.")
le = _comparison("le", np.less_equal, "x <= y.")
gt = _comparison("gt", np.greater, "x > y.")
ge = _comparison("ge", np.greater_equal, "x >= y.")

logical_and = elementwise(
    "logical_and", "Both.", np.logical_and, Constant(), s.andi, reals((0, 2)), kinds="b", commutative=True
)
logical_or = elementwise(
    "logical_or", "Either.", np.logical_or, Constant(), s.ori, reals((0, 2)), kinds="b", commutative=True
)
logical_xor = elementwise(
    "logical_xor", "One of the two.", np.logical_xor, Constant(), s.xori, reals((0, 2)), kinds="b", commutative=True
)
logical_not = elementwise(
    "logical_not",
    "The opposite.",
    np.logical_not,
    Constant(),
    lambda x: s.xori(x, s.number(True, x.type)),
    reals((0, 2)),
    kinds="b",
)

isnan = elementwise(
    "isnan",
    "Whether x is nan.",
    np.isnan,
    Constant(),
    lambda x: s.compare("ne", x, x),
    reals(WIDE),
    result=BOOL,
)
isinf = elementwise(
    "isinf",
    "Whether x is infinite.",
    np.isinf,
    Constant(),
    lambda x: s.compare("eq", s.math["absf"](x), s.number(np.inf, x.type)),
    reals(WIDE),
    result=BOOL,
)
isfinite = elementwise(
    "isfinite",
    "Whether x is neither infinite nor nan.",
    np.isfinite,
    Constant(),
    lambda x: s.compare("lt", s.math["absf"](x), s.number(np.inf, x.type)),
    reals(WIDE),
    result=BOOL,
)


def _signbit_scalar(x: Value) -> Value:
    one = s.number(1, x.type)
    return s.compare("lt", s.math["copysign"](one, x), s.number(0, x.type))


signbit = elementwise(
    "signbit", "Whether the sign bit is set.", np.signbit, Constant(), _signbit_scalar, reals(WIDE), result=BOOL
)


def _select_type(condition: TensorType, x: TensorType, y: TensorType) -> TensorType:
    if x is not y:
        same_shape(x, y)
        raise DTypeError(f"'nd.select' expects branches of one dtype, got {x.element} and {y.element}")
    same_shape(condition, x)
    if condition.element is not BOOL:
        raise DTypeError(f"'nd.select' expects a condition of type i1, got {condition.element}")
    return x


def _fold_select(condition: Value, x: Value, y: Value) -> Value | None:
    if x is y:
        return x
    number = splat_of(condition)
    if number is not None:
        return x if number else y
    return None


select = ElementwiseDef(
    "nd.select",
    "The second operand where the first is true, else the third (np.where).",
    type_rule=_select_type,
    reference=np.where,
    derivative=Linear(
        lambda g, condition, x, y: (
            select(condition, g, zeros_like(g)),
            select(condition, zeros_like(g), g),
        ),
        operands=(1, 2),
    ),
    scalar=s.select,
    fold=_fold_select,
    samples=lambda x: [Sample((x(*shape) > 0, x(*shape), x(*shape))) for shape in ((5,), (3, 13), (), (0,))],
    grad_fn="Where",
    tags=frozenset({"elementwise"}),
)


def _convert_type(x: TensorType, type: ScalarType) -> TensorType:
    return tensor(x.shape, type)


def _convert_scalar(x: Value, type: ScalarType) -> Value:
    if type is ir_types.i1:  # NumPy: everything but zero is True
        return s.compare("ne", x, s.number(0, x.type))
    return s.convert(x, type=type)


def _convert_reference(x: Any, type: ScalarType) -> Any:
    with np.errstate(all="ignore"):
        return np.asarray(x).astype(type.dtype)


def _convert_transpose(g: Value, x: Value, type: ScalarType) -> tuple[Value | None]:
    if x.type.element.kind != "f":
        return (None,)
    return (convert(g, type=x.type.element),)


def _convert_samples(x: Any) -> list[Sample]:
    types = [type for type in ir_types.SCALARS.values() if type is not ir_types.index]
    signed = [Sample((x(19),), {"type": type}) for type in types if type.kind != "u"]
    return signed + [Sample((np.abs(x(19)),), {"type": type}) for type in types if type.kind == "u"]


convert = ElementwiseDef(
    "nd.convert",
    "The same numbers in another dtype (astype).",
    type_rule=_convert_type,
    reference=_convert_reference,
    derivative=Linear(_convert_transpose),
    scalar=_convert_scalar,
    samples=_convert_samples,
    fold=lambda x, type: x if x.type.element is type else None,
    attributes=("type",),
    grad_fn="ToCopy",
    tags=frozenset({"elementwise"}),
)

stop_gradient = ElementwiseDef(
    "nd.stop_gradient",
    "The operand, taken as a constant by differentiation.",
    type_rule=lambda x: x,
    reference=lambda x: np.asarray(x),
    derivative=Constant(),
    scalar=lambda x: x,
    domain=reals(WIDE),
    tags=frozenset({"elementwise"}),
    cost=0.0,
)
