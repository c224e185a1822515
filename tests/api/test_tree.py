"""Containers: flatten and unflatten are inverse, structures are keys, messages name the place."""

import collections
import functools
import types
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradloom import register_container
from gradloom.tree import (
    count_leaves,
    flatten,
    flatten_like,
    leaf_paths,
    settings_leaves,
    unflatten,
)
from gradloom.tree_code import builder_of, picker_of
from gradloomc.ir.errors import ShapeError, UnsupportedError


class Point(NamedTuple):
    x: Any
    y: Any


@dataclass
class Layer:
    w: Any
    b: Any = None
    name: str = "layer"
    width: int = field(default=3)


@dataclass(frozen=True, slots=True)
class Frozen:
    a: Any
    b: Any


class Plain:
    def __init__(self, w: Any):
        self.w = w
        self.settings = {"rate": 0.5}


class Slotted:
    __slots__ = ("a", "b")

    def __init__(self, a: Any):
        self.a = a


class Mode(dict[str, Any]):
    pass


leaves_strategy = st.one_of(st.floats(allow_nan=False), st.integers(), st.text(max_size=3))
trees = st.recursive(
    st.one_of(leaves_strategy, st.none()),
    lambda children: st.one_of(
        st.lists(children, max_size=3),
        st.lists(children, max_size=3).map(tuple),
        st.dictionaries(st.one_of(st.text(max_size=3), st.integers()), children, max_size=3),
        st.builds(Point, children, children),
        st.builds(Frozen, children, children),
        st.dictionaries(st.text(max_size=2), children, max_size=2).map(collections.OrderedDict),
    ),
    max_leaves=12,
)


@given(trees)
def test_unflatten_is_the_inverse_of_flatten(tree: Any) -> None:
    leaves, structure = flatten(tree)
    assert unflatten(structure, leaves) == tree
    assert type(unflatten(structure, leaves)) is type(tree)
    assert count_leaves(structure) == len(leaves) == len(leaf_paths(structure))
    assert flatten_like(structure, tree, "tree") == leaves
    sources = [f"v[{i}]" for i in range(len(leaves))]
    assert builder_of(structure, sources)(leaves) == tree
    hash(structure)


@given(trees, trees)
def test_a_picker_takes_only_its_own_structure(tree: Any, other: Any) -> None:
    leaves, structure = flatten(((tree,), {}))
    pick = picker_of(structure, ["{0}"] * len(leaves))
    if pick is None:
        return
    assert pick((tree,), {}) == (leaves, tuple(leaves))
    _, other_structure = flatten(((other,), {}))
    if other_structure != structure and not _has_more_containers(other):
        with pytest.raises((KeyError, TypeError, ValueError)):
            pick((other,), {})


def _has_more_containers(tree: Any) -> bool:
    """A picker leaves it to the key to tell a leaf from a container in its place."""
    return tree is None or not isinstance(tree, (float, int, str))


@pytest.mark.parametrize(
    "tree",
    [
        Layer(np.ones(3), np.zeros(2)),
        Frozen(1.0, {"a": 2.0}),
        Plain(np.ones(2)),
        Slotted(4.0),
        types.SimpleNamespace(a=1.0, b=[2.0]),
        functools.partial(max, 3.0, key=None),
        collections.defaultdict(list, a=[1.0]),
        collections.OrderedDict(b=1.0, a=2.0),
        Mode(a=1.0),
    ],
    ids=lambda tree: type(tree).__name__,
)
def test_every_kind_of_container_comes_back(tree: Any) -> None:
    leaves, structure = flatten(tree)
    again = unflatten(structure, leaves)
    assert type(again) is type(tree)
    back, same = flatten(again)
    assert same == structure
    assert all(a is b for a, b in zip(leaves, back, strict=True))


def test_the_order_of_a_dict_is_kept() -> None:
    leaves, structure = flatten({"b": 1, "a": 2})
    assert leaves == [1, 2]
    assert list(unflatten(structure, leaves)) == ["b", "a"]


def test_attributes_added_to_a_dataclass_are_parts_too() -> None:
    layer = Layer(1.0)
    layer.scale = 2.0  # type: ignore[attr-defined]
    leaves, structure = flatten(layer)
    assert leaves == [1.0, "layer", 3, 2.0]
    assert unflatten(structure, leaves).scale == 2.0


def test_paths_name_the_place() -> None:
    _, structure = flatten({"layers": [Layer(1.0, 2.0)], "p": Point(1.0, 2.0)})
    assert leaf_paths(structure, "params") == [
        "params['layers'][0].w",
        "params['layers'][0].b",
        "params['layers'][0].name",
        "params['layers'][0].width",
        "params['p'].x",
        "params['p'].y",
    ]


def test_fields_of_dataclasses_and_objects_are_settings() -> None:
    _, structure = flatten([Layer(1.0, 2.0), (3, {"a": 4})])
    assert settings_leaves(structure) == [True, True, True, True, False, False]


def test_flatten_like_takes_another_order_of_keys() -> None:
    _, structure = flatten({"a": 1.0, "b": 2.0})
    assert flatten_like(structure, {"b": 20, "a": 10}, "x") == [10, 20]


def test_flatten_like_fills_in_for_none() -> None:
    _, structure = flatten({"a": 1.0, "b": (2.0, 3.0)})
    assert flatten_like(structure, {"a": 5, "b": None}, "x", absent=0) == [5, 0, 0]
    assert flatten_like(structure, None, "x", absent=0) == [0, 0, 0]


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"a": 1.0}, r"t should have the parts \['a'\], \['b'\], not \['a'\]"),
        ([1.0, 2.0], "t should be a dict, not a list"),
        ({"a": [1.0], "b": 2.0}, r"t\['a'\] should be an array, not a list"),
    ],
)
def test_flatten_like_names_the_difference(tree: Any, message: str) -> None:
    _, structure = flatten({"a": 1.0, "b": 2.0})
    with pytest.raises(ShapeError, match=message):
        flatten_like(structure, tree, "t")


def test_a_container_that_contains_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(UnsupportedError, match="contains itself"):
        flatten(loop)


def test_register_container() -> None:
    class Pair:
        def __init__(self, left: Any, right: Any, label: str):
            self.left, self.right, self.label = left, right, label

        def __hash__(self) -> int:
            return 0

        def __eq__(self, other: object) -> bool:
            return self is other

    pair = Pair(1.0, 2.0, "p")
    assert flatten(pair)[0] == [pair]  # it defines a hash: a leaf
    register_container(
        Pair, lambda p: ((p.left, p.right), p.label), lambda label, c: Pair(c[0], c[1], label)
    )
    leaves, structure = flatten(pair)
    assert leaves == [1.0, 2.0]
    assert unflatten(structure, [3.0, 4.0]).label == "p"
    with pytest.raises(ValueError, match="registered already"):
        register_container(Pair, lambda p: ((), None), lambda a, c: None)
    with pytest.raises(ValueError, match="registered already"):
        register_container(dict, lambda p: ((), None), lambda a, c: None)
