"""`Optimizer`: parameter groups, their options and state, and how they are saved; nothing of it knows a formula.

Subclasses define `step`. Those of this package are built on update.py; a user's own optimizer may write into its
parameters under `no_grad` instead.
"""

import copy
import functools
import itertools
import warnings
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Any

import numpy as np

from gradloom.autograd.dtypes import float32, float64, get_default_dtype
from gradloom.autograd.errors import error
from gradloom.autograd.graph import data_node
from gradloom.autograd.recording import assign
from gradloom.autograd.tensor import Tensor, from_array

Group = dict[str, Any]
Closure = Callable[[], Any]


class _Required:
    def __repr__(self) -> str:
        return "<required parameter>"


required: Any = _Required()


class RemovableHandle:
    """What registering a hook returns: `remove()` takes the hook out again."""

    _next = itertools.count()

    def __init__(self, hooks: "OrderedDict[int, Any]"):
        self._hooks, self.id = hooks, next(RemovableHandle._next)

    def remove(self) -> None:
        """Take the hook out."""
        self._hooks.pop(self.id, None)

    def __enter__(self) -> "RemovableHandle":
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()


class Optimizer:
    """The base of all optimizers.

    Args:
        params: tensors, pairs (name, tensor), or dicts with "params" and options of their own; in an order that is the
            same in each run.
        defaults: the options of groups that do not name them.

    Attributes:
        param_groups: dicts of "params" and options; options may be changed at any time.
        state: by parameter, a dict of what the optimizer remembers.
        defaults: as given.

    Raises:
        TypeError: `params` is a tensor, or something in it is none.
        ValueError: it is empty, or holds a tensor that is no leaf.
    """

    _step_called = False

    def __init__(self, params: Iterable[Any], defaults: Group):
        self.defaults = defaults
        self._make_hooks()
        if isinstance(params, Tensor):
            raise TypeError(
                "params argument given to the optimizer should be an iterable of Tensors or dicts, but got "
                + params.type()
            )
        self.state: defaultdict[Any, Any] = defaultdict(dict)
        self.param_groups: list[Group] = []
        groups = list(params)
        if not groups:
            raise error(ValueError, "optimizer got an empty parameter list", "pass the tensors that it is to update")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "step" in cls.__dict__:
            cls.step = _with_hooks(cls.__dict__["step"])

    def _make_hooks(self) -> None:
        self._step_pre_hooks: OrderedDict[int, Any] = OrderedDict()
        self._step_post_hooks: OrderedDict[int, Any] = OrderedDict()
        self._state_dict_pre_hooks: OrderedDict[int, Any] = OrderedDict()
        self._state_dict_post_hooks: OrderedDict[int, Any] = OrderedDict()
        self._load_state_dict_pre_hooks: OrderedDict[int, Any] = OrderedDict()
        self._load_state_dict_post_hooks: OrderedDict[int, Any] = OrderedDict()

    def __getstate__(self) -> Group:
        return {"defaults": self.defaults, "state": self.state, "param_groups": self.param_groups}

    def __setstate__(self, state: Group) -> None:
        self.__dict__.update(state)
        if "_step_pre_hooks" not in self.__dict__:
            self._make_hooks()

    def __repr__(self) -> str:
        text = self.__class__.__name__ + " ("
        for i, group in enumerate(self.param_groups):
            text += f"\nParameter Group {i}\n"
            for key in sorted(group):
                if key != "params":
                    text += f"    {key}: {group[key]}\n"
        return text + ")"

    # --- groups -------------------------------------------------------------------------------------------------------

    def add_param_group(self, param_group: Group) -> None:
        """Add a group of parameters.

        Args:
            param_group: "params", and the options that are not to be the defaults.

        Raises:
            TypeError: the group is no dict, its parameters come in a set, or one is no tensor.
            ValueError: a parameter is no leaf or in another group, a required option is missing, or only some have
                names.
        """
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group)}")
        _name_parameters(param_group)
        for param in param_group["params"]:
            if not isinstance(param, Tensor):
                name = type(param).__name__
                raise TypeError(f"optimizer can only optimize Tensors, but one of the params is {name}")
            if not (param.is_leaf or param.retains_grad):
                raise error(
                    ValueError,
                    "can't optimize a non-leaf Tensor",
                    "pass the tensor that was created with requires_grad=True, or take .detach().requires_grad_()",
                )
        for name, default in self.defaults.items():
            if default is required and name not in param_group:
                raise ValueError(f"parameter group didn't specify a value of required optimization parameter {name}")
            param_group.setdefault(name, default)
        self._check_repeated(param_group)
        self.param_groups.append(param_group)

    def _check_repeated(self, param_group: Group) -> None:
        names = {id(param) for param in param_group["params"]}
        if len(names) != len(param_group["params"]):
            warnings.warn(
                "optimizer contains a parameter group with duplicate parameters; in future, this will cause an error; "
                "see github.com/pytorch/pytorch/issues/40967 for more information",
                stacklevel=4,
            )
        for group in self.param_groups:
            if ("param_names" in param_group) != ("param_names" in group):
                named = "with names" if "param_names" in param_group else "without names"
                raise ValueError(
                    "all optimizer param groups should be with/without names. cannot add param group "
                    f"{named} to the optimizer"
                )
        if any(id(param) in names for group in self.param_groups for param in group["params"]):
            raise ValueError("some parameters appear in more than one parameter group")

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters.

        Args:
            set_to_none: `.grad` becomes None; otherwise what is there is filled with zeros.
        """
        for group in self.param_groups:
            for param in group["params"]:
                if set_to_none:
                    param._grad = None
                elif param._grad is not None:
                    _fill_with_zeros(param._grad)

    def step(self, closure: Closure | None = None) -> Any:
        """Update the parameters by their gradients; return what `closure`, which computes them anew, returns."""
        raise NotImplementedError

    # --- saving -------------------------------------------------------------------------------------------------------

    def state_dict(self) -> Group:
        """Return the state as plain data and tensors: "state" by number of the parameter, and "param_groups"."""
        for hook in self._state_dict_pre_hooks.values():
            hook(self)
        numbers: dict[int, int] = {}
        groups: list[Group] = []
        first = 0
        for group in self.param_groups:
            for i, param in enumerate(group["params"], first):
                numbers.setdefault(id(param), i)
            packed = {key: value for key, value in group.items() if key != "params"}
            packed["params"] = [numbers[id(param)] for param in group["params"]]
            first += len(packed["params"])
            groups.append(packed)
        state = {numbers[id(key)] if isinstance(key, Tensor) else key: value for key, value in self.state.items()}
        result: Group = {"state": state, "param_groups": groups}
        for hook in self._state_dict_post_hooks.values():
            changed = hook(self, result)
            result = result if changed is None else changed
        return result

    def load_state_dict(self, state_dict: Group) -> None:
        """Go on from a saved state.

        Args:
            state_dict: what `state_dict()` returned. Its tensors are taken over, not copied, if their dtype is that of
                the parameter.

        Raises:
            ValueError: it has other numbers of groups or of parameters in them.
        """
        state_dict = state_dict.copy()
        for hook in self._load_state_dict_pre_hooks.values():
            changed = hook(self, state_dict)
            state_dict = state_dict if changed is None else changed
        saved = copy.deepcopy(state_dict["param_groups"])
        if len(self.param_groups) != len(saved):
            raise ValueError("loaded state dict has a different number of parameter groups")
        if any(len(a["params"]) != len(b["params"]) for a, b in zip(self.param_groups, saved, strict=True)):
            raise ValueError(
                "loaded state dict contains a parameter group that doesn't match the size of optimizer's group"
            )
        params = dict(zip(_params_of(saved), _params_of(self.param_groups), strict=True))
        state: defaultdict[Any, Any] = defaultdict(dict)
        for key, value in state_dict["state"].items():
            if key in params:
                state[params[key]] = _cast(params[key], value)
            else:
                state[key] = value
        for group, new in zip(self.param_groups, saved, strict=True):
            new["params"] = group["params"]
            if "param_names" in group:
                new.setdefault("param_names", group["param_names"])
        self.__setstate__({"state": state, "param_groups": saved})
        for hook in self._load_state_dict_post_hooks.values():
            hook(self)

    # --- hooks --------------------------------------------------------------------------------------------------------

    def register_step_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call `hook(optimizer, args, kwargs)` before each step; it may return new (args, kwargs)."""
        return _register(self._step_pre_hooks, hook)

    def register_step_post_hook(self, hook: Callable[..., None]) -> RemovableHandle:
        """Call `hook(optimizer, args, kwargs)` after each step."""
        return _register(self._step_post_hooks, hook)

    def register_state_dict_pre_hook(self, hook: Callable[..., None], prepend: bool = False) -> RemovableHandle:
        """Call `hook(optimizer)` before the state is collected."""
        return _register(self._state_dict_pre_hooks, hook, prepend)

    def register_state_dict_post_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Call `hook(optimizer, state_dict)` before it is returned; it may return another one."""
        return _register(self._state_dict_post_hooks, hook, prepend)

    def register_load_state_dict_pre_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Call `hook(optimizer, state_dict)` before a state is loaded; it may return another one."""
        return _register(self._load_state_dict_pre_hooks, hook, prepend)

    def register_load_state_dict_post_hook(self, hook: Callable[..., None], prepend: bool = False) -> RemovableHandle:
        """Call `hook(optimizer)` after a state was loaded."""
        return _register(self._load_state_dict_post_hooks, hook, prepend)


def _with_hooks(step: Callable[..., Any]) -> Callable[..., Any]:
    """Let a method `step` call the hooks."""

    @functools.wraps(step)
    def wrapped(self: Optimizer, *args: Any, **kwargs: Any) -> Any:
        self._step_called = True
        for hook in self._step_pre_hooks.values():
            result = hook(self, (self, *args), kwargs)
            if isinstance(result, tuple) and len(result) == 2:
                args, kwargs = tuple(result[0][1:]), result[1]
            elif result is not None:
                raise RuntimeError(f"{step} must return None or a tuple of (new_args, new_kwargs), but got {result}.")
        result = step(self, *args, **kwargs)
        for hook in self._step_post_hooks.values():
            hook(self, (self, *args), kwargs)
        return result

    return wrapped


def _register(hooks: "OrderedDict[int, Any]", hook: Any, prepend: bool = False) -> RemovableHandle:
    handle = RemovableHandle(hooks)
    hooks[handle.id] = hook
    if prepend:
        hooks.move_to_end(handle.id, last=False)
    return handle


def _name_parameters(group: Group) -> None:
    """Bring the parameters of a group into a list, and their names, if they have any, into another."""
    params = group["params"]
    if isinstance(params, Tensor):
        params = [params]
    elif isinstance(params, set):
        raise TypeError(
            "optimizer parameters need to be organized in ordered collections, but the ordering of tensors in sets "
            "will change between runs. Please use a list instead."
        )
    params = list(params)
    names = [param[0] for param in params if isinstance(param, tuple)]
    group["params"] = [param[1] if isinstance(param, tuple) else param for param in params]
    if names:
        if len(names) != len(params):
            raise ValueError("all optimizer params should be with/without names. Some param names are missing")
        group["param_names"] = names


def _params_of(groups: Iterable[Group]) -> Iterator[Any]:
    return itertools.chain.from_iterable(group["params"] for group in groups)


def _cast(param: Tensor, value: Any, key: Hashable = None) -> Any:
    """Return saved state with tensors in the dtype of the parameter, but for the count of steps."""
    if isinstance(value, Tensor):
        if key == "step" or not param.is_floating_point() or value.dtype is param.dtype:
            return value
        return from_array(value._array().astype(param.dtype.numpy))
    if isinstance(value, dict):
        return {name: _cast(param, each, name) for name, each in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes)):
        return type(value)(_cast(param, each) for each in value)  # type: ignore[call-arg]
    return value


def _fill_with_zeros(grad: Tensor) -> None:
    if grad.grad_fn is not None:
        grad.detach_()
    else:
        grad._requires_grad = False
    type = grad._value.type
    assign(grad, data_node(np.zeros(type.shape, type.element.dtype)))


# --- for the optimizers -----------------------------------------------------------------------------------------------


def check_option(name: str, value: Any, valid: bool) -> None:
    """Raise PyTorch's error about an option that is out of its range: `Invalid learning rate: -1.0`."""
    if not valid:
        raise ValueError(f"Invalid {name}: {value}")


def check_rate(lr: Any) -> None:
    """Raise if a learning rate is negative, or a tensor of several elements."""
    if isinstance(lr, Tensor) and lr.numel() != 1:
        raise ValueError("Tensor lr must be 1-element")
    check_option("learning rate", lr, as_number(lr) >= 0)


def check_variants(foreach: Any, fused: Any, differentiable: bool) -> None:
    """Check the options that choose one of PyTorch's implementations: here there is one, and it computes the same.

    Raises:
        RuntimeError: PyTorch refuses the combination, or steps are to be differentiated, which they cannot be here.
    """
    if fused and differentiable:
        raise RuntimeError("`fused` does not support `differentiable`")
    if fused and foreach:
        raise RuntimeError("`fused` and `foreach` cannot be `True` together.")
    if differentiable:
        raise error(
            RuntimeError,
            "differentiable=True is not supported: a step is not part of the graph",
            "write the update with tensor operations (w = w - lr * g, where g comes from autograd.grad with "
            "create_graph=True)",
        )


def as_number(value: Any) -> float:
    """Return an option as a Python number; a tensor must have one element."""
    return value.item() if isinstance(value, Tensor) else value


def zeros_like(param: Tensor) -> Tensor:
    """Return zeros of the shape and dtype of a parameter."""
    type = param._value.type
    return from_array(np.zeros(type.shape, type.element.dtype))


def new_step_count() -> Tensor:
    """Return the count of steps, 0, as PyTorch keeps it: in the default dtype if that is float64, else in float32."""
    dtype = float64 if get_default_dtype() is float64 else float32
    return from_array(np.zeros((), dtype.numpy))
