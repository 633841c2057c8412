"""Like YOLOX-nano (Ge et al., 2021): Focus, CSPDarknet, PAFPN, decoupled heads without decoding."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tools.zoo.network import Network
from tools.zoo.networks.blocks import (
    CLASSES,
    ConvNorm,
    Pooled,
    Split,
    flat,
    grids_behind,
    scores,
    upsample,
)

WIDTHS = (32, 64, 128, 256)
HEAD = 64


class Residual(nn.Module):
    """Two convolutions, and the grid itself added if asked for."""

    def __init__(self, width: int, *, add: bool = True) -> None:
        super().__init__()
        self.layers = nn.Sequential(ConvNorm(width, width), ConvNorm(width, width, 3))
        self.add = add

    def forward(self, grid: Tensor) -> Tensor:
        """Return a grid of the same shape."""
        return grid + self.layers(grid) if self.add else self.layers(grid)


class Backbone(nn.Module):
    """Focus and four stages, of which the last three grids are returned."""

    def __init__(self) -> None:
        super().__init__()
        self.focus = ConvNorm(12, WIDTHS[0] // 2, 3)
        stages, before = [], WIDTHS[0] // 2
        for number, width in enumerate(WIDTHS):
            last = number == len(WIDTHS) - 1
            pooled = [Pooled(width, width)] if last else []
            blocks = Residual(width // 2, add=not last)
            stages.append(
                nn.Sequential(ConvNorm(before, width, 3, 2), *pooled, Split(width, width, blocks))
            )
            before = width
        self.stages = nn.ModuleList(stages)

    def forward(self, pictures: Tensor) -> list[Tensor]:
        """Return the grids of strides 8, 16 and 32."""
        corners = [pictures[..., y::2, x::2] for x in (0, 1) for y in (0, 1)]
        return grids_behind(self.stages, self.focus(torch.cat(corners, dim=1)))[1:]


class Pyramid(nn.Module):
    """Down and up again (PANet, Liu et al., 2018)."""

    def __init__(self) -> None:
        super().__init__()
        small, middle, large = WIDTHS[1:]
        self.reduce5, self.reduce4 = ConvNorm(large, middle), ConvNorm(middle, small)
        self.top4 = Split(2 * middle, middle, Residual(middle // 2, add=False))
        self.top3 = Split(2 * small, small, Residual(small // 2, add=False))
        self.down3, self.down4 = ConvNorm(small, small, 3, 2), ConvNorm(middle, middle, 3, 2)
        self.out4 = Split(2 * small, middle, Residual(middle // 2, add=False))
        self.out5 = Split(2 * middle, large, Residual(large // 2, add=False))

    def forward(self, grids: list[Tensor]) -> list[Tensor]:
        """Return three grids of the same shapes."""
        third, fourth, fifth = grids
        high = self.reduce5(fifth)
        middle = self.reduce4(self.top4(torch.cat([upsample(high), fourth], dim=1)))
        low = self.top3(torch.cat([upsample(middle), third], dim=1))
        four = self.out4(torch.cat([self.down3(low), middle], dim=1))
        return [low, four, self.out5(torch.cat([self.down4(four), high], dim=1))]


class Head(nn.Module):
    """One branch for the classes and one for the box and whether there is an object."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.stem = ConvNorm(inputs, HEAD)
        self.class_branch = nn.Sequential(ConvNorm(HEAD, HEAD, 3), ConvNorm(HEAD, HEAD, 3))
        self.box_branch = nn.Sequential(ConvNorm(HEAD, HEAD, 3), ConvNorm(HEAD, HEAD, 3))
        self.classes, self.object = scores(HEAD, CLASSES), scores(HEAD, 1)
        self.box = nn.Conv2d(HEAD, 4, 1)

    def forward(self, grid: Tensor) -> Tensor:
        """Return box, object and classes, N x (5 + C) x H x W."""
        grid = self.stem(grid)
        classes, box = self.class_branch(grid), self.box_branch(grid)
        parts = [self.box(box), self.object(box).sigmoid(), self.classes(classes).sigmoid()]
        return torch.cat(parts, dim=1)


class Yolox(nn.Module):
    """One row for each cell: box relative to it, object, classes."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.pyramid = Backbone(), Pyramid()
        self.heads = nn.ModuleList(Head(width) for width in WIDTHS[1:])

    def forward(self, pictures: Tensor) -> Tensor:
        """Return N x A x (5 + C)."""
        grids = self.pyramid(self.backbone(pictures))
        found = [head(grid) for head, grid in zip(self.heads, grids, strict=True)]
        return torch.cat([flat(each) for each in found], dim=1)


NETWORKS = (Network("yolox", Yolox, ("output",), value_range=(0.0, 255.0), bgr=True),)
