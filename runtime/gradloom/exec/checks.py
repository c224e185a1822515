"""Native checks before a call.

`gl_match` compares arguments with records, `gl_watch` what a function reads besides; `gl_may_donate` tells whether
results may be written into arguments' memory.
"""

from gradloom.exec.layout import (
    CELL_CONTENT,
    DATA,
    DICT_KEYS,
    DIMS,
    FLAGS,
    KEYS_COUNT,
    KEYS_INDICES,
    KEYS_KIND,
    KEYS_MASK,
    KEYS_OF_NAMES,
    LENGTH,
    LIST_ITEMS,
    NUMBER,
    TUPLE_ITEMS,
    TYPE,
    WRITEABLE,
)
from gradloom.exec.words import (
    ARGUMENT,
    ARRAY,
    ASK,
    C_ORDER,
    CARRAY,
    CELL,
    CONTENT,
    DICT,
    DICT_CONTENT,
    EQUAL,
    FIXED,
    FRAME_WORDS,
    INSTANCE,
    INTERFACES,
    LIST,
    LIST_CONTENT,
    MEMBERS,
    NAME,
    NAME_ENTRY,
    NUMBER_OBJECT,
    PLACED_NAME,
    READABLE,
    TUPLE,
    WATCHED,
    WRITTEN,
    count_up,
    drop,
    field,
    put,
    same_header,
    same_words,
    use,
    word,
)


def _argument(name: str, kind: str = "i64") -> str:
    return word(name, "record", getattr(ARGUMENT, name), kind)


# Return the dict of an instance's attributes, which the instance keeps alive; null if it has none.
_DICT_OF = f"""
define internal ptr @gl_dict_of(ptr %item, ptr %api) {{
entry:
{use("GenericGetDict", "ErrClear")}
  %attributes = call ptr %GenericGetDict(ptr %item, ptr null)
  %none = icmp eq ptr %attributes, null
  br i1 %none, label %clear, label %borrow
clear:
  call void %ErrClear()
  ret ptr null
borrow:
{drop("attributes")}
  ret ptr %attributes
}}
"""

# Compare `count` objects with records; note addresses of data by slot in `slots`, the objects behind them in `held`.
# Returns the record after the last one, or null. Arrays are compared here, without calls; all else below.
_MATCH = f"""
define internal ptr @gl_match(ptr %items, i64 %count, ptr %records, ptr %slots, ptr %held, ptr %api) {{
entry:
{use("array")}
  br label %loop
loop:
  %k = phi i64 [ 0, %entry ], [ %k1, %next ]
  %record = phi ptr [ %records, %entry ], [ %following, %next ]
  %done = icmp eq i64 %k, %count
  br i1 %done, label %good, label %one
one:
{word("item", "items", "%k", "ptr")}
  %k1 = add i64 %k, 1
{_argument("kind")}
  %by_header = icmp eq i64 %kind, {ARRAY}
  br i1 %by_header, label %maybe_array, label %other
maybe_array:
{_argument("object", "ptr")}
{_argument("extra")}
{same_header("is", "item", "object", "extra", READABLE, READABLE, "header", "other")}
header:
{field("dims", "item", DIMS, "ptr")}
  %payload = getelementptr i64, ptr %record, i64 {ARGUMENT.payload}
{same_words("extent", "dims", "payload", "extra", "header", "data_of", "other")}
data_of:
{field("data", "item", DATA, "ptr")}
{_argument("slot")}
  %pslot = getelementptr ptr, ptr %slots, i64 %slot
  store ptr %data, ptr %pslot
  %pheld = getelementptr ptr, ptr %held, i64 %slot
  store ptr %item, ptr %pheld
  %after = getelementptr i64, ptr %payload, i64 %extra
  br label %next
other:
  %rest = call preserve_mostcc ptr @gl_match_other(ptr %item, ptr %record, ptr %slots, ptr %held, ptr %api)
  %mismatch = icmp eq ptr %rest, null
  br i1 %mismatch, label %bad, label %next
next:
  %following = phi ptr [ %after, %data_of ], [ %rest, %other ]
  br label %loop
good:
  ret ptr %record
bad:
  ret ptr null
}}
"""

# Compare one object with its record, as above. An array with other strides is copied.
_MATCH_OTHER = f"""
define internal preserve_mostcc ptr @gl_match_other(ptr %item, ptr %record, ptr %slots, ptr %held, ptr %api) {{
entry:
{use("array", "list", "dict", "RichCompareBool", "ErrClear", "DictNext")}
  %position = alloca i64
  %key = alloca ptr
  %value = alloca ptr
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
    i64 {MEMBERS}, label %with_members
    i64 {WRITTEN}, label %written
  ]
array_or_number:
  %type_word = ptrtoint ptr %type to i64
  %is_scalar = icmp eq i64 %type_word, %other
  br i1 %is_scalar, label %number_data, label %maybe_array
number:
  %is_number = icmp eq ptr %type, %object
  br i1 %is_number, label %number_data, label %bad
number_data:
  %inside = getelementptr i8, ptr %item, i64 {NUMBER}
  br label %bound
maybe_array:
{same_header("strided", "item", "object", "extra", 0, 0, "any_strides", "bad")}
any_strides:
{field("dims", "item", DIMS, "ptr")}
{same_words("extent", "dims", "payload", "extra", "any_strides", "copy", "bad")}
copy:
{use("NewCopy")}
  %copied = call ptr %NewCopy(ptr %item, i32 {C_ORDER})
  %no_copy = icmp eq ptr %copied, null
  br i1 %no_copy, label %broken, label %keep_copy
keep_copy:
{word("copies", "slots", FRAME_WORDS.copies - FRAME_WORDS.slots)}
{word("copied_at", "slots", FRAME_WORDS.copied_at - FRAME_WORDS.slots, "ptr")}
  %copies1 = add i64 %copies, 1
  store i64 %copies1, ptr %copies.p
  %pcopied = getelementptr ptr, ptr %copied_at, i64 %copies
  store ptr %copied, ptr %pcopied
{field("copied_data", "copied", DATA, "ptr")}
  br label %bound
written:
{same_header("out", "item", "object", "extra", CARRAY, CARRAY, "writeable", "bad")}
writeable:
{field("out_dims", "item", DIMS, "ptr")}
{same_words("out_extent", "out_dims", "payload", "extra", "writeable", "out_of", "bad")}
out_of:
{field("out_data", "item", DATA, "ptr")}
  br label %bound
bound:
  %address = phi ptr [ %inside, %number_data ], [ %copied_data, %keep_copy ], [ %out_data, %out_of ]
  %holder = phi ptr [ %item, %number_data ], [ %copied, %keep_copy ], [ %item, %out_of ]
  %pslot = getelementptr ptr, ptr %slots, i64 %slot
  store ptr %address, ptr %pslot
  %pheld = getelementptr ptr, ptr %held, i64 %slot
  store ptr %holder, ptr %pheld
  ret ptr %after
fixed:
  %identical = icmp eq ptr %item, %object
  br i1 %identical, label %good, label %maybe_equal
maybe_equal:
{field("wanted_type", "object", TYPE, "ptr")}
  %comparable = icmp ne i64 %other, 0
  %of_a_type = icmp eq ptr %type, %wanted_type
  %may_be = and i1 %comparable, %of_a_type
  br i1 %may_be, label %ask, label %bad
ask:
  %answer = call i32 %RichCompareBool(ptr %item, ptr %object, i32 {EQUAL})
  switch i32 %answer, label %broken [
    i32 1, label %good
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
with_members:
  %has_members = icmp eq ptr %type, %object
  br i1 %has_members, label %members, label %bad
members:
  %members_of = alloca ptr, i64 %other
  br label %member
member:
  %m = phi i64 [ 0, %members ], [ %m1, %has_member ]
  %all_members = icmp eq i64 %m, %other
  br i1 %all_members, label %inner, label %one_member
one_member:
{word("offset", "payload", "%m")}
  %pmember = getelementptr i8, ptr %item, i64 %offset
  %its = load ptr, ptr %pmember
  %pgather = getelementptr ptr, ptr %members_of, i64 %m
  store ptr %its, ptr %pgather
  %m1 = add i64 %m, 1
  %unset = icmp eq ptr %its, null
  br i1 %unset, label %bad, label %has_member
has_member:
  br label %member
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
  %list_of = phi ptr [ %children, %length ], [ %gathered, %ended ], [ %members_of, %member ]
  %rest = call ptr @gl_match(ptr %list_of, i64 %other, ptr %after, ptr %slots, ptr %held, ptr %api)
  ret ptr %rest
good:
  ret ptr %after
bad:
  ret ptr null
}}
"""


def _watched(name: str, kind: str = "i64") -> str:
    return word(name, "record", getattr(WATCHED, name), kind)


# Note where a dict of names has one, so that it is found without a search as long as the dict keeps its table of keys.
_NOTE_ENTRY = f"""
define internal void @gl_note_entry(ptr %place, ptr %name, ptr %known) {{
entry:
{field("keys", "place", DICT_KEYS, "ptr")}
{field("keys_kind", "keys", KEYS_KIND)}
{field("count", "keys", KEYS_COUNT)}
  %kind = and i64 %keys_kind, {KEYS_MASK}
  %of_names = lshr i64 %kind, 16
  %simple = icmp eq i64 %of_names, {KEYS_OF_NAMES}
  %bits = lshr i64 %kind, 8
  %log = and i64 %bits, 255
  %indices = shl i64 1, %log
  %before = add i64 %indices, {KEYS_INDICES}
  %entries = getelementptr i8, ptr %keys, i64 %before
  br i1 %simple, label %look, label %done
look:
  %k = phi i64 [ 0, %entry ], [ %k1, %another ]
  %none = icmp eq i64 %k, %count
  br i1 %none, label %done, label %compare
compare:
  %offset = shl i64 %k, 4
  %entry_of = getelementptr i8, ptr %entries, i64 %offset
  %is = load ptr, ptr %entry_of
  %found = icmp eq ptr %is, %name
  br i1 %found, label %note, label %another
another:
  %k1 = add i64 %k, 1
  br label %look
note:
  %keys_word = ptrtoint ptr %keys to i64
  %entry_word = ptrtoint ptr %entry_of to i64
{put("known", NAME_ENTRY.keys, "%keys_word")}
{put("known", NAME_ENTRY.kind, "%kind")}
{put("known", NAME_ENTRY.entry, "%entry_word")}
{put("known", NAME_ENTRY.position, "%k")}
  br label %done
done:
  ret void
}}
"""

# Tell whether what a function reads besides its arguments is what it was when its programs were made.
_WATCH = f"""
define internal i1 @gl_watch(ptr %watched, ptr %api) {{
entry:
  %table = getelementptr i64, ptr %watched, i64 1
  %watcher = load ptr, ptr %watched
{count_up("watchers", "watcher")}
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
    i64 {NAME}, label %look_up
    i64 {PLACED_NAME}, label %placed_name
    i64 {CONTENT}, label %content
    i64 {LIST_CONTENT}, label %list
    i64 {DICT_CONTENT}, label %dict
    i64 {ASK}, label %ask
  ]
cell:
{field("in_cell", "place", CELL_CONTENT, "ptr")}
  %cell_holds = icmp eq ptr %in_cell, %expected
  br i1 %cell_holds, label %next, label %bad
placed_name:
{word("known_keys", "payload", NAME_ENTRY.keys, "ptr")}
{word("known_kind", "payload", NAME_ENTRY.kind)}
{word("known_entry", "payload", NAME_ENTRY.entry, "ptr")}
{word("known_position", "payload", NAME_ENTRY.position)}
{field("keys", "place", DICT_KEYS, "ptr")}
  %n1 = icmp eq ptr %keys, %known_keys
  br i1 %n1, label %same_keys, label %look_up
same_keys:
{field("keys_kind", "keys", KEYS_KIND)}
{field("keys_count", "keys", KEYS_COUNT)}
  %its_kind = and i64 %keys_kind, {KEYS_MASK}
  %n2 = icmp eq i64 %its_kind, %known_kind
  %n3 = icmp ult i64 %known_position, %keys_count
  %n23 = and i1 %n2, %n3
  br i1 %n23, label %same_table, label %look_up
same_table:
{word("its_name", "known_entry", 0, "ptr")}
{word("its_value", "known_entry", 1, "ptr")}
  %n4 = icmp eq ptr %its_name, %object
  %n5 = icmp eq ptr %its_value, %expected
  %n45 = and i1 %n4, %n5
  br i1 %n45, label %next, label %look_up
look_up:
{use("DictGetItem")}
  %named = call ptr %DictGetItem(ptr %place, ptr %object)
  %name_holds = icmp eq ptr %named, %expected
  br i1 %name_holds, label %name_found, label %name_lost
name_found:
  %is_placed = icmp eq i64 %kind, {PLACED_NAME}
  br i1 %is_placed, label %note_entry, label %next
note_entry:
  call void @gl_note_entry(ptr %place, ptr %object, ptr %payload)
  br label %next
name_lost:
{use("ErrClear")}
  call void %ErrClear()
  br label %bad
content:
{use("array")}
  %rank = sub i64 %extra, 1
{same_header("is", "place", "object", "rank", READABLE, READABLE, "header", "bad")}
header:
{field("dims", "place", DIMS, "ptr")}
{field("data", "place", DATA, "ptr")}
{word("bytes", "payload", 0)}
  %extents = getelementptr i64, ptr %payload, i64 1
{same_words("extent", "dims", "extents", "rank", "header", "bytewise", "bad")}
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
  br i1 %as_long, label %same_length, label %bad
same_length:
{same_words("item", "items", "payload", "size", "same_length", "next", "bad")}
dict:
{use("DictNext")}
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
{use("CallNoArgs", "true")}
  %answer = call ptr %CallNoArgs(ptr %place)
  %failed = icmp eq ptr %answer, null
  br i1 %failed, label %no_answer, label %answered
no_answer:
{word("clear", "api", INTERFACES.ErrClear, "ptr")}
  call void %clear()
  br label %bad
answered:
  %holds = icmp eq ptr %answer, %true
{drop("answer")}
  br i1 %holds, label %next, label %bad
next:
  br label %loop
good:
  br label %end
bad:
  br label %end
end:
  %as_before = phi i1 [ 1, %good ], [ 0, %bad ]
{drop("watcher")}
  ret i1 %as_before
}}
"""

# Tell whether some of the arrays that were passed may be written and share no memory with the others. `taken` are the
# slots of all, `sizes` their bytes, `donations` which of them it is about.
_MAY_DONATE = f"""
define internal i1 @gl_may_donate(
  ptr %slots, ptr %held, ptr %taken, i64 %taken_count, ptr %sizes, ptr %donations, i64 %count) {{
entry:
  br label %donation
donation:
  %d = phi i64 [ 0, %entry ], [ %d1, %apart ]
  %all = icmp eq i64 %d, %count
  br i1 %all, label %good, label %look
look:
{word("which", "donations", "%d")}
{word("slot", "taken", "%which")}
{word("size", "sizes", "%which")}
{word("item", "held", "%slot", "ptr")}
{word("start", "slots", "%slot")}
{field("flags", "item", FLAGS, "i32")}
  %writeable = and i32 %flags, {WRITEABLE}
  %is_writeable = icmp ne i32 %writeable, 0
  %end = add i64 %start, %size
  br i1 %is_writeable, label %other, label %bad
other:
  %k = phi i64 [ 0, %look ], [ %k1, %next ]
  %compared = icmp eq i64 %k, %taken_count
  br i1 %compared, label %apart, label %compare
compare:
{word("other_slot", "taken", "%k")}
{word("other_start", "slots", "%other_slot")}
{word("other_size", "sizes", "%k")}
  %other_end = add i64 %other_start, %other_size
  %c1 = icmp ult i64 %other_start, %end
  %c2 = icmp ult i64 %start, %other_end
  %c3 = icmp ne i64 %k, %which
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

CHECKS = _DICT_OF + _MATCH + _MATCH_OTHER + _NOTE_ENTRY + _WATCH + _MAY_DONATE
