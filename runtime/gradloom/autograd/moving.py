"""Copies with the elements at other places: flips, rolls, repetitions, triangles, diagonals.

The rules are written in the movement ops of the compiler. Start reading at `flip`.
"""

from typing import Any

import numpy as np

from gradloom.autograd.conversion import CLONE
from gradloom.autograd.elementwise import NOTHING, as_value, tensor_operand
from gradloom.autograd.errors import error
from gradloom.autograd.graph import EagerOp
from gradloom.autograd.recording import Variable
from gradloom.autograd.shaping import VIEW, dims_argument, expanded, reshaped, unsqueeze, whole_numbers
from gradloom.autograd.steps import diagonal_step, reshape_step
from gradloom.autograd.tensor import Tensor, from_array, in_place, method, normalize_dim, operation, public, view_of
from gradloomc.dialects import nd
from gradloomc.ir import types as ir_types
from gradloomc.ir.core import Value

Shape = tuple[int, ...]

# --- turning and rolling ----------------------------------------------------------------------------------------------


def _turned(x: Any, count: int, dims: tuple[int, int]) -> Any:
    return as_value(np.rot90(x, count, dims))


FLIP = EagerOp("FlipBackward0", lambda x, dims: nd.reverse(x.value, axes=dims), saves=NOTHING)
ROT90 = EagerOp("Rot90Backward0", _turned, saves=NOTHING)


def _rolled(x: Any, shifts: Shape, dims: Shape) -> Value:
    value = x.value
    shape = value.type.shape
    if not dims:
        value, dims = nd.reshape(value, shape=(x.size,)), (0,)
    for shift, dim in zip(shifts, dims, strict=True):
        extent = value.type.shape[dim]
        if extent and shift % extent:
            at = extent - shift % extent
            parts = [_cut(value, dim, at, extent), _cut(value, dim, 0, at)]
            value = nd.concatenate(*parts, axis=dim)
    return nd.reshape(value, shape=shape)


def _cut(value: Value, dim: int, start: int, limit: int) -> Value:
    """Return the part from `start` to `limit` of a dimension."""
    shape = value.type.shape
    starts, limits = [0] * len(shape), list(shape)
    starts[dim], limits[dim] = start, limit
    return nd.slice_(value, start=tuple(starts), limit=tuple(limits), stride=(1,) * len(shape))


ROLL = EagerOp("RollBackward0", _rolled, saves=NOTHING)


def _flipped(x: Tensor, dims: Any) -> Tensor:
    return operation(FLIP, (x,), (("dims", tuple(sorted(dims_argument(dims, x._value.type.rank)))),))


@method("flip")
def _flip_method(self: Tensor, *dims: Any, **keyword: Any) -> Tensor:
    """Return the elements in reverse order along dimensions."""
    return _flipped(self, whole_numbers("flip", "dims", dims, keyword.get("dims")))


@public("flip")
def flip(input: Tensor, dims: Any) -> Tensor:
    """Return the elements in reverse order along dimensions.

    Raises:
        RuntimeError: a dimension is listed twice.
        IndexError: a dimension is out of range.
    """
    return _flipped(tensor_operand(input, "flip"), dims)


@method("fliplr")
@public("fliplr")
def fliplr(input: Tensor) -> Tensor:
    """Return the elements in reverse order along the second dimension."""
    x = tensor_operand(input, "fliplr")
    if x._value.type.rank < 2:
        raise error(RuntimeError, "Input must be >= 2-d.")
    return _flipped(x, 1)


@method("flipud")
@public("flipud")
def flipud(input: Tensor) -> Tensor:
    """Return the elements in reverse order along the first dimension."""
    x = tensor_operand(input, "flipud")
    if x._value.type.rank < 1:
        raise error(RuntimeError, "Input must be >= 1-d.")
    return _flipped(x, 0)


@method("rot90")
@public("rot90")
def rot90(input: Tensor, k: int = 1, dims: Any = (0, 1)) -> Tensor:
    """Return the elements turned by k quarters from the first of two dimensions towards the second.

    Raises:
        RuntimeError: there are not two different dimensions.
    """
    x = tensor_operand(input, "rot90")
    rank = x._value.type.rank
    if len(dims) != 2:
        raise error(RuntimeError, f"expected total rotation dims == 2, but got dims = {len(dims)}")
    if rank < 2:
        raise error(RuntimeError, f"expected total dims >= 2, but got total dims = {rank}")
    first, second = [normalize_dim(dim, rank) for dim in dims]
    if first == second:
        raise error(
            RuntimeError, f"expected rotation dims to be different, but got dim0 = {dims[0]} and dim1 = {dims[1]}"
        )
    return operation(ROT90, (x,), (("count", k % 4), ("dims", (first, second))))


@method("roll")
@public("roll")
def roll(input: Tensor, shifts: Any, dims: Any = None) -> Tensor:
    """Return the elements moved along dimensions, the last ones to the front; without dimensions as if flattened.

    Raises:
        RuntimeError: there are not as many shifts as dimensions.
    """
    x = tensor_operand(input, "roll")
    moves = whole_numbers("roll", "shifts", (shifts,))
    places = () if dims is None else whole_numbers("roll", "dims", (dims,))
    if (places or len(moves) != 1) and len(places) != len(moves):
        raise error(RuntimeError, f"shifts and dimensions must align. shifts: {len(moves)}, dims:{len(places)}")
    at = tuple([normalize_dim(dim, x._value.type.rank) for dim in places])
    return operation(ROLL, (x,), (("shifts", moves), ("dims", at)))


# --- repeating --------------------------------------------------------------------------------------------------------


def _repeated(x: Any, repeats: Shape) -> Value:
    shape = (1,) * (len(repeats) - x.ndim) + x.shape
    split = tuple([each for extent in shape for each in (1, extent)])
    spread = tuple([each for pair in zip(repeats, shape, strict=True) for each in pair])
    value = nd.broadcast(nd.reshape(x.value, shape=split), shape=spread, dims=tuple(range(len(split))))
    return nd.reshape(value, shape=tuple([m * n for m, n in zip(repeats, shape, strict=True)]))


REPEAT = EagerOp("RepeatBackward0", _repeated, saves=NOTHING)


@method("repeat")
def repeat(self: Tensor, *repeats: Any, **keyword: Any) -> Tensor:
    """Return the elements repeated along each dimension; numbers in front make new dimensions.

    Raises:
        RuntimeError: there are fewer numbers than dimensions, or a negative one.
    """
    counts = whole_numbers("repeat", "repeats", repeats, keyword.get("repeats"))
    if len(counts) < self._value.type.rank:
        raise error(
            RuntimeError,
            "Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor",
            "x.tile(...) takes fewer numbers than dimensions",
        )
    if min(counts, default=0) < 0:
        raise error(RuntimeError, f"Trying to create tensor with negative dimension: repeats are {list(counts)}")
    return operation(REPEAT, (self,), (("repeats", counts),))


@method("tile")
def _tile_method(self: Tensor, *dims: Any, **keyword: Any) -> Tensor:
    """Return the elements repeated; dimensions without a number are repeated once."""
    counts = whole_numbers("tile", "dims", dims, keyword.get("dims"))
    return repeat(self, (1,) * (self._value.type.rank - len(counts)) + counts)


@public("tile")
def tile(input: Tensor, dims: Any) -> Tensor:
    """Return the elements repeated; dimensions without a number are repeated once."""
    return _tile_method(tensor_operand(input, "tile"), dims)


@method("repeat_interleave")
@public("repeat_interleave")
def repeat_interleave(input: Tensor, repeats: Any, dim: int | None = None, *, output_size: int | None = None) -> Tensor:
    """Return each element repeated, the copies side by side; without a dimension the elements are flattened first.

    Args:
        repeats: how often, one number or a tensor of one for each index of the dimension.

    Raises:
        RuntimeError: there are not as many numbers as indices.
    """
    x = tensor_operand(input, "repeat_interleave")
    if dim is None:
        x, dim = x.flatten() if x._value.type.rank == 1 else reshaped(x, (x._value.type.size,)), 0
    at = normalize_dim(dim, x._value.type.rank)
    shape = x._value.type.shape
    if isinstance(repeats, Variable):
        counts = repeats._array()
        if counts.dtype.kind not in "iu":
            raise error(RuntimeError, "repeats has to be Long or Int tensor")
        if counts.size != 1:
            if counts.shape != (shape[at],):
                raise error(
                    RuntimeError,
                    "repeats must have the same size as input along dim, but got repeats.size(0) = "
                    f"{counts.size} and input.size({at}) = {shape[at]}",
                )
            return x.index_select(at, from_array(np.repeat(np.arange(shape[at]), counts)))
        repeats = int(counts.reshape(()))
    wide = expanded(unsqueeze(x, at + 1), (*shape[: at + 1], repeats, *shape[at + 1 :]))
    copied = operation(CLONE, (wide,))
    return view_of(copied, VIEW, reshape_step((*shape[:at], shape[at] * repeats, *shape[at + 1 :])))


# --- triangles and diagonals ------------------------------------------------------------------------------------------


def _triangle(lower: bool) -> Any:
    def cut(x: Any, diagonal: int) -> Value:
        value = x.value
        rank, shape = value.type.rank, value.type.shape
        row = nd.iota(shape=shape, axis=rank - 2, type=ir_types.i64)
        column = nd.iota(shape=shape, axis=rank - 1, type=ir_types.i64)
        edge = nd.add(row, nd.splat(diagonal, row.type))
        inside = nd.le(column, edge) if lower else nd.ge(column, edge)
        return nd.select(inside, value, nd.zeros_like(value))

    return cut


TRIL = EagerOp("TrilBackward0", _triangle(True), saves=NOTHING)
TRIU = EagerOp("TriuBackward0", _triangle(False), saves=NOTHING)


def _cut_function(name: str, op: EagerOp, side: str) -> None:
    def arguments(x: Tensor, diagonal: int) -> tuple[Any, ...]:
        tensor_operand(x, name)
        if x._value.type.rank < 2:
            raise error(RuntimeError, f"{name}: input tensor must have at least 2 dimensions")
        return (x,), (("diagonal", int(diagonal)),)

    def function(input: Tensor, diagonal: int = 0) -> Tensor:
        return operation(op, *arguments(input, diagonal))

    def write(self: Tensor, diagonal: int = 0) -> Tensor:
        return in_place(self, op, *arguments(self, diagonal))

    function.__name__, write.__name__ = name, f"{name}_"
    function.__doc__ = f"Return matrices with zeros {side} a diagonal."
    write.__doc__ = f"Apply `{name}` in place."
    method(name)(public(name)(function))
    method(f"{name}_")(write)


_cut_function("tril", TRIL, "above")
_cut_function("triu", TRIU, "below")


def _embedded(x: Any, offset: int, dims: Shape) -> Value:
    """Put the last dimension on a diagonal of two new ones, among zeros."""
    value = x.value
    *lead, count = value.type.shape
    extent = count + abs(offset)
    before = max(-offset, 0)
    zeros = (0,) * len(lead)
    column = nd.pad(value, low=(*zeros, before), high=(*zeros, extent - count - before), interior=(*zeros, 0))
    shape = (*lead, extent, extent)
    rank = len(shape)
    spread = nd.broadcast(column, shape=shape, dims=tuple(range(rank - 1)))
    row = nd.iota(shape=shape, axis=rank - 2, type=ir_types.i64)
    there = nd.iota(shape=shape, axis=rank - 1, type=ir_types.i64)
    meets = nd.eq(nd.add(row, nd.splat(offset, row.type)), there)
    matrices = nd.select(meets, spread, nd.zeros_like(spread))
    order = list(range(rank - 2))
    for dim, source in sorted(zip(dims, (rank - 2, rank - 1), strict=True)):
        order.insert(dim, source)
    return nd.transpose(matrices, permutation=tuple(order))


DIAG_EMBED = EagerOp("DiagEmbedBackward0", _embedded, saves=NOTHING)
DIAGONAL_COPY = EagerOp("DiagonalBackward0_copy", lambda x, step: step.read(x.value), saves=NOTHING)
DIAGONAL_SCATTER = EagerOp(
    "DiagonalScatterBackward0", lambda x, src, step: step.write(x.value, src.value), saves=NOTHING
)


@method("diag_embed")
@public("diag_embed")
def diag_embed(input: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Return matrices, along two new dimensions, with the last dimension on a diagonal and zeros elsewhere.

    Raises:
        RuntimeError: the two dimensions are the same one.
    """
    x = tensor_operand(input, "diag_embed")
    rank = x._value.type.rank + 1
    first, second = normalize_dim(dim1, rank), normalize_dim(dim2, rank)
    if first == second:
        raise error(RuntimeError, f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    return operation(DIAG_EMBED, (x,), (("offset", offset), ("dims", (first, second))))


@method("diag")
@public("diag")
def diag(input: Tensor, diagonal: int = 0) -> Tensor:
    """Return the diagonal of a matrix, or the matrix with a vector on its diagonal, as a copy.

    Raises:
        RuntimeError: it is neither a vector nor a matrix.
    """
    x = tensor_operand(input, "diag")
    shape = x._value.type.shape
    if len(shape) == 1:
        return diag_embed(x, diagonal)
    if len(shape) != 2:
        raise error(RuntimeError, f"diag(): Supports 1D or 2D tensors. Got {len(shape)}D")
    return operation(DIAGONAL_COPY, (x,), (("step", diagonal_step(shape, diagonal, 0, 1)),))


@method("diagflat")
@public("diagflat")
def diagflat(input: Tensor, offset: int = 0) -> Tensor:
    """Return the matrix with all elements on a diagonal."""
    return diag_embed(tensor_operand(input, "diagflat").reshape(-1), offset)


@method("diagonal_scatter")
@public("diagonal_scatter")
def diagonal_scatter(input: Tensor, src: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """Return a copy with a diagonal replaced.

    Raises:
        RuntimeError: the source does not have the shape of the diagonal.
    """
    x = tensor_operand(input, "diagonal_scatter")
    shape = x._value.type.shape
    step = diagonal_step(shape, offset, normalize_dim(dim1, len(shape)), normalize_dim(dim2, len(shape)))
    return scattered(DIAGONAL_SCATTER, x, src, step, "diagonal")


def scattered(op: EagerOp, x: Tensor, src: Tensor, step: Any, name: str) -> Tensor:
    """Record a copy of `x` with the part that a step leads to replaced.

    Raises:
        RuntimeError: the source does not have the shape of the part.
    """
    want = step.array(np.broadcast_to(np.empty((), bool), x._value.type.shape)).shape
    tensor_operand(src, f"{name}_scatter", "src", 2)
    if src._value.type.shape != want:
        raise error(
            RuntimeError,
            f"expected src to have a size equal to the slice of self. src size = {list(src.shape)}, slice size = "
            f"{list(want)}",
        )
    return operation(op, (x, src.to(x.dtype)), (("step", step),))
