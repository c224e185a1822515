"""NumPy's products on tracers: everything that contracts axes becomes `nd.dot`, with einsum as the general case."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradloom.trace.calling import apply
from gradloom.trace.context import fail
from gradloom.trace.memory import lift
from gradloom.trace.promote import (
    accumulator,
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
from gradloomc.ir.types import tensor

Ints = tuple[int, ...]


def _operands(*arrays: Any) -> list[Value]:
    """Return values of the one dtype in which NumPy multiplies them (matmul and dot give no extra width to integers)."""
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
    _plain(options, "matmul")
    x, y = _operands(x1, x2)
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


def _plain(options: dict[str, Any], name: str) -> None:
    for option, value in options.items():
        if option not in ("casting", "order", "subok") and value is not None:
            fail(UnsupportedError, f"gradloom does not support {option}= of np.{name}")


@implements(np.dot)
def dot(a: Any, b: Any, out: Any = None) -> Any:
    """As numpy.dot."""
    x, y = _operands(a, b)
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
    x, y = _operands(a, b)
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
    x, y = _operands(a, b)
    if x.type.size != y.type.size:
        fail(ShapeError, f"cannot reshape array of size {y.type.size} into shape {show((x.type.size,))}")
    flat = (x.type.size,)
    return Tracer(contract(nd.reshape(x, shape=flat), nd.reshape(y, shape=flat), (0,), (0,)))


@implements(np.outer)
def outer(a: Any, b: Any, out: Any = None) -> Any:
    """As numpy.outer."""
    x, y = _operands(a, b)
    column, row = nd.reshape(x, shape=(x.type.size, 1)), nd.reshape(y, shape=(1, y.type.size))
    return deliver(apply(np.multiply, (Tracer(column), Tracer(row))), out)


@implements(np.linalg.outer)
def linalg_outer(x1: Any, x2: Any, /) -> Any:
    """As numpy.linalg.outer."""
    return outer(x1, x2)


@implements(np.tensordot)
def tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    """As numpy.tensordot."""
    x, y = _operands(a, b)
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
    _plain(options, "vecdot")
    x, y = _operands(x1, x2)
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
        _plain(options, "matvec")
        x, y = _operands(x1, x2)
        return finish(_batched(x, y, 2, 1), out)

    @implements(np.vecmat)
    def vecmat(x1: Any, x2: Any, /, *, out: Any = None, **options: Any) -> Any:
        """As numpy.vecmat (of real numbers)."""
        _plain(options, "vecmat")
        x, y = _operands(x1, x2)
        return finish(_batched(x, y, 1, 2), out)


@implements(np.kron)
def kron(a: Any, b: Any) -> Any:
    """As numpy.kron."""
    x, y = _operands(a, b)
    rank = max(x.type.rank, y.type.rank)
    x_shape = (1,) * (rank - x.type.rank) + x.type.shape
    y_shape = (1,) * (rank - y.type.rank) + y.type.shape
    spread_x = tuple(itertools.chain.from_iterable((extent, 1) for extent in x_shape))
    spread_y = tuple(itertools.chain.from_iterable((1, extent) for extent in y_shape))
    product = apply(
        np.multiply, (Tracer(nd.reshape(x, shape=spread_x)), Tracer(nd.reshape(y, shape=spread_y)))
    )
    shape = tuple(p * q for p, q in zip(x_shape, y_shape, strict=True))
    return Tracer(nd.reshape(product.value, shape=shape))


@implements(np.cross, np.linalg.cross)
def cross(a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None) -> Any:
    """As numpy.cross for vectors of three elements."""
    if axis is not None:
        axisa = axisb = axisc = axis
    x, y = _operands(a, b)
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
    x, y = _operands(a, v)
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
    x, y = _operands(a, v)
    if y.type.size > x.type.size:
        swapped = convolve(Tracer(y), Tracer(nd.reverse(x, axes=(0,))), mode)
        return Tracer(nd.reverse(swapped.value, axes=(0,)))
    return convolve(Tracer(x), Tracer(nd.reverse(y, axes=(0,))), mode)


# --- diagonals -----------------------------------------------------------------------------------------------------------------


def diagonal_of(x: Value, offset: int, axis1: int, axis2: int) -> Value:
    """Return the diagonal of two axes as a last axis: every (columns + 1)-th element of the flattened matrix."""
    rank = x.type.rank
    order = (*[k for k in range(rank) if k not in (axis1, axis2)], axis1, axis2)
    x = nd.transpose(x, permutation=order)
    *lead, rows, columns = x.type.shape
    start = offset if offset >= 0 else -offset * columns
    count = max(0, min(rows, columns - offset) if offset >= 0 else min(rows + offset, columns))
    flat = nd.reshape(x, shape=(*lead, rows * columns))
    step = columns + 1
    low = start if count else 0
    limit = low + (count - 1) * step + 1 if count else low
    return nd.slice_(
        flat,
        start=(0,) * len(lead) + (low,),
        limit=(*lead, limit),
        stride=(1,) * len(lead) + (step if count > 1 else 1,),
    )


def _diagonal(a: Any, offset: int, axis1: int, axis2: int) -> Value:
    x = lift(a)
    if x.type.rank < 2:
        fail(ShapeError, "diag requires an array of at least two dimensions")
    axis1, axis2 = normalize_axis(axis1, x.type.rank), normalize_axis(axis2, x.type.rank)
    if axis1 == axis2:
        fail(ShapeError, "axis1 and axis2 cannot be the same")
    return diagonal_of(x, offset, axis1, axis2)


@implements(np.linalg.diagonal)
def linalg_diagonal(x: Any, /, *, offset: int = 0) -> Any:
    """As numpy.linalg.diagonal."""
    return Tracer(_diagonal(x, offset, -2, -1))


@implements(np.trace)
def trace(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None, out: Any = None) -> Any:
    """As numpy.trace."""
    line = _diagonal(a, offset, axis1, axis2)
    element = accumulator(line.type.element) if dtype is None else lift(np.zeros((), dtype)).type.element
    return finish(nd.reduce_sum(convert(line, element), axes=(line.type.rank - 1,)), out)


@implements(np.linalg.trace)
def linalg_trace(x: Any, /, *, offset: int = 0, dtype: Any = None) -> Any:
    """As numpy.linalg.trace."""
    return trace(x, offset, -2, -1, dtype)


@implements(np.diag)
def diag(v: Any, k: int = 0) -> Any:
    """As numpy.diag."""
    x = lift(v)
    if x.type.rank == 2:
        return Tracer(diagonal_of(x, k, 0, 1))
    if x.type.rank != 1:
        fail(ShapeError, "Input must be 1- or 2-d.")
    return diagflat(v, k)


@implements(np.diagflat)
def diagflat(v: Any, k: int = 0) -> Any:
    """As numpy.diagflat: the elements with n zeros between each, read in rows of n."""
    x = lift(v)
    count = x.type.size
    n = count + abs(k)
    start = k if k >= 0 else -k * n
    x = nd.reshape(x, shape=(count,))
    covered = count + max(count - 1, 0) * n
    flat = nd.pad(x, low=(start,), high=(n * n - start - covered,), interior=(n,)) if count else None
    if flat is None:
        return Tracer(nd.splat(0, tensor((n, n), x.type.element)))
    return Tracer(nd.reshape(flat, shape=(n, n)))


def _triangle(name: str) -> Any:
    def cut(m: Any, k: int = 0) -> Any:
        x = lift(m)
        if x.type.rank == 1:
            x = nd.broadcast(x, shape=x.type.shape * 2, dims=(1,))
        if not x.type.rank:
            fail(ShapeError, f"np.{name} needs an array with at least one axis")
        rank, shape = x.type.rank, x.type.shape
        row = nd.iota(shape=shape, axis=rank - 2, type=ir_types.i64)
        column = nd.iota(shape=shape, axis=rank - 1, type=ir_types.i64)
        edge = nd.add(row, nd.splat(k, row.type))
        inside = nd.le(column, edge) if name == "tril" else nd.ge(column, edge)
        return Tracer(nd.select(inside, x, nd.zeros_like(x)))

    cut.__doc__ = f"As numpy.{name}."
    return cut


implements(np.tril)(_triangle("tril"))
implements(np.triu)(_triangle("triu"))


# --- einsum ----------------------------------------------------------------------------------------------------------------------


@implements(np.einsum)
def einsum(*operands: Any, out: Any = None, dtype: Any = None, optimize: Any = None, **options: Any) -> Any:
    """As numpy.einsum; three and more operands are contracted pairwise in a greedy order."""
    _plain(options, "einsum")
    subscripts, arrays = _interleaved(operands) if not isinstance(operands[0], str) else (operands[0], operands[1:])
    values = _operands(*arrays)
    if dtype is not None:
        values = [convert(value, lift(np.zeros((), dtype)).type.element) for value in values]
    inputs, output = _parse_subscripts(subscripts, [value.type.rank for value in values])
    sizes = _label_sizes(inputs, values)
    terms = [_single(value, labels, sizes) for value, labels in zip(values, inputs, strict=True)]
    for pair in _contraction_order(terms, output, sizes):
        left, right = terms[pair[0]], terms[pair[1]]
        terms = [term for position, term in enumerate(terms) if position not in pair]
        needed = set(output).union(*[labels for _, labels in terms])
        terms.append(_contract_pair(left, right, needed))
    value, labels = terms[0]
    return finish(_arrange(value, labels, output, sizes), out)


def _interleaved(operands: Sequence[Any]) -> tuple[str, list[Any]]:
    """Return subscripts and arrays of the form `einsum(a, [0, 1], b, [1, 2], [0, 2])`."""
    arrays = list(operands[: len(operands) // 2 * 2 : 2])
    lists = list(operands[1::2])

    def letters(items: Sequence[Any]) -> str:
        return "".join("..." if item is Ellipsis else _letter(int(item)) for item in items)

    text = ",".join(letters(items) for items in lists)
    if len(operands) % 2:
        text += "->" + letters(operands[-1])
    return text, arrays


def _letter(position: int) -> str:
    return chr(ord("A") + position) if position < 26 else chr(ord("a") + position - 26)


def _parse_subscripts(text: str, ranks: Sequence[int]) -> tuple[list[list[str]], list[str]]:
    """Return the labels of each operand and of the result; the axes of an ellipsis are labelled '0', '1', ... from the last."""
    text = text.replace(" ", "")
    left, arrow, right = text.partition("->")
    parts = left.split(",")
    if len(parts) != len(ranks):
        fail(
            ShapeError,
            f"einsum: {len(parts)} operands are named in {text!r}, and {len(ranks)} are given",
        )
    for letter in text.replace("->", "").replace(",", "").replace(".", ""):
        if not letter.isalpha():
            fail(ShapeError, f"einsum: invalid subscript {letter!r} in {text!r}, subscripts must be letters")
    widest = 0
    inputs = []
    for part, rank in zip(parts, ranks, strict=True):
        head, dots, tail = part.partition("...")
        extra = rank - len(head) - len(tail)
        if extra < 0 or (extra and not dots):
            fail(
                ShapeError,
                f"einsum: operand has {rank} dimensions, and its subscripts {part!r} name {len(head) + len(tail)}",
            )
        widest = max(widest, extra)
        inputs.append([*head, *[str(k) for k in range(extra - 1, -1, -1)], *tail])
    dots = [str(k) for k in range(widest - 1, -1, -1)]
    if arrow:
        head, ellipsis, tail = right.partition("...")
        output = [*head, *(dots if ellipsis else ()), *tail]
    else:
        every = [label for labels in inputs for label in labels if label.isalpha()]
        output = [*dots, *sorted(label for label in set(every) if every.count(label) == 1)]
    known = set(itertools.chain.from_iterable(inputs))
    for label in output:
        if label not in known or output.count(label) > 1:
            fail(ShapeError, f"einsum: output subscript {label!r} of {text!r} is not in the inputs, or is there twice")
    return inputs, output


def _label_sizes(inputs: Sequence[Sequence[str]], values: Sequence[Value]) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for labels, value in zip(inputs, values, strict=True):
        for label, extent in zip(labels, value.type.shape, strict=True):
            known = sizes.setdefault(label, extent)
            if known != extent and 1 not in (known, extent):
                fail(
                    ShapeError,
                    f"einsum: operands could not be broadcast together, subscript {label!r} has sizes {known} and {extent}",
                )
            if known == 1:
                sizes[label] = extent
    return sizes


Term = tuple[Value, list[str]]


def _single(value: Value, labels: list[str], sizes: dict[str, int]) -> Term:
    """Take diagonals of repeated labels, and drop axes of 1 that other operands stretch."""
    labels = list(labels)
    for label in dict.fromkeys(labels):
        while labels.count(label) > 1:
            first = labels.index(label)
            second = labels.index(label, first + 1)
            if value.type.shape[first] != value.type.shape[second]:
                fail(ShapeError, f"einsum: dimensions of the repeated subscript {label!r} differ")
            value = diagonal_of(value, 0, first, second)
            del labels[second], labels[first]
            labels.append(label)
    kept = [k for k, label in enumerate(labels) if value.type.shape[k] == sizes[label]]
    value = nd.reshape(value, shape=tuple(value.type.shape[k] for k in kept))
    return value, [labels[k] for k in kept]


def _contraction_order(terms: Sequence[Term], output: Sequence[str], sizes: dict[str, int]) -> list[tuple[int, int]]:
    """Return which two terms are contracted next, each time; the result goes to the end of the list."""
    count = len(terms)
    if count < 2:
        return []
    if count == 2:
        return [(0, 1)]
    numbers = {label: k for k, label in enumerate(sizes)}
    arguments: list[Any] = []
    for _, labels in terms:
        arguments += [np.broadcast_to(np.float64(0), [sizes[label] for label in labels]), [numbers[label] for label in labels]]
    path, _ = np.einsum_path(*arguments, [numbers[label] for label in output], optimize="greedy")
    order: list[tuple[int, int]] = []
    left = count
    for step in path[1:]:
        positions = sorted(step)
        while len(positions) > 1:  # a step of more than two: one pair after the other
            first, second, *rest = positions
            order.append((first, second))
            left -= 1
            positions = [*[p - (p > first) - (p > second) for p in rest], left - 1]
    return order


def _contract_pair(left: Term, right: Term, needed: set[str]) -> Term:
    """Multiply two terms and sum over the labels that nobody needs any more."""
    (x, x_labels), (y, y_labels) = left, right
    x, x_labels = _sum_out(x, x_labels, needed | set(y_labels))
    y, y_labels = _sum_out(y, y_labels, needed | set(x_labels))
    shared = [label for label in x_labels if label in y_labels]
    batch = [label for label in shared if label in needed]
    summed = [label for label in shared if label not in needed]
    product = contract(
        x,
        y,
        tuple(x_labels.index(label) for label in summed),
        tuple(y_labels.index(label) for label in summed),
        tuple(x_labels.index(label) for label in batch),
        tuple(y_labels.index(label) for label in batch),
    )
    free = [label for label in x_labels if label not in shared] + [label for label in y_labels if label not in shared]
    return product, batch + free


def _sum_out(x: Value, labels: list[str], needed: set[str]) -> Term:
    axes = tuple(k for k, label in enumerate(labels) if label not in needed)
    if not axes:
        return x, labels
    kept = [label for label in labels if label in needed]
    if x.type.element.kind == "b":
        return nd.reduce_any(x, axes=axes), kept
    return nd.reduce_sum(x, axes=axes), kept


def _arrange(value: Value, labels: list[str], output: Sequence[str], sizes: dict[str, int]) -> Value:
    """Sum what is left over, permute the axes, and put back axes of 1."""
    value, labels = _sum_out(value, labels, set(output))
    present = [label for label in output if label in labels]
    value = nd.transpose(value, permutation=tuple(labels.index(label) for label in present))
    return nd.reshape(value, shape=tuple(sizes[label] for label in output))


@implements(np.linalg.matmul)
def linalg_matmul(x1: Any, x2: Any, /) -> Any:
    """As numpy.linalg.matmul."""
    return matmul(x1, x2)


@implements(np.linalg.tensordot)
def linalg_tensordot(x1: Any, x2: Any, /, *, axes: Any = 2) -> Any:
    """As numpy.linalg.tensordot."""
    return tensordot(x1, x2, axes)


@implements(np.linalg.multi_dot)
def multi_dot(arrays: Sequence[Any], *, out: Any = None) -> Any:
    """As numpy.linalg.multi_dot; the order is the one with the fewest multiplications."""
    values = [lift(array) for array in arrays]
    if len(values) < 2:
        fail(ShapeError, "Expecting at least two arrays.")
    labels = [_letter(k) for k in range(len(values) + 1)]
    first, last = values[0].type.rank == 1, values[-1].type.rank == 1
    names = [labels[k] + labels[k + 1] for k in range(len(values))]
    names[0] = labels[1] if first else names[0]
    names[-1] = labels[-2] if last else names[-1]
    result = ("" if first else labels[0]) + ("" if last else labels[-1])
    return deliver(einsum(f"{','.join(names)}->{result}", *[Tracer(value) for value in values]), out)


@implements(np.linalg.matrix_power)
def matrix_power(a: Any, n: int) -> Any:
    """As numpy.linalg.matrix_power for powers that are not negative."""
    x = lift(a)
    if x.type.rank < 2 or x.type.shape[-1] != x.type.shape[-2]:
        fail(ShapeError, "Last 2 dimensions of the array must be square")
    if n < 0:
        fail(UnsupportedError, "a negative matrix power needs an inverse, which gradloom does not compute yet")
    if n == 0:
        identity = np.eye(x.type.shape[-1], dtype=x.type.element.dtype)
        return Tracer(stretch(lift(identity), x.type.shape))
    result, power = None, Tracer(x)
    while n:
        if n & 1:
            result = power if result is None else matmul(result, power)
        n >>= 1
        if n:
            power = matmul(power, power)
    return result

