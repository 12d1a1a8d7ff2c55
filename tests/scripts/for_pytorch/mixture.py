"""A mixture density network: logsumexp of Gaussians, softplus, StepLR over epochs."""

import math

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

from tests.scripts.beginning import begin

rng = np.random.default_rng(6)
dtype = torch.get_default_dtype()
target = rng.uniform(-3, 3, (64, 1))
x = torch.tensor(target + 0.9 * np.sin(2 * target) + 0.05 * rng.standard_normal((64, 1)), dtype=dtype)
y = torch.tensor(target, dtype=dtype)


class MDN(nn.Module):
    def __init__(self, n_hidden=12, n_gaussians=3):
        super().__init__()
        self.z_h = nn.Sequential(nn.Linear(1, n_hidden), nn.Tanh())
        self.z_pi = nn.Linear(n_hidden, n_gaussians)
        self.z_mu = nn.Linear(n_hidden, n_gaussians)
        self.z_sigma = nn.Linear(n_hidden, n_gaussians)

    def forward(self, x):
        z_h = self.z_h(x)
        return F.log_softmax(self.z_pi(z_h), -1), self.z_mu(z_h), F.softplus(self.z_sigma(z_h)) + 1e-2


def mdn_loss(log_pi, mu, sigma, y):
    log_prob = -0.5 * ((y.expand_as(mu) - mu) / sigma) ** 2 - torch.log(sigma) - 0.5 * math.log(2 * math.pi)
    return -torch.logsumexp(log_pi + log_prob, dim=1).mean()


model = begin(MDN())
optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=8, gamma=0.5)


def step(x, y):
    optimizer.zero_grad()
    loss = mdn_loss(*model(x), y)
    loss.backward()
    optimizer.step()
    return loss


if COMPILED:
    step = torch.compile(step)
losses = []
for epoch in range(24):
    losses.append(step(x, y).item())
    scheduler.step()
