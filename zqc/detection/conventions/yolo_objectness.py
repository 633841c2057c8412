"""YOLOv5 and YOLOv7: boxes, whether there is an object, and classes, decoded in the graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from zqc.detection.boxes import corners_from_centres
from zqc.detection.conventions.convention import Facts, Outputs, Task
from zqc.detection.conventions.grids import strides_of_cells
from zqc.detection.conventions.tracing import scores_along
from zqc.detection.detections import Detections
from zqc.detection.nms import DEFAULT_SELECTION, Selection, select
from zqc.pictures.input_format import FitMode

ANCHORS = 3
"""In each cell, one after the other: a grid's rows begin with those of its first anchor."""


@dataclass(frozen=True)
class YoloObjectness:
    """One output N × A × (5 + C), A being 3 anchors in each cell of all grids.

    Columns 0…3 are centre x, centre y, width and height in input pixels, column 4 is the
    objectness, the others are the classes, all behind the sigmoid. A score is objectness times
    class.

    Attributes:
        output: Name of the output.
        classes: Number of classes C.
    """

    name: ClassVar[str] = "yolov5"
    task: ClassVar[Task] = "detect"
    mode: ClassVar[FitMode] = "letterbox"
    output: str
    classes: int

    @classmethod
    def of(cls, facts: Facts) -> Self | None:
        """One output, all whose columns behind the box are scores, by the graph or the file.

        Raw heads N × 3 × h × w × (5 + C) beside it, which older exports have, are left alone.
        """
        rows = {name: shape for name, shape in facts.outputs.items() if len(shape) == 3}
        if len(rows) != 1 or facts.selected:
            return None
        [(output, shape)] = rows.items()
        heads = [shape for name, shape in facts.outputs.items() if name != output]
        if any(len(head) != 5 or head[1] != ANCHORS or head[4] != shape[2] for head in heads):
            return None
        cells, rest = divmod(shape[1], ANCHORS)
        classes = shape[2] - 5
        if rest or classes < 1 or not strides_of_cells(facts.size, cells):
            return None
        if not facts.may_be("detect", classes) or not _are_scores(facts, cls.name, output, classes):
            return None
        return cls(output, classes)

    def decode(
        self, outputs: Outputs, selection: Selection = DEFAULT_SELECTION
    ) -> list[Detections]:
        """Return the detections of each picture of a batch, in input pixels."""
        values = np.asarray(outputs[self.output], np.float32)
        boxes = corners_from_centres(values[..., :4])
        scores = values[..., 4:5] * values[..., 5:]
        return [select(b, s, selection) for b, s in zip(boxes, scores, strict=True)]


def _are_scores(facts: Facts, family: str, output: str, classes: int) -> bool:
    seen = scores_along(facts, output, 2)
    if seen is None:
        return len(facts.names) == classes or facts.family == family
    return bool(seen[4:].all()) and not seen[:4].any()
