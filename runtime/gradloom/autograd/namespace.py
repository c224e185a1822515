"""The names of PyTorch's namespace that `gradloom` has; importing this module imports all of the eager face."""

from typing import Any

# Importing the modules of operations fills FUNCTIONS and the methods of Tensor.
from gradloom.autograd import (  # noqa: F401
    activations,
    affine,
    arithmetic,
    assignment,
    comparison,
    conversion,
    creation,
    drawing,
    dtypes,
    extrema,
    filled,
    formatting,
    functions,
    gradients,
    indexing,
    joining,
    linalg,
    matrices,
    modes,
    moving,
    norms,
    parts,
    picking,
    powers,
    products,
    random,
    ranges,
    reductions,
    scans,
    scattering,
    selection,
    shaping,
    softmax,
    sorting,
)
from gradloom.autograd.tensor import FUNCTIONS, Tensor

NAMES: dict[str, Any] = {
    "Tensor": Tensor,
    "Size": dtypes.Size,
    "device": dtypes.device,
    "dtype": dtypes.dtype,
    "finfo": dtypes.finfo,
    "iinfo": dtypes.iinfo,
    "get_default_dtype": dtypes.get_default_dtype,
    "set_default_dtype": dtypes.set_default_dtype,
    "promote_types": dtypes.promote_types,
    "set_printoptions": formatting.set_printoptions,
    "no_grad": modes.no_grad,
    "enable_grad": modes.enable_grad,
    "set_grad_enabled": modes.set_grad_enabled,
    "inference_mode": modes.inference_mode,
    "is_grad_enabled": modes.is_grad_enabled,
    "is_inference_mode_enabled": modes.is_inference_mode_enabled,
    **dtypes.DTYPES,
}


def find(name: str) -> Any:
    """Return what a name of the namespace stands for; None if there is no such name."""
    found = NAMES.get(name)
    return FUNCTIONS.get(name) if found is None else found


def names() -> list[str]:
    """Return all names."""
    return sorted({*NAMES, *FUNCTIONS})
