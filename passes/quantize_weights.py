"""Integer weights and biases behind DequantizeLinear."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from passes.arithmetic import exponent_of, quantize, scales, weight_exponents
from passes.graph import Namer, add_initializer, constant, float_attribute, int_attribute
from passes.quantize_activations import dequantized_scale
from passes.topology import first_layers, last_layers, weighted_layers

logger = logging.getLogger(__name__)

_TYPES = {8: ir.DataType.INT8, 4: ir.DataType.INT4}

_BIAS_LIMIT = float(2**30)
"""Half of the INT32 range: the other half is room for the sum of products."""


@dataclass(frozen=True)
class QuantizeWeights(ir.passes.InPlacePass):
    """Quantize the constants of every layer whose input is quantized. Lossy.

    1. Weights: per output channel, symmetric, power-of-two thresholds of least squared error;
       an error of at most Δ/2 per weight inside the threshold.
    2. Biases: INT32 with the scale s_x·s_w of the products they are added to. Where a bias would
       not fit, the threshold of its channel is raised until it does.
    3. Declined: a layer whose input is float, whose weight is computed (attention), or that is
       named in ``keep_float``; the bias of a Gemm with α or β other than 1 stays float.

    Attributes:
        bits: Bits of the weights, 8 or 4.
        edge_bits: Bits of the weights of the first and the last layers.
        keep_float: Names of nodes that stay float.
    """

    bits: int = 8
    edge_bits: int = 8
    keep_float: Collection[str] = ()

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Quantize layer by layer."""
        graph = model.graph
        name = Namer(graph)
        edges = {*first_layers(graph), *last_layers(graph)}
        modified = False
        for node in weighted_layers(graph):
            scale = dequantized_scale(node.inputs[0])
            weight = constant(node.inputs[1])
            if weight is None or scale is None or node.name in self.keep_float:
                logger.debug("%s keeps float weights", node.name)
                continue
            bits = self.edge_bits if node in edges else self.bits
            _quantize_layer(graph, node, weight, scale, bits, name)
            modified = True
        return ir.passes.PassResult(model, modified)


def output_axis(node: ir.Node, weight: NDArray[np.floating]) -> int:
    """Axis of the weight along which the output channels of a layer run."""
    if node.op_type == "ConvTranspose":
        return 1
    if node.op_type == "Gemm":
        return 0 if int_attribute(node, "transB", 0) else 1
    return 0 if node.op_type == "Conv" else weight.ndim - 1


def _quantize_layer(
    graph: ir.Graph,
    node: ir.Node,
    weight: NDArray[np.floating],
    input_scale: float,
    bits: int,
    name: Namer,
) -> None:
    axis = output_axis(node, weight)
    exponents = weight_exponents(weight, bits=bits, axis=axis)
    bias_value = node.inputs[2] if len(node.inputs) > 2 else None
    bias = constant(bias_value)
    plain = node.op_type != "Gemm" or (
        float_attribute(node, "alpha", 1.0) == float_attribute(node, "beta", 1.0) == 1.0
    )
    # The channels of a grouped ConvTranspose share scales: bias c belongs to scale c mod (C/g).
    repeats = 1 if bias is None else max(bias.size // len(exponents), 1)
    if bias is not None and plain and bias.size == repeats * len(exponents):
        largest = np.abs(bias.astype(np.float64)).reshape(repeats, -1).max(axis=0)
        needed = exponent_of(largest / (input_scale * _BIAS_LIMIT)) + bits - 1
        exponents = np.maximum(exponents, np.where(largest > 0, needed, exponents))
    scale = scales(exponents, bits=bits, signed=True)
    shape = [-1 if i == axis else 1 for i in range(weight.ndim)]
    integers = quantize(weight, scale.reshape(shape), bits=bits, signed=True)
    value = node.inputs[1]
    assert value is not None
    stored = _TYPES[bits]
    tensor = ir.tensor(integers.astype(stored.numpy()), dtype=stored)
    node.replace_input_with(1, _dequantize(graph, node, value, tensor, scale, axis, name))
    if bias is not None and bias_value is not None and plain:
        bias_scale = np.tile(scale * np.float32(input_scale), repeats)
        rounded = np.rint(bias.astype(np.float64) / bias_scale).astype(np.int32)
        dequantized = _dequantize(graph, node, bias_value, ir.tensor(rounded), bias_scale, 0, name)
        node.replace_input_with(2, dequantized)


def _dequantize(
    graph: ir.Graph,
    node: ir.Node,
    replaced: ir.Value,
    integers: ir.TensorProtocol,
    scale: NDArray[np.float32],
    axis: int,
    name: Namer,
) -> ir.Value:
    stem = replaced.name or f"{node.name}_parameter"
    inputs = [
        add_initializer(graph, name(f"{stem}_q"), integers),
        add_initializer(graph, name(f"{stem}_s"), scale),
    ]
    dq = ir.node("DequantizeLinear", inputs, attributes={"axis": axis}, name=name(f"{stem}_dq"))
    dq.outputs[0].name = dq.name
    dq.outputs[0].type, dq.outputs[0].shape = replaced.type, replaced.shape
    graph.insert_before(node, dq)
    return dq.outputs[0]
