"""Masks of YOLOv8, YOLO11 and YOLO26: boxes, scores and coefficients of prototypes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from zqc.detection.boxes import corners_from_centres
from zqc.detection.conventions.convention import Facts, Outputs, Shapes, Task
from zqc.detection.conventions.grids import grid_size
from zqc.detection.conventions.yolo_rows import columns, is_layout, layout, rows_of
from zqc.detection.detections import Detections
from zqc.detection.masks import Masks
from zqc.detection.nms import DEFAULT_SELECTION, Selection, choose
from zqc.pictures.input_format import FitMode

_STRIDE = 4


@dataclass(frozen=True)
class YoloSegment:
    """Two outputs: N × (4 + C + P) × A, see ``yolo_rows``, and P prototypes N × P × h × w.

    A mask is where the sum of coefficients times prototypes is greater than 0, so that its sigmoid
    is greater than 1/2, and within the box (Bolya et al., YOLACT, 2019, section 3).

    Attributes:
        output: Name of the first output.
        prototypes: Name of the second.
        classes: Number of classes C.
        height: Height of the input in pixels.
        width: Its width.
    """

    name: ClassVar[str] = "yolo-segment"
    task: ClassVar[Task] = "segment"
    mode: ClassVar[FitMode] = "letterbox"
    output: str
    prototypes: str
    classes: int
    height: int
    width: int

    @classmethod
    def of(cls, facts: Facts) -> Self | None:
        """Both outputs; as many rows behind the scores as prototypes, on the grid of stride 4."""
        prototypes = prototypes_of(facts)
        if len(facts.outputs) != 2 or prototypes is None:
            return None
        name, count = prototypes
        found = rows_of(facts, {n: s for n, s in facts.outputs.items() if n != name})
        if found is None:
            return None
        output, rows = found
        classes = rows - 4 - count
        expected = layout(classes, behind=count)
        if not is_layout(facts, cls.name, "segment", output, expected, certain=True):
            return None
        return cls(output, name, classes, facts.height, facts.width)

    def decode(
        self, outputs: Outputs, selection: Selection = DEFAULT_SELECTION
    ) -> list[Detections]:
        """Return the detections of each picture of a batch, in input pixels."""
        prototypes = np.asarray(outputs[self.prototypes], np.float32)
        return [
            self._picture(values, grids, selection)
            for values, grids in zip(columns(outputs, self.output), prototypes, strict=True)
        ]

    def _picture(
        self, values: NDArray[np.float32], prototypes: NDArray[np.float32], selection: Selection
    ) -> Detections:
        box, scores, coefficients = np.split(values, [4, 4 + self.classes], axis=1)
        boxes = corners_from_centres(box)
        rows, labels = choose(boxes, scores, selection)
        masks = masks_of(coefficients[rows], prototypes, boxes[rows], self.height, self.width)
        return Detections(boxes[rows], scores[rows, labels], labels, masks=masks)


def prototypes_of(facts: Facts) -> tuple[str, int] | None:
    """Name of the one output of prototypes N × P × h × w, and P."""
    sizes = grid_size(facts.size, _STRIDE)
    outputs: Shapes = facts.outputs
    found = [(name, s[1]) for name, s in outputs.items() if len(s) == 4 and s[2:] == sizes]
    return found[0] if len(found) == 1 else None


def masks_of(
    coefficients: NDArray[np.floating],
    prototypes: NDArray[np.floating],
    boxes: NDArray[np.floating],
    height: int,
    width: int,
) -> Masks:
    """Masks on the grid of the prototypes, cut at the boxes.

    Args:
        coefficients: Shape (n, P).
        prototypes: Shape (P, h, w).
        boxes: (x1, y1, x2, y2) in input pixels, shape (n, 4).
        height: Height of the input in pixels.
        width: Its width.
    """
    _, high, wide = prototypes.shape
    x1, y1, x2, y2 = (boxes * (np.array([wide, high] * 2) / ([width, height] * 2))).T
    x, y = np.arange(wide), np.arange(high)
    across = (x >= x1[:, None]) & (x < x2[:, None])
    down = (y >= y1[:, None]) & (y < y2[:, None])
    covered: NDArray[np.bool_] = np.tensordot(coefficients, prototypes, 1) > 0
    covered &= down[:, :, None] & across[:, None, :]
    return Masks.of(covered)
