"""Rotated boxes of YOLOv8, YOLO11 and YOLO26."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from zqc.detection.conventions.convention import Facts, Outputs, Task
from zqc.detection.conventions.yolo_rows import columns, is_layout, layout, rows_of
from zqc.detection.detections import Detections
from zqc.detection.nms import DEFAULT_SELECTION, Selection, choose
from zqc.detection.rotated import corners, probabilistic_iou, upright
from zqc.pictures.input_format import FitMode


@dataclass(frozen=True)
class YoloObb:
    """One output N × (4 + C + 1) × A, see ``yolo_rows``; the last row is the angle in radians.

    Boxes are suppressed by their probabilistic IoU, as in the packages that such models come from.

    Attributes:
        output: Name of the output.
        classes: Number of classes C.
    """

    name: ClassVar[str] = "yolo-obb"
    task: ClassVar[Task] = "obb"
    mode: ClassVar[FitMode] = "letterbox"
    output: str
    classes: int

    @classmethod
    def of(cls, facts: Facts) -> Self | None:
        """One output, whose rows behind the box are scores but for the last."""
        found = rows_of(facts, facts.outputs)
        if len(facts.outputs) != 1 or found is None:
            return None
        output, rows = found
        if not is_layout(facts, cls.name, "obb", output, layout(rows - 5, behind=1)):
            return None
        return cls(output, rows - 5)

    def decode(
        self, outputs: Outputs, selection: Selection = DEFAULT_SELECTION
    ) -> list[Detections]:
        """Return the detections of each picture of a batch, in input pixels."""
        return [_picture(values, selection) for values in columns(outputs, self.output)]


def rotated(
    boxes: NDArray[np.floating], scores: NDArray[np.floating], labels: NDArray[np.int64]
) -> Detections:
    """Detections of rotated boxes (centre x, centre y, width, height, angle), shape (n, 5)."""
    points = corners(boxes)
    return Detections(upright(points), scores, labels, corners=points)


def _picture(values: NDArray[np.float32], selection: Selection) -> Detections:
    boxes, scores = values[:, [0, 1, 2, 3, -1]], values[:, 4:-1]
    rows, labels = choose(boxes, scores, selection, probabilistic_iou)
    return rotated(boxes[rows], scores[rows, labels], labels)
