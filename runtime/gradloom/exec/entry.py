"""The native entry: compiled functions that check a call's arguments, make its results and run its segments.

One `gl_call` serves all programs: what a program takes and gives stands in tables of words, which tables.py writes. It
is called by the interpreter itself (callable.py), holds the interpreter's lock while it touches objects, and gives it
back while a program runs that takes long. Where a call is not as the tables say (other types or shapes, a changed
global, keyword arguments), it calls the object's `__call__` instead. This file owns the functions' text. It knows no
address: those of Python's and NumPy's functions come in a table as well.
"""

from gradloom.exec.callable import INTERFACE, PLAN
from gradloom.exec.checks import CHECKS
from gradloom.exec.layout import DATA, LENGTH, TUPLE_ITEMS
from gradloom.exec.results import RESULTS, result
from gradloom.exec.words import (
    DONATED,
    FRAME_WORDS,
    OWN,
    PLAN_WORDS,
    POOLED,
    PROGRAM_WORDS,
    RESULT,
    STATE_WORDS,
    field,
    use,
    word,
)
from gradloomc.codegen.native import compile_module, expect_module

# Run a plan on the data at `found`: take a frame, make the results, run the segments, build what is returned.
_RUN = f"""
define internal ptr @gl_run(ptr %plan, ptr %found, ptr %held, ptr %api) {{
entry:
{use("IncRef", "DecRef", "CallNoArgs", "CallOneArg", "SaveThread", "RestoreThread")}
{word("program", "plan", PLAN_WORDS.program, "ptr")}
{word("arity", "plan", PLAN_WORDS.arity)}
{word("results_count", "plan", PLAN_WORDS.results_count)}
{word("results", "plan", PLAN_WORDS.results, "ptr")}
{word("finish", "plan", PLAN_WORDS.finish, "ptr")}
{word("idle", "program", PROGRAM_WORDS.idle, "ptr")}
{word("kept", "program", PROGRAM_WORDS.kept)}
{word("cells", "program", PROGRAM_WORDS.cells)}
{word("steps_count", "program", PROGRAM_WORDS.steps_count)}
{word("steps", "program", PROGRAM_WORDS.steps, "ptr")}
{word("sizes", "program", PROGRAM_WORDS.sizes, "ptr")}
{word("release", "program", PROGRAM_WORDS.release)}
{word("status", "program", PROGRAM_WORDS.status)}
{word("failure", "program", PROGRAM_WORDS.failure, "ptr")}
  %keeps = icmp ne i64 %kept, 0
  %made = alloca ptr, i64 %results_count
  %no_idle = icmp eq ptr %idle, null
  br i1 %no_idle, label %new_frame, label %old_frame
old_frame:
{word("idle_next", "idle", FRAME_WORDS.following, "ptr")}
  store ptr %idle_next, ptr %idle.p
  br label %framed
new_frame:
{word("new", "program", PROGRAM_WORDS.new_frame, "ptr")}
  %owner_of_new = call ptr %CallNoArgs(ptr %new)
  %no_frame = icmp eq ptr %owner_of_new, null
  br i1 %no_frame, label %nothing, label %is_new
is_new:
{field("new_words", "owner_of_new", DATA, "ptr")}
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
{word("data", "found", "%b", "ptr")}
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
{result("kind")}
{result("slot")}
{result("rank")}
  switch i64 %kind, label %in_frame [
    i64 {OWN}, label %own
    i64 {POOLED}, label %pooled
    i64 {DONATED}, label %donated
  ]
in_frame:
  %cell = getelementptr i64, ptr %cell0, i64 %k
  br label %made_one
own:
  %given_again = call ptr @gl_own(ptr %record, ptr %api)
  br label %made_array
pooled:
  %drawn = call ptr @gl_pooled(ptr %record, ptr %api)
  br label %made_array
donated:
{result("spare")}
{word("given", "held", "%spare", "ptr")}
  call void %IncRef(ptr %given)
  br label %made_array
made_array:
  %result = phi ptr [ %given_again, %own ], [ %drawn, %pooled ], [ %given, %donated ]
  %no_array = icmp eq ptr %result, null
  br i1 %no_array, label %clean, label %has_array
has_array:
{field("result_data", "result", DATA, "ptr")}
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
{word("segment", "steps", "%s", "ptr")}
  call void %segment(ptr %slots, ptr %sizes)
  %s1 = add i64 %s, 1
  br label %step
stepped:
  br i1 %long, label %lock, label %check
lock:
  call void %RestoreThread(ptr %saved)
  br label %check
check:
  %unchecked = icmp eq ptr %failure, null
  br i1 %unchecked, label %build, label %checked
checked:
{word("outcome", "slots", "%status", "ptr")}
  %wrong = load i64, ptr %outcome
  %is_right = icmp eq i64 %wrong, 0
  br i1 %is_right, label %build, label %fail
fail:
{word("frame_object", "frame", FRAME_WORDS.owner, "ptr")}
  %raised = call ptr %CallOneArg(ptr %failure, ptr %frame_object)
  br label %clean
build:
  %built = call ptr @gl_build(ptr %plan, ptr %made, ptr %slots, ptr %api)
  br label %clean
clean:
  %value = phi ptr [ null, %made_array ], [ %built, %build ], [ %raised, %fail ]
  %limit = phi i64 [ %k, %made_array ], [ %results_count, %build ], [ %results_count, %fail ]
  br label %drop
drop:
  %d = phi i64 [ 0, %clean ], [ %d1, %drop_next ]
  %dropped = icmp eq i64 %d, %limit
  br i1 %dropped, label %frame_back, label %drop_one
drop_one:
{word("one", "made", "%d", "ptr")}
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
{word("frame_owner", "frame", FRAME_WORDS.owner, "ptr")}
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
{field("api", "self", INTERFACE, "ptr")}
{field("first", "self", PLAN, "ptr")}
{use("IncRef", "DecRef", "GetAttr", "Vectorcall", "call_name")}
  %count = and i64 %flagged, {(1 << 63) - 1}
  %positional = icmp eq ptr %keywords, null
  br i1 %positional, label %begin, label %named
named:
{field("names_count", "keywords", LENGTH)}
  %names = getelementptr i8, ptr %keywords, i64 {TUPLE_ITEMS}
  br label %begin
begin:
  %keywords_count = phi i64 [ 0, %entry ], [ %names_count, %named ]
  %given_names = phi ptr [ null, %entry ], [ %names, %named ]
  br label %try
try:
  %plan = phi ptr [ %first, %begin ], [ %following, %other ]
  %no_plan = icmp eq ptr %plan, null
  br i1 %no_plan, label %miss, label %look
look:
{word("wanted_count", "plan", PLAN_WORDS.count)}
{word("wanted_keywords_count", "plan", PLAN_WORDS.keywords_count)}
{word("wanted_names", "plan", PLAN_WORDS.keywords, "ptr")}
  %c1 = icmp eq i64 %count, %wanted_count
  %c2 = icmp eq i64 %keywords_count, %wanted_keywords_count
  %c12 = and i1 %c1, %c2
  br i1 %c12, label %name, label %other
name:
  %n = phi i64 [ 0, %look ], [ %n1, %same_name ]
  %all_named = icmp eq i64 %n, %keywords_count
  br i1 %all_named, label %match, label %compare_name
compare_name:
{word("given_name", "given_names", "%n", "ptr")}
{word("wanted_name", "wanted_names", "%n", "ptr")}
  %is_name = icmp eq ptr %given_name, %wanted_name
  br i1 %is_name, label %same_name, label %other
same_name:
  %n1 = add i64 %n, 1
  br label %name
match:
{word("arity", "plan", PLAN_WORDS.arity)}
{word("arguments", "plan", PLAN_WORDS.arguments, "ptr")}
{word("all_count", "plan", PLAN_WORDS.arguments_count)}
  %found = alloca ptr, i64 %arity
  %held = alloca ptr, i64 %arity
  %matched = call ptr @gl_match(ptr %items, i64 %all_count, ptr %arguments, ptr %found, ptr %held, ptr %api)
  %mismatch = icmp eq ptr %matched, null
  br i1 %mismatch, label %other, label %captured
captured:
{word("captured_count", "plan", PLAN_WORDS.captured_count)}
{word("captured_items", "plan", PLAN_WORDS.captured, "ptr")}
{word("captured_records", "plan", PLAN_WORDS.captured_records, "ptr")}
  %took = call ptr @gl_match(
    ptr %captured_items, i64 %captured_count, ptr %captured_records, ptr %found, ptr %held, ptr %api)
  %changed = icmp eq ptr %took, null
  br i1 %changed, label %other, label %state_of
state_of:
{word("state", "plan", PLAN_WORDS.state, "ptr")}
{word("tracing", "plan", PLAN_WORDS.tracing, "ptr")}
{word("generation", "plan", PLAN_WORDS.generation)}
{word("owner", "plan", PLAN_WORDS.owner, "ptr")}
{word("serial", "plan", PLAN_WORDS.serial)}
{word("nested", "plan", PLAN_WORDS.nested)}
{word("now", "state", STATE_WORDS.generation)}
{word("watched", "state", STATE_WORDS.watched, "ptr")}
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
{word("to_hold", "held", "%h", "ptr")}
  call void %IncRef(ptr %to_hold)
  %h1 = add i64 %h, 1
  br label %hold_one
watch:
  %watcher = load ptr, ptr %watched
  %records = getelementptr i64, ptr %watched, i64 1
  call void %IncRef(ptr %watcher)
  %holds = call i1 @gl_watch(ptr %records, ptr %api)
  call void %DecRef(ptr %watcher)
  br i1 %holds, label %unchanged, label %release
unchanged:
{word("donations_count", "plan", PLAN_WORDS.donations_count)}
  %donates = icmp ne i64 %donations_count, 0
  br i1 %donates, label %may_donate, label %run
may_donate:
{word("donations", "plan", PLAN_WORDS.donations, "ptr")}
{word("sizes", "plan", PLAN_WORDS.sizes, "ptr")}
  %may = call i1 @gl_may_donate(
    ptr %found, ptr %held, i64 %arity, ptr %donations, i64 %donations_count, ptr %sizes)
  br i1 %may, label %run, label %release
run:
  %answer = call ptr @gl_run(ptr %plan, ptr %found, ptr %held, ptr %api)
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
  %given = phi ptr [ null, %watch ], [ null, %may_donate ], [ null, %run ], [ %answer, %note ]
  %is_miss = phi i1 [ 1, %watch ], [ 1, %may_donate ], [ 0, %run ], [ 0, %note ]
  br label %release_one
release_one:
  %r = phi i64 [ 0, %release ], [ %r1, %release_next ]
  %released = icmp eq i64 %r, %held_count
  br i1 %released, label %disown, label %release_next
release_next:
{word("to_release", "held", "%r", "ptr")}
  call void %DecRef(ptr %to_release)
  %r1 = add i64 %r, 1
  br label %release_one
disown:
  call void %DecRef(ptr %owner)
  br i1 %is_miss, label %miss, label %return
return:
  ret ptr %given
other:
{word("following", "plan", PLAN_WORDS.following, "ptr")}
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
    return CHECKS + RESULTS + _RUN + _CALL


_address: int | None = None


def entry_address() -> int:
    """Return the address of `gl_call`, compiled once; its code stays for the life of the process."""
    global _address
    if _address is None:
        _address = compile_module(entry_text(), ["gl_call"]).addresses["gl_call"]
    return _address


def expect_entry() -> None:
    """Have it compiled meanwhile, if LLVM is there and this machine has not compiled it."""
    if _address is None:
        expect_module(entry_text())
