"""LLVM's FileCheck in Python, and the `// RUN:` lines of `.mlir` files, run in this process.

A file's `// CHECK: ...` lines say, in order, what must stand in the output of a command:

    CHECK: p        p stands somewhere after the previous match
    CHECK-NEXT: p   ... on the very next line          CHECK-SAME: p   ... on the same line
    CHECK-EMPTY:    the next line is empty             CHECK-COUNT-n: p   n matches in a row
    CHECK-NOT: p    p does not stand between the matches before and after it
    CHECK-DAG: p    a run of these may match in any order, without overlap
    CHECK-LABEL: p  cuts the output into sections, so that one failure does not spoil the others

In a pattern `{{...}}` is a regular expression, `[[NAME:regex]]` defines NAME, `[[NAME]]` is its
text; runs of blanks match any blanks. Start reading at `check`.
"""

import difflib
import io
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, TextIO

_SUBSTITUTION = re.compile(
    r"""\{\{(.*?)\}\}(?!\})                                           # {{regex}}
    |\[\[([A-Za-z_]\w*)(?::((?:\[[^\]]*\]|.)*?))?\]\](?!\])           # [[NAME:regex]], [[NAME]]""",
    re.VERBOSE,
)
Tool = Callable[[list[str], TextIO, TextIO, TextIO], int]


class CheckFailure(AssertionError):
    """An output that is not as its test says; the message is for the reader."""


@dataclass(frozen=True, slots=True)
class Directive:
    """One check line: its kind ('', 'NEXT', 'COUNT', ...), pattern and line number in the file."""

    kind: str
    pattern: str
    line: int
    count: int = 1


def directives(text: str, prefix: str = "CHECK") -> list[Directive]:
    """Return the check lines of a file."""
    form = re.compile(
        rf"(?<![\w-]){re.escape(prefix)}(?:-(NEXT|SAME|NOT|DAG|LABEL|EMPTY|COUNT-(\d+)))?:(.*)"
    )
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        match = form.search(line)
        if match is None:
            continue
        kind, count, pattern = match[1] or "", match[2], match[3].strip()
        if count:
            kind = "COUNT"
        if not pattern and kind != "EMPTY":
            raise CheckFailure(f"line {number}: {match[0].strip()} has no pattern")
        found.append(Directive(kind, pattern, number, int(count or 1)))
    return found


def check(output: str, text: str, prefix: str = "CHECK") -> None:
    """Hold an output against the check lines of a file.

    Raises:
        CheckFailure: it does not match, or there are no check lines.
    """
    lines = directives(text, prefix)
    if not lines:
        raise CheckFailure(f"there is no {prefix} line")
    if lines[0].kind in ("NEXT", "SAME", "EMPTY"):
        raise CheckFailure(f"line {lines[0].line}: the first check cannot be {lines[0].kind}")
    _Checker(output, lines, prefix).run()


class _Checker:
    """Matches directives against an output; `position` is the end of the previous match."""

    def __init__(self, output: str, lines: list[Directive], prefix: str):
        self.output, self.lines, self.prefix = output, lines, prefix
        self.variables: dict[str, str] = {}
        self.position = 0
        self.end = len(output)  # of the section between two labels
        self.pending: list[Directive] = []  # NOTs that wait for the next match

    def run(self) -> None:
        sections: list[list[Directive]] = [[]]
        for line in self.lines:
            if line.kind == "LABEL":
                sections.append([])
            sections[-1].append(line)
        # Labels are found first: they bound the search of everything between them.
        starts: list[re.Match[str] | None] = [None]
        at = 0
        for section in sections[1:]:
            match = self._search(section[0], at, len(self.output))
            if match is None:
                self._fail(section[0], at, len(self.output))
            starts.append(match)
            at = match.end()
        for number, (section, label) in enumerate(zip(sections, starts, strict=True)):
            following = starts[number + 1] if number + 1 < len(starts) else None
            self.end = following.start() if following else len(self.output)
            if label is not None:
                self.position = label.end()
                section = section[1:]
            self._section(section)

    def _section(self, section: list[Directive]) -> None:
        group: list[Directive] = []
        for line in section:
            if line.kind == "DAG":
                group.append(line)
                continue
            self._unordered(group)
            group = []
            if line.kind == "NOT":
                self.pending.append(line)
            elif line.kind == "EMPTY":
                self._empty(line)
            else:
                for _ in range(line.count):
                    self._ordered(line)
        self._unordered(group)
        self._check_absent(self.position, self.end)

    def _ordered(self, line: Directive) -> None:
        start = self.position
        match = self._search(line, start, self.end)
        if match is None:
            self._fail(line, start, self.end)
        breaks = self.output.count("\n", start, match.start())
        if line.kind == "NEXT" and breaks != 1:
            where = "on the same line" if not breaks else f"{breaks - 1} lines too late"
            self._fail(line, start, self.end, f"it stands {where}")
        if line.kind == "SAME" and breaks:
            self._fail(line, start, self.end, f"it stands {breaks} lines further down")
        self._matched(match.start(), match.end())

    def _empty(self, line: Directive) -> None:
        match = re.compile(r"[^\n]*\n(?=\n|\Z)").match(self.output, self.position, self.end)
        if match is None:
            self._fail(line, self.position, self.end, "the next line is not empty")
        self._matched(match.end(), match.end())

    def _unordered(self, group: list[Directive]) -> None:
        """Match a run of DAG lines, each from the start of the run, into free text."""
        taken: list[tuple[int, int]] = []
        for line in group:
            at = self.position
            while (match := self._search(line, at, self.end, define=False)) is not None:
                if all(match.end() <= a or b <= match.start() for a, b in taken):
                    break
                at = match.start() + 1
            if match is None:
                self._fail(line, self.position, self.end)
            self._define(line, match)
            taken.append(match.span())
        if taken:
            self._matched(min(a for a, _ in taken), max(b for _, b in taken))

    def _matched(self, start: int, end: int) -> None:
        self._check_absent(self.position, start)
        self.position = end

    def _check_absent(self, start: int, end: int) -> None:
        for line in self.pending:
            match = self._search(line, start, end)
            if match is not None:
                self._fail(line, start, end, f"but it does: {match[0]!r}", match.start())
        self.pending = []

    def _search(
        self, line: Directive, start: int, end: int, define: bool = True
    ) -> re.Match[str] | None:
        match = self._compile(line).search(self.output, start, end)
        if match is not None and define:
            self._define(line, match)
        return match

    def _define(self, line: Directive, match: re.Match[str]) -> None:
        self.variables.update(match.groupdict())

    def _compile(self, line: Directive) -> re.Pattern[str]:
        """Translate a pattern into a regular expression."""
        parts, position, text = [], 0, line.pattern
        defined: set[str] = set()
        for match in _SUBSTITUTION.finditer(text):
            parts.append(_literal(text[position : match.start()]))
            position = match.end()
            expression, name, definition = match.groups()
            if expression is not None:
                parts.append(f"(?:{expression})")
            elif definition is not None:
                parts.append(f"(?P<{name}>{definition})")
                defined.add(name)
            elif name in defined:
                parts.append(f"(?P={name})")
            elif name in self.variables:
                parts.append(re.escape(self.variables[name]))
            else:
                raise CheckFailure(f"line {line.line}: [[{name}]] is not defined before it")
        parts.append(_literal(text[position:]))
        try:
            return re.compile("".join(parts), re.MULTILINE)
        except re.error as error:
            raise CheckFailure(f"line {line.line}: bad pattern '{text}': {error}") from error

    def _fail(
        self, line: Directive, start: int, end: int, why: str = "", at: int | None = None
    ) -> NoReturn:
        kind = f"-{line.kind}" if line.kind else ""
        verb = "must not match" if line.kind == "NOT" else "does not match"
        message = f"line {line.line}: {self.prefix}{kind}: {line.pattern}\n  {verb}"
        message += f": {why}" if why else ""
        if at is None:
            at = _nearest(line.pattern, self.output, start, end)
        first = self.output.count("\n", 0, start) + 1
        message += f"\n  searched from line {first} of the output"
        number = self.output.count("\n", 0, at) + 1
        nearest = self.output.splitlines()[number - 1] if self.output else ""
        message += f"\n  nearest is line {number}: {nearest.strip()}"
        numbered = [f"{i:4} | {text}" for i, text in enumerate(self.output.splitlines(), 1)]
        raise CheckFailure("\n".join([message, "the whole output:", *numbered]))


def _literal(text: str) -> str:
    return r"[ \t]+".join(map(re.escape, re.split(r"[ \t]+", text)))


def _nearest(pattern: str, output: str, start: int, end: int) -> int:
    """Return the position of the line that looks most like the pattern."""
    best, best_ratio, position = start, -1.0, start
    plain = re.sub(r"\{\{.*?\}\}|\[\[.*?\]\]", "", pattern)
    for text in output[start:end].splitlines(keepends=True):
        ratio = difflib.SequenceMatcher(None, plain, text.strip()).ratio()
        if text.strip() and ratio > best_ratio:
            best, best_ratio = position, ratio
        position += len(text)
    return best


# RUN lines.


def run_lines(text: str) -> list[str]:
    """Return the commands of a file; a command may go on after a backslash."""
    commands: list[str] = []
    open_line = False
    for match in re.finditer(r"//\s*RUN:\s*(.*)", text):
        part = match[1].strip()
        if open_line:
            commands[-1] += " " + part.removesuffix("\\").strip()
        else:
            commands.append(part.removesuffix("\\").strip())
        open_line = part.endswith("\\")
    return commands


def run(command: str, path: Path, tools: dict[str, Tool]) -> None:
    """Run one command: tools in a row between `|`, the last possibly FileCheck.

    `%s` is the file; `not` before a tool expects it to fail; `2>&1` adds its errors to its output.

    Raises:
        CheckFailure: a tool ended otherwise than expected, or its output does not match.
    """
    words = [str(path) if word == "%s" else word for word in shlex.split(command)]
    stages: list[list[str]] = [[]]
    for word in words:
        if word == "|":
            stages.append([])
        else:
            stages[-1].append(word)
    data = ""
    for stage in stages:
        if stage[0] == "FileCheck":
            _file_check(stage[1:], data)
        else:
            data = _tool(stage, data, tools)


def _tool(stage: list[str], data: str, tools: dict[str, Tool]) -> str:
    must_fail = stage[0] == "not"
    merged = "2>&1" in stage
    name, *arguments = [word for word in stage[must_fail:] if word != "2>&1"]
    if name not in tools:
        raise CheckFailure(f"RUN knows {', '.join(tools)} and FileCheck, not '{name}'")
    out = io.StringIO()
    err = out if merged else io.StringIO()
    code = tools[name](arguments, io.StringIO(data), out, err)
    if (code != 0) is not must_fail:
        expectation = "was expected to fail, but did not" if must_fail else f"failed with {code}"
        raise CheckFailure(f"{name} {expectation}\n{err.getvalue()}")
    return out.getvalue()


def _file_check(arguments: list[str], data: str) -> None:
    prefixes, files = [], []
    for argument in arguments:
        if argument.startswith("--check-prefix"):
            prefixes += argument.partition("=")[2].split(",")
        elif argument.startswith("-"):
            raise CheckFailure(f"FileCheck has no option {argument} here")
        else:
            files.append(argument)
    (file,) = files
    for prefix in prefixes or ["CHECK"]:
        check(data, Path(file).read_text(encoding="utf-8"), prefix)
