"""RMSprop: steps scaled by a running mean of the squared gradient (Hinton's lecture 6e; centered: Graves 2013)."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from gradloom.autograd.tensor import Tensor
from gradloom.optim.optimizer import (
    Group,
    as_number,
    check_option,
    check_rate,
    check_variants,
    new_step_count,
    zeros_like,
)
from gradloom.optim.update import RuleOptimizer, Update, count_step, gradient_of, lerp, like, number, rule


def _square_average(v: Any, g: Any, alpha: Any, weight: Any) -> Any:
    return v * like(alpha, v) + like(weight, v) * g * g


def _root(v: Any, eps: Any, *mean: Any) -> Any:
    """Return √v + eps; with the mean of the gradient, v is the variance."""
    for each in mean:
        v = v - each * each
    return np.sqrt(v) + like(eps, v)


def _buffer(b: Any, g: Any, momentum: Any, v: Any, eps: Any, *mean: Any) -> Any:
    return b * like(momentum, b) + g / _root(v, eps, *mean)


def _step(p: Any, g: Any, negative_lr: Any, v: Any, eps: Any, *mean: Any) -> Any:
    return p + like(negative_lr, p) * g / _root(v, eps, *mean)


_SQUARE_AVERAGE = rule("SquareAverage", _square_average)
_AVERAGE = rule("GradientAverage", lambda a, g, weight, near: lerp(a, g, like(weight, a), near))
_BUFFER = rule("RMSpropBuffer", _buffer)
_BUFFERED_STEP = rule("RMSpropBufferedStep", lambda p, b, negative_lr: p + b * like(negative_lr, p))
_STEP = rule("RMSpropStep", _step)


class RMSprop(RuleOptimizer):
    """RMSprop: with gradient g, v = alpha v + (1 - alpha) g² and the parameter p becomes p - lr g / (√v + eps).

    Args:
        params: tensors, pairs (name, tensor), or dicts of groups.
        lr: the learning rate.
        alpha, eps: see above.
        weight_decay: its part of the parameter is added to the gradient.
        momentum: steps without lr are added up in a buffer, b = momentum b + g / (√v + eps), and p becomes p - lr b.
        centered: the square of a running mean of g is subtracted from v under the root.
        maximize: ascend instead.
        capturable, foreach: choose an implementation in PyTorch; here they change nothing.
        differentiable: not supported.

    Raises:
        ValueError: an option is out of its range.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: "float | Tensor" = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ):
        check_rate(lr)
        check_option("epsilon value", eps, eps >= 0)
        check_option("momentum value", momentum, momentum >= 0)
        check_option("weight_decay value", weight_decay, weight_decay >= 0)
        check_option("alpha value", alpha, alpha >= 0)
        check_variants(foreach, None, differentiable)
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "alpha": alpha,
            "eps": eps,
            "centered": centered,
            "weight_decay": weight_decay,
            "capturable": capturable,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def __setstate__(self, state: Group) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            group.setdefault("momentum", 0)
            for name in ("centered", "maximize", "differentiable", "capturable"):
                group.setdefault(name, False)
            group.setdefault("foreach", None)

    def _record(self, group: Group, update: Update) -> None:
        alpha, decay, momentum = group["alpha"], as_number(group["weight_decay"]), group["momentum"]
        negative_lr, eps = number(-as_number(group["lr"])), number(group["eps"])
        averaging = (number(alpha), number(1 - alpha))
        near = (("near", 1 - alpha < 0.5),)
        decay_number = number(decay) if decay != 0 else None
        momentum_number = number(momentum) if momentum > 0 else None
        for param in group["params"]:
            grad = param.grad
            if grad is None:
                continue
            update.open(param)
            state = self._state_of(param, group)
            count_step(state)
            g = gradient_of(param, grad, decay_number, group["maximize"])
            scale = [update.write(state["square_avg"], _SQUARE_AVERAGE, (g, *averaging)), eps]
            if group["centered"]:
                scale.append(update.write(state["grad_avg"], _AVERAGE, (g, averaging[1]), near))
            if momentum_number is None:
                update.write(param, _STEP, (g, negative_lr, *scale))
            else:
                buffer = update.write(state["momentum_buffer"], _BUFFER, (g, momentum_number, *scale))
                update.write(param, _BUFFERED_STEP, (buffer, negative_lr))

    def _state_of(self, param: Tensor, group: Group) -> dict[str, Any]:
        state = self.state[param]
        if not state:
            state["step"] = new_step_count()
            state["square_avg"] = zeros_like(param)
            if group["momentum"] > 0:
                state["momentum_buffer"] = zeros_like(param)
            if group["centered"]:
                state["grad_avg"] = zeros_like(param)
        return state
