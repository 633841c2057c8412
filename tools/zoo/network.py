"""What the zoo knows of a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and standard deviation of the channels, R, G, B, of pictures in 0..1."""


@dataclass(frozen=True)
class Objects:
    """What stands in the pictures of a batch.

    Attributes:
        boxes: Of each picture, M x 4 (x1, y1, x2, y2) in pixels of the network's input.
        labels: Of each picture, M, from 0.
    """

    boxes: list[Tensor]
    labels: list[Tensor]


Loss = Callable[[nn.Module, Tensor, Objects], Tensor]


@dataclass(frozen=True)
class Network:
    """A detector with random weights, and how it is trained and exported.

    Attributes:
        name: Of the network and of its files.
        build: Makes it, in training mode.
        outputs: Names of what the exported module returns.
        size: Height and width of its pictures.
        statistics: Mean and standard deviation that its pictures are normalised with.
        value_range: Values of the pixels 0 and 255 of a network whose pictures are not normalised.
        bgr: Whether it takes the channels in the order of OpenCV.
        deploy: Makes the module whose call on a batch of pictures is exported, in eval mode.
        captured: The same for torch.export, and the names of its outputs, where that cannot follow
            the whole: selections of as many objects as there are.
        loss: What its training minimises; none where only its BatchNorm statistics are measured.
        ships: Writes the file that its package writes for users, where it has a way of its own.
    """

    name: str
    build: Callable[[], nn.Module]
    outputs: tuple[str, ...]
    size: int = 320
    statistics: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    value_range: tuple[float, float] = (0.0, 1.0)
    bgr: bool = False
    deploy: Callable[[nn.Module], nn.Module] = lambda model: model
    captured: tuple[Callable[[nn.Module], nn.Module], tuple[str, ...]] | None = None
    loss: Loss | None = None
    ships: Callable[[nn.Module, Path, int], None] | None = None
