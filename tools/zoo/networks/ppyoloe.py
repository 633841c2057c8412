"""Like PP-YOLOE (Xu et al., 2022): CSPRepResNet, squeeze and excitation, distributions."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tools.zoo.network import Network
from tools.zoo.networks.blocks import (
    CLASSES,
    ConvNorm,
    Split,
    corners,
    flat,
    grids_behind,
    points,
    scores,
    upsample,
)

WIDTHS = (32, 64, 128, 256)
NECK = (64, 96, 128)
STRIDES = (8, 16, 32)
BINS = 17


class Rep(nn.Module):
    """A 3 x 3 and a 1 x 1 convolution side by side (RepVGG, Ding et al., 2021)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.wide = ConvNorm(width, width, 3, activation=None)
        self.narrow = ConvNorm(width, width, 1, activation=None)
        self.activation = nn.SiLU()

    def forward(self, grid: Tensor) -> Tensor:
        """Return a grid of the same shape."""
        return self.activation(self.wide(grid) + self.narrow(grid))


class Block(nn.Module):
    """A convolution and a pair of them, and the grid itself added if asked for."""

    def __init__(self, width: int, *, add: bool = True) -> None:
        super().__init__()
        self.layers = nn.Sequential(ConvNorm(width, width, 3), Rep(width))
        self.add = add

    def forward(self, grid: Tensor) -> Tensor:
        """Return a grid of the same shape."""
        return grid + self.layers(grid) if self.add else self.layers(grid)


class Excitation(nn.Module):
    """Channels weighted by what they are on average."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer = nn.Conv2d(width, width, 1)

    def forward(self, grid: Tensor) -> Tensor:
        """Return a grid of the same shape."""
        return grid * nn.functional.hardsigmoid(self.layer(grid.mean((2, 3), keepdim=True)))


class HeadAttention(nn.Module):
    """The same with a sigmoid and a convolution behind it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gate, self.layer = nn.Conv2d(width, width, 1), ConvNorm(width, width)

    def forward(self, grid: Tensor, average: Tensor) -> Tensor:
        """Return a grid of the same shape."""
        return self.layer(grid * self.gate(average).sigmoid())


class Backbone(nn.Module):
    """A stem and four stages, of which the last three grids are returned."""

    def __init__(self) -> None:
        super().__init__()
        half = WIDTHS[0] // 2
        self.stem = nn.Sequential(ConvNorm(3, half, 3, 2), ConvNorm(half, WIDTHS[0], 3))
        stages, before = [], WIDTHS[0]
        for width in WIDTHS:
            part = Split(width, width, Block(width // 2), after=Excitation(width))
            stages.append(nn.Sequential(ConvNorm(before, width, 3, 2), part))
            before = width
        self.stages = nn.ModuleList(stages)

    def forward(self, pictures: Tensor) -> list[Tensor]:
        """Return the grids of strides 8, 16 and 32."""
        return grids_behind(self.stages, self.stem(pictures))[1:]


class Pyramid(nn.Module):
    """Down and up again, with blocks of their own on every level."""

    def __init__(self) -> None:
        super().__init__()
        low, middle, high = NECK
        self.top5 = Split(WIDTHS[3], high, Block(high // 2, add=False))
        self.reduce5, self.reduce4 = ConvNorm(high, middle), ConvNorm(middle, low)
        self.top4 = Split(middle + WIDTHS[2], middle, Block(middle // 2, add=False))
        self.top3 = Split(low + WIDTHS[1], low, Block(low // 2, add=False))
        self.down3, self.down4 = ConvNorm(low, low, 3, 2), ConvNorm(middle, middle, 3, 2)
        self.out4 = Split(low + middle, middle, Block(middle // 2, add=False))
        self.out5 = Split(middle + high, high, Block(high // 2, add=False))

    def forward(self, grids: list[Tensor]) -> list[Tensor]:
        """Return three grids of the channels of NECK."""
        third, fourth, fifth = grids
        five = self.top5(fifth)
        four = self.top4(torch.cat([upsample(self.reduce5(five)), fourth], dim=1))
        low = self.top3(torch.cat([upsample(self.reduce4(four)), third], dim=1))
        middle = self.out4(torch.cat([self.down3(low), four], dim=1))
        return [low, middle, self.out5(torch.cat([self.down4(middle), five], dim=1))]


class Head(nn.Module):
    """Scores and distributions of distances of one level."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.class_attention, self.box_attention = HeadAttention(width), HeadAttention(width)
        self.classes = scores(width, CLASSES, 3)
        self.distances = nn.Conv2d(width, 4 * BINS, 3, padding=1)

    def forward(self, grid: Tensor) -> tuple[Tensor, Tensor]:
        """Return scores before their sigmoid and distributions before their softmax."""
        average = nn.functional.adaptive_avg_pool2d(grid, 1)
        classes = self.classes(self.class_attention(grid, average) + grid)
        return classes, self.distances(self.box_attention(grid, average))


class Ppyoloe(nn.Module):
    """Boxes in pixels and scores."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.pyramid = Backbone(), Pyramid()
        self.heads = nn.ModuleList(Head(width) for width in NECK)
        self.expectation = nn.Conv2d(BINS, 1, 1, bias=False)
        self.expectation.weight.requires_grad_(False)
        self.expectation.weight.copy_(torch.arange(BINS).reshape(1, BINS, 1, 1))

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Return boxes N x A x 4 (x1, y1, x2, y2) and scores N x C x A."""
        boxes, classes = [], []
        grids = self.pyramid(self.backbone(pictures))
        for head, grid, stride in zip(self.heads, grids, STRIDES, strict=True):
            found, bins = head(grid)
            cells = grid.shape[2] * grid.shape[3]
            bins = bins.reshape(-1, 4, BINS, cells).permute(0, 2, 3, 1)
            distances = self.expectation(bins.softmax(dim=1)).squeeze(1) * stride
            centres = points(grid, stride).to(grid)
            boxes.append(corners(centres, distances))
            classes.append(flat(found).sigmoid())
        return torch.cat(boxes, dim=1), torch.cat(classes, dim=1).permute(0, 2, 1)


NETWORKS = (Network("pp-yoloe", Ppyoloe, ("boxes", "scores")),)
