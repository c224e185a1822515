"""The traced array: what a user's NumPy code computes with while it is being traced.

A `Tracer` stands for an ndarray. It holds an IR value, or, for an array that the traced code made itself (`np.zeros(n)`), a
concrete ndarray until a traced number is written into it. Writes are functionalised: an array that is written gets a new value,
and its views (which keep their root and the steps that lead to them) read the new one. NumPy's functions are registered in
`FUNCTIONS` by the modules above; ufuncs are in ufuncs.py. Start reading at `Tracer`.
"""

import difflib
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

import numpy as np

from gradloom.trace import ufuncs
from gradloom.trace.context import (
    Array,
    MissingAttributeError,
    Trace,
    check_reachable,
    constant_array,
    current_trace,
    element_of,
    fail,
    mark,
    state,
)
from gradloom.trace.indexing import Advanced, Basic, parse
from gradloom.trace.promote import (
    bring,
    broadcast_shapes,
    convert,
    number,
    show,
    stretch,
    weak_class,
)
from gradloomc.dialects import nd
from gradloomc.ir import types as ir_types
from gradloomc.ir.core import Value
from gradloomc.ir.errors import DTypeError, ShapeError, TracerError, UnsupportedError
from gradloomc.ir.types import tensor

FUNCTIONS: dict[Any, Callable[..., Any]] = {}  # NumPy function -> its meaning for tracers
ALWAYS: set[Any] = set()  # those that are called for concrete tracers too: they return a view or write into an argument

_PYTHON_NUMBERS = (float, int, bool)
_WEAK_DTYPES = (np.dtype(np.float64), np.dtype(np.int64))
_IN_PLACE_METHODS = ("sort", "partition", "put", "resize", "setfield", "byteswap")


def implements(*functions: Any, always: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register what NumPy functions mean when an argument is traced; the signature is NumPy's.

    With `always`, also when all tracers among the arguments are concrete.
    """

    def register(meaning: Callable[..., Any]) -> Callable[..., Any]:
        for function in functions:
            FUNCTIONS[function] = meaning
            if always:
                ALWAYS.add(function)
        return meaning

    return register


class View:
    """How a tracer looks into another one: the root, the steps from it, and the state of the root last seen."""

    __slots__ = ("root", "seen", "steps")

    def __init__(self, root: "Tracer", steps: tuple[Any, ...]):
        self.root, self.steps, self.seen = root, steps, root._writes


class Tracer:
    """An array in a function that is being traced; behaves as the ndarray that it stands for.

    Attributes:
        weak: it stands for a Python float or int, whose dtype gives way to that of arrays.
    """

    __slots__ = ("__weakref__", "_contiguous", "_guard", "_trace", "_value", "_view", "_writes", "weak")
    __gradloom_tracer__ = True
    __array_priority__ = 1000.0

    def __init__(self, value: Any, weak: bool = False):
        self._value = value  # a Value, or a concrete ndarray
        self._view: View | None = None
        self._trace = state.trace
        self._writes = 0
        self._contiguous = False  # known to lie in memory in row-major order (tells whether a reshape is a view)
        self._guard: str | None = None  # a word on writing: 'argument', 'shared' (copy first), 'buffer' (a 0-d array)
        self.weak = weak

    # --- what it holds -----------------------------------------------------------------------------------------------------

    @property
    def value(self) -> Value:
        """The IR value that it stands for now."""
        value = self._value if self._view is None else self._refreshed()
        if value.__class__ is not Value:
            return self._lifted(value)
        if self._trace is not state.trace:
            check_reachable(self._trace)  # type: ignore[arg-type]
        return value

    @property
    def concrete(self) -> Array | None:
        """The ndarray that it still is, or None."""
        value = self._value if self._view is None else self._refreshed()
        return None if value.__class__ is Value else value

    def _refreshed(self) -> Any:
        """Return the value of a view, read again if its root has been written since."""
        view: View = self._view  # type: ignore[assignment]
        if view.seen != view.root._writes:
            value = view.root._value
            if value.__class__ is Value:
                mark()
                for step in view.steps:
                    value = step.read(value)
                self._trace = view.root._trace
            else:
                for step in view.steps:
                    value = step.array(value)
            self._value = value
            view.seen = view.root._writes
        return self._value

    def _lifted(self, array: Array) -> Value:
        root = self if self._view is None else self._view.root
        root._guard = "shared"
        return constant_array(array)

    def _through(self, step: Any, value: Any = None) -> "Tracer":
        """Return the view of this array that `step` selects."""
        current = self._value if self._view is None else self._refreshed()
        if value is None:
            value = step.read(self.value) if current.__class__ is Value else step.array(current)
        result = Tracer(value)
        if self._view is None:
            result._view = View(self, (step,))
        else:
            result._view = View(self._view.root, (*self._view.steps, step))
        return result

    # --- writing -----------------------------------------------------------------------------------------------------------

    def _check_writable(self) -> "Tracer":
        """Return the root of this array; raise if it cannot be written."""
        root = self
        if self._view is not None:
            root = self._view.root
            for step in self._view.steps:
                if not step.writable:
                    fail(UnsupportedError, "assignment destination is read-only", step.why)
        if root._guard == "argument":
            name = getattr(root._value, "hint", None) or "x"
            fail(
                UnsupportedError,
                f"{name!r} is an argument of the traced function: writing into it would change the caller's array",
                f"write into a copy: {name} = {name}.copy()",
            )
        return root

    def _write(self, step: Any, part: Any) -> None:
        """Replace what `step` selects by `part` (anything array-like), converted and broadcast as NumPy does."""
        root = self._check_writable()
        data = part.concrete if part.__class__ is Tracer else part
        if root._value.__class__ is not Value and data is not None and not holds_tracer(data):
            if root._guard == "shared":
                root._value, root._guard = root._value.copy(), None
                root._writes += 1
            target = self._value if self._view is None else self._refreshed()
            if step is not None:
                target = step.array(target) if step.__class__ is Basic else target
            target[...] = data
            return
        self._replace(root, step, lift(part))

    def _replace(self, root: "Tracer", step: Any, part: Value, add: bool = False) -> None:
        """Make the root's value one in which what `step` selects of this view is `part`."""
        trace = current_trace()
        if root._value.__class__ is not Value:
            root._contiguous = root._value.flags.c_contiguous
            root._value = root._lifted(root._value)
            root._trace, root._writes = trace, root._writes + 1
        if root._trace is not trace:
            fail(
                UnsupportedError,
                "an array of the function around this one is written here",
                "return the new array from the inner function instead",
            )
        steps = () if self._view is None else self._view.steps
        if step is not None:
            steps = (*steps, step)
        values = [root._value]
        for each in steps[:-1]:
            values.append(each.read(values[-1]))
        target = steps[-1].shape if steps else root._value.type.shape
        new = _fit(convert(part, root._value.type.element), target)
        for depth in range(len(steps) - 1, -1, -1):
            writer = steps[depth].add if add and depth == len(steps) - 1 else steps[depth].write
            new = writer(values[depth], new)
        root._value, root._guard = new, None if root._guard == "shared" else root._guard
        root._writes += 1

    def _assign(self, result: Any) -> "Tracer":
        """Take over the elements of `result`, as `out=` and `a += b` do; return self.

        Raises:
            ShapeError, DTypeError: NumPy would not write such a result here.
        """
        shape = np.shape(result) if result.__class__ is not Tracer else result.shape
        if shape != self.shape:
            if len(shape) > self.ndim or broadcast_shapes([shape, self.shape]) != self.shape:
                fail(
                    ShapeError,
                    f"non-broadcastable output operand with shape {show(self.shape)} doesn't match the broadcast "
                    f"shape {show(shape)}",
                )
        dtype = result.dtype if hasattr(result, "dtype") else np.result_type(result)
        if not np.can_cast(dtype, self.dtype, "same_kind"):
            fail(
                DTypeError,
                f"cannot cast the output from dtype('{dtype}') to dtype('{self.dtype}') with casting rule 'same_kind'",
                "make the array that is written a float array, or write a = a + b",
            )
        self._write(None, result)
        return self

    # --- attributes of ndarray -----------------------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        value = self._value
        return value.type.shape if value.__class__ is Value else value.shape

    @property
    def dtype(self) -> Any:
        value = self._value
        return value.type.element.dtype if value.__class__ is Value else value.dtype

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        value = self._value
        return value.type.size if value.__class__ is Value else value.size

    @property
    def itemsize(self) -> int:
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    @property
    def T(self) -> "Tracer":
        return FUNCTIONS[np.transpose](self)

    @property
    def mT(self) -> "Tracer":
        if self.ndim < 2:
            fail(ShapeError, "matrix transpose with ndim < 2 is undefined")
        return FUNCTIONS[np.swapaxes](self, -1, -2)

    @property
    def real(self) -> "Tracer":
        return self

    @property
    def imag(self) -> "Tracer":
        return FUNCTIONS[np.zeros_like](self)

    @property
    def flat(self) -> "Tracer":
        return FUNCTIONS[np.ravel](self)

    @property
    def base(self) -> "Tracer | None":
        return None if self._view is None else self._view.root

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        array = self.concrete
        if array is not None and hasattr(array, name):
            if name in _IN_PLACE_METHODS:
                self._write(None, array)  # an array that has been used is copied first
                array = self.concrete
            return getattr(array, name)
        if hasattr(np.ndarray, name):
            near = difflib.get_close_matches(name, _METHODS, 3)
            fail(
                MissingAttributeError,
                f"a traced array has no {name!r}: gradloom does not support ndarray.{name}",
                f"similar: {', '.join(near)}" if near else "",
            )
        raise AttributeError(f"'ndarray' object has no attribute {name!r}")

    def __repr__(self) -> str:
        array = self.concrete
        if array is not None:
            return repr(array)
        value = self._value
        name = f"%{value.hint}: " if value.hint else ""
        return f"<traced array {name}shape {value.type.shape}, {value.type.element.dtype}>"

    def __format__(self, spec: str) -> str:
        array = self.concrete
        return repr(self) if array is None else format(array, spec)

    # --- where a concrete value is needed --------------------------------------------------------------------------------------

    def __bool__(self) -> bool:
        array = self.concrete
        if array is not None:
            return bool(array)
        fail(
            TracerError,
            "the truth of a traced array is not known while the function is being traced",
            "use np.where(condition, a, b) for `if`, np.maximum and np.minimum for max and min, & and | for `and` and "
            "`or`; a flag that is no array can be passed as a plain bool, int or string",
        )

    def _needs_number(self, what: str, fix: str) -> NoReturn:
        fail(TracerError, f"{what} of a traced array needs its value, which is not known while the function is being traced", fix)

    def __float__(self) -> float:
        array = self.concrete
        if array is not None:
            return float(array)
        self._needs_number(
            "float()",
            "leave float() out (an array of shape () works as a number); if this is an assignment into an array "
            "made outside of the function, write into a copy made with np.array(...) or np.zeros(...) inside it",
        )

    def __int__(self) -> int:
        array = self.concrete
        if array is not None:
            return int(array)
        self._needs_number("int()", "use x.astype(int), or np.floor(x); pass sizes and counts as plain ints")

    def __complex__(self) -> complex:
        array = self.concrete
        if array is not None:
            return complex(array)
        self._needs_number("complex()", "compute with the real and the imaginary part as two arrays")

    def __index__(self) -> int:
        array = self.concrete
        if array is not None:
            return operator.index(array)
        self._needs_number("the use as an index, a size or a count", "pass it as a plain int")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        array = self.concrete
        if array is not None:
            return np.array(array, dtype=dtype) if copy else np.asarray(array, dtype=dtype)
        self._needs_number(
            "the conversion to an ndarray",
            "this code does not see traced arrays: if it calls np.array, np.asarray or np.zeros in a library, do that "
            "in your own code; if it is a method such as ndarray.dot(x), write np.dot(a, x)",
        )

    def item(self, *index: Any) -> Any:
        array = self.concrete
        if array is not None:
            return array.item(*index)
        self._needs_number(".item()", "leave .item() out: an array of shape () works as a number")

    def tolist(self) -> Any:
        array = self.concrete
        if array is not None:
            return array.tolist()
        self._needs_number(".tolist()", "use list(x), whose elements are traced arrays")

    def __len__(self) -> int:
        shape = self.shape
        if not shape:
            fail(TracerError, "len() of unsized object", "an array of shape () has no length; it is a number")
        return shape[0]

    def __iter__(self) -> Iterator[Any]:
        if not self.shape:
            fail(TracerError, "iteration over a 0-d array", "an array of shape () is one number")
        return (self[i] for i in range(self.shape[0]))

    def __contains__(self, item: Any) -> bool:
        return bool(FUNCTIONS[np.any](self == item))

    __hash__ = object.__hash__

    def __copy__(self) -> "Tracer":
        return self.copy()

    def __deepcopy__(self, memo: Any) -> "Tracer":
        return self.copy()

    def __reduce__(self) -> Any:
        self._needs_number("pickling", "")

    # --- indexing --------------------------------------------------------------------------------------------------------------

    def __getitem__(self, key: Any) -> Any:
        mark()
        key, traced = _concrete_key(key)
        current = self._value if self._view is None else self._refreshed()
        if current.__class__ is not Value and not traced:
            part = current[key]
            if not isinstance(part, np.ndarray) or not np.may_share_memory(part, current):
                return wrap(part)
            step = parse(current.shape, key)
            return self._through(step, part)
        step = parse(self.shape, key)
        if step.__class__ is Advanced:
            return Tracer(step.read(self.value))
        if step.scalar and not (key.__class__ is tuple and Ellipsis in key) and key is not Ellipsis:  # type: ignore[union-attr]
            return Tracer(step.read(self.value), self.weak)
        return self._through(step)

    def __setitem__(self, key: Any, part: Any) -> None:
        mark()
        key, traced = _concrete_key(key)
        if key.__class__ is Value and key.type.element.kind == "b":
            self._write_masked(key, part)
            return
        if part.__class__ is Tracer and part._view is not None and self._is_same_place(key, part):
            return  # the end of `x[key] += v`: the view has been written already
        root = self._check_writable()
        data = part.concrete if part.__class__ is Tracer else part
        if root._value.__class__ is not Value and not traced and data is not None and not holds_tracer(data):
            if root._guard == "shared":
                root._value, root._guard = root._value.copy(), None
                root._writes += 1
            (self._value if self._view is None else self._refreshed())[key] = data
            return
        self._replace(root, parse(self.shape, key), lift(part))

    def _is_same_place(self, key: Any, part: "Tracer") -> bool:
        view: View = part._view  # type: ignore[assignment]
        root, steps = (self, ()) if self._view is None else (self._view.root, self._view.steps)
        if view.root is not root or len(view.steps) != len(steps) + 1 or view.steps[:-1] != steps:
            return False
        last = view.steps[-1]
        if last.__class__ is not Basic:
            return False
        step = parse(self.shape, key)
        return step.__class__ is Basic and step.key == last.key and step.source == last.source  # type: ignore[union-attr]

    def _write_masked(self, mask: Value, part: Any) -> None:
        """Write where a traced mask is true: `x[mask] = v` for a `v` that does not depend on the number of elements."""
        shape, rank = self.shape, mask.type.rank
        if shape[:rank] != mask.type.shape:
            fail(
                ShapeError,
                f"boolean index of shape {show(mask.type.shape)} does not fit an array of shape {show(shape)}",
            )
        value = lift(part)
        if value.type.rank > len(shape) - rank and value.type.size != 1:
            fail(
                TracerError,
                "the number of elements that a traced boolean mask selects is not known before the function runs",
                "compute all elements and choose: x = np.where(mask, y, x)",
            )
        root = self._check_writable()
        if value.type.size == 1:
            value = nd.reshape(value, shape=())
        value = convert(value, element_of(self.dtype))
        mask = nd.broadcast(mask, shape=shape, dims=tuple(range(rank)))
        self._replace(root, None, nd.select(mask, _fit(value, shape), self.value))

    # --- NumPy's protocols -------------------------------------------------------------------------------------------------------

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        mark()
        if ufunc.signature is not None and method == "__call__":
            function = FUNCTIONS.get(ufunc)
            if function is not None:
                return function(*inputs, **kwargs)
        if method == "__call__" and not kwargs:
            return apply(ufunc, inputs)
        return UFUNC_METHODS[method](ufunc, *inputs, **kwargs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        mark()
        return call_function(function, args, kwargs)

    # --- methods -----------------------------------------------------------------------------------------------------------------

    def copy(self, order: str = "C") -> "Tracer":
        """Return an array of its own with the same elements."""
        array = self.concrete
        result = Tracer(self.value if array is None else array.copy())
        result._contiguous = True
        return result

    def astype(self, dtype: Any, order: str = "K", casting: str = "unsafe", subok: bool = True, copy: bool = True) -> "Tracer":
        """Return a copy converted to another dtype."""
        mark()
        array = self.concrete
        if array is not None:
            return Tracer(array.astype(dtype, casting=casting))  # type: ignore[arg-type]
        if not np.can_cast(self.dtype, dtype, casting):  # type: ignore[arg-type]
            fail(DTypeError, f"cannot cast array data from {self.dtype!r} to {np.dtype(dtype)!r} according to the rule '{casting}'")
        if not copy and np.dtype(dtype) == self.dtype:
            return self
        return Tracer(convert(self.value, element_of(np.dtype(dtype))))

    def reshape(self, *shape: Any, order: str = "C", copy: bool | None = None) -> "Tracer":
        """Return the same elements under another shape."""
        mark()
        return FUNCTIONS[np.reshape](self, shape[0] if len(shape) == 1 else shape, order)

    def transpose(self, *axes: Any) -> "Tracer":
        """Return the array with its axes permuted (reversed by default)."""
        mark()
        order = None if not axes else (axes[0] if len(axes) == 1 else axes)
        return FUNCTIONS[np.transpose](self, order)

    def flatten(self, order: str = "C") -> "Tracer":
        """Return a copy with one axis."""
        mark()
        return Tracer(FUNCTIONS[np.ravel](self, order).value)

    def conj(self) -> "Tracer":
        """Return the array itself: it is real."""
        return self

    conjugate = conj

    def fill(self, value: Any) -> None:
        """Set all elements."""
        mark()
        self._write(None, value)

    def clip(self, min: Any = None, max: Any = None, out: Any = None, **kwargs: Any) -> "Tracer":
        """Return the array limited to [min, max]."""
        mark()
        return FUNCTIONS[np.clip](self, min, max, out=out, **kwargs)


def _method(name: str, function: Any) -> Any:
    def method(self: Tracer, *args: Any, **kwargs: Any) -> Any:
        mark()
        return call_function(function, (self, *args), kwargs)

    method.__name__ = name
    method.__doc__ = f"As numpy.{name}."
    return method


for _name in (
    "all any argmax argmin argsort cumprod cumsum diagonal dot max mean min nonzero prod ptp ravel repeat round searchsorted "
    "squeeze std sum swapaxes take trace var"
).split():
    setattr(Tracer, _name, _method(_name, getattr(np, _name)))
_METHODS = [name for name in vars(Tracer) if not name.startswith("_")]


# --- operators ---------------------------------------------------------------------------------------------------------------


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
            return FUNCTIONS[ufunc](x, y)
        return _apply(entry, (x, y))  # type: ignore[arg-type]

    def keep_weak(result: Any, x: Any, y: Any) -> Any:
        for operand in (x, y):
            if not (operand.__class__ in _PYTHON_NUMBERS or (operand.__class__ is Tracer and operand.weak)):
                return result
        if result.__class__ is Tracer and result.dtype in _WEAK_DTYPES:
            result.weak = True
        return result

    def forward(self: Tracer, other: Any) -> Any:
        cls = other.__class__
        if cls is not Tracer and cls not in _PYTHON_NUMBERS and _foreign(other):
            return NotImplemented
        mark()
        result = compute(self, other)
        return keep_weak(result, self, other) if self.weak else result

    def reflected(self: Tracer, other: Any) -> Any:
        cls = other.__class__
        if cls not in _PYTHON_NUMBERS and cls is not Tracer and _foreign(other):
            return NotImplemented
        mark()
        result = compute(other, self)
        return keep_weak(result, other, self) if self.weak else result

    def in_place(self: Tracer, other: Any) -> Any:
        if not self.shape and self._view is None and self._guard != "buffer":
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


# --- calling ---------------------------------------------------------------------------------------------------------------------


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
    near = [each for each in difflib.get_close_matches(name, known, 4, 0.55) if each != name]
    fail(
        UnsupportedError,
        f"gradloom cannot trace {module}.{name}",
        f"similar functions that it can: {', '.join(near)}" if near else "write it with other NumPy functions",
    )


def _use_ufunc_method(method: str) -> Any:
    def unsupported(ufunc: Any, *inputs: Any, **kwargs: Any) -> Any:
        fail(UnsupportedError, f"gradloom cannot trace np.{ufunc.__name__}.{method}", "")

    return unsupported


UFUNC_METHODS: dict[str, Callable[..., Any]] = {
    name: _use_ufunc_method(name) for name in ("__call__", "reduce", "accumulate", "reduceat", "outer", "at")
}


# --- concrete and traced ---------------------------------------------------------------------------------------------------------


def is_traced(x: Any) -> bool:
    """Tell whether `x` is, or holds (in lists, tuples and dicts), an array whose elements are not known yet."""
    cls = x.__class__
    if cls is Tracer:
        return x.concrete is None
    if cls is list or cls is tuple:
        return any(map(is_traced, x))
    if cls is dict:
        return any(map(is_traced, x.values()))
    return False


def holds_tracer(x: Any) -> bool:
    """Tell whether a sequence holds a traced array."""
    cls = x.__class__
    return (cls is list or cls is tuple or cls is Tracer) and is_traced(x)


def unwrap(x: Any) -> Any:
    """Replace concrete tracers, also in lists, tuples and dicts, by their ndarrays."""
    cls = x.__class__
    if cls is Tracer:
        return x.concrete
    if cls is list:
        return [unwrap(each) for each in x]
    if cls is tuple:
        return tuple([unwrap(each) for each in x])
    if cls is dict:
        return {name: unwrap(each) for name, each in x.items()}
    return x


def wrap(x: Any) -> Any:
    """Make arrays that traced code has computed writable by traced numbers; all else stays as it is."""
    if x.__class__ is np.ndarray:
        if x.dtype.kind in "fiub" and state.trace is not None:
            return Tracer(x)
    elif x.__class__ is tuple or x.__class__ is list:
        return x.__class__(map(wrap, x))
    return x


def _concrete_key(key: Any) -> tuple[Any, bool]:
    """Replace tracers in an index by arrays or, if traced, by values; tell whether there was a traced one."""
    if key.__class__ is Tracer:
        array = key.concrete
        return (key.value, True) if array is None else (array, False)
    if key.__class__ is tuple:
        parts = [_concrete_key(each) for each in key]
        return tuple([part for part, _ in parts]), any(traced for _, traced in parts)
    if key.__class__ is list:
        if is_traced(key):
            return lift(key), True
        return unwrap(key), False
    return key, False


def _fit(value: Value, shape: tuple[int, ...]) -> Value:
    """Broadcast what is assigned to the shape that it is assigned to (leading axes of 1 are dropped, as in NumPy)."""
    have = value.type.shape
    if have == shape:
        return value
    extra = len(have) - len(shape)
    if extra > 0 and all(extent == 1 for extent in have[:extra]):
        value = nd.reshape(value, shape=have[extra:])
        have = have[extra:]
    fits = len(have) <= len(shape) and all(
        a in (1, b) for a, b in zip(reversed(have), reversed(shape), strict=False)
    )
    if not fits:
        fail(ShapeError, f"could not broadcast input array from shape {show(value.type.shape)} into shape {show(shape)}")
    return stretch(value, shape)


def lift(x: Any) -> Value:
    """Return the IR value of a tracer, an array, a number or nested lists of them, at the insertion point.

    Raises:
        DTypeError: it is nothing that has one.
    """
    cls = x.__class__
    if cls is Tracer:
        return x.value
    if cls is Value:
        return x
    if cls is float:
        return number(x, tensor((), ir_types.f64))
    if cls is bool:
        return number(x, tensor((), ir_types.i1))
    if cls is int:
        return constant_array(np.asarray(x))
    if isinstance(x, np.ndarray):
        return constant_array(x)
    if isinstance(x, np.generic):
        return number(x, tensor((), element_of(x.dtype)))
    if cls is list or cls is tuple:
        return _lift_sequence(x)
    if x is None or isinstance(x, (str, bytes)):
        fail(DTypeError, f"{x!r} is neither an array nor a number")
    return constant_array(np.asarray(x))


def _lift_sequence(items: Any) -> Value:
    """Stack nested sequences as np.array does."""
    if not is_traced(items):
        return constant_array(np.asarray(unwrap(items)))
    rows = [each if each.__class__ in _PYTHON_NUMBERS else lift(each) for each in items]
    shapes = [row.type.shape if row.__class__ is Value else () for row in rows]
    if any(shape != shapes[0] for shape in shapes):
        fail(
            ShapeError,
            "setting an array element with a sequence. The requested array has an inhomogeneous shape: its parts have "
            f"shapes {' '.join(map(show, shapes))}",
        )
    element = element_of(
        np.result_type(*[row.type.element.dtype if row.__class__ is Value else np.result_type(row) for row in rows])
    )
    parts = [bring(row, element) for row in rows]
    parts = [nd.reshape(part, shape=(1, *part.type.shape)) for part in parts]
    return nd.concatenate(*parts, axis=0)
