"""Boxes in 0…1 of detectors with queries, which end in a Sigmoid as scores do.

DETR, RT-DETR and their kin give classes N × Q × C and boxes N × Q × 4, both from matrix products
over queries. Boxes of detectors with anchors come from a Conv, and rarely from a Sigmoid.
"""

from __future__ import annotations

from collections.abc import Collection

import onnx_ir as ir

from zqc.detection.upstream import MOVING, layers_before, sources

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


def _shape(value: ir.Value) -> tuple[int | str | None, ...]:
    if value.shape is None:
        return ()
    return tuple(d if isinstance(d, int) else d.value for d in value.shape)
