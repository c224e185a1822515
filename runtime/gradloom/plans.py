"""Plans of user functions: from the structure of a call and of its result to tables for the native entry.

A plan answers calls of one kind: so many arguments, by position or by these names, of these structures, types and
shapes. Named tuples, dataclasses and other objects with a dict are read natively as arguments. As results, and so all
other containers, Python builds them from the flat ones; as arguments the others take the general path.
"""

from collections.abc import Iterator, Sequence
from types import MemberDescriptorType, SimpleNamespace
from typing import Any

import numpy as np

from gradloom.exec.layout import member_offset
from gradloom.exec.tables import Arguments, Building, State, Table
from gradloom.program import Fixed, Program, Result
from gradloom.signature import Leaf
from gradloom.tree import DICT, LEAF, LIST, NOTHING, TUPLE, Container, Structure, count_leaves, flatten
from gradloomc.ir.builder import open_insertions
from gradloomc.ir.types import f64, tensor

INTO = "<out>"  # stands in an order for what results are written into
_SEQUENCES = {id(TUPLE): tuple, id(LIST): list}


def make_plan(
    program: Program,
    leaves: Sequence[Any],
    order: Sequence[int | str] | None,
    keywords: Sequence[str],
    state: State,
    bound: Sequence[Any] = (),
    bound_order: Sequence[int | str] = (),
    into: tuple[Any, Result] | None = None,
) -> Table | None:
    """Return the plan of calls like one that `program` just answered, or None if native code cannot take them.

    Args:
        leaves: the leaves of that call.
        order: where each argument of the call went, see `Parameters.order`.
        keywords: the names of the last of them, which came by keyword.
        state: of the user's function.
        bound, bound_order: what is passed in every call without saying so, and where it goes.
        into: what results were written into, and which part of the result that is; `order` says `INTO` for it.
    """
    native = program.executable.native
    if native is None or order is None or program.stale or any(map(_is_unusual, leaves)):
        return None
    form = program.form
    children = _children(form.structure)
    if {*order, *bound_order} - {INTO} != set(children):
        return None
    arguments, taken = Arguments(native.types), Arguments(native.types)
    for records, places in ((arguments, order), (taken, bound_order)):
        for which in places:
            if which == INTO:
                given, part = into if into is not None else (None, program.result)
                if len(set(part.slots)) < len(part.slots):  # two arrays for one result
                    return None
                if not _describe_places(records, part.structure, given, iter(part.slots), native.results):
                    return None
                continue
            first, structure = children[which]
            described = enumerate(form.leaves[first:], first)
            if not _describe(records, structure, described, form.position):
                return None
    return _plan(program, arguments, len(order), keywords, program.result, state, (taken, bound) if bound else None)


def make_product_plan(
    program: Program,
    primals: Sequence[Any],
    leaves: Sequence[Any],
    tangents: Sequence[Any],
    result: Result | None,
    state: State,
) -> Table | None:
    """Return the plan of calls `(primals, tangents)` like one that `program` just answered, or None.

    Args:
        primals, tangents: what was passed.
        leaves: those of the primals.
        result: what is returned, in terms of the program's results; None if native code cannot say that.
        state: of the function that is differentiated.
    """
    native = program.executable.native
    if native is None or result is None or program.stale or any(map(_is_unusual, leaves)):
        return None
    form = program.form
    children = _children(form.structure)
    if [*children] != [*range(len(primals))] or not {type(primals), type(tangents)} <= {tuple, list}:
        return None
    arguments = Arguments(native.types)
    arguments.sequence(type(primals), len(primals))
    described = iter(enumerate(form.leaves))
    if not all(_describe(arguments, child, described, form.position) for _, child in children.values()):
        return None
    arguments.sequence(type(tangents), len(tangents))
    slot = len(form.position) + len(form.captured)
    for tangent, (first, child) in zip(tangents, children.values(), strict=True):
        seeds, structure = flatten(tangent)
        if structure is not NOTHING and (structure != child or any(map(_is_unusual, seeds))):
            return None  # parts of it are left out, or it has another order
        known = [Leaf(form.leaves[first + k].type, weak=type(seed) is float) for k, seed in enumerate(seeds)]
        places = {k: slot + k for k in range(len(seeds))}
        if any(leaf.weak and native.types[slot + k][1] != np.float64 for k, leaf in enumerate(known)):
            return None
        if not _describe(arguments, structure, iter(enumerate(known)), places):
            return None
        slot += len(seeds)
    return _plan(program, arguments, 2, (), result, state)


def make_map_plan(program: Program, arrays: int, given: Any, expected: Structure, state: State) -> Table | None:
    """Return the plan of calls `(arrays, seeds)` like one that `program` just answered, or None.

    Args:
        arrays: how many there are, in a tuple.
        given: the seeds that were passed; `expected` is the structure that they have where none is left out.
        state: of the function that is differentiated.
    """
    native = program.executable.native
    seeds, structure = flatten(given)
    if program.stale or structure != expected or len(seeds) != len(native.types) - arrays:
        return None
    if any(_is_unusual(seed) or not isinstance(seed, (np.ndarray, np.generic, float)) for seed in seeds):
        return None
    arguments = Arguments(native.types)
    arguments.sequence(tuple, arrays)
    for slot in range(arrays):
        arguments.array(slot)
    weak = [type(seed) is float for seed in seeds]
    if any(is_weak and native.types[arrays + k][1] != np.float64 for k, is_weak in enumerate(weak)):
        return None
    known = [Leaf(tensor((), f64), weak=is_weak) for is_weak in weak]  # of the types only that there is one matters
    places = {k: arrays + k for k in range(len(seeds))}
    if not _describe(arguments, structure, iter(enumerate(known)), places):
        return None
    return _plan(program, arguments, 2, (), program.result, state)


def _plan(
    program: Program,
    arguments: Arguments,
    count: int,
    keywords: Sequence[str],
    result: Result,
    state: State,
    bound: tuple[Arguments, Sequence[Any]] | None = None,
) -> Table | None:
    native, form = program.executable.native, program.form
    building, finish = _building(result, native.results), program.after
    if building is None:
        if result is not program.result:
            return None
        building, finish = Building(native.results, scalars=False), program.finish_all
        for k in range(len(native.results)):
            building.result(k)
        building.sequence(tuple, len(native.results))
    return native.plan(
        arguments,
        count,
        building,
        state,
        captured=form.captured,
        captured_slot=len(form.position),
        bound=bound,
        keywords=keywords,
        serial=id(program),
        tracing=open_insertions,
        finish=finish,
    )


def _describe_places(
    arguments: Arguments, structure: Structure, given: Any, slots: Iterator[Any], results: Sequence[Any]
) -> bool:
    """Write the records of arrays that results are written into; return whether native code can take them."""
    if given is None:
        arguments.fixed(None)
        for _ in range(count_leaves(structure)):
            next(slots)
        return True
    if structure is LEAF:
        slot = next(slots)
        if isinstance(slot, Fixed):
            return False
        arguments.written_array(*results[slot])
        return True
    container, auxiliary, *children = structure
    parts, names = container.split(given)
    if container is DICT:
        if names != auxiliary:
            return False
        arguments.dict(auxiliary)
    elif id(container) in _SEQUENCES or _is_named_tuple(container):
        arguments.sequence(container.type, len(children))
    else:
        return False
    pairs = zip(children, parts, strict=True)
    return all(_describe_places(arguments, child, part, slots, results) for child, part in pairs)


def _children(structure: Structure) -> dict[int | str, tuple[int, Structure]]:
    """Return the structure of each argument of a call and its first leaf, by position or name."""
    _, _, args, kwargs = structure
    found: dict[int | str, tuple[int, Structure]] = {}
    first = 0
    for which, child in [*enumerate(args[2:]), *zip(kwargs[1], kwargs[2:], strict=True)]:
        found[which] = first, child
        first += count_leaves(child)
    return found


def _is_unusual(leaf: Any) -> bool:
    """Tell whether a leaf is an array that native code would not take: of another byte order, or of a subclass."""
    if isinstance(leaf, np.ndarray):
        return type(leaf) is not np.ndarray or not leaf.dtype.isnative
    return isinstance(leaf, slice)  # equal ones are not the same object


def _describe(
    arguments: Arguments, structure: Structure, leaves: Iterator[tuple[int, Leaf]], position: dict[int, int]
) -> bool:
    """Write the records of one argument; return whether native code can take it."""
    if structure is NOTHING:
        arguments.fixed(None)
        return True
    if structure is LEAF:
        i, leaf = next(leaves)
        if leaf.type is None:
            arguments.fixed(leaf.value)
        elif leaf.weak:
            arguments.number(position[i], float)
        else:
            arguments.array(position[i])
        return True
    container, auxiliary, *children = structure
    if container is DICT:
        arguments.dict(auxiliary)
    elif id(container) in _SEQUENCES:
        arguments.sequence(_SEQUENCES[id(container)], len(children))
    elif _is_named_tuple(container):
        arguments.sequence(container.type, len(children))
    elif _is_plain_record(container, auxiliary):
        arguments.instance(container.type, auxiliary)
    elif (offsets := _offsets(container, auxiliary)) is not None:
        arguments.members(container.type, offsets)
    else:
        return False
    return all(_describe(arguments, child, leaves, position) for child in children)


def _is_named_tuple(container: Container) -> bool:
    """Tell whether instances are tuples whose parts are their items."""
    cls = container.type
    return (
        not container.registered
        and issubclass(cls, tuple)
        and hasattr(cls, "_fields")
        and cls.__iter__ is tuple.__iter__
    )


def _is_plain_record(container: Container, names: Sequence[str]) -> bool:
    """Tell whether the parts of an instance are what stands in its dict: no property comes before it."""
    cls = container.type
    return (
        container.record
        and not container.registered
        and cls.__getattribute__ in (object.__getattribute__, SimpleNamespace.__getattribute__)
        and cls.__dictoffset__ != 0
        and not any(hasattr(type(vars(base).get(name)), "__set__") for base in cls.__mro__ for name in names)
    )


def _offsets(container: Container, names: Sequence[str]) -> list[int] | None:
    """Return where instances keep these attributes; None if they are not all that there is, or not all in slots."""
    cls = container.type
    if not container.record or container.registered or cls.__dictoffset__ != 0:
        return None
    if cls.__getattribute__ is not object.__getattribute__:
        return None
    slots = [name for base in cls.__mro__ for name, each in vars(base).items() if type(each) is MemberDescriptorType]
    if sorted(slots) != sorted(names):
        return None
    return [member_offset(getattr(cls, name)) for name in names]


def _building(result: Result, results: Sequence[Any]) -> Building | None:
    building = Building(results, scalars=True)
    return building if _build(building, result.structure, iter(result.slots)) else None


def _build(building: Building, structure: Structure, slots: Iterator[Any]) -> bool:
    """Write what builds one tree; return whether native code can."""
    if structure is NOTHING:
        building.constant(None)
        return True
    if structure is LEAF:
        slot = next(slots)
        if isinstance(slot, Fixed):
            building.constant(slot.value)
        else:
            building.result(slot)
        return True
    container, auxiliary, *children = structure
    if container is not DICT and id(container) not in _SEQUENCES:
        return False
    if not all(_build(building, child, slots) for child in children):
        return False
    if container is DICT:
        building.dict(auxiliary)
    else:
        building.sequence(_SEQUENCES[id(container)], len(children))
    return True
