"""An actor and a critic with one body on a pole by hand; smooth_l1 for the values; namedtuple for what was done."""

from collections import namedtuple

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

from tests.scripts.beginning import begin

SavedAction = namedtuple("SavedAction", ["log_prob", "value"])


class Policy(nn.Module):
    def __init__(self):
        super().__init__()
        self.affine1 = nn.Linear(2, 12)
        self.action_head = nn.Linear(12, 2)
        self.value_head = nn.Linear(12, 1)

    def forward(self, x):
        x = F.relu(self.affine1(x))
        return F.softmax(self.action_head(x), dim=-1), self.value_head(x)


model = begin(Policy())
optimizer = torch.optim.Adam(model.parameters(), lr=3e-2)
rng = np.random.default_rng(1)
dtype = torch.get_default_dtype()


def step(states, actions, returns):
    probs, values = model(states)
    log_probs = torch.log(probs.gather(1, actions.unsqueeze(1)).squeeze(1))
    policy_losses, value_losses = [], []
    saved = [SavedAction(log_probs[k], values[k]) for k in range(len(states))]
    for (log_prob, value), R in zip(saved, returns):
        advantage = R - value.detach().squeeze()
        policy_losses.append(-log_prob * advantage)
        value_losses.append(F.smooth_l1_loss(value, R.unsqueeze(0)))
    optimizer.zero_grad()
    loss = torch.stack(policy_losses).sum() + torch.stack(value_losses).sum()
    loss.backward()
    optimizer.step()
    return loss


if COMPILED:
    step = torch.compile(step)
losses = []
for episode in range(8):
    angle, states, actions, rewards = 0.1, [], [], []
    for t in range(6):
        state = np.array([angle, t / 6])
        with torch.no_grad():
            probs, _ = model(torch.tensor(state, dtype=dtype))
        action = int(rng.random() < probs[1].item())
        angle += 0.2 * action - 0.1 + 0.02 * rng.standard_normal()
        states.append(state), actions.append(action), rewards.append(1 - abs(angle))
    returns, R = [], 0.0
    for r in rewards[::-1]:
        R = r + 0.99 * R
        returns.insert(0, R)
    returns = torch.tensor(returns, dtype=dtype)
    returns = (returns - returns.mean()) / (returns.std() + np.finfo(np.float32).eps.item())
    losses.append(step(torch.tensor(np.array(states), dtype=dtype), torch.tensor(actions), returns).item() + 5)
