"""Where in the user's program an op comes from, kept cheaply and resolved lazily.

A traced op keeps the code object and the instruction offset of the user's frame (0.2 us); file, line and column are looked up
only when somebody reads them. Parsed ops keep a file position; ops made by a pass keep the location of the op they replace.
"""

import itertools
import linecache
from types import CodeType


class Location:
    """A place in a source file; `line` and `column` count from 1, 0 when unknown."""

    __slots__ = ()

    def resolve(self) -> tuple[str, int, int, int]:
        """Return (file name, line, column, end column on that line)."""
        return ("", 0, 0, 0)

    def source_line(self) -> str:
        """Return the text of the line, or '' when the file cannot be read."""
        name, line, _, _ = self.resolve()
        return linecache.getline(name, line).rstrip("\n") if line else ""

    def __str__(self) -> str:
        name, line, column, _ = self.resolve()
        return f'loc("{name}":{line}:{column})' if line else "loc(unknown)"


UNKNOWN = Location()


class CodeLocation(Location):
    """An instruction of a Python code object."""

    __slots__ = ("code", "instruction")

    def __init__(self, code: CodeType, instruction: int):
        self.code, self.instruction = code, instruction

    def resolve(self) -> tuple[str, int, int, int]:
        positions = next(itertools.islice(self.code.co_positions(), self.instruction // 2, None), None)
        if positions is None:
            return (self.code.co_filename, self.code.co_firstlineno, 1, 1)
        line, end_line, column, end_column = positions
        line = line or self.code.co_firstlineno
        column = (column or 0) + 1
        end_column = end_column + 1 if end_column and end_line == line else column
        return (self.code.co_filename, line, column, end_column)


class FileLocation(Location):
    """A position in a text file."""

    __slots__ = ("column", "end_column", "line", "name")

    def __init__(self, name: str, line: int, column: int, end_column: int = 0):
        self.name, self.line, self.column = name, line, column
        self.end_column = end_column or column + 1

    def resolve(self) -> tuple[str, int, int, int]:
        return (self.name, self.line, self.column, self.end_column)
