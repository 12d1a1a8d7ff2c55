"""REINFORCE on a corridor made by hand: a policy, Categorical, discounted returns."""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from torch.distributions import Categorical

from tests.scripts.beginning import begin


class Corridor:
    def __init__(self):
        self.rng = np.random.default_rng(4)

    def reset(self):
        self.place, self.time = 0.1 * self.rng.standard_normal(), 0
        return np.array([self.place, 1.0])

    def step(self, action):
        self.place += (0.3 if action == 1 else -0.3) + 0.05 * self.rng.standard_normal()
        self.time += 1
        return np.array([self.place, 1.0]), -abs(self.place - 1), self.time >= 8, {}


class Policy(nn.Module):
    def __init__(self):
        super(Policy, self).__init__()
        self.affine1 = nn.Linear(2, 16)
        self.dropout = nn.Dropout(p=0.0)
        self.affine2 = nn.Linear(16, 2)
        self.saved_log_probs = []
        self.rewards = []

    def forward(self, x):
        x = self.affine1(x)
        x = F.relu(self.dropout(x))
        return F.softmax(self.affine2(x), dim=1)


policy = begin(Policy())
optimizer = optim.Adam(policy.parameters(), lr=1e-2)
eps = np.finfo(np.float32).eps.item()
picks = np.random.default_rng(9)


def select_action(state):
    state = torch.from_numpy(state).to(torch.get_default_dtype()).unsqueeze(0)
    probs = policy(state)
    m = Categorical(probs)
    action = torch.tensor([int(picks.random() < probs[0, 1].item())])
    policy.saved_log_probs.append(m.log_prob(action))
    return action.item()


def finish_episode():
    R = 0
    policy_loss, returns = [], []
    for r in policy.rewards[::-1]:
        R = r + 0.99 * R
        returns.insert(0, R)
    returns = torch.tensor(returns, dtype=torch.get_default_dtype())
    returns = (returns - returns.mean()) / (returns.std() + eps)
    for log_prob, R in zip(policy.saved_log_probs, returns):
        policy_loss.append(-log_prob * R)
    optimizer.zero_grad()
    policy_loss = torch.cat(policy_loss).sum()
    policy_loss.backward()
    optimizer.step()
    del policy.rewards[:]
    del policy.saved_log_probs[:]
    return policy_loss.item()


env, losses = Corridor(), []
assert COMPILED in (True, False)  # a step of an environment is no step of a compiler
for i_episode in range(10):
    state, ep_reward = env.reset(), 0
    for t in range(1, 20):
        action = select_action(state)
        state, reward, done, _ = env.step(action)
        policy.rewards.append(reward)
        ep_reward += reward
        if done:
            break
    losses += [finish_episode() + 10, ep_reward]
