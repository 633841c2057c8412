"""Bias scales computed at load instead of stored."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from passes.analysis.topology import weighted_layers
from passes.graph import Namer, constant, producer_of, scalar


@dataclass(frozen=True)
class DerivedBiasScales(ir.passes.InPlacePass):
    """Write the scale of a bias as Mul(s_x, s_w). Exact: both are powers of two.

    The product of two constants is folded when the runtime loads the model, and the file does not
    hold a float per channel that says nothing new: in small layers that is 4 % of an 8-bit file.

    1. The scales of input, weight and bias are constants and the product is the bias's scale.
    2. Anything else is left alone, a bias of fewer than 16 channels too (the node would be larger).
    """

    smallest: int = 16

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite every bias that qualifies."""
        graph = model.graph
        name = Namer(graph)
        modified = False
        for node in weighted_layers(graph):
            if len(node.inputs) < 3:
                continue
            dequantizers = [producer_of(v) for v in node.inputs[:3]]
            if any(dq is None or dq.op_type != "DequantizeLinear" for dq in dequantizers):
                continue
            x, w, b = (dq.inputs[1] for dq in dequantizers if dq is not None)
            bias_scale, weight_scale, input_scale = constant(b), constant(w), scalar(x)
            if bias_scale is None or weight_scale is None or input_scale is None:
                continue
            if bias_scale.size < self.smallest or not np.array_equal(
                bias_scale, weight_scale * np.float32(input_scale)
            ):
                continue
            product = ir.node("Mul", [x, w], name=name(f"{node.name}_bias_scale"))
            product.outputs[0].name = product.name
            reader = dequantizers[2]
            assert reader is not None
            graph.insert_before(reader, product)
            reader.replace_input_with(1, product.outputs[0])
            modified = True
        return ir.passes.PassResult(model, modified)
