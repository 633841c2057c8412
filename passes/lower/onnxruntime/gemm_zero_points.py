"""Weights of Gemm with the zero points that ONNX Runtime wants to see."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from passes.graph import Namer, add_initializer, constant, producer_of


@dataclass(frozen=True)
class GemmZeroPoints(ir.passes.InPlacePass):
    """Write the zero points of Gemm's weights, which are 0. Exact: 0 is their default.

    ONNX Runtime's QGemm has no default for them, and since pull request 28714 a Gemm whose weights
    have none stays in float. Its MatMul and Conv do not mind.

    1. The DequantizeLinear before a Gemm's second operand, with constant scales and no zero points:
       zeros of the type of the integers, as many as scales.
    2. Anything else is left alone.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Add the zeros; those of equally many scales are written once."""
        graph = model.graph
        name = Namer(graph)
        zeros: dict[tuple[ir.DataType, tuple[int, ...]], ir.Value] = {}
        modified = False
        for node in graph:
            weight = node.inputs[1] if node.op_type == "Gemm" and node.domain == "" else None
            source = producer_of(weight)
            if source is None or source.op_type != "DequantizeLinear":
                continue
            integers, scale = source.inputs[0], constant(source.inputs[1])
            if integers is None or integers.dtype is None or scale is None:
                continue
            if len(source.inputs) > 2 and source.inputs[2] is not None:
                continue
            key = integers.dtype, scale.shape
            if key not in zeros:
                tensor = ir.tensor(np.zeros(scale.shape, key[0].numpy()), dtype=key[0])
                zeros[key] = add_initializer(graph, name(f"zeros_{scale.size}"), tensor)
            source.resize_inputs(3)
            source.replace_input_with(2, zeros[key])
            modified = True
        return ir.passes.PassResult(model, modified)
