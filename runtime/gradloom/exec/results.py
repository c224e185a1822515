"""Native making of results: `gl_own` and `gl_pooled` make arrays, `gl_build` puts them into tuples, lists and dicts.

A large array is a new object in a buffer of the pool that nobody refers to any more. Small arrays and numbers are given
again as they are: making and freeing NumPy's objects takes longer than a small program. A plan keeps the first few of
each result, and gives one again when it alone refers to it and its header is as it was.
"""

from gradloom.exec.layout import (
    BASE,
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
    WEAK_REFERENCES,
)
from gradloom.exec.memory import ALIGNMENT
from gradloom.exec.words import (
    BUILD,
    BUILD_DICT,
    BUILD_LIST,
    BUILD_TUPLE,
    CARRAY,
    OWNER,
    PLAN_WORDS,
    PUSH_ARRAY,
    PUSH_SCALAR,
    RESULT,
    SPARE,
    field,
    use,
    word,
)


def result(name: str, kind: str = "i64") -> str:
    return word(name, "record", getattr(RESULT, name), kind)


# Return the position of the first object of a list, from one on, that only the list refers to; or the list's length.
_FREE = f"""
define internal i64 @gl_free(ptr %spare, i64 %from) {{
entry:
{field("size", "spare", LENGTH)}
{field("items", "spare", LIST_ITEMS, "ptr")}
  br label %look
look:
  %k = phi i64 [ %from, %entry ], [ %k1, %taken ]
  %none = icmp sge i64 %k, %size
  br i1 %none, label %done, label %one
one:
{word("object", "items", "%k", "ptr")}
{field("references", "object", REFERENCES, "i32")}
  %free = icmp eq i32 %references, 1
  br i1 %free, label %done, label %taken
taken:
  %k1 = add i64 %k, 1
  br label %look
done:
  ret i64 %k
}}
"""

# Note a new object in the list of those that are given again, as long as that is short.
_NOTE = f"""
define internal void @gl_note(ptr %spare, ptr %object, ptr %api) {{
entry:
{use("ListAppend", "ErrClear")}
{field("size", "spare", LENGTH)}
  %short = icmp slt i64 %size, {SPARE}
  %is_made = icmp ne ptr %object, null
  %wanted = and i1 %short, %is_made
  br i1 %wanted, label %append, label %done
append:
  %appended = call i32 %ListAppend(ptr %spare, ptr %object)
  %refused = icmp slt i32 %appended, 0
  br i1 %refused, label %clear, label %done
clear:
  call void %ErrClear()
  br label %done
done:
  ret void
}}
"""

# Give one result array that owns its memory: one that was given before and that nobody has any more, or a new one.
_OWN = f"""
define internal ptr @gl_own(ptr %record, ptr %api) {{
entry:
{use("IncRef", "NewFromDescr", "array")}
{result("descr", "ptr")}
{result("rank")}
{result("spare", "ptr")}
  %extents = getelementptr i64, ptr %record, i64 {RESULT.extents}
  %rank32 = trunc i64 %rank to i32
{field("size", "spare", LENGTH)}
{field("items", "spare", LIST_ITEMS, "ptr")}
  br label %look
look:
  %from = phi i64 [ 0, %entry ], [ %k1, %altered ]
  %k = call i64 @gl_free(ptr %spare, i64 %from)
  %none = icmp eq i64 %k, %size
  br i1 %none, label %make, label %header
header:
{word("array_before", "items", "%k", "ptr")}
{field("type", "array_before", TYPE, "ptr")}
{field("has_rank", "array_before", NDIM, "i32")}
{field("dims", "array_before", DIMS, "ptr")}
{field("base", "array_before", BASE, "ptr")}
{field("has_descr", "array_before", DESCR, "ptr")}
{field("flags", "array_before", FLAGS, "i32")}
{field("weak", "array_before", WEAK_REFERENCES, "ptr")}
  %owner = and i32 %flags, {OWNER}
  %c1 = icmp eq ptr %type, %array
  %c2 = icmp eq i32 %has_rank, %rank32
  %c3 = icmp eq ptr %base, null
  %c4 = icmp eq ptr %has_descr, %descr
  %c5 = icmp eq i32 %owner, {OWNER}
  %c6 = icmp eq ptr %weak, null
  %c12 = and i1 %c1, %c2
  %c34 = and i1 %c3, %c4
  %c56 = and i1 %c5, %c6
  %c1234 = and i1 %c12, %c34
  %as_it_was = and i1 %c1234, %c56
  br i1 %as_it_was, label %extent, label %altered
extent:
  %same_extents = call i1 @gl_same_extents(ptr %dims, ptr %extents, i64 %rank)
  br i1 %same_extents, label %again, label %altered
altered:
  %k1 = add i64 %k, 1
  br label %look
again:
  call void %IncRef(ptr %array_before)
  ret ptr %array_before
make:
  call void %IncRef(ptr %descr)
  %fresh = call ptr %NewFromDescr(
    ptr %array, ptr %descr, i32 %rank32, ptr %extents, ptr null, ptr null, i32 0, ptr null)
  call void @gl_note(ptr %spare, ptr %fresh, ptr %api)
  ret ptr %fresh
}}
"""

# Give one NumPy scalar, as above. Those of 4 and 8 bytes are given again.
_NUMBER = f"""
define internal ptr @gl_number(ptr %data, ptr %descr, ptr %spare, i64 %bytes, ptr %api) {{
entry:
{use("IncRef", "Scalar")}
{field("size", "spare", LENGTH)}
{field("items", "spare", LIST_ITEMS, "ptr")}
  %k = call i64 @gl_free(ptr %spare, i64 0)
  %none = icmp eq i64 %k, %size
  br i1 %none, label %make, label %fill
fill:
{word("number", "items", "%k", "ptr")}
  %place = getelementptr i8, ptr %number, i64 {NUMBER}
  call void %IncRef(ptr %number)
  %double = icmp eq i64 %bytes, 8
  br i1 %double, label %eight, label %four
eight:
  %bits8 = load i64, ptr %data
  store i64 %bits8, ptr %place
  ret ptr %number
four:
  %bits4 = load i32, ptr %data
  store i32 %bits4, ptr %place
  ret ptr %number
make:
  %fresh = call ptr %Scalar(ptr %data, ptr %descr, ptr null)
  switch i64 %bytes, label %done [
    i64 8, label %note
    i64 4, label %note
  ]
note:
  call void @gl_note(ptr %spare, ptr %fresh, ptr %api)
  br label %done
done:
  ret ptr %fresh
}}
"""

# Make one result array in a buffer of the pool that nobody else refers to; without one, let the pool make it.
_POOLED = f"""
define internal ptr @gl_pooled(ptr %record, ptr %api) {{
entry:
{use("IncRef", "DecRef", "NewFromDescr", "SetBaseObject", "CallNoArgs", "array")}
{result("descr", "ptr")}
{result("rank")}
{result("spare", "ptr")}
{result("make", "ptr")}
  %extents = getelementptr i64, ptr %record, i64 {RESULT.extents}
{field("size", "spare", LENGTH)}
{field("items", "spare", LIST_ITEMS, "ptr")}
  %k = call i64 @gl_free(ptr %spare, i64 0)
  %none = icmp eq i64 %k, %size
  br i1 %none, label %ask, label %use
use:
{word("buffer", "items", "%k", "ptr")}
{field("start", "buffer", DATA)}
  %beyond = add i64 %start, {ALIGNMENT - 1}
  %aligned = and i64 %beyond, -{ALIGNMENT}
  %data = inttoptr i64 %aligned to ptr
  %rank32 = trunc i64 %rank to i32
  call void %IncRef(ptr %descr)
  %array_of = call ptr %NewFromDescr(
    ptr %array, ptr %descr, i32 %rank32, ptr %extents, ptr null, ptr %data, i32 {CARRAY}, ptr null)
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
    return word(name, "record", getattr(BUILD, name), kind)


# Build what is returned from the arrays made and the numbers in the slots; null with an error set if that fails.
_BUILD = f"""
define internal ptr @gl_build(ptr %plan, ptr %made, ptr %slots, ptr %api) {{
entry:
{use("IncRef", "DecRef", "TupleNew", "ListNew", "DictNew", "DictSetItem")}
{word("count", "plan", PLAN_WORDS.building_count)}
{word("instructions", "plan", PLAN_WORDS.building, "ptr")}
{word("depth", "plan", PLAN_WORDS.depth)}
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
{word("result", "made", "%operand", "ptr")}
  call void %IncRef(ptr %result)
  br label %push
scalar:
{word("data", "slots", "%operand", "ptr")}
{_build("spare", "ptr")}
{_build("bytes")}
  %number = call ptr @gl_number(ptr %data, ptr %other, ptr %spare, i64 %bytes, ptr %api)
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
{field("first_of_list", "new_list", LIST_ITEMS, "ptr")}
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
{word("child", "stack", "%from", "ptr")}
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
{word("value", "stack", "%value_at", "ptr")}
{word("key", "other", "%e", "ptr")}
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
{word("entered", "stack", "%let_at", "ptr")}
  call void %DecRef(ptr %entered)
  %g1 = add i64 %g, 1
  br label %let_go
made_one:
  %no_number = icmp eq ptr %number, null
  br i1 %no_number, label %fail, label %push
push:
  %fresh = phi ptr [ %result, %array ], [ %object, %constant ], [ %sequence, %moving ], [ %new_dict, %let_go ],
    [ %number, %made_one ]
  %under = phi i64 [ %top, %array ], [ %top, %constant ], [ %base, %moving ], [ %bottom, %let_go ], [ %top, %made_one ]
  %pfresh = getelementptr ptr, ptr %stack, i64 %under
  store ptr %fresh, ptr %pfresh
  %top1 = add i64 %under, 1
  br label %loop
fail:
  %f = phi i64 [ %top, %tuple ], [ %top, %list ], [ %top, %dict ], [ %top, %drop_dict ], [ %top, %made_one ],
    [ %f1, %fail_one ]
  %empty = icmp eq i64 %f, 0
  br i1 %empty, label %bad, label %fail_one
fail_one:
  %f1 = sub i64 %f, 1
{word("left", "stack", "%f1", "ptr")}
  call void %DecRef(ptr %left)
  br label %fail
good:
  %answer = load ptr, ptr %stack
  ret ptr %answer
bad:
  ret ptr null
}}
"""

RESULTS = _FREE + _NOTE + _OWN + _NUMBER + _POOLED + _BUILD
