"""Which conventions have a loss."""

from __future__ import annotations

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
from zqc.detection.conventions.yolo_raw import YoloRaw
from zqc.detection.losses.anchor_heads import anchor_heads
from zqc.detection.losses.detector_loss import DetectorLoss
from zqc.detection.losses.fcos import fcos, torchvision_fcos
from zqc.detection.losses.queries import detr, ultralytics_detr
from zqc.detection.losses.retinanet import efficientdet, retinanet
from zqc.detection.losses.ssd import ssd
from zqc.detection.losses.yolo import decoded, raw

KNOWN = (
    "yolo, yolo-raw, yolov3, yolov5 and yolov7 with raw heads, ssdlite, retinanet, efficientdet, "
    "fcos, torchvision-fcos, detr and rt-detr"
)
"""Those that have one, in words."""


def loss_of(convention: Convention | None, facts: Facts) -> DetectorLoss | None:
    """The loss of a detector; None where the convention of its outputs has none."""
    if isinstance(convention, AsTold):
        convention = convention.convention
    if isinstance(convention, Yolo):
        cells = facts.outputs[convention.output][2]
        known = strides_of_cells(facts.size, cells)
        return decoded(convention, cells, facts.size) if known else None
    if isinstance(convention, YoloRaw):
        return raw(convention)
    if isinstance(convention, AnchorHeads):
        return anchor_heads(convention, facts.size)
    if isinstance(convention, SsdLite):
        kind = "none" if convention.logits else output_activation(facts, convention.scores)
        return ssd(convention, kind) if kind else None
    if isinstance(convention, RetinaNet):
        return retinanet(convention, facts.size)
    if isinstance(convention, EfficientDet):
        return efficientdet(convention, facts.size)
    if isinstance(convention, TorchvisionFcos):
        return torchvision_fcos(convention)
    if isinstance(convention, Fcos):
        return fcos(convention)
    if isinstance(convention, Detr):
        queries = facts.outputs[convention.boxes][1]
        return detr(convention, queries, picked=has_operator(facts, "TopK"))
    if isinstance(convention, UltralyticsDetr):
        return ultralytics_detr(convention, facts.outputs[convention.output][1])
    return None
