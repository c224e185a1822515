"""Printing and parsing: exact texts, exact round trips, and round trips of generated modules."""

import math
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradloomc.dialects.func import body_of, finish_function, make_function
from gradloomc.ir import types
from gradloomc.ir.attributes import Dense, attribute_key
from gradloomc.ir.builder import at
from gradloomc.ir.core import Block, Module, Op, Region, Value
from gradloomc.ir.location import UNKNOWN, FileLocation
from gradloomc.ir.parser import parse_module
from gradloomc.ir.printer import print_attribute, print_module, print_op
from gradloomc.ir.verifier import verify
from harness import dialect

VECTOR = types.tensor((3,), types.f64)

PRETTY = """\
func.func @loss(%w: tensor<3xf64>, %n: i64) -> (tensor<3xf64>, i64) {
  %0 = test.unary %w : tensor<3xf64>
  %sum = test.add %0, %w : tensor<3xf64>
  %1, %2 = test.pair %sum {axes = array<i64: 1, 0>, keep = true} : tensor<3xf64>
  %3, %4 = test.split %1, %n : (tensor<3xf64>, i64) -> (i64, tensor<3xf64>)
  test.store %3, %n : i64
  test.store
  test.store %4, %n : (tensor<3xf64>, i64) -> ()
  %5 = test.loop %4 : tensor<3xf64> {
  ^(%a: tensor<3xf64>, %b: i1):
    %6 = test.branch %b {type = i64} : (i1) -> i64 {
      test.yield %n : i64
    }, {
      %7 = test.source {type = i64} : i64
      test.yield %7 : i64
    }
    test.yield %a : tensor<3xf64>
  }
  func.return %5, %n : (tensor<3xf64>, i64) -> ()
}
func.func @"<lambda>"() {
  test.loop : () -> () {
    test.yield
  }
  func.return
}
"""

GENERIC = """\
"func.func"() ({
^bb0(%w: tensor<3xf64>, %n: i64):
  %0 = "test.unary"(%w) : (tensor<3xf64>) -> tensor<3xf64>
  %sum = "test.add"(%0, %w) : (tensor<3xf64>, tensor<3xf64>) -> tensor<3xf64>
  %1, %2 = "test.pair"(%sum) {axes = array<i64: 1, 0>, keep = true} : (tensor<3xf64>) -> \
(tensor<3xf64>, tensor<3xf64>)
  %3, %4 = "test.split"(%1, %n) : (tensor<3xf64>, i64) -> (i64, tensor<3xf64>)
  "test.store"(%3, %n) : (i64, i64) -> ()
  "test.store"() : () -> ()
  "test.store"(%4, %n) : (tensor<3xf64>, i64) -> ()
  %5 = "test.loop"(%4) ({
  ^bb0(%a: tensor<3xf64>, %b: i1):
    %6 = "test.branch"(%b) ({
      "test.yield"(%n) : (i64) -> ()
    }, {
      %7 = "test.source"() {type = i64} : () -> i64
      "test.yield"(%7) : (i64) -> ()
    }) {type = i64} : (i1) -> i64
    "test.yield"(%a) : (tensor<3xf64>) -> ()
  }) : (tensor<3xf64>) -> tensor<3xf64>
  "func.return"(%5, %n) : (tensor<3xf64>, i64) -> ()
}) {function_type = (tensor<3xf64>, i64) -> (tensor<3xf64>, i64), sym_name = "loss"} : () -> ()
"func.func"() ({
  "test.loop"() ({
    "test.yield"() : () -> ()
  }) : () -> ()
  "func.return"() : () -> ()
}) {function_type = () -> (), sym_name = "<lambda>"} : () -> ()
"""


@pytest.mark.parametrize("source", [PRETTY, GENERIC], ids=["pretty", "generic"])
def test_both_forms_read_the_same_module(source: str) -> None:
    module = parse_module(source)
    assert print_module(module) == PRETTY
    assert print_module(module, generic=True) == GENERIC


def test_empty_module() -> None:
    assert print_module(Module()) == ""
    assert parse_module("// nothing\n\n").block.ops == []


def test_locations_are_printed_and_read() -> None:
    text = (
        'func.func @f(%x: f64) -> f64 {\n  %0 = test.unary %x : f64 loc("a \\"b\\".py":3:14)\n'
        "  func.return %0 : f64 loc(unknown)\n} loc(unknown)\n"
    )
    module = parse_module(text)
    assert print_module(module, locations=True) == text
    unary = body_of(module.functions["f"]).ops[0]
    assert unary.location.resolve()[:3] == ('a "b".py', 3, 14)
    generic = print_module(module, generic=True, locations=True)
    assert print_module(parse_module(generic), generic=True, locations=True) == generic
    assert print_module(parse_module(generic), locations=True) == text


def test_an_op_without_location_gets_its_place_in_the_text() -> None:
    module = parse_module("// first line\n" + PRETTY, "net.mlir")
    op = body_of(module.functions["loss"]).ops[1]
    assert op.location.resolve() == ("net.mlir", 4, 10, 18)
    assert op.location.source_line() == "  %sum = test.add %0, %w : tensor<3xf64>"


def test_mlir_spelling_of_several_results_and_properties() -> None:
    module = parse_module(
        '"func.func"() <{sym_name = "f", function_type = (f64) -> f64}> ({\n^bb0(%x: f64):\n'
        '  %p:2 = "test.pair"(%x) : (f64) -> (f64, f64)\n'
        '  %s = "test.add"(%p#1, %p) : (f64, f64) -> f64\n'
        '  "func.return"(%s) : (f64) -> ()\n}) : () -> ()'
    )
    assert print_module(module) == (
        "func.func @f(%x: f64) -> f64 {\n  %p, %p_1 = test.pair %x : f64\n"
        "  %s = test.add %p_1, %p : f64\n  func.return %s : f64\n}\n"
    )


def test_attributes_of_functions_are_kept() -> None:
    text = "func.func @f() attributes {inline = true, level = 2 : i64} {\n  func.return\n}\n"
    assert print_module(parse_module(text)) == text


def test_memref_and_index_types() -> None:
    arguments = "%m: memref<?x4xf64>, %i: index, %s: memref<f32>"
    text = dialect.function_text("test.store %m, %i : (memref<?x4xf64>, index) -> ()", arguments)
    text = text.replace("\n}", "\n  func.return\n}")
    module = parse_module(text)
    assert print_module(module) == text
    first, second, third = body_of(module.functions["f"]).arguments
    assert first.type is types.memref((None, 4), types.f64)
    assert second.type is types.index
    assert third.type is types.memref((), types.f32)


# Names.


def _function(hints: list[str | None]) -> Op:
    function = make_function("f", [types.f64] * len(hints), hints)
    return finish_function(function, [])


@pytest.mark.parametrize(
    ("hints", "names"),
    [
        ([None, None], "%0 %1"),
        (["x", "x", "x"], "%x %x_1 %x_2"),
        (["x", "x_1", "x"], "%x %x_1 %x_2"),
        (["x", "x", "x_1"], "%x %x_1 %x_1_1"),
        (["0", None, "2b"], "%_0 %0 %_2b"),
        (["α", "a b", "", "p.q", "-1"], "%_ %a_b %__1 %p.q %-1"),
    ],
)
def test_names_are_unique_identifiers(hints: list[str | None], names: str) -> None:
    text = print_module(Module([_function(hints)]))
    printed = [argument.partition(":")[0] for argument in text.partition("(")[2].split(", ")]
    assert " ".join(printed) == names
    assert print_module(parse_module(text)) == text


def test_names_start_anew_in_each_function() -> None:
    text = print_module(Module([_function(["x", None]), _function(["x", None])]))
    assert text.count("%x: f64, %0: f64") == 2


def test_many_equal_hints_are_named_in_linear_time() -> None:
    text = print_module(Module([_function(["x"] * 20_000)]))
    assert "%x_19999: f64" in text


# Attributes.

FLOATS = [0.0, -0.0, 1.0, -1.5, 0.1, 1e300, 1e-300, 5e-324, 1.7976931348623157e308, 2.0**53]
SPECIAL = [math.inf, -math.inf, math.nan]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (3, "3 : i64"),
        (-(2**63), "-9223372036854775808 : i64"),
        (1.0, "1.0 : f64"),
        (1e300, "1.0e+300 : f64"),
        (1.5e-9, "1.5e-09 : f64"),
        (math.inf, "0x7FF0000000000000 : f64"),
        (math.nan, "0x7FF8000000000000 : f64"),
        ('a"b\\c\nü', '"a\\"b\\\\c\\0A\\C3\\BC"'),
        ((), "array<i64>"),
        ((1, 0), "array<i64: 1, 0>"),
        ((True, False), "array<i1: true, false>"),
        ((0.5, math.inf), "array<f64: 0.5, 0x7FF0000000000000>"),
        (((0, 1), ()), "[array<i64: 0, 1>, array<i64>]"),
        ((1, True, "s", None), '[1 : i64, true, "s", unit]'),
        (types.f32, "f32"),
        (VECTOR, "tensor<3xf64>"),
        (types.function((types.f64,), (types.f64, types.i1)), "(f64) -> (f64, i1)"),
        (None, "unit"),
    ],
)
def test_attribute_text(value: object, text: str) -> None:
    assert print_attribute(value) == text
    assert attribute_key({"a": _read(text)}) == attribute_key({"a": value})
    assert type(_read(text)) is type(value)


@pytest.mark.parametrize("value", [*FLOATS, *SPECIAL])
def test_floats_are_exact(value: float) -> None:
    assert struct.pack(">d", _read(print_attribute(value))) == struct.pack(">d", value)


def test_numpy_scalars_are_no_attributes() -> None:
    assert print_attribute(np.float64(0.5)) == "0.5 : f64"  # it is a Python float
    with pytest.raises(TypeError, match="float32 is no attribute value"):
        print_attribute(np.float32(0.5))


def _read(text: str) -> object:
    """Parse one attribute value."""
    body = f"%0 = test.source {{a = {text}, type = f64}} : f64\nfunc.return"
    module = parse_module(dialect.function_text(body))
    return body_of(module.functions["f"]).ops[0].attributes["a"]


DENSE_CASES = [
    ("tensor<f64>", 1.0, "1.0"),
    ("tensor<3xf64>", 0.1, "0.1"),
    ("tensor<2xf32>", [0.1, 1e20], "[0.1, 1.0e+20]"),
    ("tensor<2x2xi64>", [[1, 2], [3, -4]], "[[1, 2], [3, -4]]"),
    ("tensor<2xi1>", [True, False], "[true, false]"),
    ("tensor<2xui64>", [0, 2**64 - 1], "[0, 18446744073709551615]"),
    ("tensor<2xf32>", [np.nan, -np.inf], "[0x7FC00000, 0xFF800000]"),
    ("tensor<2xf16>", [0.1, np.inf], "[0.1, 0x7C00]"),
    ("tensor<2xf64>", [-0.0, 5e-324], "[-0.0, 5.0e-324]"),
    ("tensor<0xf64>", np.zeros(0), ""),
    ("tensor<2x0xf64>", np.zeros((2, 0)), ""),
    ("tensor<1x1xf64>", [[2.0]], "2.0"),
]


@pytest.mark.parametrize(("type_text", "value", "body"), DENSE_CASES)
def test_dense_text(type_text: str, value: object, body: str) -> None:
    type = _type(type_text)
    constant = Dense(type, np.asarray(value, type.element.dtype))
    text = f"dense<{body}> : {type_text}"
    assert print_attribute(constant) == text
    assert _read(text) == constant


@pytest.mark.parametrize("element", [t for t in types.SCALARS.values() if t is not types.index])
def test_large_constants_are_bytes(element: types.ScalarType) -> None:
    type = types.tensor((8, 8), element)
    array = (np.arange(64).reshape(8, 8) % 3).astype(element.dtype)
    constant = Dense(type, array)
    text = print_attribute(constant)
    little_endian = array.astype(array.dtype.newbyteorder("<")).tobytes().hex().upper()
    assert text == f'dense<"0x{little_endian}"> : {type}'
    assert _read(text) == constant
    small = Dense(types.tensor((7, 9), element), np.resize(array, (7, 9)))
    assert "0x" not in print_attribute(small)
    assert _read(print_attribute(small)) == small


def test_a_constant_from_foreign_memory_order() -> None:
    type = types.tensor((8, 9), types.f64)
    array = np.asfortranarray(np.arange(72.0).reshape(8, 9))
    assert _read(print_attribute(Dense(type, array))) == Dense(type, array)


def _type(text: str) -> types.TensorType:
    module = parse_module(dialect.function_text("func.return", f"%x: {text}"))
    found = body_of(module.functions["f"]).arguments[0].type
    assert isinstance(found, types.TensorType)
    return found


# Single ops.


def test_print_op_names_values_as_the_function_does() -> None:
    function = parse_module(PRETTY).functions["loss"]
    ops = body_of(function).ops
    assert print_op(ops[1]) == "%sum = test.add %0, %w : tensor<3xf64>"
    inner = ops[-2].regions[0].block.ops[0]
    assert print_op(inner) == (
        "%6 = test.branch %b {type = i64} : (i1) -> i64 {\n  test.yield %n : i64\n}, {\n"
        "  %7 = test.source {type = i64} : i64\n  test.yield %7 : i64\n}"
    )
    assert print_op(inner.regions[0].block.ops[0], generic=True) == '"test.yield"(%n) : (i64) -> ()'
    assert print_op(function) == PRETTY[: PRETTY.index('func.func @"')].rstrip("\n")


def test_print_op_without_a_function() -> None:
    lone = Op(dialect.unary, [Value(types.f64, None, 0)], {}, [types.f64])
    assert print_op(lone) == "%0 = test.unary %<undefined> : f64"


# Generated modules.

ATTRIBUTES = st.recursive(
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from([types.f64, VECTOR, types.memref((None,), types.f32)])
    | st.lists(st.integers(-9, 9), max_size=3).map(tuple),
    lambda items: st.lists(items, max_size=3).map(tuple),
    max_leaves=4,
)
HINTS = (
    st.none() | st.sampled_from(["x", "x_1", "0", "loss", "α", "a-b", "_"]) | st.text(max_size=3)
)
NAMES = st.from_regex(r"[a-z_][a-z0-9_]{0,4}", fullmatch=True).filter(lambda name: name != "type")


@st.composite
def modules(draw: st.DrawFn) -> Module:
    functions = []
    for name in draw(st.lists(st.text(min_size=1, max_size=5), max_size=3, unique=True)):
        argument_types = draw(st.lists(st.sampled_from([types.f64, VECTOR]), max_size=3))
        hints = [draw(HINTS) for _ in argument_types]
        function = make_function(name, argument_types, hints)
        block = body_of(function)
        with at(block):
            values = _fill(draw, list(block.arguments), depth=0)
        returned = draw(st.lists(st.sampled_from(values), max_size=2)) if values else []
        functions.append(finish_function(function, returned))
    return Module(functions)


def _fill(draw: st.DrawFn, values: list[Value], depth: int) -> list[Value]:
    for _ in range(draw(st.integers(0, 5))):
        choice = draw(st.sampled_from(["source", "unary", "pair", "split", "loop", "store"]))
        location = draw(st.sampled_from([UNKNOWN, FileLocation('d\\"i/a.py', 3, 7)]))
        before = [*values]
        with at(_current(), location):
            if choice == "source" or not values:
                attributes = draw(st.dictionaries(NAMES, ATTRIBUTES, max_size=3))
                values.append(dialect.source(type=types.f64, **attributes))
            elif choice == "unary":
                attributes = draw(st.dictionaries(NAMES, ATTRIBUTES, max_size=2))
                values.append(dialect.unary(draw(st.sampled_from(values)), **attributes))
            elif choice == "pair":
                values += dialect.pair(draw(st.sampled_from(values)))
            elif choice == "split":
                values += dialect.split(*[draw(st.sampled_from(values)) for _ in range(2)])
            elif choice == "store":
                dialect.store.build([draw(st.sampled_from(values))], {})
            elif depth < 2:
                operands = [draw(st.sampled_from(values))]
                block = Block([types.f64] * draw(st.integers(0, 2)), [draw(HINTS), draw(HINTS)])
                op = dialect.loop.build(operands, {}, [Region(block)])
                with at(block):
                    inner = _fill(draw, [*values, *block.arguments], depth + 1)
                    dialect.yield_.build(inner[-1:], {})
                values += op.results
        for value in values[len(before) :]:
            value.hint = draw(HINTS)
    return values


def _current() -> Block:
    from gradloomc.ir.builder import insertion

    return insertion.block


@given(modules())
@settings(max_examples=60, deadline=None)
def test_round_trip_is_exact(module: Module) -> None:
    verify(module)
    for generic in (False, True):
        for locations in (False, True):
            text = print_module(module, generic, locations)
            again = parse_module(text)
            verify(again)
            assert print_module(again, generic, locations) == text
            assert print_module(again, not generic, locations) == print_module(
                module, not generic, locations
            )
