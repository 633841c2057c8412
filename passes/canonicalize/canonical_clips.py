"""ReLU, ReLU6 and other clips in all their spellings become one operator each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from passes.analysis.bounds import clip_bounds
from passes.graph import Namer, add_initializer, is_float, name_of, replace, scalar, sole_consumer

_INFINITE = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class CanonicalClips(ir.passes.InPlacePass):
    """Join what cuts values off at numbers. Exact: min and max of numbers of the graph.

    clip(clip(x, a, b), c, d) = clip(x, clip(a, c, d), clip(b, c, d)).

    1. Relu, Clip, Min and Max with one number, in a row where nobody reads what is in between:
       Relu where the bounds are 0 and infinity, else one Clip. Min and Max take their operands in
       any order.
    2. PRelu with one slope for all channels: LeakyRelu.
    3. Left alone: a single one but Max(x, 0), bounds that are computed, integers, and a Clip whose
       lower bound is above the upper one.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite every row, from its end."""
        graph = model.graph
        name = Namer(graph)
        modified = False
        for node in reversed(list(graph)):
            if node.graph is graph and node.domain == "" and is_float(node.outputs[0]):
                modified = _rewrite(graph, node, name) or modified
        return ir.passes.PassResult(model, modified)


def _rewrite(graph: ir.Graph, last: ir.Node, name: Namer) -> bool:
    if last.op_type == "PRelu":
        return _one_slope(graph, last)
    step = _step(last)
    if step is None:
        return False
    row = [last]
    source, low, high = step
    while (producer := source.producer()) is not None and sole_consumer(source) is row[-1]:
        step = _step(producer)
        if step is None or producer.graph is not graph:
            break
        source, below, above = step
        low, high = float(np.clip(below, low, high)), float(np.clip(above, low, high))
        row.append(producer)
    is_relu = low == 0 and high >= _INFINITE
    if len(row) == 1 and not (is_relu and last.op_type == "Max"):
        return False
    if is_relu:
        new = ir.node("Relu", [source], name=last.name)
    else:
        stem = name_of(last.outputs[0])
        bounds = [
            add_initializer(graph, name(f"{stem}_{end}"), np.array(number, np.float32))
            if abs(number) < _INFINITE
            else None
            for end, number in (("min", low), ("max", high))
        ]
        new = ir.node("Clip", [source, *bounds], name=last.name)
    graph.insert_before(last, new)
    replace(last.outputs[0], new.outputs[0])
    for node in row:
        graph.remove(node, safe=True)
    return True


def _step(node: ir.Node) -> tuple[ir.Value, float, float] | None:
    """The data and both bounds of what cuts off at numbers."""
    if node.domain != "" or not node.inputs or node.inputs[0] is None:
        return None
    if node.op_type == "Relu":
        return node.inputs[0], 0.0, np.inf
    if node.op_type in ("Min", "Max") and len(node.inputs) == 2:
        for source, other in (node.inputs, node.inputs[::-1]):
            number = scalar(other)
            # A constant of more dimensions than the data would change its shape.
            if number is not None and source is not None and _is_number(other, source):
                bounds = (-np.inf, number) if node.op_type == "Min" else (number, np.inf)
                return source, *bounds
    clipped = clip_bounds(node)
    return (node.inputs[0], *clipped) if clipped is not None and clipped[0] <= clipped[1] else None


def _is_number(value: ir.Value | None, beside: ir.Value) -> bool:
    if value is None or value.shape is None or beside.shape is None:
        return False
    return len(value.shape) <= len(beside.shape) and scalar(beside) is None


def _one_slope(graph: ir.Graph, node: ir.Node) -> bool:
    slope, source = scalar(node.inputs[1]), node.inputs[0]
    if slope is None or source is None or not _is_number(node.inputs[1], source):
        return False
    new = ir.node("LeakyRelu", [source], {"alpha": slope}, name=node.name)
    graph.insert_before(node, new)
    replace(node.outputs[0], new.outputs[0])
    graph.remove(node, safe=True)
    return True
