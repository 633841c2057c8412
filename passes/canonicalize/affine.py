"""Per-channel affine maps y_c = a_c·x_c + b_c, and how they merge into a neighbouring layer.

Shared by the passes that fold BatchNormalization and that fold constant additions and factors.
All arithmetic is done in float64 and rounded once.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from passes.analysis.topology import is_weighted
from passes.graph import (
    Namer,
    channels,
    constant,
    float_attribute,
    int_attribute,
    ints,
    rank,
    replace,
    sole_consumer,
)
from passes.layers import Layer, layer_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Affine:
    """y = factor·source + shift along axis 1.

    Attributes:
        node: The node that computes it.
        source: Its input, shape (N, C, …).
        factor: Shape (C,).
        shift: Shape (C,).
    """

    node: ir.Node
    source: ir.Value
    factor: NDArray[np.float64]
    shift: NDArray[np.float64]


def from_batchnorm(node: ir.Node) -> Affine | None:
    """Read a BatchNormalization in inference form: a = γ/√(σ²+ε), b = β − a·μ."""
    if node.op_type != "BatchNormalization" or node.domain != "":
        return None
    if int_attribute(node, "training_mode", 0):
        logger.debug("%s keeps its BatchNormalization: it is in training mode", node.name)
        return None
    parameters = [constant(value) for value in node.inputs[1:]]
    source = node.inputs[0]
    if source is None or len(parameters) != 4:
        return None
    gamma, beta, mean, variance = (None if p is None else p.astype(np.float64) for p in parameters)
    if gamma is None or beta is None or mean is None or variance is None:
        logger.debug("%s keeps its BatchNormalization: a parameter is computed", node.name)
        return None
    factor = gamma / np.sqrt(variance + float_attribute(node, "epsilon", 1e-5))
    return Affine(node, source, factor, beta - factor * mean)


def from_arithmetic(node: ir.Node) -> Affine | None:
    """Read Add, Sub, Mul or Div of a tensor with a constant that varies along axis 1 at most."""
    if node.op_type not in ("Add", "Sub", "Mul", "Div") or node.domain != "":
        return None
    left, right = node.inputs
    position = 1 if constant(right) is not None else 0
    source = left if position else right
    array = constant(node.inputs[position])
    if source is None or array is None or constant(source) is not None:
        return None
    count, dimensions = channels(source), rank(source)
    if count is None or dimensions is None or array.ndim > dimensions:
        return None
    full = array.reshape((1,) * (dimensions - array.ndim) + array.shape).astype(np.float64)
    if full.size not in (1, count) or full.shape[1] != full.size:
        return None
    vector = np.broadcast_to(full.reshape(-1), (count,))
    one, zero = np.ones(count), np.zeros(count)
    if node.op_type == "Add":
        return Affine(node, source, one, vector)
    if node.op_type == "Sub":
        return Affine(node, source, *((one, -vector) if position else (-one, vector)))
    if node.op_type == "Mul":
        return Affine(node, source, vector, zero)
    if position and np.all(vector != 0):
        return Affine(node, source, 1 / vector, zero)
    return None


def fold_forwards(affine: Affine, name: Namer) -> bool:
    """Merge the map into the layer that produces its source.

    Declines when the source has other readers, when its producer is no Conv, ConvTranspose or plain
    Gemm, or when that layer's weight or bias is computed.
    """
    producer = affine.source.producer()
    if producer is None or sole_consumer(affine.source) is not affine.node:
        return False
    if producer.op_type == "MatMul" or not is_weighted(producer):
        return False
    layer = layer_of(producer)
    if layer is None or not layer.has_constant_bias:
        logger.debug("%s is not folded into %s: computed weights", affine.node.name, producer.name)
        return False
    if producer.op_type == "Gemm" and not (layer.is_plain and rank(affine.source) == 2):
        return False
    bias = layer.bias
    new_bias = affine.shift if bias is None else affine.factor * bias + affine.shift
    layer.set_weight(layer.weight * layer.along_outputs(affine.factor), name)
    layer.set_bias(new_bias, name)
    _bypass(affine.node, producer.outputs[0])
    return True


def fold_backwards(graph: ir.Graph, affine: Affine, name: Namer) -> bool:
    """Merge the map into every layer that reads its output.

    Declines when the output is a graph output, when a reader is no Conv with constant weights, or
    when a Conv pads: the zeros it adds are not b_c, so the borders would be wrong.
    """
    output = affine.node.outputs[0]
    readers = [use.node for use in output.uses()]
    if output.is_graph_output() or not readers:
        return False
    layers = [layer for node in readers if (layer := _takes_input_map(node, output, affine))]
    if len(layers) < len(readers):
        return False
    for layer in layers:
        bias = layer.bias
        added = layer.weight * layer.along_inputs(affine.shift)
        added = added.reshape(layer.outputs, -1).sum(axis=1)
        layer.set_weight(layer.weight * layer.along_inputs(affine.factor), name)
        layer.set_bias(added if bias is None else bias + added, name)
        layer.node.replace_input_with(0, affine.source)
    graph.remove(affine.node, safe=True)
    return True


def _takes_input_map(reader: ir.Node, value: ir.Value, affine: Affine) -> Layer | None:
    layer = layer_of(reader)
    if reader.op_type != "Conv" or reader.inputs[0] is not value:
        return None
    if layer is None or not layer.has_constant_bias:
        return None
    auto_pad = reader.attributes.get("auto_pad")
    pads = any(ints(reader, "pads", ())) or (
        auto_pad is not None and auto_pad.as_string() not in ("NOTSET", "VALID")
    )
    return layer if not pads or not np.any(affine.shift) else None


def _bypass(node: ir.Node, value: ir.Value) -> None:
    """Remove a node; ``value`` takes over the name and the readers of its output."""
    graph = node.graph
    assert graph is not None
    replace(node.outputs[0], value)
    graph.remove(node, safe=True)
