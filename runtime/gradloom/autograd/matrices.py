"""Chains and powers of matrices, inverses and linear systems: multi_dot, matrix_power, inv, solve.

The products that they are made of are in linalg.py. Solutions are computed at once, so that a singular matrix is
reported where the user calls.
"""

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradloom.autograd.dtypes import dtype_of
from gradloom.autograd.elementwise import tensor_operand
from gradloom.autograd.errors import error
from gradloom.autograd.graph import EagerOp
from gradloom.autograd.linalg import CLONE, MM, UNSQUEEZE, VIEW, common_batch, matmul, shaped, sized
from gradloom.autograd.tensor import Tensor, method, operation, public
from gradloom.trace.promote import convert, stretch
from gradloomc.dialects import nd
from gradloomc.ir import types as ir_types
from gradloomc.ir.core import Value

# --- chains and powers ------------------------------------------------------------------------------------------------


def multi_dot(tensors: Sequence[Tensor]) -> Tensor:
    """Return the product of matrices, multiplied in the order that takes the fewest operations.

    The first may be a row vector and the last a column vector; those dimensions are not in the result.

    Raises:
        RuntimeError: there are less than two, or the extents do not fit.
    """
    count = len(tensors)
    if count < 2:
        raise error(RuntimeError, f"multi_dot(): expected at least 2 tensors but got {count}")
    parts, out = list(tensors), []
    if parts[0]._value.type.rank == 1:
        parts[0] = shaped(UNSQUEEZE, parts[0], (1, parts[0].numel()))
    else:
        out.append(parts[0].shape[0])
    if parts[-1]._value.type.rank == 1:
        parts[-1] = shaped(UNSQUEEZE, parts[-1], (parts[-1].numel(), 1))
    else:
        out.append(parts[-1].shape[-1])
    for k, each in enumerate(parts):
        if each._value.type.rank != 2:
            raise error(RuntimeError, f"multi_dot(): tensor {k} must be 2D but got {each._value.type.rank}D")
    for k in range(count - 1):
        if parts[k].shape[1] != parts[k + 1].shape[0]:
            shapes = f"{sized(tensors[k].shape)} and {sized(tensors[k + 1].shape)}"
            raise error(RuntimeError, f"multi_dot(): tensors {k} and {k + 1} with shapes {shapes} cannot be multiplied")
    product = _multiply(parts, _splits([parts[0].shape[0], *[each.shape[1] for each in parts]]), 0, count - 1)
    return shaped(VIEW, product, tuple(out))


def _splits(extents: list[int]) -> dict[tuple[int, int], int]:
    """Return where each part of a chain is split best (Cormen et al., Introduction to Algorithms, chapter 15.2)."""
    count = len(extents) - 1
    if count == 3:  # at a tie PyTorch takes the first two together; of longer chains, the first alone
        a, b, c, d = extents
        first, last = a * b * c + a * c * d, b * c * d + a * b * d
        return {(0, 2): 0, (1, 2): 1} if first > last else {(0, 2): 1, (0, 1): 0}
    cost = {(k, k): 0 for k in range(count)}
    best: dict[tuple[int, int], int] = {}
    for length in range(1, count):
        for i in range(count - length):
            j = i + length
            choices = [
                (cost[i, k] + cost[k + 1, j] + extents[i] * extents[k + 1] * extents[j + 1], k) for k in range(i, j)
            ]
            cost[i, j], best[i, j] = min(choices)
    return best


def _multiply(parts: list[Tensor], splits: dict[tuple[int, int], int], i: int, j: int) -> Tensor:
    if i == j:
        return parts[i]
    k = splits[i, j]
    return operation(MM, (_multiply(parts, splits, i, k), _multiply(parts, splits, k + 1, j)))


@public("chain_matmul")
def chain_matmul(*matrices: Tensor) -> Tensor:
    """Return the product of matrices; see `linalg.multi_dot`."""
    return multi_dot(matrices)


def _check_square(x: Tensor, function: str) -> None:
    element, shape = x._value.type.element, x._value.type.shape
    if len(shape) < 2:
        raise error(RuntimeError, f"{function}: The input tensor A must have at least 2 dimensions.")
    if shape[-1] != shape[-2]:
        raise error(
            RuntimeError,
            f"{function}: A must be batches of square matrices, but they are {shape[-2]} by {shape[-1]} matrices",
        )
    if element.kind != "f" and function != "linalg.matrix_power":
        name = dtype_of(element).type_name
        raise error(RuntimeError, f"{function}: Expected a floating point or complex tensor as input. Got {name}")


@method("matrix_power")
@public("matrix_power")
def matrix_power(input: Tensor, n: int) -> Tensor:
    """Return square matrices multiplied `n` times with themselves; for n below 0, their inverses.

    Raises:
        RuntimeError: the matrices are not square.
        LinAlgError: one is singular, and n is below 0.
    """
    _check_square(tensor_operand(input, "linalg_matrix_power"), "linalg.matrix_power")
    try:
        n = operator.index(n)
    except TypeError:
        kind = type(n).__name__
        raise TypeError(f"linalg_matrix_power(): argument 'n' (position 2) must be int, not {kind}") from None
    if n == 0:
        return operation(IDENTITY, (input,))
    if n == 1:
        return operation(CLONE, (input,))
    if n < 0:
        input, n = inv(input), -n
    if n == 3:
        return matmul(matmul(input, input), input)
    result, square = None, input
    while True:
        if n % 2:
            result = square if result is None else matmul(result, square)
        n //= 2
        if not n:
            return result  # type: ignore[return-value]
        square = matmul(square, square)


def _identity(x: Value) -> Value:
    shape = x.type.shape
    rows, columns = (nd.iota(shape=shape, axis=len(shape) - k, type=ir_types.i64) for k in (2, 1))
    return convert(nd.eq(rows, columns), x.type.element)


IDENTITY = EagerOp("CopyBackwards", lambda x: _identity(x.value), differentiable=True)

# --- systems ----------------------------------------------------------------------------------------------------------


class LinAlgError(RuntimeError):
    """A matrix is singular."""


def _solve_rule(a: Any, b: Any, left: bool, vector: bool) -> Value:
    """Stacks of systems broadcast; a vector is solved for as a column."""
    x, y = a.value, b.value
    if vector:
        y = nd.reshape(y, shape=(*y.type.shape, 1))
    elif not left:
        y = _turned(y)
    if not left:
        x = _turned(x)
    batch = common_batch(x.type.shape[:-2], y.type.shape[:-2])
    found = nd.solve(stretch(x, batch + x.type.shape[-2:]), stretch(y, batch + y.type.shape[-2:]))
    if vector:
        return nd.reshape(found, shape=found.type.shape[:-1])
    return found if left else _turned(found)


def _turned(x: Value) -> Value:
    rank = x.type.rank
    return nd.transpose(x, permutation=(*range(rank - 2), rank - 1, rank - 2))


SOLVE = EagerOp("LinalgSolveExBackward0", _solve_rule, costly=True)
INV = EagerOp("LinalgInvExBackward0", lambda a: nd.solve(a.value, _identity(a.value)), costly=True)


def _checked(x: Tensor, text: str) -> Tensor:
    """Compute a solution now, so that a singular matrix is reported where the user calls."""
    try:
        x._array()
    except np.linalg.LinAlgError:
        raise error(LinAlgError, text) from None
    return x


@method("inverse")
@public("inverse")
def inv(A: Tensor) -> Tensor:
    """Return the inverses of square matrices (..., n, n).

    Raises:
        RuntimeError: the matrices are not square, or not of floats.
        LinAlgError: one is singular.
    """
    _check_square(tensor_operand(A, "linalg_inv", "A"), "linalg.inv")
    return _checked(
        operation(INV, (A,)), "linalg.inv: The inversion could not be completed because the input matrix is singular."
    )


def solve(A: Tensor, B: Tensor, *, left: bool = True) -> Tensor:
    """Return the solutions X of `A @ X = B`, or of `X @ A = B` if not `left`.

    Args:
        A: square matrices (..., n, n).
        B: (..., n, k); or vectors, of the shape of A without its last dimension, or (n).

    Raises:
        RuntimeError: the matrices are not square, or the dtypes or shapes do not fit.
        LinAlgError: a matrix is singular.
    """
    _check_square(tensor_operand(A, "linalg_solve", "A"), "linalg.solve")
    a, b = A._value.type, tensor_operand(B, "linalg_solve", "B", 2)._value.type
    if a.element is not b.element:
        names = [dtype_of(each.element).type_name for each in (a, b)]
        raise error(
            RuntimeError,
            f"linalg.solve: Expected A and B to have the same dtype, but found A of type {names[0]} and B of type "
            f"{names[1]} instead",
        )
    vector = b.rank == 1 or (b.rank == a.rank - 1 and b.shape == a.shape[:-1])
    have, n = (*b.shape, 1) if vector else b.shape, a.shape[-1]
    if have[-2 if left or vector else -1] != n:
        raise error(
            RuntimeError,
            f"linalg.solve: Incompatible shapes of A and B for the equation {'AX = B' if left else 'XA = B'} "
            f"({n}x{n} and {have[-2]}x{have[-1]})",
        )
    text = "linalg.solve: The solver failed because the input matrix is singular."
    return _checked(operation(SOLVE, (A, B), (("left", bool(left)), ("vector", vector))), text)
