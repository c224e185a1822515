"""Reading by index, against NumPy: every kind of key, and random ones."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gradloomc.ir.errors import OutOfBoundsError, ShapeError, TracerError, UnsupportedError
from harness.tracing import check, run

X = np.arange(24.0).reshape(2, 3, 4)

KEYS: list[Any] = [
    0,
    -1,
    np.int64(1),
    (1, 2),
    (1, 2, 3),
    (-1, -1, -1),
    slice(None),
    slice(1, None),
    slice(None, None, -1),
    (slice(None), slice(2, 0, -1)),
    (slice(None), slice(None), slice(3, None, -2)),
    (slice(None), slice(10, -10, -2)),
    (slice(None), slice(1, 1)),
    (slice(None), slice(2, 1)),
    (slice(0, 0),),
    None,
    (None, 0, None),
    Ellipsis,
    (Ellipsis, 0),
    (0, Ellipsis, 1),
    (Ellipsis, None, slice(1, 3)),
    (slice(None), None, 1, Ellipsis, slice(None, None, 2)),
    (1, 2, 3, Ellipsis),
    (),
    [0, 1, 1],
    ([0, 1], [2, 0]),
    (slice(None), [2, 0, 0]),
    (slice(None), slice(None), np.array([[0, 3], [1, -1]])),
    ([0, 1], slice(None), [2, 0]),
    ([0, 1], 1, [2, 0]),
    (0, slice(None), [2, 0]),
    (slice(None), [0, 2], 1),
    (slice(None), [[0], [2]], [1, 3]),
    (None, [0, 1], [0, 1]),
    ([0, 1], None, [0, 1]),
    (Ellipsis, [0, 1], slice(1, None)),
    (slice(1, None), slice(None, None, -1), [3, 1]),
    np.array([], dtype=int),
    [],
    X > 10,
    np.array([True, False]),
    (slice(None), np.array([True, False, True])),
    (np.array([True, False]), slice(None), [0, 1]),
    (slice(None), X[0] > 5),
    (0, np.array([False, True, True])),
]


@pytest.mark.parametrize("key", KEYS, ids=lambda key: str(key)[:40])
def test_keys(key: Any) -> None:
    check(lambda x: x[key], X)


def test_traced_integers() -> None:
    i, j = np.array([1, 0, -1]), np.array([[0], [2]])
    check(lambda x, i: x[i], X, i)
    check(lambda x, i: x[i[0]], X, i)
    check(lambda x, i: x[:, i], X, i)
    check(lambda x, i, j: x[0, j, i], X, i, j)
    check(lambda x, i, j: x[i, 1:, j], X, i, j)
    check(lambda x, i: x[i, 0, [1, 2, 3]], X, i)
    check(lambda x, i: x[[i[0], 0]], X, i)
    check(lambda x, i: np.arange(5.0)[i] * x[0, 0, 0], X, i)


def test_concrete_arrays_stay_concrete() -> None:
    """What does not depend on traced values is computed at once, by NumPy."""
    seen: list[Any] = []

    def function(x: Any) -> Any:
        n = len(x)
        rows = np.arange(n)
        seen.append(int(rows[rows > 0].sum()))
        return x[rows, np.zeros(n, int)][np.argsort([2, 1])] if n else x

    check(function, np.arange(12.0).reshape(2, 6))
    assert seen[0] == 1


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_random_basic_keys(data: st.DataObject) -> None:
    shape = data.draw(hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
    key = data.draw(hnp.basic_indices(shape, allow_newaxis=True, allow_ellipsis=True))
    x = np.arange(float(np.prod(shape))).reshape(shape)
    check(lambda x: x[key], x)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_random_integer_arrays(data: st.DataObject) -> None:
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=4, max_side=4))
    key: list[Any] = list(
        data.draw(hnp.integer_array_indices(shape, result_shape=hnp.array_shapes(max_dims=2, max_side=3)))
    )
    for axis in range(len(key)):
        if data.draw(st.booleans()):
            key[axis] = data.draw(st.sampled_from([slice(None), slice(None, None, -1), slice(0, 1)]))
    x = np.arange(float(np.prod(shape))).reshape(shape)
    check(lambda x: x[tuple(key)], x)


REFUSALS: list[tuple[Any, Any, str]] = [
    (5, OutOfBoundsError, "index 5 is out of bounds for axis 0 with size 2"),
    ((0, -4), OutOfBoundsError, "index -4 is out of bounds for axis 1 with size 3"),
    ((0, 0, 0, 0), OutOfBoundsError, "too many indices for array: array is 3-dimensional, but 4 were indexed"),
    ([0, 7], OutOfBoundsError, "index 7 is out of bounds for axis 0 with size 2"),
    (1.0, OutOfBoundsError, "only integers, slices"),
    ("a", OutOfBoundsError, "only integers, slices"),
    ((Ellipsis, Ellipsis), OutOfBoundsError, "an index can only have a single ellipsis"),
    (slice(None, None, 0), ShapeError, "slice step cannot be zero"),
    (np.array([True, False, True]), OutOfBoundsError, "boolean index did not match indexed array along axis 0"),
    (([0, 1], [0, 1, 2]), OutOfBoundsError, "shape mismatch: indexing arrays could not be broadcast together"),
    (True, UnsupportedError, "a single True or False"),
]


@pytest.mark.parametrize(("key", "error", "message"), REFUSALS, ids=lambda case: str(case)[:30])
def test_refusals_are_in_numpys_words(key: Any, error: Any, message: str) -> None:
    if error is OutOfBoundsError:
        with pytest.raises(IndexError):
            X[key]
    with pytest.raises(error, match=message):
        run(lambda x: x[key], X)


def test_traced_masks_and_bounds_are_refused() -> None:
    with pytest.raises(TracerError, match="not known before the function runs"):
        run(lambda x: x[x > 0], X)
    with pytest.raises(TracerError, match="as an index, a size or a count"):
        run(lambda x, n: x[: n[0]], X, np.array([1]))
    with pytest.raises(OutOfBoundsError, match="only integers"):
        run(lambda x: x[x], X)
