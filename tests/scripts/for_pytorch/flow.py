"""RealNVP on two moons: coupling layers with masks, a MultivariateNormal, a loss that is a log-likelihood."""

import numpy as np
import torch
from torch import distributions, nn

from tests.scripts.beginning import begin

rng = np.random.default_rng(8)
dtype = torch.get_default_dtype()


class RealNVP(nn.Module):
    def __init__(self, nets, nett, mask, prior):
        super(RealNVP, self).__init__()
        self.prior = prior
        self.mask = nn.Parameter(mask, requires_grad=False)
        self.t = torch.nn.ModuleList([nett() for _ in range(len(mask))])
        self.s = torch.nn.ModuleList([nets() for _ in range(len(mask))])

    def g(self, z):
        x = z
        for i in range(len(self.t)):
            x_ = x * self.mask[i]
            s = self.s[i](x_) * (1 - self.mask[i])
            t = self.t[i](x_) * (1 - self.mask[i])
            x = x_ + (1 - self.mask[i]) * (x * torch.exp(s) + t)
        return x

    def f(self, x):
        log_det_J, z = x.new_zeros(x.shape[0]), x
        for i in reversed(range(len(self.t))):
            z_ = self.mask[i] * z
            s = self.s[i](z_) * (1 - self.mask[i])
            t = self.t[i](z_) * (1 - self.mask[i])
            z = (1 - self.mask[i]) * (z - t) * torch.exp(-s) + z_
            log_det_J -= s.sum(dim=1)
        return z, log_det_J

    def log_prob(self, x):
        z, logp = self.f(x)
        return self.prior.log_prob(z) + logp


def nets():
    return nn.Sequential(nn.Linear(2, 12), nn.LeakyReLU(), nn.Linear(12, 2), nn.Tanh())


def nett():
    return nn.Sequential(nn.Linear(2, 12), nn.LeakyReLU(), nn.Linear(12, 2))


masks = torch.from_numpy(np.array([[0, 1], [1, 0]] * 2).astype(np.float32)).to(dtype)
prior = distributions.MultivariateNormal(torch.zeros(2), torch.eye(2))
flow = RealNVP(nets, nett, masks, prior)
state = {k: v.clone() for k, v in flow.state_dict().items()}
begin(flow)
flow.mask.data = state["mask"]
optimizer = torch.optim.Adam([p for p in flow.parameters() if p.requires_grad == True], lr=1e-2)


def step(x):
    loss = -flow.log_prob(x).mean()
    optimizer.zero_grad()
    loss.backward(retain_graph=True)
    optimizer.step()
    return loss


if COMPILED:
    step = torch.compile(step)
losses = []
for t in range(20):
    angle = rng.uniform(0, np.pi, 32)
    upper = rng.integers(0, 2, 32)
    moons = np.stack([np.cos(angle) + upper, np.where(upper == 1, 0.5 - np.sin(angle), np.sin(angle))], 1)
    losses.append(step(torch.from_numpy(moons).to(dtype)).item())
losses.append(flow.g(torch.ones(3, 2)).sum().item() + 10)
