"""Pieces of SVG: fonts whose widths are known without a font, frames, texts, numbers.

A text says how wide it is to be (`textLength`), so that it fits whatever font is found. Knows no drawing.
"""

import re
import unicodedata
from dataclasses import dataclass

from gradloom.autograd.layout import Point

TITLE, DETAIL, CODE = "title", "detail", "code"


@dataclass(frozen=True, slots=True)
class Style:
    """How the boxes of a kind look, and what the legend says of them."""

    fill: str
    line: str
    text: str
    meaning: str
    radius: float = 5.0
    dashes: str = ""


@dataclass(frozen=True, slots=True)
class Font:
    """A font of the pictures. Widths are in thousandths of its size."""

    size: float
    leading: float
    attributes: str
    monospaced: bool = False
    stretch: float = 1.0

    def width(self, text: str) -> float:
        """Return the width of a text, in pixels."""
        total = 0.0
        for character in text:
            if not character.isascii():
                total += 1000 if unicodedata.east_asian_width(character) in "WF" else 700
            elif self.monospaced:
                total += 602
            else:
                total += _WIDTHS[ord(character) - 32] if " " <= character <= "~" else 556
        return total * self.stretch * self.size / 1000


# Helvetica's, from the space to the tilde; where another font stands in, `textLength` makes it as wide.
_WIDTHS = [
    *(278, 278, 355, 556, 556, 889, 667, 191, 333, 333, 389, 584, 278, 333, 278, 278),
    *(556, 556, 556, 556, 556, 556, 556, 556, 556, 556, 278, 278, 584, 584, 584, 556),
    *(1015, 667, 667, 722, 722, 667, 611, 778, 722, 278, 500, 667, 556, 833, 722, 778),
    *(667, 778, 722, 667, 611, 722, 667, 944, 667, 667, 611, 278, 278, 278, 469, 556),
    *(333, 556, 556, 500, 556, 556, 278, 556, 556, 222, 222, 500, 222, 833, 556, 556),
    *(556, 556, 333, 500, 278, 556, 500, 722, 500, 500, 500, 334, 260, 334, 584),
]
SANS = "Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif"
_MONO = "Menlo, Consolas, 'DejaVu Sans Mono', 'Liberation Mono', monospace"
FONTS = {
    TITLE: Font(13, 17, 'font-size="13" font-weight="bold"', stretch=1.08),
    DETAIL: Font(11, 15, 'font-size="11"'),
    CODE: Font(10.5, 15, f'font-family="{_MONO}" font-size="10.5"', monospaced=True),
}


def decimal(value: float) -> str:
    """Return a coordinate with one digit behind the point, if it needs one."""
    return f"{value:.1f}".removesuffix(".0")


def pair(point: Point) -> str:
    """Return a point as a path has it."""
    return f"{decimal(point[0])},{decimal(point[1])}"


def frame(style: Style, x: float, y: float, width: float, height: float, radius: float) -> str:
    """Return a rectangle in a style, with round corners."""
    dashes = f' stroke-dasharray="{style.dashes}"' if style.dashes else ""
    return (
        f'<rect x="{decimal(x)}" y="{decimal(y)}" width="{decimal(width)}" height="{decimal(height)}" '
        f'rx="{decimal(radius)}" fill="{style.fill}" stroke="{style.line}" stroke-width="1.2"{dashes}/>'
    )


def text_line(name: str, text: str, x: float, y: float, color: str) -> str:
    """Return a line of text in a font, whose base line starts at (x, y)."""
    font = FONTS[name]
    return (
        f'<text x="{decimal(x)}" y="{decimal(y)}" {font.attributes} fill="{color}" '
        f'textLength="{decimal(font.width(text))}" lengthAdjust="spacingAndGlyphs">'
        f"{escaped(text)}</text>"
    )


_NOT_IN_XML = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def escaped(text: str) -> str:
    """Escape what XML reserves, and leave out what it cannot hold."""
    return _NOT_IN_XML.sub("?", text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
