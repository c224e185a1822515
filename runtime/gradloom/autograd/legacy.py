"""Names that PyTorch keeps from before tensors recorded what is computed with them."""

from abc import ABC
from typing import Any

from gradloom.autograd.tensor import Tensor


class Variable(ABC):  # noqa: B024  (for `register`)
    """`Variable(tensor, requires_grad=True)`: a tensor with the memory of `tensor`. All tensors are instances of it."""

    def __new__(cls, data: Any = None, requires_grad: bool = False, volatile: bool = False) -> Any:
        """Return a tensor that shares the memory of `data`, without its history.

        Raises:
            TypeError: `data` is no tensor.
        """
        if data is None:
            data = Tensor()
        if not isinstance(data, Tensor):
            raise TypeError(f"Variable data has to be a tensor, but got {type(data).__name__}")
        result = data.detach()
        result.requires_grad = requires_grad
        return result


Variable.register(Tensor)
