"""The backward: from outputs and their gradients to the gradients of leaves, through hooks and custom functions.

`run_backward` sweeps from the outputs to the leaves in as few programs as possible: one, unless Python code has to see
a gradient on the way (a barrier). Then the sweep stops there, the code runs, and the next sweep goes on below it.
"""

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradloom.autograd.anomaly import anomaly, check_finite, warn_of_error
from gradloom.autograd.arithmetic import ADD
from gradloom.autograd.conversion import CLONE, convert_to
from gradloom.autograd.engine import compute, read_overwritten
from gradloom.autograd.errors import error
from gradloom.autograd.graph import UNREAD, EagerOp, Node, overwritten
from gradloom.autograd.hooks import call_after, call_before, call_hooks, node_hooks
from gradloom.autograd.modes import state
from gradloom.autograd.programs import post_order
from gradloom.autograd.recording import assign, record, wrap
from gradloom.autograd.replay import recorded_gradients
from gradloom.autograd.stepping import give_up, step
from gradloom.autograd.sweep import Backward, is_barrier, sweep_known
from gradloom.autograd.tensor import Tensor, from_array, method, operation


class _grad_mode:
    """Grad mode inside a `with`; entered in every backward, so it is written for speed."""

    __slots__ = ("before", "enabled")

    def __init__(self, enabled: bool):
        self.enabled = enabled

    def __enter__(self) -> None:
        self.before, state.grad = state.grad, self.enabled

    def __exit__(self, *exception: object) -> None:
        state.grad = self.before


def _as_tuple(what: Any) -> tuple[Any, ...]:
    return (what,) if isinstance(what, Tensor) else tuple(what)


def _seeds(outputs: Sequence[Tensor], gradients: Sequence[Any]) -> list[Tensor | None]:
    """Check the gradients given for the outputs; None stands for ones."""
    seeds: list[Tensor | None] = []
    for i, (output, gradient) in enumerate(zip(outputs, gradients, strict=True)):
        if gradient is None:
            if output.requires_grad and output.numel() != 1:
                raise error(
                    RuntimeError,
                    "grad can be implicitly created only for scalar outputs",
                    f"the output has shape {tuple(output.shape)}: call .backward(gradient) with a tensor of that shape "
                    "(gradloom.ones_like(y) for the gradient of the sum), or reduce it first (y.sum().backward())",
                )
            seeds.append(None)
        elif not isinstance(gradient, Tensor):
            raise TypeError(f"gradients can be either Tensors or None, but got {type(gradient).__name__}")
        else:
            if gradient.shape != output.shape:
                raise error(
                    RuntimeError,
                    f"Mismatch in shape: grad_output[{i}] has a shape of {gradient.shape} and output[{i}] has a shape "
                    f"of {output.shape}.",
                    "the gradient has one number for each element of the output",
                )
            element = output._value.type.element
            if gradient._value.type.element is not element:
                gradient = convert_to(gradient, output.dtype)
            seeds.append(gradient)
    return seeds


def run_backward(
    outputs: Sequence[Tensor],
    gradients: Sequence[Any],
    retain_graph: bool | None,
    create_graph: bool,
    inputs: Sequence[Tensor] | None,
) -> "Gradients":
    """Return the gradients of the outputs' weighted sum with respect to the inputs (all leaves if None)."""
    with _grad_mode(create_graph):
        seeds = _seeds(outputs, gradients)
        for i, output in enumerate(outputs):
            if not output.requires_grad:
                raise error(
                    RuntimeError,
                    f"element {i} of tensors does not require grad and does not have a grad_fn",
                    "nothing that it was computed from has requires_grad=True, or it was computed under no_grad or "
                    "from a .detach()",
                )
        if retain_graph is None:
            retain_graph = create_graph
        if overwritten:
            read_overwritten([output.grad_fn for output in outputs if output.grad_fn is not None])
        sweep = Gradients(outputs, seeds, inputs, create_graph)
        if not create_graph and sweep.run_known(retain_graph):
            return sweep
        sweep.run()
        if not retain_graph:
            sweep.release()
        return sweep


class Gradients:
    """The gradients found by one backward.

    Attributes:
        leaves: by identity, a leaf tensor and its gradient.
        nodes: by identity, the gradient of each non-leaf input and of each node that retains its gradient.
    """

    def __init__(
        self, outputs: Sequence[Tensor], seeds: Sequence[Tensor | None], inputs: Sequence[Tensor] | None, recorded: bool
    ):
        self.recorded = recorded
        self.wanted = None if inputs is None else {id(x.grad_fn or x) for x in inputs}
        self._only_leaves = inputs is None or all(x.grad_fn is None for x in inputs)
        self.leaves: dict[int, list[Any]] = {}
        self.nodes: dict[int, list[Any]] = {}
        self._waiting: dict[int, list[Any]] = {}  # barriers, with the gradient so far
        self._sweeps: list[Backward] = []
        self._calls: list[Any] = []
        self._stepped: list[Node] = []  # passed one by one
        self._starts: dict[int, list[Any]] = {}
        self._roots = [output.grad_fn for output in outputs if output.grad_fn is not None]
        self._order: dict[int, int] | None = None
        self._leading: set[int] | None = None  # the nodes from which something wanted is reached; None: all
        self._seen: set[int] = set()  # the barriers passed
        self._captured: dict[int, Tensor] = {}
        self._hooked: set[int] = set()  # the leaves whose hooks have been called
        for output, seed in zip(outputs, seeds, strict=True):
            self._send(output.grad_fn or output, seed)

    def _send(self, edge: Any, gradient: Tensor | None) -> None:
        """Let a gradient arrive at a node or a leaf; None stands for ones."""
        if isinstance(edge, Node):
            barrier = anomaly.enabled or is_barrier(edge)
            self._add(self._waiting if barrier else self._starts, edge, gradient)
        elif self.wanted is None or id(edge) in self.wanted:
            self._add(self.leaves, edge, None if gradient is None else _own(gradient))

    def _add(self, where: dict[int, list[Any]], target: Any, gradient: Tensor | None) -> None:
        found = where.get(id(target))
        if found is not None:
            before = _ones_of(target) if found[1] is None else found[1]
            found[1] = _plus(before, _ones_of(target) if gradient is None else gradient)
        else:
            # Only a start can do without the ones: the program has them as a constant.
            needed = gradient is None and where is not self._starts
            where[id(target)] = [target, _ones_of(target) if needed else gradient]

    def run_known(self, retain: bool) -> bool:
        """Do all in one run if the graph is one that is known; tell whether it was."""
        if self._waiting or self.leaves or not self._only_leaves:
            return False
        starts = [(node, None if seed is None else seed._array()) for node, seed in self._starts.values()]
        found = sweep_known(starts, self.wanted, retain)
        if found is None:
            return False
        self._starts = {}
        self.leaves = {id(leaf): [leaf, from_array(array)] for leaf, array in found}
        self._call_leaf_hooks()
        return True

    def run(self) -> None:
        """Sweep until no gradient waits."""
        while self._starts or self._waiting:
            if self._starts:
                starts, self._starts = list(self._starts.values()), {}
                self._sweep(starts)
            else:
                self._pass_barrier()
            self._call_leaf_hooks()
        if not self.recorded:
            self._look_at_gradients()

    def _look_at_gradients(self) -> None:
        """Compute gradients that the user's code has only recorded, so that they do not hold what they come from."""
        found = [entry[1] for entry in (*self.leaves.values(), *self.nodes.values())] + [*self._captured.values()]
        compute([each._node() for each in found])

    def _call_leaf_hooks(self) -> None:
        """Call the hooks of the leaves whose gradients are complete."""
        hooked = [entry for entry in self.leaves.values() if "_hooks" in entry[0].__dict__]
        if not hooked:
            return
        nodes = post_order([node for node, _ in (*self._waiting.values(), *self._starts.values())], _edges_to_nodes)
        incomplete = {id(edge) for node in nodes for edge in node.edges or ()}
        for entry in hooked:
            if id(entry[0]) not in incomplete and id(entry[0]) not in self._hooked:
                self._hooked.add(id(entry[0]))
                entry[1] = _own(call_hooks(entry[0]._hooks, entry[1]))

    def _sweep(self, starts: list[Any]) -> None:
        if self.recorded:
            pairs = [(node, None if seed is None else True) for node, seed in starts]
            sweep = Backward(pairs, self.wanted, recorded=True)
            sweep.check()
            seeds = [(seed._node(), seed._edge()) for _, seed in starts if seed is not None]
            leaves, nodes = recorded_gradients(sweep, seeds)
            found = [[_from_pair(pair) for pair in part] for part in (leaves, nodes)]
        else:
            arrays = [(node, None if seed is None else seed._array()) for node, seed in starts]
            sweep = Backward(arrays, self.wanted)
            sweep.check()
            found = [[from_array(array) for array in part] for part in sweep.run()]
        self._sweeps.append(sweep)
        for leaf, gradient in zip(sweep.leaf_targets, found[0], strict=True):
            self._add(self.leaves, leaf, gradient)
        for node, gradient in zip(sweep.node_targets, found[1], strict=True):
            if id(node) not in self._seen:
                self._add(self._waiting if is_barrier(node) else self.nodes, node, gradient)

    def _pass_barrier(self) -> None:
        """Run the Python code of a barrier that all gradients have reached: the last one in the order of the graph."""
        if self._order is None:
            self._find_order()
        name = max(self._waiting, key=self._order.__getitem__)  # type: ignore[union-attr]
        node = self._waiting[name][0]
        leads = self._leading is None or name in self._leading
        call = (node.extra or {}).get("call")
        together = [node] if call is None else [each for each in call.outputs if id(each) in self._waiting]
        if not (leads or any(self._leads(each) for each in together)):
            for each in together:
                del self._waiting[id(each)]
            return
        gradients = {(each.extra or {}).get("output", 0): self._arrive(each, leads) for each in together}
        if not leads:
            return
        try:
            parts = self._backward_of(node, call, gradients)
        except Exception:
            if anomaly.enabled:
                warn_of_error(node)
            raise
        if parts is None:
            self._starts[name] = [node, gradients[0]]
            return
        for edge, part in zip(node.edges or (), parts, strict=True):
            if edge is not None and part is not None and self._leads(edge):
                self._send(edge, part)

    def _arrive(self, node: Node, leads: bool) -> Tensor:
        """Take the gradient of a barrier, call the tensor's hooks, and keep what is asked for."""
        _, gradient = self._waiting.pop(id(node))
        self._seen.add(id(node))
        extra = node.extra or {}
        after = call_hooks(extra.get("hooks"), gradient)
        if self.wanted is not None and id(node) in self.wanted:
            # PyTorch hands out the gradient as it was before the hooks, unless the backward ends here.
            self._captured[id(node)] = _own(gradient if leads else after)
        if "retained" in extra:
            self.nodes[id(node)] = [node, _own(after)]
        return after

    def _backward_of(self, node: Node, call: Any, gradients: dict[int, Tensor]) -> "Sequence[Tensor | None] | None":
        """Return the gradient along each edge of a barrier; None if the next sweep can start from it."""
        if call is None:
            outputs = call_before(node_hooks(node, "before"), (gradients[0],))
            hooks = node_hooks(node, "after")
            if outputs[0] is None:
                return [None for _ in node.edges or ()]
            gradients[0] = outputs[0]
            if not hooks and not anomaly.enabled:
                return None
            parts: Sequence[Tensor | None] = step(node, outputs[0], self.recorded)
            self._stepped.append(node)
        else:
            outputs = call_before(node_hooks(node, "before"), call.arguments_of(gradients))
            hooks = node_hooks(node, "after")
            parts = call.backward(outputs)
            self._calls.append(call)
        parts = call_after(hooks, parts, outputs)
        if anomaly.enabled:
            check_finite(node, parts)
        return parts

    def _find_order(self) -> None:
        """Number the nodes so that each comes after those that its gradient goes to; results of one call together."""
        order = post_order(self._roots, _edges_to_nodes)
        self._order = {id(node): i for i, node in enumerate(order)}
        for node in order:
            call = (node.extra or {}).get("call")
            if call is not None:  # outputs of one call pass together, when the first of them may
                first = min(self._order.get(id(each), len(order)) for each in call.outputs)
                self._order.update({id(each): first for each in call.outputs if id(each) in self._order})
        if self.wanted is not None:
            self._leading = set()
            for node in order:
                if any(edge is not None and self._leads(edge) for edge in node.edges or ()):
                    self._leading.add(id(node))

    def _leads(self, edge: Any) -> bool:
        """Tell whether something wanted is reached along an edge."""
        return self._leading is None or id(edge) in self._leading or id(edge) in (self.wanted or ())

    def release(self) -> None:
        """Give up what the graph keeps for the backward."""
        for sweep in self._sweeps:
            if self.recorded:
                compute([node for node in sweep.nodes if node.array is None])
            sweep.release()
        for node in self._stepped:
            if self.recorded and node.array is None:
                compute([node])
            give_up(node)
        for call in self._calls:
            call.release()

    def of(self, x: Tensor) -> Tensor | None:
        """Return the gradient of an input, None if it was not used."""
        node = x.grad_fn
        if node is not None and id(node) in self._captured:
            return self._captured[id(node)]
        found = self.leaves.get(id(x)) if node is None else self.nodes.get(id(node))
        return None if found is None else found[1]

    def accumulate(self) -> None:
        """Add the gradients to `.grad` of the leaves, and of the nodes that retain theirs."""
        for leaf, gradient in self.leaves.values():
            held = leaf.__dict__
            if held and ("_after_hooks" in held or "before" in held or "after" in held):
                with _grad_mode(self.recorded):
                    _accumulate_with_hooks(leaf, gradient)
            else:
                accumulate(leaf, gradient)
        for node, gradient in self.nodes.values():
            retained = (node.extra or {}).get("retained")
            tensor = None if retained is None else retained()
            if tensor is not None:
                accumulate(tensor, gradient)


def accumulate(x: Tensor, gradient: Tensor) -> None:
    """Add a gradient to `x.grad`: in place, unless the gradient is part of a graph."""
    before = x._grad
    if before is None:
        x._grad = gradient
    elif gradient._requires_grad or before._requires_grad:
        x._grad = operation(ADD, (before, gradient))
    else:
        node = before._value
        unread = sys.getrefcount(node) <= UNREAD  # nobody has recorded it, so it can be overwritten
        if node.array is None and node.signature.op.fill == 0:  # after zero_()
            assign(before, gradient._node())
        elif unread and before._link is None and node.array is not None:
            np.add(node.array, gradient._array(), out=node.array)
            node.version += 1
            if node.counter is not None:
                node.counter[0] = node.version
        else:
            with _grad_mode(False):
                assign(before, record(ADD, (before, gradient)))


def _from_pair(pair: Any) -> Tensor:
    node, edge = pair
    tensor = wrap(Tensor, node)
    tensor._grad_fn, tensor._requires_grad = edge, edge is not None
    return tensor


def _plus(a: Tensor, b: Tensor) -> Tensor:
    return operation(ADD, (a, b))


def _ones_of(target: Any) -> Tensor:
    """Return ones for a node, or for a leaf tensor."""
    type = (target if isinstance(target, Node) else target._value).type
    return from_array(np.ones(type.shape, type.element.dtype))


def _own(gradient: Tensor) -> Tensor:
    """Return a tensor of its own for a gradient that Python code has seen and may hold: `.grad` is written in place."""
    node = gradient._node()
    if node.shared or gradient._link is not None:
        return gradient.detach().clone() if not gradient._requires_grad else operation(CLONE, (gradient,))
    return _from_pair((node, gradient._edge()))


def _edges_to_nodes(node: Node) -> list[Node]:
    return [edge for edge in reversed(node.edges or ()) if isinstance(edge, Node)]


def _accumulate_with_hooks(leaf: Tensor, gradient: Tensor) -> None:
    """Add a gradient to `leaf.grad`; call the hooks of its node, and those that follow it."""
    held = leaf.__dict__
    (before,) = call_before(held.get("before") or {}, (gradient,))
    if before is not None:
        accumulate(leaf, before if before is gradient else _own(before))
    for hook in list((held.get("_after_hooks") or {}).values()):
        hook(leaf)
    call_after(held.get("after") or {}, (), (before,))


def backward(
    tensors: Any,
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Any = None,
) -> None:
    """Add the gradients of (the sum of) tensors to `.grad` of the leaves that they were computed from.

    Args:
        tensors: one or several outputs.
        grad_tensors: the gradient of what follows, for each output of more than one element: of its shape.
        retain_graph: keep what a further backward needs; by default what `create_graph` says.
        create_graph: record the computation of the gradients, for derivatives of higher order.
        inputs: the only tensors whose `.grad` is filled in.

    Raises:
        RuntimeError: an output needs no grad or is no scalar, a shape does not fit, or the graph has been given up.
    """
    outputs = _as_tuple(tensors)
    if inputs is not None:
        inputs = _as_tuple(inputs)
        if not inputs:
            raise error(RuntimeError, "`inputs` argument to `backward()` cannot be empty.")
    gradients = [None] * len(outputs) if grad_tensors is None else _as_tuple(grad_tensors)
    if len(gradients) != len(outputs):
        raise error(RuntimeError, f"got {len(outputs)} tensors and {len(gradients)} gradients")
    found = run_backward(outputs, gradients, retain_graph, create_graph, inputs)
    found.accumulate()
    for x in inputs or ():
        if x.grad_fn is not None and not x.retains_grad and found.of(x) is not None:
            accumulate(x, found.of(x))  # type: ignore[arg-type]


@method("backward")
def _tensor_backward(
    self: Tensor,
    gradient: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Any = None,
) -> None:
    """Add the gradients of this tensor to `.grad` of the leaves it was computed from; see `autograd.backward`."""
    if gradient is not None and not isinstance(gradient, Tensor):
        what = next(iter(gradient), None)
        raise TypeError(f"gradients can be either Tensors or None, but got {type(what).__name__}")
    backward(self, None if gradient is None else (gradient,), retain_graph, create_graph, inputs)


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Any, ...]:
    """Return the gradients of (the sum of) outputs with respect to the inputs; no `.grad` is touched.

    Raises:
        RuntimeError: as `backward`, or an input was not used (`allow_unused=True` returns None for it).
    """
    outputs, inputs = _as_tuple(outputs), _as_tuple(inputs)
    if not inputs:
        raise error(RuntimeError, "`inputs` argument to `grad()` cannot be empty.")
    if is_grads_batched:
        options = (create_graph, only_inputs, allow_unused)
        return _batched_grad(outputs, inputs, _as_tuple(grad_outputs), retain_graph, *options, materialize_grads)
    gradients = [None] * len(outputs) if grad_outputs is None else _as_tuple(grad_outputs)
    for x in inputs:
        if not x.requires_grad:
            raise error(
                RuntimeError,
                "One of the differentiated Tensors does not require grad",
                "set requires_grad on the input before the outputs are computed from it",
            )
    if allow_unused is None:
        allow_unused = materialize_grads
    found = run_backward(outputs, gradients, retain_graph, create_graph, inputs)
    results: list[Any] = []
    for i, x in enumerate(inputs):
        gradient = found.of(x)
        if gradient is None and not allow_unused:
            raise error(
                RuntimeError,
                f"The differentiated Tensor at index {i} appears to not have been used in the graph. Set "
                "allow_unused=True if this is the desired behavior.",
            )
        if gradient is None and materialize_grads:
            gradient = from_array(np.zeros(x.shape, x._value.type.element.dtype))
        results.append(gradient)
    return tuple(results)


_ROW = EagerOp("SelectBackward0", lambda x, index: x[index])
_STACK = EagerOp("StackBackward0", lambda *rows: np.stack(rows))


def _batched_grad(
    outputs: tuple[Any, ...],
    inputs: tuple[Any, ...],
    gradients: tuple[Any, ...],
    retain_graph: bool | None,
    create_graph: bool,
    only_inputs: bool,
    allow_unused: bool | None,
    materialize_grads: bool,
) -> tuple[Any, ...]:
    """Return the gradients for each entry along the first dimension of the outputs' gradients, stacked."""
    count = gradients[0].shape[0]
    rows = []
    for i in range(count):
        entry = [None if each is None else operation(_ROW, (each,), (("index", i),)) for each in gradients]
        retain = True if i + 1 < count else retain_graph
        options = (create_graph, only_inputs, allow_unused, False, materialize_grads)
        rows.append(grad(outputs, inputs, entry, retain, *options))
    return tuple([None if parts[0] is None else operation(_STACK, parts) for parts in zip(*rows, strict=True)])
