"""Native code for LLVM text: what was compiled before, in this process or another, is not compiled again.

A module is looked for in memory, then in the store on disk, and only then compiled. The store holds flat images, which
need no LLVM to run; where an object does not fit into one (another platform's format), the object itself, which LLVM
links.
"""

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from gradloomc.codegen.cache import digest, store
from gradloomc.codegen.elf import NotFlat, flatten
from gradloomc.codegen.host import Host, decode_host, encode_host, host_key
from gradloomc.codegen.image import CannotLoad, decode, encode, load
from gradloomc.codegen.llvm_process import begin, expect, has_begun, llvm
from gradloomc.codegen.source import Source

__all__ = [
    "Counts",
    "Given",
    "Module",
    "begin_on_new_machine",
    "compile_module",
    "counts",
    "expect_compilation",
    "expect_module",
    "find_module",
    "forget_modules",
    "host",
    "imports",
    "module_key",
]

# Part of the keys: goes up when the same text is compiled to other code, or what is stored changes its form.
_GENERATION = "native 3"
_IMAGE, _OBJECT = b"I", b"O"
# What a source was seen in.
_CALLED, _WRAPPED = b"seen", b"wrapped"

_DECLARED = re.compile(r"^(?:declare [^@]*@|@)([\w.]+)(?:\(| = external)", re.MULTILINE)

Given = Callable[[str], int]


class Counts:
    """How modules came about in this process."""

    __slots__ = ("compiled", "from_disk", "in_memory", "linked_by_llvm")

    def __init__(self) -> None:
        self.compiled = self.from_disk = self.in_memory = self.linked_by_llvm = 0


class Module(NamedTuple):
    """Compiled code: the addresses of its functions, and where it came from: "memory", "disk" or "llvm"."""

    addresses: dict[str, int]
    source: str


counts = Counts()
_modules: dict[str, dict[str, int]] = {}
_host: Host | None = None
# Addresses of functions outside of a module, by the names under which texts declare them; or what returns one, where it
# is made when it is first wanted.
imports: dict[str, int | Callable[[], int]] = {}


def host() -> Host:
    """Return the machine that this process runs on, found out at first use: from the store, else by LLVM."""
    global _host
    if _host is None:
        _host = _find_host()
    return _host


def expect_compilation(source: bytes, called: bool = True) -> None:
    """Have LLVM started meanwhile if nothing of this source has been seen on this machine; returns at once.

    Args:
        called: whether the function is being called. One that is only wrapped may never be, so LLVM is started when it
            is wrapped for the first time, and when it is called for the first time.
    """
    global _host
    begun = has_begun()
    if _host is None and not begun:
        _host = _known_host()
    key = digest("source 1", source)
    known = store().get(key)
    seen = known == _CALLED or (known is not None and not called)
    if not begun and (_host is None or not seen):
        begin()
    if not seen:  # also where LLVM runs already: the next process is to know
        store().put(key, _CALLED if called else _WRAPPED)


def begin_on_new_machine() -> None:
    """Have LLVM started if nothing was ever compiled for this user; returns at once.

    Whoever imports us on such a machine is going to compile, and LLVM takes as long to start as we do to be imported.
    The store is made, so that this happens once. Without a place for it there is no telling, and nothing is started.
    """
    if store().create():
        begin()


def expect_module(source: Source | str, level: int = 1, key: str | None = None) -> None:
    """Have a module that is going to be asked for compiled meanwhile, if LLVM is there and nobody has compiled it."""
    if not has_begun():
        return
    if isinstance(source, str):
        source = Source(source)
    if _host is not None:  # otherwise nothing is kept
        key = key or module_key(source, level)
        if key in _modules or store().get(key) is not None:
            return
    expect(source.read, level)


def _known_host() -> Host | None:
    key = host_key()
    known = store().get(key) if key else None
    if known is not None:
        try:
            return decode_host(known)
        except ValueError:
            pass
    return None


def _find_host() -> Host:
    known = _known_host()
    if known is not None:
        return known
    found = llvm().host
    key = host_key()
    if key:
        store().put(key, encode_host(found))
    return found


def module_key(source: Source, level: int = 1) -> str:
    """Return the key of a module's code on this machine; `level` is LLVM's level of code generation."""
    return digest(_GENERATION, host().signature, str(level), source.digest)


def compile_module(
    source: Source | str,
    symbols: Sequence[str],
    given: Given | None = None,
    level: int = 1,
    key: str | None = None,
    again: bool = False,
) -> Module:
    """Return the functions `symbols` of a module. The code stays for the life of the process.

    Args:
        source: its LLVM text, which is read only if it has to be compiled.
        given: returns the address of a function that the module declares, or 0 for those of `imports` and the process.
        level: of LLVM's code generation, 0 or 1.
        key: under which the code is found again, if not that of the text.
        again: whether to put the code into memory once more, for other addresses.

    Raises:
        RuntimeError: LLVM does not understand the text, or the code cannot be put into memory.
    """
    if not symbols:
        return Module({}, "memory")
    if isinstance(source, str):
        source = Source(source)
    key = key or module_key(source, level)
    found = find_module(key, symbols, given, again)
    if found is None:
        found = Module(_from_llvm(key, source.read(), symbols, given, level), "llvm")
        _modules[key] = found.addresses
    return found


def forget_modules() -> None:
    """Remove all code from the store on disk, and find none again that is in memory; what runs keeps running."""
    _modules.clear()
    store().clear()


def find_module(key: str, symbols: Sequence[str], given: Given | None = None, again: bool = False) -> Module | None:
    """Return the functions of a module that was compiled before, here or in another process; None if there is none."""
    known = _modules.get(key)
    if known is not None and not again and known.keys() >= set(symbols):
        counts.in_memory += 1
        return Module(known, "memory")
    stored = store().get(key)
    if stored is None:
        return None
    try:
        addresses = _load(stored, symbols, given)
    except (CannotLoad, ValueError):
        return None  # stored by something else than what reads it
    counts.from_disk += 1
    _modules[key] = addresses
    return Module(addresses, "disk")


def _from_llvm(key: str, text: str, symbols: Sequence[str], given: Given | None, level: int) -> dict[str, int]:
    data = llvm().emit(text, level)
    counts.compiled += 1
    # Only LLVM's linker wants to know beforehand what is declared.
    try:
        content = _IMAGE + encode(flatten(data))
        addresses = _load(content, symbols, given)
    except (NotFlat, CannotLoad):
        declared = " ".join(_DECLARED.findall(text))
        content = _OBJECT + declared.encode() + b"\n" + data
        addresses = _load(content, symbols, given)
    store().put(key, content)
    return addresses


def _load(content: bytes, symbols: Sequence[str], given: Given | None) -> dict[str, int]:
    """Put what is stored into memory; return the addresses of at least `symbols`."""

    def known(name: str) -> int:
        found = (given(name) if given else 0) or imports.get(name, 0)
        return found if isinstance(found, int) else found()

    if content[:1] == _IMAGE:
        return load(decode(content[1:]), known, symbols).symbols
    if content[:1] != _OBJECT:
        raise ValueError("neither image nor object")
    from gradloomc.codegen.jit import compiler

    declared, _, data = content[1:].partition(b"\n")
    addresses = {name: known(name) for name in declared.decode().split()}
    counts.linked_by_llvm += 1
    return compiler().link(data, symbols, {name: address for name, address in addresses.items() if address})
