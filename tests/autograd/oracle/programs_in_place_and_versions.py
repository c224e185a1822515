"""In-place operators: what they do to leaves, to the graph, and to values that backward needs."""

from .corpus import error, graph_of, program


def leaf(m, *values):
    return m.tensor(list(values) or [1.0, 2.0], requires_grad=True)


@program
def versions(m):
    x = m.tensor([1.0, 2.0])
    observed = [x._version]
    x.add_(1)
    observed.append(x._version)
    x[0] = 5.0
    observed.append(x._version)
    x.data.mul_(2)
    observed.append(x._version)
    x.detach().mul_(2)
    observed.append(x._version)
    x.view(2, 1).zero_()
    observed.append(x._version)
    y = x.clone()
    observed.append(y._version)
    x += 1
    observed.append(x._version)
    return {"versions": observed, "x": x}


@program
def leaf_in_place(m):
    def change(function):
        x = leaf(m)
        return error(lambda: function(x))

    def subtract(x):
        x -= 1

    def assign(x):
        x[0] = 5.0

    return {
        "add_": change(lambda x: x.add_(1)),
        "zero_": change(lambda x: x.zero_()),
        "augmented": change(subtract),
        "item": change(assign),
        "copy_": change(lambda x: x.copy_(m.zeros(2))),
        "view": change(lambda x: x.view(2, 1).mul_(2)),
        "slice": change(lambda x: x[:1].zero_()),
    }


@program
def leaf_in_place_under_no_grad(m):
    w = leaf(m, 1.0, 2.0)
    (w * w).sum().backward()
    same = w
    with m.no_grad():
        w -= 0.1 * w.grad
    return {"w": w, "same": same is w, "version": w._version, "grad": w.grad}


@program
def leaf_through_data(m):
    w = leaf(m, 1.0, 2.0)
    (w * w).sum().backward()
    w.data -= 0.5 * w.grad
    w.grad.data.zero_()
    return {"w": w, "grad": w.grad, "version": w._version}


@program
def leaf_rebound(m):
    w = leaf(m, 1.0, 2.0)
    (w * w).sum().backward()
    w = w - 0.5 * w.grad
    return {"w": w}


@program
def result_in_place(m):
    x = leaf(m)
    y = x * 3
    y += 1
    y *= y.detach().clone()
    y.sum().backward()
    return {"y": y, "graph": graph_of(y.grad_fn), "gradient": x.grad}


@program
def result_times_itself_in_place(m):
    x = leaf(m)
    y = x * 3
    y *= y.detach()
    return {"error": error(lambda: y.sum().backward())}


@program
def plain_joins_the_graph(m):
    """An in-place operator with a tracked operand makes a plain tensor a result."""
    x = leaf(m)
    total = m.zeros(2)
    total += x * 2
    total.add_(x)
    total.sum().backward()
    return {"total": total, "gradient": x.grad, "graph": graph_of(total.grad_fn)}


@program
def saved_result_changed(m):
    x = leaf(m)
    y = x.exp()
    y.add_(1)
    return {"error": error(lambda: y.sum().backward())}


@program
def saved_input_changed(m):
    x = leaf(m)
    y = x * 2
    z = y**2
    y += 1
    return {"error": error(lambda: z.sum().backward())}


@program
def saved_by_product_changed(m):
    x, y = leaf(m), m.tensor([3.0, 4.0])
    z = x * y
    y.zero_()
    return {"error": error(lambda: z.sum().backward())}


@program
def saved_double_matrix_changed(m):
    x = m.ones(2, 3, dtype=m.float64, requires_grad=True)
    w = m.ones(3, 2, dtype=m.float64)
    z = x.mm(w)
    w[0, 0] = 5.0
    w += 1
    return {"error": error(lambda: z.sum().backward())}


@program
def saved_changed_through_a_view(m):
    x = leaf(m)
    y = x * 2
    z = y.sin()
    y[:1].zero_()
    return {"error": error(lambda: z.sum().backward())}


@program
def changed_where_nothing_is_saved(m):
    x = leaf(m)
    y = x * 2
    z = y + 1
    y += 5
    z.sum().backward()
    return {"gradient": x.grad, "z": z}


@program
def leaf_changed_after_use(m):
    w = leaf(m)
    y = (w * w).sum()
    with m.no_grad():
        w += 1
    return {"error": error(lambda: y.backward())}


@program
def data_change_is_not_noticed(m):
    x = leaf(m)
    y = (x**2).sum()
    x.data.mul_(10)
    y.backward()
    return {"gradient": x.grad}


@program
def value_recorded_before_the_change(m):
    """What was computed from the old values stays what it was."""
    x = m.tensor([1.0, 2.0])
    y = x * 10
    x += 1
    z = x * 10
    return {"y": y, "z": z}


@program
def in_place_chain(m):
    x = leaf(m, 0.5, -0.5)
    y = (x * 2).sin_().neg_().exp_()
    y.sum().backward()
    z = (x * 2).exp_().neg_()
    return {
        "saved_result": error(lambda: z.sum().backward()),
        "y": y,
        "gradient": x.grad,
        "graph": graph_of(y.grad_fn),
    }


@program
def in_place_of_shapes(m):
    x = m.zeros(2)
    return {
        "grows": error(lambda: x.add_(m.ones(3))),
        "broadcast_self": error(lambda: m.zeros(1).add_(m.ones(3))),
        "higher_rank": error(lambda: x.add_(m.ones(2, 2))),
        "broadcast_other": m.zeros(2, 2).add_(m.tensor([1.0, 2.0])),
    }


@program
def in_place_of_dtypes(m):
    return {
        "int_by_float": error(lambda: m.tensor([1, 2]).add_(0.5)),
        "int_div": error(lambda: m.tensor([1, 2]).div_(2)),
        "bool_by_int": error(lambda: m.tensor([True]).add_(1)),
        "float_by_int": m.tensor([1.0, 2.0]).add_(m.tensor([1, 2])),
        "float_by_double": m.tensor([1.0, 2.0]).mul_(m.tensor([1.5, 2.0], dtype=m.float64)),
    }


@program
def copy_in_place(m):
    x = leaf(m)
    y = m.zeros(2)
    y.copy_(x * 3)
    y.sum().backward()
    return {"y": y, "gradient": x.grad}


@program
def fill_stops_the_gradient(m):
    x = leaf(m)
    y = x * 2
    y.fill_(7.0)
    y.sum().backward()
    return {"y": y, "gradient": x.grad}


@program
def masked_fill_in_place(m):
    x = leaf(m, 1.0, -2.0, 3.0)
    y = x * 2
    y.masked_fill_(y < 0, 0.0)
    (y * y).sum().backward()
    return {"gradient": x.grad}


@program
def requires_grad_of_results(m):
    x = leaf(m)
    y = x * 2

    def off():
        y.requires_grad = False

    return {"attribute": error(off), "method": error(lambda: y.requires_grad_(False)), "on": y.requires_grad_() is y}


@program
def zero_grad_patterns(m):
    x = leaf(m)
    before = error(lambda: x.grad.zero_())
    (x * x).sum().backward()
    kept = x.grad
    x.grad.zero_()
    (x * x).sum().backward()
    return {"before": before, "gradient": x.grad, "same": kept is x.grad}


@program
def accumulation_into_the_same_buffer(m):
    x = leaf(m)
    (x * x).sum().backward()
    buffer = x.grad
    pointer = buffer.data_ptr()
    (x * x).sum().backward()
    return {"buffer": buffer, "same_storage": x.grad.data_ptr() == pointer}


@program
def swap_through_copy(m):
    with m.no_grad():
        a, b = m.tensor([1.0]), m.tensor([2.0])
        t = a.clone()
        a.copy_(b)
        b.copy_(t)
    return {"a": a, "b": b}
