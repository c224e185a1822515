"""User functions, with all that was made for them.

One `UserFunction` belongs to one Python function for as long as that lives, so `grad(f)(x)` in a
loop compiles once. Knows nothing of the callables that transforms make; derived.py has those.
"""

import marshal
import threading
import time
import types
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gradloom.exec.tables import State
from gradloom.guards import Guards, classes_of
from gradloom.signature import Call, Parameters, Static, warn
from gradloomc.codegen.tiers import expect_program
from gradloomc.ir.builder import insertion
from gradloomc.ir.collection import paused_collection

if TYPE_CHECKING:
    from gradloom.any_length import Traces
    from gradloom.program import Primal, Program
    from gradloom.resizing import Family

_MANY = 16  # programs that differ in static values only, before the user is told


class CacheInfo:
    """What a function's cache did: `hits`, `misses`, `programs` held, `seconds` of compilation."""

    __slots__ = ("hits", "misses", "programs", "seconds")

    def __init__(self, hits: int, misses: int, programs: int, seconds: float):
        self.hits, self.misses, self.programs, self.seconds = hits, misses, programs, seconds

    def __repr__(self) -> str:
        counts = f"hits={self.hits}, misses={self.misses}, programs={self.programs}"
        return f"CacheInfo({counts}, seconds={self.seconds:.3f})"


class UserFunction:
    """A Python function, its parameters, and the programs made for it by signature."""

    def __init__(self, fun: Callable[..., Any]):
        self.fun = fun
        self.parameters = Parameters(fun)
        self.lock = threading.RLock()
        self.derived: dict[Any, Any] = {}  # callables made by transforms, by their options
        self.callables: weakref.WeakSet[Any] = weakref.WeakSet()  # those that live
        self.state = State()  # what native code compares and counts
        self._last: Program | None = None
        self._entered: dict[int, Program] = {}  # the programs that have plans, by the number that plans note
        self.rebound = 0  # how often something that it reads had changed
        self.clear()
        functions.add(self)
        self._expect(called=False)

    def __reduce__(self) -> Any:  # for libraries that pickle functions with their attributes
        return type(None), ()

    def _expect(self, called: bool) -> None:
        """Have LLVM started if this machine has not seen the function yet."""
        if isinstance(self.fun, types.FunctionType):
            expect_program(marshal.dumps(self.fun.__code__, 2), called)  # (later formats vary)

    def forget(self) -> None:
        """Forget all programs, also the one that ran last, and what its transforms remember of them."""
        with self.lock:
            self.clear()
            self._last = None
            for callable in list(self.callables):
                callable.forget()

    def clear(self) -> None:
        """Forget all programs."""
        with self.lock:
            self._last = self.last
            self._entered: dict[int, Program] = {}
            self.state.forget()  # a Derived compares its generation before it trusts its own short cuts
            self.primals: dict[Any, Primal] = {}
            self.programs: dict[Any, Program] = {}
            self.misses = 0
            self.seconds = 0.0
            self._families: dict[Any, int] = {}
            self.traces: dict[Any, Traces] = {}  # by kinds of arguments: traced for any length
            self.families: dict[Any, Family] = {}  # the same for each transform: programs for any length
            self._guards: Guards | None = None
            self._classes: dict[type, None] = {}  # of the objects among the arguments of all programs

    @property
    def last(self) -> "Program | None":
        """The program that ran last, natively or not."""
        return self._entered.get(self.state.last, self._last)

    @last.setter
    def last(self, program: "Program") -> None:
        self._last, self.state.last = program, 0

    def enter(self, program: "Program") -> None:
        """Let plans of a program be followed: native code checks the guards itself from now on."""
        self._entered[id(program)] = program
        if not self.state.is_watched and self._guards is not None:
            self.state.watch(self._guards.table())

    def current(self) -> bool:
        """Tell whether the programs still say what the function says; if not, forget them.

        It changes when a global, a closure variable or a helper function is bound anew.
        """
        guards = self._guards
        if guards is None or guards.hold():
            return True
        from gradloom.trace.shadow import forget_clones

        forget_clones()
        self.rebound += 1
        if self.rebound == _MANY:
            names = ", ".join(guards.changed())
            warn(
                f"{self.parameters.name}() has been compiled {_MANY} times because it reads "
                f"{names}, which changes from call to call; pass it as an argument"
            )
        self.clear()
        return False

    def info(self) -> CacheInfo:
        """Return the counts so far."""
        return CacheInfo(self.state.hits, self.misses, len(self.programs), self.seconds)

    def primal(self, call: Call, has_aux: bool) -> "Primal":
        """Return the function traced for the signature of `call`.

        Inside a trace it is traced anew each time: it may use values of the function that is being
        traced.
        """
        from gradloom.program import Primal

        if insertion.block is not None:
            return Primal(self.parameters, call, self.parameters.read(call), has_aux)
        key = (call.key, has_aux)
        found = self.primals.get(key)
        if found is None or not self.current():
            with self.lock:
                found = self.primals.get(key)
                if found is None:
                    self._expect(called=True)
                    found = Primal(self.parameters, call, self.parameters.read(call), has_aux)
                    self.primals[key] = found
                    # Anew each time: tracing may have changed what the function reads.
                    self._classes.update(dict.fromkeys(classes_of(call.structure, call.leaves)))
                    self._guards = Guards(self.fun, found.captured, self._classes)
                    self.state.watch(None)
        return found

    def program(
        self,
        key: Any,
        call: Call,
        has_aux: bool,
        make: "Callable[[Primal], Program]",
        check: Callable[[Call], None] | None = None,
    ) -> "Program":
        """Return the compiled program `key` for the signature of `call`.

        Args:
            make: derives it from the traced function.
            check: raises, before anything is traced, if the arguments do not suit the transform.
        """
        full = (key, has_aux, call.key)
        found = self.programs.get(full) if self.current() else None
        if found is not None and not found.stale:
            self.state.hits += 1
        else:
            with self.lock:
                found = self.programs.get(full)
                if found is None or found.stale:
                    if found is not None:
                        self.primals.pop((call.key, has_aux), None)
                    elif check is not None:
                        check(call)
                    found = self._make(full, call, has_aux, make)
        self.last = found
        return found

    def _make(
        self, full: Any, call: Call, has_aux: bool, make: "Callable[[Primal], Program]"
    ) -> "Program":
        from gradloom.any_length import sizes_of

        start = time.perf_counter()
        family = self._family(full, call)
        with paused_collection():  # from the trace on: most of what is made lives until the end
            found = family.find(self, call, has_aux, make)
            if found is None:
                found = make(self.primal(call, has_aux)).compile()
                family.traces.note(sizes_of(call), found.primal)
        found.family = family
        self.programs[full] = found
        if family.is_full:  # of programs that are made again in no time
            family.forget(self)
            self.programs[full] = found
        self.misses += 1
        self.seconds += time.perf_counter() - start
        self._count_static_values(full, call)
        return found

    def _family(self, full: Any, call: Call) -> "Family":
        """Return what serves the calls that differ from this one in the extents of arrays alone."""
        from gradloom.any_length import Traces
        from gradloom.resizing import Family, kinds_of

        key = (full[1], call.structure, kinds_of(call))
        found = self.families.get((full[0], key))
        if found is None:
            traces = self.traces.get(key)
            if traces is None:
                traces = self.traces[key] = Traces()
            found = self.families[full[0], key] = Family(traces)
        return found

    def _count_static_values(self, full: Any, call: Call) -> None:
        """Warn when a static argument has had so many values that it had better been an array."""
        if not any(key.__class__ is Static for key in call.key[1]):
            return
        family = (
            full[:2],
            call.structure,
            tuple([type(key) if type(key) is Static else key for key in call.key[1]]),
        )
        count = self._families[family] = self._families.get(family, 0) + 1
        if count != _MANY:
            return
        labels = self.parameters.labels(call.structure)
        static = [
            label for label, key in zip(labels, call.key[1], strict=True) if type(key) is Static
        ]
        warn(
            f"{self.parameters.name}() has been compiled {count} times because its arguments "
            f"{', '.join(static)} are part of the program and change from call to call; pass a "
            "number that changes as a float or as np.asarray(n)"
        )


functions: weakref.WeakSet[UserFunction] = weakref.WeakSet()  # all that there are, for caches.py
