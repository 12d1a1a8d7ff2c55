"""A tagger: embeddings and a bidirectional LSTM over padded and packed sequences, a mask in the loss."""

import numpy as np
import torch
import torch.nn as nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

from tests.scripts.beginning import begin

rng = np.random.default_rng(7)
words, tags, pad = 12, 4, 0
lengths = [5, 4, 4, 2]
sentences = [torch.tensor(rng.integers(1, words, n), dtype=torch.long) for n in lengths]
labels = [s % tags for s in sentences]


class BiLSTMTagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(words, 6, padding_idx=pad)
        self.lstm = nn.LSTM(6, 5, num_layers=1, bidirectional=True, batch_first=True)
        self.hidden2tag = nn.Linear(10, tags)

    def forward(self, x, lengths):
        packed = pack_padded_sequence(self.embedding(x), lengths, batch_first=True, enforce_sorted=True)
        out, (h, c) = self.lstm(packed)
        out, _ = pad_packed_sequence(out, batch_first=True)
        return self.hidden2tag(out)


model = begin(BiLSTMTagger())
criterion = nn.CrossEntropyLoss(ignore_index=-100)
optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
x = pad_sequence(sentences, batch_first=True, padding_value=pad)
y = pad_sequence(labels, batch_first=True, padding_value=-100)


def step(x, y):
    optimizer.zero_grad()
    logits = model(x, lengths)
    loss = criterion(logits.view(-1, tags), y.view(-1))
    loss.backward()
    optimizer.step()
    return loss


if COMPILED:
    step = torch.compile(step)
losses = [step(x, y).item() for _ in range(15)]
