"""Custom functions: `autograd.Function`, whose derivative is the user's Python code.

`apply` runs `forward` without recording and puts nodes around its results; a backward that reaches them calls
`backward` with their gradients (gradients.py does that). A `Call` is one application: what the context keeps, checked
as PyTorch checks it. Outputs refer to their call and the call refers to them weakly, so a graph is freed without `gc`.
"""

import functools
import inspect
import warnings
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from gradloom.autograd.conversion import convert_to
from gradloom.autograd.dtypes import dtype_of
from gradloom.autograd.errors import error, recorded_at
from gradloom.autograd.graph import EagerOp, Node, user_place
from gradloom.autograd.modes import no_grad, state
from gradloom.autograd.recording import assign, check_not_inference, wrap
from gradloom.autograd.tensor import Tensor, from_array, operation
from gradloom.autograd.versions import SECOND_BACKWARD, SECOND_FIX
from gradloomc.ir.types import TensorType

_RESULT = EagerOp("CustomFunction", lambda x: x)


def _sum_to(x: Any, shape: tuple[int, ...]) -> Any:
    extra = x.ndim - len(shape)
    axes = [axis for axis in range(x.ndim) if axis < extra or shape[axis - extra] != x.shape[axis]]
    return x.sum(axis=tuple(axes)).reshape(shape)


_SUM_TO = EagerOp("SumBackward1", _sum_to)


class FunctionNode(Node):
    """The node of a result of a custom function. As in PyTorch it has the attributes of the context."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("__") and name != "inference" and self.extra is not None:
            return getattr(self.extra["call"].context, name)
        raise AttributeError(f"'{self.name()}' object has no attribute '{name}'")


class FunctionCtx:
    """What `forward` leaves for `backward`: saved tensors, and any attributes that the user sets.

    Attributes:
        needs_input_grad: for each argument of `apply`, whether it is a tensor that requires grad.
    """

    needs_input_grad: tuple[bool, ...] = ()
    to_save: tuple[Any, ...] = ()
    dirty_tensors: tuple[Any, ...] = ()
    non_differentiable: tuple[Any, ...] = ()
    materialize_grads = True
    _call: "Callable[[], Call | None] | None" = None

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Save tensors for the backward, once in a forward; None is allowed."""
        self.to_save = tensors

    def save_for_forward(self, *tensors: Tensor | None) -> None:
        """Accept tensors for forward mode, which does not run through custom functions; they are not kept."""

    def mark_dirty(self, *tensors: Tensor) -> None:
        """Say which arguments `forward` wrote in place; it must return them."""
        self.dirty_tensors = tensors

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """Say which results no gradient flows through."""
        self.non_differentiable = tensors

    def set_materialize_grads(self, value: bool) -> None:
        """Say whether `backward` gets zeros for results that were not used (the default), or None."""
        self.materialize_grads = value

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """The tensors saved by `save_for_backward`.

        Raises:
            RuntimeError: they were given up by a backward, or one has been written in place since.
        """
        call = None if self._call is None else self._call()
        return () if call is None else call.unpack()


class _Saved:
    """A tensor kept for the backward: its value and where its gradient goes, or which result of the call it is.

    The tensor itself is referred to weakly: it may come to depend on the call by a later write.
    """

    __slots__ = ("edge", "node", "output", "tensor")

    def __init__(self, tensor: Tensor, output: int | None):
        check_not_inference(tensor._node())
        self.tensor, self.output = weakref.ref(tensor), output
        self.node = tensor._node() if output is None else None  # a result refers to the call
        self.edge = tensor._edge() if output is None else None

    def check(self, call: "Call") -> None:
        """Raise if the memory has been written since."""
        node = call.output(self.output) if self.output is not None else self.node
        if node is None or node.counter is None or node.counter[0] == node.version:
            return
        maker = call.function.__name__ if self.output is not None else _maker(node.counter[1])
        origin = f", which is output {self.output or 0} of {maker}," if maker else ""
        kind = f"gradloom.{dtype_of(node.type.element).type_name}Tensor {list(node.type.shape)}"
        raise error(
            RuntimeError,
            "one of the variables needed for gradient computation has been modified by an inplace operation: "
            f"[{kind}]{origin} is at version {node.counter[0]}; expected version {node.version} instead. Hint: enable "
            "anomaly detection to find the operation that failed to compute its gradient, with "
            "gradloom.autograd.set_detect_anomaly(True, check_nan=False).",
            "write out of place (y = y + 1 instead of y += 1), or save a .clone()",
            call.notes(),
        )

    def unpack(self, call: "Call") -> Tensor:
        """Return the tensor: the same object if it is still there and part of the same graph."""
        if self.output is not None:
            return wrap(Tensor, call.output(self.output))
        tensor = self.tensor()
        if tensor is not None and (tensor._edge() if tensor.requires_grad else None) is self.edge:
            return tensor
        assert self.node is not None
        tensor = wrap(Tensor, self.node)
        if self.edge is not None:
            tensor._grad_fn = self.edge if isinstance(self.edge, Node) else None
        tensor._requires_grad = self.edge is not None
        return tensor


def _maker(name: str) -> str:
    """Return the name of an operation as PyTorch's messages have it."""
    return name.rstrip("0123456789").removesuffix("Backward")


class Call:
    """One application of a custom function, as the backward sees it.

    Attributes:
        function, context: whose `backward` is called with what.
        edges: where the gradients of the arguments that are tensors go.
        hooks: those registered on the node, by when they are called.
        freed: the saved tensors were given up.
    """

    def __init__(self, function: Any, context: FunctionCtx, arguments: Sequence[Any]):
        self.function, self.context = function, context
        self.edges = tuple([_edge_of(x) for x in arguments if isinstance(x, Tensor)])
        self.types: list[TensorType | None] = [x._value.type if isinstance(x, Tensor) else None for x in arguments]
        self.place = user_place()
        self.hooks: dict[str, Any] = {}
        self.freed = False
        self._saved: list[_Saved | None] = []
        self._results: list[tuple[TensorType, Node | None] | None] = []  # of each result: its type and its value
        self._nodes: dict[int, weakref.ref[Node]] = {}

    def add_result(self, value: Node | None, differentiable: bool) -> Node | None:
        """Take note of the next result of `forward`: the value of a tensor, or None; return its node if it gets one."""
        self._results.append(None if value is None else (value.type, value))
        return self.output(len(self._results) - 1) if differentiable else None

    def output(self, number: int) -> Node:
        """Return the node of a result: the one that is there, or a new one if nobody holds it any more."""
        reference = self._nodes.get(number)
        node = None if reference is None else reference()
        if node is None:
            result = self._results[number]
            assert result is not None
            kind, value = result
            assert value is not None
            node = self.function._node_class()
            node.signature = _RESULT.signatures.get(((), kind)) or _RESULT.infer(((), kind), (kind,))
            node.type, node.inputs, node.edges = kind, (value,), self.edges
            node.array, node.depth, node.place = value.array, value.depth + 1, self.place
            if value.array is not None:
                node.depth = 0
            node.extra = {"call": self, "output": number}
            self._nodes[number] = weakref.ref(node)
        return node

    @property
    def outputs(self) -> list[Node]:
        """The nodes of the results that somebody holds."""
        found = [reference() for reference in self._nodes.values()]
        return [node for node in found if node is not None]

    def notes(self) -> Any:
        """Return the note that says where the function was called."""
        for node in self.outputs:
            return recorded_at(node)
        return ()

    # --- saved tensors ------------------------------------------------------------------------------------------------

    def save(self, tensors: Sequence[Any], results: Sequence[Any]) -> None:
        """Keep tensors for the backward."""
        for i, tensor in enumerate(tensors):
            if tensor is not None and not isinstance(tensor, Tensor):
                raise TypeError(
                    f"save_for_backward can only save variables, but argument {i} is of type {type(tensor).__name__}"
                )
            number = next((k for k, each in enumerate(results) if each is tensor and k in self._nodes), None)
            self._saved.append(None if tensor is None else _Saved(tensor, number))

    def unpack(self) -> tuple[Any, ...]:
        """Return the saved tensors."""
        if self.freed:
            raise error(RuntimeError, SECOND_BACKWARD, SECOND_FIX, self.notes())
        for each in self._saved:
            if each is not None:
                each.check(self)
        return tuple([None if each is None else each.unpack(self) for each in self._saved])

    def release(self) -> None:
        """Give up what is kept for the backward."""
        if self._saved:
            self.freed, self._saved = True, []
        self._results = [None if result is None else (result[0], None) for result in self._results]

    # --- the backward -------------------------------------------------------------------------------------------------

    def arguments_of(self, gradients: Mapping[int, Tensor]) -> tuple[Any, ...]:
        """Return the gradients of all results; None for those that were not used."""
        return tuple([gradients.get(number) for number in range(len(self._results))])

    def _materialized(self, gradients: Sequence[Any]) -> list[Any]:
        """Return gradients with zeros in the place of those that are not there, unless the user wants to see None."""
        if not self.context.materialize_grads:
            return list(gradients)
        found = list(gradients)
        for number, result in enumerate(self._results):
            if found[number] is None and result is not None:
                found[number] = from_array(np.zeros(result[0].shape, result[0].element.dtype))
        return found

    def backward(self, gradients: Sequence[Any]) -> list[Tensor | None]:
        """Return the gradient along each edge, from the gradients of all results.

        Raises:
            RuntimeError: the user's `backward` returned something that does not fit; and whatever it raises.
        """
        function = self.function
        if function.backward is not Function.backward and function.vjp is not Function.vjp:
            raise error(
                RuntimeError,
                "Implementing both 'backward' and 'vjp' for a custom Function is not allowed. You should only "
                "implement one of them.",
            )
        run = function.backward if function.vjp is Function.vjp else function.vjp
        gradients = self._materialized(gradients)
        found = run(self.context, gradients) if function.boxed_grads_call else run(self.context, *gradients)
        return self._checked(found if isinstance(found, tuple) else (found,))

    def _checked(self, found: tuple[Any, ...]) -> list[Tensor | None]:
        name, count = f"{self.function.__name__}Backward", len(self.types)
        if len(found) > count and all(each is None for each in found[count:]):
            found = found[:count]
        if len(found) != count:
            raise error(
                RuntimeError,
                f"function {name} returned an incorrect number of gradients (expected {count}, got {len(found)})",
                "backward returns one gradient for each argument of forward, None for those that need none",
                self.notes(),
            )
        gradients: list[Tensor | None] = []
        for position, (kind, gradient) in enumerate(zip(self.types, found, strict=True), 1):
            if gradient is not None and not isinstance(gradient, Tensor):
                text = f"expected Variable or None (got {type(gradient).__name__})"
                raise error(RuntimeError, text, f"{name} returns tensors, or None", self.notes())
            if kind is not None:
                gradients.append(gradient)
            elif gradient is not None:
                raise error(
                    RuntimeError,
                    f"function {name} returned a gradient different than None at position {position}, but the "
                    "corresponding forward input was not a Variable",
                    "return None there",
                    self.notes(),
                )
        kinds = [kind for kind in self.types if kind is not None]
        return [
            None if edge is None or gradient is None else self._fitted(gradient, kind, k)
            for k, (edge, kind, gradient) in enumerate(zip(self.edges, kinds, gradients, strict=True))
        ]

    def _fitted(self, gradient: Tensor, kind: TensorType, index: int) -> Tensor:
        """Return a gradient in the shape and dtype of its argument."""
        if gradient._value.type.shape != kind.shape:
            if not _expands_to(kind.shape, gradient._value.type.shape):
                raise error(
                    RuntimeError,
                    f"Function {self.function.__name__}Backward returned an invalid gradient at index {index} - got "
                    f"{list(gradient.shape)} but expected shape compatible with {list(kind.shape)}",
                    "a gradient has the shape of the argument of forward that it belongs to",
                    self.notes(),
                )
            gradient = operation(_SUM_TO, (gradient,), (("shape", kind.shape),))
        if gradient._value.type.element is not kind.element:
            gradient = convert_to(gradient, dtype_of(kind.element))
        return gradient


def _edge_of(x: Tensor) -> Any:
    return x._edge() if x.requires_grad else None


def _expands_to(shape: tuple[int, ...], target: tuple[int, ...]) -> bool:
    if len(shape) > len(target):
        return False
    return all(m in (n, 1) for m, n in zip(shape[::-1], target[::-1], strict=False))


class Function:
    """The base of custom functions: static methods `forward` and `backward`, called through `apply`.

    `forward(ctx, *args)` computes and leaves in `ctx` what `backward(ctx, *grad_outputs)` needs, which returns the
    gradient of each argument. Or `forward(*args)` only computes, and `setup_context(ctx, inputs, output)` does the
    rest. Both may be any Python code; `backward` is differentiable itself if it is made of operations on tensors.
    """

    generate_vmap_rule = False
    clear_saved_tensors_on_access = False
    boxed_grads_call = False
    _node_class: ClassVar[type[FunctionNode]] = FunctionNode
    _context_class: ClassVar[type[FunctionCtx]] = FunctionCtx

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        name = f"{cls.__name__}Backward"
        cls._node_class = type(name, (FunctionNode,), {"__slots__": (), "__module__": __name__})
        cls._context_class = type(name, (FunctionCtx,), {"__module__": __name__})

    def __init__(self, *args: Any, **kwargs: Any):
        warnings.warn(
            f"{self.__class__} should not be instantiated. Methods on autograd functions are all static, so you "
            "should invoke them on the class itself. Instantiating an autograd function will raise an error in a "
            "future version of gradloom.",
            DeprecationWarning,
            stacklevel=2,
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise error(
            RuntimeError,
            "Legacy autograd function with non-static forward method is deprecated. Please use new-style autograd "
            "function with static forward method. (Example: "
            "https://pytorch.org/docs/stable/autograd.html#gradloom.autograd.Function)",
            f"call {self.__class__.__name__}.apply(...)",
        )

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        """Compute the results; the first argument is the context unless `setup_context` is defined."""
        raise NotImplementedError("You must implement the forward function for custom autograd.Function.")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> Any:
        """Leave in the context what the backward needs, where `forward` takes no context."""
        raise NotImplementedError("setup_context is not implemented.")

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """Return the gradient of each argument of `forward`, from those of its results."""
        raise NotImplementedError(
            "You must implement either the backward or vjp method for your custom autograd.Function to use it with "
            "backward mode AD."
        )

    vjp = backward

    @staticmethod
    def jvp(ctx: Any, *grad_inputs: Any) -> Any:
        """Raise: forward mode does not run through custom functions."""
        raise NotImplementedError(
            "You must implement the jvp function for custom autograd.Function to use it with forward mode AD."
        )

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Any) -> Any:
        """Raise: there is no vmap over custom functions."""
        raise NotImplementedError(
            "To use autograd.Function with vmap, you must either override the vmap staticmethod or set "
            "generate_vmap_rule=True."
        )

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Apply the function and record it as one node.

        Args:
            *args: tensors and anything else; only tensors among the arguments themselves take part in the graph.

        Returns:
            What `forward` returns; the tensors among it (if it is a tuple) have `backward` as their derivative.
        """
        context = cls._context_class()
        separate = cls.setup_context is not Function.setup_context
        if separate:
            bound = inspect.signature(cls.forward).bind(*args, **kwargs)
            bound.apply_defaults()
            args, kwargs = bound.args, bound.kwargs
        context.needs_input_grad = tuple([isinstance(x, Tensor) and x.requires_grad for x in args])
        recorded = state.grad and any(context.needs_input_grad)
        call = Call(cls, context, args)
        with no_grad():
            if separate:
                result = cls.forward(*args, **kwargs)
                cls.setup_context(context, args, result)
            else:
                result = cls.forward(context, *args, **kwargs)
            results = result if isinstance(result, tuple) else (result,)
            _check_marks(context, results)
        outputs = _wrap_results(call, results, args, recorded)
        if recorded:
            context._call = weakref.ref(call)
            call.save(context.to_save, outputs)
        context.to_save = ()
        return outputs if isinstance(result, tuple) else outputs[0]


def _check_marks(context: FunctionCtx, results: tuple[Any, ...]) -> None:
    for tensor in context.dirty_tensors:
        if not isinstance(tensor, Tensor):
            raise error(
                RuntimeError, f"mark_dirty can only accept variables, but argument is of type {type(tensor).__name__}"
            )
        if not any(tensor is each for each in results):
            raise error(
                RuntimeError,
                "Some elements marked as dirty during the forward method were not returned as output. The inputs that "
                "are modified inplace must all be outputs of the Function.",
            )
    for tensor in context.non_differentiable:
        if not isinstance(tensor, Tensor):
            text = f"mark_non_differentiable only accepts variable arguments, but got {type(tensor).__name__}"
            raise error(RuntimeError, text)


def _wrap_results(call: Call, results: tuple[Any, ...], args: tuple[Any, ...], recorded: bool) -> tuple[Any, ...]:
    """Return the results of `forward` with their nodes around them: the same tensors, but for arguments."""
    context = call.context
    arguments = {id(x) for x in args if isinstance(x, Tensor)}
    dirty = {id(x) for x in context.dirty_tensors}
    constant = {id(x) for x in context.non_differentiable}
    outputs: list[Any] = []
    values: dict[int, Node] = {}
    aliases: dict[int, Tensor] = {}
    wrapped: set[int] = set()
    for each in results:
        if not isinstance(each, Tensor):
            call.add_result(None, False)
            outputs.append(each)
            continue
        name = id(each)
        value = values.setdefault(name, each._node())
        if name in dirty and recorded and each.is_leaf and each._requires_grad:
            raise error(
                RuntimeError,
                "a leaf Variable that requires grad has been used in an in-place operation.",
                "apply the function to a .clone(), or do not mark it dirty",
            )
        output = each
        foreign = name in arguments or name in aliases or (each._requires_grad and name not in wrapped)
        if foreign and name not in dirty:
            output = aliases.setdefault(name, each.detach())  # an argument that is returned as it is
        node = call.add_result(value, recorded and name not in constant and output.is_floating_point())
        if node is not None:
            if name in dirty:
                assign(output, node)
            else:
                if output._link is not None and output._link.root is not None:
                    node.extra["view"] = True  # type: ignore[index]
                output._value, output._link = node, None
            wrapped.add(name)
            output._grad_fn, output._requires_grad = node, True
        outputs.append(output)
    return tuple(outputs)


# --- backwards that cannot be differentiated --------------------------------------------------------------------------


class Error(FunctionNode):
    """The node of a gradient that has no derivative."""

    __slots__ = ()


class _Refusal(Function):
    """Stands behind what a once differentiable backward returns."""

    @staticmethod
    def forward(ctx: Any, *gradients: Any) -> Any:
        return tuple([x if x is None else x.detach() for x in gradients])

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        raise error(
            RuntimeError,
            "trying to differentiate twice a function that was marked with @once_differentiable",
            "write the backward in operations on tensors and take the mark away",
        )


_Refusal._node_class = Error


def once_differentiable(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Mark a backward that cannot be differentiated: it runs without recording, and differentiating it raises."""

    @functools.wraps(fn)
    def wrapper(ctx: Any, *args: Any) -> Any:
        with no_grad():
            found = fn(ctx, *args)
        if not (state.grad and any(isinstance(x, Tensor) and x.requires_grad for x in args)):
            return found
        gradients = found if isinstance(found, tuple) else (found,)
        # Leaves of their own: what lies behind the gradients is not reached, and reaching them raises.
        stand_ins = [x if x is None else x.detach().requires_grad_(x.is_floating_point()) for x in gradients]
        refusing = _Refusal.apply(*stand_ins)
        return refusing if isinstance(found, tuple) else refusing[0]

    return wrapper


InplaceFunction = Function
__all__ = ["Call", "Function", "FunctionCtx", "FunctionNode", "InplaceFunction", "once_differentiable"]
