"""A generative adversarial net with two optimizers; the generator's result is detached for the discriminator."""

import numpy as np
import torch
import torch.nn as nn

from tests.scripts.beginning import begin

rng = np.random.default_rng(5)
dtype = torch.get_default_dtype()
nz, batch_size = 4, 16


def weights_init(m):
    classname = m.__class__.__name__
    if classname.find("Linear") != -1:
        m.weight.data.mul_(0.5)
        m.bias.data.fill_(0)


netG = begin(nn.Sequential(nn.Linear(nz, 16), nn.LeakyReLU(0.2, inplace=True), nn.Linear(16, 2)), 1)
netD = begin(nn.Sequential(nn.Linear(2, 16), nn.LeakyReLU(0.2, inplace=True), nn.Linear(16, 1), nn.Sigmoid()), 2)
netG.apply(weights_init)
netD.apply(weights_init)
criterion = nn.BCELoss()
optimizerD = torch.optim.Adam(netD.parameters(), lr=0.002, betas=(0.5, 0.999))
optimizerG = torch.optim.Adam(netG.parameters(), lr=0.002, betas=(0.5, 0.999))
real_label, fake_label = 1.0, 0.0


def step(real, noise):
    netD.zero_grad()
    label = torch.full((real.size(0),), real_label, dtype=real.dtype, device=real.device)
    output = netD(real).view(-1)
    errD_real = criterion(output, label)
    errD_real.backward()
    fake = netG(noise)
    label.fill_(fake_label)
    output = netD(fake.detach()).view(-1)
    errD_fake = criterion(output, label)
    errD_fake.backward()
    optimizerD.step()
    netG.zero_grad()
    label.fill_(real_label)
    errG = criterion(netD(fake).view(-1), label)
    errG.backward()
    optimizerG.step()
    return errD_real + errD_fake, errG, output.mean()


if COMPILED:
    step = torch.compile(step)
losses = []
for i in range(30):
    angle = rng.uniform(0, 2 * np.pi, batch_size)
    real = torch.tensor(np.stack([np.cos(angle), np.sin(angle)], 1), dtype=dtype)
    noise = torch.tensor(rng.standard_normal((batch_size, nz)), dtype=dtype)
    errD, errG, D_G = step(real, noise)
    losses += [errD.item(), errG.item(), D_G.item()]
