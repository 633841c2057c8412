"""Walking up a graph, from a value to what it comes from."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator

import onnx_ir as ir

from passes.graph import producer_of
from passes.operators import PAIR, SELECTING, WEIGHTED

PICKED = SELECTING | PAIR | {"GatherElements", "GatherND"}
"""Operators that move the values of their first input, and compute none."""

MOVING = PICKED | {"Cast", "Concat"}
"""The same, and those that join values or change their type."""

Values = Iterable[ir.Value | None]


def walk(values: Values, before: Callable[[ir.Node], Values]) -> Iterator[ir.Node]:
    """Yield the nodes that values come from, each once, depth first and from left to right.

    Args:
        values: Where to start.
        before: The inputs of a node to go on with.
    """
    waiting = _producers(values)
    seen: set[ir.Node] = set()
    while waiting:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        yield node
        waiting += _producers(before(node))


def moved_inputs(node: ir.Node) -> Values:
    """The inputs of a node that moves values: the others say how, but for a Concat, which joins."""
    return node.inputs if node.op_type == "Concat" else node.inputs[:1]


def sources(value: ir.Value | None, through: Collection[str]) -> Iterator[ir.Node | None]:
    """The nodes that a value is moved from; None for an input or a constant among them."""
    node = producer_of(value)
    if node is None or node.op_type not in through or node.domain != "":
        yield node
        return
    for source in moved_inputs(node):
        yield from sources(source, through)


def layers_before(nodes: Iterable[ir.Node | None]) -> set[ir.Node]:
    """The nearest layers before some nodes, or those nodes where they are layers."""
    starts = [node.outputs[0] for node in nodes if node is not None]
    found = walk(starts, lambda node: () if is_layer(node) else node.inputs)
    return {node for node in found if is_layer(node)}


def is_layer(node: ir.Node) -> bool:
    """Whether a node multiplies by a matrix."""
    return node.op_type in WEIGHTED and node.domain == ""


def _producers(values: Values) -> list[ir.Node]:
    """The nodes behind values, the last first, as a stack takes them."""
    nodes = [producer_of(value) for value in values]
    return [node for node in nodes[::-1] if node is not None]
