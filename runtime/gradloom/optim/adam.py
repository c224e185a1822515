"""Adam and AdamW: steps scaled by running moments of the gradient (Kingma, Ba 2015; Loshchilov, Hutter 2019)."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from gradloom.autograd.graph import Node
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


def _second_moment(v: Any, g: Any, beta: Any, weight: Any) -> Any:
    return v * like(beta, v) + like(weight, v) * g * g


def _step(p: Any, m: Any, v: Any, negative_step: Any, root_of_correction: Any, eps: Any) -> Any:
    denominator = np.sqrt(v) / like(root_of_correction, p) + like(eps, p)
    return p + like(negative_step, p) * m / denominator


def _decayed_step(p: Any, m: Any, v: Any, negative_step: Any, root_of_correction: Any, eps: Any, keep: Any) -> Any:
    return _step(p * like(keep, p), m, v, negative_step, root_of_correction, eps)


_FIRST_MOMENT = rule("FirstMoment", lambda m, g, weight, near: lerp(m, g, like(weight, m), near))
_SECOND_MOMENT = rule("SecondMoment", _second_moment)
_LARGEST = rule("LargestMoment", np.maximum)
_STEP = rule("AdamStep", _step)
_DECAYED_STEP = rule("AdamWStep", _decayed_step)


class Adam(RuleOptimizer):
    """Adam: with gradient g in step t, m = β₁ m + (1 - β₁) g and v = β₂ v + (1 - β₂) g²; then the parameter p becomes
    p - lr / (1 - β₁ᵗ) · m / (√v / √(1 - β₂ᵗ) + eps).

    Args:
        params: tensors, pairs (name, tensor), or dicts of groups.
        lr: the learning rate.
        betas: β₁ and β₂.
        eps: see above.
        weight_decay: its part of the parameter is added to the gradient.
        amsgrad: the largest v so far takes the place of v in the step.
        maximize: ascend instead.
        decoupled_weight_decay: p is first multiplied by 1 - lr · weight_decay instead, as AdamW does.
        foreach, fused, capturable: choose an implementation in PyTorch; here they change nothing.
        differentiable: not supported.

    Raises:
        ValueError: an option is out of its range.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: "float | Tensor" = 1e-3,
        betas: tuple[Any, Any] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ):
        check_rate(lr)
        check_option("epsilon value", eps, eps >= 0)
        for i, beta in enumerate(betas[:2]):
            check_option(f"beta parameter at index {i}", beta, 0 <= as_number(beta) < 1)
        check_option("weight_decay value", weight_decay, weight_decay >= 0)
        if not (all(isinstance(beta, float) for beta in betas) or all(isinstance(beta, Tensor) for beta in betas)):
            raise ValueError("betas must be either both floats or both Tensors")
        check_variants(foreach, fused, differentiable)
        defaults = {
            "lr": lr,
            "betas": tuple(betas),
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
            "fused": fused,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(params, defaults)

    def __setstate__(self, state: Group) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            for name in ("amsgrad", "maximize", "capturable", "differentiable", "decoupled_weight_decay"):
                group.setdefault(name, False)
            group.setdefault("foreach", None)
            group.setdefault("fused", None)

    def _record(self, group: Group, update: Update) -> None:
        lr, decay, eps = as_number(group["lr"]), as_number(group["weight_decay"]), number(group["eps"])
        beta1, beta2 = map(as_number, group["betas"])
        first, near = number(1 - beta1), (("near", 1 - beta1 < 0.5),)
        second = (number(beta2), number(1 - beta2))
        decoupled = group["decoupled_weight_decay"] and decay != 0
        keep = number(1 - lr * decay)
        decay_number = number(decay) if decay != 0 and not decoupled else None
        scales: dict[float, tuple[Node, Node]] = {}
        for param in group["params"]:
            grad = param.grad
            if grad is None:
                continue
            update.open(param)
            state = self._state_of(param, group)
            t = count_step(state)
            if t not in scales:
                scales[t] = (number(-(lr / (1 - beta1**t))), number((1 - beta2**t) ** 0.5))
            g = gradient_of(param, grad, decay_number, group["maximize"])
            m = update.write(state["exp_avg"], _FIRST_MOMENT, (g, first), near)
            v = update.write(state["exp_avg_sq"], _SECOND_MOMENT, (g, *second))
            if group["amsgrad"]:
                v = update.write(state["max_exp_avg_sq"], _LARGEST, (v,))
            if decoupled:
                update.write(param, _DECAYED_STEP, (m, v, *scales[t], eps, keep))
            else:
                update.write(param, _STEP, (m, v, *scales[t], eps))

    def _state_of(self, param: Tensor, group: Group) -> dict[str, Any]:
        state = self.state[param]
        if not state:
            state["step"] = new_step_count()
            state["exp_avg"] = zeros_like(param)
            state["exp_avg_sq"] = zeros_like(param)
            if group["amsgrad"]:
                state["max_exp_avg_sq"] = zeros_like(param)
        return state


class AdamW(Adam):
    """Adam with decoupled weight decay: in each step a parameter is first multiplied by 1 - lr · weight_decay.

    Args and errors are Adam's.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: "float | Tensor" = 1e-3,
        betas: tuple[Any, Any] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ):
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            foreach=foreach,
            maximize=maximize,
            capturable=capturable,
            differentiable=differentiable,
            fused=fused,
            decoupled_weight_decay=True,
        )

    def __setstate__(self, state: Group) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            group["decoupled_weight_decay"] = True
