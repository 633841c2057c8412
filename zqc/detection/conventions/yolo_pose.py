"""Poses of YOLOv8, YOLO11 and YOLO26: boxes, scores and keypoints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from zqc.detection.boxes import corners_from_centres
from zqc.detection.conventions.convention import Facts, Outputs, Task
from zqc.detection.conventions.tracing import scores_along
from zqc.detection.conventions.yolo_rows import columns, first_scores, is_layout, layout, rows_of
from zqc.detection.detections import Detections
from zqc.detection.nms import DEFAULT_SELECTION, Selection, choose
from zqc.pictures.input_format import FitMode


@dataclass(frozen=True)
class YoloPose:
    """One output N × (4 + C + K·D) × A, see ``yolo_rows``.

    Each of the K keypoints has x and y in input pixels and, where D is 3, how visible it is, in
    0…1.

    Attributes:
        output: Name of the output.
        classes: Number of classes C.
        keypoints: K and D.
    """

    name: ClassVar[str] = "yolo-pose"
    task: ClassVar[Task] = "pose"
    mode: ClassVar[FitMode] = "letterbox"
    output: str
    classes: int
    keypoints: tuple[int, int]

    @classmethod
    def of(cls, facts: Facts) -> Self | None:
        """One output; the file says what its keypoints are, or the graph shows their visibility."""
        found = rows_of(facts, facts.outputs)
        if len(facts.outputs) != 1 or found is None or not facts.may_be("pose"):
            return None
        output, rows = found
        keypoints = facts.keypoints or _visible(scores_along(facts, output, 1))
        if keypoints is None:
            return None
        behind = keypoints[0] * keypoints[1]
        classes, period = rows - 4 - behind, 3 if keypoints[1] == 3 else 0
        expected = layout(classes, behind=behind, period=period)
        if len(expected) != rows or not is_layout(facts, cls.name, "pose", output, expected):
            return None
        return cls(output, classes, keypoints)

    def decode(
        self, outputs: Outputs, selection: Selection = DEFAULT_SELECTION
    ) -> list[Detections]:
        """Return the detections of each picture of a batch, in input pixels."""
        return [self._picture(values, selection) for values in columns(outputs, self.output)]

    def _picture(self, values: NDArray[np.float32], selection: Selection) -> Detections:
        box, scores, points = np.split(values, [4, 4 + self.classes], axis=1)
        boxes = corners_from_centres(box)
        rows, labels = choose(boxes, scores, selection)
        return Detections(
            boxes[rows], scores[rows, labels], labels, points_of(points[rows], self.keypoints)
        )


def points_of(values: NDArray[np.floating], keypoints: tuple[int, int]) -> NDArray[np.floating]:
    """The keypoints of some detections, (n, K·D) to (n, K, 3); those without visibility have 1."""
    points = values.reshape(-1, *keypoints)
    if keypoints[1] == 3:
        return points
    return np.concatenate([points, np.ones_like(points[..., :1])], axis=-1)


def _visible(scores: NDArray[np.bool_] | None) -> tuple[int, int] | None:
    """K and 3, where one row behind the classes could be visibilities of keypoints."""
    if scores is None:
        return None
    count, rest = divmod(len(scores) - 4 - first_scores(scores), 3)
    return None if rest or count < 1 else (count, 3)
