"""A residual teacher and a small student: soft targets with a temperature, groups of parameters, one cycle of the rate."""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.optim.lr_scheduler import OneCycleLR

from tests.scripts.beginning import begin


class BasicBlock(nn.Module):
    expansion = 1

    def __init__(self, in_planes, planes, stride=1):
        super(BasicBlock, self).__init__()
        self.conv1 = nn.Conv2d(in_planes, planes, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, kernel_size=3, stride=1, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.shortcut = nn.Sequential()
        if stride != 1 or in_planes != self.expansion * planes:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_planes, self.expansion * planes, kernel_size=1, stride=stride, bias=False),
                nn.BatchNorm2d(self.expansion * planes),
            )

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += self.shortcut(x)
        return F.relu(out)


class ResNet(nn.Module):
    def __init__(self, block, num_blocks, num_classes=5):
        super(ResNet, self).__init__()
        self.in_planes = 4
        self.conv1 = nn.Conv2d(3, 4, kernel_size=3, stride=1, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(4)
        self.layer1 = self._make_layer(block, 4, num_blocks[0], stride=1)
        self.layer2 = self._make_layer(block, 8, num_blocks[1], stride=2)
        self.linear = nn.Linear(8 * block.expansion, num_classes)

    def _make_layer(self, block, planes, num_blocks, stride):
        strides = [stride] + [1] * (num_blocks - 1)
        layers = []
        for stride in strides:
            layers.append(block(self.in_planes, planes, stride))
            self.in_planes = planes * block.expansion
        return nn.Sequential(*layers)

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.layer2(self.layer1(out))
        out = F.adaptive_avg_pool2d(out, (1, 1))
        out = out.view(out.size(0), -1)
        return self.linear(out)


class Student(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.ReLU6(inplace=True), nn.AvgPool2d(2), nn.Flatten(start_dim=1)
        )
        self.classifier = nn.LazyLinear(5)

    def forward(self, x):
        return self.classifier(self.features(x))


rng = np.random.default_rng(0)
dtype = torch.get_default_dtype()
images = torch.tensor(rng.standard_normal((24, 3, 8, 8)), dtype=dtype)
labels = torch.tensor(rng.integers(0, 5, 24))
teacher, student = begin(ResNet(BasicBlock, [1, 1]), 1), Student()
with torch.no_grad():
    student(images[:1])
student = begin(student, 2)
decay, no_decay = [], []
for name, param in teacher.named_parameters():
    (no_decay if param.ndim <= 1 or name.endswith(".bias") else decay).append(param)
optimizer_t = torch.optim.SGD(
    [{"params": decay, "weight_decay": 5e-4}, {"params": no_decay, "weight_decay": 0.0}],
    lr=0.05, momentum=0.9, nesterov=True,
)  # fmt: skip
scheduler = OneCycleLR(optimizer_t, max_lr=0.1, total_steps=8, pct_start=0.3, cycle_momentum=False)
optimizer_s = torch.optim.AdamW(student.parameters(), lr=1e-2, weight_decay=0.05, amsgrad=True)


def loss_fn_kd(outputs, labels, teacher_outputs, alpha=0.9, T=4):
    return nn.KLDivLoss(reduction="batchmean")(
        F.log_softmax(outputs / T, dim=1), F.softmax(teacher_outputs / T, dim=1)
    ) * (alpha * T * T) + F.cross_entropy(outputs, labels, label_smoothing=0.1) * (1.0 - alpha)


def teach(x, y):
    optimizer_t.zero_grad()
    outputs = teacher(x)
    loss = F.cross_entropy(outputs, y)
    loss.backward()
    optimizer_t.step()
    return loss, outputs.argmax(1).eq(y).sum()


def distill(x, y):
    with torch.no_grad():
        soft = teacher(x)
    optimizer_s.zero_grad()
    loss = loss_fn_kd(student(x), y, soft)
    loss.backward()
    optimizer_s.step()
    return loss


if COMPILED:
    teach, distill = torch.compile(teach), torch.compile(distill)
losses = []
for epoch in range(2):
    teacher.train()
    for x, y in zip(images.split(6), labels.chunk(4)):
        loss, correct = teach(x, y)
        scheduler.step()
        losses += [loss.item(), correct.item(), scheduler.get_last_lr()[0]]
teacher.eval()
for epoch in range(2):
    for x, y in zip(images.split(6), labels.chunk(4)):
        losses.append(distill(x, y).item())
