"""Differentiation as passes: every function of a module is replaced by one of its derivatives."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from gradloomc.ad.transform import jvp_of, vjp_of
from gradloomc.dialects.func import body_of
from gradloomc.ir.core import Module, Op
from gradloomc.ir.errors import PassError
from gradloomc.passes.base import Pass

ND = frozenset({"func", "nd"})


def _active(function: Op, argnums: Sequence[int]) -> list[int]:
    count = len(body_of(function).arguments)
    for number in argnums:
        if not -count <= number < count:
            name = function.attributes["sym_name"]
            raise PassError(f"argnums names argument {number}, but '{name}' has {count} arguments")
    return [number % count for number in argnums]


@dataclass(frozen=True)
class Linearize(Pass):
    """Append the tangent program: (primals, tangents of argnums) -> (results, their tangents)."""

    name: ClassVar[str] = "linearize"
    reads: ClassVar[frozenset[str]] = ND
    leaves: ClassVar[frozenset[str]] = ND
    argnums: tuple[int, ...] = (0,)

    def run(self, module: Module) -> None:
        module.replace_functions(
            jvp_of(function, _active(function, self.argnums)) for function in module.block.ops
        )


@dataclass(frozen=True)
class Adjoint(Pass):
    """Linearize and transpose: results and gradients of argnums, with `seed` for any cotangents, else for 1."""

    name: ClassVar[str] = "adjoint"
    reads: ClassVar[frozenset[str]] = ND
    leaves: ClassVar[frozenset[str]] = ND
    argnums: tuple[int, ...] = (0,)
    seed: bool = False

    def run(self, module: Module) -> None:
        module.replace_functions(
            vjp_of(function, _active(function, self.argnums), unit_seed=not self.seed)
            for function in module.block.ops
        )
