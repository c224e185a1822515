"""The worker pool as LLVM IR text: POSIX threads that sleep until a segment has chunks to run.

All state lies in one control block that the caller owns; a block of zeros is a pool that was never started. A segment
that wants help calls the function whose address stands in the block's first word (zero: there is no pool, it runs its
chunks itself). The thread that gets the block's lock publishes a job, takes chunks like any worker, and waits for those
that workers have taken; a thread that does not get it, because another one's job runs, does all of its chunks itself.
Which thread runs a chunk has no influence on results: chunks are numbered and write to places of their own.

Chunks are handed out in as many parts as there are threads, each by one word, `end << 32 | next`, from which everybody
draws by an atomic addition. A thread begins with the part of its own number, job after job, so that it meets data that
its cache holds, and goes on with what others have left. A worker that comes late draws from whatever job is current,
or a number beyond the end of a part. Only the owner of the lock starts threads, so a forked child, which has a copy of
the block but no workers, still finishes: it draws all chunks itself.

It knows nothing of Python; `gradloom.exec.threads` decides how many threads there are and when they end.
"""

# Offsets of the control block's words; what different threads write lies on different cache lines.
BLOCK_BYTES = 16384
MOST_WORKERS = 511
# Threads beyond so many share the parts of others.
MOST_PARTS = 64
PART_BYTES = 64
# Of a worker: a chunk keeps the rows of its tile there. Some systems give new threads a few hundred kilobytes.
STACK_BYTES = 8 << 20
WORDS = {
    "run": 0,  # address of `gl_run`, or 0
    "threads": 8,  # how many threads may work on a job, the caller included
    "spin": 16,  # pauses for which a worker looks for the next job before it sleeps, and a caller for the last chunk
    "started": 24,  # workers that exist
    "process": 32,  # the process that they exist in
    "gemm_f32": 40,  # addresses of the functions for large products (`shared_gemm.py`), or 0
    "gemm_f64": 48,
    "lock": 64,  # 1 while somebody's job runs
    "epoch": 128,  # grows by one with every job
    "sleepers": 192,
    "numbers": 256,  # how many workers have taken a number
    "parts": 264,  # of the job
    "finished": 320,  # chunks of the job that are done
    "function": 384,
    "context": 392,
    "stop": 448,
    "jobs": 512,  # how many jobs went to the pool
    "alone": 520,  # how many callers did their chunks alone, because another one's job ran
    "helped": 576,  # how many chunks workers have run
    "mutex": 640,
    "condition": 768,
    "old_signals": 896,
    "all_signals": 1024,
    "blas_lock": 1152,
    "blas_users": 1160,  # large products in progress
    "blas_threads": 1168,  # on how many threads the BLAS ran before them
    "rows_f32": 1216,  # products may be cut between rows at multiples of this; 0: not at all
    "columns_f32": 1224,
    "rows_f64": 1232,
    "columns_f64": 1240,
    "handles": 1280,
    "attributes": 5376,
    "tickets": 5632,  # of each part: its end << 32 | next chunk
}
# Yields of a waiting caller before it starts to sleep between looks: the machine has more work than processors.
YIELDS = 256
NAP_MICROSECONDS = 50


def _pause(triple: str) -> tuple[str, str]:
    """Return declaration and call of the instruction that tells a processor that this thread only waits."""
    if triple.startswith(("x86_64", "i686")):
        return "declare void @llvm.x86.sse2.pause()", "call void @llvm.x86.sse2.pause()"
    if triple.startswith(("aarch64", "arm64")):
        return "declare void @llvm.aarch64.hint(i32)", "call void @llvm.aarch64.hint(i32 1)"
    return "declare i32 @sched_yield()", "call i32 @sched_yield()"


def pool_text(triple: str) -> str:
    """Return the module that defines `gl_run`, `gl_stop` and `gl_pause`.

    * `gl_run(block, function, context, count)` runs `function(context, k)` for all k below count;
    * `gl_stop(block)` waits for the job in progress, then ends all workers;
    * `gl_pause(count)` executes the waiting instruction so often.
    """
    declaration, pause = _pause(triple)
    set_mask = 3 if "darwin" in triple else 2  # SIG_SETMASK
    declarations = dict.fromkeys((declaration, *_DECLARATIONS))
    text = _TEXT.replace("PAUSE", pause).replace("SET_MASK", str(set_mask))
    for name, value in _NUMBERS.items():
        text = text.replace(name, str(value))
    lines = []
    for line in text.splitlines():
        # `%x = at word` is short for the address of a word of the block
        name, found, word = line.partition(" = at ")
        lines.append(f"{name} = getelementptr i8, ptr %block, i64 {WORDS[word]}" if found else line)
    return "\n".join([*declarations, *lines]) + "\n"


_DECLARATIONS = (
    "declare i32 @sched_yield()",
    "declare i32 @usleep(i32)",
    "declare i32 @getpid()",
    "declare i32 @pthread_create(ptr, ptr, ptr, ptr)",
    "declare i32 @pthread_attr_init(ptr)",
    "declare i32 @pthread_attr_setstacksize(ptr, i64)",
    "declare i32 @pthread_attr_destroy(ptr)",
    "declare i32 @pthread_join(i64, ptr)",
    "declare i32 @pthread_mutex_init(ptr, ptr)",
    "declare i32 @pthread_mutex_lock(ptr)",
    "declare i32 @pthread_mutex_unlock(ptr)",
    "declare i32 @pthread_cond_init(ptr, ptr)",
    "declare i32 @pthread_cond_wait(ptr, ptr)",
    "declare i32 @pthread_cond_broadcast(ptr)",
    "declare i32 @pthread_sigmask(i32, ptr, ptr)",
    "declare i32 @sigfillset(ptr)",
)

_NUMBERS = {
    "YIELDS": YIELDS,
    "NAP": NAP_MICROSECONDS,
    "MOST_WORKERS": MOST_WORKERS,
    "MOST_PARTS": MOST_PARTS,
    "PART_BYTES": PART_BYTES,
    "STACK_BYTES": STACK_BYTES,
}
_TEXT = """
define void @gl_pause(i64 %count) nounwind {
entry:
  br label %again
again:
  %k = phi i64 [ 0, %entry ], [ %k1, %again ]
  PAUSE
  %k1 = add i64 %k, 1
  %more = icmp ult i64 %k1, %count
  br i1 %more, label %again, label %done
done:
  ret void
}

; Take chunks until there are none, first those of the part `number`; return how many.
define internal i64 @gl_take(ptr %block, i64 %number) nounwind {
entry:
  %tickets = at tickets
  %pparts = at parts
  %finished = at finished
  %pfunction = at function
  %pcontext = at context
  ; If this is not the current job's number of parts, some are left to others, or have no chunks.
  %parts = load atomic i64, ptr %pparts monotonic, align 8
  %own = urem i64 %number, %parts
  br label %part
part:
  %p = phi i64 [ 0, %entry ], [ %p1, %empty ]
  %before = phi i64 [ 0, %entry ], [ %taken, %empty ]
  %turned = add i64 %own, %p
  %which = urem i64 %turned, %parts
  %offset = mul i64 %which, PART_BYTES
  %ticket = getelementptr i8, ptr %tickets, i64 %offset
  br label %look
look:
  %taken = phi i64 [ %before, %part ], [ %taken1, %chunk ]
  %seen = load atomic i64, ptr %ticket monotonic, align 8
  %seen.k = and i64 %seen, 4294967295
  %seen.end = lshr i64 %seen, 32
  %some = icmp ult i64 %seen.k, %seen.end
  br i1 %some, label %draw, label %empty
draw:
  %drawn = atomicrmw add ptr %ticket, i64 1 acq_rel
  %k = and i64 %drawn, 4294967295
  %end = lshr i64 %drawn, 32
  %left = icmp ult i64 %k, %end
  br i1 %left, label %chunk, label %empty
chunk:
  %function = load atomic ptr, ptr %pfunction monotonic, align 8
  %context = load atomic ptr, ptr %pcontext monotonic, align 8
  call void %function(ptr %context, i64 %k)
  %r0 = atomicrmw add ptr %finished, i64 1 release
  %taken1 = add i64 %taken, 1
  br label %look
empty:
  %p1 = add i64 %p, 1
  %more = icmp ult i64 %p1, %parts
  br i1 %more, label %part, label %done
done:
  ret i64 %taken
}

; A worker: wait for a new epoch, first awake and then asleep, and take chunks.
define internal ptr @gl_worker(ptr %block) nounwind {
entry:
  %pepoch = at epoch
  %psleepers = at sleepers
  %pstop = at stop
  %pspin = at spin
  %phelped = at helped
  %mutex = at mutex
  %condition = at condition
  %pnumbers = at numbers
  %r6 = atomicrmw add ptr %pnumbers, i64 1 monotonic
  %number = add i64 %r6, 1
  br label %work
work:
  %seen = phi i32 [ 0, %entry ], [ %now, %take ]
  br label %spin
spin:
  %k = phi i64 [ 0, %work ], [ %k1, %pause ]
  %e = load atomic i32, ptr %pepoch acquire, align 4
  %new = icmp ne i32 %e, %seen
  br i1 %new, label %awake, label %pause
pause:
  PAUSE
  %k1 = add i64 %k, 1
  %limit = load atomic i64, ptr %pspin monotonic, align 8
  %go_on = icmp ult i64 %k1, %limit
  br i1 %go_on, label %spin, label %sleep
sleep:
  %r0 = call i32 @pthread_mutex_lock(ptr %mutex)
  ; Counted before it looks again, so that either this thread sees the new epoch or its maker sees the sleeper.
  %r1 = atomicrmw add ptr %psleepers, i32 1 seq_cst
  br label %look
look:
  %e1 = load atomic i32, ptr %pepoch seq_cst, align 4
  %new1 = icmp ne i32 %e1, %seen
  br i1 %new1, label %wake, label %wait
wait:
  %r2 = call i32 @pthread_cond_wait(ptr %condition, ptr %mutex)
  br label %look
wake:
  %r3 = atomicrmw sub ptr %psleepers, i32 1 seq_cst
  %r4 = call i32 @pthread_mutex_unlock(ptr %mutex)
  br label %awake
awake:
  %now = load atomic i32, ptr %pepoch acquire, align 4
  %stop = load atomic i32, ptr %pstop acquire, align 4
  %end = icmp ne i32 %stop, 0
  br i1 %end, label %done, label %take
take:
  %taken = call i64 @gl_take(ptr %block, i64 %number)
  %r5 = atomicrmw add ptr %phelped, i64 %taken monotonic
  br label %work
done:
  ret ptr null
}

define internal void @gl_wake(ptr %block) nounwind {
entry:
  %pepoch = at epoch
  %psleepers = at sleepers
  %mutex = at mutex
  %condition = at condition
  %r0 = atomicrmw add ptr %pepoch, i32 1 seq_cst
  %sleepers = load atomic i32, ptr %psleepers seq_cst, align 4
  %some = icmp ne i32 %sleepers, 0
  br i1 %some, label %wake, label %done
wake:
  ; In a forked child the sleepers are the parent's, and the mutex may be held by nobody who exists here.
  %pprocess = at process
  %process = load i64, ptr %pprocess
  %own = call i32 @getpid()
  %own64 = sext i32 %own to i64
  %same = icmp eq i64 %own64, %process
  br i1 %same, label %call, label %forked
forked:
  %pstarted = at started
  store i64 0, ptr %pstarted
  store atomic i32 0, ptr %psleepers seq_cst, align 4
  br label %done
call:
  %r1 = call i32 @pthread_mutex_lock(ptr %mutex)
  %r2 = call i32 @pthread_cond_broadcast(ptr %condition)
  %r3 = call i32 @pthread_mutex_unlock(ptr %mutex)
  br label %done
done:
  ret void
}

; Start workers until there are as many as may help; only the owner of the lock comes here. They get no signals.
define internal void @gl_start(ptr %block, i64 %wanted) nounwind cold {
entry:
  %pstarted = at started
  %pprocess = at process
  %pthreads = at threads
  %pepoch = at epoch
  %psleepers = at sleepers
  %mutex = at mutex
  %condition = at condition
  %handles = at handles
  %old = at old_signals
  %all = at all_signals
  %attributes = at attributes
  %first = load i64, ptr %pstarted
  %fresh = icmp eq i64 %first, 0
  br i1 %fresh, label %prepare, label %mask
prepare:
  %own = call i32 @getpid()
  %own64 = sext i32 %own to i64
  store i64 %own64, ptr %pprocess
  store atomic i32 0, ptr %pepoch seq_cst, align 4
  store atomic i32 0, ptr %psleepers seq_cst, align 4
  %pnumbers = at numbers
  store atomic i64 0, ptr %pnumbers seq_cst, align 8
  %r0 = call i32 @pthread_mutex_init(ptr %mutex, ptr null)
  %r1 = call i32 @pthread_cond_init(ptr %condition, ptr null)
  br label %mask
mask:
  %r2 = call i32 @sigfillset(ptr %all)
  %r3 = call i32 @pthread_sigmask(i32 SET_MASK, ptr %all, ptr %old)
  %r5 = call i32 @pthread_attr_init(ptr %attributes)
  %r6 = call i32 @pthread_attr_setstacksize(ptr %attributes, i64 STACK_BYTES)
  br label %next
next:
  %k = phi i64 [ %first, %mask ], [ %k1, %made ]
  %enough = icmp uge i64 %k, %wanted
  %full = icmp uge i64 %k, MOST_WORKERS
  %end = or i1 %enough, %full
  br i1 %end, label %done, label %create
create:
  %handle = getelementptr i64, ptr %handles, i64 %k
  %failed = call i32 @pthread_create(ptr %handle, ptr %attributes, ptr @gl_worker, ptr %block)
  %good = icmp eq i32 %failed, 0
  br i1 %good, label %made, label %none
made:
  %k1 = add i64 %k, 1
  br label %next
none:
  ; The system gives no more: be content with those, and do not ask again for every job.
  %threads = add i64 %k, 1
  store atomic i64 %threads, ptr %pthreads monotonic, align 8
  br label %done
done:
  store i64 %k, ptr %pstarted
  %r7 = call i32 @pthread_attr_destroy(ptr %attributes)
  %r4 = call i32 @pthread_sigmask(i32 SET_MASK, ptr %old, ptr null)
  ret void
}

define void @gl_run(ptr %block, ptr %function, ptr %context, i64 %count) nounwind {
entry:
  %pthreads = at threads
  %plock = at lock
  %threads = load atomic i64, ptr %pthreads monotonic, align 8
  %several = icmp ugt i64 %threads, 1
  %worth = icmp ugt i64 %count, 1
  %try = and i1 %several, %worth
  br i1 %try, label %lock, label %serial
lock:
  %locked = cmpxchg ptr %plock, i32 0, i32 1 acquire monotonic
  %owner = extractvalue { i32, i1 } %locked, 1
  br i1 %owner, label %own, label %busy
own:
  %pstarted = at started
  %started = load i64, ptr %pstarted
  %wanted = sub i64 %threads, 1
  %few = icmp ult i64 %started, %wanted
  br i1 %few, label %start, label %publish
start:
  call void @gl_start(ptr %block, i64 %wanted)
  br label %publish
publish:
  %pfunction = at function
  %pcontext = at context
  %tickets = at tickets
  %pparts = at parts
  %finished = at finished
  %pjobs = at jobs
  %fewer = icmp ult i64 %threads, %count
  %most = select i1 %fewer, i64 %threads, i64 %count
  %many = icmp ugt i64 %most, MOST_PARTS
  %parts = select i1 %many, i64 MOST_PARTS, i64 %most
  store atomic ptr %function, ptr %pfunction monotonic, align 8
  store atomic ptr %context, ptr %pcontext monotonic, align 8
  store atomic i64 0, ptr %finished monotonic, align 8
  store atomic i64 %parts, ptr %pparts monotonic, align 8
  br label %part
part:
  %p = phi i64 [ 0, %publish ], [ %p1, %part ]
  %begin = phi i64 [ 0, %publish ], [ %end, %part ]
  %offset = mul i64 %p, PART_BYTES
  %ticket = getelementptr i8, ptr %tickets, i64 %offset
  %p1 = add i64 %p, 1
  %share = mul i64 %p1, %count
  %end = udiv i64 %share, %parts
  %shifted = shl i64 %end, 32
  %word = or i64 %shifted, %begin
  store atomic i64 %word, ptr %ticket release, align 8
  %again = icmp ult i64 %p1, %parts
  br i1 %again, label %part, label %published
published:
  call void @gl_wake(ptr %block)
  %jobs = load i64, ptr %pjobs
  %jobs1 = add i64 %jobs, 1
  store i64 %jobs1, ptr %pjobs
  %taken = call i64 @gl_take(ptr %block, i64 0)
  %pspin = at spin
  %limit = load atomic i64, ptr %pspin monotonic, align 8
  %naps = add i64 %limit, YIELDS
  br label %await
await:
  %w = phi i64 [ 0, %published ], [ %w1, %pause ], [ %w1, %yield ], [ %w1, %nap ]
  %w1 = add i64 %w, 1
  %f = load atomic i64, ptr %finished acquire, align 8
  %all = icmp eq i64 %f, %count
  br i1 %all, label %release, label %how
how:
  %spinning = icmp ult i64 %w, %limit
  br i1 %spinning, label %pause, label %longer
pause:
  PAUSE
  br label %await
longer:
  %yielding = icmp ult i64 %w, %naps
  br i1 %yielding, label %yield, label %nap
yield:
  %r0 = call i32 @sched_yield()
  br label %await
nap:
  %r1 = call i32 @usleep(i32 NAP)
  br label %await
release:
  store atomic i32 0, ptr %plock release, align 4
  br label %done
busy:
  %palone = at alone
  %r2 = atomicrmw add ptr %palone, i64 1 monotonic
  br label %serial
serial:
  %some = icmp ugt i64 %count, 0
  br i1 %some, label %chunk, label %done
chunk:
  %k = phi i64 [ 0, %serial ], [ %k1, %chunk ]
  call void %function(ptr %context, i64 %k)
  %k1 = add i64 %k, 1
  %more = icmp ult i64 %k1, %count
  br i1 %more, label %chunk, label %done
done:
  ret void
}

define void @gl_stop(ptr %block) nounwind {
entry:
  %plock = at lock
  %pstarted = at started
  %pprocess = at process
  %pstop = at stop
  %handles = at handles
  br label %lock
lock:
  %locked = cmpxchg ptr %plock, i32 0, i32 1 acquire monotonic
  %owner = extractvalue { i32, i1 } %locked, 1
  br i1 %owner, label %stop, label %busy
busy:
  %r0 = call i32 @usleep(i32 NAP)
  br label %lock
stop:
  %started = load i64, ptr %pstarted
  %process = load i64, ptr %pprocess
  %own = call i32 @getpid()
  %own64 = sext i32 %own to i64
  %ours = icmp eq i64 %own64, %process
  %some = icmp ne i64 %started, 0
  %any = and i1 %ours, %some
  br i1 %any, label %tell, label %done
tell:
  store atomic i32 1, ptr %pstop release, align 4
  call void @gl_wake(ptr %block)
  br label %join
join:
  %k = phi i64 [ 0, %tell ], [ %k1, %join ]
  %phandle = getelementptr i64, ptr %handles, i64 %k
  %handle = load i64, ptr %phandle
  %r1 = call i32 @pthread_join(i64 %handle, ptr null)
  %k1 = add i64 %k, 1
  %more = icmp ult i64 %k1, %started
  br i1 %more, label %join, label %done
done:
  store i64 0, ptr %pstarted
  store atomic i32 0, ptr %pstop release, align 4
  store atomic i32 0, ptr %plock release, align 4
  ret void
}
"""
