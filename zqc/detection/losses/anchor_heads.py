"""YOLOv3, v5 and v7 with raw heads: boxes relative to anchors, objectness and classes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import onnx_ir as ir

from zqc.autodiff.emitter import Emitter, dims
from zqc.detection.conventions.anchor_heads import AnchorHeads
from zqc.detection.conventions.convention import Size
from zqc.detection.conventions.grids import cell_points, grid_size
from zqc.detection.losses.assignment import by_anchors
from zqc.detection.losses.candidates import Candidates, Places
from zqc.detection.losses.detector_loss import DetectorLoss
from zqc.detection.losses.loss import Gains
from zqc.detection.losses.writing import Pen

_GAINS = Gains(box=2.0, classes=1.0, distribution=0.0, objectness=1.0)


def anchor_heads(convention: AnchorHeads, size: Size) -> DetectorLoss:
    """The loss of raw heads with anchors.

    Boxes are judged by their CIoU, as in YOLOv5, and not by the squares of YOLOv3, whose weight
    depends on the anchor.
    """
    places = _places(convention, size)
    return DetectorLoss(
        outputs=tuple(head.output for head in convention.heads),
        classes=convention.classes,
        size=size,
        places=places,
        gains=_GAINS,
        assign=by_anchors,
        read=partial(_read, convention, places),
    )


def _places(convention: AnchorHeads, size: Size) -> Places:
    """The corners of the cells and the anchors in them, in the order of the decoding."""
    points, strides, anchors = [], [], []
    for head in convention.heads:
        rows, columns = grid_size(size, head.stride)
        corners, widths = cell_points(size, (head.stride,), offset=0)
        points += [corners] * len(head.anchors)
        strides += [widths] * len(head.anchors)
        anchors.append(np.repeat(np.array(head.anchors, np.float32), rows * columns, axis=0))
    return Places(np.concatenate(points), np.concatenate(strides), np.concatenate(anchors))


def _read(
    convention: AnchorHeads, places: Places, emitter: Emitter, outputs: Mapping[str, ir.Value]
) -> Candidates:
    pen = Pen(emitter, "candidates")
    width = 5 + convention.classes
    parts = [
        _rows(pen, outputs[head.output], len(head.anchors), width) for head in convention.heads
    ]
    rows = pen("Concat", *parts, axis=1) if len(parts) > 1 else parts[0]
    anchors_of = places.anchors
    assert anchors_of is not None
    anchors, strides = pen.array(anchors_of), pen.array(places.strides)
    place = pen("Sigmoid", pen.part(rows, 0, 2))
    code = pen.part(rows, 2, 4)
    if convention.sizes == "exponential":
        size = pen("Exp", pen("Min", code, 20.0))
    else:
        place = pen("Sub", pen("Mul", place, 2.0), 0.5)
        root = pen("Mul", pen("Sigmoid", code), 2.0)
        size = pen("Mul", root, root)
    centre = pen("Add", pen("Mul", place, strides), pen.array(places.points))
    boxes = pen.corners(pen("Concat", centre, pen("Mul", size, anchors), axis=-1))
    count = dims(outputs[convention.heads[0].output])[0]
    assert isinstance(count, int)  # the graph is cut out for one size
    logits = pen.shaped(pen.part(rows, 5, width), count, len(anchors_of), convention.classes)
    return Candidates(boxes, logits, objectness=pen.part(rows, 4, 5))


def _rows(pen: Pen, head: ir.Value, anchors: int, width: int) -> ir.Value:
    """A head of either layout as N × a·h·w × (5 + C)."""
    sizes = [dim for dim in dims(head) if isinstance(dim, int)]
    if len(sizes) == 4:
        count, _, height, columns = sizes
        head = pen("Reshape", head, [count, anchors, width, height, columns])
        head = pen("Transpose", head, perm=(0, 1, 3, 4, 2))
    return pen("Reshape", head, [sizes[0], -1, width])
