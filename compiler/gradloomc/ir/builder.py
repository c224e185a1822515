"""The insertion point: where a record called as a constructor puts its op.

It is per thread, so functions may be traced in several threads at once.
"""

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gradloomc.ir.core import Block
from gradloomc.ir.location import UNKNOWN, Location


class Insertion(threading.local):
    """The block that new ops are appended to, and the location that they get."""

    block: Any = None
    location: Location = UNKNOWN


insertion = Insertion()
# In how many threads ops are being appended somewhere: a number at a fixed address, which native code reads.
open_insertions = ctypes.c_int64(0)
_count_lock = threading.Lock()


def _count(change: int) -> None:
    with _count_lock:
        open_insertions.value += change


@contextmanager
def at(block: Block, location: Location | None = None) -> Iterator[Block]:
    """Append new ops to `block` inside the `with`."""
    before, before_location = insertion.block, insertion.location
    if before is None:
        _count(1)
    insertion.block = block
    if location is not None:
        insertion.location = location
    try:
        yield block
    finally:
        insertion.block, insertion.location = before, before_location
        if before is None:
            _count(-1)
