"""Reductions over axes: sum, product, maximum, minimum, any, all, argmax, argmin. The reduced axes leave the shape."""

from collections.abc import Callable
from typing import Any

import numpy as np

from gradloomc.dialects.nd.arithmetic import mul
from gradloomc.dialects.nd.families import splat, zeros_like
from gradloomc.dialects.nd.logic import convert, eq, select
from gradloomc.dialects.nd.movement import broadcast, reshape, reverse, slice_
from gradloomc.ir import types as ir_types
from gradloomc.ir.core import Value
from gradloomc.ir.errors import DTypeError, ShapeError
from gradloomc.ir.opdef import Constant, Derivative, Expand, Linear, Linearize, OpDef, Sample
from gradloomc.ir.types import TensorType, tensor

Ints = tuple[int, ...]


def kept_axes(rank: int, axes: Ints) -> Ints:
    """Return the axes that are not reduced."""
    return tuple(axis for axis in range(rank) if axis not in axes)


def _drop_axes(x: TensorType, axes: Ints) -> TensorType:
    if any(not 0 <= axis < x.rank for axis in axes) or len(set(axes)) != len(axes):
        raise ShapeError(f"cannot reduce axes {list(axes)} of an array of {x.rank} dimensions")
    return tensor(tuple(x.shape[axis] for axis in kept_axes(x.rank, axes)), x.element)


def spread(reduced: Value, like: Value, axes: Ints) -> Value:
    """Broadcast a reduced array back over the axes that it lost."""
    return broadcast(reduced, shape=like.type.shape, dims=kept_axes(like.type.rank, axes))


def _reduction_type(kinds: str, name: str) -> Callable[..., TensorType]:
    def type_rule(x: TensorType, axes: Ints) -> TensorType:
        if x.element.kind not in kinds:
            raise DTypeError(f"'nd.{name}' does not take {x.element} operands")
        return _drop_axes(x, axes)

    return type_rule


def _samples(x: Any) -> list[Sample]:
    return [
        Sample((x(5),), {"axes": (0,)}),
        Sample((x(3, 4),), {"axes": (1,)}),
        Sample((x(3, 4),), {"axes": (0,)}),
        Sample((x(2, 3, 4),), {"axes": (0, 2)}),
        Sample((x(2, 3),), {"axes": (0, 1)}),
        Sample((x(1),), {"axes": (0,)}),
    ]


def _reduction(
    name: str,
    doc: str,
    reference: Callable[..., Any],
    derivative: Derivative,
    combine: str,
    kinds: str,
    grad_fn: str = "",
    empty: bool = True,
) -> OpDef:
    def fold(x: Value, axes: Ints) -> Value | None:
        return x if not axes else None

    def samples(x: Any) -> list[Sample]:
        extra = [Sample((x(0),), {"axes": (0,)}), Sample((x(2, 0),), {"axes": (1,)})] if empty else []
        return _samples(x) + extra

    return OpDef(
        f"nd.{name}",
        doc,
        type_rule=_reduction_type(kinds, name),
        reference=lambda x, axes: reference(x, axes),
        derivative=derivative,
        scalar=combine,
        fold=fold,
        samples=samples,
        attributes=("axes",),
        grad_fn=grad_fn,
        tags=frozenset({"reduction"}),
    )


def _sum_reference(x: Any, axes: Ints) -> Any:
    return np.sum(x, axis=axes, dtype=np.asarray(x).dtype)


reduce_sum = _reduction(
    "reduce_sum",
    "Sum over axes.",
    _sum_reference,
    Linear(lambda g, x, axes: (spread(g, x, axes),)),
    "add",
    "fiu",
    grad_fn="Sum",
)


def _expand_product(x: Value, axes: Ints) -> Value:
    """Multiply the halves of each axis until one slice is left: exact for zeros at any order of differentiation."""
    for axis in sorted(axes, reverse=True):
        while (extent := x.type.shape[axis]) > 1:
            half = extent // 2

            def part(start: int, limit: int, x: Value = x, axis: int = axis) -> Value:
                low, high = [0] * x.type.rank, list(x.type.shape)
                low[axis], high[axis] = start, limit
                return slice_(x, start=tuple(low), limit=tuple(high), stride=(1,) * x.type.rank)

            product = mul(part(0, half), part(half, 2 * half))
            if extent % 2:
                rest = part(2 * half, extent)
                if half > 1:
                    from gradloomc.dialects.nd.movement import concatenate

                    product = concatenate(product, rest, axis=axis)
                else:
                    product = mul(product, rest)
            x = product
        shape = x.type.shape
        if shape[axis] == 0:
            x = splat(1, tensor(shape[:axis] + shape[axis + 1 :], x.type.element))
        else:
            x = reshape(x, shape=shape[:axis] + shape[axis + 1 :])
    return x


reduce_prod = _reduction(
    "reduce_prod",
    "Product over axes; its derivative is exact when elements are 0.",
    lambda x, axes: np.prod(x, axis=axes, dtype=np.asarray(x).dtype),
    Expand(_expand_product),
    "mul",
    "fiu",
    grad_fn="Prod",
)


def _extremum_tangent(result: Value, operands: Any, tangents: Any, attributes: Any) -> Value:
    (x,), (x_dot,), axes = operands, tangents, attributes["axes"]
    best = eq(x, spread(result, x, axes))
    count = reduce_sum(convert(best, type=x.type.element), axes=axes)
    from gradloomc.dialects.nd.functions import reciprocal

    return mul(reduce_sum(select(best, x_dot, zeros_like(x)), axes=axes), reciprocal(count))


reduce_max = _reduction(
    "reduce_max",
    "Largest element over axes, nan if there is one; equal largest elements share the derivative evenly.",
    lambda x, axes: np.max(x, axis=axes),
    Linearize(_extremum_tangent),
    "maximum",
    "fiub",
    grad_fn="Amax",
    empty=False,
)
reduce_min = _reduction(
    "reduce_min",
    "Smallest element over axes, nan if there is one; equal smallest elements share the derivative evenly.",
    lambda x, axes: np.min(x, axis=axes),
    Linearize(_extremum_tangent),
    "minimum",
    "fiub",
    grad_fn="Amin",
    empty=False,
)
reduce_any = _reduction(
    "reduce_any", "Whether any element over axes holds.", lambda x, axes: np.any(x, axis=axes), Constant(), "or", "b"
)
reduce_all = _reduction(
    "reduce_all", "Whether all elements over axes hold.", lambda x, axes: np.all(x, axis=axes), Constant(), "and", "b"
)


def _arg_type(x: TensorType, axis: int) -> TensorType:
    if not 0 <= axis < x.rank:
        raise ShapeError(f"cannot search axis {axis} of an array of {x.rank} dimensions")
    if x.shape[axis] == 0:
        raise ShapeError("attempt to get the position of an extremum of an empty sequence")
    return tensor(x.shape[:axis] + x.shape[axis + 1 :], ir_types.i64)


def _arg_samples(x: Any) -> list[Sample]:
    return [Sample((x(5),), {"axis": 0}), Sample((x(3, 4),), {"axis": 1}), Sample((x(3, 4),), {"axis": 0})]


argmax = OpDef(
    "nd.argmax",
    "Position of the first largest element along an axis.",
    type_rule=_arg_type,
    reference=lambda x, axis: np.argmax(x, axis=axis),
    derivative=Constant(),
    samples=_arg_samples,
    attributes=("axis",),
    tags=frozenset({"extern"}),
)
argmin = OpDef(
    "nd.argmin",
    "Position of the first smallest element along an axis.",
    type_rule=_arg_type,
    reference=lambda x, axis: np.argmin(x, axis=axis),
    derivative=Constant(),
    samples=_arg_samples,
    attributes=("axis",),
    tags=frozenset({"extern"}),
)


def _cumsum_type(x: TensorType, axis: int) -> TensorType:
    if not 0 <= axis < x.rank:
        raise ShapeError(f"cannot add up along axis {axis} of an array of {x.rank} dimensions")
    if x.element.kind not in "fiu":
        raise DTypeError(f"'nd.cumsum' does not take {x.element} operands")
    return x


def _cumsum_transpose(g: Value, x: Value, axis: int) -> tuple[Value]:
    return (reverse(cumsum(reverse(g, axes=(axis,)), axis=axis), axes=(axis,)),)


cumsum = OpDef(
    "nd.cumsum",
    "Sums of the elements up to each one along an axis.",
    type_rule=_cumsum_type,
    reference=lambda x, axis: np.cumsum(x, axis=axis, dtype=np.asarray(x).dtype),
    derivative=Linear(_cumsum_transpose),
    samples=lambda x: [*_arg_samples(x), Sample((x(0),), {"axis": 0}), Sample((x(2, 3, 2),), {"axis": 1})],
    attributes=("axis",),
    tags=frozenset({"extern"}),
)


def _iota_type(shape: Ints, axis: int, type: ir_types.ScalarType) -> TensorType:
    if not 0 <= axis < len(shape):
        raise ShapeError(f"'nd.iota' got axis {axis} for {len(shape)} dimensions")
    return tensor(shape, type)


def _iota_reference(shape: Ints, axis: int, type: ir_types.ScalarType) -> Any:
    counts = np.arange(shape[axis]).astype(type.dtype)
    return np.broadcast_to(counts.reshape([-1 if k == axis else 1 for k in range(len(shape))]), shape)


iota = OpDef(
    "nd.iota",
    "The position along an axis: 0, 1, 2, ... (arange, and the mask of eye).",
    type_rule=_iota_type,
    reference=_iota_reference,
    derivative=Constant(),
    samples=lambda x: [
        Sample((), {"shape": (4,), "axis": 0, "type": ir_types.i64}),
        Sample((), {"shape": (2, 3), "axis": 1, "type": ir_types.f64}),
    ],
    attributes=("shape", "axis", "type"),
    tags=frozenset({"movement"}),
    cost=1.0,
)

