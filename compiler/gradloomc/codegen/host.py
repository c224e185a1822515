"""The machine that code is made for: its CPU and the width of its vectors.

LLVM knows it, but loading LLVM takes longer than all else that a warm start does. So what LLVM once said can be kept,
under a key of what the operating system says of the processor and of the installed llvmlite.
"""

import importlib.machinery
import marshal
import os
import sys

from gradloomc.codegen.cache import digest

__all__ = ["Host", "decode_host", "encode_host", "host_key"]


class Host:
    """What code generation and the keys of compiled code need to know of the machine and of LLVM.

    Attributes:
        version: of llvmlite.
        triple, cpu, features: as LLVM calls them.
        vector_bits: the width of a vector register.
    """

    __slots__ = ("cpu", "features", "triple", "vector_bits", "version")

    def __init__(self, version: str, triple: str, cpu: str, features: str, vector_bits: int):
        self.version, self.triple, self.cpu, self.features = version, triple, cpu, features
        self.vector_bits = vector_bits

    @property
    def function_attributes(self) -> str:
        """Attributes that every generated function carries.

        Without the widths LLVM halves 512-bit vectors on some CPUs. Without a frame pointer from the start it cannot
        align the stack once it has to spill vectors, and each of them would lie across two cache lines.
        """
        width = self.vector_bits
        return f'nounwind "frame-pointer"="all" "prefer-vector-width"="{width}" "min-legal-vector-width"="{width}"'

    @property
    def signature(self) -> str:
        """Text that differs where compiled code differs."""
        return f"{self.version} {self.triple} {self.cpu} {self.features}"


# Lines of Linux' /proc/cpuinfo that say what a processor can do; the others count or change.
_PROCESSOR_LINES = frozenset(
    [b"vendor_id", b"cpu family", b"model", b"model name", b"stepping", b"flags", b"Features"]
    + [b"CPU " + word for word in (b"implementer", b"architecture", b"variant", b"part", b"revision")]
)
_CPUINFO_BYTES = 16384  # the first processors; reading all of hundreds takes long


def processor_text() -> bytes | None:
    """Return what the operating system says of the processor; None if that is not known to be enough."""
    try:
        with open("/proc/cpuinfo", "rb", buffering=0) as file:
            text = file.read(_CPUINFO_BYTES)
    except OSError:
        return None
    lines = dict.fromkeys(line for line in text.split(b"\n") if line.partition(b"\t")[0].rstrip() in _PROCESSOR_LINES)
    # Virtual machines hide features, so the model alone does not say what there is.
    if not any(line.startswith((b"flags", b"Features")) for line in lines):
        return None
    return b"\n".join(lines)


def llvmlite_text() -> bytes | None:
    """Return what tells one installed llvmlite from another, without importing it; None if it is not found."""
    spec = importlib.machinery.PathFinder.find_spec("llvmlite")
    if spec is None or not spec.submodule_search_locations:
        return None
    for folder in spec.submodule_search_locations:
        try:
            with open(os.path.join(folder, "_version.py"), "rb", buffering=0) as file:
                version = file.read()
            library = os.stat(os.path.join(folder, "binding", "libllvmlite.so"))
        except OSError:
            continue
        return version + f"\n{library.st_size} {library.st_mtime_ns}".encode()
    return None


def host_key() -> str | None:
    """Return the key under which the store keeps what LLVM said of this machine; None where LLVM is to be asked."""
    processor, library = processor_text(), llvmlite_text()
    if processor is None or library is None:
        return None
    return digest("host 1", sys.platform, processor, library)


def encode_host(host: Host) -> bytes:
    """Return a host as bytes."""
    return marshal.dumps((host.version, host.triple, host.cpu, host.features, host.vector_bits), 4)


def decode_host(data: bytes) -> Host:
    """Return the host that `encode_host` made bytes of.

    Raises:
        ValueError: it did not.
    """
    try:
        return Host(*marshal.loads(data))
    except (TypeError, EOFError) as error:
        raise ValueError(f"no host: {error}") from error
