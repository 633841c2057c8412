"""DETR and its kin: a set of queries, each with scores and a box."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import onnx_ir as ir

from passes.graph import producer_of
from zqc.detection.boxes import corners_from_centres
from zqc.detection.conventions.convention import Facts, Outputs, Task
from zqc.detection.conventions.functions import sigmoid, softmax
from zqc.detection.conventions.ranking import best_pairs
from zqc.detection.conventions.tracing import (
    Activation,
    array_of,
    has_operator,
    makers,
    output_activation,
    output_value,
)
from zqc.detection.detections import Detections
from zqc.detection.nms import DEFAULT_SELECTION, Selection
from zqc.detection.upstream import MOVING, layers_before, sources
from zqc.pictures.input_format import FitMode


@dataclass(frozen=True)
class Detr:
    """DETR and its kin: scores N × Q × K and boxes N × Q × 4.

    Boxes are (cx, cy, w, h) relative to the input. Classes either compete, behind a softmax whose
    last column means that there is nothing (Carion et al., DETR), or each has a sigmoid of its own
    (Zhu et al., Deformable DETR). Nothing is suppressed: a query stands for one object.

    Attributes:
        boxes: Name of the output with the boxes.
        scores: Name of the output with the scores.
        classes: Number of classes.
        competing: Whether the last column means that there is nothing.
        activation: What the scores have been through.
        height: Height of the input in pixels.
        width: Its width.
    """

    name: ClassVar[str] = "detr"
    task: ClassVar[Task] = "detect"
    mode: ClassVar[FitMode] = "stretch"
    boxes: str
    scores: str
    classes: int
    competing: bool
    activation: Activation
    height: int
    width: int

    @classmethod
    def of(cls, facts: Facts) -> Self | None:
        """Two outputs N × Q × K and N × Q × 4, of queries.

        The boxes are behind Sigmoid and from products (Conv makes those of anchors and cells), or
        the queries are chosen by TopK and look at places by GridSample, as D-FINE's.

        1. Scores behind Softmax compete, and scores behind Sigmoid do not.
        2. Logits do not compete where the queries are chosen in the graph (TopK), as in RT-DETR,
           D-FINE and two-stage Deformable DETR.
        3. Nor do they where the boxes are not just the sigmoid of a layer: detectors that refine
           places train with one sigmoid for each class (Deformable, Conditional and DAB-DETR).
        4. Where they are that, as in DETR and YOLOS, logits compete.
        """
        found = _pair(facts)
        if found is None:
            return None
        boxes, scores = found
        kind = output_activation(facts, scores)
        value = output_value(facts, boxes)
        if kind is None or value is None:
            return None
        chosen = has_operator(facts, "TopK")
        if not _from_queries(value) and not (chosen and has_operator(facts, "GridSample")):
            return None
        competing = kind == "softmax" or (kind == "none" and not chosen and _from_layer(value))
        columns = facts.outputs[scores][2] - competing
        if columns < 1:
            return None
        return cls(boxes, scores, columns, competing, kind, facts.height, facts.width)

    def decode(
        self, outputs: Outputs, selection: Selection = DEFAULT_SELECTION
    ) -> list[Detections]:
        """Return the detections of each picture of a batch, in input pixels."""
        scores = np.asarray(outputs[self.scores], np.float32)
        if self.activation == "none":
            scores = softmax(scores) if self.competing else sigmoid(scores)
        size = np.array([self.width, self.height] * 2, np.float32)
        boxes = corners_from_centres(np.asarray(outputs[self.boxes], np.float32) * size)
        scores = scores[..., : self.classes]
        return [best_pairs(b, s, selection) for b, s in zip(boxes, scores, strict=True)]


@dataclass(frozen=True)
class UltralyticsDetr:
    """RT-DETR as Ultralytics exports it: one output N × Q × (4 + C).

    The columns are (cx, cy, w, h) relative to the input, and scores behind the sigmoid.

    Attributes:
        output: Name of the output.
        classes: Number of classes C.
        height: Height of the input in pixels.
        width: Its width.
    """

    name: ClassVar[str] = "rt-detr"
    task: ClassVar[Task] = "detect"
    mode: ClassVar[FitMode] = "stretch"
    output: str
    classes: int
    height: int
    width: int

    @classmethod
    def of(cls, facts: Facts) -> Self | None:
        """One output N × Q × (4 + C), all of it behind Sigmoid, of queries chosen in the graph.

        The file names its C classes.
        """
        classes = len(facts.names)
        if len(facts.outputs) != 1 or not classes or not has_operator(facts, "TopK"):
            return None
        [(name, shape)] = facts.outputs.items()
        if len(shape) != 3 or shape[2] != 4 + classes:
            return None
        if output_activation(facts, name) != "sigmoid":
            return None
        return cls(name, classes, facts.height, facts.width)

    def decode(
        self, outputs: Outputs, selection: Selection = DEFAULT_SELECTION
    ) -> list[Detections]:
        """Return the detections of each picture of a batch, in input pixels."""
        values = np.asarray(outputs[self.output], np.float32)
        size = np.array([self.width, self.height] * 2, np.float32)
        boxes = corners_from_centres(values[..., :4] * size)
        return [best_pairs(b, v[:, 4:], selection) for b, v in zip(boxes, values, strict=True)]


def _pair(facts: Facts) -> tuple[str, str] | None:
    """The outputs N × Q × 4 and N × Q × K; with four classes the graph tells which is which."""
    shapes = facts.outputs
    if len(shapes) != 2 or any(len(shape) != 3 for shape in shapes.values()):
        return None
    boxes = [name for name, shape in shapes.items() if shape[2] == 4]
    if len(boxes) == 2:
        boxes = [name for name in boxes if output_activation(facts, name) == "sigmoid"]
    if len(boxes) != 1 or len({shape[1] for shape in shapes.values()}) != 1:
        return None
    (scores,) = shapes.keys() - {boxes[0]}
    return boxes[0], scores


def _from_queries(value: ir.Value) -> bool:
    layers = layers_before(list(sources(value, MOVING)))
    return makers(value) == {"Sigmoid"} and {node.op_type for node in layers} <= {"Gemm", "MatMul"}


def _from_layer(value: ir.Value) -> bool:
    """Whether boxes are the sigmoid of what a layer gives, with no more than its bias added."""
    for squashing in sources(value, MOVING):
        node = producer_of(squashing.inputs[0]) if squashing is not None else None
        if node is not None and node.op_type == "Add":
            bias = [array for v in node.inputs if (array := array_of(v)) is not None]
            rest = [v for v in node.inputs if array_of(v) is None]
            if len(bias) != 1 or bias[0].size != 4:
                return False
            node = producer_of(rest[0])
        if node is None or node.op_type not in ("Gemm", "MatMul"):
            return False
    return True
