"""Gradients of gradients, gradient checks and `autograd.functional`."""

from .corpus import error, program, value_of


@program
def cube_twice(m):
    x = m.tensor([1.0, 2.0], requires_grad=True)
    (first,) = m.autograd.grad((x**3).sum(), x, create_graph=True)
    first.sum().backward()
    return {"first": value_of(first), "second": x.grad}


@program
def sine_four_times(m):
    x = m.tensor([0.3, -1.2], dtype=m.float64, requires_grad=True)
    observed, y = {}, x.sin()
    for order in range(1, 5):
        (y,) = m.autograd.grad(y.sum(), x, create_graph=True)
        observed[str(order)] = value_of(y)
    return observed


@program
def backward_with_create_graph(m):
    x = m.tensor([1.0, 2.0], dtype=m.float64, requires_grad=True)
    (x**3).sum().backward(create_graph=True)
    first = x.grad
    requires = first.requires_grad
    x.grad = None
    (first**2).sum().backward()
    return {"requires_grad": requires, "second": x.grad}


@program
def hessian_vector_product(m):
    x = m.tensor([1.0, 2.0, 3.0], dtype=m.float64, requires_grad=True)
    v = m.tensor([1.0, 0.0, -1.0], dtype=m.float64)
    loss = (x[0] * x[1] ** 2 * x[2]).exp().log() + (x**4).sum()
    (gradient,) = m.autograd.grad(loss, x, create_graph=True)
    return {"gradient": value_of(gradient), "product": m.autograd.grad(gradient, x, v)}


@program
def gradient_penalty(m):
    w = m.tensor([[0.5, -1.0], [2.0, 0.25]], dtype=m.float64, requires_grad=True)
    x = m.tensor([[1.0, 2.0], [-1.0, 0.5]], dtype=m.float64, requires_grad=True)
    score = m.tanh(x @ w).sum()
    (gradient,) = m.autograd.grad(score, x, create_graph=True)
    penalty = ((gradient.norm(dim=1) - 1) ** 2).mean()
    penalty.backward()
    return {"penalty": value_of(penalty), "w": w.grad, "x": x.grad}


@program
def mixed_second_derivatives(m):
    x = m.tensor(2.0, dtype=m.float64, requires_grad=True)
    y = m.tensor(3.0, dtype=m.float64, requires_grad=True)
    f = x**2 * y**3 + m.sin(x * y)
    fx, fy = m.autograd.grad(f, (x, y), create_graph=True)
    return {
        "of_x": m.autograd.grad(fx, (x, y), retain_graph=True),
        "of_y": m.autograd.grad(fy, (x, y)),
    }


@program
def second_order_of_many_functions(m):
    functions = {
        "exp": lambda x: x.exp(),
        "log": lambda x: x.log(),
        "sqrt": lambda x: x.sqrt(),
        "sigmoid": lambda x: x.sigmoid(),
        "tanh": lambda x: x.tanh(),
        "reciprocal": lambda x: 1 / x,
        "pow": lambda x: x**2.5,
        "rpow": lambda x: 2**x,
        "self_pow": lambda x: x**x,
        "softmax": lambda x: x.softmax(0),
        "log_softmax": lambda x: x.log_softmax(0),
        "logsumexp": lambda x: x.logsumexp(0),
        "prod": lambda x: x.prod(),
        "cumsum": lambda x: x.cumsum(0) ** 2,
        "norm": lambda x: x.norm(),
        "std": lambda x: x.std(),
        "var": lambda x: x.var(),
        "mean": lambda x: (x * x).mean(),
        "max": lambda x: x.max() ** 2,
        "matmul": lambda x: (x[:, None] @ x[None, :]).sin(),
        "atan2": lambda x: m.atan2(x, x.flip(0)),
        "erf": lambda x: m.erf(x),
        "clamp": lambda x: x.clamp(1.0, 2.0) ** 3,
        "relu": lambda x: (x - 1).relu() ** 2,
        "where": lambda x: m.where(x > 1, x**3, x**2),
        "gather": lambda x: x[m.tensor([0, 0, 2])] ** 2,
        "gelu": lambda x: m.nn.functional.gelu(x),
        "softplus": lambda x: m.nn.functional.softplus(x),
        "silu": lambda x: m.nn.functional.silu(x),
    }
    observed = {}
    for name, function in functions.items():
        x = m.tensor([0.75, 1.5, 3.0], dtype=m.float64, requires_grad=True)
        y = function(x)
        weights = m.arange(1.0, y.numel() + 1, dtype=m.float64).reshape(y.shape)
        (first,) = m.autograd.grad((y * weights).sum(), x, create_graph=True)
        observed[name] = m.autograd.grad((first * m.tensor([1.0, -2.0, 3.0])).sum(), x, allow_unused=True)
    return observed


@program
def second_order_by_grad_outputs(m):
    """Differentiating by the cotangent gives the Jacobian-vector product (the double-backward trick)."""
    x = m.tensor([1.0, 2.0], dtype=m.float64, requires_grad=True)
    u = m.ones(2, dtype=m.float64, requires_grad=True)
    (g,) = m.autograd.grad(x**3, x, u, create_graph=True)
    return {"jvp": m.autograd.grad(g, u, m.tensor([1.0, 10.0], dtype=m.float64))}


@program
def linear_function_twice(m):
    x = m.tensor([1.0, 2.0], requires_grad=True)
    (first,) = m.autograd.grad((x * 3).sum(), x, create_graph=True)
    return {"first": value_of(first.detach()), "requires_grad": first.requires_grad}


@program
def newton_steps(m):
    x = m.tensor(3.0, dtype=m.float64, requires_grad=True)
    observed = []
    for _ in range(5):
        loss = x**4 - 3 * x**2 + x
        (first,) = m.autograd.grad(loss, x, create_graph=True)
        (second,) = m.autograd.grad(first, x)
        with m.no_grad():
            x -= first / second
        observed.append(x.item())
    return {"steps": observed}


@program
def inner_loop(m):
    """Differentiate through a gradient step."""
    w = m.tensor([1.0, -1.0], dtype=m.float64, requires_grad=True)
    rate = m.tensor(0.1, dtype=m.float64, requires_grad=True)
    (gradient,) = m.autograd.grad((w**2).sum(), w, create_graph=True)
    stepped = w - rate * gradient
    (stepped**3).sum().backward()
    return {"w": w.grad, "rate": rate.grad}


@program
def gradcheck(m):
    x = m.tensor([0.5, -1.5], dtype=m.float64, requires_grad=True)
    y = m.tensor([2.0, 3.0], dtype=m.float64, requires_grad=True)
    return {
        "passes": m.autograd.gradcheck(lambda a, b: (a * b).sin() + a / b, (x, y)),
        "one_input": m.autograd.gradcheck(lambda a: a.exp(), x),
        "second": m.autograd.gradgradcheck(lambda a, b: (a * b).sin() + a / b, (x, y)),
        "fails": m.autograd.gradcheck(lambda a: a.detach() * a, x, raise_exception=False),
        "matrix": m.autograd.gradcheck(lambda a: a @ a.t(), m.ones(2, 3, dtype=m.float64).requires_grad_()),
        "several_outputs": m.autograd.gradcheck(lambda a: (a.sin(), a.cos()), x),
    }


@program
def gradcheck_errors(m):
    x = m.tensor([0.5], dtype=m.float64, requires_grad=True)
    return {
        "fails": error(lambda: m.autograd.gradcheck(lambda a: a.detach() * a, x)),
        "no_grad": error(lambda: m.autograd.gradcheck(lambda a: a * 2, m.tensor([1.0]))),
    }


def square_sum(m):
    return lambda x: (x**2).sum() + x[0] * x[1]


@program
def functional_jacobian(m):
    functional = m.autograd.functional
    x = m.tensor([1.0, 2.0], dtype=m.float64)
    y = m.tensor([3.0, 4.0], dtype=m.float64)
    return {
        "one": functional.jacobian(lambda a: a**2 * 3, x),
        "matrix": functional.jacobian(lambda a: a[:, None] * a, x),
        "two": functional.jacobian(lambda a, b: a * b, (x, y)),
        "scalar": functional.jacobian(lambda a: a.sum(), x),
        "outputs": functional.jacobian(lambda a: (a * 2, a.sum()), x),
        "vectorize": functional.jacobian(lambda a: a.exp(), x, vectorize=True),
        "create_graph": value_of(functional.jacobian(lambda a: a**3, x.clone().requires_grad_(), create_graph=True)),
    }


@program
def functional_hessian(m):
    functional = m.autograd.functional
    x = m.tensor([1.0, 2.0], dtype=m.float64)
    return {
        "one": functional.hessian(square_sum(m), x),
        "two": functional.hessian(lambda a, b: (a * b).sum() ** 2, (x, m.tensor([3.0, 4.0], dtype=m.float64))),
        "vector": error(lambda: functional.hessian(lambda a: a * 2, x)),
    }


@program
def functional_products(m):
    functional = m.autograd.functional
    x = m.tensor([1.0, 2.0], dtype=m.float64)
    v = m.tensor([1.0, -1.0], dtype=m.float64)
    return {
        "vjp": functional.vjp(lambda a: a**2, x, v),
        "vjp_scalar": functional.vjp(square_sum(m), x),
        "jvp": functional.jvp(lambda a: a**2, x, v),
        "hvp": functional.hvp(square_sum(m), x, v),
        "vhp": functional.vhp(square_sum(m), x, v),
        "vjp_two": functional.vjp(lambda a, b: a * b, (x, v), v),
        "jvp_two": functional.jvp(lambda a, b: a * b, (x, v), (v, x)),
        "missing": error(lambda: functional.vjp(lambda a: a**2, x)),
    }
