"""`gradloom.draw_graph`: what is drawn, that it is well-formed SVG, and where boxes and arrows lie.

Geometry is checked on the numbers of the drawing and on the paths in the SVG; random graphs check the layout.
"""

import random
import re
import time
import xml.etree.ElementTree as ElementTree
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradloom
from gradloom.autograd.drawing import Box, Drawing
from gradloom.autograd.layout import arrange
from gradloom.autograd.svg import FONTS

SVG = "{http://www.w3.org/2000/svg}"


def leaf(values: Any) -> Any:
    return gradloom.tensor(values, requires_grad=True)


def worked_example() -> dict[str, Any]:
    x, y, z = leaf([2.0, 1.0]), leaf([1.0, 3.0]), leaf([5.0, 2.0])
    a = x + 2 * y
    b = a + z / 2
    return {"x": x, "y": y, "z": z, "a": a, "b": b}


def parsed(drawing: Drawing) -> ElementTree.Element:
    return ElementTree.fromstring(str(drawing))


def texts(drawing: Drawing) -> list[str]:
    return [element.text or "" for element in parsed(drawing).iter(f"{SVG}text")]


def title(box: Box) -> str:
    return box.lines[0][1]


def connections(drawing: Drawing) -> set[tuple[str, str, bool]]:
    boxes = drawing.boxes
    return {(title(boxes[each.source]), title(boxes[each.target]), each.thin) for each in drawing.arrows}


def overlap(a: Box, b: Box) -> bool:
    return a.x < b.x + b.width and b.x < a.x + a.width and a.y < b.y + b.height and b.y < a.y + a.height


def curve(start: Any, stop: Any, right: bool) -> list[tuple[float, float]]:
    """Return points of an arrow between two of its stops."""
    (a, b), (c, d) = start, stop
    middle = [((a + c) / 2, b), ((a + c) / 2, d)] if right else [(a, (b + d) / 2), (c, (b + d) / 2)]
    controls = np.array([start, *middle, stop])
    found = []
    for t in np.linspace(0, 1, 33):
        weights = np.array([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3])
        found.append(tuple(weights @ controls))
    return found


def check_geometry(drawing: Drawing, right: bool = False) -> None:
    """Require that boxes do not overlap, arrows end on their boxes and cross no other, and all lies in the picture."""
    along = 0 if right else 1
    for a, b in combinations(drawing.boxes, 2):
        assert not overlap(a, b)
    for box in drawing.boxes:
        assert 0 < box.x < box.x + box.width < drawing.width and 0 < box.y < box.y + box.height < drawing.height
    for arrow in drawing.arrows:
        source, target = drawing.boxes[arrow.source], drawing.boxes[arrow.target]
        first, last = arrow.points[0], arrow.points[-1]
        leaving = source.x + source.width if right else source.y + source.height
        arriving = target.x if right else target.y
        assert first[along] == pytest.approx(leaving) and last[along] == pytest.approx(arriving)
        for point, box in ((first, source), (last, target)):
            low = box.y if right else box.x
            assert low < point[1 - along] < low + (box.height if right else box.width)
        assert all(a[along] < b[along] + 1e-9 for a, b in pairwise(arrow.points))
        for x, y in [point for a, b in pairwise(arrow.points) for point in curve(a, b, right)]:
            inside = [
                box
                for box in drawing.boxes
                if box.x + 1e-6 < x < box.x + box.width - 1e-6 and box.y + 1e-6 < y < box.y + box.height - 1e-6
            ]
            assert not inside


# --- what is drawn ----------------------------------------------------------------------------------------------------


def test_the_worked_example():
    tensors = worked_example()
    drawing = gradloom.draw_graph(tensors["b"], names=tensors)
    assert connections(drawing) == {
        ("x", "AddBackward0", False),
        ("y", "MulBackward0", False),
        ("MulBackward0", "AddBackward0", False),
        ("AddBackward0", "AddBackward0", False),
        ("z", "DivBackward0", False),
        ("DivBackward0", "AddBackward0", False),
        ("AddBackward0", "b", False),
    }
    kinds = {title(box): box.kind for box in drawing.boxes}
    assert (kinds["x"], kinds["MulBackward0"], kinds["b"]) == ("leaf", "operation", "result")
    assert {"a = x + 2 * y", "z / 2", "shape [2]"} <= set(texts(drawing))
    assert len(drawing.boxes) == 8


def test_values_and_gradients():
    tensors = worked_example()
    tensors["b"].backward(gradloom.ones(2), retain_graph=True)
    found = texts(gradloom.draw_graph(tensors["b"], names=tensors, values=True))
    assert {"= [2., 1.]", "= [4., 7.]", "= [6.5000, 8.0000]", "grad [2., 2.]", "grad [0.5000, 0.5000]"} <= set(found)
    assert not [text for text in texts(gradloom.draw_graph(tensors["b"])) if text.startswith("=")]
    large = gradloom.draw_graph(leaf(np.ones(100)) * 2, values=True)
    assert not [text for text in texts(large) if text.startswith("=")]


def test_constants_are_drawn_with_thin_arrows():
    w, x = leaf([1.0, 2.0]), gradloom.tensor([3.0, 4.0])
    y = (w * x).sum()
    drawing = gradloom.draw_graph(y, names={"w": w, "x": x})
    assert ("x", "MulBackward0", True) in connections(drawing) and ("w", "MulBackward0", False) in connections(drawing)
    assert {title(box): box.kind for box in drawing.boxes}["x"] == "frozen"
    assert "scalar" in texts(drawing)


def test_a_leaf_used_twice_is_one_box_and_two_arrows():
    x = leaf([1.0])
    drawing = gradloom.draw_graph(x * x, names={"x": x})
    assert [title(box) for box in drawing.boxes].count("x") == 1
    assert len([arrow for arrow in drawing.arrows if title(drawing.boxes[arrow.source]) == "x"]) == 2
    ends = {arrow.points[-1] for arrow in drawing.arrows}
    assert len(ends) == 3


def test_several_results_share_their_graph():
    x = leaf([1.0, 2.0])
    s = x.exp()
    drawing = gradloom.draw_graph(s.sum(), s, names={"s": s})
    assert [title(box) for box in drawing.boxes].count("ExpBackward0") == 1
    assert sorted(box.kind for box in drawing.boxes) == ["leaf", "operation", "operation", "result", "result"]


def test_tensors_without_a_graph():
    x, c = leaf([1.0]), gradloom.tensor([[1, 2]])
    drawing = gradloom.draw_graph(x, c, names={"x": x, "c": c})
    assert [(title(box), box.kind) for box in drawing.boxes] == [("x", "leaf"), ("c", "frozen")]
    assert "shape [1, 2] int64" in texts(drawing) and not drawing.arrows
    check_geometry(drawing)


def test_a_graph_that_was_given_up():
    w, x = leaf([1.0, 2.0]), gradloom.tensor([3.0, 4.0])
    loss = (w * x).sum()
    loss.backward()
    drawing = gradloom.draw_graph(loss, names={"w": w, "x": x}, values=True)
    kinds = {title(box): box.kind for box in drawing.boxes}
    assert kinds["MulBackward0"] == "freed" and kinds["w"] == "leaf" and "x" not in kinds
    assert "operation given up by a backward" in texts(drawing)


def test_names_come_from_anywhere():
    named = leaf([1.0])
    named.name = "by attribute"
    other = leaf([1.0])
    drawing = gradloom.draw_graph(named + other, names={"number": 3, "function": len, "other": other})
    assert {title(box) for box in drawing.boxes} == {"by attribute", "other", "AddBackward0", "result"}


def test_a_frozen_parameter_and_a_detached_tensor():
    w, v = leaf([2.0]), leaf([5.0])
    w.requires_grad_(False)
    drawing = gradloom.draw_graph(w * v * v.detach(), names={"w": w, "v": v})
    assert ("w", "MulBackward0", True) in connections(drawing)
    assert [(title(box), box.kind) for box in drawing.boxes].count(("v", "frozen")) == 1


def test_views_and_writes_are_drawn():
    x = leaf([[1.0, 2.0], [3.0, 4.0]])
    y = x * 1
    y[0] = 5.0
    drawing = gradloom.draw_graph(y.sum(), names={"x": x})
    assert "CopySlices" in {title(box) for box in drawing.boxes}
    check_geometry(drawing)


def test_the_place_of_an_operation_is_shown_on_hovering():
    x = leaf([1.0])
    y = x.exp()
    (box,) = (box for box in gradloom.draw_graph(y).boxes if box.kind == "operation")
    assert re.search(r"test_drawing.py:\d+: y = x.exp\(\)$", box.hint)


# --- the text ---------------------------------------------------------------------------------------------------------


def test_the_svg_stands_alone_and_is_the_same_each_time(tmp_path: Path):
    tensors = worked_example()
    first, second = (gradloom.draw_graph(tensors["b"], names=tensors) for _ in range(2))
    assert str(first) == str(second) == first._repr_svg_()
    root = parsed(first)
    assert root.tag == f"{SVG}svg" and root.get("viewBox") == f"0 0 {root.get('width')} {root.get('height')}"
    assert not re.search(r"href|url\(|<style|<script", str(first))
    assert "0x" not in str(first)
    path = tmp_path / "graph.svg"
    first.save(path)
    assert path.read_text(encoding="utf-8") == str(first)
    assert repr(first) == "<Drawing of 8 boxes and 7 arrows>"


@pytest.mark.parametrize("name", ["<b>&\"'", "a\x00b\x1f\ud800\uffff", "权重 α → β", " ", "x" * 200])
def test_any_name_gives_well_formed_svg(name: str):
    x = leaf([1.0])
    drawing = gradloom.draw_graph(x.exp(), names={name: x})
    shown = texts(drawing)
    if len(name) <= 10 and name.isprintable():
        assert name in shown
    assert str(drawing).encode("utf-8")
    assert max(len(text) for text in shown) < 60


def test_every_text_fits_into_its_box():
    x = leaf([1.0])
    drawing = gradloom.draw_graph(x.exp() * 2, names={"权重" * 8: x, "WWWWWWWWWWWWWWWW": x.exp()}, values=True)
    root = parsed(drawing)
    for group in root.iter(f"{SVG}g"):
        rect = group.find(f"{SVG}rect")
        assert rect is not None
        left, width = float(rect.get("x", 0)), float(rect.get("width", 0))
        top, height = float(rect.get("y", 0)), float(rect.get("height", 0))
        for text in group.iter(f"{SVG}text"):
            start, length = float(text.get("x", 0)), float(text.get("textLength", 0))
            assert left + 4 < start < start + length < left + width - 4
            assert top < float(text.get("y", 0)) - 6 and float(text.get("y", 0)) + 3 < top + height
    assert FONTS["title"].width("权重") > FONTS["title"].width("wx") > FONTS["title"].width("il")


def test_long_code_is_shortened_from_the_front():
    x = leaf([1.0])
    number = (x + 1).exp() * (x + 2).exp() * (x + 3).exp() * (x + 4).exp()
    shown = texts(gradloom.draw_graph(number, names={"number": number}))
    assert "number = …(x + 3).exp() * (x + 4).exp()" in shown
    scores = leaf([1.0])
    quotient = scores.exp() / scores.exp().sum()
    assert "….exp() / scores.exp().sum()" in texts(gradloom.draw_graph(quotient))


def test_the_legend_names_what_is_there():
    x = leaf([1.0])
    assert "leaf: a backward adds to its .grad" in texts(gradloom.draw_graph(x.exp()))
    assert "constant: no gradient goes there" not in texts(gradloom.draw_graph(x.exp()))
    bare = gradloom.draw_graph(x.exp(), legend=False)
    assert "result" not in [text for text in texts(bare) if text.startswith("leaf:")]
    assert bare.height < gradloom.draw_graph(x.exp()).height


def test_arrows_in_the_svg_reach_their_boxes():
    """Where the heads point, read from the paths themselves."""
    tensors = worked_example()
    for direction in ("down", "right"):
        drawing = gradloom.draw_graph(tensors["b"], names=tensors, direction=direction)
        paths = [element.get("d", "") for element in parsed(drawing).iter(f"{SVG}path")]
        heads = "".join(path for path in paths if path.endswith("z"))
        tips = {tuple(map(float, pair)) for pair in re.findall(r"M([-\d.]+),([-\d.]+)", heads)}
        assert len(tips) == len(drawing.arrows)
        for arrow in drawing.arrows:
            x, y = arrow.points[-1]
            assert any(abs(x - tip[0]) < 0.06 and abs(y - tip[1]) < 0.06 for tip in tips)


def test_errors():
    with pytest.raises(TypeError, match="at least one tensor"):
        gradloom.draw_graph()
    with pytest.raises(TypeError, match=r"draws tensors, not ndarray"):
        gradloom.draw_graph(np.ones(2))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match='"down" or "right"'):
        gradloom.draw_graph(leaf([1.0]), direction="up")


# --- geometry ---------------------------------------------------------------------------------------------------------


def recurrent(steps: int) -> Any:
    w, u, state = (leaf([[1.0, 0.5], [0.25, 1.0]]) for _ in range(3))
    for _ in range(steps):
        state = (w @ state + u @ gradloom.ones(2, 2)).sin()
    return state.sum()


@pytest.mark.parametrize("direction", ["down", "right"])
@pytest.mark.parametrize("steps", [1, 5])
def test_geometry_of_a_net(direction: str, steps: int):
    check_geometry(gradloom.draw_graph(recurrent(steps), direction=direction), direction == "right")


def random_graph(seed: int, operations: int) -> list[Any]:
    choice = random.Random(seed)
    pool = [leaf([1.0]) for _ in range(choice.randint(1, 4))]
    applied = [lambda a, b: a + b, lambda a, b: a * b, lambda a, b: a.exp(), lambda a, b: a - 1]
    for _ in range(operations):
        pool.append(choice.choice(applied)(choice.choice(pool[-12:]), choice.choice(pool)))
    return pool[-choice.randint(1, 3) :]


@pytest.mark.parametrize("seed", range(12))
def test_geometry_of_random_graphs(seed: int):
    check_geometry(
        gradloom.draw_graph(*random_graph(seed, 4 + 3 * seed), direction="down" if seed % 3 else "right"), not seed % 3
    )


def test_a_chain_is_drawn_straight():
    x = leaf([1.0])
    for _ in range(5):
        x = x.exp()
    drawing = gradloom.draw_graph(x)
    assert all(abs(a[0] - b[0]) < 0.01 for arrow in drawing.arrows for a, b in pairwise(arrow.points))


def test_graphs_that_can_be_drawn_without_crossings_are():
    """A tree of 16 leaves, given in an order that crosses at first."""
    order = [3, 0, 2, 1, 7, 5, 6, 4, 15, 9, 12, 10, 8, 14, 11, 13]
    sizes = [(50.0, 30.0)] * 31
    links = [(order[i], 16 + i // 2) for i in range(16)] + [(16 + i, 24 + i // 2) for i in (1, 0, 6, 3, 7, 2, 4, 5)]
    links += [(24 + i, 28 + i // 2) for i in range(4)] + [(28, 30), (29, 30)]
    layout = arrange(sizes, links)
    segments = [(a, b) for route in layout.routes for a, b in pairwise(route) if a[0] != b[0]]
    for (a, b), (c, d) in combinations(segments, 2):
        if a[1] == c[1]:
            assert (a[0] - c[0]) * (b[0] - d[0]) >= 0


def test_a_circle_is_refused():
    with pytest.raises(ValueError, match="circle"):
        arrange([(10.0, 10.0)] * 2, [(0, 1), (1, 0)])


def test_large_graphs_are_drawn_quickly_and_small():
    result = recurrent(250)
    before = time.perf_counter()
    drawing = gradloom.draw_graph(result)
    text = str(drawing)
    assert time.perf_counter() - before < 10
    assert len(drawing.boxes) > 1000 and len(text) < 2_000_000
    ElementTree.fromstring(text)


def test_very_many_long_arrows_do_not_exhaust_anything():
    """Each of 260 results reads the 100 before it: more places to pass than are kept clear of boxes."""
    layout = arrange([(40.0, 20.0)] * 260, [(i, j) for j in range(260) for i in range(max(0, j - 100), j)])
    assert len(layout.routes) == sum(min(j, 100) for j in range(260))
    assert all(a[1] <= b[1] + 1e-9 for route in layout.routes for a, b in pairwise(route))
