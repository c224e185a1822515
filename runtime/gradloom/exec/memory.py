"""Memory for results: large arrays are drawn from buffers that nobody owns any more.

A first touch of fresh pages costs as much as the arithmetic, so a big result lives in a buffer that the pool also
remembers. A buffer is free again when only the pool refers to it: NumPy keeps a reference to it from every array and
view that shares its memory, so no live array can ever be handed out twice.
"""

import sys
import threading
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

# Below this the allocator's own reuse is as good and cheaper.
POOL_FROM_BYTES = 1 << 16
# Where arrays begin in their page. Large arrays of NumPy's begin at byte 16: a result that begins shortly behind that
# would make loads wait for earlier stores to addresses that are the same in the last 12 bits.
PAGE, PLACE = 4096, 1024
# Who holds more arrays of a size than this gets ordinary ones: looking through all buffers would take too long.
MOST_OF_A_CAPACITY = 64


class BufferPool:
    """Buffers by capacity; `capacity_bytes` bounds what is kept without being in use."""

    def __init__(self, capacity_bytes: int = 1 << 30):
        self.capacity_bytes = capacity_bytes
        self.buffers: dict[int, list[Array]] = {}
        self.total_bytes = 0
        self.lock = threading.RLock()  # a finalizer may come in between, in the same thread
        self._unshared = self._count_of_unshared()

    @staticmethod
    def _count_of_unshared() -> int:
        """Return the reference count that a buffer has when only the pool's list holds it."""
        held = [np.empty(1, np.uint8)]
        for buffer in held:
            return sys.getrefcount(buffer)
        raise AssertionError

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """Return an uninitialised C-ordered array; large ones have their place in a page, at a multiple of 64 bytes."""
        size = dtype.itemsize
        for extent in shape:
            size *= extent
        if size < POOL_FROM_BYTES:
            return np.empty(shape, dtype)
        capacity = _round_up(size)
        with self.lock:
            buffers = self._buffers_of(capacity)
            for buffer in buffers:
                if sys.getrefcount(buffer) == self._unshared:
                    return np.ndarray(shape, dtype, buffer, _place_in(buffer))
            buffer = np.empty(capacity + PAGE, np.uint8)
            if self.total_bytes + capacity <= self.capacity_bytes and len(buffers) < MOST_OF_A_CAPACITY:
                buffers.append(buffer)
                self.total_bytes += capacity
            return np.ndarray(shape, dtype, buffer, _place_in(buffer))

    def buffers_for(self, size: int) -> list[Array]:
        """Return the list of the buffers that arrays of `size` bytes live in, for native code to look for a free one.

        It is the same list for the life of the pool. Who uses a buffer of it makes an array of it before anything else
        can run (native code under the interpreter's lock), or holds a reference while it looks, as `empty` does.
        """
        with self.lock:
            return self._buffers_of(_round_up(size))

    def _buffers_of(self, capacity: int) -> list[Array]:
        return self.buffers.setdefault(capacity, [])

    def clear(self) -> None:
        """Forget every buffer (those in use live on with their arrays)."""
        with self.lock:
            for buffers in self.buffers.values():
                buffers.clear()
            self.total_bytes = 0


def _round_up(size: int) -> int:
    """Round to a sixteenth of the size's power of two, so that nearly equal sizes share buffers."""
    step = max(1 << (size.bit_length() - 5), 4096)
    return -(-size // step) * step


def _place_in(buffer: Array) -> int:
    return (PLACE - buffer.ctypes.data) % PAGE


pool = BufferPool()
