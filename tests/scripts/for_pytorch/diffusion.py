"""A denoising diffusion of points: a schedule of cumulative products, embeddings of time, an average of the weights."""

import copy
import math

import numpy as np
import torch
from torch import nn

from tests.scripts.beginning import begin

rng = np.random.default_rng(0)
dtype = torch.get_default_dtype()
T = 20
betas = torch.linspace(1e-4, 0.05, T)
alphas = 1.0 - betas
alphas_cumprod = torch.cumprod(alphas, dim=0)


def timestep_embedding(t, dim, max_period=100):
    half = dim // 2
    freqs = torch.exp(-math.log(max_period) * torch.arange(start=0, end=half, dtype=dtype) / half)
    args = t[:, None].to(dtype) * freqs[None]
    return torch.cat([torch.cos(args), torch.sin(args)], dim=-1)


class Denoiser(nn.Module):
    def __init__(self, hidden=24):
        super().__init__()
        self.time = nn.Sequential(nn.Linear(8, hidden), nn.SiLU())
        self.enter = nn.Linear(2, hidden)
        self.middle = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(2))
        self.leave = nn.Linear(hidden, 2)

    def forward(self, x, t):
        h = self.enter(x) + self.time(timestep_embedding(t, 8))
        for layer in self.middle:
            h = h + nn.functional.silu(layer(h))
        return self.leave(h)


model = begin(Denoiser())
ema = copy.deepcopy(model).eval().requires_grad_(False)
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)


def step(x0, t, noise):
    a = alphas_cumprod[t].unsqueeze(-1)
    xt = a.sqrt() * x0 + (1 - a).sqrt() * noise
    loss = nn.functional.mse_loss(model(xt, t), noise)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    with torch.no_grad():
        for slow, fast in zip(ema.parameters(), model.parameters()):
            slow.lerp_(fast, 0.05)
    return loss


if COMPILED:
    step = torch.compile(step)
losses = []
for it in range(20):
    angle = rng.uniform(0, 2 * np.pi, 16)
    x0 = torch.tensor(np.stack((np.cos(angle), np.sin(angle)), 1), dtype=dtype)
    t = torch.tensor(rng.integers(0, T, 16))
    losses.append(step(x0, t, torch.tensor(rng.standard_normal((16, 2)), dtype=dtype)).item())


@torch.no_grad()
def sample(x):
    for i in reversed(range(T)):
        t = torch.full((x.shape[0],), i, dtype=torch.long)
        eps = ema(x, t)
        x = (x - betas[i] / torch.sqrt(1 - alphas_cumprod[i]) * eps) / alphas[i].sqrt()
    return x


losses.append(5 + sample(torch.ones(3, 2)).mean().item())
