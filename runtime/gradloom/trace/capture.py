"""Tracing a call: from a Python function and its arrays' types to a func.func of nd ops. Start at `trace_flat`."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from gradloom.trace import creation, einsum, numerics, scans, ufunc_methods  # noqa: F401  (fill the table of functions)
from gradloom.trace.context import Array, tracing
from gradloom.trace.memory import lift as lift
from gradloom.trace.tracer import Tracer
from gradloomc.dialects.func import body_of, finish_function, make_function
from gradloomc.ir.core import Op
from gradloomc.ir.errors import GradloomError
from gradloomc.ir.types import TensorType


class Traced(NamedTuple):
    """A traced function.

    Attributes:
        function: `(arrays of the arguments..., captured arrays...) -> (the leaves of the result...)`.
        captured: concrete arrays that the function used and that are too large for constants, in the order of the
            hidden trailing arguments; they are passed by reference, so later changes of their elements count.
        closed: it uses no value of a function around it, so that it can be kept for other calls.
    """

    function: Op
    captured: list[Array]
    closed: bool


def _own_cause(error: BaseException) -> BaseException:
    """Return the error of gradloom that NumPy or Python has wrapped into one of its own, or else the error itself."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, GradloomError):
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return cause or error


def trace_flat(
    call: Callable[[list[Tracer]], Sequence[Any]], types: Sequence[TensorType], hints: Sequence[str], name: str
) -> Traced:
    """Run `call` on one tracer for each type, and return what it did as a function.

    Args:
        call: returns the leaves of the result: tracers, arrays or numbers.
        types: of the arguments.
        hints: names for them.
        name: of the function.

    Raises:
        GradloomError: the code does something that cannot be traced; the error shows the line.
    """
    function = make_function(name, types, hints)
    with tracing(body_of(function)) as trace:
        tracers = [Tracer(argument) for argument in body_of(function).arguments]
        for tracer in tracers:
            if tracer.shape:
                tracer._guard = "argument"
        try:
            results = [lift(leaf) for leaf in call(tracers)]
        except Exception as error:
            raise _own_cause(error) from None
        trace.check_captured()
        finish_function(function, trace.keep_own_arrays(results))
    return Traced(function, trace.captured, trace.closed)
