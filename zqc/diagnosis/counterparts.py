"""Which layer of a quantized model is which one of the float model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from passes.layers import Layer
from zqc.diagnosis.blocks import Columns
from zqc.diagnosis.quantized_model import QuantizedLayer

_ALIKE = 0.5
"""Correlation of weights from which two layers without a common name are taken to be the same."""


@dataclass(frozen=True)
class Match:
    """A layer of the float model and what became of it.

    Attributes:
        layer: The layer.
        quantized: Its counterpart.
        found_by: What they have in common: their name, their weights, or their place.
        weight: The weights of the counterpart as they would stand in the layer.
        bias: Its bias likewise; None where neither of them has one.
        factors: What the channels of its output are multiplied by in the quantized model and not
            in the float one, (C,): it is divided by that behind the layer.
        columns: How its columns are grouped; None where they are not.
    """

    layer: Layer
    quantized: QuantizedLayer
    found_by: Literal["name", "weights", "order"]
    weight: NDArray[np.float64]
    bias: NDArray[np.float64] | None
    factors: NDArray[np.float64]
    columns: Columns | None = None

    def output(self, values: NDArray[np.generic]) -> NDArray[np.float64]:
        """What the counterpart puts out, in the form and the units of the layer."""
        plain = values if self.columns is None else self.columns.plain_output(values)
        axis = plain.ndim - 1 if self.layer.node.op_type == "MatMul" else 1
        shape = [-1 if index == axis else 1 for index in range(plain.ndim)]
        return plain.astype(np.float64) / self.factors.reshape(shape)

    def exact_output(self, values: NDArray[np.generic]) -> NDArray[np.generic]:
        """What the layer puts out in the place of its counterpart, in its own form."""
        return values if self.columns is None else self.columns.plain_output(values)


def matches(layers: Sequence[Layer], quantized: Sequence[QuantizedLayer]) -> list[Match]:
    """Find the counterpart of each layer that has one.

    1. A layer of the same name and as many weights.
    2. Of those that are left, the one whose weights correlate most.
    3. Of those that are left then, the next in graph order with weights of the same shape.
    """
    by_name = {each.node.name: each for each in quantized}
    found: dict[int, tuple[QuantizedLayer, Literal["name", "weights", "order"]]] = {}
    for index, layer in enumerate(layers):
        each = by_name.get(layer.node.name)
        if each is not None and _fits(layer, each.weight):
            found[index] = (each, "name")
    free = [q for q in quantized if all(q is not other for other, _ in found.values())]
    for index, layer in enumerate(layers):
        if index in found:
            continue
        alike = [(abs(correlation(layer.weight, q.weight)), i) for i, q in enumerate(free)]
        best, place = max(alike, default=(0.0, -1))
        if best > _ALIKE:
            found[index] = (free.pop(place), "weights")
    for index, layer in enumerate(layers):
        same = [i for i, q in enumerate(free) if q.weight.shape == layer.weight.shape]
        if index not in found and same:
            found[index] = (free.pop(same[0]), "order")
    return [_match(layers[index], *found[index]) for index in sorted(found)]


def _match(
    layer: Layer, quantized: QuantizedLayer, found_by: Literal["name", "weights", "order"]
) -> Match:
    weight, bias = quantized.weight, quantized.bias
    columns = None if weight.size == layer.weight.size else Columns.of(layer, weight)
    if columns is not None:
        weight = columns.plain(weight, layer.outputs, layer.inputs)
        bias = None if bias is None else bias[: layer.outputs]
    if weight.shape != layer.weight.shape:
        turned = weight.ndim == 2 and weight.T.shape == layer.weight.shape
        weight = weight.T if turned else weight.reshape(layer.weight.shape)
    if bias is None and layer.bias is not None:
        bias = np.zeros_like(layer.bias, np.float64)
    ones = np.ones(layer.outputs)
    behind = quantized.factors
    if behind is None or behind.size != layer.outputs:
        return Match(layer, quantized, found_by, weight, bias, ones, columns)
    factors = 1 / behind
    gains = channel_gains(layer, weight)
    if _spread(gains / factors) >= _spread(gains):  # the float model has the same product
        return Match(layer, quantized, found_by, weight, bias, ones, columns)
    weight = weight / layer.along_outputs(factors)
    bias = None if bias is None else bias / factors.reshape(bias.shape)
    return Match(layer, quantized, found_by, weight, bias, factors, columns)


def channel_gains(layer: Layer, weight: NDArray[np.floating]) -> NDArray[np.float64]:
    """By which factor the weights of each output channel are larger than the layer's, (C,)."""
    ours, theirs = rows(layer, layer.weight), rows(layer, weight)
    square = np.sum(ours**2, axis=1)
    product = np.sum(ours * theirs, axis=1)
    return np.asarray(np.divide(product, square, out=np.ones_like(square), where=square > 0))


def rows(layer: Layer, weight: NDArray[np.floating]) -> NDArray[np.float64]:
    """The weights of each output channel in a row, (C, …)."""
    if layer.node.op_type == "ConvTranspose":
        grouped = weight.reshape(layer.groups, -1, *weight.shape[1:])
        return np.asarray(np.moveaxis(grouped, 2, 1).reshape(layer.outputs, -1), np.float64)
    moved = np.moveaxis(weight, layer.output_axis, 0)
    return np.asarray(moved.reshape(moved.shape[0], -1), np.float64)


def _fits(layer: Layer, weight: NDArray[np.floating]) -> bool:
    return weight.size == layer.weight.size or Columns.of(layer, weight) is not None


def _spread(gains: NDArray[np.float64]) -> float:
    return float(np.std(np.log2(np.maximum(np.abs(gains), 1e-12))))


def correlation(one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    """Correlation of two weights through the origin, -1 to 1; 0 for different sizes."""
    if one.size != other.size:
        return 0.0
    a, b = np.asarray(one, np.float64).ravel(), np.asarray(other, np.float64).ravel()
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / norm if norm else 0.0
