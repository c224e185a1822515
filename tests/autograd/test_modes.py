"""Grad modes: as contexts, as decorators of functions and generators, in threads; what inference mode leaves."""

import threading
import warnings
from typing import Any

import pytest

import gradloom as gl
from gradloom.autograd import modes


def leaf(*values: float) -> Any:
    return gl.tensor(list(values), requires_grad=True)


def test_modes_nest_and_end_with_an_exception():
    with pytest.raises(ValueError), gl.no_grad():
        assert not gl.is_grad_enabled()
        with gl.enable_grad():
            assert gl.is_grad_enabled()
        assert not gl.is_grad_enabled()
        raise ValueError
    assert gl.is_grad_enabled()


def test_one_mode_entered_inside_itself():
    mode = gl.no_grad()
    with mode:
        with mode:
            pass
        assert not gl.is_grad_enabled()
    assert gl.is_grad_enabled()


def test_set_grad_enabled_works_at_once_and_ends_with_its_block():
    before = gl.set_grad_enabled(False)
    assert not gl.is_grad_enabled()
    with before:
        assert not gl.is_grad_enabled()
    assert gl.is_grad_enabled()
    assert repr(gl.set_grad_enabled(True)) == "gradloom.autograd.grad_mode.set_grad_enabled(mode=True)"
    with pytest.raises(TypeError, match=r"must be bool, not str"):
        gl.set_grad_enabled("on")
    assert gl.is_grad_enabled()


MODES = {
    "bare": lambda: gl.no_grad,
    "called": lambda: gl.no_grad(),
    "set": lambda: gl.set_grad_enabled(False),
    "inference": lambda: gl.inference_mode,
}


@pytest.mark.parametrize("make", MODES.values(), ids=MODES.keys())
def test_decorated_functions(make: Any):
    mode = make()

    @mode
    def double(x: Any, depth: int = 2) -> Any:
        """Double."""
        assert not gl.is_grad_enabled()
        return double(x, depth - 1) if depth else x * 2

    assert gl.is_grad_enabled()
    assert not double(leaf(1.0)).requires_grad
    assert gl.is_grad_enabled()
    assert (double.__name__, double.__doc__) == ("double", "Double.")


def test_decorated_generator_runs_each_step_in_the_mode():
    @gl.no_grad()
    def steps() -> Any:
        try:
            received = yield gl.is_grad_enabled()
            yield received, gl.is_grad_enabled()
        except ValueError as exception:
            yield str(exception), gl.is_grad_enabled()
        return 7

    generator = steps()
    assert next(generator) is False and gl.is_grad_enabled()
    assert generator.send(5) == (5, False) and gl.is_grad_enabled()
    assert generator.throw(ValueError("thrown")) == ("thrown", False)
    with pytest.raises(StopIteration) as stop:
        next(generator)
    assert stop.value.value == 7 and gl.is_grad_enabled()


def test_closing_a_decorated_generator_runs_its_end_in_the_mode():
    ends = []

    @gl.no_grad()
    def steps() -> Any:
        try:
            yield 1
        finally:
            ends.append(gl.is_grad_enabled())

    generator = steps()
    next(generator)
    generator.close()
    assert ends == [False] and gl.is_grad_enabled()


def test_decorating_a_class_warns_and_makes_its_instances_in_the_mode():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")

        @gl.no_grad()
        class Model:
            def __init__(self) -> None:
                self.enabled = gl.is_grad_enabled()

    assert [each.category for each in caught] == [FutureWarning]
    assert not Model().enabled


def test_each_thread_has_its_own_mode():
    seen: list[bool] = []
    with gl.no_grad(), gl.inference_mode():
        thread = threading.Thread(target=lambda: seen.extend((gl.is_grad_enabled(), gl.is_inference_mode_enabled())))
        thread.start()
        thread.join()
    assert seen == [True, False]


# --- inference mode ---------------------------------------------------------------------------------------------------


@pytest.fixture
def made() -> Any:
    with gl.inference_mode():
        return gl.ones(2)


def test_inference_mode_records_nothing_even_with_enable_grad():
    with gl.inference_mode(), gl.enable_grad():
        assert gl.is_grad_enabled()
        y = leaf(1.0) * 2
    assert not y.requires_grad and y.grad_fn is None and y.is_inference()


def test_inference_mode_switched_off_inside():
    x = leaf(1.0)
    with gl.no_grad(), gl.inference_mode(), gl.inference_mode(False):
        y = x * 2
        assert gl.is_grad_enabled() and not gl.is_inference_mode_enabled()
    assert y.requires_grad and not y.is_inference()


def test_inference_tensors_cannot_be_saved_written_or_counted(made: Any):
    x = leaf(1.0, 2.0)
    with pytest.raises(RuntimeError, match=r"^Inference tensors cannot be saved for backward\. Please do not use"):
        _ = x * made
    with pytest.raises(RuntimeError, match=r"^Inplace update to inference tensor outside InferenceMode is not allowed"):
        made.add_(1)
    with gl.no_grad(), pytest.raises(RuntimeError, match=r"^Inplace update to inference tensor"):
        made.add_(1)
    with pytest.raises(RuntimeError, match=r"^Inference tensors do not track version counter"):
        made._version  # noqa: B018
    with pytest.raises(RuntimeError, match=r"^Setting requires_grad=True on inference tensor outside InferenceMode"):
        made.requires_grad_()


def test_what_inference_tensors_may_be_used_for(made: Any):
    x = leaf(1.0, 2.0)
    assert (x + made).tolist() == [2.0, 3.0]
    assert (x * made.clone()).requires_grad
    assert not made.clone().is_inference() and made.detach().is_inference()
    with gl.no_grad():
        assert (x * made).tolist() == [1.0, 2.0]
    with gl.inference_mode():
        made.add_(1)
        x.detach().add_(1)
    assert made.tolist() == [2.0, 2.0] and made.is_inference()
    assert x.tolist() == [2.0, 3.0] and not x.is_inference()


def test_nobody_asks_about_inference_mode_once_its_tensors_are_gone():
    with gl.inference_mode():
        x = gl.ones(2) * 2
    assert modes.inference_used and x.is_inference()
    del x
    assert not modes.inference_used
    with gl.inference_mode():
        assert (gl.ones(2) * 2).is_inference()
    assert not modes.inference_used
