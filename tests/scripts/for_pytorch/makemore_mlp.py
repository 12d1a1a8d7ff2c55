"""Characters from the three before them: tensors as parameters, a batch norm by hand, rates that drop."""

import numpy as np
import torch
import torch.nn.functional as F

words = ["emma", "olivia", "ava", "isabella", "sophia", "mia", "charlotte", "amelia", "harper", "evelyn"]
chars = sorted(list(set("".join(words))))
stoi = {s: i + 1 for i, s in enumerate(chars)}
stoi["."] = 0
vocab_size, block_size = len(stoi), 3
X, Y = [], []
for w in words:
    context = [0] * block_size
    for ch in w + ".":
        X.append(context)
        Y.append(stoi[ch])
        context = context[1:] + [stoi[ch]]
X, Y = torch.tensor(X), torch.tensor(Y)

rng = np.random.default_rng(2147483647)
dtype = torch.get_default_dtype()


def randn(*shape):
    return torch.tensor(rng.standard_normal(shape), dtype=dtype)


n_embd, n_hidden = 4, 24
C = randn(vocab_size, n_embd)
W1 = randn(n_embd * block_size, n_hidden) * (5 / 3) / ((n_embd * block_size) ** 0.5)
W2 = randn(n_hidden, vocab_size) * 0.01
b2 = randn(vocab_size) * 0
bngain = torch.ones((1, n_hidden))
bnbias = torch.zeros((1, n_hidden))
bnmean_running = torch.zeros((1, n_hidden))
bnstd_running = torch.ones((1, n_hidden))
parameters = [C, W1, W2, b2, bngain, bnbias]
for p in parameters:
    p.requires_grad = True


def forward(Xb, training=True):
    emb = C[Xb]
    embcat = emb.view(emb.shape[0], -1)
    hpreact = embcat @ W1
    if training:
        bnmeani = hpreact.mean(0, keepdim=True)
        bnstdi = hpreact.std(0, keepdim=True)
        hpreact = bngain * (hpreact - bnmeani) / bnstdi + bnbias
        with torch.no_grad():
            bnmean_running.copy_(0.99 * bnmean_running + 0.01 * bnmeani)
            bnstd_running.copy_(0.99 * bnstd_running + 0.01 * bnstdi)
    else:
        hpreact = bngain * (hpreact - bnmean_running) / bnstd_running + bnbias
    return torch.tanh(hpreact) @ W2 + b2


def step(Xb, Yb, lr):
    loss = F.cross_entropy(forward(Xb), Yb)
    for p in parameters:
        p.grad = None
    loss.backward()
    for p in parameters:
        p.data += -lr * p.grad
    return loss


if COMPILED:
    step = torch.compile(step)
losses = []
for i in range(40):
    ix = torch.from_numpy(rng.integers(0, X.shape[0], (16,)))
    lr = 0.1 if i < 25 else 0.01
    losses.append(step(X[ix], Y[ix], lr).log10().item() + 2)


@torch.no_grad()
def split_loss():
    return F.cross_entropy(forward(X, training=False), Y).item()


losses.append(split_loss())
