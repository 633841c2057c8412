"""Like RTMDet-tiny (Lyu et al., 2022): wide depthwise kernels, channel attention, shared heads."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tools.zoo.network import IMAGENET, Network
from tools.zoo.networks.blocks import (
    CLASSES,
    ConvNorm,
    Pooled,
    Split,
    corners,
    flat,
    grids_behind,
    points,
    scores,
    upsample,
)

WIDTHS = (32, 64, 128, 256)
NECK = 64
STRIDES = (8, 16, 32)


class Block(nn.Module):
    """A convolution and a depthwise one of 5 x 5, and the grid itself added if asked for."""

    def __init__(self, width: int, *, add: bool = True) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            ConvNorm(width, width, 3),
            ConvNorm(width, width, 5, groups=width),
            ConvNorm(width, width),
        )
        self.add = add

    def forward(self, grid: Tensor) -> Tensor:
        """Return a grid of the same shape."""
        return grid + self.layers(grid) if self.add else self.layers(grid)


class Attention(nn.Module):
    """Channels weighted by what they are on average."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.pool, self.layer, self.gate = (
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(width, width, 1),
            (nn.Hardsigmoid()),
        )

    def forward(self, grid: Tensor) -> Tensor:
        """Return a grid of the same shape."""
        return grid * self.gate(self.layer(self.pool(grid)))


class Backbone(nn.Module):
    """A stem and four stages (CSPNeXt), of which the last three grids are returned."""

    def __init__(self) -> None:
        super().__init__()
        half = WIDTHS[0] // 2
        self.stem = nn.Sequential(
            ConvNorm(3, half, 3, 2), ConvNorm(half, half, 3), ConvNorm(half, WIDTHS[0], 3)
        )
        stages, before = [], WIDTHS[0]
        for number, width in enumerate(WIDTHS):
            last = number == len(WIDTHS) - 1
            pooled = [Pooled(width, width)] if last else []
            part = Split(width, width, Block(width // 2, add=not last), after=Attention(width))
            stages.append(nn.Sequential(ConvNorm(before, width, 3, 2), *pooled, part))
            before = width
        self.stages = nn.ModuleList(stages)

    def forward(self, pictures: Tensor) -> list[Tensor]:
        """Return the grids of strides 8, 16 and 32."""
        return grids_behind(self.stages, self.stem(pictures))[1:]


class Pyramid(nn.Module):
    """Down and up again, to one number of channels."""

    def __init__(self) -> None:
        super().__init__()
        self.reduce = nn.ModuleList(ConvNorm(width, NECK) for width in WIDTHS[1:])
        self.top4, self.top3, self.out4, self.out5 = (
            Split(2 * NECK, NECK, Block(NECK // 2, add=False)) for _ in range(4)
        )
        self.down3, self.down4 = ConvNorm(NECK, NECK, 3, 2), ConvNorm(NECK, NECK, 3, 2)
        self.last = nn.ModuleList(ConvNorm(NECK, NECK, 3) for _ in STRIDES)

    def forward(self, grids: list[Tensor]) -> list[Tensor]:
        """Return three grids of NECK channels."""
        third, fourth, fifth = (
            reduce(grid) for reduce, grid in zip(self.reduce, grids, strict=True)
        )
        middle = self.top4(torch.cat([upsample(fifth), fourth], dim=1))
        low = self.top3(torch.cat([upsample(middle), third], dim=1))
        four = self.out4(torch.cat([self.down3(low), middle], dim=1))
        five = self.out5(torch.cat([self.down4(four), fifth], dim=1))
        return [last(grid) for last, grid in zip(self.last, [low, four, five], strict=True)]


class Branch(nn.Module):
    """Convolutions that all levels share, each level with BatchNorm of its own, and one on top."""

    def __init__(self, last: nn.Conv2d) -> None:
        super().__init__()
        layers = [nn.Conv2d(NECK, NECK, 3, padding=1, bias=False) for _ in range(2)]
        self.layers, self.last = nn.ModuleList(layers), last
        self.norms = nn.ModuleList(
            nn.ModuleList(nn.BatchNorm2d(NECK) for _ in layers) for _ in STRIDES
        )
        self.activation = nn.SiLU()

    def forward(self, grid: Tensor, level: int) -> Tensor:
        """Return the grid of what is told of each cell."""
        for layer, norm in zip(self.layers, self.norms[level], strict=True):
            grid = self.activation(norm(layer(grid)))
        return self.last(grid)


class Rtmdet(nn.Module):
    """Boxes in pixels and scores."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.pyramid = Backbone(), Pyramid()
        self.classes = Branch(scores(NECK, CLASSES))
        self.distances = Branch(nn.Conv2d(NECK, 4, 1))

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Return boxes N x A x 4 (x1, y1, x2, y2) and scores N x A x C."""
        boxes, classes = [], []
        for level, grid in enumerate(self.pyramid(self.backbone(pictures))):
            stride = STRIDES[level]
            centres = points(grid, stride, offset=0.0).to(grid)
            distances = flat(self.distances(grid, level)).exp() * stride
            boxes.append(corners(centres, distances))
            classes.append(flat(self.classes(grid, level)).sigmoid())
        return torch.cat(boxes, dim=1), torch.cat(classes, dim=1)


NETWORKS = (Network("rtmdet", Rtmdet, ("boxes", "scores"), statistics=IMAGENET, bgr=True),)
