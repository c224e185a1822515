"""What every compiled function can tell of itself: its IR, its schedule and its figures.

Owns how the program that is meant is found: that for given arguments, or the one that ran last. The texts are made by
explain.py.
"""

from typing import TYPE_CHECKING, Any

from gradloom.signature import caller_location
from gradloomc.ir.builder import insertion
from gradloomc.ir.errors import ExecutionError, UnsupportedError

if TYPE_CHECKING:
    from gradloom.exec.executable import Stats
    from gradloom.function import CacheInfo, UserFunction
    from gradloom.program import Program


class Inspectable:
    """A callable whose programs can be looked at."""

    user: "UserFunction"

    def program_for(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> "Program":
        """Return the program that answers a call with these arguments."""
        raise NotImplementedError

    def last_program(self) -> "Program | None":
        """Return the program of this callable that ran last."""
        raise NotImplementedError

    def _program(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> "Program":
        """Return the program for given arguments, or, without any, the one that ran last."""
        if insertion.block is not None:
            raise UnsupportedError("a function cannot be inspected while another one is traced", caller_location())
        found = self.program_for(args, kwargs) if args or kwargs else self.last_program()
        if found is None:
            raise ExecutionError(
                f"{self.user.parameters.name}() has not been called yet",
                caller_location(),
                fix="call it, or give arguments here",
            )
        return found

    def ir(self, level: str = "nd", *args: Any, generic: bool = False, **kwargs: Any) -> str:
        """Return the program that ran last, or that for given arguments, as text.

        Args:
            level: "nd" the function as traced; "adjoint" what was derived from it; "kernels", "loops", "llvm", "asm"
                how it runs.
            args, kwargs: arguments as for a call. What `compile_grad` returns shows its value_and_grad for them, or its
                value where there is no gradient.
            generic: print MLIR's generic syntax.

        Raises:
            UnsupportedError: there is no such level.
            ExecutionError: no arguments are given and the function has not been called.
        """
        from gradloom.explain import LEVELS, level_text

        if level not in LEVELS:
            raise UnsupportedError(
                f"there is no level {level!r}", caller_location(), fix=f"choose one of {', '.join(LEVELS)}"
            )
        return level_text(self._program(args, kwargs), level, generic)

    def explain(self, *args: Any, **kwargs: Any) -> str:
        """Return how the program that ran last, or that for given arguments (as in `ir`), is run, and why."""
        from gradloom.explain import explain

        return explain(self._program(args, kwargs))

    @property
    def stats(self) -> "Stats":
        """Figures of the program that ran last: `kernels`, `externs`, `bytes_moved`, `bytes_ideal`, ..."""
        return self._program((), {}).executable.stats

    def cache_info(self) -> "CacheInfo":
        """Return how often programs of the user's function were found and made, and the seconds spent on making."""
        return self.user.info()

    def cache_clear(self) -> None:
        """Forget all programs of the user's function."""
        self.user.clear()
