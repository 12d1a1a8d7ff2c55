"""Optimizers, learning-rate schedules (`lr_scheduler`) and full-batch minimisation."""

from . import lr_scheduler as lr_scheduler
from .adam import Adam as Adam
from .adam import Adamax as Adamax
from .adam import AdamW as AdamW
from .adam import NAdam as NAdam
from .adam import RAdam as RAdam
from .adaptive import Adadelta as Adadelta
from .adaptive import Adagrad as Adagrad
from .adaptive import RMSprop as RMSprop
from .lbfgs import LBFGS as LBFGS
from .minimize import minimize as minimize
from .optimizer import Optimizer as Optimizer
from .optimizer import ParamGroup as ParamGroup
from .sgd import SGD as SGD
from .sign import ASGD as ASGD
from .sign import Adafactor as Adafactor
from .sign import Muon as Muon
from .sign import Rprop as Rprop
