"""The table of all passes, by the name that a pipeline uses; a pass is imported when asked for.

This is the one place that may name modules of higher floors, as text: adding a pass is one line.
"""

import difflib
import importlib

from gradloomc.ir.errors import PassError
from gradloomc.passes.base import Pass

PASSES: dict[str, str] = {
    "adjoint": "gradloomc.ad.passes:Adjoint",
    "ask-ahead": "gradloomc.lowering.passes:AskAhead",
    "canonicalize": "gradloomc.passes.cleanup:Canonicalize",
    "cse": "gradloomc.passes.cleanup:CSE",
    "dce": "gradloomc.passes.cleanup:DCE",
    "donate": "gradloomc.lowering.passes:Donate",
    "fuse": "gradloomc.lowering.passes:Fuse",
    "fuse-multiply-add": "gradloomc.lowering.passes:FuseMultiplyAdd",
    "halve-pairs": "gradloomc.lowering.passes:HalvePairs",
    "jam-rows": "gradloomc.lowering.passes:JamRows",
    "lift-weights": "gradloomc.lowering.passes:LiftWeights",
    "linearize": "gradloomc.ad.passes:Linearize",
    "lower-products": "gradloomc.lowering.passes:LowerProducts",
    "mirror-sums": "gradloomc.lowering.passes:MirrorSums",
    "parallelize": "gradloomc.lowering.passes:Parallelize",
    "relieve-divider": "gradloomc.codegen.passes:RelieveDivider",
    "reuse-shifted": "gradloomc.lowering.passes:ReuseShifted",
    "scale-sums": "gradloomc.lowering.passes:ScaleSums",
    "share-in-tiles": "gradloomc.lowering.passes:ShareInTiles",
    "split-sums": "gradloomc.lowering.passes:SplitSums",
    "to-loops": "gradloomc.lowering.passes:ToLoops",
}


def load_pass(name: str) -> type[Pass]:
    """Return the class of the pass `name`.

    Raises:
        PassError: there is no such pass.
    """
    if name not in PASSES:
        near = difflib.get_close_matches(name, PASSES, n=1)
        fix = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(PASSES))}"
        raise PassError(f"unknown pass '{name}'", fix=fix)
    module, _, attribute = PASSES[name].partition(":")
    return getattr(importlib.import_module(module), attribute)
