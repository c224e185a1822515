"""Running sums, products and extrema along a dimension (cumsum, cumprod, logcumsumexp, cummax, cummin); differences."""

from typing import Any

import numpy as np

from gradloom.autograd.elementwise import NOTHING, documented, not_implemented, tensor_operand, write_into
from gradloom.autograd.errors import error
from gradloom.autograd.graph import Array, EagerOp
from gradloom.autograd.reducing import element_argument, one_dim, structure, working
from gradloom.autograd.reductions import accumulator_of
from gradloom.autograd.tensor import FUNCTIONS, Tensor, from_array, method, operation, public
from gradloom.trace.promote import convert
from gradloom.trace.tracer import Tracer
from gradloomc.ir.core import Value
from gradloomc.ir.types import ScalarType


def _running(scan: Any) -> Any:
    def rule(x: Any, dim: int, element: ScalarType | None = None, into: ScalarType | None = None) -> Value:
        value = convert(x.value, element or accumulator_of(x.value))
        found = scan(Tracer(working(value)), dim).value if value.type.rank else value
        return convert(found, into or value.type.element)

    return rule


def _log_rule(x: Any, dim: int) -> Any:
    if x.value.type.element.kind != "f":
        raise not_implemented("logcumsumexp_out_cpu", x.value.type.element)
    return np.logaddexp.accumulate(x, axis=dim) if x.ndim else x


CUMSUM = EagerOp("CumsumBackward0", _running(lambda x, axis: np.cumsum(x, axis=axis, dtype=x.dtype)), saves=NOTHING)
CUMPROD = EagerOp(
    "CumprodBackward0",
    _running(lambda x, axis: np.cumprod(x, axis=axis, dtype=x.dtype)),
    saves=(frozenset({0}), True),
)
LOGCUMSUMEXP = EagerOp("LogcumsumexpBackward0", _log_rule, saves=(frozenset({0}), True))


def _attributes(name: str, x: Any, dim: Any, dtype: Any) -> tuple[tuple[str, Any], ...]:
    along = ("dim", one_dim(name, dim, tensor_operand(x, name)._value.type.rank))
    return (along,) if dtype is None else (along, ("element", element_argument(name, dtype)))


def _scan(name: str, op: EagerOp, doc: str) -> None:
    def function(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
        return operation(op, (input,), _attributes(name, input, dim, dtype))

    def write(self: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
        return write_into(self, op, (self,), _attributes(f"{name}_", self, dim, dtype))

    method(name)(public(name)(documented(function, name, doc)))
    method(f"{name}_")(documented(write, f"{name}_", f"Apply `{name}` in place."))


_scan("cumsum", CUMSUM, "Return the sums of the elements up to each one along a dimension; integers as int64.")
_scan("cumprod", CUMPROD, "Return the products of the elements up to each one along a dimension; integers as int64.")


@method("logcumsumexp")
@public("logcumsumexp")
def logcumsumexp(input: Tensor, dim: int) -> Tensor:
    """Return the logarithms of the sums of exp(x) up to each element along a dimension, without overflow."""
    return operation(LOGCUMSUMEXP, (input,), _attributes("logcumsumexp", input, dim, None))


def picked_along(x: Any, indices: Any, dim: int) -> Any:
    """The rule `(x, indices)`: the elements at positions along a dimension, one for each index."""
    return np.take_along_axis(x, indices, axis=dim) if x.ndim else x


def picking_along(node: str) -> EagerOp:
    """Return the operation of `picked_along` that is called `node` in graphs."""
    return EagerOp(node, picked_along, saves=(frozenset({1}), False), lists=(0,))


def _leading(array: Array, accumulate: Any, axis: int) -> Array:
    """Return where the last element equal to the running extremum is; nan is more extreme than all."""
    best = accumulate(array, axis=axis)
    here = (array == best) | ((array != array) & (best != best))
    extent = array.shape[axis]
    positions = np.arange(extent).reshape([-1 if k == axis % array.ndim else 1 for k in range(array.ndim)])
    return np.maximum.accumulate(np.where(here, positions, 0), axis=axis)


def _running_extremum(name: str, node: str, accumulate: Any, doc: str) -> None:
    op, result = picking_along(node), structure(name, "values", "indices")

    def function(input: Tensor, dim: int) -> Any:
        dim = one_dim(name, dim, tensor_operand(input, name)._value.type.rank)
        array = input._array()
        indices = from_array(_leading(array, accumulate, dim) if array.ndim else np.zeros((), np.int64))
        return result(operation(op, (input, indices), (("dim", dim),)), indices)

    method(name)(public(name)(documented(function, name, doc)))


_running_extremum(
    "cummax",
    "CummaxBackward0",
    np.maximum.accumulate,
    "Return the running maxima along a dimension, and their indices.",
)
_running_extremum(
    "cummin",
    "CumminBackward0",
    np.minimum.accumulate,
    "Return the running minima along a dimension, and their indices.",
)


@method("diff")
@public("diff")
def diff(
    input: Tensor, n: int = 1, dim: int = -1, prepend: Tensor | None = None, append: Tensor | None = None
) -> Tensor:
    """Return the differences of neighbours along a dimension, `n` times; of bools, whether they differ.

    Args:
        prepend, append: what stands before and after the elements.

    Raises:
        RuntimeError: there are no dimensions, or n is negative.
    """
    rank = tensor_operand(input, "diff")._value.type.rank
    if not rank:
        raise error(RuntimeError, "diff expects input to be at least one-dimensional")
    dim = one_dim("diff", dim, rank, 3)
    if n < 0:
        raise error(RuntimeError, f"order must be non-negative but got {n}")
    parts = [each for each in (prepend, input, append) if each is not None]
    if len(parts) > 1:
        input = FUNCTIONS["cat"](parts, dim)
    for _ in range(min(n, input.size(dim))):
        count = max(input.size(dim) - 1, 0)
        upper, lower = input.narrow(dim, min(1, input.size(dim)), count), input.narrow(dim, 0, count)
        input = upper != lower if input._value.type.element.kind == "b" else upper - lower
    return input
