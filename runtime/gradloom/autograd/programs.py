"""Programs: what is asked of recorded nodes, described so that it is recognised, built once and run.

A `Program` is one set of nodes to be computed, with a key of its structure; a `Structure` is what was built for such a
key, interpreted or compiled. Whether it is worth compiling is decided here. Knows nothing of gradients.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradloom.autograd.graph import Array, Node
from gradloom.autograd.matching import Patterns
from gradloom.exec.executable import Executable
from gradloom.trace.tracer import Tracer
from gradloomc.dialects.func import body_of
from gradloomc.interp.interpreter import interpret
from gradloomc.ir import types as ir_types
from gradloomc.ir.builder import insertion
from gradloomc.ir.collection import paused_collection
from gradloomc.ir.core import Op
from gradloomc.ir.types import TensorType, tensor

# A structure is compiled when it is met for the first time only if interpreting it takes longer than LLVM needs.
COMPILE_AT_ONCE_FROM = 20_000_000  # elements computed
# One that comes now and then is compiled when it comes for this time. (A count and not seconds: results differ in the
# last bit between interpreter and native code, and shall not depend on the clock.)
OFTEN = 8
FEW_STRUCTURES = 4  # of backwards that start at the same line, so that each is compiled at once
# Compiling longer programs than this takes seconds; they are interpreted.
LARGEST_COMPILED = 6_000  # ops
MOST_STRUCTURES = 4096  # kept; the oldest goes first
NUMBER_TYPES = {float: tensor((), ir_types.f64), int: tensor((), ir_types.i64), bool: tensor((), ir_types.i1)}


class Counters:
    """What the engine has done, for tests and for the curious."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Set all counters to zero."""
        self.structures = self.compiled = self.interpreted_runs = self.native_runs = 0


counters = Counters()


class Structure:
    """A program that was met before.

    Attributes:
        numbers: the Python numbers that the program was built with.
        varying: the positions of those that have varied since: they are arguments.
        function, captured: the program and the arrays it needs besides its arguments.
    """

    __slots__ = ("captured", "executable", "function", "met", "numbers", "varying", "work")

    def __init__(self, numbers: tuple[Any, ...]):
        self.numbers, self.varying = numbers, frozenset[int]()
        self.function: Any = None
        self.captured: list[Array] = []
        self.executable: Executable | None = None
        self.work = 0  # elements computed
        self.met = 0  # times that it was run

    def inputs(self, arrays: Sequence[Any], numbers: Sequence[Any]) -> list[Any]:
        """Return what the function takes, but for seeds: arrays, the numbers that vary, the captured arrays."""
        if not self.varying:
            return [*arrays, *self.captured]
        return [*arrays, *[np.asarray(numbers[position]) for position in sorted(self.varying)], *self.captured]

    def fits(self, numbers: tuple[Any, ...]) -> bool:
        """Tell whether the program can be run with these numbers; if not, those that differ become arguments."""
        if numbers == self.numbers and not any(map(_is_negative_zero, numbers)):
            return True
        differing = {i for i, (a, b) in enumerate(zip(numbers, self.numbers, strict=True)) if not _same(a, b)}
        if differing <= self.varying:
            return True
        self.varying |= differing
        self.numbers, self.function, self.executable = numbers, None, None
        return False


def _is_negative_zero(number: Any) -> bool:
    return number == 0 and str(number)[0] == "-"


def _same(a: Any, b: Any) -> bool:
    return (a == b or (a != a and b != b)) and _is_negative_zero(a) == _is_negative_zero(b)


places: dict[Any, tuple[Structure, int]] = {}  # by line: the structure that came last, how many different ones came
structures: dict[Any, Structure] = {}
forward_patterns = Patterns()
backward_patterns = Patterns()
lock = threading.RLock()


def forget_programs() -> None:
    """Forget all programs; the next use of a structure is its first."""
    with lock:
        structures.clear()
        places.clear()
        forward_patterns.clear()
        backward_patterns.clear()


class Program:
    """A set of nodes to be computed together, described so that the same program is recognised.

    `key` describes everything but the numbers and the arrays. Slots number the values: arguments (arrays that are
    there) count from -1 downwards, nodes to be computed from 0 upwards.
    """

    __slots__ = ("arguments", "key", "numbers", "order", "slots")

    def __init__(self) -> None:
        self.arguments: list[tuple[Node, Any]] = []  # the node that has the value, and the leaf it stands for or None
        self.slots: dict[Any, int] = {}
        self.order: list[Node] = []
        self.numbers: list[Any] = []
        self.key: list[Any] = []

    def argument(self, node: Node, role: Any = None) -> int:
        """Return the slot of an argument; a leaf in two roles is two arguments."""
        name = (id(node), id(role))
        slot = self.slots.get(name)
        if slot is None:
            self.arguments.append((node, role))
            slot = self.slots[name] = -len(self.arguments)
        return slot

    def arrays(self, structure: Structure) -> list[Any]:
        """Return what the structure's function takes."""
        return structure.inputs([node.array for node, _ in self.arguments], self.numbers)

    def structure(self, build: Callable[[Structure], None]) -> Structure:
        """Return the structure that this program is an instance of, built by `build` when it is new."""
        key, numbers = tuple(self.key), tuple(self.numbers)
        found = structures.get(key)
        if found is None:
            if len(structures) >= MOST_STRUCTURES:
                del structures[next(iter(structures))]
            found = structures[key] = Structure(numbers)
            counters.structures += 1
        if not found.fits(numbers) or found.function is None:
            with paused_collection():
                build(found)
        return found


def run(structure: Structure, arrays: list[Any], place: Any, is_step: bool = False) -> Sequence[Array]:
    """Run a structure's function, natively if that pays.

    Args:
        place: the user's line that what is asked for comes from.
        is_step: it is a backward, so that a line which asks for another one looks like the step of a loop.
    """
    executable = structure.executable
    if executable is None:
        if not _is_worth_compiling(structure, place, is_step):
            counters.interpreted_runs += 1
            return interpret(structure.function, arrays)
        counters.compiled += 1
        executable = structure.executable = Executable(structure.function)
    counters.native_runs += 1
    return executable.run(arrays)


def _is_worth_compiling(structure: Structure, place: Any, is_step: bool) -> bool:
    """Tell whether a structure is likely to come often enough to pay for its compilation.

    It is if it comes twice in a row from the same line. The second step of a loop may differ from the first (gradients
    are there, parameters have been updated), so a line that asks for a second backward is taken for a loop as well,
    unless it has asked for several different ones. What comes now and then is compiled when it has come OFTEN.
    """
    last, different = places.get(place, (None, 0))
    again = last is structure
    if not again:
        different += 1
    places[place] = (structure, different)
    if len(body_of(structure.function).ops) > LARGEST_COMPILED:
        return False
    structure.met += 1
    looks_like_a_loop = is_step and structure.met == 1 and 1 < different <= FEW_STRUCTURES
    return again or looks_like_a_loop or structure.met >= OFTEN or structure.work >= COMPILE_AT_ONCE_FROM


def work_of(function: Op) -> int:
    return sum(value.type.size for op in body_of(function).ops for value in op.results)


def post_order(starts: Sequence[Node], children: Callable[[Node], Sequence[Node]]) -> list[Node]:
    """Return all nodes that `children` leads to, each after its children."""
    order: list[Node] = []
    entered: set[int] = set()
    left: set[int] = set()
    stack = list(starts)
    while stack:
        node = stack[-1]
        name = id(node)
        if name in entered:
            stack.pop()
            if name not in left:
                left.add(name)
                order.append(node)
            continue
        entered.add(name)
        for child in children(node):
            if id(child) not in entered:
                stack.append(child)
    return order


def argument_types(program: Program, structure: Structure) -> tuple[list[TensorType], list[str]]:
    types = [node.type for node, _ in program.arguments]
    hints = [f"x{i}" for i in range(len(types))]
    for position in sorted(structure.varying):
        types.append(NUMBER_TYPES[program.numbers[position].__class__])
        hints.append(f"number{position}")
    return types, hints


def program_operands(
    program: Program, structure: Structure, tracers: list[Tracer]
) -> tuple[dict[int, Tracer], list[Any]]:
    """Return the arguments by slot, and the numbers: those that vary as weak tracers."""
    count = len(program.arguments)
    arguments = {-1 - i: tracer for i, tracer in enumerate(tracers[:count])}
    numbers = list(program.numbers)
    for position, tracer in zip(sorted(structure.varying), tracers[count:], strict=True):
        tracer.weak = True
        numbers[position] = tracer
    return arguments, numbers


def emit(node: Node, operands: Sequence[Any]) -> Tracer:
    """Apply a node's operation in the function that is being traced; its ops get the place of the user's call."""
    block = insertion.block
    before = len(block.ops)
    result = node.signature.build(operands)
    location = node.location
    for op in block.ops[before:]:
        op.location = location
    return result


# --- gradients --------------------------------------------------------------------------------------------------------

Seed = Any  # the gradient of a start; None stands for ones
