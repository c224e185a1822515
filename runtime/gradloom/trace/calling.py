"""How operators, methods, ufuncs and functions of NumPy reach tracers.

Computing with concrete ones alone is left to NumPy. Importing this module gives `Tracer` its operators and
NumPy's two protocols.
"""

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np

from gradloom.trace import ufuncs
from gradloom.trace.context import check_reachable, fail, mark, nearest, state
from gradloom.trace.memory import PYTHON_NUMBERS, holds_tracer, is_traced, lift, unwrap
from gradloom.trace.promote import weak_class
from gradloom.trace.tracer import ALWAYS, FUNCTIONS, Tracer, wrap
from gradloomc.ir import types as ir_types
from gradloomc.ir.core import Value
from gradloomc.ir.errors import TracerError, UnsupportedError

_WEAK_DTYPES = (np.dtype(np.float64), np.dtype(np.int64))

# --- methods ---


def _method(name: str, function: Any) -> Any:
    def method(self: Tracer, *args: Any, **kwargs: Any) -> Any:
        mark()
        return call_function(function, (self, *args), kwargs)

    method.__name__ = name
    method.__doc__ = f"As numpy.{name}."
    return method


for _name in (
    "all any argmax argmin argsort cumprod cumsum diagonal dot max mean min nonzero prod ptp ravel repeat round "
    "searchsorted squeeze std sum swapaxes take trace var"
).split():
    setattr(Tracer, _name, _method(_name, getattr(np, _name)))


# --- operators ---


def _foreign(other: Any) -> bool:
    """Tell whether an operand's own class should be asked: it is no number, no array and no list."""
    return not (
        isinstance(other, (complex, np.generic, np.ndarray, list, tuple, str, bytes, type(None)))
        or hasattr(other, "__array__")
    )


def _binary(ufunc: Any) -> tuple[Any, Any, Any]:
    name = ufunc.__name__
    gufunc = ufunc.signature is not None
    entry = None if gufunc else ufuncs.find(ufunc)

    def compute(x: Any, y: Any) -> Any:
        if gufunc:
            return _generalized(ufunc, (x, y))
        return _apply(entry, (x, y))  # type: ignore[arg-type]

    def keep_weak(result: Any, x: Any, y: Any) -> Any:
        for operand in (x, y):
            if not (operand.__class__ in PYTHON_NUMBERS or (operand.__class__ is Tracer and operand.weak)):
                return result
        if result.__class__ is Tracer and result.dtype in _WEAK_DTYPES:
            result.weak = True
        return result

    def forward(self: Tracer, other: Any) -> Any:
        cls = other.__class__
        if cls is not Tracer and cls not in PYTHON_NUMBERS and _foreign(other):
            return NotImplemented
        mark()
        result = compute(self, other)
        return keep_weak(result, self, other) if self.weak else result

    def reflected(self: Tracer, other: Any) -> Any:
        cls = other.__class__
        if cls not in PYTHON_NUMBERS and cls is not Tracer and _foreign(other):
            return NotImplemented
        mark()
        result = compute(other, self)
        return keep_weak(result, other, self) if self.weak else result

    def in_place(self: Tracer, other: Any) -> Any:
        if self.is_number:
            return forward(self, other)  # a number: `a += b` gives the name a new one
        mark()
        return self._assign(compute(self, other))

    forward.__name__, reflected.__name__, in_place.__name__ = f"__{name}__", f"__r{name}__", f"__i{name}__"
    return forward, reflected, in_place


for _name, _ufunc in {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "truediv": np.true_divide,
    "floordiv": np.floor_divide,
    "mod": np.remainder,
    "pow": np.power,
    "matmul": np.matmul,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "lshift": np.left_shift,
    "rshift": np.right_shift,
}.items():
    _forward, _reflected, _in_place = _binary(_ufunc)
    setattr(Tracer, f"__{_name}__", _forward)
    setattr(Tracer, f"__r{_name}__", _reflected)
    setattr(Tracer, f"__i{_name}__", _in_place)
_forward, _reflected, _ = _binary(np.divmod)
Tracer.__divmod__, Tracer.__rdivmod__ = _forward, _reflected  # type: ignore[attr-defined]
for _name, _ufunc in {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}.items():
    setattr(Tracer, f"__{_name}__", _binary(_ufunc)[0])


def _unary(ufunc: Any) -> Any:
    entry = ufuncs.find(ufunc)

    def method(self: Tracer) -> Any:
        mark()
        result = _apply(entry, (self,))
        if self.weak and result.__class__ is Tracer:
            result.weak = True
        return result

    return method


for _name, _ufunc in {"neg": np.negative, "pos": np.positive, "abs": np.absolute, "invert": np.invert}.items():
    setattr(Tracer, f"__{_name}__", _unary(_ufunc))


def _round(self: Tracer, ndigits: int | None = None) -> Any:
    """As Python's round: to an integer without `ndigits`."""
    mark()
    if self.ndim:
        fail(TracerError, "type numpy.ndarray doesn't define __round__ method", "use np.round(x)")
    rounded = FUNCTIONS[np.round](self, ndigits or 0)
    return rounded if ndigits is not None else rounded.astype(np.int64)


Tracer.__round__ = _round  # type: ignore[attr-defined]


# --- calling ---


def apply(ufunc: Any, operands: Sequence[Any], dtype: Any = None) -> Any:
    """Apply a ufunc to tracers, arrays and numbers; concrete operands alone give a concrete result."""
    return _apply(ufuncs.find(ufunc), operands, dtype)


def _apply(entry: ufuncs.Elementwise, operands: Sequence[Any], dtype: Any = None) -> Any:
    trace = state.trace
    values: list[Any] = []
    keys: list[Any] = []
    traced = False
    for operand in operands:
        cls = operand.__class__
        if cls is Tracer:
            value = operand._value if operand._view is None else operand._refreshed()
            if value.__class__ is Value:
                traced = True
                if operand._trace is not trace:
                    check_reachable(operand._trace)
                keys.append(weak_class(value) if operand.weak else value.type.element)
            else:
                keys.append(None)
            values.append(value)
        elif cls is float or cls is int:
            values.append(operand)
            keys.append(cls)
        elif cls is bool:
            values.append(operand)
            keys.append(ir_types.i1)
        else:
            values.append(operand)
            keys.append(None)
    if None in keys:
        if not traced:
            traced = any(holds_tracer(value) for value in values)
        if not traced:
            with_dtype = {} if dtype is None else {"dtype": dtype}
            return wrap(entry.ufunc(*values, **with_dtype))
        for i, key in enumerate(keys):
            if key is None:
                values[i] = value = lift(operands[i])
                keys[i] = value.type.element
    elif not traced:
        return wrap(entry.ufunc(*values))
    result = entry(values, tuple(keys), dtype)
    if result.__class__ is tuple:
        return tuple([Tracer(each) for each in result])
    return Tracer(result)


def call_function(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call a NumPy function on tracers: the real one if all of them are concrete."""
    traced = any(map(is_traced, args)) or (kwargs and any(map(is_traced, kwargs.values())))
    if not traced and function not in ALWAYS:
        return _keep_aliases(wrap(function(*unwrap(args), **unwrap(kwargs))), args)
    found = FUNCTIONS.get(function)
    if found is None:
        _unsupported_function(function)
    return found(*args, **kwargs)


class _Opaque:
    """A step to memory shared by a NumPy function that gradloom does not know to return a view."""

    __slots__ = ("name", "shape", "why")
    writable = False

    def __init__(self, name: str, shape: tuple[int, ...]):
        self.name, self.shape = name, shape
        self.why = f"np.{name} returned a view of another array; write into a copy of it"

    def read(self, value: Any) -> Any:
        fail(
            UnsupportedError,
            f"an array was written after np.{self.name} had returned a view of it",
            f"copy the result of np.{self.name} with .copy()",
        )

    array = read


def _keep_aliases(result: Any, args: Sequence[Any]) -> Any:
    """Link a concrete result to the argument whose memory it shares."""
    if result.__class__ is Tracer:
        for source in args:
            if source.__class__ is Tracer and np.may_share_memory(result._value, source.concrete):  # type: ignore[arg-type]
                return source._through(_Opaque("view", result.shape), result._value)
    return result


def _unsupported_function(function: Any) -> NoReturn:
    name = function.__name__
    module = function.__module__ or "numpy"
    known = {each.__name__ for each in FUNCTIONS} | set(ufuncs.RULES)
    near = nearest(name, known, 4, 0.7)
    fail(
        UnsupportedError,
        f"gradloom cannot trace {module}.{name}",
        f"similar functions that it can: {near}" if near else "write it with other NumPy functions",
    )


def _use_ufunc_method(method: str) -> Any:
    def unsupported(ufunc: Any, *inputs: Any, **kwargs: Any) -> Any:
        fail(UnsupportedError, f"gradloom cannot trace np.{ufunc.__name__}.{method}", "")

    return unsupported


UFUNC_METHODS: dict[str, Callable[..., Any]] = {
    name: _use_ufunc_method(name) for name in ("__call__", "reduce", "accumulate", "reduceat", "outer", "at")
}


# --- NumPy's protocols ---


def _generalized(ufunc: Any, inputs: Any, **kwargs: Any) -> Any:
    """A generalized ufunc, such as matmul."""
    if not is_traced(list(inputs)) and not is_traced(kwargs):
        return wrap(ufunc(*unwrap(tuple(inputs)), **unwrap(kwargs)))
    function = FUNCTIONS.get(ufunc)
    if function is None:
        _unsupported_function(ufunc)
    return function(*inputs, **kwargs)


def _array_ufunc(self: Tracer, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
    """NumPy calls this for a ufunc with a tracer among its operands (NEP 13)."""
    mark()
    if ufunc.signature is not None and method == "__call__":
        return _generalized(ufunc, inputs, **kwargs)
    if method == "__call__" and not kwargs:
        return apply(ufunc, inputs)
    return UFUNC_METHODS[method](ufunc, *inputs, **kwargs)


def _array_function(self: Tracer, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
    """NumPy calls this for a function with a tracer among its arguments (NEP 18)."""
    mark()
    return call_function(function, args, kwargs)


Tracer.__array_ufunc__ = _array_ufunc  # type: ignore[attr-defined]
Tracer.__array_function__ = _array_function  # type: ignore[attr-defined]
