"""Views under another shape: view and reshape, squeeze and unsqueeze, permutations of the dimensions, expansion.

Views share the memory of the tensor they are taken of. What a step of a view means is in steps.py; parts of tensors
(slices, splits, diagonals) are in parts.py. Start reading at `view`.
"""

import math
import operator
from collections.abc import Sequence
from typing import Any

from gradloom.autograd.conversion import CLONE
from gradloom.autograd.dtypes import Size, dtype
from gradloom.autograd.elementwise import NOTHING, tensor_operand, type_name
from gradloom.autograd.errors import error
from gradloom.autograd.graph import EagerOp
from gradloom.autograd.steps import expand_step, reshape_step, transpose_step, viewed_strides
from gradloom.autograd.tensor import Tensor, method, normalize_dim, operation, public, view_of
from gradloom.trace.tracer import Tracer
from gradloomc.dialects import nd

Shape = tuple[int, ...]


def _read(x: Any, step: Any) -> Tracer:
    return Tracer(step.read(x.value))


def view_operation(name: str) -> EagerOp:
    """Return the operation of a view: its meaning is that of its step."""
    return EagerOp(name, _read, saves=NOTHING)


VIEW = view_operation("ViewBackward0")
RESHAPE_ALIAS = view_operation("ReshapeAliasBackward0")
SQUEEZE, SQUEEZE_DIM, SQUEEZE_DIMS = [view_operation(f"SqueezeBackward{k}") for k in range(3)]
UNSQUEEZE = view_operation("UnsqueezeBackward0")
PERMUTE = view_operation("PermuteBackward0")
TRANSPOSE = view_operation("TransposeBackward0")
T = view_operation("TBackward0")
EXPAND = view_operation("ExpandBackward0")
UNSAFE_VIEW = EagerOp("UnsafeViewBackward0", lambda x, shape: nd.reshape(x.value, shape=shape), saves=NOTHING)


# --- arguments --------------------------------------------------------------------------------------------------------


def whole_numbers(function: str, argument: str, given: Sequence[Any], keyword: Any = None) -> Shape:
    """Return whole numbers given as `(2, 3)`, as `((2, 3),)` or by keyword.

    Raises:
        TypeError: one of them is no whole number, or there is none at all.
    """
    if keyword is not None:
        given = (keyword,)
    if len(given) == 1 and isinstance(given[0], (tuple, list)):
        given = given[0]
    elif not given:
        raise TypeError(f'{function}() missing 1 required positional arguments: "{argument}"')
    try:
        return tuple([each if each.__class__ is int else operator.index(each) for each in given])
    except TypeError:
        wrong = next(each for each in given if not hasattr(each, "__index__"))
        raise TypeError(
            f"{function}(): argument '{argument}' (position 1) must be tuple of ints, not {type_name(wrong)}"
        ) from None


def _wrong_size(shape: Shape, size: int) -> Exception:
    return error(
        RuntimeError,
        f"shape '{list(shape)}' is invalid for input of size {size}",
        "the extents should multiply up to the number of elements; one of them may be -1: it is inferred",
    )


def inferred(shape: Shape, size: int) -> Shape:
    """Return a shape for `size` elements with its -1 replaced.

    Raises:
        RuntimeError: the number of elements is another.
    """
    if -1 not in shape:
        if math.prod(shape) == size and min(shape, default=0) >= 0:
            return shape
    elif shape.count(-1) > 1:
        raise error(RuntimeError, "only one dimension can be inferred")
    for at, extent in enumerate(shape):
        if extent < -1:
            raise error(RuntimeError, f"invalid shape dimension {extent} at index {at} of shape {list(shape)}")
    if -1 not in shape:
        raise _wrong_size(shape, size)
    known = -math.prod(shape)
    if not known and not size:
        raise error(
            RuntimeError,
            f"cannot reshape tensor of 0 elements into shape {list(shape)} because the unspecified dimension size -1 "
            "can be any value and is ambiguous",
        )
    if not known or size % known:
        raise _wrong_size(shape, size)
    return tuple([size // known if extent == -1 else extent for extent in shape])


def dims_argument(dims: Any, rank: int) -> Shape:
    """Return one dimension, or several, counted from the front.

    Raises:
        IndexError: one is out of range.
        RuntimeError: one is there twice.
    """
    listed = dims if isinstance(dims, (tuple, list)) else (dims,)
    result = tuple([normalize_dim(dim, rank) for dim in listed])
    for dim in result:
        if result.count(dim) > 1:
            raise error(RuntimeError, f"dim {dim} appears multiple times in the list of dims")
    return result


# --- the same elements under another shape ----------------------------------------------------------------------------


def _shows(x: Tensor, shape: Shape) -> bool:
    """Tell whether the memory of a tensor shows its elements under another shape."""
    if x._link is None:
        return True
    strided = x._strided()
    return strided.flags.c_contiguous or viewed_strides(strided.shape, strided.strides, shape) is not None


@method("view")
def view(self: Tensor, *shape: Any, size: Any = None) -> Tensor:
    """Return a view of the same elements under another shape; one extent may be -1.

    Raises:
        RuntimeError: the number of elements is another, or the elements do not lie in memory in a fitting order.
    """
    if shape and isinstance(shape[0], dtype):
        if shape[0] is self.dtype:
            return view_of(self, VIEW, reshape_step(self._value.type.shape))
        raise error(
            RuntimeError,
            f"gradloom does not show the bytes of {self.dtype} as {shape[0]}",
            "x.to(dtype) converts the numbers; x.numpy().view(...) shows the bytes",
        )
    type = self._value.type
    wanted = inferred(whole_numbers("view", "size", shape, size), type.size)
    if self._link is not None and not _shows(self, wanted):
        raise error(
            RuntimeError,
            "view size is not compatible with input tensor's size and stride (at least one dimension spans across two "
            "contiguous subspaces). Use .reshape(...) instead.",
        )
    return view_of(self, VIEW, reshape_step(wanted))


def reshaped(x: Tensor, shape: Shape) -> Tensor:
    """Return the elements under a shape that fits: a view where that is possible, else a copy."""
    if x._link is None or x._strided().flags.c_contiguous:
        return view_of(x, VIEW, reshape_step(shape))
    if _shows(x, shape):
        return view_of(x, RESHAPE_ALIAS, reshape_step(shape))
    return operation(UNSAFE_VIEW, (operation(CLONE, (x,)),), (("shape", shape),))


@method("reshape")
def _reshape_method(self: Tensor, *shape: Any, **keyword: Any) -> Tensor:
    """Return the elements under another shape, one extent of which may be -1: a view where that is possible."""
    wanted = whole_numbers("reshape", "shape", shape, keyword.get("shape"))
    return reshaped(self, inferred(wanted, self._value.type.size))


@public("reshape")
def reshape(input: Tensor, shape: Any) -> Tensor:
    """Return the elements under another shape, one extent of which may be -1: a view where that is possible.

    Raises:
        RuntimeError: the number of elements is another.
    """
    x = tensor_operand(input, "reshape")
    return reshaped(x, inferred(whole_numbers("reshape", "shape", (shape,)), x._value.type.size))


@method("view_as")
def view_as(self: Tensor, other: Tensor) -> Tensor:
    """Return a view under the shape of another tensor."""
    return view(self, tensor_operand(other, "view_as", "other").shape)


@method("reshape_as")
def reshape_as(self: Tensor, other: Tensor) -> Tensor:
    """Return the elements under the shape of another tensor."""
    return _reshape_method(self, tensor_operand(other, "reshape_as", "other").shape)


@method("flatten")
@public("flatten")
def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Return the elements with the dimensions from `start_dim` to `end_dim` as one.

    Raises:
        RuntimeError: the first dimension comes after the last.
    """
    x = tensor_operand(input, "flatten")
    shape = x._value.type.shape
    first, last = normalize_dim(start_dim, len(shape)), normalize_dim(end_dim, len(shape))
    if first > last:
        raise error(RuntimeError, "flatten() has invalid args: start_dim cannot come after end_dim")
    if not shape:
        return reshaped(x, (1,))
    if first == last:
        return x
    return reshaped(x, (*shape[:first], math.prod(shape[first : last + 1]), *shape[last + 1 :]))


@method("unflatten")
@public("unflatten")
def unflatten(input: Tensor, dim: int, sizes: Any) -> Tensor:
    """Return a view with one dimension as several.

    Raises:
        RuntimeError: their extents do not multiply up to that of the dimension.
    """
    x = tensor_operand(input, "unflatten")
    shape = x._value.type.shape
    at = normalize_dim(dim, len(shape))
    parts = whole_numbers("unflatten", "sizes", (sizes,))
    known = math.prod([extent for extent in parts if extent != -1])
    fits = known == shape[at] if -1 not in parts else known and shape[at] % known == 0
    if not fits:
        raise error(
            RuntimeError,
            f"unflatten: Provided sizes {list(parts)} don't multiply up to the size of dim {at} ({shape[at]}) in the "
            "input tensor",
        )
    return view(x, (*shape[:at], *inferred(parts, shape[at]), *shape[at + 1 :]))


@method("ravel")
@public("ravel")
def ravel(input: Tensor) -> Tensor:
    """Return the elements in one dimension."""
    x = tensor_operand(input, "ravel").contiguous()
    return view_of(x, VIEW, reshape_step((x._value.type.size,)))


@method("squeeze")
@public("squeeze")
def squeeze(input: Tensor, dim: Any = None) -> Tensor:
    """Return a view without dimensions of extent 1: all of them, or those listed."""
    x = tensor_operand(input, "squeeze")
    shape = x._value.type.shape
    if dim is None:
        return view_of(x, SQUEEZE, reshape_step(tuple([extent for extent in shape if extent != 1])))
    gone = dims_argument(dim, len(shape))
    rest = tuple([extent for at, extent in enumerate(shape) if extent != 1 or at not in gone])
    return view_of(x, SQUEEZE_DIMS if isinstance(dim, (tuple, list)) else SQUEEZE_DIM, reshape_step(rest))


@method("unsqueeze")
@public("unsqueeze")
def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """Return a view with a new dimension of extent 1 at a position."""
    x = tensor_operand(input, "unsqueeze")
    shape = x._value.type.shape
    at = normalize_dim(dim, len(shape) + 1)
    return view_of(x, UNSQUEEZE, reshape_step((*shape[:at], 1, *shape[at:])))


# --- permuted dimensions ----------------------------------------------------------------------------------------------


def permuted(x: Tensor, order: Shape, op: EagerOp = PERMUTE) -> Tensor:
    """Return the view with permuted dimensions."""
    return view_of(x, op, transpose_step(x._value.type.shape, order))


@method("permute")
def _permute_method(self: Tensor, *dims: Any, **keyword: Any) -> Tensor:
    """Return the view whose dimension k is dimension `dims[k]`."""
    order = whole_numbers("permute", "dims", dims, keyword.get("dims"))
    rank = self._value.type.rank
    if len(order) != rank:
        raise error(
            RuntimeError,
            "permute(sparse_coo): number of dimensions in the tensor input does not match the length of the desired "
            f"ordering of dimensions i.e. input.dim() = {rank} is not equal to len(dims) = {len(order)}",
        )
    order = tuple([normalize_dim(dim, rank) for dim in order])
    if len(set(order)) < rank:
        raise error(RuntimeError, "permute(): duplicate dims are not allowed.")
    return permuted(self, order)


@public("permute")
def permute(input: Tensor, dims: Any) -> Tensor:
    """Return the view whose dimension k is dimension `dims[k]` of the input.

    Raises:
        RuntimeError: not every dimension is listed exactly once.
    """
    return _permute_method(tensor_operand(input, "permute"), dims)


@method("transpose", "swapaxes", "swapdims")
@public("transpose", "swapaxes", "swapdims")
def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Return the view with two dimensions exchanged."""
    x = tensor_operand(input, "transpose")
    rank = x._value.type.rank
    first, second = normalize_dim(dim0, rank), normalize_dim(dim1, rank)
    order = list(range(rank))
    if rank:
        order[first], order[second] = second, first
    return permuted(x, tuple(order), TRANSPOSE)


@method("t")
@public("t")
def t(input: Tensor) -> Tensor:
    """Return the transpose of a matrix, as a view; tensors of fewer dimensions stay as they are.

    Raises:
        RuntimeError: there are more than two dimensions.
    """
    x = tensor_operand(input, "t")
    rank = x._value.type.rank
    if rank > 2:
        raise error(
            RuntimeError,
            f"t() expects a tensor with <= 2 dimensions, but self is {rank}D",
            "x.mT transposes the last two dimensions, x.transpose(i, j) any two",
        )
    return permuted(x, tuple(range(rank - 1, -1, -1)), T)


def _matrices(x: Tensor, name: str) -> Tensor:
    if x._value.type.rank < 2:
        raise error(
            RuntimeError,
            f"tensor.{name} is only supported on matrices or batches of matrices. Got {x._value.type.rank}-D tensor.",
        )
    return transpose(x, -2, -1)


def _hermitian(x: Tensor) -> Tensor:
    rank = x._value.type.rank
    if rank not in (0, 2):
        raise error(
            RuntimeError,
            f"tensor.H is only supported on matrices (2-D tensors). Got {rank}-D tensor."
            + (" For batches of matrices, consider using tensor.mH" if rank > 2 else ""),
        )
    return transpose(x, 0, -1)


for _name, _transposed, _doc in (
    ("T", lambda x: permuted(x, tuple(range(x.ndim - 1, -1, -1))), "The view with the dimensions in reverse order."),
    ("mT", lambda x: _matrices(x, "mT"), "The view with the last two dimensions exchanged."),
    ("mH", lambda x: _matrices(x, "mH"), "The view with the last two dimensions exchanged."),
    ("H", _hermitian, "The transpose of a matrix."),
):
    method(_name)(property(_transposed, doc=_doc))


@method("adjoint")
@public("adjoint")
def adjoint(input: Tensor) -> Tensor:
    """Return the view with the last two dimensions exchanged."""
    return _matrices(tensor_operand(input, "adjoint"), "adjoint()")


@method("movedim", "moveaxis")
@public("movedim", "moveaxis")
def movedim(input: Tensor, source: Any, destination: Any) -> Tensor:
    """Return the view with dimensions moved to other places; the others keep their order.

    Raises:
        RuntimeError: the lists differ in length, or list a dimension twice.
    """
    x = tensor_operand(input, "movedim")
    rank = x._value.type.rank
    sources, targets = [list(each) if isinstance(each, (tuple, list)) else [each] for each in (source, destination)]
    if len(sources) != len(targets):
        raise error(
            RuntimeError,
            f"movedim: Invalid source or destination dims: source ({sources} dims) should contain the same number of "
            f"dims as destination ({targets} dims)",
        )
    moved, places = [[normalize_dim(dim, rank) for dim in each] for each in (sources, targets)]
    for name, listed, given in (("source", moved, sources), ("destination", places, targets)):
        if len(set(listed)) < len(listed):
            raise error(RuntimeError, f"movedim: repeated dim in `{name}` ({given})")
    order = [dim for dim in range(rank) if dim not in moved]
    for place, dim in sorted(zip(places, moved, strict=True)):
        order.insert(place, dim)
    return permuted(x, tuple(order))


# --- expansion --------------------------------------------------------------------------------------------------------


def expanded(x: Tensor, target: Shape) -> Tensor:
    """Return the view expanded to a shape; -1 leaves an extent as it is.

    Raises:
        RuntimeError: the shape does not fit.
    """
    shape = x._value.type.shape
    lead = len(target) - len(shape)
    if lead < 0:
        raise error(
            RuntimeError,
            f"expand(gradloom.{x.dtype.type_name}Tensor{{{list(shape)}}}, size={list(target)}): the number of sizes "
            f"provided ({len(target)}) must be greater or equal to the number of dimensions in the tensor "
            f"({len(shape)})",
        )
    result = list(target)
    for at in range(len(target) - 1, -1, -1):
        want = target[at]
        if at < lead:
            if want < 0:
                raise error(
                    RuntimeError,
                    f"The expanded size of the tensor ({want}) isn't allowed in a leading, non-existing dimension {at}",
                )
            continue
        have = shape[at - lead]
        if want == -1:
            result[at] = have
        elif want != have and have != 1:
            raise error(
                RuntimeError,
                f"The expanded size of the tensor ({want}) must match the existing size ({have}) at non-singleton "
                f"dimension {at}.  Target sizes: {list(target)}.  Tensor sizes: {list(shape)}",
            )
        elif want < 0:
            raise error(RuntimeError, f"The expanded size of the tensor ({want}) isn't allowed: it is negative")
    return view_of(x, EXPAND, expand_step(shape, tuple(result)))


@method("expand")
def expand(self: Tensor, *size: Any, implicit: bool = False, **keyword: Any) -> Tensor:
    """Return a view with dimensions of extent 1 repeated, and new ones in front; -1 leaves an extent as it is."""
    return expanded(self, whole_numbers("expand", "size", size, keyword.get("size")))


@method("expand_as")
def expand_as(self: Tensor, other: Tensor) -> Tensor:
    """Return a view expanded to the shape of another tensor."""
    return expanded(self, tensor_operand(other, "expand_as", "other")._value.type.shape)


@method("broadcast_to")
@public("broadcast_to")
def broadcast_to(input: Tensor, size: Any) -> Tensor:
    """Return a view expanded to a shape."""
    return expanded(tensor_operand(input, "broadcast_to"), whole_numbers("broadcast_to", "size", (size,)))


def common_shape(first: Sequence[int], second: Sequence[int]) -> Shape:
    """Return the shape that the shapes of two tensors broadcast to.

    Raises:
        RuntimeError: they do not fit.
    """
    rank = max(len(first), len(second))
    result = []
    for back in range(rank, 0, -1):
        m, n = [shape[-back] if back <= len(shape) else 1 for shape in (first, second)]
        if m != n and 1 not in (m, n):
            raise error(
                RuntimeError,
                f"The size of tensor a ({m}) must match the size of tensor b ({n}) at non-singleton dimension "
                f"{rank - back}",
                f"the shapes are {tuple(first)} and {tuple(second)}",
            )
        result.append(n if m == 1 else m)
    return tuple(result)


@public("broadcast_shapes")
def broadcast_shapes(*shapes: Any) -> Size:
    """Return the shape that shapes broadcast to.

    Raises:
        RuntimeError: they do not fit.
    """
    result: Shape = ()
    for number, given in enumerate(shapes):
        shape = tuple(given) if isinstance(given, (tuple, list)) else (given,)
        for back in range(1, min(len(shape), len(result)) + 1):
            if shape[-back] != result[-back] and 1 not in (shape[-back], result[-back]):
                raise error(
                    RuntimeError,
                    f"Attempting to broadcast a dimension of length {shape[-back]} at {-back}! Mismatching argument at "
                    f"index {number} had {shape}; but expected shape should be broadcastable to {list(result)}",
                )
        result = common_shape(result, shape)
    return Size(result)


@public("broadcast_tensors")
def broadcast_tensors(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Return tensors expanded to their common shape."""
    shape: Shape = ()
    for x in tensors:
        shape = common_shape(shape, x._value.type.shape)
    return tuple([x if x._value.type.shape == shape else expanded(x, shape) for x in tensors])
