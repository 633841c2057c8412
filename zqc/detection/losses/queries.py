"""DETR and its kin: what each query says."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import onnx_ir as ir

from zqc.autodiff.emitter import Emitter, dims
from zqc.detection.conventions.queries import Detr, UltralyticsDetr
from zqc.detection.losses.candidates import Candidates, Places
from zqc.detection.losses.detector_loss import DetectorLoss
from zqc.detection.losses.logits import logit, logits
from zqc.detection.losses.sets import SetLoss
from zqc.detection.losses.writing import Pen


def detr(convention: Detr, queries: int, *, picked: bool) -> DetectorLoss:
    """The loss of a set of queries; of the last layer, which is all that the file has.

    Args:
        convention: How its outputs are written.
        queries: The number of queries.
        picked: See ``DetectorLoss``.
    """
    loss = SetLoss(convention.competing, classes=1.0 if convention.competing else 2.0)
    places = _everywhere(convention.height, convention.width, queries)
    return DetectorLoss(
        outputs=(convention.boxes, convention.scores),
        classes=convention.classes,
        size=(convention.height, convention.width),
        places=places,
        gains=loss,
        assign=loss.matched,
        read=partial(_read, convention),
        picked=picked,
    )


def ultralytics_detr(convention: UltralyticsDetr, queries: int) -> DetectorLoss:
    """The loss of RT-DETR as Ultralytics exports it; the arguments are those of ``detr``."""
    loss = SetLoss(competing=False, classes=2.0)
    return DetectorLoss(
        outputs=(convention.output,),
        classes=convention.classes,
        size=(convention.height, convention.width),
        places=_everywhere(convention.height, convention.width, queries),
        gains=loss,
        assign=loss.matched,
        read=partial(_read_joined, convention),
        picked=True,
    )


def _everywhere(height: int, width: int, queries: int) -> Places:
    """A query looks at the whole input: that is its anchor."""
    whole = np.array([width / 2, height / 2, width, height], np.float32)
    return Places.of_anchors(np.tile(whole, (queries, 1)))


def _read(convention: Detr, emitter: Emitter, outputs: Mapping[str, ir.Value]) -> Candidates:
    pen, scores = Pen(emitter, "candidates"), outputs[convention.scores]
    sizes = [size for size in dims(scores) if isinstance(size, int)]
    found = pen.shaped(logits(pen, scores, convention.activation), *sizes)
    boxes = _corners(pen, outputs[convention.boxes], convention)
    return Candidates(boxes, found, background="last" if convention.competing else None)


def _read_joined(
    convention: UltralyticsDetr, emitter: Emitter, outputs: Mapping[str, ir.Value]
) -> Candidates:
    pen, rows = Pen(emitter, "candidates"), outputs[convention.output]
    count, queries, columns = (size for size in dims(rows) if isinstance(size, int))
    boxes = _corners(pen, pen.part(rows, 0, 4), convention)
    found = logit(pen, pen.part(rows, 4, columns))
    return Candidates(boxes, pen.shaped(found, count, queries, columns - 4))


def _corners(pen: Pen, boxes: ir.Value, convention: Detr | UltralyticsDetr) -> ir.Value:
    """From centre and size as shares of the input."""
    scale = np.array([convention.width, convention.height] * 2, np.float32)
    return pen.corners(pen("Mul", boxes, pen.array(scale)))
