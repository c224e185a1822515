"""The LLVM text of a module, or what makes it: a program whose code is found on disk never needs its text.

Knows nothing of what the text says.
"""

from collections.abc import Callable

from gradloomc.codegen.cache import digest

__all__ = ["Source"]


class Source:
    """LLVM text that is made when somebody reads it.

    Args:
        text: the text, or None.
        digest, size: its digest and how many bytes it has, if that is known and there is no text.
        make: makes it, if there is no text.
    """

    __slots__ = ("_digest", "_make", "_text", "size")

    def __init__(self, text: str | None = None, digest: str = "", size: int = 0, make: Callable[[], str] | None = None):
        self._text, self._digest, self._make = text, digest, make
        self.size = size if text is None else len(text)

    @property
    def digest(self) -> str:
        """What tells texts apart."""
        if not self._digest:
            self._digest = digest(self.read())
        return self._digest

    def read(self) -> str:
        """Return the text.

        Raises:
            RuntimeError: what was made is not the text that the digest belongs to.
        """
        if self._text is None:
            assert self._make is not None
            text = self._make()
            if self._digest and digest(text) != self._digest:
                raise RuntimeError("a program was written differently than when it was stored")
            self._text, self._make = text, None
        return self._text
