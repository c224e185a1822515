"""Native making of results: memory for them before a run, and what is returned after it.

A plan keeps a few results whole: tuples, small arrays, numbers. `gl_claim` takes one of which nobody has any part, and
the program writes into it; making and freeing such objects takes longer than a small program. Parts that somebody has,
or that are not as they were made, are replaced (`gl_renew`). A large array is a new object in a buffer of the pool that
nobody refers to any more (`gl_pooled`). `gl_build` puts all else together: lists, dicts and what is in them.
"""

from gradloom.exec.layout import (
    BASE,
    DATA,
    DIMS,
    LENGTH,
    LIST_ITEMS,
    NUMBER,
    REFERENCES,
    TUPLE_ITEMS,
    WEAK_REFERENCES,
)
from gradloom.exec.memory import PAGE, PLACE
from gradloom.exec.words import (
    BUILD,
    BUILD_DICT,
    BUILD_LIST,
    BUILD_TUPLE,
    CARRAY,
    KEPT_ARRAY,
    KEPT_NUMBER,
    KEPT_TUPLE,
    OWNER,
    PART,
    PLAN_WORDS,
    PUSH_ARRAY,
    PUSH_KEPT,
    PUSH_SCALAR,
    RESULT,
    SET,
    SPARE,
    count_up,
    drop,
    field,
    put,
    same_header,
    same_words,
    use,
    word,
)


def result(name: str, kind: str = "i64") -> str:
    return word(name, "record", getattr(RESULT, name), kind)


def _part(name: str, kind: str = "i64") -> str:
    return word(name, "part", getattr(PART, name), kind)


def _set_of_turn() -> str:
    return f"""{word("sets", "plan", PLAN_WORDS.sets, "ptr")}
  %first_word = mul i64 %turn, {len(SET.names)}
  %set = getelementptr i64, ptr %sets, i64 %first_word
{word("is_taken", "set", SET.taken)}
  %free = icmp eq i64 %is_taken, 0"""


def _unaltered(good: str, bad: str) -> str:
    """Return IR that ends a block by telling whether the array %object is as `part` says."""
    return f"""{_part("object", "ptr").replace("%object", "%descr")}
{same_header("is", "object", "descr", "extra", OWNER, OWNER, "same_header", bad)}
same_header:
{field("weak", "object", WEAK_REFERENCES, "ptr")}
{field("base", "object", BASE, "ptr")}
{field("dims", "object", DIMS, "ptr")}
  %no_weak = icmp eq ptr %weak, null
  %no_base = icmp eq ptr %base, null
  %alone = and i1 %no_weak, %no_base
  %extents = getelementptr i64, ptr %part, i64 {PART.payload}
  br i1 %alone, label %all_alone, label %{bad}
all_alone:
{same_words("extent", "dims", "extents", "extra", "all_alone", good, bad)}"""


# Take the kept result whose turn it is, if nobody has any part of it, and note where its arrays and numbers lie.
# Returns its words; null with an error set if no other one can be made.
_CLAIM = f"""
define internal ptr @gl_claim(ptr %plan, ptr %slots, ptr %api) {{
entry:
{word("turn", "plan", PLAN_WORDS.turn)}
{_set_of_turn()}
  br i1 %free, label %untaken, label %renew
untaken:
{word("count", "plan", PLAN_WORDS.parts_count)}
{word("parts", "plan", PLAN_WORDS.parts, "ptr")}
{word("list", "set", SET.list, "ptr")}
{field("items", "list", LIST_ITEMS, "ptr")}
{use("array")}
  br label %loop
loop:
  %k = phi i64 [ 0, %untaken ], [ %k1, %next ]
  %part = phi ptr [ %parts, %untaken ], [ %after, %next ]
  %done = icmp eq i64 %k, %count
  br i1 %done, label %take, label %one
one:
{word("object", "items", "%k", "ptr")}
{_part("wanted")}
{_part("kind")}
{_part("extra")}
{field("references", "object", REFERENCES, "i32")}
  %wanted32 = trunc i64 %wanted to i32
  %unheld = icmp eq i32 %references, %wanted32
  br i1 %unheld, label %nobodys, label %renew
nobodys:
  switch i64 %kind, label %next [
    i64 {KEPT_ARRAY}, label %an_array
    i64 {KEPT_NUMBER}, label %number
  ]
an_array:
{_unaltered("array_data", "renew")}
array_data:
{field("data", "object", DATA, "ptr")}
  br label %bind
number:
  %inside = getelementptr i8, ptr %object, i64 {NUMBER}
  br label %bind
bind:
  %address = phi ptr [ %data, %array_data ], [ %inside, %number ]
{_part("slot")}
  %pslot = getelementptr ptr, ptr %slots, i64 %slot
  store ptr %address, ptr %pslot
  br label %next
next:
  %size = add i64 %extra, {PART.payload}
  %after = getelementptr i64, ptr %part, i64 %size
  %k1 = add i64 %k, 1
  br label %loop
take:
  store i64 1, ptr %is_taken.p
  ret ptr %set
renew:
  %renewed = tail call ptr @gl_renew(ptr %plan, ptr %slots, ptr %api)
  ret ptr %renewed
}}
"""

# Take the next kept result, or, if a call is using it, a new one for this call alone; replace what is not free in it.
_RENEW = f"""
define internal ptr @gl_renew(ptr %plan, ptr %slots, ptr %api) {{
entry:
{use("array", "none", "CallNoArgs", "NewFromDescr", "Scalar", "TupleNew")}
  %zero = alloca [16 x i8]
  store [16 x i8] zeroinitializer, ptr %zero
{word("before", "plan", PLAN_WORDS.turn)}
  %counted = add i64 %before, 1
  %turn = and i64 %counted, {SPARE - 1}
{put("plan", PLAN_WORDS.turn, "%turn")}
{_set_of_turn()}
  br i1 %free, label %chosen, label %make_set
make_set:
{word("new_set", "plan", PLAN_WORDS.new_set, "ptr")}
  %owner = call ptr %CallNoArgs(ptr %new_set)
  %no_owner = icmp eq ptr %owner, null
  br i1 %no_owner, label %nothing, label %is_made
is_made:
{field("new_words", "owner", DATA, "ptr")}
  br label %chosen
chosen:
  %claimed = phi ptr [ %set, %entry ], [ %new_words, %is_made ]
{word("taken", "claimed", SET.taken)}
  store i64 1, ptr %taken.p
{word("count", "plan", PLAN_WORDS.parts_count)}
{word("parts", "plan", PLAN_WORDS.parts, "ptr")}
{word("list", "claimed", SET.list, "ptr")}
{field("items", "list", LIST_ITEMS, "ptr")}
  br label %loop
loop:
  %k = phi i64 [ 0, %chosen ], [ %k1, %next ]
  %part = phi ptr [ %parts, %chosen ], [ %after, %next ]
  %done = icmp eq i64 %k, %count
  br i1 %done, label %fill, label %one
one:
{word("object", "items", "%k", "ptr")}
{_part("kind")}
{_part("wanted")}
{_part("parent")}
{_part("extra")}
{_part("bytes")}
  %payload = getelementptr i64, ptr %part, i64 {PART.payload}
{field("references", "object", REFERENCES, "i32")}
  %wanted32 = trunc i64 %wanted to i32
  %unheld = icmp eq i32 %references, %wanted32
  br i1 %unheld, label %ask_parent, label %replace
ask_parent:
  %is_root = icmp slt i64 %parent, 0
  br i1 %is_root, label %nobodys, label %look_at_parent
look_at_parent:
{word("parent_of", "items", "%parent", "ptr")}
{field("its_first", "parent_of", TUPLE_ITEMS, "ptr")}
  %is_new = icmp eq ptr %its_first, null
  br i1 %is_new, label %replace, label %nobodys
nobodys:
  switch i64 %kind, label %next [
    i64 {KEPT_ARRAY}, label %an_array
    i64 {KEPT_NUMBER}, label %number
  ]
an_array:
{_unaltered("array_data", "replace")}
replace:
{_part("object", "ptr").replace("%object", "%of")}
  switch i64 %kind, label %new_tuple [
    i64 {KEPT_ARRAY}, label %new_array
    i64 {KEPT_NUMBER}, label %new_number
  ]
new_tuple:
  %tuple = call ptr %TupleNew(i64 %bytes)
  br label %made
new_number:
  %scalar = call ptr %Scalar(ptr %zero, ptr %of, ptr null)
  br label %made
new_array:
{count_up("uses", "of")}
  %rank = trunc i64 %extra to i32
  %fresh = call ptr %NewFromDescr(
    ptr %array, ptr %of, i32 %rank, ptr %payload, ptr null, ptr null, i32 0, ptr null)
  br label %made
made:
  %new = phi ptr [ %tuple, %new_tuple ], [ %scalar, %new_number ], [ %fresh, %new_array ]
  %failed = icmp eq ptr %new, null
  br i1 %failed, label %forget, label %put_in
put_in:
  store ptr %new, ptr %object.p
{drop("object")}
  switch i64 %kind, label %next [
    i64 {KEPT_ARRAY}, label %array_data
    i64 {KEPT_NUMBER}, label %number
  ]
array_data:
  %its = phi ptr [ %object, %extent ], [ %new, %put_in ]
{field("data", "its", DATA, "ptr")}
  br label %bind
number:
  %its_number = phi ptr [ %object, %nobodys ], [ %new, %put_in ]
  %inside = getelementptr i8, ptr %its_number, i64 {NUMBER}
  br label %bind
bind:
  %address = phi ptr [ %data, %array_data ], [ %inside, %number ]
{_part("slot")}
  %pslot = getelementptr ptr, ptr %slots, i64 %slot
  store ptr %address, ptr %pslot
  br label %next
next:
  %size = add i64 %extra, {PART.payload}
  %after = getelementptr i64, ptr %part, i64 %size
  %k1 = add i64 %k, 1
  br label %loop
fill:
  %t = phi i64 [ 0, %loop ], [ %t1, %filled ]
  %tpart = phi ptr [ %parts, %loop ], [ %tafter, %filled ]
  %all = icmp eq i64 %t, %count
  br i1 %all, label %good, label %fill_one
fill_one:
{word("tobject", "items", "%t", "ptr")}
{word("tkind", "tpart", PART.kind)}
{word("length", "tpart", PART.bytes)}
{word("textra", "tpart", PART.extra)}
  %tsize = add i64 %textra, {PART.payload}
  %tafter = getelementptr i64, ptr %tpart, i64 %tsize
  %t1 = add i64 %t, 1
  %children = getelementptr i64, ptr %tpart, i64 {PART.payload}
  %places = getelementptr i8, ptr %tobject, i64 {TUPLE_ITEMS}
  %is_tuple = icmp eq i64 %tkind, {KEPT_TUPLE}
  br i1 %is_tuple, label %child, label %filled
child:
  %c = phi i64 [ 0, %fill_one ], [ %c1, %child_next ]
  %all_children = icmp eq i64 %c, %length
  br i1 %all_children, label %filled, label %child_one
child_one:
  %c1 = add i64 %c, 1
  %twice = shl i64 %c, 1
  %twice1 = add i64 %twice, 1
{word("which", "children", "%twice")}
{word("constant", "children", "%twice1", "ptr")}
  %is_constant = icmp slt i64 %which, 0
  %safe = select i1 %is_constant, i64 0, i64 %which
{word("its_part", "items", "%safe", "ptr")}
  %wants = select i1 %is_constant, ptr %constant, ptr %its_part
{word("has", "places", "%c", "ptr")}
  %same = icmp eq ptr %has, %wants
  br i1 %same, label %child_next, label %exchange
exchange:
{count_up("more", "wants")}
  store ptr %wants, ptr %has.p
  %had_none = icmp eq ptr %has, null
  br i1 %had_none, label %child_next, label %drop_child
drop_child:
{drop("has")}
  br label %child_next
child_next:
  br label %child
filled:
  br label %fill
good:
  ret ptr %claimed
forget:
  %f = phi i64 [ 0, %made ], [ %f1, %forget_one ]
  %all_forgotten = icmp eq i64 %f, %count
  br i1 %all_forgotten, label %untake, label %forget_one
forget_one:
{word("forgotten", "items", "%f", "ptr")}
{count_up("none_more", "none")}
  store ptr %none, ptr %forgotten.p
{drop("forgotten")}
  %f1 = add i64 %f, 1
  br label %forget
untake:
  call void @gl_untake(ptr %claimed, ptr %api)
  ret ptr null
nothing:
  ret ptr null
}}
"""

# Let a claimed result be used by other calls; one that was made for this call alone is given up.
_UNTAKE = f"""
define internal void @gl_untake(ptr %set, ptr %api) {{
entry:
{word("owner", "set", SET.owner, "ptr")}
{word("taken", "set", SET.taken)}
  store i64 0, ptr %taken.p
  %is_kept = icmp eq ptr %owner, null
  br i1 %is_kept, label %done, label %give_up
give_up:
{drop("owner")}
  ret void
done:
  ret void
}}
"""

# Make one result array in a buffer of the pool that nobody else refers to; without one, let the pool make it.
_POOLED = f"""
define internal ptr @gl_pooled(ptr %record, ptr %api) {{
entry:
{use("NewFromDescr", "SetBaseObject", "CallNoArgs", "array")}
{result("descr", "ptr")}
{result("rank")}
{result("spare", "ptr")}
{result("make", "ptr")}
  %extents = getelementptr i64, ptr %record, i64 {RESULT.extents}
{field("size", "spare", LENGTH)}
{field("items", "spare", LIST_ITEMS, "ptr")}
  br label %look
look:
  %k = phi i64 [ 0, %entry ], [ %k1, %used ]
  %none = icmp sge i64 %k, %size
  br i1 %none, label %ask, label %one
one:
{word("buffer", "items", "%k", "ptr")}
{field("references", "buffer", REFERENCES, "i32")}
  %free = icmp eq i32 %references, 1
  br i1 %free, label %use, label %used
used:
  %k1 = add i64 %k, 1
  br label %look
use:
{field("start", "buffer", DATA)}
  %before = sub i64 {PLACE}, %start
  %skipped = and i64 %before, {PAGE - 1}
  %placed = add i64 %start, %skipped
  %data = inttoptr i64 %placed to ptr
  %rank32 = trunc i64 %rank to i32
{count_up("uses", "descr")}
  %array_of = call ptr %NewFromDescr(
    ptr %array, ptr %descr, i32 %rank32, ptr %extents, ptr null, ptr %data, i32 {CARRAY}, ptr null)
  %failed = icmp eq ptr %array_of, null
  br i1 %failed, label %done, label %own
own:
{count_up("owners", "buffer")}
  %set = call i32 %SetBaseObject(ptr %array_of, ptr %buffer)
  %refused = icmp slt i32 %set, 0
  br i1 %refused, label %drop, label %done
drop:
{drop("array_of")}
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


# Build what is returned from kept parts, the arrays in `held` and the numbers in the slots; null with an error set if
# that fails.
_BUILD = f"""
define internal ptr @gl_build(ptr %plan, ptr %parts, ptr %slots, ptr %held, ptr %api) {{
entry:
{use("TupleNew", "ListNew", "DictNew", "DictSetItem", "Scalar")}
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
    i64 {PUSH_KEPT}, label %kept
    i64 {PUSH_ARRAY}, label %array
    i64 {PUSH_SCALAR}, label %scalar
    i64 {BUILD_TUPLE}, label %tuple
    i64 {BUILD_LIST}, label %list
    i64 {BUILD_DICT}, label %dict
  ]
kept:
{word("kept_part", "parts", "%operand", "ptr")}
  br label %share
array:
{word("result", "held", "%operand", "ptr")}
  br label %share
constant:
  %object = inttoptr i64 %operand to ptr
  br label %share
share:
  %shared = phi ptr [ %kept_part, %kept ], [ %result, %array ], [ %object, %constant ]
{count_up("shares", "shared")}
  br label %push
scalar:
{word("data", "slots", "%operand", "ptr")}
  %number = call ptr %Scalar(ptr %data, ptr %other, ptr null)
  %no_number = icmp eq ptr %number, null
  br i1 %no_number, label %fail, label %push
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
{drop("new_dict")}
  br label %fail
let_go:
  %g = phi i64 [ 0, %entries ], [ %g1, %let_one ]
  %gone = icmp eq i64 %g, %operand
  br i1 %gone, label %push, label %let_one
let_one:
  %let_at = add i64 %bottom, %g
{word("entered", "stack", "%let_at", "ptr")}
{drop("entered")}
  %g1 = add i64 %g, 1
  br label %let_go
push:
  %fresh = phi ptr [ %shared, %share ], [ %sequence, %moving ], [ %new_dict, %let_go ], [ %number, %scalar ]
  %under = phi i64 [ %top, %share ], [ %base, %moving ], [ %bottom, %let_go ], [ %top, %scalar ]
  %pfresh = getelementptr ptr, ptr %stack, i64 %under
  store ptr %fresh, ptr %pfresh
  %top1 = add i64 %under, 1
  br label %loop
fail:
  %f = phi i64 [ %top, %tuple ], [ %top, %list ], [ %top, %dict ], [ %top, %drop_dict ], [ %top, %scalar ],
    [ %f1, %fail_one ]
  %empty = icmp eq i64 %f, 0
  br i1 %empty, label %bad, label %fail_one
fail_one:
  %f1 = sub i64 %f, 1
{word("left", "stack", "%f1", "ptr")}
{drop("left")}
  br label %fail
good:
  %answer = load ptr, ptr %stack
  ret ptr %answer
bad:
  ret ptr null
}}
"""

RESULTS = _CLAIM + _RENEW + _UNTAKE + _POOLED + _BUILD
