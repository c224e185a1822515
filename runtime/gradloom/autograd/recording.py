"""Tensors as far as recording needs them: what one holds, how views share memory, what an operation and a write leave.

`Variable` is the lower half of a tensor. An operation makes a node and a tensor around it (`record`); values are
computed when they are looked at. A write gives the tensor's memory a new node (`assign`), and its views, which keep
their root and the steps that lead to them, read the new one; only memory that NumPy sees is really written. Knows no
operation by name.
"""

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradloom.autograd.dtypes import dtype_of
from gradloom.autograd.engine import compute
from gradloom.autograd.errors import error
from gradloom.autograd.graph import (
    PYTHON_NUMBERS,
    UNREAD,
    Array,
    Attributes,
    EagerOp,
    Node,
    counter_of,
    data_node,
    extra_of,
    overwritten,
    own_files,
    user_place,
)
from gradloom.autograd.modes import inference_used, state

# Longer chains of values that nobody has looked at are computed, so that a loop that only adds up stays small.
LONGEST_CHAIN = 400


class Link:
    """How a tensor's memory is shared: with NumPy (a root that was exported), or with the root that it is a view of.

    Attributes:
        root: the tensor whose memory this is; None for a root that NumPy sees.
        steps: the view operations from the root: (operation, step).
        seen: the writes to the root when the view was last read.
        tracked: gradients flow through the view (not so for `.detach()` and `.data`).
        counted: writes through it count for the version check (not so for `.data`).
        base, taken: the tensor whose gradient a view belongs to (the root, or a tensor detached from it), and how many
            steps lead to it; None for a tensor that is detached itself.
        made: how the view was made, where that forbids recorded writes: "no_grad", or "several" for one of many.
    """

    __slots__ = ("base", "counted", "made", "root", "seen", "steps", "taken", "tracked")

    def __init__(
        self,
        root: "Variable | None",
        steps: tuple[Any, ...],
        tracked: bool,
        counted: bool = True,
        base: "Variable | None" = None,
        taken: int = 0,
        made: str = "",
    ):
        self.root, self.steps, self.tracked, self.counted = root, steps, tracked, counted
        self.base, self.taken, self.made = base, taken, made
        self.seen = 0 if root is None else root._writes


def link_of_part(x: "Variable", op: EagerOp, step: Any) -> Link:
    """Return the link of the view of `x` that a step leads to."""
    link = x._link
    if link is None or link.root is None:
        grad = state.grad
        return Link(x, ((op, step),), grad, True, x, 0, "" if grad else "no_grad")
    steps = (*link.steps, (op, step))
    if link.base is None:
        made = "" if state.grad else "no_grad"
        return Link(link.root, steps, state.grad, link.counted, x, len(link.steps), made)
    made = link.made if state.grad else "no_grad"
    return Link(link.root, steps, state.grad and link.tracked, link.counted, link.base, link.taken, made)


class Variable:
    """What a tensor holds.

    Attributes:
        _value: the node of its value (of a view: as last read).
        _grad_fn: the node that its gradient goes to; None for leaves.
        _link: None for a tensor with memory of its own that NumPy does not see.
        _writes: how often the memory was written (counted at the root).
    """

    __slots__ = ("__dict__", "__weakref__", "_grad", "_grad_fn", "_link", "_requires_grad", "_value")
    _writes = 0

    _value: Node
    _grad_fn: "Node | None"
    _grad: Any
    _link: "Link | None"
    _requires_grad: bool

    # --- reading ------------------------------------------------------------------------------------------------------

    def _node(self) -> Node:
        """The node of its value now."""
        return self._value if self._link is None else self._linked_node()

    def _linked_node(self) -> Node:
        link = self._link
        assert link is not None
        root = link.root
        if root is None:
            self._value.shared = _seen_outside(self._value.array)
        elif link.seen != root._writes or root._link is not None:
            self._refresh(link, root)
        return self._value

    def _refresh(self, link: Link, root: "Variable") -> None:
        """Read a view anew: its root has been written, or NumPy may write it."""
        origin = root._node()
        link.seen = root._writes
        edge = None
        node = origin
        for k, (op, step) in enumerate(link.steps):
            if link.tracked and k == link.taken and link.base is not None:
                edge = link.base._edge()
            node, edge = _apply_step(op, step, node, edge)
        self._value = node
        if link.tracked and link.steps and node.edges is not None:
            self._grad_fn, self._requires_grad = node, True
        if origin.shared:
            if node.array is None:
                compute([node])
            node.shared = True

    def _edge(self) -> Any:
        """Where a gradient of this tensor goes: a node, the tensor itself if it is a leaf, or None."""
        if not self._requires_grad:
            return None
        return self if self._grad_fn is None else self._grad_fn

    def _array(self) -> Array:
        """The value, computed now; not to be written."""
        node = self._value if self._link is None else self._linked_node()
        if node.array is None:
            compute([node])
        return node.array  # type: ignore[return-value]

    def is_inference(self) -> bool:
        """Tell whether its memory was made in inference mode."""
        return getattr(self._root._value, "inference", None) is not None

    @property
    def _root(self) -> "Variable":
        link = self._link
        return self if link is None or link.root is None else link.root

    # --- memory -------------------------------------------------------------------------------------------------------

    def _export(self) -> Array:
        """Return the array in whose memory the tensor lies, to be seen (and written) by NumPy."""
        link = self._link
        if link is not None and link.root is not None:
            array = link.root._export()
            for _, step in link.steps:
                array = step.array(array)
            return array
        array = self._array()
        if link is None:
            memory = array if array.flags.writeable and array.base is None else array.copy()
            self._link = Link(None, (), True)
        else:
            memory = array
        self._leave_readers(memory)
        return memory[...]

    def _leave_readers(self, memory: Array) -> None:
        """Go on with a node of its own: who has recorded the old one keeps its values when the memory is written."""
        node = self._value
        if memory is node.array and node.edges is None and sys.getrefcount(node) <= UNREAD:
            return
        if memory is node.array:
            node.array = memory.copy()
        fresh = data_node(memory)
        fresh.counter = counter_of(node)
        fresh.version = node.version
        self._value = fresh
        self._writes += 1


def _seen_outside(array: Array) -> bool:
    """Tell whether somebody else may write into an array that was shared with NumPy: whether he still holds it."""
    base = array.base
    if base is None:
        return sys.getrefcount(array) > _UNHELD
    return not isinstance(base, np.ndarray) or base.base is not None or sys.getrefcount(base) > _UNHELD_BASE


def _count_of_unheld() -> tuple[int, int]:
    """Return the reference counts that `_seen_outside` sees of an array that one node holds, and of its base."""

    def count(array: Array) -> tuple[int, int]:
        base = array.base
        return sys.getrefcount(array), sys.getrefcount(base)

    node = data_node(np.zeros(1)[...])
    return count(node.array)


_UNHELD, _UNHELD_BASE = _count_of_unheld()


_new: Any = object.__new__


def wrap(cls: type, node: Node) -> Any:
    """Return the tensor of a node."""
    tensor = _new(cls)
    tensor._value = node
    tensor._link = tensor._grad = None
    if node.edges is None:
        tensor._grad_fn = None
        tensor._requires_grad = False
    else:
        tensor._grad_fn = node
        tensor._requires_grad = True
    return tensor


# --- recording --------------------------------------------------------------------------------------------------------


def record(op: EagerOp, operands: Sequence[Any], attributes: Attributes = ()) -> Node:
    """Record an operation on tensors and Python numbers; return its node.

    Raises:
        RuntimeError, TypeError, ...: what the operation's rule raises for operands of these types.
    """
    # This runs once for every operation that a user writes: it is written for speed.
    inputs: list[Any] = []
    keys: list[Any] = [attributes]
    depth, tracked, eager = 0, False, False
    for x in operands:
        if x.__class__ in _NUMBERS:
            inputs.append(x)
            keys.append(x.__class__)
            continue
        node = x._value
        if x._link is not None:
            node = x._linked_node()
            eager = eager or node.shared
        inputs.append(node)
        keys.append(node.type)
        if node.depth > depth:
            depth = node.depth
        if x._requires_grad:
            tracked = True
    key = tuple(keys)
    signature = op.signatures.get(key)
    if signature is None:
        signature = op.infer(key, key[1:], attributes)
    node: Node = _new(op.node_class)
    node.signature = signature
    node.type = signature.type
    node.inputs = tuple(inputs)
    node.edges = None
    if tracked and signature.differentiable and state.grad:
        node.edges = tuple(
            [
                (x._grad_fn or x) if x.__class__ not in _NUMBERS and x._requires_grad else None
                for x in operands
            ]
        )
    node.array = None
    node.depth = depth + 1
    frame: Any = sys._getframe(1)
    while own_files[frame.f_code.co_filename]:
        frame = frame.f_back
        if frame is None:
            break
    node.place = None if frame is None else (frame.f_code, frame.f_lasti)
    if eager or depth >= LONGEST_CHAIN:
        compute([node])
    if inference_used:
        _check_inference(node)
    return node


_NUMBERS = frozenset(PYTHON_NUMBERS)


def _check_inference(node: Node) -> None:
    """Mark what is made in inference mode, and refuse it where a backward would read it."""
    if state.inference:
        node.__dict__["inference"] = state.inference
        node.edges = None  # also inside enable_grad
    elif node.edges is not None:
        active = tuple([edge is not None for edge in node.edges])
        read, _ = node.signature.saved(active)
        for position in read:
            check_not_inference(node.inputs[position])


def check_not_inference(node: Any) -> None:
    """Raise if a value that was made in inference mode is kept for a backward."""
    if getattr(node, "inference", None):
        raise error(
            RuntimeError,
            "Inference tensors cannot be saved for backward. Please do not use Tensors created in inference mode in "
            "computation tracked by autograd. To work around this, you can make a clone to get a normal tensor and use "
            "it in autograd, or use `gradloom.no_grad()` instead of `gradloom.inference_mode()`.",
        )


def _apply_step(op: EagerOp, step: Any, node: Node, edge: Any) -> tuple[Node, Any]:
    """Return the node of one step of a view, and where its gradient goes (nowhere if `edge` is None)."""
    key = (step, node.type)
    signature = op.signatures.get(key)
    if signature is None:
        signature = op.infer(key, (node.type,), (("step", step),))
    result = _new(op.node_class)
    result.signature = signature
    result.type = signature.type
    result.inputs = (node,)
    result.edges = None if edge is None or not signature.differentiable else (edge,)
    result.array = None
    result.depth = node.depth + 1
    result.place = user_place()
    result.counter = node.counter
    if node.version:
        result.version = node.version
    if inference_used and getattr(node, "inference", None):
        result.__dict__["inference"] = node.__dict__["inference"]
    return result, (None if result.edges is None else result)


def view(x: Variable, op: EagerOp, step: Any, cls: type) -> Any:
    """Return the view of `x` that a step leads to; it shares the memory of x.

    Args:
        op: an operation with the one attribute `step`, whose rule is `step.read`.
        step: has `read(value)`, `write(value, part)`, both on IR values, and `array(array)`; equal steps are one
        object.
        cls: the class of tensors.
    """
    node = x._value if x._link is None else x._linked_node()
    if node.counter is None:
        counter_of(node)
    edge = None
    if x._requires_grad and state.grad:
        edge = x._grad_fn or x
    result, _ = _apply_step(op, step, node, edge)
    if node.shared:
        compute([result])
        result.shared = True
    tensor = wrap(cls, result)
    tensor._link = link_of_part(x, op, step)
    return tensor


def alias(x: Variable, cls: type, counted: bool) -> Any:
    """Return a tensor with the memory of `x` and without its history."""
    node = x._node()
    counter_of(node)
    tensor = _new(cls)
    tensor._value, tensor._grad, tensor._grad_fn, tensor._requires_grad = node, None, None, False
    link = x._link
    tensor._link = Link(x._root, () if link is None else link.steps, False, counted)
    return tensor


# --- writing ----------------------------------------------------------------------------------------------------------


def check_writable(x: Variable) -> None:
    """Raise what PyTorch raises where a write would destroy what gradients are taken of.

    Raises:
        RuntimeError: `x` is a leaf that requires grad, or a view of one, and operations are being recorded; or `x` was
            made in inference mode, which has ended.
    """
    if inference_used and not state.inference and x.is_inference():
        raise error(
            RuntimeError,
            "Inplace update to inference tensor outside InferenceMode is not allowed.You can make a clone to get a "
            "normal tensor before doing inplace update.See https://github.com/pytorch/rfcs/pull/17 for more details.",
        )
    if not state.grad:
        return
    if x._requires_grad and x._grad_fn is None:
        raise error(
            RuntimeError,
            "a leaf Variable that requires grad is being used in an in-place operation.",
            "update it inside `with gradloom.no_grad():`, or compute a new tensor (w = w - step)",
        )
    made_by = x._grad_fn
    if made_by is not None and made_by.extra is not None and "view" in made_by.extra:
        raise error(
            RuntimeError,
            f"Output {made_by.extra['output']} of {made_by.name().removesuffix('Backward')} is a view and is being "
            "modified inplace. This view was created inside a custom Function (or because an input was returned as-is) "
            "and the autograd logic to handle view+inplace would override the custom backward associated with the "
            "custom Function, leading to incorrect gradients. This behavior is forbidden. You can fix this by cloning "
            "the output of the custom Function.",
        )
    link = x._link
    if link is not None and link.base is not None and link.tracked:
        if link.base._requires_grad and link.base._grad_fn is None:
            raise error(
                RuntimeError,
                "a view of a leaf Variable that requires grad is being used in an in-place operation.",
                "write inside `with gradloom.no_grad():`, or into a .clone()",
            )


def assign(x: Variable, node: Node) -> None:
    """Let the memory of `x` hold the value of `node`: a new node of its type, recorded with x as first operand."""
    link = x._link
    if node.type is not x._value.type:
        _refuse_type(x, node)
    node.replaces = True
    if link is not None and link.root is not None:
        if link.made and state.grad:
            _check_made(x, link, node)
        _assign_view(x, link, link.root, node)
        return
    _replace(x, node, True)


def _refuse_type(x: Variable, node: Node) -> None:
    have, want = x._value.type, node.type
    if have.shape != want.shape:
        raise error(
            RuntimeError,
            f"output with shape {list(have.shape)} doesn't match the broadcast shape {list(want.shape)}",
            "an in-place operation keeps the shape: compute a new tensor instead",
        )
    raise error(
        RuntimeError,
        f"result type {dtype_of(want.element).type_name} can't be cast to the desired output type "
        f"{dtype_of(have.element).type_name}",
        "compute a new tensor instead, or convert it first",
    )


def _replace(x: Variable, node: Node, counted: bool, tracked: bool = True) -> None:
    """Give a root a new node; with `tracked`, its gradient goes there."""
    old = x._value
    if inference_used:  # a write does not change where the memory was made
        node.__dict__["inference"] = getattr(old, "inference", None)
    if counted:
        counter = node.counter = counter_of(old)
        counter[0] += 1
        node.version = counter[0]
        if node.edges is not None:
            counter[1] = node.name()
    else:
        node.counter, node.version = old.counter, old.version
        if sys.getrefcount(old) > UNREAD:
            old.__dict__["overwritten_by"] = node
            overwritten.add(old)
    x._writes += 1
    if node.edges is not None and tracked:
        before = None if x._grad_fn is None else x._grad_fn.extra
        if before is not None and "retained" in before:  # belongs to the tensor, whatever it holds
            extra_of(node)["retained"] = before.pop("retained")
        x._grad_fn, x._requires_grad = node, True
    if x._link is not None and not _seen_outside(old.array):
        x._link = None
    if x._link is not None:  # NumPy sees this memory
        compute([node])
        memory = old.array
        if sys.getrefcount(old) > UNREAD:
            old.array = memory.copy()
        np.copyto(memory, node.array)
        node.array = memory
    x._value = node


def _assign_view(x: Variable, link: Link, root: Variable, node: Node) -> None:
    if not link.steps:  # the whole memory, by a tensor without its history
        _replace(root, node, link.counted, tracked=False)
        if node.edges is not None:
            x._grad_fn, x._requires_grad = node, True
    elif link.base is None:
        _replace(root, record_write(root._node(), None, link.steps, node), link.counted, tracked=False)
        if node.edges is not None:
            x._grad_fn, x._requires_grad = node, True
    else:
        base, first, rest = link.base, link.steps[: link.taken], link.steps[link.taken :]
        edge = base._edge() if link.tracked else None
        whole = record_write(base._node(), edge, rest, node)
        if base is not root and whole.edges is not None:
            base._grad_fn, base._requires_grad = whole, True
        if first:
            whole = record_write(root._node(), None, first, whole)
            whole.edges = None
        _replace(root, whole, link.counted, link.tracked and base is root)
        if link.tracked and node.edges is not None:
            x._requires_grad = True
    link.seen = -1
    x._linked_node()


def _check_made(x: Variable, link: Link, node: Node) -> None:
    """Raise PyTorch's error if a recorded write goes through a view that was not made for it."""
    if node.edges is None and not (link.base is not None and link.base._requires_grad):
        return
    start = "A view was created in no_grad mode and is being modified inplace with grad mode enabled. "
    if link.made == "no_grad":
        raise error(
            RuntimeError,
            f"{start}Given that this use case is ambiguous and error-prone, it is forbidden. You can clarify your code "
            "by moving both the view and the inplace either both inside the no_grad block (if you don't want the "
            "inplace to be tracked) or both outside (if you want the inplace to be tracked).",
        )
    made_by = x._grad_fn
    if made_by is not None:
        number = (made_by.extra or {}).get("output", 0)
        name = made_by.name().rstrip("0123456789").removesuffix("Backward")
        start = f"Output {number} of {name} is a view and is being modified inplace. "
    raise error(
        RuntimeError,
        f"{start}This view is the output of a function that returns multiple views. Such functions do not allow the "
        "output views to be modified inplace. You should replace the inplace operation by an out-of-place one.",
    )


def record_write(origin: Node, edge: Any, view_steps: Sequence[Any], part: Node) -> Node:
    """Return the node of a memory after a part of it was written through a view.

    Args:
        origin, edge: the memory's node so far, and where its gradient goes.
        view_steps: the steps from there to the part.
        part: what was written.
    """
    steps = tuple([step for _, step in view_steps])
    attributes = (("steps", steps),)
    keys = (origin.type, part.type)
    key = (attributes, *keys)
    op = COPY_SLICES
    node = op.node_class()
    node.signature = signature = op.signatures.get(key) or op.infer(key, keys, attributes)
    node.type, node.inputs = signature.type, (origin, part)
    edges = (edge, part if part.edges is not None else None)
    node.edges = edges if state.grad and edges != (None, None) else None
    node.array, node.place = None, user_place()
    node.depth = max(origin.depth, part.depth) + 1
    if node.depth > LONGEST_CHAIN:
        compute([node])
    return node


def _write_rule(root: Any, part: Any, steps: tuple[Any, ...]) -> Any:
    """Replace the part of an array that a chain of steps leads to."""
    values = [root.value]
    for step in steps[:-1]:
        values.append(step.read(values[-1]))
    new = part.value
    for step, value in zip(reversed(steps), reversed(values), strict=True):
        new = step.write(value, new)
    return new


COPY_SLICES = EagerOp("CopySlices", _write_rule)
SAME = EagerOp("AliasBackward0", lambda x: x)  # the value itself, as a result of its own

__all__ = [
    "COPY_SLICES",
    "SAME",
    "Link",
    "Variable",
    "alias",
    "assign",
    "check_writable",
    "link_of_part",
    "record",
    "record_write",
    "view",
    "wrap",
]
