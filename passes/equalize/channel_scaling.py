"""The edits that scale the channels of layers and of clips."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from passes.analysis.coupled_channels import LayerParameters
from passes.graph import Namer, add_initializer, int_attribute, replace, spatial_ones

Floats = NDArray[np.float64]


def rescale_layer(
    graph: ir.Graph,
    node: ir.Node,
    layer: LayerParameters,
    source: Floats | None,
    target: Floats | None,
    name: Namer,
) -> None:
    """Write W·s_out/s_in and b·s_out; the old constants may be shared, so they are left alone.

    Args:
        graph: The graph of the node.
        node: A layer.
        layer: Its constants.
        source: Factors of its input channels, None for 1.
        target: Factors of its output channels, None for 1.
        name: Names the new constants.
    """
    if source is None and target is None:
        return
    before = np.ones(layer.inputs) if source is None else source
    after = np.ones(layer.outputs) if target is None else target
    groups = int_attribute(node, "group", 1)
    # Group g maps its own inputs to its own outputs: blocks on the diagonal of a matrix.
    matrix = after.reshape(groups, -1, 1) / before.reshape(groups, 1, -1)
    weight = layer.weight
    if node.op_type == "Conv":
        factor = matrix.reshape(layer.outputs, -1)
    elif node.op_type == "ConvTranspose":
        factor = matrix.swapaxes(1, 2).reshape(layer.inputs, -1)
    else:
        factor = matrix[0] if int_attribute(node, "transB", 0) else matrix[0].T
    scaled = weight * factor.reshape(factor.shape + (1,) * (weight.ndim - 2))
    _replace_constant(graph, node, 1, scaled, name)
    if target is not None and layer.bias is not None:
        _replace_constant(graph, node, 2, layer.bias * target, name)


def split_clip(graph: ir.Graph, node: ir.Node, bound: float, factor: Floats, name: Namer) -> None:
    """Replace Clip(x, 0, h) by Relu(Min(x, h·s)), or by Relu(x) where h is infinite."""
    source, output = node.inputs[0], node.outputs[0]
    assert source is not None
    nodes = []
    if np.isfinite(bound):
        bounds = (bound * factor).astype(np.float32).reshape(-1, *spatial_ones(output))
        constant = add_initializer(graph, name(f"{output.name}_bounds"), bounds)
        nodes.append(ir.node("Min", [source, constant], name=name(f"{node.name}_Min")))
        source = nodes[0].outputs[0]
        source.name, source.type, source.shape = (
            name(f"{output.name}_min"),
            output.type,
            output.shape,
        )
    nodes.append(ir.node("Relu", [source], name=name(f"{node.name}_Relu")))
    graph.insert_before(node, nodes)
    replace(output, nodes[-1].outputs[0])
    graph.remove(node, safe=True)


def _replace_constant(
    graph: ir.Graph, node: ir.Node, index: int, array: NDArray[np.floating], name: Namer
) -> None:
    old = node.inputs[index]
    stem = name(old.name if old is not None and old.name else f"{node.name}_{index}")
    node.replace_input_with(index, add_initializer(graph, stem, array.astype(np.float32)))
