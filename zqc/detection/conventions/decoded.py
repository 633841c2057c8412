"""Boxes and scores of all cells or anchors, decoded in the graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from zqc.detection.boxes import corners_from_centres
from zqc.detection.conventions.convention import Facts, Outputs, Task
from zqc.detection.conventions.probe import BoxFormat, box_format
from zqc.detection.conventions.tracing import output_activation
from zqc.detection.detections import Detections
from zqc.detection.nms import DEFAULT_SELECTION, Selection, select
from zqc.pictures.input_format import FitMode

_LANDMARKS = 10
"""Five places in a face, two columns each: they are no boxes, and left aside."""


@dataclass(frozen=True)
class BoxesAndScores:
    """Two outputs of a detector that decodes its boxes: PP-YOLOE, RTMDet, SSD, RetinaFace, ….

    Boxes are N × A × 4, in a format that the graph shows, see ``zqc.detection.conventions.probe``.
    Scores are N × A × K or N × K × A. Behind Softmax, column 0 is background, as SSD and RetinaFace
    have it.

    Attributes:
        boxes: Name of the output with the boxes.
        scores: Name of the output with the scores.
        written: How boxes are written.
        classes: Number of classes.
        background: Whether class 0 of the output is background.
        by_class: Whether scores are N × K × A.
        height: Height of the input in pixels.
        width: Its width.
    """

    name: ClassVar[str] = "boxes-and-scores"
    task: ClassVar[Task] = "detect"
    mode: ClassVar[FitMode] = "stretch"
    boxes: str
    scores: str
    written: BoxFormat
    classes: int
    background: bool
    by_class: bool
    height: int
    width: int

    @classmethod
    def of(cls, facts: Facts) -> Self | None:
        """Outputs N × A × 4 and N × A × K or N × K × A, perhaps with landmarks N × A × 10.

        1. Scores behind Sigmoid have no background where a cell has one box. Where it has several,
           as in an SSD, both is usual: the names of the classes tell, if the file has any.
        2. Scores behind Softmax have one, in column 0, unless the names of the classes say that
           there are as many as columns.
        3. Other scores are not known.
        """
        found = _outputs(facts)
        if found is None:
            return None
        boxes, scores = found
        kind, named = output_activation(facts, scores), len(facts.names)
        cells = facts.outputs[boxes][1]
        by_class = facts.outputs[scores][1] != cells
        columns = facts.outputs[scores][1 if by_class else 2]
        written = box_format(facts, boxes) if kind in ("sigmoid", "softmax") else None
        if written is None or (named and columns - named not in (0, 1)):
            return None
        background = columns > named if named else kind == "softmax"
        if kind == "sigmoid" and written.per_cell > 1 and not named:
            return None
        if columns - background < 1:
            return None
        return cls(
            boxes,
            scores,
            written,
            columns - background,
            background,
            by_class,
            facts.height,
            facts.width,
        )

    def decode(
        self, outputs: Outputs, selection: Selection = DEFAULT_SELECTION
    ) -> list[Detections]:
        """Return the detections of each picture of a batch, in input pixels."""
        boxes = np.asarray(outputs[self.boxes], np.float32)[..., self.written.columns]
        if self.written.relative:
            boxes = boxes * np.array([self.width, self.height] * 2, np.float32)
        corners = corners_from_centres(boxes) if self.written.centred else boxes
        scores = np.asarray(outputs[self.scores], np.float32)
        scores = (scores.transpose(0, 2, 1) if self.by_class else scores)[..., self.background :]
        return [select(b, s, selection) for b, s in zip(corners, scores, strict=True)]


def _outputs(facts: Facts) -> tuple[str, str] | None:
    shapes = {n: s for n, s in facts.outputs.items() if s[2:] != (_LANDMARKS,)}
    left = len(facts.outputs) - len(shapes)
    if len(facts.outputs) == 2 and left:  # ten classes
        shapes, left = dict(facts.outputs), 0
    if len(shapes) != 2 or left > 1 or any(len(shape) != 3 for shape in facts.outputs.values()):
        return None
    boxes = [name for name, shape in shapes.items() if shape[2] == 4]
    if len(boxes) == 2:
        boxes = [name for name in boxes if output_activation(facts, name) is None]
    if len(boxes) != 1:
        return None
    (scores,) = shapes.keys() - {boxes[0]}
    cells = shapes[boxes[0]][1]
    if (shapes[scores][1] == cells) == (shapes[scores][2] == cells):
        return None
    return boxes[0], scores
