"""A transformer from nothing: scaled dot products, heads, masks, label smoothing, Noam's rate, greedy decoding."""

import copy
import math

import numpy as np
import torch
import torch.nn as nn
from torch.nn.functional import log_softmax, pad
from torch.optim.lr_scheduler import LambdaLR

from tests.scripts.beginning import begin


def clones(module, N):
    return nn.ModuleList([copy.deepcopy(module) for _ in range(N)])


class LayerNorm(nn.Module):
    def __init__(self, features, eps=1e-6):
        super(LayerNorm, self).__init__()
        self.a_2 = nn.Parameter(torch.ones(features))
        self.b_2 = nn.Parameter(torch.zeros(features))
        self.eps = eps

    def forward(self, x):
        mean = x.mean(-1, keepdim=True)
        std = x.std(-1, keepdim=True)
        return self.a_2 * (x - mean) / (std + self.eps) + self.b_2


class SublayerConnection(nn.Module):
    def __init__(self, size, dropout):
        super(SublayerConnection, self).__init__()
        self.norm = LayerNorm(size)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x, sublayer):
        return x + self.dropout(sublayer(self.norm(x)))


def subsequent_mask(size):
    attn_shape = (1, size, size)
    mask = torch.triu(torch.ones(attn_shape), diagonal=1).type(torch.uint8)
    return mask == 0


def attention(query, key, value, mask=None):
    d_k = query.size(-1)
    scores = torch.matmul(query, key.transpose(-2, -1)) / math.sqrt(d_k)
    if mask is not None:
        scores = scores.masked_fill(mask == 0, -1e9)
    p_attn = scores.softmax(dim=-1)
    return torch.matmul(p_attn, value), p_attn


class MultiHeadedAttention(nn.Module):
    def __init__(self, h, d_model):
        super(MultiHeadedAttention, self).__init__()
        assert d_model % h == 0
        self.d_k, self.h = d_model // h, h
        self.linears = clones(nn.Linear(d_model, d_model), 4)
        self.attn = None

    def forward(self, query, key, value, mask=None):
        if mask is not None:
            mask = mask.unsqueeze(1)
        nbatches = query.size(0)
        query, key, value = [
            lin(x).view(nbatches, -1, self.h, self.d_k).transpose(1, 2) for lin, x in zip(self.linears, (query, key, value))
        ]
        x, attn = attention(query, key, value, mask=mask)
        x = x.transpose(1, 2).contiguous().view(nbatches, -1, self.h * self.d_k)
        return self.linears[-1](x)


class EncoderDecoder(nn.Module):
    def __init__(self, vocab, d_model=8, d_ff=12, h=2):
        super(EncoderDecoder, self).__init__()
        self.embed = nn.Embedding(vocab, d_model)
        self.encoder_attn, self.self_attn, self.src_attn = (MultiHeadedAttention(h, d_model) for _ in range(3))
        self.ff = clones(nn.Sequential(nn.Linear(d_model, d_ff), nn.ReLU(), nn.Dropout(0.0), nn.Linear(d_ff, d_model)), 2)
        self.sublayers = clones(SublayerConnection(d_model, 0.0), 5)
        self.norms = clones(LayerNorm(d_model), 2)
        self.proj = nn.Linear(d_model, vocab)
        self.scale = math.sqrt(d_model)

    def encode(self, src, src_mask):
        x = self.embed(src) * self.scale
        x = self.sublayers[0](x, lambda x: self.encoder_attn(x, x, x, src_mask))
        return self.norms[0](self.sublayers[1](x, self.ff[0]))

    def decode(self, memory, src_mask, tgt, tgt_mask):
        x = self.embed(tgt) * self.scale
        x = self.sublayers[2](x, lambda x: self.self_attn(x, x, x, tgt_mask))
        x = self.sublayers[3](x, lambda x: self.src_attn(x, memory, memory, src_mask))
        return log_softmax(self.proj(self.norms[1](self.sublayers[4](x, self.ff[1]))), dim=-1)


class LabelSmoothing(nn.Module):
    def __init__(self, size, padding_idx, smoothing=0.0):
        super(LabelSmoothing, self).__init__()
        self.criterion = nn.KLDivLoss(reduction="sum")
        self.padding_idx, self.confidence, self.smoothing, self.size = padding_idx, 1.0 - smoothing, smoothing, size

    def forward(self, x, target):
        assert x.size(1) == self.size
        true_dist = x.data.clone()
        true_dist.fill_(self.smoothing / (self.size - 2))
        true_dist.scatter_(1, target.data.unsqueeze(1), self.confidence)
        true_dist[:, self.padding_idx] = 0
        true_dist = true_dist.masked_fill((target == self.padding_idx).unsqueeze(1), 0.0)
        return self.criterion(x, true_dist.clone().detach())


V = 7
criterion = LabelSmoothing(size=V, padding_idx=0, smoothing=0.1)
model = begin(EncoderDecoder(V))
for p in model.parameters():
    if p.dim() > 1:
        p.data = p.data * 1.5
optimizer = torch.optim.Adam(model.parameters(), lr=0.5, betas=(0.9, 0.98), eps=1e-9)
lr_scheduler = LambdaLR(optimizer=optimizer, lr_lambda=lambda s: 8 ** -0.5 * min(max(s, 1) ** -0.5, max(s, 1) * 10 ** -1.5))


def step(src, tgt, tgt_y):
    src_mask = (src != 0).unsqueeze(-2)
    tgt_mask = (tgt != 0).unsqueeze(-2) & subsequent_mask(tgt.size(-1)).type_as(src_mask.data)
    ntokens = (tgt_y != 0).data.sum()
    out = model.decode(model.encode(src, src_mask), src_mask, tgt, tgt_mask)
    loss = criterion(out.contiguous().view(-1, out.size(-1)), tgt_y.contiguous().view(-1)) / ntokens
    loss.backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return loss


if COMPILED:
    step = torch.compile(step)
rng = np.random.default_rng(0)
losses = []
for i in range(8):
    data = torch.from_numpy(rng.integers(1, V, (6, 5)))
    data[:, 0] = 1
    src = data.requires_grad_(False).clone().detach()
    losses.append(step(src, src[:, :-1], src[:, 1:]).item())
    lr_scheduler.step()
model.eval()
src = torch.LongTensor([[1, 2, 3, 4, 5]])
src_mask = torch.ones(1, 1, 5)
memory = model.encode(src, src_mask)
ys = torch.zeros(1, 1).fill_(1).type_as(src.data)
for i in range(4):
    out = model.decode(memory, src_mask, ys, subsequent_mask(ys.size(1)).type_as(src.data))
    prob = out[:, -1]
    _, next_word = torch.max(prob, dim=1)
    next_word = next_word.data[0]
    ys = torch.cat([ys, torch.zeros(1, 1).type_as(src.data).fill_(next_word)], dim=1)
losses += ys[0].tolist() + [pad(ys, (0, 2), value=3).sum().item()]
