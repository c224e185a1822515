"""Adagrad: steps scaled by the sum of all squared gradients (Duchi, Hazan, Singer 2011)."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from gradloom.autograd.graph import Node
from gradloom.autograd.tensor import Tensor, from_array
from gradloom.optim.optimizer import Group, as_number, check_option, check_rate, check_variants, new_step_count
from gradloom.optim.update import RuleOptimizer, Update, count_step, gradient_of, like, number, rule

_SUM = rule("SumOfSquares", lambda s, g: s + g * g)
_STEP = rule(
    "AdagradStep", lambda p, g, s, negative_lr, eps: p + like(negative_lr, p) * g / (np.sqrt(s) + like(eps, p))
)


class Adagrad(RuleOptimizer):
    """Adagrad: with gradient g in step t, s = s + g² and the parameter p becomes p - lr / (1 + (t - 1) lr_decay) ·
    g / (√s + eps).

    Args:
        params: tensors, pairs (name, tensor), or dicts of groups.
        lr: the learning rate.
        lr_decay, eps: see above.
        weight_decay: its part of the parameter is added to the gradient.
        initial_accumulator_value: what s starts with.
        maximize: ascend instead.
        foreach, fused: choose an implementation in PyTorch; here they change nothing.
        differentiable: not supported.

    Raises:
        ValueError: an option is out of its range.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: "float | Tensor" = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ):
        check_rate(lr)
        check_option("lr_decay value", lr_decay, lr_decay >= 0)
        check_option("weight_decay value", weight_decay, weight_decay >= 0)
        check_option("initial_accumulator_value value", initial_accumulator_value, initial_accumulator_value >= 0)
        check_option("epsilon value", eps, eps >= 0)
        check_variants(foreach, fused, differentiable)
        defaults = {
            "lr": lr,
            "lr_decay": lr_decay,
            "eps": eps,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, defaults)
        for group in self.param_groups:
            for param in group["params"]:
                self._state_of(param, group)

    def __setstate__(self, state: Group) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            group.setdefault("foreach", None)
            group.setdefault("maximize", False)
            group.setdefault("differentiable", False)
            group.setdefault("fused", None)

    def _record(self, group: Group, update: Update) -> None:
        lr, decay, eps = as_number(group["lr"]), as_number(group["weight_decay"]), number(group["eps"])
        decay_number = number(decay) if decay != 0 else None
        rates: dict[float, Node] = {}
        for param in group["params"]:
            grad = param.grad
            if grad is None:
                continue
            update.open(param)
            state = self._state_of(param, group)
            t = count_step(state)
            if t not in rates:
                rates[t] = number(-(lr / (1 + (t - 1) * group["lr_decay"])))
            g = gradient_of(param, grad, decay_number, group["maximize"])
            accumulated = update.write(state["sum"], _SUM, (g,))
            update.write(param, _STEP, (g, accumulated, rates[t], eps))

    def _state_of(self, param: Tensor, group: Group) -> dict[str, Any]:
        state = self.state[param]
        if not state:
            type = param._value.type
            state["step"] = new_step_count()
            state["sum"] = from_array(np.full(type.shape, group["initial_accumulator_value"], type.element.dtype))
        return state
