"""The picture of a tensor's autograd graph as SVG, without any dependency: `gradloom.draw_graph(loss)`.

Arrows run in the direction of the computation, from the leaves down to the results; a backward walks them the other
way. Owns what a box says and what a picture looks like; where boxes stand is layout.py's, how pieces are spelled is
svg.py's. The SVG depends on nothing but the graph and the arguments. Colours are set so that it can be read on white
and on black. Start reading at `draw_graph`.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from gradloom.autograd.dtypes import dtype_of, get_default_dtype
from gradloom.autograd.engine import compute
from gradloom.autograd.formatting import format_tensor
from gradloom.autograd.graph import PYTHON_NUMBERS, Node
from gradloom.autograd.layout import Point, arrange
from gradloom.autograd.svg import CODE, DETAIL, FONTS, SANS, TITLE, Style, decimal, escaped, frame, pair, text_line
from gradloom.autograd.tensor import Tensor, public

LEAF, OPERATION, RESULT, FROZEN, FREED = "leaf", "operation", "result", "frozen", "freed"


STYLES = {
    LEAF: Style("#d6e6fb", "#2f6db3", "#12355b", "leaf: a backward adds to its .grad", radius=15),
    FROZEN: Style("#ecebe6", "#8d897d", "#4b483f", "constant: no gradient goes there", radius=15, dashes="4 3"),
    OPERATION: Style("#fdf3d3", "#b8902c", "#4d3a08", "operation: the grad_fn of its result"),
    FREED: Style("#f6f2e6", "#b8a878", "#6b6142", "operation given up by a backward", dashes="4 3"),
    RESULT: Style("#d5efdb", "#2f8a4e", "#10401f", "result", radius=15),
}
ARROW, THIN_ARROW = "#76859a", "#a09c90"  # where a gradient comes back, and where none does
LEGEND_TEXT = "#7a8796"

MARGIN, PADDING, NARROWEST = 12.0, 12.0, 56.0
LONGEST_NAME, LONGEST_CODE = 40, 30
SMALL_VALUE = 6  # elements that `values=True` writes out
HEAD = 7.0  # length of an arrow's head


@dataclass(slots=True)
class Box:
    """A box of a drawing: its kind, its lines of text as (font, text), where it stands, and what hovering shows."""

    kind: str
    lines: list[tuple[str, str]]
    hint: str = ""
    x: float = 0.0
    y: float = 0.0
    width: float = 0.0
    height: float = 0.0


@dataclass(slots=True)
class Arrow:
    """An arrow of a drawing, between two boxes given by their numbers; no gradient comes back along a `thin` one.

    `points` lead from the edge of one box to that of the other; between two of them the arrow runs along the direction
    of the drawing, or as a curve that starts and ends so.
    """

    source: int
    target: int
    thin: bool
    points: list[Point] = field(default_factory=list)


class Drawing:
    """The picture of a graph: `str(drawing)` is SVG, notebooks show it, and `save` writes it to a file.

    Attributes:
        boxes: leaves, constants, operations and results.
        arrows: from what is computed from to what is computed.
        width, height: of the picture, in pixels.
    """

    def __init__(self, boxes: Sequence[Box], arrows: Sequence[Arrow], direction: str = "down", legend: bool = True):
        self.boxes, self.arrows = list(boxes), list(arrows)
        self._right = direction == "right"
        self._place()
        kinds = {box.kind for box in boxes}
        self._legend = [kind for kind in STYLES if kind in kinds] if legend else []
        if self._legend:
            rows = _legend_rows(self._legend, self.width)
            self.width = max(self.width, max(right for _, right, _ in rows) + MARGIN)
            self.height = max(self.height, 0) + 10 + 20 * (rows[-1][2] + 1)

    def _place(self) -> None:
        for box in self.boxes:
            widest = max(FONTS[font].width(text) for font, text in box.lines)
            box.width = max(NARROWEST, round(widest + 2 * PADDING))
            box.height = sum(FONTS[font].leading for font, _ in box.lines) + 10
        sizes = [(box.width, box.height) for box in self.boxes]
        if self._right:
            sizes = [(height, width) for width, height in sizes]
        layout = arrange(sizes, [(arrow.source, arrow.target) for arrow in self.arrows])
        for box, centre in zip(self.boxes, layout.centres, strict=True):
            x, y = self._turned(centre)
            box.x, box.y = x - box.width / 2, y - box.height / 2
        for arrow, route in zip(self.arrows, layout.routes, strict=True):
            arrow.points = [self._turned(point) for point in route]
        width, height = self._turned((layout.width, layout.height))
        self.width, self.height = width + MARGIN, height + MARGIN

    def _turned(self, point: Point) -> Point:
        x, y = point[::-1] if self._right else point
        return (x + MARGIN, y + MARGIN)

    def save(self, path: "str | os.PathLike[str]") -> None:
        """Write the SVG to a file."""
        with open(path, "w", encoding="utf-8") as file:
            file.write(str(self))

    def _repr_svg_(self) -> str:
        return str(self)

    def __repr__(self) -> str:
        return f"<Drawing of {len(self.boxes)} boxes and {len(self.arrows)} arrows>"

    def __str__(self) -> str:
        width, height = decimal(self.width), decimal(self.height)
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
                f'viewBox="0 0 {width} {height}" font-family="{SANS}" role="img">',
                "<title>Autograd graph</title>",
                *self._svg_of_arrows(),
                *[_svg_of_box(box) for box in self.boxes],
                *self._svg_of_legend(),
                "</svg>",
                "",
            ]
        )

    def _svg_of_arrows(self) -> list[str]:
        lines: list[str] = []
        for thin in (True, False):
            ways, heads = self._paths([arrow for arrow in self.arrows if arrow.thin == thin])
            if not ways:
                continue
            color = THIN_ARROW if thin else ARROW
            look = 'stroke-width="1.2" stroke-dasharray="4 3"' if thin else 'stroke-width="1.6"'
            lines.append(f'<path d="{ways}" fill="none" stroke="{color}" {look}/>')
            lines.append(f'<path d="{heads}" fill="{color}"/>')
        return lines

    def _paths(self, arrows: Sequence[Arrow]) -> tuple[str, str]:
        """Return the lines and the heads of arrows. What arrows from the same box have in common is drawn once."""
        ways: list[str] = []
        heads: list[str] = []
        drawn: dict[tuple[float, ...], float] = {}  # start and direction of a piece: how far it is drawn
        along = 0 if self._right else 1
        # The longest arrow first: straight pieces of the shorter ones lie on its own.
        for arrow in sorted(arrows, key=lambda arrow: (arrow.source, -arrow.points[-1][along])):
            heads.append(self._head(arrow.points[-1]))
            pen: Point | None = None
            for start, stop in pairwise([*arrow.points[:-1], self._neck(arrow.points[-1])]):
                piece = (*start, stop[1 - along])
                if stop[along] <= drawn.get(piece, start[along]):
                    pen = None
                    continue
                drawn[piece] = stop[along]
                if pen is None:
                    ways.append(f"M{pair(start)}")
                ways.append(self._piece(start, stop))
                pen = stop
        return "".join(ways), "".join(heads)

    def _neck(self, end: Point) -> Point:
        """Return where the line of an arrow stops, so that it does not stick out of the head."""
        return (end[0] - HEAD + 1, end[1]) if self._right else (end[0], end[1] - HEAD + 1)

    def _head(self, end: Point) -> str:
        if self._right:
            return f"M{pair(end)}l{pair((-HEAD, HEAD * 0.55))}v{decimal(-HEAD * 1.1)}z"
        return f"M{pair(end)}l{pair((HEAD * 0.55, -HEAD))}h{decimal(-HEAD * 1.1)}z"

    def _piece(self, start: Point, stop: Point) -> str:
        (a, b), (c, d) = start, stop
        if self._right:
            if abs(b - d) < 0.05:
                return f"L{pair(stop)}"
            return f"C{pair(((a + c) / 2, b))} {pair(((a + c) / 2, d))} {pair(stop)}"
        if abs(a - c) < 0.05:
            return f"L{pair(stop)}"
        return f"C{pair((a, (b + d) / 2))} {pair((c, (b + d) / 2))} {pair(stop)}"

    def _svg_of_legend(self) -> list[str]:
        lines = []
        if self._legend:
            rows = _legend_rows(self._legend, self.width)
            bottom = self.height - 20 * (rows[-1][2] + 1)
            for kind, (x, _, row) in zip(self._legend, rows, strict=True):
                style, y = STYLES[kind], bottom + 20 * row
                lines.append(frame(style, x, y, 20, 12, min(style.radius, 6)))
                lines.append(text_line(DETAIL, style.meaning, x + 27, y + 10, LEGEND_TEXT))
        return lines


def _legend_rows(kinds: Sequence[str], width: float) -> list[tuple[float, float, int]]:
    """Return for each entry of the legend where it starts and ends, and its row."""
    found: list[tuple[float, float, int]] = []
    x, row = MARGIN, 0
    for kind in kinds:
        long = 27 + FONTS[DETAIL].width(STYLES[kind].meaning)
        if x > MARGIN and x + long > width - MARGIN:
            x, row = MARGIN, row + 1
        found.append((x, x + long, row))
        x += long + 22
    return found


# --- pieces of SVG ----------------------------------------------------------------------------------------------------


def _svg_of_box(box: Box) -> str:
    style = STYLES[box.kind]
    parts = [f"<g><title>{escaped(box.hint)}</title>" if box.hint else "<g>"]
    parts.append(frame(style, box.x, box.y, box.width, box.height, min(style.radius, box.height / 2)))
    y = box.y + 5
    for name, text in box.lines:
        font = FONTS[name]
        x = box.x + (box.width - font.width(text)) / 2
        parts.append(text_line(name, text, x, y + font.leading * 0.75, style.text))
        y += font.leading
    return "".join([*parts, "</g>"])


# --- from the graph to boxes ------------------------------------------------------------------------------------------


class _Graph:
    """The boxes and arrows of some tensors' graph."""

    def __init__(self, names: Mapping[str, Any], values: bool):
        self.boxes: list[Box] = []
        self.arrows: list[Arrow] = []
        self._numbers: dict[int, int] = {}  # by identity of a leaf or a node: the number of its box
        self._values = values
        self._names: dict[int, str] = {}
        # Nodes stay the same as long as the tensors that hold them, and those as long as `names`.
        for name, tensor in names.items():
            if isinstance(tensor, Tensor):
                self._names.setdefault(id(tensor), name)
                self._names.setdefault(id(tensor.grad_fn or tensor._node()), name)

    def add(self, tensor: Tensor) -> None:
        """Draw a tensor and all that it was computed from."""
        node = tensor.grad_fn
        if node is None:
            self._leaf(tensor)
            return
        self._operations(node)
        self._arrow(self._numbers[id(node)], self._result(tensor, node), False)

    def _operations(self, start: Node) -> None:
        stack = [start]
        while stack:
            node = stack[-1]
            if id(node) in self._numbers:
                stack.pop()
                continue
            below = [edge for edge in node.edges or () if isinstance(edge, Node) and id(edge) not in self._numbers]
            if below:
                stack += reversed(below)
                continue
            stack.pop()
            sources = self._sources(node)
            number = self._operation(node)
            for source, thin in sources:
                self._arrow(source, number, thin)

    def _sources(self, node: Node) -> list[tuple[int, bool]]:
        """Return the boxes of what a node was computed from, and whether no gradient goes there."""
        found = []
        edges = node.edges or ()
        inputs = node.inputs or (None,) * len(edges)
        for edge, value in zip(edges, inputs, strict=False):
            if isinstance(edge, Node):
                found.append((self._numbers[id(edge)], False))
            elif edge is not None:
                found.append((self._leaf(edge), False))
            elif isinstance(value, Node):
                found.append((self._constant(value), True))
        return found

    def _arrow(self, source: int, target: int, thin: bool) -> None:
        self.arrows.append(Arrow(source, target, thin))

    def _box(self, of: Any, kind: str, lines: list[tuple[str, str]], hint: str) -> int:
        self.boxes.append(Box(kind, lines, hint))
        number = self._numbers[id(of)] = len(self.boxes) - 1
        return number

    def _leaf(self, tensor: Tensor) -> int:
        found = self._numbers.get(id(tensor))
        if found is not None:
            return found
        name = self._names.get(id(tensor)) or getattr(tensor, "name", None)
        node = tensor._node()
        trained = tensor.requires_grad
        title = _shortened(name, LONGEST_NAME) if isinstance(name, str) else ("leaf" if trained else "constant")
        lines = [(TITLE, title), (DETAIL, _description(node)), *self._value_lines(node)]
        if self._values and tensor._grad is not None and tensor._grad.numel() <= SMALL_VALUE:
            lines.append((DETAIL, f"grad {_value_text(tensor._grad._array())}"))
        hint = f"{name or 'tensor'}: shape {tuple(tensor.shape)}, {tensor.dtype}, requires_grad={trained}"
        return self._box(tensor, LEAF if trained else FROZEN, lines, hint)

    def _constant(self, node: Node) -> int:
        found = self._numbers.get(id(node))
        if found is not None:
            return found
        name = self._names.get(id(node))
        title = "constant" if name is None else _shortened(name, LONGEST_NAME)
        lines = [(TITLE, title), (DETAIL, _description(node)), *self._value_lines(node)]
        hint = f"{name or 'tensor'}: shape {node.type.shape}, {dtype_of(node.type.element)}, no gradient"
        return self._box(node, FROZEN, lines, hint)

    def _operation(self, node: Node) -> int:
        name, location = node.name(), node.location
        file, line, start, end = location.resolve()
        text = location.source_line()
        code = text[start - 1 : end - 1].strip()
        lines = [(TITLE, _shortened(name, LONGEST_NAME))]
        variable = self._names.get(id(node))
        if code:
            lines.append((CODE, ("" if variable is None else f"{_shortened(variable, 20)} = ") + _tail(code)))
        else:
            numbers = ", ".join(str(x) for x in node.inputs if x.__class__ in PYTHON_NUMBERS)
            details = [variable or "", f"with {numbers}" if numbers else ""]
            lines += [(DETAIL, _shortened(each, LONGEST_NAME)) for each in details if each]
        lines.append((DETAIL, _description(node)))
        lines += self._value_lines(node)
        hint = f"{name}: shape {node.type.shape}, {dtype_of(node.type.element)}"
        if line:
            hint += f"\n{os.path.basename(file)}:{line}: {text.strip()}"
        return self._box(node, FREED if node.freed else OPERATION, lines, hint)

    def _result(self, tensor: Tensor, node: Node) -> int:
        found = self._numbers.get(id(tensor))
        if found is not None:
            return found
        name = self._names.get(id(tensor))
        title = "result" if name is None else _shortened(name, LONGEST_NAME)
        lines = [(TITLE, title), (DETAIL, _description(node)), *self._value_lines(tensor._node())]
        hint = f"{name or 'result'}: shape {tuple(tensor.shape)}, {tensor.dtype}, grad_fn={node.name()}"
        return self._box(tensor, RESULT, lines, hint)

    def _value_lines(self, node: Node) -> list[tuple[str, str]]:
        if not self._values or node.type.size > SMALL_VALUE:
            return []
        if node.array is None:
            if not node.inputs:  # given up, and never looked at
                return []
            compute([node])
        return [(DETAIL, f"= {_value_text(node.array)}")]


def _description(node: Node) -> str:
    """Return the shape, and the dtype if it is not the usual one."""
    shape = f"shape {list(node.type.shape)}" if node.type.shape else "scalar"
    dtype = dtype_of(node.type.element)
    return shape if dtype is get_default_dtype() else f"{shape} {str(dtype).rpartition('.')[2]}"


def _value_text(array: Any) -> str:
    return " ".join(format_tensor(array, prefix="").partition(", dtype")[0].rstrip(")").split())


def _shortened(text: str, most: int) -> str:
    """Leave out the middle of a text that is too long."""
    return text if len(text) <= most else f"{text[: most // 2]}…{text[len(text) - most // 2 + 1 :]}"


def _tail(code: str) -> str:
    """Leave out the start of an expression that is too long: its end says which operation of it this is."""
    code = " ".join(code.split())
    if len(code) <= LONGEST_CODE:
        return code
    start = len(code) - LONGEST_CODE + 1
    word = re.match(r"\w*", code[start:]) if code[start - 1 : start + 1].isidentifier() else None
    return "…" + code[start + (word.end() if word else 0) :]


@public("draw_graph")
def draw_graph(
    *tensors: Tensor,
    names: Mapping[str, Any] | None = None,
    direction: str = "down",
    values: bool = False,
    legend: bool = True,
) -> Drawing:
    """Draw the graph that tensors were computed by.

    Args:
        tensors: the results. One that was not computed from leaves that require grad is drawn as a single box.
        names: what to call the tensors, by name: `dict(w=w, x=x)`, `dict(net.named_parameters())` or `locals()`; what
            is no tensor is left out. Leaves without a name here are called by their attribute `name`, if they have one.
        direction: in which the computation runs: "down" or "right".
        values: write the values (and the leaves' gradients) of up to six elements into the boxes; computes them.
        legend: say below the picture what the colours mean.

    Returns:
        A drawing: `str(drawing)` is the SVG, `drawing.save("graph.svg")` writes it, notebooks show it.

    Raises:
        TypeError: an argument is no tensor, or there is none.
        ValueError: there is no such direction.
    """
    if not tensors:
        raise TypeError("draw_graph() needs at least one tensor")
    for tensor in tensors:
        if not isinstance(tensor, Tensor):
            raise TypeError(f"draw_graph() draws tensors, not {type(tensor).__name__}")
    if direction not in ("down", "right"):
        raise ValueError(f'direction should be "down" or "right", not {direction!r}')
    graph = _Graph(names or {}, values)
    for tensor in tensors:
        graph.add(tensor)
    return Drawing(graph.boxes, graph.arrows, direction, legend)
