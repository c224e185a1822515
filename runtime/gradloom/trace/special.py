"""The functions of scipy.special that are no ufuncs, for tracers. SciPy is never imported: they are known by name."""

import types
from collections.abc import Callable
from typing import Any

from gradloom.trace.context import fail, mark
from gradloom.trace.functions import operands
from gradloom.trace.memory import is_traced, lift
from gradloom.trace.promote import as_float, bring, broadcast_shapes, convert, normalize_axes, shape_of
from gradloom.trace.reductions import keep
from gradloom.trace.tracer import Tracer
from gradloomc.dialects import nd
from gradloomc.ir.core import Value
from gradloomc.ir.errors import UnsupportedError


def _shifted(x: Value, axes: tuple[int, ...]) -> tuple[Value, Value]:
    """Return x minus its largest element over axes (0 where that is infinite), and that element.

    The largest element only keeps exp in range, so no derivative goes through it.
    """
    largest = nd.stop_gradient(nd.reduce_max(x, axes=axes))
    largest = nd.select(nd.isfinite(largest), largest, nd.zeros_like(largest))
    return nd.sub(x, nd.spread(largest, x, axes)), largest


def _float(a: Any) -> Value:
    x = lift(a)
    return convert(x, as_float(x.type.element))


def logsumexp(a: Any, axis: Any = None, b: Any = None, keepdims: bool = False, return_sign: bool = False) -> Tracer:
    """As scipy.special.logsumexp: log of the sum of exp over axes, without overflow."""
    if return_sign:
        fail(UnsupportedError, "gradloom does not support return_sign= of logsumexp")
    if b is None:
        x, weights = _float(a), None
    else:
        (x, weights), element = operands(a, b)
        element = as_float(element)
        shape = broadcast_shapes([shape_of(x), shape_of(weights)])
        x, weights = bring(x, element, shape), bring(weights, element, shape)
    axes = normalize_axes(axis, x.type.rank)
    shifted, largest = _shifted(x, axes)
    terms = nd.exp(shifted)
    if weights is not None:
        terms = nd.mul(weights, terms)
    total = nd.add(nd.log(nd.reduce_sum(terms, axes=axes)), largest)
    return Tracer(keep(total, x.type.shape, axes, keepdims))


def softmax(x: Any, axis: Any = None) -> Tracer:
    """As scipy.special.softmax."""
    value = _float(x)
    axes = normalize_axes(axis, value.type.rank)
    terms = nd.exp(_shifted(value, axes)[0])
    return Tracer(nd.div(terms, nd.spread(nd.reduce_sum(terms, axes=axes), terms, axes)))


def log_softmax(x: Any, axis: Any = None) -> Tracer:
    """As scipy.special.log_softmax."""
    value = _float(x)
    axes = normalize_axes(axis, value.type.rank)
    shifted = _shifted(value, axes)[0]
    total = nd.log(nd.reduce_sum(nd.exp(shifted), axes=axes))
    return Tracer(nd.sub(shifted, nd.spread(total, shifted, axes)))


_HOMES = ("scipy.special", "scipy.special._logsumexp")
MEANINGS: dict[tuple[str, str], Callable[..., Any]] = {
    (home, function.__name__): function for home in _HOMES for function in (logsumexp, softmax, log_softmax)
}


def dispatching(real: types.FunctionType, meaning: Callable[..., Any]) -> Any:
    """Return a function that does `meaning` for traced arguments and `real` for all others."""

    def function(*args: Any, **kwargs: Any) -> Any:
        if is_traced(args) or is_traced(kwargs):
            mark()
            return meaning(*args, **kwargs)
        return real(*args, **kwargs)

    function.__name__ = real.__name__
    function.__doc__ = real.__doc__
    return function
