"""The tables of the seeds: how things print, the names of nodes, the texts of errors, as torch 2.13 gave them.

Each entry is made from the module under test; texts are in our words. `test_seeds.py` holds both modules to them. It
must import neither torch nor gradloom.
"""

from collections.abc import Callable
from typing import Any

SECOND_BACKWARD = (
    "Trying to backward through the graph a second time (or directly access saved tensors after they have already been"
    " freed). Saved intermediate values of the graph are freed when you call .backward() or autograd.grad(). Specify"
    " retain_graph=True if you need to backward through the graph a second time or if you need to access saved tensors"
    " after calling backward."
)
NO_GRAD_FN = "element 0 of tensors does not require grad and does not have a grad_fn"
NON_LEAF_GRAD = (
    "The .grad attribute of a Tensor that is not a leaf Tensor is being accessed. Its .grad attribute won't be"
    " populated during autograd.backward(). If you indeed want the .grad field to be populated for a non-leaf Tensor,"
    " use .retain_grad() on the non-leaf Tensor. If you access the non-leaf Tensor by mistake, make sure you access the"
    " leaf Tensor instead. See github.com/pytorch/pytorch/pull/30531 for more information."
)
MODIFIED = (
    "one of the variables needed for gradient computation has been modified by an inplace operation:"
    " [gradloom.FloatTensor [2]], which is output 0 of {name}, is at version 1; expected version 0 instead."
)
INFERENCE = (
    "Inference tensors cannot be saved for backward. Please do not use Tensors created in inference mode in computation"
    " tracked by autograd. To work around this, you can make a clone to get a normal tensor and use it in autograd, or"
    " use `gradloom.no_grad()` instead of `gradloom.inference_mode()`."
)
GRAD_DTYPE = (
    "attempting to assign a gradient with dtype 'double' to a tensor with grad_dtype 'Float'. The gradient must match"
    " the tensor's grad_dtype (defaults to the tensor's dtype)."
)
CHANGE_FLAGS = (
    "you can only change requires_grad flags of leaf variables. If you want to use a computed variable in a subgraph"
    " that doesn't require differentiation use var_no_grad = var.detach()."
)
FLOATING = "Only Tensors of floating point and complex dtype can require gradients"


def leaf(m: Any, values: Any) -> Any:
    return m.tensor(values, requires_grad=True)


# --- how things print, and the names of nodes ------------------------------------------------------------------------

REPRS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "int": (lambda m: m.tensor(5), "tensor(5)"),
    "ints": (lambda m: m.tensor([1, 2, 3]), "tensor([1, 2, 3])"),
    "scalar": (lambda m: m.tensor(2.0), "tensor(2.)"),
    "ones": (lambda m: m.ones(2, 2), "tensor([[1., 1.],\n        [1., 1.]])"),
    "leaf": (lambda m: leaf(m, [1.0, 2.0]), "tensor([1., 2.], requires_grad=True)"),
    "pow": (lambda m: leaf(m, [1.0, 2.0]) ** 2, "tensor([1., 4.], grad_fn=<PowBackward0>)"),
    "sin": (lambda m: m.sin(leaf(m, [1.0, 2.0]) ** 2), "tensor([ 0.8415, -0.7568], grad_fn=<SinBackward0>)"),
    "powers": (lambda m: m.tensor([1.5, -2.25e-5, 3e10]), "tensor([ 1.5000e+00, -2.2500e-05,  3.0000e+10])"),
    "rows": (
        lambda m: m.ones(2, 2, requires_grad=True) ** 2,
        "tensor([[1., 1.],\n        [1., 1.]], grad_fn=<PowBackward0>)",
    ),
    "bools": (lambda m: m.tensor([True, False]), "tensor([ True, False])"),
    "arange": (lambda m: m.arange(3.0), "tensor([0., 1., 2.])"),
    "empty": (lambda m: m.tensor([], dtype=m.float32), "tensor([])"),
    "no columns": (lambda m: m.zeros(2, 0), "tensor([], size=(2, 0))"),
    "special": (lambda m: m.tensor([float("nan"), float("inf")]), "tensor([nan, inf])"),
    "double": (lambda m: m.tensor([1.0, 2.0], dtype=m.float64), "tensor([1., 2.], dtype=gradloom.float64)"),
    "long": (lambda m: m.arange(2000), "tensor([   0,    1,    2,  ..., 1997, 1998, 1999])"),
    "sum": (lambda m: (leaf(m, [1.0, 2.0]) * 2).sum(), "tensor(6., grad_fn=<SumBackward0>)"),
    "signs": (lambda m: m.tensor([[1.0, -2.0], [3.0, 4.0]]), "tensor([[ 1., -2.],\n        [ 3.,  4.]])"),
    "detached": (lambda m: (leaf(m, [1.0]) * 2).detach(), "tensor([2.])"),
    "size": (lambda m: m.Size([2, 3]), "gradloom.Size([2, 3])"),
    "dtype": (lambda m: leaf(m, [1.0]).dtype, "gradloom.float32"),
    "shape": (lambda m: m.ones(2).shape, "gradloom.Size([2])"),
}

NAMES: dict[str, tuple[Callable[[Any, Any], Any], str]] = {
    "+": (lambda m, x: x + x, "AddBackward0"),
    "-": (lambda m, x: x - x, "SubBackward0"),
    "*": (lambda m, x: x * x, "MulBackward0"),
    "/": (lambda m, x: x / x, "DivBackward0"),
    "neg": (lambda m, x: -x, "NegBackward0"),
    "x**2": (lambda m, x: x**2, "PowBackward0"),
    "2**x": (lambda m, x: 2**x, "PowBackward2"),
    "x**x": (lambda m, x: x**x, "PowBackward1"),
    "sin": (lambda m, x: m.sin(x), "SinBackward0"),
    "exp": (lambda m, x: x.exp(), "ExpBackward0"),
    "log": (lambda m, x: x.log(), "LogBackward0"),
    "sum": (lambda m, x: x.sum(), "SumBackward0"),
    "mean": (lambda m, x: x.mean(), "MeanBackward0"),
    "dot": (lambda m, x: x @ x, "DotBackward0"),
    "mm": (lambda m, x: x.view(1, 2).mm(x.view(2, 1)), "MmBackward0"),
    "relu": (lambda m, x: x.relu(), "ReluBackward0"),
    "clamp": (lambda m, x: x.clamp(min=0), "ClampBackward1"),
    "view": (lambda m, x: x.view(2, 1), "ViewBackward0"),
    "reshape": (lambda m, x: x.reshape(2, 1), "ViewBackward0"),
    "a[0]": (lambda m, x: x[0], "SelectBackward0"),
    "a[:1]": (lambda m, x: x[:1], "SliceBackward0"),
    "clone": (lambda m, x: x.clone(), "CloneBackward0"),
    "cat": (lambda m, x: m.cat([x, x]), "CatBackward0"),
    "stack": (lambda m, x: m.stack([x, x]), "StackBackward0"),
    "max": (lambda m, x: x.max(), "MaxBackward1"),
    "maximum": (lambda m, x: m.maximum(x, x), "MaximumBackward0"),
    "abs": (lambda m, x: x.abs(), "AbsBackward0"),
    "sqrt": (lambda m, x: x.sqrt(), "SqrtBackward0"),
    "sigmoid": (lambda m, x: x.sigmoid(), "SigmoidBackward0"),
    "tanh": (lambda m, x: x.tanh(), "TanhBackward0"),
    "where": (lambda m, x: m.where(x > 1, x, x), "WhereBackward0"),
    "T of a vector": (lambda m, x: x.T, "PermuteBackward0"),
    "t()": (lambda m, x: x.view(2, 1).t(), "TBackward0"),
    "expand": (lambda m, x: x.expand(3, 2), "ExpandBackward0"),
    "double": (lambda m, x: x.double(), "ToCopyBackward0"),
    "norm": (lambda m, x: x.norm(), "LinalgVectorNormBackward0"),
    "std": (lambda m, x: x.std(), "StdBackward0"),
    "cumsum": (lambda m, x: x.cumsum(0), "CumsumBackward0"),
    "prod": (lambda m, x: x.prod(), "ProdBackward0"),
    "softmax": (lambda m, x: x.softmax(0), "SoftmaxBackward0"),
    "solve": (lambda m, x: m.linalg.solve(m.eye(2), x), "LinalgSolveExBackward0"),
}


# --- errors ----------------------------------------------------------------------------------------------------------


def change_exp(m: Any) -> None:
    y = leaf(m, [1.0, 2.0]).exp()
    y.add_(1)
    y.sum().backward()


def change_pow(m: Any) -> None:
    y = leaf(m, [1.0, 2.0]) * 2
    z = y**2
    y.mul_(2)
    z.sum().backward()


def set_grad(m: Any, value: Any) -> None:
    x = leaf(m, [1.0, 2.0])
    x.grad = value


def set_flag(m: Any) -> None:
    y = leaf(m, [1.0]) * 2
    y.requires_grad = False


def save_inference_tensor(m: Any) -> None:
    with m.inference_mode():
        constant = m.ones(2)
    leaf(m, [1.0, 2.0]).mul(constant)


def with_backward(m: Any, name: str, backward: Callable[..., Any]) -> Any:
    """Return a `Function` of that name that doubles, with the given backward."""
    methods = {"forward": staticmethod(lambda ctx, x: x * 2), "backward": staticmethod(backward)}
    return type(name, (m.autograd.Function,), methods)


def run_function(m: Any, name: str, backward: Callable[..., Any]) -> Any:
    x = leaf(m, [1.0, 2.0])
    with_backward(m, name, backward).apply(x).sum().backward()
    return x.grad


ERRORS: dict[str, tuple[type[Exception], str, Callable[[Any], Any]]] = {
    "backward of a plain tensor": (RuntimeError, NO_GRAD_FN, lambda m: m.ones(1).backward()),
    "integers in the constructor": (RuntimeError, FLOATING, lambda m: m.tensor([1], requires_grad=True)),
    "integers later": (
        RuntimeError,
        "only Tensors of floating point dtype can require gradients",
        lambda m: m.tensor([1]).requires_grad_(),
    ),
    "in-place on a leaf": (
        RuntimeError,
        "a leaf Variable that requires grad is being used in an in-place operation.",
        lambda m: leaf(m, [1.0]).add_(1),
    ),
    "in-place on a view of a leaf": (
        RuntimeError,
        "a view of a leaf Variable that requires grad is being used in an in-place operation.",
        lambda m: leaf(m, [1.0, 2.0])[:1].add_(1),
    ),
    "saved result changed": (RuntimeError, MODIFIED.format(name="Exp"), change_exp),
    "saved input changed": (RuntimeError, MODIFIED.format(name="Mul"), change_pow),
    "retain_grad": (
        RuntimeError,
        "can't retain_grad on Tensor that has requires_grad=False",
        lambda m: m.ones(1).retain_grad(),
    ),
    "flag of a result": (RuntimeError, CHANGE_FLAGS, set_flag),
    "gradient of the wrong size": (
        RuntimeError,
        "attempting to assign a gradient of size '[3]' to a tensor of size '[2]'."
        " Please ensure that the gradient and the tensor are the same size",
        lambda m: set_grad(m, m.ones(3)),
    ),
    "gradient of the wrong type": (
        TypeError,
        "assigned grad expected to be a Tensor or None but got grad of type float",
        lambda m: set_grad(m, 1.0),
    ),
    "gradient of the wrong dtype": (RuntimeError, GRAD_DTYPE, lambda m: set_grad(m, m.ones(2, dtype=m.float64))),
    "bool of a vector": (
        RuntimeError,
        "Boolean value of Tensor with more than one value is ambiguous",
        lambda m: bool(m.ones(2)),
    ),
    "item of a vector": (
        RuntimeError,
        "a Tensor with 2 elements cannot be converted to Scalar",
        lambda m: m.ones(2).item(),
    ),
    "inference tensor": (RuntimeError, INFERENCE, save_inference_tensor),
    "sum of shapes": (
        RuntimeError,
        "The size of tensor a (2) must match the size of tensor b (3) at non-singleton dimension 0",
        lambda m: m.ones(2) + m.ones(3),
    ),
    "product of shapes": (
        RuntimeError,
        "mat1 and mat2 shapes cannot be multiplied (2x3 and 2x3)",
        lambda m: m.ones(2, 3).mm(m.ones(2, 3)),
    ),
    "in-place on another shape": (
        RuntimeError,
        "The size of tensor a (2) must match the size of tensor b (3) at non-singleton dimension 0",
        lambda m: m.ones(2).add_(m.ones(3)),
    ),
    "product of dtypes": (
        RuntimeError,
        "expected m1 and m2 to have the same dtype, but got: float != double",
        lambda m: m.ones(2, 2).mm(m.ones(2, 2, dtype=m.float64)),
    ),
    "view": (RuntimeError, "shape '[4, 2]' is invalid for input of size 6", lambda m: m.ones(6).view(4, 2)),
    "too many gradients": (
        RuntimeError,
        "function GBackward returned an incorrect number of gradients (expected 1, got 2)",
        lambda m: run_function(m, "G", lambda ctx, g: (g, g)),
    ),
    "gradient of another shape": (
        RuntimeError,
        "Function HBackward returned an invalid gradient at index 0 - got [3] but expected shape compatible with [2]",
        lambda m: run_function(m, "H", lambda ctx, g: m.ones(3)),
    ),
}
