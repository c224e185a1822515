"""`clear_cache`: everything that gradloom keeps between calls, given back at once.

Knows who keeps what; each keeper forgets by itself.
"""

import sys

from gradloom.exec.memory import pool
from gradloom.function import functions


def clear_cache(disk: bool = False) -> None:
    """Forget every program of this process, and give back the memory that waits to be used again.

    Functions are traced and lowered anew when they are called next. Results that the caller holds stay as they are.
    Native code itself cannot be unloaded: the same function finds it again.

    Args:
        disk: also remove what was compiled from the cache on disk, for all processes that share it, and do not find
            native code again in this one: the next call compiles as on a machine that has never seen gradloom.
    """
    for function in list(functions):
        function.forget()
    recorded = sys.modules.get("gradloom.autograd.programs")
    if recorded is not None:  # otherwise there are no tensors
        recorded.forget_programs()
    pool.clear()
    if disk:
        from gradloomc.codegen.native import forget_modules
        from gradloomc.codegen.tiers import tiers

        forget_modules()
        tiers.code.clear()
