"""The errors of the eager face: PyTorch's sentence first, then where in the user's program, and what to do."""

from typing import Any

from gradloomc.ir.diagnostics import render
from gradloomc.ir.location import UNKNOWN, Location


def error(
    kind: type[Exception], message: str, fix: str = "", notes: tuple[tuple[str, Location], ...] = ()
) -> Exception:
    """Return an error of PyTorch's class with PyTorch's text, notes that show lines of the program, and the fix."""
    return kind(render("error", message, UNKNOWN, notes, fix))


def recorded_at(node: Any) -> tuple[tuple[str, Location], ...]:
    """Return the note that says where a node of the graph was recorded."""
    return ((f"{node.name()} was recorded here", node.location),) if node.place is not None else ()
