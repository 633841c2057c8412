"""The stages between the border and the file, each a list of passes or a pure function."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes.common import RemoveUnusedNodesPass

from passes import (
    AbsorbedBounds,
    QuantizeActivations,
    QuantizeWeights,
)
from passes.analysis.topology import edge_layers, weighted_layers
from passes.arithmetic import FLOAT_BITS, Grid
from zqc import targets
from zqc.calibration.calibrate import Ranges
from zqc.pictures.batches import Batches
from zqc.progress import Task
from zqc.quantization.reconstruct import reconstruct
from zqc.recipe.recipe import Recipe

_REFIT_SAMPLES = 256
"""Output positions per picture at which the inputs of layers are looked at again."""


def quantize_activations(model: ir.Model, grids: Mapping[str, Grid], recipe: Recipe) -> ir.Model:
    """Return the model with every tensor that has a grid on it; weights are still float."""
    quantized = model.clone()
    QuantizeActivations(grids, targets.find(recipe.target).constants)(quantized)
    AbsorbedBounds()(quantized)
    return quantized


def quantize(
    model: ir.Model,
    ranges: Ranges,
    recipe: Recipe,
    kept: Collection[str],
    *,
    means: Mapping[str, NDArray[np.float64]],
    bits_of: Mapping[str, int] | None = None,
) -> ir.Model:
    """Return the canonical quantized model: standard QDQ.

    Args:
        model: The prepared float model.
        ranges: What calibration found out.
        recipe: How weights are rounded, and to how many bits.
        kept: Names of nodes that stay float.
        means: Mean per channel, shape (C,), by name of the tensor, for the bias correction.
        bits_of: Bits of single layers by name, whatever the recipe says; 32 for float.
    """
    quantized = quantize_activations(model, ranges.grids, recipe)
    target = targets.find(recipe.target)
    QuantizeWeights(
        bits=recipe.weight_bits,
        edge_bits=recipe.edge_weight_bits,
        bits_of=bits_of or {},
        keep_float=_float_layers(kept, bits_of or {}),
        input_means=means,
        input_moments=ranges.statistics.moments,
        compensate=recipe.rounding != "nearest",
        second_moments=recipe.second_moments,
        per_tensor=target.per_tensor,
        int4=target.int4,
    )(quantized)
    RemoveUnusedNodesPass()(quantized)
    return quantized


def refit(
    model: ir.Model,
    ranges: Ranges,
    recipe: Recipe,
    kept: Collection[str],
    batches: Batches,
    *,
    bits_of: Mapping[str, int],
    task: Task,
    threads: int | None,
) -> ir.Model:
    """Return the canonical quantized model with weights that make up for the layers before them.

    Args: As ``quantize``, and the calibration pictures; the task is advanced layer by layer.
    """
    target = targets.find(recipe.target)
    return reconstruct(
        model,
        quantize_activations(model, ranges.grids, recipe),
        batches,
        refit=recipe.rounding == "refitted",
        compensate=recipe.rounding != "nearest",
        bits=recipe.weight_bits,
        edge_bits=recipe.edge_weight_bits,
        bits_of=bits_of,
        kept=_float_layers(kept, bits_of),
        per_tensor=target.per_tensor,
        int4=target.int4,
        samples=_REFIT_SAMPLES,
        task=task,
        threads=threads,
        seed=recipe.seed,
    )


def _float_layers(kept: Collection[str], bits_of: Mapping[str, int]) -> set[str]:
    """The nodes whose weights stay float: as the user says, or as the target latency allows."""
    return {*kept, *(name for name, bits in bits_of.items() if bits == FLOAT_BITS)}


def bits_by_layer(model: ir.Model, recipe: Recipe, bits_of: Mapping[str, int]) -> dict[str, int]:
    """Return the bits of the weights of every layer by name, those of ``bits_of`` first."""
    edges = edge_layers(model.graph)
    layers = weighted_layers(model.graph)
    edge, inner = recipe.edge_weight_bits, recipe.weight_bits
    return {n.name or "": edge if n in edges else inner for n in layers} | dict(bits_of)


def lower(model: ir.Model, recipe: Recipe) -> ir.Model:
    """Return the model in the form that the recipe's target takes; every tensor keeps its value."""
    lowered = model.clone()
    # Sequential names the pass that fails, and those that ran before it.
    return ir.passes.Sequential(*targets.find(recipe.target).lowering(recipe))(lowered).model
