"""Operators that do nothing at inference go."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from passes.graph import constant


@dataclass(frozen=True)
class DropIdle(ir.passes.InPlacePass):
    """Remove Dropout, and casts of a tensor to the type that it has. Exact.

    1. Dropout whose ``training_mode`` is missing or false, whatever its ratio, and whose mask
       nobody reads. (Until opset 11 there is no such input: a Dropout is idle.)
    2. Cast and CastLike to the type of their input. So PyTorch's exporter writes its constants,
       which nothing can fold while a tensor is asked for its type.
    3. CastLike to another type that is known: Cast.
    4. What is an output of the model: Identity, so that its name stays.
    5. Left alone: computed training modes, unknown types.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Go through the nodes of the graph."""
        modified = False
        for node in list(model.graph):
            if node.domain != "":
                continue
            if _is_idle(node):
                _bypass(model.graph, node)
                modified = True
            elif node.op_type == "CastLike" and (kind := _dtype(node.inputs[1])) is not None:
                node.op_type = "Cast"
                node.attributes["to"] = ir.AttrInt64("to", kind.value)
                node.resize_inputs(1)
                modified = True
        return ir.passes.PassResult(model, modified)


def _is_idle(node: ir.Node) -> bool:
    if node.op_type == "Dropout":
        mode = node.inputs[2] if len(node.inputs) > 2 else None
        flag = constant(mode)
        training = mode is not None and (flag is None or bool(flag.any()))
        return not training and not any(v.uses() or v.is_graph_output() for v in node.outputs[1:])
    if node.op_type not in ("Cast", "CastLike"):
        return False
    kind = _dtype(node.inputs[0])
    if kind is None:
        return False
    if node.op_type == "CastLike":
        return kind == _dtype(node.inputs[1])
    return node.attributes["to"].as_int() == kind.value


def _dtype(value: ir.Value | None) -> ir.DataType | None:
    return value.dtype if value is not None else None


def _bypass(graph: ir.Graph, node: ir.Node) -> None:
    source, output = node.inputs[0], node.outputs[0]
    assert source is not None  # the operators have one
    if output.is_graph_output():
        node.op_type = "Identity"
        node.attributes.clear()
        node.resize_inputs(1)
        node.resize_outputs(1)
        return
    ir.convenience.replace_all_uses_with(output, source)
    graph.remove(node, safe=True)
