"""Flat images: objects of LLVM laid out by us run like those that LLVM links, and what is not known is refused."""

import ctypes
import functools
import struct
from typing import Any

import llvmlite.binding as llvm
import pytest

from gradloomc.codegen.elf import Fixup, Image, NotFlat, flatten
from gradloomc.codegen.image import CannotLoad, decode, encode, load, process_symbol

# Constants of several sizes and alignments, a table, calls within the module, to the process and to given functions.
_TEXT = """
@table = internal constant [4 x i64] [i64 3, i64 1, i64 4, i64 1]
declare double @fmod(double, double)
declare double @given(double)
declare <4 x double> @llvm.fma.v4f64(<4 x double>, <4 x double>, <4 x double>)
define internal double @within(double %x) noinline nounwind {
  %y = call double @fmod(double %x, double 2.5)
  %z = fmul double %y, 1.0e1
  ret double %z
}
define double @number(double %x, i64 %k) nounwind {
  %p = getelementptr [4 x i64], ptr @table, i64 0, i64 %k
  %t = load i64, ptr %p
  %f = sitofp i64 %t to double
  %y = call double @within(double %x)
  %g = call double @given(double %y)
  %s = fadd double %g, %f
  ret double %s
}
define void @vector(ptr %p) nounwind {
  %x = load <4 x double>, ptr %p, align 8
  %y = call <4 x double> @llvm.fma.v4f64(<4 x double> %x, <4 x double> <double 1.0, double 2.0, double 3.0, double 4.0>,
                                         <4 x double> <double 0.5, double 0.25, double 0.125, double 7.0>)
  store <4 x double> %y, ptr %p, align 8
  ret void
}
define ptr @address() nounwind {
  ret ptr @fmod
}
define ptr @mine() nounwind {
  ret ptr @number
}
"""


@functools.cache
def machine(triple: str, model: str = "small", reloc: str = "pic") -> Any:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    host = triple == llvm.get_process_triple()
    features = llvm.get_host_cpu_features().flatten() if host else ""
    cpu = llvm.get_host_cpu_name() if host else ""
    return llvm.Target.from_triple(triple).create_target_machine(
        cpu=cpu, features=features, opt=1, reloc=reloc, codemodel=model, jit=True
    )


def compiled(text: str, triple: str | None = None, **how: str) -> bytes:
    triple = triple or llvm.get_process_triple()
    module = llvm.parse_assembly(text)
    module.triple = triple
    return machine(triple, **how).emit_object(module)


_GIVEN = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)(lambda x: x + 100.0)


def given(name: str) -> int:
    return ctypes.cast(_GIVEN, ctypes.c_void_p).value or 0 if name == "given" else 0


on_linux = pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mprotect"), reason="images are for Linux")


@on_linux
@pytest.mark.parametrize("how", [{}, {"model": "large", "reloc": "static"}])
def test_an_image_runs(how: dict[str, str]) -> None:
    image = decode(encode(flatten(compiled(_TEXT, **how))))
    symbols = load(image, given, ["number", "vector"]).symbols
    number = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double, ctypes.c_int64)(symbols["number"])
    assert [number(7.0, k) for k in range(4)] == [120.0 + k for k in (3, 1, 4, 1)]
    numbers = (ctypes.c_double * 4)(1, 2, 3, 4)
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(symbols["vector"])(ctypes.addressof(numbers))
    assert list(numbers) == [1.5, 4.25, 9.125, 23.0]
    address = ctypes.CFUNCTYPE(ctypes.c_void_p)
    assert address(symbols["address"])() == process_symbol("fmod") != 0
    assert address(symbols["mine"])() == symbols["number"]


@on_linux
def test_an_image_runs_twice_in_two_places() -> None:
    image = flatten(compiled(_TEXT))
    first, second = load(image, given), load(image, given)
    assert first.base != second.base
    for loaded in (first, second):
        number = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double, ctypes.c_int64)(loaded.symbols["number"])
        assert number(1.0, 0) == 113.0


@on_linux
def test_memory_with_code_cannot_be_written() -> None:
    loaded = load(flatten(compiled(_TEXT)), given)
    with open("/proc/self/maps") as lines:
        for line in lines:
            low, high = (int(x, 16) for x in line.split()[0].split("-"))
            if low <= loaded.base < high:
                assert line.split()[1] == "r-xp"
                return
    raise AssertionError("the image is not mapped")


@on_linux
def test_what_cannot_be_loaded() -> None:
    image = flatten(compiled(_TEXT))
    with pytest.raises(CannotLoad, match="given"):
        load(image)
    with pytest.raises(CannotLoad, match="no absent"):
        load(image, given, ["absent"])
    with pytest.raises(CannotLoad, match="vax"):
        load(image._replace(machine="vax"), given)


# --- other instruction sets: instructions decoded by hand ---


def word(image: Image, at: int) -> int:
    return struct.unpack_from("<I", image.code, at)[0]


def signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) else value


def arm_addresses(image: Image, start: int, count: int) -> tuple[list[int], list[int]]:
    """Return what instructions refer to: by adrp and the add or load that follows, and by branch."""
    pages: dict[int, int] = {}
    data, calls = [], []
    for at in range(start, start + 4 * count, 4):
        code = word(image, at)
        if code & 0x9F000000 == 0x90000000:  # adrp
            distance = signed((code >> 5 & 0x7FFFF) << 2 | code >> 29 & 3, 21)
            pages[code & 31] = (at >> 12) + distance << 12
        elif code & 0xFF800000 == 0x91000000 and code >> 5 & 31 in pages:  # add immediate
            data.append(pages[code >> 5 & 31] + (code >> 10 & 0xFFF))
        elif code & 0x3B000000 == 0x39000000 and code >> 5 & 31 in pages:  # load, unsigned offset
            size = 4 if code >> 26 & 1 and code >> 23 & 1 else code >> 30
            data.append(pages[code >> 5 & 31] + ((code >> 10 & 0xFFF) << size))
        elif code & 0x7C000000 == 0x14000000:  # b, bl
            calls.append(at + (signed(code & 0x3FFFFFF, 26) << 2))
    return data, calls


def test_references_of_aarch64() -> None:
    image = flatten(compiled(_TEXT, "aarch64-unknown-linux-gnu"))
    assert image.machine == "aarch64"
    stubs = {fixup.symbol: fixup.place - 8 for fixup in image.fixups if fixup.symbol in ("fmod", "given")}
    count = (image.symbols["address"] - image.symbols["number"]) // 4
    data, calls = arm_addresses(image, 0, count + image.symbols["number"] // 4)
    table = image.code.index(struct.pack("<4q", 3, 1, 4, 1))
    assert table in data
    for constants in ((1.0, 2.0), (3.0, 4.0), (0.5, 0.25), (0.125, 7.0)):
        assert any(image.code[at : at + 16] == struct.pack("<2d", *constants) for at in data), constants
    words = {fixup.symbol: fixup.place for fixup in image.fixups}
    assert len(stubs) == 2 and {stubs["given"], 0} <= set(calls)
    for stub in [stubs["given"]]:
        assert word(image, stub) == 0x58000050 and word(image, stub + 4) == 0xD61F0200
        assert words["given"] == stub + 8


def test_an_address_in_a_word_of_aarch64() -> None:
    text = "@x = external global double\ndefine double @f() nounwind {\n %y = load double, ptr @x\n ret double %y\n}"
    image = flatten(compiled(text, "aarch64-unknown-linux-gnu"))
    ((place, symbol, addend),) = image.fixups
    assert (symbol, addend) == ("x", 0)
    assert arm_addresses(image, 0, 2)[0] == [place]


@pytest.mark.parametrize(
    ("text", "how"),
    [
        ("@x = global i64 0\ndefine void @f() nounwind {\n store i64 1, ptr @x\n ret void\n}", {}),
        ("@x = thread_local global i64 0\ndefine ptr @f() nounwind {\n ret ptr @x\n}", {}),
        ("define void @f() nounwind {\n ret void\n}", {"triple": "x86_64-pc-windows-msvc"}),
        ("define void @f() nounwind {\n ret void\n}", {"triple": "arm64-apple-darwin"}),
        ("define void @f() nounwind {\n ret void\n}", {"triple": "riscv64-unknown-linux-gnu"}),
        ("define void @f() nounwind {\n ret void\n}", {"triple": "powerpc64-unknown-linux-gnu"}),
    ],
)
def test_what_is_not_known_is_refused(text: str, how: dict[str, str]) -> None:
    with pytest.raises(NotFlat):
        flatten(compiled(text, **how))


def test_unknown_relocations_are_refused() -> None:
    data = bytearray(compiled(_TEXT, "x86_64-unknown-linux-gnu"))
    (table,) = struct.unpack_from("<Q", data, 40)
    size, count = struct.unpack_from("<HH", data, 58)
    for k in range(count):
        _, type, _, _, offset, _, _, _, _, _ = struct.unpack_from("<IIQQQQIIQQ", data, table + k * size)
        if type == 4:
            data[offset + 8 : offset + 12] = struct.pack("<I", 26)  # R_X86_64_GOTPC32
    with pytest.raises(NotFlat, match="relocation 26"):
        flatten(bytes(data))


@pytest.mark.parametrize("length", [0, 6, 40, 63, 64, 200, 500])
def test_half_an_object_is_refused(length: int) -> None:
    with pytest.raises(NotFlat):
        flatten(compiled(_TEXT)[:length])


@pytest.mark.parametrize("data", [b"", b"x", b"N", b"(\x01\x00\x00\x00N"])
def test_bytes_that_are_no_image(data: bytes) -> None:
    with pytest.raises(ValueError):
        decode(data)


def test_an_image_as_bytes() -> None:
    image = Image("x86_64", b"\xc3", {"f": 0}, (Fixup(8, "g", -4),))
    assert decode(encode(image)) == image
