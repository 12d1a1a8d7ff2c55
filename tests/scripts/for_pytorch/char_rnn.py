"""Names to languages, letter by letter, with an RNN of two linear layers written by hand; SGD by hand on `p.data`."""

import string

import numpy as np
import torch
import torch.nn as nn

from tests.scripts.beginning import begin

names = {"one": ["anna", "berta", "clara"], "two": ["ivan", "boris", "oleg"], "three": ["akira", "yuki", "kenji"]}
all_categories = list(names)
all_letters = string.ascii_lowercase
n_letters = len(all_letters)


def line_to_tensor(line):
    tensor = torch.zeros(len(line), 1, n_letters)
    for li, letter in enumerate(line):
        tensor[li][0][all_letters.find(letter)] = 1
    return tensor


class RNN(nn.Module):
    def __init__(self, input_size, hidden_size, output_size):
        super(RNN, self).__init__()
        self.hidden_size = hidden_size
        self.i2h = nn.Linear(input_size + hidden_size, hidden_size)
        self.i2o = nn.Linear(input_size + hidden_size, output_size)
        self.softmax = nn.LogSoftmax(dim=1)

    def forward(self, input, hidden):
        combined = torch.cat((input, hidden), 1)
        hidden = torch.tanh(self.i2h(combined))
        output = self.softmax(self.i2o(combined))
        return output, hidden

    def init_hidden(self):
        return torch.zeros(1, self.hidden_size)


rnn = begin(RNN(n_letters, 12, len(all_categories)))
criterion = nn.NLLLoss()
learning_rate = 0.05


def train(category_tensor, line_tensor):
    hidden = rnn.init_hidden()
    rnn.zero_grad()
    for i in range(line_tensor.size()[0]):
        output, hidden = rnn(line_tensor[i], hidden)
    loss = criterion(output, category_tensor)
    loss.backward()
    for p in rnn.parameters():
        p.data.add_(p.grad.data, alpha=-learning_rate)
    return output, loss


if COMPILED:
    train = torch.compile(train)
rng = np.random.default_rng(0)
losses = []
for iter in range(40):
    category = all_categories[rng.integers(3)]
    line = names[category][rng.integers(3)]
    category_tensor = torch.tensor([all_categories.index(category)], dtype=torch.long)
    output, loss = train(category_tensor, line_to_tensor(line))
    losses.append(loss.item())
    top_n, top_i = output.topk(1)
    guess = all_categories[top_i[0].item()]
