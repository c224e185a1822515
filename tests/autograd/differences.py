"""Checks of operations against NumPy and central differences, shared by the tests of the eager face."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import gradloom

Array = np.ndarray[Any, Any]


def leaves(arrays: Sequence[Any]) -> list[Any]:
    """Return float64 leaves that require grad."""
    return [gradloom.tensor(np.array(each, np.float64), requires_grad=True) for each in arrays]


def check(function: Callable[..., Any], arrays: Sequence[Any], reference: Callable[..., Any] | None = None) -> None:
    """Compare the value with NumPy's and the gradients with central differences, interpreted and compiled.

    Args:
        function: of tensors, giving one tensor.
        arrays: what it is applied to; no kink may be near.
        reference: the same in NumPy.
    """
    arrays = [np.array(each, np.float64) for each in arrays]
    value = function(*leaves(arrays)).detach().numpy()
    if reference is not None:
        np.testing.assert_allclose(value, reference(*arrays), rtol=1e-12, atol=1e-12)
    cotangent = np.linspace(0.5, -1.25, value.size).reshape(value.shape) + 0.125
    expected = [_slopes(function, arrays, k, cotangent) for k in range(len(arrays))]
    for _ in range(3):  # the first backward is interpreted, the later ones are compiled
        inputs = leaves(arrays)
        function(*inputs).backward(gradloom.tensor(cotangent))
        for found, wanted in zip(inputs, expected, strict=True):
            np.testing.assert_allclose(found.grad.numpy(), wanted, rtol=2e-6, atol=2e-7)


def _slopes(function: Callable[..., Any], arrays: list[Array], k: int, cotangent: Array) -> Array:
    step, result = 1e-5, np.zeros_like(arrays[k])
    with gradloom.no_grad():
        for index in np.ndindex(arrays[k].shape):
            ends = []
            for sign in (1, -1):
                moved = [each.copy() for each in arrays]
                moved[k][index] += sign * step
                ends.append((function(*[gradloom.tensor(each) for each in moved]).numpy() * cotangent).sum())
            result[index] = (ends[0] - ends[1]) / (2 * step)
    return result


def gradient(function: Callable[..., Any], *values: Any) -> list[Any]:
    """Return the gradients of the sum of what a function gives, as nested lists."""
    inputs = leaves(values)
    function(*inputs).sum().backward()
    return [each.grad.tolist() for each in inputs]
