"""The channels of what a head puts out are brought to one range, which is undone behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from passes.analysis.topology import post_processing, weighted_layers
from passes.graph import Namer, add_initializer, replace, spatial_ones
from passes.layers import Layer, by_weight, rescale, scalable_layer

Floats = NDArray[np.float64]

_LIMIT = 2.0**7
"""Of the factors: a channel that reaches less far is one of 8 bits' rounding errors."""


@dataclass(frozen=True)
class ScaleOutputs(ir.passes.InPlacePass):
    """Multiply channel c of a head's output by s_c, and divide it by s_c in the post-processing.

    One grid serves all channels of a tensor, but the last layer of a detector holds offsets within
    a cell and logits of -60 side by side: a step that suits these is a tenth of a box. With
    s_c = 2^⌊log₂(max_c' m_c' / m_c)⌋ every channel has the power-of-two step of its own range m_c,
    as weights have theirs. Exact to the last bit, and free: only exponents of the layer's weights
    change, and the division is part of the post-processing, which is computed in float anyway.

    1. A Conv or Gemm with constant weights, read by the post-processing or an output of the graph.
    2. Layers that share their weight, as those of a pyramid's levels do: each channel gets the
       smallest of its factors.
    3. Declined: anything between the layer and the post-processing, computed weights, channels of
       which none or only one range is known; a weight that such a layer reads, too.

    Attributes:
        channel_ranges: m, shape (C,), by name of the output: the largest |value| per channel.
    """

    channel_ranges: Mapping[str, Floats]

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Scale every output whose range is known."""
        graph = model.graph
        name = Namer(graph)
        modified = False
        heads = head_outputs(graph)
        for layers in by_weight(graph):
            outputs = [layer.node.outputs[0] for layer in layers]
            known = [self.channel_ranges.get(v.name or "") for v in outputs if v in heads]
            channel_ranges = [each for each in known if each is not None]
            if len(channel_ranges) < len(layers):
                continue
            factors = np.min([_factors(each) for each in channel_ranges], axis=0)
            if np.all(factors == 1):
                continue
            rescale(layers, None, factors, name)
            for layer in layers:
                _divide(graph, layer.node, factors, name)
            modified = True
        return ir.passes.PassResult(model, modified)


def head_outputs(graph: ir.Graph) -> dict[ir.Value, Layer]:
    """Outputs that nobody but the post-processing reads, channels on axis 1, with their layers."""
    tail = post_processing(graph)
    return {
        node.outputs[0]: layer
        for node in weighted_layers(graph)
        if node.op_type in ("Conv", "Gemm")
        and (layer := scalable_layer(node)) is not None
        and all(use.node in tail for use in node.outputs[0].uses())
    }


def _factors(channel_range: Floats) -> Floats:
    """Powers of two, at least 1; 1 for channels that are always 0."""
    ratio = np.divide(
        channel_range.max(), channel_range, out=np.ones_like(channel_range), where=channel_range > 0
    )
    factors: Floats = 2.0 ** np.floor(np.log2(np.clip(ratio, 1.0, _LIMIT)))
    return factors


def _divide(graph: ir.Graph, node: ir.Node, factors: Floats, name: Namer) -> None:
    """Insert y / s behind the layer; the result takes over the name of y and its readers."""
    value = node.outputs[0]
    stem = value.name
    inverse = (1 / factors).astype(np.float32).reshape(1, -1, *spatial_ones(value))
    constant = add_initializer(graph, name(f"{stem}_inverse"), inverse)
    product = ir.node("Mul", [None, constant], name=name(f"{stem}_unscaled"))
    replace(value, product.outputs[0])
    product.replace_input_with(0, value)
    value.name = name(f"{stem}_scaled")
    graph.insert_after(node, product)
