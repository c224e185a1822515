"""One block of memory for all temporaries of a program: those that are never in use at the same time share it.

Knows sizes and lifetimes, and nothing of programs.
"""

import math
from bisect import insort
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

ALIGNMENT = 64


class Arena(NamedTuple):
    """Where temporaries lie: for each its offset in a block of `size` bytes; `separate` is what they add up to."""

    offsets: tuple[int, ...]
    size: int
    separate: int


def arrange(sizes: Sequence[int], lifetimes: Sequence[tuple[int, int]]) -> Arena:
    """Lay out temporaries in one block.

    The largest ones are placed first, each at the lowest offset that is free for its whole lifetime (Pisarchyk and Lee,
    Efficient memory management for deep neural net inference, 2020: greedy by size).

    Args:
        sizes: bytes of each temporary.
        lifetimes: the first and the last moment at which each is in use.
    """
    offsets = [0] * len(sizes)
    placed: list[tuple[int, int, int, int]] = []  # offset, end and lifetime, by ascending offset
    block = 0
    for index in sorted(range(len(sizes)), key=lambda index: -sizes[index]):
        first, last = lifetimes[index]
        size = -(-sizes[index] // ALIGNMENT) * ALIGNMENT
        at = 0
        for offset, end, begin, until in placed:
            if until < first or last < begin:
                continue
            if offset >= at + size:
                break
            if end > at:
                at = end
        offsets[index] = at
        insort(placed, (at, at + size, first, last))
        block = max(block, at + size)
    return Arena(tuple(offsets), block, sum(sizes))


def arena_of(types: Sequence[tuple[tuple[int, ...], np.dtype[Any]]], lifetimes: Sequence[tuple[int, int]]) -> Arena:
    """Lay out temporaries of these shapes and dtypes."""
    return arrange([math.prod(shape) * dtype.itemsize for shape, dtype in types], lifetimes)
