"""Grad mode: whether operations are recorded for a backward. Each thread has its own.

Owns the contexts `no_grad`, `enable_grad`, `set_grad_enabled` and `inference_mode`, which are decorators as well. Who
records asks `state`; knows nothing of tensors.
"""

import functools
import inspect
import sys
import threading
import warnings
import weakref
from collections.abc import Callable
from typing import Any


class Inference:
    """What values made in inference mode are marked with; it lives as long as one of them, or a mode, does."""

    __slots__ = ("__weakref__",)


class _State(threading.local):
    grad = True
    inference: Inference | None = None


state = _State()
# Empty as long as no value made in inference mode lives: then nobody has to ask whether one was. Else a weak reference.
inference_used: list["weakref.ref[Inference]"] = []


def _inference() -> Inference:
    """Return the mark of values made in inference mode."""
    mark = inference_used[0]() if inference_used else None
    if mark is None:
        mark = Inference()
        inference_used[:] = [weakref.ref(mark, _forget)]
    return mark


def _forget(reference: "weakref.ref[Inference]") -> None:
    if inference_used and inference_used[0] is reference:
        inference_used.clear()


class Mode:
    """A setting of the grad mode, as a context manager and as a decorator.

    It may be entered several times, also inside itself. A decorated function runs in the mode each time it is called;
    of a decorated generator function every step does, and what happens between the steps does not.
    """

    __module__ = "gradloom.autograd.grad_mode"
    _grad = True

    def __init__(self) -> None:
        self._before: list[tuple[bool, Inference | None]] = []

    def __enter__(self) -> None:
        self._before.append((state.grad, state.inference))
        self._set()

    def _set(self) -> None:
        state.grad = self._grad

    def __exit__(self, *exception: object) -> None:
        state.grad, state.inference = self._before.pop()

    def clone(self) -> "Mode":
        """Return a mode of the same setting."""
        return self.__class__()

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Let a function run in this mode."""
        if inspect.isclass(function):
            warnings.warn(
                "Decorating classes is deprecated and will be disabled in future versions. You should only decorate "
                "functions or methods. To preserve the current behavior of class decoration, you can directly decorate "
                "the `__init__` method and nothing else.",
                FutureWarning,
                stacklevel=2,
            )
            cls = function
            function = lambda *args, **kwargs: cls(*args, **kwargs)  # noqa: E731
        if inspect.isgeneratorfunction(function):
            return _in_steps(self.clone, function)

        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with self.clone():
                return function(*args, **kwargs)

        return wrapped


def _in_steps(mode: Callable[[], Mode], function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the generator function whose generators run in a mode, step by step."""

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        with mode():
            generator = function(*args, **kwargs)
        step, arguments = generator.send, (None,)
        while True:
            try:
                with mode():
                    value = step(*arguments)
            except StopIteration as stop:
                return stop.value
            try:
                step, arguments = generator.send, ((yield value),)
            except GeneratorExit:
                with mode():
                    generator.close()
                raise
            except BaseException:
                step, arguments = generator.throw, (sys.exc_info()[1],)

    return wrapped


class _Bare(Mode):
    """A mode without parameters, which decorates with and without parentheses."""

    def __new__(cls, function: Callable[..., Any] | None = None) -> Any:
        if function is None:
            return super().__new__(cls)
        return cls()(function)


class no_grad(_Bare):
    """No operation is recorded: results do not require grad."""

    __module__ = Mode.__module__
    _grad = False


class enable_grad(_Bare):
    """Operations are recorded, also inside no_grad."""

    __module__ = Mode.__module__


class set_grad_enabled(Mode):
    """Turn recording on or off: at once when called as a function, until the end of the block as a context manager."""

    __module__ = Mode.__module__

    def __init__(self, mode: bool):
        super().__init__()
        if not isinstance(mode, bool):
            raise TypeError(
                f"set_grad_enabled(): argument 'enabled' (position 1) must be bool, not {type(mode).__name__}"
            )
        self._grad = mode
        self._first = state.grad
        state.grad = mode

    def __exit__(self, *exception: object) -> None:
        super().__exit__()
        if not self._before:  # what was set when it was called, not when it was entered, comes back
            state.grad = self._first

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        state.grad = self._first
        return super().__call__(function)

    def clone(self) -> "set_grad_enabled":
        """Return a mode of the same setting."""
        return self.__class__(self._grad)

    def __repr__(self) -> str:
        return f"{self.__module__}.{self.__class__.__name__}(mode={self._grad})"


class inference_mode(Mode):
    """Nothing is recorded, and tensors made here can never be kept for a backward.

    Args:
        mode: False ends inference mode for the block, and records.
    """

    __module__ = Mode.__module__

    def __new__(cls, mode: Any = True) -> Any:
        if isinstance(mode, bool):
            return super().__new__(cls)
        return cls()(mode)

    def __init__(self, mode: bool = True):
        super().__init__()
        self.mode = mode

    def _set(self) -> None:
        state.grad, state.inference = not self.mode, _inference() if self.mode else None

    def clone(self) -> "inference_mode":
        """Return a mode of the same setting."""
        return self.__class__(self.mode)


def is_grad_enabled() -> bool:
    """Tell whether operations are recorded in this thread."""
    return state.grad


def is_inference_mode_enabled() -> bool:
    """Tell whether this thread is in inference mode."""
    return state.inference is not None
