"""How tensors are made, and what they say of themselves."""

import numpy as np

from .corpus import differentiated, name_of, program


@program
def tensor_of_scalars(m):
    return {"int": m.tensor(5), "float": m.tensor(2.5), "bool": m.tensor(True), "numpy": m.tensor(np.float64(1.5))}


@program
def tensor_of_lists(m):
    return {
        "1-D": m.tensor([1, 2, 3]),
        "2-D": m.tensor([[1, 2, 3], [4, 5, 6]]),
        "3-D": m.tensor([[[1, 2], [3, 4]], [[5, 6], [7, 8]]]),
        "floats": m.tensor([1.0, 2.0]),
        "mixed": m.tensor([1, 2.5]),
        "bools": m.tensor([True, False]),
        "bool_and_int": m.tensor([True, 2]),
        "tuples": m.tensor(((1.0, 2.0), (3.0, 4.0))),
        "empty": m.tensor([]),
        "empty_rows": m.tensor([[], []]),
        "of_tensors": m.tensor([m.tensor(1.0), m.tensor(2.0)]),
    }


@program
def tensor_of_arrays(m):
    return {
        "float64": m.tensor(np.array([1.0, 2.0])),
        "float32": m.tensor(np.array([1.0, 2.0], dtype=np.float32)),
        "int64": m.tensor(np.array([[1], [2]])),
        "bool": m.tensor(np.array([True])),
        "strided": m.tensor(np.arange(6.0).reshape(2, 3).T),
        "list_of_arrays": m.tensor([np.float32(1), np.float32(2)]),
    }


@program
def tensor_copies_arrays(m):
    array = np.array([1.0, 2.0])
    copied = m.tensor(array)
    array[0] = 9.0
    return {"copied": copied}


@program
def from_numpy_shares(m):
    array = np.array([1.0, 2.0])
    shared = m.from_numpy(array)
    array[0] = 9.0
    shared[1] = 7.0
    return {"tensor": shared, "array": array, "dtype": shared.dtype}


@program
def from_numpy_keeps_dtypes(m):
    names = ("bool", "uint8", "int8", "int16", "int32", "int64", "float32", "float64")
    return {name: m.from_numpy(np.zeros(1, dtype=name)) for name in names}


@program
def as_tensor_shares_where_it_can(m):
    array = np.array([1.0, 2.0])
    shared = m.as_tensor(array)
    converted = m.as_tensor(array, dtype=m.float32)
    array[0] = 9.0
    tensor = m.tensor([1.0])
    same = m.as_tensor(tensor) is tensor
    return {"shared": shared, "converted": converted, "same": same, "list": m.as_tensor([1, 2])}


@program
def numpy_shares(m):
    x = m.tensor([1.0, 2.0])
    array = x.numpy()
    x += 1
    array[0] = 10.0
    return {"x": x, "array": array}


@program
def numpy_of_detached_shares(m):
    x = m.tensor([1.0, 2.0], requires_grad=True)
    x.detach().numpy()[0] = 5.0
    return {"x": x}


@program
def numpy_takes_tensors(m):
    x = m.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=m.float64)
    return {"asarray": np.asarray(x), "array": np.array(x), "list": x.tolist(), "sum": float(np.asarray(x).sum())}


@program
def capital_tensor(m):
    return {"list": m.Tensor([2, 1]), "shape": m.Tensor(2, 3).shape, "is": isinstance(m.tensor(1), m.Tensor)}


@program
def typed_constructors(m):
    return {"Float": m.FloatTensor([1, 2]), "Double": m.DoubleTensor([1, 2]), "Long": m.LongTensor([1, 2])}


@program
def filled(m):
    return {
        "zeros": m.zeros(2, 3),
        "zeros_tuple": m.zeros((2,)),
        "zeros_empty": m.zeros(2, 0),
        "zeros_scalar": m.zeros(()),
        "ones": m.ones(2),
        "ones_int": m.ones(2, dtype=m.int64),
        "full": m.full((2, 2), 3.5),
        "full_int": m.full((2,), 3),
        "full_bool": m.full((1,), True),
        "eye": m.eye(2),
        "eye_wide": m.eye(2, 3),
        "empty_shape": m.empty(2, 3).shape,
        "requires_grad": m.zeros(1, requires_grad=True),
    }


@program
def filled_like(m):
    x = m.tensor([[1.0, 2.0]], dtype=m.float64, requires_grad=True)
    return {
        "zeros": m.zeros_like(x),
        "ones": m.ones_like(x),
        "full": m.full_like(x, 7),
        "empty": m.empty_like(x).shape,
        "of_int": m.ones_like(m.tensor([1, 2])),
        "dtype": m.ones_like(x, dtype=m.int32),
        "requires_grad": m.zeros_like(x, requires_grad=True),
        "new_zeros": x.new_zeros(2),
        "new_ones": x.new_ones((1, 2)),
        "new_full": x.new_full((2,), 3.0),
        "new_tensor": x.new_tensor([1, 2]),
    }


@program
def ranges(m):
    return {
        "arange": m.arange(4),
        "floats": m.arange(3.0),
        "from_to": m.arange(2, 6),
        "step": m.arange(1, 2, 0.25),
        "down": m.arange(5, 0, -2),
        "dtype": m.arange(3, dtype=m.float64),
        "empty": m.arange(0),
        "linspace": m.linspace(0, 1, 5),
        "linspace_one": m.linspace(3, 10, 1),
        "linspace_double": m.linspace(-1, 1, 3, dtype=m.float64),
        "logspace": m.logspace(0, 2, 3),
    }


@program
def random_shapes(m):
    """Only what does not depend on the generator: shapes, dtypes, that a seed repeats."""
    m.manual_seed(0)
    first = m.randn(3)
    m.manual_seed(0)
    again = m.randn(3)
    uniform = m.rand(100)
    whole = m.randint(2, 5, (50,))
    return {
        "repeats": m.equal(first, again),
        "randn": [m.randn(2, 3).shape, m.randn(2, 3).dtype, m.randn((4,), dtype=m.float64, requires_grad=True).is_leaf],
        "device": m.randn(2, device=m.device("cpu"), dtype=m.float, requires_grad=True).requires_grad,
        "rand_within": bool(((uniform >= 0) & (uniform < 1)).all()),
        "randint_within": bool(((whole >= 2) & (whole < 5)).all()),
        "randint_dtype": whole.dtype,
        "randn_like": m.randn_like(m.zeros(2, 2, dtype=m.float64)).dtype,
        "rand_like": m.rand_like(m.zeros(2, 2)).shape,
        "randperm": m.randperm(5).sort().values,
        "spread": bool(m.randn(4000).std() > 0.9) and bool(m.randn(4000).std() < 1.1),
        "normal": m.normal(0.0, 1.0, (2, 2)).shape,
    }


@program
def four_ways_to_ask_for_gradients(m):
    first = m.tensor([1.0, 2.0])
    first.requires_grad_()
    second = m.autograd.Variable(m.tensor([1.0, 2.0]), requires_grad=True)
    third = m.tensor([1.0, 2.0], requires_grad=True)
    fourth = m.from_numpy(np.array([1.0, 2.0]))
    fourth.requires_grad = True
    return {"method": first, "variable": second, "keyword": third, "attribute": fourth}


@program
def requires_grad_spreads(m):
    leaf = m.tensor([1.0], requires_grad=True)
    plain = m.tensor([1.0])
    return {
        "default": plain.requires_grad,
        "product": (leaf * 1).requires_grad,
        "with_plain": (plain + leaf).requires_grad,
        "plain_only": (plain + plain).requires_grad,
        "detached": (leaf * 1).detach().requires_grad,
        "to_int": leaf.long().requires_grad,
        "comparison": (leaf > 0).requires_grad,
        "argmax": leaf.argmax().requires_grad,
    }


@program
def leaves(m):
    leaf = m.tensor([1.0], requires_grad=True)
    result = leaf * 2
    return {
        "leaf": leaf.is_leaf,
        "result": result.is_leaf,
        "detached": result.detach().is_leaf,
        "plain_result": (m.tensor([1.0]) * 2).is_leaf,
        "grad": leaf.grad,
        "leaf_fn": leaf.grad_fn,
        "result_fn": name_of(result.grad_fn),
        "output_nr": result.output_nr,
        "retains_grad": result.retains_grad,
        "clone": leaf.clone(),
        "data": leaf.data,
        "returned": leaf.requires_grad_() is leaf,
    }


@program
def requires_grad_off_again(m):
    x = m.tensor([1.0], requires_grad=True)
    x.requires_grad_(False)
    y = m.tensor([1.0], requires_grad=True)
    y.requires_grad = False
    z = (m.tensor([1.0], requires_grad=True) * 2).detach().requires_grad_()
    return {"x": x, "y": y, "z": z}


@program
def shape_attributes(m):
    x = m.zeros(2, 3, 4)
    return {
        "shape": x.shape,
        "size": x.size(),
        "size_of": [x.size(0), x.size(-1)],
        "dim": x.dim(),
        "ndim": x.ndim,
        "numel": x.numel(),
        "nelement": x.nelement(),
        "len": len(x),
        "of_shape": [len(x.shape), x.shape[1], list(x.shape[1:]), x.shape.numel()],
        "equal": [x.shape == (2, 3, 4), x.shape == m.Size([2, 3, 4]), x.shape[0] == 2],
        "sliced": x.shape[:2],
        "element_size": x.element_size(),
        "stride": x.stride(),
        "contiguous": [x.is_contiguous(), x.transpose(0, 1).is_contiguous()],
        "transposed_stride": x.transpose(0, 2).stride(),
        "ndimension": x.ndimension(),
        "numel_function": m.numel(x),
        "is_floating_point": [x.is_floating_point(), m.is_floating_point(m.tensor(1))],
        "is_tensor": [m.is_tensor(x), m.is_tensor(1.0)],
        "nbytes": x.nbytes,
        "storage_offset": x[1].storage_offset(),
    }


@program
def dtype_names(m):
    names = ("bool", "uint8", "int8", "int16", "int32", "int64", "float32", "float64")
    return {name: str(getattr(m, name)) for name in names}


@program
def dtype_aliases(m):
    return {
        "float": m.float is m.float32,
        "double": m.double is m.float64,
        "long": m.long is m.int64,
        "int": m.int is m.int32,
        "short": m.short is m.int16,
        "repr": repr(m.float32),
        "is_floating_point": [m.float32.is_floating_point, m.int64.is_floating_point],
        "itemsize": [m.float32.itemsize, m.int64.itemsize, m.bool.itemsize],
        "default": m.get_default_dtype(),
        "equal": m.tensor(1.0).dtype == m.float32,
        "finfo": [m.finfo(m.float32).eps, m.finfo(m.float64).max, m.iinfo(m.int32).max],
    }


@program
def default_dtype(m):
    m.set_default_dtype(m.float64)
    try:
        return {"tensor": m.tensor(1.5), "ones": m.ones(1), "repr": repr(m.tensor([1.0])), "int": m.tensor(1) / 2}
    finally:
        m.set_default_dtype(m.float32)


@program
def conversions(m):
    x = m.tensor([1.7, -1.7])
    return {
        "double": x.double(),
        "float": m.tensor([1, 2]).float(),
        "long": x.long(),
        "int": x.int(),
        "bool": m.tensor([0.0, 0.5, -1.0]).bool(),
        "to": x.to(m.float64),
        "to_same": x.to(m.float32) is x,
        "to_device": x.to("cpu") is x,
        "to_like": x.to(m.tensor(1, dtype=m.int32)),
        "type": x.type(m.int64),
        "type_name": x.type(),
        "type_as": m.tensor([1]).type_as(x),
        "of_leaf": m.tensor([1.0], requires_grad=True).double(),
        "cpu": x.cpu() is x,
        "device": str(x.device),
    }


@program
def gradient_through_a_conversion(m):
    x = m.tensor([1.5, -2.0], requires_grad=True)
    y = x.double() * 3
    y.sum().backward()
    return {"y": y, "gradient": x.grad}


@program
def scalars_out(m):
    x = m.tensor([[1.5]])
    return {
        "item": x.item(),
        "int_item": m.tensor(3).item(),
        "bool_item": m.tensor(True).item(),
        "float": float(x),
        "int": int(x),
        "bool": bool(x),
        "of_leaf": m.tensor(2.0, requires_grad=True).item(),
        "tolist": m.tensor([[1, 2], [3, 4]]).tolist(),
        "tolist_scalar": m.tensor(2.5).tolist(),
        "index": [10, 20, 30][m.tensor(1)],
        "format": f"{m.tensor(1.23456):.2f}",
        "round_trip": m.tensor(0.1).item(),
        "in": 1.5 in x,
        "truth": [bool(m.tensor(0.0)), bool(m.tensor([2]))],
    }


@program
def iteration(m):
    x = m.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    rows = list(x)
    a, b = m.tensor([5.0, 6.0])
    rows[1].sum().backward()
    return {"rows": rows, "a": a, "b": b, "gradient": x.grad, "numbers": [float(v) for v in m.tensor([1.0, 2.0])]}


@program
def identity_and_hash(m):
    a, b = m.tensor([1.0]), m.tensor([1.0])
    return {"in_dict": {a: 1}.get(a), "other": {a: 1}.get(b), "set": len({a, b, a})}


@program
def clone_and_detach(m):
    x = m.tensor([1.0, 2.0], requires_grad=True)
    y = x * 2
    cloned, detached = y.clone(), y.detach()
    (cloned * 3).sum().backward()
    return {
        "cloned": cloned,
        "detached": detached,
        "gradient": x.grad,
        "shares": [detached.data_ptr() == y.data_ptr(), cloned.data_ptr() == y.data_ptr()],
        "function": m.clone(x),
        "detach_function": m.detach(y) if hasattr(m, "detach") else detached,
    }


@program
def data_has_no_history(m):
    x = m.tensor([1.0, 2.0], requires_grad=True)
    y = x * x
    x.data[0] = 10.0
    version = x._version
    y.sum().backward()
    return {"x": x, "version": version, "gradient": x.grad, "data": x.data.requires_grad}


@program
def data_may_be_assigned(m):
    x = m.tensor([1.0, 2.0], requires_grad=True)
    x.data = m.tensor([5.0, 6.0, 7.0])
    (x * x).sum().backward()
    return {"x": x, "gradient": x.grad}


@program
def grad_may_be_assigned(m):
    x = m.tensor([1.0, 2.0], requires_grad=True)
    x.grad = m.tensor([10.0, 20.0])
    (x * 2).sum().backward()
    first = x.grad.clone()
    x.grad = None
    return {"added": first, "none": x.grad}


@program
def parameters(m):
    p = m.nn.Parameter(m.tensor([1.0, 2.0]))
    q = m.nn.Parameter(m.tensor([1.0]), requires_grad=False)
    return {"p": p, "q": q, "is": isinstance(p, m.Tensor), "repr": repr(p), "result": p * 2}


@program
def deep_copies(m):
    import copy

    x = m.tensor([1.0, 2.0], requires_grad=True)
    y = copy.deepcopy(x)
    with m.no_grad():
        y += 1
    return {"x": x, "y": y, "shallow": copy.copy(x)}


@program
def pickles(m):
    import pickle

    x = pickle.loads(pickle.dumps(m.tensor([[1.0, 2.0]], requires_grad=True)))
    return {"x": x, "dtype": pickle.loads(pickle.dumps(m.float64)) is m.float64}


@program
def conversion_keeps_gradient_dtype(m):
    return differentiated(m, lambda x: (x.float() * 2).double(), [1.0, 2.0])


@program
def contiguous(m):
    return differentiated(m, lambda x: x.t().contiguous() * 2, [[1.0, 2.0], [3.0, 4.0]])
