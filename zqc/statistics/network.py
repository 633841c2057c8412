"""The part of a network whose statistics are known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from passes.canonicalize.batchnorm_to_conv import BatchNormToConv
from passes.canonicalize.fold_arithmetic import FoldArithmetic
from passes.canonicalize.fold_batchnorm import FoldBatchNorm
from passes.graph import add_initializer, constant, remove_unused
from zqc.statistics.known_shapes import infer, shapes_of


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

    At a batch size that the model was not exported for, it is rewritten as far as Reshapes name
    the one that it was exported for. Whether that is all that holds pictures apart is another
    question: ``batch_size.takes_any_batch``.

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
    remove_unused(copy)
    known, before = shapes_of(graph), graph.inputs[0].shape
    _set_batch(graph, shape)
    infer(copy, known, None if before is None else before[0])
    found = {value.name: value for value in graph.outputs if value.name is not None}
    values = [value for node in graph for value in node.outputs]
    for value in (*graph.inputs, *graph.initializers.values(), *values):
        value.name = f"model/{value.name}"
    return copy, found


def _set_batch(graph: ir.Graph, shape: tuple[int, int, int, int]) -> None:
    """Fix the batch size, also where a Reshape names the one it was exported with."""
    source = graph.inputs[0]
    exported = source.shape[0] if source.shape is not None else None
    for node in ir.traversal.RecursiveGraphIterator(graph):
        for output in node.outputs:
            output.shape = None
    for node in graph:
        target = constant(node.inputs[1]) if node.op_type == "Reshape" else None
        named = target is not None and len(target) > 1 and target[0] == exported
        if target is not None and named and exported != shape[0]:
            freed = np.concatenate([[0], target[1:]]).astype(np.int64)
            name = f"{node.outputs[0].name}_batch_shape"
            node.replace_input_with(1, add_initializer(graph, name, freed))
    source.shape = ir.Shape(shape)
