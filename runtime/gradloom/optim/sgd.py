"""Stochastic gradient descent, with momentum, Nesterov's or the plain one."""

from collections.abc import Iterable
from typing import Any

from gradloom.autograd.tensor import Tensor
from gradloom.optim.optimizer import Group, as_number, check_option, check_rate, check_variants, zeros_like
from gradloom.optim.update import RuleOptimizer, Update, gradient_of, like, number, rule

_BUFFER = rule("MomentumBuffer", lambda b, g, momentum, weight: b * like(momentum, b) + g * like(weight, b))
_DESCENT = rule("Descent", lambda p, d, lr: p - d * like(lr, p))
_NESTEROV = rule("NesterovDescent", lambda p, g, b, momentum, lr: p - (g + b * like(momentum, p)) * like(lr, p))


class SGD(RuleOptimizer):
    """Stochastic gradient descent.

    With gradient g, to which `weight_decay` adds its part of the parameter p: the buffer is b = momentum b +
    (1 - dampening) g, in the first step b = g; then p = p - lr b, with `nesterov` p = p - lr (g + momentum b), and
    without momentum p = p - lr g.

    Args:
        params: tensors, pairs (name, tensor), or dicts of groups.
        lr: the learning rate.
        momentum, dampening, weight_decay, nesterov: see above.
        maximize: ascend instead.
        foreach, fused: choose an implementation in PyTorch; here they change nothing.
        differentiable: not supported.

    Raises:
        ValueError: an option is out of its range, or nesterov comes without momentum or with dampening.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: "float | Tensor" = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: "float | Tensor" = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ):
        check_rate(lr)
        check_option("momentum value", momentum, momentum >= 0)
        check_option("weight_decay value", weight_decay, as_number(weight_decay) >= 0)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        check_variants(foreach, fused, differentiable)
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
            "foreach": foreach,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, defaults)

    def __setstate__(self, state: Group) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            group.setdefault("nesterov", False)
            group.setdefault("maximize", False)
            group.setdefault("foreach", None)
            group.setdefault("differentiable", False)
            group.setdefault("fused", False)

    def _record(self, group: Group, update: Update) -> None:
        lr = number(as_number(group["lr"]))
        momentum, maximize = group["momentum"], group["maximize"]
        decay = as_number(group["weight_decay"])
        decay_number = number(decay) if decay != 0 else None
        momentum_number = number(momentum)
        # The buffer starts with the gradient itself; as numbers are operands, that is the same program.
        weights = {True: number(1.0), False: number(1 - group["dampening"])}
        for param in group["params"]:
            grad = param.grad
            if grad is None:
                continue
            update.open(param)
            g = gradient_of(param, grad, decay_number, maximize)
            if momentum == 0:
                update.write(param, _DESCENT, (g, lr))
                continue
            state = self.state[param]
            first = state.get("momentum_buffer") is None
            if first:
                state["momentum_buffer"] = zeros_like(param)
            buffer = update.write(state["momentum_buffer"], _BUFFER, (g, momentum_number, weights[first]))
            if group["nesterov"]:
                update.write(param, _NESTEROV, (g, buffer, momentum_number, lr))
            else:
                update.write(param, _DESCENT, (buffer, lr))
