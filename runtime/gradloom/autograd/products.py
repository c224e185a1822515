"""Products beyond matmul: outer, inner, tensordot, einsum, kron, cross, trace, vecdot.

Where PyTorch makes a product of several operations, this module records the same ones, so that the graph has the same
nodes. The products that they are made of are in linalg.py; chains and powers of matrices are in matrices.py.
"""

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradloom.autograd.arithmetic import mul
from gradloom.autograd.dtypes import dtype_of
from gradloom.autograd.elementwise import bring_to, check_broadcast, common_element, tensor_operand
from gradloom.autograd.errors import error
from gradloom.autograd.graph import EagerOp
from gradloom.autograd.linalg import (
    DOT,
    MM,
    PERMUTE,
    UNSAFE_VIEW,
    VDOT,
    VIEW,
    shaped,
    sized,
)
from gradloom.autograd.tensor import Tensor, method, normalize_dim, operation, public
from gradloom.trace.promote import convert
from gradloom.trace.tracer import Tracer
from gradloomc.ir import types as ir_types

# --- outer, inner, tensordot ------------------------------------------------------------------------------------------


@method("outer", "ger")
@public("outer", "ger")
def outer(input: Tensor, vec2: Tensor) -> Tensor:
    """Return the matrix of the products of two vectors' elements.

    Raises:
        RuntimeError: one is no vector.
    """
    for name, each in (("self", input), ("vec2", vec2)):
        rank = tensor_operand(each, "outer", name)._value.type.rank
        if rank != 1:
            raise error(RuntimeError, f"outer: Expected 1-D argument {name}, but got {rank}-D")
    return mul(shaped(VIEW, input, (input.numel(), 1)), vec2)


@method("inner")
@public("inner")
def inner(input: Tensor, other: Tensor) -> Tensor:
    """Return the sums of products over the last dimensions; of a tensor without dimensions, the product.

    Raises:
        RuntimeError: the last extents differ.
    """
    a = tensor_operand(input, "inner")._value.type.shape
    b = tensor_operand(other, "inner", "other", 2)._value.type.shape
    if not a or not b:
        return mul(input, other)
    if a[-1] != b[-1]:
        raise error(
            RuntimeError,
            f"inner() the last dimension must match on both input tensors but got shapes {sized(a)} and {sized(b)}",
        )
    return tensordot(input, other, ([-1], [-1]))


@public("tensordot")
def tensordot(a: Tensor, b: Tensor, dims: Any = 2, out: None = None) -> Tensor:
    """Return the sums of products over several dimensions.

    Args:
        dims: how many last dimensions of `a` and first ones of `b` are summed over; or two lists of dimensions.

    Raises:
        RuntimeError: the extents differ, or there are not so many dimensions.
    """
    left = tensor_operand(a, "tensordot", "a")._value.type.shape
    right = tensor_operand(b, "tensordot", "b", 2)._value.type.shape
    over_a, over_b = _contracted(dims, len(left), len(right))
    for m, n in zip(over_a, over_b, strict=True):
        if left[m] != right[n]:
            raise error(
                RuntimeError,
                f"contracted dimensions need to match, but first has size {left[m]} in dim {m} and second has size "
                f"{right[n]} in dim {n}",
            )
    over_a = [normalize_dim(each, len(left)) for each in over_a]
    over_b = [normalize_dim(each, len(right)) for each in over_b]
    free_a = [k for k in range(len(left)) if k not in over_a]
    free_b = [k for k in range(len(right)) if k not in over_b]
    shape = tuple([left[k] for k in free_a] + [right[k] for k in free_b])
    count = math.prod(left[k] for k in over_a)
    first, second = _permuted(a, [*free_a, *over_a]), _permuted(b, [*over_b, *free_b])
    if not shape and over_a:
        if len(left) > 1:
            first, second = shaped(VIEW, first, (count,)), shaped(VIEW, second, (count,))
        return shaped(VIEW, operation(DOT, (first, second)), ())
    rows = shaped(VIEW, first, (math.prod(left[k] for k in free_a), count))
    columns = shaped(VIEW, second, (count, math.prod(right[k] for k in free_b)))
    return shaped(VIEW, operation(MM, (rows, columns)), shape)


def _contracted(dims: Any, a: int, b: int) -> tuple[list[int], list[int]]:
    if isinstance(dims, Tensor):
        dims = dims.tolist()
    if isinstance(dims, int):
        if dims < 0:
            raise error(RuntimeError, f"tensordot expects dims >= 0, but got dims={dims}")
        if dims > min(a, b):
            raise error(RuntimeError, f"tensordot expects dims < ndim_a or ndim_b, but got dims={dims}")
        return list(range(-dims, 0)), list(range(dims))
    first, second = [list(each) if isinstance(each, Sequence) else [each] for each in dims]
    if len(first) != len(second):
        raise error(RuntimeError, "both dimension lists should have same length")
    return first, second


def _permuted(x: Tensor, order: list[int]) -> Tensor:
    return operation(PERMUTE, (x,), (("order", tuple(order)),))


def vecdot(x: Tensor, y: Tensor, *, dim: int = -1) -> Tensor:
    """Return the sums of products along a dimension; the other dimensions broadcast."""
    x, y = tensor_operand(x, "linalg_vecdot", "x"), tensor_operand(y, "linalg_vecdot", "y", 2)
    if x._value.type.rank == 1 and y._value.type.rank == 1:
        return operation(VDOT, (x, y))
    return mul(x, y).sum(dim)


# --- einsum -----------------------------------------------------------------------------------------------------------


def _einsum_rule(*operands: Any, equation: str) -> Any:
    element = operands[0].value.type.element
    for each in operands:
        if each.value.type.element is not element:
            names = [dtype_of(x.value.type.element).c_name for x in (operands[0], each)]
            raise error(RuntimeError, f"expected m1 and m2 to have the same dtype, but got: {names[0]} != {names[1]}")
    return np.einsum(equation, *operands)


# One node stands for what PyTorch makes of permutations, products and sums: the last of these.
EINSUM = {name: EagerOp(f"{name}Backward0", _einsum_rule, costly=name == "View") for name in ("View", "Mul", "Permute")}
EINSUM["Sum"] = EagerOp("SumBackward1", _einsum_rule)


@public("einsum")
def einsum(equation: Any, *operands: Any) -> Tensor:
    """Return the sums of products that an equation describes: `einsum("ij,jk->ik", a, b)`.

    Also `einsum(a, [0, 1], b, [1, 2], [0, 2])`. An ellipsis stands for dimensions that broadcast.

    Raises:
        RuntimeError: the equation does not fit the operands.
    """
    if isinstance(equation, Tensor):
        equation, operands = _from_sublists((equation, *operands))
    elif len(operands) == 1 and isinstance(operands[0], (list, tuple)):
        operands = tuple(operands[0])
    for position, each in enumerate(operands):
        tensor_operand(each, "einsum", "operands", position + 2)
    equation = equation.replace(" ", "")
    inputs, output = _check_equation(equation, [each._value.type.shape for each in operands])
    summed = set("".join(inputs)) - set(output) - {"."}
    if len(operands) == 1:
        kind = "Sum" if summed else "Permute"
    else:
        kind = "View" if summed else "Mul"
    return operation(EINSUM[kind], operands, (("equation", equation),))


def _from_sublists(operands: tuple[Any, ...]) -> tuple[str, tuple[Any, ...]]:
    def letters(items: Sequence[Any]) -> str:
        for item in items:
            if item is not Ellipsis and not 0 <= item < 52:
                raise error(RuntimeError, f"einsum(): expected subscripts to be in range [0, 52), but got {item}")
        return "".join("..." if item is Ellipsis else chr(item + (65 if item < 26 else 71)) for item in items)

    count = len(operands) // 2 * 2
    equation = ",".join(letters(items) for items in operands[1:count:2])
    if len(operands) % 2:
        equation += "->" + letters(operands[-1])
    return equation, operands[:count:2]


def _check_equation(equation: str, shapes: list[tuple[int, ...]]) -> tuple[list[str], str]:
    """Return the subscripts of the operands and of the result.

    Raises:
        RuntimeError: in PyTorch's words, the equation does not fit.
    """
    left, arrow, output = equation.partition("->")
    wrong = re.search(r"[^a-zA-Z,.]", left)
    if wrong:
        raise error(
            RuntimeError,
            f"einsum(): invalid subscript given at index {wrong.start()} in the equation string, subscripts must be in "
            "[a-zA-Z]",
        )
    inputs = left.split(",")
    if len(inputs) != len(shapes):
        count = "fewer" if len(shapes) < len(inputs) else "more"
        raise error(RuntimeError, f"einsum(): {count} operands were provided than specified in the equation")
    sizes: dict[str, int] = {}
    for k, (subscripts, shape) in enumerate(zip(inputs, shapes, strict=True)):
        _check_operand(k, subscripts, shape, sizes)
    if not arrow:
        letters = left.replace(",", "").replace(".", "")
        output = ("..." if "..." in left else "") + "".join(sorted(x for x in set(letters) if letters.count(x) == 1))
    for letter in output.replace("...", ""):
        if letter not in sizes:
            raise error(
                RuntimeError,
                f"einsum(): output subscript {letter} does not appear in the equation for any input operand",
            )
        if output.count(letter) > 1:
            raise error(RuntimeError, f"einsum(): output subscript {letter} appears more than once in the output")
    return inputs, output


def _check_operand(k: int, subscripts: str, shape: tuple[int, ...], sizes: dict[str, int]) -> None:
    letters = subscripts.replace("...", "")
    if len(letters) > len(shape) or (len(letters) < len(shape) and "..." not in subscripts):
        raise error(
            RuntimeError,
            f"einsum(): the number of subscripts in the equation ({len(letters)}) "
            + (
                f"does not match the number of dimensions ({len(shape)}) for operand {k} and no ellipsis was given"
                if "..." not in subscripts
                else f"is more than the number of dimensions ({len(shape)}) for operand {k}"
            ),
        )
    head = subscripts.partition("...")[0]
    extents = shape[: len(head)] + shape[len(shape) - (len(letters) - len(head)) :]
    for letter, extent in zip(letters, extents, strict=True):
        if sizes.get(letter, 1) not in (1, extent) and extent != 1:
            raise error(
                RuntimeError,
                f"einsum(): subscript {letter} has size {extent} for operand {k} which does not broadcast with "
                f"previously seen size {sizes[letter]}",
            )
        sizes[letter] = max(extent, sizes.get(letter, 1))


# --- kron, cross, trace -----------------------------------------------------------------------------------------------


@method("kron")
@public("kron")
def kron(input: Tensor, other: Tensor) -> Tensor:
    """Return the Kronecker product: each element of `input` times all of `other`, in blocks."""
    a, b = tensor_operand(input, "kron").shape, tensor_operand(other, "kron", "other", 2).shape
    rank = max(len(a), len(b))
    left, right = (1,) * (rank - len(a)) + tuple(a), (1,) * (rank - len(b)) + tuple(b)
    spread_left = tuple([each for extent in left for each in (extent, 1)])
    spread_right = tuple([each for extent in right for each in (1, extent)])
    product = mul(shaped(UNSAFE_VIEW, input, spread_left), shaped(UNSAFE_VIEW, other, spread_right))
    return shaped(UNSAFE_VIEW, product, tuple([m * n for m, n in zip(left, right, strict=True)]))


def _cross_rule(x: Any, y: Any, dim: int) -> Any:
    check_broadcast((x, y))
    element = common_element((x, y))
    return np.cross(bring_to(x, element), bring_to(y, element), axis=dim)


CROSS = EagerOp("LinalgCrossBackward0", _cross_rule)


def linalg_cross(input: Tensor, other: Tensor, *, dim: int = -1) -> Tensor:
    """Return the cross products of vectors of three elements along a dimension; the other dimensions broadcast.

    Raises:
        RuntimeError: the extents are not 3, or the numbers of dimensions differ.
    """
    a, b = tensor_operand(input, "linalg_cross").shape, tensor_operand(other, "linalg_cross", "other", 2).shape
    if len(a) != len(b):
        raise error(RuntimeError, "linalg.cross: inputs must have the same number of dimensions.")
    axis = normalize_dim(dim, len(a))
    if a[axis] != 3 or b[axis] != 3:
        raise error(
            RuntimeError,
            f"linalg.cross: inputs dimension {dim} must have length 3. Got {a[axis]} and {b[axis]}",
        )
    return operation(CROSS, (input, other), (("dim", axis),))


@method("cross")
@public("cross")
def cross(input: Tensor, other: Tensor, dim: int | None = None) -> Tensor:
    """Return the cross products along a dimension, by default the first one of extent 3; see `linalg.cross`."""
    if dim is None:
        shape = tensor_operand(input, "cross").shape
        if 3 not in shape:
            raise error(RuntimeError, "no dimension of size 3 in input")
        dim = shape.index(3)
    return linalg_cross(input, other, dim=dim)


def _trace_rule(x: Any) -> Any:
    if x.ndim != 2:
        raise error(RuntimeError, f"trace: expected a matrix, but got tensor with dim {x.ndim}")
    element = x.value.type.element
    return np.trace(x if element.kind == "f" else Tracer(convert(x.value, ir_types.i64)), dtype=None)


TRACE = EagerOp("TraceBackward0", _trace_rule)


@method("trace")
@public("trace")
def trace(input: Tensor) -> Tensor:
    """Return the sum of the diagonal of a matrix; of integers as int64."""
    return operation(TRACE, (tensor_operand(input, "trace"),))
