"""From recorded nodes to values: one `nd` function for all that is asked for, found again by structure."""

from collections.abc import Sequence
from typing import Any

from gradloom.autograd.graph import Array, Node, overwritten
from gradloom.autograd.matching import LONGEST, Writer
from gradloom.autograd.programs import (
    Program,
    Structure,
    argument_types,
    counters,
    emit,
    forward_patterns,
    lock,
    post_order,
    program_operands,
    run,
    work_of,
)
from gradloom.trace.capture import trace_flat
from gradloom.trace.tracer import Tracer


def pending(node: Node) -> list[Node]:
    """The operands of a node that are not computed yet."""
    return [x for x in node.inputs if isinstance(x, Node) and x.array is None]


def compute(nodes: Sequence[Node]) -> None:
    """Give nodes their values, in one program. Products in a graph that a backward may follow are kept as well."""
    wanted = [node for node in nodes if node.array is None]
    if not wanted:
        return
    with lock:
        name = tuple([node.signature for node in wanted])
        found = forward_patterns.find(name, wanted)
        if found is not None and found[1].fits(found[0].numbers) and found[1].executable is not None:
            match, structure = found
            counters.native_runs += 1
            results = structure.executable.run(structure.inputs(match.arrays, match.numbers))
            for node, array in zip(match.outputs, results, strict=True):
                settle(node, array)
            return
        program = Program()
        program.order = order = post_order(wanted, pending)
        key = program.key
        for position, node in enumerate(order):
            program.slots[id(node)] = position
            key.append(node.signature.code)
            for x in node.inputs:
                if not isinstance(x, Node):
                    program.numbers.append(x)
                elif x.array is None:
                    key.append(program.slots[id(x)])
                else:
                    key.append(program.argument(x))
        kept = {id(node) for node in wanted}
        outputs = [
            i
            for i, node in enumerate(order)
            if id(node) in kept or (node.signature.op.costly and node.edges is not None)
        ]
        key.append(-1)
        key += outputs
        structure = program.structure(lambda found: _build_forward(program, found, outputs))
        results = run(structure, program.arrays(structure), wanted[0].place)
        if structure.executable is not None and len(order) < LONGEST:
            given = [order[i] for i in outputs]
            pattern = Writer(wanted, order, set(), given, program.arguments, (), False).write()
            forward_patterns.remember(name, pattern, structure)
        for position, array in zip(outputs, results, strict=True):
            settle(order[position], array)


def settle(node: Node, array: Array) -> None:
    """Give a node its value. Where no gradient flows, what it was computed from is let go."""
    node.array = array
    node.depth = 0
    if node.edges is None:
        node.inputs = ()


def _build_forward(program: Program, structure: Structure, outputs: Sequence[int]) -> None:
    def call(tracers: list[Tracer]) -> list[Any]:
        arguments, numbers = program_operands(program, structure, tracers)
        values: list[Tracer] = []
        counter = iter(range(len(numbers)))
        for node in program.order:
            operands = []
            for x in node.inputs:
                if not isinstance(x, Node):
                    operands.append(numbers[next(counter)])
                else:
                    operands.append(values[program.slots[id(x)]] if x.array is None else arguments[program.argument(x)])
            values.append(emit(node, operands))
        return [values[i] for i in outputs]

    types, hints = argument_types(program, structure)
    traced = trace_flat(call, types, hints, "forward")
    structure.function, structure.captured = traced.function, traced.captured
    structure.work = work_of(traced.function)


def read_overwritten(starts: Sequence[Node]) -> None:
    """Let a graph have as operands what has been written into their memory through `.data` since: PyTorch saves memory,
    not values. The results stay what they were."""
    order = post_order(starts, lambda node: [edge for edge in node.edges or () if isinstance(edge, Node)])
    for node in order:
        if any(isinstance(x, Node) and x in overwritten for x in node.inputs):
            compute([each for each in order if each.array is None and each.inputs])
            node.inputs = tuple([_written(x) for x in node.inputs])


def _written(x: Any) -> Any:
    while isinstance(x, Node) and x in overwritten:
        x = x.__dict__["overwritten_by"]
    return x
