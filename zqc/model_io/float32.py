"""Half-precision models in float32: the same numbers, and all that zqc works with."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from zqc.model_io import upgrade

HALVES = frozenset({ir.DataType.FLOAT16, ir.DataType.BFLOAT16})
"""Every number of these types is one of float32."""

_NAMES_OF_TYPES = ("to", "dtype")
"""Attributes whose number is a type: of Cast, and of what draws or counts numbers."""


def cast_up(model: ir.Model) -> ir.Model:
    """Return a model with float32 in the place of every half-precision float.

    Parameters keep their values, and what is computed from them is rounded less. Casts between
    the two types, which mixed models are full of, do nothing any more and are taken out.

    Args:
        model: Its constants are initializers. It is changed where there is anything to do, and
            returned as it is where there is not.
    """
    nodes = list(ir.traversal.RecursiveGraphIterator(model.graph))
    graphs = dict.fromkeys([model.graph, *(node.graph for node in nodes if node.graph)])
    values = [value for graph in graphs for value in (*graph.inputs, *graph.initializers.values())]
    values += [output for node in nodes for output in node.outputs]
    changed = [_cast_up(value) for value in dict.fromkeys(values)]
    changed += [_without_halves(node) for node in nodes]
    if not any(changed):
        return model
    typed = ir.from_proto(upgrade.infer_shapes(ir.to_proto(model)))
    for node in list(ir.traversal.RecursiveGraphIterator(typed.graph)):
        _take_out(node)
    return typed


def _cast_up(value: ir.Value) -> bool:
    """Give a value, and the parameter that it may be, the type float32."""
    tensor = value.const_value
    if tensor is not None and tensor.dtype in HALVES:
        value.const_value = ir.tensor(tensor.numpy().astype(np.float32), name=value.name)
    if value.dtype not in HALVES:
        return False
    value.dtype = ir.DataType.FLOAT
    return True


def _without_halves(node: ir.Node) -> bool:
    """Say float32 in the attributes of a node that say a half."""
    found = False
    for name, attribute in list(node.attributes.items()):
        if attribute.is_ref():
            continue
        if name in _NAMES_OF_TYPES and attribute.type is ir.AttributeType.INT:
            if attribute.as_int() in HALVES:
                node.attributes[name] = ir.AttrInt64(name, int(ir.DataType.FLOAT))
                found = True
        elif attribute.type is ir.AttributeType.TENSOR and attribute.as_tensor().dtype in HALVES:
            array = attribute.as_tensor().numpy().astype(np.float32)
            node.attributes[name] = ir.AttrTensor(name, ir.tensor(array))
            found = True
    return found


def _take_out(node: ir.Node) -> None:
    """Remove a Cast of float32 to float32, unless it joins an input to an output."""
    if node.op_type != "Cast" or node.domain not in ("", "ai.onnx") or node.graph is None:
        return
    source, result = node.inputs[0], node.outputs[0]
    if source is None or source.dtype is not ir.DataType.FLOAT:
        return
    if node.attributes["to"].as_int() != ir.DataType.FLOAT:
        return
    if result.is_graph_output():
        if source.producer() is None or source.is_graph_output() or source.graph is not node.graph:
            return
        name = result.name
        ir.convenience.replace_all_uses_with(result, source, replace_graph_outputs=True)
        result.name, source.name = None, name
    else:
        ir.convenience.replace_all_uses_with(result, source)
    node.graph.remove(node, safe=True)
