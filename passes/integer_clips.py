"""ReLU and ReLU6 done by the grid or on the integers, so that the layer before them fuses."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from passes.graph import Namer, constant, scalar, sole_consumer
from passes.placement import absorbs_negative
from passes.unsigned_activations import integer_clip


@dataclass(frozen=True)
class IntegerClips(ir.passes.InPlacePass):
    """Remove ReLU and Clip(0, h) before QuantizeLinear to UINT8 with zero point 0. Exact.

    Rounding is monotone and h/Δ is an integer, so round(clip(x, 0, h)/Δ) = min(round(x/Δ)⁺, h/Δ).

    1. ReLU, or the grid's top is at or below h: the saturation of QuantizeLinear does the same.
    2. h is below the grid's top: Clip(0, h/Δ) on the integers.
    3. Declined: somebody else reads the activation, h/Δ is not an integer, or the zero point is
       not 0: saturation then cuts off below zero.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite every activation function that its grid can absorb."""
        graph = model.graph
        name = Namer(graph)
        modified = False
        for node in list(graph):
            modified = _rewrite(graph, node, name) or modified
        return ir.passes.PassResult(model, modified)


def _rewrite(graph: ir.Graph, node: ir.Node, name: Namer) -> bool:
    if not absorbs_negative(node):
        return False
    quantizer = sole_consumer(node.outputs[0])
    if quantizer is None or quantizer.op_type != "QuantizeLinear":
        return False
    zero = constant(quantizer.inputs[2]) if len(quantizer.inputs) > 2 else None
    scale = scalar(quantizer.inputs[1])
    if zero is None or scale is None or zero.dtype != "uint8" or zero != 0:
        return False
    high = scalar(node.inputs[2]) if len(node.inputs) > 2 else None
    if high is not None and high / scale < _top(quantizer):
        if not (high / scale).is_integer():
            return False
        readers = list(quantizer.outputs[0].uses())
        clipped = integer_clip(graph, quantizer, 0, int(high / scale), name)
        for use in readers:
            use.node.replace_input_with(use.idx, clipped)
    quantizer.replace_input_with(0, node.inputs[0])
    graph.remove(node, safe=True)
    return True


def _top(quantizer: ir.Node) -> int:
    """Largest integer that can leave the quantizer: 255, or the bound of a Clip right behind it."""
    reader = sole_consumer(quantizer.outputs[0])
    if reader is not None and reader.op_type == "Clip":
        bound = scalar(reader.inputs[2])
        if bound is not None:
            return int(bound)
    return 255
