"""`no_grad`, `enable_grad`, `set_grad_enabled`, `inference_mode`: as contexts and as decorators."""

from .corpus import error, program


def leaf(m):
    return m.tensor([1.0, 2.0], requires_grad=True)


@program
def no_grad(m):
    x = leaf(m)
    with m.no_grad():
        z = x**2
        inside = m.is_grad_enabled()
    return {"z": z, "inside": inside, "after": m.is_grad_enabled(), "x": x, "outside": x**2}


@program
def no_grad_decorator(m):
    @m.no_grad()
    def square(value):
        """Square."""
        return value**2

    return {"z": square(leaf(m)), "name": square.__name__, "doc": square.__doc__, "after": m.is_grad_enabled()}


@program
def no_grad_decorator_without_call(m):
    @m.no_grad
    def square(value):
        return value**2

    return {"z": square(leaf(m))}


@program
def enable_grad(m):
    x = leaf(m)
    with m.no_grad():
        outer = x * 2
        with m.enable_grad():
            inner = x * 2
        again = x * 2

    @m.enable_grad()
    def triple(value):
        return value * 3

    with m.no_grad():
        decorated = triple(x)
    return {"outer": outer, "inner": inner, "again": again, "decorated": decorated}


@program
def set_grad_enabled(m):
    x = leaf(m)
    with m.set_grad_enabled(False):
        off = x * 2
        with m.set_grad_enabled(True):
            on = x * 2
    m.set_grad_enabled(False)
    try:
        function = x * 2
    finally:
        m.set_grad_enabled(True)

    @m.set_grad_enabled(False)
    def triple(value):
        return value * 3

    return {"off": off, "on": on, "function": function, "decorated": triple(x), "after": m.is_grad_enabled()}


@program
def mode_ends_with_an_exception(m):
    def fail():
        with m.no_grad():
            raise ValueError("inside")

    return {"error": error(fail), "after": m.is_grad_enabled()}


@program
def no_grad_in_autograd_module(m):
    with m.autograd.no_grad():
        z = leaf(m) * 2
    with m.autograd.set_grad_enabled(True):
        y = leaf(m) * 2
    return {"z": z, "y": y}


@program
def leaves_made_under_no_grad(m):
    with m.no_grad():
        x = m.tensor([1.0], requires_grad=True)
        y = m.ones(2).requires_grad_()
    return {"x": x, "y": y, "result": x * 2}


@program
def generator_under_no_grad(m):
    @m.no_grad()
    def values(x):
        yield x * 2
        yield x * 3

    observed = []
    for value in values(leaf(m)):
        observed.append([value.requires_grad, m.is_grad_enabled()])
    return {"observed": observed}


@program
def constants_from_no_grad_join_a_graph(m):
    x = leaf(m)
    with m.no_grad():
        scale = x.sum()
    y = (x * scale).sum()
    y.backward()
    return {"y": y, "gradient": x.grad}


@program
def inference_mode(m):
    x = leaf(m)
    with m.inference_mode():
        z = x * 2
        inside = [m.is_grad_enabled(), m.is_inference_mode_enabled(), z.is_inference()]
    return {"z": z, "inside": inside, "x": x.is_inference(), "after": m.is_inference_mode_enabled()}


@program
def inference_mode_decorator(m):
    @m.inference_mode()
    def double(value):
        return value * 2

    return {"z": double(leaf(m)), "is_inference": double(leaf(m)).is_inference()}


@program
def inference_mode_switched_off(m):
    x = leaf(m)
    with m.inference_mode():
        with m.inference_mode(False):
            y = x * 2
        z = x * 2
    return {"y": y, "z": z}


@program
def inference_tensor_in_a_graph(m):
    x = leaf(m)
    with m.inference_mode():
        constant = m.tensor([3.0, 4.0])
    y = (x * constant.clone()).sum()
    y.backward()
    return {
        "saved": error(lambda: x * constant),
        "added": x + constant,
        "requires_grad": error(lambda: constant.requires_grad_()),
        "in_place": error(lambda: constant.add_(1)),
        "gradient": x.grad,
        "version": error(lambda: constant._version),
    }


@program
def detach_cuts(m):
    x = leaf(m)
    y = x * 3
    z = y.detach()
    (y * z).sum().backward()
    return {"z": z, "same_storage": z.data_ptr() == y.data_ptr(), "gradient": x.grad}


@program
def detach_in_place(m):
    x = leaf(m)
    y = x * 3
    returned = y.detach_()
    return {"y": y, "same": returned is y, "x": x}


@program
def frozen_part(m):
    w1, w2 = m.tensor(2.0, requires_grad=True), m.tensor(5.0, requires_grad=True)
    w1.requires_grad_(False)
    (w2 * (w1 * 3.0)).backward()
    return {"w1": w1.grad, "w2": w2.grad}


@program
def backward_under_no_grad(m):
    x = leaf(m)
    y = (x * x).sum()
    with m.no_grad():
        y.backward()
    return {"gradient": x.grad}


@program
def backward_runs_without_recording(m):
    seen = []
    x = leaf(m)
    y = x * 2
    y.register_hook(lambda gradient: seen.append([m.is_grad_enabled(), gradient.requires_grad]))
    y.sum().backward(retain_graph=True)
    y.sum().backward(create_graph=True)
    return {"seen": seen}
