"""A DCGAN of small pictures: transposed convolutions, batch norms in training, labels as tensors."""

import numpy as np
import torch
import torch.nn as nn
import torch.optim as optim

from tests.scripts.beginning import begin

rng = np.random.default_rng(1)
dtype = torch.get_default_dtype()


class Generator(nn.Module):
    def __init__(self, nz=4, ngf=4, nc=1):
        super(Generator, self).__init__()
        self.main = nn.Sequential(
            nn.ConvTranspose2d(nz, ngf * 2, 4, 1, 0, bias=False),
            nn.BatchNorm2d(ngf * 2),
            nn.ReLU(True),
            nn.ConvTranspose2d(ngf * 2, nc, 4, 2, 1, bias=False),
            nn.Tanh(),
        )

    def forward(self, input):
        return self.main(input)


class Discriminator(nn.Module):
    def __init__(self, ndf=4, nc=1):
        super(Discriminator, self).__init__()
        self.main = nn.Sequential(
            nn.Conv2d(nc, ndf, 4, 2, 1, bias=False),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(ndf, ndf * 2, 3, 1, 1, bias=False),
            nn.BatchNorm2d(ndf * 2),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(ndf * 2, 1, 4, 1, 0, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, input):
        return self.main(input).view(-1, 1).squeeze(1)


def weights_init(m):
    classname = m.__class__.__name__
    if classname.find("Conv") != -1:
        nn.init.normal_(m.weight.data, 0.0, 0.02)
    elif classname.find("BatchNorm") != -1:
        nn.init.normal_(m.weight.data, 1.0, 0.02)
        nn.init.constant_(m.bias.data, 0)


netG, netD = Generator(), Discriminator()
netG.apply(weights_init)
netD.apply(weights_init)
begin(netG, 1), begin(netD, 2)
criterion = nn.BCELoss()
optimizerD = optim.Adam(netD.parameters(), lr=0.002, betas=(0.5, 0.999))
optimizerG = optim.Adam(netG.parameters(), lr=0.002, betas=(0.5, 0.999))


def step(real_cpu, noise):
    b_size = real_cpu.size(0)
    netD.zero_grad()
    label = torch.full((b_size,), 1.0, dtype=real_cpu.dtype)
    errD_real = criterion(netD(real_cpu).view(-1), label)
    errD_real.backward()
    fake = netG(noise)
    label.fill_(0.0)
    errD_fake = criterion(netD(fake.detach()).view(-1), label)
    errD_fake.backward()
    optimizerD.step()
    netG.zero_grad()
    label.fill_(1.0)
    errG = criterion(netD(fake).view(-1), label)
    errG.backward()
    optimizerG.step()
    return errD_real + errD_fake, errG


if COMPILED:
    step = torch.compile(step)
losses = []
for i in range(6):
    real = torch.from_numpy(rng.uniform(-1, 1, (6, 1, 8, 8))).to(dtype)
    losses += [loss.item() for loss in step(real, torch.from_numpy(rng.standard_normal((6, 4, 1, 1))).to(dtype))]
netG.eval()
with torch.no_grad():
    losses.append(3 + netG(torch.ones(1, 4, 1, 1)).sum().item())
