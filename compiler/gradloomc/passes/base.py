"""What a pass is: a frozen dataclass whose fields are its options and whose `run` changes a module.

A pass has no hidden state, looks only at the module it is given, and says which dialects it takes
and which it leaves behind; pipeline.py holds it to that.
"""

from dataclasses import dataclass
from typing import ClassVar

from gradloomc.ir.core import Module

# Said of `reads`: takes ops of any dialect. Said of `leaves`: may leave ops of any dialect.
ANY: frozenset[str] = frozenset({"*"})


@dataclass(frozen=True)
class Pass:
    """The base of all passes. A subclass is a frozen dataclass too; its fields are its options.

    Attributes:
        name: how a pipeline calls it, in kebab-case: `to-loops`.
        reads: the dialects that it accepts, or ANY. `func` holds the functions of every level and
            need not be named.
        leaves: the dialects that there may be afterwards, or ANY.

    The first line of the class's docstring is what `gradloom-opt --list-passes` shows. An option
    `max_inputs` is written `max-inputs=8` in a pipeline; options are bool, int, float, str, or
    tuples of them, and each has a default.
    """

    name: ClassVar[str] = ""
    reads: ClassVar[frozenset[str]] = ANY
    leaves: ClassVar[frozenset[str]] = ANY

    def run(self, module: Module) -> None:
        """Change `module` in place."""
        raise NotImplementedError(type(self).__name__)
