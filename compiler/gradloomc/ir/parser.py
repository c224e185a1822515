"""Reads the text of the IR back: MLIR's generic syntax and the pretty form of printer.py, mixed.

Ops are looked up by name in the registry, so the dialects in use must have been imported. Types are
taken as written; whether they are right is the verifier's business. Every error points at the token
at fault. Start reading at `parse_module`, then `Parser.op`.
"""

import difflib
import re
import struct
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np

from gradloomc.ir.attributes import Dense
from gradloomc.ir.core import Block, Module, Op, Region, Value
from gradloomc.ir.lexer import Token, TokenStream
from gradloomc.ir.location import UNKNOWN, FileLocation, Location, Source
from gradloomc.ir.opdef import REGISTRY, OpDef
from gradloomc.ir.types import (
    SCALARS,
    FunctionType,
    ScalarType,
    TensorType,
    Type,
    function,
    memref,
    tensor,
)

_SHAPED = re.compile(r"(tensor|memref)<((?:(?:\d+|\?)x)*)(\w+)>")
_ESCAPE = re.compile(rb"\\([0-9A-Fa-f]{2}|.)")
_ESCAPED = {b"n": b"\n", b"t": b"\t"}


def parse_module(text: str, filename: str = "<string>") -> Module:
    """Read a module from its text.

    Ops without a `loc(...)` get the position at which they stand in `text`.

    Raises:
        ParseError: the text is no module; the error's location is the token at fault.
    """
    parser = Parser(Source(filename, text))
    module = Module()
    while parser.token.kind != "end":
        parser.values = {}
        parser.op(module.block)
    return module


class Parser(TokenStream):
    """A recursive-descent parser over the tokens of one text; `values` holds the names in scope."""

    def __init__(self, source: Source):
        super().__init__(source)
        self.values: dict[str, Value] = {}
        self._types: dict[str, Type] = dict(SCALARS)

    # Ops, blocks, values.

    def op(self, block: Block) -> None:
        """Read one op and append it to `block`."""
        names = self._result_names() if self.token.kind == "value" else []
        token = self.token
        if token.kind == "string":
            self.advance()
            op = self._generic(token, self._kind(token, token.text[1:-1]))
        elif token.kind == "id":
            self.advance()
            kind = self._kind(token, token.text)
            if self.token.kind == "symbol":
                op = self._function(token, kind)
            else:
                op = self._pretty(token, kind, len(names))
        else:
            self.fail(f"expected an op, got {self.described()}")
        if len(names) != len(op.results):
            self.fail(
                f"'{op.name}' op has {_count(len(op.results), 'result')}, "
                f"but {_count(len(names), 'name')} to give",
                token,
            )
        for (name, where), value in zip(names, op.results, strict=True):
            self._define(name, where, value)
        if self.token.text == "loc":
            op.location = self._location()
        block.append(op)

    def _result_names(self) -> list[tuple[str, Token]]:
        """`%a, %b =` or MLIR's `%a:2 =`."""
        names = []
        while True:
            token = self.expect_kind("value", "a value name")
            if self.accept(":"):
                count = int(self.expect_kind("int", "the number of results").text)
                names += [(f"{token.text}#{i}", token) for i in range(count)]
            else:
                names.append((token.text, token))
            if not self.accept(","):
                break
        self.expect("=")
        return names

    def _kind(self, token: Token, name: str) -> OpDef:
        kind = REGISTRY.get(name)
        if kind is None:
            dialect, dot, _ = name.partition(".")
            near = difflib.get_close_matches(name, REGISTRY, n=3, cutoff=0.8)
            if near:
                fix = f"did you mean {' or '.join(near)}?"
            elif dot and not any(known.startswith(dialect + ".") for known in REGISTRY):
                dialects = sorted({known.partition(".")[0] for known in REGISTRY})
                fix = f"no dialect '{dialect}' is loaded; there are {', '.join(dialects)}"
            else:
                fix = ""
            self.fail(f"unknown op '{name}'", token, fix=fix)
        return kind

    def _generic(self, token: Token, kind: OpDef) -> Op:
        self.expect("(")
        operands, uses = self._operands()
        self.expect(")")
        attributes: dict[str, Any] = {}
        if self.accept("<"):  # MLIR prints inherent attributes apart, as properties
            self._attributes(attributes)
            self.expect(">")
        regions: list[Region] = []
        if self.accept("("):
            regions = self._regions()
            self.expect(")")
        if self.token.text == "{":
            self._attributes(attributes)
        self.expect(":")
        signature = self._signature()
        self._check_operands(operands, uses, signature.inputs)
        return Op(kind, operands, attributes, signature.results, self.location(token), regions)

    def _pretty(self, token: Token, kind: OpDef, result_count: int) -> Op:
        operands, uses = self._operands()
        attributes: dict[str, Any] = {}
        if self.token.text == "{":
            self._attributes(attributes)
        results: Sequence[Type] = ()
        regions: list[Region] = []
        if self.accept(":"):
            if self.token.text == "(":
                signature = self._signature()
                inputs, results = signature.inputs, signature.results
            else:
                type = self.type()
                inputs = (type,) * len(operands)
                results = (type,) * result_count
            self._check_operands(operands, uses, inputs)
            if self.token.text == "{":
                regions = self._regions()
        elif operands:
            self.fail(f"expected ':' and the type of the operands, got {self.described()}")
        return Op(kind, operands, attributes, results, self.location(token), regions)

    def _function(self, token: Token, kind: OpDef) -> Op:
        """`func.func @name(%x: T) -> T attributes {...} { ... }`."""
        symbol = self.advance()
        name = self._unquote(symbol, symbol.text[1:])
        outer, self.values = self.values, dict(self.values)
        self.expect("(")
        block = Block()
        self._arguments(block)
        results: Sequence[Type] = ()
        if self.accept("->"):
            results = self._types_or_type()
        attributes: dict[str, Any] = {"sym_name": name}
        if self.accept("attributes"):
            self._attributes(attributes)
        attributes["function_type"] = function(
            tuple([argument.type for argument in block.arguments]), tuple(results)
        )
        self.expect("{")
        self._body(block)
        self.values = outer
        return Op(kind, (), attributes, (), self.location(token), (Region(block),))

    def _regions(self) -> list[Region]:
        regions = [self._region()]
        while self.accept(","):
            regions.append(self._region())
        return regions

    def _region(self) -> Region:
        self.expect("{")
        outer, self.values = self.values, dict(self.values)
        block = Block()
        if self.token.kind == "label":
            self.advance()
            if self.accept("("):
                self._arguments(block)
            self.expect(":")
        self._body(block)
        self.values = outer
        return Region(block)

    def _body(self, block: Block) -> None:
        while not self.accept("}"):
            if self.token.kind == "label":
                self.fail("expected '}': a region holds exactly one block")
            if self.token.kind == "end":
                self.fail("expected '}' before the end of the text")
            self.op(block)

    def _arguments(self, block: Block) -> None:
        """`%a: T, %b: T)`, the opening parenthesis read already."""
        if self.accept(")"):
            return
        while True:
            token = self.expect_kind("value", "an argument name")
            self.expect(":")
            self._define(token.text, token, block.add_argument(self.type()))
            if not self.accept(","):
                break
        self.expect(")")

    def _define(self, name: str, token: Token, value: Value) -> None:
        if name in self.values:
            first = next(other for other in self.tokens if other.text == name.partition("#")[0])
            notes = (("it is first defined here", self.location(first)),)
            self.fail(f"redefinition of value '{name}'", token, notes)
        self.values[name] = value
        if name.endswith("#0"):
            self.values[name[:-2]] = value
        if not name[1].isdigit():
            value.hint = name[1:].partition("#")[0]

    def _operands(self) -> tuple[list[Value], list[Token]]:
        """A possibly empty list of value uses."""
        operands: list[Value] = []
        uses: list[Token] = []
        while self.token.kind == "value":
            token = self.advance()
            value = self.values.get(token.text)
            if value is None:
                self._undefined(token)
            operands.append(value)
            uses.append(token)
            if not self.accept(","):
                break
            if self.token.kind != "value":
                self.fail(f"expected a value, got {self.described()}")
        return operands, uses

    def _undefined(self, use: Token) -> NoReturn:
        for i, token in enumerate(self.tokens):
            follows = self.tokens[min(i + 1, len(self.tokens) - 1)].text
            if token.text == use.text and token.start > use.start and follows in ("=", ":"):
                notes = (("it is defined only here", self.location(token)),)
                self.fail(f"use of value '{use.text}' before its definition", use, notes)
        near = difflib.get_close_matches(use.text, self.values, n=1)
        fix = f"did you mean {near[0]}?" if near else ""
        self.fail(f"use of undefined value '{use.text}'", use, fix=fix)

    def _check_operands(
        self, operands: list[Value], uses: list[Token], types: Sequence[Type]
    ) -> None:
        if len(types) != len(operands):
            self.fail(
                f"{_count(len(operands), 'operand')}, but {_count(len(types), 'operand type')}",
                self.tokens[self.position - 1],
            )
        for value, use, type in zip(operands, uses, types, strict=True):
            if value.type is not type:
                self.fail(f"value '{use.text}' is of type {value.type}, but is used as {type}", use)

    def _location(self) -> Location:
        """`loc("file":line:column)` or `loc(unknown)`."""
        self.advance()
        self.expect("(")
        if self.accept("unknown"):
            location = UNKNOWN
        else:
            name = self.expect_kind("string", "a file name or unknown")
            self.expect(":")
            line = int(self.expect_kind("int", "a line number").text)
            self.expect(":")
            column = int(self.expect_kind("int", "a column number").text)
            location = FileLocation(self._unquote(name, name.text), line, column)
        self.expect(")")
        return location

    # Types.

    def type(self) -> Type:
        """Read a type."""
        token = self.token
        found = self._types.get(token.text)
        if found is not None:
            self.advance()
            return found
        if token.text == "(":
            return self._signature()
        if token.kind == "type":
            self.advance()
            self._types[token.text] = found = self._shaped(token)
            return found
        self.fail(f"expected a type, got {self.described()}")

    def _shaped(self, token: Token) -> Type:
        match = _SHAPED.fullmatch(token.text)
        if match is None:
            self.fail(f"malformed type '{token.text}', expected the form tensor<2x3xf64>", token)
        element = SCALARS.get(match[3])
        if element is None:
            near = difflib.get_close_matches(match[3], SCALARS, n=1)
            fix = f"did you mean {near[0]}?" if near else f"there are {', '.join(SCALARS)}"
            self.fail(f"unknown element type '{match[3]}'", token, fix=fix)
        dims = match[2].split("x")[:-1]
        if match[1] == "memref":
            return memref(tuple([None if dim == "?" else int(dim) for dim in dims]), element)
        if "?" in dims:
            self.fail("the extents of a tensor are numbers", token)
        return tensor(tuple(map(int, dims)), element)

    def _signature(self) -> FunctionType:
        """`(T, T) -> T`."""
        inputs = self._type_list()
        if self.token.text != "->":
            self.fail(f"expected '->' and the result types, got {self.described()}")
        self.advance()
        return function(tuple(inputs), tuple(self._types_or_type()))

    def _types_or_type(self) -> Sequence[Type]:
        return self._type_list() if self.token.text == "(" else (self.type(),)

    def _type_list(self) -> list[Type]:
        self.expect("(")
        types: list[Type] = []
        if not self.accept(")"):
            types = self._separated(self.type)
            self.expect(")")
        return types

    def _separated(self, item: Callable[[], Any]) -> list[Any]:
        """One or more items between commas."""
        items = [item()]
        while self.accept(","):
            items.append(item())
        return items

    # Attributes.

    def _attributes(self, attributes: dict[str, Any]) -> None:
        """`{name = value, ...}`, added to `attributes`."""
        self.expect("{")
        if self.accept("}"):
            return
        while True:
            token = self.token
            if token.kind not in ("id", "string"):
                self.fail(f"expected an attribute name, got {self.described()}")
            self.advance()
            name = self._unquote(token, token.text) if token.kind == "string" else token.text
            if name in attributes:
                self.fail(f"attribute '{name}' is given twice", token)
            attributes[name] = self.attribute() if self.accept("=") else None
            if not self.accept(","):
                break
        self.expect("}")

    def attribute(self) -> Any:
        """Read one attribute value (attributes.py says what there is)."""
        token = self.token
        if token.kind in ("int", "float", "hex"):
            return self._number()
        if token.kind == "string":
            self.advance()
            return self._unquote(token, token.text)
        if token.kind == "symbol":
            self.advance()
            return self._unquote(token, token.text[1:])
        if token.text in ("true", "false"):
            self.advance()
            return token.text == "true"
        if self.accept("unit"):
            return None
        if self.accept("array"):
            return self._array()
        if self.accept("dense"):
            return self._dense()
        if self.accept("["):
            items = [] if self.token.text == "]" else self._separated(self.attribute)
            self.expect("]")
            return tuple(items)
        if token.kind in ("type", "id") or token.text == "(":
            return self.type()
        self.fail(f"expected an attribute value, got {self.described()}")

    def _number(self) -> int | float:
        """`3 : i64`, `1.0 : f64`; the type is i64 or f64 when it is left out."""
        token = self.advance()
        type: Type = SCALARS["f64" if token.kind == "float" else "i64"]
        if self.accept(":"):
            where = self.token
            type = self.type()
            if not isinstance(type, ScalarType):
                self.fail(f"expected a scalar type, got {type}", where)
        assert isinstance(type, ScalarType)
        value = self._element(token, type)
        return float(value) if type.is_float else int(value)

    def _array(self) -> tuple[Any, ...]:
        """`<i64: 1, 2>`, a tuple of numbers."""
        self.expect("<")
        where = self.token
        type = self.type()
        if not isinstance(type, ScalarType):
            self.fail(f"expected a scalar type, got {type}", where)
        items: list[Any] = []
        if self.accept(":"):
            items = self._separated(lambda: self._element(self.advance(), type))
        self.expect(">")
        return tuple(items)

    def _element(self, token: Token, type: ScalarType) -> Any:
        """The Python value of a literal of a type."""
        kind, text = token.kind, token.text
        if type.kind == "b" and text in ("true", "false"):
            return text == "true"
        if type.is_float:
            if kind == "hex" and len(text) == 2 + type.bits // 4:
                if type.bits == 64:
                    return struct.unpack(">d", bytes.fromhex(text[2:]))[0]
                bits = np.frombuffer(bytes.fromhex(text[2:]), type.dtype.newbyteorder(">"))
                return bits.astype(type.dtype)[0]  # a NumPy scalar keeps the bits of a nan
            if kind in ("float", "int"):
                return float(text)
        elif type.is_integer and kind in ("int", "hex"):
            value = int(text, 0) if kind == "hex" else int(text)
            if type.bits < 64 or type.kind == "u":
                low, high = np.iinfo(type.dtype).min, np.iinfo(type.dtype).max
                if not low <= value <= high:
                    self.fail(f"{text} does not fit {type}", token)
            return value
        self.fail(f"expected a literal of type {type}, got '{text}'", token)

    def _dense(self) -> Dense:
        """`<literal or nested lists or bytes> : tensor<...>`."""
        start = self.expect("<")
        body: Any = None if self.token.text == ">" else self._nested()
        self.expect(">")
        self.expect(":")
        where = self.token
        type = self.type()
        if not isinstance(type, TensorType):
            self.fail(f"expected a tensor type, got {type}", where)
        if body is None:
            if type.size:
                self.fail(f"no elements, but {type} has {type.size}", start)
            return Dense(type, np.empty(type.shape, type.element.dtype))
        if isinstance(body, Token) and body.kind == "string":
            return Dense(type, self._bytes(body, type))
        array = np.array(self._elements(body, type.element), type.element.dtype)
        if array.shape not in ((), type.shape):
            self.fail(f"elements of shape {array.shape} do not fill {type}", start)
        return Dense(type, array)

    def _nested(self) -> Any:
        """Tokens in nested lists; whether they fit is known only once the type has been read."""
        bracket = self.token
        if not self.accept("["):
            return self.advance()
        items = [] if self.token.text == "]" else self._separated(self._nested)
        self.expect("]")
        if len({_shape(item) for item in items}) > 1:
            self.fail("the lists are of unequal length", bracket)
        return items

    def _elements(self, body: Any, element: ScalarType) -> Any:
        if isinstance(body, list):
            return [self._elements(item, element) for item in body]
        return self._element(body, element)

    def _bytes(self, token: Token, type: TensorType) -> np.ndarray[Any, Any]:
        """The array of a `"0x..."` string: the elements' bytes, row by row, little-endian."""
        expected = type.size * type.element.itemsize
        try:
            if token.text[1:3] != "0x":
                raise ValueError
            data = bytes.fromhex(token.text[3:-1])
        except ValueError:
            self.fail('expected the bytes of a constant, "0x..."', token)
        if len(data) != expected:
            self.fail(f"{len(data)} bytes do not fill {type}, which takes {expected}", token)
        stored = np.frombuffer(data, type.element.dtype.newbyteorder("<"))
        return stored.astype(type.element.dtype).reshape(type.shape)

    def _unquote(self, token: Token, text: str) -> str:
        """The string that a literal stands for."""
        if not text.startswith('"'):
            return text
        if "\\" not in text:
            return text[1:-1]

        def unescape(match: re.Match[bytes]) -> bytes:
            code = match[1]
            return bytes.fromhex(code.decode()) if len(code) == 2 else _ESCAPED.get(code, code)

        raw = _ESCAPE.sub(unescape, text[1:-1].encode("utf-8", "surrogatepass"))
        try:
            return raw.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            self.fail("the string is not UTF-8", token)


def _shape(item: Any) -> tuple[int, ...]:
    if not isinstance(item, list):
        return ()
    return (len(item), *(_shape(item[0]) if item else ()))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
