"""Native loop nests at every length around the width of vectors: pieces, remainders, masks, strides and reductions."""

import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gradloom.exec.executable import Executable
from gradloomc.codegen import nest
from gradloomc.dialects import nd
from gradloomc.dialects.func import body_of, finish_function, make_function
from gradloomc.interp.interpreter import interpret
from gradloomc.ir.builder import at
from gradloomc.ir.core import Op, Value
from gradloomc.ir.inline import copy_function
from gradloomc.ir.types import SCALARS, ScalarType, f32, f64, i1, tensor

LENGTHS = [*range(0, 36), 47, 48, 49, 63, 64, 65, 70]


def define(body: Callable[..., Any], *types: Any) -> Op:
    """Return a function; `body` returns one value or several."""
    function = make_function("f", types)
    with at(body_of(function)):
        results = body(*body_of(function).arguments)
    return finish_function(function, [results] if isinstance(results, Value) else results)


def numbers(shape: tuple[int, ...], element: ScalarType, seed: int = 0) -> np.ndarray[Any, Any]:
    """Return small whole numbers, so that sums are exact in any order."""
    low = 0 if element.kind == "u" else -4
    return np.asarray(np.random.default_rng(seed).integers(low, 5, shape), element.dtype)


def assert_native(function: Op, arrays: list[Any]) -> None:
    """Check that native results equal interpreted ones."""
    expected = interpret(function, arrays)
    for native, interpreted in zip(Executable(copy_function(function)).run(arrays), expected, strict=True):
        assert native.dtype == interpreted.dtype
        np.testing.assert_array_equal(native, interpreted)


def shifted(x: Value, by: int) -> Value:
    """Return x moved up by some places, zeros moving in."""
    n = x.type.shape[0]
    return nd.pad(nd.slice_(x, start=(0,), limit=(n - by,), stride=(1,)), low=(by,), high=(0,), interior=(0,))


def vectors(x: Value) -> list[Value]:
    """Return what can be asked of one vector of numbers."""
    (n,) = x.type.shape
    low, high = nd.splat(1, x.type), nd.splat(3, x.type)
    results = [
        nd.add(x, 1),
        nd.reverse(x, axes=(0,)),
        nd.slice_(x, start=(n // 3,), limit=(n,), stride=(2,)),
        nd.pad(x, low=(3,), high=(2,), interior=(0,)),
        nd.concatenate(x, nd.mul(x, 2), x, axis=0),
        nd.iota(shape=(n,), axis=0, type=x.type.element),
        nd.reduce_sum(x, axes=(0,)),
        nd.reduce_prod(nd.sign(x), axes=(0,)),
        nd.reduce_any(nd.gt(x, high), axes=(0,)),
        nd.reduce_all(nd.ge(x, low), axes=(0,)),
    ]
    if n:
        results += [nd.reduce_max(x, axes=(0,)), nd.reduce_min(x, axes=(0,))]
    if n > 2:  # one nest with three pieces
        results.append(nd.add(nd.add(shifted(x, 1), shifted(x, 2)), x))
    return results


@pytest.mark.parametrize("element", ["f32", "f64", "i8", "i16", "i64", "ui8"])
def test_lengths(element: str) -> None:
    type = SCALARS[element]
    for n in LENGTHS:
        x = numbers((n,), type, n)
        assert_native(define(vectors, tensor((n,), type)), [x])


def matrices(x: Value) -> list[Value]:
    """Return sums along either axis, transposes and sums of transposes."""
    flipped = nd.transpose(x, permutation=(1, 0))
    rows = nd.reduce_sum(x, axes=(1,))
    return [
        rows,
        nd.reduce_sum(x, axes=(0,)),
        nd.add(flipped, 1),
        nd.reduce_sum(nd.square(flipped), axes=(0,)),
        nd.sub(x, nd.spread(rows, x, (1,))),
        nd.reduce_sum(nd.pad(x, low=(1, 2), high=(0, 1), interior=(0, 0)), axes=(0,)),
        nd.reverse(x, axes=(0, 1)),
    ]


@pytest.mark.parametrize("rows", [1, 3, 16, 33])
def test_matrices(rows: int) -> None:
    for columns in (1, 2, 7, 8, 9, 16, 17, 31, 40):
        assert_native(define(matrices, tensor((rows, columns), f64)), [numbers((rows, columns), f64)])


def test_three_axes() -> None:
    """Reductions over any axes of three, the innermost kept or not."""
    x = numbers((3, 5, 18), f32)
    every = [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)]
    assert_native(define(lambda x: [nd.reduce_sum(x, axes=axes) for axes in every], tensor(x.shape, f32)), [x])
    assert_native(define(lambda x: [nd.reduce_max(x, axes=axes) for axes in every], tensor(x.shape, f32)), [x])


def test_bools() -> None:
    """Bools are bytes in memory and bits in registers."""
    for n in LENGTHS:
        x, y = numbers((n,), i1, 1) > 0, numbers((n,), i1, 2) > 0
        function = define(
            lambda x, y: [
                nd.logical_and(x, y),
                nd.logical_not(x),
                nd.concatenate(x, y, axis=0),
                nd.convert(x, type=f32),
            ],
            tensor((n,), i1),
            tensor((n,), i1),
        )
        assert_native(function, [x, y])


def test_mixed_widths() -> None:
    """Types of different sizes meet in one loop."""
    types = [SCALARS[name] for name in ("i8", "f64", "f16", "i16")]
    for n in LENGTHS:

        def body(a: Value, b: Value, c: Value, d: Value) -> list[Value]:
            wide = nd.add(nd.convert(a, type=f64), nd.add(b, nd.convert(c, type=f64)))
            return [
                wide,
                nd.convert(wide, type=SCALARS["i8"]),
                nd.reduce_sum(nd.convert(d, type=f64), axes=(0,)),
                nd.neg(c),
            ]

        assert_native(
            define(body, *[tensor((n,), type) for type in types]), [numbers((n,), t, k) for k, t in enumerate(types)]
        )


@pytest.mark.parametrize("element", [f32, f64], ids=str)
def test_sums_are_accurate(element: ScalarType) -> None:
    """A sum of terms of one size is as exact as a few roundings; a first term far above the others costs one block."""
    rng = np.random.default_rng(3)
    epsilon = float(np.finfo(element.dtype).eps)
    for n in (1000, 4097, 300_000):
        executable = Executable(define(lambda x: nd.reduce_sum(x, axes=(0,)), tensor((n,), element)))
        large_first = np.where(np.arange(n) == 0, 1e6, 1e-3)
        for x, units in (
            (rng.uniform(0, 1, n), 1.5),
            (rng.standard_normal(n), 1.5),
            (large_first, nest.BLOCK_VECTORS / 4),
        ):
            x = x.astype(element.dtype)
            (native,) = executable.run([x])
            error = abs(float(native) - math.fsum(x.tolist()))
            assert error <= units * epsilon * float(np.abs(x).sum(dtype=np.float64))


@pytest.mark.parametrize("element", [f32, f64], ids=str)
def test_sums_of_special_values(element: ScalarType) -> None:
    for n in (1, 5, 16, 40, 10_000):
        executable = Executable(define(lambda x: nd.reduce_sum(x, axes=(0,)), tensor((n,), element)))
        for values in ([np.inf], [-np.inf], [np.nan], [np.inf, -np.inf], [np.finfo(element.dtype).max] * 2):
            x = np.ones(n, element.dtype)
            x[-len(values) :] = values[:n]
            with np.errstate(all="ignore"):
                expected = np.sum(x)
            np.testing.assert_array_equal(executable.run([x])[0], expected)


@pytest.mark.parametrize("element", [f32, f64], ids=str)
def test_extrema_of_special_values(element: ScalarType) -> None:
    """A nan anywhere is the result; infinities count."""
    for n in (1, 2, 8, 17, 40):
        function = define(lambda x: [nd.reduce_max(x, axes=(0,)), nd.reduce_min(x, axes=(0,))], tensor((n,), element))
        executable = Executable(function)
        for special in (np.nan, np.inf, -np.inf):
            for position in range(n):
                x = numbers((n,), element)
                x[position] = special
                high, low = executable.run([x])
                np.testing.assert_array_equal([high, low], [np.max(x), np.min(x)])


def test_results_do_not_depend_on_where_arrays_lie() -> None:
    """Bit for bit the same sums for any alignment, any strides, and every time."""
    n = 1037
    executable = Executable(define(lambda x: [nd.reduce_sum(nd.exp(x), axes=(0,)), nd.sin(x)], tensor((n,), f64)))
    x = np.random.default_rng(4).uniform(-1, 1, n)
    expected = executable.run([x])
    for offset in range(0, 64, 8):
        memory = np.zeros(8 * n + 64, np.uint8)
        moved = memory[offset : offset + 8 * n].view(np.float64)
        moved[...] = x
        unaligned = np.zeros(8 * n + 1, np.uint8)[1:].view(np.float64)
        unaligned[...] = x
        strided = np.zeros((n, 3))[:, 1]
        strided[...] = x
        for array in (moved, unaligned, strided, x.astype(">f8"), np.ascontiguousarray(x[::-1])[::-1]):
            for actual, right in zip(executable.run([array]), expected, strict=True):
                assert actual.tobytes() == right.tobytes()


def test_same_text_for_other_lengths() -> None:
    """Extents are numbers of the run time: a long array of another length needs no new code."""

    def body(x: Value) -> list[Value]:
        return [nd.exp(x), nd.reduce_sum(shifted(x, 1), axes=(0,))]

    first = Executable(define(body, tensor((1001,), f64)))
    second = Executable(define(body, tensor((2003,), f64)))
    assert second.stats.reused_native_code and first.program.text == second.program.text
    x = numbers((2003,), f64)
    np.testing.assert_array_equal(second.run([x])[1], x[:-1].sum())


@pytest.mark.skipif(sys.platform != "linux", reason="fences are made with mprotect")
def test_reads_stay_inside_arrays() -> None:
    """Programs on arrays that begin, or end, where memory may not be touched (in a process of its own)."""
    script = Path(__file__).with_name("fenced_memory.py")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-300:] + done.stderr[-3000:]


@pytest.mark.parametrize("element", [f32, f64], ids=str)
@pytest.mark.parametrize("columns", [2, 7, 16, 33, 100, 700])
@pytest.mark.parametrize("rows", [32, 33, 34, 35, 101])
def test_rows_that_share_a_vector_in_one_loop(rows: int, columns: int, element: ScalarType):
    """Several rows at once, and the rest one by one, give what each row alone gives."""

    def both(x: Value, w: Value, r: Value) -> list[Value]:
        wide = nd.broadcast(w, dims=(1,), shape=(rows, columns))
        tall = nd.broadcast(r, dims=(0,), shape=(rows, columns))
        return [
            nd.reduce_sum(nd.mul(x, wide), axes=(1,)),
            nd.reduce_max(nd.add(x, wide), axes=(1,)),
            nd.reduce_sum(nd.mul(x, tall), axes=(0,)),
            nd.reduce_sum(nd.sub(x, tall), axes=(0,)),
        ]

    shapes = [(rows, columns), (columns,), (rows,)]
    function = define(both, *[tensor(shape, element) for shape in shapes])
    assert_native(function, [numbers(shape, element, seed) for seed, shape in enumerate(shapes)])
