"""In-place code on tracers: item assignment, augmented assignment, out=, views that alias, and random programs."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gradloom.trace.capture import lift, trace_flat
from gradloom.trace.tracer import Tracer
from gradloomc.ad.transform import vjp_of
from gradloomc.interp.interpreter import interpret
from gradloomc.ir.errors import DTypeError, ShapeError, TracerError, UnsupportedError
from gradloomc.ir.inline import inline_function
from gradloomc.ir.types import f64, tensor
from harness.tracing import check, run, trace

X = np.array([1.0, 2.0, 3.0, 4.0])
M = np.arange(12.0).reshape(3, 4)


def test_filling_an_array() -> None:
    def loop(x: Any) -> Any:
        out = np.zeros(4)
        for i in range(4):
            out[i] = x[i] ** 2
        return out

    def recurrence(x: Any) -> Any:
        u = np.empty((5, 2))
        u[0] = x[:2]
        for i in range(4):
            u[i + 1] = u[i] + 0.1 * np.sin(u[i][::-1])
        return u

    def mixed(x: Any) -> Any:
        out = np.ones((2, 3))
        out[0, 1] = x[0]
        out[:, 2] += x[1]
        out[1] *= x[2]
        out[-1, 0] -= 1
        return out

    for function in (loop, recurrence, mixed):
        check(function, X)


KEYS = [
    0,
    -1,
    slice(1, 3),
    slice(None, None, -1),
    slice(3, 0, -2),
    slice(0, 0),
    Ellipsis,
    [0, 2],
    [1, 1, 0],
    np.array([True, False, True, False]),
    None,
]


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_keys(key: Any) -> None:
    def assign(x: Any, v: Any) -> Any:
        y = x.copy()
        y[key] = v
        z = x * 1
        z[key] = 7
        return y, z

    def augment(x: Any, v: Any) -> Any:
        y = x.copy()
        y[key] += v
        y[key] **= 2
        return y

    check(assign, X, np.float64(9.0))
    check(augment, X, np.float64(9.0))
    part = X[key]
    if np.ndim(part):
        check(assign, X, -np.arange(float(np.size(part))).reshape(np.shape(part)))


def test_integer_arrays_in_two_dimensions() -> None:
    def function(m: Any, v: Any) -> Any:
        a, b, c = m.copy(), m.copy(), m.copy()
        a[[0, 2], [1, 3]] = v
        b[:, [3, 0]] = v
        c[np.arange(3), np.array([0, 1, 1])] += v[0]
        return a, b, c

    check(function, M, np.array([100.0, 200.0]))
    check(lambda m, i: _set(m, i), M, np.array([2, 0, 2]))


def _set(m: Any, i: Any) -> Any:
    a = m.copy()
    a[i] = m[:3] * 10
    a[i, 1] = -1.0
    return a


def test_traced_masks() -> None:
    def function(x: Any) -> Any:
        y = x.copy()
        y[y > 2] = 0
        y[x == 1] = x[3]
        return y

    check(function, X)
    check(lambda m: _clip_rows(m), M)
    with pytest.raises(TracerError, match="selects is not known"):
        run(lambda x: x.copy().__setitem__(x > 2, x), X)


def _clip_rows(m: Any) -> Any:
    y = m.copy()
    y[m[:, 0] > 3] = m[0]
    return y


def test_views_alias() -> None:
    """What is written through a view is seen by the array and by its other views, before and after."""

    def slices(x: Any) -> Any:
        y = x.copy()
        view, other = y[1:], y[:3]
        view[0] = 100.0
        first = other.sum()
        y *= 2
        return y, view, other, first

    def of_views(m: Any) -> Any:
        a = m.copy()
        row = a[1]
        row[1:3][0] = 50.0
        a.T[2] = -1.0
        a[:, ::-1][0] += 3
        np.swapaxes(a, 0, 1)[3, 2] = 77.0
        return a, row

    def reshaped(x: Any) -> Any:
        y = x * 1
        square = y.reshape(2, 2)
        square[1] = x[0]
        y[0] = 8.0
        return y, square

    def copies(x: Any) -> Any:
        y = x.copy()
        z, w, v = y.copy(), y + 0, y[[0, 1]]
        y[:] = 0
        v[0] = 5
        return y, z, w, v

    def names(x: Any) -> Any:
        y = x.copy()
        z = y
        z += 1
        y[0] = 0
        return y, z

    def iteration(m: Any) -> Any:
        a = m.copy()
        for row in a:
            row[0] = row.sum()
        for part in np.split(a, 2, axis=1):
            part *= 2
        return a

    for function in (slices, reshaped, copies, names):
        check(function, X)
    for function in (of_views, iteration):
        check(function, M)


def test_arrays_made_inside_alias_while_they_are_concrete() -> None:
    def function(x: Any) -> Any:
        a = np.zeros((3, 4))
        row, column = a[1], a[:, 2]
        row[0] = 5
        used = x[0] * a
        column += 1
        a[0, 0] = x[1]
        row[3] = x[2]
        flat = a.ravel()
        flat[-1] = x[3]
        return a, row, column, used, flat

    check(function, X)


def test_values_used_before_a_write_stay() -> None:
    """A concrete array that has been used enters as what it was then."""

    def function(x: Any) -> Any:
        w = np.arange(20.0)
        total = np.sum(w * x[0])
        w[0] = 1000.0
        w.sort()
        return total, np.sum(w * x[0]), w

    check(function, X)


def test_scalars_are_no_views() -> None:
    def function(x: Any) -> Any:
        y = x.copy()
        s = y[0]
        y[0] = 5.0
        t = s
        t += 1
        total = np.sum(y)
        before = total
        total += 1
        return s, t, before, total, y

    check(function, X)


def test_augmented_assignment_follows_numpys_casting() -> None:
    check(lambda x: _augment(x.astype(np.float32)), X)
    with pytest.raises(DTypeError, match="casting rule 'same_kind'"):
        run(lambda n: _augment(n.copy()), np.arange(4))
    with pytest.raises(ShapeError, match="non-broadcastable output operand"):
        run(lambda x: _augment(x[:1].copy(), x), X)


def _augment(y: Any, v: Any = 0.5) -> Any:
    y += v
    y *= v
    y -= 1
    y /= 3.0
    return y


def test_assignment_converts_to_the_arrays_dtype() -> None:
    def function(x: Any) -> Any:
        n = np.zeros(3, int)
        f = np.zeros(3, np.float32)
        n[0] = x[0] * 1.7
        f[1] = x[1]
        return n, f

    check(function, X)


def test_functions_that_write() -> None:
    def function(m: Any, x: Any) -> Any:
        a, b, c = m.copy(), np.zeros((3, 4)), np.zeros(5)
        np.fill_diagonal(a, x[0])
        np.copyto(b, m, where=m > 3)
        np.add.at(c, [0, 1, 1, 4], x)
        np.subtract.at(c, [4, 4], x[0])
        np.multiply(a, 2, out=a)
        np.sum(m, axis=0, out=b[0])
        d = np.empty_like(x)
        d.fill(x[1])
        e = m.copy()
        np.putmask(e, e > 5, x[3])
        np.put_along_axis(e, np.array([[0], [1], [2]]), x[2], axis=1)
        return a, b, c, d, e

    check(function, M, X)


def test_add_at_with_traced_indices() -> None:
    def function(x: Any, i: Any) -> Any:
        out = np.zeros(3)
        np.add.at(out, i, x)
        return out

    check(function, X, np.array([2, 0, 2, -2]))


def test_lists_of_rows() -> None:
    def function(x: Any) -> Any:
        rows = [np.zeros(2) for _ in range(3)]
        rows[1][0] = x[0]
        return np.array(rows)

    check(function, X)


def test_writing_into_an_argument_is_refused() -> None:
    def assign(x: Any) -> Any:
        x[0] = 1.0
        return x

    def augment(x: Any) -> Any:
        x += 1
        return x

    def through_a_view(x: Any) -> Any:
        x[1:][0] = 1.0
        return x

    for function in (assign, augment, through_a_view):
        with pytest.raises(
            UnsupportedError, match=r"'a0' is an argument.*(\n.*)*help: write into a copy: a0 = a0.copy\(\)"
        ):
            run(function, X)

    def of_a_number(x: Any) -> Any:
        x += 1
        return x

    check(of_a_number, np.float64(2.0))


def test_numbers_cannot_be_written() -> None:
    with pytest.raises(UnsupportedError, match="does not support item assignment"):
        run(lambda x: np.sum(x).__setitem__(..., 1.0), X)

    def of_an_array(x: Any) -> Any:
        a = np.zeros(())
        a[...] = x[0]
        a[()] += x[1]
        a += 1
        return a

    check(of_an_array, X)


def test_read_only_views_are_refused() -> None:
    def broadcast(x: Any) -> Any:
        np.broadcast_to(x.copy(), (2, 4))[0] = 1.0

    def diagonal(m: Any) -> Any:
        np.diagonal(m.copy())[0] = 1.0

    def uncertain_reshape(m: Any) -> Any:
        (m + 1).T.reshape(-1)[0] = 1.0

    for function, argument in ((broadcast, X), (diagonal, M), (uncertain_reshape, M)):
        with pytest.raises(UnsupportedError, match="assignment destination is read-only"):
            run(function, argument)

    def write_after_uncertain_reshape(m: Any) -> Any:
        a = (m + 1).T
        flat = a.reshape(-1)
        a[0] = 1.0
        return flat

    with pytest.raises(UnsupportedError, match="written after it had been reshaped"):
        run(write_after_uncertain_reshape, M)


def test_arrays_of_the_outside_are_refused() -> None:
    outside = np.zeros(4)

    def item(x: Any) -> Any:
        outside[0] = x[0]

    def everything(x: Any) -> Any:
        outside[:] = x

    for function in (item, everything):
        with pytest.raises(TracerError, match=r"no traced array went into.*\n.*\n.*\n.*np.array\(data\)"):
            run(function, X)
    np.testing.assert_array_equal(outside, 0)


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"could not broadcast input array from shape \(3,\) into shape \(2,\)"):
        run(lambda x: x.copy().__setitem__(slice(2), x[1:]), X)


def test_gradient_through_writes() -> None:
    """Overwritten elements have no influence; written ones carry theirs."""

    def function(x: Any) -> Any:
        y = x * x
        y[1] = 5.0
        y[2:] *= x[0]
        view = y[:2]
        view[0] += x[3]
        return np.sum(y)

    adjoint = vjp_of(trace(function, X).function, [0], unit_seed=True)
    value, gradient = interpret(adjoint, [X])
    assert value == function(X)
    step = 1e-6
    for k in range(4):
        delta = step * np.eye(4)[k]
        np.testing.assert_allclose(
            gradient[k], (function(X + delta) - function(X - delta)) / (2 * step), rtol=1e-7, atol=1e-7
        )


def test_a_loop_that_fills_an_array_is_joined_once() -> None:
    """One op per element, not one copy of the array per element."""

    def rows(x: Any) -> Any:
        u = np.zeros((50, 4))
        u[0] = x
        for i in range(49):
            u[i + 1] = u[i] * 0.5
        return u

    def elements(x: Any) -> Any:
        out = np.ones((3, 5))
        for i in range(3):
            for j in range(4):
                out[i, j] = x[j] * 2
        return out

    def partly(x: Any) -> Any:
        out = x.copy()
        before = out[1:]
        for i in range(3):
            out[i] += 1.0
        out[1:] *= 2
        return out, before

    for function, writes in ((rows, 50), (elements, 12), (partly, 3)):
        check(function, X)
        names = [op.name for op in trace(function, X).function.walk()]
        assert names.count("nd.concatenate") == 1
        assert names.count("nd.pad") <= 2  # the last line of `partly`
        assert len(names) < 6 * writes + 20


def test_an_inner_trace_reads_what_is_not_joined_yet() -> None:
    def outer(x: Any) -> Any:
        u: Any = np.zeros(4)
        view = u[1:]
        for i in range(4):
            u[i] = x[i] ** 2
        inner = trace_flat(lambda ts: [u.sum() * ts[0] + np.sum(view) * u[2]], [tensor((), f64)], ["t"], "inner")
        assert not inner.closed
        value: Any = Tracer(inline_function(inner.function, [lift(x[0])])[0])
        return value + np.sum(u) + view[0]

    squares = X**2
    expected = np.sum(squares) * X[0] + np.sum(squares[1:]) * squares[2] + np.sum(squares) + squares[1]
    np.testing.assert_allclose(run(outer, X)[0], expected)


def test_assigning_a_part_to_itself_writes_once() -> None:
    def function(x: Any) -> Any:
        y = x.copy()
        y[1:3] += 1
        return y

    ops = [op.name for op in trace(function, X).function.walk()]
    assert ops.count("nd.select") == 1
    check(function, X)


@st.composite
def programs(draw: Any) -> list[Any]:
    """Random sequences of views and writes on two arrays of shape (3, 4)."""
    steps = []
    for _ in range(draw(st.integers(1, 7))):
        kind = draw(
            st.sampled_from(["view", "transpose", "assign", "augment", "number", "swap", "row", "element", "total"])
        )
        key = draw(hnp.basic_indices((3, 4), max_dims=2))
        steps.append((kind, key, draw(st.integers(0, 5)), draw(st.integers(0, 5))))
    return steps


@settings(max_examples=150, deadline=None)
@given(programs(), st.booleans())
def test_random_programs(steps: list[Any], concrete: bool) -> None:
    """Any mixture of views and writes leaves what NumPy leaves, in every array and view."""

    def function(m: Any) -> Any:
        arrays = [np.zeros((3, 4)) if concrete else m.copy(), m * 2]
        for kind, key, i, j in steps:
            x, y = arrays[i % len(arrays)], arrays[j % len(arrays)]
            if kind == "view" and x.shape == (3, 4):
                if np.ndim(x[key]) > 0:
                    arrays.append(x[key])
            elif kind == "transpose":
                arrays.append(x.T)
            elif kind == "assign" and x.ndim and x.shape == y.shape:
                x[...] = y + 1
            elif kind == "augment" and x.shape == y.shape:
                x += y * 1
            elif kind == "number" and x.shape == (3, 4):
                x[key] = m[0, 0]
            elif kind == "swap" and x.ndim:
                x[::-1] *= 3
            elif kind == "row" and x.ndim and x.size:
                row = x[i % len(x)]
                x[j % len(x)] = row * m[0, 1]
                row += x[0]
                arrays.append(row)
            elif kind == "element" and x.ndim == 2 and x.size:
                x[i % x.shape[0], j % x.shape[1]] = x[j % x.shape[0], i % x.shape[1]] + m[1, 1]
            elif kind == "total" and x.ndim:
                arrays.append(np.sum(x, axis=0, keepdims=True))
        return arrays

    check(function, M + 1)
