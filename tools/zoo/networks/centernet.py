"""Like CenterNet (Zhou et al., Objects as Points, 2019): ResNet, transposed convolutions, peaks."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from tools.zoo.network import IMAGENET, Network
from tools.zoo.networks.blocks import CLASSES, ConvNorm, scores

WIDTHS = (32, 64, 128, 256)
DECODER = (128, 64, 32)
HEAD = 32


class Residual(nn.Module):
    """Two convolutions and a shortcut (ResNet-18)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            ConvNorm(inputs, outputs, 3, stride, activation=nn.ReLU),
            ConvNorm(outputs, outputs, 3, activation=None),
        )
        same = stride == 1 and inputs == outputs
        self.short = (
            nn.Identity() if same else ConvNorm(inputs, outputs, 1, stride, activation=None)
        )
        self.activation = nn.ReLU()

    def forward(self, grid: Tensor) -> Tensor:
        """Return a grid of `outputs` channels."""
        return self.activation(self.layers(grid) + self.short(grid))


def _doubling(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        ConvNorm(inputs, outputs, 3, activation=nn.ReLU),
        nn.ConvTranspose2d(outputs, outputs, 4, 2, 1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


def _head(last: nn.Conv2d) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(DECODER[-1], HEAD, 3, padding=1), nn.ReLU(), last)


class Centernet(nn.Module):
    """Peaks of the heat maps, sizes and offsets on a grid of stride 4."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            ConvNorm(3, WIDTHS[0], 7, 2, activation=nn.ReLU),
            nn.MaxPool2d(3, 2, 1),
        ]
        before = WIDTHS[0]
        for number, width in enumerate(WIDTHS):
            layers += [Residual(before, width, 2 if number else 1), Residual(width, width, 1)]
            before = width
        for width in DECODER:
            layers.append(_doubling(before, width))
            before = width
        self.layers = nn.Sequential(*layers)
        self.heat = _head(scores(HEAD, CLASSES))
        self.size, self.offset = _head(nn.Conv2d(HEAD, 2, 1)), _head(nn.Conv2d(HEAD, 2, 1))

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return heat N x C x H x W, 0 beside its peaks, and sizes and offsets N x 2 x H x W."""
        grid = self.layers(pictures)
        heat = self.heat(grid).sigmoid()
        peaks = functional.max_pool2d(heat, 3, stride=1, padding=1)
        return heat * (peaks == heat).float(), self.size(grid), self.offset(grid)


NETWORKS = (
    Network("centernet", Centernet, ("heat", "size", "offset"), statistics=IMAGENET, bgr=True),
)
