"""Native code for LLVM text: what was compiled before, in this process or another, is not compiled again.

A module is looked for in memory, then in the store on disk, and only then compiled. The store holds flat images, which
need no LLVM to run; where an object does not fit into one (another platform's format), the object itself, which LLVM
links.
"""

from typing import NamedTuple

from gradloomc.codegen.cache import digest, store
from gradloomc.codegen.elf import NotFlat, flatten
from gradloomc.codegen.host import Host, decode_host, encode_host, host_key
from gradloomc.codegen.image import CannotLoad, decode, encode, load

__all__ = ["Counts", "Module", "compile_module", "counts", "host", "imports"]

# Part of the keys: goes up when the same text is compiled to other code, or what is stored changes its form.
_GENERATION = "native 1"
_IMAGE, _OBJECT = b"I", b"O"


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
# Addresses of functions of other libraries, by the names under which texts declare them.
imports: dict[str, int] = {}


def host() -> Host:
    """Return the machine that this process runs on, found out at first use: from the store, else by LLVM."""
    global _host
    if _host is None:
        _host = _find_host()
    return _host


def _find_host() -> Host:
    key = host_key()
    known = store().get(key) if key else None
    if known is not None:
        try:
            return decode_host(known)
        except ValueError:
            pass
    from gradloomc.codegen.jit import compiler

    found = compiler().host
    if key:
        store().put(key, encode_host(found))
    return found


def compile_module(text: str, symbols: list[str]) -> Module:
    """Return the functions `symbols` of a module. The code stays for the life of the process.

    Raises:
        RuntimeError: LLVM does not understand the text, or the code cannot be put into memory.
    """
    if not symbols:
        return Module({}, "memory")
    key = digest(_GENERATION, host().signature, text)
    known = _modules.get(key)
    if known is not None and known.keys() >= set(symbols):
        counts.in_memory += 1
        return Module(known, "memory")
    addresses, source = _from_disk(key, symbols), "disk"
    if addresses is None:
        addresses, source = _from_llvm(key, text, symbols), "llvm"
    _modules[key] = addresses
    return Module(addresses, source)


def _from_disk(key: str, symbols: list[str]) -> dict[str, int] | None:
    stored = store().get(key)
    if stored is None:
        return None
    try:
        addresses = _load(stored, symbols)
    except (CannotLoad, ValueError):
        return None  # stored by something else than what reads it
    counts.from_disk += 1
    return addresses


def _from_llvm(key: str, text: str, symbols: list[str]) -> dict[str, int]:
    from gradloomc.codegen.jit import compiler

    data = compiler().emit(text)
    counts.compiled += 1
    try:
        content = _IMAGE + encode(flatten(data))
        addresses = _load(content, symbols)
    except (NotFlat, CannotLoad):
        content = _OBJECT + data
        addresses = _load(content, symbols)
    store().put(key, content)
    return addresses


def _load(content: bytes, symbols: list[str]) -> dict[str, int]:
    """Put what is stored into memory; return the addresses of at least `symbols`."""
    if content[:1] == _IMAGE:
        return load(decode(content[1:]), imports, symbols).symbols
    if content[:1] != _OBJECT:
        raise ValueError("neither image nor object")
    from gradloomc.codegen.jit import compiler

    counts.linked_by_llvm += 1
    return compiler().link(content[1:], symbols, imports)
