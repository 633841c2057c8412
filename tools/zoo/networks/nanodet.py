"""Like NanoDet-Plus (RangiLyu, 2021): ShuffleNetV2, depthwise pyramid, distributions of distances.

As NanoDet's own export has it, the distributions are an output: their expectation is taken outside.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from tools.zoo.network import IMAGENET, Network
from tools.zoo.networks.blocks import CLASSES, ConvNorm, flat, grids_behind, scores

WIDTHS = (48, 96, 192)
REPEATS = (4, 8, 4)
NECK = 96
BINS = 8

_conv = partial(ConvNorm, activation=nn.LeakyReLU)


def _separable(inputs: int, outputs: int, kernel: int = 5, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        _conv(inputs, inputs, kernel, stride, groups=inputs), _conv(inputs, outputs)
    )


class Shuffled(nn.Module):
    """Half of the channels through a branch, and both halves interleaved (Ma et al., 2018)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        half = outputs // 2
        self.stride = stride
        entering = inputs if stride == 2 else half
        self.main = nn.Sequential(
            _conv(entering, half),
            ConvNorm(half, half, 3, stride, groups=half, activation=None),
            _conv(half, half),
        )
        if stride == 2:
            self.side = nn.Sequential(
                ConvNorm(inputs, inputs, 3, 2, groups=inputs, activation=None), _conv(inputs, half)
            )

    def forward(self, grid: Tensor) -> Tensor:
        """Return a grid of `outputs` channels."""
        if self.stride == 2:
            parts = [self.side(grid), self.main(grid)]
        else:
            kept, used = grid.chunk(2, dim=1)
            parts = [kept, self.main(used)]
        joined = torch.cat(parts, dim=1)
        count, channels, height, width = joined.shape
        pairs = joined.reshape(count, 2, channels // 2, height, width).transpose(1, 2)
        return pairs.reshape(count, channels, height, width)


class Backbone(nn.Module):
    """A stem and three stages, whose grids are returned."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(_conv(3, 24, 3, 2), nn.MaxPool2d(3, 2, 1))
        stages, before = [], 24
        for width, repeats in zip(WIDTHS, REPEATS, strict=True):
            rest = [Shuffled(width, width, 1) for _ in range(repeats - 1)]
            stages.append(nn.Sequential(Shuffled(before, width, 2), *rest))
            before = width
        self.stages = nn.ModuleList(stages)

    def forward(self, pictures: Tensor) -> list[Tensor]:
        """Return the grids of strides 8, 16 and 32."""
        return grids_behind(self.stages, self.stem(pictures))


class Ghost(nn.Module):
    """Half of the channels are cheap transforms of the others (GhostNet, Han et al., 2020)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = _conv(inputs, outputs // 2)
        self.cheap = _conv(outputs // 2, outputs // 2, 5, groups=outputs // 2)

    def forward(self, grid: Tensor) -> Tensor:
        """Return a grid of `outputs` channels."""
        first = self.first(grid)
        return torch.cat([first, self.cheap(first)], dim=1)


class Pyramid(nn.Module):
    """Down and up again, and a fourth level of stride 64."""

    def __init__(self) -> None:
        super().__init__()
        self.reduce = nn.ModuleList(_conv(width, NECK) for width in WIDTHS)
        self.top4, self.top3, self.out4, self.out5 = (Ghost(2 * NECK, NECK) for _ in range(4))
        self.down3, self.down4 = _separable(NECK, NECK, stride=2), _separable(NECK, NECK, stride=2)
        self.extra_in, self.extra_out = (_separable(NECK, NECK, stride=2) for _ in range(2))

    def forward(self, grids: list[Tensor]) -> list[Tensor]:
        """Return four grids of NECK channels."""
        third, fourth, fifth = (
            reduce(grid) for reduce, grid in zip(self.reduce, grids, strict=True)
        )
        middle = self.top4(torch.cat([_doubled(fifth), fourth], dim=1))
        low = self.top3(torch.cat([_doubled(middle), third], dim=1))
        four = self.out4(torch.cat([self.down3(low), middle], dim=1))
        five = self.out5(torch.cat([self.down4(four), fifth], dim=1))
        return [low, four, five, self.extra_in(fifth) + self.extra_out(five)]


def _doubled(grid: Tensor) -> Tensor:
    return functional.interpolate(grid, scale_factor=2.0, mode="bilinear", align_corners=False)


class Head(nn.Sequential):
    """Scores and distributions from the same convolutions."""

    def __init__(self) -> None:
        layers = [_separable(NECK, NECK) for _ in range(2)]
        super().__init__(*layers, scores(NECK, CLASSES + 4 * BINS))


class Nanodet(nn.Module):
    """One row for each cell: scores, then four distributions before their softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.pyramid = Backbone(), Pyramid()
        self.heads = nn.ModuleList(Head() for _ in range(4))

    def forward(self, pictures: Tensor) -> Tensor:
        """Return N x A x (C + 4 BINS)."""
        rows = []
        for head, grid in zip(self.heads, self.pyramid(self.backbone(pictures)), strict=True):
            classes, distances = head(grid).split([CLASSES, 4 * BINS], dim=1)
            rows.append(flat(torch.cat([classes.sigmoid(), distances], dim=1)))
        return torch.cat(rows, dim=1)


NETWORKS = (Network("nanodet", Nanodet, ("output",), statistics=IMAGENET, bgr=True),)
