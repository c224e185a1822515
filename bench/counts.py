"""What a row's gradient takes in arithmetic: math functions and operations, counted as NumPy runs it.

The gradient derived by hand is the leanest formula that the repository has of a row. It runs on
arrays that note what is done to them, so that nobody keeps a table by hand. Owns the counting; knows
no rates.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.peers.base import rebind
from bench.workload import Size, Workload

OPERATIONS = "operations"  # additions, products, comparisons: what fused multiply-adds are made of
# What other functions are made of; anything that is neither here nor in `FREE` is an operation.
FUNCTIONS: dict[str, dict[str, int]] = {
    **{name: {name: 1} for name in ("exp", "expm1", "log", "log1p", "sin", "cos", "tanh", "erf", "sqrt")},
    "divide": {"div": 1},
    "reciprocal": {"div": 1},
    "exp2": {"exp": 1},
    "log2": {"log": 1},
    "tan": {"sin": 1, "cos": 1, "div": 1},
    "expit": {"exp": 1, "div": 1},
    "logaddexp": {"exp": 1, "log1p": 1},
    "erfc": {"erf": 1},
}
# Bits that are moved or set, and what an optimiser folds into its neighbours.
FREE = {"positive", "negative", "absolute", "copysign", "logical_and", "logical_or", "logical_not", "isnan"}


class Counted(np.ndarray):
    """An array that reports every operation on it to the counter it carries."""

    counter: Counter[str] | None = None
    root = False  # a fresh square root: dividing by it is a product with its reciprocal

    def __array_finalize__(self, other: Any) -> None:
        self.counter = getattr(other, "counter", None)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, out: Any = None, **options: Any) -> Any:
        counter = next(one.counter for one in (*inputs, *(out or ())) if isinstance(one, Counted))
        assert counter is not None
        if out is not None:
            options["out"] = tuple(_plain(one) for one in out)
        result = getattr(ufunc, method)(*map(_plain, inputs), **options)
        _note(counter, ufunc, method, inputs, result)
        if out is not None:
            return out[0] if len(out) == 1 else out
        wrapped = _wrap(result, counter)
        if isinstance(wrapped, Counted):
            wrapped.root = ufunc is np.sqrt
        return wrapped

    def __array_function__(self, function: Callable[..., Any], types: Any, args: Any, kwargs: Any) -> Any:
        counter = self.counter
        assert counter is not None
        if function in (np.dot, np.vdot, np.inner, np.einsum, np.tensordot):
            result = function(*_plain_all(args), **kwargs)
            counter[OPERATIONS] += 2 * _product_size(function, args, result)
        else:
            # Functions that are made of others count by those; the rest moves data.
            result = super().__array_function__(function, types, args, kwargs)
        return _wrap(result, counter)


def _plain(one: Any) -> Any:
    return one.view(np.ndarray) if isinstance(one, Counted) else one


def _plain_all(args: Any) -> Any:
    return tuple(_plain_all(one) if isinstance(one, (list, tuple)) else _plain(one) for one in args)


def _wrap(result: Any, counter: Counter[str]) -> Any:
    if isinstance(result, tuple):
        return tuple(_wrap(one, counter) for one in result)
    if not isinstance(result, (np.ndarray, np.generic)) or result.dtype.kind not in "fb":
        return result
    array = np.asarray(result).view(Counted)
    array.counter = counter
    return array


def _note(counter: Counter[str], ufunc: np.ufunc, method: str, inputs: tuple[Any, ...], result: Any) -> None:
    name = ufunc.__name__
    count = np.size(inputs[0]) if method in ("reduce", "accumulate", "at") else np.size(result)
    if name in ("matmul", "vecdot"):
        counter[OPERATIONS] += 2 * np.size(result) * np.shape(inputs[0])[-1]
    elif name == "power":
        for part, times in _power(inputs[1]).items():
            counter[part] += times * count
    elif name == "divide" and getattr(inputs[1], "root", False):
        counter[OPERATIONS] += count
    elif name == "divide" and np.ndim(inputs[1]) == 0:
        counter[OPERATIONS] += count  # one reciprocal for all
    elif name in FUNCTIONS:
        for part, times in FUNCTIONS[name].items():
            counter[part] += times * count
    elif name not in FREE:
        counter[OPERATIONS] += count


def _power(exponent: Any) -> dict[str, int]:
    """What a power takes: products for whole exponents, a root for halves, else a logarithm and an exponential."""
    if np.ndim(exponent) == 0 and float(2 * exponent).is_integer() and abs(exponent) <= 8:
        value = abs(float(exponent))
        parts = {OPERATIONS: max(int(value).bit_length() + bin(int(value)).count("1") - 2, 0)}
        if value != int(value):
            parts["sqrt"] = 1  # its reciprocal comes at the same price
        elif exponent < 0:
            parts["div"] = 1
        return parts
    return {"log": 1, "exp": 1, OPERATIONS: 1}


def _product_size(function: Any, args: tuple[Any, ...], result: Any) -> int:
    """Multiply-adds of a product of arrays: the extents of all its letters, for other products the inner extent."""
    if function is np.einsum:
        letters = args[0].replace(" ", "").split("->")[0].split(",")
        extents = {
            letter: extent
            for word, array in zip(letters, args[1:], strict=True)
            for letter, extent in zip(word, array.shape, strict=True)
        }
        return int(np.prod(list(extents.values())))
    if function is np.vdot:
        return np.size(args[0])
    if function is np.tensordot:
        # |A| |B| = |result| (inner extents)²
        return round((np.size(args[0]) * np.size(args[1]) * max(np.size(result), 1)) ** 0.5)
    inner = np.shape(args[0])[-1] if np.ndim(args[0]) else 1
    return np.size(result) * inner


class _CountingNumPy:
    """NumPy, whose fresh arrays count as well."""

    def __init__(self, counter: Counter[str]) -> None:
        self._counter = counter

    def __getattr__(self, name: str) -> Any:
        function = getattr(np, name)
        if name not in ("empty", "full", "ones", "zeros"):
            return function
        return lambda *args, **options: _wrap(function(*_plain_all(args), **options), self._counter)


def count(workload: Workload, size: Size) -> dict[str, int]:
    """Return how many results of each function, and how many operations, the row's gradient by hand takes."""
    counter: Counter[str] = Counter()
    by_hand = rebind(workload.by_hand, np=_CountingNumPy(counter))
    by_hand(*[_wrap(array, counter) for array in workload.inputs(size)])
    return {name: int(number) for name, number in counter.items() if number}
