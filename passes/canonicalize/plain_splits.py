"""Pieces of a tensor that exporters take out of a sequence come straight from a Split."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from passes.graph import Namer, add_initializer, constant, int_attribute, replace, scalar

_SPLIT_OPSET = 13
"""The first in which Split takes its sizes as an input."""


@dataclass(frozen=True)
class PlainSplits(ir.passes.InPlacePass):
    """Write SplitToSequence and the SequenceAt behind it as one Split. Exact.

    ``torch.export`` writes every split so where nobody simplifies it. A sequence has one shape for
    all of its pieces, which is none where they differ in size, and nothing behind it has a grid.

    1. SplitToSequence into constant sizes that only SequenceAt at constant places reads: a Split,
       whose outputs take their place. One size for all needs the size of the axis to be known.
    2. Left alone: without sizes, before opset 13, and what else reads the sequence.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Look at every SplitToSequence."""
        graph = model.graph
        if model.opset_imports.get("", 0) < _SPLIT_OPSET:
            return ir.passes.PassResult(model, modified=False)
        name = Namer(graph)
        modified = False
        for node in list(graph):
            if node.op_type == "SplitToSequence" and node.domain == "":
                modified |= _split(graph, node, name)
        return ir.passes.PassResult(model, modified)


def _split(graph: ir.Graph, node: ir.Node, name: Namer) -> bool:
    """Case 1."""
    sizes, sequence = _sizes(node), node.outputs[0]
    readers = [use.node for use in sequence.uses()]
    places = [scalar(reader.inputs[1]) if len(reader.inputs) > 1 else None for reader in readers]
    if (
        sizes is None
        or sequence.is_graph_output()
        or any(reader.op_type != "SequenceAt" or reader.graph is not graph for reader in readers)
        or any(place is None or not -len(sizes) <= place < len(sizes) for place in places)
    ):
        return False
    wanted = name(f"{sequence.name}_sizes")
    split = ir.node(
        "Split",
        [node.inputs[0], add_initializer(graph, wanted, np.array(sizes, np.int64))],
        {"axis": int_attribute(node, "axis", 0)},
        num_outputs=len(sizes),
        name=name(f"{node.name}_split"),
    )
    for index, piece in enumerate(split.outputs):
        piece.name = name(f"{sequence.name}_{index}")
    graph.insert_before(node, split)
    taken: dict[int, ir.Value] = {}
    for reader, place in zip(readers, places, strict=True):
        index = int(place or 0) % len(sizes)
        if index in taken or reader.outputs[0].is_graph_output():
            copy = ir.node("Identity", [split.outputs[index]], name=name(f"{reader.name}_copy"))
            copy.outputs[0].name = name(f"{sequence.name}_{index}")
            graph.insert_before(reader, copy)
            replace(reader.outputs[0], copy.outputs[0])
        else:
            replace(reader.outputs[0], split.outputs[index])
            taken[index] = split.outputs[index]
    graph.remove([*readers, node], safe=True)
    return True


def _sizes(node: ir.Node) -> list[int] | None:
    """The sizes of the pieces along the axis, as far as they are constant."""
    split = constant(node.inputs[1]) if len(node.inputs) > 1 else None
    if split is None:
        return None
    if split.ndim:
        return [int(size) for size in split]
    shape, size = (node.inputs[0].shape if node.inputs[0] is not None else None), int(split)
    axis = int_attribute(node, "axis", 0)
    whole = shape[axis] if shape is not None and -len(shape) <= axis < len(shape) else None
    if not isinstance(whole, int) or whole < 1 or size < 1:
        return None
    rest = whole % size
    return [size] * (whole // size) + [rest] * bool(rest)
