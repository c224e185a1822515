"""`optim`: the parameters after every step, the state, groups and their errors."""

from functools import partial
from typing import Any

from .corpus import Observations, error, program, register

# Name: (optimizer, options).
OPTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "sgd": ("SGD", {"lr": 0.1}),
    "sgd_default": ("SGD", {}),
    "sgd_momentum": ("SGD", {"lr": 0.05, "momentum": 0.9}),
    "sgd_dampening": ("SGD", {"lr": 0.05, "momentum": 0.9, "dampening": 0.3}),
    "sgd_nesterov": ("SGD", {"lr": 0.05, "momentum": 0.8, "nesterov": True}),
    "sgd_weight_decay": ("SGD", {"lr": 0.1, "weight_decay": 0.2}),
    "sgd_momentum_weight_decay": ("SGD", {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.1}),
    "sgd_maximize": ("SGD", {"lr": 0.01, "maximize": True}),
    "adam": ("Adam", {"lr": 0.1}),
    "adam_default": ("Adam", {}),
    "adam_options": ("Adam", {"lr": 0.05, "betas": (0.8, 0.95), "eps": 1e-4}),
    "adam_weight_decay": ("Adam", {"lr": 0.1, "weight_decay": 0.1}),
    "adam_amsgrad": ("Adam", {"lr": 0.1, "amsgrad": True}),
    "adam_maximize": ("Adam", {"lr": 0.1, "maximize": True}),
    "adamw": ("AdamW", {"lr": 0.1}),
    "adamw_decay": ("AdamW", {"lr": 0.1, "weight_decay": 0.3}),
    "adamw_amsgrad": ("AdamW", {"lr": 0.1, "amsgrad": True, "betas": (0.7, 0.9)}),
    "rmsprop": ("RMSprop", {"lr": 0.05}),
    "rmsprop_default": ("RMSprop", {}),
    "rmsprop_alpha": ("RMSprop", {"lr": 0.05, "alpha": 0.8, "eps": 1e-3}),
    "rmsprop_momentum": ("RMSprop", {"lr": 0.02, "momentum": 0.9}),
    "rmsprop_centered": ("RMSprop", {"lr": 0.05, "centered": True}),
    "rmsprop_all": ("RMSprop", {"lr": 0.02, "momentum": 0.5, "centered": True, "weight_decay": 0.1}),
    "lbfgs": ("LBFGS", {"lr": 0.1, "max_iter": 4}),
    "lbfgs_default": ("LBFGS", {"max_iter": 3}),
    "lbfgs_strong_wolfe": ("LBFGS", {"line_search_fn": "strong_wolfe", "max_iter": 3}),
    "lbfgs_history": ("LBFGS", {"lr": 0.5, "history_size": 2, "max_iter": 3, "line_search_fn": "strong_wolfe"}),
}


def parameters_of(m: Any, dtype: str = "float64") -> list[Any]:
    """Return a vector and a matrix to train."""
    kind = getattr(m, dtype)
    return [
        m.tensor([1.0, -2.0, 0.5], dtype=kind, requires_grad=True),
        m.tensor([[0.5, 1.0], [-1.0, 2.0], [0.25, -0.5]], dtype=kind, requires_grad=True),
    ]


def loss_of(m: Any, parameters: list[Any]) -> Any:
    """Return a smooth, badly scaled loss of both."""
    w, a = parameters
    scale = w.new_tensor([1.0, 4.0, 0.5])
    return (scale * w * w).sum() + ((w @ a - 1) ** 2).sum() + 0.1 * (a**4).sum()


def trajectory(kind: str, options: dict[str, Any], dtype: str, m: Any) -> Observations:
    """Return what ten steps do, and the state they leave."""
    parameters = parameters_of(m, dtype)
    optimizer = getattr(m.optim, kind)(parameters, **options)
    steps, losses = [], []

    def closure():
        optimizer.zero_grad()
        loss = loss_of(m, parameters)
        loss.backward()
        return loss

    for _ in range(4 if kind == "LBFGS" else 10):
        losses.append(optimizer.step(closure).item())
        steps.append([parameter.detach().clone() for parameter in parameters])
    state = optimizer.state_dict()
    return {
        "steps": steps,
        "losses": losses,
        "leaves": parameters,
        "state_keys": sorted(state),
        "of_first": sorted(state["state"].get(0, {})),
        "state_indices": sorted(state["state"]),
        "group_keys": sorted(state["param_groups"][0]),
        "params": [group["params"] for group in state["param_groups"]],
    }


for _name, (_kind, _options) in OPTIONS.items():
    register("optimizers", _name, partial(trajectory, _kind, _options, "float64"))
for _name in ("sgd_momentum", "adam", "adamw", "rmsprop"):
    register("optimizers", f"{_name}_float32", partial(trajectory, *OPTIONS[_name], "float32"))


@program
def state_tensors(m):
    observed = {}
    kinds = {"SGD": {"lr": 0.1, "momentum": 0.9}, "Adam": {"amsgrad": True}, "RMSprop": {"momentum": 0.5}}
    for kind, options in kinds.items():
        x = m.tensor([1.0, 2.0], requires_grad=True)
        optimizer = getattr(m.optim, kind)([x], **options)
        for _ in range(2):
            optimizer.zero_grad()
            (x**2).sum().backward()
            optimizer.step()
        observed[kind] = dict(optimizer.state[x])
    return observed


@program
def plain_loop(m):
    x = m.tensor([3.0, -2.0], requires_grad=True)
    optimizer = m.optim.SGD([x], lr=0.25)
    observed, result = [], "none yet"
    for _ in range(5):
        optimizer.zero_grad()
        (x**2).sum().backward()
        result = optimizer.step()
        observed.append(x.detach().clone())
    return {"x": observed, "returned": result, "version_grew": x._version > 0}


@program
def zero_grad(m):
    x = m.tensor([1.0], requires_grad=True)
    optimizer = m.optim.SGD([x], lr=0.1)
    observed = {}
    (x * 2).sum().backward()
    optimizer.zero_grad()
    observed["none"] = x.grad
    (x * 2).sum().backward()
    kept = x.grad
    optimizer.zero_grad(set_to_none=False)
    observed["zero"] = x.grad
    observed["same"] = kept is x.grad
    return observed


@program
def parameters_without_gradient_are_left(m):
    x, y = m.tensor([1.0], requires_grad=True), m.tensor([2.0], requires_grad=True)
    optimizer = m.optim.Adam([x, y], lr=0.1)
    (x * 3).sum().backward()
    optimizer.step()
    return {"x": x, "y": y, "state": len(optimizer.state)}


@program
def groups(m):
    x, y = m.tensor([1.0], requires_grad=True), m.tensor([2.0], requires_grad=True)
    optimizer = m.optim.SGD([{"params": [x]}, {"params": y, "lr": 0.5, "momentum": 0.9}], lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        (x * x + y * y).sum().backward()
        optimizer.step()
    return {
        "x": x,
        "y": y,
        "rates": [group["lr"] for group in optimizer.param_groups],
        "momenta": [group["momentum"] for group in optimizer.param_groups],
        "params": [group["params"] for group in optimizer.state_dict()["param_groups"]],
        "defaults": optimizer.defaults["lr"],
    }


@program
def group_added_later(m):
    x, y = m.tensor([1.0], requires_grad=True), m.tensor([2.0], requires_grad=True)
    optimizer = m.optim.SGD([x], lr=0.1)
    optimizer.add_param_group({"params": [y], "lr": 1.0})
    (x + y).sum().backward()
    optimizer.step()
    return {"x": x, "y": y}


@program
def rate_changed_by_hand(m):
    x = m.tensor([1.0], dtype=m.float64, requires_grad=True)
    optimizer = m.optim.Adam([x], lr=0.1)
    observed = []
    for step in range(4):
        for group in optimizer.param_groups:
            group["lr"] = 0.1 / (step + 1)
        optimizer.zero_grad()
        (x**2).sum().backward()
        optimizer.step()
        observed.append(x.item())
    return {"x": observed}


@program
def state_round_trip(m):
    def steps(optimizer, x, count):
        for _ in range(count):
            optimizer.zero_grad()
            (x**4).sum().backward()
            optimizer.step()

    x = m.tensor([1.0, 2.0], dtype=m.float64, requires_grad=True)
    optimizer = m.optim.Adam([x], lr=0.1)
    steps(optimizer, x, 3)
    saved, values = optimizer.state_dict(), x.detach().clone()
    steps(optimizer, x, 3)
    y = values.requires_grad_()
    again = m.optim.Adam([y], lr=0.9)
    again.load_state_dict(saved)
    steps(again, y, 3)
    return {"x": x, "y": y, "rate": again.param_groups[0]["lr"]}


@program
def errors(m):
    x = m.tensor([1.0], requires_grad=True)
    return {
        "empty": error(lambda: m.optim.SGD([], lr=0.1)),
        "tensor": error(lambda: m.optim.SGD(x, lr=0.1)),
        "rate": error(lambda: m.optim.SGD([x], lr=-1.0)),
        "momentum": error(lambda: m.optim.SGD([x], momentum=-0.1)),
        "nesterov": error(lambda: m.optim.SGD([x], nesterov=True)),
        "not_a_leaf": error(lambda: m.optim.SGD([x * 2], lr=0.1)),
        "number": error(lambda: m.optim.SGD([1.0], lr=0.1)),
        "betas": error(lambda: m.optim.Adam([x], betas=(1.0, 0.9))),
        "eps": error(lambda: m.optim.Adam([x], eps=-1.0)),
        "weight_decay": error(lambda: m.optim.AdamW([x], weight_decay=-1.0)),
        "alpha": error(lambda: m.optim.RMSprop([x], alpha=-1.0)),
        "twice": error(lambda: m.optim.SGD([{"params": [x]}, {"params": [x]}], lr=0.1)),
        "lbfgs_groups": error(lambda: m.optim.LBFGS([{"params": [x]}, {"params": [m.ones(1)]}])),
    }


@program
def representation(m):
    return {"sgd": repr(m.optim.SGD([m.tensor([1.0], requires_grad=True)], lr=0.1, momentum=0.9))}


@program
def rosenbrock_by_lbfgs(m):
    x = m.tensor([-1.2, 1.0], dtype=m.float64, requires_grad=True)
    optimizer = m.optim.LBFGS([x], line_search_fn="strong_wolfe", max_iter=50)

    def closure():
        optimizer.zero_grad()
        loss = (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2
        loss.backward()
        return loss

    optimizer.step(closure)
    return {"found": bool((x.detach() - 1).abs().max() < 1e-4)}


@program
def closure_returns_the_loss(m):
    x = m.tensor([2.0], requires_grad=True)
    optimizer = m.optim.SGD([x], lr=0.1)

    def closure():
        optimizer.zero_grad()
        loss = (x**2).sum()
        loss.backward()
        return loss

    return {"loss": optimizer.step(closure), "x": x}


@program
def learning_rate_schedule(m):
    x = m.tensor([1.0], requires_grad=True)
    optimizer = m.optim.SGD([x], lr=1.0)
    schedule = m.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.1)
    rates = []
    for _ in range(5):
        optimizer.step()
        schedule.step()
        rates.append(optimizer.param_groups[0]["lr"])
    return {"rates": rates, "last": schedule.get_last_lr()}
