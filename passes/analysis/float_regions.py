"""Which tensors stand between operators that are computed in float anyway: an analysis, no edit."""

from __future__ import annotations

from collections.abc import Collection

import onnx_ir as ir

from passes.operators import WITHOUT_INTEGER_KERNELS

_EITHER = frozenset({"Add", "Mul"})


def float_values(region: Collection[ir.Node]) -> set[ir.Value]:
    """Find the tensors that nobody gains anything from quantizing.

    1. What an operator without integer kernels hands on to such operators alone: the inside of a
       GELU or LayerNormalization that is written in parts. A pair there would cost two passes over
       the tensor and an error, and keep the runtime from seeing what the parts are.
    2. Add and Mul count among them where an operand as large as the result comes from one of them
       and goes to no other kind. The gate of squeeze-and-excite is small, so its product with the
       features is none.

    Args:
        region: Nodes that may be quantized, in graph order.
    """
    members = set(region)
    floats = {
        node for node in members if node.domain == "" and node.op_type in WITHOUT_INTEGER_KERNELS
    }
    changed = True
    while changed:
        joined = {
            node
            for node in members - floats
            if node.op_type in _EITHER
            and node.domain == ""
            and any(_is_float_operand(value, node, floats) for value in node.inputs)
        }
        changed = bool(joined)
        floats |= joined
    return {
        value
        for node in floats
        for value in node.outputs
        if not value.is_graph_output()
        and value.uses()
        and all(use.node in floats for use in value.uses())
    }


def _is_float_operand(value: ir.Value | None, reader: ir.Node, floats: Collection[ir.Node]) -> bool:
    if value is None or value.shape is None or value.shape != reader.outputs[0].shape:
        return False
    others = (use.node for use in value.uses() if use.node is not reader)
    return value.producer() in floats and all(node in floats for node in others)
