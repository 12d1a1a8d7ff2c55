"""tinygrad_nn: define it like PyTorch, check it like a mathematician, run it faster than hand-written Rust.

Public names only. Tensors load at once; what is built on them (nn, optim, cat, exp, ...) loads when it is first named.
"""

from typing import TYPE_CHECKING as _TYPE_CHECKING

from . import errors as errors
from .dtypes import bool as bool
from .dtypes import double as double
from .dtypes import float as float
from .dtypes import float32 as float32
from .dtypes import float64 as float64
from .dtypes import int as int
from .dtypes import int32 as int32
from .dtypes import int64 as int64
from .dtypes import long as long
from .support import late as _late
from .support.settings import device as device
from .tensor import ALIASES as _ALIASES
from .tensor import FUNCTIONS as _FUNCTIONS
from .tensor import Tensor as Tensor
from .tensor import enable_grad as enable_grad
from .tensor import inference_mode as inference_mode
from .tensor import no_grad as no_grad
from .tensor import set_grad_enabled as set_grad_enabled
from .tensor.creation import arange as arange
from .tensor.creation import as_tensor as as_tensor
from .tensor.creation import asarray as asarray
from .tensor.creation import empty as empty
from .tensor.creation import empty_like as empty_like
from .tensor.creation import eye as eye
from .tensor.creation import from_dlpack as from_dlpack
from .tensor.creation import from_numpy as from_numpy
from .tensor.creation import full as full
from .tensor.creation import full_like as full_like
from .tensor.creation import get_default_dtype as get_default_dtype
from .tensor.creation import linspace as linspace
from .tensor.creation import logspace as logspace
from .tensor.creation import ones as ones
from .tensor.creation import ones_like as ones_like
from .tensor.creation import set_default_dtype as set_default_dtype
from .tensor.creation import tensor as tensor
from .tensor.creation import zeros as zeros
from .tensor.creation import zeros_like as zeros_like

if _TYPE_CHECKING:
    from . import autograd as autograd
    from . import callbacks as callbacks
    from . import data as data
    from . import distributions as distributions
    from . import export as export
    from . import functional as functional
    from . import linalg as linalg
    from . import metrics as metrics
    from . import nn as nn
    from . import optim as optim
    from . import random as random
    from . import sklearn as sklearn
    from . import testing as testing
    from .anomaly import detect_anomaly as detect_anomaly
    from .autograd import Function as Function
    from .compiler import explain as explain
    from .compiler import get_num_threads as get_num_threads
    from .compiler import jit as jit
    from .compiler import set_num_threads as set_num_threads
    from .fitting import fit as fit
    from .fitting.replaying import replay as replay
    from .fitting.trouble import NonFiniteWarning as NonFiniteWarning
    from .history import History as History
    from .loops import scan as scan
    from .nn.ensemble import ensemble as ensemble
    from .onnx import import_onnx as import_onnx
    from .page import report as report
    from .random import Generator as Generator
    from .random import bernoulli as bernoulli
    from .random import default_generator as default_generator
    from .random import get_rng_state as get_rng_state
    from .random import initial_seed as initial_seed
    from .random import manual_seed as manual_seed
    from .random import multinomial as multinomial
    from .random import normal as normal
    from .random import rand as rand
    from .random import rand_like as rand_like
    from .random import randint as randint
    from .random import randint_like as randint_like
    from .random import randn as randn
    from .random import randn_like as randn_like
    from .random import randperm as randperm
    from .random import seed as seed
    from .random import set_rng_state as set_rng_state
    from .recompute import checkpoint as checkpoint
    from .serialize import load as load
    from .serialize import save as save
    from .sweeping import cross_validate as cross_validate
    from .sweeping import sweep as sweep
    from .tensor.assembling import atleast_1d as atleast_1d
    from .tensor.assembling import atleast_2d as atleast_2d
    from .tensor.assembling import atleast_3d as atleast_3d
    from .tensor.assembling import block_diag as block_diag
    from .tensor.assembling import broadcast_shapes as broadcast_shapes
    from .tensor.assembling import broadcast_tensors as broadcast_tensors
    from .tensor.assembling import cartesian_prod as cartesian_prod
    from .tensor.assembling import chain_matmul as chain_matmul
    from .tensor.assembling import column_stack as column_stack
    from .tensor.assembling import combinations as combinations
    from .tensor.assembling import dstack as dstack
    from .tensor.assembling import row_stack as row_stack
    from .tensor.assembling import tril_indices as tril_indices
    from .tensor.assembling import triu_indices as triu_indices
    from .tensor.assembling import vander as vander
    from .tensor.composed.bessel import *  # noqa: F403
    from .tensor.composed.factoring import *  # noqa: F403
    from .tensor.composed.gamma import *  # noqa: F403
    from .tensor.composed.incomplete import *  # noqa: F403
    from .tensor.composed.matrices import *  # noqa: F403
    from .tensor.composed.ordering import *  # noqa: F403
    from .tensor.composed.placing import *  # noqa: F403
    from .tensor.composed.rearranging import *  # noqa: F403
    from .tensor.composed.scanning import *  # noqa: F403
    from .tensor.composed.special import *  # noqa: F403
    from .tensor.composed.statistics import *  # noqa: F403
    from .tensor.functions import abs as abs
    from .tensor.functions import absolute as absolute
    from .tensor.functions import acos as acos
    from .tensor.functions import acosh as acosh
    from .tensor.functions import add as add
    from .tensor.functions import addcdiv as addcdiv
    from .tensor.functions import addcmul as addcmul
    from .tensor.functions import addmm as addmm
    from .tensor.functions import addmv as addmv
    from .tensor.functions import all as all
    from .tensor.functions import allclose as allclose
    from .tensor.functions import amax as amax
    from .tensor.functions import amin as amin
    from .tensor.functions import any as any
    from .tensor.functions import arccos as arccos
    from .tensor.functions import arccosh as arccosh
    from .tensor.functions import arcsin as arcsin
    from .tensor.functions import arcsinh as arcsinh
    from .tensor.functions import arctan as arctan
    from .tensor.functions import arctan2 as arctan2
    from .tensor.functions import arctanh as arctanh
    from .tensor.functions import argmax as argmax
    from .tensor.functions import argmin as argmin
    from .tensor.functions import argsort as argsort
    from .tensor.functions import asin as asin
    from .tensor.functions import asinh as asinh
    from .tensor.functions import atan as atan
    from .tensor.functions import atan2 as atan2
    from .tensor.functions import atanh as atanh
    from .tensor.functions import bitwise_and as bitwise_and
    from .tensor.functions import bitwise_left_shift as bitwise_left_shift
    from .tensor.functions import bitwise_not as bitwise_not
    from .tensor.functions import bitwise_or as bitwise_or
    from .tensor.functions import bitwise_right_shift as bitwise_right_shift
    from .tensor.functions import bitwise_xor as bitwise_xor
    from .tensor.functions import bmm as bmm
    from .tensor.functions import broadcast_to as broadcast_to
    from .tensor.functions import ceil as ceil
    from .tensor.functions import chunk as chunk
    from .tensor.functions import clamp as clamp
    from .tensor.functions import clip as clip
    from .tensor.functions import clone as clone
    from .tensor.functions import cos as cos
    from .tensor.functions import cosh as cosh
    from .tensor.functions import count_nonzero as count_nonzero
    from .tensor.functions import cumprod as cumprod
    from .tensor.functions import cumsum as cumsum
    from .tensor.functions import detach as detach
    from .tensor.functions import diagonal as diagonal
    from .tensor.functions import div as div
    from .tensor.functions import divide as divide
    from .tensor.functions import dot as dot
    from .tensor.functions import eq as eq
    from .tensor.functions import equal as equal
    from .tensor.functions import erf as erf
    from .tensor.functions import erfc as erfc
    from .tensor.functions import exp as exp
    from .tensor.functions import exp2 as exp2
    from .tensor.functions import expm1 as expm1
    from .tensor.functions import fix as fix
    from .tensor.functions import flatten as flatten
    from .tensor.functions import flip as flip
    from .tensor.functions import floor as floor
    from .tensor.functions import floor_divide as floor_divide
    from .tensor.functions import fmod as fmod
    from .tensor.functions import frac as frac
    from .tensor.functions import gather as gather
    from .tensor.functions import ge as ge
    from .tensor.functions import ger as ger
    from .tensor.functions import greater as greater
    from .tensor.functions import greater_equal as greater_equal
    from .tensor.functions import gt as gt
    from .tensor.functions import index_add as index_add
    from .tensor.functions import index_select as index_select
    from .tensor.functions import inner as inner
    from .tensor.functions import isclose as isclose
    from .tensor.functions import isfinite as isfinite
    from .tensor.functions import isinf as isinf
    from .tensor.functions import isnan as isnan
    from .tensor.functions import le as le
    from .tensor.functions import lerp as lerp
    from .tensor.functions import less as less
    from .tensor.functions import less_equal as less_equal
    from .tensor.functions import log as log
    from .tensor.functions import log1p as log1p
    from .tensor.functions import log2 as log2
    from .tensor.functions import log10 as log10
    from .tensor.functions import log_softmax as log_softmax
    from .tensor.functions import logaddexp as logaddexp
    from .tensor.functions import logical_and as logical_and
    from .tensor.functions import logical_not as logical_not
    from .tensor.functions import logical_or as logical_or
    from .tensor.functions import logical_xor as logical_xor
    from .tensor.functions import logit as logit
    from .tensor.functions import logsumexp as logsumexp
    from .tensor.functions import lt as lt
    from .tensor.functions import masked_fill as masked_fill
    from .tensor.functions import masked_select as masked_select
    from .tensor.functions import matmul as matmul
    from .tensor.functions import max as max
    from .tensor.functions import maximum as maximum
    from .tensor.functions import mean as mean
    from .tensor.functions import min as min
    from .tensor.functions import minimum as minimum
    from .tensor.functions import mm as mm
    from .tensor.functions import moveaxis as moveaxis
    from .tensor.functions import movedim as movedim
    from .tensor.functions import mul as mul
    from .tensor.functions import multiply as multiply
    from .tensor.functions import mv as mv
    from .tensor.functions import nan_to_num as nan_to_num
    from .tensor.functions import nanmean as nanmean
    from .tensor.functions import nansum as nansum
    from .tensor.functions import narrow as narrow
    from .tensor.functions import ne as ne
    from .tensor.functions import neg as neg
    from .tensor.functions import negative as negative
    from .tensor.functions import nonzero as nonzero
    from .tensor.functions import norm as norm
    from .tensor.functions import not_equal as not_equal
    from .tensor.functions import numel as numel
    from .tensor.functions import outer as outer
    from .tensor.functions import permute as permute
    from .tensor.functions import polygamma as polygamma  # type: ignore[assignment]
    from .tensor.functions import pow as pow
    from .tensor.functions import prod as prod
    from .tensor.functions import ravel as ravel
    from .tensor.functions import reciprocal as reciprocal
    from .tensor.functions import relu as relu
    from .tensor.functions import remainder as remainder
    from .tensor.functions import reshape as reshape
    from .tensor.functions import roll as roll
    from .tensor.functions import round as round
    from .tensor.functions import rsqrt as rsqrt
    from .tensor.functions import scatter as scatter
    from .tensor.functions import scatter_add as scatter_add
    from .tensor.functions import select as select
    from .tensor.functions import sigmoid as sigmoid
    from .tensor.functions import sign as sign
    from .tensor.functions import sin as sin
    from .tensor.functions import sinh as sinh
    from .tensor.functions import softmax as softmax
    from .tensor.functions import sort as sort
    from .tensor.functions import split as split
    from .tensor.functions import sqrt as sqrt
    from .tensor.functions import square as square
    from .tensor.functions import squeeze as squeeze
    from .tensor.functions import std as std
    from .tensor.functions import sub as sub
    from .tensor.functions import subtract as subtract
    from .tensor.functions import sum as sum
    from .tensor.functions import swapaxes as swapaxes
    from .tensor.functions import swapdims as swapdims
    from .tensor.functions import t as t
    from .tensor.functions import take as take
    from .tensor.functions import take_along_dim as take_along_dim
    from .tensor.functions import tan as tan
    from .tensor.functions import tanh as tanh
    from .tensor.functions import tensordot as tensordot
    from .tensor.functions import tile as tile
    from .tensor.functions import topk as topk
    from .tensor.functions import transpose as transpose
    from .tensor.functions import tril as tril
    from .tensor.functions import triu as triu
    from .tensor.functions import true_divide as true_divide
    from .tensor.functions import trunc as trunc
    from .tensor.functions import unbind as unbind
    from .tensor.functions import unflatten as unflatten
    from .tensor.functions import unsqueeze as unsqueeze
    from .tensor.functions import var as var
    from .tensor.functions import where as where
    from .tensor.joining import cat as cat
    from .tensor.joining import concat as concat
    from .tensor.joining import concatenate as concatenate
    from .tensor.joining import einsum as einsum
    from .tensor.joining import hstack as hstack
    from .tensor.joining import meshgrid as meshgrid
    from .tensor.joining import stack as stack
    from .tensor.joining import vstack as vstack
    from .tensor.printing import set_printoptions as set_printoptions
    from .tensor.results import can_cast as can_cast
    from .tensor.results import promote_types as promote_types
    from .tensor.results import result_type as result_type
    from .transforms import grad as grad
    from .transforms import hessian as hessian
    from .transforms import hvp as hvp
    from .transforms import jacobian as jacobian
    from .transforms import jvp as jvp
    from .transforms import linearize as linearize
    from .transforms import value_and_grad as value_and_grad
    from .transforms import vjp as vjp
    from .viz import draw as draw

_NAMES = {  # by the module that is loaded when one of them is first asked for
    "anomaly": "detect_anomaly",
    "autograd": "Function autograd",
    "callbacks": "callbacks",
    "compiler": "explain get_num_threads jit set_num_threads",
    "data": "data",
    "distributions": "distributions",
    "export": "export",
    "fitting": "fit",
    "functional": "functional",
    "history": "History",
    "linalg": "linalg",
    "loops": "scan",
    "metrics": "metrics",
    "nn": "nn",
    "nn.ensemble": "ensemble",
    "onnx": "import_onnx",
    "optim": "optim",
    "page": "report",
    "random": """
        Generator default_generator get_rng_state initial_seed manual_seed normal rand rand_like randint randint_like
        randn randn_like random randperm seed set_rng_state
    """,
    "recompute": "checkpoint",
    "serialize": "load save",
    "sklearn": "sklearn",
    "sweeping": "cross_validate sweep",
    "tensor.assembling": """
        atleast_1d atleast_2d atleast_3d block_diag broadcast_shapes broadcast_tensors cartesian_prod chain_matmul
        column_stack combinations dstack row_stack tril_indices triu_indices vander
    """,
    "tensor.functions": """
        abs absolute acos acosh add addcdiv addcmul addmm addmv all allclose amax amin any argmax argmin argsort
        asin asinh atan atan2 atanh bitwise_and bitwise_left_shift bitwise_not bitwise_or bitwise_right_shift
        bitwise_xor bmm broadcast_to ceil chunk clamp clip clone cos cosh count_nonzero cumprod cumsum detach
        diagonal div dot eq equal erf erfc exp exp2 expm1 flatten flip floor floor_divide fmod frac gather ge gt
        index_add index_select inner isclose isfinite isinf isnan le lerp log log10 log1p log2 log_softmax
        logaddexp logical_and logical_not logical_or logical_xor logit logsumexp lt masked_fill masked_select
        matmul max maximum mean min minimum mm movedim mul mv nan_to_num nanmean nansum narrow ne neg nonzero
        norm numel outer permute polygamma pow prod ravel reciprocal relu remainder reshape roll round rsqrt
        scatter scatter_add select sigmoid sign sin sinh softmax sort split sqrt square squeeze std sub sum
        swapaxes t take take_along_dim tan tanh tensordot tile topk transpose tril triu true_divide trunc unbind
        unflatten unsqueeze var where
    """,
    "tensor.joining": "cat concat concatenate einsum hstack meshgrid stack vstack",
    "tensor.results": "can_cast promote_types result_type",
    "testing": "testing",
    "tensor.printing": "set_printoptions",
    "transforms": "grad hessian hvp jacobian jvp linearize value_and_grad vjp",
    "fitting.replaying": "replay",
    "fitting.trouble": "NonFiniteWarning",
    "viz": "draw",
}
_NAMES["tensor.functions"] += " ".join((*_ALIASES, *_FUNCTIONS))  # what `tensor/composed/` has
__getattr__, __dir__ = _late(__name__, _NAMES)
