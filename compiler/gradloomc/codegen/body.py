"""One straight-line stretch of LLVM IR text, with value numbering.

A `Body` is the sheet on which code generation writes: instructions in order, the declarations and
the out-of-line helper functions that they need, and the label of the block being written. Pure
instructions are numbered by their text, so an expression that is asked for twice is computed once:
this is where the sine and the cosine of one argument share their range reduction.

It knows no types and no arithmetic (`lanes.py` does), and never parses or compiles what it holds.
"""

from __future__ import annotations

__all__ = ["Body"]


class Body:
    """Collect the instructions of one stretch of LLVM IR text.

    Attributes:
        lines: the instructions and labels so far; instructions are indented by two spaces.
        declarations: the `declare ...` lines that the text needs, in order of first use.
        functions: name -> text of the internal functions that the text calls (cold paths).
        current_block: label of the basic block that is being written; a `phi` in another block
            names this one, so read it *after* the last instruction of the stretch.
        types: value name -> LLVM type, for the values whose emitter told it.
        features: the instruction sets beyond LLVM's portable ones that the code may use.
    """

    __slots__ = (
        "_counter",
        "_numbered",
        "_parent",
        "current_block",
        "declarations",
        "features",
        "functions",
        "lines",
        "prefix",
        "types",
    )

    def __init__(
        self,
        prefix: str = "v",
        entry_label: str = "entry",
        parent: Body | None = None,
        features: frozenset[str] = frozenset(),
    ) -> None:
        """Start an empty body whose values are named `%<prefix>0`, `%<prefix>1`, ...

        A `parent` is a body that dominates this one (the code around a loop): what it has already
        computed is not computed again here, and both share declarations, functions, types and features.
        """
        self.prefix = prefix
        self.lines: list[str] = []
        self.declarations: dict[str, None] = parent.declarations if parent else {}
        self.functions: dict[str, str] = parent.functions if parent else {}
        self.features: frozenset[str] = parent.features if parent else features
        self.current_block = entry_label
        self.types: dict[str, str] = parent.types if parent else {}
        self._parent = parent
        self._numbered: dict[str, str] = {}
        self._counter = 0

    def emit(self, rhs: str, type: str | None = None) -> str:
        """Append the pure instruction `rhs` and return its name.

        Text that was already written yields the value that it made then. That is sound because
        every block that a body starts is dominated by the ones before it, except for the cold
        blocks of `cold_call`, whose values are never numbered.
        """
        body: Body | None = self
        while body is not None:  # as `known` does: most of a program's text comes this way
            name = body._numbered.get(rhs)
            if name is not None:
                return name
            body = body._parent
        name = self._numbered[rhs] = f"%{self.prefix}{self._counter}"
        self._counter += 1
        self.lines.append(f"  {name} = {rhs}")
        if type is not None:
            self.types[name] = type
        return name

    def known(self, rhs: str) -> str | None:
        """Return the name of a pure instruction that this body or one around it has written."""
        body: Body | None = self
        while body is not None:
            name = body._numbered.get(rhs)
            if name is not None:
                return name
            body = body._parent
        return None

    def fresh(self, rhs: str, type: str | None = None) -> str:
        """Append the instruction `rhs`, never shared: loads of mutable memory, effectful calls."""
        name = f"%{self.prefix}{self._counter}"
        self._counter += 1
        self.lines.append(f"  {name} = {rhs}")
        if type is not None:
            self.types[name] = type
        return name

    def effect(self, line: str) -> None:
        """Append an instruction without a result: a store, a branch, a call for its effect."""
        self.lines.append(f"  {line}")

    def label(self, name: str) -> None:
        """Start the basic block `name`, which the caller keeps dominated by the blocks before."""
        self.lines.append(f"{name}:")
        self.current_block = name

    def declare(self, text: str) -> None:
        """Note a `declare ...` line that the module needs."""
        self.declarations[text] = None

    def define(self, name: str, text: str) -> None:
        """Note an internal helper function `@name` that the module needs, with its whole text."""
        self.functions[name] = text

    def cold_call(self, condition: str, call: str, type: str, mask: str, otherwise: str) -> str:
        """Replace `otherwise` in the lanes of `mask` by a call that is hardly ever needed.

        Writes a branch on the i1 `condition` (any lane of `mask`) to a block that performs the pure
        `call` and merges it. Lanes outside `mask` keep `otherwise`, so that what one lane yields
        never depends on its neighbours. Marking the callee `cold` keeps the block out of line.

        Args:
            condition: an i1; must be true when any lane of `mask` is.
            call: right-hand side of the call, of type `type`.
            mask: the lanes to replace (an i1 when `type` is scalar).
            otherwise: the value of the common path.
        """
        key = f"cold_call {condition} {call} {mask} {otherwise}"
        name = self.known(key)
        if name is not None:
            return name
        stem = f"{self.prefix}{self._counter}"
        cold, rest, before = f"{stem}.cold", f"{stem}.rest", self.current_block
        self.effect(f"br i1 {condition}, label %{cold}, label %{rest}")
        self.label(cold)
        called = self.fresh(call, type)
        mask_type = type.split(" x ")[0] + " x i1>" if " x " in type else "i1"
        merged = self.fresh(f"select {mask_type} {mask}, {type} {called}, {type} {otherwise}", type)
        self.effect(f"br label %{rest}")
        self.label(rest)
        name = self.fresh(f"phi {type} [ {otherwise}, %{before} ], [ {merged}, %{cold} ]", type)
        self._numbered[key] = name
        return name
