"""Which conventions have a loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zqc.detection.conventions.anchor_heads import AnchorHeads
from zqc.detection.conventions.convention import Convention, Facts
from zqc.detection.conventions.described import AsTold
from zqc.detection.conventions.fcos import Fcos, TorchvisionFcos
from zqc.detection.conventions.grids import strides_of_cells
from zqc.detection.conventions.queries import Detr, UltralyticsDetr
from zqc.detection.conventions.retinanet import EfficientDet, RetinaNet
from zqc.detection.conventions.ssd import SsdLite
from zqc.detection.conventions.tracing import has_operator, output_activation
from zqc.detection.conventions.yolo import Yolo
from zqc.detection.conventions.yolo_objectness import ANCHORS, YoloObjectness
from zqc.detection.conventions.yolo_raw import YoloRaw
from zqc.detection.conventions.yolox import YoloX
from zqc.detection.losses.anchor_heads import anchor_heads
from zqc.detection.losses.detector_loss import DetectorLoss
from zqc.detection.losses.fcos import fcos, torchvision_fcos
from zqc.detection.losses.queries import detr, ultralytics_detr
from zqc.detection.losses.retinanet import efficientdet, retinanet
from zqc.detection.losses.ssd import ssd
from zqc.detection.losses.yolo import decoded, raw
from zqc.detection.losses.yolox import decoded_rows, yolox

KNOWN = (
    "YOLOv5, v8 and later, YOLOv3 and v7 with raw heads, YOLOX, SSD and RetinaFace, RetinaNet, "
    "EfficientDet, FCOS, DETR and, to learn by but not to make pictures with, RT-DETR and D-FINE"
)
"""Detectors that have one, as people call them."""


def loss_of(convention: Convention | None, facts: Facts) -> DetectorLoss | None:
    """The loss of a detector; None where the convention of its outputs has none."""
    if isinstance(convention, AsTold):
        convention = convention.convention
    built = _LOSSES.get(type(convention))
    return None if built is None else built(convention, facts)


def _yolo(convention: Yolo, facts: Facts) -> DetectorLoss | None:
    cells = facts.outputs[convention.output][2]
    known = strides_of_cells(facts.size, cells)
    return decoded(convention, cells, facts.size) if known else None


def _yolox(convention: YoloX, facts: Facts) -> DetectorLoss | None:
    cells = facts.outputs[convention.output][1]
    strides = convention.raw or strides_of_cells(facts.size, cells)
    return yolox(convention, strides) if strides else None


def _yolo_objectness(convention: YoloObjectness, facts: Facts) -> DetectorLoss | None:
    strides = strides_of_cells(facts.size, facts.outputs[convention.output][1] // ANCHORS)
    return decoded_rows(convention, strides, facts.size) if strides else None


def _ssd(convention: SsdLite, facts: Facts) -> DetectorLoss | None:
    kind = "none" if convention.logits else output_activation(facts, convention.scores)
    return ssd(convention, kind) if kind else None


def _detr(convention: Detr, facts: Facts) -> DetectorLoss:
    queries = facts.outputs[convention.boxes][1]
    return detr(convention, queries, picked=has_operator(facts, "TopK"))


_LOSSES: dict[type, Callable[[Any, Facts], DetectorLoss | None]] = {
    Yolo: _yolo,
    YoloRaw: lambda convention, _: raw(convention),
    AnchorHeads: lambda convention, facts: anchor_heads(convention, facts.size),
    YoloX: _yolox,
    YoloObjectness: _yolo_objectness,
    SsdLite: _ssd,
    RetinaNet: lambda convention, facts: retinanet(convention, facts.size),
    EfficientDet: lambda convention, facts: efficientdet(convention, facts.size),
    TorchvisionFcos: lambda convention, _: torchvision_fcos(convention),
    Fcos: lambda convention, _: fcos(convention),
    Detr: _detr,
    UltralyticsDetr: lambda convention, facts: ultralytics_detr(
        convention, facts.outputs[convention.output][1]
    ),
}
