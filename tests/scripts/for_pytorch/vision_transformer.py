"""A transformer over patches of pictures: a class token, groups with rates of their own, a warm-up and a cosine."""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR

from tests.scripts.beginning import begin

rng = np.random.default_rng(0)
dtype = torch.get_default_dtype()


class VisionTransformer(nn.Module):
    def __init__(self, dim=8, depth=2, heads=2, classes=3):
        super().__init__()
        self.patch = nn.Conv2d(1, dim, kernel_size=4, stride=4)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 5, dim) + 0.02)
        layer = nn.TransformerEncoderLayer(
            d_model=dim, nhead=heads, dim_feedforward=16, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.head = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, classes))

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat((self.cls_token.expand(x.shape[0], -1, -1), x), dim=1) + self.pos_embed
        return self.head(self.encoder(x)[:, 0])


model = begin(VisionTransformer())
head = [p for name, p in model.named_parameters() if "head" in name]
body = [p for name, p in model.named_parameters() if "head" not in name]
optimizer = torch.optim.AdamW([{"params": head, "lr": 1e-2}, {"params": body}], lr=1e-3)
scheduler = SequentialLR(optimizer, [LinearLR(optimizer, 0.1, total_iters=3), CosineAnnealingLR(optimizer, 5)], milestones=[3])


def mixup(x, y, lam, order):
    return lam * x + (1 - lam) * x[order], y, y[order]


def step(x, y, lam, order):
    mixed, y_a, y_b = mixup(x, y, lam, order)
    outputs = model(mixed)
    loss = lam * F.cross_entropy(outputs, y_a, label_smoothing=0.1) + (1 - lam) * F.cross_entropy(outputs, y_b)
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss, outputs.detach().argmax(dim=1).eq(y).sum()


if COMPILED:
    step = torch.compile(step)
losses = []
for i in range(8):
    x = torch.tensor(rng.standard_normal((6, 1, 8, 8)), dtype=dtype)
    y = torch.tensor(rng.integers(0, 3, 6))
    loss, correct = step(x, y, torch.tensor(rng.beta(1.0, 1.0), dtype=dtype), torch.from_numpy(rng.permutation(6)))
    scheduler.step()
    losses += [loss.item(), 1 + correct.item()]
losses += [group["lr"] for group in optimizer.param_groups]
