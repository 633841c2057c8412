"""FCOS: for each cell scores, distances to the four sides, and how central it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from passes.graph import producer_of
from zqc.detection.conventions.convention import Facts, Outputs, Size, Task
from zqc.detection.conventions.functions import sigmoid
from zqc.detection.conventions.grids import (
    cell_points,
    count_cells,
    from_distances,
    joined_rows,
    levels,
    with_channels,
)
from zqc.detection.conventions.torchvision import corner_points, from_heads
from zqc.detection.conventions.tracing import are_logits, array_of, makers, output_value
from zqc.detection.detections import Detections
from zqc.detection.nms import DEFAULT_SELECTION, Selection, select
from zqc.pictures.input_format import FitMode

_LEVELS = (8, 16, 32, 64, 128)


@dataclass(frozen=True)
class TorchvisionFcos:
    """The heads of torchvision's FCOS: N × A × K, N × A × 4 and N × A × 1.

    Distances to the left, top, right and bottom are in strides, from the upper left corner of the
    cell. The score is √(σ(class) · σ(centerness)); column 0 is background, as torchvision counts.

    Attributes:
        boxes: Name of the output with the distances.
        scores: Name of the output with the logits of the classes.
        centerness: Name of the output with the logits of the centerness.
        classes: Number of classes, K − 1.
        size: Height and width of the input in pixels.
    """

    name: ClassVar[str] = "torchvision-fcos"
    task: ClassVar[Task] = "detect"
    mode: ClassVar[FitMode] = "letterbox"
    boxes: str
    scores: str
    centerness: str
    classes: int
    size: Size

    @classmethod
    def of(cls, facts: Facts) -> Self | None:
        """Three outputs of torchvision's heads, with a row for each cell of the strides 8…128."""
        cells = count_cells(facts.size, _LEVELS)
        if any(len(s) != 3 or s[1] != cells for s in facts.outputs.values()):
            return None
        columns = {shape[2]: name for name, shape in facts.outputs.items()}
        if len(facts.outputs) != 3 or len(columns) != 3 or not {1, 4} <= columns.keys():
            return None
        boxes, centerness = columns.pop(4), columns.pop(1)
        [(count, scores)] = columns.items()
        if not are_logits(facts, (scores, centerness)) or makers(output_value(facts, boxes)) != {
            "Relu"
        }:
            return None
        if not all(from_heads(facts, name) for name in facts.outputs):
            return None
        return cls(boxes, scores, centerness, count - 1, facts.size)

    @property
    def cells(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Where distances are measured from, (x, y) in pixels, (A, 2), and the strides, (A, 1)."""
        points = np.concatenate([corner_points(self.size, stride) for stride in _LEVELS])
        return points, cell_points(self.size, _LEVELS, offset=0)[1]

    def decode(
        self, outputs: Outputs, selection: Selection = DEFAULT_SELECTION
    ) -> list[Detections]:
        """Return the detections of each picture of a batch, in input pixels."""
        points, sizes = self.cells
        boxes = from_distances(points, np.asarray(outputs[self.boxes], np.float32) * sizes)
        central = sigmoid(np.asarray(outputs[self.centerness], np.float32))
        scores = np.asarray(outputs[self.scores], np.float32)[..., 1:]
        scores = np.sqrt(sigmoid(scores) * central)
        return [select(b, s, selection) for b, s in zip(boxes, scores, strict=True)]


@dataclass(frozen=True)
class Fcos:
    """FCOS level by level: N × C × h × w, N × 4 × h × w in pixels, and N × 1 × h × w.

    Distances to the left, top, right and bottom are from the middle of the cell. The score is the
    product of class and centerness (Tian et al., FCOS, section 3.3).

    Attributes:
        boxes: Names of the outputs with the distances, the finest level first.
        scores: Names of those with the scores of the classes.
        centerness: Names of those with the centerness.
        strides: Of the levels, in pixels.
        classes: Number of classes C.
        logits: Whether scores are still to go through the sigmoid.
        size: Height and width of the input in pixels.
    """

    name: ClassVar[str] = "fcos"
    task: ClassVar[Task] = "detect"
    mode: ClassVar[FitMode] = "letterbox"
    boxes: tuple[str, ...]
    scores: tuple[str, ...]
    centerness: tuple[str, ...]
    strides: tuple[int, ...]
    classes: int
    logits: bool
    size: Size

    @classmethod
    def of(cls, facts: Facts) -> Self | None:
        """Three outputs on each grid, with 4, with 1, and with C channels.

        The distances are in pixels, as the graph must show: it ends in Exp, or in the stride as a
        factor.
        """
        strides, names = levels(facts, 3)
        boxes, central = (with_channels(facts, names, count) for count in (4, 1))
        if not boxes or not central:
            return None
        rest = {*boxes, *central}
        scores = tuple(name for each in names for name in each if name not in rest)
        counts = {facts.outputs[name][1] for name in scores}
        logits = are_logits(facts, (*scores, *central))
        if len(counts) != 1 or logits is None:
            return None
        if not in_pixels(facts, boxes, strides) and any(
            makers(output_value(facts, name)) != {"Exp"} for name in boxes
        ):
            return None
        return cls(boxes, scores, central, strides, counts.pop(), logits, facts.size)

    @property
    def cells(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Where distances are measured from, (x, y) in pixels, (A, 2), and the strides, (A, 1)."""
        return cell_points(self.size, self.strides, offset=0.5)

    def decode(
        self, outputs: Outputs, selection: Selection = DEFAULT_SELECTION
    ) -> list[Detections]:
        """Return the detections of each picture of a batch, in input pixels."""
        points, _ = self.cells
        distances = joined_rows(outputs, self.boxes, 4)
        scores = joined_rows(outputs, self.scores, self.classes)
        central = joined_rows(outputs, self.centerness, 1)
        if self.logits:
            scores, central = sigmoid(scores), sigmoid(central)
        boxes = from_distances(points, distances)
        return [select(b, s * c, selection) for b, s, c in zip(boxes, scores, central, strict=True)]


def in_pixels(facts: Facts, boxes: tuple[str, ...], strides: tuple[int, ...]) -> bool:
    """Whether the last thing done to the distances of each level is to multiply by its stride."""
    for name, stride in zip(boxes, strides, strict=True):
        node = producer_of(output_value(facts, name))
        if node is None or node.op_type != "Mul":
            return False
        factors = [array for each in node.inputs if (array := array_of(each)) is not None]
        if len(factors) != 1 or not (factors[0] == stride).all():
            return False
    return True
