"""A line and a curve by a small network, with momentum; the tutorial of all tutorials."""

import numpy as np
import torch
import torch.nn as nn

from tests.scripts.beginning import begin

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
rng = np.random.default_rng(1)
x = torch.tensor(rng.uniform(-2, 2, (64, 1)), dtype=torch.get_default_dtype()).to(device)
y = torch.sin(2 * x) + 0.3 * x

model = begin(nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 1))).to(device)
criterion = nn.MSELoss(reduction="mean")
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)


def step(x, y):
    optimizer.zero_grad()
    loss = criterion(model(x), y)
    loss.backward()
    optimizer.step()
    return loss


if COMPILED:
    step = torch.compile(step)
losses = []
for epoch in range(60):
    loss = step(x, y)
    losses.append(loss.item())
    if epoch % 20 == 0:
        print(f"epoch {epoch}: {loss.item():.4f}")
