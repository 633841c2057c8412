"""YOLOv10, YOLO26 and exports with NMS: the graph itself selects what is found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from passes.graph import producer_of
from zqc.detection.conventions.convention import Facts, Outputs, Task
from zqc.detection.conventions.ranking import ranked
from zqc.detection.conventions.tracing import is_picked, moved_from, output_value
from zqc.detection.conventions.yolo_obb import rotated
from zqc.detection.conventions.yolo_pose import points_of
from zqc.detection.conventions.yolo_segment import masks_of, prototypes_of
from zqc.detection.detections import Detections
from zqc.detection.nms import DEFAULT_SELECTION, Selection
from zqc.pictures.input_format import FitMode

_COLUMNS = 6


@dataclass(frozen=True)
class EndToEnd:
    """One output N × M × (6 + E): M rows, of which those with score 0 are padding.

    Columns 0…3 are x1, y1, x2, y2 in input pixels, column 4 is the score and column 5 the class.
    What is behind depends on the task: nothing, K keypoints of D values, the coefficients of P
    prototypes N × P × h × w in another output (see ``yolo_segment``), or an angle: then the box is
    centre x, centre y, width and height. Nothing is suppressed a second time.

    Attributes:
        output: Name of the output.
        task: What it finds.
        classes: Number of classes; 0 where the file does not name them.
        height: Height of the input in pixels.
        width: Its width.
        prototypes: Name of the output with the prototypes; empty without masks.
        keypoints: K and D; None but for poses.
    """

    name: ClassVar[str] = "yolo-end-to-end"
    mode: ClassVar[FitMode] = "letterbox"
    output: str
    task: Task
    classes: int
    height: int
    width: int
    prototypes: str = ""
    keypoints: tuple[int, int] | None = None

    @classmethod
    def of(cls, facts: Facts) -> Self | None:
        """One output with the columns of its task; other outputs are left alone.

        1. The file says that it selects: ``end2end``, or ``nms`` among its ``args``.
        2. Or the graph joins boxes, the values of a TopK and whole numbers to six columns.
        """
        told = facts.selected or facts.family == cls.name
        task = _task(facts)
        behind = None if task is None else _behind(facts, task)
        if task is None or behind is None:
            return None
        columns = _COLUMNS + behind
        found = [n for n, s in facts.outputs.items() if len(s) == 3 and s[2] == columns]
        if not told:
            found = [name for name in found if task == "detect" and _joins_selected(facts, name)]
        elif len(found) > 1:  # candidates before the selection, of as many classes
            found = [name for name in found if is_picked(facts, name)]
        if len(found) != 1:
            return None
        prototypes = prototypes_of(facts) if task == "segment" else None
        return cls(
            found[0],
            task,
            len(facts.names),
            facts.height,
            facts.width,
            "" if prototypes is None else prototypes[0],
            facts.keypoints if task == "pose" else None,
        )

    def decode(
        self, outputs: Outputs, selection: Selection = DEFAULT_SELECTION
    ) -> list[Detections]:
        """Return the detections of each picture of a batch, in input pixels."""
        found = []
        for index, rows in enumerate(np.asarray(outputs[self.output], np.float32)):
            grids = outputs[self.prototypes][index] if self.prototypes else None
            found.append(self._picture(rows[ranked(rows[:, 4], selection)], grids))
        return found

    def _picture(
        self, rows: NDArray[np.float32], prototypes: NDArray[np.generic] | None
    ) -> Detections:
        boxes, scores = rows[:, :4], rows[:, 4]
        labels, behind = np.rint(rows[:, 5]).astype(np.int64), rows[:, _COLUMNS:]
        if self.task == "obb":
            return rotated(np.concatenate([boxes, behind], axis=1), scores, labels)
        points = None if self.keypoints is None else points_of(behind, self.keypoints)
        masks = None
        if prototypes is not None:
            grids = np.asarray(prototypes, np.float32)
            masks = masks_of(behind, grids, boxes, self.height, self.width)
        return Detections(boxes, scores, labels, keypoints=points, masks=masks)


def _task(facts: Facts) -> Task | None:
    tasks: dict[str, Task] = {
        "": "detect",
        "detect": "detect",
        "segment": "segment",
        "pose": "pose",
        "obb": "obb",
    }
    return tasks.get(facts.task)


def _behind(facts: Facts, task: Task) -> int | None:
    """Number of columns behind the class; None where it is not known."""
    if task == "pose":
        return None if facts.keypoints is None else facts.keypoints[0] * facts.keypoints[1]
    if task == "segment":
        prototypes = prototypes_of(facts)
        return None if prototypes is None else prototypes[1]
    return 1 if task == "obb" else 0


def _joins_selected(facts: Facts, output: str) -> bool:
    """Case 2: a Concat of boxes, scores that TopK gives, and classes that were whole numbers."""
    node = producer_of(output_value(facts, output))
    if node is None or node.op_type != "Concat" or len(node.inputs) != 3:
        return False
    if node.attributes.get_int("axis") not in (-1, 2):
        return False
    boxes, scores, classes = (moved_from(source) for source in node.inputs)
    return (
        scores is not None
        and scores.op_type == "TopK"
        and classes is not None
        and classes.op_type == "Cast"
        and (boxes is None or boxes.op_type not in ("TopK", "Cast"))
    )
