"""Learning to learn: a step of gradients inside of a loss, weights as a list, sines of many phases."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn, optim

from tests.scripts.beginning import begin

dtype = torch.get_default_dtype()
rng = np.random.default_rng(3)
model = begin(nn.Sequential(nn.Linear(1, 12), nn.Tanh(), nn.Linear(12, 1)))
meta = optim.Adam(model.parameters(), lr=1e-2)


def forward(x, weights):
    w1, b1, w2, b2 = weights
    return F.linear(torch.tanh(F.linear(x, w1, b1)), w2, b2)


def step(x, y, x2, y2):
    weights = list(model.parameters())
    inner = F.mse_loss(forward(x, weights), y)
    grads = torch.autograd.grad(inner, weights, create_graph=True)
    fast = [w - 0.1 * g for w, g in zip(weights, grads)]
    outer = F.mse_loss(forward(x2, fast), y2)
    meta.zero_grad()
    outer.backward()
    meta.step()
    return inner, outer


if COMPILED:
    step = torch.compile(step)
losses = []
for task in range(15):
    phase = rng.uniform(0, np.pi)
    x, x2 = (torch.tensor(rng.uniform(-3, 3, (10, 1)), dtype=dtype) for _ in range(2))
    losses += [value.item() for value in step(x, torch.sin(x + phase), x2, torch.sin(x2 + phase))]
