"""A Wasserstein critic with a gradient penalty, five of its steps for one of the generator's, and an average of weights."""

import copy

import numpy as np
import torch
from torch import autograd, nn, optim

from tests.scripts.beginning import begin

rng = np.random.default_rng(3)
dtype = torch.get_default_dtype()
LAMBDA, CRITIC_ITERS, BATCH = 10, 3, 12


class Generator(nn.Module):
    def __init__(self):
        super().__init__()
        self.main = nn.Sequential(nn.Linear(2, 16), nn.ReLU(True), nn.Linear(16, 16), nn.ReLU(True), nn.Linear(16, 2))

    def forward(self, noise):
        return self.main(noise)


class Discriminator(nn.Module):
    def __init__(self):
        super().__init__()
        self.main = nn.Sequential(nn.Linear(2, 16), nn.LeakyReLU(0.2), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 1))

    def forward(self, inputs):
        return self.main(inputs).view(-1)


netG, netD = begin(Generator(), 1), begin(Discriminator(), 2)
averaged = copy.deepcopy(netG)
for p in averaged.parameters():
    p.requires_grad_(False)
optimizerD = optim.Adam(netD.parameters(), lr=1e-2, betas=(0.5, 0.9))
optimizerG = optim.RMSprop(netG.parameters(), lr=5e-3)


def calc_gradient_penalty(real_data, fake_data, alpha):
    alpha = alpha.expand(real_data.size())
    interpolates = (alpha * real_data + ((1 - alpha) * fake_data)).detach().requires_grad_(True)
    disc_interpolates = netD(interpolates)
    gradients = autograd.grad(
        outputs=disc_interpolates,
        inputs=interpolates,
        grad_outputs=torch.ones(disc_interpolates.size(), dtype=real_data.dtype),
        create_graph=True,
        retain_graph=True,
        only_inputs=True,
    )[0]
    gradients = gradients.view(gradients.size(0), -1)
    return ((gradients.norm(2, dim=1) - 1) ** 2).mean() * LAMBDA


def critic_step(real, noise, alpha):
    optimizerD.zero_grad()
    with torch.no_grad():
        fake = netG(noise)
    D_real = netD(real).mean()
    D_fake = netD(fake).mean()
    gradient_penalty = calc_gradient_penalty(real, fake, alpha)
    D_cost = D_fake - D_real + gradient_penalty
    D_cost.backward()
    optimizerD.step()
    return D_cost, D_real - D_fake


def generator_step(noise):
    for p in netD.parameters():
        p.requires_grad = False
    optimizerG.zero_grad(set_to_none=True)
    G_cost = -netD(netG(noise)).mean()
    G_cost.backward()
    optimizerG.step()
    for p in netD.parameters():
        p.requires_grad = True
    with torch.no_grad():
        for slow, fast in zip(averaged.parameters(), netG.parameters()):
            slow.mul_(0.9).add_(fast, alpha=0.1)
    return G_cost


if COMPILED:
    critic_step, generator_step = torch.compile(critic_step), torch.compile(generator_step)
losses = []
for iteration in range(6):
    for _ in range(CRITIC_ITERS):
        real = torch.tensor(rng.standard_normal((BATCH, 2)) * 0.1 + rng.choice([-1, 1], (BATCH, 2)), dtype=dtype)
        noise = torch.tensor(rng.standard_normal((BATCH, 2)), dtype=dtype)
        cost, distance = critic_step(real, noise, torch.tensor(rng.random((BATCH, 1)), dtype=dtype))
        losses += [cost.item(), distance.item()]
    losses.append(generator_step(torch.tensor(rng.standard_normal((BATCH, 2)), dtype=dtype)).item())
losses.append(sum(p.abs().sum() for p in averaged.parameters()).item())
