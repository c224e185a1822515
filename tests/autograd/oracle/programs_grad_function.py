"""`autograd.grad`: a tuple of gradients, nothing left in `.grad`."""

from .corpus import error, program, value_of


@program
def of_a_polynomial(m):
    x = m.tensor([2.0], requires_grad=True)
    y = x**2 + 3 * x + 1
    result = m.autograd.grad(y, x)
    return {"y": y, "result": result, "type": type(result).__name__, "repr": repr(result), "grad": x.grad}


@program
def of_several_inputs(m):
    x, y = m.tensor(2.0, requires_grad=True), m.tensor(3.0, requires_grad=True)
    return {
        "list": m.autograd.grad(x * x * y, [x, y]),
        "tuple": m.autograd.grad(x * y, (y, x)),
        "repeated": m.autograd.grad(x * y, (x, x)),
        "left": [x.grad, y.grad],
    }


@program
def of_several_outputs(m):
    x = m.tensor([2.0], requires_grad=True)
    return {"sum": m.autograd.grad([x**2, x**3], [x])}


@program
def with_grad_outputs(m):
    x = m.tensor([1.0, 2.0], requires_grad=True)
    return {
        "one": m.autograd.grad(x**2, x, m.tensor([1.0, 10.0])),
        "keyword": m.autograd.grad(x**2, x, grad_outputs=m.ones(2)),
        "list": m.autograd.grad([x**2, x * 3], [x], grad_outputs=[m.ones(2), m.tensor([0.0, 5.0])]),
        "none_for_scalar": m.autograd.grad([(x**2).sum(), x * 3], x, grad_outputs=[None, m.ones(2)]),
        "shape": error(lambda: m.autograd.grad(x**2, x, m.ones(3))),
        "missing": error(lambda: m.autograd.grad(x**2, x)),
    }


@program
def unused_input(m):
    x, y = m.tensor(2.0, requires_grad=True), m.tensor(3.0, requires_grad=True)
    return {
        "error": error(lambda: m.autograd.grad(x * 2, y)),
        "second": error(lambda: m.autograd.grad(x * 2, [x, y])),
        "allowed": m.autograd.grad(x * 2, y, allow_unused=True),
        "mixed": m.autograd.grad(x * 2, [y, x], allow_unused=True),
        "zeros": m.autograd.grad(x * 2, [y, x], materialize_grads=True),
    }


@program
def input_without_grad(m):
    x, plain = m.tensor(2.0, requires_grad=True), m.tensor(3.0)
    return {
        "input": error(lambda: m.autograd.grad(x * plain, plain)),
        "output": error(lambda: m.autograd.grad(plain * 2, x)),
    }


@program
def of_a_function_object(m):
    x = m.tensor(2.0, requires_grad=True)

    def f(value):
        return value * 2

    return {"error": error(lambda: m.autograd.grad(f, x))}


@program
def by_an_intermediate(m):
    x = m.tensor([1.0, 2.0], requires_grad=True)
    y = x * 3
    z = (y * y).sum()
    return {"both": m.autograd.grad(z, [x, y], retain_graph=True), "by_itself": m.autograd.grad(z, z)}


@program
def by_the_output_itself(m):
    x = m.tensor(3.0, requires_grad=True)
    return {"leaf": m.autograd.grad(x, x)}


@program
def frees_the_graph(m):
    x = m.tensor([1.0, 2.0], requires_grad=True)
    y = (x**2).sum()
    m.autograd.grad(y, x)
    return {"again": error(lambda: m.autograd.grad(y, x)), "backward": error(lambda: y.backward())}


@program
def retain_graph(m):
    x = m.tensor([1.0, 2.0], requires_grad=True)
    y = (x**2).sum()
    return {"first": m.autograd.grad(y, x, retain_graph=True), "second": m.autograd.grad(y, x)}


@program
def only_needed_parts_run(m):
    """A hook on a leaf that was not asked for is not called."""
    calls = []
    x, y = m.tensor(2.0, requires_grad=True), m.tensor(3.0, requires_grad=True)
    y.register_hook(lambda gradient: calls.append("y"))
    m.autograd.grad(x * y, x)
    return {"calls": calls}


@program
def create_graph(m):
    x = m.tensor([1.0, 2.0], requires_grad=True)
    (first,) = m.autograd.grad((x**3).sum(), x, create_graph=True)
    (second,) = m.autograd.grad(first.sum(), x)
    return {"first": value_of(first), "second": second}


@program
def without_create_graph(m):
    x = m.tensor([1.0, 2.0], requires_grad=True)
    (first,) = m.autograd.grad((x**3).sum(), x)
    return {"first": first, "error": error(lambda: m.autograd.grad(first.sum(), x))}


@program
def of_a_view_input(m):
    x = m.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    row = x[0]
    return {"row": m.autograd.grad((row * row).sum(), row), "unused": error(lambda: m.autograd.grad(x.sum(), row))}


@program
def batched(m):
    x = m.tensor([1.0, 2.0, 3.0], requires_grad=True)
    return {"jacobian": m.autograd.grad(x**2, x, m.eye(3), is_grads_batched=True)}


@program
def of_nothing(m):
    x = m.tensor(2.0, requires_grad=True)
    return {"empty_inputs": error(lambda: m.autograd.grad(x * 2, []))}
