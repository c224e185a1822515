"""Clones of user functions: constructors, math, helpers, closures, imports; and real NumPy outside of a trace."""

import functools
import gc
import math
import pickle
import types
import weakref
from collections.abc import Callable
from math import exp as math_exp
from typing import Any

import numpy
import numpy as np
import pytest
from numpy import sin as numpy_sin
from numpy import zeros as make_zeros

from gradloom import compile_grad, value_and_grad
from gradloom.trace import shadow
from gradloom.trace.shadow import ShadowGlobals, shadow_function
from gradloom.trace.tracer import Tracer
from gradloomc.ir.errors import TracerError, UnsupportedError
from harness.tracing import check, run, trace

SCALE = 2.0
TABLE = np.arange(30.0)


def helper(t: Any, n: int) -> Any:
    """A function of the user's module."""
    out = make_zeros(n)
    for i in range(n):
        out[i] = t**i
    return out


def recursive(t: Any, depth: int) -> Any:
    return np.array([t, math.cos(t)]) if depth == 0 else recursive(t, depth - 1) * 2


class Model:
    """A user's class whose method is traced."""

    def __init__(self, weight: float):
        self.weight = weight

    def predict(self, x: Any) -> Any:
        return np.array([self.weight, 1.0]) @ np.stack([x, x]) + helper(x[0], len(x))

    def __call__(self, x: Any) -> Any:
        return np.full(2, x[0]) * self.weight


def test_constructors() -> None:
    check(lambda x: np.array([x, 1.0]), np.float64(3.0))
    check(lambda x: np.array([[x, 1], [2, x]], dtype=np.float32), np.float64(3.0))
    check(lambda x: np.asarray(x) + np.asarray([x, x]), np.float64(3.0))
    check(lambda x: np.array(x, ndmin=2), np.ones(2))
    check(lambda x: (np.full(3, x), np.full((2, 2), x[()], dtype="f4")), np.float64(3.0))
    check(lambda x: np.array([np.arange(3), x]), np.ones(3))
    check(lambda x: np.ascontiguousarray(x).reshape(2, 2), np.arange(4.0))
    check(lambda x: np.fromfunction(lambda i, j: i * x + j, (2, 3)), np.float64(3.0))
    check(lambda x: np.asarray(x, dtype=np.float32), np.ones(2))
    check(lambda x: np.eye(2) * x + np.identity(2) + np.tri(2), np.float64(3.0))
    check(lambda x: np.linspace(0, 1, 3) * x + np.arange(3) + np.ones(3) + np.ones_like(x), np.float64(3.0))


def test_names_of_all_kinds() -> None:
    check(lambda x: numpy.array([numpy_sin(x), math_exp(x), math.sqrt(x)]) * SCALE, np.float64(3.0))
    check(lambda x: helper(x, 4), np.float64(3.0))
    check(lambda x: recursive(x, 3), np.float64(3.0))
    check(lambda x: sum(helper(t, 2)[1] for t in x), np.ones(3))
    check(lambda x: [helper(t, 2) for t in x], np.arange(2.0))


def test_imports_inside_the_function() -> None:
    def function(x: Any) -> Any:
        import math as m

        import numpy as q
        from numpy import array as make
        from numpy.linalg import norm

        return make([m.sin(x), q.sum(q.full(3, x)), norm(q.array([x, 4.0]))])

    check(function, np.float64(3.0))


def test_closures() -> None:
    local_np, factor = np, 3.0

    def inner(t: Any) -> Any:
        return local_np.array([t, factor])

    def countdown(t: Any, n: int) -> Any:
        return inner(t) if n == 0 else countdown(t, n - 1) + 1

    def nested(x: Any) -> Any:
        total = np.zeros(2)

        def add(t: Any) -> None:
            nonlocal total
            total = total + inner(t)

        add(x)
        add(2 * x)
        return total, countdown(x, 2)

    check(nested, np.float64(3.0))


def test_decorators_methods_partials_and_callables() -> None:
    def doubled(function: Any) -> Any:
        @functools.wraps(function)
        def wrapper(*args: Any) -> Any:
            return 2 * function(*args)

        return wrapper

    @doubled
    def decorated(x: Any) -> Any:
        return np.array([x, 1.0])

    model = Model(1.5)
    check(decorated, np.float64(3.0))
    check(model.predict, np.arange(3.0))
    check(model, np.arange(3.0))
    check(functools.partial(helper, n=3), np.float64(3.0))
    check(np.sin, np.float64(3.0))

    def default(x: Any, function: Any = helper) -> Any:
        return function(x, 2)

    check(default, np.float64(3.0))


def test_helpers_of_other_modules_of_the_user() -> None:
    module = types.ModuleType("users_module")
    module.__file__ = __file__
    source = "import numpy as np\ndef pair(t):\n    return np.array([t, 1.0])\n"
    exec(compile(source, "/home/user/users_module.py", "exec"), module.__dict__)
    check(lambda x: module.pair(x), np.float64(3.0))
    pair = module.pair
    check(lambda x: pair(x), np.float64(3.0))


def test_the_globals_of_the_module_are_live() -> None:
    clone = shadow_function(reads_globals)
    assert clone() == (2.0, 30)
    global SCALE
    SCALE = 5.0
    try:
        assert clone() == (5.0, 30)
    finally:
        SCALE = 2.0


def reads_globals() -> Any:
    return SCALE, len(TABLE)


def test_clones_are_kept_and_keep_the_code() -> None:
    clone = shadow_function(helper)
    assert clone is shadow_function(helper) is shadow_function(clone)
    assert clone.__code__ is helper.__code__
    assert clone.__name__ == "helper"
    assert isinstance(clone.__globals__, ShadowGlobals)


def test_functions_of_others_are_not_cloned() -> None:
    for function in (functools.wraps, np.sin, np.random.seed, pytest.approx, shadow.shadow_function):
        assert shadow.shadow_of(function) is function


def test_outside_of_a_trace_everything_is_real() -> None:
    def function() -> Any:
        made = [
            np.zeros(2),
            np.array([1.0]),
            np.full(2, 3.0),
            np.arange(3),
            np.r_[1.0, 2.0],
            np.c_[[1.0]],
            np.ones_like([1.0]),
        ]
        return (
            made,
            math.sin(1.0),
            max(1, 2),
            np.asarray([1]),
            isinstance(made[0], np.ndarray),
            np.vectorize(lambda t: t + 1)([1, 2]),
        )

    made, sine, largest, *rest = shadow_function(function)()
    assert all(type(array) is np.ndarray for array in made)
    assert sine == math.sin(1.0) and largest == 2
    np.testing.assert_array_equal(rest[-1], [2, 3])


def test_concrete_work_inside_a_trace_is_numpys() -> None:
    seen: list[Any] = []

    def function(x: Any) -> Any:
        a = np.zeros((2, 3))
        a[0] = 1
        seen.extend([float(a.sum()), int(a[0, 0]), bool(a.any()), a.tolist(), list(a[0]), len(a), a.T.shape])
        seen.extend(
            [np.sort(a, axis=None)[-1], f"{a[0, 0]:.1f}", max(a[0]), a.mean(), np.unique(a).tolist(), repr(a[1])]
        )
        seen.append([v for v in range(int(a[0].sum()))])
        seen.append(isinstance(a, np.ndarray) and not isinstance(a, list))
        return x * a[0, 0] + np.linalg.inv(np.eye(2) * 2)[0, 0]

    check(function, np.float64(1.0))
    assert seen[:7] == [3.0, 1, True, [[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]], [1.0, 1.0, 1.0], 2, (3, 2)]
    assert seen[7:13] == [1.0, "1.0", 1.0, 0.5, [0.0, 1.0], "array([0., 0., 0.])"]
    assert seen[13:15] == [[0, 1, 2], True]


def test_errors_of_shadows() -> None:
    cases: list[tuple[Any, Any, str]] = [
        (lambda x: np.zeros(x), TracerError, "needs plain numbers"),
        (lambda x: np.arange(x), TracerError, "needs plain numbers"),
        (lambda x: max(x, 1.0), TracerError, r"(?s)max\(\) compares.*np.maximum"),
        (lambda x: min([x, 1.0]), TracerError, r"(?s)min\(\) compares.*np.minimum"),
        (lambda x: np.vectorize(math.sin)(x), UnsupportedError, "each element"),
        (lambda x: np.r_["0,2", x], UnsupportedError, "a string in np.r_"),
    ]
    for function, error, message in cases:
        with pytest.raises(error, match=message):
            run(function, np.float64(1.0))


def test_tracers_are_arrays_to_isinstance() -> None:
    def function(x: Any) -> Any:
        assert isinstance(x, np.ndarray)
        assert isinstance(np.zeros(2), np.ndarray)
        assert not isinstance(1.0, np.ndarray)
        return x

    trace(function, np.ones(2))
    assert not isinstance(np.ones(2), Tracer)


LISTS: list[Callable[[Any], Any]] = [
    lambda x: np.sum([x[0], x[1] * 2]),
    lambda x: np.sum([x, 2 * x], axis=0),
    lambda x: np.mean([x[0], 2.0]),
    lambda x: np.max((x[0], 2.0)),
    lambda x: np.prod(a=[x[0], x[1]]),
    lambda x: np.linalg.norm([x[0], x[1], 3.0]),
    lambda x: np.dot([x[0], 2.0], [1.0, x[1]]),
    lambda x: np.polyval([x[0], x[1], 1.0], 2.0),
    lambda x: np.where([True, False], [x[0], 1.0], 2.0),
    lambda x: np.reshape([x[0], 1.0], (2, 1)),
    lambda x: np.outer([x[0], x[1]], [1.0, 2.0]),
    lambda x: np.cumsum([x[0], x[1]]),
    lambda x: np.interp(0.5, [0.0, 1.0], [x[0], x[1]]),
    lambda x: np.einsum("i,i", [x[0], 1.0], [1.0, x[1]]),
    lambda x: np.stack([[x[0], 1.0], [2.0, x[1]]]),
    lambda x: np.concatenate([[x[0], 2.0], [x[1]]]),
    lambda x: np.linalg.solve([[x[0], 1.0], [0.0, x[1]]], [1.0, x[2]]),
]


@pytest.mark.parametrize("function", LISTS, ids=range(len(LISTS)))
def test_lists_with_traced_parts_are_arrays(function: Callable[[Any], Any]) -> None:
    x = np.array([1.5, -2.0, 0.5])
    result = compile_grad(function)(x)
    expected = function(x)
    np.testing.assert_allclose(result, expected, rtol=1e-12)
    assert result.dtype == expected.dtype


def test_new_arrays_of_plain_numbers_can_be_written() -> None:
    data = np.arange(4.0)

    def function(t: Any) -> Any:
        arrays = [np.linspace(0, 1, 4), np.copy(data), np.tile([1.0, 2.0], 2), np.geomspace(1, 2, 4)]
        for k, array in enumerate(arrays):
            array[k] = t
        return np.sum(np.array(arrays) ** 2)

    assert value_and_grad(function)(2.0) == (pytest.approx(function(2.0)), 16.0)
    np.testing.assert_array_equal(data, np.arange(4.0))


def test_r_keeps_the_dtype() -> None:
    x = np.ones(2, np.float32)
    result = compile_grad(lambda x: (np.r_[x, 1.0], np.c_[x, x * 2], np.r_[x, np.arange(2.0)]))(x)
    assert [part.dtype for part in result] == [np.float32, np.float32, np.float64]


def test_globals_end_with_their_functions() -> None:
    class Kept:
        pass

    space: dict[str, Any] = {"np": np, "kept": Kept()}
    exec("def g(x): return np.sum(x)\ndef f(x): return g(x) + h(x)\nh = lambda x: x[0]", space)
    value_and_grad(space["f"])(np.ones(3))
    ended = weakref.ref(space["kept"])
    del space
    gc.collect()
    assert ended() is None


def test_what_functions_carry_can_be_pickled() -> None:
    space: dict[str, Any] = {"np": np}
    exec("def g(x): return np.sum(x)\ndef f(x): return g(x)", space)
    value_and_grad(space["f"])(np.ones(3))
    for name in "fg":
        carried = pickle.loads(pickle.dumps(vars(space[name])))
        assert set(carried.values()) == {None}
        space[name].__dict__.update(carried)  # as in a copy of the function
    value, gradient = value_and_grad(space["f"])(np.ones(3))
    assert value == 3.0 and gradient.tolist() == [1.0, 1.0, 1.0]
