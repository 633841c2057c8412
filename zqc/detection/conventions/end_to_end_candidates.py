"""YOLOv10 and YOLO26 cut before their selection, as it is left out of what is quantized."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from zqc.detection.conventions.convention import Facts, Outputs, Task
from zqc.detection.conventions.grids import strides_of_cells
from zqc.detection.conventions.ranking import best_pairs
from zqc.detection.detections import Detections
from zqc.detection.nms import DEFAULT_SELECTION, Selection
from zqc.pictures.input_format import FitMode


@dataclass(frozen=True)
class EndToEndCandidates:
    """What the selection reads: boxes N × A × 4, scores N × A × C, and the greatest scores N × A.

    Boxes are (x1, y1, x2, y2) in input pixels. Such heads are trained to find each object once, so
    nothing is suppressed.

    Attributes:
        boxes: Name of the output with the boxes.
        scores: Name of the output with the scores.
        classes: Number of classes C.
    """

    name: ClassVar[str] = "yolo-candidates"
    task: ClassVar[Task] = "detect"
    mode: ClassVar[FitMode] = "letterbox"
    boxes: str
    scores: str
    classes: int

    @classmethod
    def of(cls, facts: Facts) -> Self | None:
        """Recognise a file that says that it selects, and names C classes to detect, C not 4.

        A is the number of cells of all grids.
        """
        classes = len(facts.names)
        if not facts.selected or facts.task != "detect" or classes in (0, 4):
            return None
        columns = {
            name: shape[2] if len(shape) == 3 else 1
            for name, shape in facts.outputs.items()
            if len(shape) in (2, 3) and strides_of_cells(facts.size, shape[1])
        }
        found = {size: name for name, size in columns.items() if len(facts.outputs[name]) == 3}
        if len(columns) != len(facts.outputs) or len(columns) not in (2, 3):
            return None
        if set(found) != {4, classes}:
            return None
        return cls(found[4], found[classes], classes)

    def decode(
        self, outputs: Outputs, selection: Selection = DEFAULT_SELECTION
    ) -> list[Detections]:
        """Return the detections of each picture of a batch, in input pixels."""
        boxes = np.asarray(outputs[self.boxes], np.float32)
        scores = np.asarray(outputs[self.scores], np.float32)
        return [best_pairs(b, s, selection) for b, s in zip(boxes, scores, strict=True)]
