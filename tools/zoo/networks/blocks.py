"""Blocks that the plain networks of the zoo share."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

CLASSES = 10
PRIOR = -math.log((1 - 0.01) / 0.01)
"""Bias of scores: 1 in 100 (Lin et al., Focal Loss, section 3.3)."""


class ConvNorm(nn.Sequential):
    """A convolution that keeps the size but for its stride, BatchNorm and an activation."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 1,
        stride: int = 1,
        *,
        groups: int = 1,
        activation: type[nn.Module] | None = nn.SiLU,
    ) -> None:
        padding = (kernel - 1) // 2
        layers: list[nn.Module] = [
            nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False),
            nn.BatchNorm2d(outputs),
        ]
        super().__init__(*layers, *([activation()] if activation else []))


def grids_behind(stages: nn.ModuleList, grid: Tensor) -> list[Tensor]:
    """Run stages one after another and return the grid behind each."""
    grids = []
    for stage in stages:
        grid = stage(grid)
        grids.append(grid)
    return grids


class Pooled(nn.Module):
    """Maxima over three widths beside the grid itself (YOLOX and RTMDet, after SPPNet)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = ConvNorm(inputs, inputs // 2)
        self.pools = nn.ModuleList(nn.MaxPool2d(k, 1, k // 2) for k in (5, 9, 13))
        self.last = ConvNorm(inputs * 2, outputs)

    def forward(self, grid: Tensor) -> Tensor:
        """Return a grid of the same size."""
        grid = self.first(grid)
        return self.last(torch.cat([grid, *(pool(grid) for pool in self.pools)], dim=1))


class Split(nn.Module):
    """Two halves, one of them through blocks, joined again (CSPNet, Wang et al., 2020)."""

    def __init__(
        self, inputs: int, outputs: int, blocks: nn.Module, *, after: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.short = ConvNorm(inputs, outputs // 2)
        self.main = ConvNorm(inputs, outputs // 2)
        self.blocks = blocks
        self.after = after or nn.Identity()
        self.last = ConvNorm(outputs, outputs)

    def forward(self, grid: Tensor) -> Tensor:
        """Return a grid of the same size."""
        joined = torch.cat([self.blocks(self.main(grid)), self.short(grid)], dim=1)
        return self.last(self.after(joined))


def upsample(grid: Tensor) -> Tensor:
    """Return a grid of twice the size, its cells repeated."""
    return functional.interpolate(grid, scale_factor=2.0, mode="nearest")


def flat(grid: Tensor) -> Tensor:
    """Return N x C x H x W as N x HW x C."""
    return grid.flatten(2).permute(0, 2, 1)


def points(grid: Tensor, stride: int, *, offset: float = 0.5) -> Tensor:
    """Return the places of the cells of a grid, HW x 2 (x, y) in pixels."""
    height, width = grid.shape[-2:]
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return (torch.stack([x, y], dim=-1).reshape(-1, 2) + offset) * stride


def corners(centres: Tensor, distances: Tensor) -> Tensor:
    """Return boxes (x1, y1, x2, y2) from points and distances to the left, top, right, bottom."""
    return torch.cat([centres - distances[..., :2], centres + distances[..., 2:]], dim=-1)


def scores(inputs: int, outputs: int, kernel: int = 1) -> nn.Conv2d:
    """Return the layer of the scores before their sigmoid."""
    layer = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)
    nn.init.constant_(layer.bias, PRIOR)
    return layer
