"""YOLOv8, YOLO11 and YOLO12: boxes and the scores of classes in the columns of one output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from zqc.detection.boxes import corners_from_centres
from zqc.detection.conventions.convention import Facts, Outputs, Task
from zqc.detection.detections import Detections
from zqc.detection.nms import DEFAULT_SELECTION, Selection, select
from zqc.pictures.input_format import FitMode

_STRIDES = (4, 8, 16, 32, 64, 128)


@dataclass(frozen=True)
class Yolo:
    """YOLOv8 and its relatives: one output N × (4 + C) × A.

    Rows 0…3 are centre x, centre y, width and height in input pixels, the others the sigmoid
    scores of the classes.

    Attributes:
        output: Name of the output.
        classes: Number of classes C.
    """

    name: ClassVar[str] = "yolo"
    task: ClassVar[Task] = "detect"
    mode: ClassVar[FitMode] = "letterbox"
    output: str
    classes: int

    @classmethod
    def of(cls, facts: Facts) -> Self | None:
        """One output N × (4 + C) × A.

        A is the number of cells of the grids with strides 8, 16 and 32, or of some other run of at
        least two of the strides 4, 8, …, 128.
        """
        if len(facts.outputs) != 1:
            return None
        [(name, shape)] = facts.outputs.items()
        cells = [-(-facts.height // stride) * -(-facts.width // stride) for stride in _STRIDES]
        runs = {
            sum(cells[start:stop])
            for start in range(len(cells))
            for stop in range(start + 2, len(cells) + 1)
        }
        if len(shape) != 3 or shape[1] < 5 or shape[2] not in runs:
            return None
        return cls(name, shape[1] - 4)

    def decode(
        self, outputs: Outputs, selection: Selection = DEFAULT_SELECTION
    ) -> list[Detections]:
        """Return the detections of each picture of a batch, in input pixels."""
        values = np.asarray(outputs[self.output], np.float32).transpose(0, 2, 1)
        boxes = corners_from_centres(values[..., :4])
        return [select(b, v[:, 4:], selection) for b, v in zip(boxes, values, strict=True)]
