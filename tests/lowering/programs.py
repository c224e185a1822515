"""Random programs on the nd level, drawn from a source of choices: a seeded generator, or hypothesis.

Programs compute on small whole numbers, so that every level must give the very same numbers; `smooth` programs, for
derivatives, compute on reals with functions that have no kinks.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from gradloomc.dialects import nd
from gradloomc.dialects.func import body_of, finish_function, make_function
from gradloomc.ir import types as ir_types
from gradloomc.ir.attributes import Dense
from gradloomc.ir.builder import at
from gradloomc.ir.core import Op, Value
from gradloomc.ir.types import ScalarType, tensor

EXTENTS = (1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 33)
MOST_ELEMENTS = 3000
BOUND = 1000.0  # numbers beyond it are brought back, so that sums and products stay exact


class Choices(Protocol):
    """Where a program's choices come from."""

    def integer(self, low: int, high: int) -> int:
        """Return a number of [low, high]."""
        ...


class Seeded:
    """Choices of a seeded generator."""

    def __init__(self, seed: int):
        self.rng = np.random.default_rng(seed)

    def integer(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))


class Program:
    """A program being drawn: the pool of values that ops take their operands from."""

    def __init__(self, choices: Choices, element: ScalarType, smooth: bool = False):
        self.choices, self.element, self.smooth = choices, element, smooth
        self.bounds: dict[Value, float] = {}
        self.pool: list[Value] = []
        shapes = [self.shape() for _ in range(choices.integer(1, 3))]
        if choices.integer(0, 3) == 0:
            shapes.append(shapes[0])
        self.function = make_function("f", [tensor(shape, element) for shape in shapes])
        for argument in body_of(self.function).arguments:
            self.put(argument, 4.0)

    # --- choices ---

    def pick(self, items: Sequence[Any]) -> Any:
        return items[self.choices.integer(0, len(items) - 1)]

    def flip(self, one_in: int = 2) -> bool:
        return self.choices.integer(1, one_in) == 1

    def shape(self) -> tuple[int, ...]:
        shape: list[int] = []
        for _ in range(self.choices.integer(0, 4)):
            extent = 0 if self.flip(60) else self.pick(EXTENTS)
            if math.prod(shape) * extent <= MOST_ELEMENTS:
                shape.append(extent)
        return tuple(shape)

    def value(self, wanted: Callable[[Value], bool] = lambda value: True) -> Value | None:
        """Return a value of the program's dtype; later ones are likelier."""
        found = [v for v in self.pool if v.type.element is self.element and wanted(v)]
        if not found:
            return None
        return self.pick(found[-4:]) if self.flip() else self.pick(found)

    def put(self, value: Value, bound: float) -> Value:
        if bound > BOUND:
            value, bound = (nd.sin(value), 1.0) if self.smooth else (nd.remainder(value, 7.0), 7.0)
        self.bounds[value] = bound
        self.pool.append(value)
        return value

    def number(self) -> float:
        return self.choices.integer(-3, 3)

    def like(self, value: Value) -> Value:
        """Return a value of the same shape: one that is there, a broadcast one, an iota or a constant."""
        shape = value.type.shape
        same = self.value(lambda v: v.type.shape == shape)
        way = self.choices.integer(0, 7)
        if same is not None and way < 4:
            return same
        smaller = self.value(lambda v: v.type.rank <= len(shape) and stretches(v.type.shape, shape))
        if smaller is not None and way < 6:
            return self.put(nd.broadcast_to(smaller, shape), self.bounds[smaller])
        if way == 6 and shape and not self.smooth:
            axis = self.choices.integer(0, len(shape) - 1)
            return self.put(nd.iota(shape=shape, axis=axis, type=self.element), 3000.0)
        return self.constant(shape)

    def constant(self, shape: tuple[int, ...]) -> Value:
        type = tensor(shape, self.element)
        if self.flip():
            return self.put(nd.splat(self.number(), type), 3.0)
        size = math.prod(shape)
        array = (np.arange(size) * 7 % 5 - self.choices.integer(0, 4)).reshape(shape)
        return self.put(nd.constant(value=Dense(type, array)), 5.0)

    # --- steps ---

    def step(self) -> None:
        """Append one op (and what it needs)."""
        steps = [self.unary, self.binary, self.binary, self.move, self.move, self.move, self.reduce, self.choose]
        if not self.smooth:
            steps.append(self.order)
        if self.flip(8):
            steps = [self.product, self.pick_rows]
        x = self.value()
        assert x is not None
        self.pick(steps)(x)

    def unary(self, x: Value) -> None:
        bound = self.bounds[x]
        if self.smooth:
            self.put(self.pick([nd.sin, nd.tanh, nd.arctan, nd.cos])(x), 1.6)
        elif self.flip():
            self.put(nd.neg(x), bound)
        elif self.flip():
            self.put(nd.abs_(x), bound)
        else:
            self.put(nd.square(x), bound**2)

    def binary(self, x: Value) -> None:
        y = self.like(x)
        a, b = self.bounds[x], self.bounds[y]
        which = self.choices.integer(0, 2 if self.smooth else 4)
        if which < 2:
            self.put(self.pick([nd.add, nd.sub])(x, y), a + b)
        elif which == 2:
            self.put(nd.mul(x, y), a * b)
        else:
            self.put(self.pick([nd.maximum, nd.minimum])(x, y), max(a, b))

    def choose(self, x: Value) -> None:
        y = self.like(x)
        z = self.like(x)
        condition = self.pick([nd.lt, nd.ge, nd.eq])(x, z)
        if self.flip(3):
            condition = nd.logical_and(condition, nd.gt(y, nd.splat(0, y.type)))
        self.put(nd.select(condition, x, y), max(self.bounds[x], self.bounds[y]))

    def order(self, x: Value) -> None:
        """Go through another dtype, or ask any/all."""
        if self.flip():
            through = self.pick([ir_types.i64, ir_types.i32, ir_types.f64, ir_types.f32])
            self.put(nd.convert(nd.convert(x, type=through), type=self.element), self.bounds[x])
        elif x.type.rank:
            axes = self.axes(x)
            answer = self.pick([nd.reduce_any, nd.reduce_all])(nd.gt(x, self.like(x)), axes=axes)
            self.put(nd.convert(answer, type=self.element), 1.0)

    def axes(self, x: Value) -> tuple[int, ...]:
        axes = tuple(axis for axis in range(x.type.rank) if self.flip())
        return axes or (self.choices.integer(0, x.type.rank - 1),)

    def reduce(self, x: Value) -> None:
        if not x.type.rank:
            return
        axes = self.axes(x)
        count = math.prod(x.type.shape[axis] for axis in axes)
        which = self.choices.integer(0, 3)
        if which < 2 or (count == 0 and which < 3) or (self.smooth and which == 2):
            self.put(nd.reduce_sum(x, axes=axes), self.bounds[x] * max(count, 1))
        elif which == 2:
            self.put(self.pick([nd.reduce_max, nd.reduce_min])(x, axes=axes), self.bounds[x])
        elif self.smooth:
            self.put(nd.reduce_prod(nd.tanh(x), axes=axes), 1.0)
        else:
            self.put(nd.reduce_prod(nd.sign(x), axes=axes), 1.0)

    def move(self, x: Value) -> None:
        bound, shape, rank = self.bounds[x], x.type.shape, x.type.rank
        which = self.choices.integer(0, 6)
        if which == 0 and rank > 1:
            permutation = list(range(rank))
            for k in range(rank - 1, 0, -1):
                j = self.choices.integer(0, k)
                permutation[k], permutation[j] = permutation[j], permutation[k]
            self.put(nd.transpose(x, permutation=tuple(permutation)), bound)
        elif which == 1 and rank:
            self.put(nd.reverse(x, axes=self.axes(x)), bound)
        elif which == 2 and rank:
            self.put(self.slice(x), bound)
        elif which == 3 and rank:
            self.pad(x)
        elif which == 4:
            self.put(nd.reshape(x, shape=self.other_shape(shape)), bound)
        elif which == 5:
            self.stretch(x)
        elif rank:
            self.join(x)

    def slice(self, x: Value) -> Value:
        start, limit, stride = [], [], []
        for extent in x.type.shape:
            low = self.choices.integer(0, min(extent, 3))
            high = self.choices.integer(max(low, extent - 3), extent)
            if self.flip(3):
                low, high = 0, extent
            start.append(low)
            limit.append(high)
            stride.append(self.pick((1, 1, 1, 2, 3)))
        return nd.slice_(x, start=tuple(start), limit=tuple(limit), stride=tuple(stride))

    def pad(self, x: Value) -> None:
        amounts = [tuple(self.choices.integer(0, 3) * self.choices.integer(0, 1) for _ in x.type.shape) for _ in "lh"]
        interior = tuple(self.choices.integer(0, 2) if self.flip(6) else 0 for _ in x.type.shape)
        if x.type.size <= MOST_ELEMENTS:
            self.put(nd.pad(x, low=amounts[0], high=amounts[1], interior=interior), self.bounds[x])

    def other_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return a shape of the same size: axes merged, split or with ones put between."""
        new = list(shape)
        if len(new) > 1 and self.flip():
            k = self.choices.integer(0, len(new) - 2)
            new[k : k + 2] = [new[k] * new[k + 1]]
        if new and self.flip():
            k = self.choices.integer(0, len(new) - 1)
            factor = next((f for f in (2, 3, 5) if new[k] and new[k] % f == 0), 1)
            new[k : k + 1] = [factor, new[k] // factor]
        if self.flip(3):
            new.insert(self.choices.integer(0, len(new)), 1)
        return tuple(new)

    def stretch(self, x: Value) -> None:
        shape, dims = [], []
        for extent in x.type.shape:
            if self.flip(4):
                shape.append(self.pick(EXTENTS[:6]))
            dims.append(len(shape))
            shape.append(self.pick(EXTENTS[:6]) if extent == 1 and self.flip() else extent)
        if self.flip():
            shape.append(self.pick(EXTENTS))
        if math.prod(shape) <= MOST_ELEMENTS and len(shape) <= 5:
            self.put(nd.broadcast(x, shape=tuple(shape), dims=tuple(dims)), self.bounds[x])

    def join(self, x: Value) -> None:
        axis = self.choices.integer(0, x.type.rank - 1)
        shape = x.type.shape
        parts = [x]
        for _ in range(self.choices.integer(1, 2)):
            fitting = self.value(
                lambda v: (
                    v.type.rank == len(shape)
                    and all(a == b for k, (a, b) in enumerate(zip(v.type.shape, shape, strict=True)) if k != axis)
                )
            )
            assert fitting is not None
            parts.append(fitting)
        if sum(part.type.size for part in parts) <= 2 * MOST_ELEMENTS:
            self.put(nd.concatenate(*parts, axis=axis), max(self.bounds[part] for part in parts))

    def product(self, x: Value) -> None:
        rank = x.type.rank
        if not rank:
            return
        axis = self.choices.integer(0, rank - 1)
        extent = x.type.shape[axis]
        y = self.value(lambda v: extent in v.type.shape and v.type.size * x.type.size <= MOST_ELEMENTS * extent)
        if y is None or extent == 0:
            return
        attributes = {"x_contract": (axis,), "y_contract": (y.type.shape.index(extent),), "x_batch": (), "y_batch": ()}
        if x.type.size // extent * (y.type.size // extent) <= MOST_ELEMENTS:
            self.put(nd.dot(x, y, **attributes), self.bounds[x] * self.bounds[y] * extent)

    def pick_rows(self, x: Value) -> None:
        if not x.type.rank or not x.type.shape[0]:
            return
        rows = x.type.shape[0]
        count = self.choices.integer(0, 4)
        indices = np.array([self.choices.integer(-rows, rows - 1) for _ in range(count)], np.int64)
        indices_value = nd.constant(value=Dense(tensor((count,), ir_types.i64), indices))
        self.put(nd.gather(x, indices_value, axes=(0,)), self.bounds[x])

    def finish(self, length: int) -> Op:
        """Draw `length` steps and the results; return the function."""
        with at(body_of(self.function)):
            for _ in range(length):
                self.step()
            outputs = [self.pool[-1]]
            for _ in range(self.choices.integer(0, 3)):
                outputs.append(self.pick(self.pool))
        return finish_function(self.function, outputs)


def stretches(shape: Sequence[int], to: Sequence[int]) -> bool:
    """Tell whether NumPy would broadcast `shape` to `to`."""
    aligned = (1,) * (len(to) - len(shape)) + tuple(shape)
    return all(a in (1, b) for a, b in zip(aligned, to, strict=True))


def draw_program(choices: Choices, element: ScalarType, smooth: bool = False) -> Op:
    """Return a random function with arguments of one dtype."""
    return Program(choices, element, smooth).finish(choices.integer(1, 14))


def draw_arguments(function: Op, seed: int, smooth: bool = False) -> list[np.ndarray[Any, Any]]:
    """Return arrays for a function: whole numbers from -4 to 4, or reals."""
    rng = np.random.default_rng(seed)
    arrays = []
    for argument in body_of(function).arguments:
        shape, dtype = argument.type.shape, argument.type.element.dtype
        values = rng.uniform(-1.5, 1.5, shape) if smooth else rng.integers(-4, 5, shape)
        arrays.append(np.asarray(values, dtype))
    return arrays
