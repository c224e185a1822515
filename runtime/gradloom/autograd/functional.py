"""Derivatives of functions of tensors: Jacobians, Hessians and their products with vectors.

All of them call the function once and differentiate the graph that it leaves; products with the Jacobian from the right
(`jvp`, `hvp`) differentiate the product from the left by its vector. The signatures and errors are those of
`torch.autograd.functional`.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradloom.autograd.errors import error
from gradloom.autograd.gradients import grad
from gradloom.autograd.graph import EagerOp
from gradloom.autograd.modes import enable_grad, set_grad_enabled, state
from gradloom.autograd.tensor import Tensor, from_array, operation

Tensors = tuple[Tensor, ...]
_ALIAS = EagerOp("ViewBackward0", lambda x: x)


def _stack(*rows: Any, shape: tuple[int, ...]) -> Any:
    return np.stack(rows).reshape(shape)


_STACK = EagerOp("StackBackward0", _stack)


# --- arguments and results --------------------------------------------------------------------------------------------


def _tuple_of(what: Any, role: str, function: str) -> tuple[bool, Tensors]:
    """Return whether this is a tuple, and the tensors.

    Raises:
        TypeError: there is something else than tensors.
    """
    several = isinstance(what, tuple)
    tensors = what if several else (what,)
    for i, each in enumerate(tensors):
        if not isinstance(each, Tensor):
            where = f"value at index {i}" if several else f"given {role}"
            raise TypeError(
                f"The {role} given to {function} must be either a Tensor or a tuple of Tensors but the {where} has "
                f"type {type(each)}."
            )
    return several, tensors


def _prepared(inputs: Tensors, create_graph: bool, requires_grad: bool) -> Tensors:
    """Return tensors of our own: what the function does with the caller's is not differentiated."""
    return tuple(
        [
            operation(_ALIAS, (x,)) if create_graph and x.requires_grad else x.detach().requires_grad_(requires_grad)
            for x in inputs
        ]
    )


def _called(function: Callable[..., Any], inputs: Tensors, name: str, strict: bool) -> tuple[bool, Tensors]:
    several, outputs = _tuple_of(function(*inputs), "outputs of the user-provided function", name)
    if strict:
        _check_outputs(outputs)
    return several, outputs


def _finished(tensors: Sequence[Tensor], create_graph: bool) -> Tensors:
    return tuple(tensors) if create_graph else tuple([x.detach() for x in tensors])


def _unpacked(tensors: Any, several: bool) -> Any:
    return tensors if several else tensors[0]


def _zeros(x: Tensor, requires_grad: bool = False) -> Tensor:
    zeros = from_array(np.zeros(x.shape, x._value.type.element.dtype))
    zeros._requires_grad = requires_grad
    return zeros


def _vector(v: Any, like: Tensors, several: bool, name: str, create_graph: bool, missing: str) -> Tensors | None:
    """Return the vector of a product, None if it stands for a one.

    Raises:
        RuntimeError: its shapes do not fit, or it is missing where it must be given.
    """
    if v is None:
        if len(like) != 1 or like[0].numel() != 1:
            raise error(RuntimeError, missing, "give v: a tensor for each, of the same shape")
        return None
    _, vectors = _tuple_of(v, "v", name)
    vectors = _prepared(vectors, create_graph, False)
    if len(vectors) != len(like):
        text = f"v is a tuple of invalid length: should be {len(like)} but got {len(vectors)}."
        raise error(RuntimeError, text if several else "The given v should contain a single Tensor.")
    for i, (each, other) in enumerate(zip(vectors, like, strict=True)):
        if each.shape != other.shape:
            entry = f"Entry {i} in " if several else ""
            raise error(RuntimeError, f"{entry}v has invalid size: should be {other.shape} but got {each.shape}.")
    return vectors


def _gradients(
    outputs: Sequence[Any],
    inputs: Tensors,
    vectors: Sequence[Any] | None,
    create_graph: bool,
    retain: bool | None = None,
) -> tuple[Tensor | None, ...]:
    """Return the gradients of those outputs that have any; None for inputs that play no part."""
    pairs = list(zip(outputs, [None] * len(outputs) if vectors is None else vectors, strict=True))
    pairs = [(output, vector) for output, vector in pairs if output is not None and output.requires_grad]
    if not pairs:
        return (None,) * len(inputs)
    chosen, weights = [each[0] for each in pairs], [each[1] for each in pairs]
    return grad(chosen, inputs, weights, retain_graph=retain, create_graph=create_graph, allow_unused=True)


# --- strict mode ------------------------------------------------------------------------------------------------------

_NOT_STRICT = "This is not allowed in strict mode."


def _check_outputs(outputs: Sequence[Tensor]) -> None:
    for i, output in enumerate(outputs):
        if not output.requires_grad:
            raise error(
                RuntimeError,
                f"Output {i} of the user-provided function does not require gradients. The outputs must be computed in "
                "a differentiable manner from the input when running in strict mode.",
            )


def _check_first(gradients: Sequence[Tensor | None], what: str) -> None:
    """Raise if a first derivative does not depend on the inputs; `what` says which one it is."""
    texts = {
        "grad_inputs": "The gradient with respect to input {i} is independent of the inputs of the user-provided "
        f"function. {_NOT_STRICT}",
        "jacobian": "While computing the hessian, found that the jacobian of the user-provided function with respect "
        f"to input {{i}} is independent of the input. {_NOT_STRICT} You should ensure that your function is twice "
        "differentiable and that the jacobian depends on the inputs (this would be violated by a linear function for "
        "example).",
        "hessian": "The hessian of the user-provided function with respect to input {i} is independent of the input. "
        f"{_NOT_STRICT} You should ensure that your function is thrice differentiable and that the hessian depends on "
        "the inputs.",
    }
    for i, gradient in enumerate(gradients):
        if gradient is None:
            raise error(
                RuntimeError, f"The output of the user-provided function is independent of input {i}. {_NOT_STRICT}"
            )
        if not gradient.requires_grad:
            raise error(RuntimeError, texts[what].format(i=i))


_INDEPENDENT = {
    "vjp": f"The output of the user-provided function is independent of input {{i}}. {_NOT_STRICT}",
    "jvp": "The gradient with respect to the input is independent of entry {i} in the grad_outputs when using the "
    f"double backward trick to compute forward mode gradients. {_NOT_STRICT}",
    "vhp": f"The jacobian of the user-provided function is independent of input {{i}}. {_NOT_STRICT}",
    "hvp": "The hessian of the user-provided function is independent of entry {i} in the grad_jacobian. This is not "
    "allowed in strict mode as it prevents from using the double backward trick to replace forward mode AD.",
}


def _filled(
    gradients: Sequence[Tensor | None], like: Tensors, strict: bool, create_graph: bool, name: str
) -> list[Tensor]:
    """Return zeros for the gradients that are not there, or raise in strict mode."""
    found: list[Tensor] = []
    for i, (gradient, other) in enumerate(zip(gradients, like, strict=True)):
        if gradient is None:
            if strict:
                raise error(RuntimeError, _INDEPENDENT[name].format(i=i))
            gradient = _zeros(other)
        elif strict and create_graph and not gradient.requires_grad:
            what = "jacobian" if name in ("vjp", "jvp") else "hessian"
            raise error(
                RuntimeError,
                f"The {what} of the user-provided function is independent of input {i}. This is not allowed in strict "
                "mode when create_graph=True.",
            )
        found.append(gradient)
    return found


# --- first order ------------------------------------------------------------------------------------------------------


def vjp(func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> Any:
    """Return `func(*inputs)` and the product of a vector from the left with its Jacobian.

    Args:
        func: from tensors to a tensor or a tuple of them.
        inputs: a tensor or a tuple of them.
        v: of the outputs' shapes; may be left out for one output of one element.
        create_graph: the results can be differentiated.
        strict: raise where an output does not depend on an input, rather than return zeros.

    Returns:
        (outputs, products): the products have the inputs' shapes.

    Raises:
        RuntimeError: shapes do not fit, or in strict mode.
        TypeError: something is no tensor.
    """
    with enable_grad():
        several_inputs, inputs = _tuple_of(inputs, "inputs", "vjp")
        inputs = _prepared(inputs, create_graph, True)
        several, outputs = _called(func, inputs, "vjp", strict)
        missing = (
            "The vector v can only be None if the user-provided function returns a single Tensor with a single element."
        )
        vectors = _vector(v, outputs, several, "vjp", create_graph, missing)
    with set_grad_enabled(create_graph or state.grad):
        found = _filled(_gradients(outputs, inputs, vectors, create_graph), inputs, strict, create_graph, "vjp")
    products = _unpacked(_finished(found, create_graph), several_inputs)
    return _unpacked(_finished(outputs, create_graph), several), products


_MISSING_INPUT_VECTOR = (
    "The vector v can only be None if the input to the user-provided function is a single Tensor with a single element."
)


def jvp(func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> Any:
    """Return `func(*inputs)` and the product of its Jacobian with a vector from the right.

    Args and errors are those of `vjp`, but that `v` has the inputs' shapes and the product the outputs'.
    """
    with enable_grad():
        several_inputs, inputs = _tuple_of(inputs, "inputs", "jvp")
        inputs = _prepared(inputs, create_graph, True)
        vectors = _vector(v, inputs, several_inputs, "jvp", create_graph, _MISSING_INPUT_VECTOR)
        several, outputs = _called(func, inputs, "jvp", strict)
        weights = tuple([_zeros(output, requires_grad=True) for output in outputs])
        products = _gradients(outputs, inputs, weights, True)
        if strict:
            _check_first(products, "grad_inputs")
    with set_grad_enabled(create_graph or state.grad):
        gradients = _gradients(products, weights, vectors, create_graph)
        found = _filled(gradients, outputs, strict, create_graph, "jvp")
    return _unpacked(_finished(outputs, create_graph), several), _unpacked(_finished(found, create_graph), several)


def jacobian(
    func: Callable[..., Any],
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:
    """Return the Jacobian of a function: for each output and input a tensor of shape output.shape + input.shape.

    Args:
        func, inputs, create_graph, strict: as for `vjp`.
        vectorize: accepted; the rows are computed by one compiled program that is run for each of them anyhow.
        strategy: "reverse-mode" computes rows, "forward-mode" computes columns.

    Raises:
        RuntimeError: in strict mode, or `strict` and `vectorize` are given together.
        NotImplementedError: "forward-mode" is given with `create_graph`, or without `vectorize`.
    """
    if strategy not in ("forward-mode", "reverse-mode"):
        raise AssertionError(
            'Expected strategy to be either "forward-mode" or "reverse-mode". Hint: If your function has more outputs '
            'than inputs, "forward-mode" tends to be more performant. Otherwise, prefer to use "reverse-mode".'
        )
    if vectorize and strict:
        raise error(
            RuntimeError,
            "gradloom.autograd.functional.jacobian: `strict=True` and `vectorized=True` are not supported together. "
            "Please either set `strict=False` or `vectorize=False`.",
        )
    if strategy == "forward-mode":
        return _by_columns(func, inputs, create_graph, vectorize)
    with enable_grad():
        several_inputs, inputs = _tuple_of(inputs, "inputs", "jacobian")
        inputs = _prepared(inputs, create_graph, True)
        several, outputs = _called(func, inputs, "jacobian", strict)
        rows = []
        for i, output in enumerate(outputs):
            found = _rows(i, output, inputs, create_graph, strict)
            rows.append(_unpacked(_finished(found, create_graph), several_inputs))
    return _unpacked(tuple(rows), several)


def _rows(number: int, output: Tensor, inputs: Tensors, create_graph: bool, strict: bool) -> list[Tensor]:
    """Return the Jacobian of one output with respect to each input."""
    rows: list[list[Tensor]] = [[] for _ in inputs]
    for j in range(output.numel()):
        gradients = _gradients((output,), inputs, (_unit(output, j),), create_graph, retain=True)
        for i, (gradient, x) in enumerate(zip(gradients, inputs, strict=True)):
            if gradient is None and strict:
                raise error(
                    RuntimeError,
                    f"Output {number} of the user-provided function is independent of input {i}. {_NOT_STRICT}",
                )
            if gradient is not None and strict and create_graph and not gradient.requires_grad:
                raise error(
                    RuntimeError,
                    f"The jacobian of the user-provided function is independent of input {number}. This is not allowed "
                    "in strict mode when create_graph=True.",
                )
            rows[i].append(_zeros(x) if gradient is None else gradient)
    return [_stacked(parts, (*output.shape, *x.shape), x) for parts, x in zip(rows, inputs, strict=True)]


def _unit(like: Tensor, position: int) -> Tensor:
    """Return a tensor of zeros with a one at a position counted in row-major order."""
    array = np.zeros(like.shape, like._value.type.element.dtype)
    array.reshape(-1)[position] = 1
    return from_array(array)


def _stacked(parts: list[Tensor], shape: tuple[int, ...], like: Tensor) -> Tensor:
    if not parts:
        return from_array(np.zeros(shape, like._value.type.element.dtype))
    return operation(_STACK, parts, (("shape", tuple(shape)),))


def _by_columns(func: Callable[..., Any], inputs: Any, create_graph: bool, vectorize: bool) -> Any:
    """Return the Jacobian from its products with the unit vectors."""
    if create_graph:
        raise NotImplementedError(
            'gradloom.autograd.functional.jacobian: `create_graph=True` and `strategy="forward-mode"` are not '
            'supported together (yet). Please either set `create_graph=False` or `strategy="reverse-mode"`.'
        )
    if not vectorize:
        raise NotImplementedError(
            "Computing Jacobian using forward-AD or forward-over-reverse Hessian is only implemented for "
            "`vectorize=True`."
        )
    several_inputs, tensors = _tuple_of(inputs, "inputs", "jacobian")
    outputs: Any = None
    columns: list[list[list[Tensor]]] = []  # by input, element, output
    for i, x in enumerate(tensors):
        found = []
        for k in range(x.numel()):
            vectors = [_zeros(each) for each in tensors]
            vectors[i] = _unit(x, k)
            outputs, products = jvp(func, tensors, tuple(vectors))
            found.append(list(products) if isinstance(products, tuple) else [products])
        columns.append(found)
    several = isinstance(outputs, tuple)
    blocks = []
    for j, output in enumerate(outputs if several else (outputs,)):
        parts = []
        for x, found in zip(tensors, columns, strict=True):
            array = np.stack([each[j]._array() for each in found], axis=-1)
            parts.append(from_array(np.ascontiguousarray(array.reshape(*output.shape, *x.shape))))
        blocks.append(_unpacked(tuple(parts), several_inputs))
    return _unpacked(tuple(blocks), several)


# --- second order -----------------------------------------------------------------------------------------------------


def _single(output: Any, name: str, strict: bool) -> Tensor:
    """Return the one element that a function must return whose Hessian is wanted."""
    several, outputs = _tuple_of(output, "outputs of the user-provided function", name)
    if strict:
        _check_outputs(outputs)
    if several:
        raise error(RuntimeError, f"The function given to {name} should return a single Tensor")
    if outputs[0].numel() != 1:
        raise error(
            RuntimeError,
            f"The Tensor returned by the function given to {name} should contain a single element",
            "reduce it: .sum(), .mean()",
        )
    return outputs[0]


def hessian(
    func: Callable[..., Any],
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:
    """Return the Hessian of a function with one element: for each pair of inputs a tensor of shape a.shape + b.shape.

    Args and errors are those of `jacobian`.
    """
    several, inputs = _tuple_of(inputs, "inputs", "hessian")
    if outer_jacobian_strategy not in ("forward-mode", "reverse-mode"):
        raise AssertionError('Expected strategy to be either "forward-mode" or "reverse-mode".')

    def single(*arguments: Tensor) -> Tensor:
        return operation(_STACK, (_single(func(*arguments), "hessian", strict),), (("shape", ()),))

    def gradients(*arguments: Tensor) -> Any:
        if outer_jacobian_strategy == "forward-mode":
            arguments = tuple([each.requires_grad_(True) for each in arguments])
        found = jacobian(single, arguments, create_graph=True)
        if strict:
            _check_first(found, "jacobian")
        return found

    found = jacobian(gradients, inputs, create_graph, strict, vectorize, outer_jacobian_strategy)
    return found if several else found[0][0]


def _second(
    func: Callable[..., Any], inputs: Any, v: Any, create_graph: bool, strict: bool, name: str
) -> tuple[bool, Tensors, Tensors | None, Tensor, tuple[Tensor | None, ...]]:
    """Return what products with the Hessian start from: inputs, vector, output, and its gradients."""
    several, inputs = _tuple_of(inputs, "inputs", name)
    inputs = _prepared(inputs, create_graph, True)
    vectors = _vector(v, inputs, several, name, create_graph, _MISSING_INPUT_VECTOR)
    output = _single(func(*inputs), name, strict)
    gradients = _gradients((output,), inputs, None, True)
    if strict:
        _check_first(gradients, "jacobian")
    return several, inputs, vectors, output, gradients


def vhp(func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> Any:
    """Return `func(*inputs)`, of one element, and the product of a vector from the left with its Hessian.

    Args and errors are those of `vjp`; `v` and the product have the inputs' shapes.
    """
    with enable_grad():
        several, inputs, vectors, output, gradients = _second(func, inputs, v, create_graph, strict, "vhp")
    with set_grad_enabled(create_graph or state.grad):
        products = _gradients(gradients, inputs, vectors, create_graph)
        found = _filled(products, inputs, strict, create_graph, "vhp")
    return _finished((output,), create_graph)[0], _unpacked(_finished(found, create_graph), several)


def hvp(func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> Any:
    """Return `func(*inputs)`, of one element, and the product of its Hessian with a vector from the right.

    Args and errors are those of `vjp`; `v` and the product have the inputs' shapes. Where second derivatives are
    continuous this is `vhp`, which takes half the work.
    """
    with enable_grad():
        several, inputs, vectors, output, gradients = _second(func, inputs, v, create_graph, strict, "hvp")
        weights = tuple([_zeros(x, requires_grad=True) for x in inputs])
        second = _gradients(gradients, inputs, weights, True)
        if strict:
            _check_first(gradients, "hessian")
    with set_grad_enabled(create_graph or state.grad):
        products = _gradients(second, weights, vectors, create_graph)
        found = _filled(products, inputs, strict, create_graph, "hvp")
    return _finished((output,), create_graph)[0], _unpacked(_finished(found, create_graph), several)


__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]
