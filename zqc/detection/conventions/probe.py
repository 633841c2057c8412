"""What the columns of boxes are, found by running the graph once with nothing in its last layers.

Where the layers that boxes are computed from all give zeros, each cell says the same, and what is
left is what the graph itself adds: the places of the cells, and the sizes of anchors. From one cell
to the next in a row,

1. both x of corners move by one step,
2. the x of a centre moves, and a width does not,

and over all cells the centres fill the picture, in pixels or in 0…1. Whatever does neither is no
box in a picture. How an exporter wrote the decoding plays no role.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from passes.operators import WEIGHTED
from zqc.detection.conventions.convention import Facts
from zqc.detection.conventions.tracing import array_of
from zqc.detection.upstream import walk
from zqc.errors import ZqcError
from zqc.runtime import session

MOST_PER_CELL = 9


@dataclass(frozen=True)
class BoxFormat:
    """How boxes are written.

    Attributes:
        columns: Of x1, y1, x2 and y2, or of the centre's x and y, width and height.
        centred: Whether they are centre and size.
        relative: Whether they are relative to the input instead of in pixels.
        per_cell: How many boxes a cell has.
    """

    columns: tuple[int, int, int, int]
    centred: bool
    relative: bool
    per_cell: int


def box_format(facts: Facts, name: str) -> BoxFormat | None:
    """Find how the boxes in an output N × A × 4 are written.

    Returns:
        None where the output holds nothing of that kind, or the graph cannot be run by itself.
    """
    boxes = _resting(facts, name)
    if boxes is None or boxes.ndim != 3 or boxes.shape[2] != 4 or not np.isfinite(boxes).all():
        return None
    found = boxes[0].astype(np.float64)
    for per_cell in range(1, min(MOST_PER_CELL, len(found) - 1) + 1):
        for columns in ((0, 1, 2, 3), (1, 0, 3, 2)):
            read = _read(found[:, columns], per_cell, facts)
            if read is not None:
                return BoxFormat(columns, *read, per_cell)
    return None


def _read(boxes: NDArray[np.float64], per_cell: int, facts: Facts) -> tuple[bool, bool] | None:
    """Whether boxes with x in column 0 and 2 are centred and relative; None where neither fits."""
    size = np.array([facts.width, facts.height])
    for centred in (False, True):
        centres = boxes[:, :2] if centred else (boxes[:, :2] + boxes[:, 2:]) / 2
        for relative in (False, True):
            whole = np.ones(2) if relative else size
            step = (boxes[per_cell:] - boxes[:-per_cell]) / np.tile(whole, 2)
            near = 1e-5
            along = (step[:, 0] > near) & (abs(step[:, 1]) < near)
            still = abs(step[:, 2:]) < near
            together = (
                still.all(axis=1)
                if centred
                else ((abs(step[:, 2] - step[:, 0]) < near) & still[:, 1])
            )
            if (along & together).mean() < 0.5:
                continue
            low, high = centres.min(axis=0) / whole, centres.max(axis=0) / whole
            if (
                (low > -0.5).all()
                and (low < 0.5).all()
                and (high > 0.5).all()
                and (high < 1.5).all()
            ):
                return centred, relative
    return None


def _resting(facts: Facts, name: str) -> NDArray[np.generic] | None:
    """An output on a black picture, the layers right before it giving zeros; None if it fails."""
    if facts.graph is None or len(facts.graph.inputs) != 1:
        return None
    model = ir.Model(facts.graph, ir_version=10).clone()
    [source] = model.graph.inputs
    output = next((value for value in model.graph.outputs if value.name == name), None)
    sizes = source.shape
    if output is None or sizes is None or sizes.rank() != 4:
        return None
    layers = _nearest_layers(output)
    if not layers:
        return None
    for node in layers:
        result = node.outputs[0]
        users = [(use.node, use.idx) for use in result.uses()]
        zero = ir.node("Sub", [result, result])
        for user, index in users:
            user.replace_input_with(index, zero.outputs[0])
        zero.outputs[0].name = f"{result.name}_at_rest"
        model.graph.insert_after(node, zero)
    model.graph.outputs.clear()
    model.graph.outputs.append(output)
    batch = facts.outputs[name][0]
    channels = sizes[1] if isinstance(sizes[1], int) else 3
    kind = source.dtype.numpy() if source.dtype is not None else np.dtype(np.float32)
    picture = np.zeros((batch, channels, facts.height, facts.width), kind)
    try:
        return session.load(model, threads=1)({source.name or "": picture})[name]
    except ZqcError:
        return None


def _nearest_layers(value: ir.Value) -> list[ir.Node]:
    """The nearest layers that a value is computed from; a product of 4 × 4 is part of decoding."""
    nodes = walk([value], lambda node: () if _decides(node) else node.inputs)
    return [node for node in nodes if _decides(node)]


def _decides(node: ir.Node) -> bool:
    weight = array_of(node.inputs[1]) if node.op_type in WEIGHTED else None
    return weight is not None and weight.shape != (4, 4)
