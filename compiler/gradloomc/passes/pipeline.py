"""Pipelines: passes in a row, written as text, run with checks and instruments.

    canonicalize,cse,adjoint{argnums=0,1 value=true}

`Pipeline.parse` and `str` are inverse to each other, so a bug report is a string. `Pipeline.run`
checks before and after each pass that only the dialects the pass names are there. When a pass
fails, the module as it was before that pass is written to a file whose first line is the command
that repeats the failure.
"""

import dataclasses
import hashlib
import os
import re
import tempfile
import time
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from gradloomc.ir.core import Module
from gradloomc.ir.errors import GradloomError, PassError
from gradloomc.ir.inline import copy_function
from gradloomc.ir.location import Source, TextLocation
from gradloomc.ir.printer import print_module
from gradloomc.ir.verifier import verify
from gradloomc.passes.base import ANY, Pass
from gradloomc.passes.registry import load_pass

REPRODUCER_DIRECTORY = "GRADLOOM_REPRODUCER_DIR"


@dataclass(frozen=True, slots=True)
class Event:
    """What a callback is told, once before and once after each pass.

    Attributes:
        stage: 'before' or 'after'.
        index: position of the pass in its pipeline.
        running: the pass.
        module: the module as it is now; a callback must not change it.
        seconds: how long the pass took (0.0 before it).
    """

    stage: str
    index: int
    running: Pass
    module: Module
    seconds: float


Callback = Callable[[Event], None]


@dataclass(frozen=True)
class Pipeline:
    """Passes to run in order; `str(pipeline)` is its text."""

    passes: tuple[Pass, ...]

    @classmethod
    def parse(cls, text: str) -> "Pipeline":
        """Read a pipeline from its text.

        Raises:
            PassError: no such pass or option, or a value that the option cannot take; the location
                points into `text`.
        """
        return cls(tuple(_Reader(text).passes()))

    def __str__(self) -> str:
        return ",".join(map(pass_text, self.passes))

    def run(
        self, module: Module, callback: Callback | None = None, verify_each: bool = False
    ) -> None:
        """Run all passes on `module`, in place.

        `callback` sees the module before and after each pass; `verify_each` runs the verifier after
        each pass. An exception out of a pass passes through with a note that names the pass and the
        reproducer, which lies in $GRADLOOM_REPRODUCER_DIR or the directory for temporary files.

        Raises:
            PassError: there are ops of a dialect that a pass does not read, or does not leave.
        """
        if not self.passes:
            return
        snapshot = _copy(module)
        present = dialects_of(module)
        for index, running in enumerate(self.passes):
            try:
                if callback is not None:
                    callback(Event("before", index, running, module, 0.0))
                _check_level(present, running.reads, running, "does not read")
                start = time.perf_counter()
                running.run(module)
                seconds = time.perf_counter() - start
                present = dialects_of(module)
                _check_level(present, running.leaves, running, "must not leave")
                if verify_each:
                    verify(module)
                if callback is not None:
                    callback(Event("after", index, running, module, seconds))
            except Exception as error:
                error.add_note(f"while running pass '{running.name}' of the pipeline '{self}'")
                error.add_note(self._reproduce(snapshot, index, error))
                raise

    def _reproduce(self, snapshot: Module, index: int, error: Exception) -> str:
        """Write the module before pass `index`, which is found by running the others once more."""
        before, rest = _copy(snapshot), self.passes[index:]
        try:
            for running in self.passes[:index]:
                running.run(before)
        except Exception:
            before, rest = snapshot, self.passes
        try:
            path = _write_reproducer(before, Pipeline(rest), error)
        except Exception as problem:
            return f"no reproducer could be written: {problem}"
        return f"to repeat it: gradloom-opt {path} -p '{Pipeline(rest)}'"


def _write_reproducer(module: Module, pipeline: Pipeline, error: Exception) -> Path:
    message = error.message if isinstance(error, GradloomError) else str(error)
    text = (
        f"// gradloom-opt -p '{pipeline}'\n"
        f"// {type(error).__name__}: {' '.join(message.split())}\n{print_module(module)}"
    )
    directory = Path(os.environ.get(REPRODUCER_DIRECTORY) or tempfile.gettempdir())
    # The same failure gives the same file, so that a failing loop does not fill the disk.
    digest = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:12]
    path = directory / f"gradloom-{pipeline.passes[0].name}-{digest}.mlir"
    directory.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", errors="replace")
    return path


def _copy(module: Module) -> Module:
    return Module([copy_function(function) for function in module.block.ops])


def dialects_of(module: Module) -> set[str]:
    """Return the names of the dialects whose ops occur in a module."""
    kinds = {op.kind for op in module.walk()}
    return {kind.name.partition(".")[0] for kind in kinds}


def _check_level(present: set[str], allowed: frozenset[str], running: Pass, fault: str) -> None:
    if allowed is ANY or allowed == ANY:
        return
    wrong = sorted(present - allowed - {"func"})
    if wrong:
        raise PassError(
            f"pass '{running.name}' {fault} ops of the dialect {', '.join(wrong)}",
            fix=f"it knows {', '.join(sorted(allowed))}; {_FIXES[fault]}",
        )


_FIXES = {
    "does not read": "run the pass that lowers to them first",
    "must not leave": "this is a fault of the pass",
}


def pass_text(subject: Pass) -> str:
    """Return the text of one pass: its name and the options that differ from their defaults."""
    options = []
    kinds = option_types(type(subject))
    for field in dataclasses.fields(subject):
        value = getattr(subject, field.name)
        if value != _default(field):
            text = value_text(value)
            if read_option(text, kinds[field.name]) != value:
                text += ","  # a tuple of one item where a bare item is allowed too
            options.append(f"{field.name.replace('_', '-')}={text}")
    return subject.name + (f"{{{' '.join(options)}}}" if options else "")


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def value_text(value: Any) -> str:
    """Return the text of an option's value; `read_option` is its inverse."""
    if isinstance(value, tuple):
        return ",".join(map(value_text, value))
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) and not re.fullmatch(r"[^\s{},]+", value):
        raise PassError(f"an option of a pass cannot be written in a pipeline: {value!r}")
    return "none" if value is None else str(value)


class _Reader:
    """Reads the text of a pipeline; `position` is where it stands."""

    def __init__(self, text: str):
        self.source = Source("pipeline", text)
        self.position = 0

    def passes(self) -> list[Pass]:
        found: list[Pass] = []
        if not self.source.text.strip():
            return found
        while True:
            found.append(self._pass())
            if self._take(r"\s*\Z") is not None:
                return found
            if not self._take(r"\s*,"):
                self._fail("expected ',' between passes", self.position, self.position + 1)

    def _take(self, pattern: str) -> str | None:
        match = re.compile(pattern).match(self.source.text, self.position)
        if match is None:
            return None
        self.position = match.end()
        return match[0]

    def _fail(self, message: str, start: int, end: int, fix: str = "") -> NoReturn:
        raise PassError(message, TextLocation(self.source, start, end), fix=fix)

    def _pass(self) -> Pass:
        self._take(r"\s*")
        start = self.position
        name = self._take(r"[\w.-]+")
        if name is None:
            self._fail("expected the name of a pass", start, start + 1)
        try:
            cls = load_pass(name)
        except PassError as error:
            self._fail(error.message, start, self.position, error.fix)
        options: dict[str, Any] = {}
        if self._take(r"\{\s*"):
            kinds = option_types(cls)
            while not self._take(r"\s*\}"):
                self._option(name, kinds, options)
        return cls(**options)

    def _option(self, owner: str, kinds: dict[str, Any], options: dict[str, Any]) -> None:
        start = self.position
        key = self._take(r"[\w-]+")
        if key is None:
            self._fail("expected an option or '}'", start, start + 1)
        field = key.replace("-", "_")
        if field not in kinds:
            known = ", ".join(name.replace("_", "-") for name in kinds)
            fix = f"it has {known}" if known else "it has none"
            self._fail(f"pass '{owner}' has no option '{key}'", start, self.position, fix)
        if field in options:
            self._fail(f"option '{key}' is given twice", start, self.position)
        if not self._take("="):
            self._fail(f"expected '=' and a value after '{key}'", start, self.position)
        value_start = self.position
        text = self._take(r"[^\s{}]*") or ""
        self._take(r"\s+")
        try:
            options[field] = read_option(text, kinds[field])
        except ValueError:
            wanted = type_text(kinds[field])
            self._fail(
                f"option '{key}' takes {wanted}, got '{text}'", value_start, value_start + len(text)
            )


def option_types(cls: type[Pass]) -> dict[str, Any]:
    """Return the options of a pass with their types."""
    hints = typing.get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def read_option(text: str, kind: Any) -> Any:
    """Return the value of an option of type `kind` from its text.

    Raises:
        ValueError: the text is no value of that type.
    """
    if kind is bool:
        if text not in ("true", "false"):
            raise ValueError(text)
        return text == "true"
    if kind is int or kind is float:
        return kind(text)
    if kind is str:
        return text
    if kind is type(None):
        if text != "none":
            raise ValueError(text)
        return None
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple:
        items = text.removesuffix(",").split(",") if text else []
        return tuple([read_option(item, arguments[0]) for item in items])
    if origin in (types.UnionType, typing.Union):
        # The narrower type first: `none` is None before it is a word, `3` a number before a list.
        for member in sorted(arguments, key=_width):
            try:
                return read_option(text, member)
            except ValueError:
                continue
        raise ValueError(text)
    raise TypeError(f"an option cannot be of type {kind}")


def _width(kind: Any) -> int:
    order = (type(None), bool, int, float)
    return order.index(kind) if kind in order else 5 if kind is str else 4


def type_text(kind: Any) -> str:
    """Return in words what an option of type `kind` takes."""
    names = {bool: "true or false", int: "an integer", float: "a number", str: "a word"}
    if kind in names:
        return names[kind]
    if kind is type(None):
        return "none"
    if typing.get_origin(kind) is tuple:
        return f"a list of {type_text(typing.get_args(kind)[0]).partition(' ')[2]}s"
    return " or ".join(map(type_text, typing.get_args(kind)))
