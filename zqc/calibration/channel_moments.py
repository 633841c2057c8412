"""Moments of tensors per channel, and how operators that add, multiply and move carry them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from passes.analysis.channel_flow import flow
from passes.layers import Layer, scalable_bias, scalable_layer
from passes.operators import KEEPS_MEANS

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ChannelMoments:
    """What one tensor is like per channel; all arrays have the shape (C,).

    Attributes:
        mean: E[y].
        variance: E[y²] − E[y]².
        channel_range: Largest |y| while every normal variable that y is computed from stays within
            a given number of deviations of its mean.
    """

    mean: Floats
    variance: Floats
    channel_range: Floats

    @property
    def second_moment(self) -> Floats:
        """E[y²], shape (C,)."""
        return self.variance + self.mean**2


def propagated(
    node: ir.Node, inputs: Sequence[ChannelMoments | None], *, deviations: float
) -> list[ChannelMoments] | None:
    """Return the moments of the outputs of a node, None where they cannot be told.

    1. Conv, ConvTranspose and Gemm: E[Wx + b] = W·E[x] + b, as if there were no borders; the
       variance Σ W²·Var[x] and the range |E| + ``deviations``·σ, as if inputs were independent.
    2. Add, Sub, Sum, Mul of tensors, as if independent. The mean of a sum is exact.
    3. Concat, Split, Slice, Flatten, AveragePool, Resize and the like: the mean is exact but for
       borders; variance and range are upper bounds where values are averaged.
    4. Declined: MaxPool, whose mean depends on how alike neighbours are; Pad; anything else.

    Args:
        node: An operator of the standard domain.
        inputs: Moments of its inputs, None for unknown ones and constants.
        deviations: How many deviations count for the range.
    """
    source = inputs[0] if inputs else None
    layer = scalable_layer(node)
    if layer is not None:
        return None if source is None else _through_layer(layer, source, deviations)
    terms = [moments for moments in inputs if moments is not None]
    if node.op_type in ("Add", "Sub", "Sum", "Mul"):
        return _combined(node, terms, deviations) if len(terms) == len(inputs) else None
    if node.op_type not in KEEPS_MEANS or not terms:
        return None
    starts = np.cumsum([0, *(0 if m is None else len(m.mean) for m in inputs)])
    numbers = [
        None if moments is None else np.arange(start, start + len(moments.mean))
        for moments, start in zip(inputs, starts, strict=False)
    ]
    outputs = flow(node, numbers)
    if outputs is None:
        return None
    mean, variance, channel_range = (
        np.concatenate([getattr(m, name) for m in terms])
        for name in ("mean", "variance", "channel_range")
    )
    return [ChannelMoments(mean[ids], variance[ids], channel_range[ids]) for ids in outputs]


def _through_layer(
    layer: Layer, source: ChannelMoments, deviations: float
) -> list[ChannelMoments] | None:
    if not layer.is_plain:
        return None
    weight = layer.weight.astype(np.float64)
    mean = layer.mean_shift(weight, source.mean)
    variance = layer.mean_shift(weight**2, source.variance)
    bias = scalable_bias(layer)
    if bias is not None:
        mean = mean + bias
    return [ChannelMoments(mean, variance, np.abs(mean) + deviations * np.sqrt(variance))]


def _combined(
    node: ir.Node, terms: Sequence[ChannelMoments], deviations: float
) -> list[ChannelMoments] | None:
    if len({len(moments.mean) for moments in terms} - {1}) > 1:
        return None
    result = terms[0]
    for other in terms[1:]:
        if node.op_type == "Mul":
            mean = result.mean * other.mean
            # not E[a²]·E[b²] − mean², which rounding can leave below zero
            variance = result.variance * other.second_moment + result.mean**2 * other.variance
            channel_range = result.channel_range * other.channel_range
        else:
            sign = -1.0 if node.op_type == "Sub" else 1.0
            mean = result.mean + sign * other.mean
            variance = result.variance + other.variance
            spread = np.abs(mean) + deviations * np.sqrt(variance)
            channel_range = np.minimum(result.channel_range + other.channel_range, spread)
        result = ChannelMoments(mean, variance, channel_range)
    return [result]
