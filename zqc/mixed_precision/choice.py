"""From what is asked for to the bits of every layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from passes.analysis.topology import first_last_layers, weighted_layers
from passes.arithmetic import FLOAT_BITS
from passes.layers import by_weight
from zqc.allocation import Allocation, Budget, allocate
from zqc.calibration.sensitivity import sensitivities
from zqc.mixed_precision.costs import (
    latency_costs,
    size_costs,
    storages,
    stored_bits,
    useful_widths,
)
from zqc.mixed_precision.losses import Losses, weight_losses
from zqc.model_io import model_file
from zqc.model_io.model_file import LoadedModel
from zqc.pictures.batches import SENSITIVITY_PICTURES, Batches
from zqc.pictures.model_input import fixed_batch, input_name
from zqc.quantization.candidates import Candidate
from zqc.quantization.quantize import quantize
from zqc.recipe.plan import Plan

if TYPE_CHECKING:
    from zqc.detection.losses.detector_loss import DetectorLoss
    from zqc.recipe.recipe import Recipe


def mixes_bits(recipe: Recipe) -> bool:
    """Whether layers have more or fewer bits than the recipe says, in a file of about its size.

    Not where the user says which bits there are, nor where fewer bits take no less of the file.
    """
    stored = stored_bits(recipe.target)
    return recipe.may_mix_bits and stored[recipe.weight_bits] < stored[recipe.most_bits]


def widths_to_try(model: ir.Model, recipe: Recipe) -> dict[str, tuple[int, ...]]:
    """Return the bits among which each layer has the choice, by its name.

    1. The first and the last layers have the bits that the recipe says.
    2. The others have any bits where the size is limited, from one less than the recipe's on where
       bits are mixed, else those of the recipe.
    3. Float may be chosen where the latency is limited: without a limit every layer would be.
    """
    first_last = first_last_layers(model.graph)
    inner: tuple[int, ...] = (recipe.weight_bits,)
    if recipe.target_size is not None or mixes_bits(recipe):
        inner = useful_widths(recipe.target, range(recipe.least_bits, recipe.most_bits + 1))
    floats = () if recipe.target_latency is None else (FLOAT_BITS,)
    return {
        node.name or "": ((recipe.first_last_weight_bits,) if node in first_last else inner)
        + floats
        for node in weighted_layers(model.graph)
    }


def choose_bits(
    model: ir.Model,
    losses: Losses,
    recipe: Recipe,
    *,
    original: ir.Model,
    original_size: int,
    build: Callable[[Mapping[str, int]], bytes],
    feeds: Mapping[str, NDArray[np.generic]],
) -> Allocation:
    """Choose the bits of every layer for the recipe's targets, or for a file of about its bits.

    Layers that share their weight are one choice, which costs what it costs all of them.

    Args:
        model: The float model that is quantized.
        losses: Of its weights, at the bits of ``widths_to_try``.
        recipe: Has a target size, a target latency or both, or mixes bits.
        original: The float model as it came.
        original_size: Its bytes on disk.
        build: Makes the file with so many bits for each layer that is named, 32 for float. Only
            the size and the speed count, so that any rounding will do.
        feeds: One input, to measure latencies with.

    Raises:
        OptionError: No choice of bits reaches the targets.
        RuntimeFailure: ONNX Runtime failed.
    """
    readers = _readers(model, losses)
    together = {
        name: {bits: sum(losses[n][bits] for n in names) for bits in losses[name]}
        for name, names in readers.items()
    }
    may_have = {name: tuple(of) for name, of in together.items()}

    def each(bits: Mapping[str, int]) -> dict[str, int]:
        return {n: bits[name] for name, names in readers.items() for n in names}

    built = {s: build(each(bits_of)) for s, bits_of in storages(recipe.target, may_have).items()}
    budgets = []
    if recipe.target_size is not None or mixes_bits(recipe):
        sizes = {bits: len(content) for bits, content in built.items()}
        costs = size_costs(model, may_have, sizes, recipe.target)
        share, reference = recipe.target_size, original_size
        if share is None:
            share = 1 + recipe.extra_bits
            reference = sizes[stored_bits(recipe.target)[recipe.weight_bits]]
        budgets.append(Budget("size", share, reference, costs))
    if recipe.target_latency is not None:
        # Targets other than ort-x86 keep INT4 as it is, which ONNX Runtime computes in float.
        integer = built[max(built.keys() - {FLOAT_BITS})]
        models = (original, integer, built[FLOAT_BITS])
        widths = sorted({b for of in losses.values() for b in of} - {FLOAT_BITS})
        before, costs = latency_costs(model, list(losses), models, feeds, widths)
        of = {
            name: {bits: sum(costs.of[n][bits] for n in names) for bits in costs.of[name]}
            for name, names in readers.items()
        }
        costs = replace(costs, of=of)
        budgets.append(Budget("latency", recipe.target_latency, before, costs))
    while True:
        allocation = allocate(together, budgets)
        bits_of = each(allocation.bits)
        if allocation.size is None:
            return replace(allocation, bits=bits_of)
        size = len(build(bits_of))
        if size <= budgets[0].limit:
            return replace(allocation, bits=bits_of, size=size)
        # The prediction is put right where it matters; it grows, so that this comes to an end.
        costs = budgets[0].costs
        fixed = costs.fixed + size - allocation.size
        budgets[0] = replace(budgets[0], costs=replace(costs, fixed=fixed))


def _readers(model: ir.Model, losses: Losses) -> dict[str, list[str]]:
    """The layers that have a choice, by the name of the first that reads the same weight."""
    found: dict[str, list[str]] = {}
    for group in by_weight(weighted_layers(model.graph)):
        names = [layer.node.name or "" for layer in group if (layer.node.name or "") in losses]
        if names:
            found[names[0]] = names
    return found


def chosen_bits(
    candidate: Candidate,
    loaded: LoadedModel,
    plan: Plan,
    batches: Batches,
    *,
    metadata: Mapping[str, str],
    detector: DetectorLoss | None = None,
) -> dict[str, int]:
    """Choose the bits with the least predicted loss within what the recipe allows.

    Args:
        candidate: The float model that is quantized, calibrated.
        loaded: The model as it came.
        plan: Its recipe has a target size, a target latency or both, or mixes bits.
        batches: The calibration set.
        metadata: What the file will hold, as it counts for its size.
        detector: How the outputs are read, where that is known.

    Returns:
        By name of the layer; 32 for float. Nothing where no layer has a choice.

    Raises:
        OptionError: No choice of bits reaches the targets.
        RuntimeFailure: ONNX Runtime failed.
    """
    model, ranges, recipe = candidate.model, candidate.ranges, plan.recipe
    found = ranges.sensitivities or sensitivities(
        model,
        (input_name(model),),  # what boxes and classes count is weighed by it alone
        batches.first(SENSITIVITY_PICTURES),
        detector=detector,
        seed=recipe.seed,
        threads=plan.threads,
    )
    widths = widths_to_try(model, recipe) | {n: (bits,) for n, bits in plan.bits_of.items()}
    losses = weight_losses(
        model,
        {name: of for name, of in widths.items() if name not in plan.excluded},
        ranges.grids,
        ranges.statistics,
        found,
        compensate=recipe.rounding != "nearest",
        second_moments=recipe.second_moments,
        corrected=recipe.bias_correction != "none",
        per_tensor=plan.target.per_tensor,
        log_affine=recipe.log_affine,
    )
    if mixes_bits(recipe) and all(len(of) < 2 for of in losses.values()):
        return {}  # there are none but first and last layers
    # Only size and speed count here, and rounding to the nearest is the fastest.
    bare = candidate.without_moments().ranges
    # Where the means come from does not count, but a correction gives layers a bias.
    means = {} if recipe.bias_correction == "none" else ranges.means

    # What cannot be run is left out: it counts for nothing that the bits could change.

    def build(bits_of: Mapping[str, int]) -> bytes:
        quantized = quantize(model, bare, plan, means=means, bits_of=bits_of)
        lowered = plan.target.lower(quantized, recipe.min_runtime)
        return model_file.serialize(
            lowered, metadata=dict(metadata), source=loaded, whole=loaded.ends_run
        )

    picture = next(iter(batches))[: fixed_batch(model) or 1]
    allocation = choose_bits(
        model,
        losses,
        recipe,
        original=loaded.runnable(),
        original_size=loaded.bytes_on_disk,
        build=build,
        feeds=loaded.interface.taken.feeds(picture),
    )
    return dict(allocation.bits)
