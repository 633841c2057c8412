"""Shape inference, with what onnx's own leaves open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

from passes.lower.fixed_batch import FixedBatch

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


def fixed_copy(model: ir.Model, size: int) -> ir.Model:
    """A copy for batches of one size, its shapes inferred."""
    copy = model.clone()
    FixedBatch(size)(copy)
    infer_shapes(copy)
    return copy


def are_static(names: Sequence[str], values: Mapping[str, ir.Value]) -> bool:
    """Whether all of some values are there, and their shapes are known numbers."""
    shapes = [values[name].shape if name in values else None for name in names]
    return all(shape is not None and shape.is_static() for shape in shapes)


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
