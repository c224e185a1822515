"""Lengths that are not fixed, in NumPy's array constructors and in arithmetic with floats.

While a program for arrays of any length is traced, extents of shapes are `Extent`s. `np.zeros(n)` and `np.arange(n)`
become ops then, and `1 / n` or `np.sqrt(n)` compute with a traced number that the program is given when it runs.
"""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from gradloom.trace.context import element_of, mark, state, user_location
from gradloom.trace.functions import full
from gradloom.trace.memory import is_traced, lift, unwrap
from gradloom.trace.numerics import linspace as traced_linspace
from gradloom.trace.promote import bring, convert, length
from gradloom.trace.tracer import Tracer
from gradloomc.dialects import nd
from gradloomc.ir import types as ir_types
from gradloomc.ir.extents import Extent, index_of, is_symbolic
from gradloomc.ir.scopes import Scope
from gradloomc.ir.types import tensor

LENGTHS: dict[Any, Callable[..., Any]] = {}  # NumPy function -> its meaning for lengths that are not fixed


def has_length(x: Iterable[Any]) -> bool:
    """Tell whether one of some arguments, or a part of a shape among them, is a length that is not fixed."""
    return any(is_symbolic(each) or (each.__class__ in (tuple, list) and has_length(each)) for each in x)


def traced_length(x: Any) -> Any:
    """Return a length as a traced integer with the dtype rules of a Python number; anything else as it is."""
    return Tracer(length(x, tensor((), ir_types.i64)), weak=True) if is_symbolic(x) else x


def _lift_length(x: Extent) -> Any:
    return None if state.trace is None else traced_length(x)


def _place() -> str:
    name, line, _, _ = user_location().resolve()
    return f" at {name}:{line}" if line else ""


def open_scope(scope: Scope, is_users: Callable[[str], bool]) -> Scope:
    """Let a scope's extents take part in traces."""
    scope.lift, scope.locate, scope.is_users = _lift_length, _place, is_users
    return scope


def _implements(*functions: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def register(meaning: Callable[..., Any]) -> Callable[..., Any]:
        for function in functions:
            LENGTHS[function] = meaning
        return meaning

    return register


@_implements(np.zeros)
def _zeros(shape: Any, dtype: Any = float, order: str = "C", **options: Any) -> Any:
    return full(shape, 0, dtype)


@_implements(np.ones)
def _ones(shape: Any, dtype: Any = float, order: str = "C", **options: Any) -> Any:
    return full(shape, 1, dtype)


@_implements(np.eye, np.identity)
def _eye(N: Any, M: Any = None, k: int = 0, dtype: Any = float, order: str = "C", **options: Any) -> Any:
    shape = (index_of(N), index_of(N if M is None else M))
    rows = nd.iota(shape=shape, axis=0, type=ir_types.i64)
    columns = nd.iota(shape=shape, axis=1, type=ir_types.i64)
    ones = nd.eq(nd.add(rows, bring(k, ir_types.i64, shape)), columns)
    return _writable(Tracer(convert(ones, element_of(np.dtype(dtype)))))


@_implements(np.arange)
def _arange(*bounds: Any, dtype: Any = None, **options: Any) -> Any:
    given: list[Any] = [0, bounds[0], 1] if len(bounds) == 1 else [*bounds, 1][:3]
    dtype = bounds[3] if len(bounds) == 4 else dtype
    whole = [int(each) if each.__class__ is float and each.is_integer() else each for each in given]
    if is_traced(whole) or any(each.__class__ is not int for each in whole) or is_symbolic(step := whole[2]):
        return Tracer(np.arange(*unwrap(bounds), dtype=dtype))  # which needs the numbers themselves
    start, stop = whole[:2]
    span = stop - start if step > 0 else start - stop
    count = (span + abs(step) - 1) // abs(step) if span > 0 else 0
    if dtype is None:
        dtype = np.float64 if any(each.__class__ is float for each in given) else np.int64
    element = element_of(np.dtype(dtype))
    values = nd.iota(shape=(count,), axis=0, type=ir_types.i64)
    if step != 1:
        values = nd.mul(values, bring(step, ir_types.i64, (count,)))
    if start != 0:
        values = nd.add(values, bring(start, ir_types.i64, (count,)))
    return _writable(Tracer(convert(values, element)))


def _writable(x: Tracer) -> Tracer:
    x._contiguous = True
    return x


def linspace(start: Any, stop: Any, num: Any = 50, *args: Any, **kwargs: Any) -> Any:
    """As numpy.linspace with a number of points that is not fixed."""
    mark()
    ends = [Tracer(lift(traced_length(end))) for end in (start, stop)]
    return traced_linspace(*ends, num, *args, **kwargs)
