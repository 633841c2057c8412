"""The part of a model that the synthesis differentiates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from passes.analysis.topology import is_expectation, last_layers


@dataclass(frozen=True)
class Head:
    """A raw output of the detector, before any decoding.

    Attributes:
        output: Name of the output of a last layer.
        last: Index of the matched layer next before it; None if there is none.
    """

    output: str
    last: int | None


def heads(model: ir.Model, matched: Sequence[str]) -> tuple[Head, ...]:
    """Find the outputs of the last layers that no statistics constrain, in graph order."""
    before = _constrained(model.graph, matched)
    return tuple(
        Head(str(node.outputs[0].name), _before(node, matched))
        for node in last_layers(model.graph)
        if node not in before and not is_expectation(node)
    )


def _constrained(graph: ir.Graph, matched: Sequence[str]) -> set[ir.Node]:
    """The nodes that compute a matched value or something that one is computed from."""
    found: set[ir.Node] = set()
    for node in reversed(graph):
        if node in found or any(value.name in matched for value in node.outputs):
            found.add(node)
            producers = (value.producer() for value in node.inputs if value is not None)
            found.update(producer for producer in producers if producer is not None)
    return found


def _before(node: ir.Node, matched: Sequence[str]) -> int | None:
    """Breadth first, so that the nearest one is found."""
    queue, seen = [node], {node}
    while queue:
        for value in queue.pop(0).inputs:
            if value is not None and value.name in matched:
                return matched.index(value.name)
            producer = None if value is None else value.producer()
            if producer is not None and producer not in seen:
                seen.add(producer)
                queue.append(producer)
    return None
