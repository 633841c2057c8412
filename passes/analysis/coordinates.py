"""Which tensors hold coordinates, or decide what is selected: an analysis, no edit."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import onnx_ir as ir

from passes.analysis.bounds import absorbs_negative
from passes.analysis.topology import (
    is_expectation,
    is_weighted,
    nested_inputs,
    post_processing,
)
from passes.graph import constant, is_float, sole_consumer

_SINKS: Mapping[str, Collection[int]] = {
    "ArgMax": (0,),
    "ArgMin": (0,),
    "GridSample": (1,),
    "NonMaxSuppression": (0, 1),
    "RoiAlign": (1,),
    "TopK": (0,),
}
"""Inputs that say where something is, or what comes first: operator type → their places."""

_MEASURES = frozenset({"Shape", "Size"})
"""Operators that look at no value."""

_NEEDS_GRID = frozenset({"Conv", "ConvTranspose"})
"""Layers that run on integers only where their result is on a grid, too."""


def coordinate_values(graph: ir.Graph) -> set[ir.Value]:
    """Find what only selects, or says where to look: queries' scores, reference points, boxes.

    A step of a grid over 0…1 is wider than a pixel, and equal scores are selected by chance. So
    these stay in float, from the layer that makes them to the layers that read them:

    1. a tensor from which a way without layers leads to what places or ranks something (the grid
       of GridSample, the boxes of RoiAlign, what TopK or NonMaxSuppression look at), where all
       the other ways lead there, too, or into layers or the post-processing,
    2. what is computed from such tensors and constants alone, as the sines of a position are, with
       the same ends,
    3. what a Gemm or MatMul hands to the post-processing alone.

    Not among them is the result of a Conv, perhaps behind a ReLU: it runs on integers only where
    its result is on a grid. A layer that reads one of them has it on a grid of its own; the
    expectation over softmaxed bins of D-FINE counts as none, as in the post-processing.

    Args:
        graph: A graph with types, before it is quantized.
    """
    tail = post_processing(graph)
    placing = _placing(graph, tail)
    known = _computed_from(graph, placing, tail)
    closed = _closed(graph, known, tail)
    found = _computed_from(graph, placing & closed, tail) & closed
    return (found | _last_products(graph, tail)) - _results_of_convolutions(graph)


def wants_grid(node: ir.Node) -> bool:
    """Whether a node that reads a coordinate is a layer: all but the expectation over bins."""
    return is_weighted(node) and not is_expectation(node)


def _placing(graph: ir.Graph, tail: Collection[ir.Node]) -> set[ir.Value]:
    """The tensors from which a way without layers leads to a sink, before the post-processing."""
    found: set[ir.Value] = set()
    for node in reversed(graph):
        if node in tail or wants_grid(node):
            continue
        places = _SINKS.get(node.op_type, ()) if node.domain == "" else ()
        hands_on = any(value in found for value in node.outputs)
        for index, value in enumerate(node.inputs):
            if _is_data(value) and value is not None and (hands_on or index in places):
                found.add(value)
    return found


def _computed_from(
    graph: ir.Graph, sources: Collection[ir.Value], tail: Collection[ir.Node]
) -> set[ir.Value]:
    """The sources, and what comes from them and constants without a layer."""
    found = set(sources)
    for node in graph:
        data = [value for value in nested_inputs(node) if _is_data(value)]
        if node in tail or wants_grid(node) or not data:
            continue
        if all(value in found for value in data):
            found.update(value for value in node.outputs if is_float(value))
    return found


def _closed(
    graph: ir.Graph, known: Collection[ir.Value], tail: Collection[ir.Node]
) -> set[ir.Value]:
    """The tensors of ``known`` that meet no features before a layer or the post-processing."""
    closed: set[ir.Value] = set()

    def ends(node: ir.Node, index: int) -> bool:
        if node in tail or wants_grid(node) or node.op_type in _MEASURES:
            return True
        results = [value for value in node.outputs if is_float(value) and value.uses()]
        if index in _SINKS.get(node.op_type, ()) and node.op_type != "TopK":
            return True
        return all(value in closed for value in results)

    for node in reversed(graph):
        for value in node.outputs:
            if value in known and all(ends(*use) for use in value.uses()):
                closed.add(value)
    return closed


def _last_products(graph: ir.Graph, tail: Collection[ir.Node]) -> set[ir.Value]:
    return {
        value
        for node in graph
        if wants_grid(node) and node not in tail
        for value in node.outputs
        if value.uses() and all(use.node in tail for use in value.uses())
    }


def _results_of_convolutions(graph: ir.Graph) -> set[ir.Value]:
    found = set()
    for node in graph:
        if node.domain == "" and node.op_type in _NEEDS_GRID:
            value = node.outputs[0]
            found.add(value)
            reader = sole_consumer(value)
            while reader is not None and absorbs_negative(reader):
                value = reader.outputs[0]
                found.add(value)
                reader = sole_consumer(value)
    return found


def _is_data(value: ir.Value | None) -> bool:
    return value is not None and is_float(value) and constant(value) is None
