"""YOLOX, and YOLOv5 and v7 decoded in the graph: rows of box, objectness and classes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import onnx_ir as ir

from zqc.autodiff.emitter import Emitter, dims
from zqc.detection.conventions.convention import Size
from zqc.detection.conventions.grids import cell_points
from zqc.detection.conventions.yolo_objectness import ANCHORS, YoloObjectness
from zqc.detection.conventions.yolox import YoloX
from zqc.detection.losses.by_cost import by_cost
from zqc.detection.losses.candidates import Candidates, Places
from zqc.detection.losses.detector_loss import DetectorLoss
from zqc.detection.losses.logits import logit
from zqc.detection.losses.loss import Gains
from zqc.detection.losses.writing import Pen

_GAINS = Gains(box=5.0, classes=1.0, distribution=0.0, objectness=1.0)


def yolox(convention: YoloX, strides: tuple[int, ...]) -> DetectorLoss:
    """The loss of YOLOX.

    Boxes are judged by their CIoU, as in the other YOLOs, and not by 1 − IoU², and a class counts
    as a whole, not by the IoU.

    Args:
        convention: How its output is written.
        strides: Of the grids.
    """
    size = (convention.height, convention.width)
    places = Places(*cell_points(size, strides, offset=0.5))
    return _loss(convention.output, convention.classes, size, places, raw=bool(convention.raw))


def decoded_rows(convention: YoloObjectness, strides: tuple[int, ...], size: Size) -> DetectorLoss:
    """The loss of YOLOv5 and v7 decoded in the graph, which shows no anchors: that of YOLOX.

    Args:
        convention: How its output is written.
        strides: Of the grids.
        size: Height and width of the input.
    """
    parts = [cell_points(size, (stride,), offset=0.5) for stride in strides]
    repeated = [np.tile(each, (ANCHORS, 1)) for part in parts for each in part]
    places = Places(np.concatenate(repeated[::2]), np.concatenate(repeated[1::2]))
    return _loss(convention.output, convention.classes, size, places, raw=False)


def _loss(output: str, classes: int, size: Size, places: Places, *, raw: bool) -> DetectorLoss:
    return DetectorLoss(
        outputs=(output,),
        classes=classes,
        size=size,
        places=places,
        gains=_GAINS,
        assign=by_cost,
        read=partial(_read, output, places, raw),
    )


def _read(
    output: str, places: Places, raw: bool, emitter: Emitter, outputs: Mapping[str, ir.Value]
) -> Candidates:
    pen, rows = Pen(emitter, "candidates"), outputs[output]
    count, cells, columns = (size for size in dims(rows) if isinstance(size, int))
    centre, size = pen.part(rows, 0, 2), pen.part(rows, 2, 4)
    if raw:
        strides = pen.array(places.strides)
        corner = pen.array(places.points - places.strides / 2)
        centre = pen("Add", pen("Mul", centre, strides), corner)
        size = pen("Mul", pen("Exp", pen("Min", size, 20.0)), strides)
    return Candidates(
        pen.corners(pen("Concat", centre, size, axis=-1)),
        pen.shaped(logit(pen, pen.part(rows, 5, columns)), count, cells, columns - 5),
        objectness=pen.shaped(logit(pen, pen.part(rows, 4, 5)), count, cells, 1),
    )
