"""A run that is saved and goes on: best weights on disk, optimizer, schedule and generators, mixed precision that is off."""

import os
import tempfile

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

from tests.scripts.beginning import begin


class FocalLoss(nn.Module):
    def __init__(self, gamma=2, alpha=None, size_average=True):
        super(FocalLoss, self).__init__()
        self.gamma = gamma
        self.alpha = torch.Tensor([alpha, 1 - alpha]) if isinstance(alpha, float) else torch.Tensor(alpha)
        self.size_average = size_average

    def forward(self, input, target):
        target = target.view(-1, 1)
        logpt = F.log_softmax(input, dim=-1)
        logpt = logpt.gather(1, target)
        logpt = logpt.view(-1)
        pt = logpt.data.exp()
        if self.alpha is not None:
            if self.alpha.type() != input.data.type():
                self.alpha = self.alpha.type_as(input.data)
            at = self.alpha.gather(0, target.data.view(-1))
            logpt = logpt * at
        loss = -1 * (1 - pt) ** self.gamma * logpt
        return loss.mean() if self.size_average else loss.sum()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.inp = nn.Linear(6, 16)
        self.blocks = nn.ModuleList([nn.Sequential(nn.Linear(16, 16), nn.Tanh()) for _ in range(2)])
        self.norm = nn.BatchNorm1d(16)
        self.out = nn.Linear(16, 2)

    def forward(self, x):
        x = F.gelu(self.inp(x))
        for block in self.blocks:
            x = x + checkpoint(block, x, use_reentrant=False)
        return self.out(self.norm(x))


rng = np.random.default_rng(0)
dtype = torch.get_default_dtype()
X = torch.tensor(rng.standard_normal((60, 6)), dtype=dtype)
y = torch.tensor((rng.random(60) < 0.3).astype(int))
device = "cuda" if torch.cuda.is_available() else "cpu"


def new():
    model = begin(Net()).to(device)
    model = nn.DataParallel(model) if torch.cuda.device_count() > 1 else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-2, betas=(0.9, 0.95), weight_decay=1e-2)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=3, T_mult=2)
    scaler = torch.amp.GradScaler(device, enabled=(device == "cuda"))
    criterion = FocalLoss(gamma=2, alpha=0.25)

    def step(xb, yb):
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device_type=device, enabled=(device == "cuda")):
            loss = criterion(model(xb), yb)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_value_(model.parameters(), clip_value=0.1)
        scaler.step(optimizer)
        scaler.update()
        return loss

    return model, optimizer, scheduler, scaler, torch.compile(step) if COMPILED else step


losses, best_val_loss = [], float("inf")
folder = tempfile.mkdtemp()
path = os.path.join(folder, "best.pt")
model, optimizer, scheduler, scaler, step = new()
for epoch in range(6):
    if epoch == 3:  # begin again from what was saved
        model, optimizer, scheduler, scaler, step = new()
        saved = torch.load(path, map_location=device, weights_only=False)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        scheduler.load_state_dict(saved["scheduler"])
        scaler.load_state_dict(saved["scaler"])
        losses += [saved["epoch"], saved["val_loss"]]
    model.train()
    for i in range(0, 40, 10):
        losses.append(step(X[i : i + 10].to(device, non_blocking=True), y[i : i + 10]).item())
        scheduler.step(epoch + i / 40)
    model.eval()
    with torch.no_grad():
        logits = model(X[40:])
        val_loss = F.cross_entropy(logits, y[40:]).item()
        acc = (logits.argmax(-1) == y[40:]).float().mean().item()
    losses += [val_loss, acc, optimizer.param_groups[0]["lr"]]
    checkpointed = {
        "epoch": epoch,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scheduler": scheduler.state_dict(),
        "scaler": scaler.state_dict(),
        "val_loss": val_loss,
    }
    torch.save(checkpointed, path)
    best_val_loss = min(val_loss, best_val_loss)
model.load_state_dict(torch.load(path, weights_only=True)["model"])
os.remove(path)
os.rmdir(folder)
losses.append(sum(p.numel() for p in model.parameters() if p.requires_grad))
