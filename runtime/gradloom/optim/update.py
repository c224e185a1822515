"""How a step of an optimizer becomes one program: new values are recorded, computed together, and written.

An optimizer's formulas are rules in NumPy code on traced arrays, one for each new value. `Update` collects the nodes of
a step; `RuleOptimizer.step` computes them in one program, which the engine finds again by structure. Numbers that may
change from step to step (rates, bias corrections) are operands of shape (), so a change compiles nothing. Knows no
formula.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from gradloom.autograd.engine import compute
from gradloom.autograd.graph import Attributes, EagerOp, Node, data_node
from gradloom.autograd.modes import enable_grad, no_grad
from gradloom.autograd.recording import assign
from gradloom.autograd.tensor import Tensor
from gradloom.optim.optimizer import Closure, Group, Optimizer


def number(value: float) -> Node:
    """Return a number as an operand that is looked up when the program runs."""
    return data_node(np.array(value, np.float64))


def rule(name: str, formula: Callable[..., Any]) -> EagerOp:
    """Return the operation of a formula in NumPy code; no gradient flows through an update."""
    return EagerOp(name, formula, differentiable=False)


def record(op: EagerOp, inputs: tuple[Node, ...], attributes: Attributes = ()) -> Node:
    """Record a rule. Cheaper than `recording.record`: there is no grad mode here, no number, and no user's line."""
    keys = tuple([node.type for node in inputs])
    key = (attributes, *keys)
    node = op.node_class()
    node.signature = signature = op.signatures.get(key) or op.infer(key, keys, attributes)
    node.type, node.inputs = signature.type, inputs
    node.edges = node.array = node.place = None
    node.depth = 1
    return node


class Update:
    """The new values of one step."""

    def __init__(self) -> None:
        self._writes: list[tuple[Tensor, Node]] = []
        self._written: set[int] = set()

    def write(self, tensor: Tensor, op: EagerOp, others: tuple[Node, ...], attributes: Attributes = ()) -> Node:
        """Record the new value of a tensor, a rule of its old one and of others; it is written in the end."""
        new = record(op, (tensor._node(), *others), attributes)
        self._writes.append((tensor, new))
        self._written.add(id(tensor))
        return new

    def open(self, param: Tensor) -> None:
        """Write what is recorded so far if that changes `param`: a parameter given twice is updated twice."""
        if id(param) in self._written:
            self.finish()

    def finish(self) -> None:
        """Compute all new values in one program, and write them."""
        compute([node for _, node in self._writes])
        for tensor, node in self._writes:
            assign(tensor, node)
        self._writes.clear()
        self._written.clear()


def count_step(state: dict[str, Any]) -> float:
    """Add 1 to the count of steps in a parameter's state; return it."""
    counter: Tensor = state["step"]
    count = counter._array() + 1
    assign(counter, data_node(np.asarray(count)))
    return float(count)


class RuleOptimizer(Optimizer):
    """An optimizer whose steps are updates of all its parameters, recorded group by group."""

    def step(self, closure: Closure | None = None) -> Any:
        """Update the parameters by their gradients.

        Args:
            closure: computes the gradients anew and returns the loss.

        Returns:
            What the closure returned; None without one.
        """
        with no_grad():
            loss = None
            if closure is not None:
                with enable_grad():
                    loss = closure()
            update = Update()
            for group in self.param_groups:
                self._record(group, update)
            update.finish()
        return loss

    def _record(self, group: Group, update: Update) -> None:
        """Record the new values of the parameters of a group that have a gradient, and of their state."""
        raise NotImplementedError


# --- what the formulas share ------------------------------------------------------------------------------------------


def like(number: Any, array: Any) -> Any:
    """Return a number in the dtype of an array: PyTorch's scalars take the dtype of the tensor."""
    return number.astype(array.dtype)


def lerp(start: Any, end: Any, weight: Any, near: bool) -> Any:
    """Return start + weight (end - start), computed from the nearer end as PyTorch does (`near`: weight < 0.5)."""
    return start + weight * (end - start) if near else end - (end - start) * (1 - weight)


def _decayed(grad: Any, param: Any, decay: Any, maximize: bool) -> Any:
    return (-grad if maximize else grad) + param * like(decay, param)


_DECAYED = rule("DecayedGradient", _decayed)
_ASCENT = rule("Ascent", lambda grad: -grad)


def gradient_of(param: Tensor, grad: Tensor, decay: Node | None, maximize: bool) -> Node:
    """Return the direction to descend in: the gradient, its sign turned to maximize, plus the decay of the weight."""
    if decay is not None:
        return record(_DECAYED, (grad._node(), param._node(), decay), (("maximize", maximize),))
    return record(_ASCENT, (grad._node(),)) if maximize else grad._node()
