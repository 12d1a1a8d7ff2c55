"""A U-net that segments discs: double convolutions, transposed ones, joined halves, dice and cross-entropy."""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset, random_split

from tests.scripts.beginning import begin


class DoubleConv(nn.Module):
    def __init__(self, in_channels, out_channels, mid_channels=None):
        super().__init__()
        if not mid_channels:
            mid_channels = out_channels
        self.double_conv = nn.Sequential(
            nn.Conv2d(in_channels, mid_channels, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(mid_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(mid_channels, out_channels, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )

    def forward(self, x):
        return self.double_conv(x)


class Up(nn.Module):
    def __init__(self, in_channels, out_channels, bilinear):
        super().__init__()
        if bilinear:
            self.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
            self.conv = DoubleConv(in_channels + in_channels // 2, out_channels, in_channels // 2)
        else:
            self.up = nn.ConvTranspose2d(in_channels, in_channels // 2, kernel_size=2, stride=2)
            self.conv = DoubleConv(in_channels, out_channels)

    def forward(self, x1, x2):
        x1 = self.up(x1)
        diffY = x2.size()[2] - x1.size()[2]
        diffX = x2.size()[3] - x1.size()[3]
        x1 = F.pad(x1, [diffX // 2, diffX - diffX // 2, diffY // 2, diffY - diffY // 2])
        return self.conv(torch.cat([x2, x1], dim=1))


class UNet(nn.Module):
    def __init__(self, n_channels, n_classes, c=4):
        super().__init__()
        self.n_classes = n_classes
        self.inc = DoubleConv(n_channels, c)
        self.down1 = nn.Sequential(nn.MaxPool2d(2), DoubleConv(c, 2 * c))
        self.down2 = nn.Sequential(nn.MaxPool2d(2), DoubleConv(2 * c, 4 * c))
        self.up1 = Up(4 * c, 2 * c, bilinear=False)
        self.up2 = Up(2 * c, c, bilinear=True)
        self.outc = nn.Conv2d(c, n_classes, kernel_size=1)

    def forward(self, x):
        x1 = self.inc(x)
        x2 = self.down1(x1)
        x3 = self.down2(x2)
        return self.outc(self.up2(self.up1(x3, x2), x1))


class Discs(Dataset):
    def __init__(self, n, size=9):
        rng = np.random.default_rng(0)
        yy, xx = np.mgrid[:size, :size]
        cy, cx, r = (rng.uniform(a, b, (n, 1, 1)) for a, b in ((2, 7), (2, 7), (1.5, 3)))
        self.masks = (yy - cy) ** 2 + (xx - cx) ** 2 < r**2
        self.images = self.masks + 0.3 * rng.standard_normal(self.masks.shape)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, idx):
        img = torch.as_tensor(self.images[idx].copy(), dtype=torch.get_default_dtype()).contiguous()
        return {"image": img.unsqueeze(0), "mask": torch.as_tensor(self.masks[idx].copy()).long().contiguous()}


def dice_coeff(input, target, reduce_batch_first=False, epsilon=1e-6):
    assert input.size() == target.size()
    sum_dim = (-1, -2) if input.dim() == 2 or not reduce_batch_first else (-1, -2, -3)
    inter = 2 * (input * target).sum(dim=sum_dim)
    sets_sum = input.sum(dim=sum_dim) + target.sum(dim=sum_dim)
    sets_sum = torch.where(sets_sum == 0, inter, sets_sum)
    return ((inter + epsilon) / (sets_sum + epsilon)).mean()


dataset = Discs(20)
train_set, val_set = random_split(dataset, [16, 4], generator=torch.Generator().manual_seed(0))
train_set.indices, val_set.indices = range(16), range(16, 20)  # as everybody draws them
train_loader = DataLoader(train_set, shuffle=False, batch_size=4, num_workers=0, pin_memory=False)
val_loader = DataLoader(val_set, shuffle=False, drop_last=True, batch_size=2)
net = begin(UNet(n_channels=1, n_classes=2)).to(memory_format=torch.channels_last)
optimizer = torch.optim.RMSprop(net.parameters(), lr=1e-3, weight_decay=1e-8, momentum=0.9, foreach=True)
scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, "max", patience=1)
criterion = nn.CrossEntropyLoss()


def step(images, true_masks):
    masks_pred = net(images)
    loss = criterion(masks_pred, true_masks)
    one_hot = F.one_hot(true_masks, net.n_classes).permute(0, 3, 1, 2).to(masks_pred.dtype)
    loss += 1 - dice_coeff(F.softmax(masks_pred, dim=1).flatten(0, 1), one_hot.flatten(0, 1), reduce_batch_first=True)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    optimizer.step()
    return loss


@torch.inference_mode()
def evaluate():
    net.eval()
    score = 0
    for batch in val_loader:
        mask_pred = net(batch["image"])
        mask_pred = F.one_hot(mask_pred.argmax(dim=1), net.n_classes).permute(0, 3, 1, 2).to(mask_pred.dtype)
        mask_true = F.one_hot(batch["mask"], net.n_classes).permute(0, 3, 1, 2).to(mask_pred.dtype)
        score += dice_coeff(mask_pred[:, 1:], mask_true[:, 1:], reduce_batch_first=False)
    net.train()
    return score / max(len(val_loader), 1)


if COMPILED:
    step = torch.compile(step)
losses = []
for epoch in range(2):
    for batch in train_loader:
        assert batch["image"].shape[1] == 1
        losses.append(step(batch["image"].to(memory_format=torch.channels_last), batch["mask"]).item())
    score = evaluate()
    scheduler.step(score)
    losses.append(score.item())
