"""What the graph of a detector shows of its outputs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from passes.operators import PAIR, PICKING, SELECTING, WEIGHTED
from zqc.detection.conventions.convention import Facts

_GATHERING = frozenset({"GatherElements", "GatherND"})
_MOVING = SELECTING | PAIR | _GATHERING | {"Cast", "Concat"}
_CONSTANT = frozenset({"Constant", "ConstantOfShape", "Range", "Shape"})
_ALL_DATA = frozenset({"Add", "Concat", "Div", "Max", "Min", "Mul", "Pow", "Sub", "Sum", "Where"})
"""Operators whose inputs are all values; the others have sizes and places beside the first."""


def value_of(facts: Facts, output: str) -> ir.Value | None:
    """The value behind an output, where the graph is known and has it."""
    if facts.graph is None:
        return None
    return next((value for value in facts.graph.outputs if value.name == output), None)


def computed_by(value: ir.Value) -> set[str]:
    """Operators between a value and the layers before it, without those that only move values.

    Empty where the value comes from layers as it is.
    """
    types = {node.op_type for node in _walk(value)}
    return types - _MOVING - _CONSTANT - WEIGHTED


def sizes_before(value: ir.Value) -> list[int]:
    """Output channels of the nearest layers before a value, in the order in which they are joined.

    -1 stands for what is not known.
    """
    layers = (node for node in _walk(value) if node.op_type in WEIGHTED)
    return [_channels(node) for node in layers]


def moved_from(value: ir.Value | None) -> ir.Node | None:
    """The node that computes a value, seen through those that only move it; a Concat joins."""
    node = None if value is None else value.producer()
    while node is not None and node.op_type in SELECTING | PAIR | _GATHERING:
        source = node.inputs[0]
        node = None if source is None else source.producer()
    return node


def is_picked(facts: Facts, output: str) -> bool:
    """Whether the graph shows an output behind an operator that picks by values, such as TopK."""
    waiting = [value_of(facts, output)]
    seen: set[ir.Node] = set()
    while waiting:
        source = waiting.pop()
        node = None if source is None else source.producer()
        if node is None or node in seen:
            continue
        seen.add(node)
        if node.op_type in PICKING:
            return True
        if node.op_type not in WEIGHTED:
            waiting += node.inputs
    return False


def score_mask(facts: Facts, output: str) -> NDArray[np.bool_] | None:
    """Which values of an output are scores; None where it is not known.

    Its shape is that of the output without the batch axis.
    """
    parts = [part for part in facts.parts if part.output == output]
    if not parts or any(part.kind == "raw" for part in parts):
        return None
    mask: NDArray[np.bool_] = np.zeros(facts.outputs[output][1:], bool)
    for part in parts:
        if part.mask is not None and part.mask.shape != mask.shape:
            return None
        if part.kind == "scores":
            mask[:] = True if part.mask is None else mask | part.mask
    return mask


def scores_along(facts: Facts, output: str, axis: int) -> NDArray[np.bool_] | None:
    """Which places on an axis of an output (1 is the first behind the batch) hold scores.

    None where it is not known, or not the same for all values of a place.
    """
    mask = score_mask(facts, output)
    if mask is None:
        return None
    places = np.moveaxis(mask, axis - 1, 0).reshape(mask.shape[axis - 1], -1)
    every: NDArray[np.bool_] = np.asarray(places.all(axis=1))
    return every if (places.any(axis=1) == every).all() else None


def _walk(value: ir.Value) -> Iterator[ir.Node]:
    """The nodes before a value up to and with the nearest layers, inputs from left to right."""
    waiting = [value.producer()]
    seen: set[ir.Node] = set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        yield node
        if node.op_type not in WEIGHTED:
            inputs = node.inputs if node.op_type in _ALL_DATA else node.inputs[:1]
            waiting += [source.producer() for source in inputs[::-1] if source is not None]


def _channels(layer: ir.Node) -> int:
    weight = layer.inputs[1] if layer.op_type == "Conv" and len(layer.inputs) > 1 else None
    size = weight.shape[0] if weight is not None and weight.shape is not None else None
    return size if isinstance(size, int) else -1
