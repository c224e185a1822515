"""A chain of twenty elementwise operations on four million numbers, summed at the end."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.workload import Workload, library


def make_inputs(rng: np.random.Generator, n: int) -> tuple[np.ndarray, ...]:
    """Return `n` standard normal numbers."""
    return (rng.standard_normal(n),)


def chain(x):
    sine = np.sin(x)  # 1
    cosine = np.cos(x)  # 2
    length = np.sqrt(1.0 + x * x)  # 3, 4, 5
    decay = np.exp(-0.5 * length)  # 6, 7
    bend = np.tanh(sine * cosine)  # 8, 9
    soft = np.log1p(decay)  # 10
    ratio = (sine + bend) / (length + soft)  # 11, 12, 13
    mixed = ratio * decay - cosine  # 14, 15
    bounded = mixed / np.sqrt(1.0 + mixed * mixed)  # 16, 17, 18, 19
    return np.sum(bounded + soft)  # 20, and the sum


def by_hand(x: np.ndarray) -> tuple[Any, tuple[np.ndarray]]:
    """Reverse accumulation on paper; d(m / √(1 + m²))/dm = (1 + m²)^(-3/2)."""
    sine, cosine = np.sin(x), np.cos(x)
    length = np.sqrt(1.0 + x * x)
    decay = np.exp(-0.5 * length)
    bend = np.tanh(sine * cosine)
    soft = np.log1p(decay)
    denominator = 1.0 / (length + soft)
    ratio = (sine + bend) * denominator
    mixed = ratio * decay - cosine
    inverse = 1.0 / np.sqrt(1.0 + mixed * mixed)
    value = np.sum(mixed * inverse + soft)

    by_mixed = inverse * inverse * inverse
    by_numerator = by_mixed * decay * denominator
    by_denominator = -by_numerator * ratio
    by_decay = by_mixed * ratio + (1.0 + by_denominator) / (1.0 + decay)
    by_product = by_numerator * (1.0 - bend * bend)
    by_sine = by_numerator + by_product * cosine
    by_cosine = by_product * sine - by_mixed
    by_length = by_denominator - 0.5 * decay * by_decay
    return value, (by_sine * cosine - by_cosine * sine + by_length * x / length,)


def torch_function():
    torch = library("torch")

    def chain(x):
        sine = torch.sin(x)
        cosine = torch.cos(x)
        length = torch.sqrt(1.0 + x * x)
        decay = torch.exp(-0.5 * length)
        bend = torch.tanh(sine * cosine)
        soft = torch.log1p(decay)
        ratio = (sine + bend) / (length + soft)
        mixed = ratio * decay - cosine
        bounded = mixed / torch.sqrt(1.0 + mixed * mixed)
        return (bounded + soft).sum()

    return chain


def numba_by_hand():
    import math

    numba = library("numba")

    @numba.njit(fastmath=True)
    def value_and_grad(x_array):
        value = 0.0
        gradient = np.empty_like(x_array)
        for i in range(x_array.size):
            x = x_array[i]
            sine, cosine = math.sin(x), math.cos(x)
            length = math.sqrt(1.0 + x * x)
            decay = math.exp(-0.5 * length)
            bend = math.tanh(sine * cosine)
            soft = math.log1p(decay)
            denominator = 1.0 / (length + soft)
            ratio = (sine + bend) * denominator
            mixed = ratio * decay - cosine
            inverse = 1.0 / math.sqrt(1.0 + mixed * mixed)
            value += mixed * inverse + soft

            by_mixed = inverse * inverse * inverse
            by_numerator = by_mixed * decay * denominator
            by_denominator = -by_numerator * ratio
            by_decay = by_mixed * ratio + (1.0 + by_denominator) / (1.0 + decay)
            by_product = by_numerator * (1.0 - bend * bend)
            by_sine = by_numerator + by_product * cosine
            by_cosine = by_product * sine - by_mixed
            by_length = by_denominator - 0.5 * decay * by_decay
            gradient[i] = by_sine * cosine - by_cosine * sine + by_length * x / length
        return value, (gradient,)

    return value_and_grad


WORKLOADS = (
    Workload(
        name="chain_20",
        title="20-op chain, {:,}",
        dtype="float64",
        argnums=(0,),
        sizes={"full": (4_000_000,), "quick": (100_000,), "test": (9,)},
        make_inputs=make_inputs,
        function=chain,
        by_hand=by_hand,
        torch_function=torch_function,
        numba_by_hand=numba_by_hand,
        cpp_source="chain.cpp",
    ),
)
