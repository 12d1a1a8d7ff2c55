"""`torch.optim`."""

from ...optim import *
from .._door import door

__getattr__, __dir__ = door(
    __name__,
    "optim",
    files="adadelta adagrad adam adamax adamw asgd lbfgs nadam optimizer radam rmsprop rprop sgd",
)
