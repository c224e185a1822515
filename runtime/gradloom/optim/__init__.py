"""Optimizers in PyTorch's signatures: each step is one compiled program that updates all parameters together.

The base class and saved states are in optimizer.py, how a step becomes one program in update.py; each optimizer has a
file of its own, with its formulas as rules in NumPy code.
"""

from gradloom.optim import lr_scheduler
from gradloom.optim.adagrad import Adagrad
from gradloom.optim.adam import Adam, AdamW
from gradloom.optim.lbfgs import LBFGS
from gradloom.optim.optimizer import Optimizer
from gradloom.optim.rmsprop import RMSprop
from gradloom.optim.sgd import SGD

__all__ = ["LBFGS", "SGD", "Adagrad", "Adam", "AdamW", "Optimizer", "RMSprop", "lr_scheduler"]
