"""Tensors made by a rule: ranges, identity matrices, the indices of triangles.

The rounding of `linspace` and `logspace` is PyTorch's: the first half is counted from the start, the second from the
end.
"""

import math
import operator
import warnings
from typing import Any

import numpy as np

from gradloom.autograd.creation import finished, numpy_dtype
from gradloom.autograd.dtypes import dtype_of, get_default_dtype, int64
from gradloom.autograd.elementwise import is_number, type_name
from gradloom.autograd.errors import error
from gradloom.autograd.graph import Array
from gradloom.autograd.recording import Variable
from gradloom.autograd.tensor import Tensor, public


def _number(x: Any, function: str, argument: str) -> Any:
    """Return a number, or that of a tensor of one element, as a Python number.

    Raises:
        TypeError: it is neither.
    """
    if isinstance(x, Variable):
        return x.item()  # pyright: ignore[reportAttributeAccessIssue]
    if not is_number(x):
        raise TypeError(f"{function}(): argument '{argument}' must be Number, not {type_name(x)}")
    return x.item() if isinstance(x, np.generic) else x


def _range_bounds(function: str, bounds: tuple[Any, ...], options: dict[str, Any]) -> tuple[Any, Any, Any]:
    given = dict(zip(("start", "end", "step") if len(bounds) > 1 else ("end",), bounds, strict=False))
    for name in ("start", "end", "step"):
        if name in options:
            given[name] = options.pop(name)
    if options:
        raise TypeError(f"{function}() got an unexpected keyword argument '{next(iter(options))}'")
    if "end" not in given:
        raise TypeError(f'{function}() missing 1 required positional arguments: "end"')
    start, end, step = given.get("start", 0), given["end"], given.get("step", 1)
    return _number(start, function, "start"), _number(end, function, "end"), _number(step, function, "step")


def _check_range(start: Any, end: Any, step: Any) -> None:
    if step == 0:
        raise error(RuntimeError, "step must be nonzero")
    if not (math.isfinite(start) and math.isfinite(end)):
        raise error(RuntimeError, f"unsupported range: {start:g} -> {end:g}")
    if (end - start) * step < 0:
        raise error(RuntimeError, "upper bound and lower bound inconsistent with step sign")


def _counted(start: Any, step: Any, count: int, target: np.dtype[Any]) -> Array:
    """Return start, start + step, ...; floats are computed in double precision."""
    if target.kind == "f":
        return (float(start) + float(step) * np.arange(count)).astype(target)
    return (int(start) + int(step) * np.arange(count)).astype(target)


@public("arange")
def arange(
    *bounds: Any,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    layout: Any = None,
    pin_memory: bool = False,
    **options: Any,
) -> Tensor:
    """Return the numbers from `start` (0) up to `end`, without it, every `step` (1): `arange(end)`.

    The dtype is int64 if all bounds are whole numbers, else the default dtype.

    Raises:
        RuntimeError: the step is 0 or leads away from the end.
    """
    start, end, step = _range_bounds("arange", bounds, options)
    whole = not any(isinstance(each, float) for each in (start, end, step))
    target = numpy_dtype("arange", dtype, int64 if whole else get_default_dtype(), device)
    if target.kind == "b":
        raise error(NotImplementedError, "\"arange_cpu\" not implemented for 'Bool'")
    _check_range(start, end, step)
    if target.kind == "f":
        count = math.ceil((end - start) / step)
    else:
        start, end, step = int(start), int(end), int(step)
        if not step:
            raise error(RuntimeError, "step must be nonzero")
        count = -((start - end) // step)
    return finished(_counted(start, step, max(count, 0), target), requires_grad)


@public("range")
def range_(*bounds: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False, **options: Any) -> Tensor:
    """Return the numbers from `start` up to and including `end`. PyTorch has deprecated it: use `arange`."""
    warnings.warn(
        "gradloom.range is deprecated and will be removed in a future release because its behavior is inconsistent "
        "with Python's range builtin. Instead, use gradloom.arange, which produces values in [start, end).",
        UserWarning,
        stacklevel=2,
    )
    start, end, step = _range_bounds("range", bounds, options)
    _check_range(start, end, step)
    target = numpy_dtype("range", dtype, None, device)
    return finished(_counted(start, step, math.floor((end - start) / step) + 1, target), requires_grad)


def _spaced(start: Any, end: Any, steps: int, target: np.dtype[Any]) -> Array:
    """Return equally spaced numbers, both ends included, in the dtype in which PyTorch computes them."""
    if steps < 0:
        raise error(RuntimeError, "number of steps must be non-negative")
    computed = target if target.kind == "f" else np.dtype(np.float64)
    first, last = computed.type(start), computed.type(end)
    if steps < 2:
        return np.full(steps, first)
    if target.kind != "f":
        first, last = np.trunc(first), np.trunc(last)
    step = (last - first) / computed.type(steps - 1)
    index = np.arange(steps)
    # PyTorch multiplies and adds in one instruction, which rounds once.
    wider = np.longdouble if computed.itemsize == 8 else np.float64
    up = wider(first) + wider(step) * index
    down = wider(last) - wider(step) * (steps - 1 - index)
    return np.where(index < steps // 2, up, down).astype(computed)


@public("linspace")
def linspace(
    start: Any, end: Any, steps: int, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Return `steps` equally spaced numbers from `start` to `end`, both included.

    Raises:
        RuntimeError: `steps` is negative.
    """
    target = numpy_dtype("linspace", dtype, None, device)
    bounds = _number(start, "linspace", "start"), _number(end, "linspace", "end")
    return finished(_spaced(*bounds, operator.index(steps), target).astype(target), requires_grad)


@public("logspace")
def logspace(
    start: Any,
    end: Any,
    steps: int,
    base: float = 10.0,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return `steps` numbers from `base**start` to `base**end` whose logarithms are equally spaced.

    Raises:
        RuntimeError: `steps` is negative.
    """
    target = numpy_dtype("logspace", dtype, None, device)
    exponents = _spaced(_number(start, "logspace", "start"), _number(end, "logspace", "end"), steps, target)
    return finished(np.power(float(base), exponents.astype(np.float64)).astype(target), requires_grad)


@public("eye")
def eye(n: int, m: int | None = None, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Return a matrix of n rows (and m columns) with ones on the diagonal.

    Raises:
        RuntimeError: an extent is negative.
    """
    columns = n if m is None else m
    for name, extent in (("n", n), ("m", columns)):
        if extent < 0:
            raise error(RuntimeError, f"{name} must be greater or equal to 0, got {extent}")
    return finished(np.eye(n, columns, dtype=numpy_dtype("eye", dtype, None, device)), requires_grad)


def _triangle_indices(name: str, inside: Any, doc: str) -> None:
    def function(row: int, col: int, offset: int = 0, *, dtype: Any = None, device: Any = None) -> Tensor:
        rows, columns = np.indices((row, col))
        there = inside(columns - rows, offset)
        return finished(np.stack([rows[there], columns[there]]).astype(numpy_dtype(name, dtype, int64, device)))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    public(name)(function)


_triangle_indices(
    "tril_indices", lambda at, offset: at <= offset, "Return rows and columns of the elements on and below a diagonal."
)
_triangle_indices(
    "triu_indices", lambda at, offset: at >= offset, "Return rows and columns of the elements on and above a diagonal."
)


@public("vander")
def vander(x: Tensor, N: int | None = None, increasing: bool = False) -> Tensor:
    """Return the matrix of the powers of a vector's elements."""
    if x.ndim != 1:
        raise error(RuntimeError, "x must be a one-dimensional tensor.")
    count = len(x) if N is None else N
    powers = arange(count) if increasing else arange(count - 1, -1, -1) if count else arange(0)
    return x.unsqueeze(-1) ** powers.to(dtype_of(x._value.type.element))
