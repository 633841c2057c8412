"""All activations as UINT8: what ONNX Runtime's integer kernels on x86 take."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from passes.graph import Namer, add_initializer, constant, scalar
from passes.topology import is_weighted

_RANGES = {
    ir.DataType.INT8: (-128, 127),
    ir.DataType.INT4: (-8, 7),
    ir.DataType.UINT4: (0, 15),
}


@dataclass(frozen=True)
class UnsignedActivations(ir.passes.InPlacePass):
    """Store every quantized tensor as UINT8. Exact: q + 128 with zero point 128 is the same value.

    1. INT8 with zero point 0 → UINT8 with zero point 128. UINT8 stays, with any zero point.
    2. INT4 → UINT8 with zero point 128, and a Clip to 120…135 on the integers between the pair.
    3. UINT4 → UINT8, and a Clip to 0…15. An odd zero point is raised by one, and the Clip with it:
       ONNX Runtime's integer kernels add it before they round, which is only the same when it is
       even (see ``passes.arithmetic``).
    4. A constant operand of an Add or Mul: stored as in case 1.
    5. Weights and biases are left alone.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite every pair."""
        graph = model.graph
        name = Namer(graph)
        zeros: dict[int, ir.Value] = {}
        modified = False
        for node in list(graph):
            if node.op_type == "QuantizeLinear":
                modified = _rewrite_pair(graph, node, zeros, name) or modified
            elif node.op_type == "DequantizeLinear":
                modified = _rewrite_constant(graph, node, zeros, name) or modified
        return ir.passes.PassResult(model, modified)


def _zero(graph: ir.Graph, point: int, zeros: dict[int, ir.Value], name: Namer) -> ir.Value:
    if point not in zeros:
        array = np.array(point, np.uint8)
        zeros[point] = add_initializer(graph, name(f"zero_{point}"), array)
    return zeros[point]


def _rewrite_pair(graph: ir.Graph, node: ir.Node, zeros: dict[int, ir.Value], name: Namer) -> bool:
    kind = node.inputs[2].dtype if len(node.inputs) > 2 and node.inputs[2] is not None else None
    if kind not in _RANGES:
        return False
    low, high = _RANGES[kind]
    point = int(scalar(node.inputs[2]) or 0)
    raised = 128 if low < 0 else point % 2
    zero = _zero(graph, point + raised, zeros, name)
    node.replace_input_with(2, zero)
    quantized = node.outputs[0]
    quantized.type = ir.TensorType(ir.DataType.UINT8)
    readers = list(quantized.uses())
    for use in readers:
        use.node.replace_input_with(2, zero)
    if (low, high) != (-128, 127):
        clipped = integer_clip(graph, node, low + raised, high + raised, name)
        for use in readers:
            use.node.replace_input_with(use.idx, clipped)
    return True


def integer_clip(graph: ir.Graph, after: ir.Node, low: int, high: int, name: Namer) -> ir.Value:
    """Insert Clip(low, high) on the UINT8 output of a node and return the clipped tensor."""
    value = after.outputs[0]
    bounds = [
        add_initializer(graph, name(f"{value.name}_{end}"), np.array(number, np.uint8))
        for end, number in (("min", low), ("max", high))
    ]
    clip = ir.node("Clip", [value, *bounds], name=name(f"{after.name}_clip"))
    clip.outputs[0].name = clip.name
    clip.outputs[0].type, clip.outputs[0].shape = value.type, value.shape
    graph.insert_after(after, clip)
    return clip.outputs[0]


def _rewrite_constant(
    graph: ir.Graph, node: ir.Node, zeros: dict[int, ir.Value], name: Namer
) -> bool:
    value = node.inputs[0]
    integers = constant(value)
    if integers is None or value is None or value.dtype != ir.DataType.INT8:
        return False
    if any(is_weighted(use.node) for use in node.outputs[0].uses()):
        return False
    shifted = (integers.astype(np.int16) + 128).astype(np.uint8)
    node.replace_input_with(0, add_initializer(graph, name(f"{value.name}_unsigned"), shifted))
    node.replace_input_with(2, _zero(graph, 128, zeros, name))
    return True
