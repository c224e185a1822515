"""Grad mode: whether operations are recorded for a backward. Each thread has its own."""

import functools
import threading
from collections.abc import Callable
from typing import Any


class _State(threading.local):
    grad = True
    inference = False


state = _State()


class Mode:
    """A setting of the grad mode, as a context manager and as a decorator (of functions and generators' calls)."""

    _grad = True
    _inference: "bool | None" = None

    def __init__(self) -> None:
        self._before: list[tuple[bool, bool]] = []

    def __enter__(self) -> None:
        self._before.append((state.grad, state.inference))
        state.grad = self._grad
        if self._inference is not None:
            state.inference = self._inference

    def __exit__(self, *exception: object) -> None:
        state.grad, state.inference = self._before.pop()

    def clone(self) -> "Mode":
        """Return a mode of the same setting."""
        return self.__class__()

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Let a function run in this mode."""

        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with self.clone():
                return function(*args, **kwargs)

        return wrapped

    def __new__(cls, function: Any = None, *args: Any, **kwargs: Any) -> Any:
        mode = super().__new__(cls)
        if callable(function):  # used as a decorator without parentheses
            mode.__init__()
            return mode(function)
        return mode


class no_grad(Mode):
    """No operation is recorded: results do not require grad."""

    _grad = False


class enable_grad(Mode):
    """Operations are recorded, also inside no_grad."""

    _grad = True


class set_grad_enabled(Mode):
    """Turn recording on or off: at once when called as a function, until the end of the block as a context manager."""

    def __new__(cls, mode: bool) -> Any:
        return object.__new__(cls)

    def __init__(self, mode: bool):
        super().__init__()
        self._grad = bool(mode)
        self._first = (state.grad, state.inference)
        state.grad = self._grad

    def __enter__(self) -> None:
        self._before.append(self._first)
        state.grad = self._grad

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        state.grad = self._first[0]
        return super().__call__(function)

    def clone(self) -> "Mode":
        """Return a mode of the same setting."""
        return self.__class__(self._grad)

    def __repr__(self) -> str:
        return f"{self.__class__.__name__}(mode={self._grad})"


class inference_mode(Mode):
    """Nothing is recorded, and tensors made here can never take part in a recorded operation that keeps them."""

    def __new__(cls, mode: Any = True) -> Any:
        instance = object.__new__(cls)
        if callable(mode):
            instance.__init__()
            return instance(mode)
        return instance

    def __init__(self, mode: bool = True):
        super().__init__()
        self._mode = bool(mode)
        self._grad = not self._mode and state.grad
        self._inference = self._mode

    def __enter__(self) -> None:
        if self._mode:
            super().__enter__()
        else:
            self._before.append((state.grad, state.inference))
            state.inference = False
            state.grad = True

    def clone(self) -> "Mode":
        """Return a mode of the same setting."""
        return self.__class__(self._mode)


def is_grad_enabled() -> bool:
    """Tell whether operations are recorded in this thread."""
    return state.grad


def is_inference_mode_enabled() -> bool:
    """Tell whether this thread is in inference mode."""
    return state.inference
