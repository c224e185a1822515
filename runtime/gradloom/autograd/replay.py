"""Recording a function on IR op by op: how gradients become part of the graph (`create_graph=True`)."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from gradloom.autograd.graph import Attributes, EagerOp, Node, data_node
from gradloom.autograd.recording import SAME
from gradloom.autograd.sweep import Backward, Passive
from gradloomc.dialects import nd
from gradloomc.dialects.func import body_of
from gradloomc.ir.core import Op, Value
from gradloomc.ir.types import TensorType
from gradloomc.pipelines import clean

Pair = tuple[Node, Any]  # a value, and where its gradient goes

_operations: dict[Any, EagerOp] = {}


def operation_of(kind: Any) -> EagerOp:
    """Return the eager operation of an op of the nd level."""
    found = _operations.get(kind)
    if found is None:

        def rule(*operands: Any, **attributes: Any) -> Value:
            return kind(*[x.value for x in operands], **attributes)

        found = _operations[kind] = EagerOp(f"{kind.grad_fn or 'Not'}Backward0", rule, costly="product" in kind.tags)
    return found


def record_pairs(op: EagerOp, pairs: Sequence[Pair], attributes: Attributes = ()) -> Pair:
    """Record an operation on values whose gradients go where the pairs say."""
    nodes = tuple([node for node, _ in pairs])
    edges = tuple([edge for _, edge in pairs])
    keys: tuple[TensorType, ...] = tuple([node.type for node in nodes])
    key = (attributes, *keys)
    node = op.node_class()
    node.signature = signature = op.signatures.get(key) or op.infer(key, keys, attributes)
    node.type, node.inputs, node.array, node.place = signature.type, nodes, None, None
    node.depth = 1 + max([each.depth for each in nodes], default=0)
    tracked = signature.differentiable and any(edge is not None for edge in edges)
    node.edges = edges if tracked else None
    return node, (node if tracked else None)




def replay(function: Op, arguments: Sequence[Pair]) -> list[Pair]:
    """Record the ops of a function on given arguments; return its results, each a node of its own."""
    body = body_of(function)
    pairs: dict[Value, Pair] = dict(zip(body.arguments, arguments, strict=True))
    for op in body.ops[:-1]:
        if op.kind is nd.constant:
            dense = op.attributes["value"]
            array = np.array(np.broadcast_to(dense.array, op.result.type.shape))
            pairs[op.result] = (data_node(array.astype(op.result.type.element.dtype, copy=False)), None)
            continue
        attributes = tuple(sorted(op.attributes.items()))
        pairs[op.result] = record_pairs(operation_of(op.kind), [pairs[x] for x in op.operands], attributes)
    results = []
    made: set[int] = set()
    for value in body.terminator.operands:
        pair = pairs[value]
        if value.op is None or id(pair[0]) in made:
            pair = record_pairs(SAME, [pair])
        made.add(id(pair[0]))
        results.append(pair)
    return results


def recorded_gradients(
    sweep: Backward, seeds: Sequence[Pair], originals: Mapping[int, Any] = MappingProxyType({})
) -> tuple[list[Pair], list[Pair]]:
    """Return the gradients of a sweep's leaf targets and node targets, as parts of the graph.

    Args:
        seeds: the gradients of the sweep's starts.
        originals: by identity, what takes the place of nodes and leaves that were made for this sweep alone.
    """
    structure, program = sweep.prepare()
    arguments: list[Pair] = []
    for node, role in program.arguments:
        edge = role.edge if isinstance(role, Passive) else role
        pair = (originals.get(id(node), node), originals.get(id(edge), edge))
        counter = pair[0].counter
        if counter is not None and counter[0] != pair[0].version:
            pair = record_pairs(SAME, [pair])  # overwritten since, in ways that do not disturb the gradient
        arguments.append(pair)
    for position in sorted(structure.varying):
        arguments.append((data_node(np.asarray(program.numbers[position])), None))
    arguments += [(data_node(np.asarray(array)), None) for array in structure.captured]
    results = replay(clean(structure.function), [*arguments, *seeds])
    count = len(sweep.leaf_targets)
    return results[:count], results[count:]
