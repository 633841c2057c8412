"""Clips before 4-bit tensors: a form that ONNX Runtime can load."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from passes.graph import Namer, replace

_NARROW = (ir.DataType.INT4, ir.DataType.UINT4)


@dataclass(frozen=True)
class SplitClips(ir.passes.InPlacePass):
    """Write Clip(x, l, h) before QuantizeLinear to INT4 or UINT4 as Max(Min(x, h), l). Exact.

    ONNX Runtime looks whether the grid makes such a Clip superfluous, whatever the type, and then
    refuses the model: "Unexpected data type for QuantizeLinear input y_zero_point of 21".

    1. Clips with one bound or two that a QuantizeLinear of 4 bits reads.
    2. Anything else is left alone.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite every Clip that qualifies."""
        graph = model.graph
        name = Namer(graph)
        modified = False
        for node in list(graph):
            if node.op_type != "Clip" or node.domain != "" or not _is_before_4_bits(node):
                continue
            value = node.inputs[0]
            low, high = (*node.inputs[1:], None, None)[:2]
            steps = []
            for op_type, bound in (("Min", high), ("Max", low)):
                if bound is not None:
                    stem = f"{node.name}_{op_type.lower()}"
                    steps.append(ir.node(op_type, [value, bound], name=name(stem)))
                    value = steps[-1].outputs[0]
                    value.name, value.type = steps[-1].name, node.outputs[0].type
                    value.shape = node.outputs[0].shape
            if value is None or not steps:
                continue
            graph.insert_before(node, steps)
            replace(node.outputs[0], value)
            graph.remove(node, safe=True)
            modified = True
        return ir.passes.PassResult(model, modified)


def _is_before_4_bits(node: ir.Node) -> bool:
    return any(
        use.node.op_type == "QuantizeLinear" and use.node.outputs[0].dtype in _NARROW
        for use in node.outputs[0].uses()
    )
