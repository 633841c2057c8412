"""ReLU and ReLU6 done by the grid or on the integers, so that the layer before them fuses."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from passes.analysis.bounds import absorbs_negative, upper_bound
from passes.graph import Namer, constant, scalar, sole_consumer
from passes.qdq import integer_clip, integer_ends, integers_of, pair_of

_LOWEST = {ir.DataType.UINT8: 0, ir.DataType.INT8: -128}


@dataclass(frozen=True)
class IntegerClips(ir.passes.InPlacePass):
    """Remove ReLU and Clip(0, h) before QuantizeLinear whose smallest integer stands for 0. Exact.

    Rounding is monotone and h/Δ is an integer, so round(clip(x, 0, h)/Δ) = min(round(x/Δ)⁺, h/Δ).
    The grids are UINT8 with zero point 0 and INT8 with zero point −128.

    1. ReLU, or the grid's top is at or below h: the saturation of QuantizeLinear does the same.
    2. h is below the grid's top: Clip(0, h/Δ) on the integers. With ``keep_clips`` the Clip stays
       and gets a pair of its own before it, on the same grid, for runtimes that know operators on
       integers by the pairs around them.
    3. Declined: somebody else reads the activation, h/Δ is not an integer, or the zero point is
       another one: saturation then cuts off below zero, or above.

    Attributes:
        keep_clips: Whether no Clip of integers is written.
    """

    keep_clips: bool = False

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite every activation function that its grid can absorb."""
        graph = model.graph
        name = Namer(graph)
        modified = False
        for node in list(graph):
            modified = self._rewrite(graph, node, name) or modified
        return ir.passes.PassResult(model, modified)

    def _rewrite(self, graph: ir.Graph, node: ir.Node, name: Namer) -> bool:
        if not absorbs_negative(node):
            return False
        quantizer = sole_consumer(node.outputs[0])
        if quantizer is None or quantizer.op_type != "QuantizeLinear":
            return False
        lowest = _lowest(quantizer)
        scale = scalar(quantizer.inputs[1])
        if lowest is None or scale is None:
            return False
        high = upper_bound(node)
        top = integer_ends(integers_of(quantizer))[1]
        if high is not None and high / scale < top - lowest:
            if not (high / scale).is_integer():
                return False
            if self.keep_clips:
                return _add_pair(graph, node, quantizer, name)
            readers = list(quantizer.outputs[0].uses())
            clipped = integer_clip(graph, quantizer, lowest, lowest + int(high / scale), name)
            for use in readers:
                use.node.replace_input_with(use.idx, clipped)
        quantizer.replace_input_with(0, node.inputs[0])
        graph.remove(node, safe=True)
        return True


def _lowest(quantizer: ir.Node) -> int | None:
    """The integer that stands for 0 and is the smallest of its type; None where it is not."""
    zero = quantizer.inputs[2] if len(quantizer.inputs) > 2 else None
    point = constant(zero)
    if zero is None or point is None or point.size != 1 or zero.dtype not in _LOWEST:
        return None
    lowest = _LOWEST[zero.dtype]
    return lowest if int(point.reshape(())) == lowest else None


def _add_pair(graph: ir.Graph, clip: ir.Node, quantizer: ir.Node, name: Namer) -> bool:
    """Quantize the input of a Clip as its output is, unless it is so already."""
    value, (scale, zero) = clip.inputs[0], quantizer.inputs[1:3]
    assert value is not None  # what the operator is about
    before = value.producer()
    if before is not None and before.op_type == "DequantizeLinear":
        return False
    pair = pair_of(value, scale, zero, name)
    graph.insert_before(clip, pair)
    clip.replace_input_with(0, pair[1].outputs[0])
    return True
