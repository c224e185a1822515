"""`gradloom.optim`: all options against PyTorch's numbers, one compiled program a step, state, groups, schedules.

The numbers are in `optim_cases.json`, which make_optim_cases.py records with torch 2.13. Gradients are set by hand, so
that nothing but the optimizers is under test; whole training loops are in the oracle's corpus.
"""

import copy
import gc
import json
import pickle
from typing import Any, cast

import numpy as np
import pytest

import gradloom
from gradloom import optim
from gradloom.autograd.programs import counters

from .make_optim_cases import CASES, CASES_FILE, SCHEDULES, STEPS, names, run_case, run_schedule, set_gradients

RECORDED = json.loads(CASES_FILE.read_text(encoding="utf-8"))
RULE_CASES = [name for name in CASES if not name.startswith("lbfgs")]


def leaf(values: Any, dtype: Any = None) -> Any:
    return gradloom.tensor(values, dtype=dtype or gradloom.float64, requires_grad=True)


def make(name: str, params: list[Any]) -> Any:
    """Return the optimizer of a case."""
    kind, options = CASES[name]
    if isinstance(options, list):
        groups: list[Any] = [{"params": [param], **each} for param, each in zip(params, options, strict=True)]
        return getattr(optim, kind)(groups)
    return getattr(optim, kind)(params, **options)


def parameters() -> list[Any]:
    return [leaf([1.0, -0.5, 0.25]), leaf([[0.5, -2.0], [1.5, 0.125]])]


def values_of(params: list[Any]) -> list[Any]:
    return [param.tolist() for param in params]


# --- the numbers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, dtype, disturbed", names())
def test_parameters_after_each_step(name: str, dtype: str, disturbed: bool):
    expected_values, expected_counts = RECORDED["cases"][f"{name}-{dtype}-{disturbed}"]
    found = run_case(gradloom, *CASES[name], dtype, disturbed)
    assert len(found["values"]) == len(expected_values) == STEPS
    tolerance = {"float64": 1e-10, "float32": 2e-5}[dtype]
    for step, (values, expected) in enumerate(zip(found["values"], expected_values, strict=True)):
        for value, wanted in zip(values, expected, strict=True):
            scale = np.abs(wanted).max() * tolerance
            np.testing.assert_allclose(value, wanted, rtol=tolerance, atol=scale, err_msg=f"step {step}")
    assert found["counts"] == expected_counts


def test_cases_differ():
    """An option that had no effect would leave two recorded cases the same; foreach is the one that should."""
    finals = {}
    for name in CASES:
        finals.setdefault(json.dumps(RECORDED["cases"][f"{name}-float64-False"][0][-1]), []).append(name)
    assert [same for same in finals.values() if len(same) > 1] == []


# --- one program for a step -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RULE_CASES)
def test_a_step_is_one_native_run_and_a_change_of_rates_compiles_nothing(name: str):
    params = parameters()
    optimizer = make(name, params)
    for step in range(8):
        set_gradients(gradloom, params)
        if step >= 4:
            for group in optimizer.param_groups:
                group["lr"] *= 0.7
                if "betas" in group:
                    group["betas"] = (0.9 - 0.01 * step, 0.99)
        counters.reset()
        optimizer.step()
        runs = (counters.native_runs, counters.interpreted_runs)
        assert sum(runs) == 1
        if step >= 2:
            assert runs == (1, 0)
            assert (counters.compiled, counters.structures) == (0, 0)


def test_an_optimizer_of_another_net_of_the_same_shapes_compiles_nothing():
    for round in range(2):
        params = [leaf(np.full((7, 3), 0.5)), leaf(np.ones(11))]
        optimizer = optim.Adam(params, lr=0.1 / (round + 1))
        counters.reset()
        for _ in range(4):
            set_gradients(gradloom, params)
            optimizer.step()
    assert counters.compiled == 0 and counters.native_runs == 4


def test_lbfgs_compiles_nothing_once_its_pieces_are_known():
    params = parameters()
    optimizer = optim.LBFGS(params, lr=0.2, max_iter=3, line_search_fn="strong_wolfe")
    for step in range(8):
        if step == 3:
            counters.reset()
        optimizer.step(lambda: set_gradients(gradloom, params))
    assert counters.compiled == 0 and counters.interpreted_runs == 0


def test_memory_stays_flat():
    params = parameters()
    optimizer = optim.Adam(params, amsgrad=True)

    def steps(count: int) -> int:
        for _ in range(count):
            set_gradients(gradloom, params)
            optimizer.step()
        gc.collect()
        return len(gc.get_objects())

    steps(5)
    before = steps(5)
    assert steps(50) <= before + 20


# --- tensors ----------------------------------------------------------------------------------------------------------


def test_a_parameter_stays_a_leaf_and_its_version_counts():
    x = leaf([1.0, 2.0])
    optimizer = optim.SGD([x], lr=0.5)
    before, identity = x._version, id(x)
    x.grad = gradloom.tensor([1.0, 1.0], dtype=gradloom.float64)
    optimizer.step()
    assert x.is_leaf and x.requires_grad and x._version == before + 1 and id(x) == identity
    assert x.tolist() == [0.5, 1.5]


def test_a_backward_through_a_value_from_before_the_step_is_refused():
    x = leaf([1.0, 2.0])
    y = x.exp()
    z = (x * y).sum()
    x.grad = gradloom.ones_like(x)
    optim.SGD([x], lr=0.5).step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.backward()


def test_memory_shared_with_numpy_is_written():
    array = np.array([1.0, 2.0])
    x = gradloom.from_numpy(array).requires_grad_()
    optimizer = optim.Adam([x], lr=0.1)
    for _ in range(3):
        x.grad = gradloom.tensor([1.0, -1.0], dtype=gradloom.float64)
        optimizer.step()
    np.testing.assert_allclose(array, [0.7, 2.3], rtol=1e-6)
    assert x.tolist() == array.tolist()


def test_detached_tensors_and_clones_see_what_pytorchs_see():
    x = leaf([1.0, 2.0])
    alias, clone = x.detach(), x.detach().clone()
    x.grad = gradloom.ones_like(x)
    optim.SGD([x], lr=1.0).step()
    assert alias.tolist() == [0.0, 1.0] and clone.tolist() == [1.0, 2.0]


def test_a_parameter_given_twice_is_updated_twice():
    x = leaf([1.0])
    with pytest.warns(UserWarning, match="duplicate parameters"):
        optimizer = optim.SGD([x, x], lr=0.1, weight_decay=1.0)
    x.grad = gradloom.zeros_like(x)
    optimizer.step()
    assert x.item() == pytest.approx(0.81)


def test_the_rate_may_be_a_tensor():
    x = leaf([1.0])
    rate = gradloom.tensor(0.5, dtype=gradloom.float64)
    optimizer = optim.SGD([x], lr=rate)
    schedule = optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.5)
    for expected in (0.5, 0.25):
        x.grad = gradloom.ones_like(x)
        optimizer.step()
        schedule.step()
        assert x.item() == expected
    assert optimizer.param_groups[0]["lr"] is rate and rate.item() == 0.125


def test_special_values_pass_through():
    x = leaf([1.0, 1.0, 1.0])
    x.grad = gradloom.tensor([np.inf, np.nan, 0.0], dtype=gradloom.float64)
    optim.SGD([x], lr=0.1, momentum=0.9).step()
    np.testing.assert_array_equal(x.tolist(), [-np.inf, np.nan, 1.0])


def test_empty_parameters_are_updated():
    x = leaf(np.zeros((0, 3)))
    x.grad = gradloom.zeros_like(x)
    optim.Adam([x]).step()
    assert x.shape == (0, 3)


# --- zero_grad, closures, hooks ---------------------------------------------------------------------------------------


def test_zero_grad():
    x, y = leaf([1.0]), leaf([2.0])
    optimizer = optim.SGD([x, y])
    x.grad = kept = gradloom.ones_like(x)
    optimizer.zero_grad(set_to_none=False)
    assert x.grad is kept and kept.tolist() == [0.0] and y.grad is None
    optimizer.zero_grad()
    assert x.grad is None


def test_a_closure_runs_with_grad_mode_and_its_result_is_returned():
    x = leaf([2.0])
    optimizer = optim.SGD([x], lr=0.1)

    def closure() -> Any:
        assert gradloom.is_grad_enabled()
        optimizer.zero_grad()
        loss = (x * x).sum()
        loss.backward()
        return loss

    with gradloom.no_grad():
        assert optimizer.step(closure).item() == 4.0
    assert x.item() == pytest.approx(1.6)
    assert optimizer.step() is None


def test_step_hooks():
    x = leaf([1.0])
    optimizer = optim.SGD([x], lr=0.1)
    seen: list[Any] = []
    first = optimizer.register_step_pre_hook(lambda o, args, kwargs: seen.append(("before", o is optimizer, x.item())))
    optimizer.register_step_post_hook(lambda o, args, kwargs: seen.append(("after", args == (optimizer,), kwargs)))
    x.grad = gradloom.ones_like(x)
    optimizer.step()
    first.remove()
    optimizer.step()
    assert seen == [("before", True, 1.0), ("after", True, {}), ("after", True, {})]


def test_an_optimizer_of_the_users_own():
    class Signs(optim.Optimizer):
        def __init__(self, params: Any, lr: float = 0.1):
            super().__init__(params, {"lr": lr})

        @gradloom.no_grad()
        def step(self, closure: Any = None) -> Any:
            for group in self.param_groups:
                for param in group["params"]:
                    param -= group["lr"] * param.grad.sign()

    x = leaf([1.0, 1.0])
    optimizer = Signs([x])
    called = []
    optimizer.register_step_post_hook(lambda *args: called.append(1))
    x.grad = gradloom.tensor([5.0, -3.0], dtype=gradloom.float64)
    optimizer.step()
    assert x.tolist() == [0.9, 1.1] and x.is_leaf and called == [1]
    assert repr(optimizer) == "Signs (\nParameter Group 0\n    lr: 0.1\n)"


# --- state ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in CASES if "foreach" not in name])
def test_a_saved_state_goes_on_as_if_nothing_had_happened(name: str):
    def go_on(optimizer: Any, params: list[Any], count: int) -> None:
        for _ in range(count):
            set_gradients(gradloom, params)
            if name.startswith("lbfgs"):
                optimizer.step(lambda: set_gradients(gradloom, params))
            else:
                optimizer.step()

    params = parameters()
    optimizer = make(name, params)
    go_on(optimizer, params, 5)
    saved = pickle.loads(pickle.dumps(optimizer.state_dict()))
    copies = [leaf(param.tolist()) for param in params]
    again = make(name, copies)
    again.load_state_dict(saved)
    go_on(optimizer, params, 5)
    go_on(again, copies, 5)
    assert values_of(params) == values_of(copies)


def test_the_form_of_a_saved_state():
    x, y = leaf([1.0]), leaf([2.0, 3.0])
    optimizer = optim.Adam([{"params": [x]}, {"params": [y], "lr": 0.5}])
    x.grad = gradloom.ones_like(x)
    optimizer.step()
    saved = optimizer.state_dict()
    assert list(saved) == ["state", "param_groups"]
    assert list(saved["state"]) == [0]
    assert list(saved["state"][0]) == ["step", "exp_avg", "exp_avg_sq"]
    assert saved["state"][0]["step"].item() == 1.0 and saved["state"][0]["step"].dtype is gradloom.float32
    assert [group["params"] for group in saved["param_groups"]] == [[0], [1]]
    assert saved["param_groups"][1] == {
        "lr": 0.5,
        "betas": (0.9, 0.999),
        "eps": 1e-8,
        "weight_decay": 0,
        "amsgrad": False,
        "maximize": False,
        "foreach": None,
        "capturable": False,
        "differentiable": False,
        "fused": None,
        "decoupled_weight_decay": False,
        "params": [1],
    }


def test_a_state_is_loaded_in_the_dtype_of_the_parameters():
    x, y = leaf([1.0]), leaf([1.0], gradloom.float32)
    source, target = optim.Adam([x]), optim.Adam([y])
    x.grad = gradloom.ones_like(x)
    source.step()
    target.load_state_dict(source.state_dict())
    state = target.state[y]
    assert (state["exp_avg"].dtype, state["step"].dtype) == (gradloom.float32, gradloom.float32)
    assert state["exp_avg"].item() == pytest.approx(0.1)


def test_states_that_do_not_fit():
    x, y = leaf([1.0]), leaf([1.0])
    one, two = optim.SGD([x]), optim.SGD([x, y])
    groups = optim.SGD([{"params": [x]}, {"params": [y]}])
    with pytest.raises(ValueError, match="different number of parameter groups"):
        one.load_state_dict(groups.state_dict())
    with pytest.raises(ValueError, match="doesn't match the size of optimizer's group"):
        one.load_state_dict(two.state_dict())


def test_state_hooks():
    x = leaf([1.0])
    optimizer = optim.SGD([x], lr=0.1)
    optimizer.register_state_dict_pre_hook(lambda o: o.param_groups[0].update(lr=0.2))
    optimizer.register_state_dict_post_hook(lambda o, state: {**state, "more": 1})
    saved = optimizer.state_dict()
    assert saved["more"] == 1 and saved["param_groups"][0]["lr"] == 0.2
    seen: list[Any] = []
    optimizer.register_load_state_dict_pre_hook(lambda o, state: seen.append(state.pop("more")))
    optimizer.register_load_state_dict_post_hook(lambda o: seen.append(o.param_groups[0]["lr"]))
    optimizer.load_state_dict(saved)
    assert seen == [1, 0.2] and "more" in saved


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_optimizers_are_copied_with_their_parameters(copied: Any):
    params = parameters()
    optimizer = optim.Adam(params)
    for _ in range(2):
        set_gradients(gradloom, params)
        optimizer.step()
    twin = copied(optimizer)
    twins = twin.param_groups[0]["params"]
    for each, its in ((optimizer, params), (twin, twins)):
        set_gradients(gradloom, its)
        each.step()
    assert values_of(params) == values_of(twins)
    assert twins[0] is not params[0] and len(twin.state) == 2


def test_representation():
    optimizer = optim.SGD([{"params": [leaf([1.0])]}, {"params": [leaf([1.0])], "momentum": 0.5}], lr=0.1)
    group = (
        "    dampening: 0\n    differentiable: False\n    foreach: None\n    fused: None\n    lr: 0.1\n"
        "    maximize: False\n    momentum: {}\n    nesterov: False\n    weight_decay: 0\n"
    )
    expected = f"SGD (\nParameter Group 0\n{group.format(0)}\nParameter Group 1\n{group.format(0.5)})"
    assert repr(optimizer) == expected


# --- groups and errors ------------------------------------------------------------------------------------------------


def test_named_parameters():
    x, y = leaf([1.0]), leaf([2.0])
    optimizer = optim.SGD([("weight", x), ("bias", y)], lr=0.1)
    assert optimizer.param_groups[0]["params"] == [x, y]
    assert optimizer.state_dict()["param_groups"][0]["param_names"] == ["weight", "bias"]
    with pytest.raises(ValueError, match="cannot add param group without names"):
        optimizer.add_param_group({"params": [leaf([3.0])]})
    with pytest.raises(ValueError, match="Some param names are missing"):
        optim.SGD([("weight", x), y])


def test_a_non_leaf_that_retains_its_gradient_can_be_optimized():
    x = leaf([1.0]) * 2
    with pytest.raises(ValueError, match=r"^can't optimize a non-leaf Tensor"):
        optim.SGD([x])
    x.retain_grad()
    assert optim.SGD([x]).param_groups[0]["params"][0] is x


ERRORS = [
    (lambda x: optim.SGD([]), ValueError, "optimizer got an empty parameter list"),
    (lambda x: optim.SGD(x), TypeError, "params argument given to the optimizer should be an iterable of Tensors"),
    (lambda x: optim.SGD([{"params": {x}}]), TypeError, "optimizer parameters need to be organized in ordered"),
    (lambda x: optim.SGD([x], lr=-1), ValueError, "Invalid learning rate: -1"),
    (lambda x: optim.SGD([x], momentum=-0.5), ValueError, "Invalid momentum value: -0.5"),
    (lambda x: optim.SGD([x], weight_decay=-2), ValueError, "Invalid weight_decay value: -2"),
    (lambda x: optim.SGD([x], nesterov=True), ValueError, "Nesterov momentum requires a momentum and zero dampening"),
    (
        lambda x: optim.SGD([x], fused=True, foreach=True),
        RuntimeError,
        "`fused` and `foreach` cannot be `True` together.",
    ),
    (lambda x: optim.SGD([x], fused=True, differentiable=True), RuntimeError, "`fused` does not support"),
    (lambda x: optim.SGD([x], differentiable=True), RuntimeError, "differentiable=True is not supported"),
    (lambda x: optim.SGD([1.0]), TypeError, "optimizer can only optimize Tensors, but one of the params is float"),
    (lambda x: optim.Adam([x], eps=-1.0), ValueError, "Invalid epsilon value: -1.0"),
    (lambda x: optim.Adam([x], betas=(1.0, 0.9)), ValueError, "Invalid beta parameter at index 0: 1.0"),
    (lambda x: optim.Adam([x], betas=(0.9, -0.1)), ValueError, "Invalid beta parameter at index 1: -0.1"),
    (lambda x: optim.Adam([x], betas=(0, 0.9)), ValueError, "betas must be either both floats or both Tensors"),
    (lambda x: optim.RMSprop([x], alpha=-1.0), ValueError, "Invalid alpha value: -1.0"),
    (lambda x: optim.Adagrad([x], lr_decay=-1.0), ValueError, "Invalid lr_decay value: -1.0"),
    (lambda x: optim.LBFGS([{"params": [x]}, {"params": [leaf([1.0])]}]), ValueError, "LBFGS doesn't support"),
    (lambda x: optim.SGD([{"params": [x]}, {"params": [x]}]), ValueError, "some parameters appear in more than one"),
    (
        lambda x: optim.SGD([x]).add_param_group(cast(Any, [x])),
        TypeError,
        "param_group must be a dict, but got <class 'list'>",
    ),
    (lambda x: optim.Optimizer([x], {}).step(), NotImplementedError, ""),
    (lambda x: optim.LBFGS([x], line_search_fn="w").step(lambda: grow(x)), RuntimeError, "only 'strong_wolfe' is"),
]


def grow(x: Any) -> float:
    x.grad = gradloom.ones_like(x)
    return 1.0


@pytest.mark.parametrize("function, kind, text", ERRORS)
def test_errors(function: Any, kind: type[Exception], text: str):
    with pytest.raises(kind) as caught:
        function(leaf([1.0]))
    assert str(caught.value).startswith(text)


# --- schedules --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCHEDULES)
def test_rates_of_schedules(name: str):
    found = run_schedule(gradloom, *SCHEDULES[name])
    np.testing.assert_allclose(found, RECORDED["rates"][name], rtol=1e-12)
    assert len({tuple(rates) for rates in found}) > 1


def optimizer_with_rate(rate: float = 1.0) -> Any:
    return optim.SGD([leaf([1.0])], lr=rate)


def rates_of(optimizer: Any, schedule: Any, count: int) -> list[float]:
    rates = []
    for _ in range(count):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


def test_schedules_by_functions():
    optimizer = optimizer_with_rate(2.0)
    schedule = optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 1 / (1 + epoch))
    assert rates_of(optimizer, schedule, 3) == [2.0, 1.0, 2 / 3] and schedule.get_last_lr() == [0.5]
    optimizer = optimizer_with_rate()
    schedule = optim.lr_scheduler.MultiplicativeLR(optimizer, lambda epoch: 0.5 if epoch % 2 else 1.0)
    assert rates_of(optimizer, schedule, 5) == [1.0, 0.5, 0.5, 0.25, 0.25]
    with pytest.raises(ValueError, match="Expected 1 lr_lambdas, but got 2"):
        optim.lr_scheduler.LambdaLR(optimizer, [len, len])


def test_sequences_of_schedules():
    s = optim.lr_scheduler
    optimizer = optimizer_with_rate()
    warm, then = s.ConstantLR(optimizer, factor=0.1, total_iters=2), s.ExponentialLR(optimizer, gamma=0.5)
    schedule = s.SequentialLR(optimizer, [warm, then], milestones=[2])
    np.testing.assert_allclose(rates_of(optimizer, schedule, 5), [0.1, 0.1, 1.0, 0.5, 0.25])
    optimizer = optimizer_with_rate()
    chained = s.ChainedScheduler([s.ExponentialLR(optimizer, gamma=0.5), s.StepLR(optimizer, step_size=2, gamma=0.1)])
    np.testing.assert_allclose(rates_of(optimizer, chained, 4), [1.0, 0.5, 0.025, 0.0125])
    with pytest.raises(ValueError, match="belong to the same optimizer"):
        s.SequentialLR(optimizer, [s.ExponentialLR(optimizer_with_rate(), gamma=0.5)], milestones=[])


def test_reduction_on_a_plateau():
    optimizer = optimizer_with_rate()
    schedule = optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=1, cooldown=1, min_lr=0.2)
    rates = []
    for metric in (1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.5, 0.49999, 0.5, 0.5, 0.5, 0.5):
        schedule.step(metric)
        rates.append(schedule.get_last_lr()[0])
    assert rates == [1.0, 1.0, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.2, 0.2, 0.2, 0.2]
    upwards = optim.lr_scheduler.ReduceLROnPlateau(optimizer, "max", threshold=0.1, threshold_mode="abs", patience=0)
    upwards.step(1.0)
    upwards.step(1.2)
    assert upwards.num_bad_epochs == 0 and upwards.best == 1.2
    upwards.step(1.25)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.02)
    with pytest.raises(ValueError, match="mode up is unknown!"):
        optim.lr_scheduler.ReduceLROnPlateau(optimizer, "up")


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_saved_schedule_goes_on(name: str):
    kind, options = SCHEDULES[name]
    first, second = optimizer_with_rate(), optimizer_with_rate()
    schedule = getattr(optim.lr_scheduler, kind)(first, **options)
    rates_of(first, schedule, 4)
    again = getattr(optim.lr_scheduler, kind)(second, **options)
    again.load_state_dict(pickle.loads(pickle.dumps(schedule.state_dict())))
    second.load_state_dict(first.state_dict())
    assert rates_of(first, schedule, 6) == rates_of(second, again, 6)


def test_a_schedule_before_the_first_step_is_warned_of():
    optimizer = optimizer_with_rate()
    schedule = optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.5)
    with pytest.warns(UserWarning, match=r"Detected call of `lr_scheduler.step\(\)` before `optimizer.step\(\)`"):
        schedule.step()
