"""Fused multiply-adds: rounded once where a product is used once, and the same at every place of an array."""

from fractions import Fraction

import numpy as np

from gradloom import compile_grad, grad


def rounded_once(x: float, y: float, z: float) -> float:
    """Return x * y + z, by exact arithmetic and one rounding."""
    return float(Fraction(x) * Fraction(y) + Fraction(z))


def test_one_rounding() -> None:
    x, y, z = np.random.default_rng(0).standard_normal((3, 1000))
    z[::2] = -x[::2] * y[::2]  # all that is left is what the product's rounding took
    for f, sign_product, sign_addend in (
        (lambda x, y, z: x * y + z, 1, 1),
        (lambda x, y, z: z - x * y, -1, 1),
        (lambda x, y, z: x * y - z, 1, -1),
        (lambda x, y, z: z + -(x * y), -1, 1),
    ):
        expected = [
            rounded_once(sign_product * a, b, sign_addend * c)
            for a, b, c in zip(x.tolist(), y.tolist(), z.tolist(), strict=True)
        ]
        np.testing.assert_array_equal(compile_grad(f)(x, y, z), expected)


def test_a_product_with_two_uses_is_one_number() -> None:
    @compile_grad
    def f(x, y):
        product = x * y
        return product - product, np.where(product - 1.0 == 0.0, product, 1.0) - 1.0, (product == 1.0) * 1.0

    x = np.random.default_rng(0).uniform(1.0, 2.0, 5000)
    zero, also, hits = f(x, 1.0 / x)
    assert not zero.any() and not also.any() and 0 < hits.sum() < 5000


def test_all_places_round_alike() -> None:
    """Vectors, ends under a mask and rows beside pads give an element the same bits, whatever the length."""

    def f(x, y):
        inner = x[1:] * y[1:] - x[:-1] * y[:-1]
        return np.sum(inner * inner * x[1:]) + np.sum(x * y)

    x, y = np.random.default_rng(0).standard_normal((2, 100))
    whole = grad(f, (0, 1))(x, y)
    for length in range(4, 41):
        part = grad(f, (0, 1))(x[:length].copy(), y[:length].copy())
        for a, b in zip(part, whole, strict=True):
            np.testing.assert_array_equal(a[: length - 1], b[: length - 1])
