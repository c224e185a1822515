"""The words of the tables that native code reads, by name, and the IR that loads them.

Knows neither what is done with the tables (entry.py) nor how they are filled (tables.py).
"""

from gradloom.exec.layout import (
    ALIGNED,
    C_CONTIGUOUS,
    DESCR,
    FLAGS,
    IMMORTALS,
    NDIM,
    OWNS_DATA,
    REFERENCES,
    TYPE,
    WRITEABLE,
)


class Words:
    """Names of the words of a table; `Words("a b").b` is 1."""

    def __init__(self, names: str):
        self.names = names.split()

    def __getattr__(self, name: str) -> int:
        try:
            return self.__dict__["names"].index(name)
        except ValueError:
            raise AttributeError(name) from None

    def pack(self, **values: int) -> list[int]:
        """Return the words of a table in order."""
        assert len(values) == len(self.names), set(values) ^ set(self.names)
        return [values[name] for name in self.names]


# Addresses of functions and objects of Python and NumPy; the same for all calls.
INTERFACES = Words(
    "Dealloc NewFromDescr NewCopy SetBaseObject Scalar TupleNew ListNew DictNew DictSetItem DictGetItem "
    "DictNext GenericGetDict ErrClear ErrFetch ErrRestore RichCompareBool CallNoArgs CallOneArg GetAttr Vectorcall "
    "SaveThread RestoreThread array list dict true none call_name"
)
# What one callable object does for one kind of call. `taken` are the slots of the arrays that are passed.
PLAN_WORDS = Words(
    "following owner count keywords_count keywords arguments_count arguments captured_count captured captured_records "
    "nested state generation serial tracing program parts_count parts sets turn new_set root results_count results "
    "building_count building depth finish taken_count taken sizes donations_count donations"
)
# A compiled program: shared by the plans that use it. `held` and `cells` are places in its frames.
PROGRAM_WORDS = Words("idle new_frame fill drain kept held cells steps_count steps sizes release status failure")
# What one call in progress works on: a link to the next idle one, the array that owns it, whether its temporaries have
# memory, how many arguments were copied; the segments' pointers; the objects behind them; the copies; numbers.
FRAME_WORDS = Words("following owner ready copies copied_at slots")
# The state of a user's function: a count of changes, of calls; which program ran last; what it reads (see watching).
STATE_WORDS = Words("generation hits last watched")

# Records of arguments, in the order of the call: containers are followed by their items.
ARGUMENT = Words("kind slot object other extra payload")  # `extra` words of payload: extents, keys
ARRAY, NUMBER_OBJECT, FIXED, TUPLE, LIST, DICT, INSTANCE, MEMBERS, WRITTEN = range(9)
# Records of what a function reads besides its arguments.
WATCHED = Words("kind place object expected extra payload")
CELL, NAME, PLACED_NAME, CONTENT, LIST_CONTENT, DICT_CONTENT, ASK, END = range(8)
# The payload of a placed name's: where its dict had it when it was looked up last.
NAME_ENTRY = Words("keys kind entry position")
# Parts of results that are given again, each before what it consists of: tuples, arrays, numbers. `wanted` is how many
# references there are to one that nobody has, `parent` the tuple that it is in, `extra` words of payload follow: the
# extents of an array, the items of a tuple (each the position of a part, or -1 and an object).
PART = Words("kind wanted parent slot object bytes extra payload")
KEPT_TUPLE, KEPT_ARRAY, KEPT_NUMBER = range(3)
# A result whose parts are given again: the object that owns these words, if they are for one call; the list of the
# parts; whether a call is using them.
SET = Words("owner list taken")
# Records of other results. `spare` lists buffers; of a result in a given array's memory it is that array's slot.
RESULT = Words("kind slot descr rank spare make extents")
IN_FRAME, POOLED, DONATED = range(3)
# Instructions that build what is returned, on a stack of objects.
BUILD = Words("kind operand other size")
(PUSH_KEPT, PUSH_ARRAY, PUSH_SCALAR, PUSH_OBJECT, BUILD_TUPLE, BUILD_LIST, BUILD_DICT) = range(7)

READABLE = C_CONTIGUOUS | ALIGNED
CARRAY = C_CONTIGUOUS | ALIGNED | WRITEABLE
OWNER = CARRAY | OWNS_DATA
SPARE = 4  # so many results of a plan are given again; a power of two
EQUAL = 2  # Py_EQ
C_ORDER = 0  # NPY_CORDER


def word(name: str, table: str, index: int | str, kind: str = "i64") -> str:
    """Return IR that loads word `index` of a table."""
    return f"""  %{name}.p = getelementptr i64, ptr %{table}, i64 {index}
  %{name} = load {kind}, ptr %{name}.p"""


def put(table: str, index: int | str, value: str, kind: str = "i64") -> str:
    """Return IR that stores word `index` of a table."""
    return f"""  {value}.at.{table}.{index} = getelementptr i64, ptr %{table}, i64 {index}
  store {kind} {value}, ptr {value}.at.{table}.{index}"""


def field(name: str, of: str, offset: int, kind: str = "i64") -> str:
    """Return IR that loads what stands at an offset in an object."""
    return f"""  %{name}.p = getelementptr i8, ptr %{of}, i64 {offset}
  %{name} = load {kind}, ptr %{name}.p"""


def use(*names: str) -> str:
    """Return IR that loads functions and objects from the table of the interfaces, under their names."""
    return "\n".join(word(name, "api", getattr(INTERFACES, name), "ptr") for name in names)


def count_up(name: str, of: str) -> str:
    """Return IR that counts one more reference to an object.

    Where there are immortal objects (CPython 3.12), a count is 32 bits of which the highest says that it stays.
    """
    if not IMMORTALS:
        return f"""{field(name, of, REFERENCES)}
  %{name}.1 = add i64 %{name}, 1
  store i64 %{name}.1, ptr %{name}.p"""
    return f"""{field(name, of, REFERENCES, "i32")}
  %{name}.s = lshr i32 %{name}, 31
  %{name}.m = xor i32 %{name}.s, 1
  %{name}.1 = add i32 %{name}, %{name}.m
  store i32 %{name}.1, ptr %{name}.p"""


_COUNT = "i32" if IMMORTALS else "i64"

# Count one reference less; without any left, free the object. Hot code that calls it keeps its values in registers.
COUNT_DOWN = f"""
define internal preserve_mostcc void @gl_drop(ptr %object, ptr %api) {{
entry:
{field("count", "object", REFERENCES, _COUNT)}
  %immortal = icmp slt {_COUNT} %count, 0
  br i1 %immortal, label %done, label %lower
lower:
  %less = sub {_COUNT} %count, 1
  store {_COUNT} %less, ptr %count.p
  %last = icmp eq {_COUNT} %less, 0
  br i1 %last, label %free, label %done
free:
  call preserve_mostcc void @gl_free(ptr %object, ptr %api)
  ret void
done:
  ret void
}}

define internal preserve_mostcc void @gl_free(ptr %object, ptr %api) {{
entry:
{use("Dealloc")}
  call void %Dealloc(ptr %object)
  ret void
}}
"""


def drop(object: str) -> str:
    """Return IR that counts one reference less to an object."""
    return f"  call preserve_mostcc void @gl_drop(ptr %{object}, ptr %api)"


def same_words(name: str, one: str, other: str, count: str, before: str, good: str, bad: str) -> str:
    """Return IR that ends block `before` by comparing `count` words of two tables, and goes to `good` or `bad`."""
    return f"""  br label %{name}
{name}:
  %{name}.k = phi i64 [ 0, %{before} ], [ %{name}.k1, %{name}.same ]
  %{name}.all = icmp eq i64 %{name}.k, %{count}
  br i1 %{name}.all, label %{good}, label %{name}.compare
{name}.compare:
{word(f"{name}.has", one, f"%{name}.k")}
{word(f"{name}.wants", other, f"%{name}.k")}
  %{name}.equal = icmp eq i64 %{name}.has, %{name}.wants
  br i1 %{name}.equal, label %{name}.same, label %{bad}
{name}.same:
  %{name}.k1 = add i64 %{name}.k, 1
  br label %{name}"""


def same_header(name: str, array: str, descr: str, rank: str, mask: int, flags: int, good: str, bad: str) -> str:
    """Return IR that ends a block by comparing an object with %array, a dtype, a rank and the flags in a mask."""
    return f"""{field(f"{name}.type", array, TYPE, "ptr")}
  %{name}.c1 = icmp eq ptr %{name}.type, %array
  br i1 %{name}.c1, label %{name}.header, label %{bad}
{name}.header:
{field(f"{name}.descr", array, DESCR, "ptr")}
{field(f"{name}.flags", array, FLAGS, "i32")}
{field(f"{name}.rank32", array, NDIM, "i32")}
  %{name}.rank = zext i32 %{name}.rank32 to i64
  %{name}.masked = and i32 %{name}.flags, {mask}
  %{name}.c2 = icmp eq ptr %{name}.descr, %{descr}
  %{name}.c3 = icmp eq i32 %{name}.masked, {flags}
  %{name}.c4 = icmp eq i64 %{name}.rank, %{rank}
  %{name}.c23 = and i1 %{name}.c2, %{name}.c3
  %{name}.c234 = and i1 %{name}.c23, %{name}.c4
  br i1 %{name}.c234, label %{good}, label %{bad}"""
