"""Pages with examples that are run: ```python blocks, and below each the ```text block of what it prints.

The blocks of a page are parts of one program, run one after the other. `renewed` returns the page with the outputs of
now: those that agree with what is shown, up to the last digits, stay as they are. Knows nothing of what pages explain.
"""

import contextlib
import io
import linecache
import math
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradloom

OUTPUTS = ("text", "mlir")  # the languages of blocks that show what the block above them prints
RAISES = "# raises"  # ends the last line of a block that ends in an error
FENCE = re.compile(r"^```(\w*)\n(.*?)^```\n", re.MULTILINE | re.DOTALL)
_NUMBER = re.compile(r"-?\d+\.\d*(?:e[+-]?\d+)?")
_ADDRESS = re.compile(r"\b0x[0-9a-f]{6,}\b")


class Script:
    """The blocks of a page, run one after the other as parts of one file."""

    def __init__(self, name: str = "example.py") -> None:
        self.name = name
        self.source = ""
        self.namespace: dict[str, Any] = {"__name__": "example"}

    def run(self, block: str) -> str:
        """Run one block; return what it prints: warnings and the error that it ends in too, addresses as `0x…`.

        Raises:
            AssertionError: a block that is marked as one that raises does not.
            Exception: what a block raises that is not marked; gradloom's own errors need no mark.
        """
        code = compile("\n" * self.source.count("\n") + block, self.name, "exec")
        self.source += block
        linecache.cache[self.name] = (len(self.source), None, self.source.splitlines(True), self.name)
        marked = block.rstrip().endswith(RAISES)
        out = io.StringIO()
        with contextlib.redirect_stdout(out), _warnings_printed():
            try:
                exec(code, self.namespace)
            except Exception as error:
                if not marked and not isinstance(error, gradloom.GradloomError):
                    raise
                print(f"{type(error).__name__}: {error}")
            else:
                assert not marked, f"this should raise:\n{block}"
        return _ADDRESS.sub("0x…", out.getvalue())


@contextlib.contextmanager
def _warnings_printed() -> Iterator[None]:
    """Print warnings, each time, without the line that they are about."""

    def show(message: Any, category: type[Warning], *_: Any, **__: Any) -> None:
        print(f"{category.__name__}: {message}")

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = show
        yield


def same_output(shown: str, now: str) -> bool:
    """Tell whether two outputs agree; numbers may differ in the last digits (vectors are wider elsewhere)."""
    if re.sub(r" +", " ", _NUMBER.sub("#", shown)) != re.sub(r" +", " ", _NUMBER.sub("#", now)):
        return False
    return all(_close(x, y) for x, y in zip(_NUMBER.findall(shown), _NUMBER.findall(now), strict=True))


def _close(shown: str, now: str) -> bool:
    """Compare two printed numbers: to 1e-6, those of four or more digits to one unit of the last one shown."""
    digits, _, exponent = shown.lstrip("-").partition("e")
    unit = 10.0 ** (int(exponent or 0) - len(digits.partition(".")[2]))
    rounding = 1.01 * unit if len(digits.replace(".", "").lstrip("0")) >= 4 else 0.0
    return math.isclose(float(shown), float(now), rel_tol=1e-6, abs_tol=max(rounding, 1e-12))


def renewed(path: Path, script: Script) -> str:
    """Run the examples of a page; return the page with what they print now.

    Raises:
        AssertionError: a block prints something and no block below shows it, or there are no examples.
    """
    page = path.read_text(encoding="utf-8")
    pieces, position, printed, count = [], 0, "", 0
    for match in FENCE.finditer(page):
        pieces.append(page[position : match.start()])
        position = match.end()
        language, body = match.groups()
        if language == "python":
            assert not printed, f"no text block shows what the block before prints: {printed}"
            count += 1
            printed = script.run(body)
        elif language in OUTPUTS:
            body, printed = body if same_output(body, printed) else printed, ""
        pieces.append(f"```{language}\n{body}```\n")
    assert not printed, f"no text block shows what the last block prints: {printed}"
    assert count > 1
    return "".join(pieces) + page[position:]


def check(path: Path, text: str, update: bool) -> None:
    """Compare a page with what it should be, or write it."""
    if update:
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text, f"{path.name} is stale; --update-golden writes it"
