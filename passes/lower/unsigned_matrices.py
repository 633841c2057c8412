"""Constant matrices as UINT8: what Qualcomm's MatMul takes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from passes.graph import Namer, add_initializer, constant, producer_of, scalar


@dataclass(frozen=True)
class UnsignedMatrices(ir.passes.InPlacePass):
    """Store the quantized constant of a MatMul as UINT8 with zero point 128. Exact.

    1. INT8 and INT4 behind a DequantizeLinear with one scale and zero point 0, or none.
    2. Declined: a scale per column (see ``ScalarScales``), other zero points.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite every matrix that qualifies."""
        graph = model.graph
        name = Namer(graph)
        unsigned: dict[ir.Value, ir.Value] = {}
        for layer in graph:
            if layer.op_type != "MatMul" or layer.domain != "":
                continue
            weight = layer.inputs[1]
            node = producer_of(weight)
            if node is None or node.op_type != "DequantizeLinear" or node.inputs[0] is None:
                continue
            integers = constant(node.inputs[0])
            if integers is None or node.inputs[0].dtype not in (
                ir.DataType.INT8,
                ir.DataType.INT4,
            ):
                continue
            if scalar(node.inputs[1]) is None or (len(node.inputs) > 2 and scalar(node.inputs[2])):
                continue
            source, stem = node.inputs[0], node.inputs[0].name
            if source not in unsigned:
                stored = (integers.astype(np.int16) + 128).astype(np.uint8)
                unsigned[source] = add_initializer(graph, name(f"{stem}_unsigned"), stored)
            node.replace_input_with(0, unsigned[source])
            node.resize_inputs(3)
            zero = np.array(128, np.uint8)
            node.replace_input_with(2, add_initializer(graph, name(f"{stem}_zero"), zero))
        return ir.passes.PassResult(model, bool(unsigned))
