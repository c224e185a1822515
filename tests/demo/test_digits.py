"""Test the digit demo: its data, the gradient written by hand, its pure functions, and a whole run.

Owns nothing of gradloom: only the last tests differentiate with it, through the public interface.
"""

import hashlib

import numpy as np
import pytest

import digits
import gradloom

COUNTS = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]  # as published by UCI, digits 0..9
SHA256 = "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"


def small_problem(seed: int = 3) -> tuple[digits.Params, np.ndarray, np.ndarray]:
    """Return parameters with biases that are not zero, seven images and their one-hot labels."""
    rng = np.random.default_rng(seed)
    params = digits.initial_params(rng)
    for name in ("b1", "b2", "b3"):
        params[name] += 0.1 * rng.standard_normal(params[name].shape)
    images, labels = digits.load_digits()
    return params, images[:7].reshape(7, 64) / 16, digits.one_hot(labels[:7])


def test_data_is_the_published_data() -> None:
    images, labels = digits.load_digits()
    assert (images.shape, images.dtype) == ((1797, 8, 8), np.uint8)
    assert (labels.shape, labels.dtype) == ((1797,), np.uint8)
    assert (images.min(), images.max()) == (0, 16)
    assert np.bincount(labels).tolist() == COUNTS
    assert hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest() == SHA256


def test_split_parts_the_images_without_loss() -> None:
    images, labels = digits.load_digits()
    data = digits.split(images, labels, np.random.default_rng(0))
    assert data.train_x.shape == (1437, 64)
    assert data.test_x.shape == (360, 64)
    rows = np.concatenate([data.train_x, data.test_x]) * 16
    again = np.column_stack([rows, np.concatenate([data.train_labels, data.test_labels])])
    before = np.column_stack([images.reshape(-1, 64), labels])
    assert sorted(map(tuple, again)) == sorted(map(tuple, before))


def test_one_hot() -> None:
    encoded = digits.one_hot(np.array([3, 0], dtype=np.uint8))
    assert encoded.dtype == np.float64
    assert np.argwhere(encoded == 1).tolist() == [[0, 3], [1, 0]]
    assert encoded.sum() == 2


def test_loss_of_equal_logits_is_log_of_classes() -> None:
    params, x, y = small_problem()
    params["w3"][:], params["b3"][:] = 0, 5
    penalty = digits.WEIGHT_DECAY * (np.sum(params["w1"] ** 2) + np.sum(params["w2"] ** 2))
    assert digits.loss(params, x, y) == pytest.approx(np.log(10) + penalty, rel=1e-14)


def test_loss_does_not_overflow() -> None:
    params, x, y = small_problem()
    params["b3"] += np.linspace(-1e4, 1e4, 10)
    assert np.isfinite(digits.loss(params, x, y))


def test_gradient_by_hand_against_central_differences() -> None:
    params, x, y = small_problem()
    value, gradient = digits.value_and_grad_by_hand(params, x, y)
    assert float(value) == pytest.approx(float(digits.loss(params, x, y)), rel=1e-14)
    assert gradient.keys() == params.keys()
    rng = np.random.default_rng(5)
    for name in params:
        direction = rng.standard_normal(params[name].shape)
        step = 1e-5
        above = digits.loss({**params, name: params[name] + step * direction}, x, y)
        below = digits.loss({**params, name: params[name] - step * direction}, x, y)
        slope = float(np.sum(gradient[name] * direction))
        assert (above - below) / (2 * step) == pytest.approx(slope, rel=1e-7, abs=1e-9), name


def test_adam_takes_its_first_step_down_the_sign_of_the_gradient() -> None:
    params = {"w": np.array([1.0, 2.0, 3.0])}
    digits.Adam(rate=0.01).update(params, {"w": np.array([0.5, -7.0, 0.0])})
    np.testing.assert_allclose(params["w"], [0.99, 2.01, 3.0], rtol=1e-6)


def test_adam_finds_a_minimum() -> None:
    params = {"w": np.array([1.0, -2.0])}
    optimizer = digits.Adam(rate=0.05)
    for _ in range(500):
        optimizer.update(params, {"w": 2 * (params["w"] - 0.25)})
    np.testing.assert_allclose(params["w"], 0.25, atol=1e-3)


def test_training_by_hand_reaches_the_accuracy() -> None:
    rng = np.random.default_rng(0)
    data = digits.split(*digits.load_digits(), rng)
    params = digits.initial_params(rng)
    history = list(digits.train(digits.value_and_grad_by_hand, params, data, 15, rng))
    assert history[-1].train_loss < history[0].train_loss / 5
    assert history[-1].test_accuracy >= 0.96


def test_gallery_has_a_column_for_each_class_and_the_errors_below() -> None:
    labels = np.tile(np.arange(10), 9)
    read = labels.copy()
    read[[4, 17]] = (read[[4, 17]] + 1) % 10
    cells = digits.gallery(read, labels)
    assert cells.shape == (5, 10)
    assert (labels[cells[:4]] == np.arange(10)).all()
    assert (read[cells[:4]] == np.arange(10)).all()
    assert cells[4:].ravel().tolist() == [4, 17] + 8 * [-1]


def test_gallery_shows_two_rows_of_errors_at_most() -> None:
    labels = np.tile(np.arange(10), 9)
    cells = digits.gallery((labels + 1) % 10, labels)
    assert (cells[:4] == -1).all()
    assert cells[4:].ravel().tolist() == list(range(20))


@pytest.mark.parametrize(
    ("seconds", "text"), [(5.432e-5, "54.3 µs"), (2e-4, "200 µs"), (1.5e-3, "1,500 µs")]
)
def test_microseconds(seconds: float, text: str) -> None:
    assert digits.microseconds(seconds) == text


def test_gradloom_gives_the_gradient_by_hand() -> None:
    params, x, y = small_problem()
    compiled = gradloom.compile_grad(digits.loss)
    value, gradient = compiled.value_and_grad(params, x, y)
    value_by_hand, by_hand = digits.value_and_grad_by_hand(params, x, y)
    assert float(value) == pytest.approx(float(value_by_hand), rel=1e-13)
    assert gradient.keys() == by_hand.keys()
    for name in by_hand:
        np.testing.assert_allclose(gradient[name], by_hand[name], rtol=1e-11, atol=1e-15)


def test_whole_run(tmp_path, capsys) -> None:
    picture = tmp_path / "new" / "digits.png"
    accuracy = digits.main(["--epochs", "12", "--repeats", "3", "--output", str(picture)])
    assert accuracy >= 0.96
    assert picture.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    printed = capsys.readouterr().out
    assert f"Test accuracy {accuracy:.2%}" in printed
    assert "compile time" in printed
