"""The traced array: what a user's NumPy code computes with while it is being traced.

A `Tracer` stands for an ndarray: it has its attributes, its indexing and those of its methods that are no NumPy
function; where Python needs a concrete value it raises, unless it has one. What it holds, and what a write leaves, is
in memory.py; operators and NumPy's protocols are in calling.py; NumPy's functions are registered in `FUNCTIONS` by the
modules above.
"""

import operator
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import numpy as np

from gradloom.trace.context import (
    Array,
    MissingAttributeError,
    element_of,
    fail,
    is_assignment,
    is_followed,
    is_subscript,
    mark,
    nearest,
    state,
    user_location,
)
from gradloom.trace.indexing import Advanced, Basic, parse
from gradloom.trace.memory import Memory, is_traced, lift, unwrap
from gradloom.trace.promote import convert
from gradloomc.ir.core import Value
from gradloomc.ir.errors import DTypeError, ShapeError, TracerError, UnsupportedError

FUNCTIONS: dict[Any, Callable[..., Any]] = {}  # NumPy function -> its meaning for tracers
ALWAYS: set[Any] = set()  # those that are called for concrete tracers too: they return a view or write into an argument

_AS_INDEX = (
    "an ndarray or a list does not know what a traced index means: write np.take(table, index, axis=0), or make the "
    "table an argument of the function"
)
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


class Tracer(Memory):
    """An array in a function that is being traced; behaves as the ndarray that it stands for."""

    __slots__ = ()
    __gradloom_tracer__ = True
    __array_priority__ = 1000.0

    # --- attributes of ndarray ----------------------------------------------------------------------------------------

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
        return self.root if self.steps else None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        array = self.concrete
        if array is not None and hasattr(array, name):
            if name in _IN_PLACE_METHODS:
                self._write(array)  # an array that has been used is copied first
                array = self.concrete
            return getattr(array, name)
        if hasattr(np.ndarray, name):
            near = nearest(name, [each for each in dir(Tracer) if each[0] != "_"])
            fail(
                MissingAttributeError,
                f"a traced array has no {name!r}: gradloom does not support ndarray.{name}",
                f"similar: {near}" if near else "",
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

    # --- where a concrete value is needed -----------------------------------------------------------------------------

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
        if not is_followed():
            fail(
                TracerError,
                f"{what} of a traced array needs its value, which is not known while the function is being traced; "
                "this function was called through a class, a list or a dict of the outside, so that its np and math "
                "are the real ones",
                "call it by a name of the module, by a method of an object, or pass it as an argument",
            )
        if is_assignment(user_location()):
            fail(
                TracerError,
                "a traced array is written into an array that no traced array went into: it is a plain ndarray, which "
                "cannot hold what is not known while the function is being traced",
                "make it with np.array(...), np.zeros(...) or the like in the function: out = np.array(data) instead "
                "of data.copy() or data * 1.0",
            )
        fail(
            TracerError,
            f"{what} of a traced array needs its value, which is not known while the function is being traced",
            fix,
        )

    def __float__(self) -> float:
        array = self.concrete
        if array is not None:
            return float(array)
        self._needs_number(
            "float()",
            "leave float() out: an array of shape () works as a number",
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
        self._needs_number(
            "the use as an index, a size or a count",
            _AS_INDEX if is_subscript(user_location()) else "pass it as a plain int",
        )

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        array = self.concrete
        if array is not None:
            return np.array(array, dtype=dtype) if copy else np.asarray(array, dtype=dtype)
        self._needs_number(
            "the conversion to an ndarray",
            _AS_INDEX
            if is_subscript(user_location())
            else "this code does not see traced arrays: make one array of a list first, as in "
            "np.exp(np.array([a, b])); if it calls np.array, np.asarray or np.zeros in a library, do that in your own "
            "code; if it is a method such as ndarray.dot(x), write np.dot(a, x)",
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

    # --- indexing -----------------------------------------------------------------------------------------------------

    def __getitem__(self, key: Any) -> Any:
        mark()
        key, traced = concrete_key(key)
        if self.root._view is not None and not traced:
            step: Any = parse(self.shape, key)
            if step.__class__ is Basic:
                part = self._part(step)
                if part is not None:
                    return self._element(part) if step.scalar else self._through(step, part)
        current = self._value if self._view is None else self._refreshed()
        if current.__class__ is not Value and not traced:
            part = current[key]
            if not isinstance(part, np.ndarray) or not np.may_share_memory(part, current):
                return wrap(part)
            return self._through(parse(current.shape, key), part)
        step = parse(self.shape, key)
        if isinstance(step, Advanced):
            return Tracer(step.read(self.value))
        if step.scalar and not (key.__class__ is tuple and Ellipsis in key) and key is not Ellipsis:
            return Tracer(step.read(self.value), self.weak)
        return self._through(step)

    def _element(self, part: Any) -> Any:
        return Tracer(part) if part.__class__ is Value else part

    def __setitem__(self, key: Any, part: Any) -> None:
        mark()
        if self.is_number:
            fail(
                UnsupportedError, f"'numpy.{self.dtype}' object does not support item assignment", "assign to the name"
            )
        key, traced = concrete_key(key)
        if key.__class__ is Value and key.type.element.kind == "b":
            self._write_masked(key, part)
            return
        if part.__class__ is Tracer and part.steps and self._is_same_place(key, part):
            return  # the end of `x[key] += v`: the view has been written already
        target = None if traced else self._write_concrete(part)
        if target is not None:
            target[key] = part
        else:
            self._replace(self._check_writable(), parse(self.shape, key), lift(part))

    def _is_same_place(self, key: Any, part: "Tracer") -> bool:
        if part.root is not self.root or part.steps[:-1] != self.steps:
            return False
        last, step = part.steps[-1], parse(self.shape, key)
        return (
            isinstance(last, Basic) and isinstance(step, Basic) and step.key == last.key and step.source == last.source
        )

    # --- methods ------------------------------------------------------------------------------------------------------

    def copy(self, order: str = "C") -> "Tracer":
        """Return an array of its own with the same elements."""
        array = self.concrete
        result = Tracer(self.value if array is None else array.copy())
        result._contiguous = bool(self.shape)
        return result

    def astype(
        self, dtype: Any, order: str = "K", casting: str = "unsafe", subok: bool = True, copy: bool = True
    ) -> "Tracer":
        """Return a copy converted to another dtype."""
        mark()
        array = self.concrete
        if array is not None:
            return Tracer(array.astype(dtype, casting=casting))  # type: ignore[arg-type]
        if not np.can_cast(self.dtype, dtype, casting):  # type: ignore[arg-type]
            fail(
                DTypeError,
                f"cannot cast array data from {self.dtype!r} to {np.dtype(dtype)!r} according to the rule '{casting}'",
            )
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
        self._write(value)

    def clip(self, min: Any = None, max: Any = None, out: Any = None, **kwargs: Any) -> "Tracer":
        """Return the array limited to [min, max]."""
        mark()
        return FUNCTIONS[np.clip](self, min, max, out=out, **kwargs)


def wrap(x: Any) -> Any:
    """Make arrays that traced code has computed writable by traced numbers; all else stays as it is."""
    if x.__class__ is np.ndarray:
        if x.dtype.kind in "fiub" and state.trace is not None:
            return Tracer(x)
    elif x.__class__ is tuple or x.__class__ is list:
        return x.__class__(map(wrap, x))
    return x


def concrete_key(key: Any) -> tuple[Any, bool]:
    """Replace tracers in an index by arrays or, if traced, by values; tell whether there was a traced one."""
    if key.__class__ is Tracer:
        array = key.concrete
        return (key.value, True) if array is None else (array, False)
    if key.__class__ is tuple:
        parts = [concrete_key(each) for each in key]
        return tuple([part for part, _ in parts]), any(traced for _, traced in parts)
    if key.__class__ is list:
        if is_traced(key):
            return lift(key), True
        return unwrap(key), False
    return key, False
