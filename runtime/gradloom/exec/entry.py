"""The native entry: compiled functions that check a call's arguments, make its results and run its segments.

One `gl_call` serves all programs: what a program takes and gives stands in tables of words, which tables.py writes. It
is called by the interpreter itself (callable.py), holds the interpreter's lock while it touches objects, and gives it
back while a program runs that takes long. Where a call is not as the tables say (other types or shapes, a changed
global, keyword arguments), it calls the object's `__call__` instead. This file owns the functions' text. It knows no
address: those of Python's and NumPy's functions come in a table as well.
"""

from gradloom.exec.callable import INTERFACE, PLAN
from gradloom.exec.layout import (
    ALIGNED,
    C_CONTIGUOUS,
    CELL_CONTENT,
    DATA,
    DESCR,
    DIMS,
    FLAGS,
    LENGTH,
    LIST_ITEMS,
    NDIM,
    NUMBER,
    REFERENCES,
    TUPLE_ITEMS,
    TYPE,
    WRITEABLE,
)
from gradloomc.codegen.native import compile_module


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
    "IncRef DecRef NewFromDescr SetBaseObject Scalar TupleNew ListNew DictNew DictSetItem DictGetItem DictNext "
    "ErrClear RichCompareBool CallNoArgs CallOneArg GetAttr Vectorcall SaveThread RestoreThread "
    "array tuple list dict true call_name"
)
# What one callable object does for one kind of call.
PLAN_WORDS = Words(
    "following owner count keywords arguments_count arguments captured_count captured captured_records arity nested state generation "
    "serial tracing program results_count results building_count building depth finish"
)
# A compiled program: shared by the plans that use it.
PROGRAM_WORDS = Words("idle new_frame kept cells steps_count steps sizes release")
# What one call in progress works on: a link to the next idle one, the array that owns it, then the segments' pointers.
FRAME_WORDS = Words("following owner slots")
# The state of a user's function: a count of changes, of calls; which program ran last; what it reads (see watching).
STATE_WORDS = Words("generation hits last watched")

# Records of arguments, in the order of the call: containers are followed by their items.
ARGUMENT = Words("kind slot object other extra payload")  # `extra` words of payload: extents, keys
ARRAY, NUMBER_OBJECT, FIXED, TUPLE, LIST, DICT = range(6)
# Records of what a function reads besides its arguments.
WATCHED = Words("kind place object expected extra payload")
CELL, NAME, CONTENT, LIST_CONTENT, DICT_CONTENT, ASK, END = range(7)
# Records of results that have memory of their own.
RESULT = Words("kind slot descr rank buffers make extents")
IN_FRAME, OWN, POOLED = range(3)
# Instructions that build what is returned, on a stack of objects.
BUILD = Words("kind operand other size")
(PUSH_ARRAY, PUSH_SCALAR, PUSH_OBJECT, BUILD_TUPLE, BUILD_LIST, BUILD_DICT) = range(6)

_READABLE = C_CONTIGUOUS | ALIGNED
_CARRAY = C_CONTIGUOUS | ALIGNED | WRITEABLE
_EQUAL = 2  # Py_EQ
_ALIGNMENT = 64


def _word(name: str, table: str, index: int | str, kind: str = "i64") -> str:
    """Return IR that loads word `index` of a table."""
    return f"""  %{name}.p = getelementptr i64, ptr %{table}, i64 {index}
  %{name} = load {kind}, ptr %{name}.p"""


def _field(name: str, of: str, offset: int, kind: str = "i64") -> str:
    """Return IR that loads what stands at an offset in an object."""
    return f"""  %{name}.p = getelementptr i8, ptr %{of}, i64 {offset}
  %{name} = load {kind}, ptr %{name}.p"""


def _use(*names: str) -> str:
    """Return IR that loads functions and objects from the table of the interfaces, under their names."""
    return "\n".join(_word(name, "api", getattr(INTERFACES, name), "ptr") for name in names)


def _argument(name: str, kind: str = "i64") -> str:
    return _word(name, "record", getattr(ARGUMENT, name), kind)


# Compare `count` objects with records; note addresses of data by slot in `found`, the objects behind them in `held`.
# Returns the record after the last one, or null.
_MATCH = f"""
define internal ptr @gl_match(ptr %items, i64 %count, ptr %records, ptr %found, ptr %held, ptr %api) {{
entry:
{_use("array", "tuple", "list", "dict", "RichCompareBool", "ErrClear", "DictNext")}
  %position = alloca i64
  %key = alloca ptr
  %value = alloca ptr
  br label %loop
loop:
  %k = phi i64 [ 0, %entry ], [ %k1, %next ]
  %record = phi ptr [ %records, %entry ], [ %following, %next ]
  %done = icmp eq i64 %k, %count
  br i1 %done, label %good, label %one
one:
{_word("item", "items", "%k", "ptr")}
{_field("type", "item", TYPE, "ptr")}
{_argument("kind")}
{_argument("slot")}
{_argument("object", "ptr")}
{_argument("other")}
{_argument("extra")}
  %payload = getelementptr i64, ptr %record, i64 {ARGUMENT.payload}
  %after = getelementptr i64, ptr %payload, i64 %extra
  switch i64 %kind, label %bad [
    i64 {ARRAY}, label %array_or_number
    i64 {NUMBER_OBJECT}, label %number
    i64 {FIXED}, label %fixed
    i64 {TUPLE}, label %a_tuple
    i64 {LIST}, label %a_list
    i64 {DICT}, label %a_dict
  ]
array_or_number:
  %is_array = icmp eq ptr %type, %array
  br i1 %is_array, label %header, label %maybe_number
maybe_number:
  %type_word = ptrtoint ptr %type to i64
  %is_scalar = icmp eq i64 %type_word, %other
  br i1 %is_scalar, label %number_data, label %bad
number:
  %is_number = icmp eq ptr %type, %object
  br i1 %is_number, label %number_data, label %bad
number_data:
  %inside = getelementptr i8, ptr %item, i64 {NUMBER}
  br label %bound
header:
{_field("descr", "item", DESCR, "ptr")}
{_field("flags", "item", FLAGS, "i32")}
{_field("rank32", "item", NDIM, "i32")}
  %rank = sext i32 %rank32 to i64
  %readable = and i32 %flags, {_READABLE}
  %c1 = icmp eq ptr %descr, %object
  %c2 = icmp eq i32 %readable, {_READABLE}
  %c3 = icmp eq i64 %rank, %extra
  %c12 = and i1 %c1, %c2
  %c123 = and i1 %c12, %c3
  br i1 %c123, label %extents, label %bad
extents:
{_field("dims", "item", DIMS, "ptr")}
  br label %extent
extent:
  %d = phi i64 [ 0, %extents ], [ %d1, %same ]
  %all = icmp eq i64 %d, %rank
  br i1 %all, label %data_of, label %compare
compare:
{_word("has", "dims", "%d")}
{_word("wants", "payload", "%d")}
  %equal = icmp eq i64 %has, %wants
  br i1 %equal, label %same, label %bad
same:
  %d1 = add i64 %d, 1
  br label %extent
data_of:
{_field("data", "item", DATA, "ptr")}
  br label %bound
bound:
  %address = phi ptr [ %inside, %number_data ], [ %data, %data_of ]
  %pfound = getelementptr ptr, ptr %found, i64 %slot
  store ptr %address, ptr %pfound
  %pheld = getelementptr ptr, ptr %held, i64 %slot
  store ptr %item, ptr %pheld
  br label %next
fixed:
  %identical = icmp eq ptr %item, %object
  br i1 %identical, label %next, label %maybe_equal
maybe_equal:
{_field("wanted_type", "object", TYPE, "ptr")}
  %comparable = icmp ne i64 %other, 0
  %of_a_type = icmp eq ptr %type, %wanted_type
  %may_be = and i1 %comparable, %of_a_type
  br i1 %may_be, label %ask, label %bad
ask:
  %answer = call i32 %RichCompareBool(ptr %item, ptr %object, i32 {_EQUAL})
  switch i32 %answer, label %broken [
    i32 1, label %next
    i32 0, label %bad
  ]
broken:
  call void %ErrClear()
  br label %bad
a_tuple:
  %is_tuple = icmp eq ptr %type, %tuple
  br i1 %is_tuple, label %tuple_items, label %bad
tuple_items:
  %items_of_tuple = getelementptr i8, ptr %item, i64 {TUPLE_ITEMS}
  br label %length
a_list:
  %is_list = icmp eq ptr %type, %list
  br i1 %is_list, label %list_items, label %bad
list_items:
{_field("items_of_list", "item", LIST_ITEMS, "ptr")}
  br label %length
length:
  %children = phi ptr [ %items_of_tuple, %tuple_items ], [ %items_of_list, %list_items ]
{_field("size", "item", LENGTH)}
  %as_long = icmp eq i64 %size, %other
  br i1 %as_long, label %inner, label %bad
a_dict:
  %is_dict = icmp eq ptr %type, %dict
  br i1 %is_dict, label %values, label %bad
values:
  %gathered = alloca ptr, i64 %other
  store i64 0, ptr %position
  br label %entries
entries:
  %e = phi i64 [ 0, %values ], [ %e1, %known_key ]
  %more = call i32 %DictNext(ptr %item, ptr %position, ptr %key, ptr %value)
  %no_more = icmp eq i32 %more, 0
  %full = icmp eq i64 %e, %other
  br i1 %no_more, label %ended, label %entry_of
ended:
  br i1 %full, label %inner, label %bad
entry_of:
  br i1 %full, label %bad, label %key_of
key_of:
  %given_key = load ptr, ptr %key
{_word("wanted_key", "payload", "%e", "ptr")}
  %this_key = icmp eq ptr %given_key, %wanted_key
  br i1 %this_key, label %known_key, label %maybe_key
maybe_key:
{_field("given_kind", "given_key", TYPE, "ptr")}
{_field("wanted_kind", "wanted_key", TYPE, "ptr")}
  %one_kind = icmp eq ptr %given_kind, %wanted_kind
  br i1 %one_kind, label %ask_key, label %bad
ask_key:
  %key_answer = call i32 %RichCompareBool(ptr %given_key, ptr %wanted_key, i32 {_EQUAL})
  switch i32 %key_answer, label %broken [
    i32 1, label %known_key
    i32 0, label %bad
  ]
known_key:
  %given_value = load ptr, ptr %value
  %pgathered = getelementptr ptr, ptr %gathered, i64 %e
  store ptr %given_value, ptr %pgathered
  %e1 = add i64 %e, 1
  br label %entries
inner:
  %list_of = phi ptr [ %children, %length ], [ %gathered, %ended ]
  %rest = call ptr @gl_match(ptr %list_of, i64 %other, ptr %after, ptr %found, ptr %held, ptr %api)
  %mismatch = icmp eq ptr %rest, null
  br i1 %mismatch, label %bad, label %next
next:
  %following = phi ptr [ %after, %bound ], [ %after, %fixed ], [ %after, %ask ], [ %rest, %inner ]
  %k1 = add i64 %k, 1
  br label %loop
good:
  ret ptr %record
bad:
  ret ptr null
}}
"""


def _watched(name: str, kind: str = "i64") -> str:
    return _word(name, "record", getattr(WATCHED, name), kind)


# Tell whether what a function reads besides its arguments is what it was when its programs were made.
_WATCH = f"""
define internal i1 @gl_watch(ptr %table, ptr %api) {{
entry:
{_use("array", "DictGetItem", "DictNext", "ErrClear", "CallNoArgs", "DecRef", "true")}
  %position = alloca i64
  %key = alloca ptr
  %value = alloca ptr
  br label %loop
loop:
  %record = phi ptr [ %table, %entry ], [ %after, %next ]
{_watched("kind")}
{_watched("place", "ptr")}
{_watched("object", "ptr")}
{_watched("expected", "ptr")}
{_watched("extra")}
  %payload = getelementptr i64, ptr %record, i64 {WATCHED.payload}
  %after = getelementptr i64, ptr %payload, i64 %extra
  switch i64 %kind, label %good [
    i64 {CELL}, label %cell
    i64 {NAME}, label %name
    i64 {CONTENT}, label %content
    i64 {LIST_CONTENT}, label %list
    i64 {DICT_CONTENT}, label %dict
    i64 {ASK}, label %ask
  ]
cell:
{_field("in_cell", "place", CELL_CONTENT, "ptr")}
  %cell_holds = icmp eq ptr %in_cell, %expected
  br i1 %cell_holds, label %next, label %bad
name:
  %named = call ptr %DictGetItem(ptr %place, ptr %object)
  %name_holds = icmp eq ptr %named, %expected
  br i1 %name_holds, label %next, label %name_lost
name_lost:
  call void %ErrClear()
  br label %bad
content:
{_field("type", "place", TYPE, "ptr")}
{_field("descr", "place", DESCR, "ptr")}
{_field("flags", "place", FLAGS, "i32")}
{_field("rank32", "place", NDIM, "i32")}
{_field("dims", "place", DIMS, "ptr")}
{_field("data", "place", DATA, "ptr")}
{_word("bytes", "payload", "0")}
  %extents = getelementptr i64, ptr %payload, i64 1
  %rank = sext i32 %rank32 to i64
  %words = add i64 %rank, 1
  %readable = and i32 %flags, {_READABLE}
  %c1 = icmp eq ptr %descr, %object
  %c2 = icmp eq i32 %readable, {_READABLE}
  %c3 = icmp eq i64 %words, %extra
  %c4 = icmp eq ptr %type, %array
  %c12 = and i1 %c1, %c2
  %c34 = and i1 %c3, %c4
  %c1234 = and i1 %c12, %c34
  br i1 %c1234, label %extent, label %bad
extent:
  %d = phi i64 [ 0, %content ], [ %d1, %same_extent ]
  %all = icmp eq i64 %d, %rank
  br i1 %all, label %bytewise, label %compare
compare:
{_word("has", "dims", "%d")}
{_word("wants", "extents", "%d")}
  %equal = icmp eq i64 %has, %wants
  br i1 %equal, label %same_extent, label %bad
same_extent:
  %d1 = add i64 %d, 1
  br label %extent
bytewise:
  %tail = and i64 %bytes, -8
  br label %eight
eight:
  %b = phi i64 [ 0, %bytewise ], [ %b8, %same_eight ]
  %last_eight = icmp eq i64 %b, %tail
  br i1 %last_eight, label %single, label %compare_eight
compare_eight:
  %pnow = getelementptr i8, ptr %data, i64 %b
  %pthen = getelementptr i8, ptr %expected, i64 %b
  %now = load i64, ptr %pnow, align 1
  %then = load i64, ptr %pthen, align 1
  %same_bytes = icmp eq i64 %now, %then
  br i1 %same_bytes, label %same_eight, label %bad
same_eight:
  %b8 = add i64 %b, 8
  br label %eight
single:
  %s = phi i64 [ %tail, %eight ], [ %s1, %same_single ]
  %last = icmp eq i64 %s, %bytes
  br i1 %last, label %next, label %compare_single
compare_single:
  %pnow1 = getelementptr i8, ptr %data, i64 %s
  %pthen1 = getelementptr i8, ptr %expected, i64 %s
  %now1 = load i8, ptr %pnow1
  %then1 = load i8, ptr %pthen1
  %same_byte = icmp eq i8 %now1, %then1
  br i1 %same_byte, label %same_single, label %bad
same_single:
  %s1 = add i64 %s, 1
  br label %single
list:
{_field("size", "place", LENGTH)}
{_field("items", "place", LIST_ITEMS, "ptr")}
  %as_long = icmp eq i64 %size, %extra
  br i1 %as_long, label %item, label %bad
item:
  %i = phi i64 [ 0, %list ], [ %i1, %same_item ]
  %all_items = icmp eq i64 %i, %size
  br i1 %all_items, label %next, label %compare_item
compare_item:
{_word("is", "items", "%i", "ptr")}
{_word("was", "payload", "%i", "ptr")}
  %same_object = icmp eq ptr %is, %was
  br i1 %same_object, label %same_item, label %bad
same_item:
  %i1 = add i64 %i, 1
  br label %item
dict:
  store i64 0, ptr %position
  br label %entries
entries:
  %e = phi i64 [ 0, %dict ], [ %e2, %same_entry ]
  %more = call i32 %DictNext(ptr %place, ptr %position, ptr %key, ptr %value)
  %no_more = icmp eq i32 %more, 0
  %full = icmp eq i64 %e, %extra
  br i1 %no_more, label %ended, label %entry_of
ended:
  br i1 %full, label %next, label %bad
entry_of:
  br i1 %full, label %bad, label %compare_entry
compare_entry:
  %key_is = load ptr, ptr %key
  %value_is = load ptr, ptr %value
  %e1 = add i64 %e, 1
  %e2 = add i64 %e, 2
{_word("key_was", "payload", "%e", "ptr")}
{_word("value_was", "payload", "%e1", "ptr")}
  %same_key = icmp eq ptr %key_is, %key_was
  %same_value = icmp eq ptr %value_is, %value_was
  %both = and i1 %same_key, %same_value
  br i1 %both, label %same_entry, label %bad
same_entry:
  br label %entries
ask:
  %answer = call ptr %CallNoArgs(ptr %place)
  %failed = icmp eq ptr %answer, null
  br i1 %failed, label %no_answer, label %answered
no_answer:
  call void %ErrClear()
  br label %bad
answered:
  %holds = icmp eq ptr %answer, %true
  call void %DecRef(ptr %answer)
  br i1 %holds, label %next, label %bad
next:
  br label %loop
good:
  ret i1 1
bad:
  ret i1 0
}}
"""


def _result(name: str, kind: str = "i64") -> str:
    return _word(name, "record", getattr(RESULT, name), kind)


# Make one result array in a buffer of the pool that nobody else refers to; without one, let the pool make it.
_POOLED = f"""
define internal ptr @gl_pooled(ptr %record, ptr %api) {{
entry:
{_use("IncRef", "DecRef", "NewFromDescr", "SetBaseObject", "CallNoArgs", "array")}
{_result("descr", "ptr")}
{_result("rank")}
{_result("buffers", "ptr")}
{_result("make", "ptr")}
  %extents = getelementptr i64, ptr %record, i64 {RESULT.extents}
{_field("size", "buffers", LENGTH)}
{_field("items", "buffers", LIST_ITEMS, "ptr")}
  br label %look
look:
  %k = phi i64 [ 0, %entry ], [ %k1, %taken ]
  %none = icmp eq i64 %k, %size
  br i1 %none, label %ask, label %one
one:
{_word("buffer", "items", "%k", "ptr")}
{_field("references", "buffer", REFERENCES, "i32")}
  %free = icmp eq i32 %references, 1
  br i1 %free, label %use, label %taken
taken:
  %k1 = add i64 %k, 1
  br label %look
use:
{_field("start", "buffer", DATA)}
  %beyond = add i64 %start, {_ALIGNMENT - 1}
  %aligned = and i64 %beyond, -{_ALIGNMENT}
  %data = inttoptr i64 %aligned to ptr
  %rank32 = trunc i64 %rank to i32
  call void %IncRef(ptr %descr)
  %array_of = call ptr %NewFromDescr(ptr %array, ptr %descr, i32 %rank32, ptr %extents, ptr null, ptr %data, i32 {
    _CARRAY
}, ptr null)
  %failed = icmp eq ptr %array_of, null
  br i1 %failed, label %done, label %own
own:
  call void %IncRef(ptr %buffer)
  %set = call i32 %SetBaseObject(ptr %array_of, ptr %buffer)
  %refused = icmp slt i32 %set, 0
  br i1 %refused, label %drop, label %done
drop:
  call void %DecRef(ptr %array_of)
  br label %done
ask:
  %made = call ptr %CallNoArgs(ptr %make)
  br label %done
done:
  %given = phi ptr [ null, %use ], [ %array_of, %own ], [ null, %drop ], [ %made, %ask ]
  ret ptr %given
}}
"""


def _build(name: str, kind: str = "i64") -> str:
    return _word(name, "record", getattr(BUILD, name), kind)


# Build what is returned from the arrays made and the numbers in the slots; null with an error set if that fails.
_BUILD = f"""
define internal ptr @gl_build(ptr %plan, ptr %made, ptr %slots, ptr %api) {{
entry:
{_use("IncRef", "DecRef", "Scalar", "TupleNew", "ListNew", "DictNew", "DictSetItem")}
{_word("count", "plan", PLAN_WORDS.building_count)}
{_word("instructions", "plan", PLAN_WORDS.building, "ptr")}
{_word("depth", "plan", PLAN_WORDS.depth)}
  %stack = alloca ptr, i64 %depth
  br label %loop
loop:
  %k = phi i64 [ 0, %entry ], [ %k1, %push ]
  %top = phi i64 [ 0, %entry ], [ %top1, %push ]
  %record = phi ptr [ %instructions, %entry ], [ %following, %push ]
  %done = icmp eq i64 %k, %count
  br i1 %done, label %good, label %one
one:
{_build("kind")}
{_build("operand")}
{_build("other", "ptr")}
  %following = getelementptr i64, ptr %record, i64 {BUILD.size}
  %k1 = add i64 %k, 1
  switch i64 %kind, label %constant [
    i64 {PUSH_ARRAY}, label %array
    i64 {PUSH_SCALAR}, label %scalar
    i64 {BUILD_TUPLE}, label %tuple
    i64 {BUILD_LIST}, label %list
    i64 {BUILD_DICT}, label %dict
  ]
array:
{_word("result", "made", "%operand", "ptr")}
  call void %IncRef(ptr %result)
  br label %push
scalar:
{_word("data", "slots", "%operand", "ptr")}
  %number = call ptr %Scalar(ptr %data, ptr %other, ptr null)
  br label %made_one
constant:
  %object = inttoptr i64 %operand to ptr
  call void %IncRef(ptr %object)
  br label %push
tuple:
  %new_tuple = call ptr %TupleNew(i64 %operand)
  %no_tuple = icmp eq ptr %new_tuple, null
  br i1 %no_tuple, label %fail, label %tuple_items
tuple_items:
  %first_of_tuple = getelementptr i8, ptr %new_tuple, i64 {TUPLE_ITEMS}
  br label %move
list:
  %new_list = call ptr %ListNew(i64 %operand)
  %no_list = icmp eq ptr %new_list, null
  br i1 %no_list, label %fail, label %list_items
list_items:
{_field("first_of_list", "new_list", LIST_ITEMS, "ptr")}
  br label %move
move:
  %sequence = phi ptr [ %new_tuple, %tuple_items ], [ %new_list, %list_items ]
  %items = phi ptr [ %first_of_tuple, %tuple_items ], [ %first_of_list, %list_items ]
  %base = sub i64 %top, %operand
  br label %moving
moving:
  %m = phi i64 [ 0, %move ], [ %m1, %move_one ]
  %moved = icmp eq i64 %m, %operand
  br i1 %moved, label %push, label %move_one
move_one:
  %from = add i64 %base, %m
{_word("child", "stack", "%from", "ptr")}
  %pitem = getelementptr ptr, ptr %items, i64 %m
  store ptr %child, ptr %pitem
  %m1 = add i64 %m, 1
  br label %moving
dict:
  %new_dict = call ptr %DictNew()
  %no_dict = icmp eq ptr %new_dict, null
  br i1 %no_dict, label %fail, label %entries
entries:
  %e = phi i64 [ 0, %dict ], [ %e1, %set_one ]
  %bottom = sub i64 %top, %operand
  %set = icmp eq i64 %e, %operand
  br i1 %set, label %let_go, label %set_one
set_one:
  %value_at = add i64 %bottom, %e
{_word("value", "stack", "%value_at", "ptr")}
{_word("key", "other", "%e", "ptr")}
  %refused = call i32 %DictSetItem(ptr %new_dict, ptr %key, ptr %value)
  %e1 = add i64 %e, 1
  %was_refused = icmp slt i32 %refused, 0
  br i1 %was_refused, label %drop_dict, label %entries
drop_dict:
  call void %DecRef(ptr %new_dict)
  br label %fail
let_go:
  %g = phi i64 [ 0, %entries ], [ %g1, %let_one ]
  %gone = icmp eq i64 %g, %operand
  br i1 %gone, label %push, label %let_one
let_one:
  %let_at = add i64 %bottom, %g
{_word("entered", "stack", "%let_at", "ptr")}
  call void %DecRef(ptr %entered)
  %g1 = add i64 %g, 1
  br label %let_go
made_one:
  %no_number = icmp eq ptr %number, null
  br i1 %no_number, label %fail, label %push
push:
  %fresh = phi ptr [ %result, %array ], [ %object, %constant ], [ %sequence, %moving ], [ %new_dict, %let_go ], [ %number, %made_one ]
  %under = phi i64 [ %top, %array ], [ %top, %constant ], [ %base, %moving ], [ %bottom, %let_go ], [ %top, %made_one ]
  %pfresh = getelementptr ptr, ptr %stack, i64 %under
  store ptr %fresh, ptr %pfresh
  %top1 = add i64 %under, 1
  br label %loop
fail:
  %f = phi i64 [ %top, %tuple ], [ %top, %list ], [ %top, %dict ], [ %top, %drop_dict ], [ %top, %made_one ], [ %f1, %fail_one ]
  %empty = icmp eq i64 %f, 0
  br i1 %empty, label %bad, label %fail_one
fail_one:
  %f1 = sub i64 %f, 1
{_word("left", "stack", "%f1", "ptr")}
  call void %DecRef(ptr %left)
  br label %fail
good:
  %answer = load ptr, ptr %stack
  ret ptr %answer
bad:
  ret ptr null
}}
"""

# Run a plan on the data at `found`: take a frame, make the results, run the segments, build what is returned.
_RUN = f"""
define internal ptr @gl_run(ptr %plan, ptr %found, ptr %api) {{
entry:
{_use("IncRef", "DecRef", "NewFromDescr", "CallNoArgs", "CallOneArg", "SaveThread", "RestoreThread", "array")}
{_word("program", "plan", PLAN_WORDS.program, "ptr")}
{_word("arity", "plan", PLAN_WORDS.arity)}
{_word("results_count", "plan", PLAN_WORDS.results_count)}
{_word("results", "plan", PLAN_WORDS.results, "ptr")}
{_word("finish", "plan", PLAN_WORDS.finish, "ptr")}
{_word("idle", "program", PROGRAM_WORDS.idle, "ptr")}
{_word("kept", "program", PROGRAM_WORDS.kept)}
{_word("cells", "program", PROGRAM_WORDS.cells)}
{_word("steps_count", "program", PROGRAM_WORDS.steps_count)}
{_word("steps", "program", PROGRAM_WORDS.steps, "ptr")}
{_word("sizes", "program", PROGRAM_WORDS.sizes, "ptr")}
{_word("release", "program", PROGRAM_WORDS.release)}
  %keeps = icmp ne i64 %kept, 0
  %made = alloca ptr, i64 %results_count
  %no_idle = icmp eq ptr %idle, null
  br i1 %no_idle, label %new_frame, label %old_frame
old_frame:
{_word("idle_next", "idle", FRAME_WORDS.following, "ptr")}
  store ptr %idle_next, ptr %idle.p
  br label %framed
new_frame:
{_word("new", "program", PROGRAM_WORDS.new_frame, "ptr")}
  %owner_of_new = call ptr %CallNoArgs(ptr %new)
  %no_frame = icmp eq ptr %owner_of_new, null
  br i1 %no_frame, label %nothing, label %is_new
is_new:
{_field("new_words", "owner_of_new", DATA, "ptr")}
  br i1 %keeps, label %kept_elsewhere, label %framed
kept_elsewhere:
  call void %DecRef(ptr %owner_of_new)
  br label %framed
framed:
  %frame = phi ptr [ %idle, %old_frame ], [ %new_words, %is_new ], [ %new_words, %kept_elsewhere ]
  %slots = getelementptr i64, ptr %frame, i64 {FRAME_WORDS.slots}
  %cell0 = getelementptr i64, ptr %frame, i64 %cells
  br label %bind
bind:
  %b = phi i64 [ 0, %framed ], [ %b1, %bind_one ]
  %all_bound = icmp eq i64 %b, %arity
  br i1 %all_bound, label %make, label %bind_one
bind_one:
{_word("data", "found", "%b", "ptr")}
  %pslot = getelementptr ptr, ptr %slots, i64 %b
  store ptr %data, ptr %pslot
  %b1 = add i64 %b, 1
  br label %bind
make:
  %k = phi i64 [ 0, %bind ], [ %k1, %made_one ]
  %record = phi ptr [ %results, %bind ], [ %record1, %made_one ]
  %all_made = icmp eq i64 %k, %results_count
  br i1 %all_made, label %ready, label %make_one
make_one:
{_result("kind")}
{_result("slot")}
{_result("descr", "ptr")}
{_result("rank")}
  %extents = getelementptr i64, ptr %record, i64 {RESULT.extents}
  switch i64 %kind, label %in_frame [
    i64 {OWN}, label %own
    i64 {POOLED}, label %pooled
  ]
in_frame:
  %cell = getelementptr i64, ptr %cell0, i64 %k
  br label %made_one
own:
  %rank32 = trunc i64 %rank to i32
  call void %IncRef(ptr %descr)
  %fresh = call ptr %NewFromDescr(ptr %array, ptr %descr, i32 %rank32, ptr %extents, ptr null, ptr null, i32 0, ptr null)
  br label %made_array
pooled:
  %drawn = call ptr @gl_pooled(ptr %record, ptr %api)
  br label %made_array
made_array:
  %result = phi ptr [ %fresh, %own ], [ %drawn, %pooled ]
  %no_array = icmp eq ptr %result, null
  br i1 %no_array, label %clean, label %has_array
has_array:
{_field("result_data", "result", DATA, "ptr")}
  br label %made_one
made_one:
  %object = phi ptr [ null, %in_frame ], [ %result, %has_array ]
  %place = phi ptr [ %cell, %in_frame ], [ %result_data, %has_array ]
  %pmade = getelementptr ptr, ptr %made, i64 %k
  store ptr %object, ptr %pmade
  %presult = getelementptr ptr, ptr %slots, i64 %slot
  store ptr %place, ptr %presult
  %words = add i64 %rank, {RESULT.extents}
  %record1 = getelementptr i64, ptr %record, i64 %words
  %k1 = add i64 %k, 1
  br label %make
ready:
  %long = icmp ne i64 %release, 0
  br i1 %long, label %unlock, label %go
unlock:
  %thread = call ptr %SaveThread()
  br label %go
go:
  %saved = phi ptr [ null, %ready ], [ %thread, %unlock ]
  br label %step
step:
  %s = phi i64 [ 0, %go ], [ %s1, %step_one ]
  %ran = icmp eq i64 %s, %steps_count
  br i1 %ran, label %stepped, label %step_one
step_one:
{_word("segment", "steps", "%s", "ptr")}
  call void %segment(ptr %slots, ptr %sizes)
  %s1 = add i64 %s, 1
  br label %step
stepped:
  br i1 %long, label %lock, label %build
lock:
  call void %RestoreThread(ptr %saved)
  br label %build
build:
  %built = call ptr @gl_build(ptr %plan, ptr %made, ptr %slots, ptr %api)
  br label %clean
clean:
  %value = phi ptr [ null, %made_array ], [ %built, %build ]
  %limit = phi i64 [ %k, %made_array ], [ %results_count, %build ]
  br label %drop
drop:
  %d = phi i64 [ 0, %clean ], [ %d1, %drop_next ]
  %dropped = icmp eq i64 %d, %limit
  br i1 %dropped, label %frame_back, label %drop_one
drop_one:
{_word("one", "made", "%d", "ptr")}
  %d1 = add i64 %d, 1
  %no_object = icmp eq ptr %one, null
  br i1 %no_object, label %drop_next, label %drop_object
drop_object:
  call void %DecRef(ptr %one)
  br label %drop_next
drop_next:
  br label %drop
frame_back:
  br i1 %keeps, label %keep, label %let_go
keep:
  %first = load ptr, ptr %idle.p
  %plink = getelementptr i64, ptr %frame, i64 {FRAME_WORDS.following}
  store ptr %first, ptr %plink
  store ptr %frame, ptr %idle.p
  br label %finishing
let_go:
{_word("frame_owner", "frame", FRAME_WORDS.owner, "ptr")}
  call void %DecRef(ptr %frame_owner)
  br label %finishing
finishing:
  %no_value = icmp eq ptr %value, null
  %no_finish = icmp eq ptr %finish, null
  %is_all = or i1 %no_value, %no_finish
  br i1 %is_all, label %return, label %finish_it
finish_it:
  %finished = call ptr %CallOneArg(ptr %finish, ptr %value)
  call void %DecRef(ptr %value)
  br label %return
return:
  %answer = phi ptr [ %value, %finishing ], [ %finished, %finish_it ]
  ret ptr %answer
nothing:
  ret ptr null
}}
"""

# What the interpreter calls: an object, its arguments, their number (its highest bit belongs to the caller), keywords.
_CALL = f"""
define ptr @gl_call(ptr %self, ptr %items, i64 %flagged, ptr %keywords) {{
entry:
{_field("api", "self", INTERFACE, "ptr")}
{_field("first", "self", PLAN, "ptr")}
{_use("IncRef", "DecRef", "GetAttr", "Vectorcall", "call_name")}
  %count = and i64 %flagged, {(1 << 63) - 1}
  br label %try
try:
  %plan = phi ptr [ %first, %entry ], [ %following, %other ]
  %no_plan = icmp eq ptr %plan, null
  br i1 %no_plan, label %miss, label %look
look:
{_word("wanted_count", "plan", PLAN_WORDS.count)}
{_word("wanted_keywords", "plan", PLAN_WORDS.keywords, "ptr")}
  %c1 = icmp eq i64 %count, %wanted_count
  %c2 = icmp eq ptr %keywords, %wanted_keywords
  %c12 = and i1 %c1, %c2
  br i1 %c12, label %match, label %other
match:
{_word("arity", "plan", PLAN_WORDS.arity)}
{_word("arguments", "plan", PLAN_WORDS.arguments, "ptr")}
{_word("all_count", "plan", PLAN_WORDS.arguments_count)}
  %found = alloca ptr, i64 %arity
  %held = alloca ptr, i64 %arity
  %matched = call ptr @gl_match(ptr %items, i64 %all_count, ptr %arguments, ptr %found, ptr %held, ptr %api)
  %mismatch = icmp eq ptr %matched, null
  br i1 %mismatch, label %other, label %captured
captured:
{_word("captured_count", "plan", PLAN_WORDS.captured_count)}
{_word("captured_items", "plan", PLAN_WORDS.captured, "ptr")}
{_word("captured_records", "plan", PLAN_WORDS.captured_records, "ptr")}
  %took = call ptr @gl_match(ptr %captured_items, i64 %captured_count, ptr %captured_records, ptr %found, ptr %held, ptr %api)
  %changed = icmp eq ptr %took, null
  br i1 %changed, label %miss, label %state_of
state_of:
{_word("state", "plan", PLAN_WORDS.state, "ptr")}
{_word("tracing", "plan", PLAN_WORDS.tracing, "ptr")}
{_word("generation", "plan", PLAN_WORDS.generation)}
{_word("owner", "plan", PLAN_WORDS.owner, "ptr")}
{_word("serial", "plan", PLAN_WORDS.serial)}
{_word("nested", "plan", PLAN_WORDS.nested)}
{_word("now", "state", STATE_WORDS.generation)}
{_word("watched", "state", STATE_WORDS.watched, "ptr")}
  %open = load i64, ptr %tracing
  %c3 = icmp eq i64 %open, 0
  %c4 = icmp eq i64 %now, %generation
  %c5 = icmp ne ptr %watched, null
  %c34 = and i1 %c3, %c4
  %c345 = and i1 %c34, %c5
  br i1 %c345, label %hold, label %miss
hold:
  %keeps = icmp ne i64 %nested, 0
  %held_count = select i1 %keeps, i64 %arity, i64 0
  call void %IncRef(ptr %owner)
  br label %hold_one
hold_one:
  %h = phi i64 [ 0, %hold ], [ %h1, %hold_next ]
  %all_held = icmp eq i64 %h, %held_count
  br i1 %all_held, label %watch, label %hold_next
hold_next:
{_word("to_hold", "held", "%h", "ptr")}
  call void %IncRef(ptr %to_hold)
  %h1 = add i64 %h, 1
  br label %hold_one
watch:
  %watcher = load ptr, ptr %watched
  %records = getelementptr i64, ptr %watched, i64 1
  call void %IncRef(ptr %watcher)
  %holds = call i1 @gl_watch(ptr %records, ptr %api)
  call void %DecRef(ptr %watcher)
  br i1 %holds, label %run, label %release
run:
  %answer = call ptr @gl_run(ptr %plan, ptr %found, ptr %api)
  %failed = icmp eq ptr %answer, null
  br i1 %failed, label %release, label %note
note:
  %phits = getelementptr i64, ptr %state, i64 {STATE_WORDS.hits}
  %hits = load i64, ptr %phits
  %hits1 = add i64 %hits, 1
  store i64 %hits1, ptr %phits
  %plast = getelementptr i64, ptr %state, i64 {STATE_WORDS.last}
  store i64 %serial, ptr %plast
  br label %release
release:
  %given = phi ptr [ null, %watch ], [ null, %run ], [ %answer, %note ]
  %is_miss = phi i1 [ 1, %watch ], [ 0, %run ], [ 0, %note ]
  br label %release_one
release_one:
  %r = phi i64 [ 0, %release ], [ %r1, %release_next ]
  %released = icmp eq i64 %r, %held_count
  br i1 %released, label %disown, label %release_next
release_next:
{_word("to_release", "held", "%r", "ptr")}
  call void %DecRef(ptr %to_release)
  %r1 = add i64 %r, 1
  br label %release_one
disown:
  call void %DecRef(ptr %owner)
  br i1 %is_miss, label %miss, label %return
return:
  ret ptr %given
other:
{_word("following", "plan", PLAN_WORDS.following, "ptr")}
  br label %try
miss:
  %general = call ptr %GetAttr(ptr %self, ptr %call_name)
  %no_general = icmp eq ptr %general, null
  br i1 %no_general, label %failure, label %generally
generally:
  %found_generally = call ptr %Vectorcall(ptr %general, ptr %items, i64 %flagged, ptr %keywords)
  call void %DecRef(ptr %general)
  ret ptr %found_generally
failure:
  ret ptr null
}}
"""


def entry_text() -> str:
    """Return the module; `gl_call` is its only function that others see."""
    return _MATCH + _WATCH + _POOLED + _BUILD + _RUN + _CALL


_address: int | None = None


def entry_address() -> int:
    """Return the address of `gl_call`, compiled once; its code stays for the life of the process."""
    global _address
    if _address is None:
        _address = compile_module(entry_text(), ["gl_call"]).addresses["gl_call"]
    return _address
