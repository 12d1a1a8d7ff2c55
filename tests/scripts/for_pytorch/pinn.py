"""A physics-informed net: y'' + y = 0 with y(0) = 0 and y'(0) = 1, by autograd.grad of autograd.grad."""

import torch
import torch.nn as nn

from tests.scripts.beginning import begin


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.ModuleList([nn.Linear(1, 16), nn.Linear(16, 16)])
        self.out = nn.Linear(16, 1)

    def forward(self, t):
        for layer in self.hidden:
            t = torch.tanh(layer(t))
        return self.out(t)


net = begin(Net())
optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
t = torch.linspace(0, 3, 24).view(-1, 1).requires_grad_(True)
t0 = torch.zeros(1, 1, requires_grad=True)


def derivative(y, x):
    return torch.autograd.grad(y, x, grad_outputs=torch.ones_like(y), create_graph=True, retain_graph=True)[0]


def step():
    optimizer.zero_grad()
    y = net(t)
    dy = derivative(y, t)
    d2y = derivative(dy, t)
    residual = torch.mean((d2y + y) ** 2)
    y0 = net(t0)
    boundary = (y0 ** 2 + (derivative(y0, t0) - 1) ** 2).squeeze()
    loss = residual + boundary
    loss.backward()
    optimizer.step()
    return loss


if COMPILED:
    step = torch.compile(step)
losses = [step().item() for _ in range(30)]
