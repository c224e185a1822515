"""The verifier: every rule is broken once, and the error says where."""

import sys
import time
from collections.abc import Callable

import numpy as np
import pytest

from gradloomc.dialects.func import body_of, finish_function, make_function, return_
from gradloomc.ir import types
from gradloomc.ir.builder import at
from gradloomc.ir.core import Block, Module, Op, Region, Value
from gradloomc.ir.errors import VerifyError
from gradloomc.ir.opdef import OpDef
from gradloomc.ir.parser import parse_module
from gradloomc.ir.printer import print_module
from gradloomc.ir.verifier import excerpt, verify
from harness import dialect

# Function calls to build, verify and print one op; 1.2 ms for 200 ops where a call costs 0.1 us.
CALLS_PER_OP = 60

SOUND = """\
%0 = test.unary %x : f64
%1 = test.add %0, %0 : f64
%2 = test.loop %1 : f64 {
^(%i: f64):
  %3 = test.add %i, %1 : f64
  test.yield %3 : f64
}
func.return %2 : f64
"""


def _module() -> Module:
    return parse_module(dialect.function_text(SOUND, results="f64"), "in.mlir")


def _ops(module: Module) -> list[Op]:
    return body_of(module.block.ops[0]).ops


def test_sound_ir_passes() -> None:
    module = _module()
    verify(module)
    verify(_ops(module)[2])
    verify(Module())


# Each of these breaks one rule; the second item is the message, the third the op it is about.


def _swap(module: Module) -> None:
    ops = _ops(module)
    ops[0], ops[1] = ops[1], ops[0]


def _inner_value_outside(module: Module) -> None:
    loop = _ops(module)[2]
    _ops(module)[3].set_operands(loop.regions[0].block.ops[0].results)


def _value_of_other_function(module: Module) -> None:
    other = make_function("g", [types.f64])
    module.block.append(finish_function(other, body_of(other).arguments))
    _ops(module)[0].set_operands(body_of(other).arguments)


def _wrong_parent(module: Module) -> None:
    _ops(module)[1].parent = Block()


def _wrong_region_parent(module: Module) -> None:
    _ops(module)[2].regions[0].parent = _ops(module)[0]


def _wrong_block_parent(module: Module) -> None:
    _ops(module)[2].regions[0].block.parent = None


def _two_blocks(module: Module) -> None:
    region = _ops(module)[2].regions[0]
    region.blocks.append(Block())


def _wrong_owner(module: Module) -> None:
    _ops(module)[1].results[0].owner = _ops(module)[0]


def _wrong_argument_owner(module: Module) -> None:
    _ops(module)[2].regions[0].block.arguments[0].owner = None


def _early_terminator(module: Module) -> None:
    _ops(module)[0:0] = [Op(return_, (), {}, ())]
    _ops(module)[0].parent = _ops(module)[1].parent


def _no_terminator(module: Module) -> None:
    _ops(module).pop().drop_uses()


def _empty_block(module: Module) -> None:
    loop = _ops(module)[2]
    loop.regions[0].block.remove(lambda op: True)


def _missing_use(module: Module) -> None:
    ops = _ops(module)
    del ops[1].results[0].uses[ops[2]]


def _miscounted_use(module: Module) -> None:
    ops = _ops(module)
    ops[0].results[0].uses[ops[1]] = 1


def _overcounted_use(module: Module) -> None:
    ops = _ops(module)
    ops[0].operands[0].uses[ops[0]] = 2


def _stale_use(module: Module) -> None:
    ops = _ops(module)
    ops[0].results[0].uses[ops[3]] = 1


def _use_by_erased_op(module: Module) -> None:
    ops = _ops(module)
    Op(dialect.unary, ops[0].results, {}, [types.f64])


def _wrong_type(module: Module) -> None:
    _ops(module)[1].results[0].type = types.f32


def _wrong_result_count(module: Module) -> None:
    op = _ops(module)[0]
    op.results.append(Value(types.f64, op, 1))


def _unlike_operands(module: Module) -> None:
    block = body_of(module.block.ops[0])
    with at(block):
        other = dialect.source(type=types.i64)
    block.ops.insert(0, block.ops.pop())
    op = block.ops[2]
    op.set_operands([op.operands[0], other])


def _operand_missing(module: Module) -> None:
    _ops(module)[0].set_operands(())


def _attribute_unknown(module: Module) -> None:
    _ops(module)[1].attributes["speed"] = 3


def _attribute_value(module: Module) -> None:
    _ops(module)[0].attributes["scale"] = (1, (np.float32(2.0),))


def _record_check(module: Module) -> None:
    block = _ops(module)[2].regions[0].block
    block.terminator.kind = return_


def _function_check(module: Module) -> None:
    function = module.block.ops[0]
    function.attributes["function_type"] = types.function((types.f64,), (types.f64,))


def _function_result(module: Module) -> None:
    function = module.block.ops[0]
    signature = function.attributes["function_type"]
    function.attributes["function_type"] = types.function(signature.inputs, (types.i1,))


def _op_outside(module: Module) -> None:
    module.block.append(Op(dialect.source, (), {"type": types.f64}, [types.f64]))


RULES: list[tuple[Callable[[Module], None], str, str]] = [
    (_swap, "uses as operand 0 a value that is not defined before it", "%<undefined>"),
    (_inner_value_outside, "uses as operand 0 a value that is not defined", "func.return"),
    (_value_of_other_function, "uses as operand 0 a value that is not defined", "test.unary"),
    (_wrong_parent, "'test.add' op does not have its block as parent", "test.add"),
    (_wrong_region_parent, "'test.loop' op has a region with another parent", "test.loop"),
    (_wrong_block_parent, "'test.loop' op has a block with another parent", "test.loop"),
    (_two_blocks, "'test.loop' op expects one block in each region", "test.loop"),
    (_wrong_owner, "'test.add' op has a result with another owner", "test.add"),
    (_wrong_argument_owner, "'test.loop' op has a block argument with another owner", "test.loop"),
    (_early_terminator, "'func.return' op must be the last op of its block", "func.return"),
    (_no_terminator, "'test.loop' op is no terminator", "test.loop"),
    (_empty_block, "'test.loop' op expects its block to end in a terminator", "test.loop"),
    (_missing_use, "'test.loop' op is missing in the use list of its operand", "test.loop"),
    (_miscounted_use, "'test.add' op is counted wrongly in the use list", "test.add"),
    (_overcounted_use, "'test.unary' op is counted wrongly in the use list", "test.unary"),
    (_stale_use, "'test.unary' op defines a value with a stale use list", "test.unary"),
    (_use_by_erased_op, "'test.unary' op defines a value with a stale use list", "test.unary"),
    (_wrong_type, "'test.add' op expects to give f64, got f32", "test.add"),
    (_wrong_result_count, "'test.unary' op expects to give f64, got f64, f64", "test.unary"),
    (_unlike_operands, "'test.add' op expects one type, got f64 and i64", "test.add"),
    (_operand_missing, "'test.unary' op does not fit its record: missing a required", "test.unary"),
    (_attribute_unknown, "'test.add' op does not fit its record: got an unexpected", "test.add"),
    (
        _attribute_value,
        "'test.unary' op has no attribute value as 'scale': (1,",
        "cannot be printed",
    ),
    (_record_check, "'test.loop' op expects to end in test.yield", "test.loop"),
    (_function_check, "'func.func' op expects its block arguments to match", "func.func"),
    (_function_result, "'func.func' op expects to end in a func.return", "func.func"),
    (_op_outside, "'test.source' op expects to stand in a function", "test.source"),
]


NAMES = [damage.__name__.strip("_") for damage, _, _ in RULES]


@pytest.mark.parametrize(("damage", "message", "shown"), RULES, ids=NAMES)
def test_every_rule_can_fail(damage: Callable[[Module], None], message: str, shown: str) -> None:
    module = _module()
    damage(module)
    with pytest.raises(VerifyError) as info:
        verify(module)
    assert message in info.value.message
    (note,) = info.value.__notes__
    lines = note.splitlines()
    marks = [i for i, line in enumerate(lines) if line.lstrip().startswith("^^^ ")]
    if marks:
        assert message in lines[marks[0]]
        # The op stands above the message, at the same depth.
        depth = len(lines[marks[0]]) - len(lines[marks[0]].lstrip())
        above = [line for line in lines[: marks[0]] if len(line) - len(line.lstrip()) == depth]
        assert any(shown in line for line in above[-4:])
    else:
        assert shown in note


def test_the_error_reads_like_this() -> None:
    module = _module()
    _wrong_type(module)
    with pytest.raises(VerifyError) as info:
        verify(module)
    assert str(info.value) == (
        "in.mlir:3:8: error: 'test.add' op expects to give f64, got f32\n"
        "    3 |   %1 = test.add %0, %0 : f64\n"
        "      |        ^^^^^^^^"
    )
    assert info.value.__notes__ == [
        "func.func @f(%x: f64, %y: f64) -> f64 {\n"
        "  %0 = test.unary %x : f64\n"
        "  %1 = test.add %0, %0 : (f64, f64) -> f32\n"
        "  ^^^ 'test.add' op expects to give f64, got f32\n"
        "  %2 = test.loop %1 : (f32) -> f64 {\n"
        "  ^(%i: f64):\n"
        "    %3 = test.add %i, %1 : (f64, f32) -> f64\n"
        "    test.yield %3 : f64\n"
        "  }\n"
        "  func.return %2 : f64\n"
        "}"
    ]


def test_the_excerpt_of_a_long_function_is_short() -> None:
    lines = [f"%v{i} = test.unary %x : f64" for i in range(100)]
    module = parse_module(dialect.function_text("\n".join([*lines, "func.return"])))
    text = excerpt(_ops(module)[50], "here").splitlines()
    assert text[0].startswith("func.func @f(") and text[1] == text[-1] == "  ..."
    assert text[2] == "  %v40 = test.unary %x : f64"
    assert text[12:14] == ["  %v50 = test.unary %x : f64", "  ^^^ here"]
    assert text[-2] == "  %v60 = test.unary %x : f64"
    assert len(text) == 2 + 21 + 1 + 1


def test_duplicate_functions() -> None:
    text = "func.func @f() {\n  func.return\n}\n"
    with pytest.raises(VerifyError, match="redefinition of function 'f'") as info:
        verify(parse_module(text + text))
    assert info.value.notes[0][0] == "the first one is here"


def test_a_rule_that_crashes_is_an_error_of_the_op() -> None:
    crash = OpDef("test.crash", "A rule that only knows tensors.", type_rule=lambda x: x.shape)
    module = Module()
    function = make_function("f", [types.f64])
    block = body_of(function)
    block.append(Op(crash, block.arguments, {}, ()))
    module.block.append(finish_function(function, []))
    with pytest.raises(VerifyError, match=r"'test.crash' op cannot take f64: .*no attribute"):
        verify(module)


def test_a_lone_op_can_be_verified() -> None:
    region = Region(Block())
    with at(region.block):
        value = dialect.source(type=types.f64)
        dialect.yield_.build([value], {})
    verify(Op(dialect.loop, (), {}, (), regions=[region]))


def test_values_used_many_times() -> None:
    concat = OpDef("test.concat", "Any number of operands.", type_rule=lambda *types: types[0])
    module = Module()
    function = make_function("f", [types.f64, types.f64])
    block = body_of(function)
    x, y = block.arguments
    with at(block):
        joined = concat(*([x] * 500), *([y] * 499), x)
    module.block.append(finish_function(function, [joined]))
    verify(module)
    assert print_module(parse_module(print_module(module))) == print_module(module)


def _chain(count: int) -> Op:
    """A function of `count` ops, in the tracer's way: records called as constructors."""
    function = make_function("chain", [types.tensor((1024,), types.f64)] * 2, ["x", "y"])
    block = body_of(function)
    x, y = block.arguments
    with at(block):
        for _ in range(count // 2):
            x = dialect.unary(x)
            y = dialect.add(x, y)
    return finish_function(function, [y])


def test_cost_is_linear_and_small(record_property: Callable[[str, object], None]) -> None:
    """Build, verify and print: their calls, of C and Python functions, are few for each op and linear in the ops."""

    def work(count: int) -> None:
        module = Module([_chain(count)])
        verify(module)
        print_module(module)

    def calls(count: int) -> int:
        made = 0

        def note(frame: object, event: str, argument: object) -> None:
            nonlocal made
            made += event in ("call", "c_call")

        sys.setprofile(note)
        try:
            work(count)
        finally:
            sys.setprofile(None)
        return made

    work(200)  # types and constants are made once
    small, large = calls(200), calls(2000)
    start = time.perf_counter()
    work(200)
    record_property("build_verify_print_200_ms", (time.perf_counter() - start) * 1e3)
    assert large < 10.5 * small
    assert small < 200 * CALLS_PER_OP
