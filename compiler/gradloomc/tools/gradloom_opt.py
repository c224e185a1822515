"""gradloom-opt: read a module, run a pipeline, print the module. The `mlir-opt` of this house.

    gradloom-opt file.mlir -p canonicalize,cse
    gradloom-opt - -p 'adjoint{argnums=0}' --print-after=change < file.mlir

`main` runs in-process as well, with streams of the caller, which is how the tests run it.
"""

import argparse
import contextlib
import dataclasses
import importlib
import itertools
import pkgutil
import re
import sys
from collections.abc import Sequence
from typing import TextIO

import gradloomc.dialects
from gradloomc.ir.core import Module
from gradloomc.ir.errors import GradloomError
from gradloomc.ir.location import Location, Source, TextLocation
from gradloomc.ir.opdef import REGISTRY
from gradloomc.ir.parser import parse_module
from gradloomc.ir.printer import print_module
from gradloomc.ir.verifier import verify
from gradloomc.passes.instrument import PrintAfter, Timing, combine
from gradloomc.passes.pipeline import Callback, Pipeline
from gradloomc.passes.registry import PASSES, load_pass

_SPLIT = re.compile(r"^// -----.*$", re.MULTILINE)
_EXPECTED = re.compile(r"// expected-(error|note)(?:@([+-]\d+|above|below))?\s*\{\{(.*?)\}\}")


def main(
    argv: Sequence[str] | None = None,
    stdin: TextIO | None = None,
    stdout: TextIO | None = None,
    stderr: TextIO | None = None,
) -> int:
    """Run the tool; return its exit code (0, 1 for an error in the input, 2 for wrong usage)."""
    out: TextIO = stdout or sys.stdout
    err: TextIO = stderr or sys.stderr
    parser = _parser()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            options = parser.parse_args(argv)
    except SystemExit as stop:  # argparse has written the message, or the help
        return int(stop.code or 0)
    load_dialects()
    if options.list_passes or options.list_ops:
        out.write(list_passes() if options.list_passes else list_ops())
        return 0
    if options.file is None:
        err.write("gradloom-opt: no input file; '-' reads the standard input\n")
        return 2
    return _Run(options, stdin or sys.stdin, out, err).run()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gradloom-opt", description="Run a pipeline of passes on the text of a module."
    )
    add = parser.add_argument
    add("file", nargs="?", help="a .mlir file, or - for the standard input")
    add("-p", "--passes", default="", metavar="PIPELINE", help="for example canonicalize,cse")
    add("--print-generic", action="store_true", help="print MLIR's generic form")
    add("--loc", action="store_true", help="print locations")
    add("--verify-each", action="store_true", help="run the verifier after each pass")
    add(
        "--print-after",
        action="append",
        default=[],
        metavar="NAME",
        help="print after this pass, after 'all', or the 'change' that each pass makes",
    )
    add("--timing", action="store_true", help="print how long each pass took")
    add("--split-input", action="store_true", help="treat parts between '// -----' by themselves")
    add(
        "--verify-diagnostics",
        action="store_true",
        help="check the errors against '// expected-error@+1 {{...}}' comments",
    )
    add("--list-passes", action="store_true", help="list all passes with their options")
    add("--list-ops", action="store_true", help="list all ops")
    return parser


def load_dialects() -> None:
    """Import every dialect, so that the registry knows all ops."""
    package = gradloomc.dialects
    for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)


def list_passes() -> str:
    """Return one line for each pass: name and options, and what it does."""
    lines = []
    for name in sorted(PASSES):
        cls = load_pass(name)
        summary = (cls.__doc__ or "").strip().partition("\n")[0]
        options = [field.name.replace("_", "-") for field in dataclasses.fields(cls)]
        text = name + (f"{{{' '.join(options)}}}" if options else "")
        lines.append(f"{text:32} {summary}\n")
    return "".join(lines)


def list_ops() -> str:
    """Return one line for each op: name and attributes, and what it does."""
    lines = []
    for name in sorted(REGISTRY):
        record = REGISTRY[name]
        text = name + (f" {{{', '.join(record.attributes)}}}" if record.attributes else "")
        lines.append(f"{text:48} {record.doc.strip().partition(chr(10))[0]}\n")
    return "".join(lines)


class _Run:
    """One run of the tool over an input."""

    def __init__(self, options: argparse.Namespace, stdin: TextIO, stdout: TextIO, stderr: TextIO):
        self.options, self.stdin, self.stdout, self.stderr = options, stdin, stdout, stderr
        self.timing = Timing()

    def run(self) -> int:
        options = self.options
        try:
            name, text = self._read()
        except (OSError, UnicodeDecodeError) as error:
            self.stderr.write(f"gradloom-opt: cannot read '{options.file}': {error}\n")
            return 1
        try:
            self.pipeline = Pipeline.parse(options.passes)
        except GradloomError as error:
            self._report(error)
            return 2
        failures = 0
        outputs = []
        for part in split_input(text) if options.split_input else [text]:
            output, errors = self._part(part, name)
            if options.verify_diagnostics:
                errors = check_diagnostics(part, name, errors)
            for error in errors:
                self._report(error)
            failures += bool(errors)
            if output is not None:
                outputs.append(output)
        self.stdout.write("// -----\n".join(outputs))
        if options.timing:
            self.stderr.write(self.timing.table())
        return 1 if failures else 0

    def _read(self) -> tuple[str, str]:
        if self.options.file == "-":
            return "<stdin>", self.stdin.read()
        with open(self.options.file, encoding="utf-8") as file:
            return self.options.file, file.read()

    def _part(self, text: str, name: str) -> tuple[str | None, list[GradloomError]]:
        """Return the output for one part of the input, or the error that stopped it."""
        options = self.options
        try:
            module = parse_module(text, name)
            verify(module)
            self._run_passes(module)
            verify(module)
            return print_module(module, options.print_generic, options.loc), []
        except GradloomError as error:
            return None, [error]

    def _run_passes(self, module: Module) -> None:
        callbacks: list[Callback] = []
        if self.options.timing:
            callbacks.append(self.timing)
        if self.options.print_after:
            names = self.options.print_after
            callbacks.append(PrintAfter(names, self.stderr, self.options.print_generic))
        callback = combine(*callbacks) if callbacks else None
        self.pipeline.run(module, callback, self.options.verify_each)

    def _report(self, error: GradloomError) -> None:
        text = str(error)
        if not error.location.resolve()[1]:
            text = f"error: {text}"
        self.stderr.write("\n".join([text, *getattr(error, "__notes__", ())]) + "\n")


def split_input(text: str) -> list[str]:
    """Return the parts between `// -----` lines, each with the line numbers of the whole."""
    cuts = [(0, 0), *(match.span() for match in _SPLIT.finditer(text)), (len(text), len(text))]
    return [
        "\n" * text.count("\n", 0, start) + text[start:end]
        for (_, start), (end, _) in itertools.pairwise(cuts)
    ]


@dataclasses.dataclass(frozen=True, slots=True)
class _Message:
    """An error or a note, expected or found."""

    severity: str
    line: int
    text: str
    location: Location


def check_diagnostics(text: str, name: str, errors: list[GradloomError]) -> list[GradloomError]:
    """Compare errors with the `// expected-error@+1 {{part of it}}` comments of a text.

    `@+n`, `@-n`, `@above` and `@below` count lines from the comment; notes are compared only where
    some are expected. Returns one error for each comment that found nothing, and for each error
    that no comment expected.
    """
    expected = _expected(text, name)
    found = []
    for error in errors:
        found.append(_Message("error", error.location.resolve()[1], error.message, error.location))
        if any(message.severity == "note" for message in expected):
            for note, place in error.notes:
                found.append(_Message("note", place.resolve()[1], note, place))
    wrong = []
    for message in found:
        for candidate in expected:
            same = (candidate.severity, candidate.line) == (message.severity, message.line)
            if same and candidate.text in message.text:
                expected.remove(candidate)
                break
        else:
            text_ = f"unexpected {message.severity}: {message.text}"
            wrong.append(GradloomError(text_, message.location))
    for left in expected:
        text_ = f"expected {left.severity} was not produced: {left.text}"
        wrong.append(GradloomError(text_, left.location))
    return wrong


def _expected(text: str, name: str) -> list[_Message]:
    source = Source(name, text)
    messages = []
    for match in _EXPECTED.finditer(text):
        location = TextLocation(source, match.start(), match.end())
        offset = {None: 0, "above": -1, "below": 1}.get(match[2])
        line = location.resolve()[1] + (int(match[2]) if offset is None else offset)
        messages.append(_Message(match[1], line, match[3], location))
    return messages


if __name__ == "__main__":
    sys.exit(main())
