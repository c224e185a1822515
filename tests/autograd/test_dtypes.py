"""Dtypes, their promotion, sizes, devices and limits: PyTorch's names, tables and texts."""

import copy
import itertools
import operator
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from gradloom.autograd import dtypes
from gradloom.autograd.dtypes import (
    ALIASES,
    CANONICAL,
    DTYPES,
    Size,
    device,
    dtype,
    dtype_of,
    finfo,
    get_default_dtype,
    iinfo,
    promote_types,
    result_element,
    result_type,
    set_default_dtype,
)
from gradloomc.ir import types

NAMES = tuple(CANONICAL)

# torch.promote_types for the rows and columns of NAMES; `!` where PyTorch refuses.
PROMOTED = """
float16 f2 f4 f8 f2 f2 f2 f2 f2 f2 f2 f2 f2
float32 f4 f4 f8 f4 f4 f4 f4 f4 f4 f4 f4 f4
float64 f8 f8 f8 f8 f8 f8 f8 f8 f8 f8 f8 f8
int8    f2 f4 f8 i1 i2 i4 i8 i2 !  !  !  i1
int16   f2 f4 f8 i2 i2 i4 i8 i2 !  !  !  i2
int32   f2 f4 f8 i4 i4 i4 i8 i4 !  !  !  i4
int64   f2 f4 f8 i8 i8 i8 i8 i8 !  !  !  i8
uint8   f2 f4 f8 i2 i2 i4 i8 u1 !  !  !  u1
uint16  f2 f4 f8 !  !  !  !  !  u2 !  !  !
uint32  f2 f4 f8 !  !  !  !  !  !  u4 !  !
uint64  f2 f4 f8 !  !  !  !  !  !  !  u8 !
bool    f2 f4 f8 i1 i2 i4 i8 u1 !  !  !  ?
"""
TABLE = {row.split()[0]: dict(zip(NAMES, row.split()[1:], strict=True)) for row in PROMOTED.strip().splitlines()}

# Operands (a dtype's name and how many dimensions, or the class of a Python number) and torch.result_type of them.
RESULTS: list[tuple[list[Any], str]] = [
    ([("float32", 1), ("float64", 0)], "float32"),
    ([("float32", 1), ("float64", 1)], "float64"),
    ([("float16", 1), ("int64", 0)], "float16"),
    ([("float64", 0), ("float16", 2)], "float16"),
    ([("float64", 0), ("int8", 1)], "float64"),
    ([("float64", 0), ("bool", 1)], "float64"),
    ([("float64", 0), float], "float64"),
    ([("float16", 0), float], "float16"),
    ([("int8", 1), ("int64", 0)], "int8"),
    ([("int8", 1), ("uint8", 1)], "int16"),
    ([("int8", 1), ("uint8", 0)], "int8"),
    ([("int8", 1), float], "float32"),
    ([("int8", 1), int], "int8"),
    ([("int16", 0), bool], "int16"),
    ([("int16", 0), int], "int16"),
    ([("int64", 0), ("uint8", 1)], "uint8"),
    ([("int64", 0), ("int16", 0)], "int64"),
    ([("bool", 1), ("int16", 0)], "int16"),
    ([("bool", 1), ("int16", 0), int], "int16"),
    ([("bool", 1), int], "int64"),
    ([("bool", 0), float], "float32"),
    ([("bool", 1), ("bool", 0), bool], "bool"),
    ([("uint16", 2), int], "uint16"),
    ([("uint16", 2), ("bool", 0)], "uint16"),
    ([("uint16", 2), float], "float32"),
    ([("int8", 1), ("float16", 0), float], "float16"),
    ([float, int], "float32"),
    ([int, bool], "int64"),
    ([bool, bool], "bool"),
]


@pytest.fixture(autouse=True)
def default_dtype() -> Iterator[None]:
    """Bring back the default dtype after each test."""
    yield
    set_default_dtype(dtypes.float32)


def operand_of(described: Any) -> Any:
    return (CANONICAL[described[0]], described[1]) if isinstance(described, tuple) else described


# --- dtypes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_dtype_describes_itself(name: str) -> None:
    each = CANONICAL[name]
    numpy = np.dtype(name)
    assert repr(each) == str(each) == f"gradloom.{name}"
    assert each.numpy == numpy == each.element.dtype
    assert each.itemsize == numpy.itemsize
    assert each.is_floating_point == (numpy.kind == "f")
    assert each.is_signed == (numpy.kind in "fi")
    assert each.is_complex is False


def test_names_of_the_types_are_pytorchs() -> None:
    assert {each.name: (each.type_name, each.c_name) for each in CANONICAL.values()} == {
        "float16": ("Half", "c10::Half"),
        "float32": ("Float", "float"),
        "float64": ("Double", "double"),
        "int8": ("Char", "signed char"),
        "int16": ("Short", "short int"),
        "int32": ("Int", "int"),
        "int64": ("Long", "long int"),
        "uint8": ("Byte", "unsigned char"),
        "uint16": ("UInt16", "short unsigned int"),
        "uint32": ("UInt32", "unsigned int"),
        "uint64": ("UInt64", "long unsigned int"),
        "bool": ("Bool", "bool"),
    }


def test_aliases_are_the_same_objects() -> None:
    assert {name: repr(each) for name, each in ALIASES.items()} == {
        "half": "gradloom.float16",
        "float": "gradloom.float32",
        "double": "gradloom.float64",
        "short": "gradloom.int16",
        "int": "gradloom.int32",
        "long": "gradloom.int64",
    }
    assert all(DTYPES[name] is each for name, each in (CANONICAL | ALIASES).items())


@pytest.mark.parametrize("each", CANONICAL.values(), ids=repr)
def test_copies_are_the_same_object(each: dtype) -> None:
    assert copy.copy(each) is each
    assert copy.deepcopy([each])[0] is each
    assert pickle.loads(pickle.dumps(each)) is each


@pytest.mark.parametrize("each", CANONICAL.values(), ids=repr)
def test_dtype_is_found_by_every_description(each: dtype) -> None:
    for description in (each, each.numpy, each.numpy.type, each.element, each.numpy.newbyteorder(">")):
        assert dtype_of(description) is each


def test_python_classes_are_shorthands() -> None:
    assert [repr(dtype_of(kind)) for kind in (float, int, bool)] == [
        "gradloom.float64",
        "gradloom.int64",
        "gradloom.bool",
    ]


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("float32", "argument 'dtype' must be gradloom.dtype, not str"),
        (str, "argument 'dtype' must be gradloom.dtype, not type"),
        (None, "argument 'dtype' must be gradloom.dtype, not NoneType"),
        (np.dtype(complex), "dtype complex128 has no gradloom type"),
        (np.object_, "dtype object has no gradloom type"),
        (types.index, "the IR's index is no element type of a tensor"),
    ],
)
def test_other_descriptions_are_refused(what: Any, text: str) -> None:
    with pytest.raises(TypeError) as raised:
        dtype_of(what)
    assert str(raised.value) == text


def test_refusal_names_the_function() -> None:
    with pytest.raises(TypeError, match=r"^zeros\(\): argument 'dtype' must be gradloom.dtype, not str$"):
        dtype_of("float32", "zeros")


def test_default_dtype() -> None:
    assert get_default_dtype() is dtypes.float32
    set_default_dtype(dtypes.float64)
    assert get_default_dtype() is dtypes.float64


@pytest.mark.parametrize(
    ("what", "text"),
    [
        (dtypes.int64, "only floating-point types are supported as the default type"),
        (dtypes.bool_, "only floating-point types are supported as the default type"),
        (float, "invalid dtype object: only floating-point types are supported as the default type"),
        ("float32", "invalid dtype object: only floating-point types are supported as the default type"),
    ],
)
def test_default_dtype_must_be_floating_point(what: Any, text: str) -> None:
    with pytest.raises(TypeError) as raised:
        set_default_dtype(what)
    assert str(raised.value) == text
    assert get_default_dtype() is dtypes.float32


# --- promotion -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("a", "b"), [*itertools.product(NAMES, NAMES)])
def test_promotion_is_pytorchs(a: str, b: str) -> None:
    expected = TABLE[a][b]
    if expected != "!":
        assert promote_types(CANONICAL[a], CANONICAL[b]).numpy == np.dtype(expected)
        return
    with pytest.raises(RuntimeError) as raised:
        promote_types(CANONICAL[a], CANONICAL[b])
    assert str(raised.value) == (
        "Promotion for uint16, uint32, uint64 types is not supported, "
        f"attempted to promote {CANONICAL[a].type_name} and {CANONICAL[b].type_name}"
    )


@pytest.mark.parametrize(("operands", "expected"), RESULTS, ids=repr)
def test_result_type_is_pytorchs(operands: list[Any], expected: str) -> None:
    for order in itertools.permutations(operands):
        found = result_type(*map(operand_of, order))
        assert found is CANONICAL[expected]
        elements = [(CANONICAL[each[0]].element, each[1]) if isinstance(each, tuple) else each for each in order]
        assert result_element(elements) is found.element


def test_result_type_of_numbers_follows_the_default_dtype() -> None:
    set_default_dtype(dtypes.float64)
    assert result_type((dtypes.int8, 1), 1.5) is dtypes.float64
    assert result_type((dtypes.float32, 0), 1.5) is dtypes.float32


def test_result_type_takes_numbers_and_their_classes() -> None:
    for number in (True, 3, 2.5):
        assert result_type((dtypes.bool_, 1), number) is result_type((dtypes.bool_, 1), type(number))


def test_result_type_refuses_what_it_does_not_know() -> None:
    with pytest.raises(TypeError, match="not complex"):
        result_type((dtypes.float32, 1), 1j)
    with pytest.raises(TypeError, match="at least one operand"):
        result_type()
    with pytest.raises(RuntimeError, match="attempted to promote Bool and UInt16"):
        result_type((dtypes.bool_, 1), (dtypes.uint16, 0))


def test_promotion_against_torch() -> None:
    torch = pytest.importorskip("torch")
    for a, b in itertools.product(NAMES, NAMES):
        theirs = outcome(lambda a=a, b=b: torch.promote_types(getattr(torch, a), getattr(torch, b)))
        assert theirs == outcome(lambda a=a, b=b: promote_types(CANONICAL[a], CANONICAL[b])), (a, b)


@pytest.mark.parametrize("default", ["float16", "float32", "float64"])
def test_result_type_against_torch(default: str) -> None:
    torch = pytest.importorskip("torch")
    numbers = {float: 1.5, int: 2, bool: True}
    operands = [*itertools.product(NAMES, (0, 1)), *numbers]

    def theirs(each: Any) -> Any:
        return torch.zeros((1,) * each[1], dtype=getattr(torch, each[0])) if isinstance(each, tuple) else numbers[each]

    set_default_dtype(CANONICAL[default])
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, default))
    try:
        for a, b in itertools.product(operands, operands):
            expected = outcome(lambda a=a, b=b: torch.result_type(theirs(a), theirs(b)))
            assert expected == outcome(lambda a=a, b=b: result_type(operand_of(a), operand_of(b))), (a, b)
    finally:
        torch.set_default_dtype(before)


def outcome(call: Callable[[], Any]) -> str:
    """Return what a call returned or raised as a text in which PyTorch's names are gradloom's."""
    try:
        return repr(call()).replace("torch.", "gradloom.")
    except (RuntimeError, TypeError) as error:
        return f"{type(error).__name__}: {error}".replace("torch.", "gradloom.")


# --- sizes -----------------------------------------------------------------------------------------------------------

SIZE = Size([2, 3, 4])
ONE = (1,)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (Size([2, 3]), "gradloom.Size([2, 3])"),
        (Size(), "gradloom.Size([])"),
        (Size([True]), "gradloom.Size([1])"),
        (Size([np.int64(3), np.uint8(1)]), "gradloom.Size([3, 1])"),
        (Size(each for each in (1, 2)), "gradloom.Size([1, 2])"),
        (SIZE[:2], "gradloom.Size([2, 3])"),
        (SIZE[::2], "gradloom.Size([2, 4])"),
        (SIZE[5:], "gradloom.Size([])"),
        (SIZE[-1], "4"),
        (SIZE + ONE, "gradloom.Size([2, 3, 4, 1])"),
        (ONE + SIZE, "gradloom.Size([1, 2, 3, 4])"),
        (SIZE + SIZE, "gradloom.Size([2, 3, 4, 2, 3, 4])"),
        (SIZE * 2, "gradloom.Size([2, 3, 4, 2, 3, 4])"),
        (2 * SIZE, "gradloom.Size([2, 3, 4, 2, 3, 4])"),
    ],
)
def test_size_text(size: Any, text: str) -> None:
    assert repr(size) == str(size) == text


def test_size_is_a_tuple() -> None:
    assert SIZE == (2, 3, 4)
    assert hash(SIZE) == hash((2, 3, 4))
    first, *rest = SIZE
    assert (first, rest) == (2, [3, 4])
    assert (SIZE.count(3), SIZE.index(4)) == (1, 2)
    assert type(SIZE[0]) is int


def test_size_is_an_array_beside_arrays() -> None:
    assert np.array_equal(Size([2, 3]) * np.array([1.5, 2.0]), [3.0, 6.0])
    assert np.array_equal(np.array([1, 2]) + Size([2, 3]), [3, 5])
    assert np.array_equal(operator.add(Size([2, 3]), np.array([1, 2])), [3, 5])


def test_numel() -> None:
    assert (SIZE.numel(), Size().numel(), Size([3, 0]).numel()) == (24, 1, 0)


def test_size_copies() -> None:
    for twin in (copy.copy(SIZE), copy.deepcopy(SIZE), pickle.loads(pickle.dumps(SIZE))):
        assert type(twin) is Size
        assert twin == SIZE


@pytest.mark.parametrize(
    ("operation", "text"),
    [
        (lambda size: size([2, 1.5]), "gradloom.Size() takes an iterable of 'int' (item 1 is 'float')"),
        (lambda size: size("ab"), "gradloom.Size() takes an iterable of 'int' (item 0 is 'str')"),
        (lambda size: size(3), "'int' object is not iterable"),
        (lambda size: operator.add(size([2]), ("c",)), "gradloom.Size() takes an iterable of 'int' (item 1 is 'str')"),
        (lambda size: operator.add(size(), [1]), "can only concatenate tuple (not list) to gradloom.Size"),
        (lambda size: operator.add(size(), 1), "can only concatenate tuple (not int) to gradloom.Size"),
        (lambda size: operator.add([1], size()), 'can only concatenate list (not "Size") to list'),
        (lambda size: operator.mul(size(), 2.5), "unsupported operand type(s) for *: 'Size' and 'float'"),
    ],
)
def test_size_refusals(operation: Callable[[Any], Any], text: str) -> None:
    with pytest.raises(TypeError) as raised:
        operation(Size)
    assert str(raised.value) == text


# --- devices ---------------------------------------------------------------------------------------------------------


def test_device_text_and_equality() -> None:
    cpu, numbered = device("cpu"), device("cpu:0")
    assert (repr(cpu), str(cpu), cpu.type, cpu.index) == ("device(type='cpu')", "cpu", "cpu", None)
    assert (repr(numbered), str(numbered), numbered.index) == ("device(type='cpu', index=0)", "cpu:0", 0)
    assert cpu == device("cpu") == device(cpu) == device(type="cpu")
    assert numbered == device("cpu", 0) == device("cpu", index=0)
    assert cpu != numbered
    assert cpu != "cpu"
    assert len({cpu, device("cpu"), numbered}) == 2
    assert pickle.loads(pickle.dumps(numbered)) == copy.copy(numbered) == numbered
    with cpu as entered:
        assert entered is cpu


@pytest.mark.parametrize("name", ["cuda", "cuda:1", "mps", "meta", 3])
def test_other_devices_are_refused_with_the_reason(name: Any) -> None:
    with pytest.raises(RuntimeError, match=r"^gradloom runs on CPUs: .*use device\('cpu'\)$"):
        device(name)


@pytest.mark.parametrize(
    ("arguments", "kind", "text"),
    [
        (("foo",), RuntimeError, "Expected cpu device type at start of device string: foo"),
        (("CPU",), RuntimeError, "Expected cpu device type at start of device string: CPU"),
        (("",), RuntimeError, "Device string must not be empty"),
        (("cpu:",), RuntimeError, "Invalid device string: 'cpu:'"),
        (("cpu:x",), RuntimeError, "Invalid device string: 'cpu:x'"),
        (("cpu:-1",), RuntimeError, "Invalid device string: 'cpu:-1'"),
        (("cpu:01",), RuntimeError, "Invalid device string: 'cpu:01'"),
        (("cpu", -1), RuntimeError, "Device index must not be negative"),
        (
            ("cpu:0", 0),
            RuntimeError,
            "type (string) must not include an index because index was passed explicitly: cpu:0",
        ),
        ((None,), TypeError, "device(): argument 'type' must be str or gradloom.device, not NoneType"),
        ((1.5,), TypeError, "device(): argument 'type' must be str or gradloom.device, not float"),
    ],
)
def test_device_refusals(arguments: tuple[Any, ...], kind: type[Exception], text: str) -> None:
    with pytest.raises(kind) as raised:
        device(*arguments)
    assert str(raised.value) == text


# --- limits ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "text"),
    [
        (
            finfo(dtypes.float16),
            "finfo(resolution=0.001, min=-65504, max=65504, eps=0.000976562, smallest_normal=6.10352e-05, "
            "tiny=6.10352e-05, dtype=float16)",
        ),
        (
            finfo(),
            "finfo(resolution=1e-06, min=-3.40282e+38, max=3.40282e+38, eps=1.19209e-07, "
            "smallest_normal=1.17549e-38, tiny=1.17549e-38, dtype=float32)",
        ),
        (
            finfo(float),
            "finfo(resolution=1e-15, min=-1.79769e+308, max=1.79769e+308, eps=2.22045e-16, "
            "smallest_normal=2.22507e-308, tiny=2.22507e-308, dtype=float64)",
        ),
        (iinfo(dtypes.uint8), "iinfo(min=0, max=255, dtype=uint8)"),
        (iinfo(dtypes.int32), "iinfo(min=-2.14748e+09, max=2.14748e+09, dtype=int32)"),
        (iinfo(int), "iinfo(min=-9.22337e+18, max=9.22337e+18, dtype=int64)"),
        (iinfo(dtypes.uint64), "iinfo(min=0, max=1.84467e+19, dtype=uint64)"),
    ],
)
def test_text_of_limits(limits: Any, text: str) -> None:
    assert repr(limits) == str(limits) == text


def test_values_of_limits() -> None:
    single = finfo(dtypes.float32)
    assert (single.bits, single.eps, single.resolution, single.dtype) == (32, 2.0**-23, 1e-6, "float32")
    assert (single.max, single.min) == (3.4028234663852886e38, -3.4028234663852886e38)
    assert single.tiny == single.smallest_normal == 2.0**-126
    long = iinfo(dtypes.int64)
    assert (long.bits, long.min, long.max, long.dtype) == (64, -(2**63), 2**63 - 1, "int64")
    assert all(type(value) is int for value in (long.bits, long.min, long.max, single.bits))


def test_equality_of_limits() -> None:
    assert iinfo(dtypes.int32) == iinfo(dtypes.int32) != iinfo(dtypes.int64)
    assert finfo() == finfo(dtypes.float32) != 1
    with pytest.raises(TypeError, match="unhashable"):
        hash(finfo())


def test_limits_of_the_default_dtype() -> None:
    set_default_dtype(dtypes.float64)
    assert finfo().dtype == "float64"


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda: finfo(dtypes.int32),
            "gradloom.finfo() requires a floating point input type. Use gradloom.iinfo to handle 'gradloom.finfo'",
        ),
        (
            lambda: iinfo(float),
            "gradloom.iinfo() requires an integer input type. Use gradloom.finfo to handle 'gradloom.iinfo'",
        ),
        (lambda: iinfo(dtypes.bool_), "gradloom.bool is not supported by gradloom.iinfo"),
        (lambda: finfo("f"), "finfo(): argument 'type' (position 1) must be gradloom.dtype, not str"),
    ],
)
def test_refusals_of_limits(call: Callable[[], Any], text: str) -> None:
    with pytest.raises(TypeError) as raised:
        call()
    assert str(raised.value) == text


def test_limits_against_torch() -> None:
    torch: Any = pytest.importorskip("torch")
    fields = ("bits", "eps", "max", "min", "tiny", "smallest_normal", "resolution", "dtype")
    for name, (ours, theirs) in itertools.product(NAMES, ((finfo, torch.finfo), (iinfo, torch.iinfo))):
        expected = outcome(lambda name=name, theirs=theirs: theirs(getattr(torch, name)))
        assert outcome(lambda name=name, ours=ours: ours(CANONICAL[name])) == expected
        if expected.startswith(("finfo", "iinfo")):
            mine, torchs = ours(CANONICAL[name]), theirs(getattr(torch, name))
            for field in fields:
                assert getattr(mine, field, None) == getattr(torchs, field, None), (name, field)
