"""What the eager face records: operations, their results and how gradients flow between them.

A `Node` is one recorded result: where its value comes from (`inputs`), where its gradient goes (`edges`), and the value
itself once somebody has looked at it. Nodes refer only to nodes that were recorded before them, so a graph is freed the
moment its last tensor is. Knows nothing of tensors' operators, of compiling or of NumPy's functions.
"""

import sys
import weakref
from collections.abc import Callable, Sequence
from types import CodeType
from typing import Any

import numpy as np

from gradloom.autograd.dtypes import default_dtype, default_listeners, get_default_dtype
from gradloom.autograd.saved import values_read
from gradloom.trace.capture import trace_flat
from gradloom.trace.context import is_own_file
from gradloom.trace.tracer import Tracer
from gradloomc.ir.core import Op
from gradloomc.ir.location import UNKNOWN, CodeLocation, Location
from gradloomc.ir.types import TensorType, scalar_type, tensor

Array = np.ndarray[Any, Any]
Attributes = tuple[tuple[str, Any], ...]
Number = float | int | bool
PYTHON_NUMBERS = (float, int, bool)


class Node:
    """One recorded result. The subclass is named as PyTorch names the backward function: `MulBackward0`.

    Attributes:
        signature: which operation on which types; None for plain data.
        type: of the value.
        inputs: the operands: nodes and Python numbers; empty once they are not needed any more.
        edges: None where no gradient flows; else for each input None, the node that its gradient goes to, or the leaf
            tensor that it is accumulated in.
        array: the value, once computed.
        depth: length of the longest chain of nodes whose values are not computed yet.
        place: code object and instruction of the user's call.
        counter, version: the writes to the memory that the value lay in (shared with other views of it) and the name of
            the operation that wrote last, and how many writes there had been when this value was there.
        replaces: the value has taken the place of that of the first operand.
        freed: its saved values were given up by a backward.
        extra: what only few nodes have (hooks, the call of a custom function), by name.
    """

    __slots__ = ("__dict__", "__weakref__", "array", "depth", "edges", "inputs", "place", "signature", "type")
    counter: "list[Any] | None" = None
    version = 0
    replaces = False
    freed = False
    extra: "dict[str, Any] | None" = None
    shared = False  # the array can be written from outside
    listed: "tuple[int, ...] | None" = None  # of the class: the operands that `next_functions` lists; None: all

    signature: Any
    type: TensorType
    inputs: tuple[Any, ...]
    edges: "tuple[Any, ...] | None"
    array: Any
    depth: int
    place: "tuple[CodeType, int] | None"

    def name(self) -> str:
        """Return PyTorch's name of the backward function."""
        return self.__class__.__name__

    @property
    def next_functions(self) -> tuple[tuple[Any, int], ...]:
        """Where gradients go from here: (node, output number) for each input."""
        return next_functions(self)

    @property
    def metadata(self) -> dict[Any, Any]:
        """A dictionary for the user's notes."""
        return extra_of(self).setdefault("metadata", {})

    @property
    def location(self) -> Location:
        """Where in the user's program the operation was called."""
        return UNKNOWN if self.place is None else CodeLocation(*self.place)

    def __repr__(self) -> str:
        return f"<{self.name()} object at {id(self):#x}>"


# Nodes that somebody has recorded and whose memory has been written through `.data` since: there PyTorch's backward
# reads what was written. Each has the node that took its place as `overwritten_by`.
overwritten: "weakref.WeakSet[Node]" = weakref.WeakSet()


def counter_of(node: Node) -> list[Any]:
    """Return the counter of the writes to the memory in which the value of `node` lies."""
    if node.counter is None:
        node.counter = [node.version, "" if node.edges is None else node.name()]
    return node.counter


class AccumulateGrad:
    """The end of a path in the graph: it adds the gradient to a leaf's `.grad`."""

    __slots__ = ("__weakref__", "variable")

    def __init__(self, variable: Any):
        self.variable = variable

    def name(self) -> str:
        """Return the name in the graph."""
        return "AccumulateGrad"

    next_functions: tuple[Any, ...] = ()

    def __repr__(self) -> str:
        return f"<AccumulateGrad object at {id(self):#x}>"


_accumulators: "weakref.WeakValueDictionary[int, AccumulateGrad]" = weakref.WeakValueDictionary()


def accumulator_of(leaf: Any) -> AccumulateGrad:
    """Return the end of the graph that stands for a leaf, the same as long as somebody holds it."""
    found = _accumulators.get(id(leaf))
    if found is None:
        found = _accumulators[id(leaf)] = AccumulateGrad(leaf)
    return found


def next_functions(node: Node) -> tuple[tuple[Any, int], ...]:
    """Return (node, output number) for each input of `node`, (None, 0) where no gradient flows."""
    pairs: list[tuple[Any, int]] = []
    edges = node.edges or ()
    for edge in edges if node.listed is None else [edges[k] for k in node.listed if k < len(edges)]:
        if edge is None:
            pairs.append((None, 0))
        elif isinstance(edge, Node):
            pairs.append((edge, (edge.extra or {}).get("output", 0)))
        else:
            pairs.append((accumulator_of(edge), 0))
    return tuple(pairs)


def extra_of(node: Node) -> dict[str, Any]:
    """Return the dictionary of a node's rare attributes, made when it is first asked for."""
    if node.extra is None:
        node.extra = {}
    return node.extra


_node_classes: dict[str, type[Node]] = {}


def node_class(name: str) -> type[Node]:
    """Return the subclass of Node with a name, the same for the same name."""
    found = _node_classes.get(name)
    if found is None:
        found = _node_classes[name] = type(name, (Node,), {"__slots__": (), "__module__": __name__})
    return found


_new = object.__new__


def data_node(array: Array) -> Node:
    """Return a node for an array that is there already."""
    node = _new(Node)
    node.signature = None
    node.type = tensor(array.shape, scalar_type(array.dtype))
    node.inputs = ()
    node.edges = None
    node.array = array
    node.depth = 0
    node.place = None
    return node


class Signature:
    """An operation on operands of certain types, with certain attributes: all that its results have in common.

    Attributes:
        op: the operation.
        keys: for each operand its type, or the class of a Python number.
        attributes: name and value.
        type: of the result.
        code: a number of its own, by which graphs are compared.
        default: the default dtype when it was met, which its rule may look at.
        differentiable: gradients flow through it.
    """

    __slots__ = ("_saved", "attributes", "code", "default", "differentiable", "keys", "op", "type")

    def __init__(self, op: "EagerOp", keys: tuple[Any, ...], attributes: Attributes, type: TensorType):
        self.op, self.keys, self.attributes, self.type = op, keys, attributes, type
        self.code = next_code()
        self.default = get_default_dtype()
        self.differentiable = op.differentiable and type.element.kind == "f"
        self._saved: dict[tuple[bool, ...], tuple[frozenset[int], bool]] = {}

    def build(self, operands: Sequence[Any]) -> Tracer:
        """Apply the operation to tracers and Python numbers in the function that is being traced."""
        if self.default is not get_default_dtype():
            with default_dtype(self.default):
                result = self.op.rule(*operands, **dict(self.attributes))
        else:
            result = self.op.rule(*operands, **dict(self.attributes))
        return result if result.__class__ is Tracer else Tracer(result)

    def saved(self, active: tuple[bool, ...]) -> tuple[frozenset[int], bool]:
        """Return what the derivative with respect to the active operands reads: which operands, and the result or not.

        Found by looking at the derivative itself, which is that of the compiler's records.
        """
        saves = self.op.saves
        if saves is not None:
            return saves(active) if callable(saves) else saves
        found = self._saved.get(active)
        if found is None:
            function = trace_signature(self.op, self.keys, self.attributes)
            found = self._saved[active] = values_read(function, self.keys, active)
        return found


_operations: "weakref.WeakSet[EagerOp]" = weakref.WeakSet()


def _forget_signatures() -> None:
    for op in _operations:
        op.signatures.clear()


default_listeners.append(_forget_signatures)
_codes = iter(range(1, sys.maxsize))
next_code = _codes.__next__


def _references_of_a_variable() -> int:
    held = object()
    return sys.getrefcount(held)


# What sys.getrefcount says of an object that one variable of the asking function holds: measured, as it depends on how
# the interpreter passes arguments.
VARIABLE_REFERENCES = _references_of_a_variable()
# The same of a node that only its tensor and that variable hold: nobody has recorded it.
UNREAD = VARIABLE_REFERENCES + 1


class EagerOp:
    """An operation of the eager face: what it is called in graphs, and what it means.

    Args:
        name: of the backward function, as PyTorch's: `MulBackward0`.
        rule: the meaning, in NumPy code on traced arrays: `(*operands, **attributes) -> traced array or IR value`.
            Python numbers among the operands arrive as numbers, or as traced arrays of shape () marked weak.
        differentiable: False if no gradient flows whatever the operands are.
        costly: computed once and kept rather than recomputed in the backward (products).
        saves: what PyTorch keeps for the backward (which operands, and the result or not), where that differs from what
            the derivative reads: a write into anything else does not disturb the backward. Where it depends on which
            operands gradients flow to: a function of that, `(active,) -> (operands, result)`.
        fill: the number that the result holds everywhere, if there is one.
        lists: the operands that stand in `next_functions`, where PyTorch lists only some (numbers and masks are not in
            some nodes). All nodes of one name list the same.
    """

    __slots__ = ("__weakref__", "costly", "differentiable", "fill", "name", "node_class", "rule", "saves", "signatures")

    def __init__(
        self,
        name: str,
        rule: Callable[..., Any],
        differentiable: bool = True,
        costly: bool = False,
        saves: tuple[frozenset[int], bool] | Callable[[tuple[bool, ...]], tuple[frozenset[int], bool]] | None = None,
        lists: tuple[int, ...] | None = None,
        fill: float | None = None,
    ):
        self.name, self.rule, self.differentiable, self.costly, self.saves = name, rule, differentiable, costly, saves
        self.node_class = node_class(name)
        self.fill = fill
        if lists is not None:
            self.node_class.listed = lists
        self.signatures: dict[Any, Signature] = {}
        # What operands of Python numbers and integers give depends on the default dtype.
        _operations.add(self)

    def infer(self, key: Any, keys: tuple[Any, ...], attributes: Attributes = ()) -> Signature:
        """Find the result's type by tracing the rule once; later uses of the signature find it under `key`."""
        traced = trace_signature(self, keys, attributes)
        result = traced.regions[0].block.terminator.operands[0]
        signature = self.signatures[key] = Signature(self, keys, attributes, result.type)
        return signature

    def __repr__(self) -> str:
        return f"EagerOp({self.name})"


def trace_signature(op: EagerOp, keys: tuple[Any, ...], attributes: Attributes) -> Op:
    """Return the function of one operation: its arguments are the operands that are no Python numbers."""
    types = [key for key in keys if key.__class__ is TensorType]

    def call(tracers: list[Tracer]) -> list[Any]:
        remaining = iter(tracers)
        operands = [next(remaining) if key.__class__ is TensorType else key(2) for key in keys]
        return [op.rule(*operands, **dict(attributes))]

    return trace_flat(call, types, [f"x{i}" for i in range(len(types))], "signature").function


class _OwnFiles(dict[str, bool]):
    """Whether a source file belongs to gradloom or to what it stands on, rather than to the user."""

    def __missing__(self, filename: str) -> bool:
        own = self[filename] = filename.startswith(_OWN_FOLDER) or is_own_file(filename)
        return own


_OWN_FOLDER = __file__.rpartition("autograd")[0]
own_files = _OwnFiles()


def user_place() -> "tuple[CodeType, int] | None":
    """Return where the innermost frame of the user's code stands: its code object and the instruction in it."""
    frame: Any = sys._getframe(2)
    while frame is not None:
        code = frame.f_code
        if not own_files[code.co_filename]:
            return (code, frame.f_lasti)
        frame = frame.f_back
    return None
