"""How the interpreter runs ops with regions: kernels on arrays, loop nests on buffers.

A region is written for one point; here it runs once, on arrays over all points of the nest. Coordinates are index
arrays, loads are fancy indexing, tests are comparisons, and what a point stores or reduces is cut out of the array of
all points. Nothing of lowering or code generation is shared, so that agreement with native code means something.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradloomc.dialects import kernel, loops
from gradloomc.interp.evaluate import Array, Environment, Interpreter
from gradloomc.ir.core import Op, Value
from gradloomc.ir.opdef import REGISTRY
from gradloomc.ir.types import MemRefType, ScalarType

_COMBINE: dict[str, np.ufunc] = {
    "add": np.add,
    "mul": np.multiply,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "or": np.logical_or,
    "and": np.logical_and,
}


class Points:
    """A box of points: [low, high) along each dimension."""

    def __init__(self, low: Sequence[int], high: Sequence[int]):
        self.low, self.high = tuple(low), tuple(high)
        self.shape = tuple(b - a for a, b in zip(low, high, strict=True))

    def coordinate(self, dim: int) -> Array:
        """Return the coordinates along `dim`, shaped to broadcast against the box."""
        axes = [1] * len(self.shape)
        axes[dim] = self.shape[dim]
        return np.arange(self.low[dim], self.high[dim]).reshape(axes)

    def read(self, array: Array, index_map: Sequence[tuple[int, int, int]], integers: Sequence[Array] = ()) -> Array:
        """Return the mapped elements; a position outside the array, which no result may use, reads an end of it.

        Args:
            integers: what stands at all points for the dimensions -2, -3, ... of the map.
        """
        if array.size == 0:
            return np.zeros((), array.dtype)
        indices = []
        for extent, (dim, coefficient, offset) in zip(array.shape, index_map, strict=True):
            at = integers[-2 - dim] if dim < -1 else 0 if dim < 0 else self.coordinate(dim)
            position = coefficient * at + offset
            indices.append(np.clip(position, 0, extent - 1))
        return np.asarray(array[tuple(indices)])

    def cut(self, value: Any, low: Sequence[int], high: Sequence[int]) -> "tuple[Array, Points]":
        """Return the part of the values of all points that lies in [low, high), and its points."""
        lows = [max(a, b) for a, b in zip(low, self.low, strict=True)]
        highs = [max(a, min(b, c)) for a, b, c in zip(lows, high, self.high, strict=True)]
        where = [slice(a - c, b - c) for a, b, c in zip(lows, highs, self.low, strict=True)]
        return np.broadcast_to(value, self.shape)[tuple(where)], Points(lows, highs)


def _kept_first(part: Array, dims: Sequence[int]) -> tuple[Array, tuple[int, ...]]:
    """Move the dimensions of a result to the front, in its order; return the axes of the others."""
    rest = [dim for dim in range(part.ndim) if dim not in dims]
    return np.transpose(part, (*dims, *rest)), tuple(range(len(dims), part.ndim))


def _reduced(part: Array, dims: Sequence[int], combine: str) -> Array:
    moved, axes = _kept_first(part, dims)
    return _COMBINE[combine].reduce(moved, axis=axes, dtype=part.dtype) if axes else moved


def _run_point_op(interpreter: Interpreter, op: Op, environment: Environment, points: Points) -> Any:
    """Return the value of one op of a region at all points."""
    attributes = op.attributes
    if op.kind is kernel.place:
        return environment[op.operands[0]]
    if op.kind is kernel.index:
        return points.coordinate(attributes["dim"])
    if op.kind is kernel.inside:
        at = points.coordinate(attributes["dim"])
        return (attributes["low"] <= at) & (at < attributes["high"])
    (result,) = interpreter.evaluate(op, [environment[operand] for operand in op.operands])
    element = op.results[0].type
    assert isinstance(element, ScalarType)
    return np.asarray(result, dtype=element.dtype)


def _run_kernel(interpreter: Interpreter, op: Op, environment: Environment) -> list[Array]:
    attributes, block = op.attributes, op.regions[0].block
    points = Points([0] * len(attributes["extents"]), attributes["extents"])
    for argument, (operand, index_map) in zip(block.arguments, attributes["inputs"], strict=True):
        environment[argument] = points.read(environment[op.operands[operand]], index_map)
    for inner in block.ops[:-1]:
        if inner.kind is kernel.gather:
            table = environment[op.operands[inner.attributes["operand"]]]
            integers = [environment[operand] for operand in inner.operands]
            environment[inner.results[0]] = points.read(table, inner.attributes["map"], integers)
        else:
            environment[inner.results[0]] = _run_point_op(interpreter, inner, environment, points)
    results = {result: np.empty(_shape(result), result.type.element.dtype) for result in op.results}
    started: set[Value] = set()  # results that several scalars are placed in
    for value, (combine, dims, low, high, result) in zip(block.terminator.operands, kernel.outputs_of(op), strict=True):
        if combine in kernel.SCATTERS:
            how, integers = combine.removeprefix(kernel.SCATTER), value.owner.operands[1:]
            if result not in started:
                results[result][...] = np.iinfo(np.int64).min if how == "maximum" else 0
                started.add(result)
            numbers = [environment[operand] for operand in integers]
            _scatter(how, results[result], points, environment[value], numbers, dims, low, high)
            continue
        part, _ = points.cut(environment[value], low, high)
        moving = [dim for dim in dims if dim >= 0]
        array = _kept_first(part, moving)[0] if combine == "store" else _reduced(part, moving, combine)
        results[result][tuple(slice(None) if dim >= 0 else ~dim for dim in dims)] = array
    return [results[result] for result in op.results]


def _run_nest(
    interpreter: Interpreter, op: Op, environment: Environment, rows: tuple[int, int] | None = None
) -> list[Array]:
    extents = op.attributes["extents"]
    low, high = [0] * len(extents), list(extents)
    if rows is not None:
        low[0], high[0] = rows
    elif any(operand.op is not None and operand.op.attributes.get("ring") for operand in op.operands):
        for row in range(extents[0]):  # which may read what the rows before have stored
            _run_nest(interpreter, op, environment, (row, row + 1))
        return []
    points = Points(low, high)
    for inner in op.regions[0].block.ops[:-1]:
        if inner.kind is loops.load:
            buffer, *integers = (environment[operand] for operand in inner.operands)
            environment[inner.results[0]] = points.read(buffer, inner.attributes["map"], integers)
        elif inner.kind is loops.scatter:
            value, buffer, *integers = (environment[operand] for operand in inner.operands)
            how, *place = (inner.attributes[name] for name in ("combine", "dims", "low", "high"))
            _scatter(how, buffer, points, value, integers, *place)
        elif inner.kind in (loops.store, loops.reduce):
            _write(inner, environment, points)
        elif inner.kind is loops.prefetch:
            continue
        else:
            environment[inner.results[0]] = _run_point_op(interpreter, inner, environment, points)
    return []


def _write(op: Op, environment: Environment, points: Points) -> None:
    """Store or reduce the values of all points into the buffer."""
    value, buffer = (environment[operand] for operand in op.operands[:2])
    dims, low = op.attributes["dims"], op.attributes["low"]
    part, inside = points.cut(value, low, op.attributes["high"])
    if 0 in part.shape:
        return
    where = [slice(inside.low[d] - low[d], inside.high[d] - low[d]) if d >= 0 else ~d for d in dims]
    target = buffer[(*where, ...)]
    dims = [dim for dim in dims if dim >= 0]
    if op.kind is loops.store:
        moved, axes = _kept_first(part, dims)
        target[...] = moved[(..., *[-1] * len(axes))]  # of points with one target, the last is the one that stays
    else:
        target[...] = _COMBINE[op.attributes["combine"]](target, _reduced(part, dims, op.attributes["combine"]))


def _scatter(
    combine: str,
    buffer: Array,
    points: Points,
    value: Any,
    integers: Sequence[Any],
    dims: Sequence[int],
    low: Sequence[int],
    high: Sequence[int],
) -> None:
    """Combine the values of all points into the elements that integers name, point by point."""
    part, inside = points.cut(value, low, high)
    places = [points.cut(each, low, high)[0] for each in integers]
    where = tuple(inside.coordinate(dim) - low[dim] if dim >= 0 else places[~dim] for dim in dims)
    _COMBINE[combine].at(buffer, where, part.astype(buffer.dtype))


def _run_tiles(interpreter: Interpreter, op: Op, environment: Environment) -> list[Array]:
    extent, rows = op.attributes["extent"], op.attributes["rows"]
    for start in range(0, extent, rows):
        for nest in op.regions[0].block.ops[:-1]:
            run = _run_gemm if nest.kind is loops.gemm else _run_nest
            run(interpreter, nest, environment, (start, min(start + rows, extent)))
    return []


def _run_alloc(interpreter: Interpreter, op: Op, environment: Environment) -> list[Array]:
    """Return memory full of what no program may rely on."""
    type: MemRefType = op.attributes["type"]
    shape, dtype = _shape(op.results[0]), type.element.dtype
    junk = {"f": np.nan, "b": True}
    return [np.full(shape, junk[dtype.kind] if dtype.kind in junk else np.iinfo(dtype).max, dtype)]


def _run_fill(interpreter: Interpreter, op: Op, environment: Environment) -> list[Array]:
    environment[op.operands[0]][...] = op.attributes["value"]
    return []


def _run_view(interpreter: Interpreter, op: Op, environment: Environment) -> list[Array]:
    return [environment[op.operands[0]].reshape(_shape(op.results[0]))]


def _run_constant(interpreter: Interpreter, op: Op, environment: Environment) -> list[Array]:
    return [op.attributes["value"].to_array()]


def _run_gemm(
    interpreter: Interpreter, op: Op, environment: Environment, tile: tuple[int, int] | None = None
) -> list[Array]:
    a, b, c = (environment[operand].reshape(-1) for operand in op.operands)
    attributes = op.attributes
    shape = list(attributes["shape"])
    if tile is not None:
        which, part, *steps = attributes["rows"]
        a, b, c = (array[tile[0] * step :] for array, step in zip((a, b, c), steps, strict=True))
        shape[which] = (tile[1] - tile[0]) * part
    rows, columns, contracted = shape
    batch, leading, (a_moved, b_moved) = attributes["batch"], attributes["leading"], attributes["transposed"]

    def matrices(array: Array, position: int, shape: tuple[int, int], transposed: bool) -> Array:
        extents = tuple(extent for extent, *_ in batch)
        steps = [steps[position] for _, *steps in batch]
        steps += [1, leading[position]] if transposed else [leading[position], 1]
        strides = [step * array.itemsize for step in steps]
        return np.lib.stride_tricks.as_strided(array, extents + shape, strides)

    target = matrices(c, 2, (rows, columns), False)
    product = np.matmul(
        matrices(a, 0, (rows, contracted), a_moved), matrices(b, 1, (contracted, columns), b_moved)
    )
    scaled = product * c.dtype.type(attributes["alpha"])
    target[...] = scaled if attributes["beta"] == 0 else scaled + c.dtype.type(attributes["beta"]) * target
    return []


def _run_extern(interpreter: Interpreter, op: Op, environment: Environment) -> Sequence[Array]:
    operands = [environment[operand] for operand in op.operands]
    reference = REGISTRY[op.attributes["callee"]].reference
    assert reference is not None
    results = reference(*operands, **dict(op.attributes["attributes"]))
    if len(op.results) == 1:
        results = (results,)
    return [
        np.array(array, result.type.element.dtype, order="C").reshape(_shape(result))
        for array, result in zip(results, op.results, strict=True)
    ]


def _shape(value: Value) -> tuple[int, ...]:
    return value.type.shape


REGION_OPS: dict[str, Callable[..., Any]] = {
    kernel.nest.name: _run_kernel,
    loops.nest.name: _run_nest,
    loops.tiles.name: _run_tiles,
    loops.alloc.name: _run_alloc,
    loops.scratch.name: _run_alloc,
    loops.fill.name: _run_fill,
    loops.view.name: _run_view,
    loops.constant.name: _run_constant,
    loops.gemm.name: _run_gemm,
    loops.extern.name: _run_extern,
}
