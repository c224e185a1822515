"""Random NumPy programs, written as source: traced, compiled and differentiated they agree with NumPy.

Values are compared with the plain function in dtype, shape and elements, for the lengths a program was made for, for
arrays of other layouts, and for two more lengths (which run what is compiled for any length); gradients with central
differences along a random direction.
"""

import linecache
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gradloom import compile_grad, value_and_grad

MOST_ELEMENTS = 4000
LENGTHS = (1, 2, 3, 4, 5, 8, 9, 17)

# {x} and {y} are variables of floats, {i} one of integers, {t} the new variable, {k} an axis.
STEPS = """
{t} = np.sin({x}) * {y}
{t} = {x} - {y}
{t} = {x} / (1.5 + np.abs({y}))
{t} = np.maximum({x}, {y}) + np.minimum({x}, 0.3)
{t} = np.where({x} > {y}, {x} ** 2, np.tanh({y}))
{t} = np.hypot({x}, 1.0) ** 1.5 - np.clip({y}, -0.5, 0.7)
{t} = np.logaddexp({x}, {y})
{t} = np.sum({x}, axis={k})
{t} = np.mean({x}, axis={k}, keepdims=True) * {x}
{t} = np.max({x}, axis={k})
{t} = np.prod(np.cos({x}), axis={k})
{t} = np.std({x}, axis={k})
{t} = np.linalg.norm({x}, axis={k})
{t} = np.cumsum({x}, axis={k})
{t} = {x}[::-1]
{t} = {x}[1:] - {x}[:-1]
{t} = {x}[..., ::2]
{t} = {x}[-1::-3]
{t} = {x}[{i} % {x}.shape[0]]
{t} = np.take({x}, {i} % {x}.shape[-1], axis=-1)
{t} = {x}.T * 2.0
{t} = {x}.reshape(-1)
{t} = {x}[:, None] * {x}[None]
{t} = np.concatenate([{x}, {x}[::-1] * 0.5], axis={k})
{t} = np.stack([{x}, {y}])
{t} = np.pad({x}, 1)
{t} = np.roll({x}, 2, axis={k})
{t} = np.repeat({x}, 2, axis={k})
{t} = np.diff({x}, axis={k})
{t} = {x} @ {y}
{t} = {x} @ {x}.T
{t} = np.einsum('ij,ij->i', {x}, {x})
{t} = np.einsum('i,j->ij', {x}, {x})
{t} = np.exp({x} - {x}.max(axis=-1, keepdims=True)); {t} = {t} / {t}.sum(axis=-1, keepdims=True)
{t} = {x}[:, None] - {x}; {t} = np.sum({t} / (0.1 + {t} ** 2), axis=1)
{t} = np.tanh({x} @ {x}.T); {t} = {t} * {t}.T + {t}
{t} = {x}.copy(); {t}[1:] += 0.5 * {t}[:-1]
{t} = np.array({x}); {t}[::-2] = 0.25
{t} = {x} * 1.0; {t}[{t} > 0.2] = 0.1
{t} = np.zeros({x}.shape); np.add.at({t}, {i} % {x}.shape[0], {x}[{i} % {x}.shape[0]])
{t} = {x}.copy(); {t}[0], {t}[-1] = {t}[-1].copy(), {t}[0].copy()
{t} = np.array([np.sum({x}), 1.0, np.mean({y})])
{t} = np.sum([{x}, 2.0 * {x}], axis=0)
{t} = np.triu({x})
{t} = ({x} > 0.1) * {y} + np.arange({x}.shape[-1])
{t} = {x}.astype(np.float32) * 2 + {y}
""".strip().splitlines()


class Program:
    """A random program: its source, and the arguments that it was made for."""

    def __init__(self, seed: int):
        self.choices = random.Random(seed)
        self.shapes = [self.choices.choice(("n", "nm", "mn", "nn", "nmk")) for _ in range(self.choices.randint(1, 2))]
        names = ["a", "b"][: len(self.shapes)]
        self.arguments = self.draw({c: self.choices.choice(LENGTHS) for c in "nmk"}, seed)
        self.values: dict[str, Any] = {"np": np, **dict(zip([*names, "i"], self.arguments, strict=True))}
        self.pool, self.lines = list(names), list[str]()
        for _ in range(60):
            if len(self.lines) < 6:
                self.step()
        head = f"({', '.join([*names, 'i'])}):\n" + "".join(f"    {line}\n" for line in self.lines)
        loss = " + ".join(f"np.sum(np.sin({name}))" for name in self.pool[-3:])
        results = ", ".join(self.pool[-3:])
        self.source = f"import numpy as np\ndef f{head}    return [{results}]\ndef loss{head}    return {loss}\n"

    def draw(self, lengths: dict[str, int], seed: int) -> list[Any]:
        rng = np.random.default_rng(seed)
        arrays = [rng.uniform(-1.5, 1.5, [lengths[c] for c in shape]) for shape in self.shapes]
        return [*arrays, rng.integers(-2, 6, lengths["k"])]

    def step(self) -> None:
        """Append a step if NumPy takes it and its result is moderate."""
        x = self.choices.choice(self.pool[-4:])
        y, new = self.choices.choice(self.pool), f"t{len(self.lines)}"
        axis = self.choices.randint(-np.ndim(self.values[x]), max(np.ndim(self.values[x]) - 1, 0))
        line = self.choices.choice(STEPS).format(x=x, y=y, i="i", t=new, k=axis)
        values = dict(self.values)
        try:
            exec(line, values)
        except (ValueError, IndexError, TypeError):
            return
        made = values[new]
        if 0 < np.size(made) <= MOST_ELEMENTS and np.all(np.isfinite(made)) and np.max(np.abs(made)) < 50:
            self.values = values
            self.pool.append(new)
            self.lines.append(line)


def other_layouts(arrays: list[Any], choices: random.Random) -> list[Any]:
    """Return the same arrays in Fortran's order, with negative strides, of the other byte order, or read-only."""
    result = []
    for array in arrays:
        way = choices.randrange(4)
        if way == 0:
            array = np.asfortranarray(array)
        elif way == 1:
            array = np.ascontiguousarray(array[::-1])[::-1]
        elif way == 2:
            array = array.astype(array.dtype.newbyteorder())
        else:
            array = array.copy()
            array.flags.writeable = False
        result.append(array)
    return result


def assert_same(actual: Any, expected: Any, single: bool) -> None:
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert (actual.dtype, actual.shape) == (expected.dtype.newbyteorder("="), expected.shape)
    tolerance = 1e-4 if single else 1e-10
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


def difference(loss: Callable[..., Any], arrays: list[Any], direction: Any, step: float) -> float:
    def at(distance: float) -> float:
        return float(loss(arrays[0] + distance * direction, *arrays[1:]))

    return (8 * (at(step) - at(-step)) - (at(2 * step) - at(-2 * step))) / (12 * step)


def check(seed: int) -> bool:
    """Run one program; return whether its gradient could be compared with differences (no kink is near)."""
    program = Program(seed)
    name = f"<random function {seed}>"
    linecache.cache[name] = (len(program.source), None, program.source.splitlines(True), name)
    space: dict[str, Any] = {"__name__": "random_function"}
    exec(compile(program.source, name, "exec"), space)
    single = "float32" in program.source
    compiled, derivative = compile_grad(space["f"]), value_and_grad(space["loss"])
    sets = [program.arguments, other_layouts(program.arguments, program.choices)]
    sets += [program.draw({c: program.choices.choice(LENGTHS) for c in "nmk"}, seed + k) for k in (1, 2)]
    compared = False
    for arrays in sets:
        try:
            expected = space["f"](*arrays)
        except (ValueError, IndexError):
            continue  # the program does not suit these lengths
        for actual, right in zip(compiled(*arrays), expected, strict=True):
            assert_same(actual, right, single)
        value, gradient = derivative(*arrays)
        assert value == pytest.approx(space["loss"](*arrays), rel=1e-4 if single else 1e-9)
        assert (gradient.dtype, gradient.shape) == (np.float64, arrays[0].shape)
        direction = np.random.default_rng(seed).standard_normal(arrays[0].shape)
        coarse, fine = [difference(space["loss"], arrays, direction, step) for step in (1e-4, 3e-5)]
        scale = 1 + abs(fine) + float(np.sum(np.abs(gradient * direction)))
        if abs(coarse - fine) < 1e-6 * scale and not single:
            compared = True
            assert abs(np.sum(gradient * direction) - fine) < 1e-5 * scale
    return compared


@pytest.mark.parametrize("batch", range(6))
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_random_functions(batch: int) -> None:
    compared = 0
    for seed in range(5 * batch, 5 * batch + 5):
        try:
            compared += check(seed)
        except Exception as error:
            error.add_note(f"seed {seed}:\n{Program(seed).source}")
            raise
    assert compared >= 2
