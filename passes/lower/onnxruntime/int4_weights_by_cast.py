"""4-bit weights that ONNX Runtime still runs on its 8-bit kernels."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from passes.graph import Namer


@dataclass(frozen=True)
class Int4WeightsByCast(ir.passes.InPlacePass):
    """Put Cast(INT8) between an INT4 initializer and its DequantizeLinear. Exact.

    The file keeps 4 bits a weight. ONNX Runtime (1.23 and later) folds the Cast when it loads the
    model and sees plain INT8 weights; INT4 straight into DequantizeLinear would run in float.
    Layers that share their weights share the Cast.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite every INT4 initializer that is dequantized."""
        graph = model.graph
        name = Namer(graph)
        casts: dict[ir.Value, ir.Value] = {}
        for node in list(graph):
            value = node.inputs[0] if node.op_type == "DequantizeLinear" else None
            if value is None or not value.is_initializer() or value.dtype != ir.DataType.INT4:
                continue
            if value not in casts:
                cast = ir.node(
                    "Cast",
                    [value],
                    attributes={"to": ir.DataType.INT8.value},
                    name=name(f"{value.name}_8"),
                )
                cast.outputs[0].name = cast.name
                cast.outputs[0].type = ir.TensorType(ir.DataType.INT8)
                cast.outputs[0].shape = value.shape
                graph.insert_before(node, cast)
                casts[value] = cast.outputs[0]
            node.replace_input_with(0, casts[value])
        return ir.passes.PassResult(model, bool(casts))
