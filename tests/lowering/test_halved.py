"""Nests that visit each pair once: right at every length, in any precision, and only where terms are symmetric."""

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradloom import compile_grad, set_num_threads
from gradloom.exec.executable import Executable
from gradloomc.codegen.native import host
from gradloomc.dialects import nd
from gradloomc.dialects.func import body_of, finish_function, make_function
from gradloomc.interp.interpreter import interpret
from gradloomc.ir.builder import at
from gradloomc.ir.core import Op, Value
from gradloomc.ir.inline import copy_function
from gradloomc.ir.parser import parse_module
from gradloomc.ir.types import f64, i64, tensor
from gradloomc.lowering import halve, loops, parallelize
from gradloomc.pipelines import to_loops

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(11)
# With the vectors of four numbers that `small` makes: ends on the diagonal, before and behind it.
LENGTHS = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 15, 16, 17, 18, 23, 31, 32, 33, 47, 64, 66]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, own_rules: None) -> None:
    """Halve nests of one vector and more, however light; vectors are short, and chunks are many."""
    monkeypatch.setattr(host(), "vector_bits", 128)
    monkeypatch.setattr(loops, "LONG_NEST", 64)
    monkeypatch.setattr(halve, "LEAST_VECTORS", 1)
    monkeypatch.setattr(halve, "LEAST_COST", 0.0)
    monkeypatch.setattr(halve, "SUM_COST", 0.0)


@pytest.fixture
def chunks(small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallelize, "LEAST_WORK", 0)
    monkeypatch.setattr(parallelize, "CHUNK_WORK", 1)
    monkeypatch.setattr(parallelize, "COPIES_SHARE", 1)


def separations(x: Array) -> Array:
    return x[:, None, :] - x[None, :, :]


def gravity(x: Array, m: Array) -> Any:
    d = separations(x)
    return -0.5 * np.sum(m[:, None] * m[None, :] / np.sqrt(np.sum(d * d, axis=-1) + 0.01))


def gravity_by_hand(x: Array, m: Array) -> tuple[Any, Array]:
    d = separations(x)
    inverse = (np.sum(d * d, axis=-1) + 0.01) ** -0.5
    masses = np.outer(m, m)
    return -0.5 * np.sum(masses * inverse), np.einsum("ij,ijk->ik", masses * inverse**3, d)


def gaussian(x: Array, m: Array) -> Any:
    d = separations(x)
    return np.sum(m[:, None] * m[None, :] * np.exp(-0.5 * np.sum(d * d, axis=-1)))


def gaussian_by_hand(x: Array, m: Array) -> tuple[Any, Array]:
    d = separations(x)
    weights = np.outer(m, m) * np.exp(-0.5 * np.sum(d * d, axis=-1))
    return np.sum(weights), -2 * np.einsum("ij,ijk->ik", weights, d)


def distances(x: Array, m: Array) -> Any:
    d = separations(x)
    return np.sum(np.sqrt(np.sum(d * d, axis=-1) + 1e-3))


def distances_by_hand(x: Array, m: Array) -> tuple[Any, Array]:
    d = separations(x)
    r = np.sqrt(np.sum(d * d, axis=-1) + 1e-3)
    return np.sum(r), 2 * np.sum(d / r[..., None], axis=1)


def lennard_jones(x: Array, m: Array) -> Any:
    d = separations(x)
    off = ~np.eye(len(x), dtype=bool)
    r2 = np.where(off, np.sum(d * d, axis=-1) + 1, 1.0)
    s6 = 1.0 / (r2 * r2 * r2)
    return 0.5 * np.sum(np.where(off, 4.0 * (s6 * s6 - s6), 0.0))


def lennard_jones_by_hand(x: Array, m: Array) -> tuple[Any, Array]:
    d = separations(x)
    r2 = np.sum(d * d, axis=-1) + 1
    off = 1.0 - np.eye(len(x))
    s6 = r2**-3.0
    pull = off * 4 * (-12 * s6 * s6 + 6 * s6) / r2
    return 0.5 * np.sum(off * 4 * (s6 * s6 - s6)), np.einsum("ij,ijk->ik", pull, d)


def lines(x: Array, m: Array) -> Any:
    d = x[:, 0][:, None] - x[:, 0][None, :]
    return np.sum(np.tanh(d) * d)


def lines_by_hand(x: Array, m: Array) -> tuple[Any, Array]:
    d = x[:, 0][:, None] - x[:, 0][None, :]
    slopes = np.tanh(d) + d / np.cosh(d) ** 2
    return np.sum(np.tanh(d) * d), np.stack([2 * slopes.sum(axis=1), 0 * x[:, 1], 0 * x[:, 2]], axis=1)


BY_HAND: dict[Callable[..., Any], Callable[..., tuple[Any, Array]]] = {
    gravity: gravity_by_hand,
    gaussian: gaussian_by_hand,
    distances: distances_by_hand,
    lennard_jones: lennard_jones_by_hand,
    lines: lines_by_hand,
}


def compiled(fun: Callable[..., Any]) -> Any:
    """Return a function that has no programs yet."""
    return compile_grad(lambda x, m: fun(x, m))


def halved(function: Any, *args: Any) -> int:
    """Return how many nests visit each pair once."""
    return function.ir("loops", *args).count("halved = true")


def points(n: int, dtype: str = "f8", seed: int = 3) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 3)).astype(dtype), rng.uniform(0.5, 1, n).astype(dtype)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("fun", BY_HAND)
@pytest.mark.parametrize(("dtype", "tolerance"), [("f8", 1e-12), ("f4", 3e-5)])
def test_every_length(fun: Any, dtype: str, tolerance: float) -> None:
    function = compiled(fun)
    for n in LENGTHS:
        x, m = points(n, dtype)
        value, gradient = function.value_and_grad(x, m)
        expected, slopes = BY_HAND[fun](x.astype("f8"), m.astype("f8"))
        np.testing.assert_allclose(value, expected, rtol=tolerance, err_msg=f"{n} points")
        np.testing.assert_allclose(gradient, slopes, rtol=tolerance, atol=tolerance * n, err_msg=f"{n} points")
    assert halved(compiled(fun), *points(66, dtype)) == 1


def weighted(x: Array, m: Array) -> Any:
    k = np.exp(-0.5 * np.sum(separations(x) ** 2, axis=-1))
    return np.sum((k @ m) ** 2) + np.sum(k * m) + np.sum(m[:, None] * k)


def weighted_by_hand(x: Array, m: Array) -> tuple[Any, Array, Array]:
    d = separations(x)
    k = np.exp(-0.5 * np.sum(d**2, axis=-1))
    y = k @ m
    both = y[:, None] * m + m[:, None] * y + m[:, None] + m
    slopes = -2 * np.einsum("ij,ijk->ik", both * k, d)
    return np.sum(y**2) + 2 * np.sum(y), slopes, 2 * k @ y + 2 * np.sum(k, axis=1)


def pulls(x: Array, m: Array) -> Any:
    d = separations(x)
    weights = m / (np.sum(d * d, axis=-1) + 0.25) ** 1.5
    return np.sum(np.sum(d * weights[:, :, None], axis=1) ** 2)


def phases(x: Array, m: Array) -> Any:
    return np.sum(np.sum(np.sin(x[:, 0][None, :] - x[:, 1][:, None]) * m, axis=1) ** 2)


def oscillators(x: Array, m: Array) -> Any:
    return np.sum(m[:, None] * np.sum(np.sin(x[:, 0][None, :] - x[:, 0][:, None]) * m, axis=1)[:, None] ** 2)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(("dtype", "tolerance"), [("f8", 1e-11), ("f4", 3e-4)])
def test_weights_of_one_point(dtype: str, tolerance: float) -> None:
    function: Any = compile_grad(lambda x, m: weighted(x, m), argnums=(0, 1))
    for n in LENGTHS:
        x, m = points(n, dtype)
        value, (to_x, to_m) = function.value_and_grad(x, m)
        expected, *slopes = weighted_by_hand(x.astype("f8"), m.astype("f8"))
        np.testing.assert_allclose(value, expected, rtol=tolerance, err_msg=f"{n} points")
        for gradient, slope in zip((to_x, to_m), slopes, strict=True):
            scale = np.abs(slope).max(initial=0)
            np.testing.assert_allclose(gradient, slope, rtol=tolerance, atol=tolerance * scale, err_msg=f"{n} points")
    assert halved(function, *points(66, dtype)) == 2
    assert "terms of both points have most in common" in function.explain(*points(66, dtype))


@pytest.mark.usefixtures("chunks")
@pytest.mark.parametrize(("fun", "nests"), [(pulls, 2), (oscillators, 2)])
def test_terms_that_have_most_in_common(fun: Any, nests: int) -> None:
    """Against the complex step, which is exact to rounding (Squire and Trapp, 1998)."""
    function = compiled(fun)
    for n in (1, 2, 3, 5, 8, 13, 16, 17, 22, 33):
        x, m = points(n)
        expected = np.empty_like(x)
        for index in np.ndindex(x.shape):
            moved = x.astype(complex)
            moved[index] += 1e-40j
            expected[index] = fun(moved, m).imag / 1e-40
        value, gradient = function.value_and_grad(x, m)
        np.testing.assert_allclose(value, fun(x, m), rtol=1e-12, atol=1e-25)
        np.testing.assert_allclose(gradient, expected, rtol=1e-11, atol=1e-11 * np.abs(expected).max())
    assert halved(function, *points(66)) == nests


def pole_sums(n: int) -> Op:
    """Return a function of n numbers: the sums of 1 / (x - y) cosh(x - y) over either point."""
    function = make_function("poles", [tensor((n,), f64)])
    with at(body_of(function)):
        (x,) = body_of(function).arguments
        rows, columns = (nd.broadcast(x, shape=(n, n), dims=(axis,)) for axis in (0, 1))
        d = nd.sub(rows, columns)
        terms = nd.mul(nd.reciprocal(d), nd.cosh(d))
        sums = [nd.reduce_sum(terms, axes=(axis,)) for axis in (0, 1)]
    return finish_function(function, sums)


UNARY = [nd.square, nd.abs_, nd.sin, nd.cos, nd.tanh, nd.neg, nd.reciprocal, nd.sqrt, nd.exp, nd.sign]
BINARY = [nd.add, nd.sub, nd.mul, nd.div, nd.maximum, nd.minimum, nd.mul_no_nan]
COMPARISONS = [nd.eq, nd.lt, nd.ge]


def random_sums(n: int, choose: Callable[[int], int], steps: int) -> Op:
    """Return a function of points (n, 2) and weights (n,): sums of what random steps make of both points of a pair."""
    function = make_function("pairs", [tensor((n, 2), f64), tensor((n,), f64)])
    with at(body_of(function)):
        x, m = body_of(function).arguments
        columns = [nd.reshape(nd.slice_(x, start=(0, k), limit=(n, k + 1), stride=(1, 1)), shape=(n,)) for k in (0, 1)]
        sides = [[nd.broadcast(v, shape=(n, n), dims=(axis,)) for axis in (0, 1)] for v in (*columns, m)]
        values = [nd.sub(*sides[0]), nd.sub(*sides[1]), nd.mul(*sides[2]), *[value for side in sides for value in side]]
        masks = [nd.eq(*[nd.iota(shape=(n, n), axis=axis, type=i64) for axis in (0, 1)])]

        def pick(among: list[Value]) -> Value:
            return among[choose(len(among))]

        for _ in range(steps):
            kind = choose(8)
            if kind < 3:
                values.append(UNARY[choose(len(UNARY))](pick(values)))
            elif kind < 6:
                values.append(BINARY[choose(len(BINARY))](pick(values), pick(values)))
            elif kind == 6:
                masks.append(COMPARISONS[choose(len(COMPARISONS))](pick(values), pick(values)))
            else:
                values.append(nd.select(pick(masks), pick(values), pick(values)))
        recent = values[-4:]
        sums = [nd.reduce_sum(value, axes=((0,), (1,), (0, 1))[choose(3)]) for value in recent]
    return finish_function(function, sums)


@pytest.mark.usefixtures("chunks")
@settings(max_examples=60, deadline=None)
@given(st.integers(2, 40), st.integers(1, 14), st.randoms(use_true_random=False))
def test_random_terms(n: int, steps: int, random: Any) -> None:
    """Whatever is found to be symmetric, sums are those of all pairs; infinities and nans are where they were."""
    rng = np.random.default_rng(random.randrange(1 << 30))
    x, m = rng.integers(-6, 7, (n, 2)) / 4, rng.integers(-2, 3, n) / 2
    function = random_sums(n, random.randrange, steps)
    with pytest.MonkeyPatch.context() as without:
        without.setattr(halve, "LEAST_COST", math.inf)
        expected = Executable(copy_function(function)).run([x, m])
    for one, other in zip(Executable(copy_function(function)).run([x, m]), expected, strict=True):
        magnitude = np.abs(other).max(initial=0, where=np.isfinite(other))
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9 * (1 + magnitude))


@pytest.mark.usefixtures("small")
def test_poles_keep_their_signs() -> None:
    """Two points in one place: 1 / 0 is positive for both, so that no infinity meets another of the other sign."""
    x = RNG.normal(size=19)
    x[3] = x[16]
    function = pole_sums(19)
    lowered = to_loops(copy_function(function), 128)
    assert sum("halved" in op.attributes for op in body_of(lowered).ops) == 1
    for results in (Executable(copy_function(function)).run([x]), interpret(lowered, [x])):
        for sums in results:
            np.testing.assert_array_equal(sums, np.full(19, np.inf))


@pytest.mark.usefixtures("small")
def test_marks_keep_the_meaning() -> None:
    """The nest with marks, interpreted, gives what native code gives that visits half of the points."""
    x, m = points(30)
    function: Any = compile_grad(lambda x, m: weighted(x, m), argnums=(0, 1))
    native = function.value_and_grad(x, m)
    text = function.ir("loops", x, m)
    assert text.count("halved = true") == 2
    (lowered,) = parse_module(text).functions.values()
    for one, other in zip(interpret(lowered, [x, m]), (native[0], *native[1]), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.usefixtures("chunks")
@pytest.mark.parametrize("fun", BY_HAND)
def test_same_bits_for_any_number_of_threads(fun: Any) -> None:
    for n in (8, 33, 66, 131):
        x, m = points(n)
        expected, slopes = BY_HAND[fun](x, m)
        results = []
        try:
            for number in (1, 2, 3):
                set_num_threads(number)
                function = compiled(fun)
                results.append(function.value_and_grad(x, m))
                for _ in range(3):
                    value, gradient = function.value_and_grad(x, m)
                    assert value == results[0][0]
                    assert gradient.tobytes() == results[0][1].tobytes()
        finally:
            set_num_threads(1)
        np.testing.assert_allclose(results[0][0], expected, rtol=1e-12)
        np.testing.assert_allclose(results[0][1], slopes, rtol=1e-11, atol=1e-11)
        text = function.ir("loops", x, m)
        assert n < 66 or re.search(r"chunk = array<i64: 0, 1, \d+>, extents = array<i64: \d+, \d+>, halved", text)


@pytest.mark.usefixtures("small")
@settings(max_examples=30, deadline=None)
@given(st.integers(0, 40), st.integers(0, 2**31), st.sampled_from([1.0, 1e-6, 1e6]), st.sampled_from([-1, 1, 2, -3]))
def test_any_points(n: int, seed: int, scale: float, step: int) -> None:
    rng = np.random.default_rng(seed)
    x = (rng.normal(size=(n * abs(step), 3)) * scale)[::step]
    m = rng.uniform(-1, 1, n)
    if n > 3:
        x[1] = x[3]  # two points in one place
    value, gradient = GRAVITY.value_and_grad(x, m)
    expected, slopes = gravity_by_hand(x, m)
    np.testing.assert_allclose(value, expected, rtol=1e-10, atol=1e-11 * n)
    np.testing.assert_allclose(gradient, slopes, rtol=1e-9, atol=1e-10 * (1 + np.abs(slopes).max(initial=0)))


GRAVITY = compiled(gravity)


@pytest.mark.usefixtures("small")
def test_each_pair_goes_to_both_points() -> None:
    """Whole numbers, so that any order of additions gives the same: every pair counts, and none twice."""
    x = RNG.integers(-3, 4, (37, 1)).astype(float)

    def cubes(x: Array) -> Any:
        d = x[:, 0][:, None] - x[:, 0][None, :]
        return np.sum(d * d * d * d) + np.sum(d * d)

    function: Any = compile_grad(cubes)
    value, gradient = function.value_and_grad(x)
    d = x - x.T
    assert halved(function, x) == 1
    assert value == np.sum(d**4) + np.sum(d**2)
    np.testing.assert_array_equal(gradient[:, 0], np.sum(8 * d**3 + 4 * d, axis=1))


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 5, 20, 32])
def test_nan_and_infinity_reach_whom_they_concern(bad: float, place: int) -> None:
    x, m = points(33)
    x[place, 1] = bad
    value, gradient = compiled(gaussian).value_and_grad(x, m)
    with np.errstate(invalid="ignore"):
        expected, slopes = gaussian_by_hand(x, m)
    np.testing.assert_array_equal(value, expected)
    np.testing.assert_array_equal(np.isnan(gradient), np.isnan(slopes))
    clean = ~np.isnan(slopes)
    np.testing.assert_allclose(gradient[clean], slopes[clean], rtol=1e-12, atol=1e-14)


@pytest.mark.usefixtures("small")
def test_overflow_to_infinity() -> None:
    x, m = points(21)
    m[4] = 1e200
    m[9] = 1e200
    value, gradient = compiled(gravity).value_and_grad(x, m)
    with np.errstate(over="ignore"):
        expected, slopes = gravity_by_hand(x, m)
    assert value == expected == -np.inf
    np.testing.assert_array_equal(np.isfinite(gradient), np.isfinite(slopes))


@pytest.mark.usefixtures("small")
def test_weights_of_one_side_and_other_tables_are_not_symmetric() -> None:
    x, w = RNG.normal(size=30), RNG.normal(size=(30, 30))

    def energy(x: Array) -> Any:
        return np.sum(w * np.sin(x[:, None] - x[None, :]))

    function: Any = compile_grad(energy)
    slopes = w * np.cos(x[:, None] - x[None, :])
    np.testing.assert_allclose(function.value_and_grad(x)[1], slopes.sum(1) - slopes.sum(0), rtol=1e-11, atol=1e-12)
    assert halved(function, x) == 0


@pytest.mark.parametrize(("fun", "n"), [(gravity, 1000), (gaussian, 300), (distances, 700), (lennard_jones, 1000)])
def test_heavy_pairs_are_visited_once(fun: Any, n: int) -> None:
    """As it is for users: half of the pairs, no array of pairs, and the reason is told."""
    x, m = points(n)
    function = compiled(fun)
    value, gradient = function.value_and_grad(x, m)
    expected, slopes = BY_HAND[fun](x, m)
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    np.testing.assert_allclose(gradient, slopes, rtol=1e-10, atol=1e-9)
    assert halved(function, x, m) == 1
    assert "each pair once: terms are symmetric" in function.explain(x, m)
    *_, program = function.user.programs.values()
    slots = program.executable.program.slots
    assert max(np.prod(slot.shape) for slot in slots if slot.element.kind == "f") == x.size


@pytest.mark.usefixtures("small_plans", "small")
def test_sums_in_tiles_leave_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """What follows on a sum row by row would be tiled with it; but rows that share pairs are finished together."""
    with monkeypatch.context() as without:
        without.setattr(halve, "LEAST_COST", math.inf)
        assert "loops.tiles" in compiled(gaussian).ir("loops", *points(66))
    for n in (64, 66, 131):
        x, m = points(n)
        function = compiled(gaussian)
        value, gradient = function.value_and_grad(x, m)
        expected, slopes = gaussian_by_hand(x, m)
        np.testing.assert_allclose(value, expected, rtol=1e-12)
        np.testing.assert_allclose(gradient, slopes, rtol=1e-11, atol=1e-12)
        assert halved(function, x, m) == 1
        assert "loops.tiles" not in function.ir("loops", x, m)


def test_angles_of_two_kinds_have_nothing_in_common() -> None:
    x, m = points(600)
    function = compiled(phases)
    np.testing.assert_allclose(function.value_and_grad(x, m)[0], phases(x, m), rtol=1e-12)
    assert halved(function, x, m) == 0


def test_another_length_uses_the_same_code() -> None:
    function = compiled(gravity)
    for n in (600, 640, 801, 1000):
        x, m = points(n)
        value, gradient = function.value_and_grad(x, m)
        expected, slopes = gravity_by_hand(x, m)
        np.testing.assert_allclose(value, expected, rtol=1e-12)
        np.testing.assert_allclose(gradient, slopes, rtol=1e-10, atol=1e-9)
    alone = compiled(gravity).value_and_grad(x, m)
    assert value == alone[0]
    assert gradient.tobytes() == alone[1].tobytes()
