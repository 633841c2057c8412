"""DepthToSpace between integer layers, in the order in which ONNX Runtime keeps their tensors."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import onnx_ir as ir

from passes.graph import Namer, int_attribute, known_sizes, replace
from passes.lower.onnxruntime.integer_layout import IntegerLayout
from passes.qdq import equal_pairs

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class IntegerDepthToSpace(ir.passes.InPlacePass):
    """Shuffle pixels of 8-bit integers with the channels last. Exact: nothing is computed.

    ONNX Runtime keeps the tensors of integer layers with the channels last. Its DepthToSpace wants
    them first, and so costs two transpositions; its selectors knew none until lately. Written
    as Transpose → Reshape → Transpose → Reshape → Transpose, the first and the last cancel against
    those of the layers, and the one in the middle moves whole runs of channels.

    1. Between a pair and another one of the same scale and zero point: from integers to integers.
    2. Declined: another grid behind it, other readers in between, sizes that are unknown, mode CRD,
       whose channels are no runs.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite every DepthToSpace that stands between equal pairs."""
        graph = model.graph
        name = Namer(graph)
        modified = False
        for node in list(graph):
            if node.op_type == "DepthToSpace" and node.domain == "":
                reason = _rewrite(graph, node, name)
                modified = modified or not reason
                if reason:
                    logger.debug("%s stays a DepthToSpace: %s", node.name, reason)
        return ir.passes.PassResult(model, modified)


def _rewrite(graph: ir.Graph, node: ir.Node, name: Namer) -> str:
    """Replace the node and the quantizer behind it, or say why not."""
    pair, sizes = equal_pairs(node), known_sizes(node.inputs[0])
    if pair is None:
        return "it does not stand between equal pairs"
    mode = node.attributes.get("mode")
    if mode is not None and mode.as_string() == "CRD":
        return "its mode is CRD"
    if not sizes:
        return "its size is unknown"
    integers, behind = pair
    channels, height, width = sizes
    size = int_attribute(node, "blocksize", 1)
    depth = channels // size**2
    chain = IntegerLayout(graph, integers, node.name or "shuffle", name)
    chain.reshape(-1, height, width, size, size, depth).swap(6, 2)
    chain.reshape(-1, height * size, width * size, depth)
    moved = chain.end()
    graph.insert_before(node, chain.nodes)
    replace(behind.outputs[0], moved)
    graph.remove([behind, node], safe=True)
    return ""
