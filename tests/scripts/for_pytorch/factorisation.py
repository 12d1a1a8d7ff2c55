"""Ratings: a matrix factorisation with biases, a metric by group, embeddings set by hand."""

import numpy as np
import torch
from torch import nn, optim
from torch.utils import data

rng = np.random.default_rng(0)
users, items, rank = 8, 7, 3
pairs = np.array([(u, i) for u in range(users) for i in range(items) if (u * i) % 3])
ratings = 3 + np.sin(pairs[:, 0]) + np.cos(pairs[:, 1])


class MF(nn.Module):
    def __init__(self, num_factors, num_users, num_items, **kwargs):
        super(MF, self).__init__(**kwargs)
        self.P = nn.Embedding(num_users, num_factors)
        self.Q = nn.Embedding(num_items, num_factors)
        self.user_bias = nn.Embedding(num_users, 1)
        self.item_bias = nn.Embedding(num_items, 1)
        for table in (self.P, self.Q, self.user_bias, self.item_bias):
            table.weight.data = torch.from_numpy(0.1 * rng.standard_normal(tuple(table.weight.shape))).to(table.weight.dtype)

    def forward(self, user_id, item_id):
        P_u, Q_i = self.P(user_id), self.Q(item_id)
        b_u, b_i = self.user_bias(user_id), self.item_bias(item_id)
        return ((P_u * Q_i).sum(axis=1) + b_u.squeeze() + b_i.squeeze()).flatten()


class Ratings(data.Dataset):
    def __len__(self):
        return len(pairs)

    def __getitem__(self, k):
        return pairs[k, 0], pairs[k, 1], np.float64(ratings[k])


net = MF(rank, users, items)
optimizer = optim.SGD(net.parameters(), lr=0.5, weight_decay=1e-3)


def step(u, i, r):
    optimizer.zero_grad()
    l = nn.MSELoss()(net(u, i) + 3, r)
    l.backward()
    optimizer.step()
    return l


if COMPILED:
    step = torch.compile(step)
losses = []
for epoch in range(6):
    for u, i, r in data.DataLoader(Ratings(), batch_size=9, shuffle=False):
        losses.append(step(u, i, r.to(torch.get_default_dtype())).item())
with torch.no_grad():
    losses.append(torch.sqrt(((net(torch.tensor(pairs[:, 0]), torch.tensor(pairs[:, 1])) + 3
                               - torch.tensor(ratings)) ** 2).mean()).item())
