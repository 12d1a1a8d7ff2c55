"""Functions with a backward of their own: a Legendre polynomial and a step with a straight-through gradient."""

import math

import torch

dtype = torch.get_default_dtype()


class LegendrePolynomial3(torch.autograd.Function):
    @staticmethod
    def forward(ctx, input):
        ctx.save_for_backward(input)
        return 0.5 * (5 * input ** 3 - 3 * input)

    @staticmethod
    def backward(ctx, grad_output):
        input, = ctx.saved_tensors
        return grad_output * 1.5 * (5 * input ** 2 - 1)


class Quantize(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, levels):
        return torch.round(x * levels) / levels

    @staticmethod
    def backward(ctx, g):
        return g.clamp(-1, 1), None


x = torch.linspace(-math.pi, math.pi, 50, dtype=dtype)
y = torch.sin(x)
a = torch.full((), 0.0, dtype=dtype, requires_grad=True)
b = torch.full((), -1.0, dtype=dtype, requires_grad=True)
c = torch.full((), 0.0, dtype=dtype, requires_grad=True)
d = torch.full((), 0.3, dtype=dtype, requires_grad=True)
learning_rate = 5e-5


def step(x, y):
    P3 = LegendrePolynomial3.apply
    y_pred = a + b * P3(c + d * x)
    y_pred = y_pred + 0.01 * Quantize.apply(y_pred, 4)
    loss = (y_pred - y).pow(2).sum()
    loss.backward()
    with torch.no_grad():
        for p in (a, b, c, d):
            p -= learning_rate * p.grad
            p.grad = None
    return loss


if COMPILED:
    step = torch.compile(step)
losses = [step(x, y).item() for t in range(30)]
losses += [1 + p.item() for p in (a, b, c, d)]
