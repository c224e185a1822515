"""What goes wrong, and in which words: the likely mistakes of users."""

from .corpus import error, program, warned


@program
def shapes_of_operators(m):
    a, b, c = m.ones(2), m.ones(3), m.ones(2, 3)
    return {
        "add": error(lambda: a + b),
        "sub": error(lambda: a - b),
        "mul": error(lambda: c * a),
        "div": error(lambda: c / m.ones(3, 3)),
        "pow": error(lambda: a**b),
        "compare": error(lambda: a < b),
        "maximum": error(lambda: m.maximum(a, b)),
        "where": error(lambda: m.where(m.tensor([True, False]), a, b)),
        "equal": error(lambda: a == b),
        "in_place": error(lambda: m.ones(2).add_(b)),
        "deep": error(lambda: m.ones(2, 3, 4) + m.ones(2, 1, 5)),
    }


@program
def shapes_of_products(m):
    a, b = m.ones(2, 3), m.ones(2, 3)
    return {
        "mm": error(lambda: a.mm(b)),
        "operator": error(lambda: a @ b),
        "mm_of_vector": error(lambda: m.mm(a, m.ones(3))),
        "mm_of_batch": error(lambda: m.mm(m.ones(1, 2, 3), b)),
        "matrix_vector": error(lambda: a @ m.ones(2)),
        "mv": error(lambda: m.mv(a, m.ones(2))),
        "dot": error(lambda: m.dot(m.ones(2), m.ones(3))),
        "dot_of_matrix": error(lambda: m.dot(a, b)),
        "vector_vector": error(lambda: m.ones(2) @ m.ones(3)),
        "bmm": error(lambda: m.bmm(m.ones(2, 2, 3), m.ones(2, 2, 3))),
        "bmm_of_matrix": error(lambda: m.bmm(a, b)),
        "batch": error(lambda: m.ones(2, 2, 3) @ m.ones(3, 3, 2)),
        "scalar": error(lambda: m.tensor(1.0) @ m.tensor(2.0)),
        "number": error(lambda: a @ 2.0),
        "t_of_cube": error(lambda: m.ones(1, 2, 3).t()),
        "addmm": error(lambda: m.addmm(m.ones(3, 3), a, m.ones(3, 2))),
        "outer": error(lambda: m.outer(a, m.ones(2))),
    }


@program
def dtypes_of_products(m):
    single, double = m.ones(2, 2), m.ones(2, 2, dtype=m.float64)
    return {
        "mm": error(lambda: single.mm(double)),
        "matmul": error(lambda: single @ double),
        "with_int": error(lambda: single @ m.ones(2, 2, dtype=m.int64)),
        "dot": error(lambda: m.dot(m.ones(2), m.ones(2, dtype=m.float64))),
        "mv": error(lambda: m.mv(single, m.ones(2, dtype=m.float64))),
        "bmm": error(lambda: m.bmm(m.ones(1, 2, 2), m.ones(1, 2, 2, dtype=m.float64))),
        "linear": error(lambda: m.nn.functional.linear(single, double)),
    }


@program
def shapes_of_moves(m):
    x = m.ones(2, 3)
    return {
        "view": error(lambda: x.view(4, 2)),
        "reshape": error(lambda: x.reshape(5)),
        "cat": error(lambda: m.cat([x, m.ones(2, 2)])),
        "cat_rank": error(lambda: m.cat([x, m.ones(3)])),
        "cat_nothing": error(lambda: m.cat([])),
        "cat_scalars": error(lambda: m.cat([m.tensor(1.0), m.tensor(2.0)])),
        "stack": error(lambda: m.stack([m.ones(2), m.ones(3)])),
        "stack_nothing": error(lambda: m.stack([])),
        "expand": error(lambda: x.expand(2, 4)),
        "expand_rank": error(lambda: x.expand(3)),
        "permute_repeated": error(lambda: x.permute(0, 0)),
        "split": error(lambda: x.split([1, 1], dim=1)),
        "narrow": error(lambda: x.narrow(1, 2, 2)),
        "repeat": error(lambda: x.repeat(2)),
        "unflatten": error(lambda: x.unflatten(1, (2, 2))),
        "broadcast_to": error(lambda: m.broadcast_to(x, (2, 2))),
        "view_of_transposed": error(lambda: x.t().view(6)),
        "masked_select": error(lambda: x.masked_select(m.tensor([True, False]))),
    }


@program
def dims_out_of_range(m):
    x = m.ones(2, 3)
    return {
        "sum": error(lambda: x.sum(2)),
        "mean": error(lambda: x.mean(-3)),
        "max": error(lambda: x.max(5)),
        "softmax": error(lambda: x.softmax(2)),
        "size": error(lambda: x.size(2)),
        "shape": error(lambda: x.shape[2]),
        "transpose": error(lambda: x.transpose(0, 2)),
        "unsqueeze": error(lambda: x.unsqueeze(4)),
        "cat": error(lambda: m.cat([x, x], dim=2)),
        "stack": error(lambda: m.stack([x], dim=4)),
        "select": error(lambda: x.select(2, 0)),
        "cumsum": error(lambda: x.cumsum(2)),
        "flip": error(lambda: x.flip(2)),
        "permute": error(lambda: x.permute(0, 2)),
        "squeeze": error(lambda: x.squeeze(3)),
        "repeated": error(lambda: x.sum((0, 0))),
    }


@program
def indices(m):
    x = m.ones(2, 3)

    def assign(index, value):
        def run():
            x[index] = value

        return error(run)

    return {
        "row": error(lambda: x[2]),
        "negative": error(lambda: x[-3]),
        "column": error(lambda: x[0, 3]),
        "too_many": error(lambda: x[0, 0, 0]),
        "of_scalar": error(lambda: m.tensor(1.0)[0]),
        "tensor": error(lambda: x[m.tensor([0, 2])]),
        "float_tensor": error(lambda: x[m.tensor([0.5])]),
        "mask_shape": error(lambda: x[m.tensor([True, False, True])]),
        "pair": error(lambda: x[m.tensor([0, 1]), m.tensor([0, 1, 2])]),
        "negative_step": error(lambda: x[::-1]),
        "assign_row": assign(5, 1.0),
        "assign_shape": assign(0, m.ones(2)),
        "select": error(lambda: x.select(0, 7)),
        "index_select": error(lambda: x.index_select(0, m.tensor([4]))),
        "gather_dtype": error(lambda: x.gather(0, m.tensor([[0.0]]))),
        "gather_range": error(lambda: x.gather(0, m.tensor([[7]]))),
        "gather_rank": error(lambda: x.gather(0, m.tensor([0]))),
    }


@program
def conversions(m):
    leaf = m.tensor([1.0, 2.0], requires_grad=True)
    return {
        "item": error(lambda: leaf.item()),
        "item_of_empty": error(lambda: m.tensor([]).item()),
        "float": error(lambda: float(leaf)),
        "int": error(lambda: int(m.tensor([1, 2]))),
        "bool": error(lambda: bool(leaf)),
        "if": error(lambda: 1 if leaf > 0 else 2),
        "bool_of_empty": error(lambda: bool(m.tensor([]))),
        "and": error(lambda: leaf and leaf),
        "numpy": error(lambda: leaf.numpy()),
        "numpy_of_result": error(lambda: (leaf * 2).numpy()),
        "iterate_scalar": error(lambda: list(m.tensor(1.0))),
        "len_of_scalar": error(lambda: len(m.tensor(1.0))),
        "index": error(lambda: [1, 2][m.tensor(1.0)]),
        "range": error(lambda: range(m.tensor(2.5))),
    }


@program
def constructions(m):
    return {
        "ragged": error(lambda: m.tensor([[1, 2], [3]])),
        "text": error(lambda: m.tensor("abc")),
        "none": error(lambda: m.tensor(None)),
        "from_list": error(lambda: m.from_numpy([1.0])),
        "int_requires_grad": error(lambda: m.tensor([1, 2], requires_grad=True)),
        "int_requires_grad_later": error(lambda: m.tensor([1, 2]).requires_grad_()),
        "ones_int": error(lambda: m.ones(2, dtype=m.int64, requires_grad=True)),
        "negative_size": error(lambda: m.zeros(-1)),
        "arange_step": error(lambda: m.arange(0, 5, -1)),
        "arange_zero": error(lambda: m.arange(0, 5, 0)),
        "bool_requires_grad": error(lambda: m.tensor([True]).requires_grad_()),
    }


@program
def setting_grad(m):
    def attempt(value):
        x = m.tensor([1.0, 2.0], requires_grad=True)

        def run():
            x.grad = value

        return error(run)

    return {
        "size": attempt(m.ones(3)),
        "type": attempt(1.0),
        "dtype": attempt(m.ones(2, dtype=m.float64)),
        "none": attempt(None),
    }


@program
def setting_requires_grad(m):
    x = m.tensor([1.0], requires_grad=True)

    def off():
        (x * 2).requires_grad = False

    def int_on():
        m.tensor([1]).requires_grad = True

    return {"result": error(off), "int": error(int_on), "retain": error(lambda: m.tensor([1.0]).retain_grad())}


@program
def setting_data(m):
    x = m.tensor([1.0], requires_grad=True)

    def number():
        x.data = 1.0

    def ints():
        x.data = m.tensor([1])

    return {"number": error(number), "ints": error(ints)}


@program
def operands(m):
    x = m.ones(2)
    return {
        "text": error(lambda: x + "a"),
        "none": error(lambda: x + None),
        "none_left": error(lambda: None + x),
        "order": error(lambda: x < None),
        "attribute": error(lambda: x.no_such_method()),
        "module": error(lambda: m.no_such_function),
        "invert_float": error(lambda: ~x),
        "neg_bool": error(lambda: -m.tensor([True])),
        "sub_bool": error(lambda: m.tensor([True]) - m.tensor([True])),
        "rsub_bool": error(lambda: 1 - m.tensor([True])),
        "int_negative_power": error(lambda: m.tensor([2]) ** -1),
        "set_missing": error(lambda: setattr(x, "requires_grad", "yes")),
    }


@program
def dtypes_of_reductions(m):
    whole = m.tensor([1, 2])
    return {
        "mean": error(lambda: whole.mean()),
        "mean_bool": error(lambda: m.tensor([True]).mean()),
        "std": error(lambda: whole.std()),
        "norm": error(lambda: whole.norm()),
        "where": error(lambda: m.where(whole, 1.0, 2.0)),
        "masked_fill": error(lambda: m.ones(2).masked_fill(whole, 1.0)),
        "clamp": error(lambda: m.ones(2).clamp()),
    }


@program
def reductions_of_nothing(m):
    empty = m.tensor([])
    return {
        "max": error(lambda: empty.max()),
        "argmax": error(lambda: empty.argmax()),
        "max_dim": error(lambda: m.zeros(2, 0).max(1)),
        "mean": empty.mean(),
        "sum": empty.sum(),
        "prod": empty.prod(),
        "all": empty.all(),
    }


@program
def backward_mistakes(m):
    x = m.tensor([1.0, 2.0], requires_grad=True)
    fresh = m.tensor([1.0, 2.0], requires_grad=True)

    def twice():
        y = (x**2).sum()
        y.backward()
        y.backward()

    return {
        "twice": error(twice),
        "vector": error(lambda: (x * 2).backward()),
        "no_grad": error(lambda: m.ones(1).sum().backward()),
        "item": error(lambda: (x * 2).sum().item().backward()),
        "argmax": error(lambda: x.argmax().backward()),
        "comparison": error(lambda: (x > 1).sum().backward()),
        "grad_of_none": error(lambda: fresh.grad.zero_()),
        "minus_none": error(lambda: fresh - 0.1 * fresh.grad),
        "shape": error(lambda: (x * 2).backward(m.ones(2, 1))),
    }


@program
def function_mistakes(m):
    x = m.tensor([1.0, 2.0], requires_grad=True)
    return {
        "unused": error(lambda: m.autograd.grad((x * 2).sum(), m.ones(1, requires_grad=True))),
        "no_grad": error(lambda: m.autograd.grad((x * 2).sum(), m.ones(1))),
        "number": error(lambda: m.autograd.grad(1.0, x)),
        "twice": error(lambda: [m.autograd.grad(y, x) for y in [(x * x).sum()] * 2]),
    }


@program
def warnings_of_grad(m):
    x = m.tensor([1.0, 2.0], requires_grad=True)
    y = x * 2
    detached = y.detach()
    return {"result": warned(lambda: y.grad), "leaf": warned(lambda: x.grad), "detached": warned(lambda: detached.grad)}


@program
def sequences_of_tensors(m):
    return {
        "of_vectors": error(lambda: m.tensor([m.tensor([1.0, 2.0]), m.tensor([3.0, 4.0])])),
        "empty_stack": error(lambda: m.stack(())),
        "split_zero": error(lambda: m.ones(2).split(0)),
        "chunk_zero": error(lambda: m.ones(2).chunk(0)),
    }
