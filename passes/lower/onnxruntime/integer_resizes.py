"""Nearest-neighbour enlargement as copies of integers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from passes.graph import Namer, constant, known_sizes, replace
from passes.lower.onnxruntime.integer_layout import IntegerLayout
from passes.qdq import equal_pairs


@dataclass(frozen=True)
class IntegerResizes(ir.passes.InPlacePass):
    """Write Resize to a multiple of the size, nearest neighbour, as copies of integers. Exact.

    ONNX Runtime's Resize wants the channels first, between two transpositions, and looks every
    pixel up. With the channels last a pixel is a run of channels and a row a run of pixels, so that
    two Concats of a tensor with itself copy whole runs.

    1. Resize between a pair and another one of the same scale and zero point that repeats every
       row and every column a whole number of times: ``asymmetric`` with ``floor``, or
       ``half_pixel`` and ``pytorch_half_pixel`` with a mode that rounds to the nearest.
    2. Declined: other modes and grids, another operator in between, open sizes, sizes that are
       no multiple.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite every Resize that qualifies."""
        graph = model.graph
        name = Namer(graph)
        modified = False
        for node in list(graph):
            if node.op_type == "Resize" and node.domain == "" and _repeats(node):
                modified = _rewrite(graph, node, name) or modified
        return ir.passes.PassResult(model, modified)


def _rewrite(graph: ir.Graph, node: ir.Node, name: Namer) -> bool:
    pair = equal_pairs(node)
    sizes, new_sizes = known_sizes(node.inputs[0]), known_sizes(node.outputs[0])
    if pair is None or not sizes or not new_sizes or sizes[0] != new_sizes[0]:
        return False
    channels, height, width = sizes
    rows, columns = new_sizes[1] // height, new_sizes[2] // width
    if (rows * height, columns * width) != new_sizes[1:]:
        return False
    integers, quantizer = pair
    chain = IntegerLayout(graph, integers, node.name or "resize", name)
    if columns > 1:
        chain.repeat(columns, axis=3)
    if rows > 1:
        chain.reshape(-1, height, width * columns * channels).repeat(rows, axis=2)
    chain.reshape(-1, height * rows, width * columns, channels)
    chain.end()
    graph.insert_before(node, chain.nodes)
    replace(quantizer.outputs[0], chain.value)
    graph.remove([quantizer, node], safe=True)
    return True


def _repeats(node: ir.Node) -> bool:
    """Whether a whole number of copies is what the node makes, if the sizes say so."""
    mode, coordinates, nearest = (
        attribute.as_string() if (attribute := node.attributes.get(key)) is not None else default
        for key, default in (
            ("mode", "nearest"),
            ("coordinate_transformation_mode", "half_pixel"),
            ("nearest_mode", "round_prefer_floor"),
        )
    )
    factors = constant(node.inputs[2]) if len(node.inputs) > 2 else None
    if mode != "nearest" or (factors is not None and np.any(factors != np.rint(factors))):
        return False
    # The centre of a copy lies less than half a pixel from that of the pixel.
    if coordinates in {"half_pixel", "pytorch_half_pixel"}:
        return nearest in {"round_prefer_floor", "round_prefer_ceil"}
    return coordinates == "asymmetric" and nearest == "floor"
