"""A graph convolution by a dense adjacency, as in Kipf and Welling: propagation, dropout, a mask of what is known."""

import math

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.modules.module import Module
from torch.nn.parameter import Parameter

from tests.scripts.beginning import begin

rng = np.random.default_rng(0)
n = 14
labels = torch.LongTensor(np.arange(n) % 2)
links = (rng.random((n, n)) < np.where((np.arange(n)[:, None] - np.arange(n)) % 2 == 0, 0.5, 0.1)).astype(float)
links = np.maximum(links, links.T) + np.eye(n)
adj = torch.tensor(links / links.sum(1, keepdims=True), dtype=torch.get_default_dtype())
features = torch.eye(n)
idx_train, idx_val = torch.arange(6), torch.arange(6, n)


class GraphConvolution(Module):
    def __init__(self, in_features, out_features, bias=True):
        super(GraphConvolution, self).__init__()
        self.in_features, self.out_features = in_features, out_features
        self.weight = Parameter(torch.FloatTensor(in_features, out_features).to(torch.get_default_dtype()))
        if bias:
            self.bias = Parameter(torch.Tensor(out_features))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self):
        stdv = 1.0 / math.sqrt(self.weight.size(1))
        self.weight.data.uniform_(-stdv, stdv)
        if self.bias is not None:
            self.bias.data.uniform_(-stdv, stdv)

    def forward(self, input, adj):
        support = torch.mm(input, self.weight)
        output = torch.spmm(adj, support)
        return output + self.bias if self.bias is not None else output

    def __repr__(self):
        return self.__class__.__name__ + " (" + str(self.in_features) + " -> " + str(self.out_features) + ")"


class GCN(nn.Module):
    def __init__(self, nfeat, nhid, nclass, dropout):
        super(GCN, self).__init__()
        self.gc1 = GraphConvolution(nfeat, nhid)
        self.gc2 = GraphConvolution(nhid, nclass)
        self.dropout = dropout

    def forward(self, x, adj):
        x = F.relu(self.gc1(x, adj))
        x = F.dropout(x, self.dropout, training=self.training)
        return F.log_softmax(self.gc2(x, adj), dim=1)


def accuracy(output, labels):
    preds = output.max(1)[1].type_as(labels)
    correct = preds.eq(labels).double()
    return correct.sum() / len(labels)


model = begin(GCN(n, 8, labels.max().item() + 1, 0.0))
optimizer = torch.optim.Adam(model.parameters(), lr=0.02, weight_decay=5e-4)


def step():
    model.train()
    optimizer.zero_grad()
    output = model(features, adj)
    loss = F.nll_loss(output[idx_train], labels[idx_train])
    loss.backward()
    optimizer.step()
    return loss


if COMPILED:
    step = torch.compile(step)
losses = []
for epoch in range(25):
    losses.append(step().item())
model.eval()
output = model(features, adj)
losses += [F.nll_loss(output[idx_val], labels[idx_val]).item(), 1 + accuracy(output[idx_val], labels[idx_val]).item()]
