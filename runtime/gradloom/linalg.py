"""`gradloom.linalg`: norms, products, inverses and linear systems of tensors, under the names of `torch.linalg`.

There are no decompositions (eigenvalues, singular values, determinants): the compiler has no derivatives of them.
"""

from gradloom.autograd.linalg import matmul as matmul
from gradloom.autograd.matrices import LinAlgError as LinAlgError
from gradloom.autograd.matrices import inv as inv
from gradloom.autograd.matrices import matrix_power as matrix_power
from gradloom.autograd.matrices import multi_dot as multi_dot
from gradloom.autograd.matrices import solve as solve
from gradloom.autograd.norms import linalg_norm as norm
from gradloom.autograd.norms import matrix_norm as matrix_norm
from gradloom.autograd.norms import vector_norm as vector_norm
from gradloom.autograd.products import linalg_cross as cross
from gradloom.autograd.products import vecdot as vecdot

__all__ = [
    "LinAlgError",
    "cross",
    "inv",
    "matmul",
    "matrix_norm",
    "matrix_power",
    "multi_dot",
    "norm",
    "solve",
    "vecdot",
    "vector_norm",
]
