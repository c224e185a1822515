"""The passes of code generation, under the names by which pipelines call them."""

from dataclasses import dataclass
from typing import ClassVar

from gradloomc.codegen.divider import relieve_divider
from gradloomc.codegen.x86 import AVX512
from gradloomc.ir.core import Module
from gradloomc.passes.base import Pass


@dataclass(frozen=True)
class RelieveDivider(Pass):
    """Trade divisions and square roots for multiplications in nests that the divider limits."""

    name: ClassVar[str] = "relieve-divider"
    reads: ClassVar[frozenset[str]] = frozenset({"func", "loops", "kernel", "arith", "math"})
    leaves: ClassVar[frozenset[str]] = frozenset({"func", "loops", "kernel", "arith", "math"})
    avx512: bool = False

    def run(self, module: Module) -> None:
        features = frozenset({AVX512} if self.avx512 else ())
        for function in module.block.ops:
            relieve_divider(function, features)
