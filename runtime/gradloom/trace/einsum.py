"""np.einsum on tracers, and the products of several matrices that are written with it."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradloom.trace.context import fail
from gradloom.trace.diagonals import diagonal_of
from gradloom.trace.memory import lift
from gradloom.trace.products import contract, matmul, operands_of, refuse_options, tensordot
from gradloom.trace.promote import (
    convert,
    stretch,
)
from gradloom.trace.reductions import deliver, finish
from gradloom.trace.tracer import Tracer, implements
from gradloomc.dialects import nd
from gradloomc.ir.core import Value
from gradloomc.ir.errors import ShapeError, UnsupportedError


@implements(np.einsum)
def einsum(*operands: Any, out: Any = None, dtype: Any = None, optimize: Any = None, **options: Any) -> Any:
    """As numpy.einsum; three and more operands are contracted pairwise in a greedy order."""
    refuse_options(options, "einsum")
    subscripts, arrays = _interleaved(operands) if not isinstance(operands[0], str) else (operands[0], operands[1:])
    values = operands_of(*arrays)
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
    """Return the labels of each operand and of the result.

    The axes of an ellipsis are labelled '0', '1', ... from the last.
    """
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
                    "einsum: operands could not be broadcast together, "
                    f"subscript {label!r} has sizes {known} and {extent}",
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
        arguments += [
            np.broadcast_to(np.float64(0), [sizes[label] for label in labels]),
            [numbers[label] for label in labels],
        ]
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
