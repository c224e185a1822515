"""Frames: what one call in progress works on. They are the same for the native entry and the general path.

A frame is a table of words: pointers by slot, which segments get, with constants filled in, and places for what native
code keeps during a call. Knows nothing of what fills in arguments and results.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradloom.exec.memory import pool
from gradloom.exec.tables import Table, Type
from gradloom.exec.words import FRAME_WORDS

FIRST = FRAME_WORDS.slots  # the word of slot 0


class Frame(Table):
    """The words of one call, and all arrays by slot, as far as they are there: library calls take them."""

    memory: list[Any]
    block: Any

    @property
    def pointers(self) -> int:
        """The address of the pointer table."""
        return self.address + 8 * FIRST

    def set_slot(self, slot: int, array: Any) -> None:
        """Have a slot hold an array."""
        self.memory[slot] = array
        self[FIRST + slot] = array.ctypes.data


class Frames:
    """Makes the frames of a program, and keeps those that no call is using, so that temporaries stay where they are.

    Temporaries that take more than `KEPT_BYTES` have memory only during a call; then it goes back to the pool.

    Args:
        types: shape and dtype of each slot: of arguments, constants, results, temporaries.
        arguments, results: how many there are.
        constants: the arrays.
        offsets: of the temporaries, in a block of memory of `size` bytes.
    """

    KEPT_BYTES = 1 << 24

    def __init__(
        self,
        types: Sequence[Type],
        arguments: int,
        constants: Sequence[Any],
        results: int,
        offsets: Sequence[int],
        size: int,
    ):
        self.types, self.arguments, self.constants, self.offsets, self.size = types, arguments, constants, offsets, size
        self.first_result = arguments + len(constants)
        self.first_temporary = self.first_result + results
        self.kept = size <= self.KEPT_BYTES
        # Where native code finds the objects behind the slots, the copies of arguments, and numbers.
        self.held = FIRST + len(types)
        self.copied = self.held + len(types)
        self.cells = self.copied + arguments
        self.words = self.cells + results
        self.frames: list[Frame] = []
        self.idle: list[Frame] = []  # of the general path; native code has its own list

    def __call__(self) -> Frame:
        """Return a frame that no call is using, perhaps without memory for temporaries."""
        try:
            return self.idle.pop()
        except IndexError:
            pass
        frame: Frame = np.zeros(self.words, np.int64).view(Frame)
        frame[FRAME_WORDS.owner] = id(frame)
        frame[FRAME_WORDS.copied_at] = frame.address + 8 * self.copied
        frame.kept, frame.memory, frame.block = (), [None] * len(self.types), None
        for slot, constant in enumerate(self.constants, self.arguments):
            frame.set_slot(slot, constant)
        self.frames.append(frame)
        return frame

    def fill(self, frame: Frame) -> None:
        """Give the temporaries memory."""
        if self.offsets:
            frame.block = pool.empty((self.size,), np.dtype(np.uint8))
            address = frame.block.ctypes.data
            for slot, offset in enumerate(self.offsets, self.first_temporary):
                frame[FIRST + slot] = address + offset
        frame[FRAME_WORDS.ready] = 1

    def drain(self, frame: Frame) -> None:
        """Take their memory away."""
        frame[FRAME_WORDS.ready] = 0
        frame.block = None
        frame.memory[self.first_temporary :] = [None] * len(self.offsets)

    def take(self) -> Frame:
        """Return a frame with memory, for the general path: with arrays on it."""
        frame = self()
        if not frame[FRAME_WORDS.ready]:
            self.fill(frame)
        if self.offsets and frame.memory[-1] is None:
            temporaries = zip(self.types[self.first_temporary :], self.offsets, strict=True)
            frame.memory[self.first_temporary :] = [
                np.ndarray(shape, dtype, frame.block, offset) for (shape, dtype), offset in temporaries
            ]
        return frame

    def give_back(self, frame: Frame) -> None:
        """Let go of the caller's arrays and results; keep the frame."""
        frame.memory[: self.arguments] = [None] * self.arguments
        results = self.first_temporary - self.first_result
        frame.memory[self.first_result : self.first_temporary] = [None] * results
        if not self.kept:
            self.drain(frame)
        self.idle.append(frame)
