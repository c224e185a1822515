"""Op records: everything that is known of one op, in one place; and the registry of all records.

A record is also the op's constructor: `sin(x)` appends a `nd.sin` at the insertion point (builder.py) and returns its
result. Facets are plain callables and never import the engines that consume them. Start reading at `OpDef`.
"""

from collections.abc import Callable, Sequence
from typing import Any

from gradloomc.ir.builder import insertion
from gradloomc.ir.core import Op, Region, Value
from gradloomc.ir.errors import GradloomError


class Derivative:
    """How an op is differentiated; a record has exactly one facet of this kind."""

    __slots__ = ()


class Constant(Derivative):
    """The result does not vary with the operands: the derivative is zero wherever it exists."""

    __slots__ = ()

class Partials(Derivative):
    """An elementwise op: `rule(result, *operands)` returns one partial derivative per operand.

    A partial is a Value, or the number 1, -1 or 0. A rule that only returns numbers says that the op is linear.
    `singular`: a partial can be infinite or nan at a finite operand, so a zero (co)tangent must stay an exact zero.
    """

    __slots__ = ("rule", "singular")

    def __init__(self, rule: Callable[..., Sequence[Any]], singular: bool = False):
        self.rule = rule
        self.singular = singular


class Linear(Derivative):
    """Linear in the listed operands together.

    `transpose(cotangent, *operands, **attributes)` returns one cotangent per listed operand; operands that are
    themselves linear are passed for their types only.
    """

    __slots__ = ("operands", "transpose")

    def __init__(self, transpose: Callable[..., Sequence[Any]], operands: tuple[int, ...] = (0,)):
        self.transpose = transpose
        self.operands = operands


class Multilinear(Derivative):
    """Linear in each operand alone: `transposes[k](cotangent, *operands, **attributes)` gives that of operand k."""

    __slots__ = ("transposes",)

    def __init__(self, transposes: tuple[Callable[..., Any], ...]):
        self.transposes = transposes


class Linearize(Derivative):
    """`rule(result, operands, tangents, attributes)` writes the tangent in other ops (a tangent may be None).

    A rule may write the op itself, with tangents for operands in which it is linear: `transpose(cotangent, *operands,
    **attributes)` then returns one cotangent for each operand, None for the others.
    """

    __slots__ = ("rule", "transpose")

    def __init__(self, rule: Callable[..., Any], transpose: Callable[..., Sequence[Any]] | None = None):
        self.rule = rule
        self.transpose = transpose


class Expand(Derivative):
    """Differentiated through an equal program: `rule(*operands, **attributes)` writes the op in differentiable ops."""

    __slots__ = ("rule",)

    def __init__(self, rule: Callable[..., Any]):
        self.rule = rule


class Unsupported(Derivative):
    """No derivative; `reason` is what the user reads."""

    __slots__ = ("reason",)

    def __init__(self, reason: str):
        self.reason = reason


class Sample:
    """Operands (NumPy arrays) and attributes for one generated test."""

    __slots__ = ("attributes", "label", "operands")

    def __init__(self, operands: tuple[Any, ...], attributes: dict[str, Any] | None = None, label: str = ""):
        self.operands = operands
        self.attributes = attributes or {}
        self.label = label


class Domain:
    """Where the generated tests draw an elementwise op's operands: one open interval per operand.

    `edges` are extra values at which the result must equal NumPy's (nan, inf, 0.0, ... are always tried).
    """

    __slots__ = ("edges", "intervals")

    def __init__(self, intervals: tuple[tuple[float, float], ...], edges: tuple[float, ...] = ()):
        self.intervals = intervals
        self.edges = edges


class OpDef:
    """The record of an op. Records are compared by identity.

    Attributes:
        name: dialect and name, `nd.sin`.
        type_rule: `(*operand_types, **attributes) -> Type | tuple[Type, ...]`; raises ShapeError or DTypeError.
        reference: the meaning, on NumPy arrays: `(*arrays, **attributes) -> array | tuple`.
        derivative: the one derivative facet.
        scalar: for elementwise ops, the record(s) of the scalar op: a record, or a dict from kind ('f', 'i', 'u', 'b')
            to one;
            or a callable that writes a scalar program: `(*scalars) -> Value`.
        fold: `(*operands, **attributes) -> Value | None`, tried before an op is built.
        commutative: operand order does not matter.
        effects: the op must not be removed or merged (terminators, stores).
        verify: extra check of a whole op (regions), raises VerifyError.
        domain, samples: what the generated tests feed it.
        cost: arithmetic cost of one element, in additions, for the fusion's cost model.
        tags: free words that passes look at ('elementwise', 'movement', 'reduction', 'product', 'terminator').
    """

    __slots__ = (
        "attributes",
        "commutative",
        "cost",
        "derivative",
        "doc",
        "domain",
        "effects",
        "emit",
        "fold",
        "grad_fn",
        "name",
        "reference",
        "results",
        "samples",
        "scalar",
        "tags",
        "type_rule",
        "verify",
    )

    def __init__(
        self,
        name: str,
        doc: str,
        type_rule: Callable[..., Any],
        *,
        reference: Callable[..., Any] | None = None,
        derivative: Derivative | None = None,
        scalar: Any = None,
        fold: Callable[..., Value | None] | None = None,
        commutative: bool = False,
        effects: bool = False,
        verify: Callable[[Op], None] | None = None,
        domain: Domain | None = None,
        samples: Callable[..., Sequence[Sample]] | None = None,
        cost: float = 1.0,
        tags: frozenset[str] = frozenset(),
        attributes: tuple[str, ...] = (),
        grad_fn: str = "",
        results: tuple[str, ...] = ("result",),
        emit: str = "",
    ):
        if name in REGISTRY:
            raise ValueError(f"op {name} is registered twice")
        REGISTRY[name] = self
        self.name = name
        self.doc = doc
        self.type_rule = type_rule
        self.reference = reference
        self.derivative = derivative
        self.scalar = scalar
        self.fold = fold
        self.commutative = commutative
        self.effects = effects
        self.verify = verify
        self.domain = domain
        self.samples = samples
        self.cost = cost
        self.tags = tags
        self.attributes = attributes
        self.grad_fn = grad_fn
        self.results = results
        self.emit = emit

    def __call__(self, *operands: Any, **attributes: Any) -> Any:
        """Build the op at the insertion point, or return what it folds to."""
        if self.fold is not None:
            folded = self.fold(*operands, **attributes)
            if folded is not None:
                return folded
        results = self.build(operands, attributes).results
        return results[0] if len(results) == 1 else tuple(results)

    def folded(self, operands: Sequence[Value], attributes: dict[str, Any]) -> Value | None:
        """Return what the op on these operands folds to, if anything."""
        return None if self.fold is None else self.fold(*operands, **attributes)

    def build(
        self, operands: Sequence[Value], attributes: dict[str, Any], regions: Sequence[Region] = ()
    ) -> Op:
        """Build the op at the insertion point without folding."""
        here = insertion
        try:
            if len(operands) == 2:  # the commonest case, spelled out: building ops is most of compile time
                types = self.type_rule(operands[0].type, operands[1].type, **attributes)
            else:
                types = self.type_rule(*[operand.type for operand in operands], **attributes)
        except GradloomError as error:
            if not error.location.resolve()[1]:
                error.location = here.location
            raise
        if types.__class__ is not tuple:
            types = (types,)
        op = Op(self, operands, attributes, types, here.location, regions)
        block = here.block
        op.parent = block
        block.ops.append(op)
        return op

    def __repr__(self) -> str:
        return f"<op {self.name}>"


REGISTRY: dict[str, OpDef] = {}
