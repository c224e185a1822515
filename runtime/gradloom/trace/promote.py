"""NumPy's rules for dtypes and shapes, applied to IR values: promotion (NEP 50), conversion, broadcasting.

Promotion is NumPy's own: a ufunc is asked for the dtypes of its loop once per combination, and the answer is kept. A
Python number among the operands is *weak*: it has no dtype of its own and stands here as the number itself.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradloom.trace.context import element_of, fail
from gradloomc.dialects import nd
from gradloomc.ir import types as ir_types
from gradloomc.ir.core import Op, Value
from gradloomc.ir.errors import DTypeError, ShapeError
from gradloomc.ir.extents import is_symbolic
from gradloomc.ir.location import Location
from gradloomc.ir.types import ScalarType, TensorType, tensor

Shape = tuple[int, ...]
Key = Any  # a ScalarType, or the class float or int for a weak operand
Operand = Any  # a Value, or a Python number

_WEAK: dict[Any, Any] = {float: 0.0, int: 0}


def shape_of(operand: Operand) -> Shape:
    """Return the shape of a value, or () for a number."""
    return operand.type.shape if operand.__class__ is Value else ()


def show(shape: Shape) -> str:
    """Return a shape as NumPy's messages spell it: `(3,4)`, `(3,)`."""
    return f"({shape[0]},)" if len(shape) == 1 else f"({','.join(map(str, shape))})"


def broadcast_shapes(shapes: Sequence[Shape], operands: Sequence[Operand] = ()) -> Shape:
    """Return the common shape.

    Raises:
        ShapeError: there is none; the message is NumPy's, and notes show where `operands` come from.
    """
    first = shapes[0]
    for shape in shapes:
        if len(shape) != len(first) or shape != first:
            break
    else:
        return first
    rank = max(map(len, shapes))
    result = [1] * rank
    for shape in shapes:
        offset = rank - len(shape)
        for axis, extent in enumerate(shape, offset):
            if extent != 1:
                if result[axis] not in (1, extent):
                    _cannot_broadcast(shapes, operands)
                result[axis] = extent
    return tuple(result)


def _cannot_broadcast(shapes: Sequence[Shape], operands: Sequence[Operand]) -> None:
    fail(
        ShapeError,
        f"operands could not be broadcast together with shapes {' '.join(map(show, shapes))}",
        "the extents of each axis, counted from the last, should be equal or 1 (x[:, None] adds an axis)",
        origins(operands),
    )


def origins(operands: Sequence[Operand]) -> tuple[tuple[str, Location], ...]:
    """Return notes that say where values come from."""
    notes = []
    for operand in operands:
        if operand.__class__ is not Value:
            continue
        owner = operand.owner
        if owner.__class__ is Op:
            notes.append((f"an array of shape {operand.type.shape} was computed here", owner.location))
        elif operand.hint:
            where = getattr(owner.parent.parent, "location", None) if owner.parent is not None else None
            text = f"'{operand.hint}' is an argument of shape {operand.type.shape}"
            notes.append((text, where or Location()))
    return tuple(notes)


def stretch(value: Value, shape: Shape) -> Value:
    """Broadcast to a shape that is known to fit."""
    have = value.type.shape
    if len(have) == len(shape) and have == shape:
        return value
    return nd.broadcast(value, shape=shape, dims=tuple(range(len(shape) - len(have), len(shape))))


def convert(value: Value, element: ScalarType) -> Value:
    """Convert to an element type."""
    return value if value.type.element is element else nd.convert(value, type=element)


def number(value: Any, type: TensorType) -> Value:
    """Return a Python number as a constant array.

    Raises:
        OverflowError: an integer does not fit the dtype (in NumPy's words).
    """
    if is_symbolic(value):
        return length(value, type)
    return nd.splat(type.element.dtype.type(value), type)


def length(value: int, type: TensorType) -> Value:
    """Return a length as a constant array that the program is given when it runs, so that it serves other lengths."""
    if type.element.is_integer and type.element.bits < 64 and value > np.iinfo(type.element.dtype).max:
        raise OverflowError(f"Python integer {value} out of bounds for {type.element.dtype}")
    return nd.splat_extent(value, type)


def common_element(keys: Sequence[Key]) -> ScalarType:
    """Return the element type that NumPy's result_type gives for dtypes and weak numbers."""
    first = keys[0]
    for key in keys:
        if key is not first:
            break
    else:
        if first.__class__ is ScalarType:
            return first
    return element_of(np.result_type(*[k.dtype if k.__class__ is ScalarType else _WEAK[k] for k in keys]))


def weak_class(value: Value) -> Key:
    """Return the class of Python numbers that a weak value stands for."""
    return float if value.type.element.kind == "f" else int


def key_of(operand: Operand, weak: bool = False) -> Key:
    """Return what promotion looks at: the element type, or the class of a weak number."""
    if operand.__class__ is Value:
        return weak_class(operand) if weak else operand.type.element
    return ir_types.i1 if operand.__class__ is bool else operand.__class__


def as_float(element: ScalarType) -> ScalarType:
    """Return the float type in which NumPy computes a mean of such elements."""
    return element if element.kind == "f" else ir_types.f64


def accumulator(element: ScalarType) -> ScalarType:
    """Return the type in which NumPy adds or multiplies up such elements: at least 64 bits for integers."""
    if element.kind in "bi":
        return ir_types.i64
    return ir_types.ui64 if element.kind == "u" else element


def truth(value: Value) -> Value:
    """Return whether each element is not zero."""
    return convert(value, ir_types.i1)


def bring(operand: Operand, element: ScalarType, shape: Shape | None = None) -> Value:
    """Return an operand as a value of an element type (and of a shape that it broadcasts to)."""
    if operand.__class__ is not Value:
        return number(operand, tensor(shape or (), element))
    if operand.type.element is not element:
        operand = nd.convert(operand, type=element)
    return operand if shape is None else stretch(operand, shape)


def normalize_axis(axis: Any, rank: int) -> int:
    """Return an axis counted from the front.

    Raises:
        ShapeError: it is out of bounds, in NumPy's words.
    """
    try:
        axis = axis.__index__()
    except AttributeError:
        fail(DTypeError, f"an axis should be an integer, not {type(axis).__name__}")
    if not -rank <= axis < rank:
        fail(ShapeError, f"axis {axis} is out of bounds for array of dimension {rank}")
    return axis + rank if axis < 0 else axis


def is_axis_of_number(axis: Any, rank: int) -> bool:
    """Tell whether NumPy's ufuncs and searches let this axis pass for an array without axes: 0 and -1."""
    return rank == 0 and not isinstance(axis, (tuple, list)) and axis in (0, -1)


def reduced_axes(axis: Any, rank: int) -> Shape:
    """Return the axes that a ufunc's reduction takes, counted from the front, in order."""
    return () if is_axis_of_number(axis, rank) else normalize_axes(axis, rank)


def normalize_axes(axis: Any, rank: int) -> Shape:
    """Return axes counted from the front, in order; None stands for all.

    Raises:
        ShapeError: one is out of bounds, or named twice.
    """
    if axis is None:
        return tuple(range(rank))
    if axis.__class__ is int:
        return (normalize_axis(axis, rank),)
    if isinstance(axis, (tuple, list)):
        axes = sorted(normalize_axis(each, rank) for each in axis)
        if len(set(axes)) != len(axes):
            fail(ShapeError, "duplicate value in 'axis'")
        return tuple(axes)
    return (normalize_axis(axis, rank),)
