"""A small detector of the YOLOv8 family, written from the published description of its blocks.

Convolutions with BatchNorm and SiLU, C2f stages, SPPF, a top-down and a bottom-up path, and one
decoupled head per stride that predicts class scores and a distribution over distances
(Li et al., Generalized Focal Loss, NeurIPS 2020, section 3) for each side of the box.
"""

import torch
from torch import Tensor, nn

STRIDES = (8, 16, 32)
BINS = 16


class ConvBlock(nn.Sequential):
    """Convolution without bias, BatchNorm, SiLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
            nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.03),
            nn.SiLU(inplace=True),
        )


class Bottleneck(nn.Module):
    """Two 3 x 3 convolutions, with the input added when `shortcut` is set."""

    def __init__(self, channels: int, *, shortcut: bool) -> None:
        super().__init__()
        self.first = ConvBlock(channels, channels, 3)
        self.second = ConvBlock(channels, channels, 3)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels, H, W) to the same shape."""
        y = self.second(self.first(x))
        return x + y if self.shortcut else y


class C2f(nn.Module):
    """Split in two, run bottlenecks on one half, concatenate every intermediate result."""

    def __init__(self, inputs: int, outputs: int, depth: int = 1, *, shortcut: bool) -> None:
        super().__init__()
        self.half = outputs // 2
        self.enter = ConvBlock(inputs, outputs)
        self.steps = nn.ModuleList(Bottleneck(self.half, shortcut=shortcut) for _ in range(depth))
        self.leave = ConvBlock((2 + depth) * self.half, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H, W)."""
        parts = list(self.enter(x).split(self.half, dim=1))
        for step in self.steps:
            parts.append(step(parts[-1]))
        return self.leave(torch.cat(parts, dim=1))


class SPPF(nn.Module):
    """Three 5 x 5 max-poolings in a row, concatenated with their input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.enter = ConvBlock(channels, channels // 2)
        self.pool = nn.MaxPool2d(5, stride=1, padding=2)
        self.leave = ConvBlock(channels * 2, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels, H, W) to the same shape."""
        parts = [self.enter(x)]
        for _ in range(3):
            parts.append(self.pool(parts[-1]))
        return self.leave(torch.cat(parts, dim=1))


class Head(nn.Module):
    """One stride: (N, 4 * BINS + classes, H, W) of box distributions and class logits."""

    def __init__(self, inputs: int, classes: int, box_width: int, class_width: int) -> None:
        super().__init__()
        self.box = nn.Sequential(
            ConvBlock(inputs, box_width, 3),
            ConvBlock(box_width, box_width, 3),
            nn.Conv2d(box_width, 4 * BINS, 1),
        )
        self.score = nn.Sequential(
            ConvBlock(inputs, class_width, 3),
            ConvBlock(class_width, class_width, 3),
            nn.Conv2d(class_width, classes, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, 4 * BINS + classes, H, W)."""
        return torch.cat((self.box(x), self.score(x)), dim=1)


class Detector(nn.Module):
    """Images (N, 3, size, size) in [0, 1] to predictions.

    `raw` gives what training needs, `forward` what is exported: (N, 4 + classes, A) with boxes as
    centre, width and height in pixels followed by class probabilities.
    """

    def __init__(self, *, classes: int = 10, size: int = 192) -> None:
        super().__init__()
        self.classes, self.size = classes, size
        c1, c2, c3, c4, c5 = 16, 32, 48, 64, 96
        self.stem = ConvBlock(3, c1, 3, 2)
        self.down2, self.stage2 = ConvBlock(c1, c2, 3, 2), C2f(c2, c2, 1, shortcut=True)
        self.down3, self.stage3 = ConvBlock(c2, c3, 3, 2), C2f(c3, c3, 2, shortcut=True)
        self.down4, self.stage4 = ConvBlock(c3, c4, 3, 2), C2f(c4, c4, 2, shortcut=True)
        self.down5, self.stage5 = ConvBlock(c4, c5, 3, 2), C2f(c5, c5, 1, shortcut=True)
        self.pyramid = SPPF(c5)
        self.upsample = nn.Upsample(scale_factor=2, mode="nearest")
        self.top4 = C2f(c5 + c4, c4, shortcut=False)
        self.top3 = C2f(c4 + c3, c3, shortcut=False)
        self.join4, self.bottom4 = ConvBlock(c3, c3, 3, 2), C2f(c3 + c4, c4, shortcut=False)
        self.join5, self.bottom5 = ConvBlock(c4, c4, 3, 2), C2f(c4 + c5, c5, shortcut=False)
        self.heads = nn.ModuleList(Head(width, classes, 32, 48) for width in (c3, c4, c5))
        self.dfl = nn.Conv2d(BINS, 1, 1, bias=False).requires_grad_(False)
        self.dfl.weight.data[:] = torch.arange(BINS, dtype=torch.float32).view(1, BINS, 1, 1)
        points, strides = anchor_points(size)
        self.anchors = len(points)
        self.register_buffer("points", points.T.contiguous()[None], persistent=False)
        self.register_buffer("strides", strides[None, None], persistent=False)
        self._start_biases(size)

    def raw(self, images: Tensor) -> Tensor:
        """Box distributions and class logits of all strides: (N, 4 * BINS + classes, A)."""
        p3 = self.stage3(self.down3(self.stage2(self.down2(self.stem(images)))))
        p4 = self.stage4(self.down4(p3))
        p5 = self.pyramid(self.stage5(self.down5(p4)))
        t4 = self.top4(torch.cat((self.upsample(p5), p4), dim=1))
        n3 = self.top3(torch.cat((self.upsample(t4), p3), dim=1))
        n4 = self.bottom4(torch.cat((self.join4(n3), t4), dim=1))
        n5 = self.bottom5(torch.cat((self.join5(n4), p5), dim=1))
        maps = [head(level) for head, level in zip(self.heads, (n3, n4, n5), strict=True)]
        rows = 4 * BINS + self.classes
        flat = [
            level.reshape(-1, rows, (self.size // stride) ** 2)
            for level, stride in zip(maps, STRIDES, strict=True)
        ]
        return torch.cat(flat, dim=2)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, 3, size, size) in [0, 1] to (N, 4 + classes, A) as the class describes."""
        boxes, scores = self.raw(images).split((4 * BINS, self.classes), dim=1)
        bins = boxes.reshape(-1, 4, BINS, self.anchors).transpose(2, 1).softmax(1)
        distances = self.dfl(bins).reshape(-1, 4, self.anchors)
        left_top, right_bottom = distances.split((2, 2), dim=1)
        low, high = self.points - left_top, self.points + right_bottom
        centre_size = torch.cat(((low + high) / 2, high - low), dim=1) * self.strides
        return torch.cat((centre_size, scores.sigmoid()), dim=1)

    def _start_biases(self, size: int) -> None:
        """Begin with boxes of about two strides and about one object in a hundred anchors."""
        for head, stride in zip(self.heads, STRIDES, strict=True):
            nn.init.constant_(head.box[-1].bias, 1.0)
            prior = 5 / self.classes / (size / stride) ** 2
            nn.init.constant_(head.score[-1].bias, torch.logit(torch.tensor(prior)).item())


def anchor_points(size: int) -> tuple[Tensor, Tensor]:
    """Cell centres in units of their stride (A, 2), x first, and the strides in pixels (A,)."""
    points, strides = [], []
    for stride in STRIDES:
        axis = torch.arange(size // stride) + 0.5
        y, x = torch.meshgrid(axis, axis, indexing="ij")
        points.append(torch.stack((x, y), dim=-1).reshape(-1, 2))
        strides.append(torch.full((len(axis) ** 2,), float(stride)))
    return torch.cat(points), torch.cat(strides)
