"""What the graph shows of an output: what made its values, and which of them are scores."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Literal

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from passes.graph import constant, producer_of
from passes.operators import PICKING, WEIGHTED
from zqc.detection.conventions.convention import Facts
from zqc.detection.upstream import MOVING, PICKED, Values, sources, walk

Activation = Literal["sigmoid", "softmax", "none"]
"""What scores have been through; ``none`` means that they are logits."""

_ACTIVATIONS: dict[str, Activation] = {"Sigmoid": "sigmoid", "Softmax": "softmax"}
_LOGITS = WEIGHTED | {"Add"}
_CONSTANT = frozenset({"Constant", "ConstantOfShape", "Range", "Shape"})
_ALL_DATA = frozenset({"Add", "Concat", "Div", "Max", "Min", "Mul", "Pow", "Sub", "Sum", "Where"})
"""Operators whose inputs are all values; the others have sizes and places beside the first."""


def output_value(facts: Facts, name: str) -> ir.Value | None:
    """The value of an output in the graph, where that can be read."""
    if facts.graph is None:
        return None
    return next((value for value in facts.graph.outputs if value.name == name), None)


def makers(value: ir.Value | None) -> set[str]:
    """Types of the operators that computed the values, before they were only moved.

    A constant or an input among them counts as ``""``.
    """
    return {"" if node is None else node.op_type for node in sources(value, MOVING)}


def moved_from(value: ir.Value | None) -> ir.Node | None:
    """The one node that computes or joins a value, seen through those that only move it."""
    return next(sources(value, PICKED))


def activation(value: ir.Value | None) -> Activation | None:
    """What scores have been through; None where it cannot be told."""
    found = makers(value)
    if found <= _LOGITS:
        return "none"
    return _ACTIVATIONS.get(found.pop()) if len(found) == 1 else None


def output_activation(facts: Facts, name: str) -> Activation | None:
    """The same of an output."""
    return activation(output_value(facts, name))


def are_logits(facts: Facts, names: Collection[str]) -> bool | None:
    """Whether scores are still to go through the sigmoid.

    None where it cannot be told, where some are and some are not, or where they have been through
    something else.
    """
    kinds = {output_activation(facts, name) for name in names}
    return kinds == {"none"} if kinds in ({"none"}, {"sigmoid"}) else None


def computed_by(value: ir.Value) -> set[str]:
    """Operators between a value and the layers before it, without those that only move values.

    Empty where the value comes from layers as it is.
    """
    types = {node.op_type for node in _up_to_layers(value)}
    return types - MOVING - _CONSTANT - WEIGHTED


def sizes_before(value: ir.Value) -> list[int]:
    """Output channels of the nearest layers before a value, in the order in which they are joined.

    -1 stands for what is not known.
    """
    return [_channels(node) for node in _up_to_layers(value) if node.op_type in WEIGHTED]


def is_picked(facts: Facts, output: str) -> bool:
    """Whether the graph shows an output behind an operator that picks by values, such as TopK."""
    nodes = walk(
        [output_value(facts, output)],
        lambda node: () if node.op_type in WEIGHTED else node.inputs,
    )
    return any(node.op_type in PICKING for node in nodes)


def has_operator(facts: Facts, *types: str) -> bool:
    """Whether the graph has an operator of one of these types, in its subgraphs too."""
    return facts.graph is not None and any(n.op_type in types for n in facts.graph.all_nodes())


def array_of(value: ir.Value | None) -> NDArray[Any] | None:
    """A constant as exporters write it: an initializer, a Constant, or what is moved from one."""
    while (node := producer_of(value)) is not None:
        if node.op_type == "Constant" and "value" in node.attributes:
            return np.asarray(node.attributes["value"].as_tensor().numpy())
        if node.op_type not in ("Identity", "Transpose", "DequantizeLinear"):
            return None
        value = node.inputs[0]
    return constant(value)


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


def _up_to_layers(value: ir.Value) -> Iterator[ir.Node]:
    """The nodes before a value up to and with the nearest layers."""

    def before(node: ir.Node) -> Values:
        if node.op_type in WEIGHTED:
            return ()
        return node.inputs if node.op_type in _ALL_DATA else node.inputs[:1]

    return walk([value], before)


def _channels(layer: ir.Node) -> int:
    weight = layer.inputs[1] if layer.op_type == "Conv" and len(layer.inputs) > 1 else None
    size = weight.shape[0] if weight is not None and weight.shape is not None else None
    return size if isinstance(size, int) else -1
