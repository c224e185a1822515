"""`Tensor`: an array with PyTorch's face. Its memory, its place in the graph, and how it is looked at.

Operators, functions and the methods that are operations are added by the modules that define them (`method`); what a
tensor holds is in recording.py.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gradloom.autograd.dtypes import Size, device, dtype, dtype_of, get_default_dtype
from gradloom.autograd.errors import error
from gradloom.autograd.formatting import format_tensor
from gradloom.autograd.graph import Array, Attributes, EagerOp, Node, data_node, extra_of
from gradloom.autograd.modes import state
from gradloom.autograd.recording import SAME, Link, Variable, alias, assign, check_writable, record, view, wrap

NON_LEAF_GRAD = (
    "The .grad attribute of a Tensor that is not a leaf Tensor is being accessed. Its .grad attribute won't be "
    "populated during autograd.backward(). If you indeed want the .grad field to be populated for a non-leaf Tensor, "
    "use .retain_grad() on the non-leaf Tensor. If you access the non-leaf Tensor by mistake, make sure you access the "
    "leaf Tensor instead. See github.com/pytorch/pytorch/pull/30531 for more information."
)

FUNCTIONS: dict[str, Any] = {}  # the names of PyTorch's namespace that are functions of tensors


def method(*names: str) -> Callable[[Any], Any]:
    """Make a function a method of Tensor under these names."""

    def install(function: Any) -> Any:
        for name in names:
            setattr(Tensor, name, function)
        return function

    return install


def public(*names: str) -> Callable[[Any], Any]:
    """Give a function these names in the namespace `gradloom`."""

    def install(function: Any) -> Any:
        for name in names:
            FUNCTIONS[name] = function
        return function

    return install


class Tensor(Variable):
    """An n-dimensional array that remembers how it was computed; `gradloom.tensor(data)` makes one.

    Values are computed when they are looked at: printed, converted to NumPy or Python numbers, or needed by a backward.
    """

    __slots__ = ()
    __module__ = "gradloom"
    __array_priority__ = 1000.0
    __hash__ = object.__hash__
    _is_parameter = False

    def __new__(cls, *data: Any, **options: Any) -> Any:
        if not data and not options:
            return object.__new__(cls)
        return _legacy_tensor(*data, **options)

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...
        def __add__(self, other: Any) -> "Tensor": ...
        def __radd__(self, other: Any) -> "Tensor": ...
        def __sub__(self, other: Any) -> "Tensor": ...
        def __rsub__(self, other: Any) -> "Tensor": ...
        def __mul__(self, other: Any) -> "Tensor": ...
        def __rmul__(self, other: Any) -> "Tensor": ...
        def __truediv__(self, other: Any) -> "Tensor": ...
        def __rtruediv__(self, other: Any) -> "Tensor": ...
        def __pow__(self, other: Any) -> "Tensor": ...
        def __matmul__(self, other: Any) -> "Tensor": ...
        def __neg__(self) -> "Tensor": ...
        def __getitem__(self, key: Any) -> "Tensor": ...
        def __setitem__(self, key: Any, value: Any) -> None: ...
        def __lt__(self, other: Any) -> "Tensor": ...
        def __gt__(self, other: Any) -> "Tensor": ...

    # --- what it is ---------------------------------------------------------------------------------------------------

    @property
    def shape(self) -> Size:
        """The extents."""
        return Size(self._value.type.shape)

    def size(self, dim: int | None = None) -> Any:
        """Return the shape, or one extent."""
        if dim is None:
            return self.shape
        return self._value.type.shape[normalize_dim(dim, self.ndim)]

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return self._value.type.rank

    def dim(self) -> int:
        """Return the number of dimensions."""
        return self._value.type.rank

    ndimension = dim

    def numel(self) -> int:
        """Return the number of elements."""
        return self._value.type.size

    nelement = numel

    @property
    def dtype(self) -> dtype:
        """The type of the elements."""
        return dtype_of(self._value.type.element)

    @property
    def device(self) -> device:
        """Always the CPU."""
        return device("cpu")

    @property
    def layout(self) -> Any:
        """Always strided."""
        return "gradloom.strided"

    is_cuda = is_sparse = is_quantized = False

    @property
    def itemsize(self) -> int:
        """Bytes of an element."""
        return self.dtype.itemsize

    element_size = lambda self: self.itemsize  # noqa: E731

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self.numel() * self.itemsize

    def is_floating_point(self) -> bool:
        """Tell whether the elements are floats."""
        return self._value.type.element.kind == "f"

    def is_complex(self) -> bool:
        """Tell whether the elements are complex: never."""
        return False

    def is_signed(self) -> bool:
        """Tell whether elements can be negative."""
        return self._value.type.element.kind in "fi"

    def type(self, dtype: Any = None) -> Any:
        """Return the name of the type, `gradloom.FloatTensor`; or the tensor converted to a dtype."""
        if dtype is None:
            return f"gradloom.{self.dtype.type_name}Tensor"
        return self.to(dtype)

    # --- its memory ---------------------------------------------------------------------------------------------------

    def _strided(self) -> Array:
        """An array with the strides of this tensor; only its layout means anything."""
        link = self._link
        if link is not None and link.root is not None:
            array = link.root._strided()  # pyright: ignore[reportAttributeAccessIssue]
            for _, step in link.steps:
                array = step.array(array)
            return array
        if link is not None:
            return self._value.array
        shape, item = self._value.type.shape, self.itemsize
        strides, width = [], item
        for extent in reversed(shape):
            strides.append(width)
            width *= max(extent, 1)
        return np.lib.stride_tricks.as_strided(
            np.empty((), self._value.type.element.dtype), shape, tuple(reversed(strides)), writeable=False
        )

    def stride(self, dim: int | None = None) -> Any:
        """Return the distance in memory, in elements, between neighbours along each dimension."""
        array = self._strided()
        strides = tuple(
            [each // array.itemsize if extent > 1 or each else 1 for each, extent in zip(array.strides, array.shape)]  # noqa: B905
        )
        return strides if dim is None else strides[normalize_dim(dim, self.ndim)]

    def storage_offset(self) -> int:
        """Return the distance in elements from the start of the memory."""
        return (self._export().ctypes.data - self._root._export().ctypes.data) // self.itemsize

    def is_contiguous(self) -> bool:
        """Tell whether the elements lie in memory in row-major order without gaps."""
        link = self._link
        return True if link is None else bool(self._strided().flags.c_contiguous)

    def data_ptr(self) -> int:
        """Return the address of the first element; from now on the memory stays where it is."""
        memory = self.__dict__["_memory"] = self._export()  # held, so that writes go on going there
        return memory.ctypes.data

    def _is_view(self) -> bool:
        return self._link is not None and bool(self._link.steps)

    @property
    def _base(self) -> "Tensor | None":
        link = self._link
        return link.base if link is not None and link.steps and link.tracked else None  # type: ignore[return-value]

    @property
    def _version(self) -> int:
        """How often the memory has been written."""
        if self.is_inference():
            raise error(RuntimeError, "Inference tensors do not track version counter.", "look at a .clone()")
        node = self._node()
        return node.version if node.counter is None else node.counter[0]

    @property
    def data(self) -> "Tensor":
        """A tensor with the same memory and no history, whose writes are not checked."""
        return alias(self, Tensor, counted=False)

    @data.setter
    def data(self, value: "Tensor") -> None:
        if not isinstance(value, Tensor):
            raise TypeError(f"Variable data has to be a tensor, but got {type(value).__name__}")
        if self._requires_grad and value._value.type.element.kind != "f":
            raise error(
                RuntimeError,
                "data set to a tensor that requires gradients must be floating point or complex dtype",
            )
        link = value._link
        if link is not None and link.root is self:
            if not link.steps:  # `x.data -= step` has written the memory already
                return
            link = None
        self._value, self._link = value._node(), link
        self._writes += 1

    def detach(self) -> "Tensor":
        """Return a tensor with the same memory that requires no grad."""
        return alias(self, Tensor, counted=True)

    def detach_(self) -> "Tensor":
        """Take the tensor out of the graph: it becomes a leaf that requires no grad."""
        link = self._link
        if link is not None and link.root is not None and link.steps:
            raise error(
                RuntimeError,
                "Can't detach views in-place. Use detach() instead.",
            )
        node = self._node()
        if node.array is None:
            node = record(SAME, (self.detach(),))
        self._value, self._grad_fn, self._requires_grad = node, None, False
        return self

    # --- looking at it ------------------------------------------------------------------------------------------------

    def item(self) -> Any:
        """Return the one element as a Python number.

        Raises:
            RuntimeError: there is not exactly one.
        """
        array = self._array()
        if array.size != 1:
            raise error(
                RuntimeError,
                f"a Tensor with {array.size} elements cannot be converted to Scalar",
                "use .tolist() for all elements, or reduce first: .sum(), .mean(), .max()",
            )
        return array.item()

    def tolist(self) -> Any:
        """Return the elements as nested lists of Python numbers."""
        return self._array().tolist()

    def numpy(self, *, force: bool = False) -> Array:
        """Return an array that shares the memory of the tensor.

        Raises:
            RuntimeError: the tensor requires grad: use `.detach().numpy()`.
        """
        if force:
            return self.detach()._export()
        if self._requires_grad:
            raise error(
                RuntimeError,
                "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.",
            )
        return self._export()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if copy is True or (dtype is not None and np.dtype(dtype) != self._value.type.element.dtype):
            if self._requires_grad:
                self.numpy()
            return np.array(self._array(), dtype=dtype)
        return self.numpy()

    def __bool__(self) -> bool:
        array = self._array()
        if array.size > 1:
            raise error(
                RuntimeError,
                "Boolean value of Tensor with more than one value is ambiguous",
                "use .any() or .all(), or gradloom.where(condition, a, b) for element by element",
            )
        if not array.size:
            raise error(RuntimeError, "Boolean value of Tensor with no values is ambiguous")
        return bool(array)

    def _number(self) -> Any:
        if self.numel() != 1:
            raise ValueError("only one element tensors can be converted to Python scalars")
        return self.item()

    def __float__(self) -> float:
        return float(self._number())

    def __int__(self) -> int:
        return int(self._number())

    def __complex__(self) -> complex:
        return complex(self._number())

    def __index__(self) -> int:
        if self._value.type.element.kind == "f" or self.numel() != 1:
            raise TypeError("only integer tensors of a single element can be converted to an index")
        return int(self.item())

    def __len__(self) -> int:
        shape = self._value.type.shape
        if not shape:
            raise TypeError("len() of a 0-d tensor")
        return shape[0]

    def __iter__(self) -> Iterator["Tensor"]:
        if not self._value.type.shape:
            raise TypeError("iteration over a 0-d tensor")
        return iter(self.unbind(0))

    def __contains__(self, element: Any) -> bool:
        return bool((self == element).any())

    def __repr__(self) -> str:
        node = self._grad_fn
        return format_tensor(
            self._array(),
            requires_grad=self._requires_grad and node is None,
            grad_fn=None if node is None else node.name(),
        )

    def __format__(self, spec: str) -> str:
        if self.ndim == 0:
            return format(self.item(), spec)
        return object.__format__(self, spec)

    def __deepcopy__(self, memo: Any) -> "Tensor":
        if self._grad_fn is not None:
            raise error(
                RuntimeError,
                "Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol at the "
                "moment.  If you were attempting to deepcopy a module, this may be because of a "
                "gradloom.nn.utils.weight_norm usage, see https://github.com/pytorch/pytorch/pull/103001",
                "copy a .detach() of it",
            )
        found = memo.get(id(self))
        if found is None:
            found = memo[id(self)] = from_array(self._array().copy(), self.__class__)
            found._requires_grad = self._requires_grad
            found._grad = copy.deepcopy(self._grad, memo)
        return found

    def __reduce__(self) -> Any:
        if self._grad_fn is not None:
            raise error(RuntimeError, "cannot pickle a tensor that was computed: pickle its .detach()")
        return _unpickle, (self.__class__, np.array(self._array()), self._requires_grad)

    # --- its place in the graph ---------------------------------------------------------------------------------------

    @property
    def requires_grad(self) -> bool:
        """Whether gradients are computed for it."""
        if self._link is not None:
            self._linked_node()
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if not isinstance(value, bool):
            raise error(RuntimeError, "requires_grad must be a bool")
        if self._grad_fn is not None:
            if value:
                return
            raise error(
                RuntimeError,
                "you can only change requires_grad flags of leaf variables. If you want to use a computed variable in "
                "a subgraph that doesn't require differentiation use var_no_grad = var.detach().",
            )
        if value and self._value.type.element.kind != "f":
            raise error(
                RuntimeError, "only Tensors of floating point and complex dtype can require gradients", _CONVERT_FIRST
            )
        if value and self.is_inference() and not state.inference:
            raise error(
                RuntimeError, "Setting requires_grad=True on inference tensor outside InferenceMode is not allowed."
            )
        self._requires_grad = value

    def requires_grad_(self, requires_grad: bool = True) -> "Tensor":
        """Set `requires_grad`; return the tensor."""
        if requires_grad and self._value.type.element.kind != "f":
            raise error(
                RuntimeError, "only Tensors of floating point dtype can require gradients", _CONVERT_FIRST
            )
        self.requires_grad = bool(requires_grad)
        return self

    @property
    def is_leaf(self) -> bool:
        """Whether it was not computed from a tensor that requires grad."""
        return self.grad_fn is None

    @property
    def grad_fn(self) -> Node | None:
        """The node of the graph that computed it; None for leaves."""
        if self._link is not None:
            self._linked_node()
        return self._grad_fn

    @property
    def output_nr(self) -> int:
        """Which output of its node it is."""
        node = self._grad_fn
        return 0 if node is None else (node.extra or {}).get("output", 0)

    @property
    def grad(self) -> "Tensor | None":
        """The gradient accumulated by the backwards so far; None before the first."""
        if self._grad is None and self._grad_fn is not None and not self.retains_grad:
            import warnings

            warnings.warn(NON_LEAF_GRAD, UserWarning, stacklevel=2)
        return self._grad

    @grad.setter
    def grad(self, value: "Tensor | None") -> None:
        if value is not None:
            _check_grad(self, value)
        self._grad = value

    @grad.deleter
    def grad(self) -> None:
        self._grad = None

    @property
    def retains_grad(self) -> bool:
        """Whether a backward fills in `.grad` although the tensor is no leaf."""
        node = self._grad_fn
        return node is not None and node.extra is not None and "retained" in node.extra

    def retain_grad(self) -> None:
        """Let a backward fill in `.grad` although the tensor is no leaf.

        Raises:
            RuntimeError: it does not require grad.
        """
        if not self.requires_grad:
            raise error(RuntimeError, "can't retain_grad on Tensor that has requires_grad=False")
        if self._grad_fn is not None:
            import weakref

            extra_of(self._grad_fn)["retained"] = weakref.ref(self)


_CONVERT_FIRST = "convert it first: x.float().requires_grad_()"


def _check_grad(x: Tensor, grad: Any) -> None:
    if not isinstance(grad, Tensor):
        raise TypeError(f"assigned grad expected to be a Tensor or None but got grad of type {type(grad).__name__}")
    if grad is x:
        raise error(RuntimeError, "can't assign Variable as its own grad")
    if grad._value.type.shape != x._value.type.shape:
        raise error(
            RuntimeError,
            f"attempting to assign a gradient of size '{list(grad.shape)}' to a tensor of size '{list(x.shape)}'. "
            "Please ensure that the gradient and the tensor are the same size",
        )
    if grad._value.type is not x._value.type:
        have = x.dtype.type_name
        raise error(
            RuntimeError,
            f"attempting to assign a gradient with dtype '{grad.dtype.c_name}' to a tensor with grad_dtype '{have}'. "
            "The gradient must match the tensor's grad_dtype (defaults to the tensor's dtype). You can set the "
            "tensor's grad_dtype attribute with a specific dtype, or None to allow any dtype. Set grad_dtype with "
            "caution. Diverging the dtypes of a tensor and its gradient may break downstream systems that assume they "
            "match.",
        )




# --- making tensors ---------------------------------------------------------------------------------------------------


def from_array(array: Array, cls: type = Tensor) -> Any:
    """Return a tensor whose memory is an array that nobody else holds."""
    tensor = wrap(cls, data_node(array))
    if state.inference:
        tensor._value.__dict__["inference"] = state.inference
    return tensor


def share_array(array: Array) -> Tensor:
    """Return a tensor that shares the memory of a NumPy array."""
    tensor = wrap(Tensor, data_node(array))
    tensor._link = Link(None, (), True)
    return tensor


def _unpickle(cls: type, array: Array, requires_grad: bool) -> Tensor:
    tensor = from_array(array, cls)
    tensor._requires_grad = requires_grad
    return tensor


def _legacy_tensor(*data: Any, **options: Any) -> Tensor:
    """`Tensor([2, 1])`: the default float dtype whatever the data; `Tensor(2, 3)`: that shape."""
    element = get_default_dtype().numpy
    if len(data) == 1 and isinstance(data[0], float):
        raise TypeError("new(): data must be a sequence (got float)")
    if len(data) == 1 and not isinstance(data[0], int):
        source = data[0]._array() if isinstance(data[0], Tensor) else data[0]
        return from_array(np.array(source, dtype=element))
    return from_array(np.zeros(tuple(data), element))


# --- for the modules that define operations ---------------------------------------------------------------------------


def operation(op: EagerOp, operands: Sequence[Any], attributes: Attributes = ()) -> Tensor:
    """Record an operation on tensors and Python numbers; return the tensor of its result."""
    return wrap(Tensor, record(op, operands, attributes))


def in_place(x: Tensor, op: EagerOp, operands: Sequence[Any], attributes: Attributes = ()) -> Tensor:
    """Record an operation and let `x` hold its result; return x.

    Raises:
        RuntimeError: `x` is a leaf that requires grad, or the result has another shape or dtype.
    """
    check_writable(x)
    assign(x, record(op, operands, attributes))
    return x


def view_of(x: Tensor, op: EagerOp, step: Any) -> Tensor:
    """Return the view of `x` that a step leads to."""
    return view(x, op, step, Tensor)


def normalize_dim(dim: Any, rank: int) -> int:
    """Return a dimension counted from the front.

    Raises:
        IndexError: it is out of range, in PyTorch's words.
    """
    try:
        dim = dim.__index__()
    except AttributeError:
        raise TypeError(f"a dimension should be an int, not {type(dim).__name__}") from None
    width = max(rank, 1)
    if not -width <= dim < width:
        raise error(
            IndexError, f"Dimension out of range (expected to be in range of [{-width}, {width - 1}], but got {dim})"
        )
    return dim + width if dim < 0 else dim
