"""Python code generated for one structure, for the two things that happen on every call.

`builder_of` builds a tree from flat results; `picker_of` takes arguments of a known structure
apart. Both do in one or two microseconds what `unflatten` and `flatten` do in five to ten.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from gradloom.tree import DICT, LEAF, LIST, NOTHING, TUPLE, Structure


def builder_of(
    structure: Structure, sources: Sequence[str], constants: Sequence[Any] = ()
) -> Callable[[Any], Any]:
    """Return a compiled function `(v) -> tree`.

    Args:
        structure: what to build.
        sources: one Python expression per leaf, in terms of `v` and of the constants `k0`, `k1`,
            ...
        constants: values that the expressions name.
    """
    names: dict[str, Any] = {f"k{i}": value for i, value in enumerate(constants)}
    body = _source(structure, iter(sources), names)
    return eval(f"lambda v: {body}", names)


def _source(structure: Structure, leaves: Iterator[str], names: dict[str, Any]) -> str:
    if structure is LEAF:
        return next(leaves)
    if structure is NOTHING:
        return "None"
    container, auxiliary, *children = structure
    parts = [_source(child, leaves, names) for child in children]
    if container is LIST:
        return f"[{', '.join(parts)}]"
    if container is TUPLE:
        return f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"
    number = len(names)
    names[f"a{number}"] = auxiliary
    if container is DICT:
        return f"{{{', '.join(f'a{number}[{i}]: {part}' for i, part in enumerate(parts))}}}"
    names[f"j{number}"] = container.join
    return f"j{number}(a{number}, [{', '.join(parts)}])"


def picker_of(
    structure: Structure, keys: Sequence[str]
) -> Callable[[tuple[Any, ...], dict[str, Any]], tuple[list[Any], tuple[Any, ...]]] | None:
    """Return a compiled function `(args, kwargs) -> (leaves, key)` for arguments of `structure`.

    It raises ValueError, KeyError, AttributeError or TypeError when the arguments have another
    structure. Returns None if the structure has containers other than dict, list and tuple.

    Args:
        keys: for each leaf the text of its part of the key, with `{0}` for the leaf.
    """
    writer = _PickWriter()
    _, _, args, kwargs = structure
    if not writer.children("args", args) or not writer.mapping("kwargs", kwargs):
        return None
    parts = [key.format(leaf) for key, leaf in zip(keys, writer.leaves, strict=True)]
    lines = [
        "def pick(args, kwargs):",
        *["    " + line for line in writer.lines],
        f"    return [{', '.join(writer.leaves)}], ({''.join(part + ', ' for part in parts)})",
    ]
    exec("\n".join(lines), writer.names)
    return writer.names["pick"]


class _PickWriter:
    """Writes the statements that take arguments apart, checking their structure."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.leaves: list[str] = []
        self.names: dict[str, Any] = {}
        self.count = 0

    def node(self, name: str, structure: Structure) -> bool:
        if structure is LEAF:
            self.leaves.append(name)
            return True
        if structure is NOTHING:
            self.lines.append(f"if {name} is not None: raise TypeError")
            return True
        container = structure[0]
        if container is DICT:
            self.lines.append(f"if {name}.__class__ is not dict: raise TypeError")
            return self.mapping(name, structure)
        if container is TUPLE or container is LIST:
            self.lines.append(
                f"if {name}.__class__ is not {container.type.__name__}: raise TypeError"
            )
            return self.children(name, structure)
        return False

    def children(self, name: str, structure: Structure) -> bool:
        names = [self.new_name() for _ in structure[2:]]
        self.lines.append(f"[{', '.join(names)}] = {name}")  # ValueError if the number differs
        return all(self.node(*pair) for pair in zip(names, structure[2:], strict=True))

    def mapping(self, name: str, structure: Structure) -> bool:
        keys, children = structure[1], structure[2:]
        if not keys:
            self.lines.append(f"if {name}: raise KeyError")
            return True
        own = f"k{len(self.names)}"
        self.names[own] = keys
        # The order counts too: results have that of the arguments.
        self.lines.append(f"if (*{name},) != {own}: raise KeyError")
        names = [self.new_name() for _ in children]
        self.lines.append(f"[{', '.join(names)}] = {name}.values()")
        return all(self.node(*pair) for pair in zip(names, children, strict=True))

    def new_name(self) -> str:
        self.count += 1
        return f"x{self.count}"
