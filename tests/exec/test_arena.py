"""Temporaries share one block of memory where they are never in use at the same time."""

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gradloom import compile_grad
from gradloom.exec import arena as layout
from gradloom.exec.arena import ALIGNMENT, arrange

temporaries = st.lists(
    st.tuples(st.integers(0, 5000), st.integers(0, 20), st.integers(0, 20)).map(
        lambda t: (t[0], min(t[1:]), max(t[1:]))
    ),
    max_size=30,
)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(temporaries)
def test_no_two_in_use_overlap(found: list[tuple[int, int, int]]) -> None:
    sizes, lifetimes = [size for size, _, _ in found], [(first, last) for _, first, last in found]
    arena = arrange(sizes, lifetimes)
    for i, (size, first, last) in enumerate(found):
        assert arena.offsets[i] % ALIGNMENT == 0
        assert arena.offsets[i] + size <= arena.size
        for j, (other, begin, end) in enumerate(found[:i]):
            if size and other and first <= end and begin <= last:
                apart = arena.offsets[i] + size <= arena.offsets[j] or arena.offsets[j] + other <= arena.offsets[i]
                assert apart
    busiest = max((sum(s for s, a, b in found if a <= t <= b) for t in range(21)), default=0)
    assert busiest <= arena.size <= sum(-(-size // ALIGNMENT) * ALIGNMENT for size in sizes)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(temporaries)
def test_few_and_many_are_laid_out_alike(found: list[tuple[int, int, int]]) -> None:
    order = sorted(range(len(found)), key=lambda k: -found[k][0])
    sizes = [-(-size // ALIGNMENT) * ALIGNMENT for size, _, _ in found]
    lifetimes = [(first, last) for _, first, last in found]
    assert layout._place_few(order, sizes, lifetimes) == layout._place_many(order, sizes, lifetimes)


def test_a_chain_takes_two() -> None:
    arena = arrange([1000] * 5, [(k, k + 1) for k in range(5)])
    assert arena.size == 2 * 1024
    assert arena.separate == 5000


def test_long_programs_reuse_memory() -> None:
    rng = np.random.default_rng(1)
    x, w = rng.normal(size=(64, 80)), rng.normal(size=(80, 80)) / 9

    def deep(x):
        for _ in range(12):
            x = np.tanh(x @ w)
        return x

    function = compile_grad(deep)
    expected = deep(x)
    for _ in range(6):  # by the general path and by the native entry
        np.testing.assert_allclose(function(x), expected, rtol=1e-9, atol=1e-13)
    (program,) = function.user.programs.values()
    stats = program.executable.stats
    assert stats.bytes_results == x.nbytes
    assert stats.bytes_temporary <= 3 * x.nbytes
    assert stats.bytes_separate >= 12 * x.nbytes
