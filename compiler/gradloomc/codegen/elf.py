"""Relocatable ELF objects, as LLVM emits them, as one flat, position-independent image.

A linker's work, done once, when an object is compiled: the sections are laid out one after another, references between
them are resolved for good, because they are relative to the place they stand at, and what remains is a short list of
words to fill in when the image is put into memory. That takes no LLVM, see `image.py`.

Knows x86-64 and AArch64 (System V ABI for x86-64, sections 4.3 and 4.4; ELF for the Arm 64-bit architecture, section
5.7), and only what code generation emits: code and constants. Anything else raises `NotFlat`, and LLVM's own linker
takes the object.
"""

import struct
from collections.abc import Callable, Sequence
from typing import NamedTuple

__all__ = ["Fixup", "Image", "NotFlat", "flatten"]

_SHT_PROGBITS, _SHT_SYMTAB, _SHT_RELA, _SHT_REL = 1, 2, 4, 9
_SHF_WRITE, _SHF_ALLOC, _SHF_EXECUTE, _SHF_TLS = 0x1, 0x2, 0x4, 0x400
_SHN_UNDEFINED, _SHN_RESERVED = 0, 0xFF00
_LARGEST_ALIGNMENT = 4096  # images start at a page
# Only unwinders read it, and nothing is ever unwound through generated code.
_IGNORED = (".eh_frame",)


class NotFlat(Exception):
    """The object holds something that a flat image cannot."""


class Fixup(NamedTuple):
    """A 64-bit word of an image that is known in memory only: the address of `symbol` plus `addend`.

    An empty symbol stands for the image itself.
    """

    place: int
    symbol: str
    addend: int


class Image(NamedTuple):
    """Code and constants that run wherever they are, once the fixups are filled in.

    Attributes:
        machine: the instruction set, as `os.uname` calls it.
        code: the bytes; they expect to start at a page.
        symbols: the global functions and where they start.
        fixups: the words to fill in.
    """

    machine: str
    code: bytes
    symbols: dict[str, int]
    fixups: tuple[Fixup, ...]


class _Section(NamedTuple):
    name: int
    type: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    info: int
    alignment: int
    entry_size: int


class _Symbol(NamedTuple):
    """A symbol: `section` is the index of its section, 0 if it is defined elsewhere."""

    name: str
    is_global: bool
    section: int
    value: int


class _Reference(NamedTuple):
    """One relocation, with everything that a machine's rule needs.

    Attributes:
        place: where in the image the reference stands.
        target: where in the image it points to, without `addend`; None if that is elsewhere.
        symbol: the name of what it points to.
    """

    type: int
    place: int
    target: int | None
    symbol: str
    addend: int


def flatten(data: bytes) -> Image:
    """Return the image of a relocatable object.

    Raises:
        NotFlat: the object is no ELF file, is for another machine, or has sections or relocations that are not known.
    """
    try:
        return _Linker(data).link()
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise NotFlat(f"malformed object: {error}") from error


class _Linker:
    """Lays out one object."""

    def __init__(self, data: bytes):
        if data[:7] != b"\x7fELF\x02\x01\x01":
            raise NotFlat("not a little-endian 64-bit ELF object")
        kind, number = struct.unpack_from("<HH", data, 16)
        if kind != 1 or number not in _MACHINES:
            raise NotFlat(f"ELF type {kind} for machine {number}")
        self.data = data
        self.machine = _MACHINES[number]
        (table,) = struct.unpack_from("<Q", data, 40)
        size, count, names = struct.unpack_from("<HHH", data, 58)
        self.sections = [_Section(*struct.unpack_from("<IIQQQQIIQQ", data, table + k * size)) for k in range(count)]
        self.names = self.sections[names]
        self.code = bytearray()
        self.starts: dict[int, int] = {}  # section -> place in the image
        self.stubs: dict[str, int] = {}
        self.words: dict[str, int] = {}
        self.fixups: list[Fixup] = []

    def link(self) -> Image:
        kept = [k for k, section in enumerate(self.sections) if self._is_kept(section)]
        # Code first, so that its offset from the start of a page is what LLVM aligned it to.
        for k in sorted(kept, key=lambda k: not self.sections[k].flags & _SHF_EXECUTE):
            section = self.sections[k]
            self._align(section.alignment)
            self.starts[k] = len(self.code)
            self.code += self.data[section.offset : section.offset + section.size]
        symbols = self._symbols()
        self._align(16)
        for section in self.sections:
            if section.info not in self.starts:
                continue
            if section.type == _SHT_REL:
                raise NotFlat("relocations without addends")
            if section.type == _SHT_RELA:
                for reference in self._references(section, symbols):
                    self.machine.apply(self, reference)
        ours = [symbol for symbol in symbols if symbol.is_global and symbol.section in self.starts]
        defined = {symbol.name: self.starts[symbol.section] + symbol.value for symbol in ours}
        return Image(self.machine.name, bytes(self.code), defined, tuple(self.fixups))

    def _is_kept(self, section: _Section) -> bool:
        if not section.flags & _SHF_ALLOC or self._string(self.names, section.name) in _IGNORED:
            return False
        if section.type != _SHT_PROGBITS or section.flags & (_SHF_WRITE | _SHF_TLS):
            raise NotFlat(f"section {self._string(self.names, section.name)}")
        if section.alignment > _LARGEST_ALIGNMENT:
            raise NotFlat(f"alignment {section.alignment}")
        return True

    def _align(self, alignment: int) -> None:
        self.code += bytes(-len(self.code) % max(1, alignment))

    def _string(self, table: _Section, at: int) -> str:
        start = table.offset + at
        return self.data[start : self.data.index(b"\0", start)].decode("ascii")

    def _symbols(self) -> list[_Symbol]:
        found = []
        for table in self.sections:
            if table.type != _SHT_SYMTAB:
                continue
            strings = self.sections[table.link]
            for at in range(table.offset, table.offset + table.size, 24):
                name, info, _, section, value, _ = struct.unpack_from("<IBBHQQ", self.data, at)
                found.append(_Symbol(self._string(strings, name), info >> 4 != 0, section, value))
        return found

    def _references(self, section: _Section, symbols: Sequence[_Symbol]) -> list[_Reference]:
        found = []
        start = self.starts[section.info]
        for at in range(section.offset, section.offset + section.size, 24):
            offset, info, addend = struct.unpack_from("<QQq", self.data, at)
            symbol = symbols[info >> 32]
            target = None
            if symbol.section in self.starts:
                target = self.starts[symbol.section] + symbol.value
            elif symbol.section != _SHN_UNDEFINED:
                raise NotFlat(f"reference to section {symbol.section}")
            found.append(_Reference(info & 0xFFFFFFFF, start + offset, target, symbol.name, addend))
        return found

    # --- what the rules of the machines use ---

    def target(self, reference: _Reference) -> int:
        """Return where in the image a reference points to: for what is defined elsewhere, to a stub that jumps on."""
        if reference.target is not None:
            return reference.target
        found = self.stubs.get(reference.symbol)
        if found is None:
            self._align(8)
            found = self.stubs[reference.symbol] = len(self.code)
            self.code += self.machine.stub
            self.fixups.append(Fixup(len(self.code), reference.symbol, 0))
            self.code += bytes(8)
        return found

    def word(self, reference: _Reference) -> int:
        """Return the place of a word that will hold the address that a reference points to."""
        found = self.words.get(reference.symbol)
        if found is None:
            self._align(8)
            found = self.words[reference.symbol] = len(self.code)
            self.code += bytes(8)
            self.absolute(reference._replace(place=found, addend=0))
        return found

    def absolute(self, reference: _Reference) -> None:
        """Leave a 64-bit address to be filled in in memory."""
        if reference.target is None:
            self.fixups.append(Fixup(reference.place, reference.symbol, reference.addend))
        else:
            self.fixups.append(Fixup(reference.place, "", reference.target + reference.addend))

    def store_relative(self, place: int, distance: int) -> None:
        """Store a signed 32-bit distance."""
        if not -(2**31) <= distance < 2**31:
            raise NotFlat("distance beyond 32 bits")
        struct.pack_into("<i", self.code, place, distance)

    def set_bits(self, place: int, value: int, shift: int, mask: int) -> None:
        """Put bits into the 32-bit instruction at a place."""
        (old,) = struct.unpack_from("<I", self.code, place)
        struct.pack_into("<I", self.code, place, old & ~(mask << shift) | (value & mask) << shift)


def _apply_x86(linker: _Linker, reference: _Reference) -> None:
    """Resolve one relocation of x86-64."""
    place, addend = reference.place, reference.addend
    match reference.type:
        case 1:  # R_X86_64_64
            linker.absolute(reference)
        case 2 | 4:  # PC32, PLT32
            linker.store_relative(place, linker.target(reference) + addend - place)
        case 9 | 41 | 42:  # GOTPCREL, GOTPCRELX, REX_GOTPCRELX
            linker.store_relative(place, linker.word(reference) + addend - place)
        case _:
            raise NotFlat(f"relocation {reference.type}")


def _apply_arm(linker: _Linker, reference: _Reference) -> None:
    """Resolve one relocation of AArch64."""
    place, type = reference.place, reference.type
    match type:
        case 257:  # ABS64
            linker.absolute(reference)
        case 261:  # PREL32
            linker.store_relative(place, linker.target(reference) + reference.addend - place)
        case 282 | 283:  # JUMP26, CALL26
            distance = linker.target(reference) + reference.addend - place
            if not -(2**27) <= distance < 2**27:
                raise NotFlat("branch beyond 128 MB")
            linker.set_bits(place, distance >> 2, 0, 0x3FFFFFF)
        case 275 | 311:  # ADR_PREL_PG_HI21, ADR_GOT_PAGE
            goal = linker.word(reference) if type == 311 else linker.target(reference) + reference.addend
            pages = (goal >> 12) - (place >> 12)
            linker.set_bits(place, pages, 29, 0x3)
            linker.set_bits(place, pages >> 2, 5, 0x7FFFF)
        case 312:  # LD64_GOT_LO12_NC
            linker.set_bits(place, (linker.word(reference) & 0xFFF) >> 3, 10, 0xFFF)
        case 277 | 278 | 284 | 285 | 286 | 299:  # ADD_ABS_LO12_NC, LDST{8,16,32,64,128}_ABS_LO12_NC
            scale = {277: 0, 278: 0, 284: 1, 285: 2, 286: 3, 299: 4}[type]
            low = (linker.target(reference) + reference.addend) & 0xFFF
            linker.set_bits(place, low >> scale, 10, 0xFFF)
        case _:
            raise NotFlat(f"relocation {type}")


class _Machine(NamedTuple):
    """An instruction set: its name, a jump to the address in the word behind it, and its relocations."""

    name: str
    stub: bytes
    apply: Callable[[_Linker, _Reference], None]


_MACHINES = {
    # jmp *2(%rip), which skips two bytes of padding
    62: _Machine("x86_64", bytes.fromhex("ff2502000000 0f0b"), _apply_x86),
    # ldr x16, .+8; br x16
    183: _Machine("aarch64", bytes.fromhex("50000058 00021fd6"), _apply_arm),
}
