"""What PyTorch's optimizers and schedules do, written to `optim_cases.json`; run where torch is installed.

    python tests/autograd/make_optim_cases.py

Owns the cases and the function that runs one under either module, so that test_optim.py runs exactly what was recorded.
Gradients are computed here with NumPy, so that a case is about nothing but the optimizer.
"""

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np

CASES_FILE = Path(__file__).with_name("optim_cases.json")
STEPS = 20

# Name: (optimizer, options). A list of options is one group for each parameter.
CASES: dict[str, tuple[str, Any]] = {
    "sgd": ("SGD", {"lr": 0.05}),
    "sgd_default": ("SGD", {}),
    "sgd_momentum": ("SGD", {"lr": 0.02, "momentum": 0.9}),
    "sgd_dampening": ("SGD", {"lr": 0.02, "momentum": 0.9, "dampening": 0.4}),
    "sgd_nesterov": ("SGD", {"lr": 0.02, "momentum": 0.8, "nesterov": True}),
    "sgd_weight_decay": ("SGD", {"lr": 0.05, "weight_decay": 0.3}),
    "sgd_maximize": ("SGD", {"lr": 0.001, "maximize": True, "weight_decay": 0.1, "momentum": 0.5}),
    "sgd_all": ("SGD", {"lr": 0.02, "momentum": 0.7, "nesterov": True, "weight_decay": 0.2}),
    "sgd_foreach": ("SGD", {"lr": 0.02, "momentum": 0.7, "foreach": True}),
    "adam": ("Adam", {"lr": 0.1}),
    "adam_default": ("Adam", {}),
    "adam_betas": ("Adam", {"lr": 0.1, "betas": (0.3, 0.8)}),
    "adam_eps": ("Adam", {"lr": 0.1, "eps": 0.1}),
    "adam_weight_decay": ("Adam", {"lr": 0.1, "weight_decay": 0.2}),
    "adam_decoupled": ("Adam", {"lr": 0.1, "weight_decay": 0.2, "decoupled_weight_decay": True}),
    "adam_amsgrad": ("Adam", {"lr": 0.3, "amsgrad": True, "betas": (0.9, 0.9)}),
    "adam_maximize": ("Adam", {"lr": 0.05, "maximize": True, "weight_decay": 0.1}),
    "adam_all": ("Adam", {"lr": 0.1, "betas": (0.7, 0.9), "eps": 1e-3, "weight_decay": 0.1, "amsgrad": True}),
    "adamw": ("AdamW", {"lr": 0.1}),
    "adamw_weight_decay": ("AdamW", {"lr": 0.1, "weight_decay": 0.5}),
    "adamw_amsgrad_maximize": ("AdamW", {"lr": 0.05, "amsgrad": True, "maximize": True, "betas": (0.8, 0.9)}),
    "rmsprop": ("RMSprop", {"lr": 0.05}),
    "rmsprop_default": ("RMSprop", {}),
    "rmsprop_alpha_eps": ("RMSprop", {"lr": 0.05, "alpha": 0.4, "eps": 0.01}),
    "rmsprop_momentum": ("RMSprop", {"lr": 0.01, "momentum": 0.9}),
    "rmsprop_centered": ("RMSprop", {"lr": 0.02, "centered": True, "eps": 1e-3}),
    "rmsprop_weight_decay": ("RMSprop", {"lr": 0.05, "weight_decay": 0.3, "maximize": True}),
    "rmsprop_all": ("RMSprop", {"lr": 0.01, "momentum": 0.5, "centered": True, "weight_decay": 0.1, "eps": 1e-3}),
    "adagrad": ("Adagrad", {"lr": 0.3}),
    "adagrad_default": ("Adagrad", {}),
    "adagrad_all": (
        "Adagrad",
        {"lr": 0.3, "lr_decay": 0.1, "weight_decay": 0.2, "initial_accumulator_value": 0.5, "eps": 1e-3},
    ),
    "adagrad_maximize": ("Adagrad", {"lr": 0.02, "maximize": True}),
    "groups_sgd": ("SGD", [{"lr": 0.05}, {"lr": 0.01, "momentum": 0.9}]),
    "groups_adam": ("Adam", [{"lr": 0.1, "weight_decay": 0.1}, {"lr": 0.01, "amsgrad": True}]),
    "lbfgs": ("LBFGS", {"lr": 0.1, "max_iter": 3}),
    "lbfgs_history": ("LBFGS", {"lr": 0.2, "max_iter": 2, "history_size": 3}),
    "lbfgs_max_eval": ("LBFGS", {"lr": 0.1, "max_iter": 10, "max_eval": 4}),
    "lbfgs_strong_wolfe": ("LBFGS", {"max_iter": 2, "line_search_fn": "strong_wolfe"}),
    "lbfgs_long_steps": ("LBFGS", {"lr": 8.0, "max_iter": 2, "line_search_fn": "strong_wolfe", "history_size": 4}),
    "lbfgs_short_steps": ("LBFGS", {"lr": 1e-3, "max_iter": 2, "line_search_fn": "strong_wolfe"}),
    "lbfgs_tolerances": ("LBFGS", {"max_iter": 50, "tolerance_grad": 0.1, "tolerance_change": 0.01, "lr": 0.1}),
}
FLOAT32 = ("sgd_all", "adam", "adam_all", "adamw_weight_decay", "rmsprop_all", "adagrad_all", "lbfgs")
# Rates are changed by hand, and a parameter has no gradient for a while.
DISTURBED = ("sgd_momentum", "sgd_default", "adam_amsgrad", "adamw", "rmsprop_all", "adagrad_all")

# Name: (schedule, options)
SCHEDULES: dict[str, tuple[str, dict[str, Any]]] = {
    "step": ("StepLR", {"step_size": 3, "gamma": 0.5}),
    "multi_step": ("MultiStepLR", {"milestones": [2, 5, 5, 9], "gamma": 0.5}),
    "constant": ("ConstantLR", {"factor": 0.25, "total_iters": 4}),
    "linear": ("LinearLR", {"start_factor": 0.2, "end_factor": 0.8, "total_iters": 6}),
    "exponential": ("ExponentialLR", {"gamma": 0.9}),
    "polynomial": ("PolynomialLR", {"total_iters": 8, "power": 2.0}),
    "cosine": ("CosineAnnealingLR", {"T_max": 7, "eta_min": 0.01}),
    "restarts": ("CosineAnnealingWarmRestarts", {"T_0": 3, "T_mult": 2, "eta_min": 0.01}),
    "restarts_equal": ("CosineAnnealingWarmRestarts", {"T_0": 4}),
}


def run_case(m: Any, kind: str, options: Any, dtype: str, disturbed: bool = False) -> dict[str, Any]:
    """Run a case under a module; return the parameters after each step, and for L-BFGS the counts of evaluations."""
    starts = [[1.0, -0.5, 0.25], [[0.5, -2.0], [1.5, 0.125]]]
    params = [m.tensor(start, dtype=getattr(m, dtype), requires_grad=True) for start in starts]
    if isinstance(options, list):
        groups = [{"params": [param], **each} for param, each in zip(params, options, strict=True)]
        optimizer = getattr(m.optim, kind)(groups)
    else:
        optimizer = getattr(m.optim, kind)(params, **options)
    values: list[Any] = []
    counts: list[list[int]] = []

    def closure() -> Any:
        return set_gradients(m, params)

    for step in range(STEPS):
        if disturbed and step in (4, 11):
            for group in optimizer.param_groups:
                group["lr"] *= 0.5
        if kind == "LBFGS":
            optimizer.step(closure)
            state = optimizer.state[params[0]]
            counts.append([state["func_evals"], state["n_iter"]])
        else:
            closure()
            if disturbed and 6 <= step < 9:
                params[1].grad = None
            optimizer.step()
        values.append([param.detach().numpy().ravel().tolist() for param in params])
    return {"values": values, "counts": counts}


def set_gradients(m: Any, params: list[Any]) -> Any:
    """Set the gradients of sum(s p² / 2 + p⁴ / 4) with scales s that differ; return that loss."""
    loss = 0.0
    for param in params:
        value = param.detach().numpy()
        scale = np.linspace(0.5, 4.0, value.size, dtype=value.dtype).reshape(value.shape)
        param.grad = m.from_numpy(scale * value + value**3)
        loss += float(np.sum(scale * value**2 / 2 + value**4 / 4))
    return m.tensor(loss, dtype=m.float64)


def run_schedule(m: Any, kind: str, options: dict[str, Any]) -> list[list[float]]:
    """Return the rates of two groups before each of 20 steps."""
    params = [m.tensor([1.0], requires_grad=True) for _ in range(2)]
    optimizer = m.optim.SGD([{"params": params[:1]}, {"params": params[1:], "lr": 0.3}], lr=1.0)
    schedule = getattr(m.optim.lr_scheduler, kind)(optimizer, **options)
    rates = []
    for _ in range(STEPS):
        rates.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        schedule.step()
    return rates


def rounded(value: Any, digits: int) -> Any:
    """Return nested lists with as many digits as their numbers hold."""
    if isinstance(value, list):
        return [rounded(each, digits) for each in value]
    return float(f"{value:.{digits}g}") if isinstance(value, float) else value


def names() -> list[tuple[str, str, bool]]:
    """Return (case, dtype, disturbed) of all runs."""
    runs = [(name, "float64", False) for name in CASES]
    return runs + [(name, "float32", False) for name in FLOAT32] + [(name, "float64", True) for name in DISTURBED]


def main() -> None:
    """Record all cases with torch."""
    torch: Any = importlib.import_module("torch")

    torch.set_num_threads(1)
    cases = {}
    for name, dtype, disturbed in names():
        found = run_case(torch, *CASES[name], dtype, disturbed)
        cases[f"{name}-{dtype}-{disturbed}"] = rounded(list(found.values()), 9 if dtype == "float32" else 16)
    rates = {name: run_schedule(torch, *each) for name, each in SCHEDULES.items()}
    text = json.dumps({"torch": torch.__version__, "cases": cases, "rates": rates}, separators=(",", ":"))
    CASES_FILE.write_text(text.replace('],"', '],\n"') + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
