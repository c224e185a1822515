"""The function that is being traced: where its ops go, which arrays it takes besides its arguments, where the user's
code stands.

Owns the stack of open traces (one per thread) and the errors that name the user's line. Knows no NumPy function and no
tracer.
"""

import os
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import numpy as np

from gradloom.trace.positions import Pattern, pattern_of, table_of
from gradloomc.dialects import nd
from gradloomc.ir.attributes import Dense, only_number
from gradloomc.ir.builder import at, insertion
from gradloomc.ir.core import Block, Value
from gradloomc.ir.errors import DTypeError, GradloomError, TracerError, UnsupportedError
from gradloomc.ir.location import UNKNOWN, CodeLocation, Location
from gradloomc.ir.types import ScalarType, TensorType, scalar_type, tensor

Array = np.ndarray[Any, Any]

# elements; an array that the traced function made itself, and that is no larger, becomes a constant
LARGEST_OWN_ARRAY = 1 << 16
LARGEST_CONSTANT = 16  # elements; a larger array is passed to the compiled function instead
_FULL_COPY_BYTES = 1 << 20

_OWN_FOLDERS = tuple(
    os.path.dirname(os.path.abspath(path)) + os.sep
    for path in (
        os.path.dirname(__file__),
        sys.modules["gradloomc"].__file__ or "",
        np.__file__,
        os.path.join(os.path.dirname(os.path.dirname(np.__file__)), "scipy", "__init__.py"),
    )
)


class _OwnFiles(dict[str, bool]):
    """Whether a source file belongs to gradloom, NumPy or SciPy rather than to the user."""

    def __missing__(self, filename: str) -> bool:
        own = self[filename] = filename.startswith(_OWN_FOLDERS)
        return own


_own_files = _OwnFiles()


def nearest(name: str, known: Iterable[str], count: int = 3, cutoff: float = 0.6) -> str:
    """Return the names among `known` that are most like `name`, separated by commas."""
    import difflib  # only errors need it

    return ", ".join(each for each in difflib.get_close_matches(name, known, count, cutoff) if each != name)


def is_own_file(filename: str) -> bool:
    """Tell whether a source file belongs to gradloom, NumPy or SciPy."""
    return _own_files[filename]


def user_location() -> Location:
    """Return where the innermost frame of the user's code stands."""
    frame: Any = sys._getframe(1)
    while frame is not None and _own_files[frame.f_code.co_filename]:
        frame = frame.f_back
    return UNKNOWN if frame is None else CodeLocation(frame.f_code, frame.f_lasti)


def is_followed() -> bool:
    """Tell whether the innermost frame of the user's code belongs to a clone, where constructors are shadowed."""
    frame: Any = sys._getframe(1)
    while frame is not None and _own_files[frame.f_code.co_filename]:
        frame = frame.f_back
    return frame is None or type(frame.f_globals) is not dict


def is_subscript(location: Location) -> bool:
    """Tell whether the instruction at a place in the user's code reads an element, as `x[i]` does."""
    return _instruction(location) == "BINARY_SUBSCR"


def is_assignment(location: Location) -> bool:
    """Tell whether the instruction at a place in the user's code writes elements, as `x[i] = 1.0` does."""
    return _instruction(location) in ("STORE_SUBSCR", "STORE_SLICE")


def _instruction(location: Location) -> str:
    if not isinstance(location, CodeLocation):
        return ""
    import dis  # slow to import, and only messages of errors need it

    return dis.opname[location.code.co_code[location.instruction]]


def mark() -> None:
    """Give the ops that follow the place of the user's call."""
    frame: Any = sys._getframe(2)
    while frame is not None and _own_files[frame.f_code.co_filename]:
        frame = frame.f_back
    if frame is not None:
        insertion.location = CodeLocation(frame.f_code, frame.f_lasti)


def fail(
    error: type[GradloomError], message: str, fix: str = "", notes: tuple[tuple[str, Location], ...] = ()
) -> NoReturn:
    """Raise `error` at the user's line."""
    raise error(message, user_location(), notes, fix) from None


class Trace:
    """One function being traced.

    Attributes:
        block: its body.
        parent: the trace around it, whose values it may use.
        open: False once the function is finished.
        closed: it uses no value of a function around it.
    """

    __slots__ = ("_arrays", "_originals", "block", "closed", "open", "parent")

    def __init__(self, block: Block, parent: "Trace | None"):
        self.block, self.parent = block, parent
        self.open = self.closed = True
        self._arrays: dict[int, tuple[Array, Value, Any]] = {}
        self._originals: list[Array] = []  # kept alive, so that their identities stay theirs

    def capture(self, array: Array) -> Value:
        """Return the hidden argument that stands for a concrete array, the same for the same array."""
        found = self._arrays.get(id(array))
        if found is None:
            value = self.block.add_argument(
                tensor(array.shape, element_of(array.dtype)), f"captured{len(self._arrays)}"
            )
            native = array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
            found = self._arrays[id(array)] = (native, value, _fingerprint(native))
            self._originals.append(array)
        return found[1]

    @property
    def captured(self) -> list[Array]:
        """The captured arrays, in the order of their hidden arguments."""
        return [array for array, _, _ in self._arrays.values()]

    def keep_own_arrays(self, results: list[Value]) -> list[Value]:
        """Turn captured arrays that nobody else can reach any more, hence nobody can change, into constants.

        The function made them itself, from shapes or other numbers (a mask, indices of a triangle). To be called when
        it has returned, with what it returns; returns the same with constants in it.
        """
        own = [
            key
            for position, key in enumerate(self._arrays)
            if self._arrays[key][0].base is None
            and _holders(self._arrays, self._originals, position) == _HOLDERS_OF_OWN
        ]
        patterns = {key: pattern_of(self._arrays[key][0]) for key in own}
        own = [
            key
            for key in own
            if patterns[key] is not None
            or self._arrays[key][0].size <= LARGEST_OWN_ARRAY
            or only_number(self._arrays[key][0]) is not None
        ]
        taken = {self._arrays[key][1] for key in own}
        for argument in taken:
            self.block.arguments.remove(argument)
        for index, argument in enumerate(self.block.arguments):
            argument.index = index
        made = Block()
        constants: dict[Value, Value] = {}
        with at(made):
            for key in own:
                array, argument, _ = self._arrays.pop(key)
                constants[argument] = _constant(argument.type, array, patterns[key])
                argument.replace_all_uses_with(constants[argument])
        for op in made.ops:
            op.parent = self.block
        self.block.ops[:0] = made.ops
        return [constants.get(result, result) for result in results]

    def check_captured(self) -> None:
        """Raise if a captured array was written during the trace: its uses would all see the last state."""
        for array, _, before in self._arrays.values():
            if _fingerprint(array) != before:
                raise UnsupportedError(
                    f"an array of shape {array.shape} was changed in place after the traced function had used it",
                    user_location(),
                    fix="make a new array (a = a + b instead of a += b), or change a copy",
                )


def _constant(type: TensorType, array: Array, pattern: Pattern | None) -> Value:
    """Build an array whose numbers are known, without any memory if it follows from positions or is one number."""
    if pattern is not None:
        return table_of(pattern, type)
    number = only_number(array)  # np.ones((n, 3))
    return nd.constant(value=Dense(type, array if number is None else number))


def _holders(arrays: dict[int, tuple[Array, Value, Any]], originals: list[Array], position: int) -> int:
    """Return how many references there are to a captured array, those of the trace included."""
    assert originals is not None
    for at_position, (array, _, _) in enumerate(arrays.values()):
        if at_position == position:
            return sys.getrefcount(array)
    raise AssertionError


def _count_of_own() -> int:
    """Return what `_holders` gives for an array that only the trace holds."""
    originals = [np.zeros(1)]
    arrays: dict[int, Any] = {0: (originals[0], None, None)}
    return _holders(arrays, originals, 0)


_HOLDERS_OF_OWN = _count_of_own()


def _fingerprint(array: Array) -> Any:
    if not array.flags.writeable:
        return None
    if array.nbytes <= _FULL_COPY_BYTES or not array.flags.c_contiguous:
        return array.tobytes() if array.nbytes <= _FULL_COPY_BYTES else array.sum().tobytes()
    words = array.reshape(-1).view(np.uint8)
    return int(words[: words.size // 8 * 8].view(np.uint64).sum())


class _State(threading.local):
    trace: Trace | None = None


state = _State()


def current_trace() -> Trace:
    """Return the innermost open trace.

    Raises:
        TracerError: no function is being traced in this thread.
    """
    trace = state.trace
    if trace is None:
        fail(TracerError, "a traced array was used after its function had been traced", LEAK_FIX)
    return trace


LEAK_FIX = (
    "return it from the function (with has_aux=True for extra results) instead of storing it in a global, an "
    "attribute or a list outside"
)


def check_reachable(origin: Trace) -> None:
    """Raise unless a value of the trace `origin` can be used at the insertion point."""
    trace = current_trace()
    while trace is not origin:
        trace.closed = False
        if trace.parent is None:
            fail(TracerError, "a traced array was used outside of the function that it belongs to", LEAK_FIX)
        trace = trace.parent


@contextmanager
def tracing(block: Block) -> Iterator[Trace]:
    """Open a trace: inside the `with`, ops go to `block`."""
    parent = state.trace
    trace = state.trace = Trace(block, parent)
    before = insertion.location
    try:
        with at(block):
            yield trace
    finally:
        state.trace = parent
        insertion.location = before
        trace.open = False


# --- constants --------------------------------------------------------------------------------------------------------


def element_of(dtype: Any) -> ScalarType:
    """Return the element type of a NumPy dtype.

    Raises:
        DTypeError: arrays of this dtype cannot be traced.
    """
    try:
        return scalar_type(dtype)
    except TypeError:
        pass
    kind = getattr(dtype, "kind", "")
    if kind == "O":
        fail(
            DTypeError,
            "an array of dtype object holds Python objects, not numbers",
            "convert it with .astype(float), or build it with np.stack or np.concatenate",
        )
    if kind == "c":
        fail(
            DTypeError,
            f"complex numbers are not supported (dtype {dtype})",
            "compute with the real and the imaginary part as two arrays",
        )
    if kind == "f":
        fail(DTypeError, f"dtype {dtype} is not supported", "use float64: x.astype(np.float64)")
    if kind in "Mm":
        fail(
            DTypeError,
            f"dtype {dtype} is not supported",
            "convert to numbers outside, as in (t - t[0]) / np.timedelta64(1, 's')",
        )
    fail(DTypeError, f"an array of dtype {dtype} cannot be computed with", "use numbers or booleans")


def constant_array(array: Array) -> Value:
    """Return the value of a concrete array: a constant, or a hidden argument if it is large."""
    if array.__class__ is not np.ndarray and isinstance(array, np.ndarray):
        _refuse_subclass(array)
    if array.size <= LARGEST_CONSTANT:
        return nd.constant(value=Dense(tensor(array.shape, element_of(array.dtype)), array))
    element_of(array.dtype)
    return current_trace().capture(array)


def _refuse_subclass(array: Array) -> None:
    if isinstance(array, np.ma.MaskedArray):
        fail(
            UnsupportedError,
            "a masked array would lose its mask",
            "use x.filled(...) and np.where with the mask as an array of its own",
        )
    if not isinstance(array, np.memmap):
        fail(
            UnsupportedError,
            f"a {type(array).__name__} would lose its own arithmetic",
            "convert it with np.asarray(x) outside of the function",
        )


class MissingAttributeError(UnsupportedError, AttributeError):
    """A method or attribute of ndarray that a traced array does not have."""
