"""Pairs and triplets: a siamese net with a contrastive loss, triplets, cosine embeddings, SimCLR's loss."""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

from tests.scripts.beginning import begin

rng = np.random.default_rng(0)
dtype = torch.get_default_dtype()


class ContrastiveLoss(torch.nn.Module):
    def __init__(self, margin=1.0):
        super(ContrastiveLoss, self).__init__()
        self.margin = margin

    def forward(self, output1, output2, label):
        euclidean_distance = F.pairwise_distance(output1, output2)
        return torch.mean((1 - label) * torch.pow(euclidean_distance, 2)
                          + label * torch.pow(torch.clamp(self.margin - euclidean_distance, min=0.0), 2))


def info_nce_loss(features, temperature=0.5):
    half = features.shape[0] // 2
    labels = torch.cat([torch.arange(half) for i in range(2)], dim=0)
    labels = (labels.unsqueeze(0) == labels.unsqueeze(1)).to(features.dtype)
    features = F.normalize(features, dim=1)
    similarity_matrix = torch.matmul(features, features.T)
    mask = torch.eye(labels.shape[0], dtype=torch.bool)
    labels = labels[~mask].view(labels.shape[0], -1)
    similarity_matrix = similarity_matrix[~mask].view(similarity_matrix.shape[0], -1)
    positives = similarity_matrix[labels.bool()].view(labels.shape[0], -1)
    negatives = similarity_matrix[~labels.bool()].view(similarity_matrix.shape[0], -1)
    logits = torch.cat([positives, negatives], dim=1)
    return F.cross_entropy(logits / temperature, torch.zeros(logits.shape[0], dtype=torch.long))


net = begin(nn.Sequential(nn.Linear(4, 12), nn.ReLU(inplace=True), nn.Linear(12, 3)))
optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
contrastive, triplet = ContrastiveLoss(), nn.TripletMarginLoss(margin=1.0, p=2)
cosine = nn.CosineEmbeddingLoss(margin=0.2)


def step(anchor, positive, negative, label):
    optimizer.zero_grad()
    a, p, n = net(anchor), net(positive), net(negative)
    loss = contrastive(a, p, label) + triplet(a, p, n) + cosine(a, n, 1 - 2 * label)
    loss.backward()
    optimizer.step()
    return loss


if COMPILED:
    step = torch.compile(step)
losses = []
for i in range(15):
    a, p, n = (torch.tensor(rng.standard_normal((8, 4)), dtype=dtype) for _ in range(3))
    losses.append(step(a, p, n, torch.tensor(rng.integers(0, 2, 8), dtype=dtype)).item())
    optimizer.zero_grad()
    loss = info_nce_loss(net(torch.cat([a, a + 0.1 * p])))
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
