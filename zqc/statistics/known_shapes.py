"""Shape inference with what is known of operators that it does not know."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from zqc.autodiff.shapes import infer_shapes


def shapes_of(graph: ir.Graph) -> dict[ir.Value, ir.Shape]:
    """The shapes of all values of a graph, as far as they are known."""
    return {v: v.shape for node in graph for v in node.outputs if v.shape is not None}


def infer(model: ir.Model, known: Mapping[ir.Value, ir.Shape], exported: object) -> None:
    """Infer the shapes of a model whose batch has changed, in place.

    Where inference ends, at the outputs of operators that onnx knows nothing of, it goes on with
    the shape from before, its first dimension changed as that of the input.

    Args:
        model: A model without shapes, apart from those of its input and parameters.
        known: The shapes from before.
        exported: First dimension of the input from before: a size or a name.
    """
    batch = model.graph.inputs[0].shape
    infer_shapes(model)
    while batch is not None and _filled(model.graph, known, exported, batch[0]):
        infer_shapes(model)


def _filled(
    graph: ir.Graph,
    known: Mapping[ir.Value, ir.Shape],
    exported: object,
    batch: int | ir.SymbolicDim,
) -> bool:
    """Fill in the shapes at which inference ended; return whether there are any."""
    filled = False
    for node in graph:
        if any(value is not None and _is_open(value) for value in node.inputs):
            continue  # the next round may infer it
        for value in node.outputs:
            before = known.get(value)
            if before is None or not _is_open(value):
                continue
            follows = exported is not None and len(before) > 0 and before[0] == exported
            value.shape = ir.Shape([batch, *before.dims[1:]]) if follows else before
            filled = filled or not _is_open(value)
    return filled


def _is_open(value: ir.Value) -> bool:
    return value.shape is None or not value.shape.is_static()
