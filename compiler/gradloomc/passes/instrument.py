"""Callbacks for `Pipeline.run`: timing, op counts, the text after a pass.

They only look; each is a callable object, and `combine` makes one of several.
"""

import difflib
from collections.abc import Collection
from typing import TextIO

from gradloomc.ir.printer import print_module
from gradloomc.passes.pipeline import Callback, Event


def combine(*callbacks: Callback) -> Callback:
    """Return a callback that calls all of `callbacks` in order."""

    def call_all(event: Event) -> None:
        for callback in callbacks:
            callback(event)

    return call_all


class Timing:
    """Adds up how long each pass took and how many ops there were before and after it."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, float, int, int]] = []
        self._ops_before = 0

    def __call__(self, event: Event) -> None:
        count = sum(1 for _ in event.module.walk())
        if event.stage == "before":
            self._ops_before = count
        else:
            self.rows.append((event.running.name, event.seconds, self._ops_before, count))

    def table(self) -> str:
        """Return a table with one line for each pass in order, and the total."""
        total = sum(seconds for _, seconds, _, _ in self.rows)
        width = max([len(name) for name, *_ in self.rows] + [len("total")])
        lines = [f"{'pass':{width}}  {'ms':>9}  {'share':>6}  ops"]
        for name, seconds, before, after in self.rows:
            share = seconds / total if total else 0.0
            change = f"{before}" if before == after else f"{before} -> {after}"
            lines.append(f"{name:{width}}  {seconds * 1e3:9.3f}  {share:6.1%}  {change}")
        lines.append(f"{'total':{width}}  {total * 1e3:9.3f}")
        return "\n".join(lines) + "\n"


class PrintAfter:
    """Writes the module's text to `stream` after passes.

    `names` are the passes; 'all' stands for every one, and 'change' for every one that changed the
    text, of which then a unified diff is written.
    """

    def __init__(self, names: Collection[str], stream: TextIO, generic: bool = False):
        self.names, self.stream, self.generic = names, stream, generic
        self._before = ""

    def __call__(self, event: Event) -> None:
        name = event.running.name
        if event.stage == "before":
            if "change" in self.names:
                self._before = print_module(event.module, self.generic)
            return
        if name in self.names or "all" in self.names:
            self.stream.write(f"// after {name}\n{print_module(event.module, self.generic)}\n")
        elif "change" in self.names:
            after = print_module(event.module, self.generic)
            if after == self._before:
                self.stream.write(f"// {name} changed nothing\n")
                return
            difference = difflib.unified_diff(
                self._before.splitlines(keepends=True),
                after.splitlines(keepends=True),
                f"before {name}",
                f"after {name}",
            )
            self.stream.writelines(difference)
