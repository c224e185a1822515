"""The text of the IR: MLIR's generic syntax, and one pretty form that is the same for every op.

    %0 = "nd.reduce_sum"(%x) {axes = array<i64: 0>} : (tensor<3xf64>) -> tensor<f64>      generic
    %0 = nd.reduce_sum %x {axes = array<i64: 0>} : (tensor<3xf64>) -> tensor<f64>         pretty
    %1 = nd.sin %0 : tensor<f64>                                     pretty, all types agree

In the pretty form a function is `func.func @name(%x: T) -> T { ... }`, and regions follow the type:
`{ ^(%a: f64): ... }`. Attributes are sorted by name, so equal programs have equal text. Both forms
are read back by parser.py: printing what was parsed gives the same text.

Knows no dialect: an op counts as a function when it has a `sym_name`, a `function_type` and one
region. Start reading at `print_module`; it visits each op once and must stay tight, since every
`.ir()` call, cache key and reproducer goes through it.
"""

import re
import struct
from collections.abc import Iterable
from typing import Any

import numpy as np

from gradloomc.ir.attributes import Dense
from gradloomc.ir.core import Block, Module, Op, Region, Value
from gradloomc.ir.location import Location
from gradloomc.ir.types import ScalarType, Type

_HEX_FROM = 64  # a constant of so many elements is printed as bytes
_INDENT = "  "


def print_module(module: Module, generic: bool = False, locations: bool = False) -> str:
    """Return the text of a module, ending in a newline (an empty module has no text)."""
    printer = Printer(generic, locations)
    for op in module.block.ops:
        printer.op(op, "")
    return "\n".join([*printer.lines, ""]) if printer.lines else ""


def print_op(op: Op, generic: bool = False, locations: bool = False) -> str:
    """Return the text of one op and what is nested in it, values named as in its whole function."""
    spans: dict[Op, tuple[int, int]] = {}
    printer = Printer(generic, locations, spans)
    printer.op(outermost(op), "")
    start, end = spans[op]
    lines = printer.lines[start:end]
    margin = len(lines[0]) - len(lines[0].lstrip())
    return "\n".join(line[margin:] for line in lines)


def outermost(op: Op) -> Op:
    """Return the op that encloses `op` and is itself in no other op: its function."""
    while op.parent is not None and op.parent.parent is not None:
        enclosing = op.parent.parent.parent
        if enclosing is None:
            break
        op = enclosing
    return op


class _Names(dict[Value, str]):
    """The printed names; a value whose definition was not printed still gets one, for broken IR."""

    def __missing__(self, value: Value) -> str:
        return "%<undefined>"


class Printer:
    """Collects `lines`; `spans`, when given, is filled with the lines of each op."""

    def __init__(
        self, generic: bool, locations: bool, spans: dict[Op, tuple[int, int]] | None = None
    ):
        self.generic, self.locations, self.spans = generic, locations, spans
        self.lines: list[str] = []
        self.names = _Names()
        self._number = 0  # the next name of a value without a hint
        self._suffixes: dict[str, int] = {}  # names taken in this function -> last suffix tried

    def op(self, op: Op, indent: str) -> None:
        """Print an op that stands in no function: names start anew."""
        self._number = 0
        self._suffixes = {}
        self._ops((op,), indent)

    def _ops(self, ops: Iterable[Op], indent: str) -> None:
        names, lines, spans = self.names, self.lines, self.spans
        generic, locations = self.generic, self.locations
        for op in ops:
            start = len(lines)
            operands, results, attributes = op.operands, op.results, op.attributes
            # Names of the results.
            if len(results) == 1:
                value = results[0]
                if value.hint is None:
                    names[value] = name = f"%{self._number}"
                    self._number += 1
                else:
                    name = self._name(value)
                head = f"{indent}{name} = "
            elif results:
                head = f"{indent}{', '.join([self._name(value) for value in results])} = "
            else:
                head = indent
            used = ", ".join([names[value] for value in operands])
            # Operands and attributes.
            kind_name = op.kind.name
            if op.regions:
                self._op_with_regions(op, indent, head, used)
            else:
                if generic:
                    text = f'{head}"{kind_name}"({used})'
                else:
                    text = f"{head}{kind_name} {used}" if used else head + kind_name
                if attributes:
                    text += " " + print_attributes(attributes)
                # Types: one when all agree.
                if generic:
                    text = f"{text} : {signature(op)}"
                elif operands or results:
                    first = (results[0] if results else operands[0]).type
                    for value in operands:
                        if value.type is not first:
                            text = f"{text} : {signature(op)}"
                            break
                    else:
                        if len(results) < 2 or all([value.type is first for value in results]):
                            text = f"{text} : {first.text}"
                        else:
                            text = f"{text} : {signature(op)}"
                lines.append(text)
            if locations:
                lines[-1] += " " + print_location(op.location)
            if spans is not None:
                spans[op] = (start, len(lines))

    def _op_with_regions(self, op: Op, indent: str, head: str, used: str) -> None:
        attributes = op.attributes
        if self.generic:
            self.lines.append(f'{head}"{op.kind.name}"({used}) (')
            self._regions(op.regions, indent)
            tail = f" {print_attributes(attributes)}" if attributes else ""
            self.lines[-1] += f"){tail} : {signature(op)}"
        elif is_function(op):
            self._function(op, indent)
        else:
            text = f"{head}{op.kind.name} {used}" if used else head + op.kind.name
            if attributes:
                text += " " + print_attributes(attributes)
            types = {value.type for value in (*op.operands, *op.results)}
            self.lines.append(f"{text} : {types.pop() if len(types) == 1 else signature(op)} ")
            self._regions(op.regions, indent)

    def _function(self, op: Op, indent: str) -> None:
        block = op.regions[0].blocks[0]
        arguments = ", ".join([f"{self._name(value)}: {value.type}" for value in block.arguments])
        types = op.attributes["function_type"].results
        results = ", ".join(map(str, types))
        if len(types) != 1:
            results = f"({results})"
        arrow = f" -> {results}" if types else ""
        rest = {
            name: value
            for name, value in op.attributes.items()
            if name not in ("sym_name", "function_type")
        }
        extra = f" attributes {print_attributes(rest)}" if rest else ""
        symbol = print_symbol(op.attributes["sym_name"])
        self.lines.append(f"{indent}{op.kind.name} {symbol}({arguments}){arrow}{extra} {{")
        self._ops(block.ops, indent + _INDENT)
        self.lines.append(indent + "}")

    def _regions(self, regions: Iterable[Region], indent: str) -> None:
        """Print regions after the text of the last line, and close the last one on a new line."""
        lines = self.lines
        for i, region in enumerate(regions):
            lines[-1] += ", {" if i else "{"
            for block in region.blocks:
                if block.arguments:
                    lines.append(indent + self._label(block))
                self._ops(block.ops, indent + _INDENT)
            lines.append(indent + "}")

    def _label(self, block: Block) -> str:
        values = ", ".join([f"{self._name(value)}: {value.type}" for value in block.arguments])
        return f"^bb0({values}):" if self.generic else f"^({values}):"

    def _name(self, value: Value) -> str:
        """Choose the name of a value: its hint, made unique within the function, or a number."""
        hint = value.hint
        if hint is None:
            name = str(self._number)
            self._number += 1
        else:
            name = hint if hint.isidentifier() and hint.isascii() else sanitize(hint)
            suffixes = self._suffixes
            if name in suffixes:
                base, count = name, suffixes[name]
                while name in suffixes:
                    count += 1
                    name = f"{base}_{count}"
                suffixes[base] = count
            suffixes[name] = 0
        name = "%" + name
        self.names[value] = name
        return name


def sanitize(hint: str) -> str:
    """Return the nearest identifier that may follow `%` and is not a number."""
    name = re.sub(r"[^\w$.-]", "_", hint, flags=re.ASCII) or "_"
    return name if re.match(r"[A-Za-z_$.-]", name) else "_" + name


def is_function(op: Op) -> bool:
    """Whether the op has a symbol, a signature and one block: the shape of a function."""
    attributes = op.attributes
    return (
        "sym_name" in attributes
        and "function_type" in attributes
        and not op.operands
        and not op.results
        and len(op.regions) == 1
        and len(op.regions[0].blocks) == 1
    )


def signature(op: Op) -> str:
    """Return `(operand types) -> result types`."""
    results = op.results
    inputs = ", ".join([value.type.text for value in op.operands])
    if len(results) == 1:
        return f"({inputs}) -> {results[0].type.text}"
    return f"({inputs}) -> ({', '.join([value.type.text for value in results])})"


def print_symbol(name: str) -> str:
    """Return `@name`, quoted when it is no identifier (`<lambda>`)."""
    return f"@{name}" if re.fullmatch(r"[A-Za-z_][\w$.]*", name, re.ASCII) else "@" + quote(name)


def print_location(location: Location) -> str:
    """Return `loc("file":line:column)` or `loc(unknown)`."""
    name, line, column, _ = location.resolve()
    return f"loc({quote(name)}:{line}:{column})" if line else "loc(unknown)"


def quote(text: str) -> str:
    """Return an MLIR string literal: bytes outside printable ASCII become `\\XX`."""
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    parts = []
    for byte in text.encode("utf-8", "surrogatepass"):
        if byte in b'"\\':
            parts.append("\\" + chr(byte))
        else:
            parts.append(chr(byte) if 32 <= byte < 127 else f"\\{byte:02X}")
    return f'"{"".join(parts)}"'


def print_attributes(attributes: dict[str, Any]) -> str:
    """Return `{name = value, ...}`, sorted by name."""
    names = sorted(attributes) if len(attributes) > 1 else attributes
    return f"{{{', '.join([f'{name} = {print_attribute(attributes[name])}' for name in names])}}}"


def print_attribute(value: Any) -> str:
    """Return the text of one attribute value.

    Raises:
        TypeError: a value that is no attribute (attributes.py says what is).
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"{int(value)} : i64"
    if isinstance(value, float):
        return f"{print_float(value)} : f64"
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, tuple):
        return _print_tuple(value)
    if isinstance(value, Type):
        return value.text
    if isinstance(value, Dense):
        return print_dense(value)
    if value is None:
        return "unit"
    raise TypeError(f"a {type(value).__name__} is no attribute value: {value!r}")


def _print_tuple(items: tuple[Any, ...]) -> str:
    """`array<i64: ...>` (or i1, f64) when all items are of one kind, otherwise `[...]`."""
    kinds = set(map(type, items))
    if not kinds:
        return "array<i64>"
    if kinds == {int}:
        return f"array<i64: {', '.join(map(str, items))}>"
    if kinds == {bool}:
        return f"array<i1: {', '.join(['true' if item else 'false' for item in items])}>"
    if kinds == {float}:
        return f"array<f64: {', '.join(map(print_float, items))}>"
    return f"[{', '.join(map(print_attribute, items))}]"


def print_float(value: float) -> str:
    """Return the shortest decimal that reads back as the same float64; bits for nan and inf."""
    if value - value != 0.0:  # nan or infinite
        return f"0x{struct.pack('>d', value).hex().upper()}"
    return _with_point(float.__repr__(value))


def _with_point(text: str) -> str:
    """Insert the point that MLIR asks for: `1e+300` is `1.0e+300`."""
    return text if "." in text else text.replace("e", ".0e")


def print_dense(constant: Dense) -> str:
    """Return `dense<...> : type`: one value, nested lists, or the bytes of a larger array."""
    array, element = constant.array, constant.type.element
    if not array.shape:
        body = _literal(element, array[()])
    elif array.size == 0:
        body = ""
    elif array.size < _HEX_FROM:
        body = _nested(element, array)
    else:
        little_endian = array.astype(array.dtype.newbyteorder("<"), copy=False)
        body = f'"0x{little_endian.tobytes().hex().upper()}"'
    return f"dense<{body}> : {constant.type.text}"


def _nested(element: ScalarType, array: np.ndarray[Any, Any]) -> str:
    if array.ndim == 0:
        return _literal(element, array[()])
    return f"[{', '.join([_nested(element, row) for row in array])}]"


def _literal(element: ScalarType, value: Any) -> str:
    """One element, in the fewest digits that give back the same element through a float64."""
    if element.kind == "b":
        return "true" if value else "false"
    if element.kind != "f":
        return str(int(value))
    if element.bits == 64:
        return print_float(float(value))
    if not np.isfinite(value):
        return f"0x{np.asarray(value, value.dtype.newbyteorder('>')).tobytes().hex().upper()}"
    shortest = str(value)
    if value.dtype.type(float(shortest)) != value:
        shortest = repr(float(value))
    return _with_point(shortest)
