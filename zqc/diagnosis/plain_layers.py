"""Layers of integers, written as float layers between pairs of QuantizeLinear and its inverse."""

from __future__ import annotations

import onnx_ir as ir

from passes.graph import Namer


def plain_layers(graph: ir.Graph) -> None:
    """Write QLinearConv and QLinearMatMul as layers between pairs: the same integers."""
    name = Namer(graph)
    for node in list(graph):
        if node.domain != "" or node.op_type not in ("QLinearConv", "QLinearMatMul"):
            continue
        x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero, *rest = node.inputs
        stem = node.name or "layer"

        def dequantized(
            value: ir.Value | None,
            scale: ir.Value | None,
            zero: ir.Value | None,
            what: str,
            node: ir.Node = node,
            stem: str = stem,
            axis: int | None = None,
        ) -> ir.Value:
            attributes = {} if axis is None else {"axis": axis}
            made = ir.node(
                "DequantizeLinear",
                [value, scale, zero],
                attributes=attributes,
                name=name(f"{stem}_{what}"),
            )
            made.outputs[0].name = made.name
            made.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
            graph.insert_before(node, made)
            return made.outputs[0]

        conv = node.op_type == "QLinearConv"
        inputs = [
            dequantized(x, x_scale, x_zero, "x"),
            dequantized(w, w_scale, w_zero, "w", axis=0 if conv else 1),
        ]
        if rest and rest[0] is not None:
            product = ir.node("Mul", [x_scale, w_scale], name=name(f"{stem}_step"))
            product.outputs[0].name = product.name
            graph.insert_before(node, product)
            inputs.append(dequantized(rest[0], product.outputs[0], None, "b", axis=0))
        layer = ir.node(
            "Conv" if conv else "MatMul",
            inputs,
            attributes=dict(node.attributes),
            name=node.name,
        )
        layer.outputs[0].name = name(f"{stem}_y")
        layer.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
        back = ir.node(
            "QuantizeLinear", [layer.outputs[0], y_scale, y_zero], name=name(f"{stem}_q")
        )
        back.outputs[0].name = name(f"{stem}_codes")
        back.outputs[0].type = node.outputs[0].type
        graph.insert_before(node, [layer, back])
        ir.convenience.replace_all_uses_with(
            node.outputs[0], back.outputs[0], replace_graph_outputs=True
        )
        graph.remove(node, safe=True)
