"""Flat images as bytes and in memory.

An image in memory is private pages: written, filled in, and then made executable and read-only; they are never both
writable and executable. Names that an image does not define are looked up among the addresses that the caller gives,
then in the process.
"""

import ctypes
import marshal
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from gradloomc.codegen.elf import Fixup, Image

__all__ = ["CannotLoad", "LoadedImage", "decode", "encode", "load", "process_symbol"]

_PROT_READ, _PROT_WRITE, _PROT_EXECUTE = 1, 2, 4
_FAILED = ctypes.c_void_p(-1).value


class CannotLoad(Exception):
    """The image is of another machine, lacks a symbol, or the system does not let it run."""


class LoadedImage:
    """An image in memory: the addresses of its functions. The memory stays for the life of the process."""

    __slots__ = ("base", "size", "symbols")

    def __init__(self, base: int, size: int, symbols: dict[str, int]):
        self.base, self.size, self.symbols = base, size, symbols


def encode(image: Image) -> bytes:
    """Return an image as bytes."""
    return marshal.dumps((image.machine, image.code, image.symbols, tuple(map(tuple, image.fixups))), 4)


def decode(data: bytes) -> Image:
    """Return the image that `encode` made bytes of.

    Raises:
        ValueError: it did not.
    """
    try:
        machine, code, symbols, fixups = marshal.loads(data)
        return Image(machine, code, symbols, tuple([Fixup(*fixup) for fixup in fixups]))
    except (EOFError, TypeError) as error:
        raise ValueError(f"no image: {error}") from error


def process_symbol(name: str) -> int:
    """Return the address of a C function of the process, 0 if there is none."""
    for library in _libraries():
        try:
            return ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0
        except AttributeError:
            continue
    return 0


_system: Any = None
_searched: list[Any] = []


def _libraries() -> list[Any]:
    """Return the process itself, and the mathematical library in case nothing has brought it in."""
    if not _searched:
        _searched.append(ctypes.CDLL(None))
        try:
            _searched.append(ctypes.CDLL("libm.so.6"))
        except OSError:
            pass  # other C libraries hold it themselves
    return _searched


def _functions() -> Any:
    """Return mmap, mprotect, munmap, and what makes written code visible to execution.

    Raises:
        CannotLoad: the system has them not, or not in this form.
    """
    global _system
    if _system is None:
        if sys.platform != "linux" or ctypes.sizeof(ctypes.c_void_p) != 8:
            raise CannotLoad(f"no images on {sys.platform}")
        library = ctypes.CDLL(None)
        word, number = ctypes.c_size_t, ctypes.c_int
        library.mmap.restype = ctypes.c_void_p
        library.mmap.argtypes = (ctypes.c_void_p, word, number, number, number, ctypes.c_long)
        library.mprotect.argtypes = (ctypes.c_void_p, word, number)
        library.munmap.argtypes = (ctypes.c_void_p, word)
        flush = None
        if os.uname().machine == "aarch64":  # its instruction cache does not see what is written
            try:
                flush = ctypes.CDLL("libgcc_s.so.1")["__clear_cache"]
            except (OSError, AttributeError):
                raise CannotLoad("no __clear_cache") from None
            flush.argtypes, flush.restype = (ctypes.c_void_p, ctypes.c_void_p), None
        _system = (library.mmap, library.mprotect, library.munmap, flush)
    return _system


def load(image: Image, given: Callable[[str], int] | None = None, wanted: Sequence[str] = ()) -> LoadedImage:
    """Put an image into memory, ready to run.

    Args:
        given: returns the address of a name, or 0; it is asked before the process.
        wanted: functions that it has to define.

    Raises:
        CannotLoad: it cannot run here.
    """
    mmap, mprotect, munmap, flush = _functions()
    if image.machine != os.uname().machine:
        raise CannotLoad(f"code for {image.machine}")
    missing = [name for name in wanted if name not in image.symbols]
    if missing:
        raise CannotLoad(f"no {missing[0]} in the image")
    words = [(place, _resolve(name, given), addend) for place, name, addend in image.fixups]
    size = len(image.code)
    private_anonymous = 0x22
    base = mmap(None, size, _PROT_READ | _PROT_WRITE, private_anonymous, -1, 0)
    if base in (None, _FAILED):
        raise CannotLoad("no memory")
    ctypes.memmove(base, image.code, size)
    for place, address, addend in words:
        ctypes.c_uint64.from_address(base + place).value = (base if address is None else address) + addend
    if flush is not None:
        flush(base, base + size)
    if mprotect(base, size, _PROT_READ | _PROT_EXECUTE):
        munmap(base, size)
        raise CannotLoad("memory must not be made executable here")
    return LoadedImage(base, size, {name: base + offset for name, offset in image.symbols.items()})


def _resolve(name: str, given: Callable[[str], int] | None) -> int | None:
    """Return the address of a name; None for the image itself."""
    if not name:
        return None
    address = (given(name) if given else 0) or process_symbol(name)
    if not address:
        raise CannotLoad(f"no function {name!r} in this process")
    return address
