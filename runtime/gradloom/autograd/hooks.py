"""Hooks: the user's functions that see gradients pass, on tensors and on nodes of the graph.

Owns where hooks are kept, their handles, and how they are called and checked. A tensor that was computed keeps its
hooks in its node's `extra` ("hooks"), a leaf in its `__dict__` ("_hooks"); the hooks of a node itself ("before",
"after") stand beside them, for a custom function at its call. When they are called is up to gradients.py.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from gradloom.autograd import graph
from gradloom.autograd.errors import error
from gradloom.autograd.graph import AccumulateGrad, Node, accumulator_of, extra_of
from gradloom.autograd.tensor import Tensor, method

Hook = Callable[..., Any]


class RemovableHandle:
    """What registering a hook returns: `remove()` takes the hook away again, and so does the end of a `with` block."""

    next_id = 0

    def __init__(self, hooks: dict[int, Hook], hook: Hook):
        self._hooks = hooks
        self.id = RemovableHandle.next_id
        RemovableHandle.next_id += 1
        hooks[self.id] = hook

    def remove(self) -> None:
        """Take the hook away; a second time does nothing."""
        self._hooks.pop(self.id, None)

    def __enter__(self) -> "RemovableHandle":
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()


# --- registering ------------------------------------------------------------------------------------------------------


@method("register_hook")
def register_hook(self: Tensor, hook: Hook) -> RemovableHandle:
    """Let a function see the gradient of this tensor in every backward: `hook(grad) -> Tensor or None`.

    What it returns takes the place of the gradient. Hooks are called in the order in which they were registered, once
    in a backward, when the gradient is complete.

    Raises:
        RuntimeError: the tensor does not require grad.
    """
    if not self.requires_grad:
        raise error(
            RuntimeError,
            "cannot register a hook on a tensor that doesn't require gradient",
            "set requires_grad on the tensor, or on what it is computed from, first",
        )
    node = self.grad_fn
    hooks = self.__dict__.setdefault("_hooks", {}) if node is None else extra_of(node).setdefault("hooks", {})
    return RemovableHandle(hooks, hook)


@method("register_post_accumulate_grad_hook")
def register_post_accumulate_grad_hook(self: Tensor, hook: Hook) -> RemovableHandle:
    """Let a function be called after a backward has added to `.grad` of this leaf: `hook(leaf) -> None`.

    Raises:
        RuntimeError: the tensor does not require grad, or is no leaf.
    """
    if not self.requires_grad:
        raise error(RuntimeError, "cannot register a hook on a tensor that doesn't require gradient")
    if self.grad_fn is not None:
        raise error(
            RuntimeError,
            "post accumulate grad hooks cannot be registered on non-leaf tensors",
            "register it on a leaf, or use register_hook",
        )
    return RemovableHandle(self.__dict__.setdefault("_after_hooks", {}), hook)


def _store(node: "Node | AccumulateGrad") -> dict[str, Any]:
    """Return the dictionary where the hooks of a node are kept: those of a custom function belong to the call."""
    if isinstance(node, AccumulateGrad):
        return node.variable.__dict__
    extra = extra_of(node)
    if "call" in extra:
        return extra["call"].hooks
    extra.setdefault("hooks", {})  # makes it a barrier
    return extra


def _register_on_node(self: Any, hook: Hook) -> RemovableHandle:
    """Let a function see what passes this node: `hook(grad_inputs, grad_outputs) -> tuple or None`.

    `grad_inputs` are the gradients of the operands (None where none flows), `grad_outputs` those of the results; a
    tuple that is returned takes the place of `grad_inputs`.
    """
    return RemovableHandle(_store(self).setdefault("after", {}), hook)


def _register_before_node(self: Any, hook: Hook) -> RemovableHandle:
    """Let a function see what arrives at this node: `hook(grad_outputs) -> tuple or None`, which takes its place."""
    return RemovableHandle(_store(self).setdefault("before", {}), hook)


for _class in (Node, AccumulateGrad):
    setattr(_class, "register_hook", _register_on_node)  # noqa: B010
    setattr(_class, "register_prehook", _register_before_node)  # noqa: B010


class GradientEdge(NamedTuple):
    """Where the gradient of a tensor goes: the node, and which of its results the tensor is."""

    node: Any
    output_nr: int


def get_gradient_edge(tensor: Tensor) -> GradientEdge:
    """Return where the gradient of a tensor goes.

    Raises:
        RuntimeError: the tensor does not require grad.
    """
    if not tensor.requires_grad:
        raise error(
            RuntimeError, "It is not possible to get the gradient edge for a Tensor that does not require gradients"
        )
    node = tensor.grad_fn
    return GradientEdge(accumulator_of(tensor) if node is None else node, tensor.output_nr)


class saved_tensors_hooks:
    """Not supported: nothing is saved for a backward but the graph, whose values are computed when they are needed."""

    def __init__(self, pack_hook: Hook, unpack_hook: Hook):
        raise NotImplementedError(
            "saved_tensors_hooks is not supported: a graph keeps operations and operands, and a backward computes "
            "from them what it needs, so there is no point at which a saved tensor could be packed"
        )


# `torch.autograd.graph` has these names, and gradloom's module of that name stands below this one.
for _public in (GradientEdge, get_gradient_edge, saved_tensors_hooks):
    setattr(graph, _public.__name__, _public)


# --- calling ----------------------------------------------------------------------------------------------------------


def node_hooks(node: Node, which: str) -> Mapping[int, Hook]:
    """Return the hooks of a node that are called before ("before") or after ("after") its backward."""
    extra = node.extra or {}
    return (extra["call"].hooks if "call" in extra else extra).get(which) or {}


def call_hooks(hooks: Mapping[int, Hook] | None, gradient: Tensor) -> Tensor:
    """Return the gradient that hooks of a tensor leave.

    Raises:
        TypeError: a hook returned something that is no tensor.
        RuntimeError: a hook returned another shape or dtype.
    """
    for hook in list((hooks or {}).values()):
        result = hook(gradient)
        if result is not None:
            if not isinstance(result, Tensor):
                raise TypeError(f"expected Variable, but hook returned '{type(result).__name__}'")
            _check_replacement(hook, gradient, result)
            gradient = result
    return gradient


def call_before(hooks: Mapping[int, Hook], gradients: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return what hooks leave of the gradients that arrive at a node.

    Raises:
        TypeError, RuntimeError: a hook returned something else than a tuple of such gradients.
    """
    for hook in list(hooks.values()):
        result = hook(gradients)
        if result is not None:
            gradients = _replaced(hook, gradients, result)
    return gradients


def call_after(hooks: Mapping[int, Hook], inputs: Sequence[Any], outputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return what hooks leave of the gradients that a node gives to its operands.

    Raises:
        TypeError, RuntimeError: a hook returned something else than a tuple of such gradients.
    """
    gradients = tuple(inputs)
    for hook in list(hooks.values()):
        result = hook(gradients, outputs)
        if result is not None:
            gradients = _replaced(hook, gradients, result)
    return gradients


def _replaced(hook: Hook, before: tuple[Any, ...], after: Any) -> tuple[Any, ...]:
    if not isinstance(after, tuple):
        raise TypeError(f"expected tuple, but hook returned '{type(after).__name__}'")
    if len(after) != len(before):
        raise error(
            RuntimeError,
            f"hook '{_name(hook)}' has returned an incorrect number of values (got {len(after)}, but expected "
            f"{len(before)})",
            "return one value for each that was given, None where None was given",
        )
    for old, new in zip(before, after, strict=True):
        if new is None:
            continue
        if old is None:
            raise error(RuntimeError, "can't replace a None gradient with a non-None value")
        if not isinstance(new, Tensor):
            raise TypeError(f"expected Variable, but hook returned '{type(new).__name__}'")
        _check_replacement(hook, old, new)
    return after


def _check_replacement(hook: Hook, before: Tensor, after: Tensor) -> None:
    if after._value.type.element is not before._value.type.element:
        raise error(
            RuntimeError,
            f"hook '{_name(hook)}' has changed the type of value (was {before.type()} got {after.type()})",
            "convert what the hook returns: result.to(grad.dtype)",
        )
    if after.shape != before.shape:
        raise error(
            RuntimeError,
            f"hook '{_name(hook)}' has changed the size of value",
            f"the gradient has shape {tuple(before.shape)}, the hook returned {tuple(after.shape)}",
        )


def _name(hook: Hook) -> str:
    return getattr(hook, "__name__", None) or type(hook).__name__
