"""What a constant added to a layer's input adds to its output, and the bias that takes it out."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from passes.graph import (
    Namer,
    add_initializer,
    constant,
    float_attribute,
    int_attribute,
    is_float,
    producer_of,
)
from passes.qdq import dequantized_constant, dequantized_scale

_INT32 = np.iinfo(np.int32)


def weight_sums(layer: ir.Node) -> NDArray[np.float64] | None:
    """ΣW over kernel and input channels (of a group): what 1 more in the input adds to each output.

    Returns:
        Shape (C_out,), exact for quantized weights with power-of-two scales. None where an output
        channel has no single number: a ConvTranspose (its borders and the phases of its stride meet
        different weights), a Conv with ``auto_pad`` SAME, a Gemm with α or β other than 1, a
        computed weight, another operator.
    """
    if layer.domain != "" or len(layer.inputs) < 2:
        return None
    weight = dequantized_constant(layer.inputs[1])
    if weight is None:
        return None
    if layer.op_type == "Conv":
        auto = layer.attributes.get("auto_pad")
        if auto is not None and auto.as_string() not in ("NOTSET", "VALID"):
            return None
        return np.asarray(weight.sum(axis=tuple(range(1, weight.ndim))))
    if layer.op_type == "Gemm":
        plain = float_attribute(layer, "alpha", 1.0) == float_attribute(layer, "beta", 1.0) == 1.0
        axis = 1 if int_attribute(layer, "transB", 0) else 0
        return np.asarray(weight.sum(axis=axis)) if plain else None
    return (
        np.asarray(weight.sum(axis=0)) if layer.op_type == "MatMul" and weight.ndim == 2 else None
    )


def corrected_bias(
    graph: ir.Graph, layer: ir.Node, change: NDArray[np.float64], name: Namer
) -> ir.Value | None:
    """Return the bias of a Conv or Gemm less ``change``, a new value that is stored as the old one.

    A bias behind DequantizeLinear stays there, on the scale s_x·s_w: v·ΣW is a multiple of it, so
    nothing is rounded. A layer without a bias gets one.

    Args:
        graph: Gets the new constants.
        layer: The layer; it is not changed.
        change: Shape (C_out,).
        name: For the new values.

    Returns:
        None where the old bias is computed or the new one is no INT32 on the old one's scale.
    """
    old = layer.inputs[2] if len(layer.inputs) > 2 else None
    stem = f"{layer.name}_bias" if old is None or old.name is None else old.name
    bias = np.zeros(len(change)) if old is None else dequantized_constant(old)
    if bias is None or (old is not None and not is_float(old)):
        return None
    scale, corrected = _bias_scale(layer, old), bias - change
    if scale is None:
        stored = corrected.astype(np.float32)
        return add_initializer(graph, name(f"{stem}_unshifted"), stored)
    integers = corrected / scale.astype(np.float64)
    exact = np.array_equal(integers, np.rint(integers))
    if not exact or integers.min() < _INT32.min or integers.max() > _INT32.max:
        return None
    inputs = [
        add_initializer(graph, name(f"{stem}_unshifted"), integers.astype(np.int32)),
        add_initializer(graph, name(f"{stem}_step"), scale),
    ]
    dq = ir.node("DequantizeLinear", inputs, attributes={"axis": 0}, name=name(f"{stem}_dq"))
    dq.outputs[0].name = dq.name
    dq.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
    dq.outputs[0].shape = ir.Shape(integers.shape)
    graph.insert_before(layer, dq)
    return dq.outputs[0]


def _bias_scale(layer: ir.Node, bias: ir.Value | None) -> NDArray[np.float32] | None:
    """The scale of the bias, s_x·s_w for one that is not there yet; None for a float bias."""
    if bias is not None:
        node = bias.producer()
        return constant(node.inputs[1]) if node is not None else None
    step = dequantized_scale(layer.inputs[0])
    node = producer_of(layer.inputs[1])
    scale = constant(node.inputs[1]) if node is not None else None
    return None if step is None or scale is None else (scale * np.float32(step)).reshape(-1)
