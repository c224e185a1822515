"""The lowering passes, under the names by which pipelines call them."""

from dataclasses import dataclass
from typing import ClassVar

from gradloomc.ir.core import Module
from gradloomc.lowering.ahead import ask_ahead
from gradloomc.lowering.donate import donate_buffers
from gradloomc.lowering.fuse import fuse_function
from gradloomc.lowering.halve import halve_pairs
from gradloomc.lowering.jam import jam_rows
from gradloomc.lowering.lift import lift_small_weights
from gradloomc.lowering.loops import lower_to_loops
from gradloomc.lowering.mirror import share_mirrored_sums
from gradloomc.lowering.multiply_add import fuse_multiply_adds
from gradloomc.lowering.parallelize import parallelize_function
from gradloomc.lowering.products import lower_products
from gradloomc.lowering.reassociate import split_sums
from gradloomc.lowering.scaling import move_numbers_out_of_sums
from gradloomc.lowering.share import share_in_tiles
from gradloomc.lowering.shifted import reuse_shifted
from gradloomc.passes.base import Pass


@dataclass(frozen=True)
class HalvePairs(Pass):
    """Let nests over all pairs whose terms are symmetric visit each pair once."""

    name: ClassVar[str] = "halve-pairs"
    reads: ClassVar[frozenset[str]] = frozenset({"func", "loops", "kernel", "arith", "math"})
    leaves: ClassVar[frozenset[str]] = reads

    def run(self, module: Module) -> None:
        for function in module.block.ops:
            halve_pairs(function)


@dataclass(frozen=True)
class LowerProducts(Pass):
    """Choose for each matrix product between a call of the BLAS and a nest."""

    name: ClassVar[str] = "lower-products"
    reads: ClassVar[frozenset[str]] = frozenset({"func", "nd"})
    leaves: ClassVar[frozenset[str]] = frozenset({"func", "nd", "kernel"})

    def run(self, module: Module) -> None:
        for function in module.block.ops:
            lower_products(function)


@dataclass(frozen=True)
class Fuse(Pass):
    """Turn nd functions into fused kernels."""

    name: ClassVar[str] = "fuse"
    reads: ClassVar[frozenset[str]] = frozenset({"func", "nd", "kernel"})
    leaves: ClassVar[frozenset[str]] = frozenset({"func", "nd", "kernel", "arith", "math"})

    def run(self, module: Module) -> None:
        module.replace_functions(fuse_function(function) for function in module.block.ops)


@dataclass(frozen=True)
class ToLoops(Pass):
    """Assign buffers and turn kernels into loop nests; `vector_bits` is the width of the target's registers."""

    name: ClassVar[str] = "to-loops"
    reads: ClassVar[frozenset[str]] = frozenset({"func", "nd", "kernel", "arith", "math"})
    leaves: ClassVar[frozenset[str]] = frozenset({"func", "loops", "kernel", "arith", "math"})
    vector_bits: int = 512

    def run(self, module: Module) -> None:
        module.replace_functions(
            lower_to_loops(function, self.vector_bits) for function in module.block.ops
        )


@dataclass(frozen=True)
class FuseMultiplyAdd(Pass):
    """Turn products that are only added or subtracted into fused multiply-adds."""

    name: ClassVar[str] = "fuse-multiply-add"
    reads: ClassVar[frozenset[str]] = frozenset({"func", "loops", "kernel", "arith", "math"})
    leaves: ClassVar[frozenset[str]] = reads

    def run(self, module: Module) -> None:
        module.replace_functions(fuse_multiply_adds(function) for function in module.block.ops)


@dataclass(frozen=True)
class LiftWeights(Pass):
    """Let sums of multiples of small weights compute without subnormal numbers."""

    name: ClassVar[str] = "lift-weights"
    reads: ClassVar[frozenset[str]] = frozenset({"func", "loops", "kernel", "arith", "math"})
    leaves: ClassVar[frozenset[str]] = reads

    def run(self, module: Module) -> None:
        for function in module.block.ops:
            lift_small_weights(function)


@dataclass(frozen=True)
class Parallelize(Pass):
    """Mark the loop nests that are worth several threads with the chunks that they may be cut into."""

    name: ClassVar[str] = "parallelize"
    reads: ClassVar[frozenset[str]] = frozenset({"func", "loops", "kernel", "arith", "math"})
    leaves: ClassVar[frozenset[str]] = frozenset({"func", "loops", "kernel", "arith", "math"})

    def run(self, module: Module) -> None:
        for function in module.block.ops:
            parallelize_function(function)


@dataclass(frozen=True)
class AskAhead(Pass):
    """Let the nest of a tile that computes most ask for the memory that the tiles need next."""

    name: ClassVar[str] = "ask-ahead"
    reads: ClassVar[frozenset[str]] = frozenset({"func", "loops", "kernel", "arith", "math"})
    leaves: ClassVar[frozenset[str]] = reads

    def run(self, module: Module) -> None:
        for function in module.block.ops:
            ask_ahead(function)


@dataclass(frozen=True)
class JamRows(Pass):
    """Mark the light nests that gain by running on several rows at once."""

    name: ClassVar[str] = "jam-rows"
    reads: ClassVar[frozenset[str]] = frozenset({"func", "loops", "kernel", "arith", "math"})
    leaves: ClassVar[frozenset[str]] = reads

    def run(self, module: Module) -> None:
        for function in module.block.ops:
            jam_rows(function)


@dataclass(frozen=True)
class ReuseShifted(Pass):
    """Compute once what nests need at several places around their points, and keep it for a few rows."""

    name: ClassVar[str] = "reuse-shifted"
    reads: ClassVar[frozenset[str]] = frozenset({"func", "loops", "kernel", "arith", "math"})
    leaves: ClassVar[frozenset[str]] = reads

    def run(self, module: Module) -> None:
        for function in module.block.ops:
            reuse_shifted(function)


@dataclass(frozen=True)
class ShareInTiles(Pass):
    """Keep for a tile what several of its nests compute, and drop what none of them reads."""

    name: ClassVar[str] = "share-in-tiles"
    reads: ClassVar[frozenset[str]] = frozenset({"func", "loops", "kernel", "arith", "math"})
    leaves: ClassVar[frozenset[str]] = reads

    def run(self, module: Module) -> None:
        for function in module.block.ops:
            share_in_tiles(function)


@dataclass(frozen=True)
class Donate(Pass):
    """Find the results that may be written into the memory of donated arguments."""

    name: ClassVar[str] = "donate"
    reads: ClassVar[frozenset[str]] = frozenset({"func", "loops", "kernel", "arith", "math"})
    leaves: ClassVar[frozenset[str]] = frozenset({"func", "loops", "kernel", "arith", "math"})

    def run(self, module: Module) -> None:
        for function in module.block.ops:
            donate_buffers(function)


@dataclass(frozen=True)
class SplitSums(Pass):
    """Take factors out of sums that would need a pass over memory of their own."""

    name: ClassVar[str] = "split-sums"
    reads: ClassVar[frozenset[str]] = frozenset({"func", "nd", "kernel"})
    leaves: ClassVar[frozenset[str]] = frozenset({"func", "nd", "kernel"})

    def run(self, module: Module) -> None:
        for function in module.block.ops:
            split_sums(function)


@dataclass(frozen=True)
class MirrorSums(Pass):
    """Compute one of two sums that are equal because what they add up is symmetric."""

    name: ClassVar[str] = "mirror-sums"
    reads: ClassVar[frozenset[str]] = frozenset({"func", "nd", "kernel"})
    leaves: ClassVar[frozenset[str]] = frozenset({"func", "nd", "kernel"})

    def run(self, module: Module) -> None:
        for function in module.block.ops:
            share_mirrored_sums(function)


@dataclass(frozen=True)
class ScaleSums(Pass):
    """Take numbers out of sums."""

    name: ClassVar[str] = "scale-sums"
    reads: ClassVar[frozenset[str]] = frozenset({"func", "nd", "kernel"})
    leaves: ClassVar[frozenset[str]] = frozenset({"func", "nd", "kernel"})

    def run(self, module: Module) -> None:
        for function in module.block.ops:
            move_numbers_out_of_sums(function)
