"""`gradcheck`: gradients held against central differences. `gradgradcheck`: the same for gradients of gradients.

The Jacobian is computed twice, column by column from the function's values, and row by row by `autograd.grad`, and both
are compared element by element. Meant for float64: in float32 the differences are mostly rounding.
"""

import sys
import types
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradloom.autograd.errors import error
from gradloom.autograd.gradients import grad
from gradloom.autograd.graph import Array, data_node
from gradloom.autograd.tensor import Tensor, from_array
from gradloomc.ir.types import f64

Function = Callable[..., Any]


class GradcheckError(RuntimeError):
    """A gradient is wrong."""


def _tuple_of(what: Any) -> tuple[Any, ...]:
    return tuple(what) if isinstance(what, (tuple, list)) else (what,)


def _differentiable(outputs: Any) -> tuple[Tensor, ...]:
    return tuple([each for each in _tuple_of(outputs) if each.requires_grad])


def _checked_inputs(inputs: tuple[Any, ...]) -> list[Tensor]:
    """Return the inputs whose gradients are checked."""
    found = []
    for i, x in enumerate(inputs):
        if isinstance(x, Tensor) and x.requires_grad:
            if x._value.type.element is not f64:
                warnings.warn(
                    f"Input #{i} requires gradient and is not a double precision floating point or complex. This check "
                    "will likely fail if all the inputs are not of double precision floating point or complex. ",
                    stacklevel=4,
                )
            if any(stride == 0 and extent > 1 for stride, extent in zip(x.stride(), x.shape, strict=True)):
                raise error(
                    RuntimeError,
                    f"The {i}th input has a dimension with stride 0. gradcheck only supports inputs that are "
                    "non-overlapping to be able to compute the numerical gradients correctly. You should call "
                    ".contiguous on the input before passing it to gradcheck.",
                )
            found.append(x)
    if not found:
        raise ValueError(
            "gradcheck expects at least one input tensor to require gradient, but none of them have requires_grad=True."
        )
    return found


# --- the two Jacobians ------------------------------------------------------------------------------------------------


class _Moved:
    """Inside the block a tensor has other values, for all who hold it, and its history stays."""

    def __init__(self, x: Tensor, array: Array):
        self.x, self.array = x, array

    def __enter__(self) -> None:
        self.before = self.x._value, self.x._link
        self._set(data_node(self.array), None)

    def __exit__(self, *exception: object) -> None:
        self._set(*self.before)

    def _set(self, node: Any, link: Any) -> None:
        self.x._value, self.x._link = node, link
        self.x._writes += 1


def _values(function: Function, inputs: tuple[Any, ...]) -> list[Array]:
    return [np.array(each._array()) for each in _tuple_of(function(*inputs))]


def _difference(function: Function, inputs: tuple[Any, ...], x: Tensor, step: Array) -> list[Array]:
    """Return by how much the outputs change when `x` moves from one side of where it is to the other."""
    array = np.array(x._array())
    with _Moved(x, array + step):
        after = _values(function, inputs)
    with _Moved(x, array - step):
        before = _values(function, inputs)
    return [b - a for a, b in zip(before, after, strict=True)]


def _numerical(function: Function, inputs: tuple[Any, ...], x: Tensor, eps: float, outputs: int) -> list[Array]:
    """Return the transposed Jacobian of each output with respect to `x`, shape (elements of x, elements of output)."""
    rows: list[list[Array]] = [[] for _ in range(outputs)]
    for k in range(x.numel()):
        step = np.zeros(x.shape, x._value.type.element.dtype)
        step.reshape(-1)[k] = eps
        for i, change in enumerate(_difference(function, inputs, x, step)):
            rows[i].append(change.reshape(-1) / (2 * eps))
    return [np.array(each) for each in rows]


def _analytical(output: Tensor, inputs: Sequence[Tensor], cotangents: Sequence[Array]) -> list[list[Any]]:
    """Return the gradients of each input for each cotangent of the output; None where it plays no part."""
    found: list[list[Any]] = [[] for _ in inputs]
    for cotangent in cotangents:
        for i, gradient in enumerate(
            grad(output, inputs, from_array(np.array(cotangent)), retain_graph=True, allow_unused=True)
        ):
            found[i].append(gradient)
    return found


def _stacked(gradients: list[Any], x: Tensor, check_dtypes: bool) -> Array:
    """Return gradients as the columns of a matrix."""
    for gradient in gradients:
        if gradient is not None and check_dtypes and gradient._value.type.element is not x._value.type.element:
            raise GradcheckError("Gradient has dtype mismatch")
        if gradient is not None and gradient.shape != x.shape:
            raise GradcheckError("Analytical gradient has incorrect size")
    zeros = np.zeros(x.numel(), x._value.type.element.dtype)
    columns = [zeros if each is None else each._array().reshape(-1) for each in gradients]
    return np.stack(columns, axis=1) if columns else np.zeros((x.numel(), 0))


def _units(output: Tensor) -> list[Array]:
    element = output._value.type.element.dtype
    return [row.reshape(output.shape) for row in np.eye(output.numel(), dtype=element)]


def _twice(
    output: Tensor, inputs: Sequence[Tensor], cotangents: Sequence[Array], tolerance: float, check_dtypes: bool
) -> list[Array]:
    """Return the gradients as matrices, computed twice: they must be the same."""
    # The first run of a new graph is interpreted, later ones are compiled, and the two may round differently.
    _analytical(output, inputs, cotangents[:1])
    first, second = (
        [
            _stacked(each, x, check_dtypes)
            for each, x in zip(_analytical(output, inputs, cotangents), inputs, strict=True)
        ]
        for _ in range(2)
    )
    if not all(_is_close(a, b, 0.0, tolerance) for a, b in zip(first, second, strict=True)):
        raise GradcheckError(
            "Backward is not reentrant, i.e., running backward with same input and grad_output multiple times gives "
            "different values, although analytical gradient matches numerical gradient."
            f"The tolerance for nondeterminism was {tolerance}."
        )
    return first


def _is_close(actual: Array, expected: Array, rtol: float, atol: float) -> bool:
    return bool(np.all(np.abs(actual - expected) <= atol + rtol * np.abs(expected)))


# --- the checks -------------------------------------------------------------------------------------------------------


def _mismatch(analytical: Array, numerical: Array, output: int, position: int) -> GradcheckError:
    return GradcheckError(
        f"Jacobian mismatch for output {output} with respect to input {position},\n"
        f"numerical:{from_array(np.array(numerical))!r}\nanalytical:{from_array(np.array(analytical))!r}\n"
    )


def _check_all(
    function: Function,
    inputs: tuple[Any, ...],
    leaves: list[Tensor],
    outputs: tuple[Any, ...],
    options: "dict[str, Any]",
) -> None:
    """Compare whole Jacobians."""
    eps, rtol, atol = options["eps"], options["rtol"], options["atol"]
    numerical = [_numerical(function, inputs, x, eps, len(outputs)) for x in leaves]
    number = 0
    for i, output in enumerate(outputs):
        if not output.requires_grad:
            continue
        analytical = _twice(output, leaves, _units(output), options["nondet_tol"], options["check_grad_dtypes"])
        for j, matrix in enumerate(analytical):
            if not _is_close(matrix, numerical[j][i], rtol, atol):
                raise _mismatch(matrix, numerical[j][i], number, j)
        number += 1
    if not number and any(np.any(matrix != 0) for each in numerical for matrix in each):
        raise GradcheckError("Numerical gradient for function expected to be zero")


def _check_projected(
    function: Function,
    inputs: tuple[Any, ...],
    leaves: list[Tensor],
    outputs: tuple[Any, ...],
    options: "dict[str, Any]",
) -> None:
    """Compare one number for each output and input, the Jacobian between two random vectors; in doubt, all of it."""
    generator = np.random.default_rng(0)
    right = [_direction(x, generator) for x in leaves]
    left = [_direction(each, generator) for each in outputs]
    changes = [_difference(function, inputs, x, u * options["eps"]) for x, u in zip(leaves, right, strict=True)]
    for i, output in enumerate(outputs):
        if not output.requires_grad:
            continue
        found = _twice(output, leaves, [left[i]], options["nondet_tol"], options["check_grad_dtypes"])
        for j, matrix in enumerate(found):
            numerical = (left[i] * changes[j][i]).sum() / (2 * options["eps"])
            analytical = matrix[:, 0] @ right[j].reshape(-1)
            atol = options["atol"] * right[j].sum() * left[i].sum()
            if not _is_close(analytical, numerical, options["rtol"], atol):
                _check_all(function, inputs, leaves, outputs, options)
                raise GradcheckError(
                    "Fast gradcheck failed but element-wise differences are small. This means that the test might've "
                    "passed in slow_mode!"
                )


def _direction(x: Tensor, generator: np.random.Generator) -> Array:
    """Return random positive numbers in the shape of `x`, of Euclidean length 1."""
    vector = generator.random(x.shape) + 0.01
    return np.asarray(vector / np.sqrt((vector * vector).sum())).astype(x._value.type.element.dtype)


def _check_zero(outputs: tuple[Tensor, ...], leaves: list[Tensor]) -> None:
    """Cotangents of zero must give gradients of zero."""
    zeros = [from_array(np.zeros(each.shape, each._value.type.element.dtype)) for each in outputs]
    for gradient, x in zip(grad(outputs, leaves, zeros, retain_graph=True, allow_unused=True), leaves, strict=True):
        if gradient is None:
            continue
        if np.any(gradient._array() != 0):
            raise GradcheckError("backward not multiplied by grad_output")
        if gradient._value.type.element is not x._value.type.element:
            raise GradcheckError("grad is incorrect type")


def gradcheck(
    func: Function,
    inputs: Any,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_batched_forward_grad: bool = False,
    check_forward_ad: bool = False,
    check_backward_ad: bool = True,
    fast_mode: bool = False,
    masked: bool | None = None,
) -> bool:
    """Check the gradients of a function against central differences.

    Args:
        func: from tensors to a tensor or a tuple of them.
        inputs: a tensor or a tuple; those that require grad are checked, and should be float64.
        eps: how far an element is moved to each side.
        atol, rtol: |analytical - numerical| may be atol + rtol * |numerical|.
        raise_exception: False returns False where a gradient is wrong.
        nondet_tol: how far two runs of the same backward may differ.
        check_undefined_grad: accepted; each output is differentiated with the others left out anyhow.
        check_grad_dtypes: gradients must have their inputs' dtypes.
        check_backward_ad: False runs the function and checks nothing.
        fast_mode: compare one random projection of each Jacobian rather than all of it.
        masked: accepted; there are no sparse tensors.

    Returns:
        True.

    Raises:
        GradcheckError: a gradient is wrong.
        ValueError: no input requires grad.
        NotImplementedError: forward mode or batched gradients are asked for.
    """
    if not (check_forward_ad or check_backward_ad):
        raise AssertionError("Expected at least one of check_forward_ad or check_backward_ad to be True")
    if check_forward_ad or check_batched_forward_grad or check_batched_grad:
        raise NotImplementedError(
            "gradcheck checks reverse mode alone: leave out check_forward_ad, check_batched_grad and "
            "check_batched_forward_grad"
        )
    arguments = _tuple_of(inputs)
    leaves = _checked_inputs(arguments)
    outputs = _tuple_of(func(*arguments))
    options = {
        "eps": eps,
        "rtol": rtol,
        "atol": atol,
        "nondet_tol": nondet_tol,
        "check_grad_dtypes": check_grad_dtypes,
    }
    try:
        (_check_projected if fast_mode else _check_all)(func, arguments, leaves, outputs, options)
        if _differentiable(outputs):
            _check_zero(_differentiable(outputs), leaves)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def gradgradcheck(
    func: Function,
    inputs: Any,
    grad_outputs: Any = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    gen_non_contig_grad_outputs: bool = False,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_fwd_over_rev: bool = False,
    check_rev_over_rev: bool = True,
    fast_mode: bool = False,
    masked: bool = False,
) -> bool:
    """Check the gradients of the gradients of a function, with respect to its inputs and to the cotangents.

    Args:
        func, inputs: as for `gradcheck`, and so are all that are not named here.
        grad_outputs: the cotangents; by default random numbers between -1 and 1 that require grad.
        gen_non_contig_grad_outputs: accepted; the layout of cotangents makes no difference.

    Returns:
        True.

    Raises:
        GradcheckError: a gradient is wrong.
    """
    arguments = _tuple_of(inputs)
    if grad_outputs is None:
        generator = np.random.default_rng(0)
        cotangents: list[Any] = []
        for output in _differentiable(func(*arguments)):
            values = generator.uniform(-1, 1, output.shape)
            cotangents.append(from_array(np.asarray(values, output._value.type.element.dtype)).requires_grad_())
    else:
        cotangents = list(_tuple_of(grad_outputs))
    positions = [i for i, x in enumerate(arguments) if isinstance(x, Tensor) and x.requires_grad]
    count = len(arguments)

    def gradients(*every: Any) -> tuple[Tensor, ...]:
        given = every[:count]
        outputs = _differentiable(func(*given))
        found = grad(outputs, [given[i] for i in positions], every[count:], create_graph=True, allow_unused=True)
        return tuple([each for each in found if each is not None])

    return gradcheck(
        gradients,
        (*arguments, *cotangents),
        eps=eps,
        atol=atol,
        rtol=rtol,
        raise_exception=raise_exception,
        nondet_tol=nondet_tol,
        check_undefined_grad=check_undefined_grad,
        check_grad_dtypes=check_grad_dtypes,
        check_batched_grad=check_batched_grad,
        check_forward_ad=check_fwd_over_rev,
        check_backward_ad=check_rev_over_rev,
        fast_mode=fast_mode,
        masked=masked,
    )


class _Callable(types.ModuleType):
    """This module: importing it binds its name in the package, where the function of that name is looked for."""

    def __call__(self, *args: Any, **kwargs: Any) -> bool:
        return gradcheck(*args, **kwargs)


sys.modules[__name__].__class__ = _Callable
