"""The native entry: compiled functions that check a call's arguments, make its results and run its segments.

One `gl_call` serves all programs: what a program takes and gives stands in tables of words, which tables.py writes. It
is called by the interpreter itself (callable.py), holds the interpreter's lock while it touches objects, and gives it
back while a program runs that takes long. Where a call is not as the tables say (other types or shapes, a changed
global, keyword arguments), it calls the object's `__call__` instead. This file owns the functions' text. It knows no
address: those of Python's and NumPy's functions come in a table as well.

The text is written for its order of evaluation: no pass moves loads to where they are used, and each call of a function
saves registers. So what every call does stands in `gl_call` and in functions that call nothing before they are done;
the rest is called.
"""

from gradloom.exec.callable import INTERFACE, PLAN
from gradloom.exec.checks import CHECKS
from gradloom.exec.layout import DATA, LENGTH, LIST_ITEMS, TUPLE_ITEMS
from gradloom.exec.results import RESULTS, result
from gradloom.exec.words import (
    COUNT_DOWN,
    DONATED,
    END,
    FRAME_WORDS,
    PLAN_WORDS,
    POOLED,
    PROGRAM_WORDS,
    RESULT,
    SET,
    STATE_WORDS,
    WATCHED,
    count_up,
    drop,
    field,
    use,
    word,
)
from gradloomc.codegen.native import compile_module, expect_module


def _plan(name: str, kind: str = "i64") -> str:
    return word(name, "plan", getattr(PLAN_WORDS, name), kind)


def _program(name: str, kind: str = "i64") -> str:
    return word(name, "program", getattr(PROGRAM_WORDS, name), kind)


# What the interpreter calls: an object, its arguments, their number (its highest bit belongs to the caller), keywords.
_FIND = f"""
define ptr @gl_call(ptr %self, ptr %items, i64 %flagged, ptr %keywords) {{
entry:
{field("api", "self", INTERFACE, "ptr")}
{field("first", "self", PLAN, "ptr")}
  %count = and i64 %flagged, {(1 << 63) - 1}
  %positional = icmp eq ptr %keywords, null
  br i1 %positional, label %begin, label %named
named:
{field("names_count", "keywords", LENGTH)}
  %names = getelementptr i8, ptr %keywords, i64 {TUPLE_ITEMS}
  br label %begin
begin:
  %keywords_given = phi i64 [ 0, %entry ], [ %names_count, %named ]
  %given_names = phi ptr [ null, %entry ], [ %names, %named ]
  br label %try
try:
  %plan = phi ptr [ %first, %begin ], [ %following, %other ]
  %no_plan = icmp eq ptr %plan, null
  br i1 %no_plan, label %miss, label %look
look:
{word("wanted_count", "plan", PLAN_WORDS.count)}
{_plan("keywords_count")}
  %c1 = icmp eq i64 %count, %wanted_count
  %c2 = icmp eq i64 %keywords_given, %keywords_count
  %c12 = and i1 %c1, %c2
  br i1 %c12, label %name, label %other
name:
  %n = phi i64 [ 0, %look ], [ %n1, %same_name ]
  %all_named = icmp eq i64 %n, %keywords_given
  br i1 %all_named, label %take_frame, label %compare_name
compare_name:
{word("wanted_names", "plan", PLAN_WORDS.keywords, "ptr")}
{word("given_name", "given_names", "%n", "ptr")}
{word("wanted_name", "wanted_names", "%n", "ptr")}
  %n1 = add i64 %n, 1
  %is_name = icmp eq ptr %given_name, %wanted_name
  br i1 %is_name, label %same_name, label %other
same_name:
  br label %name
other:
{_plan("following", "ptr")}
  br label %try
"""

# Take a frame, and see whether all is as the plan says.
_CHECK = f"""
take_frame:
{_plan("program", "ptr")}
{_program("idle", "ptr")}
  %no_idle = icmp eq ptr %idle, null
  br i1 %no_idle, label %new_frame, label %old_frame
old_frame:
{word("after_idle", "idle", FRAME_WORDS.following, "ptr")}
  store ptr %after_idle, ptr %idle.p
  br label %framed
new_frame:
{use("CallNoArgs")}
{word("new", "program", PROGRAM_WORDS.new_frame, "ptr")}
  %owner_of_new = call ptr %CallNoArgs(ptr %new)
  %no_frame = icmp eq ptr %owner_of_new, null
  br i1 %no_frame, label %error, label %is_new
is_new:
{field("new_words", "owner_of_new", DATA, "ptr")}
{drop("owner_of_new")}
  br label %framed
framed:
  %frame = phi ptr [ %idle, %old_frame ], [ %new_words, %is_new ]
  %slots = getelementptr i64, ptr %frame, i64 {FRAME_WORDS.slots}
{word("held_at", "program", PROGRAM_WORDS.held)}
  %held = getelementptr i64, ptr %frame, i64 %held_at
{_plan("arguments_count")}
{_plan("arguments", "ptr")}
  %matched = call ptr @gl_match(ptr %items, i64 %arguments_count, ptr %arguments, ptr %slots, ptr %held, ptr %api)
  %mismatch = icmp eq ptr %matched, null
  br i1 %mismatch, label %unlike, label %given
unlike:
  call void @gl_give_back(ptr %frame, ptr %program, ptr %api)
  br label %other
given:
{_plan("captured_count")}
  %captures = icmp ne i64 %captured_count, 0
  br i1 %captures, label %captured, label %state_of
captured:
{word("captured_items", "plan", PLAN_WORDS.captured, "ptr")}
{_plan("captured_records", "ptr")}
  %took = call ptr @gl_match(
    ptr %captured_items, i64 %captured_count, ptr %captured_records, ptr %slots, ptr %held, ptr %api)
  %changed = icmp eq ptr %took, null
  br i1 %changed, label %unlike, label %state_of
state_of:
{_plan("state", "ptr")}
{_plan("tracing", "ptr")}
{_plan("generation")}
{word("now", "state", STATE_WORDS.generation)}
{word("watched", "state", STATE_WORDS.watched, "ptr")}
  %open = load i64, ptr %tracing
  %c3 = icmp eq i64 %open, 0
  %c4 = icmp eq i64 %now, %generation
  %c5 = icmp ne ptr %watched, null
  %c34 = and i1 %c3, %c4
  %c345 = and i1 %c34, %c5
  br i1 %c345, label %hold, label %outdated
outdated:
  call void @gl_give_back(ptr %frame, ptr %program, ptr %api)
  br label %miss
hold:
{_plan("owner", "ptr")}
{count_up("owners", "owner")}
{_plan("nested")}
  %keeps = icmp ne i64 %nested, 0
  br i1 %keeps, label %hold_all, label %watch
hold_all:
  call void @gl_hold(ptr %plan, ptr %held)
  br label %watch
watch:
{word("watching", "watched", 1 + WATCHED.kind)}
  %reads_nothing = icmp eq i64 %watching, {END}
  br i1 %reads_nothing, label %unchanged, label %compare
compare:
  %holds = call i1 @gl_watch(ptr %watched, ptr %api)
  br i1 %holds, label %unchanged, label %leave
unchanged:
{_plan("donations_count")}
  %donates = icmp ne i64 %donations_count, 0
  br i1 %donates, label %may_donate, label %claim
may_donate:
{_plan("taken_count")}
{_plan("taken", "ptr")}
{_plan("sizes", "ptr")}
{_plan("donations", "ptr")}
  %may = call i1 @gl_may_donate(ptr %slots, ptr %held, ptr %taken, i64 %taken_count, ptr %sizes, ptr %donations,
    i64 %donations_count)
  br i1 %may, label %claim, label %leave
"""

# Make the results, run the segments, build what is returned.
_RUN = f"""
claim:
{_plan("parts_count")}
  %keeps_parts = icmp ne i64 %parts_count, 0
  br i1 %keeps_parts, label %claim_parts, label %others
claim_parts:
  %claimed = call ptr @gl_claim(ptr %plan, ptr %slots, ptr %api)
  %unclaimed = icmp eq ptr %claimed, null
  br i1 %unclaimed, label %leave, label %others
others:
  %set = phi ptr [ null, %claim ], [ %claimed, %claim_parts ]
{_plan("results_count")}
  %has_others = icmp ne i64 %results_count, 0
  br i1 %has_others, label %make, label %made
make:
{_program("cells")}
  %cell0 = getelementptr i64, ptr %frame, i64 %cells
  %ready = call i1 @gl_make(ptr %plan, ptr %slots, ptr %held, ptr %cell0, ptr %api)
  br i1 %ready, label %made, label %unclaim
made:
{word("filled", "frame", FRAME_WORDS.ready)}
  %unfilled = icmp eq i64 %filled, 0
  br i1 %unfilled, label %fill, label %run
fill:
{word("fill_it", "program", PROGRAM_WORDS.fill, "ptr")}
  %has_memory = call i1 @gl_ask(ptr %fill_it, ptr %frame, ptr %api)
  br i1 %has_memory, label %run, label %unclaim
run:
{_program("release")}
  %long = icmp ne i64 %release, 0
  br i1 %long, label %unlock, label %go
unlock:
{use("SaveThread")}
  %thread = call ptr %SaveThread()
  br label %go
go:
  %saved = phi ptr [ null, %run ], [ %thread, %unlock ]
{_program("steps_count")}
{_program("steps", "ptr")}
{_program("sizes", "ptr").replace("%sizes", "%extents")}
  br label %step
step:
  %s = phi i64 [ 0, %go ], [ %s1, %step_one ]
  %ran = icmp eq i64 %s, %steps_count
  br i1 %ran, label %stepped, label %step_one
step_one:
{word("segment", "steps", "%s", "ptr")}
  call void %segment(ptr %slots, ptr %extents)
  %s1 = add i64 %s, 1
  br label %step
stepped:
  br i1 %long, label %lock, label %check
lock:
{use("RestoreThread")}
  call void %RestoreThread(ptr %saved)
  br label %check
check:
{_program("failure", "ptr")}
  %unchecked = icmp eq ptr %failure, null
  br i1 %unchecked, label %build, label %checked
checked:
{_program("status")}
{word("outcome", "slots", "%status", "ptr")}
  %wrong = load i64, ptr %outcome
  %is_right = icmp eq i64 %wrong, 0
  br i1 %is_right, label %build, label %fail
fail:
  %raised = call i1 @gl_ask(ptr %failure, ptr %frame, ptr %api)
  br label %unclaim
build:
{_plan("root")}
  %no_parts = icmp eq ptr %set, null
  br i1 %no_parts, label %build_all, label %from_parts
from_parts:
{word("list", "set", SET.list, "ptr")}
{field("parts", "list", LIST_ITEMS, "ptr")}
  %is_whole = icmp ne i64 %root, 0
  br i1 %is_whole, label %whole, label %build_all
whole:
  %answer_whole = load ptr, ptr %parts
{count_up("shares", "answer_whole")}
  br label %unclaim
build_all:
  %its_parts = phi ptr [ null, %build ], [ %parts, %from_parts ]
  %built = call ptr @gl_build(ptr %plan, ptr %its_parts, ptr %slots, ptr %held, ptr %api)
  br label %unclaim
"""

# Let go of all, and return the answer, or find it the general way.
_LEAVE = f"""
unclaim:
  %value = phi ptr [ null, %make ], [ null, %fill ], [ null, %fail ], [ %answer_whole, %whole ], [ %built, %build_all ]
  %was_made = phi i1 [ 0, %make ], [ 1, %fill ], [ 1, %fail ], [ 1, %whole ], [ 1, %build_all ]
  %drops = and i1 %has_others, %was_made
  br i1 %drops, label %drop_others, label %release_set
drop_others:
{_plan("results", "ptr")}
  call void @gl_drop_results(ptr %results, i64 %results_count, ptr %held, ptr %api)
  br label %release_set
release_set:
  br i1 %keeps_parts, label %untake, label %note
untake:
{word("one_call", "set", SET.owner, "ptr")}
{word("is_taken", "set", SET.taken)}
  store i64 0, ptr %is_taken.p
  %is_kept = icmp eq ptr %one_call, null
  br i1 %is_kept, label %note, label %give_up
give_up:
{drop("one_call")}
  br label %note
note:
  %failed = icmp eq ptr %value, null
  br i1 %failed, label %leave, label %count_it
count_it:
{_plan("serial")}
{word("hits", "state", STATE_WORDS.hits)}
{word("last", "state", STATE_WORDS.last)}
  %hits1 = add i64 %hits, 1
  store i64 %hits1, ptr %hits.p
  store i64 %serial, ptr %last.p
{_plan("finish", "ptr")}
  %is_all = icmp eq ptr %finish, null
  br i1 %is_all, label %leave, label %finish_it
finish_it:
{use("CallOneArg")}
  %finished = call ptr %CallOneArg(ptr %finish, ptr %value)
{drop("value")}
  br label %leave
leave:
  %answer = phi ptr [ null, %compare ], [ null, %may_donate ], [ null, %claim_parts ], [ null, %note ],
    [ %value, %count_it ], [ %finished, %finish_it ]
  %is_miss = phi i1 [ 1, %compare ], [ 1, %may_donate ], [ 0, %claim_parts ], [ 0, %note ], [ 0, %count_it ],
    [ 0, %finish_it ]
  br i1 %keeps, label %let_all_go, label %frame_back
let_all_go:
  call void @gl_let_go(ptr %plan, ptr %held, ptr %api)
  br label %frame_back
frame_back:
{_program("kept")}
{word("copies", "frame", FRAME_WORDS.copies)}
  %no_copies = icmp eq i64 %copies, 0
  %stays = icmp ne i64 %kept, 0
  %is_simple = and i1 %no_copies, %stays
  br i1 %is_simple, label %link, label %clean
clean:
  call void @gl_give_back(ptr %frame, ptr %program, ptr %api)
  br label %disown
link:
  %next_idle = load ptr, ptr %idle.p
  %plink = getelementptr i64, ptr %frame, i64 {FRAME_WORDS.following}
  store ptr %next_idle, ptr %plink
  store ptr %frame, ptr %idle.p
  br label %disown
disown:
{drop("owner")}
  br i1 %is_miss, label %miss, label %return
return:
  ret ptr %answer
miss:
{use("GetAttr", "Vectorcall", "call_name")}
  %general = call ptr %GetAttr(ptr %self, ptr %call_name)
  %no_general = icmp eq ptr %general, null
  br i1 %no_general, label %error, label %generally
generally:
  %found_generally = call ptr %Vectorcall(ptr %general, ptr %items, i64 %flagged, ptr %keywords)
{drop("general")}
  ret ptr %found_generally
error:
  ret ptr null
}}
"""

# Call a Python function with the object that owns a frame; tell whether that went well.
_ASK = f"""
define internal i1 @gl_ask(ptr %function, ptr %frame, ptr %api) {{
entry:
{use("CallOneArg")}
{word("owner", "frame", FRAME_WORDS.owner, "ptr")}
  %answer = call ptr %CallOneArg(ptr %function, ptr %owner)
  %failed = icmp eq ptr %answer, null
  br i1 %failed, label %bad, label %good
good:
{drop("answer")}
  ret i1 1
bad:
  ret i1 0
}}
"""

# Give a frame back to its program: without the copies that it holds, and without memory if that is large.
_GIVE_BACK = f"""
define internal void @gl_give_back(ptr %frame, ptr %program, ptr %api) {{
entry:
{use("ErrClear")}
{word("copies", "frame", FRAME_WORDS.copies)}
{word("copied_at", "frame", FRAME_WORDS.copied_at, "ptr")}
  store i64 0, ptr %copies.p
  br label %loop
loop:
  %k = phi i64 [ 0, %entry ], [ %k1, %drop_one ]
  %done = icmp eq i64 %k, %copies
  br i1 %done, label %memory, label %drop_one
drop_one:
{word("copied", "copied_at", "%k", "ptr")}
{drop("copied")}
  %k1 = add i64 %k, 1
  br label %loop
memory:
{_program("kept")}
{word("ready", "frame", FRAME_WORDS.ready)}
  %is_lent = icmp eq i64 %kept, 0
  %is_ready = icmp ne i64 %ready, 0
  %empties = and i1 %is_lent, %is_ready
  br i1 %empties, label %drain_it, label %link
drain_it:
{_program("drain", "ptr")}
{use("ErrFetch", "ErrRestore")}
  %kind = alloca ptr
  %error = alloca ptr
  %trace = alloca ptr
  call void %ErrFetch(ptr %kind, ptr %error, ptr %trace)
  %drained = call i1 @gl_ask(ptr %drain, ptr %frame, ptr %api)
  %its_kind = load ptr, ptr %kind
  %its_error = load ptr, ptr %error
  %its_trace = load ptr, ptr %trace
  call void %ErrRestore(ptr %its_kind, ptr %its_error, ptr %its_trace)
  br label %link
link:
{_program("idle", "ptr")}
  %pfollowing = getelementptr i64, ptr %frame, i64 {FRAME_WORDS.following}
  store ptr %idle, ptr %pfollowing
  store ptr %frame, ptr %idle.p
  ret void
}}
"""


def _over_taken(name: str, parameters: str, each: str) -> str:
    """Return a function that does something with the object behind each array that was passed."""
    return f"""
define internal void @{name}(ptr %plan, ptr %held{parameters}) {{
entry:
{_plan("taken_count")}
{_plan("taken", "ptr")}
  br label %loop
loop:
  %k = phi i64 [ 0, %entry ], [ %k1, %one ]
  %done = icmp eq i64 %k, %taken_count
  br i1 %done, label %end, label %one
one:
{word("slot", "taken", "%k")}
{word("object", "held", "%slot", "ptr")}
{each}
  %k1 = add i64 %k, 1
  br label %loop
end:
  ret void
}}
"""


_HOLD = _over_taken("gl_hold", "", count_up("holders", "object"))
_LET_GO = _over_taken("gl_let_go", ", ptr %api", drop("object"))

# Make the results that no kept parts are; tell whether that went well.
_MAKE = f"""
define internal i1 @gl_make(ptr %plan, ptr %slots, ptr %held, ptr %cell0, ptr %api) {{
entry:
{_plan("results", "ptr")}
{_plan("results_count")}
  br label %make
make:
  %k = phi i64 [ 0, %entry ], [ %k1, %bound ]
  %record = phi ptr [ %results, %entry ], [ %record1, %bound ]
  %all_made = icmp eq i64 %k, %results_count
  br i1 %all_made, label %good, label %make_one
make_one:
{result("kind")}
{result("slot")}
{result("rank")}
{result("spare")}
  switch i64 %kind, label %in_frame [
    i64 {POOLED}, label %pooled
    i64 {DONATED}, label %donated
  ]
in_frame:
  %cell = getelementptr i64, ptr %cell0, i64 %k
  br label %bound
pooled:
  %drawn = call ptr @gl_pooled(ptr %record, ptr %api)
  %no_array = icmp eq ptr %drawn, null
  br i1 %no_array, label %bad, label %has_array
donated:
{word("given", "held", "%spare", "ptr")}
{count_up("shares", "given")}
  br label %has_array
has_array:
  %array_of = phi ptr [ %drawn, %pooled ], [ %given, %donated ]
{field("data", "array_of", DATA, "ptr")}
  br label %bound
bound:
  %object = phi ptr [ null, %in_frame ], [ %array_of, %has_array ]
  %place = phi ptr [ %cell, %in_frame ], [ %data, %has_array ]
  %pobject = getelementptr ptr, ptr %held, i64 %slot
  store ptr %object, ptr %pobject
  %pplace = getelementptr ptr, ptr %slots, i64 %slot
  store ptr %place, ptr %pplace
  %words = add i64 %rank, {RESULT.extents}
  %record1 = getelementptr i64, ptr %record, i64 %words
  %k1 = add i64 %k, 1
  br label %make
good:
  ret i1 1
bad:
  call void @gl_drop_results(ptr %results, i64 %k, ptr %held, ptr %api)
  ret i1 0
}}
"""

_DROP_RESULTS = f"""
define internal void @gl_drop_results(ptr %results, i64 %count, ptr %held, ptr %api) {{
entry:
  br label %loop
loop:
  %k = phi i64 [ 0, %entry ], [ %k1, %next ]
  %record = phi ptr [ %results, %entry ], [ %record1, %next ]
  %done = icmp eq i64 %k, %count
  br i1 %done, label %end, label %one
one:
{result("slot")}
{result("rank")}
{word("object", "held", "%slot", "ptr")}
  %words = add i64 %rank, {RESULT.extents}
  %record1 = getelementptr i64, ptr %record, i64 %words
  %k1 = add i64 %k, 1
  %none = icmp eq ptr %object, null
  br i1 %none, label %next, label %drop_it
drop_it:
{drop("object")}
  br label %next
next:
  br label %loop
end:
  ret void
}}
"""


def entry_text() -> str:
    """Return the module; `gl_call` is its only function that others see."""
    helpers = _ASK + _GIVE_BACK + _HOLD + _LET_GO + _MAKE + _DROP_RESULTS
    return COUNT_DOWN + CHECKS + RESULTS + helpers + _FIND + _CHECK + _RUN + _LEAVE


_address: int | None = None
_expected = False


def entry_address() -> int:
    """Return the address of `gl_call`, compiled once; its code stays for the life of the process."""
    global _address
    if _address is None:
        _address = compile_module(entry_text(), ["gl_call"]).addresses["gl_call"]
    return _address


def expect_entry() -> None:
    """Have it compiled meanwhile, if LLVM is there and this machine has not compiled it; looks once."""
    global _expected
    if not _expected:
        _expected = True
        expect_module(entry_text())
