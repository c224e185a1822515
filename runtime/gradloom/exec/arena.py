"""One block of memory for all temporaries of a program: those that are never in use at the same time share it.

Knows sizes and lifetimes, and nothing of programs.
"""

import math
from bisect import insort
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

ALIGNMENT = 64
_FEW = 200  # lists are quicker for so many


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
    place = _place_few if len(sizes) <= _FEW else _place_many
    order = sorted(range(len(sizes)), key=lambda index: -sizes[index])
    offsets = place(order, [-(-size // ALIGNMENT) * ALIGNMENT for size in sizes], lifetimes)
    block = max([at - (-size // ALIGNMENT) * ALIGNMENT for at, size in zip(offsets, sizes, strict=True)], default=0)
    return Arena(tuple(offsets), block, sum(sizes))


def _place_few(order: list[int], sizes: list[int], lifetimes: Sequence[tuple[int, int]]) -> list[int]:
    """Return the offsets, each temporary being compared with one after the other of those before."""
    offsets = [0] * len(sizes)
    placed: list[tuple[int, int, int, int]] = []  # offset, end and lifetime, by ascending offset
    for index in order:
        (first, last), size = lifetimes[index], sizes[index]
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
    return offsets


def _place_many(order: list[int], sizes: list[int], lifetimes: Sequence[tuple[int, int]]) -> list[int]:
    """Return the same offsets, each temporary being compared with all those before at once."""
    offsets = [0] * len(sizes)
    placed = np.empty((4, len(sizes)), np.int64)
    low, high, begin, until = placed
    for count, index in enumerate(order):
        (first, last), size = lifetimes[index], sizes[index]
        beside = np.flatnonzero((until[:count] >= first) & (begin[:count] <= last))
        ends = np.maximum.accumulate(high[beside])
        # Below all that are in use at the same time, between them, or above.
        gaps = low[beside]
        gaps[1:] -= ends[:-1]
        fits = np.flatnonzero(gaps >= size)
        before = int(fits[0]) if len(fits) else len(beside)
        offsets[index] = at = int(ends[before - 1]) if before else 0
        position = int(np.searchsorted(low[:count], at))
        placed[:, position + 1 : count + 1] = placed[:, position:count]
        placed[:, position] = at, at + size, first, last
    return offsets


def arena_of(types: Sequence[tuple[tuple[int, ...], np.dtype[Any]]], lifetimes: Sequence[tuple[int, int]]) -> Arena:
    """Lay out temporaries of these shapes and dtypes."""
    return arrange([math.prod(shape) * dtype.itemsize for shape, dtype in types], lifetimes)
