"""CenterNet: peaks of heat maps, with the size and the offset of the box at each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from passes.graph import producer_of
from zqc.detection.boxes import corners_from_centres
from zqc.detection.conventions.convention import Facts, Outputs, Task
from zqc.detection.conventions.functions import sigmoid
from zqc.detection.conventions.grids import cell_points, in_rows, levels
from zqc.detection.conventions.ranking import best_pairs
from zqc.detection.conventions.tracing import activation, makers, output_value
from zqc.detection.detections import Detections
from zqc.detection.nms import DEFAULT_SELECTION, Selection
from zqc.pictures.input_format import FitMode

_SIZES = frozenset({"size", "sizes", "wh", "dim"})
_OFFSETS = frozenset({"offset", "offsets", "off", "reg"})


@dataclass(frozen=True)
class CenterNet:
    """CenterNet: heat N × C × h × w, sizes and offsets N × 2 × h × w, on one grid.

    An object is where its heat is the largest of 3 × 3 cells; its centre is (cell + offset) ·
    stride and its size is size · stride, (x, y) each (Zhou et al., Objects as Points, section 4).
    No boxes are suppressed.

    Attributes:
        heat: Name of the output with the heat maps.
        sizes: Name of the output with the sizes.
        offsets: Name of the output with the offsets.
        stride: Of the grid, in pixels.
        classes: Number of classes C.
        logits: Whether the heat is still to go through the sigmoid.
    """

    name: ClassVar[str] = "centernet"
    task: ClassVar[Task] = "detect"
    mode: ClassVar[FitMode] = "letterbox"
    heat: str
    sizes: str
    offsets: str
    stride: int
    classes: int
    logits: bool

    @classmethod
    def of(cls, facts: Facts) -> Self | None:
        """Three outputs on one grid.

        Sizes and offsets look alike: one is named ``size`` or ``wh``, the other ``offset`` or
        ``reg``, or it is not known which is which. The graph must show whether heat has been
        through the sigmoid; that all but the peaks is zero there already does no harm.
        """
        strides, names = levels(facts, 3)
        if len(strides) != 1:
            return None
        [each] = names
        sizes = [name for name in each if not _SIZES.isdisjoint(_words(name))]
        offsets = [name for name in each if not _OFFSETS.isdisjoint(_words(name))]
        if len(sizes) != 1 or len(offsets) != 1 or sizes == offsets:
            return None
        [heat] = set(each) - {sizes[0], offsets[0]}
        kind = activation(_before_mask(output_value(facts, heat)))
        if any(facts.outputs[n][1] != 2 for n in (sizes[0], offsets[0])):
            return None
        if kind not in ("none", "sigmoid"):
            return None
        classes = facts.outputs[heat][1]
        return cls(heat, sizes[0], offsets[0], strides[0], classes, kind == "none")

    def decode(
        self, outputs: Outputs, selection: Selection = DEFAULT_SELECTION
    ) -> list[Detections]:
        """Return the detections of each picture of a batch, in input pixels."""
        heat = np.asarray(outputs[self.heat], np.float32)
        if self.logits:
            heat = sigmoid(heat)
        heat = np.where(heat == _largest_around(heat), heat, 0)
        size = (heat.shape[2] * self.stride, heat.shape[3] * self.stride)
        corners, strides = cell_points(size, (self.stride,), offset=0)
        centres = corners + in_rows(outputs[self.offsets], 2) * strides
        sizes = in_rows(outputs[self.sizes], 2) * strides
        boxes = corners_from_centres(np.concatenate([centres, sizes], axis=-1))
        scores = in_rows(heat, self.classes)
        return [best_pairs(b, s, selection) for b, s in zip(boxes, scores, strict=True)]


def _words(name: str) -> set[str]:
    for mark in "./-:":
        name = name.replace(mark, "_")
    return set(name.lower().split("_"))


def _before_mask(value: ir.Value | None) -> ir.Value | None:
    """The heat before Clip and before the product with where it is equal to its maxima."""
    node = producer_of(value)
    if node is not None and node.op_type == "Clip":
        return _before_mask(node.inputs[0])
    if node is not None and node.op_type == "Mul":
        plain = [v for v in node.inputs if makers(v) != {"Equal"}]
        return _before_mask(plain[0]) if len(plain) == 1 else value
    return value


def _largest_around(heat: NDArray[np.float32]) -> NDArray[np.float32]:
    """The largest of 3 × 3 cells around each, as a MaxPool with a border of −∞."""
    padded = np.pad(heat, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    largest: NDArray[np.float32] = windows.max(axis=(4, 5))
    return largest
