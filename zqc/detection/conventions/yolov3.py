"""YOLOv3 and YOLOv3-tiny: raw heads with anchors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from zqc.detection.boxes import corners_from_centres
from zqc.detection.conventions.convention import Facts, Outputs, Task
from zqc.detection.conventions.functions import sigmoid
from zqc.detection.detections import Detections
from zqc.detection.nms import DEFAULT_SELECTION, Selection, select
from zqc.pictures.input_format import FitMode

# Width and height in pixels of the input, per stride. (81, 82) stands in both heads and the sixth
# anchor of YOLOv3-tiny, (10, 14), in none: with masks 0,1,2 instead of 1,2,3 the published weights
# draw the boxes of the fine head at about half their size.
_TINY_ANCHORS = {
    32: ((81, 82), (135, 169), (344, 319)),
    16: ((23, 27), (37, 58), (81, 82)),
}


@dataclass(frozen=True)
class YoloV3Tiny:
    """YOLOv3-tiny: two raw heads N × 3·(5 + C) × h × w.

    Each of the 3 anchors of a cell has (x, y, w, h, objectness, classes) before the sigmoid:
    centre = (σ(x, y) + cell) · stride, size = exp(w, h) · anchor, score = σ(objectness) · σ(class)
    (Redmon & Farhadi, YOLOv3, section 2).

    Attributes:
        heads: Name and stride of each head.
        classes: Number of classes C.
    """

    name: ClassVar[str] = "yolov3tiny"
    task: ClassVar[Task] = "detect"
    mode: ClassVar[FitMode] = "letterbox"
    heads: tuple[tuple[str, int], ...]
    classes: int

    @classmethod
    def of(cls, facts: Facts) -> Self | None:
        """Two outputs N × 3·(5 + C) × h × w, on the grids of stride 32 and of stride 16."""
        strides = {(facts.height // s, facts.width // s): s for s in _TINY_ANCHORS}
        shapes = facts.outputs
        if len(shapes) != 2 or any(len(shape) != 4 for shape in shapes.values()):
            return None
        heads = {name: strides.get((shape[2], shape[3])) for name, shape in shapes.items()}
        channels = {shape[1] for shape in shapes.values()}
        if set(heads.values()) != set(_TINY_ANCHORS) or len(channels) != 1:
            return None
        classes, rest = divmod(channels.pop() - 15, 3)
        if rest or classes < 1:
            return None
        return cls(tuple((n, s) for n, s in heads.items() if s is not None), classes)

    def decode(
        self, outputs: Outputs, selection: Selection = DEFAULT_SELECTION
    ) -> list[Detections]:
        """Return the detections of each picture of a batch, in input pixels."""
        heads = [
            self._head(np.asarray(outputs[name], np.float32), stride) for name, stride in self.heads
        ]
        boxes, scores = (np.concatenate(part, axis=1) for part in zip(*heads, strict=True))
        return [select(b, s, selection) for b, s in zip(boxes, scores, strict=True)]

    def _head(
        self, values: NDArray[np.float32], stride: int
    ) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        count, _, height, width = values.shape
        cells = values.reshape(count, 3, 5 + self.classes, height, width).transpose(0, 1, 3, 4, 2)
        rows, columns = np.mgrid[:height, :width]
        corner = np.stack([columns, rows], axis=-1).astype(np.float32)
        anchors = np.array(_TINY_ANCHORS[stride], np.float32)[:, None, None, :]
        centre = (sigmoid(cells[..., :2]) + corner) * np.float32(stride)
        size = np.exp(np.minimum(cells[..., 2:4], 20)) * anchors  # far beyond any picture
        boxes = corners_from_centres(np.concatenate([centre, size], axis=-1))
        scores = sigmoid(cells[..., 4:5]) * sigmoid(cells[..., 5:])
        return boxes.reshape(count, -1, 4), scores.reshape(count, -1, self.classes)
