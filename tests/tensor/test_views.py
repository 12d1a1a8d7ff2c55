"""Views: what PyTorch calls a view reads its base's present value, and a write to it reaches the base and every other
view, with the right gradient in recorded code. Random programs run in both.
"""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch

import tinygrad_nn as tg
from tinygrad_nn.errors import GraphError, ShapeError, TinygradError, TraceError

VIEWS: dict[str, Callable[[Any], Any]] = {
    "x[1]": lambda x: x[1],
    "x[-1, 2]": lambda x: x[-1, 2],
    "x[1:3]": lambda x: x[1:3],
    "x[:, ::2]": lambda x: x[:, ::2],
    "x[...]": lambda x: x[...],
    "x[:]": lambda x: x[:],
    "x[None, 1:]": lambda x: x[None, 1:],
    "x[..., None, 0]": lambda x: x[..., None, 0],
    "select": lambda x: x.select(1, 2),
    "narrow": lambda x: x.narrow(1, 1, 2),
    "transpose": lambda x: x.transpose(0, 1),
    "T": lambda x: x.T,
    "mT": lambda x: x.mT,
    "t": lambda x: x.t(),
    "swapaxes": lambda x: x.swapaxes(0, 1),
    "movedim": lambda x: x.movedim(0, 1),
    "permute": lambda x: x.permute(1, 0),
    "view": lambda x: x.view(2, 6),
    "view the same": lambda x: x.view(3, 4),
    "view_as": lambda x: x.view_as(x.T.clone().contiguous()),
    "reshape": lambda x: x.reshape(-1),
    "flatten": lambda x: x.flatten(),
    "ravel": lambda x: x.ravel(),
    "unflatten": lambda x: x.unflatten(1, (2, 2)),
    "unsqueeze": lambda x: x.unsqueeze(1),
    "squeeze": lambda x: x[:1].squeeze(0),
    "squeeze nothing": lambda x: x.squeeze(),
    "unbind": lambda x: x.unbind(0)[2],
    "split": lambda x: x.split(2)[1],
    "chunk": lambda x: x.chunk(2, 1)[0],
    "diagonal": lambda x: x.diagonal(1),
    "detach": lambda x: x.detach(),
    "iteration": lambda x: list(x)[1],
    "contiguous": lambda x: x.contiguous(),
    "unfold side by side": lambda x: x.unfold(1, 2, 2),
    "expand to its own": lambda x: x.expand(3, 4),
    "expand by an axis of 1": lambda x: x.expand(1, 3, 4),
    "a chain": lambda x: x.T[1:].view_as(x.T[1:])[..., 1:].unsqueeze(0)[0, 1],
    "T of a part, as a row": lambda x: x[1:].T[2].view(-1),
}


def pad(x: Any, widths: tuple[int, ...]) -> Any:
    return tg.functional.pad(x, widths) if isinstance(x, tg.Tensor) else torch.nn.functional.pad(x, widths)


COPIES: dict[str, Callable[[Any], Any]] = {
    "clone": lambda x: x.clone(),
    "reshape of a transposed": lambda x: x.T.reshape(-1),
    "flatten of columns": lambda x: x[:, 1:].flatten(),
    "contiguous of a transposed": lambda x: x.T.contiguous(),
    "x[[0, 2]]": lambda x: x[[0, 2]],
    "x[mask]": lambda x: x[x > 5],
    "flip": lambda x: x.flip(0),
    "flip of an axis of 1": lambda x: x[:1].flip(0),
    "roll": lambda x: x.roll(1, 0),
    "roll all round": lambda x: x.roll(3, 0),
    "roll by nothing": lambda x: x.roll(0, 0),
    "repeat once": lambda x: x.repeat(1, 1),
    "tile once": lambda x: x.tile((1,)),
    "tril": lambda x: x.tril(4),
    "pad by nothing": lambda x: pad(x, (0, 0)),
    "cat of one": lambda x: (tg if isinstance(x, tg.Tensor) else torch).cat([x]),
    "clamp": lambda x: x.clamp(-100, 100),
    "+ 0": lambda x: x + 0,
    "to another dtype": lambda x: x.double(),
}


def numbers(lib: Any, *shape: int) -> Any:
    values = np.arange(1, 1 + int(np.prod(shape)), dtype=np.float32).reshape(shape)
    return tg.tensor(values) if lib is tg else torch.tensor(values)


SEVERAL = {  # PyTorch does not allow writes to one of several views with gradients on; the same by another way
    "unbind": lambda x: x[2],
    "split": lambda x: x[2:],
    "chunk": lambda x: x[:, :2],
    "iteration": lambda x: x[1],
}


@pytest.mark.parametrize("name", VIEWS)
def test_a_write_to_a_view_reaches_its_base_and_a_view_reads_its_base(name: str) -> None:
    results = []
    for lib in (tg, torch):
        x = numbers(lib, 3, 4)
        view, other = VIEWS[name](x), x[0]
        view.mul_(10)
        x.add_(0.5)
        view += 1
        results.append([x.tolist(), view.tolist(), other.tolist(), tuple(view.shape)])
    assert results[0] == results[1]


@pytest.mark.parametrize("name", COPIES)
def test_what_pytorch_copies_is_a_copy(name: str) -> None:
    results = []
    for lib in (tg, torch):
        x = numbers(lib, 3, 4)
        result = COPIES[name](x)
        result.zero_()
        x.add_(0.5)
        results.append([x.tolist(), result.tolist()])
    assert results[0] == results[1]


@pytest.mark.parametrize("name", [name for name in VIEWS if name != "detach"])
def test_gradients_through_writes(name: str) -> None:
    results = []
    for lib in (tg, torch):
        w, scale = numbers(lib, 3, 4).requires_grad_(), numbers(lib).requires_grad_()
        x = w * 2
        view = VIEWS[name](x) if lib is tg or name not in SEVERAL else SEVERAL[name](x)
        view.mul_(scale * 3)
        (x * x * numbers(lib, 3, 4)).sum().backward()
        results.append([w.grad.tolist(), scale.grad.tolist()])
    assert results[0] == results[1]


def test_the_writes_that_were_lost() -> None:
    layer, bias = tg.nn.RNN(3, 5), torch.zeros(5)
    with tg.no_grad():
        layer.bias_ih_l0.zero_()
        layer.bias_ih_l0[2:5].fill_(1.0)
        layer.weight_ih_l0[0].zero_()
        tg.nn.init.ones_(layer.weight_ih_l0[1:3])
    bias[2:5].fill_(1.0)
    assert layer.bias_ih_l0.tolist() == bias.tolist()
    assert layer.weight_ih_l0[:3].tolist() == [[0.0] * 3, [1.0] * 3, [1.0] * 3]
    assert isinstance(layer.bias_ih_l0, tg.nn.Parameter)
    assert layer.bias_ih_l0.is_leaf
    assert layer.bias_ih_l0.requires_grad


def test_a_gradient_may_be_written_through_a_view() -> None:
    p = tg.ones(4, requires_grad=True)
    (p * p).sum().backward()
    assert p.grad is not None
    p.grad[1:3].zero_()
    p.grad.view(2, 2)[1, 1] = 7.0
    assert p.grad.tolist() == [2.0, 0.0, 0.0, 7.0]


def test_a_view_of_a_trained_weight_is_always_the_present_one() -> None:
    model = tg.nn.Linear(3, 1)
    row, opt = model.weight[0], tg.optim.SGD(model.parameters(), lr=0.1)

    def step(x: tg.Tensor) -> tg.Tensor:
        opt.zero_grad()
        loss = (model(x) ** 2).mean()
        loss.backward()
        opt.step()
        return loss

    for train in (step, tg.jit(step)):
        for _ in range(3):
            train(tg.ones(2, 3))
            assert row.tolist() == model.weight[0].tolist()
    (row * 2).sum().backward(inputs=[model.weight])
    model.load_state_dict({"weight": tg.ones(1, 3), "bias": tg.zeros(1)})
    assert row.tolist() == [1.0] * 3


def test_what_may_not_be_written() -> None:
    w = tg.ones(3, requires_grad=True)
    for write in (lambda: w[0].fill_(1.0), lambda: w.view(3, 1)[1:].mul_(2), lambda: w.__setitem__(0, 1.0)):
        with pytest.raises(GraphError, match=r"a view of a leaf that requires grad.*no_grad"):
            write()
    with pytest.raises(GraphError, match=r"expanded from \(3,\) to \(2, 3\)"):
        tg.ones(3).expand(2, 3).add_(1)
    x = w * 2
    with tg.no_grad():
        view = x[0]
    with pytest.raises(GraphError, match="made under no_grad"):
        view.mul_(w[0])
    with pytest.raises(ShapeError, match=r"\[view\].*reshape"):
        tg.ones(2, 3).T.view(-1)
    with pytest.raises(ShapeError, match="mul_"):
        tg.ones(3)[:1].mul_(tg.ones(3))
    with pytest.raises(TinygradError, match="detached"):
        tg.ones(3).detach().mul_(w)


def test_a_detached_tensor_shares_and_may_become_a_leaf() -> None:
    results = []
    for lib in (tg, torch):
        x = numbers(lib, 3)
        leaf = x.detach().requires_grad_()
        (leaf * leaf).sum().backward()
        with lib.no_grad():
            leaf -= 0.5 * leaf.grad
            x[0] = 9.0
        leaf.detach()[1] = 5.0
        (leaf * 2).sum().backward()
        results.append([x.tolist(), leaf.tolist(), leaf.grad.tolist(), leaf.requires_grad, x.requires_grad])
    assert results[0] == results[1]
    w = tg.ones(2, requires_grad=True)
    w.detach().zero_()
    w[1:].detach().fill_(3.0)
    assert w.tolist() == [0.0, 3.0]


def test_data_is_written_and_assigned_behind_the_back_of_gradients() -> None:
    results = []
    for lib in (tg, torch):
        w, computed = numbers(lib, 3, 4).requires_grad_(), numbers(lib, 3).requires_grad_()
        row, h = w[0], computed * 2
        w.data[1:, ::2].mul_(10)
        w.data.T[0] += 1
        row = row.detach().clone()  # PyTorch forgets its views when data are assigned
        w.data = w.data - 0.5
        h.data[1] = 9.0
        h.data = h.data + 1
        ((w * w).sum() + (h * h).sum()).backward()
        w.grad.data[0] = 0.0
        values = [x.tolist() for x in (w, row, h, w.grad, computed.grad)]
        results.append([*values, w.is_leaf, w.requires_grad, w.data.requires_grad, w.data.is_leaf])
    assert results[0] == results[1]
    model, x = tg.nn.Linear(2, 1).double(), tg.ones(3, 2, dtype=tg.float64)

    def step(x: tg.Tensor) -> tg.Tensor:
        model.zero_grad()
        loss = (model(x) ** 2).mean()
        loss.backward()
        for p in model.parameters():
            assert p.grad is not None
            p.data.sub_(p.grad.data * 0.1)
        return loss

    start = copy.deepcopy(model.state_dict())
    wanted = [step(x).item() for _ in range(3)]
    model.load_state_dict(start)
    np.testing.assert_allclose([tg.jit(step)(x).item() for _ in range(3)], wanted, rtol=1e-12)
    with pytest.raises(ShapeError, match=r"\[data\] got values of shape \(2,\) for a tensor of shape \(1, 2\)"):
        model.weight[:].data = tg.zeros(2)


def test_a_leaf_made_of_a_tensor_that_is_gone_is_one_of_its_own() -> None:
    w = tg.arange(6.0).reshape(2, 3).T.requires_grad_()
    opt = tg.optim.SGD([w], lr=0.5)

    def step() -> tg.Tensor:
        opt.zero_grad()
        loss = (w * w).sum()
        loss.backward()
        opt.step()
        return loss

    assert [step().item(), tg.jit(step)().item(), step().item()] == [55.0, 0.0, 0.0]
    assert w.is_leaf
    assert w.shape == (3, 2)
    base = tg.ones(2)
    part = base[1:]
    for x in (part[:].requires_grad_(), base.detach()[1:].requires_grad_()):
        with tg.no_grad():
            x += 1
    assert base.tolist() == [1.0, 3.0]


def test_a_write_under_no_grad_keeps_the_history_of_a_computed_tensor() -> None:
    results = []
    for lib in (tg, torch):
        w = numbers(lib, 3).requires_grad_()
        x = w * 2
        with lib.no_grad():
            x[0] = 0.0
            x.add_(1)
        (x * x).sum().backward()
        results.append([w.grad.tolist(), x.tolist()])
    assert results[0] == results[1]


def test_chains_of_views_have_no_depth_limit() -> None:
    x = view = tg.zeros(3000)
    for _ in range(2999):
        view = view[1:]
    view.fill_(1.0)
    assert x[-2:].tolist() == [0.0, 1.0]
    x.add_(1.0)
    assert view.tolist() == [2.0]


def test_a_copied_view_is_a_tensor_of_its_own() -> None:
    x = tg.zeros(3)
    twin = copy.deepcopy(x[1:])
    for copied in (twin, pickle.loads(pickle.dumps(x[1:]))):
        copied.fill_(1.0)
        assert (x.tolist(), copied.tolist(), type(copied)) == ([0.0] * 3, [1.0] * 2, tg.Tensor)
    view = x[1:]
    one, other = copy.deepcopy([view, view])
    assert one is other


def test_base() -> None:
    x = tg.zeros(2, 3)
    assert x._base is None
    assert x[0].T._base is x
    assert (x + 1)._base is None


# ---- random programs ----------------------------------------------------------------------------------------------

STEPS = 14


class Program:
    """One run of a random program in one library: the same draws make the same program."""

    def __init__(self, lib: Any, seed: int, quiet: float = 0.3) -> None:
        self.lib, self.rng, self.quiet = lib, np.random.default_rng(seed), quiet
        self.leaf = self._tensor((3, 4)).requires_grad_()
        self.other = self._tensor(()).requires_grad_()
        self.constant = self._tensor((2, 3, 2))
        self.begin(self._tensor((4,)))

    def begin(self, one: Any) -> None:
        """What the steps go on from."""
        self.handles: list[Any] = [self.leaf * 1.5, self.constant, one, self.leaf]
        self.total = self.other * 0

    def _tensor(self, shape: tuple[int, ...]) -> Any:
        values = np.round(self.rng.uniform(-2, 2, shape), 2)
        return tg.tensor(values) if self.lib is tg else torch.tensor(values)

    def some(self) -> Any:
        return self.handles[int(self.rng.integers(len(self.handles)))]

    def view(self) -> None:
        x = self.some()
        kind, a, b = (int(k) for k in self.rng.integers(0, 100, 3))
        n = max(x.ndim, 1)
        options: list[Callable[[], Any]] = [
            lambda: x[a % x.shape[0]] if x.ndim else x[None],
            lambda: x[a % x.shape[0] :] if x.ndim else x[...],
            lambda: x[..., : 1 + a % x.shape[-1]] if x.ndim else x[...],
            lambda: x[:: 1 + a % 2] if x.ndim else x[...],
            lambda: x.transpose(a % n, b % n),
            lambda: x.permute(*np.roll(range(x.ndim), a).tolist()) if x.ndim else x,
            lambda: x.reshape(-1),
            lambda: x.unsqueeze(a % (x.ndim + 1)),
            lambda: x.squeeze(),
            lambda: x.narrow(a % n, 0, 1) if x.ndim else x,
            lambda: x.diagonal(a % 3 - 1) if x.ndim > 1 else x.view(-1),
            lambda: x.select(a % n, b % x.shape[a % n]) if x.ndim else x,
            lambda: x.expand(2, *x.shape),
            lambda: x.contiguous(),
        ]
        made = options[kind % len(options)]()
        if made.numel():
            self.handles.append(made)

    def write(self) -> None:
        x, y = self.some(), self.some()
        kind, quiet = int(self.rng.integers(6)), bool(self.rng.random() < self.quiet)
        value = float(np.round(self.rng.uniform(-1, 1), 1))
        with self.lib.no_grad() if quiet else nullcontext():
            if kind == 0:
                x.mul_(value)
            elif kind == 1:
                x.copy_(self.lib.ones_like(x) * value)  # fill_ may write to expanded tensors in PyTorch
            elif kind == 2:
                x.add_(self.other * value)
            elif kind == 3 and x.ndim:
                x[0] = self.lib.ones_like(x[0]) * value
            elif kind == 4 and x.shape == y.shape and x is not y:
                x.copy_(y.clone())
            elif kind == 5 and x.ndim:
                x[..., -1] = self.other * x[..., 0].clone()

    def read(self) -> None:
        x = self.some()
        self.total = self.total + (x * 0.5 + x.sin()).sum()

    def go(self) -> list[str]:
        """Take all steps; returns which were refused."""
        refused = []
        for k in range(STEPS):
            action = self.rng.choice(["view", "view", "write", "write", "read"])
            state = self.rng.bit_generator.state
            for handle in self.handles:
                handle.grad_fn  # noqa: B018  PyTorch takes a view for a leaf until somebody asks
            try:
                getattr(self, action)()
            except (RuntimeError, TinygradError) as error:
                refused.append(f"{k} {action}: {error}")
            self.rng.bit_generator.state = state
            self.rng.random(8)
        return refused

    def run(self) -> tuple[list[str], list[Any]]:
        """(which steps were refused, all values and the gradients)"""
        refused = self.go()
        values = [handle.tolist() for handle in self.handles]
        try:
            self.total.backward()
        except RuntimeError:
            return refused, values  # a value that PyTorch needs was overwritten; ours are still there
        leaves = (self.leaf, self.other)  # PyTorch has a gradient of 0 where nothing is left of what depended on one
        return refused, [*values, *(0.0 if x.grad is None else x.grad.tolist() for x in leaves)]


def test_random_programs_agree_with_pytorch() -> None:
    compared = 0
    for seed in range(200):
        ours, theirs = Program(tg, seed), Program(torch, seed)
        refused, values = ours.run()
        expected_refused, expected = theirs.run()
        steps = [[text.partition(":")[0] for text in texts] for texts in (refused, expected_refused)]
        assert steps[0] == steps[1], (seed, refused, expected_refused)
        compared += len(values) == len(expected)
        for found, wanted in zip(values, expected, strict=False):
            np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12, err_msg=f"seed {seed}")
    assert compared > 100


def test_random_programs_agree_with_their_compiled_form() -> None:
    written = 0
    for seed in range(15):
        results = []
        for decorate in (lambda function: function, tg.jit):
            program = Program(tg, seed, quiet=0.0)
            one, views = program.handles[2], [program.constant[1:], program.leaf.T]
            before = program.constant.tolist()

            def function(program: Program = program, one: Any = one, views: Any = views) -> tuple[list[Any], Any]:
                state = program.rng.bit_generator.state
                program.begin(one)
                program.handles += views
                program.go()
                program.rng.bit_generator.state = state
                handles, total = program.handles, program.total
                program.handles, program.total = [], None
                total.backward()
                return [handle * 1 for handle in handles], total

            run = decorate(function)
            found = run()
            written += program.constant.tolist() != before
            after = [program.leaf, program.constant, program.leaf.grad, program.other.grad, *views]
            results.append([np.asarray(x.detach()) for x in (*found[0], found[1], *after) if x is not None])
        for found, wanted in zip(*results, strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12, err_msg=f"seed {seed}")
    assert written > 5


def test_views_under_jit() -> None:
    weight, row = tg.ones(2, 3, requires_grad=True), None
    row = weight[0]

    def step(x: tg.Tensor) -> tg.Tensor:
        y = x * 2
        y[0].zero_()
        y.T[1] = x[:, 0]
        for line in y:
            line += 1
        with tg.no_grad():
            row.add_(x[0])
        return (y * weight).sum() + row.sum()

    x = tg.arange(6.0).reshape(2, 3)
    wanted = [step(x).item() for _ in range(3)]
    with tg.no_grad():
        weight.fill_(1.0)
    compiled = tg.jit(step)
    assert [compiled(x).item() for _ in range(3)] == wanted
    assert row.tolist() == weight[0].tolist()
    compiled(x[:])
    compiled(x.view(3, 2).T)
    assert compiled.traces == 1

    base = tg.zeros(3)
    leaf = base.detach().requires_grad_()
    with pytest.raises(TraceError, match=r"shares its elements.*clone"):
        tg.jit(lambda x: (leaf * x).sum())(tg.ones(3))


def test_views_in_a_scan() -> None:
    w = tg.arange(6.0).reshape(2, 3).requires_grad_()
    row = w[1]

    def step(c: tg.Tensor, x: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor]:
        own = c * 1
        own[0] = row[0] * x
        own.view(1, 3)[0, 1:].mul_(w[0, 1:])
        return own, own[::2]

    def total() -> tg.Tensor:
        last, ys = tg.scan(step, tg.ones(3), tg.tensor([1.0, 2.0, 3.0]))
        return (last * last).sum() + ys.sum()

    def unrolled() -> tg.Tensor:
        c, ys = tg.ones(3), []
        for x in (1.0, 2.0, 3.0):
            c, y = step(c, tg.tensor(x))
            ys.append(y)
        return (c * c).sum() + tg.stack(ys).sum()

    wanted = tg.autograd.grad(unrolled(), w)[0].tolist()
    for value in (total, tg.jit(total)):
        assert value().item() == unrolled().item()
    assert tg.autograd.grad(total(), w)[0].tolist() == wanted
    assert tg.jit(lambda: tg.autograd.grad(total(), w)[0])().tolist() == wanted
    for view in (row.detach(), w.detach()[0]):
        with pytest.raises(TraceError, match="from outside"):
            tg.scan(lambda c, x, view=view: (view.mul_(2.0), c), tg.ones(3), tg.ones(2))
    with pytest.raises(TraceError, match="from outside"):
        tg.scan(lambda c, x: (w[0].detach().mul_(2.0), c), tg.ones(3), tg.ones(2))
    with tg.no_grad():
        w.fill_(1.0)
    assert row.tolist() == [1.0] * 3



@pytest.mark.parametrize(
    "write",
    [
        lambda x: x[0].fill_(1.0),
        lambda x: x.__setitem__(0, 1.0),
        lambda x: x.T[:, 0].detach().add_(1.0),
        lambda x: x[0].expand(1, 3).fill_(1.0),
        lambda x: x.__setitem__([0], 1.0),
        lambda x: x.masked_fill_(tg.tensor([[True], [False]]), 1.0),
    ],
)
def test_threads_write_to_parts_of_one_tensor(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever writes a part gives all of the tensor a new value, in which what another wrote must not be missing."""
    x, assign = tg.zeros(2, 3), tg.Tensor.assign
    other = threading.Thread(target=lambda: x.__setitem__(1, 2.0))

    def assign_late(self: tg.Tensor, value: tg.Tensor) -> tg.Tensor:
        monkeypatch.undo()
        other.start()
        other.join(0.1)  # it has to wait for us
        return assign(self, value)

    monkeypatch.setattr(tg.Tensor, "assign", assign_late)
    write(x)
    other.join()
    assert x.tolist() == [[1.0] * 3, [2.0] * 3]
