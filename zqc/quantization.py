"""The stages between the border and the file, each a list of passes or a pure function."""

from __future__ import annotations

import fnmatch
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes.common import RemoveUnusedNodesPass, ShapeInferencePass

from passes import (
    AbsorbedBounds,
    BatchNormToConv,
    CanonicalActivations,
    CanonicalClips,
    CanonicalGelu,
    ConvTransposeToConv,
    FoldArithmetic,
    FoldBatchNorm,
    LateMoves,
    MeansToPools,
    QuantizeActivations,
    QuantizeWeights,
    SplitBranches,
)
from passes.arithmetic import Grid
from passes.canonical_gelu import GELU_OPSET, spelled_gelus
from passes.placement import Point, quantization_points
from passes.topology import edge_layers, weighted_layers
from zqc import lowest_opset, model_io, runtime_versions, targets
from zqc.errors import OptionError
from zqc.grids import Batches, Ranges
from zqc.mixed_precision import FLOAT_BITS
from zqc.progress import Task
from zqc.recipe import Recipe
from zqc.reconstruction import reconstruct

PREPARE: tuple[ir.passes.InPlacePass, ...] = (
    FoldArithmetic(),
    FoldBatchNorm(),
    BatchNormToConv(),
    FoldArithmetic(),
    CanonicalClips(),
    CanonicalActivations(),
    CanonicalGelu(),
    MeansToPools(),
    ConvTransposeToConv(),
    LateMoves(),
    SplitBranches(),
    RemoveUnusedNodesPass(),
)
"""Exact passes on the float model."""

_REFIT_SAMPLES = 256
"""Output positions per picture at which the inputs of layers are looked at again."""


def prepare(model: ir.Model, recipe: Recipe) -> ir.Model:
    """Return the float model in the form that is quantized: BatchNorm folded, opset high enough.

    Raises:
        OptionError: The recipe's oldest runtime cannot read it.
    """
    newest = runtime_versions.newest_opset(recipe.min_runtime)
    if newest >= GELU_OPSET and spelled_gelus(model.graph):
        model = model_io.raise_opset(model, GELU_OPSET)
    prepared = ir.passes.Sequential(*PREPARE)(model.clone()).model
    fewest = min(recipe.bits, recipe.act_bits, recipe.first_last_bits)
    int4 = targets.find(recipe.target).int4
    if int4 and (fewest <= 4 or recipe.target_size is not None):
        prepared = model_io.raise_opset(prepared, model_io.INT4_OPSET)
    ShapeInferencePass()(prepared)
    if recipe.min_runtime is not None:
        lowest_opset.check_runtime(prepared, recipe.min_runtime)
    return prepared


def kept_float(model: ir.Model, patterns: Sequence[str]) -> frozenset[str]:
    """Names of the nodes that match the patterns.

    Raises:
        OptionError: A pattern matches nothing.
    """
    names = [node.name for node in model.graph if node.name]
    kept: set[str] = set()
    for pattern in patterns:
        matching = fnmatch.filter(names, pattern)
        if not matching:
            raise OptionError(
                f"--keep-float {pattern!r} matches no node; `zqc inspect` lists the layers' names"
            )
        kept.update(matching)
    return frozenset(kept)


def points_of(model: ir.Model, recipe: Recipe, kept: Collection[str]) -> list[Point]:
    """Which tensors of a prepared model are quantized."""
    return quantization_points(
        model.graph,
        keep_float=kept,
        nonnegative_inputs=recipe.input_format is not None and min(recipe.input_format.low) >= 0,
        only_layer_inputs=targets.find(recipe.target).placement == "layer inputs",
    )


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
