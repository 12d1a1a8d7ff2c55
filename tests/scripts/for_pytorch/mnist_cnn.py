"""Digits by convolutions, as the first of PyTorch's examples: dropout in evaluation, Adadelta, StepLR, argparse."""

from __future__ import print_function

import argparse

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader, TensorDataset

from tests.scripts.beginning import begin


class Net(nn.Module):
    def __init__(self):
        super(Net, self).__init__()
        self.conv1 = nn.Conv2d(1, 4, 3, 1)
        self.conv2 = nn.Conv2d(4, 6, kernel_size=3, stride=1, padding="same")
        self.dropout1 = nn.Dropout2d(0.0)
        self.fc1 = nn.Linear(54, 12)
        self.fc2 = nn.Linear(12, 10)

    def forward(self, x):
        x = F.relu(self.conv1(x))
        x = F.relu(self.conv2(x))
        x = F.max_pool2d(x, 2)
        x = self.dropout1(x)
        x = torch.flatten(x, 1)
        x = F.relu(self.fc1(x))
        return F.log_softmax(self.fc2(x), dim=1)


parser = argparse.ArgumentParser()
parser.add_argument("--batch-size", type=int, default=12)
parser.add_argument("--lr", type=float, default=1.0)
parser.add_argument("--no-cuda", action="store_true", default=False)
args = parser.parse_args([])
use_cuda = not args.no_cuda and torch.cuda.is_available()
use_mps = torch.backends.mps.is_available()
device = torch.device("cuda") if use_cuda else torch.device("mps") if use_mps else torch.device("cpu")
torch.manual_seed(1)
rng = np.random.default_rng(0)
images = torch.tensor(rng.random((36, 1, 8, 8)) * np.arange(1, 37)[:, None, None, None] / 36, dtype=torch.get_default_dtype())
labels = torch.arange(36) // 4 % 10
train_kwargs = {"batch_size": args.batch_size}
if use_cuda:
    train_kwargs.update({"num_workers": 1, "pin_memory": True, "shuffle": True})
train_loader = DataLoader(TensorDataset((images - 0.1307) / 0.3081, labels), **train_kwargs)
model = begin(Net()).to(device)
optimizer = optim.Adadelta(model.parameters(), lr=args.lr)
scheduler = StepLR(optimizer, step_size=1, gamma=0.7)


def step(data, target):
    optimizer.zero_grad()
    output = model(data)
    loss = F.nll_loss(output, target)
    loss.backward()
    optimizer.step()
    return loss


if COMPILED:
    step = torch.compile(step)
losses = []
for epoch in range(1, 4):
    model.train()
    for batch_idx, (data, target) in enumerate(train_loader):
        data, target = data.to(device), target.to(device, non_blocking=True)
        losses.append(step(data, target).item())
    scheduler.step()
model.eval()
with torch.inference_mode():
    output = model(images)
    losses.append(F.nll_loss(output, labels, reduction="sum").item())
    pred = output.max(1, keepdim=True)[1]
    losses.append(1 + pred.eq(labels.data.view_as(pred)).long().cpu().sum().item())
