"""The detectors of torchvision: what they have chosen in the graph, and what their heads return."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from passes.graph import ints, producer_of
from passes.operators import PICKING, RESHAPING, SQUASHING
from zqc.detection.conventions.convention import Facts, Outputs, Size, Task
from zqc.detection.conventions.grids import cell_points, grid_size
from zqc.detection.conventions.ranking import chosen
from zqc.detection.conventions.tracing import has_operator, makers, output_activation, output_value
from zqc.detection.detections import Detections
from zqc.detection.nms import DEFAULT_SELECTION, Selection
from zqc.detection.upstream import MOVING, Values, moved_inputs, walk
from zqc.pictures.input_format import FitMode

_HEADS = (0, 3, 4, 1, 2)
"""How torchvision's heads reorder N × a × K × h × w."""


@dataclass(frozen=True)
class Torchvision:
    """What a whole detector of torchvision returns for one picture, chosen in the graph.

    Boxes (n, 4) are (x1, y1, x2, y2) in pixels, scores (n) in 0…1, labels (n) integers from 1; 0 is
    background.

    Attributes:
        boxes: Name of the output with the boxes.
        scores: Name of the output with the scores.
        labels: Name of the output with the labels.
        classes: Number of classes; 0 where neither names nor the graph show it.
    """

    name: ClassVar[str] = "torchvision"
    task: ClassVar[Task] = "detect"
    mode: ClassVar[FitMode] = "letterbox"
    boxes: str
    scores: str
    labels: str
    classes: int

    @classmethod
    def of(cls, facts: Facts) -> Self | None:
        """Three outputs (n, 4), (n) and (n), the last of integers, behind a selection.

        Torchvision's last step is to scale the four columns of the boxes, one by one, to the size
        that the picture had: that tells its sets from those of others, whose labels start at 0.
        Where the size is known the factors are 1 and may be gone; then the columns are split and
        joined again.
        """
        shapes = facts.outputs
        flat = [name for name, shape in shapes.items() if len(shape) == 1]
        boxes = next((n for n, s in shapes.items() if len(s) == 2 and s[1] == 4), None)
        values = {name: output_value(facts, name) for name in shapes}
        labels = [n for n in flat if (v := values[n]) is not None and _is_whole(v)]
        scores = [n for n in flat if (v := values[n]) is not None and not _is_whole(v)]
        if len(shapes) != 3 or boxes is None or len(labels) != 1 or len(scores) != 1:
            return None
        if len({shape[0] for shape in shapes.values()}) != 1 or not has_operator(facts, *PICKING):
            return None
        if not _scales_columns(values[boxes]):
            return None
        classes = len(facts.names) or _score_columns(values[scores[0]]) - 1
        return cls(boxes, scores[0], labels[0], max(classes, 0))

    def decode(
        self, outputs: Outputs, selection: Selection = DEFAULT_SELECTION
    ) -> list[Detections]:
        """Return the detections of the one picture, in input pixels."""
        labels = np.asarray(outputs[self.labels], np.int64) - 1
        return [chosen(outputs[self.boxes], outputs[self.scores], labels, selection)]


def head_pair(facts: Facts, anchors: int) -> tuple[str, str] | None:
    """The boxes and the logits of torchvision's heads, N × A × 4 and N × A × K with K ≥ 2.

    Args:
        facts: Of a detector.
        anchors: A.

    Returns:
        The names of the outputs; None where there are no such two.
    """
    shapes = facts.outputs
    if len(shapes) != 2 or any(len(s) != 3 or s[1] != anchors or s[2] < 2 for s in shapes.values()):
        return None
    boxes = [name for name, shape in shapes.items() if shape[2] == 4]
    if len(boxes) != 1 or not all(from_heads(facts, name) for name in shapes):
        return None
    if any(output_activation(facts, name) != "none" for name in shapes):
        return None
    (scores,) = shapes.keys() - {boxes[0]}
    return boxes[0], scores


def corner_points(size: Size, stride: int) -> NDArray[np.float32]:
    """The upper left corner (x, y) of each cell of a grid in pixels, shape (A, 2).

    Torchvision's step from cell to cell is a whole number, rounded down, so that the cells stay in
    the picture.
    """
    (height, width), (rows, columns) = size, grid_size(size, stride)
    points, strides = cell_points(size, (stride,), offset=0)
    return points / strides * np.array([width // columns, height // rows], np.float32)


def from_heads(facts: Facts, name: str) -> bool:
    """Whether an output comes from the heads of torchvision, by how they reorder its axes."""
    nodes = walk(
        [output_value(facts, name)],
        lambda node: moved_inputs(node) if node.op_type in MOVING else (),
    )
    return any(n.op_type == "Transpose" and ints(n, "perm", ()) == _HEADS for n in nodes)


def _is_whole(value: ir.Value) -> bool:
    return value.dtype in (ir.DataType.INT64, ir.DataType.INT32)


def _scales_columns(value: ir.Value | None) -> bool:
    node = producer_of(value)
    if node is None or node.op_type != "Concat" or len(node.inputs) != 4:
        return False
    columns = [_before_reshaping(column) for column in node.inputs]
    split = producer_of(columns[0])
    if split is not None and split.op_type == "Split" and list(split.outputs) == columns:
        return True
    return all(makers(column) == {"Mul"} for column in node.inputs)


def _before_reshaping(value: ir.Value | None) -> ir.Value | None:
    while (node := producer_of(value)) is not None:
        if node.op_type not in RESHAPING:
            break
        value = node.inputs[0]
    return value


def _score_columns(value: ir.Value | None) -> int:
    """How many columns the scores had where they were squashed; 0 where it is not seen."""

    def before(node: ir.Node) -> Values:
        if node.op_type == "Mul":
            return node.inputs
        return moved_inputs(node) if node.op_type in MOVING | {"Sqrt", "TopK"} else ()

    squashing = (n for n in walk([value], before) if n.op_type in SQUASHING)
    shapes = [node.outputs[0].shape for node in squashing]
    found = {s[-1] if s is not None and s.rank() > 1 else None for s in shapes}
    whole = [size for size in found if isinstance(size, int)]
    return max(whole) if len(whole) == len(found) and whole else 0
