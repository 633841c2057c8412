"""How known families of detectors write boxes and scores into their outputs.

``recognise`` decides by the number and the shapes of the outputs alone, in this order:

1. One output N × (4 + C) × A, where A is the number of cells of the grids with strides 8, 16
   and 32, or of some other run of at least two of the strides 4, 8, …, 128: ``yolo``.
2. Two outputs N × 3·(5 + C) × h × w, one on the grid of stride 32 and one on that of stride 16:
   ``yolov3tiny``.
3. Two outputs N × A × 4 and N × A × K with K ≥ 2, and a file of A anchors: ``ssdlite``.
   Should both have 4 columns, the first holds the boxes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from zqc.detection.boxes import corners_from_centres
from zqc.detection.nms import DEFAULT_SELECTION, Detections, Selection, select
from zqc.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from zqc.pictures.images import FitMode

    Outputs = Mapping[str, NDArray[np.generic]]
    Shapes = Mapping[str, tuple[int, ...]]

# Width and height in pixels of the input, per stride. (81, 82) stands in both heads and the sixth
# anchor of YOLOv3-tiny, (10, 14), in none: with masks 0,1,2 instead of 1,2,3 the published weights
# draw the boxes of the fine head at about half their size.
_TINY_ANCHORS = {
    32: ((81, 82), (135, 169), (344, 319)),
    16: ((23, 27), (37, 58), (81, 82)),
}
_STRIDES = (4, 8, 16, 32, 64, 128)


@dataclass(frozen=True)
class Yolo:
    """YOLOv8 and its relatives: one output N × (4 + C) × A.

    Rows 0…3 are centre x, centre y, width and height in input pixels, the others the sigmoid
    scores of the classes.

    Attributes:
        output: Name of the output.
        classes: Number of classes C.
    """

    name: ClassVar[str] = "yolo"
    mode: ClassVar[FitMode] = "letterbox"
    output: str
    classes: int

    def decode(
        self, outputs: Outputs, selection: Selection = DEFAULT_SELECTION
    ) -> list[Detections]:
        """Return the detections of each picture of a batch, in input pixels."""
        values = np.asarray(outputs[self.output], np.float32).transpose(0, 2, 1)
        boxes = corners_from_centres(values[..., :4])
        return [select(b, v[:, 4:], selection) for b, v in zip(boxes, values, strict=True)]


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
    mode: ClassVar[FitMode] = "letterbox"
    heads: tuple[tuple[str, int], ...]
    classes: int

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
        centre = (_sigmoid(cells[..., :2]) + corner) * np.float32(stride)
        size = np.exp(np.minimum(cells[..., 2:4], 20)) * anchors  # far beyond any picture
        boxes = corners_from_centres(np.concatenate([centre, size], axis=-1))
        scores = _sigmoid(cells[..., 4:5]) * _sigmoid(cells[..., 5:])
        return boxes.reshape(count, -1, 4), scores.reshape(count, -1, self.classes)


@dataclass(frozen=True, eq=False)
class SsdLite:
    """SSD with the box coder of the TensorFlow Object Detection API: two outputs.

    Boxes N × A × 4 are (ty, tx, th, tw) relative to anchors (cy, cx, h, w):
    cy' = ty / 10 · h + cy, h' = exp(th / 5) · h, and the same for x (Liu et al., SSD, section 2.2,
    with the usual variances 0.1 and 0.2). Scores N × A × K are in 0…1; column 0 is background.

    Attributes:
        boxes: Name of the output with the boxes.
        scores: Name of the output with the scores.
        anchors: (cy, cx, h, w) relative to the input, shape (A, 4).
        classes: Number of classes, K − 1.
        height: Height of the input in pixels.
        width: Its width.
    """

    name: ClassVar[str] = "ssdlite"
    mode: ClassVar[FitMode] = "stretch"
    boxes: str
    scores: str
    anchors: NDArray[np.float32]
    classes: int
    height: int
    width: int

    def decode(
        self, outputs: Outputs, selection: Selection = DEFAULT_SELECTION
    ) -> list[Detections]:
        """Return the detections of each picture of a batch, in input pixels."""
        codes = np.asarray(outputs[self.boxes], np.float32)
        scores = np.asarray(outputs[self.scores], np.float32)[..., 1:]
        centre = codes[..., :2] / 10 * self.anchors[:, 2:] + self.anchors[:, :2]
        size = np.exp(np.minimum(codes[..., 2:] / 5, 20)) * self.anchors[:, 2:]
        pixels = np.array([self.width, self.height] * 2, np.float32)
        relative = np.concatenate([centre[..., ::-1], size[..., ::-1]], axis=-1)
        boxes = corners_from_centres(relative * pixels)
        return [select(b, s, selection) for b, s in zip(boxes, scores, strict=True)]


OutputConvention = Yolo | YoloV3Tiny | SsdLite


def recognise(
    outputs: Shapes, *, height: int, width: int, anchors: Path | None = None
) -> OutputConvention | None:
    """Find the convention of a model by the rules at the top of this module.

    Args:
        outputs: Name and shape of each output.
        height: Height of the input in pixels.
        width: Its width.
        anchors: An ``.npy`` of anchors (cy, cx, h, w), for SSD.

    Returns:
        None when no rule holds.

    Raises:
        OptionError: The anchors cannot be read, or do not fit these outputs.
    """
    if anchors is not None:
        return _ssdlite(outputs, _read_anchors(anchors), anchors, height, width)
    return _yolo(outputs, height, width) or _yolov3tiny(outputs, height, width)


def _yolo(outputs: Shapes, height: int, width: int) -> Yolo | None:
    if len(outputs) != 1:
        return None
    [(name, shape)] = outputs.items()
    cells = [-(-height // stride) * -(-width // stride) for stride in _STRIDES]
    runs = {
        sum(cells[start:stop])
        for start in range(len(cells))
        for stop in range(start + 2, len(cells) + 1)
    }
    if len(shape) != 3 or shape[1] < 5 or shape[2] not in runs:
        return None
    return Yolo(name, shape[1] - 4)


def _yolov3tiny(outputs: Shapes, height: int, width: int) -> YoloV3Tiny | None:
    strides = {(height // stride, width // stride): stride for stride in _TINY_ANCHORS}
    if len(outputs) != 2 or any(len(shape) != 4 for shape in outputs.values()):
        return None
    heads = {name: strides.get((shape[2], shape[3])) for name, shape in outputs.items()}
    channels = {shape[1] for shape in outputs.values()}
    if set(heads.values()) != set(_TINY_ANCHORS) or len(channels) != 1:
        return None
    classes, rest = divmod(channels.pop() - 15, 3)
    if rest or classes < 1:
        return None
    return YoloV3Tiny(tuple((n, s) for n, s in heads.items() if s is not None), classes)


def _ssdlite(
    outputs: Shapes, anchors: NDArray[np.float32], path: Path, height: int, width: int
) -> SsdLite:
    three = {name: shape for name, shape in outputs.items() if len(shape) == 3}
    boxes = next((name for name, shape in three.items() if shape[2] == 4), None)
    scores = next((name for name in three if name != boxes), None)
    if len(outputs) != 2 or boxes is None or scores is None or three[scores][2] < 2:
        raise OptionError(
            f"anchors were given ({path}), but the outputs {_text(outputs)} are not the N x A x 4 "
            "boxes and N x A x K scores of an SSD; leave the anchors out"
        )
    counts = {three[boxes][1], three[scores][1], len(anchors)}
    if len(counts) != 1:
        raise OptionError(
            f"{path} holds {len(anchors)} anchors, but the outputs are {_text(outputs)}; "
            "give the anchors that this model was trained with"
        )
    return SsdLite(boxes, scores, anchors, three[scores][2] - 1, height, width)


def _read_anchors(path: Path) -> NDArray[np.float32]:
    try:
        anchors = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise OptionError(f"cannot read the anchors {path}: {error}") from error
    usable = isinstance(anchors, np.ndarray) and np.issubdtype(anchors.dtype, np.floating)
    if not usable or anchors.ndim != 2 or anchors.shape[1] != 4 or not np.isfinite(anchors).all():
        raise OptionError(f"{path} must be an .npy of finite floats (cy, cx, h, w), shape A x 4")
    return np.asarray(anchors, np.float32)


def _text(outputs: Shapes) -> str:
    return ", ".join(f"{name} {' x '.join(map(str, shape))}" for name, shape in outputs.items())


def _sigmoid(values: NDArray[np.float32]) -> NDArray[np.float32]:
    # tanh does not overflow for large negative values
    half = np.float32(0.5)
    result: NDArray[np.float32] = half * np.tanh(half * values) + half
    return result
