"""Graphs drawn by chance: elementwise operators, broadcasts, reductions, views and in-place changes in any order.

A seed fixes the graph, so that both modules run the same one. Where an in-place change spoils what backward needs, that
is what is observed.
"""

import random
from collections.abc import Callable
from functools import partial
from typing import Any

from .corpus import Observations, Raised, error, graph_of, ramp, register

COUNT = 60
STEPS = 12
SHAPE = (2, 3)

# What makes a new tensor of SHAPE out of one or two.
PURE: list[Callable[[Any, Any, Any], Any]] = [
    lambda m, a, b: a + b,
    lambda m, a, b: a - 2 * b,
    lambda m, a, b: a * b,
    lambda m, a, b: a / (b * b + 1),
    lambda m, a, b: m.maximum(a, b),
    lambda m, a, b: m.where(a > b, a, b * 0.5),
    lambda m, a, b: a.sin(),
    lambda m, a, b: (-a * a).exp(),
    lambda m, a, b: a.tanh(),
    lambda m, a, b: a.sigmoid(),
    lambda m, a, b: (a * a + 1).log(),
    lambda m, a, b: (a * a + 0.5).sqrt(),
    lambda m, a, b: a.relu(),
    lambda m, a, b: a.abs(),
    lambda m, a, b: a.clamp(-0.5, 1.5),
    lambda m, a, b: a.tanh() ** 3,
    lambda m, a, b: 1.5 - a,
    lambda m, a, b: a + b.sum(0),
    lambda m, a, b: a * b.mean(1, keepdim=True),
    lambda m, a, b: a - b.max(),
    lambda m, a, b: a.softmax(1),
    lambda m, a, b: a.log_softmax(0),
    lambda m, a, b: a.logsumexp(1, keepdim=True) + b,
    lambda m, a, b: (a @ b.t() @ a).tanh(),
    lambda m, a, b: a.t().reshape(2, 3),
    lambda m, a, b: a.flip(1),
    lambda m, a, b: m.cat([a[:, 1:], b[:, :1]], dim=1),
    lambda m, a, b: m.stack([a[1], b[0]]),
    lambda m, a, b: a[:, [2, 0, 0]],
    lambda m, a, b: a.masked_fill(b > 0.3, 0.25),
    lambda m, a, b: a.cumsum(1),
    lambda m, a, b: a.detach() * b,
    lambda m, a, b: a.clone(),
    lambda m, a, b: a[:1].expand(2, 3) * b,
    lambda m, a, b: (a / (a.norm() + 1)) * b.std(),
]

# What changes its first operand.
CHANGES: list[Callable[[Any, Any, Any], Any]] = [
    lambda m, a, b: a.add_(b),
    lambda m, a, b: a.mul_(0.5),
    lambda m, a, b: a.sub_(1.0),
    lambda m, a, b: a[0].mul_(2),
    lambda m, a, b: a[:, 1].zero_(),
    lambda m, a, b: a.tanh_(),
    lambda m, a, b: a.clamp_(min=-1.0),
    lambda m, a, b: a.neg_(),
]


def build(m: Any, leaves: list[Any], choose: random.Random, changes: bool) -> Any:
    """Return a scalar made of the leaves by operators that `choose` draws."""
    pool, results = list(leaves), []
    for _ in range(STEPS):
        a, b = choose.choice(pool[-5:]), choose.choice(pool)
        operator, change = choose.choice(PURE), choose.choice(CHANGES)
        if changes and results and choose.random() < 0.25:
            change(m, choose.choice(results[-2:]), b.detach())
        else:
            results.append(operator(m, a, b))
            pool.append(results[-1])
    weights = m.tensor(ramp(SHAPE), dtype=m.float64)
    return (pool[-1] * weights).sum() + sum(tensor.mean() for tensor in pool[-3:])


def graph(seed: int, changes: bool, m: Any) -> Observations:
    """Build the graph of a seed and go back through it."""
    values = random.Random(-1 - seed)
    leaves = [
        m.tensor([[round(values.uniform(-1.5, 1.5), 3) for _ in range(3)] for _ in range(2)], dtype=m.float64)
        for _ in range(3)
    ]
    for leaf in leaves:
        leaf.requires_grad_()
    loss = build(m, leaves, random.Random(seed), changes)
    observed: Observations = {"loss": loss.detach()}
    if not changes:
        observed["graph"] = graph_of(loss.grad_fn.next_functions[0][0].next_functions[0][0])
    failure = error(lambda: loss.backward())
    if isinstance(failure, Raised):
        # Several values may be spoiled; which of them is found first is not compared.
        return {**observed, "error": failure._replace(text=failure.text.partition(":")[0])}
    return {**observed, "gradients": [leaf.grad for leaf in leaves]}


for _seed in range(COUNT):
    register("random_graphs", f"seed_{_seed}", partial(graph, _seed, False))
    register("random_graphs", f"seed_{_seed}_with_changes", partial(graph, _seed, True))
