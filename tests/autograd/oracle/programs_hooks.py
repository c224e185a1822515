"""Hooks on tensors and on nodes; `retain_grad`."""

from .corpus import error, name_of, program, value_of


@program
def hook_sees_the_gradient(m):
    seen = []
    x = m.tensor([1.0, 2.0], requires_grad=True)
    y = x * 3
    y.register_hook(lambda gradient: seen.append(gradient.clone()))
    (y * y).sum().backward()
    return {"seen": seen, "gradient": x.grad}


@program
def hook_replaces_the_gradient(m):
    x = m.tensor([1.0, 2.0], requires_grad=True)
    y = x * 3
    y.register_hook(lambda gradient: gradient * 10)
    y.sum().backward()
    return {"gradient": x.grad}


@program
def hook_on_a_leaf(m):
    seen = []
    x = m.tensor([1.0, 2.0], requires_grad=True)
    x.register_hook(lambda gradient: seen.append(gradient.clone()) or gradient + 1)
    (x * x + x).sum().backward()
    return {"seen": seen, "gradient": x.grad}


@program
def hooks_run_in_order(m):
    calls = []
    x = m.tensor([1.0], requires_grad=True)

    def hook(name, factor):
        def run(gradient):
            calls.append([name, gradient.item()])
            return gradient * factor

        return run

    x.register_hook(hook("first", 2))
    x.register_hook(hook("second", 5))
    (x * 3).sum().backward()
    return {"calls": calls, "gradient": x.grad}


@program
def hook_removed(m):
    x = m.tensor([1.0], requires_grad=True)
    handle = x.register_hook(lambda gradient: gradient * 100)
    (x * 2).sum().backward()
    first = x.grad.clone()
    handle.remove()
    handle.remove()
    x.grad = None
    (x * 2).sum().backward()
    return {"with": first, "without": x.grad}


@program
def hook_handle_as_context(m):
    x = m.tensor([1.0], requires_grad=True)
    with x.register_hook(lambda gradient: gradient * 100):
        (x * 2).sum().backward()
    (x * 2).sum().backward()
    return {"gradient": x.grad}


@program
def hook_runs_once_per_backward(m):
    """A leaf used twice calls its hook once, with the sum."""
    seen = []
    x = m.tensor([1.0, 2.0], requires_grad=True)
    x.register_hook(lambda gradient: seen.append(gradient.clone()))
    y = x * 2 + x * 3
    y.sum().backward()
    return {"seen": seen}


@program
def hook_on_an_intermediate_gets_the_sum(m):
    seen = []
    x = m.tensor([1.0, 2.0], requires_grad=True)
    y = x * 2
    y.register_hook(lambda gradient: seen.append(gradient.clone()))
    (y.sum() + (y * y).sum()).backward()
    return {"seen": seen, "gradient": x.grad}


@program
def hook_that_raises(m):
    x = m.tensor([1.0], requires_grad=True)

    def hook(gradient):
        raise ValueError("from the hook")

    x.register_hook(hook)
    return {"error": error(lambda: (x * 2).sum().backward())}


@program
def hook_on_a_tensor_without_grad(m):
    return {"error": error(lambda: m.tensor([1.0]).register_hook(lambda gradient: None))}


@program
def hook_in_autograd_grad(m):
    seen = []
    x = m.tensor([1.0, 2.0], requires_grad=True)
    y = x * 2
    y.register_hook(lambda gradient: seen.append(gradient.clone()) or gradient * 2)
    return {"result": m.autograd.grad((y * y).sum(), x), "seen": seen, "left": x.grad}


@program
def hook_on_the_root(m):
    x = m.tensor([1.0, 2.0], requires_grad=True)
    loss = (x * x).sum()
    loss.register_hook(lambda gradient: gradient * 3)
    loss.backward()
    return {"gradient": x.grad}


@program
def hook_with_create_graph(m):
    x = m.tensor([1.0, 2.0], requires_grad=True)
    y = x * x
    y.register_hook(lambda gradient: gradient * 2)
    (first,) = m.autograd.grad((y * x).sum(), x, create_graph=True)
    (second,) = m.autograd.grad(first.sum(), x)
    return {"first": value_of(first), "second": second}


@program
def retain_grad(m):
    x = m.tensor([1.0, 2.0], requires_grad=True)
    y = x * 3
    y.retain_grad()
    y.retain_grad()
    z = y * y
    z.sum().backward()
    return {"y": y.grad, "x": x.grad, "flags": [y.retains_grad, z.retains_grad, x.retains_grad]}


@program
def retain_grad_accumulates(m):
    x = m.tensor([1.0, 2.0], requires_grad=True)
    y = x * 3
    y.retain_grad()
    y.sum().backward(retain_graph=True)
    y.sum().backward()
    return {"y": y.grad, "x": x.grad}


@program
def retain_grad_of_a_leaf(m):
    x = m.tensor([1.0], requires_grad=True)
    x.retain_grad()
    (x * 2).sum().backward()
    return {"gradient": x.grad, "retains": x.retains_grad, "plain": error(lambda: m.tensor([1.0]).retain_grad())}


@program
def retain_grad_after_hook(m):
    x = m.tensor([1.0], requires_grad=True)
    y = x * 3
    y.register_hook(lambda gradient: gradient * 2)
    y.retain_grad()
    y.sum().backward()
    return {"y": y.grad, "x": x.grad}


@program
def node_hook(m):
    seen = []
    x = m.tensor([1.0, 2.0], requires_grad=True)
    y = x * 3
    handle = y.grad_fn.register_hook(lambda inputs, outputs: seen.append([*inputs[:1], *outputs]))
    y.sum().backward(retain_graph=True)
    handle.remove()
    y.sum().backward()
    return {"seen": seen, "gradient": x.grad}


@program
def node_hook_replaces(m):
    x, y = m.tensor([1.0], requires_grad=True), m.tensor([2.0], requires_grad=True)
    z = x * y
    z.grad_fn.register_hook(lambda inputs, outputs: (inputs[0] * 10, None))
    z.sum().backward()
    return {"x": x.grad, "y": y.grad}


@program
def node_pre_hook(m):
    x = m.tensor([1.0, 2.0], requires_grad=True)
    y = x * 3
    y.grad_fn.register_prehook(lambda outputs: (outputs[0] * 7,))
    y.sum().backward()
    return {"gradient": x.grad}


@program
def post_accumulate_hook(m):
    seen = []
    x = m.tensor([1.0, 2.0], requires_grad=True)
    handle = x.register_post_accumulate_grad_hook(lambda leaf: seen.append([leaf is x, leaf.grad.clone()]))
    (x * 2).sum().backward()
    (x * 2).sum().backward()
    handle.remove()
    (x * 2).sum().backward()
    y = x * 2
    result = error(lambda: y.register_post_accumulate_grad_hook(lambda leaf: None))
    return {"seen": seen, "gradient": x.grad, "result": result}


@program
def gradient_clipping_by_hook(m):
    x = m.tensor([1.0, 2.0, -30.0], requires_grad=True)
    x.register_hook(lambda gradient: gradient.clamp(-4.0, 4.0))
    (x * x).sum().backward()
    return {"gradient": x.grad}


@program
def accumulate_node(m):
    x = m.tensor([1.0], requires_grad=True)
    node = (x * 2).grad_fn.next_functions[0][0]
    calls = []
    node.register_hook(lambda inputs, outputs: calls.append(outputs[0].clone()))
    (x * 2).sum().backward()
    return {"name": name_of(node), "calls": calls, "variable": node.variable is x}
