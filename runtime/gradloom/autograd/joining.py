"""Tensors joined to one: cat and stack and their relatives, meshgrid, products of sets.

The dtype of the result is the common one of all parts, as in PyTorch. Start reading at `cat`.
"""

import itertools
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradloom.autograd.elementwise import NOTHING, bring_to, common_element, tensor_operand, type_name
from gradloom.autograd.errors import error
from gradloom.autograd.graph import EagerOp
from gradloom.autograd.picking import masked_select
from gradloom.autograd.recording import Variable, record, wrap
from gradloom.autograd.shaping import expanded, reshaped, unsqueeze, view
from gradloom.autograd.tensor import Tensor, from_array, method, normalize_dim, operation, public
from gradloomc.dialects import nd
from gradloomc.ir.core import Value


def _joined(*parts: Any, dim: int) -> Value:
    element = common_element(parts)
    filled = [part for part in parts if part.shape != (0,)] or parts[:1]  # empty vectors fit anything
    return nd.concatenate(*[bring_to(part, element).value for part in filled], axis=dim)


def _stacked(*parts: Any, dim: int) -> Value:
    element = common_element(parts)
    shape = parts[0].shape
    with_one = (*shape[:dim], 1, *shape[dim:])
    return nd.concatenate(*[nd.reshape(bring_to(part, element).value, shape=with_one) for part in parts], axis=dim)


def _blocks(*parts: Any) -> Value:
    """Join matrices along a diagonal, with zeros elsewhere."""
    element = common_element(parts)
    values = []
    for part in parts:
        value = bring_to(part, element).value
        shape = value.type.shape
        values.append(value if len(shape) == 2 else nd.reshape(value, shape=(1, part.size)))
    columns = sum([value.type.shape[1] for value in values])
    rows, at = [], 0
    for value in values:
        width = value.type.shape[1]
        rows.append(nd.pad(value, low=(0, at), high=(0, columns - at - width), interior=(0, 0)))
        at += width
    return nd.concatenate(*rows, axis=0)


CAT = EagerOp("CatBackward0", _joined, saves=NOTHING)
STACK = EagerOp("StackBackward0", _stacked, saves=NOTHING)
BLOCK_DIAG = EagerOp("BlockDiagBackward0", _blocks, saves=NOTHING)

_DIMS: dict[int, tuple[tuple[str, Any], ...]] = {dim: (("dim", dim),) for dim in range(64)}


def _parts(function: str, tensors: Any) -> Sequence[Tensor]:
    """Return the list of tensors that a function joins.

    Raises:
        TypeError: it is no list of tensors.
    """
    if not isinstance(tensors, (tuple, list)):
        raise TypeError(
            f"{function}(): argument 'tensors' (position 1) must be tuple of Tensors, not {type_name(tensors)}"
        )
    for k, each in enumerate(tensors):
        if each.__class__ is not Tensor and not isinstance(each, Variable):
            raise TypeError(f"expected Tensor as element {k} in argument 0, but got {type_name(each)}")
    return tensors


@public("cat", "concat", "concatenate")
def cat(tensors: Any = None, dim: int = 0, **keyword: Any) -> Tensor:
    """Return tensors joined along a dimension; they agree in all others. Empty vectors are left out.

    Raises:
        ValueError: there is no tensor.
        RuntimeError: their shapes do not fit.
    """
    parts = _parts("cat", keyword.get("tensors", tensors))
    dim = keyword.get("axis", dim)
    if not parts:
        raise error(ValueError, "gradloom.cat(): expected a non-empty list of Tensors")
    shapes = [part._value.type.shape for part in parts]
    first = next((shape for shape in shapes if shape != (0,)), (0,))
    if () in shapes:
        raise error(
            RuntimeError,
            f"zero-dimensional tensor (at position {shapes.index(())}) cannot be concatenated",
            "gradloom.stack joins tensors along a new dimension",
        )
    at = dim if dim.__class__ is int and 0 <= dim < len(first) else normalize_dim(dim, len(first))
    for number, shape in enumerate(shapes):
        if shape is not first and shape != (0,):
            _check_part(first, shape, at, number)
    return wrap(Tensor, record(CAT, parts, _DIMS[at]))


def _check_part(first: tuple[int, ...], shape: tuple[int, ...], dim: int, number: int) -> None:
    if len(shape) != len(first):
        raise error(RuntimeError, f"Tensors must have same number of dimensions: got {len(first)} and {len(shape)}")
    for k, (want, have) in enumerate(zip(first, shape, strict=True)):
        if k != dim and want != have:
            raise error(
                RuntimeError,
                f"Sizes of tensors must match except in dimension {dim}. Expected size {want} but got size {have} for "
                f"tensor number {number} in the list.",
            )


@public("stack")
def stack(tensors: Any, dim: int = 0) -> Tensor:
    """Return tensors of one shape joined along a new dimension.

    Raises:
        RuntimeError: there is none, or their shapes differ.
    """
    parts = _parts("stack", tensors)
    if not parts:
        raise error(RuntimeError, "stack expects a non-empty TensorList")
    first = parts[0]._value.type.shape
    at = normalize_dim(dim, len(first) + 1)
    for number, part in enumerate(parts):
        shape = part._value.type.shape
        if shape != first:
            raise error(
                RuntimeError,
                f"stack expects each tensor to be equal size, but got {list(first)} at entry 0 and {list(shape)} at "
                f"entry {number}",
            )
    return wrap(Tensor, record(STACK, parts, _DIMS[at]))


# --- at least so many dimensions --------------------------------------------------------------------------------------


def _at_least_1d(x: Tensor) -> Tensor:
    return x if x._value.type.rank else reshaped(x, (1,))


def _at_least_2d(x: Tensor) -> Tensor:
    rank = x._value.type.rank
    return x if rank >= 2 else unsqueeze(x, 0) if rank else reshaped(x, (1, 1))


def _at_least_3d(x: Tensor) -> Tensor:
    rank = x._value.type.rank
    if rank >= 3:
        return x
    if rank == 2:
        return unsqueeze(x, -1)
    return unsqueeze(unsqueeze(x, 0), -1) if rank else reshaped(x, (1, 1, 1))


def _at_least(name: str, one: Any, rank: int) -> None:
    def function(*tensors: Any) -> Any:
        listed = tensors[0] if len(tensors) == 1 else tensors
        if isinstance(listed, (tuple, list)):
            return tuple([one(tensor_operand(x, name)) for x in listed])
        return one(tensor_operand(listed, name))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"Return a tensor, or each of several, with new dimensions so that it has at least {rank}."
    public(name)(function)


_at_least("atleast_1d", _at_least_1d, 1)
_at_least("atleast_2d", _at_least_2d, 2)
_at_least("atleast_3d", _at_least_3d, 3)


def _no_parts(name: str) -> Exception:
    return error(RuntimeError, f"{name} expects a non-empty TensorList")


@public("hstack")
def hstack(tensors: Any) -> Tensor:
    """Return tensors joined along the second dimension, vectors along the first."""
    parts = [_at_least_1d(x) for x in _parts("hstack", tensors)]
    if not parts:
        raise _no_parts("hstack")
    return cat(parts, 0 if parts[0]._value.type.rank == 1 else 1)


@public("vstack", "row_stack")
def vstack(tensors: Any) -> Tensor:
    """Return tensors joined along the first dimension, vectors as rows."""
    parts = [_at_least_2d(x) for x in _parts("vstack", tensors)]
    if not parts:
        raise _no_parts("vstack")
    return cat(parts, 0)


@public("dstack")
def dstack(tensors: Any) -> Tensor:
    """Return tensors joined along the third dimension."""
    parts = [_at_least_3d(x) for x in _parts("dstack", tensors)]
    if not parts:
        raise _no_parts("dstack")
    return cat(parts, 2)


@public("column_stack")
def column_stack(tensors: Any) -> Tensor:
    """Return tensors joined along the second dimension, vectors as columns."""
    parts = [
        reshaped(x, (x._value.type.size, 1)) if x._value.type.rank <= 1 else x for x in _parts("column_stack", tensors)
    ]
    if not parts:
        raise _no_parts("column_stack")
    return cat(parts, 1)


@public("block_diag")
def block_diag(*tensors: Tensor) -> Tensor:
    """Return matrices joined along a diagonal, with zeros elsewhere; vectors are rows.

    Raises:
        RuntimeError: a tensor has more than two dimensions.
    """
    for k, x in enumerate(_parts("block_diag", tensors)):
        if x._value.type.rank > 2:
            raise error(
                RuntimeError,
                "gradloom.block_diag: Input tensors must have 2 or fewer dimensions. Input "
                f"{k} has {x._value.type.rank} dimensions",
            )
    return operation(BLOCK_DIAG, tensors)


# --- grids ------------------------------------------------------------------------------------------------------------


@public("meshgrid")
def meshgrid(*tensors: Any, indexing: str | None = None) -> tuple[Tensor, ...]:
    """Return, for each vector, its elements spread over the grid that the vectors span.

    Args:
        indexing: "ij" (the default) or "xy": the first two dimensions of the grids exchanged.

    Raises:
        RuntimeError: `indexing` is another, or a tensor has more than one dimension.
    """
    parts = list(
        _parts("meshgrid", tensors[0] if len(tensors) == 1 and not isinstance(tensors[0], Variable) else tensors)
    )
    if indexing is None:
        warnings.warn(
            "gradloom.meshgrid: in an upcoming release, it will be required to pass the indexing argument.",
            UserWarning,
            stacklevel=2,
        )
        indexing = "ij"
    if indexing not in ("ij", "xy"):
        raise error(RuntimeError, f'gradloom.meshgrid: indexing must be one of "xy" or "ij", but received: {indexing}')
    for x in parts:
        if x._value.type.rank > 1:
            raise error(
                RuntimeError,
                f"gradloom.meshgrid: Expected 0D or 1D tensor in the tensor list but got: {x._value.type.rank}-D",
            )
    places = list(range(len(parts)))  # the dimension along which the elements of each stand
    if indexing == "xy" and len(parts) >= 2:
        places[:2] = [1, 0]
    shape = [1] * len(parts)
    for x, place in zip(parts, places, strict=True):
        shape[place] = x._value.type.size
    grids = []
    for x, place in zip(parts, places, strict=True):
        column = view(x, (*(1,) * place, shape[place], *(1,) * (len(parts) - place - 1)))
        grids.append(expanded(column, tuple(shape)))
    return tuple(grids)


@public("cartesian_prod")
def cartesian_prod(*tensors: Tensor) -> Tensor:
    """Return all combinations of the elements of vectors as rows."""
    parts = _parts("cartesian_prod", tensors)
    if len(parts) == 1:
        return parts[0]
    grids = meshgrid(*parts, indexing="ij")
    return stack([grid.flatten() for grid in grids], 1)


@method("combinations")
@public("combinations")
def combinations(input: Tensor, r: int = 2, with_replacement: bool = False) -> Tensor:
    """Return all choices of r elements of a vector as rows."""
    x = tensor_operand(input, "combinations")
    if x._value.type.rank != 1:
        raise error(RuntimeError, f"Expect a 1D vector, but got shape {list(x.shape)}")
    if r < 0:
        raise error(RuntimeError, f"Expect a non-negative number, but got {r}")
    chooses = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    count = x._value.type.size
    mask = np.zeros((count,) * r, bool)
    rows = np.array(list(chooses(range(count), r)), np.int64).reshape(-1, r)
    mask[tuple(rows.T)] = True
    grids = meshgrid(*[x] * r, indexing="ij")
    return stack([masked_select(grid, from_array(mask)) for grid in grids], 1) if r else x[:0]
