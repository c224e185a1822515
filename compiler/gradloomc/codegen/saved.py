"""Lowered programs as bytes: all of a program but its text, and the user's lines, which are made again if read.

What cannot be written plainly (an attribute of an unknown kind, large constants) is not encoded.
"""

import marshal
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from gradloomc.codegen.program import ExternStep, NativeStep, Program, Slot
from gradloomc.codegen.source import Source
from gradloomc.ir.extents import Extent
from gradloomc.ir.saved_scopes import extent_of
from gradloomc.ir.scopes import Scope
from gradloomc.ir.types import SCALARS, ScalarType

# Constants of more bytes than this are not kept with a program.
MOST_BYTES = 1 << 20
_FORMAT = 4
_NUMBERS = ("bytes_moved", "bytes_ideal", "nests", "externs", "products", "chunked", "chunked_work")


class NotPlain(Exception):
    """A program holds something that is not written as bytes."""


def encode(program: Program) -> bytes | None:
    """Return a program as bytes; None if it holds something that is not written."""
    if sum(array.nbytes for _, array in program.constants) > MOST_BYTES:
        return None
    try:
        return marshal.dumps(
            (
                program.source.digest,
                program.source.size,
                program.written_out is not None,
                _plain(program.sizes),
                [(_plain(slot.shape), slot.element.text) for slot in program.slots],
                [(slot, array.dtype.str, array.shape, array.tobytes()) for slot, array in program.constants],
                [step.symbol if isinstance(step, NativeStep) else _plain(step) for step in program.steps],
                [_plain(getattr(program, name)) for name in _FIELDS],
                float(getattr(program.work, "hint", program.work)),
            ),
            _FORMAT,
        )
    except NotPlain:
        return None


_FIELDS = (
    "arguments",
    "pool",
    "results",
    "temporaries",
    "returned",
    "lifetimes",
    "large_products",
    "donations",
    "status",
    *_NUMBERS,
)


def decode(data: bytes, make: Callable[[], Program], scope: Scope | None = None) -> Program:
    """Return the program that `encode` made bytes of.

    Args:
        make: lowers it again, for its text.
        scope: of the lengths in it that are not fixed.

    Raises:
        ValueError: they are the bytes of something else.
    """
    try:
        digest, size, calls_library, sizes, slots, constants, steps, fields, work = marshal.loads(data)
        restored = partial(_restored, scope=scope)
        source = Source(digest=digest, size=size, make=lambda: make().text)
        return Program(
            source,
            restored(sizes),
            [Slot(restored(shape), SCALARS[element]) for shape, element in slots],
            constants=[
                (slot, np.frombuffer(content, np.dtype(dtype)).reshape(shape))
                for slot, dtype, shape, content in constants
            ],
            steps=[NativeStep(step) if type(step) is str else ExternStep(*restored(step)) for step in steps],
            written_out=(lambda: _written_out(make)) if calls_library else None,
            checks=lambda: make().checks(),
            work=work,
            **dict(zip(_FIELDS, [restored(field) for field in fields], strict=True)),
        )
    except (TypeError, EOFError, KeyError, AttributeError) as error:
        raise ValueError(f"no program: {error}") from error


def _written_out(make: Callable[[], Program]) -> Program:
    """Return the form of a program that calls no vector-math library."""
    program = make()
    return program if program.written_out is None else program.written_out()


_KEPT = frozenset({int, float, str, bool, bytes, type(None)})


def _plain(x: Any) -> Any:
    """Return nested containers with scalar types as frozen sets of their names, lengths that are not fixed as sets."""
    kind = type(x)
    if kind in _KEPT:
        return x
    if kind is list:
        return [_plain(item) for item in x]
    if kind is dict:
        return {name: _plain(item) for name, item in x.items()}
    if kind is ScalarType:
        return frozenset({x.text})
    if kind is Extent:
        return {x.terms}
    if isinstance(x, tuple):
        return tuple([_plain(item) for item in x])
    raise NotPlain


def _restored(x: Any, scope: Scope | None) -> Any:
    kind = type(x)
    if kind is set:
        if scope is None:
            raise ValueError("lengths that are not fixed")
        return extent_of(x, scope)
    if kind is frozenset:
        (text,) = x
        return SCALARS[text]
    if kind is list:
        return [_restored(item, scope) for item in x]
    if kind is tuple:
        return tuple([_restored(item, scope) for item in x])
    if kind is dict:
        return {name: _restored(item, scope) for name, item in x.items()}
    return x
