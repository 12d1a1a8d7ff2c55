"""K folds, accumulated gradients, early stopping, ReduceLROnPlateau, and the best weights loaded again."""

import copy

import numpy as np
import torch
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.utils.data import DataLoader, Subset, SubsetRandomSampler, TensorDataset

from tests.scripts.beginning import begin

rng = np.random.default_rng(0)
dtype = torch.get_default_dtype()
X = torch.tensor(rng.standard_normal((48, 5)), dtype=dtype)
y = (X @ torch.tensor([1.0, -2.0, 0.5, 0.0, 0.3]) + 0.1 * torch.tensor(rng.standard_normal(48), dtype=dtype)).unsqueeze(1)
dataset = TensorDataset(X, y)


class EarlyStopping:
    def __init__(self, patience=2, min_delta=0.0):
        self.patience, self.min_delta, self.counter, self.best_loss, self.early_stop = patience, min_delta, 0, None, False

    def __call__(self, val_loss):
        if self.best_loss is None or self.best_loss - val_loss > self.min_delta:
            self.best_loss, self.counter = val_loss, 0
        else:
            self.counter += 1
            self.early_stop = self.counter >= self.patience


losses, criterion, accumulation_steps = [], nn.SmoothL1Loss(beta=0.5), 2
folds = np.array_split(np.arange(48), 3)
for fold, val_idx in enumerate(folds):
    train_idx = np.concatenate([f for k, f in enumerate(folds) if k != fold])
    train_loader = DataLoader(Subset(dataset, train_idx.tolist()), batch_size=8)
    val_loader = DataLoader(dataset, batch_size=16, sampler=SubsetRandomSampler(val_idx.tolist()))
    model = begin(nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 1)), fold)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9, nesterov=True)
    scheduler = ReduceLROnPlateau(optimizer, mode="min", factor=0.5, patience=0)
    stopper = EarlyStopping()
    best_model_wts = copy.deepcopy(model.state_dict())

    def accumulate(inputs, targets):
        loss = criterion(model(inputs), targets) / accumulation_steps
        loss.backward()
        return loss

    if COMPILED:
        accumulate = torch.compile(accumulate)
    for epoch in range(8):
        model.train()
        optimizer.zero_grad()
        for i, (inputs, targets) in enumerate(train_loader):
            losses.append(accumulate(inputs, targets).item())
            if (i + 1) % accumulation_steps == 0:
                optimizer.step()
                optimizer.zero_grad()
        model.eval()
        with torch.no_grad():
            val_loss = sum(criterion(model(a), b).item() * len(a) for a, b in val_loader) / len(val_idx)
        scheduler.step(val_loss)
        stopper(val_loss)
        if stopper.best_loss == val_loss:
            best_model_wts = copy.deepcopy(model.state_dict())
        losses += [val_loss, optimizer.param_groups[0]["lr"]]
        if stopper.early_stop:
            break
    model.load_state_dict(best_model_wts)
