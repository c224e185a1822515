"""What a backward may read: values that were given up, or written since, are refused in PyTorch's words."""

from collections.abc import Iterable

from gradloom.autograd.dtypes import dtype_of
from gradloom.autograd.errors import error, recorded_at
from gradloom.autograd.graph import Node

SECOND_BACKWARD = (
    "Trying to backward through the graph a second time (or directly access saved tensors after they have already been "
    "freed). Saved intermediate values of the graph are freed when you call .backward() or autograd.grad(). Specify "
    "retain_graph=True if you need to backward through the graph a second time or if you need to access saved tensors "
    "after calling backward."
)
SECOND_FIX = "pass retain_graph=True to the first backward, or compute the loss anew"


def check_saved(node: Node) -> None:
    """Raise if a value that the derivative of `node` reads was given up, or has been written since."""
    operands, result = node.signature.saved(tuple([edge is not None for edge in node.edges or ()]))
    if node.freed:
        if operands or result:
            raise error(RuntimeError, SECOND_BACKWARD, SECOND_FIX, recorded_at(node))
        return
    edges = node.edges or ()
    saved = [(x, edges[k] is not None) for k, x in saved_operands(node, operands)]
    for value, tracked in saved + ([(node, True)] if result else []):
        if value.counter is not None and value.counter[0] != value.version:
            # A result is known by its own node, an operand by the last one that wrote it, a detached one by none.
            writer = node.name() if value is node else value.counter[1] if tracked else ""
            name = writer.rstrip("0123456789").removesuffix("Backward")
            origin = f", which is output 0 of {name}," if name else ""
            raise error(
                RuntimeError,
                "one of the variables needed for gradient computation has been modified by an inplace operation: "
                f"[gradloom.{dtype_of(value.type.element).type_name}Tensor {list(value.type.shape)}]{origin} is at "
                f"version {value.counter[0]}; expected version {value.version} instead. Hint: enable anomaly detection "
                "to find the operation that failed to compute its gradient, with "
                "gradloom.autograd.set_detect_anomaly(True, check_nan=False).",
                "write out of place (y = y + 1 instead of y += 1), or write into a .clone()",
                recorded_at(node),
            )


def saved_operands(node: Node, positions: Iterable[int]) -> list[tuple[int, Node]]:
    """Return those operands at `positions`, each with its position, that must not have been written since."""
    # What a write has replaced is kept by PyTorch as a copy where the derivative reads it.
    pairs = [(k, node.inputs[k]) for k in sorted(positions)]
    return [(k, x) for k, x in pairs if isinstance(x, Node) and (k or not node.replaces)]
