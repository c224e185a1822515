"""xDSL, an independent implementation of MLIR's syntax, parses what we print in the generic form.

It is compared what xDSL understood: the ops with their operands and types, the attributes' values.
"""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from xdsl.context import Context
from xdsl.dialects import builtin
from xdsl.dialects.builtin import Builtin
from xdsl.dialects.func import Func
from xdsl.ir import Operation
from xdsl.parser import Parser
from xdsl.printer import Printer

from gradloomc.ir import types
from gradloomc.ir.attributes import Dense
from gradloomc.ir.core import Module
from gradloomc.ir.location import UNKNOWN
from gradloomc.ir.parser import parse_module
from gradloomc.ir.printer import print_attribute, print_module
from gradloomc.ir.verifier import verify
from gradloomc.passes.pipeline import Pipeline
from gradloomc.tools.gradloom_opt import load_dialects

FILECHECK = Path(__file__).resolve().parents[1] / "filecheck"


def _xdsl(text: str) -> builtin.ModuleOp:
    """Parse with xDSL, which knows `builtin` and `func` and takes every other op as it stands."""
    context = Context(allow_unregistered=True)
    context.load_dialect(Builtin)
    context.load_dialect(Func)
    module = Parser(context, text).parse_module()
    module.verify()
    return module


def _name(operation: Operation) -> str:
    if isinstance(operation, builtin.UnregisteredOp):
        return operation.op_name.data
    return operation.name


def _outline(module: Module) -> list[Any]:
    """(name, operand types, result types, number of nested ops) of every op of ours."""
    return [
        (
            op.name,
            [str(value.type) for value in op.operands],
            [str(value.type) for value in op.results],
            sum(1 for _ in op.walk()),
        )
        for op in module.walk()
    ]


def _xdsl_outline(module: builtin.ModuleOp) -> list[Any]:
    return [
        (
            _name(op),
            [str(value.type) for value in op.operands],
            [str(value.type) for value in op.results],
            sum(1 for _ in op.walk()),
        )
        for op in module.walk()
        if op is not module
    ]


def _agrees(module: Module) -> None:
    verify(module)
    for locations in (False, True):
        read = _xdsl(print_module(module, generic=True, locations=locations))
        assert _xdsl_outline(read) == _outline(module)
    # And back: what xDSL prints, we read as the same program.
    stream = io.StringIO()
    Printer(stream, print_generic_format=True).print_op(read)
    body = stream.getvalue()
    inner = body[body.index("({") + 2 : body.rindex("})")]
    again = parse_module(inner)
    verify(again)
    assert _outline(again) == _outline(module)


@pytest.mark.parametrize("name", ["elementwise", "shape", "typed"])
def test_every_nd_op(name: str) -> None:
    load_dialects()
    _agrees(parse_module((FILECHECK / "nd" / f"{name}.mlir").read_text(encoding="utf-8")))


ELEMENTWISE = """
func.func @loss(%w: tensor<16xf64>, %y: tensor<16xf64>) -> tensor<f64> {
  %0 = nd.sub %w, %y : tensor<16xf64>
  %1 = nd.tanh %0 : tensor<16xf64>
  %2 = nd.mul %1, %1 : tensor<16xf64>
  %3 = nd.reduce_sum %2 {axes = array<i64: 0>} : (tensor<16xf64>) -> tensor<f64>
  func.return %3 : tensor<f64>
}
"""


PRODUCT = """
func.func @loss(%w: tensor<16xf64>, %x: tensor<8x16xf64>, %y: tensor<8xf64>) -> tensor<f64> {
  %0 = nd.dot %x, %w {x_batch = array<i64>, x_contract = array<i64: 1>, y_batch = array<i64>,
    y_contract = array<i64: 0>} : (tensor<8x16xf64>, tensor<16xf64>) -> tensor<8xf64>
  %1 = nd.sub %0, %y : tensor<8xf64>
  %2 = nd.tanh %1 : tensor<8xf64>
  %3 = nd.reduce_max %2 {axes = array<i64: 0>} : (tensor<8xf64>) -> tensor<f64>
  func.return %3 : tensor<f64>
}
"""


@pytest.mark.parametrize("program", [ELEMENTWISE, PRODUCT], ids=["elementwise", "product"])
@pytest.mark.parametrize(
    "pipeline",
    [
        "linearize",
        "adjoint",
        "adjoint{seed=true}",
        "adjoint,canonicalize,cse,dce",
        "adjoint,canonicalize,cse,dce,fuse",
        "adjoint,canonicalize,cse,dce,fuse,to-loops",
    ],
)
def test_every_level(pipeline: str, program: str) -> None:
    load_dialects()
    module = parse_module(program)
    Pipeline.parse(pipeline).run(module, verify_each=True)
    for op in module.walk():
        op.location = UNKNOWN
    _agrees(module)
    text = print_module(module)
    assert print_module(parse_module(text)) == text
    assert print_module(parse_module(print_module(module, generic=True))) == text


# Attributes, by value.

ATTRIBUTES: list[tuple[Any, Any]] = [
    (True, -1),  # xDSL reads an i1 as a signed integer of one bit
    (-7, -7),
    (0.1, 0.1),
    (1e300, 1e300),
    (5e-324, 5e-324),
    ('a"b\\c\nü', 'a"b\\c\nü'),
    ((1, 0), [1, 0]),
    ((0.5, -0.25), [0.5, -0.25]),
    ((True, False), [-1, 0]),
    (((0, 1), "s", 2), [[0, 1], "s", 2]),
    (types.tensor((2, 3), types.f32), "tensor<2x3xf32>"),
    (types.memref((None, 4), types.f64), "memref<?x4xf64>"),
    (types.function((types.f64,), (types.i1,)), "(f64) -> i1"),
    (None, None),
]


def _attribute(value: Any) -> Any:
    """Let xDSL read one attribute, and return its value in Python."""
    return _value(Parser(Context(), print_attribute(value)).parse_attribute())


def _value(attribute: Any) -> Any:
    if isinstance(attribute, builtin.IntegerAttr | builtin.FloatAttr):
        return attribute.value.data
    if isinstance(attribute, builtin.StringAttr):
        return attribute.data
    if isinstance(attribute, builtin.BytesAttr):  # a string that is not all ASCII
        return attribute.data.decode()
    if isinstance(attribute, builtin.DenseArrayBase):
        return list(attribute.get_values())
    if isinstance(attribute, builtin.ArrayAttr):
        return [_value(item) for item in attribute]
    if isinstance(attribute, builtin.UnitAttr):
        return None
    return str(attribute)


@pytest.mark.parametrize(("value", "expected"), ATTRIBUTES, ids=lambda value: str(value)[:20])
def test_attributes(value: Any, expected: Any) -> None:
    assert _attribute(value) == expected


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_special_floats(value: float) -> None:
    assert np.float64(_attribute(value)).tobytes() == np.float64(value).tobytes()


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0,), (8, 8), (100,)], ids=str)
@pytest.mark.parametrize("element", [types.f64, types.f32, types.i64, types.i32, types.i8])
def test_constants(shape: tuple[int, ...], element: types.ScalarType) -> None:
    type = types.tensor(shape, element)
    array = np.arange(type.size).reshape(shape).astype(element.dtype)
    if element.is_float:
        array = (array / 3).astype(element.dtype)
    read = Parser(Context(), print_attribute(Dense(type, array))).parse_attribute()
    assert isinstance(read, builtin.DenseIntOrFPElementsAttr)
    values = np.array(list(read.get_values()), element.dtype)
    if len(values) == 1:  # a splat, kept as one value
        values = np.broadcast_to(values, type.size)
    assert values.tobytes() == array.tobytes()
    assert str(read.type) == str(type)


def test_unregistered_ops_keep_their_attributes() -> None:
    load_dialects()
    module = parse_module(
        "func.func @f(%x: tensor<2x3xf64>) -> tensor<3xf64> {\n"
        "  %s = nd.reduce_sum %x {axes = array<i64: 0>} : (tensor<2x3xf64>) -> tensor<3xf64>\n"
        "  func.return %s : tensor<3xf64>\n}"
    )
    operations = [op for op in _xdsl(print_module(module, generic=True)).walk() if op.operands]
    axes = operations[0].attributes["axes"]
    assert _value(axes) == [0]
