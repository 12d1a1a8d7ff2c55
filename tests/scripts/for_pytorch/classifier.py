"""A classifier of clusters: Dataset, DataLoader, train and eval, accuracy, a checkpoint with the best state."""

import copy
import os
import tempfile

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset, random_split

from tests.scripts.beginning import begin


class Clusters(Dataset):
    def __init__(self, count, seed):
        rng = np.random.default_rng(seed)
        self.labels = rng.integers(0, 3, count)
        centres = np.array([[0.0, 2.0], [-2.0, -1.0], [2.0, -1.0]])
        self.points = centres[self.labels] + rng.normal(0, 0.7, (count, 2))

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return torch.tensor(self.points[index], dtype=torch.get_default_dtype()), int(self.labels[index])


class Net(nn.Module):
    def __init__(self, hidden=16, classes=3):
        super(Net, self).__init__()
        self.fc1 = nn.Linear(2, hidden)
        self.bn = nn.BatchNorm1d(hidden)
        self.fc2 = nn.Linear(hidden, classes)

    def forward(self, x):
        x = F.relu(self.bn(self.fc1(x)), inplace=True)
        return F.log_softmax(self.fc2(x), dim=1)


data = Clusters(96, 0)
train_loader = DataLoader(dataset=data, batch_size=16, shuffle=False, num_workers=0, drop_last=True)
test_loader = DataLoader(Clusters(48, 1), batch_size=48)
model = begin(Net())
optimizer = torch.optim.Adam(model.parameters(), lr=0.01, betas=(0.9, 0.999), weight_decay=1e-4)


def step(inputs, targets):
    optimizer.zero_grad(set_to_none=True)
    loss = F.nll_loss(model(inputs), targets)
    loss.backward()
    optimizer.step()
    return loss.detach()


if COMPILED:
    step = torch.compile(step)


def evaluate():
    model.eval()
    total, correct = 0.0, 0
    with torch.no_grad():
        for inputs, targets in test_loader:
            output = model(inputs)
            total += F.nll_loss(output, targets, reduction="sum").item()
            pred = output.argmax(dim=1, keepdim=True)
            correct += pred.eq(targets.view_as(pred)).sum().item()
    return total / len(test_loader.dataset), correct / len(test_loader.dataset)


losses, best, best_state = [], float("inf"), None
for epoch in range(4):
    model.train()
    for batch_idx, (inputs, targets) in enumerate(train_loader):
        losses.append(step(inputs, targets).item())
    test_loss, accuracy = evaluate()
    losses += [test_loss, 1 + accuracy]
    if test_loss < best:
        best, best_state = test_loss, copy.deepcopy(model.state_dict())

with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "checkpoint.pt")
    torch.save({"epoch": epoch, "model_state_dict": best_state, "optimizer_state_dict": optimizer.state_dict(), "loss": best}, path)
    checkpoint = torch.load(path, map_location=torch.device("cpu"), weights_only=True)
model.load_state_dict(checkpoint["model_state_dict"])
optimizer.load_state_dict(checkpoint["optimizer_state_dict"])
losses += [checkpoint["loss"], *evaluate()]
