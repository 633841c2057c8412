"""From what is asked for to the bits of every layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from passes.topology import edge_layers, weighted_layers
from zqc.mixed_precision.allocation import Allocation, Budget, allocate
from zqc.mixed_precision.costs import STORED_BITS, latency_costs, size_costs, useful_widths
from zqc.mixed_precision.losses import FLOAT_BITS, Losses

if TYPE_CHECKING:
    from zqc.recipe import Recipe


def widths_to_try(model: ir.Model, recipe: Recipe) -> dict[str, tuple[int, ...]]:
    """Return the bits among which each layer has the choice, by its name.

    1. The first and the last layers have the bits that the recipe says.
    2. The others have any bits where the size is limited, those of the recipe where it is not.
    3. Float may be chosen where the latency is limited: without a limit every layer would be.
    """
    edges = edge_layers(model.graph)
    inner = (recipe.bits,) if recipe.target_size is None else useful_widths(recipe.target)
    floats = () if recipe.target_latency is None else (FLOAT_BITS,)
    return {
        node.name or "": ((recipe.first_last_bits,) if node in edges else inner) + floats
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
    """Choose the bits of every layer for the recipe's target size and latency.

    Args:
        model: The float model that is quantized.
        losses: Of its weights, at the bits of ``widths_to_try``.
        recipe: Has a target size, a target latency or both.
        original: The float model as it came.
        original_size: Its bytes on disk.
        build: Makes the file with so many bits for each layer that is named, 32 for float. Only
            the size and the speed count, so that any rounding will do.
        feeds: One input, to measure latencies with.

    Raises:
        OptionError: No choice of bits reaches the targets.
        RuntimeFailure: ONNX Runtime failed.
    """
    built = {bits: build(dict.fromkeys(losses, bits)) for bits in _stored(losses, recipe)}
    budgets = []
    if recipe.target_size is not None:
        sizes = {bits: len(content) for bits, content in built.items()}
        costs = size_costs(model, list(losses), sizes, recipe.target)
        budgets.append(Budget("size", recipe.target_size, original_size, costs))
    if recipe.target_latency is not None:
        # Targets other than ort-x86 keep INT4 as it is, which ONNX Runtime computes in float.
        integer = built[max(built.keys() - {FLOAT_BITS})]
        models = (original, integer, built[FLOAT_BITS])
        widths = sorted({b for of in losses.values() for b in of} - {FLOAT_BITS})
        before, costs = latency_costs(model, list(losses), models, feeds, widths)
        budgets.append(Budget("latency", recipe.target_latency, before, costs))
    return allocate(losses, budgets)


def _stored(losses: Losses, recipe: Recipe) -> set[int]:
    """The bits that weights may occupy in the file."""
    return {STORED_BITS[recipe.target][bits] for of in losses.values() for bits in of}
