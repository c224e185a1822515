"""What the ops of one family share: constructors that fill the facets which follow from being elementwise.

Rules may mix values and Python numbers: `mul(x, 2.0)` builds the constant in the type of `x`.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from gradloomc.ir import types as ir_types
from gradloomc.ir.attributes import Dense
from gradloomc.ir.core import Op, Value
from gradloomc.ir.errors import DTypeError, ShapeError
from gradloomc.ir.extents import is_symbolic
from gradloomc.ir.opdef import Constant, Derivative, Domain, OpDef, Sample
from gradloomc.ir.types import ScalarType, TensorType, tensor

constant = OpDef(
    "nd.constant",
    "An array known at compile time; one number stands for a whole array of it.",
    type_rule=lambda value: value.type,
    reference=lambda value: value.to_array(),
    derivative=Constant(),
    samples=lambda x: [
        Sample((), {"value": Dense(tensor(array.shape, ir_types.scalar_type(array.dtype)), value)})
        for array in (x(5), x(2, 3), x(), x(0))
        for value in (array, array.dtype.type(1))
    ],
    attributes=("value",),
    cost=0.0,
)


extent = OpDef(
    "nd.extent",
    "A length of an array as a number; the program reads it when it runs, so that it serves other lengths too.",
    type_rule=lambda value, type: tensor((), type),
    reference=lambda value, type: np.asarray(value, type.dtype),
    derivative=Constant(),
    samples=lambda x: [
        Sample((), {"value": 5, "type": ir_types.f64}),
        Sample((), {"value": 1000, "type": ir_types.i64}),
    ],
    attributes=("value", "type"),
    tags=frozenset({"movement"}),
    cost=0.0,
)


def splat(number: Any, type: TensorType) -> Value:
    """Build a constant array with the same number everywhere (an array of a length, where that is not fixed)."""
    if is_symbolic(number):
        return splat_extent(number, type)
    if isinstance(number, np.generic):
        number = number.item()
    return constant(value=_splat_value(type, repr(number), number.__class__) or Dense(type, number))


def splat_extent(length: Any, type: TensorType) -> Value:
    """Build an array with the same length everywhere."""
    from gradloomc.dialects.nd.movement import broadcast

    value = extent(value=length, type=type.element)
    return broadcast(value, shape=type.shape, dims=()) if type.rank else value


@lru_cache(maxsize=1024)
def _splat_value(type: TensorType, text: str, kind: Any) -> Dense | None:
    """Return the constant for a Python number given by its text: programs use the same few numbers over and over."""
    return Dense(type, kind(text)) if kind in (int, float) else None


def zeros_like(value: Value) -> Value:
    """Build zeros of the type of `value`."""
    return splat(0, value.type)


def ones_like(value: Value) -> Value:
    """Build ones of the type of `value`."""
    return splat(1, value.type)


def constant_of(value: Value) -> Dense | None:
    """Return the constant that `value` is, or None."""
    op = value.owner
    if op.__class__ is Op and op.kind is constant:
        return op.attributes["value"]
    return None


def splat_of(value: Value) -> Any:
    """Return the number that `value` is everywhere (a NumPy scalar), or None."""
    op = value.owner
    if op.__class__ is Op and op.kind is constant:
        array = op.attributes["value"].array
        return None if array.shape else array[()]
    return None


def is_splat(value: Value, number: float) -> bool:
    """Tell whether `value` is a constant equal to `number` everywhere."""
    found = splat_of(value)
    return found is not None and bool(found == number)


def with_constants(operands: tuple[Any, ...]) -> list[Value]:
    """Return the operands with Python numbers turned into constants of the type of the first value among them."""
    like = next(operand for operand in operands if operand.__class__ is Value)
    return [operand if operand.__class__ is Value else splat(operand, like.type) for operand in operands]


class ElementwiseDef(OpDef):
    """The record of an elementwise op: its operands have one shape and (but for conditions) one element type.

    `fold_numbers` is a fold that is tried only where an operand is a constant.
    """

    __slots__ = ("fold_numbers",)

    def __init__(self, *arguments: Any, fold_numbers: Callable[..., Value | None] | None = None, **options: Any):
        super().__init__(*arguments, **options)
        self.fold_numbers = fold_numbers

    def __call__(self, *operands: Any, **attributes: Any) -> Any:
        for operand in operands:
            if operand.__class__ is not Value:
                operands = tuple(with_constants(operands))
                break
        folded = self.folded(operands, attributes)
        return self.build(operands, attributes).results[0] if folded is None else folded

    def folded(self, operands: Sequence[Value], attributes: dict[str, Any]) -> Value | None:
        some, every = False, True
        for operand in operands:
            owner = operand.owner
            if owner.__class__ is Op and owner.kind is constant:
                some = True
            else:
                every = False
        if every:
            return self._fold_constants(operands, attributes)
        found = None
        if some and self.fold_numbers is not None:
            found = self.fold_numbers(*operands, **attributes)
        return self.fold(*operands, **attributes) if found is None and self.fold is not None else found

    def _fold_constants(self, operands: Sequence[Value], attributes: dict[str, Any]) -> Value:
        arrays = [operand.owner.attributes["value"].array for operand in operands]
        type = self.type_rule(*[operand.type for operand in operands], **attributes)
        with np.errstate(all="ignore"):
            value = self.reference(*arrays, **attributes)  # type: ignore[misc]
        return constant(value=Dense(type, value))


def same_shape(*types: TensorType) -> None:
    """Raise ShapeError unless all types have one shape."""
    first = types[0].shape
    for other in types[1:]:
        if other.shape != first:
            raise ShapeError(
                f"expected operands of one shape, got {' and '.join(str(list(t.shape)) for t in types)}"
            )


def _typed(kinds: str, name: str, result: ScalarType | None) -> Callable[..., TensorType]:
    def type_rule(*types: TensorType) -> TensorType:
        first = types[0]
        for other in types[1:]:
            if other is not first:
                same_shape(*types)
                raise DTypeError(
                    f"'nd.{name}' expects operands of one dtype, got "
                    + " and ".join(str(t.element) for t in types)
                )
        if first.element.kind not in kinds:
            raise DTypeError(f"'nd.{name}' does not take {first.element} operands")
        return first if result is None else tensor(first.shape, result)

    return type_rule


def elementwise(
    name: str,
    doc: str,
    reference: Callable[..., Any],
    derivative: Derivative,
    scalar: Any,
    domain: Domain,
    *,
    kinds: str = "f",
    result: ScalarType | None = None,
    fold: Callable[..., Value | None] | None = None,
    fold_numbers: Callable[..., Value | None] | None = None,
    commutative: bool = False,
    grad_fn: str = "",
    cost: float | None = None,
) -> ElementwiseDef:
    """Return a record whose operands share shape and dtype; `kinds` are the element kinds it takes."""
    if cost is None:
        cost = scalar.cost if isinstance(scalar, OpDef) else 2.0
        if isinstance(scalar, dict) and "f" in scalar and isinstance(scalar["f"], OpDef):
            cost = scalar["f"].cost
    return ElementwiseDef(
        f"nd.{name}",
        doc,
        type_rule=_typed(kinds, name, result),
        reference=reference,
        derivative=derivative,
        scalar=scalar,
        domain=domain,
        fold=fold,
        fold_numbers=fold_numbers,
        commutative=commutative,
        grad_fn=grad_fn or name.title().replace("_", ""),
        cost=cost,
        tags=frozenset({"elementwise"}),
    )


def reals(*intervals: tuple[float, float], edges: tuple[float, ...] = ()) -> Domain:
    """Return a sampling domain: one open interval per operand (the last repeats)."""
    return Domain(intervals, edges)


FLOATS = "f"
NUMBERS = "fiu"
ANY = "fiub"
BOOL = ir_types.i1
