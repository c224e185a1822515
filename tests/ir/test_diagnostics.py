"""How errors read: the user's line, carets, notes and help."""

import dis
import linecache

import pytest

from gradloomc.ir.diagnostics import render
from gradloomc.ir.errors import GradloomError, ShapeError
from gradloomc.ir.location import UNKNOWN, CodeLocation, FileLocation, Source, TextLocation


def _at(text: str, part: str, name: str = "model.py") -> TextLocation:
    start = text.index(part)
    return TextLocation(Source(name, text), start, start + len(part))


def test_the_form_of_the_design() -> None:
    text = "def loss(w, x):\n    h = np.dot(w, x)\n"
    error = ShapeError(
        "'nd.dot' op expects contracted sizes to match, got 4 and 5",
        _at(text, "np.dot(w, x)"),
        (
            ("'x' is argument 1 of 'loss', traced as tensor<5xf64>", _at(text, "def")),
            ("while tracing loss(w, x)", UNKNOWN),
        ),
        "transpose w",
    )
    assert str(error) == (
        "model.py:2:9: error: 'nd.dot' op expects contracted sizes to match, got 4 and 5\n"
        "    2 |     h = np.dot(w, x)\n"
        "      |         ^^^^^^^^^^^^\n"
        "model.py:1:1: note: 'x' is argument 1 of 'loss', traced as tensor<5xf64>\n"
        "    1 | def loss(w, x):\n"
        "      | ^^^\n"
        "note: while tracing loss(w, x)\n"
        "help: transpose w"
    )


def test_unknown_location_is_the_bare_message() -> None:
    assert str(GradloomError("no place")) == "no place"
    assert render("warning", "careful", UNKNOWN, fix="stop") == "careful\nhelp: stop"


def test_unreadable_file_has_a_heading_only() -> None:
    location = FileLocation("/nowhere/at all.py", 3, 4)
    assert render("error", "bad", location) == "/nowhere/at all.py:3:4: error: bad"


def test_columns_past_the_line_do_not_break_it() -> None:
    location = TextLocation(Source("a", "ab"), 2, 2)
    assert render("error", "end", location) == "a:1:3: error: end\n    1 | ab\n      |   ^"


@pytest.mark.parametrize(
    ("line", "part", "below"),
    [
        ("\tx = f(y)", "f(y)", "\t    ^^^^"),
        ("größe = f(y)", "f(y)", "        ^^^^"),
        ("変数 = f(変)", "f(変)", "       ^^^^^"),
        ("a\u0308 = f(y)", "f(y)", "    ^^^^"),
    ],
)
def test_carets_stand_under_the_part(line: str, part: str, below: str) -> None:
    assert render("error", "m", _at(line, part)).splitlines()[2] == "      | " + below


def _code_location(source: str, name: str) -> CodeLocation:
    """The location of the only call in a program whose text linecache knows."""
    file = f"<{name}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    code = compile(source, file, "exec")
    calls = [step.offset for step in dis.get_instructions(code) if step.opname.startswith("CALL")]
    return CodeLocation(code, calls[0])


def test_positions_of_code_are_characters() -> None:
    location = _code_location("größe = 1; y = fun(größe)\n", "fun")
    assert location.resolve() == ("<fun>", 1, 16, 26)
    assert render("error", "m", location).splitlines()[1:] == [
        "    1 | größe = 1; y = fun(größe)",
        "      |                ^^^^^^^^^^",
    ]


def test_an_expression_over_several_lines_is_marked_at_its_start() -> None:
    location = _code_location("y = fun(\n    1,\n)\n", "fun")
    assert location.resolve()[:3] == ("<fun>", 1, 5)
