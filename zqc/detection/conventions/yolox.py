"""YOLOX: one candidate in each cell, decoded in the graph or not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from zqc.detection.boxes import corners_from_centres
from zqc.detection.conventions.convention import Facts, Outputs, Task
from zqc.detection.conventions.grids import cell_points, strides_of_cells
from zqc.detection.conventions.tracing import (
    computed_by,
    output_value,
    scores_along,
    sizes_before,
)
from zqc.detection.detections import Detections
from zqc.detection.nms import DEFAULT_SELECTION, Selection, select
from zqc.pictures.input_format import FitMode


@dataclass(frozen=True)
class YoloX:
    """One output N × A × (5 + C), A being the number of cells of all grids.

    Columns 0…3 are the box, column 4 is the objectness and the others are the classes, both behind
    the sigmoid; a score is their product. Where the box is raw, its centre is (x, y) + the upper
    left corner of the cell and its size is exp(w, h), in cells (Ge et al., YOLOX, 2021, and its
    published code); decoded it is centre and size in input pixels.

    Attributes:
        output: Name of the output.
        classes: Number of classes C.
        raw: Strides of the grids where the box is raw, else none.
        height: Height of the input in pixels.
        width: Its width.
    """

    name: ClassVar[str] = "yolox"
    task: ClassVar[Task] = "detect"
    mode: ClassVar[FitMode] = "letterbox-top-left"
    output: str
    classes: int
    raw: tuple[int, ...]
    height: int
    width: int

    @classmethod
    def of(cls, facts: Facts) -> Self | None:
        """One output, all whose columns behind the box are scores, as far as it can be seen.

        The graph must show the last layers of each grid, which give 4, 1 and C numbers, and
        whether the box is raw: then nothing but the sigmoids is computed behind them. Decoded it
        is where sizes are exponentials.
        """
        if len(facts.outputs) != 1 or facts.selected:
            return None
        [(output, shape)] = facts.outputs.items()
        if len(shape) != 3:
            return None
        strides, classes = strides_of_cells(facts.size, shape[1]), shape[2] - 5
        if not strides or classes < 1 or not facts.may_be("detect", classes):
            return None
        seen, value = scores_along(facts, output, 2), output_value(facts, output)
        if value is None or (seen is not None and (seen[:4].any() or not seen[4:].all())):
            return None
        sizes, computed = sizes_before(value), computed_by(value)
        if sorted(sizes) != sorted([4, 1, classes] * len(strides)):
            return None
        if computed == {"Sigmoid"} and seen is not None:
            return cls(output, classes, strides, facts.height, facts.width)
        if {"Exp", "Mul", "Sigmoid"} <= computed and "Softmax" not in computed:
            return cls(output, classes, (), facts.height, facts.width)
        return None

    def decode(
        self, outputs: Outputs, selection: Selection = DEFAULT_SELECTION
    ) -> list[Detections]:
        """Return the detections of each picture of a batch, in input pixels."""
        values = np.asarray(outputs[self.output], np.float32)
        box = values[..., :4]
        if self.raw:
            points, strides = cell_points((self.height, self.width), self.raw, offset=0)
            size = np.exp(np.minimum(box[..., 2:], 20)) * strides  # far beyond any picture
            box = np.concatenate([points + box[..., :2] * strides, size], axis=-1)
        boxes, scores = corners_from_centres(box), values[..., 4:5] * values[..., 5:]
        return [select(b, s, selection) for b, s in zip(boxes, scores, strict=True)]
