"""`gradloom.nn.utils`: what is done to the gradients of many parameters at once."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from gradloom.autograd.errors import error
from gradloom.autograd.modes import no_grad
from gradloom.autograd.norms import vector_norm
from gradloom.autograd.tensor import FUNCTIONS, Tensor, from_array


def _gradients(parameters: Any) -> list[Tensor]:
    several = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    return [each.grad for each in several if each.grad is not None]


def get_total_norm(
    tensors: "Iterable[Tensor] | Tensor", norm_type: float = 2.0, error_if_nonfinite: bool = False, foreach: Any = None
) -> Tensor:
    """Return the norm of all elements of all tensors.

    Raises:
        RuntimeError: it is not finite, and `error_if_nonfinite`.
    """
    several = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    if not several:
        return from_array(np.zeros((), np.float32))
    norms = [vector_norm(each, norm_type) for each in several]
    total = vector_norm(FUNCTIONS["stack"](norms), norm_type)
    if error_if_nonfinite and not total.isfinite():
        raise error(
            RuntimeError,
            f"The total norm of order {float(norm_type)} for gradients from `parameters` is non-finite, so it cannot "
            "be clipped. To disable this error and scale the gradients by the non-finite norm anyway, set "
            "`error_if_nonfinite=False`",
        )
    return total


def clip_grad_norm_(
    parameters: "Iterable[Tensor] | Tensor",
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: Any = None,
) -> Tensor:
    """Scale the gradients of parameters in place so that their norm, all taken together, is at most `max_norm`.

    Returns:
        The norm before.
    """
    with no_grad():
        gradients = _gradients(parameters)
        total = get_total_norm(gradients, norm_type, error_if_nonfinite)
        factor = (float(max_norm) / (total + 1e-6)).clamp(max=1.0)
        for each in gradients:
            each.mul_(factor)
    return total


def clip_grad_value_(parameters: "Iterable[Tensor] | Tensor", clip_value: float, foreach: Any = None) -> None:
    """Limit each element of the gradients of parameters, in place, to [-clip_value, clip_value]."""
    clip_value = float(clip_value)
    with no_grad():
        for each in _gradients(parameters):
            each.clamp_(min=-clip_value, max=clip_value)


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """Return all elements of all parameters as one vector."""
    return FUNCTIONS["cat"]([each.reshape(-1) for each in parameters])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Let parameters take their elements, one after another, from one vector."""
    start = 0
    for each in parameters:
        stop = start + each.numel()
        each.data = vec[start:stop].view_as(each).data
        start = stop
