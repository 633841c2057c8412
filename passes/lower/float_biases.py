"""Biases in float, for runtimes that quantize them on their own or not at all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from passes.analysis.topology import weighted_layers
from passes.graph import Namer, add_initializer, constant, producer_of


@dataclass(frozen=True)
class FloatBiases(ir.passes.InPlacePass):
    """Replace an INT32 bias behind DequantizeLinear by what comes out of it. Exact.

    DequantizeLinear makes float32 of the integers and multiplies by the scale, both as here.

    1. Biases of Conv, ConvTranspose and Gemm with a constant scale and zero point 0, or none.
    2. Anything else is left alone.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite every bias that qualifies; the node that nobody reads any more stays behind."""
        graph = model.graph
        name = Namer(graph)
        modified = False
        for layer in weighted_layers(graph):
            bias = layer.inputs[2] if len(layer.inputs) > 2 else None
            node = producer_of(bias)
            if bias is None or node is None or node.op_type != "DequantizeLinear":
                continue
            integers, scale = constant(node.inputs[0]), constant(node.inputs[1])
            zero = constant(node.inputs[2]) if len(node.inputs) > 2 else None
            if integers is None or scale is None or (zero is not None and np.any(zero)):
                continue
            if integers.dtype != np.int32:
                continue
            value = integers.astype(np.float32) * scale
            stem = (bias.name or f"{layer.name}_bias").removesuffix("_dq")
            layer.replace_input_with(2, add_initializer(graph, name(f"{stem}_float"), value))
            modified = True
        return ir.passes.PassResult(model, modified)
