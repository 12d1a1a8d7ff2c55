"""N-grams, CBOW, and skip-grams with negative samples."""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim

from tests.scripts.beginning import begin

text = """When forty winters shall besiege thy brow, and dig deep trenches in thy beauty's field, thy youth's proud
livery so gazed on now, will be a totter'd weed of small worth held""".split()
vocab = sorted(set(text))
word_to_ix = {word: i for i, word in enumerate(vocab)}
EMBEDDING_DIM, CONTEXT_SIZE = 6, 2


class NGramLanguageModeler(nn.Module):
    def __init__(self, vocab_size, embedding_dim, context_size):
        super(NGramLanguageModeler, self).__init__()
        self.embeddings = nn.Embedding(vocab_size, embedding_dim)
        self.linear1 = nn.Linear(context_size * embedding_dim, 16)
        self.linear2 = nn.Linear(16, vocab_size)

    def forward(self, inputs):
        embeds = self.embeddings(inputs).view((1, -1))
        out = F.relu(self.linear1(embeds))
        return F.log_softmax(self.linear2(out), dim=1)


class CBOW(nn.Module):
    def __init__(self, vocab_size, embedding_dim):
        super().__init__()
        self.embeddings = nn.Embedding(vocab_size, embedding_dim)
        self.linear = nn.Linear(embedding_dim, vocab_size)

    def forward(self, inputs):
        return F.log_softmax(self.linear(self.embeddings(inputs).sum(dim=0)).view(1, -1), dim=1)


class SkipGram(nn.Module):
    def __init__(self, vocab_size, embedding_dim):
        super().__init__()
        self.u = nn.Embedding(vocab_size, embedding_dim, sparse=False)
        self.v = nn.Embedding(vocab_size, embedding_dim, sparse=False)

    def forward(self, centre, context, negative):
        u, v, n = self.u(centre), self.v(context), self.v(negative)
        score = torch.sum(torch.mul(u, v), dim=1)
        score = -F.logsigmoid(torch.clamp(score, max=10, min=-10))
        neg_score = torch.bmm(n, u.unsqueeze(2)).squeeze()
        neg_score = -torch.sum(F.logsigmoid(-torch.clamp(neg_score, max=10, min=-10)), dim=1)
        return torch.mean(score + neg_score)


losses = []
for model, contexts in (
    (begin(NGramLanguageModeler(len(vocab), EMBEDDING_DIM, CONTEXT_SIZE), 1),
     [([text[i - j - 1] for j in range(CONTEXT_SIZE)], text[i]) for i in range(CONTEXT_SIZE, len(text))]),
    (begin(CBOW(len(vocab), EMBEDDING_DIM), 2),
     [([text[i - 2], text[i - 1], text[i + 1], text[i + 2]], text[i]) for i in range(2, len(text) - 2)]),
):
    loss_function = nn.NLLLoss()
    optimizer = optim.SGD(model.parameters(), lr=0.05)

    def step(context_idxs, target):
        model.zero_grad()
        loss = loss_function(model(context_idxs), target)
        loss.backward()
        optimizer.step()
        return loss

    if COMPILED:
        step = torch.compile(step)
    for epoch in range(2):
        total_loss = 0
        for context, target in contexts:
            context_idxs = torch.tensor([word_to_ix[w] for w in context], dtype=torch.long)
            total_loss += step(context_idxs, torch.tensor([word_to_ix[target]], dtype=torch.long)).item()
        losses.append(total_loss)

rng = np.random.default_rng(0)
model = begin(SkipGram(len(vocab), EMBEDDING_DIM), 3)
optimizer = optim.Adagrad(model.parameters(), lr=0.1)


def skip_step(centre, context, negative):
    optimizer.zero_grad()
    loss = model(centre, context, negative)
    loss.backward()
    optimizer.step()
    return loss


if COMPILED:
    skip_step = torch.compile(skip_step)
for i in range(10):
    centre, context = (torch.LongTensor(rng.integers(0, len(vocab), 8)) for _ in range(2))
    losses.append(skip_step(centre, context, torch.LongTensor(rng.integers(0, len(vocab), (8, 3)))).item())
losses.append(torch.cosine_similarity(model.u.weight[0], model.u.weight[1], dim=0).item() + 2)
