"""`gradloom.nn`: parameters, and the functions of neural networks (`nn.functional`). No stateful modules."""

from gradloom.nn import functional as functional
from gradloom.nn import utils as utils
from gradloom.nn.parameter import Parameter as Parameter

__all__ = ["Parameter", "functional", "utils"]


def __getattr__(name: str) -> object:
    raise AttributeError(
        f"module 'gradloom.nn' has no attribute {name!r}: there are parameters (nn.Parameter), functions "
        "(nn.functional) and utils, but no module classes; keep the parameters of a net in a list or a dict and write "
        "it as a function"
    )
