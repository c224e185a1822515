"""Programs of any number of operations, for measuring what a first call costs.

A program is a line of source per operation, on vectors: a cycle of cheap arithmetic and math
functions; the family "reductions" takes a mean every tenth operation, so that it is many loops
instead of one. Owns the programs and their gradients by hand (reverse accumulation over the same
list); knows no clock.
"""

from __future__ import annotations

import linecache
import textwrap
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from bench.peers.base import Inexpressible
from bench.workload import Workload, library

LENGTH = 1000
FAMILIES = ("elementwise", "reductions")
Argument = str | float


class Step(NamedTuple):
    """One operation: `target = name(left, right)`; `right` is None for functions of one argument."""

    target: str
    name: str
    left: Argument
    right: Argument | None = None


# h is carried along, t is a temporary, x and w are the inputs. Everything stays between -3 and 3.
_ELEMENTWISE = (
    Step("t", "sin", "h"),
    Step("h", "mul", "t", "x"),
    Step("t", "mul", 0.5, "h"),
    Step("h", "add", "t", "x"),
    Step("h", "tanh", "h"),
    Step("t", "mul", "h", "w"),
    Step("h", "sub", "t", "x"),
    Step("t", "mul", "h", "h"),
    Step("t", "add", 1.0, "t"),
    Step("t", "sqrt", "t"),
    Step("h", "div", "h", "t"),
    Step("t", "exp", "h"),
    Step("h", "sub", "t", "w"),
)
_REDUCTIONS = (*_ELEMENTWISE[:8], Step("t", "mean", "h"), Step("h", "sub", "h", "t"))
_CYCLES = {"elementwise": _ELEMENTWISE, "reductions": _REDUCTIONS}
_SIGNS = {"add": "+", "sub": "-", "mul": "*", "div": "/"}


def steps(count: int, family: str) -> list[Step]:
    """Return the operations of a program but for its last two, `np.sum(h + t)`."""
    cycle = _CYCLES[family]
    return [Step("t", "mul", "x", "w"), *[cycle[i % len(cycle)] for i in range(count - 3)]]


def source(count: int, family: str) -> str:
    """Return the program as NumPy source: `count` operations, the sum at its end included."""
    lines = ["def program(x, w):", "    h = x"]
    for step in steps(count, family):
        if step.name in _SIGNS:
            expression = f"{step.left} {_SIGNS[step.name]} {step.right}"
        else:
            expression = f"np.{step.name}({step.left})"
        lines.append(f"    {step.target} = {expression}")
    return "\n".join([*lines, "    return np.sum(h + t)", ""])


def _compiled(text: str, name: str, entry: str, **scope: Any) -> Callable[..., Any]:
    """Run generated source; keep its lines where tracebacks and compilers look for them."""
    linecache.cache[name] = (len(text), None, text.splitlines(True), name)
    # The module must be one that can be imported: torch's compiler looks for it by name.
    namespace: dict[str, Any] = {"__name__": __name__, **scope}
    exec(compile(text, name, "exec"), namespace)
    return namespace[entry]


def workload(count: int, family: str) -> Workload:
    """Return the program of `count` operations as a row: its source, its gradient by x and w, its inputs."""
    function = _compiled(source(count, family), f"<{family} {count}>", "program", np=np)

    def torch_function() -> Callable[..., Any]:
        torch = library("torch")
        # torch's compiler guards globals by the name of their module, so its `np` is a closure's.
        text = "def make(np):\n" + textwrap.indent(source(count, family), "    ") + "    return program\n"
        return _compiled(text, f"<{family} {count} torch>", "make")(torch)

    def numba_by_hand() -> Callable[..., Any]:
        if family != "elementwise":
            raise Inexpressible("the generated loop by hand holds elementwise programs only")
        numba = library("numba")
        loop = _compiled(loop_source(count), f"<{family} {count} numba>", "value_and_grad", np=np)
        return numba.njit(fastmath=True)(loop)

    return Workload(
        name=f"{family}_{count}",
        title=f"{family} {count:,}",
        dtype="float64",
        argnums=(0, 1),
        sizes={"full": (LENGTH,), "quick": (LENGTH,), "test": (5,)},
        make_inputs=lambda rng, n: (rng.uniform(-1.0, 1.0, n), rng.uniform(0.5, 1.5, n)),
        function=function,
        by_hand=lambda x, w: reverse(x, w, steps(count, family)),
        torch_function=torch_function,
        numba_by_hand=numba_by_hand,
        cpp_source="",
    )


# --- gradients by hand ------------------------------------------------------------------------------------------------


def reverse(x: np.ndarray, w: np.ndarray, program: list[Step]) -> tuple[Any, tuple[np.ndarray, np.ndarray]]:
    """Return the value of a program and its gradients by x and w."""
    values: list[Any] = [x, w]
    names = {"x": 0, "w": 1, "h": 0}
    tape: list[tuple[str, int | float, int | float | None, int]] = []
    for step in program:
        left, right = _place(step.left, names), _place(step.right, names)
        values.append(_forward(step.name, _value(left, values), _value(right, values)))
        names[step.target] = len(values) - 1
        assert left is not None
        tape.append((step.name, left, right, len(values) - 1))
    adjoints: list[Any] = [0.0] * len(values)
    adjoints[names["h"]] = adjoints[names["h"]] + np.ones_like(x)
    adjoints[names["t"]] = adjoints[names["t"]] + np.ones_like(x)
    for name, left, right, result in reversed(tape):
        a, b = _value(left, values), _value(right, values)
        to_left, to_right = _backward(name, adjoints[result], values[result], a, b)
        for place, part in ((left, to_left), (right, to_right)):
            if isinstance(place, int):
                adjoints[place] = adjoints[place] + part
    value = np.sum(values[names["h"]] + values[names["t"]])
    return value, (adjoints[0] + np.zeros_like(x), adjoints[1] + np.zeros_like(w))


def _place(argument: Argument | None, names: dict[str, int]) -> int | float | None:
    return names[argument] if isinstance(argument, str) else argument


def _value(place: int | float | None, values: list[Any]) -> Any:
    return values[place] if isinstance(place, int) else place


def _forward(name: str, a: Any, b: Any) -> Any:
    named = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide}
    return named[name](a, b) if name in named else getattr(np, name)(a)


def _backward(name: str, seed: Any, result: Any, a: Any, b: Any) -> tuple[Any, Any]:
    """Return the adjoints of both arguments. A mean is subtracted from its vector: its seed is a vector."""
    if name == "add":
        return seed, seed
    if name == "sub":
        return seed, -seed
    if name == "mul":
        return seed * b, seed * a
    if name == "div":
        return seed / b, -seed * result / b
    if name == "sin":
        return seed * np.cos(a), None
    if name == "tanh":
        return seed * (1.0 - result * result), None
    if name == "sqrt":
        return 0.5 * seed / result, None
    if name == "exp":
        return seed * result, None
    assert name == "mean"
    return np.full_like(a, np.sum(seed) / a.size), None


def loop_source(count: int) -> str:
    """Return value and gradient of an elementwise program as one fused loop over scalars."""
    names: dict[str, str] = {"x": "x", "w": "w", "h": "x"}
    forward, backward = [], []
    program = steps(count, "elementwise")
    for i, step in enumerate(program):
        result = f"v{i}"
        a, b = (names[one] if isinstance(one, str) else one for one in (step.left, step.right))
        sign = _SIGNS.get(step.name)
        forward.append(f"{result} = {a} {sign} {b}" if sign else f"{result} = np.{step.name}({a})")
        parts = _backward_text(step.name, f"d_{result}", result, str(a), str(b))
        pairs = zip((a, b), parts, strict=False)  # functions of one argument have one part
        backward.append([f"d_{one} += {part}" for one, part in pairs if isinstance(one, str)])
        names[step.target] = result
    lines = ["def value_and_grad(x_array, w_array):", "    value = 0.0"]
    lines += ["    by_x, by_w = np.empty_like(x_array), np.empty_like(w_array)", "    for i in range(x_array.size):"]
    body = ["x, w = x_array[i], w_array[i]", *forward, f"value += {names['h']} + {names['t']}", "d_x = d_w = 0.0"]
    body += [f"d_v{i} = 0.0" for i in range(len(program))]
    body += [f"d_{names['h']} += 1.0", f"d_{names['t']} += 1.0"]
    body += [line for part in reversed(backward) for line in part]
    body += ["by_x[i] = d_x", "by_w[i] = d_w"]
    return "\n".join([*lines, *[f"        {line}" for line in body], "    return value, (by_x, by_w)", ""])


def _backward_text(name: str, seed: str, result: str, a: str, b: str) -> tuple[str, ...]:
    """What `_backward` does, as source."""
    return {
        "add": (seed, seed),
        "sub": (seed, f"-{seed}"),
        "mul": (f"{seed} * {b}", f"{seed} * {a}"),
        "div": (f"{seed} / {b}", f"-{seed} * {result} / {b}"),
        "sin": (f"{seed} * np.cos({a})",),
        "tanh": (f"{seed} * (1.0 - {result} * {result})",),
        "sqrt": (f"0.5 * {seed} / {result}",),
        "exp": (f"{seed} * {result}",),
    }[name]
