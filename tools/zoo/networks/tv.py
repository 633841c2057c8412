"""The detectors of torchvision, with the transforms and the selection that their forward has.

The backbones are small ones. BatchNorm is frozen where torchvision freezes it, which it does as
soon as there are ImageNet weights. The features of SSD300 are those of VGG-16 with a quarter of the
channels.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from tools.zoo.network import Network, Objects

CLASSES = 11  # with the background
SIZE = 320
PYRAMID = 128  # channels; torchvision has 256

_OUTPUTS = ("boxes", "scores", "labels")


class _Exported(nn.Module):
    """A detector on a batch of pictures instead of a list."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, pictures: Tensor) -> tuple[Tensor, ...]:
        """Return boxes, scores and labels of the first picture."""
        found = self.model(list(pictures.unbind(0)))[0]
        return tuple(found[name] for name in _OUTPUTS)


class _Heads(nn.Module):
    """The grids and the heads alone: what is left when users do the selection themselves."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.backbone, self.head = model.backbone, model.head
        for name in ("mean", "std"):
            values = getattr(model.transform, f"image_{name}")
            self.register_buffer(name, torch.tensor(values)[:, None, None])

    def forward(self, pictures: Tensor) -> tuple[Tensor, ...]:
        """Return what the heads say of each anchor, classes and boxes in the heads' own order."""
        grids = list(self.backbone((pictures - self.mean) / self.std).values())
        return tuple(self.head(grids).values())


class _SsdFeatures(nn.Module):
    """VGG-16 with dilated fully connected layers, and four smaller grids (Liu et al., 2016)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        stages = [(1, 2), (2, 2), (4, 3), (8, 3), (8, 3)]
        channels, layers = 3, []
        for stage, (factor, count) in enumerate(stages):
            if stage:
                layers.append(nn.MaxPool2d(2, ceil_mode=stage == 3))
            for _ in range(count):
                layers += [nn.Conv2d(channels, factor * width, 3, padding=1), nn.ReLU()]
                channels = factor * width
        self.first = nn.Sequential(*layers[:23])  # up to conv4_3
        self.scale = nn.Parameter(20.0 * nn.init.ones_(nn.Parameter(layers[21].bias.detach())))
        self.rest = nn.ModuleList(
            [
                nn.Sequential(
                    *layers[23:],
                    nn.MaxPool2d(3, stride=1, padding=1),
                    nn.Conv2d(8 * width, 16 * width, 3, padding=6, dilation=6),
                    nn.ReLU(),
                    nn.Conv2d(16 * width, 16 * width, 1),
                    nn.ReLU(),
                ),
                _smaller(16 * width, 4 * width, 8 * width, stride=2),
                _smaller(8 * width, 2 * width, 4 * width, stride=2),
                _smaller(4 * width, 2 * width, 4 * width, stride=1),
                _smaller(4 * width, 2 * width, 4 * width, stride=1),
            ]
        )
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)

    def forward(self, pictures: Tensor) -> dict[str, Tensor]:
        """Return the six grids by their number."""
        grid = self.first(pictures)
        grids = [self.scale[None, :, None, None] * functional.normalize(grid)]
        for part in self.rest:
            grid = part(grid)
            grids.append(grid)
        return OrderedDict((str(number), grid) for number, grid in enumerate(grids))


def _smaller(channels: int, inner: int, outer: int, *, stride: int) -> nn.Sequential:
    last = nn.Conv2d(inner, outer, 3, stride=stride, padding=stride - 1)
    return nn.Sequential(nn.Conv2d(channels, inner, 1), nn.ReLU(), last, nn.ReLU())


def _ssd300() -> nn.Module:
    from torchvision.models.detection import ssd

    anchors = ssd.DefaultBoxGenerator(
        [[2], [2, 3], [2, 3], [2, 3], [2], [2]],
        scales=[0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05],
        steps=[8, 16, 32, 64, 100, 300],
    )
    deviations = [1 / 255] * 3
    return ssd.SSD(
        _SsdFeatures(16),
        anchors,
        (300, 300),
        CLASSES,
        head=ssd.SSDHead([128, 256, 128, 64, 64, 64], anchors.num_anchors_per_location(), CLASSES),
        image_mean=[0.48235, 0.45882, 0.40784],
        image_std=deviations,
    )


def _ssdlite() -> nn.Module:
    from torchvision.models.detection import ssdlite320_mobilenet_v3_large

    return ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=CLASSES)


def _backbone() -> nn.Module:
    """ResNet-18 with frozen BatchNorm and a pyramid of five levels."""
    from torchvision.models import resnet18
    from torchvision.models.detection.backbone_utils import BackboneWithFPN
    from torchvision.ops import FrozenBatchNorm2d
    from torchvision.ops.feature_pyramid_network import LastLevelP6P7

    return BackboneWithFPN(
        resnet18(weights=None, norm_layer=FrozenBatchNorm2d),
        {"layer2": "0", "layer3": "1", "layer4": "2"},
        [128, 256, 512],
        PYRAMID,
        LastLevelP6P7(PYRAMID, PYRAMID),
    )


def _retinanet() -> nn.Module:
    from torchvision.models.detection import RetinaNet

    return RetinaNet(_backbone(), CLASSES, min_size=SIZE, max_size=SIZE)


def _fcos() -> nn.Module:
    from torchvision.models.detection import FCOS

    return FCOS(_backbone(), CLASSES, min_size=SIZE, max_size=SIZE)


def _faster_rcnn() -> nn.Module:
    from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_320_fpn

    return fasterrcnn_mobilenet_v3_large_320_fpn(
        weights=None, weights_backbone=None, num_classes=CLASSES, min_size=SIZE, max_size=SIZE
    )


def _loss(model: nn.Module, pictures: Tensor, objects: Objects) -> Tensor:
    targets = [
        {"boxes": boxes, "labels": labels + 1}
        for boxes, labels in zip(objects.boxes, objects.labels, strict=True)
    ]
    return sum(model(list(pictures.unbind(0)), targets).values())


_network = partial(Network, outputs=_OUTPUTS, deploy=_Exported, loss=_loss)

_BOXES_FIRST = (_Heads, ("bbox_regression", "cls_logits"))

NETWORKS = (
    _network("ssdlite", _ssdlite, captured=_BOXES_FIRST),
    _network("ssd300", _ssd300, size=300, captured=_BOXES_FIRST),
    _network("retinanet", _retinanet, captured=(_Heads, ("cls_logits", "bbox_regression"))),
    _network("fcos", _fcos, captured=(_Heads, ("cls_logits", "bbox_regression", "bbox_ctrness"))),
    _network("faster-rcnn", _faster_rcnn),
)
