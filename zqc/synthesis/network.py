"""The part of a model that the synthesis differentiates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass, ShapeInferencePass

from passes.analysis.topology import is_expectation, last_layers
from passes.canonicalize.batchnorm_to_conv import BatchNormToConv
from passes.canonicalize.fold_arithmetic import FoldArithmetic
from passes.canonicalize.fold_batchnorm import FoldBatchNorm
from passes.graph import add_initializer, constant


@dataclass(frozen=True)
class Head:
    """A raw output of the detector, before any decoding.

    Attributes:
        output: Name of the output of a last layer.
        last: Index of the matched layer next before it; None if there is none.
    """

    output: str
    last: int | None


def heads(model: ir.Model, matched: Sequence[str]) -> tuple[Head, ...]:
    """Find the outputs of the last layers that no statistics constrain, in graph order."""
    before = _constrained(model.graph, matched)
    return tuple(
        Head(str(node.outputs[0].name), _before(node, matched))
        for node in last_layers(model.graph)
        if node not in before and not is_expectation(node)
    )


def _constrained(graph: ir.Graph, matched: Sequence[str]) -> set[ir.Node]:
    """The nodes that compute a matched value or something that one is computed from."""
    found: set[ir.Node] = set()
    for node in reversed(graph):
        if node in found or any(value.name in matched for value in node.outputs):
            found.add(node)
            producers = (value.producer() for value in node.inputs if value is not None)
            found.update(producer for producer in producers if producer is not None)
    return found


def _before(node: ir.Node, matched: Sequence[str]) -> int | None:
    """Breadth first, so that the nearest one is found."""
    queue, seen = [node], {node}
    while queue:
        for value in queue.pop(0).inputs:
            if value is not None and value.name in matched:
                return matched.index(value.name)
            producer = None if value is None else value.producer()
            if producer is not None and producer not in seen:
                seen.add(producer)
                queue.append(producer)
    return None


def fold_batchnorm(model: ir.Model) -> None:
    """Make every BatchNormalization part of a layer, in place.

    Folding leaves to a layer the name of the last value that it took over.
    """
    fold = FoldArithmetic(), FoldBatchNorm(backwards=False), BatchNormToConv()
    ir.passes.Sequential(*fold)(model)


def matched_part(
    model: ir.Model, wanted: Sequence[str], shape: tuple[int, int, int, int]
) -> tuple[ir.Model, dict[str, ir.Value]]:
    """Cut out what computes some values, with BatchNorm folded, for one batch size.

    BatchNorm is folded before it is differentiated: the folded output is compared with its own
    targets, which is the same loss at half of the work.

    Args:
        model: The model; it is not changed.
        wanted: Names of the values.
        shape: Shape of a batch of the input, (N, C, H, W).

    Returns:
        A model whose outputs are the values, all shapes inferred, and the values by the names that
        they have in ``model``. Every name in it begins with ``model/``, apart from all that is
        added to it later.
    """
    copy = model.clone()
    graph = copy.graph
    names = set(wanted)
    graph.outputs.clear()  # before anything is folded, so that no wanted value is
    graph.outputs.extend(v for node in graph for v in node.outputs if v.name in names)
    fold_batchnorm(copy)
    RemoveUnusedNodesPass()(copy)
    _set_batch(graph, shape)
    ShapeInferencePass()(copy)
    found = {value.name: value for value in graph.outputs if value.name is not None}
    values = [value for node in graph for value in node.outputs]
    for value in (*graph.inputs, *graph.initializers.values(), *values):
        value.name = f"model/{value.name}"
    return copy, found


def _set_batch(graph: ir.Graph, shape: tuple[int, int, int, int]) -> None:
    """Fix the batch size, also where a Reshape names the one it was exported with."""
    source = graph.inputs[0]
    exported = source.shape[0] if source.shape is not None else None
    for node in graph:
        for output in node.outputs:
            output.shape = None
        target = constant(node.inputs[1]) if node.op_type == "Reshape" else None
        if target is not None and len(target) > 1 and target[0] == exported:
            freed = np.concatenate([[0], target[1:]]).astype(np.int64)
            name = f"{node.outputs[0].name}_batch_shape"
            node.replace_input_with(1, add_initializer(graph, name, freed))
    source.shape = ir.Shape(shape)
