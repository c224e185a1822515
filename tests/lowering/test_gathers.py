"""Programs with arrays of indices: what they run as is counted, results are compared with NumPy on every level, and
indices out of bounds are NumPy's error, in the user's line, wherever they stand."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradloom
from gradloom import check_grads, compile_grad, hvp, jvp, value_and_grad
from gradloom.exec.callable import NativeCallable
from gradloom.exec.executable import BINDER_FROM_CALL, Executable
from gradloomc.dialects import nd
from gradloomc.dialects.func import body_of, finish_function, make_function
from gradloomc.interp.interpreter import interpret
from gradloomc.ir.builder import at
from gradloomc.ir.core import Op, Value
from gradloomc.ir.errors import OutOfBoundsError
from gradloomc.ir.inline import copy_function
from gradloomc.ir.types import f16, f32, f64, scalar_type, tensor
from gradloomc.lowering import parallelize
from gradloomc.pipelines import to_kernels, to_loops

RNG = np.random.default_rng(8)


def program_of(fun: Callable[..., Any], *args: Any, argnums: Any = 0) -> tuple[Any, Executable]:
    """Return value and gradients, and the one program that computed them."""
    function: Any = compile_grad(lambda *given: fun(*given), argnums=argnums)
    results = function.value_and_grad(*args)
    (program,) = function.user.programs.values()
    return results, program.executable


# --- whole programs ---------------------------------------------------------------------------------------------------


def spring_energy(x, edges, rest):
    difference = x[edges[:, 0]] - x[edges[:, 1]]
    length = np.sqrt(np.sum(difference * difference, axis=1))
    return np.sum((length - rest) ** 2)


def test_springs_are_one_kernel_that_moves_each_byte_once() -> None:
    x, edges, rest = RNG.normal(size=(50, 3)), RNG.integers(0, 50, (400, 2)), RNG.uniform(0.5, 1.5, 400)
    edges[edges[:, 0] == edges[:, 1], 1] += 1
    edges %= 50
    (value, gradient), executable = program_of(spring_energy, x, edges, rest)
    assert (executable.stats.kernels, executable.stats.externs) == (1, 0)
    assert executable.stats.bytes_moved <= executable.stats.bytes_ideal + 64
    np.testing.assert_allclose(value, spring_energy(x, edges, rest), rtol=1e-13)
    difference = x[edges[:, 0]] - x[edges[:, 1]]
    length = np.sqrt(np.sum(difference * difference, axis=1))
    pull = (2 * (length - rest) / length)[:, None] * difference
    expected = np.zeros_like(x)
    np.add.at(expected, edges[:, 0], pull)
    np.subtract.at(expected, edges[:, 1], pull)
    np.testing.assert_allclose(gradient, expected, rtol=1e-11, atol=1e-12)


def table_lookup(t, x):
    i = np.floor(x).astype(int)
    w = x - i
    y = t[i] * (1 - w) + t[i + 1] * w
    return np.sum(y * y)


def test_interpolation_in_a_table_is_one_kernel() -> None:
    t, x = RNG.normal(size=20), RNG.integers(0, 19, 333) + RNG.uniform(0.1, 0.9, 333)
    (value, gradients), executable = program_of(table_lookup, t, x, argnums=(0, 1))
    assert (executable.stats.kernels, executable.stats.externs) == (1, 0)
    np.testing.assert_allclose(value, table_lookup(t, x), rtol=1e-13)
    check_grads(table_lookup, (t, x), order=2)
    assert gradients[1].shape == x.shape


def embedding(table, tokens, u):
    return np.sum(np.tanh(table[tokens] * u))


@pytest.mark.parametrize("tokens", [RNG.integers(-40, 40, 70), RNG.integers(-40, 40, (3, 5, 2)), np.array(-3)])
def test_rows_of_a_table(tokens: Any) -> None:
    table, u = RNG.normal(size=(40, 33)), RNG.normal(size=33)
    (value, gradient), executable = program_of(embedding, table, tokens, u)
    assert executable.stats.externs == 0
    np.testing.assert_allclose(value, embedding(table, tokens, u), rtol=1e-13)
    expected = np.zeros_like(table)
    np.add.at(expected, tokens, u * (1 - np.tanh(table[tokens] * u) ** 2))
    np.testing.assert_allclose(gradient, expected, rtol=1e-12, atol=1e-14)


def sparse_residual(x, values, rows, columns, b):
    y = np.zeros(b.shape)
    np.add.at(y, rows, values * x[columns])
    return np.sum((y - b) ** 2)


def test_sparse_least_squares() -> None:
    rows, columns = RNG.integers(0, 30, 200), RNG.integers(-20, 20, 200)
    x, values, b = RNG.normal(size=20), RNG.normal(size=200), RNG.normal(size=30)
    _, executable = program_of(sparse_residual, x, values, rows, columns, b, argnums=(0, 1))
    assert executable.stats.externs == 0
    check_grads(lambda x, values: sparse_residual(x, values, rows, columns, b), (x, values), order=2)


def test_derivatives_of_any_kind() -> None:
    i, j = RNG.integers(-9, 9, 31), RNG.integers(-4, 4, 31)
    x, v = RNG.normal(size=(9, 4)), RNG.normal(size=(9, 4))

    def f(x):
        return np.sum(np.sin(x[i, j]) * x[j, :2].sum(axis=1) ** 2)

    check_grads(f, (x,), order=2)
    gradient = value_and_grad(f)
    step = 1e-6
    slope = (gradient(x + step * v)[1] - gradient(x - step * v)[1]) / (2 * step)
    np.testing.assert_allclose(hvp(f, (x,), (v,)), slope, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(jvp(f, (x,), (v,))[1], np.sum(gradient(x)[1] * v), rtol=1e-11)


# --- all kinds of indices ---------------------------------------------------------------------------------------------

READS: dict[str, Callable[..., Any]] = {
    "rows": lambda x, i, j: x[i],
    "pairs": lambda x, i, j: x[i, j],
    "columns": lambda x, i, j: x[:, j],
    "apart": lambda x, i, j: x[i, :, j % 2],
    "slice": lambda x, i, j: x[1:, ::-1][i % 3, j],
    "moved": lambda x, i, j: np.transpose(x, (2, 0, 1))[:, i],
    "take": lambda x, i, j: np.take(x, j, axis=1),
    "computed": lambda x, i, j: np.exp(x)[i] * 2,
    "inside pads": lambda x, i, j: np.concatenate([x[i, 0, 0].reshape(-1), np.zeros(3), x[j, 0, 1].reshape(-1)]),
    "twice": lambda x, i, j: x[i][..., 1] + x[i][..., 0],
}
INDEX_TYPES = ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", ">i4", ">i8"]


@pytest.mark.parametrize("dtype", INDEX_TYPES)
@pytest.mark.parametrize("name", READS)
def test_reads(name: str, dtype: str) -> None:
    x = RNG.normal(size=(4, 3, 2))
    for shape in [(), (1,), (0,), (7,), (19,), (2, 5)] if dtype == "i8" else [(19,)]:
        low = 0 if dtype[-2] == "u" else -3
        i, j = (RNG.integers(low, 3, shape).astype(dtype) for _ in range(2))

        def f(x, i, j):
            return READS[name](x, i, j)

        got = compile_grad(lambda x, i, j: np.sum(np.sin(f(x, i, j)))).value_and_grad(x, i, j)
        np.testing.assert_allclose(got[0], np.sum(np.sin(f(x, i, j))), rtol=1e-12, atol=1e-13)
        if dtype == "i8":
            check_grads(lambda x, i=i, j=j: np.sum(np.sin(f(x, i, j))), (x,))


def test_strided_indices() -> None:
    x, both = RNG.normal(size=9), RNG.integers(-9, 9, (20, 2))
    f = compile_grad(lambda x, i: np.sum(x[i] ** 2))
    for index in (both[:, 1], both[::-2, 0], both.T[0]):
        np.testing.assert_allclose(f.value_and_grad(x, index)[0], np.sum(x[index] ** 2), rtol=1e-13)


@pytest.mark.parametrize("count", [0, 1, 5, 8, 40])
def test_writes(count: int) -> None:
    i, j = RNG.integers(-5, 5, count), RNG.integers(-3, 3, count)
    x, v, rows = RNG.normal(size=(5, 3)), RNG.normal(size=count), RNG.normal(size=(count, 3))

    def write(x, v, rows, i, j):
        y = x * 2
        y[i, j] = v
        y[i] *= 1.5
        z = np.zeros((3, 5)) + y.T
        z[:, i] = rows.T
        return y, z

    def add(x, v, rows, i, j):
        y = x * 2
        np.add.at(y, (i, j), v)
        np.add.at(y, i, rows)
        return (y,)

    for f in (write, add):
        got = compile_grad(lambda *args, f=f: tuple(f(*args)))(x, v, rows, i, j)
        for mine, expected in zip(got, f(x, v, rows, i, j), strict=True):
            np.testing.assert_allclose(mine, expected, rtol=1e-14, atol=1e-14)
        check_grads(lambda x, v, rows, f=f: sum(np.sum(np.sin(y)) for y in f(x, v, rows, i, j)), (x, v, rows))


def test_assignment_needs_no_library_call() -> None:
    def f(x, v, i):
        y = x * 1.0
        y[i] = v
        return np.sum(y * y)

    _, executable = program_of(f, np.ones(50), RNG.normal(size=20), RNG.integers(0, 50, 20))
    assert executable.stats.externs == 0


# --- levels -----------------------------------------------------------------------------------------------------------


def define(body: Callable[..., Any], *types: Any) -> Op:
    function = make_function("f", types)
    with at(body_of(function)):
        results = body(*body_of(function).arguments)
    return finish_function(function, [results] if isinstance(results, Value) else results)


@pytest.mark.parametrize("element", [f16, f32, f64, scalar_type(np.dtype("i4")), scalar_type(np.dtype("?"))], ids=str)
@pytest.mark.parametrize("count", [1, 7, 16, 70])
def test_levels_agree(count: int, element: Any) -> None:
    """All levels, and native code, say the same: exactly, because what is added are small whole numbers."""

    def body(x: Value, u: Value, i: Value, j: Value) -> list[Value]:
        picked = nd.gather(nd.transpose(x, permutation=(1, 0)), i, axes=(1,))
        placed = nd.scatter_add(u, i, shape=(6, 4), axes=(0,))
        pairs = nd.gather(placed, j, i, axes=(1, 0))
        last = nd.last_writer(i, j, shape=(6, 4))
        return [picked, placed, pairs, nd.scatter_add(pairs, j, shape=(4,), axes=(0,)), last]

    i64 = scalar_type(np.dtype("i8"))
    function = define(body, tensor((6, 4), element), tensor((count, 4), element), *[tensor((count,), i64)] * 2)
    x, u = (RNG.integers(0, 3, shape).astype(element.dtype) for shape in ((6, 4), (count, 4)))
    i, j = RNG.integers(-6, 6, count), RNG.integers(-4, 4, count)
    expected = interpret(function, [x, u, i, j])
    kernels = to_kernels(copy_function(function))
    loops = to_loops(copy_function(function), 512)
    for results in (
        interpret(kernels, [x, u, i, j]),
        interpret(loops, [x, u, i, j]),
        Executable(copy_function(function)).run([x, u, i, j]),
    ):
        for mine, theirs in zip(results, expected, strict=True):
            np.testing.assert_array_equal(mine, theirs)
    for level, bad in itertools.product((function, kernels, loops), (6, -7)):
        i[-1] = bad
        with pytest.raises(OutOfBoundsError, match=f"index {bad} is out of bounds for axis . with size 6"):
            interpret(level, [x, u, i, j])


# --- out of bounds ----------------------------------------------------------------------------------------------------

FAR = [7, -8, 10**15, -(10**15), 2**62, -(2**62), -(2**63)]


def read_rows(x, i):
    return np.sum(x[i] ** 2)


def read_columns(x, i):
    return np.sum(np.sin(x[:, i]))


def add_rows(x, i):
    y = np.zeros((7, 7))
    np.add.at(y, i, x[: i.size])
    return np.sum(y * y)


def write_rows(x, i):
    y = x * 2
    y[i, 0] = 1.0
    return np.sum(y * y)


@pytest.mark.parametrize("function", [read_rows, read_columns, add_rows, write_rows])
@pytest.mark.parametrize("count", [1, 3, 7])
def test_out_of_bounds(function: Callable[..., Any], count: int) -> None:
    """The first calls and those of the native entry raise, tell the line, and leave the program as it was."""
    x, good = RNG.normal(size=(7, 7)), RNG.integers(-7, 7, count)
    gradient = value_and_grad(function)
    axis = 1 if function is read_columns else 0
    for _ in range(BINDER_FROM_CALL + 3):
        for far in FAR:
            bad = good.copy()
            bad[-1] = far
            with pytest.raises(IndexError, match=f"index {far} is out of bounds for axis {axis} with size 7") as caught:
                gradient(x, bad)
            assert "test_gathers.py" in str(caught.value)
        np.testing.assert_allclose(gradient(x, good)[0], function(x, good), rtol=1e-12)


@pytest.mark.parametrize("where", range(0, 33, 4))
def test_out_of_bounds_anywhere(where: int) -> None:
    """Wherever in a vector, a tail or beside a pad an index is wrong, it is seen; where none is, nothing is."""

    def f(x, i):
        return np.sum(np.concatenate([np.zeros(3), x[i], np.ones(2), x[i[::-1]] ** 2]))

    x, i = RNG.normal(size=5), RNG.integers(-5, 5, 33)
    gradient = value_and_grad(f)
    np.testing.assert_allclose(gradient(x, i)[0], f(x, i), rtol=1e-12)
    i[where] = 5
    with pytest.raises(IndexError, match="index 5 is out of bounds for axis 0 with size 5"):
        gradient(x, i)


def test_nothing_to_pick_from() -> None:
    gradient = value_and_grad(read_rows)
    assert gradient(np.zeros((0, 7)), np.zeros(0, np.int64))[0] == 0
    with pytest.raises(IndexError, match="index 0 is out of bounds for axis 0 with size 0"):
        gradient(np.zeros((0, 7)), np.zeros(3, np.int64))


def test_known_indices_are_not_checked() -> None:
    rows, columns = np.triu_indices(9)

    def f(x, i):
        return np.sum(np.exp(x[rows, columns])) + np.sum(x[np.clip(i, 0, 8)])

    function: Any = compile_grad(f)
    x, i = RNG.normal(size=(9, 9)), RNG.integers(-100, 100, 20)
    function.value_and_grad(x, i)
    (program,) = function.user.programs.values()
    assert program.executable.program.status is None
    check_grads(lambda x: f(x, i), (x,))


# --- calls, lengths, threads ------------------------------------------------------------------------------------------


@pytest.mark.skipif(not NativeCallable.has_place, reason="this interpreter has no native entry")
def test_native_calls() -> None:
    function: Any = compile_grad(lambda *given: spring_energy(*given))
    args = RNG.normal(size=(9, 3)), np.stack([np.arange(8), np.arange(1, 9)], axis=1), np.ones(8)
    for _ in range(BINDER_FROM_CALL + 2):
        function.value_and_grad(*args)
    (program,) = function.user.programs.values()
    assert program.executable.native is not None


def test_other_lengths() -> None:
    gradient = value_and_grad(spring_energy)
    for points, count in [(9, 30), (12, 50), (17, 80), (23, 111)]:
        x, edges = RNG.normal(size=(points, 3)), RNG.integers(0, points, (count, 2))
        edges[:, 1] = (edges[:, 0] + 1 + edges[:, 1] % (points - 1)) % points
        rest = np.ones(count)
        value, slope = gradient(x, edges, rest)
        alone = value_and_grad(lambda *args: spring_energy(*args))(x, edges, rest)
        np.testing.assert_allclose(value, spring_energy(x, edges, rest), rtol=1e-12)
        np.testing.assert_array_equal(slope, alone[1])
        with pytest.raises(IndexError, match=f"index {points} is out of bounds for axis 0 with size {points}"):
            edges[-1, 1] = points
            gradient(x, edges, rest)


def test_any_number_of_threads_adds_in_one_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallelize, "LEAST_WORK", 0)
    monkeypatch.setattr(parallelize, "CHUNK_WORK", 1)
    monkeypatch.setattr(parallelize, "COPIES_SHARE", 1)
    x, edges = RNG.normal(size=(40, 3)), RNG.integers(0, 40, (5000, 2))
    edges[:, 1] = (edges[:, 0] + 1 + edges[:, 1] % 39) % 40
    table, tokens, u = RNG.normal(size=(30, 40)), RNG.integers(0, 30, 3000), RNG.normal(size=40)
    before = gradloom.get_num_threads()
    try:
        found = []
        for threads in (1, 2, 3):
            gradloom.set_num_threads(threads)
            springs, executable = program_of(spring_energy, x, edges, np.ones(5000))
            assert executable.stats.chunked
            rows, _ = program_of(embedding, table, tokens, u)
            found.append((*springs, *rows))
    finally:
        gradloom.set_num_threads(before)
    np.testing.assert_allclose(found[0][0], spring_energy(x, edges, np.ones(5000)), rtol=1e-12)
    for other in found[1:]:
        for mine, theirs in zip(other, found[0], strict=True):
            np.testing.assert_array_equal(mine, theirs)
