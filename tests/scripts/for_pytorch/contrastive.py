"""Contrastive learning: two views of each row, the others as negatives, and averaged weights at the end."""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.optim.swa_utils import SWALR, AveragedModel, update_bn

from tests.scripts.beginning import begin

rng = np.random.default_rng(0)
dtype = torch.get_default_dtype()


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(inplace=True), nn.Linear(16, 8))
        self.proj = nn.Linear(8, 4, bias=False)

    def forward(self, x):
        return F.normalize(self.proj(self.net(x)), dim=1)


def nt_xent(z1, z2, temperature=0.5):
    n = z1.size(0)
    z = torch.cat([z1, z2], dim=0)
    sim = torch.mm(z, z.t().contiguous()) / temperature
    sim = sim.masked_fill(torch.eye(2 * n, dtype=torch.bool, device=z.device), float("-inf"))
    pos = torch.sum(z1 * z2, dim=-1) / temperature
    pos = torch.cat([pos, pos], dim=0)
    return (-pos + torch.logsumexp(sim, dim=-1)).mean()


def info_nce(features, temperature=0.1):
    """With masks that pick elements, whose number depends on the data: it runs as it is."""
    labels = torch.cat([torch.arange(features.shape[0] // 2) for _ in range(2)], dim=0)
    labels = labels.unsqueeze(0) == labels.unsqueeze(1)
    similarity = torch.matmul(features, features.T)
    mask = torch.eye(labels.shape[0], dtype=torch.bool)
    labels = labels[~mask].view(labels.shape[0], -1)
    similarity = similarity[~mask].view(similarity.shape[0], -1)
    positives = similarity[labels.bool()].view(labels.shape[0], -1)
    negatives = similarity[~labels.bool()].view(similarity.shape[0], -1)
    logits = torch.cat([positives, negatives], dim=1)
    return F.cross_entropy(logits / temperature, torch.zeros(logits.shape[0], dtype=torch.long))


model = begin(Encoder())
optimizer = torch.optim.Adam(model.parameters(), 3e-3, weight_decay=1e-4)
averaged = AveragedModel(model)
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10)
swa_scheduler = SWALR(optimizer, swa_lr=0.005)


def step(x1, x2):
    loss = nt_xent(model(x1), model(x2))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


if COMPILED:
    step = torch.compile(step)
losses, batches = [], []
for i in range(10):
    x = torch.tensor(rng.standard_normal((10, 6)), dtype=dtype)
    batches.append(x)
    losses.append(step(x + 0.1, x * 1.1).item())
    if i > 5:
        averaged.update_parameters(model)
        swa_scheduler.step()
    else:
        scheduler.step()
update_bn(batches, averaged)
features = averaged(torch.cat(batches[:2]))
losses += [features.abs().sum().item(), info_nce(features).item()]
