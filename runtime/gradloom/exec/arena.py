"""One block of memory for all temporaries of a program: those that are never in use at the same time share it.

Knows sizes and lifetimes, and nothing of programs.
"""

import math
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
    placed: list[int] = []
    end = 0
    for index in sorted(range(len(sizes)), key=lambda index: -sizes[index]):
        first, last = lifetimes[index]
        size = -(-sizes[index] // ALIGNMENT) * ALIGNMENT
        at = 0
        for other in sorted(placed, key=lambda other: offsets[other]):
            if lifetimes[other][1] < first or last < lifetimes[other][0]:
                continue
            if offsets[other] >= at + size:
                break
            at = max(at, offsets[other] + -(-sizes[other] // ALIGNMENT) * ALIGNMENT)
        offsets[index] = at
        placed.append(index)
        end = max(end, at + size)
    return Arena(tuple(offsets), end, sum(sizes))


def arena_of(types: Sequence[tuple[tuple[int, ...], np.dtype[Any]]], lifetimes: Sequence[tuple[int, int]]) -> Arena:
    """Lay out temporaries of these shapes and dtypes."""
    return arrange([math.prod(shape) * dtype.itemsize for shape, dtype in types], lifetimes)
