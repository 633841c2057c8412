"""NanoDet and PicoDet: scores, and a distribution of the distance to each side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from zqc.detection.conventions.convention import Facts, Outputs, Size, Task
from zqc.detection.conventions.functions import sigmoid
from zqc.detection.conventions.grids import (
    cell_points,
    expected_bins,
    from_distances,
    grid_size,
    joined_rows,
    strides_of_cells,
)
from zqc.detection.conventions.tracing import are_logits, makers, output_value, scores_along
from zqc.detection.detections import Detections
from zqc.detection.nms import DEFAULT_SELECTION, Selection, select
from zqc.pictures.input_format import FitMode

_LEVELS = (8, 16, 32, 64)
_BINS = 8


@dataclass(frozen=True)
class NanoDet:
    """NanoDet: one output N × A × (C + 4·8) for all cells.

    The first C columns are scores; the others are the bins of the distances to the left, top, right
    and bottom, in strides, before their softmax (Li et al., Generalized Focal Loss). NanoDet-Plus
    has four levels and measures from the upper left corner of the cell, the first NanoDet has three
    and measures from its middle.

    Attributes:
        output: Name of the output.
        strides: Of the levels, in pixels.
        classes: Number of classes C.
        size: Height and width of the input in pixels.
    """

    name: ClassVar[str] = "nanodet"
    task: ClassVar[Task] = "detect"
    mode: ClassVar[FitMode] = "stretch"
    output: str
    strides: tuple[int, ...]
    classes: int
    size: Size

    @classmethod
    def of(cls, facts: Facts) -> Self | None:
        """One output with a row for each cell of the strides 8, 16, 32 and perhaps 64.

        All but its last 32 columns are scores behind the sigmoid, as the graph must show.
        """
        if len(facts.outputs) != 1:
            return None
        [(name, shape)] = facts.outputs.items()
        if len(shape) != 3 or shape[2] <= 4 * _BINS:
            return None
        classes = shape[2] - 4 * _BINS
        size = facts.size
        strides = strides_of_cells(size, shape[1], (_LEVELS, _LEVELS[:3]))
        scores = scores_along(facts, name, 2)
        if not strides or scores is None:
            return None
        if not scores[:classes].all() or scores[classes:].any():
            return None
        return cls(name, strides, classes, size)

    def decode(
        self, outputs: Outputs, selection: Selection = DEFAULT_SELECTION
    ) -> list[Detections]:
        """Return the detections of each picture of a batch, in input pixels."""
        values = np.asarray(outputs[self.output], np.float32)
        offset = 0.0 if len(self.strides) == len(_LEVELS) else 0.5
        scores, bins = values[..., : self.classes], values[..., self.classes :]
        boxes = _boxes(bins, self.size, self.strides, offset)
        return [select(b, s, selection) for b, s in zip(boxes, scores, strict=True)]


@dataclass(frozen=True)
class PicoDet:
    """PicoDet without its decoding: on each of four grids scores, and 4·8 bins.

    Outputs are N × C × h × w and N × 32 × h × w, or N × h·w × C and N × h·w × 32. Distances are as
    NanoDet has them, from the middle of the cell (Yu et al., PP-PicoDet).

    Attributes:
        boxes: Names of the outputs with the bins, the finest level first.
        scores: Names of those with the scores.
        classes: Number of classes C.
        logits: Whether the scores are still to go through the sigmoid.
        size: Height and width of the input in pixels.
    """

    name: ClassVar[str] = "picodet"
    task: ClassVar[Task] = "detect"
    mode: ClassVar[FitMode] = "stretch"
    boxes: tuple[str, ...]
    scores: tuple[str, ...]
    classes: int
    logits: bool
    size: Size

    @classmethod
    def of(cls, facts: Facts) -> Self | None:
        """Two outputs on each grid of the strides 8, 16, 32 and 64, one of 32 columns.

        The bins are what a layer gives, as the graph must show.
        """
        size = facts.size
        boxes: list[str] = []
        scores: list[str] = []
        for stride in _LEVELS:
            rows, columns = grid_size(size, stride)
            on_grid = {
                name: channels
                for name, shape in facts.outputs.items()
                if (channels := _channels(shape, rows, columns))
            }
            bins = [name for name, channels in on_grid.items() if channels == 4 * _BINS]
            if len(on_grid) != 2 or len(bins) != 1:
                return None
            boxes += bins
            scores += on_grid.keys() - set(bins)
        counts = {facts.outputs[n][1 if len(facts.outputs[n]) == 4 else 2] for n in scores}
        logits = are_logits(facts, scores)
        if len(facts.outputs) != 8 or len(counts) != 1 or logits is None:
            return None
        if any(makers(output_value(facts, name)) - {"Conv", "Add"} for name in boxes):
            return None
        return cls(tuple(boxes), tuple(scores), counts.pop(), logits, size)

    def decode(
        self, outputs: Outputs, selection: Selection = DEFAULT_SELECTION
    ) -> list[Detections]:
        """Return the detections of each picture of a batch, in input pixels."""
        bins = joined_rows(outputs, self.boxes, 4 * _BINS)
        scores = joined_rows(outputs, self.scores, self.classes)
        if self.logits:
            scores = sigmoid(scores)
        boxes = _boxes(bins, self.size, _LEVELS, 0.5)
        return [select(b, s, selection) for b, s in zip(boxes, scores, strict=True)]


def _boxes(
    bins: NDArray[np.float32], size: Size, strides: tuple[int, ...], offset: float
) -> NDArray[np.float32]:
    points, widths = cell_points(size, strides, offset=offset)
    return from_distances(points, expected_bins(bins) * widths)


def _channels(shape: tuple[int, ...], rows: int, columns: int) -> int:
    """How many numbers a cell of a grid has in an output; 0 where that is on another grid."""
    if len(shape) == 4 and shape[2:] == (rows, columns):
        return shape[1]
    return shape[2] if len(shape) == 3 and shape[1] == rows * columns else 0
