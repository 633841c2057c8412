"""The rule by which ONNX Runtime leaves a node in float, read from the graph that it runs.

The rules are those of its QDQ selectors (``qdq_selectors.cc``): every input comes from
DequantizeLinear, the output goes to one QuantizeLinear and nowhere else, and operators that only
move values or compare them need the same scale and zero point on both sides.
"""

from __future__ import annotations

import onnx_ir as ir

from passes.canonicalize.conv_transpose_to_conv import why_not
from passes.graph import constant, producer_of, scalar
from passes.operators import SAME_GRID

FLOAT_LAYERS = frozenset(
    {"Conv", "ConvTranspose", "FusedConv", "FusedGemm", "FusedMatMul", "Gemm", "MatMul"}
)
"""Weighted layers as ONNX Runtime runs them in float."""

_ANY_SCALES = frozenset(
    {
        "Add",
        "AveragePool",
        "Concat",
        "GlobalAveragePool",
        "LeakyRelu",
        "Mul",
        "Sigmoid",
        "Softmax",
        "Where",
    }
)
"""Operators whose integer kernels take any scales."""

_SAME_SCALE = (SAME_GRID - {"Identity"}) | {"ArgMax"}
"""Operators that run on integers where nothing changes the grid."""


def rule_of(node: ir.Node | None) -> str:
    """Say why a node of the executed graph runs in float; None stands for one that is gone."""
    if node is None:
        return "ONNX Runtime made other operators of it"
    if node.op_type == "ConvTranspose":
        attribute = why_not(node)
        return "ONNX Runtime has no integer kernel for ConvTranspose" + (
            f", and no Conv can stand for it: {attribute}" if attribute else ""
        )
    if node.op_type == "Resize" and not _is_nearest(node):
        return "ONNX Runtime resizes integers only in mode nearest"
    is_layer = node.op_type in FLOAT_LAYERS
    if not is_layer and node.op_type not in _ANY_SCALES | _SAME_SCALE:
        return f"ONNX Runtime has no integer kernel for {node.op_type}"
    return (
        of_operands(node)
        or _of_output(node)
        or (_of_layer(node) if is_layer else "")
        or _of_types(node)
        or (_of_grids(node) if node.op_type in _SAME_SCALE else "")
        or _of_signs(node)
        or "ONNX Runtime did not fuse it, by no rule that zqc knows"
    )


def of_operands(node: ir.Node) -> str:
    """Say which operand of a node is float; empty where all of its data are dequantized."""
    for value in _data(node):
        source = value.producer()
        if source is None:
            kind = "constant" if value.is_initializer() else "input"
            return f"its {kind} {value.name} is float"
        if source.op_type != "DequantizeLinear":
            return f"its input is float, from {source.op_type}"
    return ""


def label(node: ir.Node) -> str:
    """The name of a node, or of what it computes."""
    return node.name or node.outputs[0].name or node.op_type


def _data(node: ir.Node) -> list[ir.Value]:
    """The operands that are data: not shapes, indices or a bias."""
    values = [value for value in node.inputs if value is not None]
    if node.op_type in ("Add", "Concat", "Mul"):
        return values
    if node.op_type in FLOAT_LAYERS:
        return values[:2]
    return values[1:] if node.op_type == "Where" else values[:1]


def _of_output(node: ir.Node) -> str:
    for output in node.outputs:
        if output.is_graph_output():
            return "its result is an output of the model"
        readers = [use.node for use in output.uses()]
        others = [reader for reader in readers if reader.op_type != "QuantizeLinear"]
        if others:
            return f"its result is read in float by {others[0].op_type}"
        if len(readers) > 1:
            return "its result is quantized more than once"
    return ""


def _of_layer(node: ir.Node) -> str:
    weight = _pair(node.inputs[1])
    if weight is not None and weight.inputs[0] and weight.inputs[0].dtype == ir.DataType.INT4:
        return "its weights are int4, for which there is no kernel"
    activation = node.attributes.get("activation")
    if activation is not None:
        return f"the grid behind it does not absorb its {activation.as_string()}"
    if len(node.inputs) > 2 and not _fits_products(*node.inputs[:3]):
        return "the scale of its bias is not that of its products"
    return ""


def _of_types(node: ir.Node) -> str:
    operands = _data(node)[:1] if node.op_type in FLOAT_LAYERS else _data(node)
    kinds = {_type(value): None for value in (*operands, *node.outputs)}
    return "" if len(kinds) < 2 else f"it mixes {' and '.join(kinds)}"


def _is_nearest(node: ir.Node) -> bool:
    mode = node.attributes.get("mode")
    return mode is None or mode.as_string() == "nearest"


def _fits_products(*operands: ir.Value | None) -> bool:
    """Whether a bias is float, or has the scale of input times weight."""
    pairs = [_pair(value) for value in operands]
    if any(pair is None for pair in pairs):
        return True
    x, weight, bias = (constant(pair.inputs[1]) for pair in pairs if pair is not None)
    if x is None or weight is None or bias is None:
        return True
    return bool((x * weight == bias).all())


def _of_signs(node: ir.Node) -> str:
    signed = {"int8"} & {_type(value) for value in (*_data(node)[:1], *node.outputs)}
    return "x86 kernels take int8 tensors only where one operator reads them" if signed else ""


def _of_grids(node: ir.Node) -> str:
    pairs = _pair(node.inputs[0]), _pair(node.outputs[0])
    grids = [[scalar(value) for value in pair.inputs[1:3]] for pair in pairs if pair is not None]
    return "" if grids[0] == grids[-1] else "the scales before and behind it differ"


def _pair(value: ir.Value | None) -> ir.Node | None:
    """The DequantizeLinear that a value comes from, or the QuantizeLinear that it goes to."""
    source = producer_of(value)
    if source is not None and source.op_type == "DequantizeLinear":
        return source
    readers = [use.node for use in value.uses()] if value is not None else []
    return next((reader for reader in readers if reader.op_type == "QuantizeLinear"), None)


def _type(value: ir.Value | None) -> str:
    """The type of the integers of a value."""
    pair = _pair(value)
    zero = pair.inputs[2] if pair is not None and len(pair.inputs) > 2 else None
    kind = zero.dtype if zero is not None else None
    return "uint8" if kind is None else kind.name.lower()
