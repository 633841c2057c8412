"""RTMDet level by level: scores, and distances to the four sides in pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from zqc.detection.conventions.convention import Facts, Outputs, Size, Task
from zqc.detection.conventions.fcos import in_pixels
from zqc.detection.conventions.functions import sigmoid
from zqc.detection.conventions.grids import (
    cell_points,
    from_distances,
    joined_rows,
    levels,
    with_channels,
)
from zqc.detection.conventions.tracing import are_logits
from zqc.detection.detections import Detections
from zqc.detection.nms import DEFAULT_SELECTION, Selection, select
from zqc.pictures.input_format import FitMode


@dataclass(frozen=True)
class RtmDet:
    """RTMDet's heads as MMDetection has them: N × C × h × w and N × 4 × h × w on three grids.

    Distances to the left, top, right and bottom are in pixels, from the upper left corner of the
    cell (Lyu et al., RTMDet).

    Attributes:
        boxes: Names of the outputs with the distances, the finest level first.
        scores: Names of those with the scores.
        strides: Of the levels, in pixels.
        classes: Number of classes C.
        logits: Whether the scores are still to go through the sigmoid.
        size: Height and width of the input in pixels.
    """

    name: ClassVar[str] = "rtmdet"
    task: ClassVar[Task] = "detect"
    mode: ClassVar[FitMode] = "letterbox"
    boxes: tuple[str, ...]
    scores: tuple[str, ...]
    strides: tuple[int, ...]
    classes: int
    logits: bool
    size: Size

    @classmethod
    def of(cls, facts: Facts) -> Self | None:
        """Two outputs on each grid of stride 8, 16 and 32, with 4 and with C channels.

        The distances are in pixels, as the graph must show: it ends in the stride as a factor.
        """
        strides, names = levels(facts, 2)
        boxes = with_channels(facts, names, 4)
        if strides != (8, 16, 32) or not boxes or not in_pixels(facts, boxes, strides):
            return None
        scores = tuple(name for each in names for name in each if name not in boxes)
        counts = {facts.outputs[name][1] for name in scores}
        logits = are_logits(facts, scores)
        if len(counts) != 1 or logits is None:
            return None
        return cls(boxes, scores, strides, counts.pop(), logits, facts.size)

    def decode(
        self, outputs: Outputs, selection: Selection = DEFAULT_SELECTION
    ) -> list[Detections]:
        """Return the detections of each picture of a batch, in input pixels."""
        points, _ = cell_points(self.size, self.strides, offset=0)
        distances = joined_rows(outputs, self.boxes, 4)
        scores = joined_rows(outputs, self.scores, self.classes)
        if self.logits:
            scores = sigmoid(scores)
        boxes = from_distances(points, distances)
        return [select(b, s, selection) for b, s in zip(boxes, scores, strict=True)]
