"""Layers that were kept in float stay in float."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from passes.analysis.topology import weighted_layers
from passes.graph import Namer, constant, producer_of


@dataclass(frozen=True)
class FloatBarriers(ir.passes.InPlacePass):
    """Put Max(y), of one operand, behind layers with float weights. Exact: Max of one is itself.

    ONNX Runtime quantizes the weights of a float layer by itself, per tensor and to INT8, when its
    input is dequantized and its output quantized again. That is what the user did not want; no
    option in the file says so, but an operator in between does.

    1. A Conv, ConvTranspose, Gemm or MatMul with a constant float weight behind DequantizeLinear.
    2. Anything else is left alone.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Insert a Max behind every layer that qualifies."""
        graph = model.graph
        name = Namer(graph)
        modified = False
        for node in weighted_layers(graph):
            source = producer_of(node.inputs[0])
            quantized = source is not None and source.op_type == "DequantizeLinear"
            if not quantized or constant(node.inputs[1]) is None:
                continue
            output = node.outputs[0]
            readers = list(output.uses())
            if output.is_graph_output() or not readers:
                continue
            barrier = ir.node("Max", [output], name=name(f"{node.name}_float"))
            barrier.outputs[0].name = barrier.name
            barrier.outputs[0].type, barrier.outputs[0].shape = output.type, output.shape
            for use in readers:
                use.node.replace_input_with(use.idx, barrier.outputs[0])
            graph.insert_after(node, barrier)
            modified = True
        return ir.passes.PassResult(model, modified)
