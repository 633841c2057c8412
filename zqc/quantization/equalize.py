"""Channels of the float model are scaled to one range, as the recipe asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes.common import RemoveUnusedNodesPass, ShapeInferencePass

from passes import EqualizeChannels
from passes.arithmetic import exponent_of
from zqc.calibration.channel_moments import ChannelMoments
from zqc.calibration.channel_ranges import channel_thresholds
from zqc.pictures.batches import Batches
from zqc.quantization.prepare import points_of
from zqc.recipe.plan import Plan

_PICTURES = 32
"""Of which the ranges are taken: a channel has thousands of positions in each."""

_ENOUGH_BITS = 8
"""With activations of so many bits equalization costs more than it gains, see
docs/results/grids.md."""

_LIMIT = 16.0
"""Of the factors. Between 4 and 16 it makes no difference on the example; without one, weights of
4 bits lose more than activations gain."""

_HEADROOM = 1.5
"""By how much ranges are taken as larger than they are: real pictures go beyond synthesised ones,
and an enlarged channel is cut off there. Measured from 1 to 2, see docs/results/grids.md."""


@dataclass(frozen=True)
class Equalized:
    """An equalized model.

    Attributes:
        model: The model; the same function.
        factors: Factor of each channel, (C,), by name of the tensor that is larger now.
        refused: Why a layer's output keeps its scale, by name of the layer.
    """

    model: ir.Model
    factors: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)

    def scaled(self, means: Mapping[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
        """Return the means of the float model's tensors as they are in this one."""
        found = dict(means)
        for node in self.model.graph:
            name, source = node.outputs[0].name or "", node.inputs[0] if node.inputs else None
            if name in self.factors:
                before = means.get(name)
                # What an inserted product puts out was not there before: its input was. A product
                # begins a factor only where it was inserted.
                if before is None and node.op_type == "Mul" and source is not None:
                    known = source.name or ""
                    before = None if known in self.factors else means.get(known)
                if before is not None:
                    found[name] = before * self.factors[name]
        return found


def equalize(
    model: ir.Model,
    plan: Plan,
    batches: Batches,
    analytic: Mapping[str, ChannelMoments],
) -> tuple[Equalized, ...]:
    """Return the model with equalized channels, in one form or, for ``auto``, in two.

    The first of two is the model as it is; in the other one channels have headroom. What they are
    worth, quantization itself has to tell: see ``zqc.pipeline``.

    Args:
        model: The prepared float model.
        plan: Whether, and by what ranges.
        batches: The calibration set.
        analytic: Moments by name of the tensor, where the recipe asks for the statistics.

    Raises:
        RuntimeFailure: ONNX Runtime failed.
    """
    recipe = plan.recipe
    tries = candidates_of(plan) > 1
    if recipe.equalization == "none" or (recipe.equalization == "auto" and not tries):
        return (Equalized(model),)
    points = [
        point
        for point in points_of(model, plan)
        if not (point.internal or point.first_last or point.joined)
    ]
    names = [point.names[0] for point in points]
    if recipe.equalization == "statistics":
        channel_ranges = {name: analytic[name].channel_range for name in names if name in analytic}
        tops = {
            name: 2.0 ** float(exponent_of(channel_range.max()))
            for name, channel_range in channel_ranges.items()
        }
    else:
        pictures = batches.first(_PICTURES)
        found = channel_thresholds(
            model,
            names,
            pictures,
            bits=recipe.act_bits,
            pictures=sum(map(len, pictures)),
            nonnegative={point.names[0] for point in points if point.nonnegative},
            slightly_negative={point.names[0] for point in points if point.slightly_negative},
            threads=plan.threads,
        )
        channel_ranges = {name: thresholds.channel_ranges for name, thresholds in found.items()}
        tops = {name: thresholds.common for name, thresholds in found.items()}
    insert = recipe.insert_factors == "always" or (
        recipe.insert_factors == "auto" and recipe.act_bits < _ENOUGH_BITS
    )
    if tries:
        channel_ranges = {
            name: np.minimum(channel_range * _HEADROOM, tops[name])
            for name, channel_range in channel_ranges.items()
        }
    equalized = _scaled(model, channel_ranges, tops, insert=insert)
    return (Equalized(model), equalized) if tries and equalized.factors else (equalized,)


def candidates_of(plan: Plan) -> int:
    """How many forms ``equalize`` may return."""
    tries = plan.recipe.equalization == "auto" and plan.recipe.act_bits < _ENOUGH_BITS
    return 2 if tries else 1


def _scaled(
    model: ir.Model,
    channel_ranges: Mapping[str, NDArray[np.float64]],
    tops: Mapping[str, float],
    *,
    insert: bool,
) -> Equalized:
    """The model with channels of these ranges scaled to these thresholds."""
    copy = model.clone()
    outcome = EqualizeChannels(channel_ranges, tops, insert=insert, limit=_LIMIT).call(copy)
    RemoveUnusedNodesPass()(copy)
    ShapeInferencePass()(copy)
    return Equalized(copy, outcome.factors, outcome.refused)
