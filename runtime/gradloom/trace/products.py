"""NumPy's products on tracers: everything that contracts axes becomes `nd.dot`, with einsum as the general case."""

import itertools
from typing import Any

import numpy as np

from gradloom.trace.calling import apply
from gradloom.trace.context import fail
from gradloom.trace.memory import lift
from gradloom.trace.promote import (
    as_float,
    broadcast_shapes,
    common_element,
    convert,
    normalize_axis,
    show,
    stretch,
)
from gradloom.trace.reductions import deliver, finish
from gradloom.trace.tracer import Tracer, implements
from gradloomc.dialects import nd
from gradloomc.ir import types as ir_types
from gradloomc.ir.core import Value
from gradloomc.ir.errors import ShapeError, UnsupportedError

Ints = tuple[int, ...]


def operands_of(*arrays: Any) -> list[Value]:
    """Return values of the one dtype in which NumPy multiplies them (matmul and dot do not widen integers)."""
    values = [lift(array) for array in arrays]
    element = common_element([value.type.element for value in values])
    return [convert(value, element) for value in values]


def contract(x: Value, y: Value, x_contract: Ints, y_contract: Ints, x_batch: Ints = (), y_batch: Ints = ()) -> Value:
    """Return the sum of products over axes; of booleans, whether any product is true."""
    axes = {"x_contract": x_contract, "y_contract": y_contract, "x_batch": x_batch, "y_batch": y_batch}
    if x.type.element.kind != "b":
        return nd.dot(x, y, **axes)
    count = nd.dot(convert(x, ir_types.i32), convert(y, ir_types.i32), **axes)
    return convert(count, ir_types.i1)


@implements(np.matmul)
def matmul(x1: Any, x2: Any, /, out: Any = None, **options: Any) -> Any:
    """As numpy.matmul."""
    refuse_options(options, "matmul")
    x, y = operands_of(x1, x2)
    for position, operand in enumerate((x, y)):
        if not operand.type.rank:
            fail(
                ShapeError,
                f"matmul: Input operand {position} does not have enough dimensions (has 0, gufunc core with signature "
                "(n?,k),(k,m?)->(n?,m?) requires 1)",
                "use * to multiply by a number",
            )
    x_inner, y_inner = x.type.rank - 1, max(y.type.rank - 2, 0)
    if x.type.shape[x_inner] != y.type.shape[y_inner]:
        fail(
            ShapeError,
            "matmul: Input operand 1 has a mismatch in its core dimension 0, with gufunc signature "
            f"(n?,k),(k,m?)->(n?,m?) (size {y.type.shape[y_inner]} is different from {x.type.shape[x_inner]}); "
            f"the shapes are {x.type.shape} and {y.type.shape}",
        )
    if x.type.rank <= 2 and y.type.rank <= 2:
        return finish(contract(x, y, (x_inner,), (y_inner,)), out)
    return finish(_stacked_matmul(x, y), out)


def _stacked_matmul(x: Value, y: Value) -> Value:
    rows, columns = x.type.rank > 1, y.type.rank > 1
    if not rows:
        x = nd.reshape(x, shape=(1, *x.type.shape))
    if not columns:
        y = nd.reshape(y, shape=(*y.type.shape, 1))
    if y.type.rank == 2:  # one matrix for the whole stack: a single large product
        result = contract(x, y, (x.type.rank - 1,), (0,))
    else:
        batch = broadcast_shapes([x.type.shape[:-2], y.type.shape[:-2]])
        x = stretch(x, batch + x.type.shape[-2:])
        y = stretch(y, batch + y.type.shape[-2:])
        stack = tuple(range(len(batch)))
        result = contract(x, y, (len(batch) + 1,), (len(batch),), stack, stack)
    shape = result.type.shape
    kept = (*shape[:-2], *shape[-2:][: 1 if rows else 0], *shape[-1:][: 1 if columns else 0])
    return nd.reshape(result, shape=kept)


def refuse_options(options: dict[str, Any], name: str) -> None:
    """Raise for keyword arguments that change the result."""
    for option, value in options.items():
        if option not in ("casting", "order", "subok") and value is not None:
            fail(UnsupportedError, f"gradloom does not support {option}= of np.{name}")


@implements(np.dot)
def dot(a: Any, b: Any, out: Any = None) -> Any:
    """As numpy.dot."""
    x, y = operands_of(a, b)
    if not x.type.rank or not y.type.rank:
        return deliver(apply(np.multiply, (Tracer(x), Tracer(y))), out)
    x_axis, y_axis = x.type.rank - 1, max(y.type.rank - 2, 0)
    if x.type.shape[x_axis] != y.type.shape[y_axis]:
        fail(
            ShapeError,
            f"shapes {show(x.type.shape)} and {show(y.type.shape)} not aligned: {x.type.shape[x_axis]} (dim {x_axis}) "
            f"!= {y.type.shape[y_axis]} (dim {y_axis})",
        )
    return finish(contract(x, y, (x_axis,), (y_axis,)), out)


@implements(np.inner)
def inner(a: Any, b: Any, /) -> Any:
    """As numpy.inner."""
    x, y = operands_of(a, b)
    if not x.type.rank or not y.type.rank:
        return apply(np.multiply, (Tracer(x), Tracer(y)))
    if x.type.shape[-1] != y.type.shape[-1]:
        last = x.type.rank - 1, y.type.rank - 1
        fail(
            ShapeError,
            f"shapes {show(x.type.shape)} and {show(y.type.shape)} not aligned: {x.type.shape[-1]} (dim {last[0]}) != "
            f"{y.type.shape[-1]} (dim {last[1]})",
        )
    return Tracer(contract(x, y, (x.type.rank - 1,), (y.type.rank - 1,)))


@implements(np.vdot)
def vdot(a: Any, b: Any, /) -> Any:
    """As numpy.vdot (of real numbers)."""
    x, y = operands_of(a, b)
    if x.type.size != y.type.size:
        fail(ShapeError, f"cannot reshape array of size {y.type.size} into shape {show((x.type.size,))}")
    flat = (x.type.size,)
    return Tracer(contract(nd.reshape(x, shape=flat), nd.reshape(y, shape=flat), (0,), (0,)))


@implements(np.outer)
def outer(a: Any, b: Any, out: Any = None) -> Any:
    """As numpy.outer."""
    x, y = operands_of(a, b)
    column, row = nd.reshape(x, shape=(x.type.size, 1)), nd.reshape(y, shape=(1, y.type.size))
    return deliver(apply(np.multiply, (Tracer(column), Tracer(row))), out)


@implements(np.linalg.outer)
def linalg_outer(x1: Any, x2: Any, /) -> Any:
    """As numpy.linalg.outer."""
    return outer(x1, x2)


@implements(np.tensordot)
def tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    """As numpy.tensordot."""
    x, y = operands_of(a, b)
    if isinstance(axes, (int, np.integer)):
        count = int(axes)
        x_axes: Any = range(x.type.rank - count, x.type.rank)
        y_axes: Any = range(count)
        if count > min(x.type.rank, y.type.rank):
            fail(ShapeError, "shape-mismatch for sum")
    else:
        x_axes, y_axes = [list(each) if isinstance(each, (tuple, list, range)) else [each] for each in axes]
    left = tuple(normalize_axis(axis, x.type.rank) for axis in x_axes)
    right = tuple(normalize_axis(axis, y.type.rank) for axis in y_axes)
    if [x.type.shape[k] for k in left] != [y.type.shape[k] for k in right]:
        fail(
            ShapeError,
            f"shape-mismatch for sum: axes {list(left)} of shape {show(x.type.shape)} and axes {list(right)} of shape "
            f"{show(y.type.shape)}",
        )
    return Tracer(contract(x, y, left, right))


@implements(np.vecdot, np.linalg.vecdot)
def vecdot(x1: Any, x2: Any, /, *, axis: int = -1, out: Any = None, **options: Any) -> Any:
    """As numpy.vecdot (of real numbers)."""
    refuse_options(options, "vecdot")
    x, y = operands_of(x1, x2)
    x, y = _axis_to_end(x, axis), _axis_to_end(y, axis)
    if x.type.shape[-1] != y.type.shape[-1]:
        fail(ShapeError, f"vecdot: sizes {x.type.shape[-1]} and {y.type.shape[-1]} of the contracted axes differ")
    return finish(_batched(x, y, 1, 1), out)


def _axis_to_end(x: Value, axis: int) -> Value:
    axis = normalize_axis(axis, x.type.rank)
    order = (*[k for k in range(x.type.rank) if k != axis], axis)
    return nd.transpose(x, permutation=order)


def _batched(x: Value, y: Value, x_core: int, y_core: int) -> Value:
    """Contract the last axis of x with the first of the last `y_core` axes of y, over broadcast leading axes."""
    batch = broadcast_shapes([x.type.shape[: x.type.rank - x_core], y.type.shape[: y.type.rank - y_core]])
    x = stretch(x, batch + x.type.shape[x.type.rank - x_core :])
    y = stretch(y, batch + y.type.shape[y.type.rank - y_core :])
    stack = tuple(range(len(batch)))
    return contract(x, y, (x.type.rank - 1,), (len(batch),), stack, stack)


if hasattr(np, "matvec"):  # NumPy 2.2 and later

    @implements(np.matvec)
    def matvec(x1: Any, x2: Any, /, *, out: Any = None, **options: Any) -> Any:
        """As numpy.matvec."""
        refuse_options(options, "matvec")
        x, y = operands_of(x1, x2)
        return finish(_batched(x, y, 2, 1), out)

    @implements(np.vecmat)
    def vecmat(x1: Any, x2: Any, /, *, out: Any = None, **options: Any) -> Any:
        """As numpy.vecmat (of real numbers)."""
        refuse_options(options, "vecmat")
        x, y = operands_of(x1, x2)
        return finish(_batched(x, y, 1, 2), out)


@implements(np.kron)
def kron(a: Any, b: Any) -> Any:
    """As numpy.kron."""
    x, y = operands_of(a, b)
    rank = max(x.type.rank, y.type.rank)
    x_shape = (1,) * (rank - x.type.rank) + x.type.shape
    y_shape = (1,) * (rank - y.type.rank) + y.type.shape
    spread_x = tuple(itertools.chain.from_iterable((extent, 1) for extent in x_shape))
    spread_y = tuple(itertools.chain.from_iterable((1, extent) for extent in y_shape))
    product = apply(np.multiply, (Tracer(nd.reshape(x, shape=spread_x)), Tracer(nd.reshape(y, shape=spread_y))))
    shape = tuple(p * q for p, q in zip(x_shape, y_shape, strict=True))
    return Tracer(nd.reshape(product.value, shape=shape))


@implements(np.cross, np.linalg.cross)
def cross(a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None) -> Any:
    """As numpy.cross for vectors of three elements."""
    if axis is not None:
        axisa = axisb = axisc = axis
    x, y = operands_of(a, b)
    x, y = _axis_to_end(x, axisa), _axis_to_end(y, axisb)
    if x.type.shape[-1] != 3 or y.type.shape[-1] != 3:
        fail(ShapeError, "Both input arrays must be (arrays of) 3-dimensional vectors")
    shape = broadcast_shapes([x.type.shape, y.type.shape])
    x, y = stretch(x, shape), stretch(y, shape)

    def turned(v: Value, by: int) -> Value:
        first, second = _part(v, 0, by), _part(v, by, 3)
        return nd.concatenate(second, first, axis=v.type.rank - 1)

    product = nd.sub(nd.mul(turned(x, 1), turned(y, 2)), nd.mul(turned(x, 2), turned(y, 1)))
    target = normalize_axis(axisc, len(shape))
    order = list(range(len(shape) - 1))
    order.insert(target, len(shape) - 1)
    return Tracer(nd.transpose(product, permutation=tuple(order)))


def _part(v: Value, start: int, limit: int) -> Value:
    """Return elements start..limit of the last axis."""
    lead = v.type.shape[:-1]
    return nd.slice_(v, start=(0,) * len(lead) + (start,), limit=(*lead, limit), stride=(1,) * v.type.rank)


@implements(np.convolve)
def convolve(a: Any, v: Any, mode: str = "full") -> Any:
    """As numpy.convolve: shifted copies of the longer array, weighted by the elements of the shorter one."""
    x, y = operands_of(a, v)
    x, y = [nd.reshape(each, shape=(each.type.size,)) for each in (x, y)]
    if y.type.size > x.type.size:
        x, y = y, x
    n, m = x.type.size, y.type.size
    if not m:
        fail(ShapeError, "a cannot be empty" if not n else "v cannot be empty")
    # row k of `shifted` is x moved by k; the sum over rows weighted by y is the full convolution
    rows = nd.broadcast(x, shape=(m, n), dims=(1,))
    sheared = nd.pad(rows, low=(0, 0), high=(0, m), interior=(0, 0))  # rows of n + m, read again in rows of n + m - 1
    flat = nd.reshape(sheared, shape=(m * (n + m),))
    length = n + m - 1
    flat = nd.slice_(flat, start=(0,), limit=(m * length,), stride=(1,))
    shifted = nd.reshape(flat, shape=(m, length))
    full = contract(y, shifted, (0,), (0,))
    start, size = {"full": (0, length), "same": ((m - 1) // 2, n), "valid": (m - 1, n - m + 1)}.get(mode, (0, -1))
    if size < 0:
        fail(ShapeError, f"mode must be one of 'valid', 'same', or 'full' (got {mode!r})")
    return Tracer(nd.slice_(full, start=(start,), limit=(start + size,), stride=(1,)))


@implements(np.correlate)
def correlate(a: Any, v: Any, mode: str = "valid") -> Any:
    """As numpy.correlate (of real numbers)."""
    x, y = operands_of(a, v)
    if y.type.size > x.type.size:
        swapped = convolve(Tracer(y), Tracer(nd.reverse(x, axes=(0,))), mode)
        return Tracer(nd.reverse(swapped.value, axes=(0,)))
    return convolve(Tracer(x), Tracer(nd.reverse(y, axes=(0,))), mode)


@implements(np.linalg.solve)
def solve(a: Any, b: Any) -> Tracer:
    """Return the solution of linear systems; of stacks of them, stacked."""
    return Tracer(_solve(*_floats(a, b), vector=getattr(b, "ndim", np.ndim(b)) == 1))


@implements(np.linalg.inv)
def inv(a: Any) -> Tracer:
    """Return the inverses of matrices."""
    (value,) = _floats(a)
    return Tracer(_solve(value, lift(np.eye(value.type.shape[-1], dtype=value.type.element.dtype)), vector=False))


def _floats(*arrays: Any) -> list[Value]:
    """Return values of the one float dtype in which NumPy solves."""
    values = operands_of(*arrays)
    element = as_float(values[0].type.element)
    if values[0].type.rank < 2 or values[0].type.shape[-1] != values[0].type.shape[-2]:
        fail(ShapeError, "Last 2 dimensions of the array must be square", "solve and inv take (stacks of) matrices")
    return [convert(value, element) for value in values]


def _solve(a: Value, b: Value, vector: bool) -> Value:
    if vector:
        b = nd.reshape(b, shape=(*b.type.shape, 1))
    if b.type.rank < 2 or b.type.shape[-2] != a.type.shape[-1]:
        shapes = f"{show(a.type.shape)} and {show(b.type.shape)}"
        fail(ShapeError, f"solve: matrices and right-hand sides of shapes {shapes} do not fit")
    batch = broadcast_shapes([a.type.shape[:-2], b.type.shape[:-2]])
    x = nd.solve(stretch(a, batch + a.type.shape[-2:]), stretch(b, batch + b.type.shape[-2:]))
    return nd.reshape(x, shape=x.type.shape[:-1]) if vector else x
