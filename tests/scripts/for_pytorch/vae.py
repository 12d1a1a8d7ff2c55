"""A variational autoencoder whose noise comes from outside."""

import numpy as np
import torch
from torch import nn, optim
from torch.nn import functional as F

from tests.scripts.beginning import begin

rng = np.random.default_rng(3)
dtype = torch.get_default_dtype()
data = torch.from_numpy((rng.random((32, 20)) < np.linspace(0.1, 0.9, 20)).astype(np.float64)).to(dtype)


class VAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(20, 12)
        self.fc21 = nn.Linear(12, 3)
        self.fc22 = nn.Linear(12, 3)
        self.fc3 = nn.Linear(3, 12)
        self.fc4 = nn.Linear(12, 20)

    def encode(self, x):
        h1 = F.relu(self.fc1(x))
        return self.fc21(h1), self.fc22(h1)

    def reparameterize(self, mu, logvar, eps):
        std = torch.exp(0.5 * logvar)
        return mu + eps * std

    def decode(self, z):
        return torch.sigmoid(self.fc4(F.relu(self.fc3(z))))

    def forward(self, x, eps):
        mu, logvar = self.encode(x.view(-1, 20))
        return self.decode(self.reparameterize(mu, logvar, eps)), mu, logvar


def loss_function(recon_x, x, mu, logvar):
    BCE = F.binary_cross_entropy(recon_x, x.view(-1, 20), reduction="sum")
    KLD = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
    return BCE + KLD


model = begin(VAE())
optimizer = optim.Adam(model.parameters(), lr=1e-3)


def step(batch, eps):
    optimizer.zero_grad()
    recon, mu, logvar = model(batch, eps)
    loss = loss_function(recon, batch, mu, logvar)
    loss.backward()
    optimizer.step()
    return loss


if COMPILED:
    step = torch.compile(step)
losses = []
for epoch in range(25):
    eps = torch.from_numpy(rng.standard_normal((32, 3))).to(dtype)
    losses.append(step(data, eps).item() / len(data))
