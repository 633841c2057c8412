"""The bits of every layer for a target size or latency."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

import onnx_ir as ir

from zqc import model_io, quantization, targets
from zqc.calibration.sensitivity import sensitivities
from zqc.grids import Batches, Ranges, first_pictures
from zqc.mixed_precision import choose_bits, weight_losses, widths_to_try
from zqc.picture_input import fixed_batch, input_name
from zqc.recipe import Recipe


def chosen_bits(
    model: ir.Model,
    loaded: model_io.Source,
    ranges: Ranges,
    recipe: Recipe,
    kept: Collection[str],
    batches: Batches,
    *,
    metadata: Mapping[str, str],
    threads: int | None,
) -> dict[str, int]:
    """Choose the bits with the least predicted loss that reach the recipe's targets.

    Args:
        model: The float model that is quantized.
        loaded: The model as it came.
        ranges: What calibration found out.
        recipe: Has a target size, a target latency or both.
        kept: Names of nodes that stay float.
        batches: The calibration pictures.
        metadata: What the file will hold, as it counts for its size.
        threads: Threads of ONNX Runtime.

    Returns:
        By name of the layer; 32 for float.

    Raises:
        OptionError: No choice of bits reaches the targets.
        UnsupportedOperatorError: An operator has no gradient, which sensitivities need.
        RuntimeFailure: ONNX Runtime failed.
    """
    found = ranges.sensitivities or sensitivities(
        model, (), first_pictures(batches), seed=recipe.seed, threads=threads
    )
    losses = weight_losses(
        model,
        {n: w for n, w in widths_to_try(model, recipe).items() if n not in kept},
        ranges.grids,
        ranges.statistics,
        found,
        compensate=recipe.rounding != "nearest",
        second_moments=recipe.second_moments,
        corrected=recipe.bias_correction != "none",
        per_tensor=targets.find(recipe.target).per_tensor,
    )
    # Only size and speed count here, and rounding to the nearest is the fastest.
    bare = replace(ranges, statistics=replace(ranges.statistics, moments={}))
    # Where the means come from does not count, but a correction gives layers a bias.
    means = {} if recipe.bias_correction == "none" else ranges.means

    def build(bits_of: Mapping[str, int]) -> bytes:
        quantized = quantization.quantize(model, bare, recipe, kept, means=means, bits_of=bits_of)
        lowered = quantization.lower(quantized, recipe)
        return model_io.serialize(lowered, metadata=dict(metadata))

    picture = next(iter(batches()))[: fixed_batch(model) or 1]
    allocation = choose_bits(
        model,
        losses,
        recipe,
        original=loaded.model,
        original_size=loaded.bytes_on_disk,
        build=build,
        feeds={input_name(model): picture},
    )
    return dict(allocation.bits)
