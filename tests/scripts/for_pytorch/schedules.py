"""Rates: OneCycleLR, CosineAnnealingLR, ExponentialLR, LambdaLR, warm-up in sequence; a group for each layer."""

import numpy as np
import torch
import torch.nn as nn
from torch.optim import lr_scheduler

from tests.scripts.beginning import begin

rng = np.random.default_rng(0)
x = torch.tensor(rng.standard_normal((20, 3)), dtype=torch.get_default_dtype())
y = x.prod(dim=1, keepdim=True)
KINDS = {
    "onecycle": lambda o: lr_scheduler.OneCycleLR(o, max_lr=[0.1, 0.05], steps_per_epoch=4, epochs=3),
    "cosine": lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=12, eta_min=1e-3),
    "restarts": lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, T_0=4, T_mult=2),
    "exponential": lambda o: lr_scheduler.ExponentialLR(o, gamma=0.9),
    "lambda": lambda o: lr_scheduler.LambdaLR(o, lr_lambda=lambda e: 0.95 ** e),
    "steps": lambda o: lr_scheduler.MultiStepLR(o, milestones=[3, 7], gamma=0.1),
    "sequence": lambda o: lr_scheduler.SequentialLR(
        o, [lr_scheduler.LinearLR(o, start_factor=0.1, total_iters=4), lr_scheduler.PolynomialLR(o, total_iters=8)], [4]),
    "cyclic": lambda o: lr_scheduler.CyclicLR(o, base_lr=0.01, max_lr=0.1, step_size_up=3),
}
losses = []
for k, (name, make) in enumerate(KINDS.items()):
    model = begin(nn.Sequential(nn.Linear(3, 8), nn.Softplus(), nn.Linear(8, 1)), k)
    optimizer = torch.optim.SGD([{"params": model[0].parameters(), "lr": 0.05}, {"params": model[2].parameters()}],
                                lr=0.02, momentum=0.9, weight_decay=1e-4)
    scheduler = make(optimizer)

    def step(x, y):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(input=model(x), target=y)
        loss.backward()
        optimizer.step()
        return loss

    if COMPILED:
        step = torch.compile(step)
    for i in range(12):
        losses.append(step(x, y).item())
        scheduler.step()
        losses.append(sum(scheduler.get_last_lr()))
