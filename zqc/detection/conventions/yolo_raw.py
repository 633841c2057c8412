"""YOLOv8 and its relatives where the distributions of the box sides are outputs, as for NPUs."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from zqc.detection.conventions.convention import Facts, Outputs, Task
from zqc.detection.conventions.functions import sigmoid
from zqc.detection.conventions.grids import (
    RUNS,
    cell_points,
    expected_bins,
    from_distances,
    levels,
    strides_of_cells,
    with_channels,
)
from zqc.detection.conventions.tracing import computed_by, output_value, score_mask, sizes_before
from zqc.detection.detections import Detections
from zqc.detection.nms import DEFAULT_SELECTION, Selection, select
from zqc.pictures.input_format import FitMode

_BINS = 16
_SIDES = 4 * _BINS


@dataclass(frozen=True)
class YoloRaw:
    """Raw heads: for each cell 4 · 16 numbers of the box and C of the classes.

    The distance from the middle of the cell to the left, upper, right and lower side is the mean of
    0, 1, …, 15 under the softmax of its 16 numbers, in cells (Li et al., Generalized Focal Loss,
    2020, section 3).

    Attributes:
        boxes: Names of the outputs with the boxes, one for each stride, or one for all.
        scores: The same for the classes; where it is the same output, they are behind the box.
        strides: Strides, finest first.
        classes: Number of classes C.
        logits: Whether the sigmoid of the scores is left to be taken.
        height: Height of the input in pixels.
        width: Its width.
    """

    name: ClassVar[str] = "yolo-raw"
    task: ClassVar[Task] = "detect"
    mode: ClassVar[FitMode] = "letterbox"
    boxes: tuple[str, ...]
    scores: tuple[str, ...]
    strides: tuple[int, ...]
    classes: int
    logits: bool
    height: int
    width: int

    @classmethod
    def of(cls, facts: Facts) -> Self | None:
        """Recognise one of three ways of writing it; the graph shows whether scores are logits.

        1. N × (64 + C) × h × w for each stride, which the graph shows to be 64 joined with C, or
           the file to be C classes to detect.
        2. N × 64 × h × w and N × C × h × w for each stride.
        3. N × 64 × A and N × C × A, A being the number of cells of all grids.
        """
        found = _joined(facts) or _apart(facts) or _flat(facts)
        if found is None or facts.selected:
            return None
        boxes, scores, strides = found
        sizes = {facts.outputs[name][1] for name in scores}
        classes = min(sizes) - (_SIDES if boxes == scores else 0)
        if len(sizes) != 1 or classes < 1 or not facts.may_be("detect", classes):
            return None
        if boxes == scores and not all(_is_certain(facts, name, classes) for name in boxes):
            return None
        logits = {_are_logits(facts, name) for name in scores}
        if len(logits) != 1 or None in logits or _any_computed(facts, boxes, scores):
            return None
        return cls(boxes, scores, strides, classes, True in logits, facts.height, facts.width)

    def decode(
        self, outputs: Outputs, selection: Selection = DEFAULT_SELECTION
    ) -> list[Detections]:
        """Return the detections of each picture of a batch, in input pixels."""
        start = _SIDES if self.boxes == self.scores else 0
        bins = np.concatenate([_rows(outputs[name])[..., :_SIDES] for name in self.boxes], axis=1)
        scores = np.concatenate([_rows(outputs[name])[..., start:] for name in self.scores], axis=1)
        if self.logits:
            scores = sigmoid(scores)
        points, sizes = cell_points((self.height, self.width), self.strides, offset=0.5)
        boxes = from_distances(points, expected_bins(bins) * sizes)
        return [select(b, s, selection) for b, s in zip(boxes, scores, strict=True)]


_Found = tuple[tuple[str, ...], tuple[str, ...], tuple[int, ...]]


def _joined(facts: Facts) -> _Found | None:
    """Case 1."""
    strides, grids = levels(facts, 1)
    names = tuple(chain(*grids))
    return (names, names, strides) if strides in RUNS else None


def _apart(facts: Facts) -> _Found | None:
    """Case 2; with 64 classes the order is not known."""
    strides, grids = levels(facts, 2)
    boxes = with_channels(facts, grids, _SIDES)
    scores = tuple(name for name in chain(*grids) if name not in boxes)
    return (boxes, scores, strides) if boxes and strides in RUNS else None


def _flat(facts: Facts) -> _Found | None:
    """Case 3."""
    boxes = [name for name, shape in facts.outputs.items() if shape[1:2] == (_SIDES,)]
    shapes = list(facts.outputs.values())
    if len(shapes) != 2 or len(boxes) != 1 or any(len(shape) != 3 for shape in shapes):
        return None
    strides = strides_of_cells(facts.size, shapes[0][2])
    if not strides or shapes[0][2] != shapes[1][2]:
        return None
    (scores,) = set(facts.outputs) - set(boxes)
    return tuple(boxes), (scores,), strides


def _is_certain(facts: Facts, name: str, classes: int) -> bool:
    """Whether an output N × (64 + C) × h × w has the 64 first, and nothing else."""
    if facts.task == "detect" and len(facts.names) == classes:
        return True
    value = output_value(facts, name)
    sizes = [] if value is None else sizes_before(value)
    return sizes == [_SIDES, classes] or facts.family == YoloRaw.name


def _are_logits(facts: Facts, name: str) -> bool | None:
    """Whether the scores in an output are before their sigmoid; None where it is not known."""
    value = output_value(facts, name)
    if value is not None:
        computed = computed_by(value)
        return None if computed - {"Sigmoid"} else "Sigmoid" not in computed
    mask = score_mask(facts, name)
    return None if mask is None else not mask.any()


def _any_computed(facts: Facts, boxes: tuple[str, ...], scores: tuple[str, ...]) -> bool:
    """Whether anything is computed behind the layers of the boxes, as far as the graph shows."""
    values = [output_value(facts, name) for name in boxes if boxes != scores]
    return any(value is not None and computed_by(value) for value in values)


def _rows(output: NDArray[np.generic]) -> NDArray[np.float32]:
    """N × K × h × w or N × K × A as N × cells × K."""
    values = np.asarray(output, np.float32)
    return values.reshape(*values.shape[:2], -1).transpose(0, 2, 1)
