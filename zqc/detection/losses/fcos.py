"""FCOS with raw heads: a sigmoid for each class, distances to the sides, and the centerness."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import onnx_ir as ir

from zqc.autodiff.emitter import Emitter, dims
from zqc.detection.conventions.fcos import Fcos, TorchvisionFcos
from zqc.detection.conventions.tracing import Activation
from zqc.detection.losses.by_location import by_location
from zqc.detection.losses.candidates import Candidates, Places
from zqc.detection.losses.detector_loss import DetectorLoss
from zqc.detection.losses.focal import Focal
from zqc.detection.losses.logits import logits
from zqc.detection.losses.rows import joined_rows
from zqc.detection.losses.writing import Pen

_RADIUS = 1.5
"""Of torchvision: how far from the middle of an object locations answer for it, in strides."""


def torchvision_fcos(convention: TorchvisionFcos) -> DetectorLoss:
    """The loss of torchvision's FCOS. Its column of background is left aside."""
    places = Places(*convention.cells)
    return DetectorLoss(
        outputs=(convention.boxes, convention.scores, convention.centerness),
        classes=convention.classes,
        size=convention.size,
        places=places,
        gains=Focal(),
        assign=partial(by_location, radius=_RADIUS),
        read=partial(_read_torchvision, convention, places),
    )


def fcos(convention: Fcos) -> DetectorLoss:
    """The loss of FCOS level by level."""
    places = Places(*convention.cells)
    return DetectorLoss(
        outputs=(*convention.boxes, *convention.scores, *convention.centerness),
        classes=convention.classes,
        size=convention.size,
        places=places,
        gains=Focal(),
        assign=by_location,
        read=partial(_read, convention, places),
    )


def _read_torchvision(
    convention: TorchvisionFcos, places: Places, emitter: Emitter, outputs: Mapping[str, ir.Value]
) -> Candidates:
    pen, scores = Pen(emitter, "candidates"), outputs[convention.scores]
    count, cells, columns = (size for size in dims(scores) if isinstance(size, int))
    distances = pen("Mul", outputs[convention.boxes], pen.array(places.strides))
    return Candidates(
        _boxes(pen, distances, places),
        pen.shaped(pen.part(scores, 1, columns), count, cells, columns - 1),
        objectness=outputs[convention.centerness],
        rooted=True,
    )


def _read(
    convention: Fcos, places: Places, emitter: Emitter, outputs: Mapping[str, ir.Value]
) -> Candidates:
    pen = Pen(emitter, "candidates")
    kind: Activation = "none" if convention.logits else "sigmoid"
    distances = joined_rows(pen, [outputs[name] for name in convention.boxes], 4)
    classes, central = (
        [logits(pen, outputs[name], kind) for name in names]
        for names in (convention.scores, convention.centerness)
    )
    return Candidates(
        _boxes(pen, distances, places),
        joined_rows(pen, classes, convention.classes),
        objectness=joined_rows(pen, central, 1),
    )


def _boxes(pen: Pen, distances: ir.Value, places: Places) -> ir.Value:
    """Corners from the distances to the left, top, right and bottom in pixels."""
    points = pen.array(places.points)
    low = pen("Sub", points, pen.part(distances, 0, 2))
    high = pen("Add", points, pen.part(distances, 2, 4))
    return pen("Concat", low, high, axis=-1)
