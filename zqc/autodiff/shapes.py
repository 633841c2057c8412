"""Shape inference, with what onnx's own leaves open."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

_AS_THE_INPUT = frozenset(
    {
        ("", "GroupNormalization"),
        ("", "MeanVarianceNormalization"),
        ("com.microsoft", "BiasGelu"),
        ("com.microsoft", "FastGelu"),
        ("com.microsoft", "Gelu"),
        ("com.microsoft", "QuickGelu"),
    }
)
"""Operators that keep the shape of their first input, which onnx does not know of them."""


def infer_shapes(model: ir.Model) -> None:
    """Infer the shapes and types of all values, in place, as far as they can be told."""
    ShapeInferencePass()(model)
    while _filled(model.graph):
        ShapeInferencePass()(model)


def _filled(graph: ir.Graph) -> bool:
    """Give outputs the shape of the input where both are the same; whether any was given."""
    found = False
    for node in graph:
        if (node.domain, node.op_type) in _AS_THE_INPUT and node.inputs[0] is not None:
            source, output = node.inputs[0], node.outputs[0]
            if output.shape is None and source.shape is not None:
                output.shape, output.type = source.shape, output.type or source.type
                found = True
    return found
