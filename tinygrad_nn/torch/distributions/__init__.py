"""`torch.distributions`."""

from ...distributions import *
from ...distributions import constraints, kl, transforms
from .._door import door, place

__getattr__, __dir__ = door(
    __name__,
    "distributions",
    files="bernoulli beta binomial categorical cauchy chi2 dirichlet distribution exponential gamma geometric "
    "gumbel half_normal independent laplace log_normal mixture_same_family multinomial "
    "multivariate_normal normal one_hot_categorical poisson studentT transformed_distribution uniform",
)
for _short, _part in (("constraints", constraints), ("kl", kl), ("transforms", transforms)):
    place(f"{__name__}.{_short}", _part)
