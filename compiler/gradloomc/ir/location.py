"""Where in the user's program an op comes from, kept cheaply and resolved lazily.

A traced op keeps the code object and the instruction offset of the user's frame (0.2 us); file, line and column are
looked up only when somebody reads them. Parsed ops keep a file position; ops made by a pass keep the location of the op
they replace.
"""

import bisect
import itertools
import linecache
import re
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
        column = column or 0
        end_column = end_column if end_column and end_line == line else column
        text = linecache.getline(self.code.co_filename, line)
        if not text.isascii():  # CPython counts columns in bytes of UTF-8
            encoded = text.encode()
            column = len(encoded[:column].decode(errors="replace"))
            end_column = len(encoded[:end_column].decode(errors="replace"))
        return (self.code.co_filename, line, column + 1, end_column + 1)


class FileLocation(Location):
    """A position in a text file."""

    __slots__ = ("column", "end_column", "line", "name")

    def __init__(self, name: str, line: int, column: int, end_column: int = 0):
        self.name, self.line, self.column = name, line, column
        self.end_column = end_column or column + 1

    def resolve(self) -> tuple[str, int, int, int]:
        return (self.name, self.line, self.column, self.end_column)


class Source:
    """A text that locations point into; its line starts are found when one is first asked for."""

    __slots__ = ("_line_starts", "name", "text")

    def __init__(self, name: str, text: str):
        self.name, self.text = name, text
        self._line_starts: list[int] | None = None

    @property
    def line_starts(self) -> list[int]:
        if self._line_starts is None:
            self._line_starts = [0, *(match.end() for match in re.finditer("\n", self.text))]
        return self._line_starts


class TextLocation(Location):
    """A span of a text held in memory, so that its line can be shown though no file has it."""

    __slots__ = ("end", "source", "start")

    def __init__(self, source: Source, start: int, end: int):
        self.source, self.start, self.end = source, start, end

    def resolve(self) -> tuple[str, int, int, int]:
        starts = self.source.line_starts
        line = bisect.bisect_right(starts, self.start)
        origin = starts[line - 1] - 1
        return (self.source.name, line, self.start - origin, max(self.end, self.start + 1) - origin)

    def source_line(self) -> str:
        start = self.source.line_starts[self.resolve()[1] - 1]
        return self.source.text[start:].partition("\n")[0]
