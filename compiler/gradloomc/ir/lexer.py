"""Cuts the text of the IR into tokens, and steps through them with errors that point at a token.

Knows the words of MLIR's syntax, not its sentences (parser.py). The lexer is one regular
expression; white space and `//` comments belong to no token.
"""

import re
from typing import NamedTuple, NoReturn

from gradloomc.ir.errors import ParseError
from gradloomc.ir.location import Location, Source, TextLocation

_LEXER = re.compile(
    r"""(?:[ \t\r\n]++|//[^\n]*+)*+
    (?:(?P<value>%[\w$.-]+(?:\#\d+)?)
    |(?P<type>(?:tensor|memref)<[^<>\n"]*>)
    |(?P<id>[A-Za-z_][\w$.]*)
    |(?P<arrow>->)
    |(?P<punctuation>[()\[\]{}<>,:=])
    |(?P<float>-?\d+\.\d*(?:[eE][-+]?\d+)?)
    |(?P<hex>0x[0-9A-Fa-f]+)
    |(?P<int>-?\d+)
    |(?P<string>"(?:[^"\\\n]|\\.)*")
    |(?P<symbol>@(?:[A-Za-z_][\w$.]*|"(?:[^"\\\n]|\\.)*"))
    |(?P<label>\^[\w$.-]*)
    |(?P<end>\Z)
    |(?P<bad>.))""",
    re.VERBOSE | re.ASCII,
)


class Token(NamedTuple):
    """A word of the text."""

    kind: str
    text: str
    start: int


def _lex(text: str) -> list[Token]:
    tokens = []
    for match in _LEXER.finditer(text):
        kind = match.lastgroup or "end"
        tokens.append(Token(kind, match[kind], match.start(kind)))
        if kind == "end":
            break
    return tokens


class TokenStream:
    """The tokens of a source, one of them current."""

    def __init__(self, source: Source):
        self.source = source
        self.tokens = _lex(source.text)
        self.position = 0
        self.token = self.tokens[0]

    def advance(self) -> Token:
        """Step over the current token and return it."""
        token = self.token
        self.position += 1
        self.token = self.tokens[min(self.position, len(self.tokens) - 1)]
        return token

    def accept(self, text: str) -> bool:
        """Step over the current token if it is `text`."""
        if self.token.text == text:
            self.advance()
            return True
        return False

    def expect(self, text: str) -> Token:
        if self.token.text != text:
            self.fail(f"expected '{text}', got {self.described()}")
        return self.advance()

    def expect_kind(self, kind: str, what: str) -> Token:
        if self.token.kind != kind:
            self.fail(f"expected {what}, got {self.described()}")
        return self.advance()

    def described(self) -> str:
        if self.token.kind == "end":
            return "the end of the text"
        return "a string without end" if self.token.text == '"' else f"'{self.token.text}'"

    def location(self, token: Token) -> Location:
        return TextLocation(self.source, token.start, token.start + len(token.text))

    def fail(
        self,
        message: str,
        token: Token | None = None,
        notes: tuple[tuple[str, Location], ...] = (),
        fix: str = "",
    ) -> NoReturn:
        raise ParseError(message, self.location(token or self.token), notes, fix)
