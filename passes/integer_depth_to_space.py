"""DepthToSpace between integer layers, in the order in which ONNX Runtime keeps their tensors."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from passes.graph import Namer, add_initializer, int_attribute, replace, scalar, sole_consumer

logger = logging.getLogger(__name__)

_TO_LAST, _TO_FIRST = (0, 2, 3, 1), (0, 3, 1, 2)


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
    source, behind = node.inputs[0], sole_consumer(node.outputs[0])
    before = source.producer() if source is not None else None
    if before is None or behind is None or not _same_grid(before, behind):
        return "it does not stand between equal pairs"
    mode = node.attributes.get("mode")
    if mode is not None and mode.as_string() == "CRD":
        return "its mode is CRD"
    integers = before.inputs[0]
    shape = integers.shape if integers is not None else None
    if integers is None or shape is None or not all(isinstance(n, int) for n in list(shape)[1:]):
        return "its size is unknown"
    channels, height, width = (int(str(n)) for n in list(shape)[1:])
    size = int_attribute(node, "blocksize", 1)
    depth = channels // size**2
    stem = behind.outputs[0].name or "shuffled"
    new: list[ir.Node] = []

    def add(kind: str, *inputs: ir.Value, perm: tuple[int, ...] | None = None) -> ir.Value:
        attributes = None if perm is None else {"perm": perm}
        made = ir.node(kind, inputs, attributes, name=name(f"{node.name}_{kind}"))
        made.outputs[0].name, made.outputs[0].type = name(f"{stem}_{kind.lower()}"), integers.type
        new.append(made)
        return made.outputs[0]

    def shaped(value: ir.Value, *sizes: int) -> ir.Value:
        target = add_initializer(graph, name(f"{stem}_shape"), np.array(sizes, np.int64))
        return add("Reshape", value, target)

    blocks = shaped(add("Transpose", integers, perm=_TO_LAST), -1, height, width, size, size, depth)
    rows = add("Transpose", blocks, perm=(0, 1, 3, 2, 4, 5))
    whole = shaped(rows, -1, height * size, width * size, depth)
    add("Transpose", whole, perm=_TO_FIRST)
    graph.insert_before(node, new)
    replace(behind.outputs[0], new[-1].outputs[0])
    graph.remove([behind, node], safe=True)
    return ""


def _same_grid(before: ir.Node, behind: ir.Node) -> bool:
    """Whether integers stay what they are from one pair to the next."""
    if (before.op_type, behind.op_type) != ("DequantizeLinear", "QuantizeLinear"):
        return False
    grids = [tuple(map(scalar, node.inputs[1:3])) for node in (before, behind)]
    integers = before.inputs[0]
    same = grids[0] == grids[1] and len(grids[0]) == 2 and None not in grids[0]
    return same and integers is not None and integers.dtype == behind.outputs[0].dtype
