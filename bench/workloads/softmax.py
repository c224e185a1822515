"""Softmax cross-entropy of a batch of logits against one-hot targets: row by row, in float32."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.workload import Workload, library


def make_inputs(rng: np.random.Generator, rows: int, classes: int) -> tuple[np.ndarray, ...]:
    """Return logits and one-hot targets."""
    targets = np.zeros((rows, classes), dtype=np.float32)
    targets[np.arange(rows), rng.integers(classes, size=rows)] = 1.0
    return 3.0 * rng.standard_normal((rows, classes)), targets


def softmax_cross_entropy(logits, targets):
    shifted = logits - np.max(logits, axis=1, keepdims=True)
    log_normalizer = np.log(np.sum(np.exp(shifted), axis=1))
    return np.mean(log_normalizer - np.sum(targets * shifted, axis=1))


def by_hand(logits: np.ndarray, targets: np.ndarray) -> tuple[Any, tuple[np.ndarray]]:
    """∇f = (softmax(z) - t) / rows, which holds because each row of t sums to one."""
    rows = len(logits)
    shifted = logits - logits.max(axis=1, keepdims=True)
    gradient = np.exp(shifted)
    normalizer = gradient.sum(axis=1, keepdims=True)
    value = np.mean(np.log(normalizer)) - np.vdot(targets, shifted) / rows
    gradient *= 1.0 / (rows * normalizer)
    gradient -= targets * (1.0 / rows)
    return value, (gradient,)


def jax_function():
    jax = library("jax")

    def softmax_cross_entropy(logits, targets):
        return -jax.numpy.mean(jax.numpy.sum(targets * jax.nn.log_softmax(logits), axis=1))

    return softmax_cross_entropy


def torch_function():
    torch = library("torch")
    return torch.nn.functional.cross_entropy


def numba_by_hand():
    import math

    numba = library("numba")

    @numba.njit(fastmath=True)
    def value_and_grad(logits, targets):
        rows, classes = logits.shape
        kind = logits.dtype.type
        scale = kind(1.0) / kind(rows)
        gradient = np.empty_like(logits)
        value = 0.0
        for i in range(rows):
            largest = logits[i, 0]
            for j in range(classes):
                largest = max(largest, logits[i, j])
            normalizer, picked = kind(0.0), kind(0.0)
            for j in range(classes):
                shifted = logits[i, j] - largest
                power = math.exp(shifted)
                gradient[i, j] = power
                normalizer += power
                picked += targets[i, j] * shifted
            value += math.log(normalizer) - picked
            factor = scale / normalizer
            for j in range(classes):
                gradient[i, j] = factor * gradient[i, j] - scale * targets[i, j]
        return value / rows, (gradient,)

    return value_and_grad


WORKLOADS = (
    Workload(
        name="softmax_xent",
        title="softmax cross-entropy, {:,} × {:,}, f32",
        dtype="float32",
        argnums=(0,),
        sizes={"full": (4096, 1000), "quick": (256, 1000), "test": (4, 5)},
        make_inputs=make_inputs,
        function=softmax_cross_entropy,
        by_hand=by_hand,
        jax_function=jax_function,
        torch_function=torch_function,
        numba_by_hand=numba_by_hand,
        cpp_source="softmax.cpp",
    ),
)
