"""`backward`: what it needs, what it leaves in `.grad`, what it frees."""

from typing import Any

from .corpus import error, graph_of, name_of, program, warned


def seed_leaves(m):
    return [m.tensor(values, requires_grad=True) for values in ([2.0, 1.0], [1.0, 3.0], [5.0, 2.0])]


@program
def square_of_a_scalar(m):
    x = m.tensor(2.0, requires_grad=True)
    y = x**2
    y.backward()
    return {"y": y, "gradient": x.grad, "repr": repr(x.grad)}


@program
def square_of_ones(m):
    x = m.ones(2, 2, requires_grad=True)
    y = x**2
    y.backward(m.ones_like(y))
    return {"y": y, "gradient": x.grad, "repr": repr(x.grad)}


@program
def sine_of_square(m):
    x = m.tensor([1.0, 2.0], requires_grad=True)
    y = x**2
    z = m.sin(y)
    z.backward(m.ones_like(z))
    return {"y": repr(y), "z": repr(z), "gradient": repr(x.grad), "y.grad": warned(lambda: y.grad)}


@program
def accumulation(m):
    x = m.tensor([1.0, 2.0], requires_grad=True)
    y = x**2
    z = m.sin(y)
    ones = m.ones_like(z)
    observed = {}
    z.backward(ones, retain_graph=True)
    observed["once"] = x.grad.clone()
    z.backward(ones, retain_graph=True)
    observed["twice"] = x.grad.clone()
    x.grad.zero_()
    observed["zeroed"] = x.grad.clone()
    z.backward(ones, retain_graph=True)
    observed["again"] = x.grad.clone()
    x.grad.zero_()
    y.backward(ones, retain_graph=True)
    observed["of_y"] = x.grad.clone()
    y.backward(ones)
    observed["of_y_twice"] = x.grad
    return observed


@program
def second_backward(m):
    x = m.tensor([1.0, 2.0], requires_grad=True)
    y = x**2
    z = m.sin(y)
    z.backward(m.ones_like(z))
    return {
        "same": error(lambda: z.backward(m.ones_like(z))),
        "inner": error(lambda: y.backward(m.ones_like(y))),
        "gradient": x.grad,
    }


@program
def second_backward_where_nothing_is_saved(m):
    """Sums and additions save nothing, so their graph may be walked again; a product saves even a number."""
    x = m.tensor([1.0, 2.0], requires_grad=True)
    y = (x + 1).sum()
    y.backward()
    y.backward()
    z = (x * 2).sum()
    z.backward()
    return {"product": error(lambda: z.backward()), "gradient": x.grad}


@program
def second_backward_through_shared_part(m):
    x = m.tensor([1.0, 2.0], requires_grad=True)
    shared = x.exp()
    (shared * 2).sum().backward()
    return {"again": error(lambda: (shared * 3).sum().backward()), "gradient": x.grad}


@program
def vector_without_gradient(m):
    x = m.tensor([1.0, 2.0], requires_grad=True)
    single = m.tensor([3.0], requires_grad=True)
    (single * 2).backward()
    return {"vector": error(lambda: (x * 2).backward()), "single": single.grad}


@program
def gradient_of_two(m):
    x, y, z = seed_leaves(m)
    b = x + 2 * y + z / 2
    b.backward(2 * m.ones_like(b))
    return {"x": x.grad, "y": y.grad, "z": z.grad}


@program
def gradient_of_itself(m):
    x, y, z = seed_leaves(m)
    a = x + 2 * y
    a.retain_grad()
    b = a + z / 2
    b.backward(b.data)
    return {"b": b, "x": x.grad, "y": y.grad, "z": z.grad, "a": a.grad}


@program
def gradient_of_wrong_shape(m):
    x = m.tensor([1.0, 2.0], requires_grad=True)
    y = x * 2
    return {
        "shape": error(lambda: y.backward(m.ones(3))),
        "scalar": error(lambda: y.backward(m.tensor(1.0))),
        "list": error(lambda: y.backward([1.0, 1.0])),
        "number": error(lambda: y.backward(2.0)),
    }


@program
def gradient_of_other_dtypes(m):
    x = m.tensor(3.0, requires_grad=True)
    (x * x).backward(m.tensor(2))
    first = x.grad.clone()
    (x * x).backward(m.tensor(1.0, dtype=m.float64))
    return {"int": first, "double": x.grad}


@program
def backward_of_a_leaf(m):
    x = m.tensor(3.0, requires_grad=True)
    x.backward()
    x.backward()
    return {"gradient": x.grad}


@program
def backward_without_grad(m):
    x = m.tensor(3.0)
    y = m.tensor(3.0, requires_grad=True)
    return {
        "plain": error(lambda: x.backward()),
        "detached": error(lambda: (y * 2).detach().backward()),
        "result": error(lambda: (x * 2).backward()),
        "integer": error(lambda: m.tensor(1).backward()),
    }


@program
def seed_graph(m):
    x, y, z = seed_leaves(m)
    a = x + 2 * y
    b = a + z / 2
    a.retain_grad()
    b.backward(m.ones_like(b))
    return {
        "a": a,
        "b": b,
        "gradients": [x.grad, y.grad, z.grad, a.grad],
        "graph": graph_of(b.grad_fn),
        "inputs": [[name_of(node), index] for node, index in a.grad_fn.next_functions],
    }


@program
def seed_graph_through_sum(m):
    x, y, z = seed_leaves(m)
    a = x + 2 * y
    a.retain_grad()
    b = a + z / 2
    total: Any = sum(b * m.ones_like(x))
    total.backward()
    return {"total": total, "gradients": [x.grad, y.grad, z.grad, a.grad]}


@program
def seed_graph_detached(m):
    x, y, z = seed_leaves(m)
    a = x + 2 * y
    a = a.detach()
    b = a + z / 2
    b.backward(m.ones_like(b))
    return {"a": a, "gradients": [x.grad, y.grad, z.grad]}


@program
def grad_of_a_result(m):
    x = m.tensor([1.0, 2.0], requires_grad=True)
    y = x * 2
    y.sum().backward()
    return {"warning": warned(lambda: y.grad), "of_leaf": warned(lambda: x.grad)}


@program
def used_twice(m):
    w, x = m.tensor(2.0, requires_grad=True), m.tensor(3.0)
    net = lambda value: w * value  # noqa: E731
    net(net(x)).backward()
    return {"gradient": w.grad}


@program
def diamond(m):
    x = m.tensor([0.5, -1.0], dtype=m.float64, requires_grad=True)
    a = x.sin()
    y = (a * a.exp() + a).sum()
    y.backward()
    return {"y": y, "gradient": x.grad, "graph": graph_of(y.grad_fn)}


@program
def only_some_inputs(m):
    x, y = m.tensor(2.0, requires_grad=True), m.tensor(3.0, requires_grad=True)
    (x * y).backward(inputs=[x])
    observed = {"x": x.grad.clone(), "y": y.grad}
    (x * y).backward(inputs=y)
    return {**observed, "x_after": x.grad, "y_after": y.grad}


@program
def inputs_may_be_results(m):
    x = m.tensor(2.0, requires_grad=True)
    y = x * 3
    y.retain_grad()
    (y * y).backward(inputs=[y])
    return {"x": x.grad, "y": y.grad}


@program
def inputs_that_are_empty(m):
    x = m.tensor(2.0, requires_grad=True)
    return {"error": error(lambda: (x * x).backward(inputs=[]))}


@program
def function_backward(m):
    x, y = m.tensor([1.0, 2.0], requires_grad=True), m.tensor([3.0, 4.0], requires_grad=True)
    m.autograd.backward([(x * y).sum(), x.sum()])
    observed = {"x": x.grad.clone(), "y": y.grad.clone()}
    m.autograd.backward((x * y, x * 2), (m.tensor([1.0, 10.0]), m.ones(2)))
    observed |= {"x_again": x.grad.clone(), "y_again": y.grad.clone()}
    m.autograd.backward([(x * x).sum(), y * 2], [None, m.ones(2)])
    return {**observed, "x_none": x.grad, "y_none": y.grad}


@program
def function_backward_errors(m):
    x = m.tensor([1.0, 2.0], requires_grad=True)
    return {
        "vector": error(lambda: m.autograd.backward(x * 2)),
        "count": error(lambda: m.autograd.backward([x * 2, x * 3], [m.ones(2)])),
        "second": error(lambda: m.autograd.backward([(x * 2).sum(), m.tensor(1.0)])),
    }


@program
def leaf_that_is_not_used(m):
    x, unused = m.tensor(2.0, requires_grad=True), m.tensor(3.0, requires_grad=True)
    (x * 2).backward()
    return {"used": x.grad, "unused": unused.grad}


@program
def zero_gradients(m):
    x = m.tensor([1.0, 2.0], requires_grad=True)
    (x * 0).sum().backward()
    return {"gradient": x.grad}


@program
def gradient_is_a_plain_leaf(m):
    x = m.tensor([1.0, 2.0], requires_grad=True)
    (x * x).sum().backward()
    first = x.grad
    (x * x).sum().backward()
    return {"gradient": first, "same_object": first is x.grad, "requires_grad": x.grad.requires_grad}


@program
def gradient_is_the_callers_own(m):
    """The gradient that was passed in must not be changed by accumulation."""
    x = m.tensor([1.0, 2.0], requires_grad=True)
    given = m.tensor([1.0, 1.0])
    y = x + 0
    y.backward(given, retain_graph=True)
    y.backward(given)
    return {"given": given, "gradient": x.grad}


@program
def two_leaves_of_one_addition_do_not_share(m):
    x, y = m.tensor([1.0], requires_grad=True), m.tensor([2.0], requires_grad=True)
    (x + y).backward()
    x.grad += 10
    return {"x": x.grad, "y": y.grad}


@program
def deep_chain(m):
    x = m.tensor(1.0, dtype=m.float64, requires_grad=True)
    y = x
    for _ in range(2000):
        y = y * 1.001
    y.backward()
    return {"y": y, "gradient": x.grad}


@program
def wide_sum(m):
    x = m.tensor([1.0, 2.0], requires_grad=True)
    total = m.zeros(2)
    for step in range(50):
        total = total + x * step
    total.sum().backward()
    return {"total": total, "gradient": x.grad}


@program
def retain_graph_keeps_values(m):
    x = m.tensor([0.5, 1.5], dtype=m.float64, requires_grad=True)
    y = (x.exp() * x.log()).sum()
    y.backward(retain_graph=True)
    first = x.grad.clone()
    x.grad = None
    y.backward()
    return {"first": first, "second": x.grad}


@program
def next_functions(m):
    x, y = m.tensor([1.0], requires_grad=True), m.tensor([2.0])
    z = x * y
    node = z.grad_fn
    return {
        "names": [name_of(parent) for parent, _ in node.next_functions],
        "numbers": [index for _, index in node.next_functions],
        "variable": node.next_functions[0][0].variable is x,
        "of_accumulate": [list(pair) for pair in node.next_functions[0][0].next_functions],
        "same": z.grad_fn is node,
        "leaf_node_shared": (x * 2).grad_fn.next_functions[0][0] is node.next_functions[0][0],
    }


@program
def losses_of_two_heads(m):
    x = m.tensor([1.0, 2.0, 3.0], dtype=m.float64, requires_grad=True)
    hidden = x.tanh()
    first, second = hidden.sum(), (hidden * hidden).sum()
    first.backward(retain_graph=True)
    partial = x.grad.clone()
    second.backward()
    return {"partial": partial, "gradient": x.grad}
