"""The pipelines by name do what the compiler does: the text of a pipeline and the driver are one list."""

from typing import Any

import numpy as np
import pytest

from gradloom import value_and_grad
from gradloomc.ir.parser import parse_module
from gradloomc.ir.printer import print_module, print_op
from gradloomc.passes.pipeline import Pipeline
from gradloomc.pipelines import CLEAN, LOWER, to_loops


def softmax(x: Any, w: Any) -> Any:
    scores = x @ w
    powers = np.exp(scores - np.max(scores, axis=1, keepdims=True))
    return np.sum(np.log(powers / np.sum(powers, axis=1, keepdims=True)) ** 2)


def pairs(x: Any, w: Any) -> Any:
    return np.sum(w[0, 0] / np.sqrt(np.sum((x[:, None] - x[None]) ** 2, axis=-1) + 0.1))


@pytest.mark.parametrize("fun", [softmax, pairs])
def test_the_named_passes_are_those_that_run(fun: Any) -> None:
    adjoint = value_and_grad(fun, argnums=(0, 1)).ir("adjoint", np.ones((70, 40)), np.ones((40, 90)))
    module = parse_module(adjoint)
    Pipeline.parse(f"{CLEAN},{LOWER}").run(module)
    (function,) = parse_module(adjoint).block.ops
    assert print_module(module).strip() == print_op(to_loops(function, 512)).strip()
