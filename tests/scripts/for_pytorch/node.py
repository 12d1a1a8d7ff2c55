"""A neural differential equation: Runge-Kutta by hand through a spiral, with an RMSprop."""

import numpy as np
import torch
import torch.nn as nn
import torch.optim as optim

from tests.scripts.beginning import begin

dtype = torch.get_default_dtype()
true_y0 = torch.tensor([[2.0, 0.0]])
t = torch.linspace(0.0, 2.0, 12)
true_A = torch.tensor([[-0.1, 2.0], [-2.0, -0.1]])


class Lambda(nn.Module):
    def forward(self, t, y):
        return torch.mm(y ** 3, true_A)


class ODEFunc(nn.Module):
    def __init__(self):
        super(ODEFunc, self).__init__()
        self.net = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 2))
        for m in self.net.modules():
            if isinstance(m, nn.Linear):
                nn.init.normal_(m.weight, mean=0, std=0.1)
                nn.init.constant_(m.bias, val=0)

    def forward(self, t, y):
        return self.net(y ** 3)


def odeint(func, y0, t):
    ys = [y0]
    for t0, t1 in zip(t[:-1], t[1:]):
        h, y = t1 - t0, ys[-1]
        k1 = func(t0, y)
        k2 = func(t0 + h / 2, y + h * k1 / 2)
        k3 = func(t0 + h / 2, y + h * k2 / 2)
        k4 = func(t1, y + h * k3)
        ys.append(y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4))
    return torch.stack(ys, dim=0)


with torch.no_grad():
    true_y = odeint(Lambda(), true_y0, t)
func = begin(ODEFunc())
for p in func.parameters():
    p.data *= 0.1
optimizer = optim.RMSprop(func.parameters(), lr=1e-2)


def step(batch_y0, batch_t, batch_y):
    optimizer.zero_grad()
    pred_y = odeint(func, batch_y0, batch_t)
    loss = torch.mean(torch.abs(pred_y - batch_y))
    loss.backward()
    optimizer.step()
    return loss


if COMPILED:
    step = torch.compile(step)
rng = np.random.default_rng(0)
losses = []
for itr in range(1, 12):
    s = torch.from_numpy(rng.choice(np.arange(8, dtype=np.int64), 4, replace=False))
    batch_y = torch.stack([true_y[s + i] for i in range(4)], dim=0)
    losses.append(step(true_y[s], t[:4], batch_y).item())
