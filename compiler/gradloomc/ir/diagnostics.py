"""How an error reads: the message, the user's line with carets under the place, notes, the fix.

Owns the layout only; what is said stands where the error is raised. Knows locations, not ops (an
error inside IR is shown within its function by verifier.py).
"""

import unicodedata
from collections.abc import Sequence

from gradloomc.ir.location import Location

_GUTTER = 5  # width of the line number


def render(
    severity: str,
    message: str,
    location: Location,
    notes: Sequence[tuple[str, Location]] = (),
    fix: str = "",
) -> str:
    """Return the text of a diagnostic.

    With a known location it starts `file:line:column: severity: message` and shows the line;
    without one it is the bare message. Each note follows in the same form; `fix` ends the text as a
    line `help: ...`.
    """
    lines = [_heading(severity, message, location), *_excerpt(location)]
    for text, place in notes:
        if place.resolve()[1]:
            lines += [_heading("note", text, place), *_excerpt(place)]
        else:
            lines.append(f"note: {text}")
    if fix:
        lines.append(f"help: {fix}")
    return "\n".join(lines)


def _heading(severity: str, message: str, location: Location) -> str:
    name, line, column, _ = location.resolve()
    return f"{name}:{line}:{column}: {severity}: {message}" if line else message


def _excerpt(location: Location) -> list[str]:
    """The source line and a line of carets, or nothing when the text cannot be had."""
    _, line, column, end_column = location.resolve()
    text = location.source_line()
    if not text.strip():
        return []
    start = min(column - 1, len(text))
    carets = "^" * max(1, _width(text[start : end_column - 1]))
    # Tabs are kept so that the carets line up however wide a tab is shown.
    pad = "".join("\t" if letter == "\t" else " " * _width(letter) for letter in text[:start])
    return [f"{line:{_GUTTER}} | {text}", f"{'':{_GUTTER}} | {pad}{carets}"]


def _width(text: str) -> int:
    """How many columns of a terminal the text takes."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(letter) else 1 + (unicodedata.east_asian_width(letter) in "WF")
        for letter in text
    )
