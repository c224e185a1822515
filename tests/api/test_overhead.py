"""What a call costs beyond the native program, and what importing costs, against units of the same
machine."""

import subprocess
import sys
import timeit
from typing import Any

import numpy as np
import pytest

from gradloom import compile_grad

X = np.arange(4.0)


def unit() -> None:
    """Some microseconds of ordinary Python: the yardstick."""
    table = {}
    for i in range(100):
        table[i] = (i, table.get(i - 1))


def overhead(call: Any, run: Any) -> float:
    """Return the cost of a call beyond `run`, in units; the best of interleaved rounds."""
    rounds = [[timeit.timeit(work, number=200) for work in (call, run, unit)] for _ in range(30)]
    best = [min(column) for column in zip(*rounds, strict=True)]
    return (best[0] - best[1]) / best[2]


def test_a_repeated_call_is_cheap() -> None:
    f = compile_grad(lambda a, b, c, d, e: np.sum(a * b * c * d * e))
    for _ in range(3):
        f(X, X, X, X, X)
    executable, arrays = f.user.last.executable, [X] * 5  # type: ignore[union-attr]
    # The unit takes about 10 us where this was written, the overhead 3 us.
    assert overhead(lambda: f(X, X, X, X, X), lambda: executable.run(arrays)) < 1.0


def test_containers_are_cheap_too() -> None:
    f = compile_grad(lambda p, x, scale: np.sum(p["a"] * p["b"]["c"] * x) * scale)
    params = {"a": X, "b": {"c": X, "d": X}}
    for _ in range(3):
        f(params, X, 2.0)
    executable = f.user.last.executable  # type: ignore[union-attr]
    arrays = [X, X, X, X, np.array(2.0)]
    assert overhead(lambda: f(params, X, 2.0), lambda: executable.run(arrays)) < 1.5


def test_importing_is_light() -> None:
    code = "import sys, gradloom; gradloom.compile_grad(abs); print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    ).stdout.split()
    assert "llvmlite" not in loaded
    assert "scipy" not in loaded


@pytest.mark.parametrize("name", ["nothing", "CompiledGradient"])
def test_unknown_names_are_attribute_errors(name: str) -> None:
    import gradloom

    with pytest.raises(AttributeError, match=name):
        getattr(gradloom, name)
    assert set(gradloom.__all__) <= set(dir(gradloom))
    for public in gradloom.__all__:
        assert getattr(gradloom, public) is not None
