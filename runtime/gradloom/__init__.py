"""gradloom: plain NumPy functions in, native gradients out.

What every first call needs is imported here, so that `import gradloom` pays for it once and the first call does not;
LLVM is loaded by the first compilation (on a machine that has never compiled it starts meanwhile, in its own process),
everything else when it is first used.
"""

from typing import TYPE_CHECKING, Any

import gradloom.beginning  # first of all
import gradloom.derivatives
import gradloom.exec.executable
import gradloom.program
import gradloom.resizing
import gradloom.transforms  # noqa: F401  (imported for its cost alone, as those above)
from gradloomc.codegen.tiers import tiers

tiers.expect()

__version__ = "0.1.0"

if TYPE_CHECKING:
    from gradloom.api import CompiledGrad as CompiledGrad
    from gradloom.api import compile_grad as compile_grad
    from gradloom.caches import clear_cache as clear_cache
    from gradloom.check import check_grads as check_grads
    from gradloom.exec.threads import get_num_threads as get_num_threads
    from gradloom.exec.threads import set_num_threads as set_num_threads
    from gradloom.jacobians import hessian as hessian
    from gradloom.jacobians import jacfwd as jacfwd
    from gradloom.jacobians import jacobian as jacobian
    from gradloom.jacobians import jacrev as jacrev
    from gradloom.linear_maps import linearize as linearize
    from gradloom.linear_maps import vjp as vjp
    from gradloom.transforms import grad as grad
    from gradloom.transforms import hvp as hvp
    from gradloom.transforms import jvp as jvp
    from gradloom.transforms import stop_gradient as stop_gradient
    from gradloom.transforms import value_and_grad as value_and_grad
    from gradloom.tree import register_container as register_container
    from gradloomc.ir.errors import DifferentiationError as DifferentiationError
    from gradloomc.ir.errors import DTypeError as DTypeError
    from gradloomc.ir.errors import ExecutionError as ExecutionError
    from gradloomc.ir.errors import GradloomError as GradloomError
    from gradloomc.ir.errors import ShapeError as ShapeError
    from gradloomc.ir.errors import TracerError as TracerError
    from gradloomc.ir.errors import UnsupportedError as UnsupportedError

_ERRORS = "gradloomc.ir.errors"
_HOME = {
    "CompiledGrad": "gradloom.api",
    "compile_grad": "gradloom.api",
    "check_grads": "gradloom.check",
    "clear_cache": "gradloom.caches",
    "hessian": "gradloom.jacobians",
    "jacfwd": "gradloom.jacobians",
    "jacobian": "gradloom.jacobians",
    "jacrev": "gradloom.jacobians",
    "get_num_threads": "gradloom.exec.threads",
    "grad": "gradloom.transforms",
    "hvp": "gradloom.transforms",
    "jvp": "gradloom.transforms",
    "linearize": "gradloom.linear_maps",
    "set_num_threads": "gradloom.exec.threads",
    "stop_gradient": "gradloom.transforms",
    "value_and_grad": "gradloom.transforms",
    "vjp": "gradloom.linear_maps",
    "register_container": "gradloom.tree",
    "DTypeError": _ERRORS,
    "DifferentiationError": _ERRORS,
    "ExecutionError": _ERRORS,
    "GradloomError": _ERRORS,
    "ShapeError": _ERRORS,
    "TracerError": _ERRORS,
    "UnsupportedError": _ERRORS,
}
__all__ = ["__version__", *sorted(_HOME)]  # pyright: ignore[reportUnsupportedDunderAll]


_PACKAGES = frozenset({"autograd", "linalg", "nn", "optim", "return_types"})


def __getattr__(name: str) -> Any:
    from importlib import import_module

    home = _HOME.get(name)
    if home is not None:
        value = getattr(import_module(home), name)
    elif name in _PACKAGES:
        value = import_module(f"gradloom.{name}")
    else:  # a name of the eager face, which is imported when it is first used
        value = None if name.startswith("__") else import_module("gradloom.autograd.namespace").find(name)
        if value is None:
            raise AttributeError(f"module 'gradloom' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    from importlib import import_module

    return sorted({*globals(), *_HOME, *_PACKAGES, *import_module("gradloom.autograd.namespace").names()})
