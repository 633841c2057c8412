"""YOLOv3 and YOLOv3-tiny: raw heads with the published anchors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import onnx_ir as ir

from passes.graph import producer_of
from zqc.detection.conventions.anchor_heads import AnchorHeads, Head, classes_of, grid_of
from zqc.detection.conventions.convention import Facts
from zqc.detection.conventions.grids import grid_size
from zqc.detection.conventions.tracing import computed_by, output_value

# Width and height in pixels of the input, per stride. (81, 82) stands in both heads and the sixth
# anchor of YOLOv3-tiny, (10, 14), in none: with masks 0,1,2 instead of 1,2,3 the published weights
# draw the boxes of the fine head at about half their size.
_TINY: Mapping[int, tuple[tuple[int, int], ...]] = {
    32: ((81, 82), (135, 169), (344, 319)),
    16: ((23, 27), (37, 58), (81, 82)),
}
_FULL: Mapping[int, tuple[tuple[int, int], ...]] = {
    32: ((116, 90), (156, 198), (373, 326)),
    16: ((30, 61), (62, 45), (59, 119)),
    8: ((10, 13), (16, 30), (33, 23)),
}
ANCHORS = (*_FULL[8], *_FULL[16], *_FULL[32])
"""The nine of YOLOv3, those of the finest grid first."""

_OTHERS = frozenset({"Clip", "HardSwish", "Mish", "Relu", "Sigmoid", "Softplus", "Swish", "Tanh"})
"""Activations of the networks after YOLOv3, whose heads look the same but mean something else."""

_UPSAMPLING = frozenset({"Resize", "Upsample"})
_BESIDE = _UPSAMPLING | {"MaxPool"}
_FEATURES = frozenset({"Add", "BatchNormalization", "Conv", "LeakyRelu", "Slice", "Split"})


class YoloV3:
    """Two or three raw heads of one of the two networks of YOLOv3, see ``anchor_heads``."""

    name: ClassVar[str] = "yolov3"

    @classmethod
    def of(cls, facts: Facts) -> AnchorHeads | None:
        """Heads on the grids of strides 32 and 16, or 32, 16 and 8, with 3 anchors in a cell.

        YOLOv4, v5 and v7 have such heads with other anchors, so the graph must be that of YOLOv3:
        the heads come straight from their layers, every activation is a LeakyRelu, and the grids
        are joined once for each head but the first; only pooled ones are joined besides.
        """
        table = {2: _TINY, 3: _FULL}.get(len(facts.outputs))
        if table is None or facts.selected:
            return None
        strides = {grid_size(facts.size, stride): stride for stride in table}
        heads, classes = [], set()
        for name, shape in facts.outputs.items():
            classes.add(classes_of(shape, 3))
            stride = strides.get(grid_of(shape)) if len(shape) in (4, 5) else None
            if stride is not None:
                heads.append(Head(name, stride, table[stride]))
        number = classes.pop()
        if classes or number is None or {head.stride for head in heads} != set(table):
            return None
        if not facts.may_be("detect", number):
            return None
        if facts.family != cls.name and not _is_darknet(facts):
            return None
        return AnchorHeads(tuple(heads), number)


def _is_darknet(facts: Facts) -> bool:
    """Whether the graph is that of YOLOv3, see ``YoloV3.of``."""
    values = [output_value(facts, name) for name in facts.outputs]
    if facts.graph is None or any(value is None or computed_by(value) for value in values):
        return False
    types = {node.op_type for node in facts.graph}
    joins = [_joined(node) for node in facts.graph if node.op_type == "Concat"]
    upsampled = [kinds for kinds in joins if kinds & _UPSAMPLING]
    others = [kinds for kinds in joins if kinds & _FEATURES and not kinds & _BESIDE]
    skips = "Add" in types  # of Darknet-53; the tiny one has none
    return (
        "LeakyRelu" in types
        and not types & _OTHERS
        and len(upsampled) == len(facts.outputs) - 1
        and not others
        and skips == (len(facts.outputs) == len(_FULL))
    )


def _joined(node: ir.Node) -> set[str]:
    """The operators that give what a Concat joins."""
    nodes = map(producer_of, node.inputs)
    return {each.op_type for each in nodes if each is not None}
