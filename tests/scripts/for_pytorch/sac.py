"""Soft actor-critic: a squashed Gaussian, two critics, targets that follow slowly, a temperature that is learned."""

import random
from collections import deque

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from torch.distributions import Normal

from tests.scripts.beginning import begin

rng = np.random.default_rng(0)
dtype = torch.get_default_dtype()
gamma, tau, target_entropy = 0.98, 0.05, -1.0


class ReplayBuffer:
    def __init__(self):
        self.buffer = deque(maxlen=200)
        self.random = random.Random(0)

    def put(self, transition):
        self.buffer.append(transition)

    def sample(self, n):
        mini_batch = self.random.sample(self.buffer, n)
        s_lst, a_lst, r_lst, s_prime_lst, done_mask_lst = [], [], [], [], []
        for s, a, r, s_prime, done in mini_batch:
            s_lst.append(s)
            a_lst.append([a])
            r_lst.append([r])
            s_prime_lst.append(s_prime)
            done_mask_lst.append([0.0 if done else 1.0])
        return tuple(
            torch.tensor(np.array(part), dtype=dtype) for part in (s_lst, a_lst, r_lst, s_prime_lst, done_mask_lst)
        )

    def size(self):
        return len(self.buffer)


class PolicyNet(nn.Module):
    def __init__(self, learning_rate):
        super(PolicyNet, self).__init__()
        self.fc1 = nn.Linear(3, 16)
        self.fc_mu = nn.Linear(16, 1)
        self.fc_std = nn.Linear(16, 1)
        begin(self, 5)
        self.optimizer = optim.Adam(self.parameters(), lr=learning_rate)
        self.log_alpha = torch.tensor(np.log(0.01), dtype=dtype)
        self.log_alpha.requires_grad = True
        self.log_alpha_optimizer = optim.Adam([self.log_alpha], lr=0.001)

    def forward(self, x, noise):
        x = F.relu(self.fc1(x))
        mu = self.fc_mu(x)
        std = F.softplus(self.fc_std(x))
        dist = Normal(mu, std)
        action = mu + std * noise
        log_prob = dist.log_prob(action)
        real_action = torch.tanh(action)
        real_log_prob = log_prob - torch.log(1 - torch.tanh(action).pow(2) + 1e-7)
        return real_action, real_log_prob

    def train_net(self, q1, q2, s, noise):
        a, log_prob = self.forward(s, noise)
        entropy = -self.log_alpha.exp() * log_prob
        q1_val, q2_val = q1(s, a), q2(s, a)
        q1_q2 = torch.cat([q1_val, q2_val], dim=1)
        min_q = torch.min(q1_q2, 1, keepdim=True)[0]
        loss = -min_q - entropy
        self.optimizer.zero_grad()
        loss.mean().backward()
        self.optimizer.step()
        self.log_alpha_optimizer.zero_grad()
        alpha_loss = -(self.log_alpha.exp() * (log_prob + target_entropy).detach()).mean()
        alpha_loss.backward()
        self.log_alpha_optimizer.step()
        return loss.mean(), alpha_loss


class QNet(nn.Module):
    def __init__(self, learning_rate, seed):
        super(QNet, self).__init__()
        self.fc_s = nn.Linear(3, 8)
        self.fc_a = nn.Linear(1, 8)
        self.fc_cat = nn.Linear(16, 8)
        self.fc_out = nn.Linear(8, 1)
        begin(self, seed)
        self.optimizer = optim.Adam(self.parameters(), lr=learning_rate)

    def forward(self, x, a):
        h1 = F.relu(self.fc_s(x))
        h2 = F.relu(self.fc_a(a))
        cat = torch.cat([h1, h2], dim=1)
        q = F.relu(self.fc_cat(cat))
        return self.fc_out(q)

    def train_net(self, target, s, a):
        loss = F.smooth_l1_loss(self.forward(s, a), target)
        self.optimizer.zero_grad()
        loss.mean().backward()
        self.optimizer.step()
        return loss

    def soft_update(self, net_target):
        for param_target, param in zip(net_target.parameters(), self.parameters()):
            param_target.data.copy_(param_target.data * (1.0 - tau) + param.data * tau)


def calc_target(pi, q1, q2, r, s_prime, done, noise):
    with torch.no_grad():
        a_prime, log_prob = pi(s_prime, noise)
        entropy = -pi.log_alpha.exp() * log_prob
        q1_val, q2_val = q1(s_prime, a_prime), q2(s_prime, a_prime)
        q1_q2 = torch.cat([q1_val, q2_val], dim=1)
        min_q = torch.min(q1_q2, 1, keepdim=True)[0]
        target = r + gamma * done * (min_q + entropy)
    return target


memory = ReplayBuffer()
q1, q2, q1_target, q2_target = QNet(0.01, 1), QNet(0.01, 2), QNet(0.01, 1), QNet(0.01, 2)
pi = PolicyNet(0.005)
q1_target.load_state_dict(q1.state_dict())
q2_target.load_state_dict(q2.state_dict())


def update(s, a, r, s_prime, done, noise, more_noise):
    td_target = calc_target(pi, q1_target, q2_target, r, s_prime, done, noise)
    found = q1.train_net(td_target, s, a), q2.train_net(td_target, s, a), *pi.train_net(q1, q2, s, more_noise)
    q1.soft_update(q1_target)
    q2.soft_update(q2_target)
    return found


if COMPILED:
    update = torch.compile(update)


def normal(*shape):
    return torch.tensor(rng.standard_normal(shape), dtype=dtype)


losses = []
for n_epi in range(3):
    s = rng.uniform(-1, 1, 3)
    for t in range(15):
        a, log_prob = pi(torch.from_numpy(s).to(dtype), normal(1))
        s_prime = np.clip(s + 0.2 * a.item() * np.array([1.0, -0.5, 0.2]), -2, 2)
        memory.put((s, a.item(), -float(s_prime @ s_prime), s_prime, t == 14))
        s = s_prime
    if memory.size() > 20:
        for i in range(6):
            batch = memory.sample(8)
            losses += [float(v.detach()) for v in update(*batch, normal(8, 1), normal(8, 1))]
losses.append(pi.log_alpha.exp().item())
