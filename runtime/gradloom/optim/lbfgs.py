"""L-BFGS: steps along a direction that the last changes of the gradient tell (Nocedal, Wright 2006, algorithm 7.4).

The algorithm, its tolerances and its counts of evaluations are PyTorch's. All vectors are flat. The pieces that are
computed over and over (the two loops of the recursion, products, steps) are small programs, each found again whatever
the length of the history. Numbers that decide what to do next are NumPy's scalars of the parameters' dtype. The line
search is in line_search.py.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from gradloom.autograd.engine import compute
from gradloom.autograd.graph import data_node
from gradloom.autograd.modes import enable_grad, no_grad
from gradloom.autograd.recording import assign
from gradloom.autograd.tensor import Tensor, from_array, operation
from gradloom.optim.line_search import strong_wolfe
from gradloom.optim.optimizer import Closure, Optimizer, as_number, check_rate
from gradloom.optim.update import Update, like, number, rule

_FLATTEN = rule("Flatten", lambda *parts: np.concatenate([np.reshape(part, (-1,)) for part in parts]))
_NEGATE = rule("Negate", lambda g: -g)
_DIFFERENCE = rule("Difference", lambda a, b: a - b)
_SCALE = rule("Scale", lambda v, t: v * like(t, v))
_DOT = rule("Dot", np.dot)
_LARGEST = rule("LargestOfAbsolutes", lambda v: np.max(np.abs(v)))
_SUM = rule("SumOfAbsolutes", lambda v: np.sum(np.abs(v)))
_LOOP_FACTOR = rule("LoopFactor", lambda s, q, ro: np.dot(s, q) * ro)
_FIRST_LOOP = rule("FirstLoop", lambda q, y, factor: q - y * factor)
_SECOND_LOOP = rule("SecondLoop", lambda r, y, s, ro, factor: r + s * (factor - np.dot(y, r) * ro))


def _moved(p: Any, direction: Any, t: Any, start: int) -> Any:
    part = direction[start : start + p.size]
    return p + np.reshape(part, p.shape) * like(t, p)


_MOVE = rule("Move", _moved)


class LBFGS(Optimizer):
    """L-BFGS, with a fixed step or with a line search for the strong Wolfe conditions. All parameters are one group.

    `step` needs a closure that clears the gradients, computes the loss, calls backward and returns the loss; it may be
    called several times.

    Args:
        params: tensors of one dtype, or pairs (name, tensor).
        lr: length of the step, with a line search of the first trial; the very first is shortened to lr / ‖g‖₁.
        max_iter: iterations in one step.
        max_eval: evaluations in one step; 5/4 of max_iter if None.
        tolerance_grad: the step is finished when no element of the gradient is larger.
        tolerance_change: it is finished when the parameters or the loss change by less.
        history_size: how many changes of the gradient are kept.
        line_search_fn: None or "strong_wolfe".

    Raises:
        ValueError: the learning rate is negative, or there are several groups.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: "float | Tensor" = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ):
        check_rate(lr)
        defaults = {
            "lr": lr,
            "max_iter": max_iter,
            "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad,
            "tolerance_change": tolerance_change,
            "history_size": history_size,
            "line_search_fn": line_search_fn,
        }
        super().__init__(params, defaults)
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS doesn't support per-parameter options (parameter groups)")

    @property
    def _params(self) -> list[Tensor]:
        return self.param_groups[0]["params"]

    def step(self, closure: Closure) -> Any:  # type: ignore[override]
        """Minimise the loss, for at most `max_iter` iterations.

        Args:
            closure: computes the loss and its gradients anew and returns the loss.

        Returns:
            What the closure returned first.

        Raises:
            RuntimeError: the line search is none that exists.
        """

        def evaluate() -> Any:
            with enable_grad():
                return closure()

        with no_grad():
            return self._step(evaluate)

    def _step(self, evaluate: Closure) -> Any:
        group = self.param_groups[0]
        state = self.state[self._params[0]]  # of all parameters; kept there so that a saved state finds its dtype
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)
        first_loss = evaluate()
        loss, evaluations = float(first_loss), 1
        state["func_evals"] += 1
        gradient = self._flat_gradient()
        if _number(_LARGEST, gradient) <= group["tolerance_grad"]:
            return first_loss
        lr, change = as_number(group["lr"]), group["tolerance_change"]
        for iteration in range(1, group["max_iter"] + 1):
            state["n_iter"] += 1
            direction = self._direction(state, gradient)
            state["d"] = direction
            state["prev_flat_grad"] = gradient
            previous = state["prev_loss"] = loss
            t: Any = lr
            if state["n_iter"] == 1:
                t = min(1.0, 1.0 / _number(_SUM, gradient)) * lr
            state["t"] = t
            slope = _number(_DOT, gradient, direction)
            if slope > -change:
                break
            calls = 0
            if group["line_search_fn"] is not None:
                room = group["max_eval"] - evaluations
                loss, gradient, t, calls = self._search(evaluate, t, direction, loss, gradient, slope, room)
                state["t"] = t
                self._move(t, direction)
            else:
                self._move(t, direction)
                if iteration != group["max_iter"]:  # what follows the last step is the next closure's to compute
                    loss, calls = float(evaluate()), 1
                    gradient = self._flat_gradient()
            evaluations += calls
            state["func_evals"] += calls
            if iteration == group["max_iter"] or evaluations >= group["max_eval"]:
                break
            if _number(_LARGEST, gradient) <= group["tolerance_grad"]:
                break
            if _number(_LARGEST, _scaled(direction, t)) <= change or abs(loss - previous) < change:
                break
        return first_loss

    # --- the direction ------------------------------------------------------------------------------------------------

    def _direction(self, state: dict[str, Any], gradient: Tensor) -> Tensor:
        """Put what the last step showed into the history; return minus the approximate inverse Hessian times g."""
        if state["n_iter"] == 1:
            state["old_dirs"], state["old_stps"], state["ro"] = [], [], []
            state["H_diag"] = 1
            return _computed(operation(_NEGATE, (gradient,)))[0]
        y = operation(_DIFFERENCE, (gradient, state["prev_flat_grad"]))
        s = _scaled(state["d"], state["t"])
        y, s, curvature, square = _computed(y, s, operation(_DOT, (y, s)), operation(_DOT, (y, y)))
        ys = curvature._array()[()]
        if ys > 1e-10:
            if len(state["old_dirs"]) == self.param_groups[0]["history_size"]:
                for name in ("old_dirs", "old_stps", "ro"):
                    state[name].pop(0)
            state["old_dirs"].append(y)
            state["old_stps"].append(s)
            state["ro"].append(from_array(np.asarray(1.0 / ys)))
            state["H_diag"] = from_array(np.asarray(ys / square._array()[()]))
        return self._two_loops(state, gradient)

    def _two_loops(self, state: dict[str, Any], gradient: Tensor) -> Tensor:
        dirs, steps, ro = state["old_dirs"], state["old_stps"], state["ro"]
        factors = state.setdefault("al", [None] * self.param_groups[0]["history_size"])
        q = operation(_NEGATE, (gradient,))
        for i in range(len(dirs) - 1, -1, -1):
            factor = operation(_LOOP_FACTOR, (steps[i], q, ro[i]))
            q, factors[i] = _computed(operation(_FIRST_LOOP, (q, dirs[i], factor)), factor)
        scale = state["H_diag"]
        (r,) = _computed(_scaled(q, scale))
        for i in range(len(dirs)):
            (r,) = _computed(operation(_SECOND_LOOP, (r, dirs[i], steps[i], ro[i], factors[i])))
        return r

    # --- the parameters -----------------------------------------------------------------------------------------------

    def _flat_gradient(self) -> Tensor:
        """Return all gradients in one vector; zeros where there is none."""
        parts = []
        for param in self._params:
            grad = param.grad
            if grad is None:
                type = param._value.type
                grad = from_array(np.zeros(type.shape, type.element.dtype))
            parts.append(grad)
        return _computed(operation(_FLATTEN, parts))[0]

    def _move(self, t: Any, direction: Tensor) -> None:
        """Add t times the direction to the parameters."""
        update, length, start = Update(), number(t), 0
        for param in self._params:
            update.write(param, _MOVE, (direction._node(), length), (("start", start),))
            start += param.numel()
        update.finish()

    def _search(
        self, evaluate: Closure, t: Any, direction: Tensor, loss: float, gradient: Tensor, slope: Any, room: int
    ) -> tuple[float, Tensor, Any, int]:
        if self.param_groups[0]["line_search_fn"] != "strong_wolfe":
            raise RuntimeError("only 'strong_wolfe' is supported")
        origin = [np.array(param._array()) for param in self._params]

        def along(t: Any) -> tuple[float, Tensor, Any]:
            self._move(t, direction)
            value = float(evaluate())
            found = self._flat_gradient()
            for param, array in zip(self._params, origin, strict=True):
                assign(param, data_node(array))
            return value, found, _number(_DOT, found, direction)

        longest = _number(_LARGEST, direction)
        return strong_wolfe(along, t, longest, loss, gradient, slope, most=room)


def _scaled(vector: Tensor, factor: Any) -> Tensor:
    """Return a vector times a number, or times a tensor of one element."""
    return operation(
        _SCALE, (vector, factor if isinstance(factor, Tensor) else from_array(np.array(factor, np.float64)))
    )


def _computed(*tensors: Tensor) -> Sequence[Tensor]:
    """Compute tensors in one program."""
    compute([tensor._value for tensor in tensors])
    return tensors


def _number(op: Any, *operands: Tensor) -> Any:
    """Return the result of an operation as a NumPy scalar."""
    return operation(op, operands)._array()[()]
