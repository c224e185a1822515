"""Checks that IR is well formed: structure first, then each op against its record.

Structure is parents, terminators, definitions before uses, and use lists that agree with the
operands. An op's types are checked by running its record's type rule once more and comparing, so
there is no second statement of any rule. The first fault is raised as a VerifyError that carries
the function with the message under the op at fault. One linear walk; start reading at `verify`.
"""

import inspect
from typing import NoReturn

from gradloomc.ir.attributes import Dense
from gradloomc.ir.core import Block, Module, Op, Value
from gradloomc.ir.errors import GradloomError, VerifyError
from gradloomc.ir.location import Location
from gradloomc.ir.printer import Printer, outermost
from gradloomc.ir.types import Type

_CONTEXT = 10  # how many ops before and after the one at fault are shown


def verify(subject: Module | Op) -> None:
    """Check a module, or the whole function in which an op stands.

    Raises:
        VerifyError: the IR breaks a rule; the exception's note shows where within the function.
    """
    if isinstance(subject, Op):
        _verify_function(outermost(subject))
        return
    names: dict[str, Op] = {}
    for op in subject.block.ops:
        name = op.attributes.get("sym_name")
        if not isinstance(name, str):
            _fail(op, f"'{op.name}' op expects to stand in a function")
        if name in names:
            first = ("the first one is here", names[name].location)
            raise VerifyError(f"redefinition of function '{name}'", op.location, (first,))
        names[name] = op
        if op.parent is not subject.block:
            _fail(op, f"'{op.name}' op does not have the module as its parent")
        _verify_function(op)


def _verify_function(op: Op) -> None:
    walk = _Walk()
    for operand in op.operands:  # of a lone op, whose operands are defined somewhere else
        walk.visible.add(operand)
    walk.op(op)
    walk.check_use_lists(op)


class _Walk:
    """The state of one walk: values visible so far, and counts that prove the use lists right."""

    __slots__ = ("entries", "users", "visible")

    def __init__(self) -> None:
        self.visible: set[Value] = set()
        self.users = 0  # pairs (op, value that it uses), counted over operands
        self.entries = 0  # the same pairs, counted over use lists

    def op(self, op: Op) -> None:
        for region in op.regions:
            if region.parent is not op:
                _fail(op, f"'{op.name}' op has a region with another parent")
            if len(region.blocks) != 1:
                _fail(op, f"'{op.name}' op expects one block in each region")
            block = region.blocks[0]
            if block.parent is not region:
                _fail(op, f"'{op.name}' op has a block with another parent")
            self.block(block, op)
        _verify_types(op)
        if op.kind.verify is not None:
            _verify_record(op)

    def block(self, block: Block, parent: Op) -> None:
        visible = self.visible
        defined: list[Value] = list(block.arguments)
        for i, argument in enumerate(defined):
            if argument.owner is not block or argument.index != i:
                _fail(parent, f"'{parent.name}' op has a block argument with another owner")
            self.entries += len(argument.uses)
        visible.update(defined)
        last = len(block.ops) - 1
        if last < 0:
            _fail(parent, f"'{parent.name}' op expects its block to end in a terminator")
        users = entries = 0
        for i, op in enumerate(block.ops):
            if op.parent is not block:
                _fail(op, f"'{op.name}' op does not have its block as parent")
            operands = op.operands
            distinct = dict.fromkeys(operands) if len(operands) > 1 else operands
            for operand in distinct:
                if operand not in visible:
                    _undefined(op, operand)
                if operand.uses.get(op) != 1:
                    _verify_count(op, operand)
            if len(distinct) != len(operands):
                for operand in distinct:
                    _verify_count(op, operand)
            users += len(distinct)
            kind = op.kind
            if ("terminator" in kind.tags) is not (i == last):
                place = "must be the last op of its block" if i != last else "is no terminator"
                _fail(op, f"'{op.name}' op {place}")
            if op.regions:
                self.op(op)
            else:
                _verify_types(op)
                if kind.verify is not None:
                    _verify_record(op)
            for result in op.results:
                visible.add(result)
                entries += len(result.uses)
                if result.owner is not op:
                    _fail(op, f"'{op.name}' op has a result with another owner")
                defined.append(result)
        self.users += users
        self.entries += entries
        visible.difference_update(defined)

    def check_use_lists(self, op: Op) -> None:
        """Each operand is in its use list; that nothing else is follows from the counts."""
        if self.entries == self.users:
            return
        for user in op.walk():
            values = [
                *user.results,
                *(value for region in user.regions for value in region.blocks[0].arguments),
            ]
            for value in values:
                for other in value.uses:
                    if value not in other.operands or outermost(other) is not op:
                        _fail(user, f"'{user.name}' op defines a value with a stale use list")
        _fail(op, f"'{op.name}' op has use lists that do not agree with its operands")


def _verify_count(op: Op, operand: Value) -> None:
    if op not in operand.uses:
        _fail(op, f"'{op.name}' op is missing in the use list of its operand")
    if operand.uses[op] != op.operands.count(operand):
        _fail(op, f"'{op.name}' op is counted wrongly in the use list of its operand")


def _verify_types(op: Op) -> None:
    """Run the type rule on the operands and compare with the results."""
    kind, results = op.kind, op.results
    for name, value in op.attributes.items():
        if not _is_attribute(value):
            _fail(op, f"'{op.name}' op has no attribute value as '{name}': {value!r}")
    try:
        types = kind.type_rule(*[operand.type for operand in op.operands], **op.attributes)
    except GradloomError as error:
        message = error.message
        _fail(op, message if op.name in message else f"'{op.name}' op: {message}", error)
    except Exception as error:
        _fail(op, _rule_failure(op, error), error)
    if isinstance(types, Type):
        if len(results) == 1 and results[0].type is types:
            return
        types = (types,)
    elif len(types) == len(results):
        for result, type in zip(results, types, strict=True):
            if result.type is not type:
                break
        else:
            return
    expected = ", ".join(map(str, types)) or "no result"
    actual = ", ".join([str(result.type) for result in results]) or "none"
    _fail(op, f"'{op.name}' op expects to give {expected}, got {actual}")


def _is_attribute(value: object) -> bool:
    """Whether a value has a text, and with it a place in IR (attributes.py lists what does)."""
    if isinstance(value, tuple):
        return all(map(_is_attribute, value))
    return value is None or isinstance(value, int | float | str | Dense | Type)


def _rule_failure(op: Op, error: Exception) -> str:
    """Say why a type rule could not even be run: wrong count or kind of operands or attributes."""
    types = [operand.type for operand in op.operands]
    try:
        inspect.signature(op.kind.type_rule).bind(*types, **op.attributes)
    except TypeError as mismatch:
        return f"'{op.name}' op does not fit its record: {mismatch}"
    except ValueError:  # a rule without a signature (a C function)
        pass
    given = ", ".join(map(str, types)) or "no operands"
    return f"'{op.name}' op cannot take {given}: {error}"


def _verify_record(op: Op) -> None:
    """Run the record's own check."""
    assert op.kind.verify is not None
    try:
        op.kind.verify(op)
    except VerifyError as error:
        _fail(op, error.message, error)
    except Exception as error:
        _fail(op, f"'{op.name}' op is malformed: {error}", error)


def _undefined(op: Op, operand: Value) -> NoReturn:
    number = next(i for i, other in enumerate(op.operands) if other is operand)
    owner = operand.owner
    message = f"'{op.name}' op uses as operand {number} a value that is not defined before it"
    if isinstance(owner, Op):
        raise _error(op, message, ((f"it is the result of this '{owner.name}'", owner.location),))
    _fail(op, message)


def _fail(op: Op, message: str, cause: Exception | None = None) -> NoReturn:
    if isinstance(cause, GradloomError):
        raise _error(op, message, cause.notes, cause.fix) from cause
    raise _error(op, message) from cause


def _error(
    op: Op, message: str, notes: tuple[tuple[str, Location], ...] = (), fix: str = ""
) -> VerifyError:
    error = VerifyError(message, op.location, notes, fix)
    error.add_note(excerpt(op, message))
    return error


def excerpt(op: Op, message: str) -> str:
    """Return the text around an op, at most ten ops before and after, the message below the op."""
    spans: dict[Op, tuple[int, int]] = {}
    printer = Printer(generic=False, locations=False, spans=spans)
    try:
        printer.op(outermost(op), "")
    except Exception as problem:
        return f"(the function cannot be printed: {problem})"
    if op not in spans:
        return "(the op is not in the block that is its parent)"
    start, end = spans[op]
    lines = printer.lines
    # Lines stand for ops here; a nested op shows itself and its neighbours of any depth.
    first, after = max(0, start - _CONTEXT), min(len(lines), end + _CONTEXT)
    if end - start > 2 * _CONTEXT:  # an op with a long body: its head says enough
        end = start + 1
        after = min(len(lines), end + _CONTEXT)
    indent = " " * (len(lines[start]) - len(lines[start].lstrip()))
    shown = [*lines[first:end], f"{indent}^^^ {message}", *lines[end:after]]
    if first:
        head = [lines[0], "  ..."] if first > 1 else [lines[0]]
        shown = [*head, *shown]
    if after < len(lines):
        shown.append("  ..." if after < len(lines) - 1 else lines[-1])
    return "\n".join(shown)
