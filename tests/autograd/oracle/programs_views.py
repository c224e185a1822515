"""Views share storage; gradients and in-place changes go through them."""

from .corpus import differentiated, error, graph_of, program, value_of


@program
def views_share_storage(m):
    x = m.arange(6.0).reshape(2, 3)
    made = {
        "view": x.view(3, 2), "reshape": x.reshape(6), "t": x.t(), "slice": x[:, 1:], "row": x[0],
        "flatten": x.flatten(), "transpose": x.transpose(0, 1), "unsqueeze": x.unsqueeze(0),
        "expand": x.unsqueeze(0).expand(2, 2, 3), "narrow": x.narrow(1, 0, 2),
        "select": x.select(0, 0), "detach": x.detach(), "diagonal": x.diagonal(),
    }  # fmt: skip
    x += 10
    return {**made, "copies": [x.clone().data_ptr() == x.data_ptr(), x.t().reshape(6).data_ptr() == x.data_ptr()]}


@program
def write_through_a_view(m):
    x = m.zeros(2, 3)
    x[0].fill_(1)
    x[:, 2] = 5
    x.t()[1, 1] = 7
    x.view(-1)[5] += 2
    return {"x": x}


@program
def write_through_a_view_of_a_result(m):
    x = m.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = x * 2
    y[1:] *= 10
    y[0] = 0.0
    (y * y.detach()).sum().backward()
    return {"y": y, "gradient": x.grad}


@program
def view_reads_later_writes_of_its_base(m):
    x = m.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = x * 2
    view = y[:2]
    y.mul_(3)
    view.sum().backward()
    return {"view": value_of(view), "gradient": x.grad}


@program
def base_reads_writes_of_its_view(m):
    x = m.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    y = x * 1
    row = y[0]
    row.mul_(5)
    y.sum().backward()
    return {"y_value": y.detach(), "gradient": x.grad}


@program
def tracked_values_written_into_a_plain_tensor(m):
    x = m.tensor([1.0, 2.0], requires_grad=True)
    out = m.zeros(2, 2)
    out[0] = x
    out[1] = x * x
    (out * m.tensor([[1.0, 2.0], [3.0, 4.0]])).sum().backward()
    return {"out": out.detach(), "requires_grad": out.requires_grad, "gradient": x.grad}


@program
def overwritten_part_gets_no_gradient(m):
    x = m.tensor([1.0, 2.0, 3.0], requires_grad=True)
    w = m.tensor(5.0, requires_grad=True)
    y = x * 2
    y[1] = w
    (y * m.tensor([1.0, 10.0, 100.0])).sum().backward()
    return {"x": x.grad, "w": w.grad}


@program
def base_of_views(m):
    x = m.zeros(2, 3)
    view = x.view(6)
    return {
        "is_view": [view._is_view(), x._is_view()],
        "base": view._base is x,
        "of_view": view[:2]._base is x,
        "plain": x._base,
    }


@program
def view_of_leaf_in_place(m):
    x = m.ones(2, 2, requires_grad=True)
    return {
        "view": error(lambda: x.view(4).add_(1)),
        "row": error(lambda: x[0].zero_()),
        "t": error(lambda: x.t().mul_(2)),
    }


@program
def view_of_leaf_under_no_grad(m):
    x = m.ones(2, 2, requires_grad=True)
    with m.no_grad():
        x[0].zero_()
        x.view(-1)[3] = 9
    return {"x": x}


@program
def view_sizes(m):
    x = m.arange(6)
    return {
        "inferred": x.view(2, -1),
        "tuple": x.view((3, 2)),
        "wrong": error(lambda: x.view(4, 2)),
        "two_inferred": error(lambda: x.view(-1, -1)),
        "reshape_wrong": error(lambda: x.reshape(4)),
        "not_divisible": error(lambda: x.view(4, -1)),
        "of_transposed": error(lambda: x.view(2, 3).t().view(6)),
        "transposed_reshape": x.view(2, 3).t().reshape(6),
        "view_as": x.view_as(m.zeros(3, 2)),
        "reshape_as": x.reshape_as(m.zeros(2, 3)),
    }


@program
def chain_of_views(m):
    def function(x):
        return x.view(3, 2).t()[1:].unsqueeze(0).flatten() * 1

    return differentiated(m, function, [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])


@program
def graph_of_views(m):
    x = m.arange(6.0, requires_grad=True)
    return {
        "view": graph_of(x.view(2, 3).grad_fn),
        "reshape": graph_of(x.reshape(2, 3).grad_fn),
        "t": graph_of(x.view(2, 3).t().grad_fn),
        "T": graph_of(x.view(2, 3).T.grad_fn),
        "mT": graph_of(x.view(2, 3).mT.grad_fn),
        "row": graph_of(x.view(2, 3)[0].grad_fn),
        "flatten": graph_of(x.view(2, 3).flatten().grad_fn),
        "copying_reshape": graph_of(x.view(2, 3).t().reshape(6).grad_fn),
        "slices": graph_of(x[1:4:2].grad_fn),
    }


@program
def expanded_in_place(m):
    x = m.zeros(1).expand(3)
    return {"error": error(lambda: x.add_(1))}


@program
def detached_view_shares_and_counts(m):
    x = m.tensor([1.0, 2.0], requires_grad=True)
    y = x * 2
    detached = y.detach()
    z = y * y
    detached.zero_()
    return {"y": y, "error": error(lambda: z.sum().backward())}


@program
def numpy_of_a_view_shares(m):
    x = m.zeros(2, 3)
    x.t().numpy()[2, 1] = 4.0
    x[0].numpy()[0] = 3.0
    return {"x": x, "strides": list(x.t().numpy().strides)}
