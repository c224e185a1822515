"""Donate: find the results that may be written into the memory of an argument, element by element, after its last read.

The caller gives an argument's memory away (the function's attribute `donated` lists such arguments). A result of the
same type may take it if nothing reads the argument after the first write of the result, and what reads it while the
result is written reads exactly the element that is written next. Where loops go through a row in vectors, the last one
repeats points of the one before, which by then hold results: nests that read donated memory while it is written carry
the attribute `in_place`, and store each point once.

The answer is the attribute `donations`: for each donated argument its position, the position of the result that takes
its memory (or -1), and why not. That arguments share no memory with one another is for the caller to check.
"""

from collections.abc import Iterator, Sequence

from gradloomc.dialects import loops
from gradloomc.dialects.func import body_of
from gradloomc.ir.core import Op, Value
from gradloomc.lowering.rings import rings_of

Donation = tuple[int, int, str]


def donate_buffers(function: Op) -> Op:
    """Decide, for a loops-level function, in place, which results take the memory of donated arguments; return it."""
    donated = function.attributes.pop("donated", ())
    if not donated:
        return function
    chooser = _Chooser(function)
    function.attributes["donations"] = tuple([chooser.choose(position) for position in donated])
    return function


class _Chooser:
    """Gives results to arguments, in order; a result takes the memory of one argument only."""

    def __init__(self, function: Op):
        body = body_of(function)
        self.arguments, self.ops = body.arguments, body.ops[:-1]
        self.roots: dict[Value, Value] = {}
        for op in self.ops:
            if op.kind is loops.view:
                self.roots[op.results[0]] = self.root(op.operands[0])
        self.returned = [self.root(value) for value in body.terminator.operands]
        self.taken: set[Value] = set()

    def root(self, value: Value) -> Value:
        """Return the buffer that a value is a view of."""
        return self.roots.get(value, value)

    def choose(self, position: int) -> Donation:
        """Return which result takes the memory of an argument."""
        argument = self.arguments[position]
        if argument in self.returned:
            return position, -1, "it is returned as it is"
        if not argument.type.shape:
            return position, -1, "it is a single number"
        reason = "no result has its shape and dtype"
        for index, result in enumerate(self.returned):
            same = result.type.element is argument.type.element and result.type.shape == argument.type.shape
            if not same or result.op is None or result.op.kind is not loops.alloc:
                continue
            if result in self.taken or self.returned.count(result) > 1:
                reason = "the result of its shape and dtype has memory already"
                continue
            nests, reason = self.readers(argument, result)
            if not reason:
                self.taken.add(result)
                for nest in nests:
                    nest.attributes = {**nest.attributes, "in_place": True}
                return position, index, ""
        return position, -1, reason

    def readers(self, argument: Value, result: Value) -> tuple[list[Op], str]:
        """Return the nests that read the argument while the result is written, and what is wrong with that, or ''."""
        first = next(moment for moment, op in enumerate(self.ops) if self.writes(op, result))
        for later in self.ops[first + 1 :]:
            if any(self.root(value) is argument for value in _operands(later) if later.kind is not loops.view):
                return [], "it is read after the result has been written"
        op = self.ops[first]
        if op.kind is not loops.tiles:
            reading = [op] if self.reads(op, argument) else []
            return reading, self.conflict(op, argument, result) if reading else ""
        reading = [step for step in op.regions[0].block.ops[:-1] if self.reads(step, argument)]
        written = False
        for step in op.regions[0].block.ops[:-1]:
            if written and step in reading:
                return [], "it is read after the result has been written, in the same tile"
            if self.writes(step, result):
                written = True
                reason = self.conflict(step, argument, result) if step in reading else ""
                if reason or not self.has_rows_first(step, result):
                    return [], reason or "the result is not written row by row"
            elif step in reading and not self.reads_own_row(step, argument):
                return [], "a kernel in the same tile reads more of it than the row that is written"
        return reading, ""

    def writes(self, op: Op, buffer: Value) -> bool:
        if op.kind is loops.tiles:
            return any(self.writes(step, buffer) for step in op.regions[0].block.ops[:-1])
        if op.kind is loops.nest:
            return any(self.root(sink.operands[1]) is buffer for sink in _sinks(op))
        target = {loops.fill: 0, loops.gemm: 2}.get(op.kind)
        return target is not None and self.root(op.operands[target]) is buffer

    def reads(self, op: Op, buffer: Value) -> bool:
        return op.kind is not loops.view and any(self.root(value) is buffer for value in op.operands)

    def conflict(self, op: Op, argument: Value, result: Value) -> str:
        """Return what forbids that an op reads the argument and writes the result in the same memory; '' if nothing."""
        if op.kind is not loops.nest:
            return "a library call reads it and writes the result"
        if rings_of(op):
            return "the kernel that writes the result computes some of its rows twice"
        stores = [sink for sink in _sinks(op) if self.root(sink.operands[1]) is result]
        if any(sink.kind is not loops.store for sink in stores):
            return "the result adds up several of its elements"
        # At each point all is loaded before anything is stored. So what counts is along which axes points move.
        places = {_moving(sink.operands[1], sink.attributes["dims"]) for sink in stores}
        place = places.pop()
        moving = sorted(dim for dim, _ in place if dim is not None)
        if places or moving != [dim for dim, extent in enumerate(op.attributes["extents"]) if extent != 1]:
            return "each element of the result is written several times"
        for inner in op.regions[0].block.ops[:-1]:
            if inner in stores or not any(self.root(value) is argument for value in inner.operands):
                continue
            source, *positions = inner.operands
            if inner.kind is not loops.load or positions:
                return "the kernel that writes the result picks elements of it"
            moves = inner.attributes["map"]
            plain = all((factor, offset) == (1, 0) for dim, factor, offset in moves if dim >= 0)
            if not plain or _moving(source, [dim for dim, _, _ in moves]) != place:
                return "the kernel that writes the result reads other elements of it than the one it writes"
        return ""

    def has_rows_first(self, nest: Op, result: Value) -> bool:
        return all(
            bool(sink.attributes["dims"]) and sink.attributes["dims"][0] == 0
            for sink in _sinks(nest)
            if self.root(sink.operands[1]) is result
        )

    def reads_own_row(self, step: Op, argument: Value) -> bool:
        """Tell whether a nest in tiles reads only the row of the argument that it is at."""
        if step.kind is not loops.nest:
            return False
        for inner in step.regions[0].block.ops[:-1]:
            if any(self.root(value) is argument for value in inner.operands):
                plain = inner.kind is loops.load and len(inner.operands) == 1
                rows = inner.attributes["map"][:1] if plain else ()
                if tuple(rows) != ((0, 1, 0),) or any(dim == 0 for dim, _, _ in inner.attributes["map"][1:]):
                    return False
        return True


def _moving(buffer: Value, dims: Sequence[int]) -> tuple[tuple[int | None, int], ...]:
    """Return for each axis of a buffer the dimension that moves along it (None for a fixed place), and its extent."""
    pairs = zip(dims, buffer.type.shape, strict=True)
    return tuple([(dim if dim >= 0 else None, extent) for dim, extent in pairs if extent != 1])


def _operands(op: Op) -> Iterator[Value]:
    """Yield the buffers of an op, or of all ops in tiles."""
    for inner in op.regions[0].block.ops[:-1] if op.kind is loops.tiles else [op]:
        yield from inner.operands


def _sinks(nest: Op) -> list[Op]:
    return [op for op in nest.regions[0].block.ops[:-1] if op.kind in loops.SINKS]
