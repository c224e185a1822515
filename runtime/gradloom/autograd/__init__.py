"""The eager face: PyTorch's autograd semantics on the compiled engine."""

from typing import Any

_HOME = {
    "backward": "gradloom.autograd.gradients",
    "grad": "gradloom.autograd.gradients",
    "enable_grad": "gradloom.autograd.modes",
    "inference_mode": "gradloom.autograd.modes",
    "no_grad": "gradloom.autograd.modes",
    "set_grad_enabled": "gradloom.autograd.modes",
}
__all__ = sorted(_HOME)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'gradloom.autograd' has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(home), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
