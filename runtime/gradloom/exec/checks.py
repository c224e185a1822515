"""Native checks before a call.

`gl_match` compares arguments with records, `gl_watch` what a function reads besides; `gl_may_donate` tells whether
results may be written into arguments' memory.
"""

from gradloom.exec.layout import (
    CELL_CONTENT,
    DATA,
    DESCR,
    DIMS,
    FLAGS,
    LENGTH,
    LIST_ITEMS,
    NDIM,
    NUMBER,
    TUPLE_ITEMS,
    TYPE,
    WRITEABLE,
)
from gradloom.exec.words import (
    ARGUMENT,
    ARRAY,
    ASK,
    CELL,
    CONTENT,
    DICT,
    DICT_CONTENT,
    EQUAL,
    FIXED,
    INSTANCE,
    LIST,
    LIST_CONTENT,
    NAME,
    NUMBER_OBJECT,
    READABLE,
    TUPLE,
    WATCHED,
    field,
    use,
    word,
)

# Tell whether `rank` extents are the wanted ones.
_SAME_EXTENTS = f"""
define internal i1 @gl_same_extents(ptr %dims, ptr %wanted, i64 %rank) {{
entry:
  br label %extent
extent:
  %d = phi i64 [ 0, %entry ], [ %d1, %same ]
  %all = icmp eq i64 %d, %rank
  br i1 %all, label %good, label %compare
compare:
{word("has", "dims", "%d")}
{word("wants", "wanted", "%d")}
  %equal = icmp eq i64 %has, %wants
  br i1 %equal, label %same, label %bad
same:
  %d1 = add i64 %d, 1
  br label %extent
good:
  ret i1 1
bad:
  ret i1 0
}}
"""


def _argument(name: str, kind: str = "i64") -> str:
    return word(name, "record", getattr(ARGUMENT, name), kind)


# Return the dict of an instance's attributes, which the instance keeps alive; null if it has none.
_DICT_OF = f"""
define internal ptr @gl_dict_of(ptr %item, ptr %api) {{
entry:
{use("GenericGetDict", "ErrClear", "DecRef")}
  %attributes = call ptr %GenericGetDict(ptr %item, ptr null)
  %none = icmp eq ptr %attributes, null
  br i1 %none, label %clear, label %borrow
clear:
  call void %ErrClear()
  ret ptr null
borrow:
  call void %DecRef(ptr %attributes)
  ret ptr %attributes
}}
"""

# Compare `count` objects with records; note addresses of data by slot in `found`, the objects behind them in `held`.
# Returns the record after the last one, or null.
_MATCH = f"""
define internal ptr @gl_match(ptr %items, i64 %count, ptr %records, ptr %found, ptr %held, ptr %api) {{
entry:
{use("array", "list", "dict", "RichCompareBool", "ErrClear", "DictNext")}
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
{word("item", "items", "%k", "ptr")}
{field("type", "item", TYPE, "ptr")}
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
    i64 {INSTANCE}, label %an_instance
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
{field("descr", "item", DESCR, "ptr")}
{field("flags", "item", FLAGS, "i32")}
{field("rank32", "item", NDIM, "i32")}
  %rank = sext i32 %rank32 to i64
  %readable = and i32 %flags, {READABLE}
  %c1 = icmp eq ptr %descr, %object
  %c2 = icmp eq i32 %readable, {READABLE}
  %c3 = icmp eq i64 %rank, %extra
  %c12 = and i1 %c1, %c2
  %c123 = and i1 %c12, %c3
  br i1 %c123, label %extents, label %bad
extents:
{field("dims", "item", DIMS, "ptr")}
  %same_extents = call i1 @gl_same_extents(ptr %dims, ptr %payload, i64 %rank)
  br i1 %same_extents, label %data_of, label %bad
data_of:
{field("data", "item", DATA, "ptr")}
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
{field("wanted_type", "object", TYPE, "ptr")}
  %comparable = icmp ne i64 %other, 0
  %of_a_type = icmp eq ptr %type, %wanted_type
  %may_be = and i1 %comparable, %of_a_type
  br i1 %may_be, label %ask, label %bad
ask:
  %answer = call i32 %RichCompareBool(ptr %item, ptr %object, i32 {EQUAL})
  switch i32 %answer, label %broken [
    i32 1, label %next
    i32 0, label %bad
  ]
broken:
  call void %ErrClear()
  br label %bad
a_tuple:
  %is_tuple = icmp eq ptr %type, %object
  br i1 %is_tuple, label %tuple_items, label %bad
tuple_items:
  %items_of_tuple = getelementptr i8, ptr %item, i64 {TUPLE_ITEMS}
  br label %length
a_list:
  %is_list = icmp eq ptr %type, %list
  br i1 %is_list, label %list_items, label %bad
list_items:
{field("items_of_list", "item", LIST_ITEMS, "ptr")}
  br label %length
length:
  %children = phi ptr [ %items_of_tuple, %tuple_items ], [ %items_of_list, %list_items ]
{field("size", "item", LENGTH)}
  %as_long = icmp eq i64 %size, %other
  br i1 %as_long, label %inner, label %bad
a_dict:
  %is_dict = icmp eq ptr %type, %dict
  br i1 %is_dict, label %values, label %bad
an_instance:
  %is_instance = icmp eq ptr %type, %object
  br i1 %is_instance, label %attributes, label %bad
attributes:
  %own_dict = call ptr @gl_dict_of(ptr %item, ptr %api)
  %no_dict = icmp eq ptr %own_dict, null
  br i1 %no_dict, label %bad, label %values
values:
  %mapping = phi ptr [ %item, %a_dict ], [ %own_dict, %attributes ]
  %gathered = alloca ptr, i64 %other
  store i64 0, ptr %position
  br label %entries
entries:
  %e = phi i64 [ 0, %values ], [ %e1, %known_key ]
  %more = call i32 %DictNext(ptr %mapping, ptr %position, ptr %key, ptr %value)
  %no_more = icmp eq i32 %more, 0
  %full = icmp eq i64 %e, %other
  br i1 %no_more, label %ended, label %entry_of
ended:
  br i1 %full, label %inner, label %bad
entry_of:
  br i1 %full, label %bad, label %key_of
key_of:
  %given_key = load ptr, ptr %key
{word("wanted_key", "payload", "%e", "ptr")}
  %this_key = icmp eq ptr %given_key, %wanted_key
  br i1 %this_key, label %known_key, label %maybe_key
maybe_key:
{field("given_kind", "given_key", TYPE, "ptr")}
{field("wanted_kind", "wanted_key", TYPE, "ptr")}
  %one_kind = icmp eq ptr %given_kind, %wanted_kind
  br i1 %one_kind, label %ask_key, label %bad
ask_key:
  %key_answer = call i32 %RichCompareBool(ptr %given_key, ptr %wanted_key, i32 {EQUAL})
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
    return word(name, "record", getattr(WATCHED, name), kind)


# Tell whether what a function reads besides its arguments is what it was when its programs were made.
_WATCH = f"""
define internal i1 @gl_watch(ptr %table, ptr %api) {{
entry:
{use("array", "DictGetItem", "DictNext", "ErrClear", "CallNoArgs", "DecRef", "true")}
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
{field("in_cell", "place", CELL_CONTENT, "ptr")}
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
{field("type", "place", TYPE, "ptr")}
{field("descr", "place", DESCR, "ptr")}
{field("flags", "place", FLAGS, "i32")}
{field("rank32", "place", NDIM, "i32")}
{field("dims", "place", DIMS, "ptr")}
{field("data", "place", DATA, "ptr")}
{word("bytes", "payload", "0")}
  %extents = getelementptr i64, ptr %payload, i64 1
  %rank = sext i32 %rank32 to i64
  %words = add i64 %rank, 1
  %readable = and i32 %flags, {READABLE}
  %c1 = icmp eq ptr %descr, %object
  %c2 = icmp eq i32 %readable, {READABLE}
  %c3 = icmp eq i64 %words, %extra
  %c4 = icmp eq ptr %type, %array
  %c12 = and i1 %c1, %c2
  %c34 = and i1 %c3, %c4
  %c1234 = and i1 %c12, %c34
  br i1 %c1234, label %extent, label %bad
extent:
  %same_extents = call i1 @gl_same_extents(ptr %dims, ptr %extents, i64 %rank)
  br i1 %same_extents, label %bytewise, label %bad
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
{field("size", "place", LENGTH)}
{field("items", "place", LIST_ITEMS, "ptr")}
  %as_long = icmp eq i64 %size, %extra
  br i1 %as_long, label %item, label %bad
item:
  %i = phi i64 [ 0, %list ], [ %i1, %same_item ]
  %all_items = icmp eq i64 %i, %size
  br i1 %all_items, label %next, label %compare_item
compare_item:
{word("is", "items", "%i", "ptr")}
{word("was", "payload", "%i", "ptr")}
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
{word("key_was", "payload", "%e", "ptr")}
{word("value_was", "payload", "%e1", "ptr")}
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

# Tell whether the arguments in `donations` may be written and share no memory with any other one; `sizes` are in bytes.
_MAY_DONATE = f"""
define internal i1 @gl_may_donate(
  ptr %found, ptr %held, i64 %arity, ptr %donations, i64 %count, ptr %sizes) {{
entry:
  br label %donation
donation:
  %d = phi i64 [ 0, %entry ], [ %d1, %apart ]
  %all = icmp eq i64 %d, %count
  br i1 %all, label %good, label %look
look:
{word("slot", "donations", "%d")}
{word("item", "held", "%slot", "ptr")}
{word("start", "found", "%slot")}
{word("size", "sizes", "%slot")}
{field("flags", "item", FLAGS, "i32")}
  %writeable = and i32 %flags, {WRITEABLE}
  %is_writeable = icmp ne i32 %writeable, 0
  %end = add i64 %start, %size
  br i1 %is_writeable, label %other, label %bad
other:
  %k = phi i64 [ 0, %look ], [ %k1, %next ]
  %compared = icmp eq i64 %k, %arity
  br i1 %compared, label %apart, label %compare
compare:
{word("other_start", "found", "%k")}
{word("other_size", "sizes", "%k")}
  %other_end = add i64 %other_start, %other_size
  %c1 = icmp ult i64 %other_start, %end
  %c2 = icmp ult i64 %start, %other_end
  %c3 = icmp ne i64 %k, %slot
  %c12 = and i1 %c1, %c2
  %shared = and i1 %c12, %c3
  br i1 %shared, label %bad, label %next
next:
  %k1 = add i64 %k, 1
  br label %other
apart:
  %d1 = add i64 %d, 1
  br label %donation
good:
  ret i1 1
bad:
  ret i1 0
}}
"""

CHECKS = _SAME_EXTENTS + _DICT_OF + _MATCH + _WATCH + _MAY_DONATE
