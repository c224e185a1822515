"""Whole NumPy programs whose schedule decides their speed: what they move and keep, counted, and that they are right."""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import erf

from gradloom import check_grads, compile_grad
from gradloom.exec.executable import Executable

RNG = np.random.default_rng(4)


def compiled(fun: Callable[..., Any], *args: Any, argnums: Any = 0) -> tuple[Any, Executable]:
    """Return value and gradients, and the program that computed them; the gradients are checked."""
    function = compile_grad(fun, argnums=argnums)
    results = function.value_and_grad(*args)
    (program,) = function.value_and_grad.user.programs.values()
    return results, program.executable


def layer_norm_gelu(x, gain, bias):
    centred = x - np.mean(x, axis=1, keepdims=True)
    variance = np.mean(centred * centred, axis=1, keepdims=True)
    y = centred / np.sqrt(variance + 1e-5) * gain + bias
    z = 0.5 * y * (1 + erf(y * 0.7071067811865476))
    return np.sum(z * z)


def test_layer_norm_reads_its_rows_from_memory_once() -> None:
    x, gain, bias = RNG.normal(size=(512, 300)), RNG.normal(size=300), RNG.normal(size=300)
    (value, gradients), executable = compiled(layer_norm_gelu, x, gain, bias, argnums=(0, 1, 2))
    # what several walks need of a row is scratch memory of a tile, so only columns of numbers per row are extra
    assert executable.stats.bytes_moved < 1.1 * executable.stats.bytes_ideal
    np.testing.assert_allclose(value, layer_norm_gelu(x, gain, bias), rtol=1e-13)
    small = (x[:9, :7], gain[:7], bias[:7])
    check_grads(layer_norm_gelu, small)
    few = compile_grad(layer_norm_gelu).grad(x[:37], gain, bias)  # too few rows for tiles
    alone = compile_grad(layer_norm_gelu).grad(x, gain, bias)
    np.testing.assert_allclose(few, alone[:37], rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(alone, gradients[0], rtol=1e-9, atol=1e-14)
