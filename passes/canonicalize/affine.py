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

from passes.graph import (
    Namer,
    add_initializer,
    channels,
    constant,
    float_attribute,
    int_attribute,
    ints,
    rank,
    replace,
    sole_consumer,
)

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


def fold_forwards(graph: ir.Graph, affine: Affine, name: Namer) -> bool:
    """Merge the map into the layer that produces its source.

    Declines when the source has other readers, when its producer is no Conv, ConvTranspose or plain
    Gemm, or when that layer's weight or bias is computed.
    """
    layer = affine.source.producer()
    if layer is None or sole_consumer(affine.source) is not affine.node:
        return False
    if layer.op_type == "Gemm":
        plain = float_attribute(layer, "alpha", 1.0) == float_attribute(layer, "beta", 1.0) == 1.0
        axis = 0 if int_attribute(layer, "transB", 0) else 1
        foldable = plain and rank(affine.source) == 2
    else:
        axis = 0
        foldable = layer.op_type in ("Conv", "ConvTranspose") and layer.domain == ""
    if not foldable:
        return False
    weight = constant(layer.inputs[1])
    bias_value = layer.inputs[2] if len(layer.inputs) > 2 else None
    bias = constant(bias_value)
    if weight is None or (bias_value is not None and bias is None):
        logger.debug("%s is not folded into %s: computed weights", affine.node.name, layer.name)
        return False
    if layer.op_type == "ConvTranspose":
        # W is (C_in, C_out/groups, …): output channel g·(C_out/groups)+j stands in group g's rows.
        groups = int_attribute(layer, "group", 1)
        per_row = affine.factor.reshape(groups, -1).repeat(weight.shape[0] // groups, axis=0)
        factor = per_row.reshape(per_row.shape + (1,) * (weight.ndim - 2))
    else:
        factor = affine.factor.reshape([-1 if i == axis else 1 for i in range(weight.ndim)])
    new_bias = affine.shift if bias is None else affine.factor * bias + affine.shift
    _set_parameters(graph, layer, weight * factor, new_bias, name)
    _bypass(affine.node, layer.outputs[0])
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
    if not all(_takes_input_map(reader, output, affine) for reader in readers):
        return False
    for reader in readers:
        weight = constant(reader.inputs[1])
        assert weight is not None  # _takes_input_map
        groups = int_attribute(reader, "group", 1)
        spatial = (1,) * (weight.ndim - 2)
        rows = weight.shape[0] // groups
        factor = (
            affine.factor.reshape(groups, -1).repeat(rows, 0).reshape(-1, weight.shape[1], *spatial)
        )
        shift = (
            affine.shift.reshape(groups, -1).repeat(rows, 0).reshape(-1, weight.shape[1], *spatial)
        )
        bias = constant(reader.inputs[2]) if len(reader.inputs) > 2 else None
        added = (weight * shift).reshape(weight.shape[0], -1).sum(axis=1)
        _set_parameters(
            graph, reader, weight * factor, added if bias is None else bias + added, name
        )
        reader.replace_input_with(0, affine.source)
    graph.remove(affine.node, safe=True)
    return True


def _takes_input_map(reader: ir.Node, value: ir.Value, affine: Affine) -> bool:
    if reader.op_type != "Conv" or reader.inputs[0] is not value:
        return False
    if constant(reader.inputs[1]) is None:
        return False
    if (
        len(reader.inputs) > 2
        and reader.inputs[2] is not None
        and constant(reader.inputs[2]) is None
    ):
        return False
    auto_pad = reader.attributes.get("auto_pad")
    pads = any(ints(reader, "pads", ())) or (
        auto_pad is not None and auto_pad.as_string() not in ("NOTSET", "VALID")
    )
    return not pads or not np.any(affine.shift)


def _set_parameters(
    graph: ir.Graph,
    layer: ir.Node,
    weight: NDArray[np.floating],
    bias: NDArray[np.floating],
    name: Namer,
) -> None:
    """Give the layer new constants; the old ones may be shared, so they are left alone."""
    old = layer.inputs[1]
    stem = old.name if old is not None and old.name else f"{layer.name}_weight"
    bias_value = layer.inputs[2] if len(layer.inputs) > 2 else None
    bias_stem = bias_value.name if bias_value is not None and bias_value.name else f"{stem}_bias"
    new_weight = add_initializer(graph, name(stem), weight.astype(np.float32))
    new_bias = add_initializer(graph, name(bias_stem), bias.astype(np.float32))
    layer.replace_input_with(1, new_weight)
    if len(layer.inputs) < 3:
        layer.resize_inputs(3)
    layer.replace_input_with(2, new_bias)


def _bypass(node: ir.Node, value: ir.Value) -> None:
    """Remove a node; ``value`` takes over the name and the readers of its output."""
    graph = node.graph
    assert graph is not None
    replace(node.outputs[0], value)
    graph.remove(node, safe=True)
