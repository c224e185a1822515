"""The passes that clean `nd` programs, under the names by which pipelines call them.

The work is done by plain functions in files of their own, which the driver calls directly; a pass only applies one of
them to every function of a module.
"""

from dataclasses import dataclass
from typing import ClassVar

from gradloomc.ir.core import Module
from gradloomc.passes.base import Pass
from gradloomc.passes.canonicalize import canonicalize_function
from gradloomc.passes.cse import eliminate_common_subexpressions
from gradloomc.passes.dce import eliminate_dead_code


@dataclass(frozen=True)
class CSE(Pass):
    """Compute what is computed several times only once."""

    name: ClassVar[str] = "cse"

    def run(self, module: Module) -> None:
        for function in module.block.ops:
            eliminate_common_subexpressions(function)


@dataclass(frozen=True)
class DCE(Pass):
    """Remove ops whose results are not used and that have no effect."""

    name: ClassVar[str] = "dce"

    def run(self, module: Module) -> None:
        for function in module.block.ops:
            eliminate_dead_code(function)


@dataclass(frozen=True)
class Canonicalize(Pass):
    """Simplify nd programs by algebra and constant folding."""

    name: ClassVar[str] = "canonicalize"
    reads: ClassVar[frozenset[str]] = frozenset({"func", "nd"})
    leaves: ClassVar[frozenset[str]] = frozenset({"func", "nd"})

    def run(self, module: Module) -> None:
        for function in module.block.ops:
            canonicalize_function(function)
