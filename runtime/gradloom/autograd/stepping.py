"""The backward of one node alone, for those who look at what it gives each operand: hooks on nodes, anomaly detection.

The node is copied with a leaf of its own at the end of each edge; the engine sweeps over the copy as over any graph, so
there is no second derivative of anything. Knows nothing of hooks.
"""

from typing import Any

import numpy as np

from gradloom.autograd.graph import Node, data_node
from gradloom.autograd.recording import wrap
from gradloom.autograd.replay import recorded_gradients
from gradloom.autograd.sweep import Backward
from gradloom.autograd.tensor import Tensor, from_array


def step(node: Node, gradient: Tensor, recorded: bool) -> list[Tensor | None]:
    """Return the gradient that a node gives along each of its edges; None where no gradient flows.

    Args:
        node: of an operation; no call of a custom function.
        gradient: of the node's value.
        recorded: the gradients are to be part of the graph.

    Raises:
        RuntimeError: a value that the derivative reads was given up, or has been written since.
    """
    copy, leaves = _alone(node)
    if recorded:
        sweep = Backward([(copy, True)], recorded=True)  # type: ignore[list-item]  (any seed but None)
        sweep.check()
        # In the graph the gradients depend on what the node depends on, not on the copies.
        originals: dict[int, Any] = {id(copy): node}
        originals.update({id(leaf): node.edges[k] for k, leaf in leaves.items()})  # type: ignore[index]
        pairs, _ = recorded_gradients(sweep, [(gradient._node(), gradient._edge())], originals)
        found = []
        for value, edge in pairs:
            tensor = wrap(Tensor, value)
            tensor._grad_fn, tensor._requires_grad = edge, edge is not None
            found.append(tensor)
    else:
        sweep = Backward([(copy, gradient._array())])
        sweep.check()
        found = [from_array(array) for array in sweep.run()[0]]
        if node.array is None:
            node.array, node.depth = copy.array, 0
    by_leaf = {id(leaf): each for leaf, each in zip(sweep.leaf_targets, found, strict=True)}
    edges = node.edges or ()
    return [by_leaf[id(leaves[k])] if k in leaves else None for k in range(len(edges))]


def _alone(node: Node) -> tuple[Node, dict[int, Tensor]]:
    """Return a copy of a node whose gradients go to leaves of its own, and the leaf of each edge."""
    copy = node.__class__()
    for name in ("signature", "type", "inputs", "array", "depth", "place"):
        setattr(copy, name, getattr(node, name))
    copy.freed, copy.counter, copy.version = node.freed, node.counter, node.version
    leaves: dict[int, Tensor] = {}
    for k, edge in enumerate(node.edges or ()):
        if edge is not None:
            operand = node.inputs[k] if node.inputs else _placeholder(node.signature.keys[k])
            leaf = wrap(Tensor, operand)
            leaf._grad_fn, leaf._requires_grad = None, True
            leaves[k] = leaf
    copy.edges = tuple([leaves.get(k) for k in range(len(node.edges or ()))])
    return copy, leaves


def _placeholder(kind: Any) -> Node:
    """Return a value for an operand that was given up: only its type matters."""
    return data_node(np.zeros(kind.shape, kind.element.dtype))


def give_up(node: Node) -> None:
    """Let go what a node keeps for the backward."""
    node.freed, node.inputs = True, ()
