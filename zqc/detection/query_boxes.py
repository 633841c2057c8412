"""Boxes in 0…1 of detectors with queries, which end in a Sigmoid as scores do.

DETR, RT-DETR and their kin give classes N × Q × C and boxes N × Q × 4, both from matrix products
over queries. Boxes of detectors with anchors come from a Conv, and rarely from a Sigmoid.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import onnx_ir as ir

from passes.operators import PAIR, SELECTING, WEIGHTED

MOVING = SELECTING | PAIR | {"Cast", "Concat", "GatherElements", "GatherND"}
"""Operators that move values, and compute none."""

_PRODUCTS = frozenset({"Gemm", "MatMul"})


def are_query_boxes(value: ir.Value, outputs: Collection[ir.Value]) -> bool:
    """Whether an output is boxes of queries.

    1. It is N × Q × 4, and no other output has four columns.
    2. All of it comes from Sigmoid, through operators that only move values.
    3. The layers before those are Gemm or MatMul, none a Conv.
    4. Another output is N × Q × C: the classes.

    Args:
        value: An output of a graph with shapes.
        outputs: All outputs of the graph.
    """
    shape = _shape(value)
    if len(shape) != 3 or shape[-1] != 4:
        return False
    others = [_shape(other) for other in outputs if other is not value]
    if any(other[-1:] == (4,) for other in others):
        return False
    if not any(len(other) == 3 and other[:2] == shape[:2] for other in others):
        return False
    squashed = list(sources(value, MOVING))
    if not squashed or any(node is None or node.op_type != "Sigmoid" for node in squashed):
        return False
    return {node.op_type for node in layers_before(squashed)} <= _PRODUCTS


def sources(value: ir.Value | None, through: Collection[str]) -> Iterator[ir.Node | None]:
    """The nodes that a value is moved from; None for an input or a constant among them."""
    node = value.producer() if value is not None else None
    if node is None or node.op_type not in through or node.domain != "":
        yield node
        return
    for source in node.inputs if node.op_type == "Concat" else node.inputs[:1]:
        yield from sources(source, through)


def layers_before(nodes: Collection[ir.Node | None]) -> set[ir.Node]:
    """The nearest layers before some nodes."""
    found: set[ir.Node] = set()
    seen: set[ir.Node] = set()
    waiting = [node for node in nodes if node is not None]
    while waiting:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        if node.op_type in WEIGHTED and node.domain == "":
            found.add(node)
            continue
        producers = (value.producer() for value in node.inputs if value is not None)
        waiting += [producer for producer in producers if producer is not None]
    return found


def _shape(value: ir.Value) -> tuple[int | str | None, ...]:
    if value.shape is None:
        return ()
    return tuple(d if isinstance(d, int) else d.value for d in value.shape)
