"""From recorded nodes to gradients: one sweep from some nodes down to leaves, as one function of values and gradients.

`Backward` turns a graph into an `nd` function and its adjoint, which is found again by structure. Knows nothing of
tensors but that a leaf is one, and calls no hooks: at a barrier, where Python code has to see a gradient, it stops.
"""

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradloom.autograd.engine import compute, pending, settle
from gradloom.autograd.graph import Array, Node, data_node
from gradloom.autograd.matching import LONGEST, Writer
from gradloom.autograd.programs import (
    NUMBER_TYPES,
    Program,
    Structure,
    argument_types,
    backward_patterns,
    counters,
    emit,
    lock,
    post_order,
    program_operands,
    run,
    work_of,
)
from gradloom.autograd.versions import check_saved
from gradloom.trace.capture import trace_flat
from gradloom.trace.tracer import Tracer
from gradloomc.ad.transform import vjp_of
from gradloomc.dialects import nd
from gradloomc.dialects.func import body_of, finish_function
from gradloomc.ir.builder import at
from gradloomc.ir.core import Block, Value
from gradloomc.passes.dce import eliminate_dead_code
from gradloomc.pipelines import end_differentiation

Seed = Any  # the gradient of a start; None stands for ones


def is_barrier(node: Node) -> bool:
    """Tell whether Python code has to see the gradient of a node before it goes on: a hook, or a custom function."""
    extra = node.extra
    return extra is not None and ("hooks" in extra or "call" in extra)


def sweep_known(
    starts: Sequence[tuple[Node, Seed]], wanted: "set[int] | None", retain: bool
) -> "list[tuple[Any, Array]] | None":
    """Return the gradients of the wanted leaves if the graph matches a pattern: (leaf, gradient). Otherwise None."""
    with lock:
        name = (wanted is None, *[(node.signature, seed is None) for node, seed in starts])
        found = backward_patterns.find(name, [node for node, _ in starts], wanted)
        if found is None or not found[1].fits(found[0].numbers) or found[1].executable is None:
            return None
        match, structure = found
        arrays = structure.inputs(match.arrays, match.numbers)
        arrays += [seed for _, seed in starts if seed is not None]
        counters.native_runs += 1
        results = structure.executable.run(arrays)
        for node, array in zip(match.outputs, results, strict=False):
            settle(node, array)
        if not retain:
            for node in match.nodes:
                node.freed, node.inputs = True, ()
        return list(zip(match.leaves, results[len(match.outputs) :], strict=True))


class Passive:
    """The role of an argument that stands for no leaf: where its gradient goes if the program itself is recorded."""

    __slots__ = ("edge",)

    def __init__(self, edge: Any):
        self.edge = edge


class Backward:
    """One sweep through a graph, from some nodes down to leaves (and to nodes at which it shall stop or look).

    Args:
        starts: nodes whose gradients are known.
        wanted: identities of the leaf tensors and nodes that gradients are wanted of; None for all leaves.
        recorded: the gradients are to be recorded themselves, so every value in the graph becomes an argument.

    Attributes:
        nodes: the nodes that take part, each after those that its gradient goes to.
        leaf_targets: the leaf tensors reached.
        node_targets: the nodes reached whose gradients are asked for: those of `wanted`, those that retain their
            gradient, and the barriers, where the sweep stops.
    """

    def __init__(self, starts: Sequence[tuple[Node, Seed]], wanted: "set[int] | None" = None, recorded: bool = False):
        self.starts, self.recorded, self._wanted = starts, recorded, wanted
        self._start_names = {id(node) for node, _ in starts}
        self._stops: set[int] = set()
        self._watched = set(wanted or ())
        order = post_order([node for node, _ in starts], self._children)
        used = self._choose(order)
        self._order = order if len(used) == len(order) else [node for node in order if id(node) in used]
        self.leaf_targets: list[Any] = []
        self.node_targets: list[Node] = []
        self._stand_ins: dict[tuple[int, int], Node] = {}
        self._passives: dict[int, Passive] = {}
        self._leaf_probes: dict[tuple[int, int], int] = {}  # uses of leaves whose values are computed in the program

    @property
    def nodes(self) -> list[Node]:
        """The nodes that take part, each after those that its gradient goes to."""
        return [node for node in self._order if id(node) in self._inside]

    def _children(self, node: Node) -> list[Node]:
        """What must come before a node in the program: where its gradient goes, and the operands without a value."""
        extra = node.extra
        if extra is not None and id(node) not in self._start_names:
            if is_barrier(node):
                self._stops.add(id(node))
                return [] if self.recorded or node.array is not None else pending(node)
            if "retained" in extra:
                self._watched.add(id(node))
        elif extra is not None and "retained" in extra:
            self._watched.add(id(node))
        found = [edge for edge in node.edges or () if isinstance(edge, Node)]
        if not self.recorded:
            for k, x in enumerate(node.inputs):
                if x.__class__ not in NUMBER_TYPES and x.array is None and x not in found:
                    if node.edges is not None and isinstance(node.edges[k], Node):
                        compute([x])  # written under no_grad: the value is another one than what the gradient goes to
                    else:
                        found.append(x)
        return found

    def _choose(self, order: list[Node]) -> set[int]:
        """Find the nodes that gradients flow through (`_inside`); return them and those whose values they need."""
        inside = set(self._start_names)
        for node in reversed(order):
            if id(node) in inside and id(node) not in self._stops:
                for edge in node.edges or ():
                    if isinstance(edge, Node):
                        inside.add(id(edge))
        reached = len(inside)
        if self._wanted is not None:
            inside &= self._needed(order, self._wanted)
        self._pruned = len(inside) < reached
        self._inside = inside
        if len(inside) == len(order):
            return inside
        used = set(inside)
        if not self.recorded:
            for node in reversed(order):
                if id(node) in used and (node.array is None or (id(node) in inside and id(node) not in self._stops)):
                    used.update(map(id, pending(node)))
        return used

    def _needed(self, order: list[Node], wanted: set[int]) -> set[int]:
        """Return the nodes from which a gradient reaches something that is wanted, or a barrier."""
        needed: set[int] = set()
        for node in order:
            name = id(node)
            if name in wanted or name in self._stops:
                needed.add(name)
            elif any(edge is not None and (id(edge) in needed or id(edge) in wanted) for edge in node.edges or ()):
                needed.add(name)
        return needed | self._start_names

    def _is_cut(self, node: Node) -> bool:
        return id(node) in self._stops and id(node) in self._inside

    def flows(self, edge: Any) -> bool:
        """Tell whether the gradient along an edge is wanted."""
        if edge is None:
            return False
        if isinstance(edge, Node):
            return id(edge) in self._inside
        return self._wanted is None or id(edge) in self._wanted

    # --- the program --------------------------------------------------------------------------------------------------

    def run(self) -> tuple[Sequence[Array], Sequence[Array]]:
        """Return the gradients of the leaf targets and of the node targets; give values to held nodes."""
        with lock:
            structure, program = self.prepare()
            arrays = program.arrays(structure)
            arrays += [seed for _, seed in self.starts if seed is not None]
            results = run(structure, arrays, self.starts[0][0].place, is_step=True)
            if structure.executable is not None:
                self._remember(structure)
            live = len(self._live)
            for node, array in zip(self._live, results[:live], strict=True):
                settle(node, array)
            leaves = live + len(self.leaf_targets)
            return results[live:leaves], results[leaves:]

    def _remember(self, structure: Structure) -> None:
        """Keep a pattern of the graph, if it is one that patterns can describe."""
        order, program = self._order, self._program
        asked = self._watched - (self._wanted or set())
        plain = not (self._stops or self.node_targets or asked or self._pruned) and len(order) < LONGEST
        if not plain or any(node.freed for node in order):
            return
        for node in order:
            if id(node) in self._inside:
                for x, edge in zip(node.inputs, node.edges or (), strict=True):
                    if isinstance(edge, Node) and x is not edge:
                        return  # written under no_grad
        nodes = [node for node, _ in self.starts]
        leaves, wanted = self.leaf_targets, self._wanted
        writer = Writer(nodes, order, self._inside, self._live, program.arguments, leaves, True, wanted)
        name = (self._wanted is None, *[(node.signature, seed is None) for node, seed in self.starts])
        backward_patterns.remember(name, writer.write(), structure)

    def prepare(self) -> tuple[Structure, Program]:
        """Return the structure of the sweep, and the program that describes this instance of it."""
        program = self.describe()
        return program.structure(lambda found: self._build(program, found)), program

    def describe(self) -> Program:
        """Describe the sweep as a program, and find the targets."""
        program = self._program = Program()
        program.order = self._order
        references = self._describe_nodes(program)
        self._live = [] if self.recorded else _held(self._order, references, self._start_names)
        key, slots = program.key, program.slots
        key.append(-2)
        key += [slots[id(node)] for node in self._live]
        key.append(-3)
        for node, seed in self.starts:
            key += (slots[id(node)], seed is None)
        key += (-4, self.recorded)
        # which arguments stand for the same leaf
        numbers = {id(leaf): i for i, leaf in enumerate(self.leaf_targets)}
        key += [numbers.get(id(leaf), -1) for _, leaf in program.arguments]
        return program

    def _describe_nodes(self, program: Program) -> dict[int, int]:
        """Describe the nodes one by one; return how often the graph itself refers to each."""
        key, slots, inside = program.key, program.slots, self._inside
        references: dict[int, int] = {}
        targets: dict[int, Any] = {}
        for node, _ in self.starts:
            references[id(node)] = references.get(id(node), 0) + 1
        for position, node in enumerate(self._order):
            name = id(node)
            slots[name] = position
            takes_part = name in inside
            cut = takes_part and name in self._stops
            known = node.array is not None or (self.recorded and takes_part)
            wanted = cut or (takes_part and name in self._watched)
            key.append(0 if node.signature is None else node.signature.code)
            key.append(takes_part | cut << 1 | known << 2 | wanted << 3 | node.freed << 4)
            if wanted:
                self.node_targets.append(node)
            if known:
                key.append(program.argument(node, node))
            edges = node.edges if takes_part and not cut else None
            if edges is None:  # other ways that gradients go are references, too
                for edge in node.edges or ():
                    if isinstance(edge, Node):
                        references[id(edge)] = references.get(id(edge), 0) + 1
            inputs = self._inputs(node) if cut or node.freed else node.inputs
            for k, x in enumerate(inputs):
                if x.__class__ in NUMBER_TYPES:
                    program.numbers.append(x)
                    continue
                if x is not None:
                    references[id(x)] = references.get(id(x), 0) + 1
                edge = None if edges is None else edges[k]
                if edge is None:
                    key.append(self._plain(program, x))
                elif isinstance(edge, Node):
                    references[id(edge)] = references.get(id(edge), 0) + 1
                    if id(edge) not in inside:
                        key.append(self._plain(program, x, edge))
                    elif x is edge or x is None:
                        key.append(slots[id(edge)] << 2 | 1)
                    else:
                        key += (slots[id(edge)] << 2 | 3, program.argument(x))
                elif self._wanted is None or id(edge) in self._wanted:
                    targets.setdefault(id(edge), edge)
                    if x is None or x.array is not None or self.recorded:
                        key.append(program.argument(self._stand_in(node, k) if x is None else x, edge))
                    else:
                        probe = self._leaf_probes.setdefault((id(x), id(edge)), len(self._leaf_probes))
                        key += (slots[id(x)] << 2 | 2, probe, len(targets))
                else:
                    key.append(self._plain(program, x, edge))
        self.leaf_targets = list(targets.values())
        return references

    def _inputs(self, node: Node) -> Sequence[Any]:
        """The operands of a node: None where the value was given up."""
        if id(node) not in self._inside:
            return node.inputs
        if self._is_cut(node) and (node.array is not None or self.recorded):
            return ()
        if not node.inputs and node.edges:
            return [key(0) if key in NUMBER_TYPES else None for key in node.signature.keys]
        return node.inputs

    def _stand_in(self, node: Node, k: int) -> Node:
        """Return a value for an operand that was given up, where only its type matters."""
        found = self._stand_ins.get((id(node), k))
        if found is None:
            kind = node.signature.keys[k]
            found = self._stand_ins[id(node), k] = data_node(np.zeros(kind.shape, kind.element.dtype))
        return found

    def _plain(self, program: Program, x: Any, edge: Any = None) -> int:
        """Return the slot of an operand whose gradient is not wanted."""
        if x is None:
            return 0
        if x.array is None and not self.recorded:
            return program.slots[id(x)] << 2
        return program.argument(x, self._passive(edge))

    def _passive(self, edge: Any) -> "Passive | None":
        """Return the role of an operand on which gradients that are recorded depend, though its own is not wanted."""
        if edge is None or not self.recorded:
            return None
        found = self._passives.get(id(edge))
        if found is None:
            found = self._passives[id(edge)] = Passive(edge)
        return found

    def check(self) -> None:
        """Raise what PyTorch raises where a value that the backward reads was given up, or has been written since."""
        for node in self.nodes:
            counter = node.counter
            stale = node.freed or (counter is not None and counter[0] != node.version)
            for x in node.inputs:
                if x.__class__ not in NUMBER_TYPES and x.counter is not None and x.counter[0] != x.version:
                    stale = True
            if stale and node.signature is not None and not self._is_cut(node):
                check_saved(node)

    def release(self) -> None:
        """Give up what the nodes keep for the backward."""
        for node in self.nodes:
            if id(node) not in self._stops:
                node.freed, node.inputs = True, ()

    # --- building it --------------------------------------------------------------------------------------------------

    def _build(self, program: Program, structure: Structure) -> None:
        types, hints = argument_types(program, structure)
        count = len(types)
        leaf_types = {id(leaf): leaf._value.type for leaf in self.leaf_targets}
        probes = [node.type for node in self.node_targets] + [leaf_types[leaf] for _, leaf in self._leaf_probes]
        names = [f"probe{i}" for i in range(len(probes))]
        traced = trace_flat(
            lambda tracers: self._primal(program, structure, tracers[:count], tracers[count:]),
            types + probes,
            hints + names,
            "loss",
        )
        body = body_of(traced.function)
        of_leaves = [
            i
            for i, (node, leaf) in enumerate(program.arguments)
            if leaf is not None and leaf is not node and not isinstance(leaf, Passive)
        ]
        active = of_leaves + [count + i for i in range(len(probes))]
        function = vjp_of(traced.function, active, seeded=range(len(self.starts)))
        block = body_of(function)
        self._substitute(program, block)
        seeds = block.arguments[len(body.arguments) :]
        captured = block.arguments[count + len(probes) : len(body.arguments)]
        with at(block):
            kept = self._seed_constants(block, seeds)
        end = block.ops.pop()
        operands = list(end.operands)
        end.drop_uses()
        starts, live = len(self.starts), len(self._live)
        values, gradients = operands[starts : starts + live], operands[starts + live :]
        with at(block):
            targets = len(of_leaves) + len(self.node_targets)
            names = [id(program.arguments[i][1]) for i in of_leaves] + [leaf for _, leaf in self._leaf_probes]
            per_leaf = self._per_leaf(names, gradients[: len(of_leaves)] + gradients[targets:])
            results = values + per_leaf + gradients[len(of_leaves) : targets]
        block.arguments = [*block.arguments[:count], *captured, *kept]
        for i, argument in enumerate(block.arguments):
            argument.index = i
        finish_function(function, results)
        if not self.recorded:
            end_differentiation(function)
        eliminate_dead_code(function)
        structure.function, structure.captured = function, traced.captured
        structure.work = work_of(function)

    def _per_leaf(self, names: list[int], gradients: list[Value]) -> list[Value]:
        """Add up the gradients of the arguments and probes that stand for the same leaf."""
        sums: dict[int, Value] = {}
        for name, gradient in zip(names, gradients, strict=True):
            sums[name] = nd.add(sums[name], gradient) if name in sums else gradient
        return [sums[id(leaf)] for leaf in self.leaf_targets]

    def _seed_constants(self, block: Block, seeds: Sequence[Value]) -> list[Value]:
        """Replace the seeds that are ones by a constant; return those that stay arguments."""
        later, block.ops = block.ops, []
        kept = []
        for (_, seed), value in zip(self.starts, seeds, strict=True):
            if seed is None:
                value.replace_all_uses_with(nd.splat(1, value.type))
            else:
                kept.append(value)
        block.ops += later
        return kept

    def _substitute(self, program: Program, block: Any) -> None:
        """Let known values take the place of their computation, and take the probes out again."""
        known = {f"written{i}": argument for i, argument in enumerate(block.arguments)}
        for i, (node, role) in enumerate(program.arguments):
            if role is node:
                known[f"known{program.slots[id(node)]}"] = block.arguments[i]
        for op in block.ops:
            for value in op.results:
                hint = value.hint
                if hint is None:
                    continue
                if hint in known:
                    value.replace_all_uses_with(known[hint])
                elif hint.startswith("probed"):
                    value.replace_all_uses_with(op.operands[0])

    def _primal(self, program: Program, structure: Structure, tracers: list[Tracer], probes: list[Tracer]) -> list[Any]:
        """Write the graph as a function: the values of the starts, then of the nodes that somebody holds."""
        arguments, numbers = program_operands(program, structure, tracers)
        counter = iter(range(len(numbers)))
        remaining = iter(probes)
        leaf_probes = dict(zip(self._leaf_probes, probes[len(self.node_targets) :], strict=True))
        self._probed = {}
        wanted = {id(node) for node in self.node_targets}
        values: list[Tracer] = []
        for position, node in enumerate(program.order):
            name = id(node)
            cut = name in self._inside and self._is_cut(node)
            known = (id(node), id(node)) in program.slots
            if cut and known:
                result = arguments[program.argument(node, node)]
            else:
                operands = [
                    numbers[next(counter)]
                    if x.__class__ in NUMBER_TYPES
                    else self._operand(program, node, k, x, values, arguments, leaf_probes)
                    for k, x in enumerate(self._inputs(node))
                ]
                result = emit(node, operands)
                if known:
                    if any(result.value is x.value for x in operands if x.__class__ is Tracer):
                        # The operation returned its operand: what is replaced must be a value of its own.
                        result = Tracer(nd.add(result.value, nd.splat(0, result.value.type)))
                    result.value.hint = f"known{position}"
            if name in wanted:
                base = nd.stop_gradient(result.value) if cut and not known else result.value
                probed = nd.add(base, next(remaining).value)
                probed.hint = f"probed{position}"
                result = Tracer(probed)
            values.append(result)
        slots = program.slots
        return [values[slots[id(node)]] for node, _ in self.starts] + [values[slots[id(node)]] for node in self._live]

    def _operand(
        self,
        program: Program,
        node: Node,
        k: int,
        x: Any,
        values: list[Tracer],
        arguments: dict[int, Tracer],
        leaf_probes: dict[tuple[int, int], Tracer],
    ) -> Tracer:
        takes_part = id(node) in self._inside and not self._is_cut(node)
        edge = node.edges[k] if takes_part and node.edges is not None else None
        if not self.flows(edge):
            return self._constant_operand(program, node, k, x, values, arguments, edge)
        if not isinstance(edge, Node):
            probe = None if x is None else leaf_probes.get((id(x), id(edge)))
            if probe is None:
                return arguments[program.argument(self._stand_in(node, k) if x is None else x, edge)]
            return self._probe_leaf(values[program.slots[id(x)]], probe)
        through = values[program.slots[id(edge)]]
        if x is None or x is edge:
            return through
        # The value is another one than that which the gradient flows to: the memory was written under no_grad.
        slot = program.argument(x)
        result = nd.add(through.value, nd.splat(0, through.value.type))
        result.hint = f"written{-1 - slot}"
        return Tracer(result)

    def _probe_leaf(self, value: Tracer, probe: Tracer) -> Tracer:
        """Return the value of a leaf that the program computes, as something that varies with the probe alone."""
        found = self._probed.get(id(probe))
        if found is None:
            result = nd.add(nd.stop_gradient(value.value), probe.value)
            result.hint = "probed"
            found = self._probed[id(probe)] = Tracer(result)
        return found

    def _constant_operand(
        self,
        program: Program,
        node: Node,
        k: int,
        x: Any,
        values: list[Tracer],
        arguments: dict[int, Tracer],
        edge: Any,
    ) -> Tracer:
        if x is None:
            return Tracer(nd.splat(0, node.signature.keys[k]))
        if x.array is None and not self.recorded:
            return Tracer(nd.stop_gradient(values[program.slots[id(x)]].value))
        return arguments[program.argument(x, self._passive(edge))]


def _held(order: Sequence[Node], references: dict[int, int], starts: set[int]) -> list[Node]:
    """Return the nodes without a value that something outside of `order` refers to: a tensor, or another graph."""
    unheld = _count_of_unheld()
    return [
        node
        for node in order
        if node.array is None
        and (id(node) in starts or sys.getrefcount(node) > unheld + references.get(id(node), 0))
    ]


def _count_of_unheld() -> int:
    """Return the reference count of a node in a list that is being walked."""
    order = [data_node(np.zeros(()))]
    counts = [sys.getrefcount(node) for node in order]
    return counts[0]
