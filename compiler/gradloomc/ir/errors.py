"""The exceptions of gradloom; each is also what a NumPy user would expect to catch.

Every one may carry a location and notes, from which diagnostics.py renders the user's line with a caret.
"""

from gradloomc.ir.location import UNKNOWN, Location


class GradloomError(Exception):
    """Any error that gradloom raises on purpose.

    `location` is where in the user's program it happened; `notes` are (message, location) pairs that explain it; `fix`
    says what to write instead.
    """

    def __init__(
        self,
        message: str,
        location: Location = UNKNOWN,
        notes: tuple[tuple[str, Location], ...] = (),
        fix: str = "",
    ):
        super().__init__(message)
        self.message, self.location, self.notes, self.fix = message, location, notes, fix

    def __str__(self) -> str:
        from gradloomc.ir.diagnostics import render

        return render("error", self.message, self.location, self.notes, self.fix)


class ShapeError(GradloomError, ValueError):
    """Shapes do not fit together."""


class OutOfBoundsError(ShapeError, IndexError):
    """An index beyond an axis, or more indices than axes."""


class DTypeError(GradloomError, TypeError):
    """A dtype cannot be used here."""


class TracerError(GradloomError, TypeError):
    """A traced array was used where a concrete value is needed (`if`, `float`, `int`, iteration, C code)."""


class UnsupportedError(GradloomError, TypeError):
    """A function or an option that gradloom does not know."""


class DifferentiationError(GradloomError, TypeError):
    """A derivative that does not exist or is not available."""


class ParseError(GradloomError, ValueError):
    """IR text that cannot be read."""


class VerifyError(GradloomError, ValueError):
    """IR that breaks a rule."""


class PassError(GradloomError, ValueError):
    """A pass or a pipeline that cannot do what it was asked for."""


class ExecutionError(GradloomError, ValueError):
    """A compiled function was called with arguments that it cannot take."""
