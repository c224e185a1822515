"""What each NumPy and scipy.special ufunc is on the nd level: a rule per name, a plan per combination of dtypes.

Works on IR values and Python numbers; tracer.py brings operands here. A rule is `(types of the loop) -> function of
values`.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradloom.trace.context import element_of, fail, nearest
from gradloom.trace.promote import (
    Key,
    Operand,
    broadcast_shapes,
    convert,
    number,
    shape_of,
    stretch,
    truth,
)
from gradloomc.dialects import nd
from gradloomc.ir import types as ir_types
from gradloomc.ir.core import Value
from gradloomc.ir.errors import DTypeError, ShapeError, UnsupportedError
from gradloomc.ir.types import ScalarType, tensor

Make = Callable[..., Any]
Rule = Callable[[Sequence[ScalarType]], Make]


class Plan:
    """How one ufunc is built for one combination of dtypes: the operands' types and the function of the values."""

    __slots__ = ("make", "types")

    def __init__(self, types: tuple[ScalarType, ...], make: Make):
        self.types, self.make = types, make


class Elementwise:
    """A ufunc as a function of IR values."""

    __slots__ = ("_plans", "name", "nin", "nout", "rule", "ufunc")

    def __init__(self, ufunc: Any, rule: Rule):
        self.ufunc, self.rule = ufunc, rule
        self.name: str = ufunc.__name__
        self.nin, self.nout = ufunc.nin, ufunc.nout
        self._plans: dict[Any, Plan] = {}

    def plan(self, keys: tuple[Key, ...], dtype: Any = None) -> Plan:
        """Return the plan for operands of these keys, as NumPy resolves them.

        Raises:
            DTypeError: the ufunc has no loop for them.
        """
        cache_key = keys if dtype is None else (keys, dtype)
        found = self._plans.get(cache_key)
        if found is None:
            found = self._plans[cache_key] = self._resolve(keys, dtype)
        return found

    def _resolve(self, keys: tuple[Key, ...], dtype: Any) -> Plan:
        dtypes = [key.dtype if key.__class__ is ScalarType else key for key in keys]
        slots = (*dtypes, *[None] * self.nout)
        options = {} if dtype is None else {"signature": (*[None] * self.nin, *[np.dtype(dtype)] * self.nout)}
        try:
            loop = self.ufunc.resolve_dtypes(slots, **options)
        except TypeError as error:
            fail(DTypeError, str(error).replace("\n", " "), "convert the operands first, with .astype(...)")
        types = tuple([element_of(dtype) for dtype in loop])
        return Plan(types[: self.nin], self.rule(types))

    def __call__(self, operands: Sequence[Operand], keys: tuple[Key, ...], dtype: Any = None) -> Any:
        """Build the op(s): promote, broadcast, compute."""
        plan = self._plans.get(keys) if dtype is None else None
        if plan is None:
            plan = self.plan(keys, dtype)
        if len(operands) == 1:
            (value,) = operands
            (element,) = plan.types
            if value.__class__ is not Value:
                value = number(value, tensor((), element))
            return plan.make(value if value.type.element is element else nd.convert(value, type=element))
        shape = broadcast_shapes([shape_of(operand) for operand in operands], operands)
        values = []
        for value, element in zip(operands, plan.types, strict=True):
            if value.__class__ is not Value:
                try:
                    value = number(value, tensor(shape, element))
                except OverflowError as error:
                    return self._out_of_range(operands, plan, shape, error)
            else:
                if value.type.element is not element:
                    value = nd.convert(value, type=element)
                value = stretch(value, shape)
            values.append(value)
        return plan.make(*values)

    def _out_of_range(self, operands: Any, plan: Plan, shape: Any, error: OverflowError) -> Any:
        """A Python integer beyond the dtype: a comparison has one answer everywhere, all else is NumPy's error."""
        if self.name in _COMPARISONS:
            probes = [
                x if x.__class__ is not Value else t.dtype.type(0) for x, t in zip(operands, plan.types, strict=True)
            ]
            return nd.splat(self.ufunc(*probes), tensor(shape, ir_types.i1))
        raise error


_COMPARISONS = {"equal", "not_equal", "less", "less_equal", "greater", "greater_equal"}


def find(ufunc: Any) -> Elementwise:
    """Return the entry of a ufunc.

    Raises:
        UnsupportedError: gradloom does not know it; the nearest names are suggested.
    """
    found = _ENTRIES.get(ufunc)
    if found is None:
        rule = RULES.get(ufunc.__name__)
        if rule is None or ufunc.signature is not None:
            near = nearest(ufunc.__name__, RULES)
            fail(
                UnsupportedError,
                f"gradloom cannot trace the ufunc {ufunc.__name__!r}",
                f"similar ones that it can: {near}" if near else "write it with other NumPy functions",
            )
        found = _ENTRIES[ufunc] = Elementwise(ufunc, rule)
    return found


_ENTRIES: dict[Any, Elementwise] = {}

# --- rules ------------------------------------------------------------------------------------------------------------


def _always(make: Make) -> Rule:
    return lambda types: make


def _float_or_same(make: Make) -> Rule:
    """Rounding of integers is no op."""
    return lambda types: make if types[0].kind == "f" else (lambda x: x)


def _abs(types: Sequence[ScalarType]) -> Make:
    return (lambda x: x) if types[0].kind in "ub" else nd.abs_


def _classify(make: Make, otherwise: bool) -> Rule:
    """isnan and its kin: integers have one answer."""
    return lambda types: (
        make if types[0].kind == "f" else (lambda x: nd.splat(otherwise, tensor(x.type.shape, ir_types.i1)))
    )


def _logical(make: Make) -> Rule:
    return lambda types: lambda *values: make(*[truth(value) for value in values])


def _power(types: Sequence[ScalarType]) -> Make:
    if types[0].kind == "f":
        return nd.power

    def integer_power(x: Value, y: Value) -> Value:
        exponents = nd.constant_of(y)
        if exponents is not None:
            if types[0].kind == "i" and np.any(exponents.array < 0):
                fail(
                    DTypeError,
                    "integers to negative integer powers are not allowed",
                    "make the base a float: x.astype(float) ** -1, or 1 / x",
                )
            if exponents.is_splat and exponents.array == 2:
                return nd.square(x)
        return nd.power(x, y)

    return integer_power


def _square(types: Sequence[ScalarType]) -> Make:
    return nd.square


def _reciprocal(types: Sequence[ScalarType]) -> Make:
    if types[0].kind == "f":
        return nd.reciprocal

    def integer_reciprocal(x: Value) -> Value:
        one = nd.ones_like(x)
        negative = nd.splat(-1, x.type) if types[0].kind == "i" else nd.zeros_like(x)
        whole = nd.select(nd.eq(x, negative), negative, nd.zeros_like(x))
        return nd.select(nd.eq(x, one), one, whole)

    return integer_reciprocal


def _modf(x: Value) -> tuple[Value, Value]:
    whole = nd.trunc(x)
    fraction = nd.select(nd.isinf(x), nd.zeros_like(x), nd.sub(x, whole))
    return nd.copysign(fraction, x), whole


def _divmod(x: Value, y: Value) -> tuple[Value, Value]:
    return nd.floor_divide(x, y), nd.remainder(x, y)


def _ldexp(types: Sequence[ScalarType]) -> Make:
    def ldexp(x: Value, exponent: Value) -> Value:
        # In doubles and in three steps, so that no factor overflows where the result does not.
        wide = convert(exponent, ir_types.i64)
        limit = 2100  # beyond it every double becomes 0 or inf
        wide = nd.clip(wide, nd.splat(-limit, wide.type), nd.splat(limit, wide.type))
        third = nd.floor_divide(wide, nd.splat(3, wide.type))
        rest = nd.sub(nd.sub(wide, third), third)
        result = convert(x, ir_types.f64)
        for part in (third, third, rest):
            result = nd.mul(result, nd.exp2(convert(part, ir_types.f64)))
        return convert(result, types[0])

    return ldexp


def _scaled(factor: float) -> Rule:
    return lambda types: lambda x: nd.mul(x, number(factor, x.type))


def _ndtr(x: Value) -> Value:
    return nd.mul(nd.erfc(nd.mul(x, -math.sqrt(0.5))), 0.5)


def _log_expit(x: Value) -> Value:
    return nd.neg(nd.logaddexp(nd.neg(x), nd.zeros_like(x)))


def _entr(x: Value) -> Value:
    infinite = nd.splat(-np.inf, x.type)
    return nd.select(nd.lt(x, 0.0), infinite, nd.neg(nd.xlogy(x, x)))


def _rel_entr(x: Value, y: Value) -> Value:
    zero, infinite = nd.zeros_like(x), nd.splat(np.inf, x.type)
    positive = nd.logical_and(nd.gt(x, 0.0), nd.gt(y, 0.0))
    both_zero = nd.logical_and(nd.eq(x, 0.0), nd.ge(y, 0.0))
    ratio = nd.select(positive, nd.div(x, y), nd.ones_like(x))
    entropy = nd.select(positive, nd.mul(x, nd.log(ratio)), nd.select(both_zero, zero, infinite))
    unknown = nd.logical_or(nd.isnan(x), nd.isnan(y))
    return nd.select(unknown, nd.add(x, y), entropy)


RULES: dict[str, Rule] = {
    "add": _always(nd.add),
    "subtract": _always(nd.sub),
    "multiply": _always(nd.mul),
    "divide": _always(nd.div),
    "floor_divide": _always(nd.floor_divide),
    "remainder": _always(nd.remainder),
    "fmod": _always(nd.fmod),
    "divmod": _always(_divmod),
    "modf": _always(_modf),
    "power": _power,
    "float_power": _power,
    "negative": _always(nd.neg),
    "positive": _always(lambda x: x),
    "conjugate": _always(lambda x: x),
    "absolute": _abs,
    "fabs": _abs,
    "sign": _always(nd.sign),
    "square": _square,
    "sqrt": _always(nd.sqrt),
    "cbrt": _always(nd.cbrt),
    "reciprocal": _reciprocal,
    "exp": _always(nd.exp),
    "exp2": _always(nd.exp2),
    "expm1": _always(nd.expm1),
    "log": _always(nd.log),
    "log2": _always(nd.log2),
    "log10": _always(nd.log10),
    "log1p": _always(nd.log1p),
    "logaddexp": _always(nd.logaddexp),
    "logaddexp2": _always(nd.logaddexp2),
    "sin": _always(nd.sin),
    "cos": _always(nd.cos),
    "tan": _always(nd.tan),
    "arcsin": _always(nd.arcsin),
    "arccos": _always(nd.arccos),
    "arctan": _always(nd.arctan),
    "arctan2": _always(nd.arctan2),
    "hypot": _always(nd.hypot),
    "sinh": _always(nd.sinh),
    "cosh": _always(nd.cosh),
    "tanh": _always(nd.tanh),
    "arcsinh": _always(nd.arcsinh),
    "arccosh": _always(nd.arccosh),
    "arctanh": _always(nd.arctanh),
    "degrees": _scaled(180 / math.pi),
    "rad2deg": _scaled(180 / math.pi),
    "radians": _scaled(math.pi / 180),
    "deg2rad": _scaled(math.pi / 180),
    "maximum": _always(nd.maximum),
    "minimum": _always(nd.minimum),
    "fmax": _always(nd.fmax),
    "fmin": _always(nd.fmin),
    "floor": _float_or_same(nd.floor),
    "ceil": _float_or_same(nd.ceil),
    "trunc": _float_or_same(nd.trunc),
    "rint": _always(nd.rint),
    "copysign": _always(nd.copysign),
    "nextafter": _always(nd.nextafter),
    "heaviside": _always(nd.heaviside),
    "ldexp": _ldexp,
    "equal": _always(nd.eq),
    "not_equal": _always(nd.ne),
    "less": _always(nd.lt),
    "less_equal": _always(nd.le),
    "greater": _always(nd.gt),
    "greater_equal": _always(nd.ge),
    "logical_and": _logical(nd.logical_and),
    "logical_or": _logical(nd.logical_or),
    "logical_xor": _logical(nd.logical_xor),
    "logical_not": _logical(nd.logical_not),
    "isnan": _classify(nd.isnan, False),
    "isinf": _classify(nd.isinf, False),
    "isfinite": _classify(nd.isfinite, True),
    "signbit": _always(nd.signbit),
    "bitwise_and": _always(nd.bitwise_and),
    "bitwise_or": _always(nd.bitwise_or),
    "bitwise_xor": _always(nd.bitwise_xor),
    "invert": _always(nd.invert),
    "left_shift": _always(nd.left_shift),
    "right_shift": _always(nd.right_shift),
    # np.clip dispatches to a ufunc of this name
    "clip": _always(nd.clip),
    # scipy.special, by name: SciPy is never imported here
    "erf": _always(nd.erf),
    "erfc": _always(nd.erfc),
    "expit": _always(nd.sigmoid),
    "logit": _always(nd.logit),
    "log_expit": _always(_log_expit),
    "xlogy": _always(nd.xlogy),
    "xlog1py": _always(nd.xlog1py),
    "ndtr": _always(_ndtr),
    "entr": _always(_entr),
    "rel_entr": _always(_rel_entr),
    "exp10": _always(lambda x: nd.power(number(10.0, x.type), x)),
}


def elementwise(ufunc: Any, *operands: Operand) -> Any:
    """Apply a ufunc to values and Python numbers; for use inside other functions."""
    keys = tuple(
        [
            x.type.element if x.__class__ is Value else (ir_types.i1 if x.__class__ is bool else x.__class__)
            for x in operands
        ]
    )
    return find(ufunc)(operands, keys)


def apply_outer(entry: Elementwise, x: Operand, y: Operand, keys: tuple[Key, ...]) -> Any:
    """Apply a binary ufunc to all pairs of elements: the axes of x, then the axes of y."""
    if entry.nin != 2:
        fail(ShapeError, "outer product only supported for binary functions")
    if x.__class__ is Value and shape_of(y):
        x = nd.reshape(x, shape=x.type.shape + (1,) * len(shape_of(y)))
    return entry((x, y), keys)
