"""Looking at what a graph becomes: the IR of tensors that were recorded, and of their backward."""

from typing import Any

from gradloom.autograd.errors import error
from gradloom.autograd.graph import Node
from gradloom.autograd.programs import emit, post_order
from gradloom.autograd.recording import Variable
from gradloom.autograd.sweep import Backward
from gradloom.explain import LEVELS, function_text
from gradloom.trace.capture import trace_flat
from gradloom.trace.tracer import Tracer
from gradloomc.ir.core import Op
from gradloomc.ir.inline import copy_function
from gradloomc.ir.printer import print_op
from gradloomc.pipelines import clean


def ir(*outputs: Any, level: str = "nd", generic: bool = False) -> str:
    """Return the program that tensors were recorded as, as text.

    Args:
        outputs: tensors that were computed by operations.
        level: "nd" is what was recorded. "adjoint" is the function that their backward runs: values, then the gradients
            of the leaves; "kernels", "loops", "llvm" and "asm" show how that is run. For tensors that require no grad
            these show the function that computes their values.
        generic: print MLIR's generic syntax.

    Raises:
        UnsupportedError: there is no such level.
        RuntimeError: a tensor is a leaf, or its graph has been given up.
    """
    nodes = [output._node() for output in outputs]
    for node in nodes:
        if node.signature is None or not node.inputs:
            raise error(
                RuntimeError,
                "this tensor was not computed by an operation, or its graph has been given up",
                "show it before the backward, or keep the graph with retain_graph=True",
            )
    if level == "nd":
        return print_op(clean(_forward(nodes)), generic)
    if level in LEVELS and all(isinstance(output, Variable) and output._requires_grad for output in outputs):
        sweep = Backward([(output._grad_fn, None) for output in outputs])  # type: ignore[misc]
        sweep.check()
        structure, _ = sweep.prepare()
        return function_text(structure.function, level, generic)
    return function_text(_forward(nodes), level, generic)


def _forward(nodes: list[Node]) -> Op:
    """Return the function of the recorded operations, as if nothing had been computed yet."""

    def operands_of(node: Node) -> list[Node]:
        return [x for x in node.inputs if isinstance(x, Node)]

    order = post_order(nodes, operands_of)
    sources = [node for node in order if not node.inputs]

    def call(tracers: list[Tracer]) -> list[Any]:
        values: dict[int, Any] = {id(node): tracer for node, tracer in zip(sources, tracers, strict=True)}
        for node in order:
            if node.inputs:
                operands = [values[id(x)] if isinstance(x, Node) else x for x in node.inputs]
                values[id(node)] = emit(node, operands)
        return [values[id(node)] for node in nodes]

    types = [node.type for node in sources]
    return copy_function(trace_flat(call, types, [f"x{i}" for i in range(len(types))], "recorded").function)
