"""YOLOv8 and its relatives: classes and boxes of cells, with or without their distributions."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import onnx_ir as ir

from zqc.autodiff.emitter import Emitter, dims
from zqc.detection.conventions.convention import Size
from zqc.detection.conventions.grids import cell_points, strides_of_cells
from zqc.detection.conventions.yolo import Yolo
from zqc.detection.conventions.yolo_raw import YoloRaw
from zqc.detection.losses.assignment import task_aligned
from zqc.detection.losses.candidates import Candidates, Places
from zqc.detection.losses.detector_loss import DetectorLoss
from zqc.detection.losses.logits import logit
from zqc.detection.losses.loss import Gains
from zqc.detection.losses.writing import Pen
from zqc.detection.upstream import walk


def decoded(convention: Yolo, cells: int, size: Size) -> DetectorLoss:
    """The loss of boxes that are decoded in the graph.

    Args:
        convention: How they are written.
        cells: The number of candidates.
        size: Height and width of the input.
    """
    places = Places(*cell_points(size, strides_of_cells(size, cells), offset=0.5))
    return DetectorLoss(
        outputs=(convention.output,),
        classes=convention.classes,
        size=size,
        places=places,
        gains=Gains(),
        assign=task_aligned,
        read=partial(_read_decoded, convention),
    )


def raw(convention: YoloRaw) -> DetectorLoss:
    """The loss of raw heads."""
    size = (convention.height, convention.width)
    places = Places(*cell_points(size, convention.strides, offset=0.5))
    return DetectorLoss(
        outputs=tuple(dict.fromkeys((*convention.boxes, *convention.scores))),
        classes=convention.classes,
        size=size,
        places=places,
        gains=Gains(),
        assign=task_aligned,
        read=partial(_read_raw, convention, places),
    )


def _read_decoded(
    convention: Yolo, emitter: Emitter, outputs: Mapping[str, ir.Value]
) -> Candidates:
    pen, output = Pen(emitter, "candidates"), outputs[convention.output]
    count, _, cells = (_whole(dim) for dim in dims(output))
    rows = pen("Transpose", output, perm=(0, 2, 1))
    logits = pen("Transpose", _logits(pen, output, convention.classes), perm=(0, 2, 1))
    return Candidates(
        boxes=pen.corners(pen.part(rows, 0, 4)),
        logits=pen.shaped(logits, count, cells, convention.classes),
        bins=_bins(pen, output),
    )


def _read_raw(
    convention: YoloRaw, places: Places, emitter: Emitter, outputs: Mapping[str, ir.Value]
) -> Candidates:
    pen = Pen(emitter, "candidates")
    joined = convention.boxes == convention.scores
    rows = {name: _rows(pen, outputs[name]) for name in outputs}
    total = next(iter(outputs.values()))
    count, cells = dims(total)[0], len(places.points)
    sides = _width(outputs[convention.boxes[0]]) - (convention.classes if joined else 0)
    bins = _stacked(pen, [pen.part(rows[name], 0, sides) for name in convention.boxes])
    shape = [_whole(count), cells, 4, sides // 4]
    bins = pen.shaped(pen("Reshape", bins, shape), *shape)
    start = sides if joined else 0
    scores = [pen.part(rows[name], start, start + convention.classes) for name in convention.scores]
    logits = _stacked(pen, scores)
    if not convention.logits:
        logits = logit(pen, logits)
    logits = pen.shaped(logits, _whole(count), cells, convention.classes)
    far = pen("Mul", pen("Softmax", bins, axis=-1), pen.array(np.arange(sides // 4)))
    far = pen("Mul", pen.sum(far, [-1]), pen.array(places.strides))
    points = pen.array(places.points)
    low = pen("Sub", points, pen.part(far, 0, 2))
    high = pen("Add", points, pen.part(far, 2, 4))
    return Candidates(pen("Concat", low, high, axis=-1), logits, bins=bins)


def _rows(pen: Pen, value: ir.Value) -> ir.Value:
    """N × K × h × w or N × K × A as N × A × K."""
    count, width = (_whole(dim) for dim in dims(value)[:2])
    flat = pen("Reshape", value, [count, width, -1])
    return pen("Transpose", flat, perm=(0, 2, 1))


def _stacked(pen: Pen, parts: list[ir.Value]) -> ir.Value:
    return parts[0] if len(parts) == 1 else pen("Concat", *parts, axis=1)


def _logits(pen: Pen, output: ir.Value, classes: int) -> ir.Value:
    """The last rows of N × R × A before their sigmoid, as the graph has it or else computed."""
    node = output.producer()
    if node is not None and node.op_type == "Concat":
        last = node.inputs[-1]
        sigmoid = None if last is None else last.producer()
        joined = node.attributes["axis"].as_int() % 3 == 1
        if joined and sigmoid is not None and sigmoid.op_type == "Sigmoid":
            source = sigmoid.inputs[0]
            if source is not None and _width(source) == classes:
                return source
    rows = _width(output)
    return logit(pen, pen.part(output, rows - classes, rows, axis=1))


def _bins(pen: Pen, output: ir.Value) -> ir.Value | None:
    """What the one softmax before the boxes is taken of, as (N, A, 4, R); None without such one."""
    node = output.producer()
    boxes = None if node is None or node.op_type != "Concat" else node.inputs[0]
    found = [
        each
        for each in walk([boxes], lambda n: () if n.op_type == "Softmax" else n.inputs)
        if each.op_type == "Softmax"
    ]
    if len(found) != 1 or found[0].inputs[0] is None:
        return None
    source = found[0].inputs[0]
    shape, cells = dims(source), dims(output)[-1]
    attribute = found[0].attributes.get("axis")
    axis = (-1 if attribute is None else attribute.as_int()) % len(shape)
    at = [i for i, size in enumerate(shape) if i not in (0, axis) and size == cells]
    sides = [i for i, size in enumerate(shape) if i not in (0, axis, *at[:1]) and size == 4]
    if len(shape) != 4 or axis == 0 or len(at) != 1 or len(sides) != 1:
        return None
    order = (0, at[0], sides[0], axis)
    return pen.shaped(
        pen("Transpose", source, perm=order), *(_whole(shape[place]) for place in order)
    )


def _width(value: ir.Value) -> int:
    return _whole(dims(value)[1])


def _whole(dim: int | ir.SymbolicDim | None) -> int:
    assert isinstance(dim, int)  # the graph is cut out for one size
    return dim
