"""Every channel of a head's output gets the power-of-two step of its own range."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes.common import RemoveUnusedNodesPass

from passes import ScaleOutputs
from passes.equalize.scale_outputs import head_outputs
from zqc.calibration.tensor_reader import TensorReader
from zqc.pictures.batches import Batches
from zqc.quantization.prepare import points_of
from zqc.recipe.plan import Plan

_PICTURES = 32
"""Of which the largest values are taken; all positions count, because boxes are rare."""


def scale_outputs(
    model: ir.Model,
    plan: Plan,
    batches: Batches,
) -> ir.Model:
    """Return the model with ``ScaleOutputs`` applied: the same function.

    Logits that are squashed behind the layer share a range, and their errors are measured through
    the squashing: those are left as they are.

    Args:
        model: The prepared float model.
        plan: Whether.
        batches: The calibration set.

    Raises:
        RuntimeFailure: ONNX Runtime failed.
    """
    heads = {value.name for value in head_outputs(model.graph)}
    points = points_of(model, plan) if plan.recipe.channel_outputs else []
    names = [p.names[0] for p in points if p.names[0] in heads and not p.squashed_by]
    if not names:
        return model
    read = TensorReader(model, names, threads=plan.threads)
    channel_ranges: dict[str, NDArray[np.float64]] = {}
    for batch in batches.first(_PICTURES):
        values = read(batch)
        for name in names:
            channel_range = _channel_range(values[name])
            channel_ranges[name] = np.maximum(
                channel_ranges.get(name, channel_range), channel_range
            )
    copy = model.clone()
    ScaleOutputs(channel_ranges).call(copy)
    RemoveUnusedNodesPass()(copy)
    return copy


def _channel_range(array: NDArray[np.float32]) -> NDArray[np.float64]:
    """Largest |value| of each channel, shape (C,)."""
    axes = (0, *range(2, array.ndim))
    largest: NDArray[np.float64] = np.abs(array).max(axis=axes, initial=0.0).astype(np.float64)
    return largest
