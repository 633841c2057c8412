"""The detectors of torchvision, with the transforms and the selection that their forward has.

Users train them from ImageNet weights, with the BatchNorm of the backbone frozen: where
torchvision would do that, it is done here, too. SSD300 has a quarter of VGG-16's channels, for time.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from tools.zoo.network import Network, Objects

CLASSES = 11  # with the background
SIZE = 320
_SIZES = {"min_size": SIZE, "max_size": SIZE}


class _Exported(nn.Module):
    """Boxes, scores and labels of one picture, in the order of torchvision's own tests of ONNX."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return boxes, scores and labels of the first picture."""
        found = self.model(list(pictures.unbind(0)))[0]
        return found["boxes"], found["scores"], found["labels"]


def _loss(model: nn.Module, pictures: Tensor, objects: Objects, *, first: int = 1) -> Tensor:
    targets = [
        {"boxes": boxes.reshape(-1, 4), "labels": labels + first}
        for boxes, labels in zip(objects.boxes, objects.labels, strict=True)
    ]
    return sum(model(list(pictures.unbind(0)), targets).values())


def _ssdlite() -> nn.Module:
    from torchvision.models.detection import ssdlite320_mobilenet_v3_large

    return ssdlite320_mobilenet_v3_large(
        weights=None, weights_backbone=None, num_classes=CLASSES, score_thresh=0.001
    )


def _ssd300() -> nn.Module:
    from torchvision.models.detection import ssd
    from torchvision.models.vgg import VGG, cfgs, make_layers

    narrow = [width // 4 if isinstance(width, int) else width for width in cfgs["D"]]
    features = VGG(make_layers(narrow), init_weights=True)
    extractor = _narrow(ssd._vgg_extractor(_Padded(features), highres=False, trainable_layers=5))
    anchors = ssd.DefaultBoxGenerator(
        [[2], [2, 3], [2, 3], [2, 3], [2], [2]],
        scales=[0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05],
        steps=[8, 16, 32, 64, 100, 300],
    )
    return ssd.SSD(
        extractor,
        anchors,
        (300, 300),
        CLASSES,
        image_mean=[0.48235, 0.45882, 0.40784],
        image_std=[1.0 / 255.0] * 3,
    )
