"""Lowered programs are kept on disk: what is found is what would be lowered, and nothing else is ever found."""

import marshal
import os
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gradloom import compile_grad, grad, value_and_grad, vjp
from gradloom.exec import blas
from gradloom.exec.executable import Executable
from gradloom.trace.lengths import open_scope
from gradloomc import known
from gradloomc.ad.derivation import Derivation
from gradloomc.codegen import cache, native, tiers
from gradloomc.codegen.cache import Store
from gradloomc.codegen.gemm import Convention
from gradloomc.codegen.host import Host
from gradloomc.codegen.native import host
from gradloomc.codegen.saved import decode, encode
from gradloomc.codegen.tiers import Tiers
from gradloomc.dialects import nd
from gradloomc.dialects.func import body_of, finish_function, make_function
from gradloomc.ir.attributes import Dense
from gradloomc.ir.builder import at
from gradloomc.ir.core import Op, Value
from gradloomc.ir.identity import identity_of
from gradloomc.ir.saved_scopes import plain_scope, restored_scope
from gradloomc.ir.scopes import Scope
from gradloomc.ir.types import f32, f64, tensor

# What the processes of the first test do: a program with vector math, one with products, one with a library call.
_PROGRAMS = """
import numpy as np
from gradloom import value_and_grad
from gradloomc import known
from gradloomc.codegen.native import counts

x = np.linspace(0.5, 2.0, 12).reshape(3, 4)

def waves(x):
    return np.sum(np.tanh(x) * np.exp(-x * x) + np.sin(x[:, 1:] / 3)[:, 0][:, None])

def products(x):
    return np.sum(np.tanh(x @ x.T) ** 2) + np.mean(x, axis=0)[1]

def lines(x):
    return np.sum(np.linalg.solve(x @ x.T + np.eye(3), x))

results = [value_and_grad(f)(x) for f in (waves, products, lines)]
print(known.counts.lowered, known.counts.found, counts.compiled)
print(*[z.tobytes().hex() for result in results for z in result])
"""


@pytest.fixture
def process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], known.Counts]:
    """Return what begins a new process, as far as compiled code goes; all share an empty store."""
    monkeypatch.setattr(cache, "_store", Store(str(tmp_path / "store")))

    def begin() -> known.Counts:
        monkeypatch.setattr(native, "_modules", {})
        monkeypatch.setattr(tiers, "tiers", Tiers())
        monkeypatch.setattr(known, "counts", known.Counts())
        return known.counts

    begin()
    return begin


def wave(factor: float = 3.0, dtype: Any = f64, extent: int = 40) -> Op:
    """Return sum(tanh(x * factor))."""
    function = make_function("f", [tensor((extent,), dtype)])
    with at(body_of(function)):
        x: Value = body_of(function).arguments[0]
        result = nd.reduce_sum(nd.tanh(nd.mul(x, factor)), axes=(0,))
    return finish_function(function, [result])


def key_of(derivation: Derivation, machine: Host | None = None) -> str:
    return known.program_key(derivation, machine or host())


def gradient(function: Op) -> Derivation:
    return Derivation(function).vjp([0], unit_seed=True)


# --- it is found ------------------------------------------------------------------------------------------------------


def test_a_second_process_lowers_nothing(tmp_path: Path) -> None:
    def run() -> tuple[list[str], str]:
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "GRADLOOM_CACHE_DIR": str(tmp_path)}
        command = [sys.executable, "-c", _PROGRAMS]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=True)
        counted, bits = done.stdout.splitlines()
        return counted.split(), bits

    first, bits = run()
    second, same = run()
    assert first[:2] == ["3", "0"] and int(first[2]) > 0
    assert second == ["0", "3", "0"]
    assert same == bits


def test_a_program_that_was_found_says_what_one_that_was_lowered_says(process: Callable[[], known.Counts]) -> None:
    def f(x: Any, y: Any) -> Any:
        return np.sum(np.exp(x) @ y) + np.cumsum(x[0])[2] + np.sum(y[::-1, 0] * 0.5)

    x, y = np.linspace(0.0, 1.0, 15).reshape(3, 5), np.linspace(1.0, 2.0, 10).reshape(5, 2)
    lowered = compile_grad(f)
    lowered(x, y)
    levels = ("nd", "adjoint", "kernels", "loops", "llvm")
    texts = [lowered.ir(level) for level in levels]
    described = lowered.explain()

    counts = process()

    def same(x: Any, y: Any) -> Any:
        return f(x, y)

    same.__name__ = same.__qualname__ = "f"
    found = compile_grad(same)
    found(x, y)
    assert (counts.lowered, counts.found) == (0, 1)
    assert [found.ir(level) for level in levels[2:]] == texts[2:]
    assert counts.lowered == 1  # for its LLVM text alone

    def without_times(text: str) -> list[str]:
        return [line for line in text.splitlines() if "lowered in" not in line and ".py:" not in line]

    assert without_times(found.explain()) == without_times(described)


def test_all_of_a_program_is_kept(process: Callable[[], known.Counts]) -> None:
    for derivation in (Derivation(wave()), gradient(wave()), Derivation(wave()).jvp([0]).keep([1]).keep([0])):
        made = known.lowered(derivation, host(), blas.convention)
        content = encode(made)
        assert content is not None
        kept = decode(content, lambda made=made: made)
        for name, value, other in zip(made._fields, tuple[Any, ...](made), tuple[Any, ...](kept), strict=True):
            if name == "checks":
                assert other() == value()
            elif name not in ("source", "written_out"):
                assert other == value and type(other) is type(value), name
        assert kept.text == made.text
        assert made.written_out is not None and kept.written_out is not None
        assert kept.written_out().text == made.written_out().text


def test_types_of_derived_functions_are_known_beforehand() -> None:
    function = wave()
    for derivation in (
        Derivation(function),
        gradient(function),
        Derivation(function).vjp([0]),
        Derivation(function).jvp([0]),
        Derivation(function).keep([0]).jvp([0]).keep([1]),
        gradient(function).keep([1]),
    ):
        made = derivation.copy()
        assert [value.type for value in body_of(made).terminator.operands] == derivation.types
        assert made.attributes["function_type"].results == tuple(derivation.types)
        assert made is not function and made is not derivation.copy()


def test_transforms_find_their_own_programs(process: Callable[[], known.Counts]) -> None:
    def f(x: Any) -> Any:
        return np.sum(np.sin(x) * 2.0)

    def answers() -> list[Any]:
        def fresh(x: Any) -> Any:
            return f(x)

        x = np.linspace(0.0, 1.0, 5)
        return [value_and_grad(fresh)(x), grad(fresh)(x), vjp(fresh, x)[1](np.float64(2.0)), compile_grad(fresh)(x)]

    first = answers()
    counts = process()
    again = answers()
    assert counts.lowered == 0 and counts.found > 3
    assert str(again) == str(first)


def test_llvm_is_started_for_functions_that_no_process_has_seen(
    process: Callable[[], known.Counts], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[bool] = []
    monkeypatch.setattr(native, "begin", lambda: begun.append(True))
    monkeypatch.setattr(native, "has_begun", lambda: bool(begun))
    for source in (b"one", b"two", b"one"):
        native.expect_compilation(source)
    assert len(begun) == 1
    begun.clear()  # another process
    monkeypatch.setattr(native, "_known_host", host)
    for source in (b"one", b"two"):
        native.expect_compilation(source)
    assert not begun
    native.expect_compilation(b"three")
    assert begun


def test_llvm_is_started_once_for_a_function_that_is_only_wrapped(
    process: Callable[[], known.Counts], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[bool] = []
    monkeypatch.setattr(native, "begin", lambda: begun.append(True))
    monkeypatch.setattr(native, "has_begun", lambda: False)
    monkeypatch.setattr(native, "_known_host", host)
    for called, starts in ((False, 1), (False, 1), (True, 2), (False, 2), (True, 2)):
        native.expect_compilation(b"source", called)
        assert len(begun) == starts
    native.expect_compilation(b"another", called=True)
    native.expect_compilation(b"another", called=False)
    assert len(begun) == 3


# --- nothing else is found --------------------------------------------------------------------------------------------


def test_whatever_is_computed_is_part_of_the_key() -> None:
    functions = [wave(), wave(3.5), wave(-3.0), wave(3.0, f32), wave(3.0, f64, 41)]
    derivations = [step(function) for function in functions for step in (Derivation, gradient)]
    derivations += [gradient(wave()).keep([0]), gradient(wave()).keep([1]), Derivation(wave()).jvp([0])]
    derivations += [Derivation(wave()).vjp([0])]
    keys = [key_of(derivation) for derivation in derivations]
    assert all(keys) and len(set(keys)) == len(keys)
    assert key_of(gradient(wave())) == keys[1]


@pytest.mark.parametrize(
    ("one", "other"),
    [(0.0, -0.0), (1.0, 1), (True, 1), (np.nan, 1.0), (1.0, 1.0000000000000002), ((0, 1), (1, 0)), ((1,), 1), ("1", 1)],
    ids=str,
)
def test_attributes_differ_to_the_bit(one: Any, other: Any) -> None:
    def identity(value: Any) -> bytes:
        function = wave()
        body_of(function).ops[0].attributes = {"value": value}
        found = identity_of(function)
        assert found is not None
        return found

    assert identity(one) != identity(other)
    assert identity(one) == identity(one)


def test_operands_and_results_are_part_of_the_key() -> None:
    def difference(turned: bool, returned: int) -> bytes | None:
        function = make_function("f", [tensor((3,), f64)] * 2)
        with at(body_of(function)):
            x, y = body_of(function).arguments
            values = [nd.sub(y, x) if turned else nd.sub(x, y), nd.exp(x)]
        return identity_of(finish_function(function, [values[returned]]))

    assert len({difference(turned, returned) for turned in (False, True) for returned in (0, 1)}) == 4


def test_the_machine_and_the_compiler_are_part_of_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    derivation, here = gradient(wave()), host()
    fields = {"version": here.version, "triple": here.triple, "cpu": here.cpu, "features": here.features}
    machines = [Host(**fields, vector_bits=128), Host(**fields, vector_bits=1024)]
    machines += [Host(**{**fields, name: "another"}, vector_bits=here.vector_bits) for name in fields]
    keys = [key_of(derivation), *[key_of(derivation, machine) for machine in machines]]
    monkeypatch.setattr(known, "fingerprint", lambda: "another version")
    keys.append(key_of(derivation))
    monkeypatch.setattr(known, "LOWER", "fuse,to-loops")
    keys.append(key_of(derivation))
    assert len(set(keys)) == len(keys)
    monkeypatch.setattr(known, "fingerprint", lambda: "")
    assert key_of(derivation) == ""


def test_a_changed_source_is_another_compiler(tmp_path: Path) -> None:
    import gradloomc

    package = tmp_path / "gradloomc"
    for folder in ("", "ir", "codegen"):
        (package / folder).mkdir()
        (package / folder / "__init__.py").write_text("")
    for name in ("cache", "fingerprint"):
        source = Path(gradloomc.__file__).parent / "codegen" / f"{name}.py"
        (package / "codegen" / f"{name}.py").write_text(source.read_text())
    rule = package / "ir" / "rule.py"
    rule.write_text("LIMIT = 16\n")

    def fingerprint() -> str:
        command = [sys.executable, "-c", "from gradloomc.codegen.fingerprint import fingerprint; print(fingerprint())"]
        environment = os.environ | {"PYTHONPATH": str(tmp_path)}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    first = fingerprint()
    assert first == fingerprint() != "\n"
    rule.write_text("LIMIT = 17\n")
    second = fingerprint()
    (package / "ir" / "other.py").write_text("")
    assert len({first, second, fingerprint()}) == 3


def test_a_program_with_products_belongs_to_a_blas(
    process: Callable[[], known.Counts], monkeypatch: pytest.MonkeyPatch
) -> None:
    function = make_function("f", [tensor((30, 40), f64), tensor((40, 50), f64)])
    with at(body_of(function)):
        x, y = body_of(function).arguments
        product = nd.dot(x, y, x_contract=(1,), y_contract=(0,), x_batch=(), y_batch=())
    derivation = Derivation(finish_function(function, [product]))
    by_value, by_address = Convention(), Convention(cblas=False, integer="i32")
    for convention, found in ((by_value, 0), (by_value, 1), (by_address, 1), (by_address, 2), (by_value, 2)):
        made = known.lowered(derivation, host(), lambda convention=convention: convention)
        assert made.products == 1
        assert known.counts.found == found


def test_large_arrays_are_not_kept() -> None:
    large = make_function("f", [tensor((200_000,), f64)])
    with at(body_of(large)):
        table = nd.constant(value=Dense(tensor((200_000,), f64), np.arange(200_000.0)))
        result = nd.add(body_of(large).arguments[0], table)
    assert identity_of(finish_function(large, [result])) is None
    assert key_of(Derivation(large)) == ""


# --- programs for any length ------------------------------------------------------------------------------------------


def means(x: Any) -> Any:
    return np.sum((x - np.mean(x)) ** 2) / len(x)


def softmax(x: Any) -> Any:
    e = np.exp(x - np.max(x, axis=1, keepdims=True))
    return np.sum(np.log(np.sum(e, axis=1))) * x.shape[0]


def halves(x: Any) -> Any:
    return np.sum(np.tanh(x[::2] * x[1::2])) + np.sum(np.roll(x, 1) * x)


def row(n: int) -> Any:
    return np.linspace(0.0, 1.0, n)


CASES = [(means, row), (softmax, lambda n: row(3 * n).reshape(n, 3)), (halves, lambda n: row(2 * n))]


def again(f: Any) -> Any:
    """Return the gradient of a function that no other test has seen."""
    return value_and_grad(types.FunctionType(f.__code__, f.__globals__, f.__name__))


def classes_of(function: Any) -> list[Any]:
    (family,) = function.user.families.values()
    return [scope for template in family.templates for scope, _ in template.lowering.classes]


@pytest.mark.parametrize(("f", "make"), CASES, ids=lambda case: getattr(case, "__name__", ""))
def test_a_second_length_lowers_nothing_in_a_second_process(
    f: Any, make: Any, process: Callable[[], known.Counts]
) -> None:
    def run() -> tuple[list[Any], list[Any]]:
        function = again(f)
        results = [function(make(n)) for n in (100, 120, 90, 70_000)]
        return [(value.tobytes(), gradient.tobytes()) for value, gradient in results], classes_of(function)

    counts = process()
    results, classes = run()
    lowered = counts.lowered
    assert lowered == 1 + len(classes) and classes
    counts = process()
    same, found = run()
    assert (counts.lowered, counts.found) == (0, lowered)
    assert same == results
    assert [scope.conditions() for scope in found] == [scope.conditions() for scope in classes]


@pytest.mark.parametrize(("f", "make"), CASES, ids=lambda case: getattr(case, "__name__", ""))
def test_scopes_say_the_same_when_they_are_read(f: Any, make: Any, process: Callable[[], known.Counts]) -> None:
    function = again(f)
    for n in (100, 120, 70_000):
        function(make(n))
    for scope in classes_of(function):
        plain = marshal.loads(marshal.dumps(plain_scope(scope)))
        restored = restored_scope(plain, scope.hints.values())
        assert plain_scope(restored) == plain_scope(scope)
        assert restored.conditions() == scope.conditions()
        for n in (2, 3, 8, 17, 100, 101, 120, 4000, 70_000, 10**7):
            symbols = [n] * len(scope.hints)
            assert restored.environment(symbols) == scope.environment(symbols)


def test_what_is_known_of_lengths_is_part_of_the_key() -> None:
    def key(hint: int, low: int = 2, length: Any = lambda n: n) -> str:
        scope = open_scope(Scope([hint], None), lambda name: False)
        scope.low["n0"] = low
        symbol: Any = length(scope.symbol(0))
        function = make_function("f", [tensor((symbol,), f64)])
        return known.program_key(Derivation(finish_function(function, body_of(function).arguments)), host(), scope)

    keys = [key(7), key(7, low=5), key(7, length=lambda n: n + 1), key(7, length=lambda n: 2 * n)]
    assert len(set(keys)) == 4
    assert key(9) == keys[0]  # what a length is for now is of no account
    assert key_of(Derivation(wave(extent=7))) not in keys


def test_classes_that_something_else_has_stored_are_not_used(process: Callable[[], known.Counts]) -> None:
    def run() -> list[str]:
        function = again(means)
        return [str(function(row(n))) for n in (100, 120)]

    store = cache.store()
    assert store.directory is not None
    expected, kept = run(), {path.name for path in Path(store.directory).rglob("?" * 40)}
    for content in (b"", b"nonsense", marshal.dumps([]), marshal.dumps([((1, [], []), b"")]), marshal.dumps([1, 2])):
        for key in kept:
            known_content = store.get(key)
            if known_content is not None and known_content[:1] == marshal.dumps([], 2)[:1]:
                store.put(key, content)
        counts = process()
        assert run() == expected
        assert counts.lowered == 1


# --- what is kept may be gone or spoilt -------------------------------------------------------------------------------


def test_without_its_native_code_a_program_is_written_again(process: Callable[[], known.Counts]) -> None:
    x = np.linspace(-1.0, 1.0, 40)
    expected = Executable(gradient(wave())).run([x])
    store = cache.store()
    assert store.directory is not None
    kept = store.get(key_of(gradient(wave())))
    assert kept is not None
    store.clear()
    store.put(key_of(gradient(wave())), kept)
    counts = process()
    again = Executable(gradient(wave()))
    assert (counts.found, counts.lowered) == (1, 1)
    for one, other in zip(again.run([x]), expected, strict=True):
        assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize("content", [b"", b"\n", b"\nnonsense", b"\n\xa9\x02i\x01\x00\x00\x00i", b"(True, 'i64')\n("])
def test_what_something_else_has_stored_is_not_used(content: bytes, process: Callable[[], known.Counts]) -> None:
    expected = known.lowered(gradient(wave()), host(), blas.convention)
    cache.store().put(key_of(gradient(wave())), content)
    counts = process()
    made = known.lowered(gradient(wave()), host(), blas.convention)
    assert (counts.found, counts.lowered) == (0, 1)
    assert made.text == expected.text
    known.lowered(gradient(wave()), host(), blas.convention)
    assert counts.found == 1  # it was put right


def test_text_that_is_made_again_has_to_be_the_same(process: Callable[[], known.Counts]) -> None:
    made = known.lowered(gradient(wave()), host(), blas.convention)
    other = known.lowered(gradient(wave(dtype=f32)), host(), blas.convention)
    content = encode(made)
    assert content is not None
    with pytest.raises(RuntimeError, match="differently"):
        _ = decode(content, lambda: other).text


def test_both_forms_of_a_program_that_was_guessed_are_made_by_the_guess(process: Callable[[], known.Counts]) -> None:
    """What is found by the first shapes has the table of sizes of what was lowered for any length; so has its text."""

    def cell(x: Any, w: Any) -> Any:
        gates, size = np.tanh(x @ w), w.shape[1] // 2
        return np.mean(gates[:, :size] * np.exp(gates[:, size:]))

    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(64, 20)), rng.normal(size=(20, 512))
    first = again(cell)
    expected = first(x, w)
    made = first.last_program().executable.program
    counts = process()
    second = again(cell)
    np.testing.assert_array_equal(second(x, w)[1], expected[1])
    found = second.last_program().executable.program
    assert counts.lowered == 0 and counts.found == 1
    assert found.sizes == made.sizes and found.slots == made.slots
    assert found.text == made.text
    assert found.written_out().text == made.written_out().text and found.written_out().sizes == made.written_out().sizes
