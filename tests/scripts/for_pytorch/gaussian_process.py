"""A Gaussian process whose kernel is learned by its marginal likelihood, and a mixture density net, with distributions."""

import math

import numpy as np
import torch
import torch.distributions as D
import torch.nn as nn
import torch.nn.functional as F

from tests.scripts.beginning import begin

rng = np.random.default_rng(0)
dtype = torch.get_default_dtype()
X = torch.linspace(0, 1, 12, dtype=dtype)
Y = torch.sin(6 * X) + 0.1 * torch.tensor(rng.standard_normal(12), dtype=dtype)


class GP(nn.Module):
    def __init__(self):
        super().__init__()
        self.length_scale = nn.Parameter(torch.tensor(-1.0))
        self.output_scale = nn.Parameter(torch.tensor(0.0))
        self.noise = nn.Parameter(torch.tensor(-2.0))

    def kernel(self, a, b):
        sq_dist = torch.cdist(a.unsqueeze(-1), b.unsqueeze(-1)).pow(2)
        return self.output_scale.exp() * torch.exp(-0.5 * sq_dist / self.length_scale.exp() ** 2)

    def forward(self, x, y):
        K = self.kernel(x, x) + (self.noise.exp() + 1e-4) * torch.eye(len(x), dtype=x.dtype)
        L = torch.linalg.cholesky(K)
        alpha = torch.cholesky_solve(y.unsqueeze(-1), L).squeeze(-1)
        return 0.5 * (y @ alpha) + torch.log(torch.diagonal(L)).sum() + 0.5 * len(x) * math.log(2 * math.pi)


class MDN(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(1, 8), nn.Tanh())
        self.pi, self.mu, self.sigma = nn.Linear(8, 3), nn.Linear(8, 3), nn.Linear(8, 3)

    def forward(self, x):
        h = self.hidden(x)
        components = D.Normal(self.mu(h), F.elu(self.sigma(h)) + 1 + 1e-7)
        return D.MixtureSameFamily(D.Categorical(logits=self.pi(h)), components)


gp, mdn = GP(), begin(MDN())
gp_optimizer = torch.optim.Adam(gp.parameters(), lr=0.05)
mdn_optimizer = torch.optim.Adam(mdn.parameters(), lr=1e-2)


def gp_step(x, y):
    gp_optimizer.zero_grad()
    loss = gp(x, y)
    loss.backward()
    gp_optimizer.step()
    return loss


def mdn_step(x, y):
    mdn_optimizer.zero_grad()
    loss = -mdn(x).log_prob(y).mean()
    loss.backward()
    mdn_optimizer.step()
    return loss


if COMPILED:
    gp_step, mdn_step = torch.compile(gp_step), torch.compile(mdn_step)
losses = []
for i in range(10):
    losses += [gp_step(X, Y).item(), 2 + mdn_step(X[:, None], Y).item()]
with torch.no_grad():
    K = gp.kernel(X, X) + 0.1 * torch.eye(12, dtype=dtype)
    losses.append(-D.MultivariateNormal(torch.zeros(12, dtype=dtype), covariance_matrix=K).log_prob(Y).item())
    losses.append(10 + mdn(X[:, None]).mean.sum().item())
