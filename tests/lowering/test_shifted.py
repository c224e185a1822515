"""Stencils: what is needed around a point is computed once, kept in rings of rows, and the same at all levels."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gradloom import compile_grad
from gradloomc.ad.transform import vjp_of
from gradloomc.codegen.native import host
from gradloomc.dialects import loops, nd
from gradloomc.dialects.func import body_of, finish_function, make_function
from gradloomc.ir.builder import at
from gradloomc.ir.core import Op, Value
from gradloomc.ir.inline import copy_function
from gradloomc.ir.types import f32, f64, tensor
from gradloomc.lowering import parallelize, shifted
from gradloomc.pipelines import to_loops

from .test_random_programs import assert_levels_agree

RNG = np.random.default_rng(8)


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch, small_plans: None) -> None:
    """Rewrite whatever can be, as often as allowed, in small programs too, which run in chunks of a few rows."""
    monkeypatch.setattr(shifted, "LEAST_ROWS", 3)
    monkeypatch.setattr(shifted, "KEEP_COST", 1.0)
    monkeypatch.setattr(shifted, "SHARE_COST", 0.0)
    monkeypatch.setattr(shifted, "MOST_SHARE", 100.0)
    monkeypatch.setattr(shifted, "MOST_REWRITES", 3)
    monkeypatch.setattr(parallelize, "LEAST_WORK", 0)
    monkeypatch.setattr(parallelize, "CHUNK_WORK", 1)
    monkeypatch.setattr(parallelize, "COPIES_SHARE", 1)
    monkeypatch.setattr(parallelize, "ROWS_FOR_ONE_AGAIN", 1)


def window(x: Value, start: tuple[int, ...], shape: tuple[int, ...]) -> Value:
    limit = tuple(a + n for a, n in zip(start, shape, strict=True))
    return nd.slice_(x, start=start, limit=limit, stride=(1,) * len(shape))


def weighted(x: Value, rng: np.random.Generator) -> Value:
    """Return a sum of a few multiples of an array's elements around each inner point."""
    reach = tuple(int(r) for r in rng.integers(0, 3, x.type.rank))
    shape = tuple(n - 2 * r for n, r in zip(x.type.shape, reach, strict=True))
    total = None
    for _ in range(rng.integers(2, 5)):
        start = tuple(int(rng.integers(0, 2 * r + 1)) for r in reach)
        term = nd.mul(window(x, start, shape), float(rng.integers(1, 4)))
        total = term if total is None else nd.add(total, term)
    assert total is not None
    return total


def draw_stencil(seed: int) -> Op:
    """Return a function of one or two stages on whole numbers: what they give, its total, and sums along an axis."""
    rng = np.random.default_rng(seed)
    shape = tuple(int(n) for n in rng.integers(9, 14, rng.integers(2, 4)))
    function = make_function("f", [tensor(shape, (f64, f32)[seed % 2])] * 2)
    with at(body_of(function)):
        x, k = body_of(function).arguments
        y = weighted(x, rng)
        start = tuple(int(rng.integers(0, n - m + 1)) for n, m in zip(shape, y.type.shape, strict=True))
        y = nd.mul(y, window(k, start, y.type.shape))
        if rng.integers(2):
            low = tuple(int(a) for a in rng.integers(0, 2, len(shape)))
            y = nd.pad(y, low=low, high=low, interior=(0,) * len(shape))
        if rng.integers(2):
            y = weighted(y, rng)
        results = [nd.reduce_sum(nd.mul(y, y), axes=tuple(range(len(shape))))]
        if rng.integers(2):
            results.append(y)
        if rng.integers(2):
            results.append(nd.reduce_sum(y, axes=(int(rng.integers(len(shape))),)))
    return finish_function(function, results)


def rings(function: Op) -> list[Op]:
    lowered = to_loops(copy_function(function), host().vector_bits)
    return [op for op in lowered.walk() if op.kind is loops.scratch and op.attributes.get("ring")]


@pytest.mark.parametrize("batch", range(6))
def test_random_stencils_and_their_gradients(batch: int, always: None) -> None:
    kept = 0
    for seed in range(12 * batch, 12 * batch + 12):
        function = draw_stencil(seed)
        rng = np.random.default_rng(seed)
        arguments = body_of(function).arguments
        arrays = [rng.integers(-1, 2, a.type.shape).astype(a.type.element.dtype) for a in arguments]
        assert_levels_agree(function, arrays)
        pulled = vjp_of(function, (0, 1))
        cotangents = body_of(pulled).arguments[2:]
        arrays += [rng.integers(-1, 2, a.type.shape).astype(a.type.element.dtype) for a in cotangents]
        kept += len(rings(pulled))
        assert_levels_agree(pulled, [np.asarray(a) for a in arrays])
    assert kept > 12  # else this tests nothing


def residual(u: Any, k: Any) -> Any:
    centre = u[1:-1, 1:-1]
    laplacian = u[2:, 1:-1] + u[:-2, 1:-1] + u[1:-1, 2:] + u[1:-1, :-2] - 4.0 * centre
    return np.sum((centre**3 - k[1:-1, 1:-1] * laplacian) ** 2)


def total_variation(u: Any, k: Any) -> Any:
    down, right = u[1:, :-1] - u[:-1, :-1], u[:-1, 1:] - u[:-1, :-1]
    return np.sum(k[:-1, :-1] * np.sqrt(down * down + right * right + 1e-3))


def time_steps(u: Any, k: Any) -> Any:
    for _ in range(3):
        inner = u[1:-1, 1:-1]
        laplacian = u[2:, 1:-1] + u[:-2, 1:-1] + u[1:-1, 2:] + u[1:-1, :-2] - 4.0 * inner
        u = np.pad(inner + 0.1 * k[1:-1, 1:-1] * laplacian, 1)
    return np.sum(u * u)


def along_rows(u: Any, k: Any) -> Any:
    r = np.sin(u[:, 1:] - u[:, :-1]) * k[:, 1:]
    return np.sum(r * r)


@pytest.mark.parametrize("fun", [residual, total_variation, time_steps, along_rows])
@pytest.mark.parametrize("shape", [(64, 64), (200, 90), (33, 301)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_stencils_by_finite_differences(fun: Callable[..., Any], shape: tuple[int, int], dtype: Any) -> None:
    u, k = RNG.normal(size=shape).astype(dtype), RNG.uniform(0.5, 1.5, shape).astype(dtype)
    function: Any = compile_grad(fun, argnums=(0, 1))
    value, gradients = function.value_and_grad(u, k)
    wide = (u.astype(np.float64), k.astype(np.float64))
    np.testing.assert_allclose(value, fun(*wide), rtol=1e-13 if dtype is np.float64 else 1e-5)
    for position, gradient in enumerate(gradients):
        for row in (None, 0, 1, shape[0] // 2, shape[0] - 1):  # everywhere, and along one row, where errors do not hide
            direction = RNG.normal(size=shape) * (1.0 if row is None else np.arange(shape[0])[:, None] == row)
            ends = [
                fun(*[x + sign * 1e-6 * direction if k == position else x for k, x in enumerate(wide)])
                for sign in (1, -1)
            ]
            slope, scale = (ends[0] - ends[1]) / 2e-6, np.sum(np.abs(gradient * direction)) + 1e-6 * abs(value)
            assert abs(np.vdot(gradient.astype(np.float64), direction) - slope) <= 1e-4 * scale


def test_the_flow_of_a_point_is_computed_once() -> None:
    u, k = RNG.normal(size=(256, 256)), RNG.uniform(0.5, 1.5, (256, 256))
    function: Any = compile_grad(residual, argnums=(0, 1))
    function.value_and_grad(u, k)
    text = function.ir("loops", u, k)
    assert text.count("loops.nest") == 1
    assert text.count("ring = true") == 2  # of the flow three rows, of the residual two
    assert function.explain(u, k).count("needed at several places around a point") == 2
    ops = sum(text.count(name) for name in ("math.", "arith.mulf", "arith.addf"))
    assert ops < 32  # five times 12 and more, if each place had its own
    stats = next(iter(function.user.programs.values())).executable.stats
    assert stats.bytes_moved == stats.bytes_ideal


def test_a_donated_array_is_not_overwritten_where_rows_are_computed_again() -> None:
    u, k = RNG.normal(size=(256, 256)), RNG.uniform(0.5, 1.5, (256, 256))
    expected = compile_grad(residual, argnums=(0, 1)).value_and_grad(u, k)
    donating: Any = compile_grad(residual, argnums=(0, 1), donate_argnums=(0, 1))
    value, gradients = donating.value_and_grad(u.copy(), k.copy())
    assert value == expected[0]
    for gradient, right in zip(gradients, expected[1], strict=True):
        np.testing.assert_array_equal(gradient, right)


def test_many_steps_with_rings_of_their_own() -> None:
    """Nests of a program that differ in their memory alone may share native code; those with rings have their own."""
    arrays = [RNG.normal(size=(40, 40)) for _ in range(5)]
    ks = [RNG.uniform(0.5, 1.5, (40, 40)) for _ in arrays]

    def all_of_them(us: Any, ks: Any) -> Any:
        return sum(residual(u, k) for u, k in zip(us, ks, strict=True))

    value, gradients = compile_grad(all_of_them).value_and_grad(arrays, ks)
    alone = [compile_grad(residual).value_and_grad(u, k) for u, k in zip(arrays, ks, strict=True)]
    np.testing.assert_allclose(value, sum(v for v, _ in alone), rtol=1e-12)
    for gradient, (_, expected) in zip(gradients, alone, strict=True):
        np.testing.assert_allclose(gradient, expected, rtol=1e-10, atol=1e-10)


def test_any_length_has_its_rings() -> None:
    function: Any = compile_grad(residual, argnums=(0, 1))
    for shape in ((128, 128), (130, 150), (200, 90), (64, 300), (35, 35)):
        u, k = RNG.normal(size=shape), RNG.uniform(0.5, 1.5, shape)
        value, (by_u, by_k) = function.value_and_grad(u, k)
        assert function.ir("loops", u, k).count("ring = true") == 2
        centre = u[1:-1, 1:-1]
        laplacian = u[2:, 1:-1] + u[:-2, 1:-1] + u[1:-1, 2:] + u[1:-1, :-2] - 4.0 * centre
        r = centre**3 - k[1:-1, 1:-1] * laplacian
        flow = np.pad(-2 * r * k[1:-1, 1:-1], 2)
        expected = flow[2:, 1:-1] + flow[:-2, 1:-1] + flow[1:-1, 2:] + flow[1:-1, :-2] - 4 * flow[1:-1, 1:-1]
        np.testing.assert_allclose(value, np.sum(r * r), rtol=1e-12)
        np.testing.assert_allclose(by_u, expected + np.pad(6 * r * centre**2, 1), rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(by_k, np.pad(-2 * r * laplacian, 1), rtol=1e-9, atol=1e-9)
