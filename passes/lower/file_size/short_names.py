"""Short names for what quantization inserted."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count

import onnx_ir as ir

from passes.graph import Namer, constant


@dataclass(frozen=True)
class ShortNames(ir.passes.InPlacePass):
    """Rename the tensors between QuantizeLinear, Cast, DequantizeLinear and their readers. Exact.

    In a small network with 4-bit weights these names are a tenth of the file. Everything the user's
    model named keeps its name: inputs, outputs, layers, activations, weights.

    1. Results of QuantizeLinear, DequantizeLinear, Clip of UINT8, and of whatever computes with
       constants alone, unless they are graph outputs: ``0``, ``1``, …; the nodes lose their names.
    2. Scales that are a list, one of them per channel: ``s0``, ``s1``, …
    3. Anything else is left alone.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rename in graph order."""
        graph = model.graph
        name = Namer(graph)
        numbers, scales = count(), count()
        renamed: set[ir.Value] = set()
        computed: set[ir.Value] = set()
        for node in graph:
            if node.inputs and all(v is None or _is_known(v, computed) for v in node.inputs):
                computed.update(node.outputs)
            if _is_inserted(node, computed):
                for output in node.outputs:
                    if not output.is_graph_output():
                        output.name = name(f"{next(numbers)}")
                node.name = ""
            scale = _list_of_scales(node)
            if scale is not None and scale not in renamed:
                scale.name = name(f"s{next(scales)}")
                renamed.add(scale)
        return ir.passes.PassResult(model, modified=True)


def _is_known(value: ir.Value, computed: set[ir.Value]) -> bool:
    """Whether a value does not depend on the inputs of the graph."""
    return value.is_initializer() or value in computed


def _is_inserted(node: ir.Node, computed: set[ir.Value]) -> bool:
    if node.outputs[0] in computed:
        return True
    if node.op_type == "Clip":
        return node.outputs[0].dtype == ir.DataType.UINT8
    return node.op_type in ("QuantizeLinear", "DequantizeLinear")


def _list_of_scales(node: ir.Node) -> ir.Value | None:
    """The scales of a DequantizeLinear per channel that are stored, not computed."""
    if node.op_type != "DequantizeLinear":
        return None
    scale = node.inputs[1]
    scales = constant(scale)
    return scale if scales is not None and scales.ndim else None
