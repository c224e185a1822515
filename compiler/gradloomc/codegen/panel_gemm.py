"""Matrix products in panels, as LLVM IR text: what a general BLAS loses on matrices of some hundred rows, won back.

`gemm` computes c = alpha op(a) op(b) + beta c on matrices stored by rows. Three registers' width of b is copied into a
panel that stays in cache, and tiles of 8 rows of the result are summed in 24 registers while a is read in place: no
operand is packed that is used but once. It is meant for AVX-512, whose 32 registers hold such a tile. Each element is
one chain of fused multiply-adds over at most `DEPTH` terms, then added to what was there: its bits do not depend on
where a result is cut.

The scheme is that of Goto and van de Geijn, "Anatomy of high-performance matrix multiplication" (2008), less the
packing of a. What is too small for panels goes to the BLAS behind the same call. It knows no library, and no threads.
"""

from collections.abc import Sequence

from gradloomc.codegen.gemm import LARGE, SYMBOLS, Convention, declaration
from gradloomc.codegen.instructions import memory_scalar
from gradloomc.codegen.x86 import AVX512, features_of
from gradloomc.ir.types import ScalarType

REGISTER_BYTES = 64
# Of a tile: its rows, and at most so many registers in a row.
ROWS, REGISTERS = 8, 3
# Terms between two looks at the result: a panel of so many rows, and a strip of a, fit into the first cache.
DEPTH = 192
# Where a lies transposed, blocks of so many of its rows are copied too, in strips of a tile's rows: read in place, each
# term of a tile would lie in another page.
BLOCK_ROWS = 128
# Smaller products are the library's, which has other ways for them, and so are large ones, for which packing both
# operands costs it little. What threads cut from a product is computed as the whole would be (`shared_gemm.py`).
LEAST_SIDE, LEAST_DEPTH = 16, 8
LEAST_WORK, LEAST_WORK_TRANSPOSED = 1 << 20, LARGE  # multiply-adds; the second where b lies transposed
MOST_BYTES_BITS = 29  # multiply-adds times the size of an element
_TRANSPOSED = 112  # CBLAS's number


def gemm_symbol(element: ScalarType) -> str:
    """Return the name of the function for all products, which is called as `Convention` says of CBLAS."""
    return f"gradloom_gemm_{element}"


def panels_symbol(element: ScalarType) -> str:
    """Return the name of the function that takes the same and always works in panels; there are 8 rows at least."""
    return f"gradloom_panels_{element}"


def takes(element: ScalarType, name: str) -> str:
    """Return lines that tell as `%{name}` whether a product %m by %n of %k terms is computed in panels.

    `%tb` says whether b lies transposed.
    """
    return f"""  %{name}.m = icmp uge i64 %m, {LEAST_SIDE}
  %{name}.n = icmp uge i64 %n, {LEAST_SIDE}
  %{name}.k = icmp uge i64 %k, {LEAST_DEPTH}
  %{name}.mn = and i1 %{name}.m, %{name}.n
  %{name}.mnk = and i1 %{name}.mn, %{name}.k
  %{name}.area = mul i64 %m, %n
  %{name}.work = mul i64 %{name}.area, %k
  %{name}.least = select i1 %tb, i64 {LEAST_WORK_TRANSPOSED}, i64 {LEAST_WORK}
  %{name}.large = icmp uge i64 %{name}.work, %{name}.least
  %{name}.huge = icmp ugt i64 %{name}.work, {(1 << MOST_BYTES_BITS) // element.itemsize}
  %{name}.not.huge = xor i1 %{name}.huge, true
  %{name}.sized = and i1 %{name}.large, %{name}.not.huge
  %{name} = and i1 %{name}.mnk, %{name}.sized"""


def has_panels(attributes: str, convention: Convention) -> bool:
    """Tell whether products on a machine of these function attributes may be computed in panels."""
    return convention.cblas and AVX512 in features_of(attributes)


def panel_gemm_text(element: ScalarType, convention: Convention, attributes: str) -> str:
    """Return the module of `gemm_symbol` and `panels_symbol`; it calls the library for what is not done in panels."""
    writer = _Writer(element)
    parts = [
        *writer.declarations(),
        *[writer.tile(registers) for registers in range(1, REGISTERS + 1)],
        *[writer.pack(registers) for registers in range(1, REGISTERS + 1)],
        writer.pack_transposed(),
        writer.panels(),
        *writer.entries(convention),
        f"attributes #0 = {{ {attributes} }}",
    ]
    return "\n".join(parts) + "\n"


class _Writer:
    """The functions for one element type, each as text."""

    def __init__(self, element: ScalarType):
        self.element = element
        self.t = memory_scalar(element)
        self.size = element.itemsize
        self.width = REGISTER_BYTES // self.size
        self.vector, self.mask = f"<{self.width} x {self.t}>", f"<{self.width} x i1>"
        self.suffix = f"v{self.width}{element}"

    def declarations(self) -> list[str]:
        v, m = self.vector, self.mask
        return [
            *[f"declare i64 @llvm.{name}.i64(i64, i64)" for name in ("umin", "umax", "usub.sat")],
            "declare void @llvm.prefetch.p0(ptr, i32, i32, i32)",
            f"declare {v} @llvm.masked.load.{self.suffix}.p0(ptr, i32, {m}, {v})",
            f"declare void @llvm.masked.store.{self.suffix}.p0({v}, ptr, i32, {m})",
            f"declare {v} @llvm.fma.{self.suffix}({v}, {v}, {v})",
        ]

    def load(self, name: str, pointer: str, mask: str | None) -> str:
        """Return the line that loads a vector, of which `mask` may leave elements out."""
        if mask is None:
            return f"  {name} = load {self.vector}, ptr {pointer}, align {self.size}"
        zero = f"{self.vector} zeroinitializer"
        which = f"ptr {pointer}, i32 {self.size}, {self.mask} {mask}, {zero}"
        return f"  {name} = call {self.vector} @llvm.masked.load.{self.suffix}.p0({which})"

    def store(self, value: str, pointer: str, mask: str | None) -> str:
        if mask is None:
            return f"  store {self.vector} {value}, ptr {pointer}, align {self.size}"
        which = f"{self.vector} {value}, ptr {pointer}, i32 {self.size}, {self.mask} {mask}"
        return f"  call void @llvm.masked.store.{self.suffix}.p0({which})"

    def splat(self, name: str, scalar: str) -> list[str]:
        v = self.vector
        return [
            f"  {name}.one = insertelement {v} poison, {self.t} {scalar}, i64 0",
            f"  {name} = shufflevector {v} {name}.one, {v} poison, <{self.width} x i32> zeroinitializer",
        ]

    def first_lanes(self, name: str, count: str) -> list[str]:
        """Return lines that make the mask of the first `count` elements."""
        v = f"<{self.width} x i64>"
        positions = ", ".join(f"i64 {lane}" for lane in range(self.width))
        return [
            f"  {name}.one = insertelement {v} poison, i64 {count}, i64 0",
            f"  {name}.all = shufflevector {v} {name}.one, {v} poison, <{self.width} x i32> zeroinitializer",
            f"  {name} = icmp ult {v} <{positions}>, {name}.all",
        ]

    def tile(self, registers: int) -> str:
        """Write `tile_R(k, a, row and term steps of a, panel, c, ldc, alpha, beta, mask, skip)`: 8 rows of a panel.

        The last register of a row has the elements of the mask. The first `skip` rows are not stored: others have them.
        Memory is asked for the lines of the result beforehand.
        """
        t, v, width = self.t, self.vector, self.width
        places = [(row, column) for row in range(ROWS) for column in range(registers)]
        lines = [
            f"define internal void @tile_{registers}(i64 %k, ptr %a, i64 %row, i64 %term, ptr %panel, ptr %c, "
            f"i64 %ldc, {t} %alpha, {t} %beta, {self.mask} %mask, i64 %skip) #0 {{",
            "entry:",
            *[f"  %row{row} = mul i64 %row, {row}" for row in range(1, ROWS)],
            *self.result_places(places),
            *self.splat("%alphas", "%alpha"),
            *self.splat("%betas", "%beta"),
            f"  %read = fcmp une {v} %betas, zeroinitializer",
            f"  %some = and {self.mask} %read, %mask",
            "  br label %terms",
            "terms:",
            "  %p = phi i64 [ 0, %entry ], [ %p1, %terms ]",
            "  %at = phi ptr [ %a, %entry ], [ %at1, %terms ]",
            "  %from = phi ptr [ %panel, %entry ], [ %from1, %terms ]",
        ]
        for row, column in places:
            lines.append(f"  %s{row}.{column} = phi {v} [ zeroinitializer, %entry ], [ %n{row}.{column}, %terms ]")
        for column in range(registers):
            lines.append(f"  %q{column} = getelementptr {t}, ptr %from, i64 {column * width}")
            lines.append(f"  %w{column} = load {v}, ptr %q{column}, align {REGISTER_BYTES}")
        for row in range(ROWS):
            at = f"%at{row}." if row else "%at"
            if row:
                lines.append(f"  {at} = getelementptr {t}, ptr %at, i64 %row{row}")
            lines += [f"  %x{row} = load {t}, ptr {at}, align {self.size}", *self.splat(f"%y{row}", f"%x{row}")]
            for column in range(registers):
                operands = f"{v} %y{row}, {v} %w{column}, {v} %s{row}.{column}"
                lines.append(f"  %n{row}.{column} = call {v} @llvm.fma.{self.suffix}({operands})")
        lines += [
            f"  %at1 = getelementptr {t}, ptr %at, i64 %term",
            f"  %from1 = getelementptr {t}, ptr %from, i64 {registers * width}",
            "  %p1 = add nuw i64 %p, 1",
            "  %more = icmp ult i64 %p1, %k",
            "  br i1 %more, label %terms, label %rows0",
        ]
        for row in range(ROWS):
            lines += self.store_row(row, registers)
        return "\n".join([*lines, f"rows{ROWS}:", "  ret void", "}"])

    def result_places(self, places: Sequence[tuple[int, int]]) -> list[str]:
        """Return lines that compute the addresses of a tile's registers in the result, and ask memory for them."""
        lines = []
        for row, column in places:
            if column == 0:
                lines += [
                    f"  %far{row} = mul i64 %ldc, {row}",
                    f"  %c{row} = getelementptr {self.t}, ptr %c, i64 %far{row}",
                ]
            place = f"%c{row}.{column}"
            lines += [
                f"  {place} = getelementptr {self.t}, ptr %c{row}, i64 {column * self.width}",
                f"  call void @llvm.prefetch.p0(ptr {place}, i32 1, i32 3, i32 1)",
            ]
        return lines

    def store_row(self, row: int, registers: int) -> list[str]:
        """Return the blocks that add a row of a tile to what the result holds times beta: none is read if beta is 0."""
        v = self.vector
        lines = [
            f"rows{row}:",
            f"  %mine{row} = icmp ule i64 %skip, {row}",
            f"  br i1 %mine{row}, label %row{row}.is, label %rows{row + 1}",
            f"row{row}.is:",
        ]
        for column in range(registers):
            last = column == registers - 1
            operands = f"{v} %o{row}.{column}, {v} %betas, {v} %v{row}.{column}"
            lines += [
                f"  %v{row}.{column} = fmul {v} %n{row}.{column}, %alphas",
                self.load(f"%o{row}.{column}", f"%c{row}.{column}", "%some" if last else "%read"),
                f"  %u{row}.{column} = call {v} @llvm.fma.{self.suffix}({operands})",
                self.store(f"%u{row}.{column}", f"%c{row}.{column}", "%mask" if last else None),
            ]
        return [*lines, f"  br label %rows{row + 1}"]

    def pack(self, registers: int) -> str:
        """Write `pack_R(k, b, ldb, panel, mask)`: copies a panel of b, whose last register has the mask's elements."""
        t = self.t
        lines = [
            f"define internal void @pack_{registers}(i64 %k, ptr %b, i64 %ldb, ptr %panel, {self.mask} %mask) #0 {{",
            "entry:",
            "  br label %terms",
            "terms:",
            "  %p = phi i64 [ 0, %entry ], [ %p1, %terms ]",
            "  %from = phi ptr [ %b, %entry ], [ %from1, %terms ]",
            "  %to = phi ptr [ %panel, %entry ], [ %to1, %terms ]",
        ]
        for column in range(registers):
            lines += [
                f"  %q{column} = getelementptr {t}, ptr %from, i64 {column * self.width}",
                f"  %r{column} = getelementptr {t}, ptr %to, i64 {column * self.width}",
                self.load(f"%w{column}", f"%q{column}", "%mask" if column == registers - 1 else None),
                f"  store {self.vector} %w{column}, ptr %r{column}, align {REGISTER_BYTES}",
            ]
        return "\n".join([
            *lines,
            f"  %from1 = getelementptr {t}, ptr %from, i64 %ldb",
            f"  %to1 = getelementptr {t}, ptr %to, i64 {registers * self.width}",
            "  %p1 = add nuw i64 %p, 1",
            "  %more = icmp ult i64 %p1, %k",
            "  br i1 %more, label %terms, label %done",
            "done:",
            "  ret void",
            "}",
        ])  # fmt: skip

    def pack_transposed(self) -> str:
        """Write `pack_transposed(k, b, ldb, panel, step, columns)`: one register's width of a panel.

        b lies transposed, so rows of memory are columns of it: squares of a register's width turn in registers. Rows
        beyond the last are replaced by it (they end in elements that are not stored), and the panel has room for terms
        up to the next multiple of a register.
        """
        t, v, width = self.t, self.vector, self.width
        lines = [
            "define internal void @pack_transposed(i64 %k, ptr %b, i64 %ldb, ptr %panel, i64 %step, i64 %columns) #0 {",
            "entry:",
            "  %last = sub i64 %columns, 1",
        ]
        for lane in range(width):
            lines += [
                f"  %least{lane} = call i64 @llvm.umin.i64(i64 {lane}, i64 %last)",
                f"  %far{lane} = mul i64 %least{lane}, %ldb",
                f"  %b{lane} = getelementptr {t}, ptr %b, i64 %far{lane}",
            ]
        lines += [
            "  br label %terms",
            "terms:",
            "  %p = phi i64 [ 0, %entry ], [ %p1, %terms ]",
            "  %left = sub i64 %k, %p",
            *self.first_lanes("%mask", "%left"),
        ]
        values = []
        for lane in range(width):
            lines.append(f"  %q{lane} = getelementptr {t}, ptr %b{lane}, i64 %p")
            lines.append(self.load(f"%w{lane}", f"%q{lane}", "%mask"))
            values.append(f"%w{lane}")
        half = 1
        while half < width:
            # Squares of 2 x 2 blocks of `half` turn: each exchanges the blocks beside its diagonal.
            masks = []
            for upper in (False, True):
                lanes = []
                for lane in range(width):
                    first = not lane & half
                    own = lane + half if upper else lane
                    other = width + lane if upper else width + lane - half
                    lanes.append(f"i32 {own if first else other}")
                masks.append(f"<{width} x i32> <{', '.join(lanes)}>")
            turned = list(values)
            for lane in range(width):
                if lane & half:
                    continue
                pair = f"{v} {values[lane]}, {v} {values[lane + half]}"
                for upper, mask in enumerate(masks):
                    name = f"%h{half}.{lane + upper * half}"
                    lines.append(f"  {name} = shufflevector {pair}, {mask}")
                    turned[lane + upper * half] = name
            values = turned
            half *= 2
        for lane, value in enumerate(values):
            lines += [
                f"  %t{lane} = add nuw i64 %p, {lane}",
                f"  %o{lane} = mul i64 %t{lane}, %step",
                f"  %r{lane} = getelementptr {t}, ptr %panel, i64 %o{lane}",
                f"  store {v} {value}, ptr %r{lane}, align {REGISTER_BYTES}",
            ]
        return "\n".join([
            *lines,
            f"  %p1 = add nuw i64 %p, {width}",
            "  %more = icmp ult i64 %p1, %k",
            "  br i1 %more, label %terms, label %done",
            "done:",
            "  ret void",
            "}",
        ])  # fmt: skip

    def panels(self) -> str:
        """Write `panels(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)`: the loops around tiles."""
        t, width = self.t, self.width
        sizes = ", ".join(f"i64 %{name}" for name in ("m", "n", "k"))
        lines = [
            f"define internal void @panels(i1 %ta, i1 %tb, {sizes}, {t} %alpha, ptr %a, i64 %lda, ptr %b, i64 %ldb, "
            f"{t} %beta, ptr %c, i64 %ldc) #0 {{",
            "entry:",
            f"  %panel = alloca [{(DEPTH + width) * REGISTERS * width} x {t}], align {REGISTER_BYTES}",
            f"  %packed = alloca [{DEPTH * BLOCK_ROWS} x {t}], align {REGISTER_BYTES}",
            "  %a.row = select i1 %ta, i64 1, i64 %lda",
            "  %a.term = select i1 %ta, i64 %lda, i64 1",
            "  %b.row = select i1 %tb, i64 1, i64 %ldb",
            "  %b.column = select i1 %tb, i64 %ldb, i64 1",
            f"  %n.up = add i64 %n, {width - 1}",
            f"  %count = udiv i64 %n.up, {width}",
            f"  %block.rows = select i1 %ta, i64 {BLOCK_ROWS}, i64 %m",
            # Steps from row to row, from term to term, and from one strip of rows to the next.
            "  %row = select i1 %ta, i64 1, i64 %a.row",
            f"  %term = select i1 %ta, i64 {ROWS}, i64 %a.term",
            f"  %loose.strip = mul i64 %a.row, {ROWS}",
            f"  %strip.step = select i1 %ta, i64 {DEPTH * ROWS}, i64 %loose.strip",
            "  br label %depths",
            "depths:",
            "  %p = phi i64 [ 0, %entry ], [ %p1, %deeper ]",
            f"  %b2 = phi {t} [ %beta, %entry ], [ 1.0, %deeper ]",
            "  %p.left = sub i64 %k, %p",
            f"  %depth = call i64 @llvm.umin.i64(i64 %p.left, i64 {DEPTH})",
            "  %a.far = mul i64 %p, %a.term",
            f"  %a.p = getelementptr {t}, ptr %a, i64 %a.far",
            "  %b.far = mul i64 %p, %b.row",
            f"  %b.p = getelementptr {t}, ptr %b, i64 %b.far",
            "  br label %blocks",
            "blocks:",
            # A block of rows starts at row %u. The last one has a whole strip at least, of which some rows have been
            # computed before; they are not stored twice.
            "  %u = phi i64 [ 0, %depths ], [ %u1, %lower ]",
            f"  %u.most = sub i64 %m, {ROWS}",
            "  %u.begin = call i64 @llvm.umin.i64(i64 %u, i64 %u.most)",
            "  %u.left = sub i64 %m, %u.begin",
            "  %rows = call i64 @llvm.umin.i64(i64 %u.left, i64 %block.rows)",
            f"  %strip.most = sub i64 %rows, {ROWS}",
            "  %u.done = sub i64 %u, %u.begin",
            "  %a.far2 = mul i64 %u.begin, %a.row",
            f"  %a.u = getelementptr {t}, ptr %a.p, i64 %a.far2",
            "  %c.far = mul i64 %u.begin, %ldc",
            f"  %c.u = getelementptr {t}, ptr %c, i64 %c.far",
            "  %a.from = select i1 %ta, ptr %packed, ptr %a.u",
            "  br i1 %ta, label %packing, label %columns",
            "packing:",
            "  %v = phi i64 [ 0, %blocks ], [ %v1, %packing.next ]",
            "  %v.afar = mul i64 %v, %lda",
            f"  %v.a = getelementptr {t}, ptr %a.u, i64 %v.afar",
            f"  %v.far = mul i64 %v, {ROWS}",
            f"  %v.packed = getelementptr {t}, ptr %packed, i64 %v.far",
            "  br label %packing.strip",
            "packing.strip:",
            "  %x = phi i64 [ 0, %packing ], [ %x1, %packing.strip ]",
            "  %x.to = phi ptr [ %v.packed, %packing ], [ %x.to1, %packing.strip ]",
            "  %x.begin = call i64 @llvm.umin.i64(i64 %x, i64 %strip.most)",
            f"  %x.a = getelementptr {t}, ptr %v.a, i64 %x.begin",
            f"  %x.value = load <{ROWS} x {t}>, ptr %x.a, align {self.size}",
            f"  store <{ROWS} x {t}> %x.value, ptr %x.to, align {ROWS * self.size}",
            f"  %x.to1 = getelementptr {t}, ptr %x.to, i64 %strip.step",
            f"  %x1 = add nuw i64 %x, {ROWS}",
            "  %x.more = icmp ult i64 %x1, %rows",
            "  br i1 %x.more, label %packing.strip, label %packing.next",
            "packing.next:",
            "  %v1 = add nuw i64 %v, 1",
            "  %v.more = icmp ult i64 %v1, %depth",
            "  br i1 %v.more, label %packing, label %columns",
            "columns:",
            "  %j = phi i64 [ 0, %blocks ], [ 0, %packing.next ], [ %j1, %next ]",
            # Registers of the next panel: the last four make two pairs.
            "  %left = sub i64 %count, %j",
            "  %four = icmp eq i64 %left, 4",
            f"  %fewer = call i64 @llvm.umin.i64(i64 %left, i64 {REGISTERS})",
            "  %registers = select i1 %four, i64 2, i64 %fewer",
            f"  %first = mul i64 %j, {width}",
            "  %wide = sub i64 %n, %first",
            "  %before = sub i64 %registers, 1",
            f"  %before.n = mul i64 %before, {width}",
            "  %tail = sub i64 %wide, %before.n",
            *self.first_lanes("%mask", "%tail"),
            "  %b.far2 = mul i64 %first, %b.column",
            f"  %b.j = getelementptr {t}, ptr %b.p, i64 %b.far2",
            f"  %c.j = getelementptr {t}, ptr %c.u, i64 %first",
            "  br i1 %tb, label %turn, label %copy",
            "turn:",
            f"  %step = mul i64 %registers, {width}",
            "  br label %strip",
            "strip:",
            "  %s = phi i64 [ 0, %turn ], [ %s1, %strip ]",
            f"  %s.first = mul i64 %s, {width}",
            "  %s.far = mul i64 %s.first, %ldb",
            f"  %s.b = getelementptr {t}, ptr %b.j, i64 %s.far",
            f"  %s.panel = getelementptr {t}, ptr %panel, i64 %s.first",
            "  %s.columns = sub i64 %wide, %s.first",
            "  call void @pack_transposed(i64 %depth, ptr %s.b, i64 %ldb, ptr %s.panel, i64 %step, i64 %s.columns)",
            "  %s1 = add nuw i64 %s, 1",
            "  %s.more = icmp ult i64 %s1, %registers",
            "  br i1 %s.more, label %strip, label %use",
            *self.switch("copy", "pack", f"(i64 %depth, ptr %b.j, i64 %ldb, ptr %panel, {self.mask} %mask)", "use"),
            "use:",
            "  br label %strips",
            "strips:",
            "  %i = phi i64 [ 0, %use ], [ %i1, %below ]",
            "  %i.strip = phi ptr [ %a.from, %use ], [ %i.strip1, %below ]",
            # The last rows are those of a whole strip too, of which the first have been stored.
            "  %i.begin = call i64 @llvm.umin.i64(i64 %i, i64 %strip.most)",
            "  %i.back = sub i64 %i, %i.begin",
            "  %i.behind = mul i64 %i.back, %a.row",
            "  %i.minus = sub i64 0, %i.behind",
            "  %i.offset = select i1 %ta, i64 0, i64 %i.minus",
            f"  %i.a = getelementptr {t}, ptr %i.strip, i64 %i.offset",
            "  %i.done = call i64 @llvm.umax.i64(i64 %i, i64 %u.done)",
            "  %skip = call i64 @llvm.usub.sat.i64(i64 %i.done, i64 %i.begin)",
            "  %c.far2 = mul i64 %i.begin, %ldc",
            f"  %i.c = getelementptr {t}, ptr %c.j, i64 %c.far2",
            "  br label %tile",
            *self.switch(
                "tile",
                "tile",
                f"(i64 %depth, ptr %i.a, i64 %row, i64 %term, ptr %panel, ptr %i.c, i64 %ldc, {t} %alpha, {t} %b2, "
                f"{self.mask} %mask, i64 %skip)",
                "below",
            ),
            "below:",
            f"  %i1 = add nuw i64 %i, {ROWS}",
            f"  %i.strip1 = getelementptr {t}, ptr %i.strip, i64 %strip.step",
            "  %i.more = icmp ult i64 %i1, %rows",
            "  br i1 %i.more, label %strips, label %next",
            "next:",
            "  %j1 = add nuw i64 %j, %registers",
            "  %j.more = icmp ult i64 %j1, %count",
            "  br i1 %j.more, label %columns, label %lower",
            "lower:",
            "  %u1 = add nuw i64 %u, %block.rows",
            "  %u.more = icmp ult i64 %u1, %m",
            "  br i1 %u.more, label %blocks, label %deeper",
            "deeper:",
            f"  %p1 = add nuw i64 %p, {DEPTH}",
            "  %p.more = icmp ult i64 %p1, %k",
            "  br i1 %p.more, label %depths, label %done",
            "done:",
            "  ret void",
            "}",
        ]
        return "\n".join(lines)

    def switch(self, label: str, stem: str, arguments: str, after: str) -> list[str]:
        """Return the blocks from `label` on that call the function for so many registers, and go on with `after`."""
        lines = [f"{label}:"]
        cases = " ".join(f"i64 {count}, label %{stem}.{count}" for count in range(1, REGISTERS))
        lines.append(f"  switch i64 %registers, label %{stem}.{REGISTERS} [ {cases} ]")
        for count in range(1, REGISTERS + 1):
            lines += [f"{stem}.{count}:", f"  call void @{stem}_{count}{arguments}", f"  br label %{after}"]
        return lines

    def entries(self, convention: Convention) -> list[str]:
        """Write the functions that are called as CBLAS's gemm is, with matrices stored by rows."""
        t, i, element = self.t, convention.integer, self.element
        sizes = ("m", "n", "k", "lda", "ldb", "ldc")
        given = {name: f"%{name}" if i == "i64" else f"%{name}.given" for name in sizes}
        size = {name: f"{i} {given[name]}" for name in sizes}
        parameters = (
            f"i32 %order, i32 %transa, i32 %transb, {size['m']}, {size['n']}, {size['k']}, {t} %alpha, ptr %a, "
            f"{size['lda']}, ptr %b, {size['ldb']}, {t} %beta, ptr %c, {size['ldc']}"
        )
        widened = [] if i == "i64" else [f"  %{name} = sext {i} {given[name]} to i64" for name in sizes]
        widened += [f"  %t{name} = icmp eq i32 %trans{name}, {_TRANSPOSED}" for name in "ab"]
        in_panels = [
            f"  call void @panels(i1 %ta, i1 %tb, i64 %m, i64 %n, i64 %k, {t} %alpha, ptr %a, i64 %lda, ptr %b, "
            f"i64 %ldb, {t} %beta, ptr %c, i64 %ldc)",
            "  ret void",
        ]
        always = [f"define void @{panels_symbol(element)}({parameters}) #0 {{", *widened, *in_panels, "}"]
        chosen = [
            declaration(SYMBOLS[element], element, convention),
            f"define void @{gemm_symbol(element)}({parameters}) #0 {{",
            *widened,
            takes(element, "own"),
            "  br i1 %own, label %panels, label %behind",
            "panels:",
            *in_panels,
            "behind:",
            f"  call void @{SYMBOLS[element]}({parameters})",
            "  ret void",
            "}",
        ]
        return ["\n".join(always), "\n".join(chosen)]
