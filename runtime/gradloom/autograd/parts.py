"""Views of parts of a tensor: slices and selections, splits, diagonals, windows.

Indexing with brackets is in indexing.py; it is built on `select_of` and `slice_of`.
"""

import operator
from collections.abc import Sequence
from typing import Any

from gradloom.autograd.elementwise import tensor_operand, type_name
from gradloom.autograd.errors import error
from gradloom.autograd.graph import EagerOp, counter_of, data_node, extra_of
from gradloom.autograd.recording import Variable, link_of_part, wrap
from gradloom.autograd.shaping import view_operation
from gradloom.autograd.steps import diagonal_step, select_step, slice_step, unfold_step
from gradloom.autograd.tensor import Tensor, method, normalize_dim, public, view_of

SELECT = view_operation("SelectBackward0")
SLICE = view_operation("SliceBackward0")
SPLIT = view_operation("SplitBackward0")
SPLIT_WITH_SIZES = view_operation("SplitWithSizesBackward0")
UNBIND = view_operation("UnbindBackward0")
DIAGONAL = view_operation("DiagonalBackward0")
UNFOLD = view_operation("UnfoldBackward0")


def part_of(x: Tensor, op: EagerOp, step: Any) -> Tensor:
    """Return the view of a part of `x`.

    A part of plain data is taken at once: a loop that walks through batches of its data meets the same graph each time,
    rather than one with other bounds.
    """
    node = x._node()
    if x._requires_grad or node.array is None:
        return view_of(x, op, step)
    counter_of(node)
    result = data_node(step.array(node.array).copy())  # what NumPy or a later write does to x must not reach it
    result.counter, result.version = node.counter, node.version
    if getattr(node, "inference", False):
        result.__dict__["inference"] = node.__dict__["inference"]
    tensor = wrap(Tensor, result)
    tensor._link = link_of_part(x, op, step)
    return tensor


def select_of(x: Tensor, dim: int, index: int) -> Tensor:
    """Return the part at an index within the extent of a dimension."""
    return part_of(x, SELECT, select_step(x._value.type.shape, dim, index))


def slice_of(x: Tensor, dim: int, start: int, stop: int, step: int = 1, op: EagerOp = SLICE) -> Tensor:
    """Return the part from `start` to `stop`, both within the extent of a dimension."""
    return part_of(x, op, slice_step(x._value.type.shape, dim, start, stop, step))


def _numbered(parts: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return the results of one function of PyTorch's, numbered as outputs of one node."""
    for number, part in enumerate(parts):
        if number and part._grad_fn is not None:
            extra_of(part._grad_fn)["output"] = number
        if part._link is not None and not part._link.made:
            part._link.made = "several"
    return tuple(parts)


def _whole(x: Any, function: str, argument: str, position: int) -> int:
    try:
        return operator.index(x)
    except TypeError:
        raise TypeError(
            f"{function}(): argument '{argument}' (position {position}) must be int, not {type_name(x)}"
        ) from None


# --- one part ---------------------------------------------------------------------------------------------------------


@method("select")
@public("select")
def select(input: Tensor, dim: int, index: int) -> Tensor:
    """Return the view at one index of a dimension, which leaves the shape.

    Raises:
        IndexError: the dimension or the index is out of range.
    """
    x = tensor_operand(input, "select")
    shape = x._value.type.shape
    if not shape:
        raise error(IndexError, "select() cannot be applied to a 0-dim tensor.")
    at, index = normalize_dim(dim, len(shape)), _whole(index, "select", "index", 2)
    extent = shape[at]
    if not -extent <= index < extent:
        raise error(
            IndexError, f"select(): index {index} out of range for tensor of size {list(shape)} at dimension {at}"
        )
    return select_of(x, at, index + extent if index < 0 else index)


@method("narrow")
@public("narrow")
def narrow(input: Tensor, dim: int, start: Any, length: int) -> Tensor:
    """Return the view of `length` indices of a dimension from `start` on.

    Raises:
        IndexError, RuntimeError: the range does not lie within the dimension.
    """
    x = tensor_operand(input, "narrow")
    shape = x._value.type.shape
    if not shape:
        raise error(RuntimeError, "narrow() cannot be applied to a 0-dim tensor.")
    if length < 0:
        raise error(RuntimeError, "narrow(): length must be non-negative.")
    at, start = normalize_dim(dim, len(shape)), _whole(start, "narrow", "start", 2)
    extent = shape[at]
    if not -extent <= start <= extent:
        raise error(
            IndexError, f"start out of range (expected to be in range of [{-extent}, {extent}], but got {start})"
        )
    if start < 0:
        start += extent
    if start + length > extent:
        raise error(RuntimeError, f"start ({start}) + length ({length}) exceeds dimension size ({extent}).")
    return slice_of(x, at, start, start + length)


@method("diagonal")
@public("diagonal")
def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """Return the view of a diagonal of two dimensions, as the last dimension.

    Raises:
        RuntimeError: the two dimensions are the same one.
    """
    x = tensor_operand(input, "diagonal")
    shape = x._value.type.shape
    first, second = normalize_dim(dim1, len(shape)), normalize_dim(dim2, len(shape))
    if first == second:
        raise error(RuntimeError, f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    return view_of(x, DIAGONAL, diagonal_step(shape, offset, first, second))


@method("unfold")
def unfold(self: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """Return the view of all windows of `size` indices of a dimension, every `step`; they become the last dimension.

    Raises:
        RuntimeError: no window fits, or the step is not positive.
    """
    shape = self._value.type.shape
    at = normalize_dim(dimension, len(shape))
    extent = shape[at] if shape else 1
    if size < 0:
        raise error(RuntimeError, f"size is {size} but must be >= 0")
    if size > extent:
        raise error(RuntimeError, f"maximum size for tensor at dimension {at} is {extent} but size is {size}")
    if step <= 0:
        raise error(RuntimeError, f"step is {step} but must be > 0")
    x = self if shape else self.unsqueeze(0)
    result = view_of(x, UNFOLD, unfold_step(x._value.type.shape, at, size, step))
    return result if shape else result[0]


# --- several parts ----------------------------------------------------------------------------------------------------


def _pieces(x: Tensor, dim: int, sizes: Sequence[int], op: EagerOp) -> tuple[Tensor, ...]:
    parts, start = [], 0
    for size in sizes:
        parts.append(slice_of(x, dim, start, start + size, 1, op))
        start += size
    return _numbered(parts)


@method("split")
@public("split")
def split(tensor: Tensor, split_size_or_sections: Any = None, dim: int = 0, **keyword: Any) -> tuple[Tensor, ...]:
    """Return the views of parts of one size along a dimension (the last may be smaller), or of the sizes listed.

    Raises:
        RuntimeError: the sizes do not add up to the extent, or are negative.
    """
    x = tensor_operand(tensor, "split", "tensor")
    sections = keyword.get("split_size", split_size_or_sections)
    shape = x._value.type.shape
    if not shape:
        raise error(RuntimeError, "split expects at least a 1-dimensional tensor")
    at = normalize_dim(dim, len(shape))
    extent = shape[at]
    if not isinstance(sections, (tuple, list)):
        size = _whole(sections, "split", "split_size", 1)
        if size < 0:
            raise error(RuntimeError, f"split expects split_size be non-negative, but got split_size={size}")
        if not size and extent:
            raise error(
                RuntimeError, f"split_size can only be 0 if dimension size is 0, but got dimension size of {extent}"
            )
        starts = range(0, extent, size) if extent else range(1)
        return _pieces(x, at, [min(size, extent - start) for start in starts], SPLIT)
    sizes = [_whole(size, "split", "split_sizes", 1) for size in sections]
    if min(sizes, default=0) < 0:
        raise error(
            RuntimeError,
            f"split_with_sizes expects split_sizes have only non-negative entries, but got split_sizes={sizes}",
        )
    if sum(sizes) != extent:
        raise error(
            RuntimeError,
            f"split_with_sizes expects split_sizes to sum exactly to {extent} (input tensor's size at dimension {at}), "
            f"but got split_sizes={sizes}",
        )
    return _pieces(x, at, sizes, SPLIT_WITH_SIZES)


@method("split_with_sizes")
@public("split_with_sizes")
def split_with_sizes(input: Tensor, split_sizes: Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Return the views of parts of the sizes listed along a dimension."""
    return split(input, list(split_sizes), dim)


@method("chunk")
@public("chunk")
def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """Return the views of at most `chunks` parts of one size along a dimension.

    Raises:
        RuntimeError: the number is not positive.
    """
    x = tensor_operand(input, "chunk")
    shape = x._value.type.shape
    if not shape:
        raise error(RuntimeError, "chunk expects at least a 1-dimensional tensor")
    if chunks <= 0:
        raise error(RuntimeError, f"chunk expects `chunks` to be greater than 0, got: {chunks}")
    at = normalize_dim(dim, len(shape))
    size = -(-shape[at] // chunks)
    return split(x, size, at) if size else _pieces(x, at, [0] * chunks, SPLIT_WITH_SIZES)


@method("tensor_split")
@public("tensor_split")
def tensor_split(input: Tensor, indices_or_sections: Any, dim: int = 0, **keyword: Any) -> tuple[Tensor, ...]:
    """Return the views of parts along a dimension: a number of nearly equal ones, or those between indices.

    Raises:
        RuntimeError: the number is not positive.
    """
    x = tensor_operand(input, "tensor_split")
    sections = keyword.get("sections", keyword.get("indices", indices_or_sections))
    if isinstance(sections, Variable):
        sections = sections._array().tolist()
    shape = x._value.type.shape
    if not shape:
        raise error(RuntimeError, "tensor_split expected at least a 1-dimensional tensor, but got a tensor with 0 dims")
    at = normalize_dim(dim, len(shape))
    extent = shape[at]
    if not isinstance(sections, (tuple, list)):
        if sections <= 0:
            raise error(RuntimeError, f"number of sections must be larger than 0, got {sections}")
        size, rest = divmod(extent, sections)
        return tuple(
            [
                slice_of(x, at, k * size + min(k, rest), (k + 1) * size + min(k + 1, rest))
                for k in range(sections)
            ]
        )  # fmt: skip
    bounds = [slice(None, each).indices(extent)[1] for each in sections]
    return tuple(
        [
            slice_of(x, at, start, max(start, stop))
            for start, stop in zip([0, *bounds], [*bounds, extent], strict=True)
        ]
    )  # fmt: skip


def _split_along(name: str, dim: int, least: int) -> None:
    def function(input: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
        x = tensor_operand(input, name)
        rank = x._value.type.rank
        if rank < least:
            raise error(
                RuntimeError,
                f"gradloom.{name} requires a tensor with at least {least} dimension"
                f"{'s' if least > 1 else ''}, but got a tensor with {rank} dimensions!",
            )
        at = 0 if rank == 1 else dim
        extent = x._value.type.shape[at]
        if isinstance(indices_or_sections, int) and (not indices_or_sections or extent % indices_or_sections):
            raise error(
                RuntimeError,
                f"gradloom.{name} attempted to split along dimension {at}, but the size of the dimension {extent} is "
                f"not divisible by the split_size {indices_or_sections}!",
            )
        return tensor_split(x, indices_or_sections, at)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"Return the views of parts along dimension {dim}, as `tensor_split`; sizes must be equal."
    method(name)(public(name)(function))


_split_along("hsplit", 1, 1)
_split_along("vsplit", 0, 2)
_split_along("dsplit", 2, 3)


@method("unbind")
@public("unbind")
def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """Return the views at all indices of a dimension, which leaves the shape.

    Raises:
        RuntimeError: there is no dimension.
    """
    x = tensor_operand(input, "unbind")
    shape = x._value.type.shape
    if not shape:
        raise error(IndexError, "Dimension specified as 0 but tensor has no dimensions")
    at = normalize_dim(dim, len(shape))
    return _numbered([part_of(x, UNBIND, select_step(shape, at, k)) for k in range(shape[at])])
