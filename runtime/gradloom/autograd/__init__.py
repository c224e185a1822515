"""The eager face: PyTorch's autograd semantics on the compiled engine."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradloom.autograd.anomaly import detect_anomaly as detect_anomaly
    from gradloom.autograd.anomaly import set_detect_anomaly as set_detect_anomaly
    from gradloom.autograd.function import Function as Function
    from gradloom.autograd.gradcheck import GradcheckError as GradcheckError
    from gradloom.autograd.gradcheck import gradcheck as gradcheck
    from gradloom.autograd.gradcheck import gradgradcheck as gradgradcheck
    from gradloom.autograd.gradients import backward as backward
    from gradloom.autograd.gradients import grad as grad
    from gradloom.autograd.legacy import Variable as Variable
    from gradloom.autograd.modes import enable_grad as enable_grad
    from gradloom.autograd.modes import inference_mode as inference_mode
    from gradloom.autograd.modes import is_grad_enabled as is_grad_enabled
    from gradloom.autograd.modes import no_grad as no_grad
    from gradloom.autograd.modes import set_grad_enabled as set_grad_enabled

_HOME = {
    "Function": "gradloom.autograd.function",
    "GradcheckError": "gradloom.autograd.gradcheck",
    "Variable": "gradloom.autograd.legacy",
    "backward": "gradloom.autograd.gradients",
    "detect_anomaly": "gradloom.autograd.anomaly",
    "enable_grad": "gradloom.autograd.modes",
    "grad": "gradloom.autograd.gradients",
    "gradcheck": "gradloom.autograd.gradcheck",
    "gradgradcheck": "gradloom.autograd.gradcheck",
    "inference_mode": "gradloom.autograd.modes",
    "ir": "gradloom.autograd.inspection",
    "is_grad_enabled": "gradloom.autograd.modes",
    "no_grad": "gradloom.autograd.modes",
    "set_detect_anomaly": "gradloom.autograd.anomaly",
    "set_grad_enabled": "gradloom.autograd.modes",
}
# Modules under the names that PyTorch has for them.
_MODULES = {
    "anomaly_mode": "gradloom.autograd.anomaly",
    "function": "gradloom.autograd.function",
    "functional": "gradloom.autograd.functional",
    "grad_mode": "gradloom.autograd.modes",
    "graph": "gradloom.autograd.graph",
}
__all__ = sorted(_HOME)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in _MODULES:
        import_module("gradloom.autograd.hooks")  # adds names to the module `graph`
        globals()[name] = import_module(_MODULES[name])
    elif name in _HOME:
        home = _HOME[name]
        module = import_module(home)
        # All names of the module at once: importing it has bound its own name, which may be one of them.
        globals().update({each: getattr(module, each) for each, where in _HOME.items() if where == home})
    else:
        raise AttributeError(f"module 'gradloom.autograd' has no attribute {name!r}")
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME, *_MODULES})
