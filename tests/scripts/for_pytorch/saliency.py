"""What a trained net looks at: gradients for the input, FGSM, and an input that is trained itself."""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.autograd import Variable

from tests.scripts.beginning import begin

rng = np.random.default_rng(2)
dtype = torch.get_default_dtype()
model = begin(nn.Sequential(nn.Linear(6, 10), nn.ELU(), nn.Linear(10, 3)))
x = torch.tensor(rng.standard_normal((8, 6)), dtype=dtype)
y = x[:, :3].argmax(1)


def fgsm_attack(image, epsilon, data_grad):
    perturbed = image + epsilon * data_grad.sign()
    return torch.clamp(perturbed, -3, 3)


def step(data, target):
    data = data.detach().requires_grad_()
    output = model(data)
    loss = F.cross_entropy(output, target)
    model.zero_grad()
    loss.backward()
    attacked = fgsm_attack(data, 0.1, data.grad)
    return loss, F.cross_entropy(model(attacked), target), data.grad.abs().max(dim=1)[0]


if COMPILED:
    step = torch.compile(step)
losses = []
loss, attacked, saliency = step(x, y)
losses += [loss.item(), attacked.item(), *(1 + saliency).tolist()]
picture = Variable(torch.zeros(1, 6), requires_grad=True)
optimizer = torch.optim.Adam([picture], lr=0.1)
for i in range(10):
    optimizer.zero_grad()
    score = -model(picture)[0, 1] + 0.01 * picture.norm()
    score.backward()
    optimizer.step()
    losses.append(5 + score.item())
