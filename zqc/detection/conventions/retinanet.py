"""RetinaNet and EfficientDet before any decoding: logits and boxes relative to anchors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from passes.graph import int_attribute, is_silu, producer_of
from zqc.detection.boxes import corners_from_centres
from zqc.detection.conventions.convention import Facts, Outputs, Task
from zqc.detection.conventions.functions import sigmoid
from zqc.detection.conventions.grids import (
    cell_points,
    count_cells,
    joined_rows,
    levels,
    with_channels,
)
from zqc.detection.conventions.torchvision import corner_points, head_pair
from zqc.detection.conventions.tracing import are_logits, array_of, output_value
from zqc.detection.detections import Detections
from zqc.detection.nms import DEFAULT_SELECTION, Selection, select
from zqc.pictures.input_format import FitMode

_LEVELS = (8, 16, 32, 64, 128)
_PER_CELL = 9
_OCTAVES = tuple(2 ** (step / 3) for step in range(3))

# EfficientDet: width and height of an anchor relative to its size.
_SHAPES = ((1.0, 1.0), (1.4, 0.7), (0.7, 1.4))
# Size of the smallest anchor in strides, by the channels of the heads.
_SCALES = dict.fromkeys((64, 88, 112, 160, 224, 288), 4.0)
_LITE_SCALES = {64: 3.0, 88: 3.0, 112: 3.0, 160: 4.0, 200: 3.0, 224: 4.0}
# D6 and D7 have the same heads: the size of their pictures tells them apart.
_LARGEST, _SCALES_BY_SIZE = 384, {1280: 4.0, 1536: 5.0}

LARGEST_GROWTH = np.float32(np.log(1000 / 16))
"""Torchvision lets no box be more than so much larger than its anchor."""


@dataclass(frozen=True)
class EfficientDet:
    """EfficientDet as the package effdet returns it: per level N × 9·C × h × w and N × 36 × h × w.

    Levels have the strides 8…128. The boxes are (ty, tx, th, tw) relative to anchors:
    cy' = ty·h + cy, h' = exp(th)·h, and the same for x (Lin et al., Focal Loss, section 4, after
    Ren et al., Faster R-CNN). Anchors stand in the middle of each cell; their sizes are
    scale · stride · 2^(0, 1/3, 2/3), each of three shapes (Tan et al., EfficientDet).

    Attributes:
        boxes: Names of the outputs with the boxes, the finest level first.
        scores: Names of those with the logits.
        anchors: (cx, cy, w, h) in pixels, shape (A, 4).
        classes: Number of classes C.
        logits: Whether the scores are still to go through the sigmoid.
    """

    name: ClassVar[str] = "efficientdet"
    task: ClassVar[Task] = "detect"
    mode: ClassVar[FitMode] = "letterbox"
    boxes: tuple[str, ...]
    scores: tuple[str, ...]
    anchors: NDArray[np.float32]
    classes: int
    logits: bool

    @classmethod
    def of(cls, facts: Facts) -> Self | None:
        """Two outputs on each of five grids, with 36 and with 9·C channels.

        EfficientDet's heads end in a depthwise and a 1 × 1 convolution, those of other RetinaNets
        do not; the scale of the anchors follows from the channels of the heads and from whether
        their activation is SiLU or ReLU6, as published.
        """
        strides, names = levels(facts, 2)
        boxes = with_channels(facts, names, 4 * _PER_CELL)
        if strides != _LEVELS or not boxes or facts.height % 128 or facts.width % 128:
            return None
        scores = tuple(name for each in names for name in each if name not in boxes)
        counts = {facts.outputs[name][1] for name in scores}
        classes, rest = divmod(counts.pop(), _PER_CELL)
        logits = are_logits(facts, scores)
        scales = {_anchor_scale(facts, name) for name in (*boxes, *scores)}
        scale = scales.pop()
        if counts or rest or scales or scale is None or logits is None:
            return None
        return cls(boxes, scores, _octave_anchors(facts, scale), classes, logits)

    def decode(
        self, outputs: Outputs, selection: Selection = DEFAULT_SELECTION
    ) -> list[Detections]:
        """Return the detections of each picture of a batch, in input pixels."""
        codes = joined_rows(outputs, self.boxes, 4)
        scores = joined_rows(outputs, self.scores, self.classes)
        boxes = _from_codes(codes[..., [1, 0, 3, 2]], self.anchors, np.float32(20))
        if self.logits:
            scores = sigmoid(scores)
        return [select(b, s, selection) for b, s in zip(boxes, scores, strict=True)]


@dataclass(frozen=True)
class RetinaNet:
    """The heads of torchvision's RetinaNet: logits N × A × K and boxes N × A × 4.

    Boxes are (tx, ty, tw, th) relative to anchors, see ``EfficientDet``. The anchors of a cell have
    the sizes 4, 5 and 6.3 strides, each with three ratios of height to width, and stand in its
    upper left corner. Column 0 is background, as torchvision counts.

    Attributes:
        boxes: Name of the output with the boxes.
        scores: Name of the output with the logits.
        anchors: (cx, cy, w, h) in pixels, shape (A, 4).
        classes: Number of classes, K − 1.
    """

    name: ClassVar[str] = "retinanet"
    task: ClassVar[Task] = "detect"
    mode: ClassVar[FitMode] = "letterbox"
    boxes: str
    scores: str
    anchors: NDArray[np.float32]
    classes: int

    @classmethod
    def of(cls, facts: Facts) -> Self | None:
        """Two outputs of torchvision's heads, with nine anchors in each cell of strides 8…128."""
        found = head_pair(facts, _PER_CELL * count_cells(facts.size, _LEVELS))
        if found is None:
            return None
        boxes, scores = found
        classes = facts.outputs[scores][2] - 1
        return cls(boxes, scores, _corner_anchors(facts), classes)

    def decode(
        self, outputs: Outputs, selection: Selection = DEFAULT_SELECTION
    ) -> list[Detections]:
        """Return the detections of each picture of a batch, in input pixels."""
        codes = np.asarray(outputs[self.boxes], np.float32)
        scores = sigmoid(np.asarray(outputs[self.scores], np.float32)[..., 1:])
        boxes = _from_codes(codes, self.anchors, LARGEST_GROWTH)
        return [select(b, s, selection) for b, s in zip(boxes, scores, strict=True)]


def _from_codes(
    codes: NDArray[np.float32], anchors: NDArray[np.float32], largest: np.float32
) -> NDArray[np.floating]:
    centre = codes[..., :2] * anchors[:, 2:] + anchors[:, :2]
    size = np.exp(np.minimum(codes[..., 2:], largest)) * anchors[:, 2:]
    return corners_from_centres(np.concatenate([centre, size], axis=-1))


def _octave_anchors(facts: Facts, scale: float) -> NDArray[np.float32]:
    points, strides = cell_points(facts.size, _LEVELS, offset=0.5)
    shapes = np.array([[o * w, o * h] for o in _OCTAVES for w, h in _SHAPES], np.float32)
    return _per_cell(points, strides[:, None] * np.float32(scale) * shapes)


def _corner_anchors(facts: Facts) -> NDArray[np.float32]:
    """Torchvision's, whose sizes are whole pixels."""
    found = []
    for stride in _LEVELS:
        sides = np.array([int(4 * stride * octave) for octave in _OCTAVES], np.float32)
        ratios = np.sqrt(np.array([0.5, 1.0, 2.0], np.float32))[:, None]
        half = np.stack([(sides / ratios).ravel(), (sides * ratios).ravel()], axis=1) / 2
        found.append(_per_cell(corner_points(facts.size, stride), 2 * np.round(half)[None]))
    return np.concatenate(found)


def _per_cell(points: NDArray[np.generic], sizes: NDArray[np.floating]) -> NDArray[np.float32]:
    """Anchors (cx, cy, w, h) of points (A, 2) and the sizes at each, (A or 1, k, 2)."""
    shape = (len(points), sizes.shape[1], 2)
    pairs = [np.broadcast_to(points[:, None], shape), np.broadcast_to(sizes, shape)]
    return np.concatenate(pairs, axis=-1).reshape(-1, 4).astype(np.float32)


def _anchor_scale(facts: Facts, name: str) -> float | None:
    """The size of the smallest anchors in strides, from the head that makes an output."""
    value = output_value(facts, name)
    pointwise = _producer(value, "Conv", "Sigmoid")
    if pointwise is not None and pointwise.op_type == "Sigmoid":
        pointwise = _producer(pointwise.inputs[0], "Conv")
    depthwise = _producer(pointwise.inputs[0], "Conv") if pointwise is not None else None
    if pointwise is None or depthwise is None:
        return None
    weight, kernel = array_of(pointwise.inputs[1]), array_of(depthwise.inputs[1])
    if weight is None or kernel is None or weight.shape[2:] != (1, 1):
        return None
    width = weight.shape[1]
    if int_attribute(depthwise, "group", 1) != width or kernel.shape[:2] != (width, 1):
        return None
    before = producer_of(depthwise.inputs[0])
    if before is not None and before.op_type == "Pad":
        before = producer_of(before.inputs[0])
    if before is not None and before.op_type == "Clip":
        return _LITE_SCALES.get(width)
    if before is None or not (before.op_type == "Swish" or is_silu(before)):
        return None
    if width == _LARGEST:
        return _SCALES_BY_SIZE.get(facts.height) if facts.height == facts.width else None
    return _SCALES.get(width)


def _producer(value: ir.Value | None, *types: str) -> ir.Node | None:
    node = producer_of(value)
    return node if node is not None and node.op_type in types else None
