"""LBFGS with a closure: a sine by two linear layers, and Rosenbrock's function."""

import numpy as np
import torch
import torch.nn as nn
import torch.optim as optim

from tests.scripts.beginning import begin

dtype = torch.get_default_dtype()
x = torch.tensor(np.linspace(-2, 2, 24)[:, None], dtype=dtype)
y = torch.sin(2 * x)
model = begin(nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1)))
criterion = nn.MSELoss()
optimizer = optim.LBFGS(model.parameters(), lr=0.5, max_iter=4)
losses = []


def value():
    optimizer.zero_grad()
    out = model(x)
    loss = criterion(out, y)
    loss.backward()
    return loss


if COMPILED:
    value = torch.compile(value)


def closure():
    loss = value()
    losses.append(1 + loss.item())
    return loss


for i in range(4):
    optimizer.step(closure)

point = torch.tensor([-1.0, 1.5], requires_grad=True)
solver = optim.LBFGS([point], max_iter=8, line_search_fn="strong_wolfe")


def rosenbrock():
    solver.zero_grad()
    f = (1 - point[0]) ** 2 + 10 * (point[1] - point[0] ** 2) ** 2
    f.backward()
    return f


for i in range(2):
    losses.append(1 + solver.step(rosenbrock).item())
