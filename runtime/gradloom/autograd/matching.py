"""Recognising a graph at a glance: Python code, generated for one structure, that checks whether a graph has it.

Describing a graph node by node costs microseconds a node, and a training loop records the same graph in every step.
Once a program has been compiled, a `Pattern` is made of the graph that it was made for: straight-line code that follows
the same path through another graph, compares as it goes, and collects the arrays. A pattern that does not match says
so, and the graph is described the long way. Knows nothing of programs.
"""

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from gradloom.autograd.graph import VARIABLE_REFERENCES, Node

_NUMBERS = (float, int, bool)
LONGEST = 2000  # nodes; longer graphs are described each time
KEPT = 4  # patterns tried for one start
MOST_STARTS = 2048


class Match(NamedTuple):
    """What a pattern found: arrays, numbers, the nodes to be given values, the leaves, the nodes that take part."""

    arrays: tuple[Any, ...]
    numbers: tuple[Any, ...]
    outputs: tuple[Node, ...]
    leaves: tuple[Any, ...]
    nodes: tuple[Node, ...]


Pattern = Callable[..., "Match | None"]


class Writer:
    """Writes the code of a pattern.

    Args:
        starts: where the graph is entered.
        order: all nodes that are computed or differentiated, each after its operands.
        inside: identities of the nodes that gradients flow through.
        outputs: the nodes that are given values.
        arguments: the nodes whose arrays are passed, with the leaf for which they stand, if any.
        leaves: the leaves that gradients are wanted of.
        wanted: identities of the leaves that gradients are wanted of; None for all.
        held: outputs beyond the starts are nodes that somebody else refers to; a node that is no output must not be.
    """

    def __init__(
        self,
        starts: Sequence[Node],
        order: Sequence[Node],
        inside: set[int],
        outputs: Sequence[Node],
        arguments: Sequence[tuple[Node, Any]],
        leaves: Sequence[Any],
        held: bool,
        wanted: "set[int] | None" = None,
    ):
        self.starts, self.order, self.inside, self.outputs = starts, order, inside, outputs
        self.arguments, self.leaves, self.held, self.wanted = arguments, leaves, held, wanted
        self.lines: list[str] = []
        self.names: dict[int, str] = {}
        self.constants: dict[str, Any] = {"Node": Node, "Match": Match, "count": sys.getrefcount}
        self.numbers: dict[int, list[str]] = {}
        self.arity = 0
        self.references: dict[int, int] = {}

    def write(self) -> Pattern:
        """Return the compiled pattern."""
        for i, node in enumerate(self.starts):
            self.names[id(node)] = f"r{i}"
        for node in reversed(self.order):
            self._node(node)
        if self.held:
            self._held()
        arrays = [self._array(k, node) for k, (node, _) in enumerate(self.arguments)]
        leaves = [self.names[id(leaf)] for leaf in self.leaves]
        if len(leaves) > 1:
            self._fail(f"len({{{', '.join(f'id({leaf})' for leaf in leaves)}}}) != {len(leaves)}")
        numbers = [name for node in self.order for name in self.numbers.get(id(node), ())]
        through = [node for node in self.order if id(node) in self.inside]
        found = [arrays, numbers, self._named(self.outputs), leaves, self._named(through)]
        parts = [f"({', '.join(names)}{',' if names else ''})" for names in found]
        parameters = ", ".join([*[f"r{i}" for i in range(len(self.starts))], "wanted"])
        body = [*self.lines, f"return Match({', '.join(parts)})"]
        text = f"def pattern({parameters}):\n try:\n  " + "\n  ".join(body)
        text += "\n except (TypeError, ValueError):\n  return None\n"
        exec(compile(text, "<pattern of a graph>", "exec"), self.constants)
        return self.constants["pattern"]

    def _named(self, nodes: Iterable[Node]) -> list[str]:
        return [self.names[id(node)] for node in nodes]

    def _fail(self, condition: str) -> None:
        self.lines.append(f"if {condition}: return None")

    def _constant(self, value: Any) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = value
        return name

    def _node(self, node: Node) -> None:
        name = self.names[id(node)]
        takes_part = id(node) in self.inside
        computed = "is None" if node.array is not None else "is not None"
        checks = [f"{name}.signature is not {self._constant(node.signature)}", f"{name}.array {computed}"]
        if takes_part:
            checks += [f"{name}.extra is not None", f"{name}.replaces is not {node.replaces}"]
        elif not self.inside and node.signature.op.costly:
            checks.append(f"{name}.edges {'is not' if node.edges is None else 'is'} None")
        self._fail(" or ".join(checks))
        if not takes_part:  # other ways that gradients go are references, too
            for edge in node.edges or ():
                self.references[id(edge)] = self.references.get(id(edge), 0) + 1
        self.arity = max(self.arity, len(node.inputs))
        inputs = [f"x{k}" for k in range(len(node.inputs))]
        self.lines.append(f"{', '.join(inputs)}, = {name}.inputs" if inputs else f"if {name}.inputs: return None")
        if takes_part:
            edges = [f"e{k}" for k in range(len(node.inputs))]
            self.lines.append(f"{', '.join(edges)}, = {name}.edges")
        for k, x in enumerate(node.inputs):
            if x.__class__ in _NUMBERS:
                self._fail(f"x{k}.__class__ is not {x.__class__.__name__}")
                number = f"{name}n{k}"
                self.numbers.setdefault(id(node), []).append(number)
                self.lines.append(f"{number} = x{k}")
            else:
                self._bind(f"x{k}", x)
                self.references[id(x)] = self.references.get(id(x), 0) + 1
            if takes_part:
                self._edge(k, x, node.edges[k])  # type: ignore[index]
        if takes_part:
            self._versions(node)

    def _bind(self, variable: str, target: Any) -> None:
        """Let what was met for the first time get a name, or compare it with what has that name."""
        name = self.names.get(id(target))
        if name is None:
            name = self.names[id(target)] = f"v{len(self.names)}"
            self.lines.append(f"{name} = {variable}")
        else:
            self._fail(f"{variable} is not {name}")

    def _edge(self, k: int, x: Any, edge: Any) -> None:
        if edge is None:
            self._fail(f"e{k} is not None")
        elif isinstance(edge, Node):
            self.references[id(edge)] = self.references.get(id(edge), 0) + 1
            self._fail(f"e{k} is not x{k}")
        else:
            self._fail(f"e{k} is None or isinstance(e{k}, Node)")
            self._bind(f"e{k}", edge)
            if self.wanted is not None:
                self._fail(f"id(e{k}) {'not in' if id(edge) in self.wanted else 'in'} wanted")

    def _versions(self, node: Node) -> None:
        """What the derivative reads must not have been written since."""
        active = tuple([edge is not None for edge in node.edges or ()])
        operands, result = node.signature.saved(active)
        for k, x in enumerate(node.inputs):
            if k in operands and isinstance(x, Node) and (k or not node.replaces):
                self._fail(f"x{k}.counter is not None and x{k}.counter[0] != x{k}.version")
        if result:
            name = self.names[id(node)]
            self._fail(f"{name}.counter is not None and {name}.counter[0] != {name}.version")

    def _held(self) -> None:
        """A node without a value that is no output must be referred to by this graph alone."""
        given = {id(node) for node in self.outputs}
        self.lines.append("".join(f"x{k} = e{k} = " for k in range(self.arity)) + "None")
        for node in self.order:
            if node.array is None and id(node) not in given:
                name = self.names[id(node)]
                self._fail(f"count({name}) > {self.references.get(id(node), 0) + VARIABLE_REFERENCES}")

    def _array(self, k: int, node: Node) -> str:
        name = f"a{k}"
        self.lines.append(f"{name} = {self.names[id(node)]}.array")
        self._fail(f"{name} is None")
        return name


class Patterns:
    """The patterns known for graphs that start at nodes of certain signatures, the last one used first."""

    def __init__(self) -> None:
        self._known: dict[Any, list[tuple[Pattern, Any]]] = {}

    def find(
        self, key: Any, starts: Sequence[Node], wanted: "set[int] | None" = None
    ) -> "tuple[Match, Any] | None":
        """Return the match of the first pattern that fits, and what was remembered with it."""
        known = self._known.get(key)
        if known is None:
            return None
        for i, (pattern, what) in enumerate(known):
            match = pattern(*starts, wanted)
            if match is not None:
                if i:
                    known.insert(0, known.pop(i))
                return match, what
        return None

    def remember(self, key: Any, pattern: Pattern, what: Any) -> None:
        """Keep a pattern, in place of the one that was not used for the longest time."""
        if len(self._known) >= MOST_STARTS:
            self._known.clear()
        known = self._known.setdefault(key, [])
        known.insert(0, (pattern, what))
        del known[KEPT:]

    def clear(self) -> None:
        """Forget all."""
        self._known.clear()
