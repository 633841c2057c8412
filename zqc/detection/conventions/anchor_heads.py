"""Raw heads with anchors, as YOLOv3 and those after it have them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from zqc.detection.boxes import corners_from_centres
from zqc.detection.conventions.convention import Outputs, Task
from zqc.detection.conventions.functions import sigmoid
from zqc.detection.conventions.grids import cell_points
from zqc.detection.detections import Detections
from zqc.detection.nms import DEFAULT_SELECTION, Selection, select
from zqc.pictures.input_format import FitMode

Sizes = Literal["exponential", "square"]


@dataclass(frozen=True)
class Head:
    """The output of one grid.

    Attributes:
        output: Its name.
        stride: Stride of the grid.
        anchors: Width and height of the anchors in input pixels.
    """

    output: str
    stride: int
    anchors: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class AnchorHeads:
    """Heads N × a·(5 + C) × h × w or N × a × h × w × (5 + C), each with a anchors in a cell.

    Each anchor has (x, y, w, h, objectness, classes) before the sigmoid; a score is
    σ(objectness) · σ(class). Of ``sizes`` there are two kinds:

    - ``exponential``: centre = (σ(x, y) + cell) · stride, size = exp(w, h) · anchor
      (Redmon & Farhadi, YOLOv3, 2018, section 2).
    - ``square``: centre = (2 σ(x, y) − 1/2 + cell) · stride, size = (2 σ(w, h))² · anchor, as
      YOLOv5 and YOLOv7 have it.

    Attributes:
        heads: One for each grid.
        classes: Number of classes C.
        name: What the family is called.
        sizes: How boxes are written.
    """

    task: ClassVar[Task] = "detect"
    mode: ClassVar[FitMode] = "letterbox"
    heads: tuple[Head, ...]
    classes: int
    name: str = "yolov3"
    sizes: Sizes = "exponential"

    def decode(
        self, outputs: Outputs, selection: Selection = DEFAULT_SELECTION
    ) -> list[Detections]:
        """Return the detections of each picture of a batch, in input pixels."""
        parts = [self._head(np.asarray(outputs[h.output], np.float32), h) for h in self.heads]
        boxes, scores = (np.concatenate(part, axis=1) for part in zip(*parts, strict=True))
        return [select(b, s, selection) for b, s in zip(boxes, scores, strict=True)]

    def _head(
        self, values: NDArray[np.float32], head: Head
    ) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        if values.ndim == 4:
            count, _, height, width = values.shape
            values = values.reshape(count, len(head.anchors), -1, height, width)
            values = values.transpose(0, 1, 3, 4, 2)
        count, _, height, width, _ = values.shape
        stride = head.stride
        corners, _ = cell_points((height * stride, width * stride), (stride,), offset=0)
        anchors = np.array(head.anchors, np.float32)[:, None, None, :]
        if self.sizes == "exponential":
            centre = sigmoid(values[..., :2])
            size = np.exp(np.minimum(values[..., 2:4], 20)) * anchors  # far beyond any picture
        else:
            centre = 2 * sigmoid(values[..., :2]) - np.float32(0.5)
            size = (2 * sigmoid(values[..., 2:4])) ** 2 * anchors
        centre = centre * np.float32(stride) + corners.reshape(height, width, 2)
        boxes = corners_from_centres(np.concatenate([centre, size], axis=-1))
        scores = sigmoid(values[..., 4:5]) * sigmoid(values[..., 5:])
        return boxes.reshape(count, -1, 4), scores.reshape(count, -1, self.classes)


def classes_of(shape: tuple[int, ...], anchors: int) -> int | None:
    """Number of classes C of a head of either layout, or None where it is no such head."""
    if len(shape) == 4:
        numbers, rest = divmod(shape[1], anchors)
    elif len(shape) == 5 and shape[1] == anchors:
        numbers, rest = shape[4], 0
    else:
        return None
    return None if rest or numbers < 6 else numbers - 5


def grid_of(shape: tuple[int, ...]) -> tuple[int, int]:
    """Rows and columns of the grid of a head of either layout."""
    return shape[2], shape[3]
