"""Errors of the parser: each points at the token at fault and says what was expected."""

import pytest

from gradloomc.ir.errors import ParseError
from gradloomc.ir.parser import parse_module
from harness import dialect


def _error(text: str) -> ParseError:
    with pytest.raises(ParseError) as info:
        parse_module(text, "in.mlir")
    return info.value


@pytest.mark.parametrize(
    ("line", "message", "at"),
    [
        ("%0 = test.unary %z : f64", "use of undefined value '%z'", "%z"),
        ("%0 = test.add %x, %0 : f64", "use of undefined value '%0'", "%0 :"),
        ("%x = test.unary %y : f64", "redefinition of value '%x'", "%x"),
        ("%0 = test.unari %x : f64", "unknown op 'test.unari'", "test.unari"),
        ('%0 = "test.unari"(%x) : (f64) -> f64', "unknown op 'test.unari'", '"test.unari"'),
        ("%0 = test.unary %x : f65", "expected a type, got 'f65'", "f65"),
        ("%0 = test.unary %x : tensor<3xf65>", "unknown element type 'f65'", "tensor<3xf65>"),
        ("%0 = test.unary %x : tensor<3,f64>", "malformed type", "tensor<3,f64>"),
        ("%0 = test.unary %x : tensor<?xf64>", "extents of a tensor are numbers", "tensor<?xf64>"),
        ("%0 = test.unary %x", "expected ':' and the type", "}"),
        ("%0 = test.unary %x, : f64", "expected a value, got ':'", ":"),
        ("%0 = test.add %x, %x : (f64) -> f64", "2 operands, but 1 operand type", "f64"),
        ("%0 = test.unary %x : i64", "'%x' is of type f64, but is used as i64", "%x"),
        ("%0, %1 = test.unary %x : (f64) -> f64", "1 result, but 2 names", "test.unary"),
        ("test.unary %x : (f64) -> f64", "1 result, but 0 names", "test.unary"),
        ("%0 = test.unary %x : (f64) f64", "expected '->' and the result types", "f64"),
        ("%0 = test.unary %x {a} {b} : f64", "expected ':' and the type", "{b}"),
        ("%0 = test.unary %x {a = 1, a = 2} : f64", "attribute 'a' is given twice", "a = 2"),
        ("%0 = test.unary %x {3 = 1} : f64", "expected an attribute name, got '3'", "3"),
        ("%0 = test.unary %x {a = } : f64", "expected an attribute value, got '}'", "} :"),
        ("%0 = test.unary %x {a = 1.5 : i64} : f64", "expected a literal of type i64", "1.5"),
        ("%0 = test.unary %x {a = 300 : i8} : f64", "300 does not fit i8", "300"),
        ("%0 = test.unary %x {a = -1 : ui8} : f64", "-1 does not fit ui8", "-1"),
        ("%0 = test.unary %x {a = 0x7FC0 : f64} : f64", "a literal of type f64", "0x7FC0"),
        ("%0 = test.unary %x {a = array<i64: 1, true>} : f64", "literal of type i64", "true"),
        ("%0 = test.unary %x {a = 1 : tensor<f64>} : f64", "expected a scalar type", "tensor<f64>"),
        ("%0 = test.unary %x {a = dense<[1.0, 2.0]> : tensor<3xf64>} : f64", "(2,) do not", "<[1"),
        ("%0 = test.unary %x {a = dense<> : tensor<3xf64>} : f64", "no elements", "<>"),
        ("%0 = test.unary %x {a = dense<1.0> : f64} : f64", "expected a tensor type", "f64} :"),
        ("%0 = test.unary %x {a = dense<[[1.0], 2.0]> : tensor<2xf64>} : f64", "unequal", "[[1"),
        ('%0 = test.unary %x {a = dense<"0x00"> : tensor<2xf64>} : f64', "1 bytes do", '"0x00"'),
        ('%0 = test.unary %x {a = dense<"zz"> : tensor<2xf64>} : f64', "the bytes", '"zz"'),
        ('%0 = test.unary %x {a = "\\FF"} : f64', "not UTF-8", '"\\FF"'),
        ('%0 = test.unary %x {a = "b} : f64', "got a string without end", '"b}'),
        ("%0 = test.unary %x : f64 loc(3)", "a file name or unknown, got '3'", "3)"),
        ("%0 = test.unary %x : f64 ; %y", "expected an op, got ';'", ";"),
        ("%0 test.unary %x : f64", "expected '=', got 'test.unary'", "test.unary"),
        ("test.loop : () -> () {\n^bb0:\n  test.yield\n^bb1:\n}", "exactly one block", "^bb1"),
        ("test.loop : () -> () {\n  %i = test.source {type = f64} : f64\n  test.yield\n}\n"
         "%j = test.unary %i : f64", "use of undefined value '%i'", "%i : f64\n}"),
    ],
)  # fmt: skip
def test_points_at_the_token(line: str, message: str, at: str) -> None:
    text = dialect.function_text(line)
    error = _error(text)
    assert message in error.message
    name, row, column, _ = error.location.resolve()
    assert name == "in.mlir"
    offset = len("".join(text.splitlines(keepends=True)[: row - 1])) + column - 1
    assert text.startswith(at, offset), f"it points at {text[offset : offset + 20]!r}"


def test_the_whole_message() -> None:
    text = dialect.function_text("%0 = test.unary %x : f64\n%1 = test.unari %0 : f64")
    assert str(_error(text)) == (
        "in.mlir:3:8: error: unknown op 'test.unari'\n"
        "    3 |   %1 = test.unari %0 : f64\n"
        "      |        ^^^^^^^^^^\n"
        "help: did you mean test.unary?"
    )


def test_unknown_dialect_names_the_known_ones() -> None:
    error = _error(dialect.function_text("%0 = xx.foo %x : f64"))
    assert error.fix.startswith("no dialect 'xx' is loaded; there are ")
    assert "func" in error.fix and "test" in error.fix


def test_use_before_definition_shows_both() -> None:
    text = dialect.function_text("%0 = test.unary %a : f64\n%a = test.unary %x : f64")
    assert str(_error(text)) == (
        "in.mlir:2:19: error: use of value '%a' before its definition\n"
        "    2 |   %0 = test.unary %a : f64\n"
        "      |                   ^^\n"
        "in.mlir:3:3: note: it is defined only here\n"
        "    3 |   %a = test.unary %x : f64\n"
        "      |   ^^"
    )


def test_redefinition_shows_the_first() -> None:
    error = _error(dialect.function_text("%a = test.unary %x : f64\n%a = test.unary %x : f64"))
    ((note, place),) = error.notes
    assert note == "it is first defined here"
    assert place.resolve()[1:3] == (2, 3)


def test_near_values_are_offered() -> None:
    assert _error(dialect.function_text("test.store %weight2 : f64", "%weight: f64")).fix == (
        "did you mean %weight?"
    )


@pytest.mark.parametrize("text", ["func.func @f() {", "func.func @f(%x: f64", '"func.func"() ({'])
def test_end_of_text(text: str) -> None:
    error = _error(text)
    assert "the end of the text" in error.message
    assert error.location.resolve()[1:3] == (1, len(text) + 1)


def test_a_cut_text_is_an_error_and_nothing_worse() -> None:
    text = dialect.function_text(
        "%a = test.unary %x {v = dense<[1.0, 2.0]> : tensor<2xf64>, n = 3 : i64} : f64\n"
        "%b:2 = test.pair %a : (f64) -> (f64, f64)\n"
        '%c = "test.loop"(%b#1) ({\n^bb0(%i: index):\n  test.yield %a : f64\n'
        '}) {s = "text", t = [array<i64: 1>, unit]} : (f64) -> f64\nfunc.return %c : f64',
        results="f64",
    ).rstrip("\n")
    parse_module(text)
    for end in range(len("func.func @"), len(text)):
        _error(text[:end])
