"""What runs in LLVM's own process: answers the requests of `llvm_process.py`, which starts it and says what they are.

Its start is most of what a first call waits for, so it loads nothing that it can do without: of llvmlite only the
parts that compile (a third of its modules, none of `llvmlite.ir`), and of ours only `jit.py` and what that needs. It
imports neither NumPy nor `typing`.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from importlib.machinery import PathFinder

from gradloomc.codegen.cache import store
from gradloomc.codegen.host import encode_host, host_key

__all__ = ["serve"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# How long the process waits for work. Programs that are going to be compiled mostly come close after one another.
_IDLE_SECONDS = 30.0
_ASSEMBLY = b"a"
_HEAD = 9

# What jit.py takes from llvmlite.binding, by the module in which it is.
_PARTS = {
    "initfini": ("initialize_native_target", "initialize_native_asmprinter"),
    "targets": ("Target", "get_host_cpu_features", "get_host_cpu_name", "get_process_triple"),
    "module": ("parse_assembly",),
}


def serve() -> None:
    """Answer requests on standard input until it ends, or nothing has come for a while."""
    import resource
    import select

    os.chdir("/")
    compiler = _import_jit().compiler()

    def reply(status: bytes, content: bytes) -> None:
        unit = 1 if sys.platform == "darwin" else 1024
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
        message = memoryview(status + len(content).to_bytes(8, "little") + peak.to_bytes(8, "little") + content)
        while message:
            message = message[os.write(0, message) :]

    reply(b"+", os.getpid().to_bytes(8, "little") + encode_host(compiler.host))
    key = host_key()
    if key and store().get(key) is None:
        store().put(key, encode_host(compiler.host))  # also where nobody waits to hear it
    while select.select([0], [], [], _IDLE_SECONDS)[0]:
        head = _read_all(_HEAD)
        text = _read_all(int.from_bytes(head[1:], "little")).decode()
        try:
            kind = head[:1]
            answer = compiler.assembly(text).encode() if kind == _ASSEMBLY else compiler.emit(text, int(kind))
        except RuntimeError as error:
            reply(b"-", str(error).encode())
        else:
            reply(b"+", answer)
    os._exit(0)  # taking LLVM down takes time


def _import_jit() -> Any:
    """Import LLVM; of llvmlite only what compiles, if this llvmlite is divided as expected."""
    try:
        _import_parts()
        from gradloomc.codegen import jit
    except (ImportError, AttributeError, TypeError, OSError):  # another llvmlite, which asks for more
        for name in [name for name in sys.modules if name.startswith(("llvmlite", "importlib.resources"))]:
            del sys.modules[name]
        from gradloomc.codegen import jit
    return jit


def _import_parts() -> None:
    """Put modules in the place of packages that take long to import: each holds what is used, or nothing."""
    module = type(sys)

    class Path(str):
        def __truediv__(self, name: str) -> Path:
            return Path(f"{self}/{name}")

        def __enter__(self) -> Path:
            return self

        def __exit__(self, *_: object) -> None:
            pass

    # It only says where the library is.
    resources = module("importlib.resources")
    resources.files = lambda package: Path(sys.modules[package].__path__[0])  # pyright: ignore[reportAttributeAccessIssue]
    resources.as_file = lambda path: path  # pyright: ignore[reportAttributeAccessIssue]
    sys.modules["importlib.resources"] = resources
    # llvmlite.binding.typeref has a table of its types, which nobody asks for here.
    representation = module("llvmlite.ir")
    representation.__getattr__ = lambda name: None  # type: ignore[method-assign]
    binding = module("llvmlite.binding")
    spec = PathFinder.find_spec("llvmlite")
    folders = spec.submodule_search_locations if spec else None
    if not folders:
        raise ImportError("llvmlite")
    binding.__path__ = [f"{folder}/binding" for folder in folders]
    sys.modules.update({"llvmlite.ir": representation, "llvmlite.binding": binding})
    for part, names in _PARTS.items():
        found = import_module(f"llvmlite.binding.{part}")
        for name in names:
            setattr(binding, name, getattr(found, name))


def _read_all(size: int) -> bytes:
    """Read so many bytes from standard input; end if the other side has."""
    parts = bytearray()
    while len(parts) < size:
        part = os.read(0, min(size - len(parts), 1 << 20))
        if not part:
            os._exit(0)
        parts += part
    return bytes(parts)
