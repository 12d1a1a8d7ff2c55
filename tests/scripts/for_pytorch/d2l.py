"""Softmax regression from nothing, as in the book: updaters on lists, an iterator of one's own, cumulated metrics."""

import random

import numpy as np
import torch

random.seed(0)
rng = np.random.default_rng(0)
dtype = torch.get_default_dtype()
features = torch.tensor(rng.standard_normal((60, 4)), dtype=dtype)
true_w = torch.tensor(rng.standard_normal((4, 3)), dtype=dtype)
labels = (features @ true_w).argmax(axis=1)


def data_iter(batch_size, features, labels):
    num_examples = len(features)
    indices = list(range(num_examples))
    random.shuffle(indices)
    for i in range(0, num_examples, batch_size):
        batch_indices = torch.tensor(indices[i:min(i + batch_size, num_examples)])
        yield features[batch_indices], labels[batch_indices]


W = torch.tensor(0.01 * rng.standard_normal((4, 3)), dtype=dtype, requires_grad=True)
b = torch.zeros(3, requires_grad=True)


def softmax(X):
    X_exp = torch.exp(X)
    partition = X_exp.sum(1, keepdim=True)
    return X_exp / partition


def net(X):
    return softmax(torch.matmul(X.reshape((-1, W.shape[0])), W) + b)


def cross_entropy(y_hat, y):
    return -torch.log(y_hat[range(len(y_hat)), y])


def sgd(params, lr, batch_size):
    with torch.no_grad():
        for param in params:
            param -= lr * param.grad / batch_size
            param.grad.zero_()


def accuracy(y_hat, y):
    if len(y_hat.shape) > 1 and y_hat.shape[1] > 1:
        y_hat = y_hat.argmax(axis=1)
    cmp = y_hat.type(y.dtype) == y
    return float(cmp.type(y.dtype).sum())


def step(X, y):
    l = cross_entropy(net(X), y)
    l.sum().backward()
    sgd([W, b], 0.5, X.shape[0])
    return l.mean()


if COMPILED:
    step = torch.compile(step)
losses = []
for epoch in range(3):
    for X, y in data_iter(10, features, labels):
        losses.append(step(X, y).item())
    losses.append(1 + accuracy(net(features), labels) / len(labels))
