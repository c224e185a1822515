"""What the elementwise operations of the eager face share.

PyTorch's promotion of dtypes, its errors, and the ways in which an operation becomes functions, methods, operators and
in-place methods. A rule of an operation is NumPy code on traced arrays; `promoting` brings the operands to the dtype in
which PyTorch computes before the code runs. No operation is defined here: arithmetic.py, powers.py, functions.py,
comparison.py, selection.py and activations.py do that. Start reading at `promoting`.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from gradloom.autograd.dtypes import dtype_of, get_default_dtype, result_element
from gradloom.autograd.errors import error
from gradloom.autograd.graph import Attributes, EagerOp, Node, extra_of
from gradloom.autograd.recording import Variable, assign, check_writable, record, wrap
from gradloom.autograd.tensor import Tensor, from_array, in_place, method, operation, public
from gradloom.trace.promote import bring, convert
from gradloom.trace.tracer import Tracer
from gradloomc.dialects import nd
from gradloomc.ir.core import Value
from gradloomc.ir.types import ScalarType

Rule = Callable[..., Any]

# What a derivative reads in PyTorch, for `saves=` of operations whose rule reads something else.
RESULT = (frozenset[int](), True)
FIRST = (frozenset({0}), False)
NOTHING = (frozenset[int](), False)

# --- rules ------------------------------------------------------------------------------------------------------------


def operand_key(x: Any) -> Any:
    """Return what promotion looks at: (element type, rank) of an array, the class of a Python number."""
    if x.__class__ is Tracer:
        if x.weak:
            return {"f": float, "i": int, "b": bool}[x.value.type.element.kind]
        return (x.value.type.element, x.value.type.rank)
    return x.__class__


def common_element(operands: Sequence[Any]) -> ScalarType:
    """Return the element type in which PyTorch computes with traced arrays and numbers."""
    return result_element([operand_key(x) for x in operands])


def bring_to(x: Any, element: ScalarType) -> Any:
    """Return an operand, array or number, as a traced array of an element type; whole numbers wrap around, as in C."""
    if x.__class__ is Tracer:
        return Tracer(bring(x.value, element))
    if x.__class__ is int and element.kind in "iu":
        x = np.array(x, np.int64).astype(element.dtype)[()]
    return Tracer(bring(x, element))


def as_value(x: Any) -> Any:
    """Return what traced NumPy code gave as a traced array (it gives plain arrays for constants)."""
    return x if x.__class__ is Tracer else Tracer(x)


def constant(x: Any) -> Any:
    """Return a traced array that no gradient flows to."""
    return Tracer(nd.stop_gradient(as_value(x).value))


def on_value(function: Callable[[Value], Value]) -> Rule:
    """Return a function of one IR value as one of a traced array."""
    return lambda x: Tracer(function(x.value))


def check_broadcast(operands: Sequence[Any]) -> None:
    """Raise PyTorch's error if the shapes of traced arrays do not broadcast."""
    arrays = [x for x in operands if x.__class__ is Tracer]
    for a, b in pairwise(arrays):
        for back in range(1, min(a.ndim, b.ndim) + 1):
            m, n = a.shape[-back], b.shape[-back]
            if m != n and 1 not in (m, n):
                axis = max(a.ndim, b.ndim) - back
                raise error(
                    RuntimeError,
                    f"The size of tensor a ({m}) must match the size of tensor b ({n}) at non-singleton dimension "
                    f"{axis}",
                    f"the shapes are {a.shape} and {b.shape}: the extents of each dimension, counted from the last, "
                    "should be equal or 1",
                )


def not_implemented(kernel: str, element: ScalarType) -> Exception:
    """Return PyTorch's error for a dtype that an operation does not take."""
    name = dtype_of(element).type_name
    return error(NotImplementedError, f"\"{kernel}\" not implemented for '{name}'", "convert the tensor first")


def fitted(result: Any, into: ScalarType | None) -> Tracer:
    """Return a result in the element type of the tensor that it is written into; None leaves it as it is."""
    result = as_value(result)
    return result if into is None else Tracer(convert(result.value, into))


def promoting(function: Callable[..., Any], floats: bool = False, refused: str = "", kernel: str = "") -> Rule:
    """Return the rule that brings all operands to their common dtype and then computes `function`.

    Args:
        function: NumPy code on arrays of one dtype.
        floats: integers and bools are brought to the default float dtype.
        refused: the kinds of dtypes ("f", "i", "u", "b") that PyTorch has no such operation for.
        kernel: what PyTorch calls the operation in the error about them.
    """

    def rule(*operands: Any, into: ScalarType | None = None, **attributes: Any) -> Tracer:
        check_broadcast(operands)
        element = common_element(operands)
        if element.kind in refused:
            raise not_implemented(kernel, element)
        if floats and element.kind != "f":
            element = get_default_dtype().element
        return fitted(function(*[bring_to(x, element) for x in operands], **attributes), into)

    return rule


# --- arguments --------------------------------------------------------------------------------------------------------

_PLAIN = frozenset((Tensor, float, int, bool))


def type_name(x: Any) -> str:
    """Return the name of a class as PyTorch's argument errors spell it."""
    cls = x.__class__
    return f"numpy.{cls.__name__}" if cls.__module__ == "numpy" else cls.__name__


def is_number(x: Any) -> bool:
    """Tell whether PyTorch takes something for a number: a Python number or a NumPy scalar."""
    return isinstance(x, (float, int)) or (isinstance(x, np.generic) and x.dtype.kind in "fiub")


def plain_number(x: Any) -> Any:
    """Return a number as a float, int or bool and nothing else."""
    if x.__class__ is float or x.__class__ is int or x.__class__ is bool:
        return x
    if isinstance(x, np.generic):
        return x.item()
    return float(x) if isinstance(x, float) else int(x)


def operand(x: Any, function: str, argument: str = "other", position: int = 2) -> Any:
    """Return an argument that may be a tensor or a number.

    Raises:
        TypeError: it is neither, in PyTorch's words.
    """
    if x.__class__ in _PLAIN or isinstance(x, Variable):
        return x
    if is_number(x):
        return plain_number(x)
    raise TypeError(f"{function}(): argument '{argument}' (position {position}) must be Tensor, not {type_name(x)}")


def tensor_operand(x: Any, function: str, argument: str = "input", position: int = 1) -> Tensor:
    """Return an argument that must be a tensor.

    Raises:
        TypeError: it is not, in PyTorch's words.
    """
    if x.__class__ is Tensor or isinstance(x, Variable):
        return x  # type: ignore[return-value]
    raise TypeError(f"{function}(): argument '{argument}' (position {position}) must be Tensor, not {type_name(x)}")


def number_argument(x: Any, function: str, argument: str) -> Any:
    """Return an argument that must be a number; a tensor of one element counts as one.

    Raises:
        TypeError: it is not, in PyTorch's words.
    """
    if x.__class__ is float or x.__class__ is int:
        return x
    if is_number(x):
        return plain_number(x)
    if isinstance(x, Tensor) and x.ndim == 0 and not x.requires_grad:
        return x.item()
    raise TypeError(f"{function}(): argument '{argument}' must be Number, not {type_name(x)}")


def as_tensor_operand(x: Any) -> Any:
    """Return an operand of an operator as a tensor or a Python number.

    Raises:
        TypeError: it is neither, nor a NumPy number or array.
    """
    if x.__class__ in _PLAIN or isinstance(x, Variable):
        return x
    if is_number(x):
        return plain_number(x)
    if isinstance(x, np.ndarray) and x.dtype.kind in "fiub":
        return from_array(np.array(x))
    raise TypeError(f"unsupported operand type(s): 'Tensor' and '{type(x).__name__}'")


def foreign(x: Any) -> Any:
    """Return an operand of an operator as a tensor or a number; NotImplemented lets Python ask the other operand."""
    try:
        return as_tensor_operand(x)
    except TypeError:
        return NotImplemented


# --- writing ----------------------------------------------------------------------------------------------------------

KIND_RANK = {"b": 0, "i": 1, "u": 1, "f": 2}


def write_into(x: Tensor, op: EagerOp, operands: Sequence[Any], attributes: Attributes = ()) -> Tensor:
    """Record an operation, let `x` hold its result in the dtype of x, and return x.

    Raises:
        RuntimeError: x is a leaf that requires grad, or the result has another shape, or a dtype of a higher kind.
    """
    check_writable(x)
    node = record(op, operands, attributes)
    have, want = x._value.type, node.type
    if want is not have and want.shape == have.shape and KIND_RANK[want.element.kind] <= KIND_RANK[have.element.kind]:
        node = record(op, operands, (*attributes, ("into", have.element)))
    assign(x, node)
    return x


# --- functions and methods --------------------------------------------------------------------------------------------


def documented(function: Any, name: str, doc: str) -> Any:
    """Give a function its name and its docstring."""
    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return function


def unary(name: str, op: EagerOp, *aliases: str, writes: bool = True, doc: str = "") -> Callable[[Tensor], Tensor]:
    """Define a function of one tensor: `gradloom.name(input)`, `x.name()`, and with `writes` `x.name_()`."""

    def function(input: Tensor) -> Tensor:
        if input.__class__ is not Tensor:
            tensor_operand(input, name)
        return wrap(Tensor, record(op, (input,)))

    def write(input: Tensor) -> Tensor:
        return write_into(tensor_operand(input, f"{name}_"), op, (input,))

    documented(function, name, doc or f"Return {name} of each element.")
    documented(write, f"{name}_", f"Apply `{name}` in place.")
    for each in (name, *aliases):
        method(each)(function)
        public(each)(function)
        if writes:
            method(f"{each}_")(write)
            public(f"{each}_")(write)
    return function


def binary(name: str, op: EagerOp, *aliases: str, writes: bool = True, doc: str = "") -> Callable[..., Tensor]:
    """Define a function of two tensors (numbers are refused), as `unary`."""

    def function(input: Tensor, other: Tensor) -> Tensor:
        tensor_operand(input, name)
        tensor_operand(other, name, "other", 2)
        return wrap(Tensor, record(op, (input, other)))

    def write(self: Tensor, other: Tensor) -> Tensor:
        return write_into(self, op, (self, tensor_operand(other, f"{name}_", "other", 1)))

    documented(function, name, doc or f"Return {name} of the elements of two tensors that broadcast.")
    documented(write, f"{name}_", f"Apply `{name}` in place.")
    for each in (name, *aliases):
        method(each)(function)
        public(each)(function)
        if writes:
            method(f"{each}_")(write)
    return function


def binary_operation(op: EagerOp, x: Any, y: Any) -> Tensor:
    """Record an operation on two operands, at least one of them a tensor."""
    return wrap(Tensor, record(op, (x, y)))


def install(name: str, function: Any) -> None:
    """Make a function the operator method `__name__`."""
    documented(function, f"__{name}__", f"Python's operator method `{name}`.")
    method(f"__{name}__")(function)


def operators(name: str, op: EagerOp) -> None:
    """Define `x + y` and `x += y` by one operation; `name` is that of the method without underscores."""

    def forward(self: Tensor, other: Any) -> Any:
        if other.__class__ not in _PLAIN:
            other = foreign(other)
            if other is NotImplemented:
                return other
        return wrap(Tensor, record(op, (self, other)))

    def write(self: Tensor, other: Any) -> Any:
        other = foreign(other)
        return other if other is NotImplemented else write_into(self, op, (self, other))

    install(name, forward)
    install(f"i{name}", write)


def reflected(name: str, function: Callable[[Tensor, Any], Any]) -> None:
    """Define `y - x` for a `y` that is no tensor, by a function of (x, y)."""

    def backward(self: Tensor, other: Any) -> Any:
        other = foreign(other)
        return other if other is NotImplemented else function(self, other)

    install(f"r{name}", backward)


def operators_by(name: str, function: Callable[[Any, Any], Any], write: Callable[[Any, Any], Any]) -> None:
    """Define `x // y`, `y // x` and `x //= y` by a function and an in-place method."""

    def forward(self: Tensor, other: Any) -> Any:
        other = foreign(other)
        return other if other is NotImplemented else function(self, other)

    def assignment(self: Tensor, other: Any) -> Any:
        other = foreign(other)
        return other if other is NotImplemented else write(self, other)

    install(name, forward)
    install(f"i{name}", assignment)
    reflected(name, lambda x, y: function(y, x))


def refuse_backward(x: Tensor, function: str, operands: Sequence[Any]) -> Tensor:
    """Let the backward through the node of `x` fail: PyTorch has no derivative of the function."""
    node = x._grad_fn
    if node is not None:
        node.listed = tuple([k for k, each in enumerate(operands) if isinstance(each, Variable)])
        extra_of(node).setdefault("hooks", {})[-1] = _Refusal(function)
    return x


class _Refusal:
    """A hook that raises what PyTorch raises in a backward through a function without derivative."""

    __slots__ = ("function",)

    def __init__(self, function: str):
        self.function = function

    def __call__(self, gradient: Any) -> Any:
        raise error(
            RuntimeError,
            f"derivative for aten::{self.function} is not implemented",
            "its derivative is 0 wherever it exists: take a .detach() of the operands",
        )


__all__ = [
    "FIRST",
    "KIND_RANK",
    "NOTHING",
    "RESULT",
    "Node",
    "Rule",
    "as_tensor_operand",
    "as_value",
    "binary",
    "binary_operation",
    "bring_to",
    "check_broadcast",
    "common_element",
    "constant",
    "documented",
    "fitted",
    "foreign",
    "in_place",
    "install",
    "is_number",
    "not_implemented",
    "number_argument",
    "on_value",
    "operand",
    "operand_key",
    "operation",
    "operators",
    "operators_by",
    "plain_number",
    "promoting",
    "reflected",
    "refuse_backward",
    "tensor_operand",
    "type_name",
    "unary",
    "write_into",
]
