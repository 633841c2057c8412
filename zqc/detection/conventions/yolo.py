"""YOLOv8, YOLO11 and YOLO12, and YOLOv5u and v9 of Ultralytics: boxes and scores of classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from zqc.detection.boxes import corners_from_centres
from zqc.detection.conventions.convention import Facts, Outputs, Task
from zqc.detection.conventions.yolo_rows import columns, is_layout, layout, rows_of
from zqc.detection.detections import Detections
from zqc.detection.nms import DEFAULT_SELECTION, Selection, select
from zqc.pictures.input_format import FitMode


@dataclass(frozen=True)
class Yolo:
    """YOLOv8 and its relatives: one output N × (4 + C) × A, see ``yolo_rows``.

    YOLOv10 and YOLO26 have it too where they are exported without their selection.

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
        """One output, whose rows behind the box are all scores."""
        found = rows_of(facts, facts.outputs)
        if len(facts.outputs) != 1 or found is None:
            return None
        output, rows = found
        if not is_layout(facts, cls.name, "detect", output, layout(rows - 4)):
            return None
        return cls(output, rows - 4)

    def decode(
        self, outputs: Outputs, selection: Selection = DEFAULT_SELECTION
    ) -> list[Detections]:
        """Return the detections of each picture of a batch, in input pixels."""
        values = columns(outputs, self.output)
        boxes = corners_from_centres(values[..., :4])
        return [select(b, v[:, 4:], selection) for b, v in zip(boxes, values, strict=True)]
