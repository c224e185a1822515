"""NumPy's running sums and products on tracers."""

from typing import Any

import numpy as np

from gradloom.trace.calling import UFUNC_METHODS
from gradloom.trace.context import element_of, fail
from gradloom.trace.memory import is_traced, lift, unwrap
from gradloom.trace.promote import accumulator, convert, is_axis_of_number, normalize_axis
from gradloom.trace.reductions import finish, given
from gradloom.trace.tracer import Tracer, implements, wrap
from gradloom.trace.views import part_of
from gradloomc.dialects import nd
from gradloomc.ir.core import Value
from gradloomc.ir.errors import ShapeError, UnsupportedError
from gradloomc.ir.types import ScalarType, tensor


def _prepared(a: Any, axis: Any, element: ScalarType | None) -> tuple[Value, int]:
    x = lift(a)
    if element is not None:
        x = convert(x, element)
    if axis is None or is_axis_of_number(axis, x.type.rank):
        return nd.reshape(x, shape=(x.type.size,)), 0
    return x, normalize_axis(axis, x.type.rank)


def _element(a: Any, dtype: Any) -> ScalarType:
    return element_of(np.dtype(dtype)) if given(dtype) else accumulator(lift(a).type.element)


@implements(np.cumsum)
def cumsum(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
    """As numpy.cumsum."""
    x, axis = _prepared(a, axis, _element(a, dtype))
    return finish(nd.cumsum(x, axis=axis), out)


@implements(np.cumprod)
def cumprod(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
    """As numpy.cumprod; its derivatives are exact where elements are 0."""
    x, axis = _prepared(a, axis, _element(a, dtype))
    return finish(_scan(nd.mul, x, axis), out)


def _scan(combine: Any, x: Value, axis: int) -> Value:
    """Combine each element with all before it by doubling the reach: log2(n) steps (Hillis and Steele, 1986)."""
    extent, reach = x.type.shape[axis], 1
    while reach < extent:
        head, tail = part_of(x, axis, 0, reach), part_of(x, axis, reach, extent)
        x = nd.concatenate(head, combine(part_of(x, axis, 0, extent - reach), tail), axis=axis)
        reach *= 2
    return x


_ACCUMULATIONS: dict[str, Any] = {
    "maximum": nd.maximum,
    "minimum": nd.minimum,
    "fmax": nd.fmax,
    "fmin": nd.fmin,
    "logaddexp": nd.logaddexp,
}


def _accumulate(ufunc: Any, array: Any, axis: int = 0, dtype: Any = None, out: Any = None) -> Any:
    """`np.maximum.accumulate(x)` and its kin."""
    if not is_traced([array, out]):
        return wrap(ufunc.accumulate(unwrap(array), axis=axis, dtype=dtype))
    if ufunc in (np.add, np.multiply):
        return (cumsum if ufunc is np.add else cumprod)(array, axis, dtype, out)
    combine = _ACCUMULATIONS.get(ufunc.__name__)
    if combine is None or dtype is not None:
        fail(
            UnsupportedError,
            f"gradloom cannot trace np.{ufunc.__name__}.accumulate",
            f"those that it can: add, multiply, {', '.join(_ACCUMULATIONS)}",
        )
    x, axis = _prepared(array, axis, None)
    return finish(_scan(combine, x, axis), out)


UFUNC_METHODS["accumulate"] = _accumulate

if hasattr(np, "cumulative_sum"):  # NumPy 2.1 and later

    def _cumulative(scan: Any, start: int) -> Any:
        def function(
            x: Any, /, *, axis: Any = None, dtype: Any = None, out: Any = None, include_initial: bool = False
        ) -> Any:
            value = lift(x)
            if axis is None:
                if value.type.rank != 1:
                    fail(ShapeError, "For arrays which have more than one dimension ``axis`` argument is required.")
                axis = 0
            axis = normalize_axis(axis, value.type.rank)
            result = scan(Tracer(value), axis, dtype)
            if include_initial:
                shape = tuple(1 if k == axis else extent for k, extent in enumerate(result.shape))
                first = nd.splat(start, tensor(shape, result.value.type.element))
                result = Tracer(nd.concatenate(first, result.value, axis=axis))
            return finish(result.value, out)

        return function

    implements(np.cumulative_sum)(_cumulative(cumsum, 0))
    implements(np.cumulative_prod)(_cumulative(cumprod, 1))


@implements(np.nancumsum)
def nancumsum(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
    """As numpy.nancumsum."""
    x = lift(a)
    if x.type.element.kind == "f":
        x = nd.select(nd.isnan(x), nd.zeros_like(x), x)
    return cumsum(Tracer(x), axis, dtype, out)
