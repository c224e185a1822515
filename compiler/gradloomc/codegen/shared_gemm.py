"""A large product on the worker pool, as LLVM IR text: blocks of its result, each by one call of the BLAS.

The BLAS's own threads are kept out: they would make the last bits depend on how many there are, and after a product
they keep a processor busy that the pool's workers want. So the BLAS runs on one thread while a large product is in
progress, and the pool shares the product's rows or columns. Cuts lie at multiples of a unit at which the library was
found to compute the same bits as in one call; where it was not, a product is one call. What is computed in panels
(`panel_gemm.py`) has the same bits wherever it is cut; whether it is, is asked of the whole product.

It knows nothing of Python, and of the pool only the control block and `gl_run` (`workers.py`).
"""

from gradloomc.codegen.gemm import FLAGS_AND_SIZES, MATRICES, SYMBOLS, Convention, adapter, adapter_name, declaration
from gradloomc.codegen.instructions import memory_scalar
from gradloomc.codegen.panel_gemm import panels_symbol, takes
from gradloomc.codegen.workers import WORDS
from gradloomc.ir.types import ScalarType

# A product is cut into blocks of 2**21 multiply-adds or more on average: smaller ones hardly pay, and libraries compute
# small products in another way.
BLOCK_WORK_BITS = 21
# In panels smaller ones pay, cut at multiples of this between columns, where each block packs its own, unless there are
# fewer columns than so many units for each thread.
PANELS_WORK_BITS, PANELS_UNIT, PANELS_UNITS = 20, 16, 3


def symbol(element: ScalarType) -> str:
    """Return the name of the function for an element type: `void (ptr block, flags and sizes, matrices)`."""
    return f"gl_gemm_{element}"


# What a block needs to know: the product, and how it is cut.
_FIELDS = "ta tb m n k alpha a lda b ldb beta c ldc rows own unit units count".split()


def shared_gemm_text(element: ScalarType, convention: Convention, panels: bool) -> str:
    """Return the module that defines `symbol(element)` and `gl_use`.

    It needs `gl_run`, of the BLAS its gemm and, by the names that stand below, the two functions for its threads, and
    `panels_symbol(element)` if products may be computed in panels.
    """
    routines = [SYMBOLS[element], *([panels_symbol(element)] if panels else [])]
    t = memory_scalar(element)
    kinds = {
        "ta": "i1",
        "tb": "i1",
        "rows": "i1",
        "own": "i1",
        "alpha": t,
        "beta": t,
        "a": "ptr",
        "b": "ptr",
        "c": "ptr",
    }
    fields = [kinds.get(name, "i64") for name in _FIELDS]
    context = "{ " + ", ".join(fields) + " }"
    places = [f"  %p.{name} = getelementptr {context}, ptr %context, i32 0, i32 {k}" for k, name in enumerate(_FIELDS)]
    stores = [f"  store {kind} %{name}, ptr %p.{name}" for name, kind in zip(_FIELDS, fields, strict=True)]
    loads = [f"  %{name} = load {kind}, ptr %p.{name}" for name, kind in zip(_FIELDS, fields, strict=True)]
    text = _TEXT
    for key, value in {
        "PLACES": "\n".join(places),
        "STORES": "\n".join(stores),
        "LOADS": "\n".join(loads),
        "CONTEXT": context,
        "PARAMETERS": f"{FLAGS_AND_SIZES}, {MATRICES.format(t=t)}",
        "SYMBOL": symbol(element),
        "ELEMENT": str(element),
        "ROWS_WORD": str(WORDS[f"rows_{element}"]),
        "COLUMNS_WORD": str(WORDS[f"columns_{element}"]),
        "THREADS_WORD": str(WORDS["threads"]),
        "POOL_WORD": str(WORDS["lock"]),
        "LOCK_WORD": str(WORDS["blas_lock"]),
        "USERS_WORD": str(WORDS["blas_users"]),
        "SAVED_WORD": str(WORDS["blas_threads"]),
        "OWN_BITS": str(PANELS_WORK_BITS),
        "OWN_UNITS": str(PANELS_UNITS),
        "OWN_UNIT": str(PANELS_UNIT),
        "WORK_BITS": str(BLOCK_WORK_BITS),
        "TAKES": takes(element, "own") if panels else "  %own = and i1 false, false",
        "PANELS": adapter_name(routines[-1]),
        "LIBRARY": adapter_name(routines[0]),
        "TYPE": t,
    }.items():
        text = text.replace(key, value)
    declarations = [declaration(routine, element, convention) for routine in routines]
    return "\n".join([*declarations, *[adapter(each, element, convention, "nounwind") for each in routines], text])


_TEXT = """
declare void @gl_run(ptr, ptr, ptr, i64)
declare i32 @gradloom_blas_get_threads()
declare void @gradloom_blas_set_threads(i32)
declare i32 @sched_yield()

; The first user of the BLAS lets it run on one thread, the last one gives it back what it had.
define void @gl_use(ptr %block, i64 %step) nounwind {
entry:
  %lock = getelementptr i8, ptr %block, i64 LOCK_WORD
  %pusers = getelementptr i8, ptr %block, i64 USERS_WORD
  %psaved = getelementptr i8, ptr %block, i64 SAVED_WORD
  br label %try
try:
  %got = cmpxchg ptr %lock, i32 0, i32 1 acquire monotonic
  %free = extractvalue { i32, i1 } %got, 1
  br i1 %free, label %mine, label %yield
yield:
  %r0 = call i32 @sched_yield()
  br label %try
mine:
  %users = load i64, ptr %pusers
  %now = add i64 %users, %step
  store i64 %now, ptr %pusers
  %enters = icmp sgt i64 %step, 0
  br i1 %enters, label %enter, label %leave
enter:
  %first = icmp eq i64 %now, 1
  br i1 %first, label %limit, label %done
limit:
  %had = call i32 @gradloom_blas_get_threads()
  store i32 %had, ptr %psaved
  call void @gradloom_blas_set_threads(i32 1)
  br label %done
leave:
  %none = icmp eq i64 %now, 0
  br i1 %none, label %restore, label %done
restore:
  %saved = load i32, ptr %psaved
  call void @gradloom_blas_set_threads(i32 %saved)
  br label %done
done:
  store atomic i32 0, ptr %lock release, align 4
  ret void
}

define internal void @gl_block_ELEMENT(ptr %context, i64 %index) nounwind {
entry:
PLACES
LOADS
  %after = add i64 %index, 1
  %low.units = mul i64 %index, %units
  %low.share = udiv i64 %low.units, %count
  %low = mul i64 %low.share, %unit
  %high.units = mul i64 %after, %units
  %high.share = udiv i64 %high.units, %count
  %high.inner = mul i64 %high.share, %unit
  %last = icmp eq i64 %after, %count
  %length = select i1 %rows, i64 %m, i64 %n
  %high = select i1 %last, i64 %length, i64 %high.inner
  %size = sub i64 %high, %low
  %m.own = select i1 %rows, i64 %size, i64 %m
  %n.own = select i1 %rows, i64 %n, i64 %size
  %a.step = select i1 %ta, i64 1, i64 %lda
  %a.far = mul i64 %low, %a.step
  %a.offset = select i1 %rows, i64 %a.far, i64 0
  %a.own = getelementptr TYPE, ptr %a, i64 %a.offset
  %b.step = select i1 %tb, i64 %ldb, i64 1
  %b.far = mul i64 %low, %b.step
  %b.offset = select i1 %rows, i64 0, i64 %b.far
  %b.own = getelementptr TYPE, ptr %b, i64 %b.offset
  %c.step = select i1 %rows, i64 %ldc, i64 1
  %c.offset = mul i64 %low, %c.step
  %c.own = getelementptr TYPE, ptr %c, i64 %c.offset
  br i1 %own, label %panels, label %library
panels:
  call void @PANELS(i1 %ta, i1 %tb, i64 %m.own, i64 %n.own, i64 %k, TYPE %alpha, ptr %a.own, i64 %lda,
                    ptr %b.own, i64 %ldb, TYPE %beta, ptr %c.own, i64 %ldc)
  ret void
library:
  call void @LIBRARY(i1 %ta, i1 %tb, i64 %m.own, i64 %n.own, i64 %k, TYPE %alpha, ptr %a.own, i64 %lda,
                     ptr %b.own, i64 %ldb, TYPE %beta, ptr %c.own, i64 %ldc)
  ret void
}

define void @SYMBOL(ptr %block, PARAMETERS) nounwind {
entry:
  %context = alloca CONTEXT
TAKES
  br i1 %own, label %cut, label %enter
enter:
  call void @gl_use(ptr %block, i64 1)
  br label %cut
cut:
  %prow = getelementptr i8, ptr %block, i64 ROWS_WORD
  %pcolumn = getelementptr i8, ptr %block, i64 COLUMNS_WORD
  %pthreads = getelementptr i8, ptr %block, i64 THREADS_WORD
  %row.found = load atomic i64, ptr %prow monotonic, align 8
  %column.found = load atomic i64, ptr %pcolumn monotonic, align 8
  %row = select i1 %own, i64 OWN_UNIT, i64 %row.found
  %column = select i1 %own, i64 OWN_UNIT, i64 %column.found
  %threads = load atomic i64, ptr %pthreads monotonic, align 8
  %no.row = icmp eq i64 %row, 0
  %no.column = icmp eq i64 %column, 0
  %row.divisor = select i1 %no.row, i64 -1, i64 %row
  %column.divisor = select i1 %no.column, i64 -1, i64 %column
  %row.units = udiv i64 %m, %row.divisor
  %column.units = udiv i64 %n, %column.divisor
  %longer = icmp uge i64 %row.units, %column.units
  %wide = mul i64 %threads, OWN_UNITS
  %narrow = icmp ult i64 %column.units, %wide
  %either = xor i1 %own, true
  %rows.may = or i1 %narrow, %either
  %rows = and i1 %longer, %rows.may
  %unit = select i1 %rows, i64 %row, i64 %column
  %units = select i1 %rows, i64 %row.units, i64 %column.units
  %area = mul i64 %m, %n
  %work = mul i64 %area, %k
  %bits = select i1 %own, i64 OWN_BITS, i64 WORK_BITS
  %worth = lshr i64 %work, %bits
  %few = icmp ult i64 %units, %worth
  %most = select i1 %few, i64 %units, i64 %worth
  %fewer = icmp ult i64 %most, %threads
  %count = select i1 %fewer, i64 %most, i64 %threads
  ; Where the pool is busy this may be one of its chunks: then nobody would help, and one call is quicker than parts.
  %plock = getelementptr i8, ptr %block, i64 POOL_WORD
  %lock = load atomic i32, ptr %plock monotonic, align 4
  %idle = icmp eq i32 %lock, 0
  %worthwhile = icmp ugt i64 %count, 1
  %several = and i1 %idle, %worthwhile
  br i1 %several, label %share, label %whole
share:
PLACES
STORES
  call void @gl_run(ptr %block, ptr @gl_block_ELEMENT, ptr %context, i64 %count)
  br label %done
whole:
  br i1 %own, label %panels, label %library
panels:
  call void @PANELS(i1 %ta, i1 %tb, i64 %m, i64 %n, i64 %k, TYPE %alpha, ptr %a, i64 %lda, ptr %b, i64 %ldb,
                    TYPE %beta, ptr %c, i64 %ldc)
  ret void
library:
  call void @LIBRARY(i1 %ta, i1 %tb, i64 %m, i64 %n, i64 %k, TYPE %alpha, ptr %a, i64 %lda, ptr %b, i64 %ldb,
                     TYPE %beta, ptr %c, i64 %ldc)
  br label %done
done:
  br i1 %own, label %end, label %leave
leave:
  call void @gl_use(ptr %block, i64 -1)
  br label %end
end:
  ret void
}
"""
