"""Detections that a graph has chosen for a batch, in the ways of several exporters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import onnx_ir as ir

from zqc.detection.conventions.convention import Facts, Outputs, Task
from zqc.detection.conventions.ranking import chosen
from zqc.detection.conventions.tracing import has_operator, moved_from, output_value
from zqc.detection.detections import Detections
from zqc.detection.nms import DEFAULT_SELECTION, Selection
from zqc.pictures.input_format import FitMode

_WHOLE = (ir.DataType.INT32, ir.DataType.INT64)


@dataclass(frozen=True)
class TensorFlow:
    """Detection sets of the TensorFlow Object Detection API.

    ``num_detections`` N, ``detection_boxes`` N × D × 4, (y1, x1, y2, x2) relative to the input,
    ``detection_scores`` N × D and ``detection_classes`` N × D, numbers from 1, or from 0 behind the
    ``TFLite_Detection_PostProcess`` of TensorFlow Lite, whose name its outputs have. Rows behind
    the number of detections are padding.

    Attributes:
        outputs: Names of these four outputs in this order.
        first: The number of the first class.
        classes: Number of classes; 0 where the file does not name them.
        height: Height of the input in pixels.
        width: Its width.
    """

    name: ClassVar[str] = "tensorflow"
    task: ClassVar[Task] = "detect"
    mode: ClassVar[FitMode] = "stretch"
    outputs: tuple[str, str, str, str]
    first: int
    classes: int
    height: int
    width: int

    @classmethod
    def of(cls, facts: Facts) -> Self | None:
        """Outputs of these names and shapes; there may be others.

        The classes are floating-point numbers: whole ones are those of another exporter.
        """
        full = {name.split(":")[0]: name for name in facts.outputs}
        wanted = ("num_detections", *(f"detection_{kind}" for kind in _KINDS))
        names = _found(facts, *(full.get(name, "") for name in wanted))
        lite = _found(facts, *(f"TFLite_Detection_PostProcess{end}" for end in _LITE))
        found = names or lite
        value = None if found is None else output_value(facts, found[3])
        if found is None or value is None or value.dtype in _WHOLE:
            return None
        return cls(found, int(lite is None), len(facts.names), facts.height, facts.width)

    def decode(
        self, outputs: Outputs, selection: Selection = DEFAULT_SELECTION
    ) -> list[Detections]:
        """Return the detections of each picture of a batch, in input pixels."""
        counts, boxes, scores, labels = (np.asarray(outputs[name]) for name in self.outputs)
        pixels = np.array([self.width, self.height] * 2, np.float32)
        return [
            chosen(b[:n, [1, 0, 3, 2]] * pixels, s[:n], c[:n] - self.first, selection)
            for n, b, s, c in zip(counts.astype(int).ravel(), boxes, scores, labels, strict=True)
        ]


@dataclass(frozen=True)
class EfficientNms:
    """Detection sets as TensorRT's EfficientNMS gives them in the exports of YOLO detectors.

    ``num_dets`` N × 1, ``det_boxes`` N × D × 4, (x1, y1, x2, y2) in pixels, ``det_scores`` N × D
    and ``det_classes`` N × D, whole numbers from 0. Rows behind the number of detections are
    padding.

    Attributes:
        outputs: Names of these four outputs in this order.
        classes: Number of classes; 0 where the file does not name them.
    """

    name: ClassVar[str] = "efficient-nms"
    task: ClassVar[Task] = "detect"
    mode: ClassVar[FitMode] = "letterbox"
    outputs: tuple[str, str, str, str]
    classes: int

    @classmethod
    def of(cls, facts: Facts) -> Self | None:
        """Four outputs of these names and shapes, the classes whole numbers."""
        names = _found(facts, "num_dets", *(f"det_{kind}" for kind in _KINDS))
        value = None if names is None else output_value(facts, names[3])
        if names is None or value is None or value.dtype not in _WHOLE:
            return None
        return cls(names, len(facts.names)) if len(facts.outputs) == 4 else None

    def decode(
        self, outputs: Outputs, selection: Selection = DEFAULT_SELECTION
    ) -> list[Detections]:
        """Return the detections of each picture of a batch, in input pixels."""
        counts, boxes, scores, labels = (np.asarray(outputs[name]) for name in self.outputs)
        return [
            chosen(b[:n], s[:n], c[:n], selection)
            for n, b, s, c in zip(counts.astype(int).ravel(), boxes, scores, labels, strict=True)
        ]


@dataclass(frozen=True)
class MmDeploy:
    """Detection sets as MMDeploy exports them: ``dets`` N × D × 5 and ``labels`` N × D.

    The columns are (x1, y1, x2, y2) in pixels and the score. Labels are whole numbers from 0; one
    below is padding.

    Attributes:
        rows: Name of the output with boxes and scores.
        labels: Name of the output with the labels.
        classes: Number of classes; 0 where the file does not name them.
    """

    name: ClassVar[str] = "mmdeploy"
    task: ClassVar[Task] = "detect"
    mode: ClassVar[FitMode] = "letterbox"
    rows: str
    labels: str
    classes: int

    @classmethod
    def of(cls, facts: Facts) -> Self | None:
        """Two outputs of these names and shapes, behind a NonMaxSuppression or a TopK."""
        shapes = facts.outputs
        rows, labels = shapes.get("dets", ()), shapes.get("labels", ())
        value = output_value(facts, "labels")
        if len(shapes) != 2 or len(rows) != 3 or rows[2] != 5 or labels != rows[:2]:
            return None
        if value is None or value.dtype not in _WHOLE:
            return None
        if not has_operator(facts, "NonMaxSuppression", "TopK"):
            return None
        return cls("dets", "labels", len(facts.names))

    def decode(
        self, outputs: Outputs, selection: Selection = DEFAULT_SELECTION
    ) -> list[Detections]:
        """Return the detections of each picture of a batch, in input pixels."""
        rows, labels = outputs[self.rows], outputs[self.labels]
        return [
            chosen(r[:, :4], r[:, 4], each, selection) for r, each in zip(rows, labels, strict=True)
        ]


@dataclass(frozen=True)
class Paddle:
    """Detection sets as PaddleDetection exports them: rows n × 6 and how many each picture has.

    The columns are the class, whole numbers from 0, the score, and (x1, y1, x2, y2) in pixels of
    the input where ``scale_factor`` is 1. A class below 0 says that nothing was found.

    Attributes:
        rows: Name of the output with the rows.
        counts: Name of the output with their number in each picture.
        classes: Number of classes; 0 where the file does not name them.
    """

    name: ClassVar[str] = "paddle"
    task: ClassVar[Task] = "detect"
    mode: ClassVar[FitMode] = "stretch"
    rows: str
    counts: str
    classes: int

    @classmethod
    def of(cls, facts: Facts) -> Self | None:
        """Two outputs n × 6 and N, the latter whole numbers, behind a NonMaxSuppression.

        That the class comes first must be seen in the graph: whole numbers are cast for the first
        column of the rows, and for no other.
        """
        shapes = facts.outputs
        rows = [name for name, shape in shapes.items() if len(shape) == 2 and shape[1] == 6]
        counts = [name for name, shape in shapes.items() if len(shape) == 1]
        if len(shapes) != 2 or len(rows) != 1 or len(counts) != 1:
            return None
        value = output_value(facts, counts[0])
        if value is None or value.dtype not in _WHOLE:
            return None
        if not has_operator(facts, "NonMaxSuppression") or not _class_first(facts, rows[0]):
            return None
        return cls(rows[0], counts[0], len(facts.names))

    def decode(
        self, outputs: Outputs, selection: Selection = DEFAULT_SELECTION
    ) -> list[Detections]:
        """Return the detections of each picture of a batch, in input pixels."""
        ends = np.cumsum(np.asarray(outputs[self.counts], np.int64))
        parts = np.split(np.asarray(outputs[self.rows], np.float32), ends[:-1])
        return [chosen(p[:, 2:], p[:, 1], p[:, 0], selection) for p in parts]


_KINDS = ("boxes", "scores", "classes")
# The outputs of the operator are boxes, classes, scores and their number.
_LITE = (":3", "", ":2", ":1")


def _found(facts: Facts, *wanted: str) -> tuple[str, str, str, str] | None:
    """The outputs of some names (number, boxes, scores, classes), if their shapes fit."""
    shapes = facts.outputs
    if not set(wanted) <= shapes.keys():
        return None
    number, boxes, scores, classes = wanted
    sizes = shapes[scores]
    if len(sizes) != 2 or shapes[boxes] != (*sizes, 4) or shapes[classes] != sizes:
        return None
    if shapes[number] not in ((sizes[0],), (sizes[0], 1)):
        return None
    return number, boxes, scores, classes


def _class_first(facts: Facts, name: str) -> bool:
    joined = moved_from(output_value(facts, name))
    if joined is None or joined.op_type != "Concat" or len(joined.inputs) < 3:
        return False
    columns = [moved_from(column) for column in joined.inputs]
    cast = [column is not None and column.op_type == "Cast" for column in columns]
    return cast[0] and not any(cast[1:])
