"""One step of an LSTM in float32: two matrix products, then gates cut out of their sum."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.workload import Workload, library


def make_inputs(
    rng: np.random.Generator, batch: int, inputs: int, hidden: int
) -> tuple[np.ndarray, ...]:
    """Return both weights and the bias, and a batch of inputs, hidden states and cells."""
    bound = 1.0 / np.sqrt(hidden)
    return (
        rng.uniform(-bound, bound, (inputs, 4 * hidden)),
        rng.uniform(-bound, bound, (hidden, 4 * hidden)),
        rng.uniform(-bound, bound, 4 * hidden),
        rng.standard_normal((batch, inputs)),
        rng.uniform(-1.0, 1.0, (batch, hidden)),
        rng.standard_normal((batch, hidden)),
    )


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def lstm_cell(by_input, by_state, bias, x, state, cell):
    size = state.shape[1]
    gates = x @ by_input + state @ by_state + bias
    enter, forget = sigmoid(gates[:, :size]), sigmoid(gates[:, size : 2 * size])
    candidate, leave = np.tanh(gates[:, 2 * size : 3 * size]), sigmoid(gates[:, 3 * size :])
    new_cell = forget * cell + enter * candidate
    new_state = leave * np.tanh(new_cell)
    return np.mean(new_state**2) + np.mean(new_cell**2)


def by_hand(by_input, by_state, bias, x, state, cell) -> tuple[Any, tuple[np.ndarray, ...]]:
    """Return ∂W = xᵀ G, ∂U = hᵀ G and ∂b = Σ G, where G is the derivative by the gates' arguments.

    G is by_c′ · (g i′, c f′, i g′) and by_h′ · tanh(c′) o′, with σ′ = σ (1 - σ), tanh′ = 1 - tanh²
    and by_c′ = 2 c′ / size + by_h′ o (1 - tanh(c′)²), by_h′ = 2 h′ / size.
    """
    size = state.shape[1]
    gates = x @ by_input
    gates += state @ by_state
    gates += bias
    candidate = np.tanh(gates[:, 2 * size : 3 * size])
    np.negative(gates, out=gates)
    np.exp(gates, out=gates)
    gates += 1.0
    np.reciprocal(gates, out=gates)
    enter, forget, leave = gates[:, :size], gates[:, size : 2 * size], gates[:, 3 * size :]
    new_cell = forget * cell + enter * candidate
    bent = np.tanh(new_cell)
    new_state = leave * bent
    value = (np.vdot(new_state, new_state) + np.vdot(new_cell, new_cell)) / new_cell.size

    scale = 2.0 / new_cell.size
    by_new_state = scale * new_state
    by_new_cell = scale * new_cell + by_new_state * leave * (1.0 - bent * bent)
    flow = np.empty_like(gates)
    flow[:, :size] = by_new_cell * candidate * enter * (1.0 - enter)
    flow[:, size : 2 * size] = by_new_cell * cell * forget * (1.0 - forget)
    flow[:, 2 * size : 3 * size] = by_new_cell * enter * (1.0 - candidate * candidate)
    flow[:, 3 * size :] = by_new_state * bent * leave * (1.0 - leave)
    return value, (x.T @ flow, state.T @ flow, flow.sum(axis=0))


def torch_function():
    def lstm_cell(by_input, by_state, bias, x, state, cell):
        gates = x @ by_input + state @ by_state + bias
        enter, forget, candidate, leave = gates.chunk(4, 1)
        new_cell = forget.sigmoid() * cell + enter.sigmoid() * candidate.tanh()
        new_state = leave.sigmoid() * new_cell.tanh()
        return (new_state**2).mean() + (new_cell**2).mean()

    return lstm_cell


def numba_by_hand():
    import math

    numba = library("numba")

    @numba.njit(fastmath=True)
    def value_and_grad(by_input, by_state, bias, x, state, cell):
        # `np.dot` in numba is the same BLAS; the loop over the gates is fused by hand.
        batch, size = state.shape
        kind = x.dtype.type
        one, scale = kind(1.0), kind(2.0 / (batch * size))
        gates = np.dot(x, by_input)
        gates += np.dot(state, by_state)
        by_bias = np.zeros_like(bias)
        value = 0.0
        for i in range(batch):
            squares = kind(0.0)
            for j in range(size):
                in_, out = gates[i, j] + bias[j], gates[i, 3 * size + j] + bias[3 * size + j]
                enter, leave = one / (one + math.exp(-in_)), one / (one + math.exp(-out))
                keep = gates[i, size + j] + bias[size + j]
                forget = one / (one + math.exp(-keep))
                candidate = math.tanh(gates[i, 2 * size + j] + bias[2 * size + j])
                new_cell = forget * cell[i, j] + enter * candidate
                bent = math.tanh(new_cell)
                new_state = leave * bent
                squares += new_state * new_state + new_cell * new_cell
                by_new_state = scale * new_state
                by_new_cell = scale * new_cell + by_new_state * leave * (one - bent * bent)
                gates[i, j] = by_new_cell * candidate * enter * (one - enter)
                gates[i, size + j] = by_new_cell * cell[i, j] * forget * (one - forget)
                gates[i, 2 * size + j] = by_new_cell * enter * (one - candidate * candidate)
                gates[i, 3 * size + j] = by_new_state * bent * leave * (one - leave)
            value += squares
            for j in range(4 * size):
                by_bias[j] += gates[i, j]
        gradients = np.dot(x.T, gates), np.dot(state.T, gates), by_bias
        return value / (batch * size), gradients

    return value_and_grad


WORKLOADS = (
    Workload(
        name="lstm_cell",
        title="LSTM cell, {}/{}/{}, f32",
        dtype="float32",
        argnums=(0, 1, 2),
        sizes={"full": (64, 128, 256), "quick": (64, 128, 256), "test": (3, 2, 4)},
        make_inputs=make_inputs,
        function=lstm_cell,
        by_hand=by_hand,
        torch_function=torch_function,
        numba_by_hand=numba_by_hand,
        cpp_source="lstm_cell.cpp",
    ),
)
