"""What a traced array holds, how views share it, and what a write leaves.

`Memory` is the lower half of a tracer. It holds an IR value, or, for an array that the traced code made itself
(`np.zeros(n)`), a concrete ndarray until a traced number is written into it. Writes are functionalised: the array that
is written gets a new value, and its views, which keep their root and the steps that lead to them, read the new one.
Elements written one by one are kept apart and joined when somebody reads the whole, so that a loop that fills an array
costs one op per element and no more. Knows nothing of NumPy's functions.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradloom.trace.context import (
    Array,
    Trace,
    check_reachable,
    constant_array,
    current_trace,
    element_of,
    fail,
    mark,
    state,
)
from gradloom.trace.indexing import Basic
from gradloom.trace.promote import bring, broadcast_shapes, convert, length, number, show, stretch
from gradloomc.dialects import nd
from gradloomc.ir import types as ir_types
from gradloomc.ir.core import Value
from gradloomc.ir.errors import DTypeError, ShapeError, TracerError, UnsupportedError
from gradloomc.ir.extents import is_symbolic
from gradloomc.ir.types import tensor

PYTHON_NUMBERS = (float, int, bool)
_FEW_PARTS = 2  # so many elements are put in one after the other; more are joined in one op

Row = tuple[int, ...]


class View:
    """How a tracer looks into another one: the root, the steps from it, and the state of the root last seen."""

    __slots__ = ("root", "seen", "steps")

    def __init__(self, root: "Memory", steps: tuple[Any, ...]):
        self.root, self.steps, self.seen = root, steps, root._writes


class Pending:
    """Elements or rows of a root that were written one by one: `parts[i, j]` replaces `x[i, j]`."""

    __slots__ = ("parts", "trace", "width")

    def __init__(self, trace: Trace, width: int):
        self.parts: dict[Row, Value] = {}
        self.trace, self.width = trace, width

    def join(self, base: Value) -> Value:
        """Return the whole array."""
        shape = base.type.shape
        if len(self.parts) <= _FEW_PARTS:
            for row, part in self.parts.items():
                base = Basic(shape, (*row, *[slice(None)] * (len(shape) - self.width))).write(base, part)
            return base
        lead, rest = shape[: self.width], shape[self.width :]
        count = math.prod(lead)
        flat = nd.reshape(base, shape=(count, *rest))
        pieces, done = [], 0
        for row in sorted(self.parts):
            position = int(np.ravel_multi_index(row, lead))
            if position > done:
                pieces.append(_rows(flat, done, position))
            pieces.append(nd.reshape(self.parts[row], shape=(1, *rest)))
            done = position + 1
        if done < count:
            pieces.append(_rows(flat, done, count))
        return nd.reshape(nd.concatenate(*pieces, axis=0), shape=shape)


def _rows(value: Value, start: int, limit: int) -> Value:
    shape = value.type.shape
    zeros = (0,) * (len(shape) - 1)
    return nd.slice_(value, start=(start, *zeros), limit=(limit, *shape[1:]), stride=(1,) * len(shape))


def row_of(steps: Sequence[Any]) -> Row | None:
    """Return the leading integers that steps come to, or None if they are anything but an element or a row."""
    row: Row = ()
    for step in steps:
        if step.__class__ is not Basic or step.row is None:
            return None
        row += step.row
    return row or None


class Memory:
    """What a traced array holds.

    Attributes:
        weak: it stands for a Python float or int, whose dtype gives way to that of arrays.
    """

    __slots__ = ("__weakref__", "_contiguous", "_guard", "_trace", "_value", "_view", "_writes", "weak")

    def __init__(self, value: Any, weak: bool = False):
        self._value: Any = value  # a Value, or a concrete ndarray
        self._view: View | Pending | None = None
        self._trace = state.trace
        self._writes = 0
        self._contiguous = False  # known to lie in memory in row-major order (tells whether a reshape is a view)
        self._guard: str | None = None  # a word on writing: 'argument', or 'shared' (copy first)
        self.weak = weak

    @property
    def shape(self) -> tuple[int, ...]:
        """As of ndarray."""
        value = self._value
        return value.type.shape if value.__class__ is Value else value.shape

    @property
    def dtype(self) -> Any:
        """As of ndarray."""
        value = self._value
        return value.type.element.dtype if value.__class__ is Value else value.dtype

    @property
    def ndim(self) -> int:
        """As of ndarray."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """As of ndarray."""
        value = self._value
        return value.type.size if value.__class__ is Value else value.size

    # --- reading ------------------------------------------------------------------------------------------------------

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

    @property
    def is_number(self) -> bool:
        """It is what NumPy returns as a number rather than as an array of shape (): it cannot be written in place."""
        return self._view is None and self._value.__class__ is Value and not self.shape and not self._contiguous

    @property
    def root(self) -> Any:
        """The array whose memory this is: itself, unless it is a view."""
        return self._view.root if self._view.__class__ is View else self  # type: ignore[union-attr]

    @property
    def steps(self) -> tuple[Any, ...]:
        """The steps from the root."""
        return self._view.steps if self._view.__class__ is View else ()  # type: ignore[union-attr]

    def _refreshed(self) -> Any:
        """Return the current content: of a view whose root has been written, or of a root with pending elements."""
        view = self._view
        if view.__class__ is Pending:
            return self._joined()
        root = view.root  # type: ignore[union-attr]
        if view.seen == root._writes:  # type: ignore[union-attr]
            return self._value
        mark()
        steps = view.steps  # type: ignore[union-attr]
        value = _pending_part(root, steps)
        if value is None:
            value = root._joined() if root._view is not None else root._value
            for step in steps:
                value = step.read(value) if value.__class__ is Value else step.array(value)
        if value.__class__ is not Value or root._trace is state.trace:
            self._value, self._trace, view.seen = value, root._trace, root._writes  # type: ignore[union-attr]
        return value

    def _joined(self) -> Value:
        """Return the value of a root with pending elements, and settle on it if it belongs to this trace."""
        pending: Pending = self._view  # type: ignore[assignment]
        base = self._value if self._value.__class__ is Value else self._lifted(self._value)
        value = pending.join(base)
        if pending.trace is state.trace:
            self._value, self._view, self._guard = value, None, None
        return value

    def _lifted(self, array: Array) -> Value:
        self.root._guard = "shared"
        return constant_array(array)

    def _through(self, step: Any, value: Any = None) -> Any:
        """Return the view of this array that `step` selects; `value` is what it holds, if that is known."""
        if value is None:
            current = self._value if self._view is None else self._refreshed()
            value = step.read(self.value) if current.__class__ is Value else step.array(current)
        result = self.__class__(value)
        result._view = View(self.root, (*self.steps, step))
        return result

    def _part(self, step: Basic) -> Any:
        """Return what a root with pending elements holds at one place; None if the whole must be read."""
        root, row = self.root, row_of((*self.steps, step))
        pending = root._view
        if pending is None or row is None or len(row) != pending.width or pending.trace is not state.trace:
            return None
        part = pending.parts.get(row)
        if part is not None:
            return part
        base = root._value
        if base.__class__ is not Value:
            return base[row]
        return Basic(base.type.shape, (*row, *[slice(None)] * (base.type.rank - len(row)))).read(base)

    # --- writing ------------------------------------------------------------------------------------------------------

    def _check_writable(self) -> Any:
        """Return the root of this array; raise if it cannot be written."""
        root = self.root
        for step in self.steps:
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

    def _write_concrete(self, data: Any) -> Array | None:
        """Return the ndarray to write `data` into, if this array and the data are both concrete."""
        root = self._check_writable()
        if root._value.__class__ is Value or root._view is not None or holds_tracer(data):
            return None
        if root._guard == "shared":
            root._value, root._guard = root._value.copy(), None
            root._writes += 1
        return self._value if self._view is None else self._refreshed()

    def _write(self, part: Any) -> None:
        """Replace all elements by `part` (anything array-like), converted and broadcast as NumPy does."""
        target = self._write_concrete(part)
        if target is not None:
            target[...] = part
        else:
            self._replace(self.root, None, lift(part))

    def _replace(self, root: Any, step: Any, part: Value, add: bool = False) -> None:
        """Make the root's value one in which what `step` selects of this array is `part`, or has `part` added."""
        trace = current_trace()
        if root._value.__class__ is not Value and root._view is None:
            root._trace = trace
        if root._trace is not trace:
            fail(
                UnsupportedError,
                "an array of the function around this one is written here",
                "return the new array from the inner function instead",
            )
        steps = self.steps if step is None else (*self.steps, step)
        element = element_of(root._value.dtype) if root._value.__class__ is not Value else root._value.type.element
        part = convert(part, element)
        row = None if add else row_of(steps)
        if row is not None:
            root._set_row(row, _fit(part, steps[-1].shape))
            return
        if root._view is not None:
            root._joined()
        elif root._value.__class__ is not Value:
            root._contiguous = root._value.flags.c_contiguous
            root._value, root._guard = root._lifted(root._value), None
        values = [root._value]
        for each in steps[:-1]:
            values.append(each.read(values[-1]))
        new = _fit(part, steps[-1].shape if steps else root._value.type.shape)
        for depth in range(len(steps) - 1, -1, -1):
            writer = steps[depth].add if add and depth == len(steps) - 1 else steps[depth].write
            new = writer(values[depth], new)
        root._value = new
        root._writes += 1

    def _set_row(self, row: Row, part: Value) -> None:
        pending = self._view
        if pending is not None and pending.width != len(row):  # type: ignore[union-attr]
            self._joined()
            pending = None
        if pending is None:
            if self._value.__class__ is not Value:
                self._contiguous = self._value.flags.c_contiguous
            pending = self._view = Pending(current_trace(), len(row))
        pending.parts[row] = part  # type: ignore[union-attr]
        self._writes += 1

    def _assign(self, result: Any) -> Any:
        """Take over the elements of `result`, as `out=` and `a += b` do; return self.

        Raises:
            ShapeError, DTypeError: NumPy would not write such a result here.
        """
        shape = np.shape(result) if not isinstance(result, Memory) else result.shape
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
        self._write(result)
        return self

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


def _pending_part(root: Memory, steps: Sequence[Any]) -> Value | None:
    """Return the pending element or row that steps lead to, if there is one and it belongs to this trace."""
    pending = root._view
    if pending is None or pending.trace is not state.trace:  # type: ignore[union-attr]
        return None
    row = row_of(steps)
    return None if row is None else pending.parts.get(row)  # type: ignore[union-attr]


def _fit(value: Value, shape: tuple[int, ...]) -> Value:
    """Broadcast what is assigned to the shape that it is assigned to (leading axes of 1 are dropped, as in NumPy)."""
    have = value.type.shape
    extra = len(have) - len(shape)
    if not extra and have == shape:
        return value
    if extra > 0 and all(extent == 1 for extent in have[:extra]):
        value = nd.reshape(value, shape=have[extra:])
        have = have[extra:]
    fits = len(have) <= len(shape) and all(a in (1, b) for a, b in zip(reversed(have), reversed(shape), strict=False))
    if not fits:
        fail(
            ShapeError, f"could not broadcast input array from shape {show(value.type.shape)} into shape {show(shape)}"
        )
    return stretch(value, shape)


# --- concrete and traced ----------------------------------------------------------------------------------------------


def is_traced(x: Any) -> bool:
    """Tell whether `x` is, or holds (in lists, tuples and dicts), an array whose elements are not known yet."""
    cls = x.__class__
    if issubclass(cls, Memory):
        return x.concrete is None
    if cls is list or cls is tuple:
        return any(map(is_traced, x))
    if cls is dict:
        return any(map(is_traced, x.values()))
    return False


def holds_tracer(x: Any) -> bool:
    """Tell whether a sequence holds a traced array."""
    cls = x.__class__
    return (cls is list or cls is tuple or issubclass(cls, Memory)) and is_traced(x)


def unwrap(x: Any) -> Any:
    """Replace concrete tracers, also in lists, tuples and dicts, by their ndarrays."""
    cls = x.__class__
    if issubclass(cls, Memory):
        return x.concrete
    if cls is list:
        return [unwrap(each) for each in x]
    if cls is tuple:
        return tuple([unwrap(each) for each in x])
    if cls is dict:
        return {name: unwrap(each) for name, each in x.items()}
    return x


def lift(x: Any) -> Value:
    """Return the IR value of a tracer, an array, a number or nested lists of them, at the insertion point.

    Raises:
        DTypeError: it is nothing that has one.
    """
    cls = x.__class__
    if issubclass(cls, Memory):
        return x.value
    if cls is Value:
        return x
    if cls is float:
        return number(x, tensor((), ir_types.f64))
    if cls is bool:
        return number(x, tensor((), ir_types.i1))
    if cls is int:
        return length(x, tensor((), ir_types.i64)) if is_symbolic(x) else constant_array(np.asarray(x))
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
    rows: list[Any] = [each if each.__class__ in PYTHON_NUMBERS else lift(each) for each in items]
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
