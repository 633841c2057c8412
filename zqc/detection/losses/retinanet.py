"""RetinaNet and EfficientDet with raw heads: a sigmoid for each class, and offsets from anchors."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import onnx_ir as ir

from zqc.autodiff.emitter import Emitter, dims
from zqc.detection.conventions.convention import Size
from zqc.detection.conventions.retinanet import LARGEST_GROWTH, EfficientDet, RetinaNet
from zqc.detection.conventions.tracing import Activation
from zqc.detection.losses.by_overlap import free_or_taken
from zqc.detection.losses.candidates import Candidates, Places
from zqc.detection.losses.detector_loss import DetectorLoss
from zqc.detection.losses.focal import Focal
from zqc.detection.losses.logits import logits
from zqc.detection.losses.offsets import Coder
from zqc.detection.losses.rows import joined_rows
from zqc.detection.losses.writing import Pen


def retinanet(convention: RetinaNet, size: Size) -> DetectorLoss:
    """The loss of torchvision's RetinaNet. Its column of background is left aside."""
    places = Places.of_anchors(convention.anchors)
    return DetectorLoss(
        outputs=(convention.boxes, convention.scores),
        classes=convention.classes,
        size=size,
        places=places,
        gains=Focal(),
        assign=free_or_taken,
        read=partial(_read_retinanet, convention, places),
    )


def efficientdet(convention: EfficientDet, size: Size) -> DetectorLoss:
    """The loss of EfficientDet, whose γ is 1.5 (Tan et al., EfficientDet, section 5.1)."""
    places = Places.of_anchors(convention.anchors)
    return DetectorLoss(
        outputs=(*convention.boxes, *convention.scores),
        classes=convention.classes,
        size=size,
        places=places,
        gains=Focal(power=1.5),
        assign=free_or_taken,
        read=partial(_read_efficientdet, convention, places),
    )


def _read_retinanet(
    convention: RetinaNet, places: Places, emitter: Emitter, outputs: Mapping[str, ir.Value]
) -> Candidates:
    pen, scores = Pen(emitter, "candidates"), outputs[convention.scores]
    boxes = Coder(largest=float(LARGEST_GROWTH)).boxes(pen, outputs[convention.boxes], places)
    count, anchors, columns = (size for size in dims(scores) if isinstance(size, int))
    return Candidates(boxes, pen.shaped(pen.part(scores, 1, columns), count, anchors, columns - 1))


def _read_efficientdet(
    convention: EfficientDet, places: Places, emitter: Emitter, outputs: Mapping[str, ir.Value]
) -> Candidates:
    pen = Pen(emitter, "candidates")
    codes = joined_rows(pen, [outputs[name] for name in convention.boxes], 4)
    kind: Activation = "none" if convention.logits else "sigmoid"
    scores = [logits(pen, outputs[name], kind) for name in convention.scores]
    boxes = Coder(x_first=False).boxes(pen, codes, places)
    return Candidates(boxes, joined_rows(pen, scores, convention.classes))
