"""LLVM in a process of its own: text goes there, objects come back, and the user's process never holds LLVM's memory.

LLVM takes some 70 MB as soon as it is used, and cannot be given back. So the first module that has to be compiled
starts a small interpreter that imports jit.py and nothing of NumPy; it ends after a while without work, or with the
process that started it. It is no child (a shell starts it in the background), so that nobody waits for it by mistake.
A text that LLVM cannot survive costs that process, not the user's. Where it cannot be had (no POSIX, no shell, an
interpreter inside another program), LLVM is used in this process.

Environment:
    GRADLOOM_LLVM_PROCESS: "0" or "off" uses LLVM in this process.
"""

import atexit
import importlib.machinery
import os
import sys
import threading
from typing import Any

from gradloomc.codegen.host import Host, decode_host, encode_host

__all__ = ["LlvmProcess", "begin", "has_begun", "llvm", "peak_bytes", "serve"]

# How long the process waits for work. Programs that are going to be compiled mostly come close after one another.
_IDLE_SECONDS = 30.0
_START_SECONDS = 60.0
_FAMILY, _STREAM, _NO_SIGNAL = 1, 1, 0x4000  # AF_UNIX, SOCK_STREAM, MSG_NOSIGNAL (Linux)
# Requests: an optimisation level and a text to compile, or a text to show as assembly. Replies: how it went.
_ASSEMBLY = b"a"
_HEAD, _REPLY_HEAD = 9, 17  # a letter and a length; replies also say how much memory the process has taken

_START = "import sys; sys.path[:0] = sys.argv[1:]; from gradloomc.codegen.llvm_process import serve; serve()"
_SHELL = '"$@" 0<&3 3<&- >/dev/null 2>&1 &'

_lock = threading.Lock()


class _Lost(Exception):
    """The process is gone."""


class LlvmProcess:
    """The other end of a process that compiles; it is started again when it has ended for want of work.

    Attributes:
        pid: of the process, once something has been heard from it.
        started: how often it was started.
        peak_bytes: the most memory that it has taken.
    """

    def __init__(self) -> None:
        self._socket: Any = None
        self._host: Host | None = None
        self.pid = self.started = self.peak_bytes = 0
        self._start()

    @property
    def host(self) -> Host:
        """What LLVM says of this machine.

        Raises:
            OSError: the process cannot be had.
        """
        with _lock:
            if self._host is None:
                try:
                    self._meet()
                except _Lost as error:
                    raise OSError("LLVM's process did not start") from error
            assert self._host is not None
            return self._host

    def emit(self, text: str, level: int = 1) -> bytes:
        """Compile a module at a level of code generation; return the relocatable object.

        Raises:
            RuntimeError: LLVM does not understand the text.
            OSError: the process cannot be had.
        """
        return self._ask(b"%d" % level, text)

    def assembly(self, text: str) -> str:
        """Return the machine code of a module as assembly text; raises as `emit`."""
        return self._ask(_ASSEMBLY, text).decode()

    def forget(self) -> None:
        """Close this end; the process ends when nobody holds the other one."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _ask(self, kind: bytes, text: str) -> bytes:
        content = text.encode()
        request = kind + len(content).to_bytes(_HEAD - 1, "little") + content
        with _lock:
            try:
                status, answer = self._try(request)
            except (_Lost, ConnectionError):  # it may just have ended, for want of work
                self.forget()
                try:
                    status, answer = self._try(request)
                except (_Lost, ConnectionError) as error:
                    self.forget()
                    raise RuntimeError("LLVM ended without an answer to this module") from error
        if status != b"+":
            raise RuntimeError(answer.decode(errors="replace"))
        return answer

    def _try(self, request: bytes) -> tuple[bytes, bytes]:
        if self._socket is None:
            self._start()
        if self._host is None:
            self._meet()
        assert self._socket is not None
        self._socket.sendall(request, _NO_SIGNAL if sys.platform == "linux" else 0)
        return self._receive()

    def _start(self) -> None:
        """Start the process.

        Raises:
            OSError: it cannot be started.
        """
        import _socket  # what `socket` builds upon; that imports much

        ours, theirs = _socket.socketpair(_FAMILY, _STREAM)
        try:
            os.set_inheritable(theirs.fileno(), True)
            pid = os.posix_spawn(
                "/bin/sh",
                ["sh", "-c", _SHELL, "sh", sys.executable, "-I", "-S", "-c", _START, *_paths()],
                os.environ,
                file_actions=[(os.POSIX_SPAWN_DUP2, theirs.fileno(), 3)],
            )
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        try:
            os.waitpid(pid, 0)  # the shell, which does not wait for what it started
        except ChildProcessError:
            pass  # this program lets the system reap its children
        self._socket = ours
        self._host = None
        self.started += 1

    def _meet(self) -> None:
        """Hear from a process that was started that it is ready."""
        self._socket.settimeout(_START_SECONDS)
        try:
            _, answer = self._receive()
            self.pid = int.from_bytes(answer[:8], "little")
            self._host = decode_host(answer[8:])
        except (OSError, ValueError) as error:
            raise _Lost from error
        self._socket.settimeout(None)

    def _receive(self) -> tuple[bytes, bytes]:
        head = self._read(_REPLY_HEAD)
        self.peak_bytes = max(self.peak_bytes, int.from_bytes(head[9:], "little"))
        return head[:1], self._read(int.from_bytes(head[1:9], "little"))

    def _read(self, size: int) -> bytes:
        parts = bytearray()
        while len(parts) < size:
            part = self._socket.recv(min(size - len(parts), 1 << 20))
            if not part:
                raise _Lost
            parts += part
        return bytes(parts)


def _folder_of(package: str) -> str | None:
    """Return the folder in which a package lies, without importing it."""
    spec = importlib.machinery.PathFinder.find_spec(package)
    places = spec.submodule_search_locations if spec is not None else None
    return os.path.dirname(next(iter(places))) if places else None


def _paths() -> list[str]:
    return [os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), _folder_of("llvmlite") or ""]


def _possible() -> bool:
    """Tell whether this interpreter can start another one."""
    wanted = os.environ.get("GRADLOOM_LLVM_PROCESS", "").lower() not in ("0", "off", "no", "false")
    plain = os.path.basename(sys.executable or "").startswith("python") and not getattr(sys, "frozen", False)
    return wanted and plain and hasattr(os, "posix_spawn") and _folder_of("llvmlite") is not None


_process: LlvmProcess | bool | None = None  # False: it cannot be had


def has_begun() -> bool:
    """Tell whether LLVM has been started, or there is no process to be started."""
    return _process is not None


def begin() -> None:
    """Have the process started, if it can be had, without waiting for it."""
    global _process
    if _process is None:
        try:
            _process = LlvmProcess() if _possible() else False
        except OSError:
            _process = False
        else:
            atexit.register(_close)


def llvm() -> Any:
    """Return LLVM, there or here: `.host`, `.emit(text, level)`, `.assembly(text)`."""
    global _process
    begin()
    if _process:
        assert isinstance(_process, LlvmProcess)
        try:
            _process.host  # noqa: B018  it has to have come up once
            return _process
        except OSError:
            _process.forget()
            _process = False
    from gradloomc.codegen import jit

    return jit.compiler()


def _close() -> None:
    if isinstance(_process, LlvmProcess):
        _process.forget()


def peak_bytes() -> int:
    """Return the most memory that the process has taken; 0 if there was none."""
    return _process.peak_bytes if isinstance(_process, LlvmProcess) else 0


def _after_fork_in_child() -> None:
    """A child starts a process of its own."""
    global _process
    _lock.release()
    _close()
    _process = None


if hasattr(os, "register_at_fork"):
    # A child that is forked while another thread compiles would wait for the lock for ever.
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_after_fork_in_child)


# --- in the process ---


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
    """Import LLVM; without `importlib.resources`, which takes a third of the time and only says where a file is."""
    import types
    from contextlib import contextmanager

    class Folder(str):
        def __truediv__(self, name: str) -> str:
            return f"{self}/{name}"

    @contextmanager
    def as_file(path: Any) -> Any:
        yield path

    brief: Any = types.ModuleType("importlib.resources")
    brief.files, brief.as_file = lambda package: Folder(sys.modules[package].__path__[0]), as_file
    sys.modules["importlib.resources"] = brief
    try:
        from gradloomc.codegen import jit
    except (ImportError, AttributeError, TypeError, OSError):  # another llvmlite, which asks for more
        for name in [name for name in sys.modules if name.startswith(("llvmlite", "importlib.resources"))]:
            del sys.modules[name]
        from gradloomc.codegen import jit
    return jit


def _read_all(size: int) -> bytes:
    """Read so many bytes from standard input; end if the other side has."""
    parts = bytearray()
    while len(parts) < size:
        part = os.read(0, min(size - len(parts), 1 << 20))
        if not part:
            os._exit(0)
        parts += part
    return bytes(parts)
