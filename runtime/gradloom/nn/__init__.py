"""`gradloom.nn`: parameters, and the functions of neural networks (`nn.functional`). No stateful modules."""

from gradloom.nn import functional as functional
from gradloom.nn import utils as utils
from gradloom.nn.parameter import Parameter as Parameter

__all__ = ["Parameter", "functional", "utils"]
