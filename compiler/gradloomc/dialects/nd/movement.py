"""Ops that move elements without computing: broadcast, reshape, transpose, slice, pad, reverse, concatenate.

All are linear, and each one's transpose is written in the others. Broadcasting is always explicit here, so no rule of
any other op ever has to undo one: the transpose of `broadcast` is a sum.
"""

import math
from typing import Any

import numpy as np

from gradloomc.dialects.nd.families import constant, constant_of, splat, splat_of
from gradloomc.ir.attributes import Dense
from gradloomc.ir.core import Value
from gradloomc.ir.errors import ShapeError
from gradloomc.ir.opdef import Linear, OpDef, Sample
from gradloomc.ir.types import TensorType, tensor

Ints = tuple[int, ...]


def _movement(name: str, doc: str, **facets: Any) -> OpDef:
    return OpDef(f"nd.{name}", doc, tags=frozenset({"movement"}), cost=0.0, **facets)


# --- broadcast --------------------------------------------------------------------------------------------------------


def _broadcast_type(x: TensorType, shape: Ints, dims: Ints) -> TensorType:
    if len(dims) != x.rank or list(dims) != sorted(set(dims)) or any(not 0 <= d < len(shape) for d in dims):
        raise ShapeError(f"'nd.broadcast' cannot place {x.rank} dimensions at {list(dims)} of {len(shape)}")
    for extent, dim in zip(x.shape, dims, strict=True):
        if extent not in (1, shape[dim]):
            raise ShapeError(f"'nd.broadcast' cannot stretch {list(x.shape)} to {list(shape)}")
    return tensor(shape, x.element)


def _broadcast_reference(x: Any, shape: Ints, dims: Ints) -> Any:
    x = np.asarray(x)
    aligned = [1] * len(shape)
    for extent, dim in zip(x.shape, dims, strict=True):
        aligned[dim] = extent
    return np.broadcast_to(x.reshape(aligned), shape)


def _broadcast_transpose(g: Value, x: Value, shape: Ints, dims: Ints) -> tuple[Value]:
    from gradloomc.dialects.nd.reduction import reduce_sum

    stretched = {d for extent, d in zip(x.type.shape, dims, strict=True) if extent == 1 and shape[d] != 1}
    axes = tuple(d for d in range(len(shape)) if d not in dims or d in stretched)
    return (reshape(reduce_sum(g, axes=axes), shape=x.type.shape),)


def _fold_broadcast(x: Value, shape: Ints, dims: Ints) -> Value | None:
    if x.type.rank == len(shape) and x.type.shape == shape:
        return x
    number = splat_of(x)
    if number is not None:
        return splat(number, tensor(shape, x.type.element))
    op = x.op
    if op is not None and op.kind is broadcast:
        inner = op.attributes["dims"]
        if op.operands[0].type.size == 1 or all(
            a == b or a == 1 for a, b in zip(op.operands[0].type.shape, [shape[dims[d]] for d in inner], strict=True)
        ):
            return broadcast(op.operands[0], shape=shape, dims=tuple(dims[d] for d in inner))
    return None


broadcast = _movement(
    "broadcast",
    "Repeat: operand dimension k becomes result dimension dims[k]; extents of 1 stretch, other dimensions are new.",
    type_rule=_broadcast_type,
    reference=_broadcast_reference,
    derivative=Linear(_broadcast_transpose),
    fold=_fold_broadcast,
    attributes=("shape", "dims"),
    samples=lambda x: [
        Sample((x(3),), {"shape": (2, 3), "dims": (1,)}),
        Sample((x(),), {"shape": (2, 3), "dims": ()}),
        Sample((x(2, 1),), {"shape": (2, 4, 3), "dims": (0, 2)}),
        Sample((x(1),), {"shape": (0,), "dims": (0,)}),
    ],
    grad_fn="Expand",
)


def broadcast_to(x: Value, shape: Ints) -> Value:
    """Broadcast to `shape` by NumPy's rule (dimensions align at the right)."""
    rank = x.type.rank
    if rank == len(shape) and x.type.shape == shape:
        return x
    if rank > len(shape):
        raise ShapeError(f"cannot broadcast shape {list(x.type.shape)} to {list(shape)}")
    return broadcast(x, shape=shape, dims=tuple(range(len(shape) - rank, len(shape))))


# --- reshape, transpose -----------------------------------------------------------------------------------------------


def _reshape_type(x: TensorType, shape: Ints) -> TensorType:
    if math.prod(shape) != x.size or any(extent < 0 for extent in shape):
        raise ShapeError(f"cannot reshape array of size {x.size} (shape {list(x.shape)}) into shape {list(shape)}")
    return tensor(shape, x.element)


def _fold_reshape(x: Value, shape: Ints) -> Value | None:
    if x.type.rank == len(shape) and x.type.shape == shape:
        return x
    dense = constant_of(x)
    if dense is not None:
        array = dense.array if dense.is_splat else dense.array.reshape(shape)
        return constant(value=Dense(tensor(shape, x.type.element), array))
    op = x.op
    if op is not None and op.kind is reshape:
        return reshape(op.operands[0], shape=shape)
    return None


reshape = _movement(
    "reshape",
    "The same elements in row-major order under another shape.",
    type_rule=_reshape_type,
    reference=lambda x, shape: np.reshape(x, shape),
    derivative=Linear(lambda g, x, shape: (reshape(g, shape=x.type.shape),)),
    fold=_fold_reshape,
    attributes=("shape",),
    samples=lambda x: [
        Sample((x(2, 6),), {"shape": (3, 4)}),
        Sample((x(4),), {"shape": (1, 4, 1)}),
        Sample((x(1),), {"shape": ()}),
        Sample((x(0, 3),), {"shape": (0,)}),
    ],
    grad_fn="View",
)


def _transpose_type(x: TensorType, permutation: Ints) -> TensorType:
    if sorted(permutation) != list(range(x.rank)):
        raise ShapeError(f"'nd.transpose' got {list(permutation)}, not a permutation of {x.rank} axes")
    return tensor(tuple(x.shape[axis] for axis in permutation), x.element)


def _inverse(permutation: Ints) -> Ints:
    inverse = [0] * len(permutation)
    for position, axis in enumerate(permutation):
        inverse[axis] = position
    return tuple(inverse)


def _fold_transpose(x: Value, permutation: Ints) -> Value | None:
    if permutation == tuple(range(x.type.rank)):
        return x
    number = splat_of(x)
    if number is not None:
        return splat(number, _transpose_type(x.type, permutation))
    op = x.op
    if op is not None and op.kind is transpose:
        inner = op.attributes["permutation"]
        return transpose(op.operands[0], permutation=tuple(inner[axis] for axis in permutation))
    return None


transpose = _movement(
    "transpose",
    "Permute the axes: result axis k is operand axis permutation[k].",
    type_rule=_transpose_type,
    reference=lambda x, permutation: np.transpose(x, permutation),
    derivative=Linear(lambda g, x, permutation: (transpose(g, permutation=_inverse(permutation)),)),
    fold=_fold_transpose,
    attributes=("permutation",),
    samples=lambda x: [
        Sample((x(2, 3),), {"permutation": (1, 0)}),
        Sample((x(2, 3, 4),), {"permutation": (2, 0, 1)}),
    ],
    grad_fn="Permute",
)


# --- slice, pad, reverse ----------------------------------------------------------------------------------------------


def _slice_type(x: TensorType, start: Ints, limit: Ints, stride: Ints) -> TensorType:
    if not len(start) == len(limit) == len(stride) == x.rank:
        raise ShapeError(f"'nd.slice' expects one start, limit and stride for each of {x.rank} axes")
    shape = []
    for extent, low, high, step in zip(x.shape, start, limit, stride, strict=True):
        if not (0 <= low <= high <= extent and step > 0):
            raise ShapeError(f"'nd.slice' {low}:{high}:{step} is out of range for an axis of {extent}")
        shape.append(-(-(high - low) // step))
    return tensor(tuple(shape), x.element)


def _slice_reference(x: Any, start: Ints, limit: Ints, stride: Ints) -> Any:
    return np.asarray(x)[tuple(map(slice, start, limit, stride))]


def _slice_transpose(g: Value, x: Value, start: Ints, limit: Ints, stride: Ints) -> tuple[Value]:
    high, interior = [], []
    for extent, low, count, step in zip(x.type.shape, start, g.type.shape, stride, strict=True):
        covered = (count - 1) * step + 1 if count else 0
        high.append(extent - low - covered)
        interior.append(step - 1)
    return (pad(g, low=start, high=tuple(high), interior=tuple(interior)),)


def _fold_slice(x: Value, start: Ints, limit: Ints, stride: Ints) -> Value | None:
    if limit == x.type.shape and not any(start) and all(step == 1 for step in stride):
        return x
    number = splat_of(x)
    if number is not None:
        return splat(number, _slice_type(x.type, start, limit, stride))
    return None


slice_ = _movement(
    "slice",
    "Part of an array: elements start, start + stride, ... below limit of each axis.",
    type_rule=_slice_type,
    reference=_slice_reference,
    derivative=Linear(_slice_transpose),
    fold=_fold_slice,
    attributes=("start", "limit", "stride"),
    samples=lambda x: [
        Sample((x(6),), {"start": (1,), "limit": (6,), "stride": (1,)}),
        Sample((x(7),), {"start": (1,), "limit": (7,), "stride": (3,)}),
        Sample((x(4, 5),), {"start": (0, 2), "limit": (3, 5), "stride": (2, 1)}),
        Sample((x(3),), {"start": (2,), "limit": (2,), "stride": (1,)}),
    ],
    grad_fn="Slice",
)


def _pad_type(x: TensorType, low: Ints, high: Ints, interior: Ints) -> TensorType:
    if not len(low) == len(high) == len(interior) == x.rank or min((*low, *high, *interior, 0)) < 0:
        raise ShapeError("'nd.pad' expects one low, high and interior amount, not negative, for each axis")
    shape = tuple(
        before + after + extent + max(extent - 1, 0) * between
        for extent, before, after, between in zip(x.shape, low, high, interior, strict=True)
    )
    return tensor(shape, x.element)


def _pad_reference(x: Any, low: Ints, high: Ints, interior: Ints) -> Any:
    x = np.asarray(x)
    shape, where = [], []
    for extent, before, after, between in zip(x.shape, low, high, interior, strict=True):
        covered = extent + max(extent - 1, 0) * between
        shape.append(before + after + covered)
        where.append(slice(before, before + covered, between + 1))
    result = np.zeros(shape, x.dtype)
    result[tuple(where)] = x
    return result


def _pad_transpose(g: Value, x: Value, low: Ints, high: Ints, interior: Ints) -> tuple[Value]:
    limit = tuple(
        before + (extent - 1) * (between + 1) + 1 if extent else before
        for extent, before, between in zip(x.type.shape, low, interior, strict=True)
    )
    return (slice_(g, start=low, limit=limit, stride=tuple(between + 1 for between in interior)),)


def _fold_pad(x: Value, low: Ints, high: Ints, interior: Ints) -> Value | None:
    if not any(low) and not any(high) and not any(interior):
        return x
    number = splat_of(x)
    if number is not None and number == 0 and not np.signbit(number):
        return splat(number, _pad_type(x.type, low, high, interior))
    return None


pad = _movement(
    "pad",
    "Put zeros around (low, high) and between (interior) the elements.",
    type_rule=_pad_type,
    reference=_pad_reference,
    derivative=Linear(_pad_transpose),
    fold=_fold_pad,
    attributes=("low", "high", "interior"),
    samples=lambda x: [
        Sample((x(3),), {"low": (1,), "high": (2,), "interior": (0,)}),
        Sample((x(3),), {"low": (0,), "high": (1,), "interior": (2,)}),
        Sample((x(2, 3),), {"low": (0, 1), "high": (1, 0), "interior": (1, 0)}),
        Sample((x(0),), {"low": (2,), "high": (1,), "interior": (1,)}),
    ],
    grad_fn="ConstantPadNd",
)


def _reverse_type(x: TensorType, axes: Ints) -> TensorType:
    if any(not 0 <= axis < x.rank for axis in axes) or len(set(axes)) != len(axes):
        raise ShapeError(f"'nd.reverse' got axes {list(axes)} for an array of {x.rank} dimensions")
    return x


def _fold_reverse(x: Value, axes: Ints) -> Value | None:
    if all(x.type.shape[axis] <= 1 for axis in axes) or splat_of(x) is not None:
        return x
    return None


reverse = _movement(
    "reverse",
    "Turn the listed axes around (np.flip).",
    type_rule=_reverse_type,
    reference=lambda x, axes: np.flip(x, axes) if axes else np.asarray(x),
    derivative=Linear(lambda g, x, axes: (reverse(g, axes=axes),)),
    fold=_fold_reverse,
    attributes=("axes",),
    samples=lambda x: [Sample((x(5),), {"axes": (0,)}), Sample((x(2, 3),), {"axes": (0, 1)})],
    grad_fn="Flip",
)


# --- concatenate ------------------------------------------------------------------------------------------------------


def _concatenate_type(*types: TensorType, axis: int) -> TensorType:
    first = types[0]
    if not 0 <= axis < first.rank:
        raise ShapeError(f"'nd.concatenate' got axis {axis} for arrays of {first.rank} dimensions")
    for other in types[1:]:
        same = other.rank == first.rank and all(
            a == b for k, (a, b) in enumerate(zip(first.shape, other.shape, strict=True)) if k != axis
        )
        if not same or other.element is not first.element:
            raise ShapeError(f"'nd.concatenate' cannot join {first} and {other} along axis {axis}")
    total = sum(type.shape[axis] for type in types)
    return tensor((*first.shape[:axis], total, *first.shape[axis + 1 :]), first.element)


def _concatenate_transpose(g: Value, *operands: Value, axis: int) -> list[Value]:
    parts, position = [], 0
    for operand in operands:
        start = [0] * g.type.rank
        limit = list(g.type.shape)
        start[axis] = position
        position += operand.type.shape[axis]
        limit[axis] = position
        parts.append(slice_(g, start=tuple(start), limit=tuple(limit), stride=(1,) * g.type.rank))
    return parts


class _AllOperands(tuple[int, ...]):
    """Stands for 'every operand' in a Linear facet of an op with any number of operands."""


concatenate = _movement(
    "concatenate",
    "Join arrays along an axis.",
    type_rule=_concatenate_type,
    reference=lambda *xs, axis: np.concatenate(xs, axis),
    derivative=Linear(_concatenate_transpose, operands=_AllOperands()),
    fold=lambda *xs, axis: xs[0] if len(xs) == 1 else None,
    attributes=("axis",),
    samples=lambda x: [
        Sample((x(2), x(3)), {"axis": 0}),
        Sample((x(2, 1), x(2, 3), x(2, 2)), {"axis": 1}),
        Sample((x(0), x(3)), {"axis": 0}),
    ],
    grad_fn="Cat",
)
