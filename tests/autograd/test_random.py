"""Random tensors: the streams are those of torch 2.13.0 on a CPU; the literal numbers here were drawn there."""

from typing import Any

import numpy as np
import pytest

import gradloom

# In this order after manual_seed(0).
DRAWS: list[tuple[str, Any, list[float]]] = [
    (
        "rand",
        lambda: gradloom.rand(5),
        [0.49625658988952637, 0.7682217955589294, 0.08847743272781372, 0.13203048706054688, 0.30742281675338745],
    ),
    (
        "rand float64",
        lambda: gradloom.rand(3, dtype=gradloom.float64),
        [0.07262971157225484, 0.17155810530414428, 0.0584505300016952],
    ),
    ("randn", lambda: gradloom.randn(3), [0.20998091995716095, 0.905626118183136, 0.6035430431365967]),
    ("randn after an odd number", lambda: gradloom.randn(2), [0.8109818696975708, -0.04508150741457939]),
    (
        "randn in blocks",
        lambda: gradloom.randn(18),
        [
            1.85300612449646, 0.46809640526771545, -0.7425481677055359, 0.5627213716506958, 0.25962740182876587,
            -0.17396099865436554, -0.678746223449707, 0.9382607340812683, 0.4888698160648346, -0.6730899214744568,
            0.08453469723463058, -1.2001394033432007, -0.004785737954080105, -0.5180748105049133, -0.30670419335365295,
            -1.580993890762329, 1.7066433429718018, -0.4462171792984009,
        ],
    ),
    (
        "randn in blocks, float64",
        lambda: gradloom.randn(17, dtype=gradloom.float64),
        [
            -0.8401044086453383, 0.1847042461925286, -0.9440528157489724, -0.7140224819072761, -1.3088603406148538,
            -1.079395648461805, 0.652097442505718, 2.9993727052711483, 0.14982210943711574, -0.10990325730633609,
            -0.6911675664277764, 0.727512359262504, -1.3847089417384169, -1.1050420054812622, 1.3969389289168135,
            -1.0017730761340324, 2.2896743440892946,
        ],
    ),
    ("randint", lambda: gradloom.randint(100, (6,)), [57, 33, 20, 49, 89, 93]),
    ("randint, 64 bits", lambda: gradloom.randint(-5, 2**40, (3,)), [701583675981, 411492455412, 404142834133]),
    ("randperm", lambda: gradloom.randperm(9), [4, 3, 8, 1, 2, 6, 7, 5, 0]),
    ("bernoulli", lambda: gradloom.bernoulli(gradloom.full((8,), 0.3)), [0, 1, 1, 0, 0, 1, 1, 1]),
    ("bernoulli_", lambda: gradloom.zeros(8).bernoulli_(0.3), [0, 1, 1, 0, 0, 1, 0, 1]),
    (
        "uniform_",
        lambda: gradloom.empty(4).uniform_(-2, 3),
        [1.441748023033142, -1.7501459121704102, 0.3312819004058838, 2.6985485553741455],
    ),
    (
        "normal_",
        lambda: gradloom.empty(3).normal_(2, 3),
        [4.6390838623046875, -0.21725106239318848, 4.408235549926758],
    ),
    (
        "exponential_",
        lambda: gradloom.empty(3, dtype=gradloom.float64).exponential_(2.0),
        [0.3783520517450783, 0.1206366265971766, 0.7296891194748882],
    ),
    ("random_", lambda: gradloom.empty(3, dtype=gradloom.int64).random_(1000), [728, 739, 682]),
    ("multinomial", lambda: gradloom.multinomial(gradloom.tensor([1.0, 2.0, 3.0, 4.0]), 3), [1, 3, 2]),
    (
        "multinomial with replacement",
        lambda: gradloom.multinomial(gradloom.tensor([1.0, 2.0, 3.0, 4.0]), 5, replacement=True),
        [1, 1, 3, 3, 1],
    ),
    (
        "rand float16",
        lambda: gradloom.rand(4, dtype=gradloom.float16),
        [0.1220703125, 0.15673828125, 0.209716796875, 0.85009765625],
    ),
    ("at the end", lambda: gradloom.rand(1), [0.3202674984931946]),
]  # fmt: skip
TRANSCENDENTAL = ("randn", "normal", "exponential")


def test_the_stream_is_torchs():
    gradloom.manual_seed(0)
    for name, draw, expected in DRAWS:
        found = draw().double().reshape(-1).tolist()
        if name.startswith(TRANSCENDENTAL):
            np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7, err_msg=name)
        else:
            assert found == expected, name


def test_seeds():
    assert gradloom.Generator().initial_seed() == 67280421310721
    gradloom.manual_seed(-1)
    assert gradloom.initial_seed() == 2**64 - 1
    assert gradloom.rand(1).item() == float.fromhex("0x1.fcd3460000000p-1")
    gradloom.manual_seed(2**40 + 7)  # the lower 32 bits count
    assert gradloom.rand(1).item() == float.fromhex("0x1.11e15e0000000p-1")
    assert isinstance(gradloom.seed(), int)


def test_generators_are_streams_of_their_own():
    generator = gradloom.Generator().manual_seed(3)
    found = gradloom.rand(2, generator=generator)
    assert found.tolist() == [float.fromhex("0x1.176ap-8"), float.fromhex("0x1.b0698p-4")]
    gradloom.manual_seed(42)
    gradloom.rand(5, generator=generator)
    assert gradloom.rand(1).item() == float.fromhex("0x1.c3b8cc0000000p-1")


def test_states():
    gradloom.randn(3)  # one normal number is waiting
    state = gradloom.get_rng_state()
    first = gradloom.randn(3), gradloom.rand(700)
    gradloom.set_rng_state(state)
    assert all(gradloom.equal(a, b) for a, b in zip(first, (gradloom.randn(3), gradloom.rand(700)), strict=True))
    generator = gradloom.Generator()
    generator.set_state(generator.get_state())
    assert state.dtype is gradloom.uint8
    with pytest.raises(RuntimeError, match="RNG state is wrong size"):
        gradloom.set_rng_state(gradloom.zeros(3))


def test_moments():
    gradloom.manual_seed(1)
    normal = gradloom.randn(100_000, dtype=gradloom.float64)
    assert abs(normal.mean().item()) < 0.01 and abs(normal.std().item() - 1) < 0.01
    assert abs((gradloom.rand(100_000) < 0.25).double().mean().item() - 0.25) < 0.01
    assert sorted(gradloom.randperm(1000).tolist()) == list(range(1000))
    weights = gradloom.multinomial(gradloom.tensor([[1.0, 3.0], [0.0, 1.0]]), 10_000, replacement=True)
    assert abs(weights[0].double().mean().item() - 0.75) < 0.02 and weights[1].min().item() == 1


def test_shapes_and_dtypes():
    like = gradloom.ones(2, 3, dtype=gradloom.float64)
    assert gradloom.rand_like(like).dtype is gradloom.float64 and gradloom.randn_like(like).shape == (2, 3)
    assert gradloom.randint_like(like, 5).dtype is gradloom.float64
    assert gradloom.randn((4,), requires_grad=True).requires_grad
    assert gradloom.normal(gradloom.zeros(3), 2.0).shape == (3,)
    assert gradloom.normal(0.0, 1.0, (2, 2)).shape == (2, 2)


@pytest.mark.parametrize(
    "function, kind, text",
    [
        (lambda: gradloom.rand(2, dtype=gradloom.int64), NotImplementedError, '"check_uniform_bounds" not implemented'),
        (lambda: gradloom.randn(2, dtype=gradloom.int64), NotImplementedError, '"normal_kernel_cpu" not implemented'),
        (lambda: gradloom.randint(5, 5, (2,)), RuntimeError, "random_ expects 'from' to be less than 'to'"),
        (
            lambda: gradloom.randint(2.5, (2,)),
            TypeError,
            "randint(): argument 'high' (position 1) must be int, not float",
        ),
        (lambda: gradloom.normal(0.0, -1.0, (2,)), RuntimeError, "normal expects std >= 0.0, but found std -1"),
        (lambda: gradloom.empty(2).uniform_(3, 1), RuntimeError, "uniform_ expects to return a [from, to) range"),
        (lambda: gradloom.empty(2).bernoulli_(2), RuntimeError, "bernoulli_ expects p to be in [0, 1], but got p=2"),
        (lambda: gradloom.bernoulli(gradloom.full((2,), 1.5)), RuntimeError, "Expected p_in >= 0 && p_in <= 1"),
        (lambda: gradloom.randperm(-1), RuntimeError, "Trying to create tensor with negative dimension -1: [-1]"),
        (lambda: gradloom.multinomial(gradloom.ones(2), 3), RuntimeError, "without replacement"),
        (lambda: gradloom.multinomial(gradloom.zeros(2), 1), RuntimeError, "invalid multinomial distribution"),
    ],
)
def test_refuses(function: Any, kind: type[Exception], text: str):
    with pytest.raises(kind) as caught:
        function()
    assert text in str(caught.value)


def test_overwriting_a_tensor_of_a_graph():
    leaf = gradloom.ones(3, requires_grad=True)
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad"):
        leaf.uniform_()
    with gradloom.no_grad():
        leaf.uniform_()
    for write, name in (
        (lambda x: x.normal_(), "NormalBackward0"),
        (lambda x: x.uniform_(), "UniformBackward0"),
        (lambda x: x.bernoulli_(0.5), "BernoulliBackward2"),
    ):
        y = leaf * 1
        write(y)
        assert y.grad_fn.name() == name
        leaf.grad = None
        y.sum().backward()
        assert leaf.grad is not None and leaf.grad.tolist() == [0.0, 0.0, 0.0]
